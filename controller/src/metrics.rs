//! What Prometheus sees.
//!
//! Reconciles and queues carry the names and labels of controller-runtime, so that dashboards made for it work. What is
//! our own starts with `ssm_ready_`. Every label is bounded: a `&'static str` is one of a fixed list in our code; account
//! and region come from declared `AwsAccount`s and are dropped with them. Ids, ARNs, names of objects and messages are
//! never labels.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};

use crate::queue::Priority;

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

    fn label(self) -> &'static str {
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

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AccountLabels {
    account: String,
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
    fn label(self) -> &'static str {
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
    conditions: BTreeMap<ConditionLabels, i64>,
}

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    levels: Mutex<Levels>,

    reconciles: Family<ResultLabels, Counter>,
    reconcile_errors: Family<ControllerLabels, Counter>,
    reconcile_panics: Family<ControllerLabels, Counter>,
    reconcile_seconds: Histograms<ControllerLabels>,
    max_concurrent_reconciles: Family<ControllerLabels, Gauge>,
    active_workers: Family<ControllerLabels, Gauge>,

    queue_depth: Family<DepthLabels, Gauge>,
    queue_adds: Family<QueueLabels, Counter>,
    queue_retries: Family<QueueLabels, Counter>,
    queue_wait_seconds: Histograms<QueueLabels>,
    queue_work_seconds: Histograms<QueueLabels>,

    aws_calls: Family<CallLabels, Counter>,
    aws_call_seconds: Histograms<ServiceLabels>,
    aws_limiter_waits: Family<OperationLabels, Counter>,
    aws_limiter_wait_seconds: Family<OperationLabels, SecondsCounter>,
    aws_writes: Family<WriteLabels, Counter>,
    snapshot_age_seconds: Family<SnapshotLabels, SecondsGauge>,
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
    /// Registers everything; `version` is the one of the running binary.
    #[must_use]
    pub fn new(version: &'static str) -> Self {
        // A counter's name gets its `_total` when it is encoded, an info's its `_info`.
        let mut r = Registry::default();
        r.register_collector(Box::new(Process));
        r.register("ssm_ready_build", "The running version", Info::new(BuildLabels { version }));
        Self {
            reconciles: add(&mut r, "controller_runtime_reconcile", "Reconciles that ended, by result"),
            reconcile_errors: add(&mut r, "controller_runtime_reconcile_errors", "Reconciles that failed"),
            reconcile_panics: add(&mut r, "controller_runtime_reconcile_panics", "Reconciles that panicked: a bug"),
            reconcile_seconds: histogram(
                &mut r,
                "controller_runtime_reconcile_time_seconds",
                "How long a reconcile took",
                RECONCILE_BUCKETS,
            ),
            max_concurrent_reconciles: add(
                &mut r,
                "controller_runtime_max_concurrent_reconciles",
                "How many reconciles may run at once",
            ),
            active_workers: add(&mut r, "controller_runtime_active_workers", "How many reconciles run now"),

            queue_depth: add(
                &mut r,
                "workqueue_depth",
                "Objects that are ready and wait for a worker; priority 0 is an edit, -100 a resync",
            ),
            queue_adds: add(&mut r, "workqueue_adds", "Objects put into the queue that did not wait in it already"),
            queue_retries: add(&mut r, "workqueue_retries", "Objects put into the queue with a delay"),
            queue_wait_seconds: histogram(
                &mut r,
                "workqueue_queue_duration_seconds",
                "How long an object was ready before a worker took it",
                QUEUE_BUCKETS,
            ),
            queue_work_seconds: histogram(
                &mut r,
                "workqueue_work_duration_seconds",
                "How long a worker held an object",
                QUEUE_BUCKETS,
            ),

            aws_calls: add(&mut r, "ssm_ready_aws_calls", "AWS calls, by outcome: ok or the kind of the fault"),
            aws_call_seconds: histogram(
                &mut r,
                "ssm_ready_aws_call_seconds",
                "How long an AWS call took, its retries included",
                CALL_BUCKETS,
            ),
            aws_limiter_waits: add(
                &mut r,
                "ssm_ready_aws_limiter_waits",
                "AWS calls that waited to stay within AWS's rates",
            ),
            aws_limiter_wait_seconds: add(
                &mut r,
                "ssm_ready_aws_limiter_wait_seconds",
                "Time that AWS calls waited to stay within AWS's rates",
            ),
            aws_writes: add(&mut r, "ssm_ready_aws_writes", "AWS calls that change something, by outcome"),
            snapshot_age_seconds: add(
                &mut r,
                "ssm_ready_snapshot_age_seconds",
                "Time since the facts of an account, region and age class were last read as a whole",
            ),
            drift: add(&mut r, "ssm_ready_drift", "Differences between AWS and an applied posture that were seen"),
            drift_repaired: add(&mut r, "ssm_ready_drift_repaired", "Such differences that were repaired"),
            posture_condition: add(
                &mut r,
                "ssm_ready_posture_condition",
                "Objects by kind, condition and the condition's status",
            ),
            session_failures: add(
                &mut r,
                "ssm_ready_session_failures",
                "Sessions that could not be opened or turned out to be of another account",
            ),
            brake_held: add(&mut r, "ssm_ready_brake_held", "AWS writes put off by the hourly limits on writes"),
            leader: add(
                &mut r,
                "leader_election_master_status",
                "Whether this process holds the lease: 1 if it leads, 0 if it stands by",
            ),
            kube_writes: add(&mut r, "ssm_ready_kube_writes", "Writes to the API server"),
            levels: Mutex::default(),
            registry: r,
        }
    }

    /// Announces a controller, so that its series are there, at zero, before the first reconcile ends.
    pub fn controller(&self, controller: &'static str, max_concurrent: usize) {
        let labels = ControllerLabels { controller };
        for result in ReconcileResult::ALL {
            let _created = self.reconciles.get_or_create(&ResultLabels { controller, result: result.label() });
        }
        let _created = self.reconcile_errors.get_or_create(&labels);
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
        Arc::new(QueueMetrics {
            edits: depth(Priority::Edit),
            resyncs: depth(Priority::Resync),
            adds: self.queue_adds.get_or_create_owned(&labels),
            retries: self.queue_retries.get_or_create_owned(&labels),
            wait_seconds: self.queue_wait_seconds.get_or_create_owned(&labels),
            work_seconds: self.queue_work_seconds.get_or_create_owned(&labels),
        })
    }

    /// An AWS call has ended. `outcome` is `ok` or the kind of the fault.
    pub fn aws_call(&self, service: &'static str, operation: &'static str, outcome: &'static str, took: Duration) {
        self.aws_calls.get_or_create(&CallLabels { service, operation, outcome }).inc();
        self.aws_call_seconds.get_or_create(&ServiceLabels { service }).observe(took.as_secs_f64());
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

    /// Nothing refers to this account and region any more.
    pub fn snapshot_gone(&self, account: &str, region: &str) {
        self.lock().snapshots.retain(|labels, _| labels.account != account || labels.region != region);
    }

    /// The account is no longer declared: drops every series that names it.
    pub fn account_gone(&self, account: &str) {
        self.lock().snapshots.retain(|labels, _| labels.account != account);
        self.session_failures.remove(&AccountLabels { account: account.to_owned() });
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

fn add<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

fn histogram<S>(registry: &mut Registry, name: &str, help: &str, buckets: &'static [f64]) -> Histograms<S>
where
    S: Clone + fmt::Debug + Eq + std::hash::Hash + EncodeLabelSet + Send + Sync + 'static,
{
    let family = Histograms::new_with_constructor(Buckets(buckets));
    registry.register(name, help, family.clone());
    family
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

    /// A worker took a key that had been ready for so long.
    pub fn taken(&self, waited: Duration) {
        self.wait_seconds.observe(waited.as_secs_f64());
    }

    /// A worker held a key for so long.
    pub fn worked(&self, took: Duration) {
        self.work_seconds.observe(took.as_secs_f64());
    }
}

/// The process as the kernel sees it, under the names that every Prometheus client library uses. Read from `/proc` at
/// each scrape; what cannot be read there is left out.
#[derive(Debug)]
struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let stats = ProcessStats::read();
        let mut add = |name: &str, help: &str, metric: Option<&dyn EncodeMetric>| match metric {
            Some(metric) => metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?),
            None => Ok(()),
        };
        let cpu = stats.cpu_seconds.map(ConstCounter::new);
        add("process_cpu_seconds", "CPU time used, in user and kernel mode.", cpu.as_ref().map(|m| m as _))?;
        let resident = stats.resident_bytes.map(ConstGauge::new);
        add("process_resident_memory_bytes", "Resident memory.", resident.as_ref().map(|m| m as _))?;
        let virtual_memory = stats.virtual_bytes.map(ConstGauge::new);
        add("process_virtual_memory_bytes", "Virtual memory.", virtual_memory.as_ref().map(|m| m as _))?;
        let start = stats.start_time_seconds.map(ConstGauge::new);
        add("process_start_time_seconds", "When the process began, in Unix time.", start.as_ref().map(|m| m as _))?;
        let open = stats.open_fds.map(ConstGauge::new);
        add("process_open_fds", "Open file descriptors.", open.as_ref().map(|m| m as _))?;
        let max = stats.max_fds.map(ConstGauge::new);
        add("process_max_fds", "How many file descriptors may be open.", max.as_ref().map(|m| m as _))
    }
}

