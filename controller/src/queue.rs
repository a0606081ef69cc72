//! The work queue: which object is looked at next, and when one that failed is tried again.
//!
//! A watch and a periodic look feed the same queue. After a restart thousands of objects wait for their periodic look,
//! and a user who edits one of them must not wait for the others: edits overtake resyncs. One object is never worked on
//! twice at the same time, and nothing that was added is forgotten, not even when the work on it panics.
//!
//! [`Schedule`] holds these rules and reads no clock; [`Queue`] lets tasks wait on it; [`Backoff`] says how long.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::metrics::QueueMetrics;

/// How urgent a look at an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Somebody changed the object, or something that it refers to. Overtakes every waiting [`Priority::Resync`].
    Edit,
    /// Nothing is known to have changed: the list at the start, the periodic look, a retry.
    Resync,
}

impl Priority {
    /// Both priorities, the more urgent one first.
    pub const ALL: [Self; 2] = [Self::Edit, Self::Resync];

    /// The `priority` label of the metrics: the numbers that controller-runtime uses.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Edit => "0",
            Self::Resync => "-100",
        }
    }
}

/// What [`Schedule::take`] hands out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken<K> {
    /// The object.
    pub key: K,
    /// The highest priority with which it was added.
    pub priority: Priority,
    /// How long it could have been taken before it was.
    pub waited: Duration,
}

/// A key that waits, for its time or for somebody to take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Waiting {
    due: Instant,
    priority: Priority,
    place: Place,
}

/// Where a waiting key stands. The number is its place in the order of arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the line of its priority.
    Ready(u64),
    /// In `Schedule::later`.
    Later(u64),
}

/// What was added for a key while it was running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Again {
    due: Instant,
    priority: Priority,
}

impl Again {
    /// Two requests for one key become one: the earlier time, the more urgent priority.
    fn merge(earlier: Option<Self>, due: Instant, priority: Priority) -> Self {
        match earlier {
            Some(again) => Self { due: again.due.min(due), priority: again.priority.min(priority) },
            None => Self { due, priority },
        }
    }
}

/// The rules of the queue, without tasks, locks or a clock.
///
/// A key is in at most one of three places: waiting for its time, ready, or running. While it runs, what is added for
/// it is kept aside until [`Schedule::done`].
#[derive(Debug)]
pub struct Schedule<K> {
    waiting: HashMap<K, Waiting>,
    edits: BTreeMap<u64, K>,
    resyncs: BTreeMap<u64, K>,
    later: BTreeMap<(Instant, u64), K>,
    running: HashMap<K, Option<Again>>,
    arrivals: u64,
}

impl<K> Default for Schedule<K> {
    fn default() -> Self {
        Self {
            waiting: HashMap::new(),
            edits: BTreeMap::new(),
            resyncs: BTreeMap::new(),
            later: BTreeMap::new(),
            running: HashMap::new(),
            arrivals: 0,
        }
    }
}

impl<K: Clone + Eq + Hash + Ord> Schedule<K> {
    /// An empty schedule.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for a look at once. Returns whether the key was not asked for already.
    pub fn add(&mut self, key: K, priority: Priority, now: Instant) -> bool {
        self.add_at(key, now, priority, now)
    }

    /// Asks for a look at `due`. A key that waits already keeps the earlier time and the higher priority; a time that
    /// has passed means at once. Returns whether the key was not asked for already.
    pub fn add_at(&mut self, key: K, due: Instant, priority: Priority, now: Instant) -> bool {
        self.promote(now);
        let due = due.max(now);
        if let Some(again) = self.running.get_mut(&key) {
            let is_new = again.is_none();
            *again = Some(Again::merge(*again, due, priority));
            return is_new;
        }
        let Some(waiting) = self.waiting.get(&key).copied() else {
            self.place(key, due, priority, now);
            return true;
        };
        let merged = Again::merge(Some(Again { due: waiting.due, priority: waiting.priority }), due, priority);
        let is_ready = matches!(waiting.place, Place::Ready(_));
        // One that is ready loses its place in the line only for a better one.
        if merged.priority != waiting.priority || (!is_ready && merged.due != waiting.due) {
            self.unplace(&key);
            // What was ready stays ready, since when it was: `due` is never later than `now` there.
            self.place(key, merged.due, merged.priority, now);
        }
        false
    }

