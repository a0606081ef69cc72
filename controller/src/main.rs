//! The binary `ssm-ready`.

use std::{io::Write as _, sync::Arc, time::Duration};

use anyhow::Context as _;
use clap::Parser;
use kube::client::ClientBuilder;
use ssm_ready::{
    args::{Cli, Command, ControllerArgs},
    metrics::{Metrics, requests::CountRequests},
    outside::Outside,
    run::run,
    telemetry,
};
use ssm_ready_core::{
    calls::Operation,
    ids::{AccountId, Region},
};
use tokio_util::sync::CancellationToken;

/// How long a connection to the API server may say nothing while we wait. By default that is for ever: writes would
/// hang in a connection that died without a word. Watches are sent a bookmark every minute.
const SILENT_FOR: Duration = Duration::from_secs(90);

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Crds => crds(),
        Command::IamPolicy(args) => ssm_ready::iam_policy::print(*args),
        Command::Controller(args) => {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
            let ending = telemetry::init(args.log_format, &args.log_level, runtime.handle())?;
            let outcome = runtime.block_on(controller(*args));
            ending.finish();
            runtime.shutdown_timeout(Duration::from_secs(5));
            outcome
        }
    }
}

/// Prints the CustomResourceDefinitions. A reader that has seen enough is no error.
fn crds() -> anyhow::Result<()> {
    let mut text = String::new();
    for crd in ssm_ready_crds::all() {
        text.push_str("---\n");
        text.push_str(ssm_ready_crds::yaml(&crd)?.trim_start_matches("---\n").trim_end());
        text.push('\n');
    }
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

async fn controller(args: ControllerArgs) -> anyhow::Result<()> {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("a TLS provider is installed already"))?;
    let stop = CancellationToken::new();
    let on_signal = stop.clone();
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        on_signal.cancel();
    });
    let mut config =
        kube::Config::infer().await.context("no Kubernetes API server: set KUBECONFIG, or run in a cluster")?;
    config.read_timeout = Some(SILENT_FOR);
    config.reset_reader_on_write = true;
    let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION")));
    let host = config.cluster_url.authority().map(ToString::to_string).unwrap_or_default();
    let counted = CountRequests::new(metrics.clone(), &host);
    let client = ClientBuilder::try_from(config)?.with_layer(&counted).build();
    let cloud = Arc::new(ssm_ready_cloud::AwsCloud::from_env(Arc::new(Counted(metrics.clone()))).await);
    run(args, metrics, cloud, client, Arc::new(Outside::real()), stop).await
}

/// Counts AWS calls in metrics.
#[derive(Debug)]
struct Counted(Arc<Metrics>);

impl ssm_ready_cloud::Observer for Counted {
    fn called(&self, operation: Operation, _: &AccountId, _: &Region, outcome: &'static str, took: Duration) {
        self.0.aws_call(operation.service(), operation.name(), outcome, took);
    }

    fn retried(&self, operation: Operation) {
        self.0.aws_retry(operation.service(), operation.name());
    }

    fn waited(&self, operation: Operation, wait: Duration) {
        self.0.aws_limiter_wait(operation.name(), wait);
    }
}
