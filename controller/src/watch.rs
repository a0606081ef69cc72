//! From watches to the queue: who has to look again when something changes.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Resource, ResourceExt,
    core::{DeserializeGuard, PartialObjectMeta},
    runtime::{
        utils::Backoff,
        watcher::{self, Event},
    },
};
use ssm_ready_crds::{ABANDON, AccountPosture, AwsAccount, REQUESTED_AT, RegionPosture, VpcPosture, condition};

use crate::{
    context::{Common, Context, Key},
    http::Gate,
    outside::Outside,
    posture::{Posture, PostureStatus},
    queue::Priority,
    status,
};

/// How long to wait before a broken watch is taken up again: longer after each failure in a row, and spread, so that an
/// API server that comes back is not asked by everybody at once.
#[derive(Debug)]
pub struct Patience {
    outside: Arc<Outside>,
    failures: u32,
}

impl Patience {
    /// The wait after the first failure; each further one doubles it.
    const FIRST: Duration = Duration::from_millis(800);
    /// The longest wait.
    const LONGEST: Duration = Duration::from_secs(30);

    /// No watch has failed.
    #[must_use]
    pub fn new(outside: Arc<Outside>) -> Self {
        Self { outside, failures: 0 }
    }
}

impl Iterator for Patience {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let doubled = Self::FIRST.saturating_mul(2_u32.saturating_pow(self.failures.min(16)));
        self.failures = self.failures.saturating_add(1);
        Some(doubled.min(Self::LONGEST).mul_f64(0.75 + 0.5 * self.outside.jitter()))
    }
}

impl Backoff for Patience {
    fn reset(&mut self) {
        self.failures = 0;
    }
}

/// What of an object matters to us: what people and other controllers change, not what we write ourselves.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Edition {
    uid: Option<String>,
    generation: Option<i64>,
    deleted: bool,
    /// Whether our types can read it: a status mended by hand changes no generation.
    readable: bool,
    asks: [Option<String>; 2],
    /// What others wait for, where some do.
    ready: Option<String>,
}

fn edition<K: Resource>(object: &DeserializeGuard<K>) -> Edition {
    Edition {
        uid: object.meta().uid.clone(),
        generation: object.meta().generation,
        deleted: object.meta().deletion_timestamp.is_some(),
        readable: object.0.is_ok(),
        asks: [REQUESTED_AT, ABANDON].map(|a| object.annotations().get(a).cloned()),
        ready: None,
    }
}

/// What happened to an object.
enum News<'a, K> {
    /// Listed, as it was before we looked.
    Listed(&'a K),
    /// Created or edited.
    Edited(&'a K),
    /// Gone.
    Gone(&'a K),
}

/// Follows a watch and tells of each object that is new, edited or gone. What we wrote ourselves is no news.
async fn follow<K, I>(
    stream: impl Stream<Item = Result<Event<K>, watcher::Error>>,
    synced: Gate,
    id: impl Fn(&K) -> I,
    edition: impl Fn(&K) -> Edition,
    tell: impl Fn(News<'_, K>),
) where
    K: Clone + Debug,
    I: Ord,
{
    let seen: Mutex<BTreeMap<I, Edition>> = Mutex::default();
    let mut synced = Some(synced);
    let mut listed: Vec<I> = Vec::new();
    let mut all: BTreeMap<I, K> = BTreeMap::new();
    futures::pin_mut!(stream);
    while let Some(event) = stream.next().await {
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(object)) => {
                let now = edition(&object);
                listed.push(id(&object));
                all.insert(id(&object), object.clone());
                match seen.insert(id(&object), now.clone()) {
                    Some(before) if before == now => {}
                    Some(_) => tell(News::Edited(&object)),
                    None => tell(News::Listed(&object)),
                }
            }
            Ok(Event::InitDone) => {
                // Gone while the watch was broken.
                let gone: Vec<K> =
                    all.iter().filter(|(key, _)| !listed.contains(key)).map(|(_, object)| object.clone()).collect();
                for object in gone {
                    seen.remove(&id(&object));
                    all.remove(&id(&object));
                    tell(News::Gone(&object));
                }
                if let Some(gate) = synced.take() {
                    gate.open();
                }
            }
            Ok(Event::Apply(object)) => {
                let now = edition(&object);
                all.insert(id(&object), object.clone());
                if seen.insert(id(&object), now.clone()).as_ref() != Some(&now) {
                    tell(News::Edited(&object));
                }
            }
            Ok(Event::Delete(object)) => {
                seen.remove(&id(&object));
                all.remove(&id(&object));
                tell(News::Gone(&object));
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "watch interrupted; it is taken up again")
            }
        }
    }
}

