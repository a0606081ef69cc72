//! What Prometheus sees.
//!
//! Reconciles and queues carry the names and labels of controller-runtime, so that dashboards made for it work. What is
//! our own starts with `ssm_ready_`. Every label is bounded: a `&'static str` is one of a fixed list in our code; account
//! and region come from declared `AwsAccount`s and are dropped with them. Ids, ARNs, names of objects and messages are
//! never labels.

mod process;
pub mod requests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};
use ssm_ready_core::{
    calls::Operation,
    evaluate::Facet,
    fault::FaultKind,
    instances::{self, Verdict},
};
use ssm_ready_crds::{AccountPosture, RegionPosture, VpcPosture};

use crate::{posture::Posture, queue::Priority};

/// The facets of account, region and VPC postures.
const FACETS: [&[Facet]; 3] = [
    &[Facet::Account, Facet::Roles, Facet::Profiles],
    &[
        Facet::Account,
        Facet::HostManagement,
        Facet::SessionPreferences,
        Facet::ServiceSettings,
        Facet::MetadataDefaults,
        Facet::SessionAudit,
    ],
    &[
        Facet::Account,
        Facet::Dns,
        Facet::SecurityGroup,
        Facet::Endpoints,
        Facet::Routes,
        Facet::Policy,
        Facet::InstanceProfiles,
    ],
];

/// The content type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// From a cached answer to a pass that waits for AWS's rate limits.
const RECONCILE_BUCKETS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0];
/// From an idle queue to the backlog after a restart.
const QUEUE_BUCKETS: &[f64] =
    &[0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0];
/// From a call within the region to the end of AWS's and our patience.
const CALL_BUCKETS: &[f64] = &[0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 60.0];

/// A counter of seconds.
type SecondsCounter = Counter<f64, std::sync::atomic::AtomicU64>;
/// A gauge of seconds.
type SecondsGauge = Gauge<f64, std::sync::atomic::AtomicU64>;

/// How a reconcile ended; the `result` label of controller-runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReconcileResult {
    /// Nothing more to do until something changes.
    Success,
    /// It failed and will be tried again.
    Error,
    /// To be looked at again at once.
    Requeue,
    /// To be looked at again after a while.
    RequeueAfter,
}

impl ReconcileResult {
    const ALL: [Self; 4] = [Self::Success, Self::Error, Self::Requeue, Self::RequeueAfter];