    /// The next key to work on, if one is ready: edits first, and in the order of arrival among equals. It runs until
    /// [`Schedule::done`].
    pub fn take(&mut self, now: Instant) -> Option<Taken<K>> {
        self.promote(now);
        let (_, key) = self.edits.pop_first().or_else(|| self.resyncs.pop_first())?;
        let waiting = self.waiting.remove(&key)?;
        self.running.insert(key.clone(), None);
        let waited = now.saturating_duration_since(waiting.due);
        Some(Taken { key, priority: waiting.priority, waited })
    }

    /// The work on the key has ended. What was added meanwhile now counts.
    pub fn done(&mut self, key: &K, now: Instant) {
        self.promote(now);
        if let Some(Some(again)) = self.running.remove(key) {
            // It could not be taken while it ran, so it has waited only from now on.
            self.place(key.clone(), again.due.max(now), again.priority, now);
        }
    }

    /// The object is gone: drops what waits for the key. Work that is under way goes on until [`Schedule::done`].
    pub fn forget(&mut self, key: &K) {
        self.unplace(key);
        if let Some(again) = self.running.get_mut(key) {
            *again = None;
        }
    }

    /// The earliest time at which a key that is not ready yet becomes so.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.later.first_key_value().map(|((due, _), _)| *due)
    }

    /// How many keys wait, ready ones and those whose time has not come.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether no key waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many keys are ready with this priority.
    #[must_use]
    pub fn depth(&self, priority: Priority) -> usize {
        match priority {
            Priority::Edit => self.edits.len(),
            Priority::Resync => self.resyncs.len(),
        }
    }

    /// How many keys are being worked on.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Moves the keys whose time has come to the ready ones, in the order of their times.
    fn promote(&mut self, now: Instant) {
        while let Some(entry) = self.later.first_entry().filter(|entry| entry.key().0 <= now) {
            let key = entry.remove();
            if let Some(waiting) = self.waiting.get_mut(&key) {
                self.arrivals += 1;
                let (arrival, priority) = (self.arrivals, waiting.priority);
                waiting.place = Place::Ready(arrival);
                self.line(priority).insert(arrival, key);
            }
        }
    }

    /// Files a key that stands nowhere.
    fn place(&mut self, key: K, due: Instant, priority: Priority, now: Instant) {
        self.arrivals += 1;
        let arrival = self.arrivals;
        let place = if due <= now {
            self.line(priority).insert(arrival, key.clone());
            Place::Ready(arrival)
        } else {
            self.later.insert((due, arrival), key.clone());
            Place::Later(arrival)
        };
        self.waiting.insert(key, Waiting { due, priority, place });
    }

    /// The ready keys of a priority, by arrival.
    fn line(&mut self, priority: Priority) -> &mut BTreeMap<u64, K> {
        match priority {
            Priority::Edit => &mut self.edits,
            Priority::Resync => &mut self.resyncs,
        }
    }

    fn unplace(&mut self, key: &K) {
        if let Some(waiting) = self.waiting.remove(key) {
            match waiting.place {
                Place::Ready(arrival) => self.line(waiting.priority).remove(&arrival),
                Place::Later(arrival) => self.later.remove(&(waiting.due, arrival)),
            };
        }
    }
}

/// A [`Schedule`] that tasks share and wait on. Clones are the same queue.
#[derive(Debug)]
pub struct Queue<K: Clone + Eq + Hash + Ord> {
    shared: Arc<Shared<K>>,
}

#[derive(Debug)]
struct Shared<K> {
    state: Mutex<State<K>>,
    /// Wakes every waiting worker, so that each of them watches the right clock. Waking only one would be cheaper, but
    /// the one that knows of a delayed key may be cancelled or busy when its time comes.
    changed: Notify,
    metrics: Arc<QueueMetrics>,
}

#[derive(Debug)]
struct State<K> {
    schedule: Schedule<K>,
    shut_down: bool,
}

