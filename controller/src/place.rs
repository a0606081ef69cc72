//! The observe step: one account and region, read once for everybody in it.
//!
//! A place reads by itself: when facts outgrow their age class, and when something is known to have changed (the first
//! time at once, then at most once in 15 seconds). Objects never wait for a read: they are put back into the queue when
//! it is done, so that a dead account holds up nobody else's work.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use ssm_ready_cloud::Cloud;
use ssm_ready_core::{
    calls::AgeClass,
    facts::{Principal, Scope},
    fault::Fault,
    ids::{EndpointId, Region, VpcId},
    instances::count,
    made::Made,
    overlay::{Overlay, Recent},
    snapshot::{FactKey, FactValue, Snapshot, next_reread},
    write::Write,
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::{
    context::Key,
    metrics::Metrics,
    outside::Outside,
    queue::{Priority, Queue},
};

/// Facts that changed are read again together, at most once in this time.
const REREAD_EVERY: Duration = Duration::from_secs(15);
/// How long a first read waits for others that want one too.
const GATHER: Duration = Duration::from_millis(300);
/// What is due within this share of the interval is read along with what is due now.
const READ_ALONG: u32 = 5;
/// A place that has nothing to read looks again after this time.
const IDLE: Duration = Duration::from_secs(3600);

/// The region under which facts are kept that an account has once: those of IAM.
pub const GLOBAL: &str = "global";

/// What an object wants to know of a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interest {
    /// The VPC whose instances are counted.
    pub vpc: Option<VpcId>,
    /// How often AWS is looked at.
    pub interval: Duration,
    /// The facts.
    pub facts: BTreeSet<FactKey>,
}

#[derive(Debug)]
struct Follower {
    interest: Interest,
    /// Facts that the object needs read after a time: what it changed, or was told to look at.
    needs: HashMap<FactKey, Timestamp>,
    /// Whether it looks again as soon as they are read, or when its time comes.
    at_once: bool,
}

#[derive(Debug)]
struct State {
    scope: Scope,
    /// The region as metrics call it, or [`GLOBAL`].
    region: String,
    snapshot: Arc<Snapshot>,
    overlay: Overlay,
    made: Made,
    followers: BTreeMap<Key, Follower>,
    /// What is being read, and since when.
    reading: Option<(Timestamp, BTreeSet<FactKey>)>,
    last_reread: Option<Timestamp>,
    jitter: f64,
}

/// What an object sees when it looks.
#[derive(Debug, Clone)]
pub struct Look {
    /// The facts.
    pub snapshot: Arc<Snapshot>,
    /// Our own recent creations.
    pub overlay: Overlay,
    /// Our own recent creations of roles and profiles.
    pub made: Made,
    /// The shortest interval of the place, by which facts age.
    pub interval: Duration,
}

/// One account and region.
#[derive(Debug)]
pub struct Place {
    state: Mutex<State>,
    wake: Notify,
    gone: CancellationToken,
    outside: Arc<Outside>,
}

/// Which place: the `AwsAccount`'s name, and the region or [`GLOBAL`].
pub type PlaceKey = (String, String);

/// All places.
#[derive(Debug)]
pub struct Places {
    cloud: Arc<dyn Cloud>,
    queue: Queue<Key>,
    metrics: Arc<Metrics>,
    jitter_percent: u8,
    cluster: String,
    outside: Arc<Outside>,
    places: Mutex<HashMap<PlaceKey, Arc<Place>>>,
    followed: Mutex<HashMap<Key, BTreeSet<PlaceKey>>>,
    stop: CancellationToken,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Places {
    /// No places yet.
    #[must_use]
    pub fn new(
        cloud: Arc<dyn Cloud>,
        queue: Queue<Key>,
        metrics: Arc<Metrics>,
        jitter_percent: u8,
        cluster: String,
        outside: Arc<Outside>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            cloud,
            queue,
            metrics,
            jitter_percent,
            cluster,
            outside,
            places: Mutex::default(),
            followed: Mutex::default(),
            stop,
        }
    }

