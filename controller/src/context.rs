//! What reconcilers share.

use std::{
    any::Any,
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    ResourceExt,
    core::{DeserializeGuard, PartialObjectMeta},
    runtime::{
        events::Recorder,
        reflector::{ObjectRef, Store},
    },
};
use ssm_ready_cloud::Cloud;
use ssm_ready_core::{
    brake::Brake, facts::Permission, fault::Fault, iam::Kind, ids::Region, posture::Mode, snapshot::FactKey,
};
use ssm_ready_crds::{AccountPosture, AwsAccount, RegionPosture, VpcPosture};

use crate::{
    election::Term,
    metrics::Metrics,
    outside::Outside,
    place::Places,
    posture::Posture,
    queue::{Backoff, Queue},
};

/// An object to be reconciled.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// An `AwsAccount`.
    Account(String),
    /// A `VpcPosture`: namespace and name.
    Vpc(String, String),
    /// A `RegionPosture`: namespace and name.
    Region(String, String),
    /// An `AccountPosture`: namespace and name.
    AccountPosture(String, String),
}

impl Key {
    /// The kind.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Account(_) => "AwsAccount",
            Self::Vpc(..) => VpcPosture::KIND,
            Self::Region(..) => RegionPosture::KIND,
            Self::AccountPosture(..) => AccountPosture::KIND,
        }
    }

    /// The namespace; none for what is cluster-scoped.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        match self {
            Self::Account(_) => None,
            Self::Vpc(namespace, _) | Self::Region(namespace, _) | Self::AccountPosture(namespace, _) => {
                Some(namespace)
            }
        }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Account(name) | Self::Vpc(_, name) | Self::Region(_, name) | Self::AccountPosture(_, name) => name,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.namespace() {
            None => write!(f, "{}/{}", self.kind(), self.name()),
            Some(namespace) => write!(f, "{}/{namespace}/{}", self.kind(), self.name()),
        }
    }
}

/// The objects as the API server last told of them; one that cannot be read does not stop the others.
pub struct Stores {
    /// Accounts.
    pub accounts: Store<DeserializeGuard<AwsAccount>>,
    /// VPC postures.
    pub vpcs: Store<DeserializeGuard<VpcPosture>>,
    /// Region postures.
    pub regions: Store<DeserializeGuard<RegionPosture>>,
    /// Account postures.
    pub account_postures: Store<DeserializeGuard<AccountPosture>>,
    /// Namespaces, for their labels.
    pub namespaces: Store<PartialObjectMeta<Namespace>>,
}

impl Stores {
    /// An account by name.
    #[must_use]
    pub fn account(&self, name: &str) -> Option<AwsAccount> {
        self.found_account(name)?.0.as_ref().ok().cloned()
    }

    /// An account by name, readable or not.
    #[must_use]
    pub fn found_account(&self, name: &str) -> Option<Arc<DeserializeGuard<AwsAccount>>> {
        self.accounts.get(&ObjectRef::new(name))
    }

    /// Whether there is an account of this name that cannot be read.
    #[must_use]
    pub fn has_unreadable_account(&self, name: &str) -> bool {
        self.found_account(name).is_some_and(|guard| guard.0.is_err())
    }

    /// The namespaces and names of the postures of a kind that cannot be read.
    #[must_use]
    pub fn unreadable<P: Posture>(&self) -> BTreeSet<(String, String)> {
        let all = P::store(self).state();
        let broken = all.iter().filter(|guard| guard.0.is_err());
        broken.map(|guard| (guard.namespace().unwrap_or_default(), guard.name_any())).collect()
    }

    /// All readable postures of a kind for which `pick` holds.
    #[must_use]
    pub fn postures_where<P: Posture>(&self, pick: impl Fn(&P) -> bool) -> Vec<P> {
        let all = P::store(self).state();
        let mut found: Vec<P> =
            all.iter().filter_map(|guard| guard.0.as_ref().ok()).filter(|p| pick(p)).cloned().collect();
        found.sort_by_key(|p| (p.namespace(), p.name_any()));
        found
    }

    /// A readable posture by namespace and name.
    #[must_use]
    pub fn posture<P: Posture>(&self, namespace: &str, name: &str) -> Option<P> {
        self.found::<P>(namespace, name)?.0.as_ref().ok().cloned()
    }

    /// A posture by namespace and name, readable or not.
    #[must_use]
    pub fn found<P: Posture>(&self, namespace: &str, name: &str) -> Option<Arc<DeserializeGuard<P>>> {
        P::store(self).get(&ObjectRef::new(name).within(namespace))
    }