/// Follows `AwsAccount`s: the account itself, and every posture that names it or another of the same number.
pub async fn accounts(
    ctx: Arc<Context>,
    stream: impl Stream<Item = Result<Event<DeserializeGuard<AwsAccount>>, watcher::Error>>,
    synced: Gate,
) {
    follow(stream, synced, ResourceExt::name_any, edition, |news| {
        let (object, priority) = match news {
            News::Listed(object) => (object, Priority::Resync),
            News::Edited(object) | News::Gone(object) => (object, Priority::Edit),
        };
        let name = object.name_any();
        ctx.queue.add(Key::Account(name.clone()), priority);
        let number = object.0.as_ref().ok().map(|a| a.spec.account_id.clone());
        for twin in ctx.stores.accounts_where(|a| Some(&a.spec.account_id) == number.as_ref()) {
            ctx.queue.add(Key::Account(twin.name_any()), priority);
        }
        let names = |common: &Common<'_>| {
            let named = common.account;
            *named == name || ctx.stores.account(named).is_some_and(|a| Some(&a.spec.account_id) == number.as_ref())
        };
        for posture in ctx.stores.keys_where(names) {
            ctx.queue.add(posture, priority);
        }
    })
    .await;
}

/// Follows postures of a kind: the posture itself, its account, and those with the same target. `also` names others that
/// wait for it.
async fn postures<P: Posture>(
    ctx: Arc<Context>,
    stream: impl Stream<Item = Result<Event<DeserializeGuard<P>>, watcher::Error>>,
    synced: Gate,
    edition: impl Fn(&DeserializeGuard<P>) -> Edition,
    also: impl Fn(&P) -> Vec<Key>,
) {
    let id = |object: &DeserializeGuard<P>| (object.namespace(), object.name_any());
    follow(stream, synced, id, edition, |news| {
        let (object, priority, born_or_gone) = match &news {
            News::Listed(object) => (*object, Priority::Resync, true),
            News::Edited(object) => (*object, Priority::Edit, object.metadata_generation() <= 1),
            News::Gone(object) => (*object, Priority::Edit, true),
        };
        ctx.queue.add(P::key(object.namespace().unwrap_or_default(), object.name_any()), priority);
        let Ok(posture) = &object.0 else {
            // It may be the last that an account waits for; which one it named cannot be told here.
            for account in ctx.stores.accounts_where(|a| a.metadata.deletion_timestamp.is_some()) {
                ctx.queue.add(Key::Account(account.name_any()), priority);
            }
            return;
        };
        if born_or_gone {
            ctx.queue.add(Key::Account(posture.account().to_owned()), priority);
        }
        if matches!(news, News::Gone(_)) {
            for rival in ctx.stores.postures_where(|other: &P| posture.shared_target(other).is_some()) {
                ctx.queue.add(P::key(rival.namespace().unwrap_or_default(), rival.name_any()), Priority::Edit);
            }
        }
        for waiting in also(posture) {
            ctx.queue.add(waiting, priority);
        }
    })
    .await;
}

