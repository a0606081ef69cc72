//! The controller: from Kubernetes objects to AWS and back.

pub mod admit;
pub mod apply;
pub mod args;
pub mod context;
#[cfg(test)]
#[path = "../../tests/fuzz/documents.rs"]
mod documents;
pub mod election;
pub mod http;
pub mod iam_policy;
pub mod kube_io;
pub mod metrics;
#[cfg(test)]
#[path = "../../tests/fuzz/near.rs"]
mod near;
pub mod outside;
pub mod place;
pub mod posture;
pub mod queue;
pub mod reconcile;
pub mod run;
pub mod spec;
pub mod status;
pub mod telemetry;
mod watch;