    /// The value of the label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Error => "error",
            Self::Requeue => "requeue",
            Self::RequeueAfter => "requeue_after",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ControllerLabels {
    controller: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    controller: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueueLabels {
    name: &'static str,
    controller: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DepthLabels {
    name: &'static str,
    controller: &'static str,
    priority: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    service: &'static str,
    operation: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServiceOperationLabels {
    service: &'static str,
    operation: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServiceLabels {
    service: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    operation: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabels {
    operation: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct SnapshotLabels {
    account: String,
    region: String,
    class: &'static str,
}

/// An account and a region.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct PlaceLabels {
    account: String,
    region: String,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct InstanceLabels {
    account: String,
    region: String,
    verdict: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AccountLabels {
    account: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    code: String,
    method: &'static str,
    host: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DriftLabels {
    kind: &'static str,
    facet: &'static str,
}

/// A kind's condition in one of its three states: what [`Metrics::posture_conditions`] counts objects by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub struct ConditionLabels {
    /// The kind of the objects.
    pub kind: &'static str,
    /// The type of the condition.
    pub r#type: &'static str,
    /// `True`, `False` or `Unknown`.
    pub status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KubeWriteLabels {
    kind: &'static str,
    what: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LeaseLabels {
    name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
}

/// What a write to the API server changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KubeWrite {
    /// An object's status.
    Status,
    /// An object's finalizers.
    Finalizer,
    /// An event.
    Event,
}

impl KubeWrite {
    const ALL: [Self; 3] = [Self::Status, Self::Finalizer, Self::Event];

    /// The value of the label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Finalizer => "finalizer",
            Self::Event => "event",
        }
    }
}

/// Makes the histograms of a family.
#[derive(Debug, Clone, Copy)]
struct Buckets(&'static [f64]);

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

type Histograms<S> = Family<S, Histogram, Buckets>;

/// Facts that are only known as a whole, or that change by themselves; written into their gauges at each scrape.
#[derive(Debug, Default)]
struct Levels {
    snapshots: BTreeMap<SnapshotLabels, Instant>,
    /// When all that was asked of an account and region was read, in seconds of Unix time.
    successes: BTreeMap<PlaceLabels, i64>,
    instances: BTreeMap<InstanceLabels, i64>,
    conditions: BTreeMap<ConditionLabels, i64>,
    queues: Vec<(QueueLabels, Arc<QueueMetrics>)>,
    /// The accounts that have series of their own elsewhere.
    accounts: BTreeSet<String>,
}

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    /// The names of all families that are registered, without the suffix of a counter.
    families: Vec<String>,
    levels: Mutex<Levels>,

    reconciles: Family<ResultLabels, Counter>,
    reconcile_errors: Family<ControllerLabels, Counter>,
    reconcile_terminal_errors: Family<ControllerLabels, Counter>,
    reconcile_panics: Family<ControllerLabels, Counter>,
    reconcile_seconds: Histograms<ControllerLabels>,
    max_concurrent_reconciles: Family<ControllerLabels, Gauge>,
    active_workers: Family<ControllerLabels, Gauge>,

    queue_depth: Family<DepthLabels, Gauge>,
    queue_adds: Family<QueueLabels, Counter>,
    queue_retries: Family<QueueLabels, Counter>,
    queue_wait_seconds: Histograms<QueueLabels>,
    queue_work_seconds: Histograms<QueueLabels>,
    queue_unfinished_seconds: Family<QueueLabels, SecondsGauge>,
    queue_longest_seconds: Family<QueueLabels, SecondsGauge>,

    rest_requests: Family<RequestLabels, Counter>,

    aws_calls: Family<CallLabels, Counter>,
    aws_call_seconds: Histograms<ServiceLabels>,
    aws_throttles: Family<ServiceOperationLabels, Counter>,
    aws_retries: Family<ServiceOperationLabels, Counter>,
    aws_limiter_waits: Family<OperationLabels, Counter>,
    aws_limiter_wait_seconds: Family<OperationLabels, SecondsCounter>,
    aws_writes: Family<WriteLabels, Counter>,
    snapshot_age_seconds: Family<SnapshotLabels, SecondsGauge>,
    last_success: Family<PlaceLabels, Gauge>,
    instances: Family<InstanceLabels, Gauge>,
    drift: Family<DriftLabels, Counter>,
    drift_repaired: Family<DriftLabels, Counter>,
    posture_condition: Family<ConditionLabels, Gauge>,
    session_failures: Family<AccountLabels, Counter>,
    brake_held: Counter,
    leader: Family<LeaseLabels, Gauge>,
    kube_writes: Family<KubeWriteLabels, Counter>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Registers everything; `version` is the one of the running binary. What can be told beforehand is there at zero,
    /// so that the first time that something happens is an increase.
    #[must_use]
    pub fn new(version: &'static str) -> Self {
        // A counter's name gets its `_total` when it is encoded, an info's its `_info`, and what has a unit the unit's.
        let mut r = Registering::default();
        r.registry.register_collector(Box::new(process::Process));
        r.put("ssm_ready_build", "The running version", None, Info::new(BuildLabels { version }));
        let metrics = Self {
            reconciles: r.add("controller_runtime_reconcile", "Reconciles that ended, by result"),
            reconcile_errors: r
                .add("controller_runtime_reconcile_errors", "Reconciles that failed and are tried again"),
            reconcile_terminal_errors: r.add(
                "controller_runtime_terminal_reconcile_errors",
                "Reconciles that ended with what only a person can put right (the object is Stalled)",
            ),
            reconcile_panics: r.add("controller_runtime_reconcile_panics", "Reconciles that panicked: a bug"),
            reconcile_seconds: r.histogram(
                "controller_runtime_reconcile_time",
                "How long a reconcile took",
                RECONCILE_BUCKETS,
            ),
            max_concurrent_reconciles: r
                .add("controller_runtime_max_concurrent_reconciles", "How many reconciles may run at once"),
            active_workers: r.add("controller_runtime_active_workers", "How many reconciles run now"),

            queue_depth: r.add(
                "workqueue_depth",
                "Objects that are ready and wait for a worker; priority 0 is an edit, -100 a resync",
            ),
            queue_adds: r.add("workqueue_adds", "Objects put into the queue that did not wait in it already"),
            queue_retries: r.add("workqueue_retries", "Objects put into the queue with a delay"),
            queue_wait_seconds: r.histogram(
                "workqueue_queue_duration",
                "How long an object was ready before a worker took it",
                QUEUE_BUCKETS,
            ),
            queue_work_seconds: r.histogram(
                "workqueue_work_duration",
                "How long a worker held an object",
                QUEUE_BUCKETS,
            ),
            queue_unfinished_seconds: r
                .seconds("workqueue_unfinished_work", "How long the objects that are held now have been, in all"),
            queue_longest_seconds: r
                .seconds("workqueue_longest_running_processor", "How long the object that is held longest has been"),

            rest_requests: r.add(
                "rest_client_requests",
                "Requests to the API server, by status code; <error> where there was no answer",
            ),

            aws_calls: r.add("ssm_ready_aws_calls", "AWS calls, by outcome: ok or the kind of the fault"),
            aws_call_seconds: r.histogram(
                "ssm_ready_aws_call",
                "How long an AWS call took, its retries included",
                CALL_BUCKETS,
            ),
            aws_throttles: r.add("ssm_ready_aws_throttles", "AWS calls that AWS throttled"),
            aws_retries: r.add("ssm_ready_aws_retries", "Attempts after the first one that AWS calls took"),
            aws_limiter_waits: r.add("ssm_ready_aws_limiter_waits", "AWS calls that waited to stay within AWS's rates"),
            aws_limiter_wait_seconds: r
                .seconds("ssm_ready_aws_limiter_wait", "Time that AWS calls waited to stay within AWS's rates"),
            aws_writes: r.add("ssm_ready_aws_writes", "AWS calls that change something, by outcome"),
            snapshot_age_seconds: r.seconds(
                "ssm_ready_snapshot_age",
                "Time since a fact of an account, region and age class was last read",
            ),
            last_success: r.seconds(
                "ssm_ready_last_success_timestamp",
                "When all that was asked of an account and region was last read, in Unix time",
            ),
            instances: r.add(
                "ssm_ready_instances",
                "Instances in the VPCs of postures, by verdict: managed, offline (its agent does not ping), \
                 unregistered (Systems Manager does not know it), unknown (that could not be read) or stopped",
            ),
            drift: r.add("ssm_ready_drift", "Differences between AWS and an applied posture that were seen"),
            drift_repaired: r.add("ssm_ready_drift_repaired", "Such differences that were repaired"),
            posture_condition: r
                .add("ssm_ready_posture_condition", "Objects by kind, condition and the condition's status"),
            session_failures: r.add(
                "ssm_ready_session_failures",
                "Sessions that could not be opened or turned out to be of another account",
            ),
            brake_held: r.add("ssm_ready_brake_held", "AWS writes put off by the hourly limits on writes"),
            leader: r.add(
                "leader_election_master_status",
                "Whether this process holds the lease: 1 if it leads, 0 if it stands by",
            ),
            kube_writes: r.add("ssm_ready_kube_writes", "Writes to the API server"),
            levels: Mutex::default(),
            families: r.families,
            registry: r.registry,
        };
        metrics.foretell();
        metrics
    }

    /// The series whose labels are known beforehand.
    fn foretell(&self) {
        for operation in Operation::ALL {
            let (service, operation) = (operation.service(), (operation.name(), operation.writes()));
            let labels = ServiceOperationLabels { service, operation: operation.0 };
            let _created = self.aws_throttles.get_or_create(&labels);
            let _created = self.aws_retries.get_or_create(&labels);
            let outcome = ssm_ready_cloud::observe::OK;
            let _created = self.aws_calls.get_or_create(&CallLabels { service, operation: operation.0, outcome });
            let _created = self.aws_call_seconds.get_or_create(&ServiceLabels { service });
            let waits = OperationLabels { operation: operation.0 };
            let _created = self.aws_limiter_waits.get_or_create(&waits);
            let _created = self.aws_limiter_wait_seconds.get_or_create(&waits);
            if operation.1 {
                let _created = self.aws_writes.get_or_create(&WriteLabels { operation: operation.0, outcome });
            }
        }
        let kinds = [AccountPosture::KIND, RegionPosture::KIND, VpcPosture::KIND];
        for (kind, facets) in kinds.into_iter().zip(FACETS) {
            for facet in facets {
                let labels = DriftLabels { kind, facet: facet.condition() };
                let _created = self.drift.get_or_create(&labels);
                let _created = self.drift_repaired.get_or_create(&labels);
            }
        }
        for what in KubeWrite::ALL {
            for kind in std::iter::once("AwsAccount").chain(kinds) {
                let _created = self.kube_writes.get_or_create(&KubeWriteLabels { kind, what: what.label() });
            }
        }
    }

    /// The names of all families, without the suffixes of counters and infos; not those of the process.
    #[must_use]
    pub fn families(&self) -> &[String] {
        &self.families
    }

    /// Announces a controller, so that its series are there, at zero, before the first reconcile ends.
    pub fn controller(&self, controller: &'static str, max_concurrent: usize) {
        let labels = ControllerLabels { controller };
        for result in ReconcileResult::ALL {
            let _created = self.reconciles.get_or_create(&ResultLabels { controller, result: result.label() });
        }
        let _created = self.reconcile_errors.get_or_create(&labels);
        let _created = self.reconcile_terminal_errors.get_or_create(&labels);
        let _created = self.reconcile_panics.get_or_create(&labels);
        let _created = self.reconcile_seconds.get_or_create(&labels);
        let _created = self.active_workers.get_or_create(&labels);
        let max = i64::try_from(max_concurrent).unwrap_or(i64::MAX);
        self.max_concurrent_reconciles.get_or_create(&labels).set(max);
    }

    /// A reconcile begins. It ends with [`Reconciling::finish`], or when the guard is dropped.
    #[must_use]
    pub fn reconcile_started(self: &Arc<Self>, controller: &'static str) -> Reconciling {
        self.active_workers.get_or_create(&ControllerLabels { controller }).inc();
        Reconciling { metrics: Arc::clone(self), controller, since: Instant::now(), result: None }
    }

    /// The metrics of the queue of a controller.
    #[must_use]
    pub fn queue(&self, controller: &'static str) -> Arc<QueueMetrics> {
        let labels = QueueLabels { name: controller, controller };
        let depth = |priority: Priority| {
            let labels = DepthLabels { name: controller, controller, priority: priority.label() };
            self.queue_depth.get_or_create_owned(&labels)
        };
        let metrics = Arc::new(QueueMetrics {
            edits: depth(Priority::Edit),
            resyncs: depth(Priority::Resync),
            adds: self.queue_adds.get_or_create_owned(&labels),
            retries: self.queue_retries.get_or_create_owned(&labels),
            wait_seconds: self.queue_wait_seconds.get_or_create_owned(&labels),
            work_seconds: self.queue_work_seconds.get_or_create_owned(&labels),
            held: Mutex::default(),
        });
        self.lock().queues.push((labels, Arc::clone(&metrics)));
        metrics
    }

    /// An AWS call has ended. `outcome` is `ok` or the kind of the fault.
    pub fn aws_call(&self, service: &'static str, operation: &'static str, outcome: &'static str, took: Duration) {
        self.aws_calls.get_or_create(&CallLabels { service, operation, outcome }).inc();
        if outcome == FaultKind::Throttled.label() {
            self.aws_throttles.get_or_create(&ServiceOperationLabels { service, operation }).inc();
        }
        self.aws_call_seconds.get_or_create(&ServiceLabels { service }).observe(took.as_secs_f64());
    }

    /// An AWS call is tried once more.
    pub fn aws_retry(&self, service: &'static str, operation: &'static str) {
        self.aws_retries.get_or_create(&ServiceOperationLabels { service, operation }).inc();
    }

    /// An AWS call was held back to stay within AWS's rates.
    pub fn aws_limiter_wait(&self, operation: &'static str, waited: Duration) {
        let labels = OperationLabels { operation };
        self.aws_limiter_waits.get_or_create(&labels).inc();
        self.aws_limiter_wait_seconds.get_or_create(&labels).inc_by(waited.as_secs_f64());
    }

    /// An AWS call that changes something has ended.
    pub fn aws_write(&self, operation: &'static str, outcome: &'static str) {
        self.aws_writes.get_or_create(&WriteLabels { operation, outcome }).inc();
    }

    /// The facts of this age class have been read. Their age then grows by itself, so that a reader that has stopped
    /// shows.
    pub fn snapshot_read(&self, account: &str, region: &str, class: &'static str, at: Instant) {
        let labels = SnapshotLabels { account: account.to_owned(), region: region.to_owned(), class };
        self.lock().snapshots.insert(labels, at);
    }

    /// All that was asked of an account and region was read, at this second of Unix time.
    pub fn place_read(&self, account: &str, region: &str, at: i64) {
        self.lock().successes.insert(place(account, region), at);
    }

    /// How the instances in an account and region are: a full count, which replaces the one before.
    pub fn instances(&self, account: &str, region: &str, counts: &instances::Counts) {
        let mut levels = self.lock();
        for verdict in Verdict::ALL {
            let labels =
                InstanceLabels { account: account.to_owned(), region: region.to_owned(), verdict: verdict.label() };
            let count = counts.get(&verdict).copied().unwrap_or_default();
            levels.instances.insert(labels, i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Nothing refers to this account and region any more.
    pub fn snapshot_gone(&self, account: &str, region: &str) {
        self.lock().retain(|a, r| r.is_none() || a != account || r != Some(region));
    }

    /// The accounts that are declared now: drops every series that names another one.
    pub fn accounts(&self, declared: &BTreeSet<String>) {
        let mut levels = self.lock();
        levels.retain(|account, _| declared.contains(account));
        let gone: Vec<String> = levels.accounts.difference(declared).cloned().collect();
        for account in gone {
            self.session_failures.remove(&AccountLabels { account: account.clone() });
            levels.accounts.remove(&account);
        }
        // At zero, so that the first failure is an increase.
        for account in declared {
            if levels.accounts.insert(account.clone()) {
                let _created = self.session_failures.get_or_create(&AccountLabels { account: account.clone() });
            }
        }
    }

    /// A difference between AWS and an applied posture was seen.
    pub fn drift(&self, kind: &'static str, facet: &'static str) {
        self.drift.get_or_create(&DriftLabels { kind, facet }).inc();
    }

    /// A difference between AWS and an applied posture was repaired.
    pub fn drift_repaired(&self, kind: &'static str, facet: &'static str) {
        self.drift_repaired.get_or_create(&DriftLabels { kind, facet }).inc();
    }

    /// How many objects there are, by condition: a full count, which replaces the one before. What is counted twice is
    /// added up.
    pub fn posture_conditions(&self, counts: impl IntoIterator<Item = (ConditionLabels, i64)>) {
        let mut conditions = BTreeMap::new();
        for (labels, count) in counts {
            *conditions.entry(labels).or_insert(0) += count;
        }
        self.lock().conditions = conditions;
    }

    /// A session could not be opened, or turned out to be of another account.
    pub fn session_failure(&self, account: &str) {
        self.lock().accounts.insert(account.to_owned());
        self.session_failures.get_or_create(&AccountLabels { account: account.to_owned() }).inc();
    }

    /// An AWS write was put off by the hourly limits.
    pub fn brake_held(&self) {
        self.brake_held.inc();
    }

    /// Whether this process holds the lease of that name, of which there is one in a process.
    pub fn leader(&self, name: impl Into<String>, leading: bool) {
        self.leader.get_or_create(&LeaseLabels { name: name.into() }).set(i64::from(leading));
    }

    /// The API server has answered a request with that code, or not at all.
    fn request(&self, method: &'static str, host: &str, code: Option<u16>) {
        let code = code.map_or_else(|| "<error>".to_owned(), |code| code.to_string());
        self.rest_requests.get_or_create(&RequestLabels { code, method, host: host.to_owned() }).inc();
    }

    /// Something was written to the API server.
    pub fn kube_write(&self, kind: &'static str, what: KubeWrite) {
        self.kube_writes.get_or_create(&KubeWriteLabels { kind, what: what.label() }).inc();
    }

    /// Everything, in the OpenMetrics text format ([`CONTENT_TYPE`]).
    #[must_use]
    pub fn encode(&self) -> String {
        self.encode_at(Instant::now())
    }

    fn encode_at(&self, now: Instant) -> String {
        // Held until the end: another scrape must not see the gauges while they are being replaced.
        let levels = self.lock();
        self.snapshot_age_seconds.clear();
        for (labels, at) in &levels.snapshots {
            let age = now.saturating_duration_since(*at).as_secs_f64();
            self.snapshot_age_seconds.get_or_create(labels).set(age);
        }
        self.last_success.clear();
        for (labels, at) in &levels.successes {
            self.last_success.get_or_create(labels).set(*at);
        }
        self.instances.clear();
        for (labels, count) in &levels.instances {
            self.instances.get_or_create(labels).set(*count);
        }
        for (labels, queue) in &levels.queues {
            let (all, longest) = queue.held(now);
            self.queue_unfinished_seconds.get_or_create(labels).set(all.as_secs_f64());
            self.queue_longest_seconds.get_or_create(labels).set(longest.as_secs_f64());
        }
        self.posture_condition.clear();
        for (labels, count) in &levels.conditions {
            self.posture_condition.get_or_create(labels).set(*count);
        }
        let mut out = String::new();
        // Writing to a String fails only where a metric of ours does, and none does.
        if let Err(error) = text::encode(&mut out, &self.registry) {
            tracing::error!(%error, "the metrics could not be encoded");
        }
        out
    }

    fn lock(&self) -> MutexGuard<'_, Levels> {
        self.levels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn place(account: &str, region: &str) -> PlaceLabels {
    PlaceLabels { account: account.to_owned(), region: region.to_owned() }
}

impl Levels {
    /// Keeps what is of accounts, and of regions in them, for which `keep` holds.
    fn retain(&mut self, keep: impl Fn(&str, Option<&str>) -> bool) {
        self.snapshots.retain(|labels, _| keep(&labels.account, Some(&labels.region)));
        self.successes.retain(|labels, _| keep(&labels.account, Some(&labels.region)));
        self.instances.retain(|labels, _| keep(&labels.account, Some(&labels.region)));
    }
}

/// A registry that remembers what is in it.
#[derive(Debug, Default)]
struct Registering {
    registry: Registry,
    families: Vec<String>,
}

impl Registering {
    fn put(&mut self, name: &str, help: &str, unit: Option<Unit>, metric: impl Metric) {
        match unit {
            Some(unit) => {
                self.families.push(format!("{name}_{}", unit.as_str()));
                self.registry.register_with_unit(name, help, unit, metric);
            }
            None => {
                self.families.push(name.to_owned());
                self.registry.register(name, help, metric);
            }
        }
    }

    fn add<M: Metric + Clone + Default>(&mut self, name: &str, help: &str) -> M {
        let metric = M::default();
        self.put(name, help, None, metric.clone());
        metric
    }

    fn seconds<M: Metric + Clone + Default>(&mut self, name: &str, help: &str) -> M {
        let metric = M::default();
        self.put(name, help, Some(Unit::Seconds), metric.clone());
        metric
    }

    fn histogram<S>(&mut self, name: &str, help: &str, buckets: &'static [f64]) -> Histograms<S>
    where
        S: Clone + fmt::Debug + Eq + std::hash::Hash + EncodeLabelSet + Send + Sync + 'static,
    {
        let family = Histograms::new_with_constructor(Buckets(buckets));
        self.put(name, help, Some(Unit::Seconds), family.clone());
        family
    }
}

/// A reconcile under way.
#[derive(Debug)]
pub struct Reconciling {
    metrics: Arc<Metrics>,
    controller: &'static str,
    since: Instant,
    result: Option<ReconcileResult>,
}

impl Reconciling {
    /// The reconcile has ended, this way.
    pub fn finish(mut self, result: ReconcileResult) {
        self.result = Some(result);
    }

    /// The reconcile has panicked, and the panic was caught.
    pub fn finish_panicked(self) {
        let labels = ControllerLabels { controller: self.controller };
        self.metrics.reconcile_panics.get_or_create(&labels).inc();
        self.finish(ReconcileResult::Error);
    }

    /// The reconcile has ended with what only a person can put right.
    pub fn finish_stalled(self, result: ReconcileResult) {
        let labels = ControllerLabels { controller: self.controller };
        self.metrics.reconcile_terminal_errors.get_or_create(&labels).inc();
        self.finish(result);
    }
}

impl Drop for Reconciling {
    /// Counts here, so that a reconcile which panics is counted too. One that is cut off by a shutdown has no result.
    fn drop(&mut self) {
        let metrics = &self.metrics;
        let labels = ControllerLabels { controller: self.controller };
        metrics.active_workers.get_or_create(&labels).dec();
        let panicked = self.result.is_none() && std::thread::panicking();
        let Some(result) = self.result.or(panicked.then_some(ReconcileResult::Error)) else {
            return;
        };
        if panicked {
            metrics.reconcile_panics.get_or_create(&labels).inc();
        }
        if result == ReconcileResult::Error {
            metrics.reconcile_errors.get_or_create(&labels).inc();
        }
        let result_labels = ResultLabels { controller: self.controller, result: result.label() };
        metrics.reconciles.get_or_create(&result_labels).inc();
        metrics.reconcile_seconds.get_or_create(&labels).observe(self.since.elapsed().as_secs_f64());
    }
}

/// The metrics of one queue, its labels looked up once.
#[derive(Debug)]
pub struct QueueMetrics {
    edits: Gauge,
    resyncs: Gauge,
    adds: Counter,
    retries: Counter,
    wait_seconds: Histogram,
    work_seconds: Histogram,
    /// How many keys are held since when.
    held: Mutex<BTreeMap<Instant, usize>>,
}

impl QueueMetrics {
    /// So many keys are ready with this priority.
    pub fn depth(&self, priority: Priority, depth: usize) {
        let gauge = match priority {
            Priority::Edit => &self.edits,
            Priority::Resync => &self.resyncs,
        };
        gauge.set(i64::try_from(depth).unwrap_or(i64::MAX));
    }

    /// A key was put into the queue that did not wait in it already.
    pub fn added(&self) {
        self.adds.inc();
    }

    /// A key was put into the queue with a delay.
    pub fn retried(&self) {
        self.retries.inc();
    }

    /// A worker took a key, now, that had been ready for so long.
    pub fn taken(&self, waited: Duration, now: Instant) {
        self.wait_seconds.observe(waited.as_secs_f64());
        *self.lock().entry(now).or_default() += 1;
    }

    /// A worker that took a key then has held it for so long.
    pub fn worked(&self, since: Instant, took: Duration) {
        self.work_seconds.observe(took.as_secs_f64());
        let mut held = self.lock();
        if let Some(count) = held.get_mut(&since) {
            *count -= 1;
            if *count == 0 {
                held.remove(&since);
            }
        }
    }

    /// How long the keys that are held now have been: all together, and the longest.
    fn held(&self, now: Instant) -> (Duration, Duration) {
        let held = self.lock();
        let age = |since: &Instant| now.saturating_duration_since(*since);
        let all = held.iter().map(|(since, count)| age(since) * u32::try_from(*count).unwrap_or(u32::MAX)).sum();
        (all, held.keys().next().map(age).unwrap_or_default())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Instant, usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str, series: &str) -> Option<f64> {
        let line = text.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')))?;
        line.rsplit_once(' ')?.1.parse().ok()
    }

    fn condition(r#type: &'static str, status: &'static str) -> ConditionLabels {
        ConditionLabels { kind: "VpcPosture", r#type, status }
    }

    const ACCOUNT: &str = "111122223333";

    /// Metrics in which every family has a series.
    fn full() -> Arc<Metrics> {
        let metrics = Arc::new(Metrics::new("1.2.3"));
        metrics.controller("vpcposture", 16);
        metrics.reconcile_started("vpcposture").finish(ReconcileResult::RequeueAfter);
        metrics.reconcile_started("vpcposture").finish_stalled(ReconcileResult::RequeueAfter);
        let queue = metrics.queue("vpcposture");
        queue.depth(Priority::Edit, 2);
        queue.depth(Priority::Resync, 5000);
        queue.added();
        queue.retried();
        let now = Instant::now();
        queue.taken(Duration::from_millis(2), now);
        queue.worked(now, Duration::from_secs(2));
        metrics.request("GET", "10.0.0.1:443", Some(200));
        metrics.request("PATCH", "10.0.0.1:443", None);
        metrics.aws_call("ec2", "DescribeVpcs", "ok", Duration::from_millis(80));
        metrics.aws_call("ec2", "DescribeVpcs", "throttled", Duration::from_millis(20));
        metrics.aws_retry("ec2", "DescribeVpcs");
        metrics.aws_limiter_wait("CreateVpcEndpoint", Duration::from_millis(1500));
        metrics.aws_write("CreateVpcEndpoint", "throttled");
        metrics.snapshot_read(ACCOUNT, "eu-central-1", "fast", Instant::now());
        metrics.place_read(ACCOUNT, "eu-central-1", 1_700_000_000);
        metrics.instances(ACCOUNT, "eu-central-1", &instances::Counts::from([(Verdict::Managed, 7)]));
        metrics.drift("VpcPosture", "EndpointsReady");
        metrics.drift_repaired("VpcPosture", "EndpointsReady");
        metrics.posture_conditions([(condition("Ready", "True"), 3)]);
        metrics.session_failure(ACCOUNT);
        metrics.brake_held();
        metrics.leader("ssm-ready", false);
        metrics.leader("ssm-ready", true);
        for what in KubeWrite::ALL {
            metrics.kube_write("VpcPosture", what);
        }
        metrics
    }

    #[test]
    fn every_series_has_the_name_and_labels_that_are_documented() {
        let metrics = full();
        let queue_labels = r#"name="vpcposture",controller="vpcposture""#;
        let expected = [
            (r#"controller_runtime_reconcile_total{controller="vpcposture",result="success"}"#, 0.0),
            (r#"controller_runtime_reconcile_total{controller="vpcposture",result="error"}"#, 0.0),
            (r#"controller_runtime_reconcile_total{controller="vpcposture",result="requeue"}"#, 0.0),
            (r#"controller_runtime_reconcile_total{controller="vpcposture",result="requeue_after"}"#, 2.0),
            (r#"controller_runtime_terminal_reconcile_errors_total{controller="vpcposture"}"#, 1.0),
            (r#"controller_runtime_reconcile_errors_total{controller="vpcposture"}"#, 0.0),
            (r#"controller_runtime_reconcile_panics_total{controller="vpcposture"}"#, 0.0),
            (r#"controller_runtime_reconcile_time_seconds_count{controller="vpcposture"}"#, 2.0),
            (r#"controller_runtime_reconcile_time_seconds_bucket{le="+Inf",controller="vpcposture"}"#, 2.0),
            (r#"controller_runtime_max_concurrent_reconciles{controller="vpcposture"}"#, 16.0),
            (r#"controller_runtime_active_workers{controller="vpcposture"}"#, 0.0),
            (&format!(r#"workqueue_depth{{{queue_labels},priority="0"}}"#), 2.0),
            (&format!(r#"workqueue_depth{{{queue_labels},priority="-100"}}"#), 5000.0),
            (&format!("workqueue_adds_total{{{queue_labels}}}"), 1.0),
            (&format!("workqueue_retries_total{{{queue_labels}}}"), 1.0),
            (&format!("workqueue_queue_duration_seconds_sum{{{queue_labels}}}"), 0.002),
            (&format!("workqueue_work_duration_seconds_sum{{{queue_labels}}}"), 2.0),
            (&format!("workqueue_unfinished_work_seconds{{{queue_labels}}}"), 0.0),
            (&format!("workqueue_longest_running_processor_seconds{{{queue_labels}}}"), 0.0),
            (r#"rest_client_requests_total{code="200",method="GET",host="10.0.0.1:443"}"#, 1.0),
            (r#"rest_client_requests_total{code="<error>",method="PATCH",host="10.0.0.1:443"}"#, 1.0),
            (r#"ssm_ready_aws_throttles_total{service="ec2",operation="DescribeVpcs"}"#, 1.0),
            (r#"ssm_ready_aws_retries_total{service="ec2",operation="DescribeVpcs"}"#, 1.0),
            (r#"ssm_ready_aws_calls_total{service="ec2",operation="CreateVpcEndpoint",outcome="ok"}"#, 0.0),
            (r#"ssm_ready_last_success_timestamp_seconds{account="111122223333",region="eu-central-1"}"#, 1.7e9),
            (r#"ssm_ready_instances{account="111122223333",region="eu-central-1",verdict="managed"}"#, 7.0),
            (r#"ssm_ready_instances{account="111122223333",region="eu-central-1",verdict="offline"}"#, 0.0),
            (r#"ssm_ready_drift_total{kind="VpcPosture",facet="DnsReady"}"#, 0.0),
            (r#"ssm_ready_aws_calls_total{service="ec2",operation="DescribeVpcs",outcome="ok"}"#, 1.0),
            (r#"ssm_ready_aws_call_seconds_sum{service="ec2"}"#, 0.1),
            (r#"ssm_ready_aws_limiter_waits_total{operation="CreateVpcEndpoint"}"#, 1.0),
            (r#"ssm_ready_aws_limiter_wait_seconds_total{operation="CreateVpcEndpoint"}"#, 1.5),
            (r#"ssm_ready_aws_writes_total{operation="CreateVpcEndpoint",outcome="throttled"}"#, 1.0),
            (r#"ssm_ready_drift_total{kind="VpcPosture",facet="EndpointsReady"}"#, 1.0),
            (r#"ssm_ready_drift_repaired_total{kind="VpcPosture",facet="EndpointsReady"}"#, 1.0),
            (r#"ssm_ready_posture_condition{kind="VpcPosture",type="Ready",status="True"}"#, 3.0),
            (r#"ssm_ready_session_failures_total{account="111122223333"}"#, 1.0),
            ("ssm_ready_brake_held_total", 1.0),
            (r#"leader_election_master_status{name="ssm-ready"}"#, 1.0),
            (r#"ssm_ready_kube_writes_total{kind="VpcPosture",what="status"}"#, 1.0),
            (r#"ssm_ready_kube_writes_total{kind="VpcPosture",what="finalizer"}"#, 1.0),
            (r#"ssm_ready_kube_writes_total{kind="VpcPosture",what="event"}"#, 1.0),
            (r#"ssm_ready_build_info{version="1.2.3"}"#, 1.0),
        ];
        let text = metrics.encode();
        for (series, expected) in expected {
            assert_eq!(value(&text, series), Some(expected), "{series} in\n{text}");
        }
        let age = r#"ssm_ready_snapshot_age_seconds{account="111122223333",region="eu-central-1",class="fast"}"#;
        assert!(value(&text, age).is_some(), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn the_process_is_seen() {
        let text = Metrics::new("test").encode();
        for series in [
            "process_cpu_seconds_total",
            "process_resident_memory_bytes",
            "process_virtual_memory_bytes",
            "process_start_time_seconds",
            "process_open_fds",
            "process_max_fds",
        ] {
            assert!(value(&text, series).is_some_and(|value| value >= 0.0), "{series} in\n{text}");
        }
        let resident = value(&text, "process_resident_memory_bytes").unwrap();
        assert!((1e6..1e10).contains(&resident), "{resident}");
    }

    #[test]
    fn an_age_grows_by_itself_until_its_account_or_region_is_gone() {
        let metrics = Metrics::new("test");
        let start = Instant::now();
        let series = |account: &str, region: &str| {
            format!(r#"ssm_ready_snapshot_age_seconds{{account="{account}",region="{region}",class="slow"}}"#)
        };
        let places = [("1", "eu-west-1"), ("1", "us-east-1"), ("2", "eu-west-1")];
        for (account, region) in places {
            metrics.snapshot_read(account, region, "slow", start);
        }
        let ages = |after: u64| {
            let text = metrics.encode_at(start + Duration::from_secs(after));
            places.map(|(account, region)| value(&text, &series(account, region)))
        };
        assert_eq!(ages(60), [Some(60.0); 3]);
        metrics.snapshot_read("2", "eu-west-1", "slow", start + Duration::from_secs(90));
        metrics.snapshot_gone("1", "us-east-1");
        assert_eq!(ages(100), [Some(100.0), None, Some(10.0)]);
        metrics.accounts(&BTreeSet::from(["2".to_owned()]));
        assert_eq!(ages(100), [None, None, Some(10.0)]);
    }

    #[test]
    fn series_of_an_account_and_of_its_regions_go_with_them() {
        let metrics = Metrics::new("test");
        let both = ["1".to_owned(), "2".to_owned()];
        metrics.accounts(&BTreeSet::from(both.clone()));
        for (account, region) in [("1", "eu-west-1"), ("1", "us-east-1"), ("2", "eu-west-1")] {
            metrics.snapshot_read(account, region, "fast", Instant::now());
            metrics.place_read(account, region, 1);
            metrics.instances(account, region, &instances::Counts::new());
            metrics.session_failure(account);
        }
        let of = |label: &str| metrics.encode().lines().filter(|line| line.contains(label)).count();
        let each = 2 + Verdict::ALL.len();
        assert_eq!((of(r#"account="1""#), of(r#"account="2""#)), (2 * each + 1, each + 1));
        metrics.snapshot_gone("1", "us-east-1");
        assert_eq!((of(r#"region="us-east-1""#), of(r#"region="eu-west-1""#)), (0, 2 * each));
        metrics.accounts(&BTreeSet::from([both[1].clone()]));
        assert_eq!((of(r#"account="1""#), of(r#"account="2""#)), (0, each + 1));
        // A failure of an account that nobody declares any more goes with the next count.
        metrics.session_failure("1");
        metrics.accounts(&BTreeSet::from([both[1].clone()]));
        assert_eq!(of(r#"account="1""#), 0);
    }

    #[test]
    fn what_is_held_is_told_while_it_is() {
        let metrics = Metrics::new("test");
        let queue = metrics.queue("x");
        let start = Instant::now();
        let later = |seconds| start + Duration::from_secs(seconds);
        queue.taken(Duration::ZERO, start);
        queue.taken(Duration::ZERO, start);
        queue.taken(Duration::ZERO, later(5));
        let held = |at: u64| {
            let text = metrics.encode_at(later(at));
            ["unfinished_work", "longest_running_processor"]
                .map(|name| value(&text, &format!(r#"workqueue_{name}_seconds{{name="x",controller="x"}}"#)).unwrap())
        };
        assert_eq!(held(10), [25.0, 10.0]);
        queue.worked(start, Duration::from_secs(10));
        assert_eq!(held(10), [15.0, 10.0]);
        queue.worked(start, Duration::from_secs(10));
        queue.worked(later(5), Duration::from_secs(5));
        assert_eq!(held(20), [0.0, 0.0]);
    }

    /// The families of a text: name, type, unit, help, and the names of the labels (`le` aside).
    fn families(text: &str) -> BTreeMap<String, [String; 4]> {
        let mut found: BTreeMap<String, [String; 4]> = BTreeMap::new();
        for line in text.lines() {
            if let Some((what, rest)) = line.strip_prefix("# ").and_then(|rest| rest.split_once(' ')) {
                let (name, text) = rest.split_once(' ').unwrap();
                let place = ["TYPE", "UNIT", "HELP"].iter().position(|w| *w == what).unwrap();
                found.entry(name.to_owned()).or_default()[place] = text.to_owned();
            } else if let Some((name, labels)) = line.split_once('{') {
                let names = labels.split("\",").map(|pair| pair.split_once('=').unwrap().0);
                let names: BTreeSet<&str> = names.filter(|name| *name != "le").collect();
                let family = found.iter_mut().filter(|(family, _)| name.starts_with(family.as_str()));
                let (_, family) = family.max_by_key(|(family, _)| family.len()).unwrap();
                family[3] = names.into_iter().collect::<Vec<_>>().join(", ");
            }
        }
        found
    }

    #[test]
    fn no_label_is_without_bounds_and_the_page_is_up_to_date() {
        let metrics = full();
        let found = families(&metrics.encode());
        for name in metrics.families() {
            assert!(found.contains_key(name), "{name} has no series in this test");
        }
        let labels: BTreeSet<&str> = found.values().flat_map(|f| f[3].split(", ")).filter(|l| !l.is_empty()).collect();
        // A new one belongs here only if what it may say is bounded: see the head of this file.
        let bounded = [
            "account",
            "class",
            "code",
            "controller",
            "facet",
            "host",
            "kind",
            "method",
            "name",
            "operation",
            "outcome",
            "priority",
            "region",
            "result",
            "service",
            "status",
            "type",
            "verdict",
            "version",
            "what",
        ];
        assert_eq!(labels.into_iter().collect::<Vec<_>>(), bounded);

        let mut page = String::from(PAGE);
        for (title, own) in [("As in other controllers", false), ("Our own", true)] {
            page.push_str(&format!(
                "\n## {title}\n\n| Metric | Type | Labels | Unit | What |\n|---|---|---|---|---|\n"
            ));
            for (name, [kind, unit, help, labels]) in &found {
                if name.starts_with("ssm_ready_") != own {
                    continue;
                }
                let suffix = match kind.as_str() {
                    "counter" => "_total",
                    "info" => "_info",
                    _ => "",
                };
                // Those of the process are known by their names.
                let unit = match unit.as_str() {
                    "" if name.contains("_seconds") => "seconds",
                    "" if name.contains("_bytes") => "bytes",
                    unit => unit,
                };
                let help = help.replace('<', "&lt;");
                let [labels, unit] = [labels.as_str(), unit].map(|text| if text.is_empty() { "-" } else { text });
                page.push_str(&format!("| `{name}{suffix}` | {kind} | {labels} | {unit} | {help} |\n"));
            }
        }
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, &page).unwrap();
        }
        let stored = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(
            stored, page,
            "docs/metrics.md is not up to date: UPDATE_DOCS=1 cargo test -p ssm-ready --lib metrics"
        );
    }

    /// The head of the page.
    const PAGE: &str = "\
# Metrics

`/metrics` is served on port 8080 (`--metrics-bind-address`) in the OpenMetrics text format. Reconciles, queues, \
requests to the API server and leader election have the names and labels of controller-runtime, so that dashboards made \
for it work; there are no `go_*` metrics, as this is no Go program, and no reconcile timeouts, as a pass is never cut \
off. A pass that ends with what only a person can put right counts as `terminal_reconcile_errors`, not as an error.

No label holds an id, an ARN, the name of an object or a message. Account and region are those of declared \
`AwsAccount`s and of postures; their series go with them. How each object is, by name, is told by kube-state-metrics: \
`charts/ssm-ready/files/kube-state-metrics.yaml` has its configuration.

With `--metrics-secure`, the same is served over HTTPS, to whoever has a token of the cluster and may `get` the \
non-resource URL `/metrics`: Prometheus sends its own service account's token. The controller asks the API server \
(TokenReview, SubjectAccessReview) and keeps an answer for a minute. The certificate is `tls.crt` and `tls.key` of \
`--metrics-cert-dir`, read again when they change, or else one that is made at the start and that nobody can verify.

A counter's increase is what counts; what is known beforehand is there at zero from the start.
";

    #[test]
    fn a_recount_replaces_the_one_before() {
        let metrics = Metrics::new("test");
        let (ready, failed) = (condition("Ready", "True"), condition("Ready", "False"));
        let counts = || {
            let text = metrics.encode();
            ["True", "False"].map(|status| {
                let series = r#"ssm_ready_posture_condition{kind="VpcPosture",type="Ready",status="#;
                value(&text, &format!("{series}\"{status}\"}}"))
            })
        };
        metrics.posture_conditions([(ready, 1), (ready, 1), (failed, 1)]);
        assert_eq!(counts(), [Some(2.0), Some(1.0)]);
        metrics.posture_conditions([(ready, 3)]);
        assert_eq!(counts(), [Some(3.0), None]);
    }

    #[test]
    fn a_reconcile_is_counted_however_it_ends() {
        // How it ends; then the counts of errors, panics and reconciles that ended.
        type End = fn(Reconciling);
        let cases: [(End, [f64; 3]); 5] = [
            (Reconciling::finish_panicked, [1.0, 1.0, 1.0]),
            (|reconciling| reconciling.finish(ReconcileResult::Success), [0.0, 0.0, 1.0]),
            (|reconciling| reconciling.finish(ReconcileResult::Error), [1.0, 0.0, 1.0]),
            (|_reconciling| panic!("as a bug would"), [1.0, 1.0, 1.0]),
            (drop, [0.0, 0.0, 0.0]),
        ];
        for (number, (end, expected)) in cases.into_iter().enumerate() {
            let metrics = Arc::new(Metrics::new("test"));
            metrics.controller("x", 1);
            let reconciling = metrics.reconcile_started("x");
            let workers = r#"controller_runtime_active_workers{controller="x"}"#;
            assert_eq!(value(&metrics.encode(), workers), Some(1.0));
            let _panicked = std::thread::spawn(move || end(reconciling)).join();
            let text = metrics.encode();
            assert_eq!(value(&text, workers), Some(0.0));
            let seen = ["reconcile_errors_total", "reconcile_panics_total", "reconcile_time_seconds_count"]
                .map(|name| value(&text, &format!(r#"controller_runtime_{name}{{controller="x"}}"#)).unwrap());
            assert_eq!(seen, expected, "case {number}");
        }
    }
}