    /// Makes an object a follower of these places, and of no others.
    pub fn follow(&self, key: &Key, wanted: Vec<(PlaceKey, Scope, Interest)>) -> Vec<Arc<Place>> {
        let keys: BTreeSet<PlaceKey> = wanted.iter().map(|(place, _, _)| place.clone()).collect();
        let before = lock(&self.followed).insert(key.clone(), keys.clone()).unwrap_or_default();
        for left in before.difference(&keys) {
            self.leave(key, left);
        }
        wanted.into_iter().map(|(place, scope, interest)| self.join(key, &place, &scope, interest)).collect()
    }

    /// The regions that AWS has listed in a place, if the object follows it and they are known.
    #[must_use]
    pub fn regions(&self, key: &Key, place_key: &PlaceKey) -> Option<Vec<Region>> {
        let place = lock(&self.places).get(place_key)?.clone();
        let state = place.lock();
        state.followers.get(key)?;
        let limit = AgeClass::Rare.limit(state.interval());
        state.snapshot.regions.reading(limit, place.outside.steady()).known().cloned()
    }

    /// A new way to read (another role, say) forgets what was read before.
    fn join(&self, key: &Key, place_key: &PlaceKey, scope: &Scope, interest: Interest) -> Arc<Place> {
        // Held until the follower is in, so that the place does not go in between.
        let mut places = lock(&self.places);
        let place = places.entry(place_key.clone()).or_insert_with(|| self.start(&place_key.1, scope)).clone();
        let mut state = place.lock();
        if state.scope != *scope {
            if state.scope.principal != scope.principal {
                state.snapshot = Arc::default();
            }
            state.scope = scope.clone();
            place.wake.notify_one();
        }
        match state.followers.get_mut(key) {
            Some(follower) if follower.interest == interest => {}
            Some(follower) => {
                follower.interest = interest;
                let Follower { interest, needs, .. } = follower;
                needs.retain(|fact, _| interest.facts.contains(fact));
                place.wake.notify_one();
            }
            None => {
                state.followers.insert(key.clone(), Follower { interest, needs: HashMap::new(), at_once: false });
                place.wake.notify_one();
            }
        }
        drop(state);
        drop(places);
        place
    }

    /// Forgets an object; the last one's places go with it.
    pub fn unfollow(&self, key: &Key) {
        let Some(all) = lock(&self.followed).remove(key) else { return };
        for place in &all {
            self.leave(key, place);
        }
    }

    fn leave(&self, key: &Key, place_key: &PlaceKey) {
        let mut places = lock(&self.places);
        let Some(place) = places.get(place_key) else { return };
        let mut state = place.lock();
        state.followers.remove(key);
        if state.followers.is_empty() {
            place.gone.cancel();
            self.metrics.snapshot_gone(state.scope.principal.account.as_str(), &state.region);
            drop(state);
            places.remove(place_key);
        }
    }

    fn start(&self, region: &str, scope: &Scope) -> Arc<Place> {
        let place = Arc::new(Place {
            state: Mutex::new(State {
                scope: scope.clone(),
                region: region.to_owned(),
                snapshot: Arc::default(),
                overlay: Overlay::of(&self.cluster),
                made: Made::default(),
                followers: BTreeMap::new(),
                reading: None,
                last_reread: None,
                jitter: f64::from(self.jitter_percent) / 100.0 * self.outside.jitter(),
            }),
            wake: Notify::new(),
            gone: self.stop.child_token(),
            outside: self.outside.clone(),
        });
        let reader = Reader {
            place: place.clone(),
            cloud: self.cloud.clone(),
            queue: self.queue.clone(),
            metrics: self.metrics.clone(),
            jitter_percent: self.jitter_percent,
        };
        tokio::spawn(async move {
            let gone = reader.place.gone.clone();
            gone.run_until_cancelled(reader.run()).await;
        });
        place
    }
}

