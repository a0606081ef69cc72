//! What the adapter tells of its calls, for whoever counts them.

use std::{fmt::Debug, time::Duration};

use ssm_ready_core::{
    calls::Operation,
    fault::Fault,
    ids::{AccountId, Region},
};

/// The outcome of a call that succeeded, as [`Observer::called`] names it.
pub const OK: &str = "ok";

/// Hears of every call; each method does nothing unless it is overridden.
pub trait Observer: Debug + Send + Sync + 'static {
    /// A call ended. `outcome` is [`OK`] or the label of the fault's kind, so it is fit for a metric's label.
    fn called(
        &self,
        operation: Operation,
        account: &AccountId,
        region: &Region,
        outcome: &'static str,
        took: Duration,
    ) {
        let _ = (operation, account, region, outcome, took);
    }

    /// A call is tried once more by the SDK.
    fn retried(&self, operation: Operation) {
        let _ = operation;
    }

    /// A call waited for its turn, so as to stay within AWS's rate.
    fn waited(&self, operation: Operation, wait: Duration) {
        let _ = (operation, wait);
    }
}

/// Nobody listens.
#[derive(Debug, Clone, Copy)]
pub struct Unobserved;

impl Observer for Unobserved {}

/// The outcome of a call, as metrics name it.
pub fn outcome<T>(result: &Result<T, Fault>) -> &'static str {
    match result {
        Ok(_) => OK,
        Err(fault) => fault.kind.label(),
    }
}
