//! Which replica works: the one that holds the Lease (`coordination.k8s.io/v1`).
//!
//! Who may take the Lease is decided as client-go decides it: not by the times that are written in it, which are those
//! of other clocks, but by how long, on our own clock, it has not changed. The libraries for this compare the clocks of
//! different machines, so that one clock set wrong makes two leaders.
//!
//! What holds at any time: the leader has renewed the Lease within [`Terms::renew_deadline`], counted from before it
//! asked, or it does nothing more ([`Term::holds`]); the others wait for the longer [`Terms::lease_duration`], counted
//! from after they saw it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::api::{Api, ObjectMeta, PostParams};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{metrics::Metrics, outside::Outside};

/// How long one call to the API server may take.
const CALL_WITHIN: Duration = Duration::from_secs(10);
/// The longest that a Lease of another replica is believed, whatever it says of itself.
const LONGEST: Duration = Duration::from_secs(3600);
/// By how much a follower's looks come early at random, so that not all of them ask at once.
const SPREAD: f64 = 0.2;

/// The times of the election.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// How long the Lease must not have changed before another replica takes it.
    pub lease_duration: Duration,
    /// How long the leader works on without having renewed it.
    pub renew_deadline: Duration,
    /// How often the leader renews it, and the others look.
    pub retry_period: Duration,
}

impl Terms {
    /// Times that leave no moment for two leaders.
    ///
    /// # Errors
    /// Which of the three does not fit the others, and what would.
    pub fn new(lease_duration: Duration, renew_deadline: Duration, retry_period: Duration) -> Result<Self, String> {
        if renew_deadline >= lease_duration {
            return Err(format!(
                "--leader-election-renew-deadline ({}) must be shorter than --leader-election-lease-duration ({}): the leader has to stop before another one begins",
                renew_deadline.as_secs(),
                lease_duration.as_secs()
            ));
        }
        if retry_period * 2 > renew_deadline {
            return Err(format!(
                "--leader-election-retry-period ({}) must be at most half of --leader-election-renew-deadline ({}): one failed try would end the term",
                retry_period.as_secs(),
                renew_deadline.as_secs()
            ));
        }
        Ok(Self { lease_duration, renew_deadline, retry_period })
    }
}

/// The term of this replica: until when it may work.
#[derive(Debug)]
pub struct Term {
    /// Nanoseconds since the epoch, by the clock that only goes forward.
    until: AtomicI64,
    outside: Arc<Outside>,
}

impl Term {
    /// A term that has not begun.
    #[must_use]
    pub fn none(outside: Arc<Outside>) -> Arc<Self> {
        Arc::new(Self { until: AtomicI64::new(i64::MIN), outside })
    }

    /// A term without an end: there is one replica, or others that are told apart otherwise.
    #[must_use]
    pub fn endless(outside: Arc<Outside>) -> Arc<Self> {
        Arc::new(Self { until: AtomicI64::new(i64::MAX), outside })
    }

    /// Whether this replica may write. A process that was stopped for a while (by a debugger, or a machine that is
    /// moved) finds out here, before it does anything.
    #[must_use]
    pub fn holds(&self) -> bool {
        nanoseconds(self.outside.steady()) < self.until.load(Ordering::Acquire)
    }

    fn extend(&self, until: Timestamp) {
        self.until.store(nanoseconds(until), Ordering::Release);
    }

    fn end(&self) {
        self.until.store(i64::MIN, Ordering::Release);
    }
}

fn nanoseconds(at: Timestamp) -> i64 {
    i64::try_from(at.as_nanosecond()).unwrap_or(i64::MAX - 1)
}

/// What one replica knows, and what follows from it. No IO and no clock.
#[derive(Debug, Clone)]
struct Candidate {
    id: String,
    lease_duration: Duration,
    /// The Lease as it was last seen, and when, by our own clock, it was first seen so.
    seen: Option<(LeaseSpec, Timestamp)>,
}

