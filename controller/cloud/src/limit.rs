//! AWS's rates, kept before AWS has to say so.
//!
//! AWS meters each API family of an account and region with a token bucket. We keep the same buckets, at a share of
//! the published size, and wait our turn. A bucket is one instant: the time at which it will be full again
//! (generic cell rate algorithm). That makes waits exact, and a full bucket is one that need not be remembered.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ssm_ready_core::{
    calls::{Bucket, Operation},
    fault::Fault,
    ids::{AccountId, Region},
};
use tokio::time::Instant;

use crate::observe::Observer;

/// The share of AWS's rates for calls that come without a scope, and so without a share of their own.
pub const DEFAULT_SHARE_PERCENT: u8 = 50;
/// The longest that a read waits for its turn; with AWS's rates that is a queue of hundreds.
const MAX_READ_WAIT: Duration = Duration::from_secs(60);
/// The longest that a write waits: longer, and its object is better looked at again when the time has come.
const MAX_WRITE_WAIT: Duration = Duration::from_secs(1);
/// Below this many buckets none is looked over: they are a few dozen bytes each.
const MIN_BUCKETS_TO_SWEEP: usize = 1024;

/// How fast calls may follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// The time in which one token is added.
    interval: Duration,
    /// How far the bucket may be from full while it still holds a token: all of its tokens but one.
    slack: Duration,
}

impl Rate {
    /// A share of a bucket's published rate. Rounded so that it never exceeds AWS's, but for one call at least.
    #[must_use]
    pub fn of(bucket: Bucket, share_percent: u8) -> Self {
        let share = f64::from(share_percent.clamp(1, 100)) / 100.0;
        let (size, per_second) = bucket.rates();
        // Nanoseconds and small whole numbers: both far inside what the types hold.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let (interval_ns, size) = ((1e9 / (per_second * share)).ceil() as u64, (size * share).floor().max(1.0) as u32);
        let interval = Duration::from_nanos(interval_ns);
        Self { interval, slack: interval * (size - 1) }
    }
}

/// A token bucket, as the instant at which it is full again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenBucket {
    full_at: Instant,
}

impl TokenBucket {
    /// A full bucket.
    #[must_use]
    pub fn full(now: Instant) -> Self {
        Self { full_at: now }
    }

    /// Whether it is full, and so as good as none.
    #[must_use]
    pub fn is_full(&self, now: Instant) -> bool {
        self.full_at <= now
    }

    /// How long until it holds a token.
    #[must_use]
    pub fn wait(&self, rate: Rate, now: Instant) -> Duration {
        self.full_at.max(now).duration_since(now).saturating_sub(rate.slack)
    }

    /// Takes a token, or says how long until there is one.
    ///
    /// # Errors
    /// The exact time to wait.
    pub fn take(&mut self, rate: Rate, now: Instant) -> Result<(), Duration> {
        let wait = self.wait(rate, now);
        if wait > Duration::ZERO {
            return Err(wait);
        }
        self.reserve(rate, now);
        Ok(())
    }

    /// Takes a token that may be there only later, and says when: those who ask later get theirs later still.
    pub fn reserve(&mut self, rate: Rate, now: Instant) -> Duration {
        let wait = self.wait(rate, now);
        self.full_at = self.full_at.max(now) + rate.interval;
        wait
    }

    /// Empties it: AWS said that it counts more calls than we do.
    pub fn drain(&mut self, rate: Rate, now: Instant) {
        self.full_at = self.full_at.max(now + rate.slack + rate.interval);
    }
}

/// Whose bucket it is. STS counts roles taken on against the caller, IAM is the same in all regions.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    account: Option<AccountId>,
    region: Option<Region>,
    bucket: Bucket,
}

impl Key {
    fn of(account: &AccountId, region: &Region, operation: Operation) -> Self {
        let bucket = operation.bucket();
        Self {
            account: (operation != Operation::AssumeRole).then(|| account.clone()),
            region: (bucket != Bucket::Iam).then(|| region.clone()),
            bucket,
        }
    }
}

