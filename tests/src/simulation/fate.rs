//! Where a process can die: before and after each of its writes.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use ssm_ready_cloud::sim::{Call, Gate};
use ssm_ready_core::calls::Operation;
use tokio::sync::watch;

/// A write of the controller, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Point {
    /// To AWS.
    Aws(Operation),
    /// The status of an `AwsAccount`.
    AccountStatus,
    /// Its finalizer, put on.
    AccountFinalizerOn,
    /// Its finalizer, taken off.
    AccountFinalizerOff,
    /// The status of a `VpcPosture`.
    VpcStatus,
    /// Its finalizer, put on.
    VpcFinalizerOn,
    /// Its finalizer, taken off.
    VpcFinalizerOff,
    /// What a `RegionPosture` is to remember, noted before its first write to AWS.
    RegionNote,
    /// The status of a `RegionPosture`.
    RegionStatus,
    /// Its finalizer, put on.
    RegionFinalizerOn,
    /// Its finalizer, taken off.
    RegionFinalizerOff,
    /// What an `AccountPosture` is to remember, noted before its first write to AWS.
    RolesNote,
    /// The status of an `AccountPosture`.
    RolesStatus,
    /// Its finalizer, put on.
    RolesFinalizerOn,
    /// Its finalizer, taken off.
    RolesFinalizerOff,
    /// An event.
    Event,
}

impl Point {
    /// Every kind of write that there is: what is not here cannot be written.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let aws = Operation::ALL.iter().filter(|o| o.writes()).map(|o| Self::Aws(*o));
        aws.chain([
            Self::AccountStatus,
            Self::AccountFinalizerOn,
            Self::AccountFinalizerOff,
            Self::VpcStatus,
            Self::VpcFinalizerOn,
            Self::VpcFinalizerOff,
            Self::RegionNote,
            Self::RegionStatus,
            Self::RegionFinalizerOn,
            Self::RegionFinalizerOff,
            Self::RolesNote,
            Self::RolesStatus,
            Self::RolesFinalizerOn,
            Self::RolesFinalizerOff,
            Self::Event,
        ])
        .collect()
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aws(operation) => operation.fmt(f),
            other => write!(f, "kubernetes:{other:?}"),
        }
    }
}

/// On which side of a write the process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The write never left.
    Before,
    /// The write was carried out, and its answer never read.
    After,
}

impl Side {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Before, Self::After];
}

#[derive(Debug, Default)]
struct State {
    /// The writes begun so far.
    begun: Vec<Point>,
    /// The number of the write at which to die, from 0, and the side.
    dies_at: Option<(usize, Side)>,
    /// The write after which to die has begun.
    doomed: Option<Point>,
}

/// The fate of one process. From the moment that it is dead nothing that it does has any effect.
#[derive(Debug, Clone)]
pub struct Fate {
    state: Arc<Mutex<State>>,
    dead: watch::Sender<bool>,
}

impl Default for Fate {
    fn default() -> Self {
        Self { state: Arc::default(), dead: watch::Sender::new(false) }
    }
}

impl Fate {
    /// Dies at a write of its life, counted from 0.
    #[must_use]
    pub fn dies_at(write: usize, side: Side) -> Self {
        let fate = Self::default();
        fate.lock().dies_at = Some((write, side));
        fate
    }

    /// Has the process die at one of its next writes, counted from 0.
    pub fn doom(&self, write: usize, side: Side) {
        let mut state = self.lock();
        state.dies_at = Some((state.begun.len() + write, side));
    }

    /// The writes begun so far.
    #[must_use]
    pub fn begun(&self) -> Vec<Point> {
        self.lock().begun.clone()
    }

    /// Returns once the process is dead.
    pub async fn death(&self) {
        let mut dead = self.dead.subscribe();
        // Never fails: the sender is ours.
        let _ = dead.wait_for(|dead| *dead).await;
    }

    /// Returns only to the living.
    pub async fn alive(&self) {
        if *self.dead.borrow() {
            std::future::pending::<()>().await;
        }
    }

    /// A write is about to be made.
    pub async fn before(&self, point: Point) {
        self.alive().await;
        let dies = {
            let mut state = self.lock();
            let number = state.begun.len();
            state.begun.push(point);
            match state.dies_at {
                Some((at, Side::Before)) if at == number => true,
                Some((at, Side::After)) if at == number => {
                    state.doomed = Some(point);
                    false
                }
                _ => false,
            }
        };
        if dies {
            self.die().await;
        }
    }

    /// A write has been made, and its answer is on its way.
    pub async fn after(&self, point: Point) {
        self.alive().await;
        if self.lock().doomed == Some(point) {
            self.die().await;
        }
    }

    async fn die(&self) {
        self.dead.send_replace(true);
        std::future::pending::<()>().await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Gate for Fate {
    async fn before(&self, call: &Call) {
        if call.operation.writes() {
            Self::before(self, Point::Aws(call.operation)).await;
        } else {
            self.alive().await;
        }
    }

    async fn after(&self, call: &Call) {
        if call.operation.writes() {
            Self::after(self, Point::Aws(call.operation)).await;
        } else {
            self.alive().await;
        }
    }
}