impl Candidate {
    /// What to write into the Lease, if it is ours or free; else, when it will be free unless it changes. `steady` is the
    /// clock that only goes forward; `wall` goes into the Lease, for people.
    fn look(&mut self, found: Option<&LeaseSpec>, steady: Timestamp, wall: Timestamp) -> Result<LeaseSpec, Timestamp> {
        let now = Some(MicroTime(wall));
        let mine = LeaseSpec {
            holder_identity: Some(self.id.clone()),
            lease_duration_seconds: Some(i32::try_from(self.lease_duration.as_secs()).unwrap_or(i32::MAX)),
            acquire_time: now.clone(),
            renew_time: now,
            lease_transitions: Some(0),
            ..LeaseSpec::default()
        };
        let Some(found) = found else {
            self.seen = None;
            return Ok(mine);
        };
        if self.seen.as_ref().is_none_or(|(seen, _)| seen != found) {
            self.seen = Some((found.clone(), steady));
        }
        let holder = found.holder_identity.as_deref().unwrap_or_default();
        if holder == self.id {
            return Ok(LeaseSpec {
                acquire_time: found.acquire_time.clone(),
                lease_transitions: found.lease_transitions,
                ..mine
            });
        }
        let since = self.seen.as_ref().map_or(steady, |(_, at)| *at);
        let term = u64::try_from(found.lease_duration_seconds.unwrap_or_default()).unwrap_or_default();
        // Never shorter than our own: a holder that says nothing of its term would be run over at once.
        let term = Duration::from_secs(term).clamp(self.lease_duration, LONGEST.max(self.lease_duration));
        if !holder.is_empty() && steady < since + term {
            return Err(since + term);
        }
        Ok(LeaseSpec { lease_transitions: Some(found.lease_transitions.unwrap_or_default().saturating_add(1)), ..mine })
    }

    /// What lets another replica begin at once: the Lease of nobody.
    fn release(&self, held: &LeaseSpec, wall: Timestamp) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(1),
            renew_time: Some(MicroTime(wall)),
            ..held.clone()
        }
    }
}

/// What an attempt came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    /// The Lease is ours, as of now.
    Ours,
    /// Another replica holds it; if it does not renew it, it is free then.
    Theirs(Timestamp),
    /// It was changed while we looked; who holds it is to be seen.
    Unclear,
}

/// Where a replica stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// The API server has not told yet who holds the Lease.
    Unknown,
    /// Another replica works.
    Follower,
    /// This one works.
    Leader,
    /// It was the leader, and may do nothing any more.
    Lost,
}

/// This replica among the others.
#[derive(Debug)]
pub struct Replica {
    /// Until when it may work.
    pub term: Arc<Term>,
    standing: watch::Receiver<Standing>,
    election: Option<(JoinHandle<()>, CancellationToken)>,
}

impl Replica {
    /// The only one: it leads from the start, and for ever.
    #[must_use]
    pub fn alone(outside: Arc<Outside>) -> Self {
        Self { term: Term::endless(outside), standing: watch::channel(Standing::Leader).1, election: None }
    }

    /// One of several, called `host` and something that differs from process to process. It begins to ask for the Lease
    /// `name`.
    #[must_use]
    pub fn among_others(
        leases: Api<Lease>,
        name: String,
        host: &str,
        terms: Terms,
        outside: Arc<Outside>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let term = Term::none(outside.clone());
        let (tell, standing) = watch::channel(Standing::Unknown);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "16 bits of chance at a time")]
        let chance = || (outside.jitter() * 65_536.0) as u16;
        let id = format!("{host}_{:04x}{:04x}{:04x}", chance(), chance(), chance());
        let election = Election {
            leases,
            name,
            candidate: Candidate { id, lease_duration: terms.lease_duration, seen: None },
            terms,
            written: None,
            outside,
            term: term.clone(),
            standing: tell,
            metrics,
        };
        let stop = CancellationToken::new();
        let task = tokio::spawn(election.run(stop.clone()));
        Self { term, standing, election: Some((task, stop)) }
    }

    /// Waits until it stands as `wanted` says. One that cannot take part any more has lost.
    pub async fn until(&mut self, wanted: impl FnMut(&Standing) -> bool) -> Standing {
        self.standing.wait_for(wanted).await.map_or(Standing::Lost, |standing| *standing)
    }

    /// Returns when it may do nothing any more; never, where it is the only one.
    pub async fn lost(&mut self) {
        if self.election.is_none() {
            std::future::pending::<()>().await;
        }
        self.until(|standing| *standing == Standing::Lost).await;
    }

    /// Gives the Lease back if it holds it, so that another one begins at once. All work has to have ended.
    pub async fn leave(self) {
        if let Some((election, stop)) = self.election {
            stop.cancel();
            if let Err(error) = election.await {
                tracing::warn!(error = &error as &dyn std::error::Error, "the election ended in a panic");
            }
        }
    }
}

