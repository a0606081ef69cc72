//! Things that AWS holds: what they are, who made them so, and what of it can be seen.

use std::{
    collections::BTreeMap,
    ops::{Deref, DerefMut},
    time::Duration,
};

use jiff::Timestamp;

use super::{rng::Rng, weather::Weather};

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Actor {
    /// A controller, by the name of its process or cluster.
    Controller(String),
    /// Somebody at the console.
    Person,
    /// An infrastructure tool with a state of its own.
    Terraform,
    /// AWS's own set-up tool.
    QuickSetup,
    /// AWS itself.
    Aws,
}

/// The time some while after another.
pub(super) fn later(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// The time some while before another.
fn earlier(at: Timestamp, by: Duration) -> Timestamp {
    at.checked_sub(by).unwrap_or(Timestamp::MIN)
}

/// One thing: its truth, its story, and the forms of it that a list may still show. Reads as the thing itself.
#[derive(Debug, Clone)]
pub struct Record<T> {
    /// What is true now.
    pub value: T,
    /// Who made it.
    pub made_by: Actor,
    /// When.
    pub made_at: Timestamp,
    /// Who changed it last.
    pub last_changed_by: Actor,
    /// When.
    pub changed_at: Timestamp,
    /// Goes up with each change.
    pub version: u64,
    /// From when on lists may show it.
    pub visible_from: Timestamp,
    /// From when on every list shows it.
    pub settled_from: Timestamp,
    /// Earlier forms, oldest first, each with the time until which it was true.
    past: Vec<(Timestamp, T)>,
}

impl<T> Deref for Record<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Clone> Record<T> {
    pub(super) fn new(value: T, by: &Actor, now: Timestamp, weather: &Weather, rng: &mut Rng) -> Self {
        let (visible_from, settled_from) = if weather.lasts(now) {
            let visible = later(now, rng.within(weather.visible_after));
            (visible, later(visible, rng.within(weather.flicker_for)))
        } else {
            (now, now)
        };
        Self {
            value,
            made_by: by.clone(),
            made_at: now,
            last_changed_by: by.clone(),
            changed_at: now,
            version: 1,
            visible_from,
            settled_from,
            past: Vec::new(),
        }
    }

    /// Something that has always been there, and that every list shows.
    pub(super) fn standing(value: T, by: &Actor, now: Timestamp) -> Self {
        Self {
            value,
            made_by: by.clone(),
            made_at: now,
            last_changed_by: by.clone(),
            changed_at: now,
            version: 1,
            visible_from: now,
            settled_from: now,
            past: Vec::new(),
        }
    }

    /// Changes the thing, and remembers the form before for as long as an old list may show it.
    pub(super) fn change(&mut self, by: &Actor, now: Timestamp, weather: &Weather, change: impl FnOnce(&mut T)) {
        let horizon = earlier(now, weather.stale_by.most);
        self.past.retain(|(until, _)| *until > horizon);
        if weather.stale > 0.0 && weather.lasts(now) {
            self.past.push((now, self.value.clone()));
        }
        change(&mut self.value);
        self.version += 1;
        self.last_changed_by = by.clone();
        self.changed_at = now;
    }

    /// Its form at a time, or the oldest that is still known.
    pub(super) fn as_of(&self, at: Timestamp) -> &T {
        self.past.iter().find(|(until, _)| *until > at).map_or(&self.value, |(_, form)| form)
    }
}

/// Things by id. Reads as a map of what exists; what was deleted may be listed a while longer.
#[derive(Debug, Clone)]
pub struct Table<K, T> {
    live: BTreeMap<K, Record<T>>,
    ghosts: Vec<(Timestamp, K, T)>,
}

impl<K, T> Default for Table<K, T> {
    fn default() -> Self {
        Self { live: BTreeMap::new(), ghosts: Vec::new() }
    }
}

impl<K, T> Deref for Table<K, T> {
    type Target = BTreeMap<K, Record<T>>;

    fn deref(&self) -> &Self::Target {
        &self.live
    }
}

impl<K, T> DerefMut for Table<K, T> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.live
    }
}

impl<K: Ord + Clone, T: Clone> Table<K, T> {
    /// Takes a thing away; lists may show it until then.
    pub(super) fn bury(&mut self, key: &K, now: Timestamp, listed_until: Timestamp) -> Option<T> {
        let record = self.live.remove(key)?;
        self.ghosts.retain(|(until, ..)| *until > now);
        if listed_until > now {
            self.ghosts.push((listed_until, key.clone(), record.value.clone()));
        }
        Some(record.value)
    }

    /// What one list shows.
    pub(super) fn list(&self, eye: &mut Eye<'_>) -> Vec<&T> {
        let mut shown: Vec<&T> = self.live.values().filter_map(|record| eye.see(record)).collect();
        for (until, _, ghost) in &self.ghosts {
            if eye.sees_ghost(*until) {
                shown.push(ghost);
            }
        }
        eye.shuffle(&mut shown);
        shown
    }

    /// One thing, as a read of it shows it. What was deleted may be shown a while longer, unless there is another of
    /// its name.
    pub(super) fn find(&self, key: &K, eye: &mut Eye<'_>) -> Option<&T> {
        if let Some(record) = self.live.get(key) {
            return eye.see(record);
        }
        let (until, _, ghost) = self.ghosts.iter().rfind(|(_, of, _)| of == key)?;
        eye.sees_ghost(*until).then_some(ghost)
    }
}

/// One look at AWS, as old as AWS happens to answer it.
#[derive(Debug)]
pub(super) struct Eye<'a> {
    now: Timestamp,
    as_of: Timestamp,
    clouded: bool,
    flicker: f64,
    shuffle: bool,
    rng: &'a mut Rng,
}

impl<'a> Eye<'a> {
    pub fn open(now: Timestamp, weather: &Weather, rng: &'a mut Rng) -> Self {
        let clouded = weather.lasts(now);
        let old = clouded && rng.chance(weather.stale);
        let as_of = if old { earlier(now, rng.within(weather.stale_by)) } else { now };
        Self { now, as_of, clouded, flicker: weather.flicker, shuffle: weather.shuffle, rng }
    }

    /// When it is.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Puts a list into any order, if AWS does.
    pub fn shuffle<T>(&mut self, things: &mut [T]) {
        if self.shuffle {
            self.rng.shuffle(things);
        }
    }

    /// A number below a bound.
    pub fn roll(&mut self, bound: u64) -> u64 {
        self.rng.below(bound)
    }

    /// Whether it shows what was deleted and may be shown until then.
    fn sees_ghost(&mut self, until: Timestamp) -> bool {
        self.clouded && self.now < until && !self.rng.chance(self.flicker)
    }

    /// The form in which a thing is shown, if it is.
    pub fn see<'t, T: Clone>(&mut self, record: &'t Record<T>) -> Option<&'t T> {
        if !self.clouded {
            return Some(&record.value);
        }
        if self.now < record.visible_from || (self.now < record.settled_from && self.rng.chance(self.flicker)) {
            return None;
        }
        Some(record.as_of(self.as_of))
    }
}
