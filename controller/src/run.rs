//! The controller process: everything put together, started, and stopped in order.

use std::{collections::BTreeSet, future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use anyhow::Context as _;
use futures::FutureExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api,
    core::{DeserializeGuard, PartialObjectMeta},
    runtime::{
        WatchStreamExt,
        events::{Recorder, Reporter},
        reflector, watcher,
    },
};
use ssm_ready_cloud::Cloud;
use ssm_ready_core::{brake::Brake, posture::Mode};
use ssm_ready_crds::{AccountPosture, AwsAccount, RegionPosture, VpcPosture};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::{
    args::{self, ControllerArgs},
    context::{Context, Key, Settings, Stores},
    election::{self, Replica, Standing},
    http::{Gate, Readiness, Secured, Server},
    metrics::{Metrics, ReconcileResult, Reconciling},
    outside::Outside,
    place::Places,
    posture::{Posture, PostureStatus},
    queue::{Lease, Queue},
    reconcile::reconcile,
    watch,
};

/// The name of the controller in metrics, logs and events.
const NAME: &str = "ssm-ready";

/// Runs until `stop` is cancelled, then finishes what it is at, within the grace of the flags.
///
/// # Errors
/// What keeps it from starting: no API server, an address in use.
pub async fn run(
    args: ControllerArgs,
    metrics: Arc<Metrics>,
    cloud: Arc<dyn Cloud>,
    client: kube::Client,
    outside: Arc<Outside>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let ControllerArgs {
        cluster_id,
        mode,
        max_creates_per_hour,
        max_deletes_per_hour,
        concurrent,
        watch_namespace,
        log_level: _,
        log_format: _,
        metrics_bind_address,
        metrics_secure,
        metrics_cert_dir,
        health_bind_address,
        interval_jitter_percent,
        shutdown_grace,
        leader_elect,
        leader_election_id,
        leader_election_namespace,
        leader_election_lease_duration,
        leader_election_renew_deadline,
        leader_election_retry_period,
    } = args;
    let terms = election::Terms::new(
        leader_election_lease_duration,
        leader_election_renew_deadline,
        leader_election_retry_period,
    )
    .map_err(anyhow::Error::msg)?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), cluster_id, ?mode, concurrent, "starting");
    let readiness = Readiness::new();
    let lease = readiness.gate("lease");
    let mut servers = JoinSet::new();
    let secured = metrics_secure.then(|| Secured::new(metrics_cert_dir, client.clone())).transpose()?;
    let listening = [
        Server::health(health_bind_address, readiness.clone()).await.context("health server")?,
        Server::metrics(metrics_bind_address, metrics.clone(), secured).await.context("metrics server")?,
    ];
    let servers_stop = CancellationToken::new();
    for server in listening.into_iter().flatten() {
        servers.spawn(server.run(servers_stop.clone()));
    }

    let host = std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty());
    let mut replica = if leader_elect {
        let namespace = leader_election_namespace.as_deref().unwrap_or(client.default_namespace());
        let leases = Api::namespaced(client.clone(), namespace);
        let host = host.as_deref().unwrap_or(NAME);
        Replica::among_others(leases, leader_election_id, host, terms, outside.clone(), metrics.clone())
    } else {
        Replica::alone(outside.clone())
    };
    // Whoever stands by watches nothing: what it would know of the objects could be old when its term begins.
    let standing = stop.run_until_cancelled(stand_by(&mut replica, &readiness, lease)).await;
    let Some(gates) = standing.transpose()? else {
        end(replica, servers, &servers_stop).await;
        return Ok(());
    };

    metrics.controller(NAME, usize::from(concurrent));
    let queue: Queue<Key> = Queue::new(metrics.queue(NAME));
    let places = Places::new(
        cloud.clone(),
        queue.clone(),
        metrics.clone(),
        interval_jitter_percent,
        cluster_id.clone(),
        outside.clone(),
        stop.clone(),
    );
    let (accounts, accounts_writer) = reflector::store::<DeserializeGuard<AwsAccount>>();
    let (account_postures, account_postures_writer) = reflector::store::<DeserializeGuard<AccountPosture>>();
    let (regions, regions_writer) = reflector::store::<DeserializeGuard<RegionPosture>>();
    let (vpcs, vpcs_writer) = reflector::store::<DeserializeGuard<VpcPosture>>();
    let (namespaces, namespaces_writer) = reflector::store::<PartialObjectMeta<Namespace>>();
    let ctx = Arc::new(Context::new(
        client.clone(),
        cloud,
        Settings {
            cluster: cluster_id,
            mode: match mode {
                args::Mode::Observe => Mode::Observe,
                args::Mode::Enforce => Mode::Enforce,
            },
            home_region: std::env::var("AWS_REGION").ok().filter(|r| !r.is_empty()),
        },
        Brake::new(max_creates_per_hour as usize, max_deletes_per_hour as usize),
        metrics.clone(),
        queue.clone(),
        places,
        Stores { accounts, account_postures, regions, vpcs, namespaces },
        Recorder::new(client.clone(), Reporter { controller: NAME.into(), instance: host }),
        outside,
        replica.term.clone(),
    ));

    let mut watches = JoinSet::new();
    let [accounts_gate, account_postures_gate, regions_gate, vpcs_gate, namespaces_gate] = gates;
    let config = watcher::Config::default();
    let patience = || watch::Patience::new(ctx.outside.clone());
    let stream = watcher(Api::<DeserializeGuard<AwsAccount>>::all(client.clone()), config.clone());
    watches.spawn(watch::accounts(
        ctx.clone(),
        stream.backoff(patience()).modify(trim).reflect(accounts_writer),
        accounts_gate,
    ));
    let stream = watcher(postures(&client, watch_namespace.as_deref()), config.clone());
    watches.spawn(watch::account_postures(
        ctx.clone(),
        stream.backoff(patience()).modify(trim).reflect(account_postures_writer),
        account_postures_gate,
    ));
    let stream = watcher(postures::<RegionPosture>(&client, watch_namespace.as_deref()), config.clone());
    watches.spawn(watch::postures_alone(
        ctx.clone(),
        stream.backoff(patience()).modify(trim).reflect(regions_writer),
        regions_gate,
    ));
    let stream = watcher(postures::<VpcPosture>(&client, watch_namespace.as_deref()), config.clone());
    watches.spawn(watch::postures_alone(
        ctx.clone(),
        stream.backoff(patience()).modify(trim).reflect(vpcs_writer),
        vpcs_gate,
    ));
    let stream = watcher(Api::<PartialObjectMeta<Namespace>>::all(client), config);
    watches.spawn(watch::namespaces(
        ctx.clone(),
        stream.backoff(patience()).modify(trim).reflect(namespaces_writer),
        namespaces_gate,
    ));

    let mut workers = JoinSet::new();
    // Nobody works before the objects are known: what is not listed yet would be taken for gone.
    let known = {
        let stores = &ctx.stores;
        let postures = futures::future::try_join3(
            stores.account_postures.wait_until_ready(),
            stores.regions.wait_until_ready(),
            stores.vpcs.wait_until_ready(),
        );
        let others =
            futures::future::try_join(stores.accounts.wait_until_ready(), stores.namespaces.wait_until_ready());
        tokio::select! {
            known = futures::future::try_join(postures, others) => known.is_ok(),
            () = stop.cancelled() => false,
            () = replica.lost() => anyhow::bail!(LOST),
        }
    };
    if known {
        for _ in 0..concurrent {
            workers.spawn(work(ctx.clone()));
        }
    }
    let mut tally = tokio::time::interval(Duration::from_secs(15));
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            // Dropping the workers ends what they are at: another replica may begin in a moment.
            () = replica.lost() => anyhow::bail!(LOST),
            _ = tally.tick() => count(&ctx),
            Some(ended) = watches.join_next() => {
                ended.context("a watch ended")?;
                anyhow::bail!("a watch ended");
            }
        }
    }
    tracing::info!("stopping: what is under way is finished first");
    watches.abort_all();
    queue.shut_down();
    let finished = tokio::time::timeout(shutdown_grace, async { while workers.join_next().await.is_some() {} }).await;
    if finished.is_err() {
        tracing::warn!(grace = ?shutdown_grace, left = queue.running(), "not all work was finished in time; it is taken up again at the next start");
        workers.shutdown().await;
    }
    end(replica, servers, &servers_stop).await;
    Ok(())
}