#[derive(Debug)]
struct Buckets {
    by_key: HashMap<Key, TokenBucket>,
    sweep_at: usize,
}

/// All buckets. Shared by everything that calls AWS, whatever the kind of its object.
#[derive(Debug)]
pub struct Limiter {
    buckets: Mutex<Buckets>,
    observer: Arc<dyn Observer>,
}

impl Limiter {
    /// A limiter whose buckets are all full, as AWS's are to somebody who has not called for a while.
    #[must_use]
    pub fn new(observer: Arc<dyn Observer>) -> Self {
        let buckets = Buckets { by_key: HashMap::new(), sweep_at: MIN_BUCKETS_TO_SWEEP };
        Self { buckets: Mutex::new(buckets), observer }
    }

    /// Waits until a read may be made, in the order of asking. A caller that goes away while it waits has still used
    /// its turn.
    ///
    /// # Errors
    /// [`Fault::held_back`] when too many wait already.
    pub async fn pass_read(
        &self,
        account: &AccountId,
        region: &Region,
        operation: Operation,
        share_percent: u8,
    ) -> Result<(), Fault> {
        self.pass(account, region, operation, share_percent, MAX_READ_WAIT).await
    }

    /// As [`Self::pass_read`], for a write: it waits a moment at most.
    ///
    /// # Errors
    /// [`Fault::held_back`] with the time after which to come again.
    pub async fn pass_write(
        &self,
        account: &AccountId,
        region: &Region,
        operation: Operation,
        share_percent: u8,
    ) -> Result<(), Fault> {
        self.pass(account, region, operation, share_percent, MAX_WRITE_WAIT).await
    }

    /// Takes a token if there is one.
    ///
    /// # Errors
    /// The time after which there is one.
    pub fn try_pass(
        &self,
        account: &AccountId,
        region: &Region,
        operation: Operation,
        share_percent: u8,
    ) -> Result<(), Duration> {
        self.with(account, region, operation, share_percent, |bucket, rate, now| bucket.take(rate, now))
    }

    /// Counts a call that was made without asking: a retry inside the SDK.
    pub fn charge(&self, account: &AccountId, region: &Region, operation: Operation, share_percent: u8) {
        self.with(account, region, operation, share_percent, |bucket, rate, now| {
            bucket.reserve(rate, now);
        });
    }

    /// Takes AWS's word for it that the bucket is empty: somebody else calls in the account as well.
    pub fn drain(&self, account: &AccountId, region: &Region, operation: Operation, share_percent: u8) {
        self.with(account, region, operation, share_percent, TokenBucket::drain);
    }