/// One replica's part in the election.
#[derive(Debug)]
struct Election {
    leases: Api<Lease>,
    name: String,
    terms: Terms,
    candidate: Candidate,
    /// The Lease as we wrote it, which can be renewed without being read first.
    written: Option<Lease>,
    outside: Arc<Outside>,
    term: Arc<Term>,
    standing: watch::Sender<Standing>,
    metrics: Arc<Metrics>,
}

impl Election {
    /// Takes part until `stop`, or until the Lease, once ours, is lost.
    async fn run(mut self, stop: CancellationToken) {
        tracing::info!(lease = self.name, identity = self.candidate.id, "asking for the lease");
        self.metrics.leader(self.name.clone(), false);
        let won = stop.run_until_cancelled(self.win()).await.is_some();
        let mut lost = false;
        if won {
            tracing::info!(lease = self.name, identity = self.candidate.id, "leading");
            self.metrics.leader(self.name.clone(), true);
            self.standing.send_replace(Standing::Leader);
            lost = stop.run_until_cancelled(self.keep()).await.is_some();
            self.term.end();
            self.metrics.leader(self.name.clone(), false);
            self.standing.send_replace(Standing::Lost);
        }
        if !lost {
            // Also where it was never won: an attempt that was under way may have been answered to nobody.
            self.release().await;
        }
    }

