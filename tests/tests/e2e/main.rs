//! The controller's own binary on a real API server and the AWS stand-in.
#![allow(missing_docs, clippy::disallowed_methods)]

mod accounts;
mod api;
mod chaos;
mod chart;
mod clusters;
mod converge;
mod crowd;
mod cut;
mod deletion;
mod drift;
mod election;
mod faults;
mod foreign;
mod gitops;
mod golden;
mod helm;
mod iam;
mod modes;
mod observe;
mod refusals;
mod rig;
mod security;
mod stored;
mod versions;