/// Follows postures for which nobody waits.
pub async fn postures_alone<P: Posture>(
    ctx: Arc<Context>,
    stream: impl Stream<Item = Result<Event<DeserializeGuard<P>>, watcher::Error>>,
    synced: Gate,
) {
    postures(ctx, stream, synced, edition, |_| Vec::new()).await;
}

/// Follows `AccountPosture`s: RegionPostures that name one of its roles, and VpcPostures that name one of its profiles, wait
/// for it to be ready, which our own status tells.
pub async fn account_postures(
    ctx: Arc<Context>,
    stream: impl Stream<Item = Result<Event<DeserializeGuard<AccountPosture>>, watcher::Error>>,
    synced: Gate,
) {
    let told = |object: &DeserializeGuard<AccountPosture>| {
        let mut edition = edition(object);
        let ready = object.0.as_ref().ok().and_then(|posture| posture.status.as_ref()).map(|status| {
            let roles = status::is_true(status.conditions(), condition::ROLES_READY);
            let profiles = status::is_true(status.conditions(), condition::PROFILES_READY);
            format!("{} {roles} {profiles}", status.observed_generation())
        });
        edition.ready = ready;
        edition
    };
    let waiting = {
        let ctx = ctx.clone();
        move |posture: &AccountPosture| {
            let names = |region: &RegionPosture| {
                let role = region.spec.host_management.as_ref().and_then(|host| host.role.as_ref());
                let named = role.and_then(|role| role.account_posture_ref.as_ref());
                region.namespace() == posture.namespace() && named.is_some_and(|named| named.name == posture.name_any())
            };
            let of_vpc = |vpc: &VpcPosture| {
                let named = vpc.spec.instances.as_ref().and_then(|i| i.profile_attachment.account_posture_ref.as_ref());
                vpc.namespace() == posture.namespace() && named.is_some_and(|named| named.name == posture.name_any())
            };
            let regions = ctx.stores.postures_where(names);
            let vpcs = ctx.stores.postures_where(of_vpc);
            let regions = regions.iter().map(|r| RegionPosture::key(r.namespace().unwrap_or_default(), r.name_any()));
            let vpcs = vpcs.iter().map(|v| VpcPosture::key(v.namespace().unwrap_or_default(), v.name_any()));
            regions.chain(vpcs).collect()
        }
    };
    postures(ctx, stream, synced, told, waiting).await;
}

/// Follows namespaces: their labels decide who may use an account.
pub async fn namespaces(
    ctx: Arc<Context>,
    stream: impl Stream<Item = Result<Event<PartialObjectMeta<Namespace>>, watcher::Error>>,
    synced: Gate,
) {
    let edition = |object: &PartialObjectMeta<Namespace>| Edition {
        uid: None,
        generation: None,
        deleted: false,
        readable: true,
        asks: [Some(format!("{:?}", object.labels())), None],
        ready: None,
    };
    follow(stream, synced, ResourceExt::name_any, edition, |news| {
        let News::Edited(namespace) = news else { return };
        let name = namespace.name_any();
        for posture in ctx.stores.keys_where(|common| common.namespace == name) {
            ctx.queue.add(posture, Priority::Edit);
        }
    })
    .await;
}

trait Generation {
    fn metadata_generation(&self) -> i64;
}

impl<K: Resource> Generation for K {
    fn metadata_generation(&self) -> i64 {
        self.meta().generation.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn a_broken_watch_is_taken_up_again_later_after_each_failure_and_soon_after_a_success() {
        let mut patience = Patience::new(Arc::new(Outside::given(|| Timestamp::UNIX_EPOCH, 1)));
        let wait = |patience: &mut Patience| patience.next().unwrap().as_secs_f64();
        for doubled in [0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0] {
            let spread = doubled * 0.75..doubled * 1.25;
            let waited = wait(&mut patience);
            assert!(spread.contains(&waited), "{waited} for {doubled}");
        }
        patience.reset();
        assert!(wait(&mut patience) < 1.0);
    }
}
