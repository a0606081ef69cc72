//! The adapter, as it is seen from the wire.

mod calls;
mod garbage;
mod sessions;