impl<K: Clone + Eq + Hash + Ord> Clone for Queue<K> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<K: Clone + Eq + Hash + Ord> Queue<K> {
    /// An empty queue that reports to `metrics`.
    #[must_use]
    pub fn new(metrics: Arc<QueueMetrics>) -> Self {
        let state = Mutex::new(State { schedule: Schedule::new(), shut_down: false });
        Self { shared: Arc::new(Shared { state, changed: Notify::new(), metrics }) }
    }

    /// Asks for a look at once.
    pub fn add(&self, key: K, priority: Priority) {
        self.add_at(key, Instant::now(), priority);
    }

    /// Asks for a look after `delay`: the next periodic look, or a retry. An earlier one that is planned stays.
    pub fn add_after(&self, key: K, delay: Duration, priority: Priority) {
        self.shared.metrics.retried();
        let now = Instant::now();
        // A delay beyond what the clock can count would be centuries; a day from now is as good.
        let due = now.checked_add(delay).unwrap_or(now + Duration::from_secs(24 * 3600));
        self.add_at(key, due, priority);
    }

    fn add_at(&self, key: K, due: Instant, priority: Priority) {
        let is_new = self.shared.change(|schedule, now| schedule.add_at(key, due, priority, now));
        if is_new {
            self.shared.metrics.added();
        }
    }

    /// The object is gone: drops what waits for the key.
    pub fn forget(&self, key: &K) {
        self.shared.change(|schedule, _| schedule.forget(key));
    }

    /// Waits for the next key to work on; `None` once the queue has been shut down. Dropping the future loses nothing.
    pub async fn next(&self) -> Option<Lease<K>> {
        loop {
            // Listen first, look second: what is added in between wakes us at once.
            let changed = self.shared.changed.notified();
            let next_due = {
                let mut state = self.shared.lock();
                if state.shut_down {
                    return None;
                }
                let now = Instant::now();
                if let Some(taken) = state.schedule.take(now) {
                    self.shared.report_depth(&state.schedule);
                    drop(state);
                    self.shared.metrics.taken(taken.waited, now.into_std());
                    return Some(Lease { taken, since: now, shared: Arc::clone(&self.shared) });
                }
                state.schedule.next_due()
            };
            match next_due {
                Some(due) => tokio::select! {
                    () = changed => {}
                    () = tokio::time::sleep_until(due) => {}
                },
                None => changed.await,
            }
        }
    }

    /// Hands out nothing more. Work that is under way goes on.
    pub fn shut_down(&self) {
        self.shared.lock().shut_down = true;
        self.shared.changed.notify_waiters();
    }

    /// How many keys wait, ready ones and those whose time has not come.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.lock().schedule.len()
    }

    /// Whether no key waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many keys are being worked on.
    #[must_use]
    pub fn running(&self) -> usize {
        self.shared.lock().schedule.running()
    }
}

impl<K> Shared<K> {
    /// A panic elsewhere cannot leave a schedule half changed in a way that matters more than going on working.
    fn lock(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash + Ord> Shared<K> {
    fn change<T>(&self, change: impl FnOnce(&mut Schedule<K>, Instant) -> T) -> T {
        let mut state = self.lock();
        let result = change(&mut state.schedule, Instant::now());
        self.report_depth(&state.schedule);
        let something_waits = !state.schedule.is_empty();
        drop(state);
        if something_waits {
            self.changed.notify_waiters();
        }
        result
    }

    fn report_depth(&self, schedule: &Schedule<K>) {
        for priority in Priority::ALL {
            self.metrics.depth(priority, schedule.depth(priority));
        }
    }
}

/// The right to work on a key, alone. Dropping it ends the work, also when a panic does.
#[derive(Debug)]
pub struct Lease<K: Clone + Eq + Hash + Ord> {
    taken: Taken<K>,
    since: Instant,
    shared: Arc<Shared<K>>,
}

impl<K: Clone + Eq + Hash + Ord> Lease<K> {
    /// The object to work on.
    #[must_use]
    pub fn key(&self) -> &K {
        &self.taken.key
    }

    /// How urgent it was.
    #[must_use]
    pub fn priority(&self) -> Priority {
        self.taken.priority
    }

    /// How long it was ready before it was taken.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.taken.waited
    }
}

impl<K: Clone + Eq + Hash + Ord> Drop for Lease<K> {
    fn drop(&mut self) {
        self.shared.metrics.worked(self.since.into_std(), self.since.elapsed());
        self.shared.change(|schedule, now| schedule.done(&self.taken.key, now));
    }
}

/// How long to wait before a key that failed is tried again: longer after each failure in a row.
///
/// AWS and the API server recover sooner when the objects that failed together are not tried again together, so each
/// wait is spread by [`Backoff::SPREAD`], the longest ones too.
#[derive(Debug)]
pub struct Backoff<K> {
    failures: HashMap<K, u32>,
}

impl<K> Default for Backoff<K> {
    fn default() -> Self {
        Self { failures: HashMap::new() }
    }
}

impl<K: Clone + Eq + Hash> Backoff<K> {
    /// The wait after the first failure; each further one doubles it.
    pub const FIRST: Duration = Duration::from_secs(5);
    /// The longest wait.
    pub const LONGEST: Duration = Duration::from_secs(600);
    /// By how much, as a share of it, a wait is lengthened or shortened at most.
    pub const SPREAD: f64 = 0.2;