/// Ends what is left when all work has: the next leader begins at once.
async fn end(replica: Replica, mut servers: JoinSet<anyhow::Result<()>>, servers_stop: &CancellationToken) {
    replica.leave().await;
    servers_stop.cancel();
    while servers.join_next().await.is_some() {}
    tracing::info!("stopped");
}

/// Why a leader ends.
const LOST: &str = "the lease was lost: this replica stops, so that only one works";

/// Waits for this replica's term, and takes the gates that are to be opened in it.
async fn stand_by(replica: &mut Replica, readiness: &Readiness, lease: Gate) -> anyhow::Result<[Gate; 5]> {
    let mut standing = replica.until(|standing| *standing != Standing::Unknown).await;
    // A follower is ready: it can take over.
    let mut lease = Some(lease);
    if standing == Standing::Follower {
        if let Some(gate) = lease.take() {
            gate.open();
        }
        standing = replica.until(|standing| *standing != Standing::Follower).await;
    }
    anyhow::ensure!(standing == Standing::Leader, LOST);
    let names = ["awsaccounts", "accountpostures", "regionpostures", "vpcpostures", "namespaces"];
    let gates = names.map(|name| readiness.gate(name));
    if let Some(gate) = lease.take() {
        gate.open();
    }
    Ok(gates)
}

