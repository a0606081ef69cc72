//! What surrounds every call: the rate, the count, and the fault.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use aws_sdk_ec2::{
    config::{ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeTransmitInterceptorContextRef},
    error::BoxError,
};
use aws_smithy_runtime_api::client::{
    orchestrator::{HttpResponse, Metadata},
    result::SdkError,
    retries::RequestAttempts,
};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use ssm_ready_core::{
    calls::Operation,
    fault::{Fault, FaultKind},
    ids::{AccountId, Region},
};
use tokio::time::Instant;
use tracing::Instrument as _;

use super::answer::fault_of;
use crate::{
    limit::Limiter,
    observe::{Observer, outcome},
};

/// One call: what, whose, and where.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    pub operation: Operation,
    pub account: &'a AccountId,
    pub region: &'a Region,
    pub share_percent: u8,
}

/// The limiter and the observer of all calls.
#[derive(Debug)]
pub(super) struct Meter {
    limiter: Limiter,
    observer: Arc<dyn Observer>,
}

impl Meter {
    pub(super) fn new(observer: Arc<dyn Observer>) -> Self {
        Self { limiter: Limiter::new(Arc::clone(&observer)), observer }
    }

    /// Waits until AWS's rate allows the call.
    pub(super) async fn pass(&self, call: Call<'_>) -> Result<(), Fault> {
        let Call { operation, account, region, share_percent } = call;
        if operation.writes() {
            self.limiter.pass_write(account, region, operation, share_percent).await
        } else {
            self.limiter.pass_read(account, region, operation, share_percent).await
        }
    }

    /// Makes a call that has passed.
    pub(super) async fn make<T, E>(
        &self,
        call: Call<'_>,
        secrets: &[&str],
        request: impl Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
    ) -> Result<T, Fault>
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let began = Instant::now();
        let (service, operation) = (call.operation.service(), call.operation.name());
        let span = tracing::info_span!(
            "aws",
            otel.name = format!("{service}:{operation}"),
            otel.kind = "client",
            otel.status_code = tracing::field::Empty,
            service,
            operation,
            account = %call.account,
            region = %call.region,
            outcome = tracing::field::Empty
        );
        let result = request.instrument(span.clone()).await.map_err(|error| fault_of(call.operation, &error, secrets));
        span.record("outcome", outcome(&result));
        if result.is_err() {
            span.record("otel.status_code", "ERROR");
        }
        self.observer.called(call.operation, call.account, call.region, outcome(&result), began.elapsed());
        if result.as_ref().is_err_and(|fault| fault.kind == FaultKind::Throttled) {
            self.limiter.drain(call.account, call.region, call.operation, call.share_percent);
        }
        result
    }
}

/// Counts the retries that the SDK makes by itself: AWS does too.
#[derive(Debug, Clone)]
pub(super) struct CountRetries {
    pub meter: Arc<Meter>,
    pub account: AccountId,
    pub region: Region,
    /// The share with which the calls were let through last.
    pub share_percent: Arc<AtomicU8>,
}

impl Intercept for CountRetries {
    fn name(&self) -> &'static str {
        "CountRetries"
    }

    fn read_before_attempt(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let again = bag.load::<RequestAttempts>().is_some_and(|attempts| attempts.attempts() > 1);
        let operation = bag
            .load::<Metadata>()
            .and_then(|metadata| Operation::ALL.iter().find(|operation| operation.name() == metadata.name()).copied());
        if let Some(operation) = operation.filter(|_| again) {
            let share = self.share_percent.load(Ordering::Relaxed);
            self.meter.limiter.charge(&self.account, &self.region, operation, share);
            self.meter.observer.retried(operation);
        }
        Ok(())
    }
}