impl Place {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// What the object sees; none while facts that it needs are still to be read: it is put back into the queue then.
    pub fn look(&self, key: &Key) -> Option<Look> {
        let mut state = self.lock();
        let snapshot = state.snapshot.clone();
        let interval = state.interval();
        let listed = state.listed(self.outside.steady());
        let follower = state.followers.get_mut(key)?;
        let there = |k: &FactKey| can_be_read(k, listed.as_ref());
        let ready = follower.interest.facts.iter().filter(|k| there(k)).all(|k| snapshot.last_tried(k).is_some())
            && follower
                .needs
                .iter()
                .filter(|(k, _)| there(k))
                .all(|(k, after)| snapshot.last_tried(k).is_some_and(|tried| tried > *after));
        if !ready {
            follower.at_once = true;
            self.wake.notify_one();
            return None;
        }
        follower.needs.clear();
        follower.at_once = false;
        let (overlay, made) = (state.overlay.clone(), state.made.clone());
        Some(Look { snapshot, overlay, made, interval })
    }

    /// Has facts read again, and the object look as soon as that is done.
    pub fn need(&self, key: &Key, facts: impl IntoIterator<Item = FactKey>) {
        self.mark(facts, Some((key, true)));
    }

    /// Has facts read again before the object looks the next time, whenever that is: after a failure it comes back
    /// later and later, however soon the facts are there.
    pub fn expect(&self, key: &Key, facts: impl IntoIterator<Item = FactKey>) {
        self.mark(facts, Some((key, false)));
    }

    /// Has facts read again, and nobody wait for that.
    pub fn touch(&self, facts: impl IntoIterator<Item = FactKey>) {
        self.mark(facts, None);
    }

