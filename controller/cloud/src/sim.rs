//! A simulated AWS behind the port, in virtual time: for tests of what lies above it.
//!
//! It is written from what AWS documents, not from the adapter. One [`Sim`] is AWS itself: it outlives the processes
//! that use it, and each of them has a [`SimCloud`] as its way in. The clock is a parameter, and so is the seed: two runs
//! that make the same calls at the same times read the same answers and leave the same journal.

mod agents;
mod audit;
mod check;
mod cloud;
mod documents;
mod iam;
mod identity;
mod journal;
mod life;
mod people;
mod record;
mod rng;
mod settings;
mod state;
mod targets;
mod weather;
mod world;
mod writes;

#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;

pub use agents::{Login, Path};
pub use audit::{SimRule, SimTrail, open_topic, rule_arn};
pub use cloud::{Call, Gate, Open, SimCloud};
pub use documents::{SimDocument, SimDocumentVersion};
pub use iam::{Iam, IamQuotas, SimRole};
pub use journal::{Entry, Outcome, ThingKind, Touched};
pub use people::{NewInstance, NewSimRole, NewSubnet, NewVpc, Offer};
pub use record::{Actor, Record, Table};
pub use settings::SimSetting;
pub use state::{
    Account, Agent, HostedZone, Meters, Quotas, RegionState, Role, SimEndpoint, SimGroup, SimInstance, SimInterface,
    SimService, SimVpc,
};
pub use targets::{SimBucket, SimKey};
pub use weather::{Injected, OutcomeRule, Planned, Span, Weather};
pub use world::{Own, Refusal, World};

use crate::observe::{Observer, Unobserved};

/// Tells what time it is.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

struct Inner {
    world: Mutex<World>,
    clock: Mutex<Clock>,
}

/// AWS itself. Its clones are one and the same, and it survives the processes that use it.
#[derive(Clone)]
pub struct Sim(Arc<Inner>);

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sim").finish_non_exhaustive()
    }
}

impl Sim {
    /// An AWS in which there is nothing yet.
    #[must_use]
    pub fn new(clock: Clock, seed: u64) -> Self {
        let world = World::new(clock(), seed);
        Self(Arc::new(Inner { world: Mutex::new(world), clock: Mutex::new(clock) }))
    }

    /// Gives it another clock: a process that was started again has a new one. Its time never goes back.
    pub fn set_clock(&self, clock: Clock) {
        *self.0.clock.lock().unwrap_or_else(PoisonError::into_inner) = clock;
    }

    /// Looks at everything, or changes it, once all that is due by now has happened. Not to be called from within
    /// itself.
    pub fn with<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        let now = (self.0.clock.lock().unwrap_or_else(PoisonError::into_inner))();
        // A test that failed half-way is no reason for others to fail.
        let mut world = self.0.world.lock().unwrap_or_else(PoisonError::into_inner);
        world.catch_up(now);
        look(&mut world)
    }

    /// One process's way in.
    #[must_use]
    pub fn cloud(&self, gate: Arc<dyn Gate>) -> SimCloud {
        self.observed_cloud(gate, Arc::new(Unobserved))
    }

    /// One process's way in, with somebody who counts its calls.
    #[must_use]
    pub fn observed_cloud(&self, gate: Arc<dyn Gate>, observer: Arc<dyn Observer>) -> SimCloud {
        SimCloud::new(self.clone(), gate, observer)
    }
}