    /// The keys of all readable postures, of any kind, for which `pick` holds of what they have in common.
    #[must_use]
    pub fn keys_where(&self, pick: impl Fn(&Common<'_>) -> bool) -> Vec<Key> {
        fn of<P: Posture>(stores: &Stores, pick: &impl Fn(&Common<'_>) -> bool, keys: &mut Vec<Key>) {
            for guard in P::store(stores).state() {
                let Ok(posture) = &guard.0 else { continue };
                let namespace = posture.namespace().unwrap_or_default();
                if pick(&Common { namespace: &namespace, account: posture.account() }) {
                    keys.push(P::key(namespace, posture.name_any()));
                }
            }
        }
        let mut keys = Vec::new();
        of::<AccountPosture>(self, &pick, &mut keys);
        of::<RegionPosture>(self, &pick, &mut keys);
        of::<VpcPosture>(self, &pick, &mut keys);
        keys.sort();
        keys
    }

    /// All readable accounts for which `pick` holds.
    #[must_use]
    pub fn accounts_where(&self, pick: impl Fn(&AwsAccount) -> bool) -> Vec<AwsAccount> {
        let all = self.accounts.state();
        let mut found: Vec<AwsAccount> =
            all.iter().filter_map(|guard| guard.0.as_ref().ok()).filter(|a| pick(a)).cloned().collect();
        found.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        found
    }

    /// The labels of a namespace.
    #[must_use]
    pub fn labels(&self, namespace: &str) -> BTreeMap<String, String> {
        self.namespaces.get(&ObjectRef::new(namespace)).map(|n| n.labels().clone()).unwrap_or_default()
    }
}

/// What postures of every kind have.
#[derive(Debug, Clone, Copy)]
pub struct Common<'a> {
    /// The namespace.
    pub namespace: &'a str,
    /// The `AwsAccount` that it names.
    pub account: &'a str,
}

/// What the flags say.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The controller installation, as in the ownership tags.
    pub cluster: String,
    /// The mode that nothing exceeds.
    pub mode: Mode,
    /// The region of the controller's own identity, where it has one.
    pub home_region: Option<String>,
}

/// What is remembered of an object while the process lives; losing it costs a few reads.
#[derive(Debug, Default)]
pub struct Local {
    /// Since when something has been denied without a break.
    pub denied_since: Option<Timestamp>,
    /// The generation and request for which fresh facts were asked.
    pub asked_for: Option<(i64, Option<String>)>,
    /// The generation for which a problem of a person's was looked at a second time, with fresh facts.
    pub second_look: Option<i64>,
    /// The status that was last written, and the version of the object that it was written to: the watch tells of it later.
    pub wrote: Option<(Option<String>, Box<dyn Any + Send>)>,
    /// The facts that it turned out to need of its region and of its account.
    pub wanted: Option<[BTreeSet<FactKey>; 2]>,
    /// The regions in which what it made may be in use.
    pub regions: Option<Vec<Region>>,
    /// When something was last made, or may have been: what AWS does not show may be there all the same.
    pub in_doubt_since: Option<Timestamp>,
    /// When AWS last refused to delete a role that something else holds.
    pub role_held_since: Option<Timestamp>,
    /// Whether nothing of a deleted object was left at the last look.
    pub nothing_left: bool,
    /// Whether this process has taken over from status what the one before it may have made a moment ago.
    pub took_over: bool,
    /// The last permission preflight; `asked_for` says for what it was made.
    pub permissions: Option<Preflight>,
}

/// A permission preflight: when it was made, for which kinds, and what came of it.
pub type Preflight = (Timestamp, BTreeSet<Kind>, Result<Vec<Permission>, Fault>);

/// What reconcilers share.
pub struct Context {
    /// Kubernetes.
    pub client: kube::Client,
    /// AWS.
    pub cloud: Arc<dyn Cloud>,
    /// The flags.
    pub settings: Settings,
    /// The brake.
    pub brake: Mutex<Brake>,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// The queue.
    pub queue: Queue<Key>,
    /// Facts.
    pub places: Places,
    /// Objects.
    pub stores: Stores,
    /// Events.
    pub recorder: Recorder,
    /// Time and chance.
    pub outside: Arc<Outside>,
    /// Whether this replica may write.
    pub term: Arc<Term>,
    /// Waits after failures.
    pub backoff: Mutex<Backoff<Key>>,
    local: Mutex<HashMap<Key, Local>>,
}

impl Context {
    /// Puts the parts together.
    #[must_use]
    #[expect(clippy::too_many_arguments, reason = "the one place where the parts meet")]
    pub fn new(
        client: kube::Client,
        cloud: Arc<dyn Cloud>,
        settings: Settings,
        brake: Brake,
        metrics: Arc<Metrics>,
        queue: Queue<Key>,
        places: Places,
        stores: Stores,
        recorder: Recorder,
        outside: Arc<Outside>,
        term: Arc<Term>,
    ) -> Self {
        Self {
            client,
            cloud,
            settings,
            brake: Mutex::new(brake),
            metrics,
            queue,
            places,
            stores,
            recorder,
            outside,
            term,
            backoff: Mutex::new(Backoff::new()),
            local: Mutex::default(),
        }
    }

    /// The current time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.outside.now()
    }

    /// Looks at what is remembered of an object, or remembers something of it.
    pub fn local<T>(&self, key: &Key, look: impl FnOnce(&mut Local) -> T) -> T {
        look(self.locals().entry(key.clone()).or_default())
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, key: &Key) {
        self.locals().remove(key);
        self.places.unfollow(key);
        self.queue.forget(key);
        self.backoff().forget(key);
    }

    /// How long something has been denied without a break, if `denied` now.
    pub fn denied_for(&self, key: &Key, denied: bool) -> Duration {
        let now = self.outside.steady();
        let since = self.local(key, |local| {
            local.denied_since = denied.then(|| local.denied_since.unwrap_or(now));
            local.denied_since.unwrap_or(now)
        });
        Duration::try_from(now.duration_since(since)).unwrap_or_default()
    }

    /// The waits after failures.
    pub fn backoff(&self) -> MutexGuard<'_, Backoff<Key>> {
        self.backoff.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn locals(&self) -> MutexGuard<'_, HashMap<Key, Local>> {
        self.local.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
