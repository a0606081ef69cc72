//! The controller, whole, between a simulated AWS and a Kubernetes in memory, in virtual time.
//!
//! What runs is the controller's own `run`, with its watches, queue, places and reconcilers. Each of its processes has a
//! runtime of its own, and dies with it: nothing is put in order first, as with kill -9.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use jiff::{SignedDuration, Timestamp};
use ssm_ready::{
    args::{Cli, Command},
    metrics::Metrics,
    outside::Outside,
    run::run,
};
use ssm_ready_cloud::sim::Sim;
use tokio_util::sync::CancellationToken;

use super::{Clock, fate::Fate, kubernetes::Kubernetes};

/// When every world begins: a Sunday.
const BEGINNING: i64 = 1_800_000_000;

/// The time of a world: it passes while a process lives, and stands still in between.
#[derive(Debug, Clone)]
pub struct Timeline(Arc<Mutex<Position>>);

#[derive(Debug, Clone, Copy)]
enum Position {
    Still(Timestamp),
    Passing { from: Timestamp, since: tokio::time::Instant },
}

impl Timeline {
    fn new() -> Self {
        let beginning = Timestamp::from_second(BEGINNING).unwrap_or(Timestamp::UNIX_EPOCH);
        Self(Arc::new(Mutex::new(Position::Still(beginning))))
    }

    /// The current time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Position::Still(at) => at,
            Position::Passing { from, since } => from + since.elapsed(),
        }
    }

    /// Lets time pass while no process lives.
    pub fn skip(&self, time: Duration) {
        self.set(Position::Still(self.now() + time));
    }

    /// Of this timeline, as a function.
    #[must_use]
    pub fn clock(&self) -> Clock {
        let this = self.clone();
        Arc::new(move || this.now())
    }

    fn set(&self, position: Position) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = position;
    }
}

/// How a process ended.
#[derive(Debug)]
pub enum Ended<T> {
    /// It was killed where its fate had it.
    Died,
    /// It lived until the script was through, and was then killed.
    Outlived(T),
}

/// A world around the controller.
#[derive(Debug)]
pub struct Stage {
    /// Its time.
    pub time: Timeline,
    /// AWS.
    pub aws: Sim,
    /// Kubernetes.
    pub kubernetes: Kubernetes,
    /// Further flags of the controller.
    pub flags: Vec<String>,
    /// The controller's cluster id.
    pub cluster: String,
    /// By how many seconds the controller's own clock is off.
    skew: Arc<AtomicI64>,
    seed: u64,
    lives: u64,
}

impl Stage {
    /// An empty world.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let time = Timeline::new();
        Self {
            aws: Sim::new(time.clock(), seed),
            kubernetes: Kubernetes::new(time.clock(), seed ^ 0x6b75_6265),
            time,
            flags: Vec::new(),
            cluster: "test".to_owned(),
            skew: Arc::default(),
            seed,
            lives: 0,
        }
    }

    /// Sets the controller's own clock wrong, by so many seconds.
    pub fn skew(&self, seconds: i64) {
        self.skew.store(seconds, Ordering::Relaxed);
    }

    /// How many processes there have been.
    #[must_use]
    pub fn lives(&self) -> u64 {
        self.lives
    }

    /// Starts a controller process, and kills it when the script is through or where its fate has it. The script runs
    /// beside it, in the same virtual time.
    ///
    /// # Errors
    /// The script's; and a controller that ends by itself.
    pub fn live<T>(&mut self, fate: &Fate, script: impl AsyncFnOnce(&Self) -> Result<T>) -> Result<Ended<T>> {
        self.lives += 1;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .context("runtime")?;
        let this = &*self;
        runtime.block_on(async {
            let since = tokio::time::Instant::now();
            this.time.set(Position::Passing { from: this.time.now(), since });
            let ended = this.race(fate, script).await;
            this.time.set(Position::Still(this.time.now()));
            ended
        })
    }

    async fn race<T>(&self, fate: &Fate, script: impl AsyncFnOnce(&Self) -> Result<T>) -> Result<Ended<T>> {
        let controller = tokio::spawn(self.process(fate)?);
        tokio::select! {
            biased;
            () = fate.death() => Ok(Ended::Died),
            ended = controller => match ended {
                Ok(Ok(())) => bail!("the controller stopped by itself"),
                Ok(Err(error)) => Err(error.context("the controller stopped by itself")),
                Err(panic) => Err(anyhow::Error::new(panic).context("the controller panicked")),
            },
            outcome = script(self) => Ok(Ended::Outlived(outcome?)),
        }
    }

    fn process(&self, fate: &Fate) -> Result<impl Future<Output = Result<()>> + Send + 'static> {
        let mut words = vec!["ssm-ready".to_owned(), "controller".to_owned(), format!("--cluster-id={}", self.cluster)];
        words
            .extend(["--metrics-bind-address=0", "--health-bind-address=0", "--leader-elect=false"].map(str::to_owned));
        words.extend(self.flags.iter().cloned());
        let Command::Controller(args) = Cli::try_parse_from(words)?.command else { bail!("not the controller") };
        let (time, skew) = (self.time.clone(), self.skew.clone());
        let wall = move || time.now() + SignedDuration::from_secs(skew.load(Ordering::Relaxed));
        let outside = Arc::new(Outside::given(wall, self.seed ^ (self.lives << 32)));
        let cloud = Arc::new(self.aws.cloud(Arc::new(fate.clone())));
        let client = self.kubernetes.client(fate.clone());
        Ok(run(*args, Arc::new(Metrics::new("simulated")), cloud, client, outside, CancellationToken::new()))
    }

    /// Lets time pass.
    pub async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}
