//! One object, one pass.

mod account;
mod account_posture;
mod pass;
mod region;
mod seen;
mod unreadable;
mod vpc;

use std::time::Duration;

use ssm_ready_core::reason::Waits;

use crate::{
    context::{Context, Key},
    metrics::ReconcileResult,
    queue::{Lease, Priority},
};

/// How soon work under way is looked at again.
const PROGRESS: Duration = Duration::from_secs(15);
/// How soon what waits for a person is looked at again, whatever else happens.
const PERSON: Duration = Duration::from_secs(3600);

/// How soon what holds nothing up is tried again: EC2 may take a minute to hear of a new instance profile.
const AGAIN: Duration = Duration::from_secs(60);

/// What follows a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing until something happens: facts read, an edit.
    Await,
    /// Nothing until the facts are read that the object waits for: whatever failed before has not succeeded yet.
    Reading,
    /// Another pass after this time.
    After(Duration),
    /// Another pass after a growing time.
    Backoff,
    /// Another pass within the hour: a person has something to put right.
    Stalled,
}

impl Next {
    /// What follows from whom an object waits for.
    fn of(waits: Waits, retry_after: Option<Duration>) -> Self {
        match (waits, retry_after) {
            (Waits::Progress, Some(wait)) => Self::After(wait.max(Duration::from_millis(100))),
            (Waits::Progress, None) => Self::After(PROGRESS),
            (Waits::Retry | Waits::Grace, Some(wait)) => Self::After(wait.max(Duration::from_secs(1))),
            (Waits::Retry | Waits::Grace, None) => Self::Backoff,
            (Waits::Person, _) => Self::Stalled,
            (Waits::Nobody, _) => Self::Await,
        }
    }
}

/// Reconciles what the lease is for and puts it back into the queue as its outcome asks. Also says whether only a person
/// can go on.
pub async fn reconcile(ctx: &Context, lease: &Lease<Key>) -> (ReconcileResult, bool) {
    let key = lease.key();
    let outcome = match key {
        Key::Account(name) => account::reconcile(ctx, key, name).await,
        Key::Vpc(namespace, name) => vpc::reconcile(ctx, key, namespace, name).await,
        Key::Region(namespace, name) => region::reconcile(ctx, key, namespace, name).await,
        Key::AccountPosture(namespace, name) => account_posture::reconcile(ctx, key, namespace, name).await,
    };
    let next = match outcome {
        Ok(next) => next,
        Err(kube::Error::Api(status)) if status.is_conflict() => {
            // Somebody else changed the object in between: what they changed comes by the watch.
            tracing::debug!("the object changed meanwhile");
            Next::After(Duration::from_secs(1))
        }
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "Kubernetes refused");
            requeue(ctx, key, Next::Backoff);
            return (ReconcileResult::Error, false);
        }
    };
    requeue(ctx, key, next);
    let result = match next {
        Next::Await | Next::Reading => ReconcileResult::Success,
        Next::After(_) | Next::Stalled => ReconcileResult::RequeueAfter,
        Next::Backoff => ReconcileResult::Requeue,
    };
    (result, next == Next::Stalled)
}

fn requeue(ctx: &Context, key: &Key, next: Next) {
    match next {
        Next::Stalled => requeue(ctx, key, Next::After(PERSON)),
        Next::Reading => {}
        Next::Await => ctx.backoff().succeeded(key),
        Next::After(wait) => {
            ctx.backoff().succeeded(key);
            // Spread, so that those who wait for the same thing do not come back all at once.
            ctx.queue.add_after(key.clone(), wait.mul_f64(1.0 + 0.2 * ctx.outside.jitter()), Priority::Resync);
        }
        Next::Backoff => {
            let wait = ctx.backoff().failed(key, ctx.outside.jitter());
            ctx.queue.add_after(key.clone(), wait, Priority::Resync);
        }
    }
}
