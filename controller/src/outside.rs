//! Time and chance. Both come from outside, so that a whole run of the controller can be repeated exactly.

use std::{
    fmt,
    hash::{BuildHasher, Hasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
};

use jiff::Timestamp;
use tokio::time::Instant;

/// The step between two states of the generator, and the factors that mix one (SplitMix64).
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
const MIX: [u64; 2] = [0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb];

/// Where the time and all chance come from.
pub struct Outside {
    clock: Box<dyn Fn() -> Timestamp + Send + Sync>,
    /// The time at the beginning, by the clock and by the one that only goes forward.
    began: (Timestamp, Instant),
    chance: AtomicU64,
    /// Apart from chance, so that what is told of a run does not change it.
    names: AtomicU64,
}

/// The system's clock. Nothing below this crate reads one.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
pub fn wall() -> Timestamp {
    Timestamp::now()
}

impl fmt::Debug for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outside").finish_non_exhaustive()
    }
}

impl Outside {
    /// The system's clock, and chance that differs from process to process.
    #[must_use]
    pub fn real() -> Self {
        Self::given(wall, RandomState::new().build_hasher().finish())
    }

    /// A clock and a seed; the same ones give the same run.
    pub fn given(clock: impl Fn() -> Timestamp + Send + Sync + 'static, seed: u64) -> Self {
        let began = (clock(), Instant::now());
        Self { clock: Box::new(clock), began, chance: AtomicU64::new(seed), names: AtomicU64::new(!seed) }
    }

    /// The current time: for what others read or have written.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// The time by which ages are told. It only goes forward: a clock that is set makes no fact older or younger.
    #[must_use]
    pub fn steady(&self) -> Timestamp {
        let (began, since) = self.began;
        began + since.elapsed()
    }

    /// A number from 0 up to but not including 1, so that not everybody comes back at once.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a spread needs no exact number")]
    pub fn jitter(&self) -> f64 {
        let mixed = draw(&self.chance);
        // The 53 bits that a double holds exactly.
        (mixed >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A name that nothing else has, in the form of a random UUID (RFC 9562, version 4).
    #[must_use]
    pub fn unique(&self) -> String {
        let [high, low] = [draw(&self.names), draw(&self.names)];
        let version = high & !0xf000 | 0x4000;
        let variant = low & !(0b11 << 62) | 0b10 << 62;
        format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            version >> 32,
            version >> 16 & 0xffff,
            version & 0xffff,
            variant >> 48,
            variant & 0xffff_ffff_ffff
        )
    }
}

fn draw(from: &AtomicU64) -> u64 {
    let mut mixed = from.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(MIX[0]);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(MIX[1]);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_set_makes_nothing_older_or_younger() {
        let clock = std::sync::Arc::new(std::sync::atomic::AtomicI64::new(1_000_000));
        let hands = clock.clone();
        let read = move || Timestamp::from_second(hands.load(Ordering::Relaxed)).unwrap();
        let outside = Outside::given(read, 1);
        tokio::time::advance(std::time::Duration::from_secs(60)).await;
        for hours in [-5, 5] {
            clock.store(1_000_000 + hours * 3600, Ordering::Relaxed);
            assert_eq!(outside.now().as_second(), 1_000_000 + hours * 3600);
            assert_eq!(outside.steady().as_second(), 1_000_060);
        }
    }

    #[test]
    fn names_differ_and_leave_chance_as_it_is() {
        let draw = |names: usize| {
            let outside = Outside::given(|| Timestamp::UNIX_EPOCH, 7);
            let drawn: Vec<String> = (0..names).map(|_| outside.unique()).collect();
            (drawn, outside.jitter())
        };
        let (drawn, chance) = draw(100);
        assert_eq!(chance, draw(0).1);
        assert_eq!(drawn.iter().collect::<std::collections::BTreeSet<_>>().len(), 100);
        for name in drawn {
            let parts: Vec<usize> = name.split('-').map(str::len).collect();
            assert_eq!(parts, [8, 4, 4, 4, 12], "{name}");
            assert!(name.as_bytes()[14] == b'4' && b"89ab".contains(&name.as_bytes()[19]), "{name}");
        }
    }

    #[test]
    fn chance_is_spread_over_its_whole_range_and_repeats_with_its_seed() {
        let draw = |seed| {
            let outside = Outside::given(|| Timestamp::UNIX_EPOCH, seed);
            (0..1000).map(|_| outside.jitter()).collect::<Vec<f64>>()
        };
        let drawn = draw(7);
        assert_eq!(drawn, draw(7));
        assert_ne!(drawn, draw(8));
        for tenth in 0..10 {
            let (low, high) = (f64::from(tenth) / 10.0, f64::from(tenth + 1) / 10.0);
            let within = drawn.iter().filter(|x| (low..high).contains(*x)).count();
            assert!((60..140).contains(&within), "{within} of 1000 from {low} to {high}");
        }
    }
}