    async fn pass(
        &self,
        account: &AccountId,
        region: &Region,
        operation: Operation,
        share_percent: u8,
        max_wait: Duration,
    ) -> Result<(), Fault> {
        let turn = self.with(account, region, operation, share_percent, |bucket, rate, now| {
            let wait = bucket.wait(rate, now);
            if wait > max_wait { Err(wait) } else { Ok(bucket.reserve(rate, now)) }
        });
        let wait = turn.map_err(|wait| Fault::held_back(operation, wait))?;
        if wait > Duration::ZERO {
            self.observer.waited(operation, wait);
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }

    fn with<T>(
        &self,
        account: &AccountId,
        region: &Region,
        operation: Operation,
        share_percent: u8,
        act: impl FnOnce(&mut TokenBucket, Rate, Instant) -> T,
    ) -> T {
        let now = Instant::now();
        let mut buckets = self.lock();
        if buckets.by_key.len() >= buckets.sweep_at {
            buckets.by_key.retain(|_, bucket| !bucket.is_full(now));
            buckets.sweep_at = MIN_BUCKETS_TO_SWEEP.max(2 * buckets.by_key.len());
        }
        let key = Key::of(account, region, operation);
        let rate = Rate::of(key.bucket, share_percent);
        act(buckets.by_key.entry(key).or_insert_with(|| TokenBucket::full(now)), rate, now)
    }

    fn lock(&self) -> MutexGuard<'_, Buckets> {
        // A bucket is one instant: whatever a panicking thread left there is usable.
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ssm_ready_core::fault::HELD_BACK;

    use super::*;
    use crate::observe::Unobserved;

    const ALL: [Bucket; 11] = [
        Bucket::Ec2Read,
        Bucket::Ec2Write,
        Bucket::CreateVpcEndpoint,
        Bucket::ModifyVpcEndpoint,
        Bucket::DeleteVpcEndpoints,
        Bucket::AuthorizeIngress,
        Bucket::RevokeIngress,
        Bucket::Ec2Tags,
        Bucket::Ssm,
        Bucket::Iam,
        Bucket::Sts,
    ];

    fn account(n: u64) -> AccountId {
        format!("{n:012}").parse().unwrap()
    }

    fn region() -> Region {
        "eu-west-1".parse().unwrap()
    }

    fn limiter() -> Limiter {
        Limiter::new(Arc::new(Unobserved))
    }

    #[test]
    fn bursts_are_a_share_of_the_published_size_and_one_at_least() {
        for (bucket, share, burst) in [
            (Bucket::CreateVpcEndpoint, 100, 4),
            (Bucket::CreateVpcEndpoint, 50, 2),
            (Bucket::CreateVpcEndpoint, 1, 1),
            (Bucket::CreateVpcEndpoint, 0, 1),
            (Bucket::Ec2Read, 100, 100),
            (Bucket::Ec2Read, 33, 33),
            (Bucket::Iam, 50, 2),
        ] {
            let now = Instant::now();
            let rate = Rate::of(bucket, share);
            let mut tokens = TokenBucket::full(now);
            let taken = (0..1000).take_while(|_| tokens.take(rate, now).is_ok()).count();
            assert_eq!(taken, burst, "{bucket:?} at {share} %");
        }
    }

    #[test]
    fn waits_are_exact() {
        for bucket in ALL {
            for share in [1, 7, 50, 100] {
                let rate = Rate::of(bucket, share);
                let mut now = Instant::now();
                let mut tokens = TokenBucket::full(now);
                while tokens.take(rate, now).is_ok() {}
                let wait = tokens.take(rate, now).unwrap_err();
                now += wait - Duration::from_nanos(1);
                assert_eq!(tokens.take(rate, now), Err(Duration::from_nanos(1)), "{bucket:?} at {share} %");
                now += Duration::from_nanos(1);
                assert_eq!(tokens.take(rate, now), Ok(()), "{bucket:?} at {share} %");
            }
        }
    }

    #[test]
    fn reserved_turns_come_one_after_another() {
        let now = Instant::now();
        let rate = Rate::of(Bucket::Iam, 100);
        let mut tokens = TokenBucket::full(now);
        let turns: Vec<u128> = (0..8).map(|_| tokens.reserve(rate, now).as_millis()).collect();
        assert_eq!(turns, [0, 0, 0, 0, 0, 500, 1000, 1500]);
    }

    #[test]
    fn a_drained_bucket_gives_the_next_token_after_one_interval() {
        let now = Instant::now();
        let rate = Rate::of(Bucket::Iam, 100);
        let mut tokens = TokenBucket::full(now);
        tokens.drain(rate, now);
        assert_eq!(tokens.take(rate, now), Err(Duration::from_millis(500)));
    }

    proptest! {
        /// AWS's own bucket, fed with every call that ours lets through at the moment it does, never runs dry.
        #[test]
        fn aws_never_has_to_refuse(
            which in 0..ALL.len(),
            share in 1_u8..=100,
            pauses_ms in prop::collection::vec(0_u64..4000, 1..300),
            reserving in any::<bool>(),
        ) {
            let bucket = ALL[which];
            let (size, per_second) = bucket.rates();
            let rate = Rate::of(bucket, share);
            let start = Instant::now();
            let (mut now, mut tokens) = (start, TokenBucket::full(start));
            let mut calls = Vec::new();
            for pause in pauses_ms {
                now += Duration::from_millis(pause);
                if reserving {
                    calls.push(now + tokens.reserve(rate, now));
                } else if tokens.take(rate, now).is_ok() {
                    calls.push(now);
                }
            }
            prop_assert!(calls.is_sorted());
            let (mut theirs, mut at) = (size, start);
            for call in calls {
                theirs = (theirs + call.duration_since(at).as_secs_f64() * per_second).min(size) - 1.0;
                at = call;
                prop_assert!(theirs > -1e-6, "{bucket:?} at {share} %: {theirs}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn reads_wait_their_turn_and_no_longer_than_a_minute() {
        let limiter = limiter();
        let began = Instant::now();
        for _ in 0..7 {
            limiter.pass_read(&account(1), &region(), Operation::SimulatePrincipalPolicy, 100).await.unwrap();
        }
        assert_eq!(began.elapsed().as_secs(), 1);
        for _ in 0..200 {
            limiter.charge(&account(1), &region(), Operation::SimulatePrincipalPolicy, 100);
        }
        let fault =
            limiter.pass_read(&account(1), &region(), Operation::SimulatePrincipalPolicy, 100).await.unwrap_err();
        assert_eq!(fault.code, HELD_BACK);
        assert!(fault.retry_after > Some(MAX_READ_WAIT));
    }

    #[tokio::test(start_paused = true)]
    async fn writes_are_held_back_rather_than_kept_waiting() {
        let limiter = limiter();
        let began = Instant::now();
        for _ in 0..4 {
            limiter.pass_write(&account(1), &region(), Operation::CreateVpcEndpoint, 100).await.unwrap();
        }
        let fault = limiter.pass_write(&account(1), &region(), Operation::CreateVpcEndpoint, 100).await.unwrap_err();
        assert_eq!((fault.code.as_str(), began.elapsed()), (HELD_BACK, Duration::ZERO));
        let wait = fault.retry_after.unwrap();
        assert!(wait > Duration::from_secs(3) && wait < Duration::from_secs(4), "{wait:?}");
        tokio::time::sleep(wait).await;
        limiter.try_pass(&account(1), &region(), Operation::CreateVpcEndpoint, 100).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn accounts_regions_and_families_do_not_share() {
        let limiter = limiter();
        let pass = |account: &AccountId, region: &str, operation| {
            limiter.try_pass(account, &region.parse().unwrap(), operation, 1).is_ok()
        };
        assert!(pass(&account(1), "eu-west-1", Operation::CreateVpcEndpoint));
        assert!(!pass(&account(1), "eu-west-1", Operation::CreateVpcEndpoint));
        assert!(pass(&account(1), "eu-west-1", Operation::DeleteVpcEndpoints));
        assert!(pass(&account(1), "eu-west-2", Operation::CreateVpcEndpoint));
        assert!(pass(&account(2), "eu-west-1", Operation::CreateVpcEndpoint));
        // IAM is one for all regions, and for reads and writes.
        assert!(pass(&account(1), "eu-west-1", Operation::SimulatePrincipalPolicy));
        assert!(!pass(&account(1), "eu-west-2", Operation::SimulatePrincipalPolicy));
        assert!(!pass(&account(1), "eu-west-2", Operation::GetRole));
        assert!(!pass(&account(1), "eu-west-3", Operation::CreateRole));
        assert!(pass(&account(2), "eu-west-3", Operation::CreateRole));
        // Systems Manager is not.
        assert!(pass(&account(1), "eu-west-1", Operation::GetServiceSetting));
        assert!(!pass(&account(1), "eu-west-1", Operation::UpdateDocument));
        assert!(pass(&account(1), "eu-west-2", Operation::UpdateDocument));
    }

    #[tokio::test(start_paused = true)]
    async fn full_buckets_are_forgotten() {
        let limiter = limiter();
        for n in 0..10_000 {
            limiter.try_pass(&account(n), &region(), Operation::DescribeVpcs, 100).unwrap();
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        let kept = limiter.lock().by_key.len();
        assert!(kept <= MIN_BUCKETS_TO_SWEEP, "{kept}");
    }
}
