//! Many worlds, one after another, on all cores; the first that breaks a rule is made as small as it gets.

use std::{
    fmt,
    num::NonZero,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use super::{
    play::{Figures, play},
    world::{World, worlds},
};

/// How many smaller worlds are tried of one that failed.
const SHRINKS: u32 = 400;

/// How long to go on.
#[derive(Debug, Clone)]
pub struct Soak {
    /// The seed of the first world; the next ones count up from it.
    pub first: u64,
    /// How many worlds; none: until the time is over.
    pub worlds: Option<u64>,
    /// For how long.
    pub time: Duration,
    /// Says every so often how far it is.
    pub tells: bool,
    /// Goes on after a world that breaks a rule, and makes none of them smaller: all are told of in the end.
    pub goes_on: bool,
}

impl Default for Soak {
    fn default() -> Self {
        Self { first: 1, worlds: None, time: Duration::MAX, tells: false, goes_on: false }
    }
}

/// What all worlds together took.
#[derive(Debug, Default, Clone)]
pub struct Sum {
    /// Worlds played.
    pub worlds: u64,
    /// Of all of them.
    pub all: Figures,
    /// Real time.
    pub took: Duration,
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} worlds, {} hours of virtual time in {:.0} s: {} AWS calls, of which {} met a fault; {} writes; {} deaths at a write; no rule broken",
            self.worlds,
            self.all.time.as_hours(),
            self.took.as_secs_f64(),
            self.all.calls,
            self.all.faults,
            self.all.writes,
            self.all.deaths,
        )
    }
}

/// The world of a seed.
#[must_use]
pub fn world(seed: u64) -> World {
    tree(seed).1
}

fn tree(seed: u64) -> (Box<dyn ValueTree<Value = World>>, World) {
    let mut bytes = [0_u8; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    // Nothing is ever rejected, so that a tree is always found.
    let tree = loop {
        if let Ok(tree) = worlds().boxed().new_tree(&mut runner) {
            break tree;
        }
    };
    let world = tree.current();
    (Box::new(tree), world)
}

/// Plays worlds until there have been enough.
///
/// # Errors
/// The smallest world found that breaks a rule, which rule, and how to play it again.
pub fn run(soak: &Soak) -> Result<Sum, String> {
    let began = Instant::now();
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let (sum, broken) = (Mutex::new(Sum::default()), Mutex::new(Vec::new()));
    let cores = std::thread::available_parallelism().map_or(2, NonZero::get);
    std::thread::scope(|threads| {
        for _ in 0..cores {
            threads.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let enough = soak.worlds.is_some_and(|worlds| number >= worlds) || began.elapsed() >= soak.time;
                    if enough || stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let seed = soak.first.wrapping_add(number);
                    match play(&world(seed), None) {
                        Ok((figures, _)) => add(&sum, &figures, soak.tells),
                        Err(error) if soak.goes_on => {
                            let text = format!("world {seed}: {}\n{error:#}", error.root_cause());
                            println!("{text}\n");
                            broken.lock().unwrap_or_else(PoisonError::into_inner).push(format!("world {seed}"));
                        }
                        Err(error) => {
                            // The first is enough; the others finish the world that they are at.
                            if !stop.swap(true, Ordering::Relaxed) {
                                let text = smallest(seed, &error);
                                broken.lock().unwrap_or_else(PoisonError::into_inner).push(text);
                            }
                            return;
                        }
                    }
                }
            });
        }
    });
    let broken = broken.into_inner().unwrap_or_else(PoisonError::into_inner);
    if !broken.is_empty() {
        return Err(broken.join("\n\n"));
    }
    let mut sum = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    sum.took = began.elapsed();
    Ok(sum)
}

fn add(sum: &Mutex<Sum>, figures: &Figures, tells: bool) {
    let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
    sum.worlds += 1;
    sum.all.calls += figures.calls;
    sum.all.faults += figures.faults;
    sum.all.writes += figures.writes;
    sum.all.deaths += figures.deaths;
    sum.all.time += figures.time;
    if tells && sum.worlds.is_multiple_of(1000) {
        println!("{} worlds, {} deaths at a write", sum.worlds, sum.all.deaths);
    }
}

/// Makes a world that broke a rule as small as it gets.
fn smallest(seed: u64, error: &anyhow::Error) -> String {
    let (mut tree, mut smallest) = tree(seed);
    let mut why = format!("{error:?}");
    let mut tried = 0;
    let mut simpler = tree.simplify();
    while simpler && tried < SHRINKS {
        tried += 1;
        let world = tree.current();
        match play(&world, None) {
            Err(error) => {
                (smallest, why) = (world, format!("{error:?}"));
                simpler = tree.simplify();
            }
            Ok(_) => simpler = tree.complicate(),
        }
    }
    format!(
        "world {seed} breaks a rule (again: SSM_READY_WORLD={seed} make worlds)\n{why}\n\nthe smallest such world: {smallest:#?}"
    )
}
