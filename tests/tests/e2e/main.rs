//! The controller's own binary on a real API server and the AWS stand-in.
#![allow(missing_docs, clippy::disallowed_methods)]

mod api;
mod converge;
mod deletion;
mod drift;
mod faults;
mod foreign;
mod modes;
mod refusals;
mod rig;
