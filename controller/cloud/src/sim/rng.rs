//! The world's dice: one number, the same rolls on every platform.

use std::time::Duration;

use super::weather::Span;

/// SplitMix64: small, seedable with anything, and its finaliser maps no two numbers to one.
#[derive(Debug, Clone)]
pub(super) struct Rng(u64);

/// What the state moves on by.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// SplitMix64's finaliser.
pub(super) fn mix(number: u64) -> u64 {
    let mut z = number;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// True this often. What never or always happens rolls no dice, so that weather that is off changes nothing else.
    pub fn chance(&mut self, probability: f64) -> bool {
        if probability <= 0.0 {
            return false;
        }
        if probability >= 1.0 {
            return true;
        }
        // 53 bits are exactly what a double holds.
        #[allow(clippy::cast_precision_loss)]
        let roll = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        roll < probability
    }

    /// A number below a bound that is not zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// A time within a span, to the millisecond.
    pub fn within(&mut self, span: Span) -> Duration {
        let width = span.most.saturating_sub(span.least).as_millis();
        if width == 0 {
            return span.least;
        }
        let width = u64::try_from(width).unwrap_or(u64::MAX - 1);
        span.least + Duration::from_millis(self.below(width + 1))
    }

    /// Puts things into any order.
    pub fn shuffle<T>(&mut self, things: &mut [T]) {
        for at in (1..things.len()).rev() {
            // Below `at + 1`, which is a usize.
            let other = usize::try_from(self.below(at as u64 + 1)).unwrap_or(0);
            things.swap(at, other);
        }
    }
}