    fn mark(&self, facts: impl IntoIterator<Item = FactKey>, waits: Option<(&Key, bool)>) {
        let at = self.outside.steady();
        let mut state = self.lock();
        for fact in facts {
            Arc::make_mut(&mut state.snapshot).mark_stale(fact.clone(), at);
            if let Some((key, at_once)) = waits
                && let Some(follower) = state.followers.get_mut(key)
            {
                // What the object does not follow is never read for it: it would wait for ever.
                if follower.interest.facts.contains(&fact) {
                    follower.needs.insert(fact, at);
                }
                follower.at_once |= at_once;
            }
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Has everything that the object rests on read again. For an edit (`at_once` false), what was read within the last
    /// 15 seconds, or is being read, is fresh enough.
    pub fn need_fresh(&self, key: &Key, at_once: bool) {
        let at = self.outside.steady();
        let mut state = self.lock();
        let State { snapshot, followers, reading, .. } = &mut *state;
        let Some(follower) = followers.get_mut(key) else { return };
        let Follower { interest, needs, at_once: looks_at_once } = follower;
        *looks_at_once = true;
        for fact in &interest.facts {
            let age = snapshot.read_at(fact).map(|read| at.duration_since(read).unsigned_abs());
            match reading {
                Some((began, facts)) if !at_once && facts.contains(fact) => {
                    // Each was read a moment later than the reading began.
                    needs.insert(fact.clone(), *began - Duration::from_nanos(1));
                }
                _ if !at_once && age.is_some_and(|age| age < REREAD_EVERY) => {}
                _ => {
                    Arc::make_mut(snapshot).mark_stale(fact.clone(), at);
                    needs.insert(fact.clone(), at);
                }
            }
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Remembers a creation until AWS lists it.
    pub fn remember(&self, recent: Recent) {
        self.lock().overlay.add(recent);
    }

    /// Remembers what a write made until IAM shows it.
    pub fn made(&self, write: &Write) {
        let at = self.outside.steady();
        self.lock().made.add(write, at);
    }

    /// Forgets endpoints that we delete.
    pub fn forget(&self, endpoints: &BTreeSet<EndpointId>) {
        self.lock().overlay.forget(endpoints);
    }
}

impl State {
    fn interval(&self) -> Duration {
        self.followers.values().map(|f| f.interest.interval).min().unwrap_or(IDLE)
    }

    fn wanted(&self, now: Timestamp) -> BTreeSet<FactKey> {
        let listed = self.listed(now);
        let keys = self.followers.values().flat_map(|f| &f.interest.facts);
        keys.filter(|key| can_be_read(key, listed.as_ref())).cloned().collect()
    }

    /// The VPCs that AWS lists, where that is known.
    fn listed(&self, now: Timestamp) -> Option<BTreeSet<VpcId>> {
        let vpcs = self.snapshot.vpcs.reading(self.interval(), now).known()?;
        Some(vpcs.iter().map(|vpc| vpc.id.clone()).collect())
    }

    /// What to read now, and how long there is nothing to read otherwise.
    fn next(&self, now: Timestamp) -> (BTreeSet<FactKey>, Duration) {
        let interval = self.interval();
        let wanted = self.wanted(now);
        // Early rather than late, so that the age class stays the worst detection time.
        let early = interval.mul_f64(self.jitter.clamp(0.0, 0.5));
        let due = self.snapshot.due(&wanted, interval, early, now);
        let (marked, aged): (BTreeSet<FactKey>, BTreeSet<FactKey>) =
            due.into_iter().partition(|k| self.snapshot.is_stale(k) && self.snapshot.read_at(k).is_some());
        let reread_at = next_reread(self.last_reread, REREAD_EVERY, now);
        if !aged.is_empty() {
            let mut all = self.snapshot.due(&wanted, interval, early + interval / READ_ALONG, now);
            all.extend(marked);
            return (all, Duration::ZERO);
        }
        if marked.is_empty() {
            return (marked, self.until_aged(&wanted, interval, early, now));
        }
        if reread_at <= now {
            return (marked, Duration::ZERO);
        }
        let wait = Duration::try_from(reread_at.duration_since(now)).unwrap_or(REREAD_EVERY);
        (BTreeSet::new(), wait.min(self.until_aged(&wanted, interval, early, now)))
    }

    fn until_aged(&self, wanted: &BTreeSet<FactKey>, interval: Duration, early: Duration, now: Timestamp) -> Duration {
        let left = wanted.iter().filter_map(|key| {
            let tried = self.snapshot.last_tried(key)?;
            let age = Duration::try_from(now.duration_since(tried)).unwrap_or_default();
            let limit = if self.snapshot.fault(key).is_some() {
                Duration::from_secs(60).min(interval)
            } else {
                key.class().limit(interval)
            };
            (!limit.is_zero()).then(|| limit.saturating_sub(early).saturating_sub(age))
        });
        left.min().unwrap_or(IDLE).max(Duration::from_millis(200))
    }
}

/// Whether there is something to read: of a VPC that AWS does not list there is not, and asking for it would cost every
/// mistyped id two calls a minute and hold up the others in the region.
fn can_be_read(key: &FactKey, listed: Option<&BTreeSet<VpcId>>) -> bool {
    match (key, listed) {
        (FactKey::Attribute(vpc, _), Some(listed)) => listed.contains(vpc),
        _ => true,
    }
}

struct Reader {
    place: Arc<Place>,
    cloud: Arc<dyn Cloud>,
    queue: Queue<Key>,
    metrics: Arc<Metrics>,
    jitter_percent: u8,
}

impl Reader {
    async fn run(&self) {
        loop {
            tokio::time::sleep(GATHER).await;
            let (keys, wait) = {
                let state = self.place.lock();
                state.next(self.place.outside.steady())
            };
            if keys.is_empty() {
                let _ = tokio::time::timeout(wait, self.place.wake.notified()).await;
                continue;
            }
            let span = {
                let state = self.place.lock();
                let Principal { account, .. } = &state.scope.principal;
                tracing::info_span!("observe", %account, region = %state.scope.region)
            };
            self.read(keys).instrument(span).await;
        }
    }

    async fn read(&self, keys: BTreeSet<FactKey>) {
        let began = self.place.outside.steady();
        let scope = {
            let mut state = self.place.lock();
            state.reading = Some((began, keys.clone()));
            // A first read or a sweep does not count: the first change after it is looked at without delay.
            if keys.iter().any(|k| state.snapshot.is_stale(k) && state.snapshot.read_at(k).is_some()) {
                state.last_reread = Some(began);
            }
            state.scope.clone()
        };
        let mut outcomes: Vec<(FactKey, Result<FactValue, Fault>, Timestamp)> = Vec::new();
        let mut broken: Option<Fault> = None;
        // The list of VPCs comes first.
        let mut listed: Option<BTreeSet<VpcId>> = None;
        for key in &keys {
            if !can_be_read(key, listed.as_ref()) {
                continue;
            }
            let at = self.place.outside.steady();
            // Without a session no call can succeed: one attempt tells it for all.
            let outcome = match &broken {
                Some(fault) => Err(fault.clone()),
                None => self.read_one(&scope, key).await,
            };
            if let Err(fault) = &outcome
                && broken.is_none()
            {
                tracing::warn!(account = %scope.principal.account, region = %scope.region, error = %fault, "read failed");
                if fault.of_identity() {
                    self.metrics.session_failure(scope.principal.account.as_str());
                    broken = Some(fault.clone());
                }
            }
            if let Ok(FactValue::Vpcs(vpcs)) = &outcome {
                listed = Some(vpcs.iter().map(|vpc| vpc.id.clone()).collect());
            }
            outcomes.push((key.clone(), outcome.map(FactValue::in_order), at));
        }
        let complete = outcomes.iter().all(|(_, outcome, _)| outcome.is_ok());
        let mut state = self.place.lock();
        state.reading = None;
        if state.scope.principal != scope.principal {
            // Read as somebody else: it counts for nothing.
            return;
        }
        let interval = state.interval();
        let mut news = BTreeSet::new();
        for (key, outcome, at) in outcomes {
            // What is read between the sweeps, because a write of it failed or because reading it did, and says the same
            // as before is no news: a pass for each of these would try each time what AWS refuses.
            let by_age = outcome.is_ok() && !state.snapshot.is_stale(&key);
            if outcome.is_ok() {
                let class = match key.class() {
                    AgeClass::Fast => "fast",
                    AgeClass::Iam => "iam",
                    AgeClass::Slow => "slow",
                    AgeClass::Rare => "rare",
                    AgeClass::OnDemand => "on-demand",
                };
                let read = tokio::time::Instant::now();
                let account = scope.principal.account.as_str();
                self.metrics.snapshot_read(account, &state.region, class, read.into_std());
            }
            if Arc::make_mut(&mut state.snapshot).note(&key, outcome, at) || by_age {
                news.insert(key);
            }
        }
        let now = self.place.outside.steady();
        let wanted = state.wanted(now);
        Arc::make_mut(&mut state.snapshot).retain(&wanted);
        let snapshot = state.snapshot.clone();
        // By the time of the lists: an old one does not prove that something made since is missing.
        let listed = [snapshot.endpoints.read_at(), snapshot.security_groups.read_at()];
        if let (Some(endpoints), Some(groups), [Some(one), Some(other)]) = (
            snapshot.endpoints.reading(interval, now).known(),
            snapshot.security_groups.reading(interval, now).known(),
            listed,
        ) {
            state.overlay.settle(endpoints, groups, one.min(other));
        }
        state.made.settle(&snapshot, now);
        let [account, region] = [scope.principal.account.as_str(), &state.region.clone()];
        // Nothing is said of a place that went meanwhile.
        if !self.place.gone.is_cancelled() {
            if complete {
                self.metrics.place_read(account, region, self.place.outside.now().as_second());
            }
            let vpcs = state.followers.values().filter_map(|f| f.interest.vpc.clone()).collect();
            if let Some(instances) = snapshot.instances.reading(interval, now).known() {
                let nodes = snapshot.managed_nodes.reading(interval, now).known();
                self.metrics.instances(account, region, &count(instances, nodes.map(Vec::as_slice), &vpcs));
            }
        }
        let sweep = keys.contains(&FactKey::Vpcs);
        if keys.iter().any(|key| matches!(key.class(), AgeClass::Fast | AgeClass::Iam)) {
            state.jitter = f64::from(self.jitter_percent) / 100.0 * self.place.outside.jitter();
        }
        // Those who wait for these facts first; after a sweep everybody.
        for (key, follower) in &state.followers {
            let waits = follower.at_once && follower.needs.keys().any(|k| keys.contains(k));
            if waits {
                self.queue.add(key.clone(), Priority::Edit);
            } else if sweep || follower.interest.facts.iter().any(|k| news.contains(k) && !FactKey::LISTS.contains(k)) {
                self.queue.add(key.clone(), Priority::Resync);
            }
        }
    }

    async fn read_one(&self, scope: &Scope, key: &FactKey) -> Result<FactValue, Fault> {
        let cloud = &self.cloud;
        Ok(match key {
            FactKey::Vpcs => FactValue::Vpcs(cloud.vpcs(scope).await?),
            FactKey::Endpoints => FactValue::Endpoints(cloud.endpoints(scope).await?),
            FactKey::SecurityGroups => FactValue::SecurityGroups(cloud.security_groups(scope).await?),
            FactKey::Instances => FactValue::Instances(cloud.instances(scope).await?),
            FactKey::ManagedNodes => FactValue::ManagedNodes(cloud.managed_nodes(scope).await?),
            FactKey::Subnets => FactValue::Subnets(cloud.subnets(scope).await?),
            FactKey::RouteTables => FactValue::RouteTables(cloud.route_tables(scope).await?),
            FactKey::Services => FactValue::Services(cloud.services(scope).await?),
            FactKey::Attribute(vpc, attribute) => {
                FactValue::Attribute(cloud.vpc_attribute(scope, vpc, *attribute).await?)
            }
            FactKey::Interfaces(group) => FactValue::Interfaces(cloud.network_interfaces(scope, group).await?),
            FactKey::Setting(setting) => FactValue::Setting(cloud.setting(scope, *setting).await?),
            FactKey::SessionDocument(version) => {
                FactValue::SessionDocument(cloud.session_document(scope, *version).await?)
            }
            FactKey::AuditRule => FactValue::AuditRule(cloud.audit_rule(scope).await?),
            FactKey::Trails => FactValue::Trails(cloud.trails(scope).await?),
            FactKey::Topic(topic) => FactValue::Topic(cloud.topic(scope, topic).await?),
            FactKey::SessionDocumentInfo => FactValue::SessionDocumentInfo(cloud.session_document_info(scope).await?),
            FactKey::MetadataDefaults => FactValue::MetadataDefaults(cloud.metadata_defaults(scope).await?),
            FactKey::InstanceMetadata => {
                let mut all = cloud.instances(scope).await?;
                // Nobody asks for them here, and there may be many.
                all.iter_mut().for_each(|instance| instance.tags.clear());
                FactValue::InstanceMetadata(all)
            }
            FactKey::Regions => FactValue::Regions(cloud.regions(scope).await?),
            FactKey::Role(role) => FactValue::Role(cloud.role(scope, role).await?),
            FactKey::Profile(profile) => FactValue::Profile(cloud.profile(scope, profile).await?),
            FactKey::RoleVerdict(role) => FactValue::RoleVerdict(cloud.agent_permissions(scope, role).await?),
            FactKey::RoleAnswer(role, question) => {
                FactValue::RoleAnswer(cloud.role_answer(scope, role, question).await?)
            }
            FactKey::Bucket(bucket) => FactValue::Bucket(cloud.bucket(scope, bucket).await?),
            FactKey::BucketEncryption(bucket) => {
                FactValue::BucketEncryption(cloud.bucket_encryption(scope, bucket).await?)
            }
            FactKey::LogGroup(group) => FactValue::LogGroup(cloud.log_group(scope, group).await?),
            FactKey::Key(key) => FactValue::Key(cloud.key(scope, key).await?),
        })
    }
}