    async fn win(&mut self) {
        loop {
            let mut wait = self.terms.retry_period.mul_f64(1.0 - SPREAD * self.outside.jitter());
            match self.attempt().await {
                Some(Attempt::Ours) => return,
                Some(Attempt::Theirs(until)) => {
                    // Not a period later than it is free: the work stands still meanwhile.
                    let left = Duration::try_from(until.duration_since(self.outside.steady())).unwrap_or_default();
                    wait = wait.min(left + Duration::from_millis(10));
                    self.standing.send_if_modified(|standing| {
                        std::mem::replace(standing, Standing::Follower) != Standing::Follower
                    });
                }
                Some(Attempt::Unclear) | None => {}
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Returns when the Lease is no longer ours.
    async fn keep(&mut self) {
        loop {
            tokio::time::sleep(self.terms.retry_period).await;
            let attempt = self.attempt().await;
            if matches!(attempt, Some(Attempt::Theirs(_))) {
                tracing::error!(lease = self.name, "another replica has taken the lease");
                return;
            }
            if !self.term.holds() {
                tracing::error!(lease = self.name, "the lease could not be renewed in time");
                return;
            }
        }
    }

    /// One attempt, within its time; none where the API server gave no usable answer.
    async fn attempt(&mut self) -> Option<Attempt> {
        match tokio::time::timeout(CALL_WITHIN.min(self.terms.renew_deadline / 2), self.try_once()).await {
            Ok(Ok(attempt)) => Some(attempt),
            Ok(Err(error)) => {
                self.written = None;
                tracing::warn!(
                    lease = self.name,
                    error = &error as &dyn std::error::Error,
                    "the lease could not be read or written"
                );
                None
            }
            Err(_) => {
                self.written = None;
                tracing::warn!(lease = self.name, "the API server did not answer in time");
                None
            }
        }
    }

    async fn try_once(&mut self) -> kube::Result<Attempt> {
        let found = match self.written.take() {
            Some(written) => Some(written),
            None => self.leases.get_opt(&self.name).await?,
        };
        // From before the Lease is written: by then the others may have seen it.
        let (steady, wall) = (self.outside.steady(), self.outside.now());
        let spec = found.as_ref().map(|lease| lease.spec.clone().unwrap_or_default());
        let spec = match self.candidate.look(spec.as_ref(), steady, wall) {
            Ok(spec) => spec,
            Err(until) => return Ok(Attempt::Theirs(until)),
        };
        let metadata = match &found {
            Some(lease) => lease.metadata.clone(),
            None => ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
        };
        let lease = Lease { metadata, spec: Some(spec) };
        let answer = match found {
            Some(_) => self.leases.replace(&self.name, &PostParams::default(), &lease).await,
            None => self.leases.create(&PostParams::default(), &lease).await,
        };
        match answer {
            Ok(written) => {
                self.written = Some(written);
                self.term.extend(steady + self.terms.renew_deadline);
                Ok(Attempt::Ours)
            }
            Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => Ok(Attempt::Unclear),
            Err(error) => Err(error),
        }
    }

    /// Gives the Lease back, if it is ours. What goes wrong is told, and ends with the Lease.
    async fn release(&mut self) {
        let released = tokio::time::timeout(CALL_WITHIN / 2, async {
            let Some(mut lease) = self.leases.get_opt(&self.name).await? else { return Ok(false) };
            let Some(spec) = lease.spec.take() else { return Ok(false) };
            if spec.holder_identity.as_ref() != Some(&self.candidate.id) {
                return Ok(false);
            }
            lease.spec = Some(self.candidate.release(&spec, self.outside.now()));
            self.leases.replace(&self.name, &PostParams::default(), &lease).await.map(|_| true)
        });
        match released.await {
            Ok(Ok(true)) => tracing::info!(lease = self.name, "released the lease"),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => {
                tracing::warn!(
                    lease = self.name,
                    error = &error as &dyn std::error::Error,
                    "the lease was not released; it runs out"
                );
            }
            Err(_) => tracing::warn!(lease = self.name, "the lease was not released in time; it runs out"),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn terms() -> Terms {
        Terms::new(35 * SECOND, 30 * SECOND, 5 * SECOND).unwrap()
    }

    fn candidate(id: &str) -> Candidate {
        Candidate { id: id.to_owned(), lease_duration: terms().lease_duration, seen: None }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    #[test]
    fn times_that_would_allow_two_leaders_are_refused() {
        let told = |lease, renew, retry| Terms::new(lease * SECOND, renew * SECOND, retry * SECOND).err();
        assert_eq!(told(35, 30, 5), None);
        assert_eq!(told(15, 10, 2), None);
        assert_eq!(told(11, 10, 5), None);
        assert!(told(30, 30, 5).unwrap().contains("shorter than --leader-election-lease-duration"));
        assert!(told(35, 30, 16).unwrap().contains("at most half of --leader-election-renew-deadline"));
    }

    #[test]
    fn a_lease_of_nobody_is_taken_and_one_of_another_is_waited_for() {
        let (mut a, mut b) = (candidate("a"), candidate("b"));
        let first = a.look(None, at(0), at(0)).unwrap();
        assert_eq!((first.holder_identity.as_deref(), first.lease_duration_seconds), (Some("a"), Some(35)));
        assert_eq!(first.lease_transitions, Some(0));
        // The other one's clock is a day off: that changes nothing.
        assert_eq!(b.look(Some(&first), at(100_000), at(0)), Err(at(100_035)));
        assert_eq!(b.look(Some(&first), at(100_034), at(0)), Err(at(100_035)));
        let renewed = a.look(Some(&first), at(34), at(34)).unwrap();
        assert_eq!(
            (renewed.acquire_time.clone(), renewed.renew_time.clone()),
            (first.acquire_time, Some(MicroTime(at(34))))
        );
        assert_eq!(b.look(Some(&renewed), at(100_036), at(0)), Err(at(100_071)), "it was renewed");
        assert_eq!(b.look(Some(&renewed), at(100_070), at(0)), Err(at(100_071)));
        let taken = b.look(Some(&renewed), at(100_071), at(0)).unwrap();
        assert_eq!((taken.holder_identity.as_deref(), taken.lease_transitions), (Some("b"), Some(1)));
        assert_eq!(a.look(Some(&taken), at(72), at(72)), Err(at(107)));
    }

    #[test]
    fn a_released_lease_is_taken_at_once() {
        let (mut a, mut b) = (candidate("a"), candidate("b"));
        let held = a.look(None, at(0), at(0)).unwrap();
        assert_eq!(b.look(Some(&held), at(1), at(1)), Err(at(36)));
        let released = a.release(&held, at(2));
        assert_eq!(released.lease_transitions, Some(0));
        assert_eq!(b.look(Some(&released), at(3), at(3)).unwrap().lease_transitions, Some(1));
    }

    #[test]
    fn whatever_stands_in_the_lease_ends() {
        for (seconds, holder, waits) in [
            (None, Some("x"), 35),
            (Some(-5), Some("x"), 35),
            (Some(1), Some("x"), 35),
            (Some(60), Some("x"), 60),
            (Some(i32::MAX), Some("x"), 3600),
            (Some(60), None, 0),
            (Some(60), Some(""), 0),
        ] {
            let mut a = candidate("a");
            let found = LeaseSpec {
                holder_identity: holder.map(str::to_owned),
                lease_duration_seconds: seconds,
                lease_transitions: Some(i32::MAX),
                ..LeaseSpec::default()
            };
            let first = (0..=4000).find(|s| a.look(Some(&found), at(*s), at(0)).is_ok());
            assert_eq!(first, Some(waits), "{found:?}");
        }
    }

    /// A replica of the property: its clock is off by `skew`, and what it does comes late.
    #[derive(Debug)]
    struct Replica {
        candidate: Candidate,
        skew: i64,
        /// Until when it works, in true seconds, if it has ever led.
        until: Option<i64>,
    }

    proptest! {
        /// Steps of random replicas, each late by any time between its look, its write and the answer: of those that
        /// may work there is never more than one, whatever their clocks say.
        #[test]
        fn in_no_world_do_two_lead(
            skews in prop::collection::vec(-1_000_000_i64..1_000_000, 2..4),
            steps in prop::collection::vec((0_usize..4, 0_i64..40, 0_i64..25, any::<bool>(), any::<bool>()), 1..120),
        ) {
            let mut replicas: Vec<Replica> = skews.iter().enumerate().map(|(n, skew)| Replica {
                candidate: candidate(&n.to_string()), skew: *skew, until: None,
            }).collect();
            // The Lease, and its version, which a write has to name.
            let mut lease: Option<LeaseSpec> = None;
            let mut version = 0_u64;
            let mut now = 0_i64;
            let mut pending: Vec<(i64, usize, u64, LeaseSpec, i64, bool)> = Vec::new();
            let renew = i64::try_from(terms().renew_deadline.as_secs()).unwrap();
            for (who, pause, late, lost, release) in steps {
                now += pause;
                // Writes that arrive meanwhile, in their order.
                pending.sort_by_key(|p| p.0);
                while pending.first().is_some_and(|p| p.0 <= now) {
                    let (_, writer, named, spec, began, unanswered) = pending.remove(0);
                    if named == version {
                        version += 1;
                        lease = Some(spec);
                        if !unanswered {
                            replicas[writer].until = Some(began + renew);
                        }
                    }
                }
                let working = replicas.iter().filter(|r| r.until.is_some_and(|u| now < u)).count();
                prop_assert!(working <= 1, "{} work at {}", working, now);
                let who = who % replicas.len();
                let replica = &mut replicas[who];
                let own = at(now) + SignedDuration::from_secs(replica.skew);
                match replica.candidate.look(lease.as_ref(), own, own) {
                    Ok(spec) => pending.push((now + late, who, version, spec, now, lost)),
                    Err(_) => replica.until = None,
                }
                if release && replica.until.is_some_and(|u| now < u) && pending.iter().all(|p| p.1 != who) {
                    let held = lease.clone().unwrap_or_default();
                    if held.holder_identity.as_ref() == Some(&replica.candidate.id) {
                        replica.until = None;
                        version += 1;
                        lease = Some(replica.candidate.release(&held, own));
                    }
                }
            }
        }
    }
}