    /// No key has failed.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts a failure and returns the wait. `jitter`, between 0 and 1, picks the point in the spread.
    pub fn failed(&mut self, key: &K, jitter: f64) -> Duration {
        let failures = self.failures.entry(key.clone()).or_insert(0);
        *failures = failures.saturating_add(1);
        let doublings = failures.saturating_sub(1);
        let wait = 2_u32
            .checked_pow(doublings)
            .map_or(Self::LONGEST, |factor| Self::FIRST.saturating_mul(factor).min(Self::LONGEST));
        // `mul_f64` panics on what is not a finite positive number.
        let jitter = if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 0.5 };
        wait.mul_f64(1.0 + Self::SPREAD * (2.0 * jitter - 1.0))
    }

    /// The key worked again: its next failure is a first one.
    pub fn succeeded(&mut self, key: &K) {
        self.failures.remove(key);
    }

    /// The object is gone. Without this the map would grow with every object that ever failed.
    pub fn forget(&mut self, key: &K) {
        self.failures.remove(key);
    }

    /// How often the key has failed in a row.
    #[must_use]
    pub fn failures(&self, key: &K) -> u32 {
        self.failures.get(key).copied().unwrap_or(0)
    }

    /// How many keys failed the last time.
    #[must_use]
    pub fn len(&self) -> usize {
        self.failures.len()
    }

    /// Whether no key failed the last time.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.failures.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use proptest::prelude::*;

    use super::*;
    use crate::metrics::Metrics;
    use Priority::{Edit, Resync};

    const SECOND: Duration = Duration::from_secs(1);

    fn taken(schedule: &mut Schedule<u8>, now: Instant) -> Option<(u8, Priority)> {
        schedule.take(now).map(|taken| (taken.key, taken.priority))
    }

    fn drain(schedule: &mut Schedule<u8>, now: Instant) -> Vec<u8> {
        std::iter::from_fn(|| taken(schedule, now)).map(|(key, _)| key).collect()
    }

    #[test]
    fn edits_overtake_resyncs_and_keep_their_order() {
        let now = Instant::now();
        // What is added, and what comes out.
        type Case = (&'static [(u8, Priority)], &'static [u8]);
        let cases: [Case; 5] = [
            (&[(1, Resync), (2, Resync), (3, Resync)], &[1, 2, 3]),
            (&[(1, Resync), (2, Edit), (3, Resync), (4, Edit)], &[2, 4, 1, 3]),
            // The same key again: once only, and where it stood.
            (&[(1, Resync), (2, Resync), (1, Resync)], &[1, 2]),
            // An edit lifts a waiting resync, to the end of the edits.
            (&[(1, Resync), (2, Edit), (1, Edit)], &[2, 1]),
            // A resync does not lower a waiting edit.
            (&[(1, Edit), (2, Edit), (1, Resync)], &[1, 2]),
        ];
        for (added, expected) in cases {
            let mut schedule = Schedule::new();
            for (key, priority) in added {
                schedule.add(*key, *priority, now);
            }
            assert_eq!(drain(&mut schedule, now), expected, "{added:?}");
        }
    }

