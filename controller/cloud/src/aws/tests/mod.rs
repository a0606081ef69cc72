//! The adapter, as it is seen from the wire.

mod audit;
mod calls;
mod garbage;
mod iam;
mod sessions;
mod settings;
mod targets;
