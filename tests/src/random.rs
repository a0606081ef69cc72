//! Chance that can be repeated.

/// Numbers that follow from a seed (SplitMix64).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The same numbers for the same seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The seed of a run: that of `SSM_READY_SEED`, to repeat one, else another for each run.
    #[must_use]
    pub fn seed() -> u64 {
        let given = std::env::var("SSM_READY_SEED").ok().and_then(|text| text.parse().ok());
        let clock = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |t| t.as_secs());
        given.unwrap_or_else(clock)
    }

    /// The next number, below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.draw() % end.max(1)
    }

    /// The next number, from 0 up to but not including 1.
    #[expect(clippy::cast_precision_loss, reason = "53 bits are exactly what a double holds")]
    pub fn unit(&mut self) -> f64 {
        (self.draw() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_again() {
        let take = |seed| {
            let mut random = Random::new(seed);
            (0..50).map(|_| random.below(100)).collect::<Vec<_>>()
        };
        assert_eq!(take(7), take(7));
        assert_ne!(take(7), take(8));
        assert!(take(7).iter().any(|n| *n < 50) && take(7).iter().any(|n| *n >= 50));
        assert_eq!(Random::new(1).below(0), 0);
        let mut random = Random::new(7);
        assert!((0..50).map(|_| random.unit()).all(|share| (0.0..1.0).contains(&share)));
    }
}