    #[test]
    fn one_edit_passes_five_thousand_resyncs() {
        let now = Instant::now();
        let mut schedule = Schedule::new();
        for key in 0..5000 {
            schedule.add(key, Resync, now);
        }
        schedule.add(9999, Edit, now + SECOND);
        assert_eq!(schedule.depth(Resync), 5000);
        let first = schedule.take(now + 3 * SECOND);
        assert_eq!(first, Some(Taken { key: 9999, priority: Edit, waited: 2 * SECOND }));
        let second = schedule.take(now + 3 * SECOND);
        assert_eq!(second, Some(Taken { key: 0, priority: Resync, waited: 3 * SECOND }));
    }

    #[test]
    fn a_delay_keeps_the_earlier_time_and_the_higher_priority() {
        let now = Instant::now();
        // What is added for one key (seconds from now), when it becomes ready, and as what.
        type Case = (&'static [(u64, Priority)], u64, Priority);
        let cases: [Case; 7] = [
            (&[(10, Resync)], 10, Resync),
            (&[(10, Resync), (5, Resync)], 5, Resync),
            (&[(5, Resync), (10, Resync)], 5, Resync),
            (&[(5, Resync), (10, Edit)], 5, Edit),
            (&[(10, Edit), (5, Resync)], 5, Edit),
            (&[(10, Resync), (0, Edit)], 0, Edit),
            (&[(0, Resync), (10, Edit)], 0, Edit),
        ];
        for (added, due, priority) in cases {
            let mut schedule = Schedule::new();
            for (seconds, priority) in added {
                schedule.add_at(1, now + Duration::from_secs(*seconds), *priority, now);
            }
            assert_eq!(schedule.len(), 1);
            let due = now + Duration::from_secs(due);
            if due > now {
                assert_eq!(schedule.next_due(), Some(due), "{added:?}");
                assert_eq!(taken(&mut schedule, due - Duration::from_millis(1)), None, "{added:?}");
            }
            assert_eq!(taken(&mut schedule, due), Some((1, priority)), "{added:?}");
            assert!(schedule.is_empty() && schedule.next_due().is_none());
        }
    }

    #[test]
    fn delayed_keys_become_ready_in_the_order_of_their_times() {
        let now = Instant::now();
        let mut schedule = Schedule::new();
        for (key, seconds) in [(1, 3), (2, 1), (3, 2)] {
            schedule.add_at(key, now + Duration::from_secs(seconds), Resync, now);
        }
        assert_eq!(drain(&mut schedule, now + 5 * SECOND), [2, 3, 1]);
    }

    #[test]
    fn a_running_key_comes_back_only_after_done() {
        let now = Instant::now();
        let mut schedule = Schedule::new();
        assert!(schedule.add(1, Resync, now));
        assert!(!schedule.add(1, Edit, now), "it is asked for already");
        assert_eq!(taken(&mut schedule, now), Some((1, Edit)));

        assert!(schedule.add_at(1, now + 60 * SECOND, Edit, now), "what runs may have read the old state");
        assert!(!schedule.add(1, Resync, now));
        assert_eq!((taken(&mut schedule, now + 60 * SECOND), schedule.running(), schedule.len()), (None, 1, 0));
        schedule.done(&1, now + SECOND);
        let again = schedule.take(now + 2 * SECOND);
        assert_eq!(again, Some(Taken { key: 1, priority: Edit, waited: SECOND }));

        schedule.add_at(1, now + 60 * SECOND, Resync, now + 2 * SECOND);
        schedule.done(&1, now + 3 * SECOND);
        assert_eq!(schedule.next_due(), Some(now + 60 * SECOND));
    }

    #[test]
    fn what_is_forgotten_does_not_come_back() {
        let now = Instant::now();
        let mut schedule = Schedule::new();
        schedule.add(1, Edit, now);
        schedule.add_at(2, now + SECOND, Edit, now);
        schedule.add(3, Resync, now);
        schedule.forget(&1);
        schedule.forget(&2);
        assert_eq!(drain(&mut schedule, now + SECOND), [3]);
        schedule.add(3, Edit, now + SECOND);
        schedule.forget(&3);
        assert_eq!(schedule.running(), 1);
        schedule.done(&3, now + SECOND);
        assert_eq!((schedule.len(), schedule.running()), (0, 0));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Add { key: u8, delay: u64, priority: Priority },
        Take,
        Done { which: prop::sample::Index },
        Forget { key: u8 },
        Wait { seconds: u64 },
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let priority = prop_oneof![Just(Edit), Just(Resync)];
        let delay = prop_oneof![3 => Just(0_u64), 2 => 1..20_u64];
        let step = prop_oneof![
            6 => (0..6_u8, delay, priority).prop_map(|(key, delay, priority)| Step::Add { key, delay, priority }),
            5 => Just(Step::Take),
            3 => any::<prop::sample::Index>().prop_map(|which| Step::Done { which }),
            1 => (0..6_u8).prop_map(|key| Step::Forget { key }),
            3 => (1..10_u64).prop_map(|seconds| Step::Wait { seconds }),
        ];
        prop::collection::vec(step, 1..120)
    }

    /// What is asked for, without any of the schedule's structures: for each key one time and one priority.
    #[derive(Debug, Default)]
    struct Model {
        wanted: HashMap<u8, (Instant, Priority)>,
        running: HashSet<u8>,
    }

    impl Model {
        fn ready(&self, now: Instant) -> impl Iterator<Item = (u8, Instant, Priority)> {
            let waiting = self.wanted.iter().filter(|(key, _)| !self.running.contains(*key));
            waiting.filter(move |(_, wanted)| wanted.0 <= now).map(|(key, (due, priority))| (*key, *due, *priority))
        }
    }

    proptest! {
        #[test]
        fn nothing_is_lost_doubled_or_overtaken(steps in steps()) {
            let mut now = Instant::now();
            let mut schedule = Schedule::new();
            let mut model = Model::default();
            for step in steps {
                match step {
                    Step::Add { key, delay, priority } => {
                        let due = now + Duration::from_secs(delay);
                        let is_new = schedule.add_at(key, due, priority, now);
                        prop_assert_eq!(is_new, !model.wanted.contains_key(&key));
                        let wanted = model.wanted.entry(key).or_insert((due, priority));
                        *wanted = (wanted.0.min(due), wanted.1.min(priority));
                    }
                    Step::Take => match schedule.take(now) {
                        None => prop_assert_eq!(model.ready(now).count(), 0, "one was ready and not handed out"),
                        Some(taken) => {
                            let best = model.ready(now).map(|(_, _, priority)| priority).min();
                            prop_assert_eq!(best, Some(taken.priority), "overtaken by a less urgent one");
                            let ready = model.ready(now).any(|(key, _, _)| key == taken.key);
                            prop_assert!(ready, "not asked for, too early, or running");
                            let (due, priority) = model.wanted.remove(&taken.key).unwrap();
                            prop_assert_eq!(priority, taken.priority);
                            prop_assert!(taken.waited <= now - due);
                            prop_assert!(model.running.insert(taken.key));
                        }
                    },
                    Step::Done { which } => {
                        let mut running: Vec<u8> = model.running.iter().copied().collect();
                        running.sort_unstable();
                        if !running.is_empty() {
                            let key = *which.get(&running);
                            schedule.done(&key, now);
                            model.running.remove(&key);
                        }
                    }
                    Step::Forget { key } => {
                        schedule.forget(&key);
                        model.wanted.remove(&key);
                    }
                    Step::Wait { seconds } => now += Duration::from_secs(seconds),
                }
                prop_assert_eq!(schedule.running(), model.running.len());
                prop_assert_eq!(schedule.len(), model.wanted.keys().filter(|k| !model.running.contains(k)).count());
                prop_assert_eq!(schedule.depth(Edit) + schedule.depth(Resync) + schedule.later.len(), schedule.len());
            }
            // In the end everything that is still asked for comes out, each key once.
            for key in model.running.drain() {
                schedule.done(&key, now);
            }
            let mut rest = drain(&mut schedule, now + Duration::from_secs(3600));
            rest.sort_unstable();
            let mut expected: Vec<u8> = model.wanted.into_keys().collect();
            expected.sort_unstable();
            prop_assert_eq!(rest, expected);
        }

        #[test]
        fn equals_leave_in_the_order_of_arrival(keys in prop::collection::vec(any::<u8>(), 1..60)) {
            let now = Instant::now();
            let mut schedule = Schedule::new();
            let mut expected = Vec::new();
            for key in keys {
                if schedule.add(key, Resync, now) {
                    expected.push(key);
                }
            }
            prop_assert_eq!(drain(&mut schedule, now), expected);
        }

        #[test]
        fn a_wait_is_within_its_spread(failures in 1..80_u32, jitter in 0.0..=1.0_f64) {
            let mut backoff = Backoff::new();
            let mut wait = Duration::ZERO;
            for _ in 0..failures {
                wait = backoff.failed(&1, jitter);
            }
            let exact = (5.0 * 2_f64.powi(failures.min(10) as i32 - 1)).min(600.0);
            let share = wait.as_secs_f64() / exact;
            prop_assert!((0.799..=1.201).contains(&share), "{wait:?} for {exact} s");
        }
    }

    #[test]
    fn a_wait_doubles_up_to_ten_minutes_and_starts_again_after_success() {
        let mut backoff = Backoff::new();
        let waits: Vec<u64> = (0..9).map(|_| backoff.failed(&"a", 0.5).as_secs()).collect();
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 600, 600]);
        assert_eq!(backoff.failed(&"b", 0.0), Duration::from_secs(4));
        assert_eq!(backoff.failed(&"c", 1.0), Duration::from_secs(6));
        assert_eq!((backoff.failures(&"a"), backoff.len()), (9, 3));
        backoff.succeeded(&"a");
        assert_eq!((backoff.failures(&"a"), backoff.failed(&"a", 0.5).as_secs()), (0, 5));
        for key in ["a", "b", "c"] {
            backoff.forget(&key);
        }
        assert!(backoff.is_empty());
    }

    #[test]
    fn a_jitter_that_is_no_share_is_harmless() {
        for (jitter, seconds) in [(f64::NAN, 5), (f64::INFINITY, 5), (-3.0, 4), (7.0, 6)] {
            assert_eq!(Backoff::new().failed(&1, jitter).as_secs(), seconds, "{jitter}");
        }
    }

    fn queue() -> (Queue<u32>, Arc<Metrics>) {
        let metrics = Arc::new(Metrics::new("test"));
        (Queue::new(metrics.queue("vpcposture")), metrics)
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiting_worker_gets_what_is_added_and_what_becomes_due() {
        let (queue, _) = queue();
        let start = Instant::now();
        queue.add_after(7, 10 * SECOND, Resync);
        let waiter = tokio::spawn({
            let queue = queue.clone();
            async move { queue.next().await.map(|lease| *lease.key()) }
        });
        assert_eq!(waiter.await.unwrap(), Some(7));
        assert_eq!(start.elapsed(), 10 * SECOND);
        queue.add(8, Edit);
        let lease = queue.next().await.unwrap();
        assert_eq!((*lease.key(), lease.priority(), lease.waited()), (8, Edit, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_ends_when_its_task_panics() {
        let (queue, _) = queue();
        queue.add(1, Edit);
        let lease = queue.next().await.unwrap();
        queue.add(1, Resync);
        assert_eq!((queue.running(), queue.len()), (1, 0));
        let worker = tokio::spawn(async move {
            let _lease = lease;
            panic!("as a bug would");
        });
        assert!(worker.await.unwrap_err().is_panic());
        assert_eq!((queue.running(), queue.len()), (0, 1));
        assert_eq!(*queue.next().await.unwrap().key(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn shutting_down_ends_every_wait() {
        let (queue, _) = queue();
        queue.add_after(1, 60 * SECOND, Resync);
        let workers: Vec<_> = (0..3)
            .map(|_| {
                let queue = queue.clone();
                tokio::spawn(async move { queue.next().await.is_none() })
            })
            .collect();
        tokio::time::sleep(SECOND).await;
        queue.shut_down();
        for worker in workers {
            assert!(worker.await.unwrap());
        }
        queue.add(2, Edit);
        assert!(queue.next().await.is_none());
    }

    /// Whichever worker learned of a delayed key, and whatever becomes of it: another one is there in time.
    #[tokio::test(start_paused = true)]
    async fn every_worker_watches_the_clock() {
        for cancelled in 0..3 {
            let (queue, _) = queue();
            let workers: Vec<_> = (0..3)
                .map(|_| {
                    let queue = queue.clone();
                    tokio::spawn(async move { queue.next().await.map(|lease| *lease.key()) })
                })
                .collect();
            let start = Instant::now();
            tokio::time::sleep(SECOND).await;
            queue.add_after(1, 10 * SECOND, Resync);
            queue.add_after(2, 10 * SECOND, Resync);
            tokio::time::sleep(SECOND).await;
            workers[cancelled].abort();
            let mut seen = Vec::new();
            for (number, worker) in workers.into_iter().enumerate() {
                if number != cancelled {
                    seen.extend(worker.await.unwrap());
                }
            }
            seen.sort_unstable();
            assert_eq!((seen.as_slice(), start.elapsed()), ([1, 2].as_slice(), 11 * SECOND));
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn many_workers_never_hold_one_key_twice_and_lose_none() {
        const KEYS: u32 = 20;
        const ROUNDS: u32 = 200;
        let (queue, _) = queue();
        let held = Arc::new(Mutex::new(HashSet::new()));
        let last_seen = Arc::new(Mutex::new(HashMap::new()));
        let written = Arc::new(Mutex::new(HashMap::new()));
        let workers: Vec<_> = (0..8)
            .map(|_| {
                let (queue, held) = (queue.clone(), Arc::clone(&held));
                let (last_seen, written) = (Arc::clone(&last_seen), Arc::clone(&written));
                tokio::spawn(async move {
                    while let Some(lease) = queue.next().await {
                        assert!(held.lock().unwrap().insert(*lease.key()), "held twice");
                        let value: Option<u32> = written.lock().unwrap().get(lease.key()).copied();
                        tokio::task::yield_now().await;
                        last_seen.lock().unwrap().insert(*lease.key(), value);
                        assert!(held.lock().unwrap().remove(lease.key()));
                    }
                })
            })
            .collect();
        for round in 1..=ROUNDS {
            for key in 0..KEYS {
                written.lock().unwrap().insert(key, round);
                queue.add(key, if key % 3 == 0 { Edit } else { Resync });
            }
            tokio::task::yield_now().await;
        }
        let idle = async {
            while queue.len() + queue.running() > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(30 * SECOND, idle).await.unwrap();
        queue.shut_down();
        for worker in workers {
            worker.await.unwrap();
        }
        // Level-triggered: whoever looked last saw what was written last.
        let last_seen = last_seen.lock().unwrap();
        assert!((0..KEYS).all(|key| last_seen.get(&key) == Some(&Some(ROUNDS))), "{last_seen:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_metrics_follow() {
        let (queue, metrics) = queue();
        queue.add(1, Resync);
        queue.add(1, Resync);
        queue.add(2, Edit);
        queue.add_after(3, 60 * SECOND, Resync);
        let value = |name: &str| {
            let text = metrics.encode();
            let line = text.lines().find(|line| line.starts_with(name)).map(str::to_owned);
            line.and_then(|line| line.rsplit_once(' ').map(|(_, value)| value.to_owned()))
        };
        let labels = r#"name="vpcposture",controller="vpcposture""#;
        let depth = |priority: &str| value(&format!(r#"workqueue_depth{{{labels},priority="{priority}"}}"#));
        assert_eq!((depth("0").as_deref(), depth("-100").as_deref()), (Some("1"), Some("1")));
        assert_eq!(value(&format!("workqueue_adds_total{{{labels}}}")).as_deref(), Some("3"));
        assert_eq!(value(&format!("workqueue_retries_total{{{labels}}}")).as_deref(), Some("1"));
        drop(queue.next().await);
        assert_eq!((depth("0").as_deref(), depth("-100").as_deref()), (Some("0"), Some("1")));
        for histogram in ["queue", "work"] {
            let count = value(&format!("workqueue_{histogram}_duration_seconds_count{{{labels}}}"));
            assert_eq!(count.as_deref(), Some("1"), "{histogram}");
        }
    }
}