/// The postures of a kind, everywhere or in one namespace.
fn postures<P: Posture>(client: &kube::Client, namespace: Option<&str>) -> Api<DeserializeGuard<P>> {
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// Drops what nobody reads, to keep the caches small.
fn trim<K: kube::Resource>(object: &mut K) {
    object.meta_mut().managed_fields = None;
}

/// Reconciles one after another.
async fn work(ctx: Arc<Context>) {
    while let Some(lease) = ctx.queue.next().await {
        if !ctx.term.holds() {
            return;
        }
        one(&ctx, lease).await;
    }
}

async fn one(ctx: &Arc<Context>, lease: Lease<Key>) {
    let key = lease.key().clone();
    let span = tracing::info_span!(
        "reconcile",
        controller = NAME,
        controllerGroup = ssm_ready_crds::GROUP,
        controllerKind = key.kind(),
        namespace = key.namespace(),
        name = key.name(),
        reconcileID = ctx.outside.unique(),
        otel.name = format!("reconcile {}", key.kind()),
        otel.status_code = tracing::field::Empty,
        result = tracing::field::Empty
    );
    let measured: Reconciling = ctx.metrics.reconcile_started(NAME);
    let outcome = caught(reconcile(ctx, &lease).instrument(span.clone())).await;
    let result = outcome.as_ref().map_or(ReconcileResult::Error, |(result, _)| *result);
    span.record("result", result.label());
    if result == ReconcileResult::Error {
        span.record("otel.status_code", "ERROR");
    }
    let _told = span.enter();
    match outcome {
        Ok((result, true)) => measured.finish_stalled(result),
        Ok((result, false)) => measured.finish(result),
        Err(panic) => {
            tracing::error!(object = %key, panic, "a pass panicked; the object is tried again");
            let wait = ctx.backoff().failed(&key, ctx.outside.jitter());
            ctx.queue.add_after(key, wait, crate::queue::Priority::Resync);
            measured.finish_panicked();
        }
    }
}

/// One object's bug must not stop the others.
async fn caught<T>(work: impl Future<Output = T>) -> Result<T, String> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|panic| {
        let text =
            panic.downcast_ref::<&str>().map(|s| (*s).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
        text.unwrap_or_else(|| "no message".to_owned())
    })
}

/// Counts the objects by their conditions.
fn count(ctx: &Context) {
    use ssm_ready_crds::condition as c;
    const TYPES: [&str; 20] = [
        c::READY,
        c::COMPLIANT,
        c::RECONCILING,
        c::STALLED,
        c::SUSPENDED,
        c::ACCOUNT_READY,
        c::ENDPOINTS_READY,
        c::SECURITY_GROUP_READY,
        c::DNS_READY,
        c::ROUTES_READY,
        c::POLICY_READY,
        c::PERMISSIONS_READY,
        c::HOST_MANAGEMENT_READY,
        c::SESSION_PREFERENCES_READY,
        c::SERVICE_SETTINGS_READY,
        c::METADATA_DEFAULTS_READY,
        c::AUDIT_READY,
        c::ROLES_READY,
        c::PROFILES_READY,
        c::INSTANCE_PROFILES_READY,
    ];
    let mut counts = std::collections::HashMap::new();
    let mut add = |kind: &'static str, conditions: &[k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition]| {
        for condition in conditions {
            let Some(r#type) = TYPES.into_iter().find(|t| *t == condition.type_) else { continue };
            let status = match condition.status.as_str() {
                "True" => "True",
                "False" => "False",
                _ => "Unknown",
            };
            *counts.entry(crate::metrics::ConditionLabels { kind, r#type, status }).or_insert(0) += 1;
        }
    };
    let mut declared = BTreeSet::new();
    // Looked at where they are: a copy of every object each time would be most of what an idle controller does.
    for account in ctx.stores.accounts.state() {
        let Ok(account) = &account.0 else { continue };
        declared.insert(account.spec.account_id.clone());
        if let Some(status) = &account.status {
            add("AwsAccount", &status.conditions);
        }
    }
    count_postures::<AccountPosture>(ctx, &mut add);
    count_postures::<RegionPosture>(ctx, &mut add);
    count_postures::<VpcPosture>(ctx, &mut add);
    ctx.metrics.accounts(&declared);
    ctx.metrics.posture_conditions(counts);
}

fn count_postures<P: Posture>(
    ctx: &Context,
    add: &mut impl FnMut(&'static str, &[k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition]),
) {
    for posture in P::store(&ctx.stores).state() {
        if let Some(status) = posture.0.as_ref().ok().and_then(P::status) {
            add(P::KIND, status.conditions());
        }
    }
}