#[derive(Debug, Default, PartialEq)]
struct ProcessStats {
    cpu_seconds: Option<f64>,
    resident_bytes: Option<i64>,
    virtual_bytes: Option<i64>,
    start_time_seconds: Option<f64>,
    open_fds: Option<i64>,
    max_fds: Option<i64>,
}

impl ProcessStats {
    fn read() -> Self {
        let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let mut stats = Self::parse(
            &file("/proc/self/status"),
            &file("/proc/self/stat"),
            &file("/proc/stat"),
            &file("/proc/self/limits"),
        );
        stats.open_fds = std::fs::read_dir("/proc/self/fd").ok().and_then(|fds| i64::try_from(fds.count()).ok());
        stats
    }

    fn parse(status: &str, stat: &str, system: &str, limits: &str) -> Self {
        // USER_HZ, the unit of times in /proc, is 100 on every Linux that we run on.
        let seconds = |ticks: &str| ticks.parse::<f64>().ok().map(|ticks| ticks / 100.0);
        let kib = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field))?;
            line.trim().strip_suffix("kB")?.trim().parse::<i64>().ok().map(|kib| kib * 1024)
        };
        // The second field is the program's name in parentheses and may hold spaces and parentheses; the third follows
        // the last of them, utime and stime are the 14th and 15th, starttime the 22nd.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
        let field = |number: usize| fields.get(number - 3).copied().and_then(seconds);
        let boot = system.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<f64>().ok());
        let max_fds = limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next());
        Self {
            cpu_seconds: field(14).zip(field(15)).map(|(user, kernel)| user + kernel),
            resident_bytes: kib("VmRSS:"),
            virtual_bytes: kib("VmSize:"),
            start_time_seconds: boot.zip(field(22)).map(|(boot, after)| boot + after),
            open_fds: None,
            max_fds: max_fds.and_then(|max| max.parse().ok()),
        }
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

    #[test]
    fn every_series_has_the_name_and_labels_that_are_documented() {
        let metrics = Arc::new(Metrics::new("1.2.3"));
        metrics.controller("vpcposture", 16);
        metrics.reconcile_started("vpcposture").finish(ReconcileResult::RequeueAfter);
        let queue = metrics.queue("vpcposture");
        queue.depth(Priority::Edit, 2);
        queue.depth(Priority::Resync, 5000);
        queue.added();
        queue.retried();
        queue.taken(Duration::from_millis(2));
        queue.worked(Duration::from_secs(2));
        metrics.aws_call("ec2", "DescribeVpcs", "ok", Duration::from_millis(80));
        metrics.aws_limiter_wait("CreateVpcEndpoint", Duration::from_millis(1500));
        metrics.aws_write("CreateVpcEndpoint", "throttled");
        metrics.snapshot_read("111122223333", "eu-central-1", "fast", Instant::now());
        metrics.drift("VpcPosture", "EndpointsReady");
        metrics.drift_repaired("VpcPosture", "EndpointsReady");
        metrics.posture_conditions([(condition("Ready", "True"), 3)]);
        metrics.session_failure("111122223333");
        metrics.brake_held();
        metrics.leader("ssm-ready", false);
        metrics.leader("ssm-ready", true);
        metrics.kube_write("VpcPosture", KubeWrite::Status);
        metrics.kube_write("VpcPosture", KubeWrite::Finalizer);
        metrics.kube_write("VpcPosture", KubeWrite::Event);

        let queue_labels = r#"name="vpcposture",controller="vpcposture""#;
        let expected = [
            (r#"controller_runtime_reconcile_total{controller="vpcposture",result="success"}"#, 0.0),
            (r#"controller_runtime_reconcile_total{controller="vpcposture",result="error"}"#, 0.0),
            (r#"controller_runtime_reconcile_total{controller="vpcposture",result="requeue"}"#, 0.0),
            (r#"controller_runtime_reconcile_total{controller="vpcposture",result="requeue_after"}"#, 1.0),
            (r#"controller_runtime_reconcile_errors_total{controller="vpcposture"}"#, 0.0),
            (r#"controller_runtime_reconcile_panics_total{controller="vpcposture"}"#, 0.0),
            (r#"controller_runtime_reconcile_time_seconds_count{controller="vpcposture"}"#, 1.0),
            (r#"controller_runtime_reconcile_time_seconds_bucket{le="+Inf",controller="vpcposture"}"#, 1.0),
            (r#"controller_runtime_max_concurrent_reconciles{controller="vpcposture"}"#, 16.0),
            (r#"controller_runtime_active_workers{controller="vpcposture"}"#, 0.0),
            (&format!(r#"workqueue_depth{{{queue_labels},priority="0"}}"#), 2.0),
            (&format!(r#"workqueue_depth{{{queue_labels},priority="-100"}}"#), 5000.0),
            (&format!("workqueue_adds_total{{{queue_labels}}}"), 1.0),
            (&format!("workqueue_retries_total{{{queue_labels}}}"), 1.0),
            (&format!("workqueue_queue_duration_seconds_sum{{{queue_labels}}}"), 0.002),
            (&format!("workqueue_work_duration_seconds_sum{{{queue_labels}}}"), 2.0),
            (r#"ssm_ready_aws_calls_total{service="ec2",operation="DescribeVpcs",outcome="ok"}"#, 1.0),
            (r#"ssm_ready_aws_call_seconds_sum{service="ec2"}"#, 0.08),
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
    fn proc_files_are_read_and_their_absence_is_no_zero() {
        let status = "Name:\tssm-ready\nVmSize:\t  900 kB\nVmRSS:\t   41200 kB\n";
        let stat = "42 (a ) b) S 1 42 42 0 -1 4194304 900 0 0 0 123 27 0 0 20 0 4 0 2550 1 1";
        let limits =
            "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 524288  files\n";
        let expected = ProcessStats {
            cpu_seconds: Some(1.5),
            resident_bytes: Some(41_200 * 1024),
            virtual_bytes: Some(900 * 1024),
            start_time_seconds: Some(1_000_025.5),
            open_fds: None,
            max_fds: Some(1024),
        };
        assert_eq!(ProcessStats::parse(status, stat, "cpu 1 2\nbtime 1000000\n", limits), expected);
        let unlimited = "Max open files            unlimited            unlimited  files\n";
        assert_eq!(ProcessStats::parse("", "", "", unlimited), ProcessStats::default());
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
        metrics.session_failure("1");
        let ages = |after: u64| {
            let text = metrics.encode_at(start + Duration::from_secs(after));
            places.map(|(account, region)| value(&text, &series(account, region)))
        };
        assert_eq!(ages(60), [Some(60.0); 3]);
        metrics.snapshot_read("2", "eu-west-1", "slow", start + Duration::from_secs(90));
        metrics.snapshot_gone("1", "us-east-1");
        assert_eq!(ages(100), [Some(100.0), None, Some(10.0)]);
        metrics.account_gone("1");
        assert_eq!(ages(100), [None, None, Some(10.0)]);
        assert!(!metrics.encode().contains(r#"account="1""#));
    }

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
        let cases: [(End, [f64; 3]); 4] = [
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
