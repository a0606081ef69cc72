//! Writes to Kubernetes: status, finalizers, events. Each is one call.

use std::fmt::Debug;

use kube::{
    Resource, ResourceExt,
    api::{Api, Patch, PatchParams},
    core::DynamicObject,
    runtime::events::{Event, EventType},
};
use serde::{Serialize, de::DeserializeOwned};
use ssm_ready_core::{fault::truncate, reason::Reason};
use tracing::Instrument as _;

use crate::{context::Context, metrics::KubeWrite};

/// Who we are to the API server.
pub const FIELD_MANAGER: &str = "ssm-ready";

/// The longest note that an event may have, in bytes (validation of events.k8s.io/v1); characters may take up to four.
const MAX_NOTE: usize = 250;

/// Only the leader writes: what one that was stopped for a while knows of an object is old.
fn ensure_leading(ctx: &Context) -> kube::Result<()> {
    if ctx.term.holds() { Ok(()) } else { Err(kube::Error::Service("this replica leads no more".into())) }
}

/// Writes a whole status by server-side apply.
///
/// # Errors
/// The API server's answer.
pub async fn write_status<K, S>(
    ctx: &Context,
    api: &Api<K>,
    object: &K,
    kind: &'static str,
    status: &S,
) -> kube::Result<()>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    S: Serialize + Sync,
{
    ensure_leading(ctx)?;
    let patch = serde_json::json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": { "name": object.name_any(), "uid": object.uid() },
        "status": status,
    });
    let apply = PatchParams::apply(FIELD_MANAGER).force();
    let name = object.name_any();
    span(kind, KubeWrite::Status, api.patch_status(&name, &apply, &Patch::Apply(patch))).await?;
    ctx.metrics.kube_write(kind, KubeWrite::Status);
    Ok(())
}

/// Writes a whole status of which our types may know nothing, as [`write_status`] does.
///
/// # Errors
/// The API server's answer.
pub async fn write_raw_status(
    ctx: &Context,
    api: &Api<DynamicObject>,
    object: &DynamicObject,
    kind: &'static str,
    status: &serde_json::Value,
) -> kube::Result<()> {
    ensure_leading(ctx)?;
    let types = object.types.clone().unwrap_or_default();
    let patch = serde_json::json!({
        "apiVersion": types.api_version,
        "kind": types.kind,
        "metadata": { "name": object.name_any(), "uid": object.uid() },
        "status": status,
    });
    let apply = PatchParams::apply(FIELD_MANAGER).force();
    let name = object.name_any();
    span(kind, KubeWrite::Status, api.patch_status(&name, &apply, &Patch::Apply(patch))).await?;
    ctx.metrics.kube_write(kind, KubeWrite::Status);
    Ok(())
}

/// Adds or removes a finalizer; a change by somebody else in between is a conflict, and nothing is lost.
///
/// # Errors
/// The API server's answer.
pub async fn set_finalizer<K>(
    ctx: &Context,
    api: &Api<K>,
    object: &K,
    kind: &'static str,
    name: &str,
    on: bool,
) -> kube::Result<()>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    ensure_leading(ctx)?;
    let mut finalizers = object.finalizers().to_vec();
    if finalizers.iter().any(|f| f == name) == on {
        return Ok(());
    }
    if on {
        finalizers.push(name.to_owned());
    } else {
        finalizers.retain(|f| f != name);
    }
    let patch = serde_json::json!({
        "metadata": { "resourceVersion": object.resource_version(), "uid": object.uid(), "finalizers": finalizers },
    });
    // By name, or the API server tells people that somebody "unknown" did it.
    let merge = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    let name = object.name_any();
    match span(kind, KubeWrite::Finalizer, api.patch(&name, &merge, &Patch::Merge(patch))).await {
        Ok(_) => {
            ctx.metrics.kube_write(kind, KubeWrite::Finalizer);
            Ok(())
        }
        // Gone already: nothing to take off.
        Err(kube::Error::Api(status)) if !on && status.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Says something of an object in an event. One that cannot be written is logged: events are for people, not for us.
pub async fn event<K>(ctx: &Context, object: &K, kind: &'static str, warning: bool, reason: Reason, note: &str)
where
    K: Resource<DynamicType = ()>,
{
    let event = Event {
        type_: if warning { EventType::Warning } else { EventType::Normal },
        reason: reason.as_str().to_owned(),
        note: Some(truncate(note, MAX_NOTE)),
        action: "Reconcile".to_owned(),
        secondary: None,
    };
    let about = object.object_ref(&());
    match span(kind, KubeWrite::Event, ctx.recorder.publish(&event, &about)).await {
        Ok(()) => ctx.metrics.kube_write(kind, KubeWrite::Event),
        Err(error) => tracing::warn!(error = %error, "event not written"),
    }
}

/// One write in a span of its own.
async fn span<T>(kind: &'static str, what: KubeWrite, write: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    let what = what.label();
    let span = tracing::info_span!(
        "kubernetes",
        otel.name = format!("write {what}"),
        otel.kind = "client",
        otel.status_code = tracing::field::Empty,
        kind,
        what
    );
    let outcome = write.instrument(span.clone()).await;
    if outcome.is_err() {
        span.record("otel.status_code", "ERROR");
    }
    outcome
}
