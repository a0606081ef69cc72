//! Thousands of worlds in virtual time: the whole controller against a simulated AWS and a Kubernetes in memory.

pub mod fate;
mod hands;
pub mod judge;
pub mod kubernetes;
pub mod others;
pub mod play;
pub mod scenes;
pub mod soak;
pub mod stage;
pub mod wish;
pub mod world;

use std::sync::Arc;

use jiff::Timestamp;

/// Where the time comes from.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;
