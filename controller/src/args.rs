//! The command line.
//!
//! What a user of the cluster tunes is in the resources; here is what whoever runs the controller tunes. Each flag can
//! be given as an environment variable too, which is how the chart does it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::http::BindAddress;
use crate::telemetry::{self, LogFormat};

/// Keeps AWS accounts ready for Systems Manager, as declared by Kubernetes resources.
#[derive(Debug, Clone, Parser)]
#[command(name = "ssm-ready", version, about, propagate_version = true, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `ssm-ready` can do.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Run the controller, in the cluster or with the kubeconfig of this machine
    Controller(Box<ControllerArgs>),
    /// Print the custom resource definitions as YAML, for `kubectl apply --server-side -f -`
    Crds,
    /// Print the IAM policies that the controller needs: as JSON, as a CloudFormation template, or for Terraform
    IamPolicy(Box<crate::iam_policy::IamPolicyArgs>),
}

/// The settings of the controller.
#[derive(Debug, Clone, Args)]
pub struct ControllerArgs {
    /// Name of this cluster, unique among the clusters that work in the same AWS accounts
    ///
    /// It goes into the ownership tags of everything that the controller makes in AWS
    /// (ssmready.dev/cluster=<cluster id>). What could carry the tag and does not is left alone, unless a resource says
    /// to take it over. So the name must stay the same when the cluster is rebuilt: under another one the controller
    /// takes its own endpoints for somebody else's. 1 to 63 characters: lower-case letters, digits, '-' and '.', with a letter or digit at both ends.
    #[arg(long, env = "SSM_READY_CLUSTER_ID", value_name = "ID", value_parser = cluster_id)]
    pub cluster_id: String,

    /// Whether anything may be written to AWS at all
    #[arg(long, env = "SSM_READY_MODE", value_name = "MODE", value_enum, default_value_t, ignore_case = true)]
    pub mode: Mode,

    /// Write brake: how many things may be created in AWS within an hour, over all accounts
    ///
    /// What exceeds it waits; 0 creates nothing.
    #[arg(long, env = "SSM_READY_MAX_CREATES_PER_HOUR", value_name = "COUNT", default_value_t = 2000)]
    pub max_creates_per_hour: u32,

    /// Write brake: how many things may be deleted in AWS within an hour, over all accounts
    ///
    /// What exceeds it waits; 0 deletes nothing.
    #[arg(long, env = "SSM_READY_MAX_DELETES_PER_HOUR", value_name = "COUNT", default_value_t = 200)]
    pub max_deletes_per_hour: u32,

    /// How many objects of a kind are worked on at the same time (1 to 256)
    ///
    /// More does not make AWS faster: its rates are kept whatever this says.
    #[arg(
        long,
        env = "SSM_READY_CONCURRENT",
        value_name = "COUNT",
        default_value_t = 16,
        value_parser = clap::value_parser!(u16).range(1..=256)
    )]
    pub concurrent: u16,

    /// Look only at objects of this namespace; without it, at those of all namespaces
    #[arg(long, env = "SSM_READY_WATCH_NAMESPACE", value_name = "NAMESPACE", value_parser = namespace)]
    pub watch_namespace: Option<String>,

    /// How much is logged: error, warn, info, debug or trace
    ///
    /// Beyond info, only the controller itself says more. Directives such as info,kube=debug make libraries say more.
    #[arg(long, env = "SSM_READY_LOG_LEVEL", value_name = "LEVEL", default_value = "info", value_parser = log_level)]
    pub log_level: String,

    /// The form of the log, which goes to standard error
    #[arg(long, env = "SSM_READY_LOG_FORMAT", value_name = "FORMAT", value_enum, default_value_t, ignore_case = true)]
    pub log_format: LogFormat,

    /// Where /metrics is served: an IP address and a port, ":PORT" for all addresses; "0" switches it off
    #[arg(long, env = "SSM_READY_METRICS_BIND_ADDRESS", value_name = "ADDRESS", default_value_t = BindAddress::Everywhere(8080))]
    pub metrics_bind_address: BindAddress,

    /// Serve /metrics over HTTPS, and only to those who may get it in this cluster
    ///
    /// A scraper sends a bearer token, such as that of its service account, and needs the verb get for the non-resource
    /// URL /metrics. The controller needs create for tokenreviews and subjectaccessreviews.
    #[arg(
        long,
        env = "SSM_READY_METRICS_SECURE",
        value_name = "BOOL",
        default_value_t = false,
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        default_missing_value = "true"
    )]
    pub metrics_secure: bool,

    /// Folder with tls.crt and tls.key for --metrics-secure; without it a certificate is made that nobody can verify
    ///
    /// The files are read again when they change.
    #[arg(long, env = "SSM_READY_METRICS_CERT_DIR", value_name = "FOLDER")]
    pub metrics_cert_dir: Option<PathBuf>,

    /// Where /healthz and /readyz are served: an IP address and a port, ":PORT" for all addresses; "0" switches it off
    #[arg(long, env = "SSM_READY_HEALTH_BIND_ADDRESS", value_name = "ADDRESS", default_value_t = BindAddress::Everywhere(8081))]
    pub health_bind_address: BindAddress,

    /// By how much each interval is lengthened or shortened at random, so that looks spread out (0 to 50)
    #[arg(
        long,
        env = "SSM_READY_INTERVAL_JITTER_PERCENT",
        value_name = "PERCENT",
        default_value_t = 10,
        value_parser = clap::value_parser!(u8).range(0..=50)
    )]
    pub interval_jitter_percent: u8,

    /// How many seconds work that is under way may take to end after a signal to stop (1 to 600)
    ///
    /// Keep the pod's terminationGracePeriodSeconds above it.
    #[arg(long, env = "SSM_READY_SHUTDOWN_GRACE", value_name = "SECONDS", default_value = "30", value_parser = grace)]
    pub shutdown_grace: Duration,

    /// Whether only the holder of a Lease works, so that several replicas can run
    ///
    /// Switch it off only where never more than one process runs, not even for the moment of an update.
    #[arg(
        long,
        env = "SSM_READY_LEADER_ELECT",
        value_name = "BOOL",
        default_value_t = true,
        num_args = 0..=1,
        default_missing_value = "true",
        action = clap::ArgAction::Set
    )]
    pub leader_elect: bool,

    /// Name of the Lease; replicas that share the work of one installation share it
    #[arg(long, env = "SSM_READY_LEADER_ELECTION_ID", value_name = "NAME", default_value = "ssm-ready", value_parser = lease)]
    pub leader_election_id: String,

    /// Namespace of the Lease; without it, the one that the controller runs in
    #[arg(long, env = "SSM_READY_LEADER_ELECTION_NAMESPACE", value_name = "NAMESPACE", value_parser = namespace)]
    pub leader_election_namespace: Option<String>,

    /// How many seconds the Lease must not have been renewed before another replica takes it (3 to 600)
    #[arg(long, env = "SSM_READY_LEADER_ELECTION_LEASE_DURATION", value_name = "SECONDS", default_value = "35", value_parser = grace)]
    pub leader_election_lease_duration: Duration,

    /// How many seconds the leader works on without having renewed the Lease, less than its duration
    ///
    /// Then it ends with an error: the pod is started again, as a follower.
    #[arg(long, env = "SSM_READY_LEADER_ELECTION_RENEW_DEADLINE", value_name = "SECONDS", default_value = "30", value_parser = grace)]
    pub leader_election_renew_deadline: Duration,

    /// How many seconds pass between two renewals, or looks of a replica that waits; at most half of the renew deadline
    #[arg(long, env = "SSM_READY_LEADER_ELECTION_RETRY_PERIOD", value_name = "SECONDS", default_value = "5", value_parser = grace)]
    pub leader_election_retry_period: Duration,
}

/// Whether anything may be written to AWS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum Mode {
    /// Each object's own mode decides
    #[default]
    Enforce,
    /// Nothing is written to AWS, whatever objects say
    Observe,
}

pub(crate) fn cluster_id(text: &str) -> Result<String, String> {
    if (1..=63).contains(&text.len()) && is_name(text, true) {
        return Ok(text.to_owned());
    }
    Err("use 1 to 63 lower-case letters, digits, '-' and '.', with a letter or digit at both ends, such as prod-eu-1"
        .to_owned())
}

fn namespace(text: &str) -> Result<String, String> {
    if (1..=63).contains(&text.len()) && is_name(text, false) {
        return Ok(text.to_owned());
    }
    Err("give the name of one namespace, or leave the flag and its variable out to watch all of them".to_owned())
}

fn lease(text: &str) -> Result<String, String> {
    if (1..=63).contains(&text.len()) && is_name(text, true) {
        return Ok(text.to_owned());
    }
    Err("use 1 to 63 lower-case letters, digits, '-' and '.', with a letter or digit at both ends, such as ssm-ready"
        .to_owned())
}

/// `[a-z0-9]([-a-z0-9]*[a-z0-9])?`, with dots inside where they are allowed.
fn is_name(text: &str, dots: bool) -> bool {
    let outer = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.first().is_some_and(outer)
        && bytes.last().is_some_and(outer)
        && bytes.iter().all(|byte| outer(byte) || *byte == b'-' || (dots && *byte == b'.'))
}

fn log_level(text: &str) -> Result<String, String> {
    match telemetry::filter(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("{error:#}")),
    }
}

fn grace(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds @ 1..=600) => Ok(Duration::from_secs(seconds)),
        _ => Err("give whole seconds, 1 to 600, without a unit".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use clap::error::ErrorKind;

    use super::*;

    fn parse(args: &[&str]) -> Result<ControllerArgs, clap::Error> {
        let cli = Cli::try_parse_from(["ssm-ready", "controller"].iter().chain(args))?;
        match cli.command {
            Command::Controller(args) => Ok(*args),
            _ => panic!("another command"),
        }
    }

    fn controller() -> clap::Command {
        Cli::command().find_subcommand("controller").unwrap().clone()
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn each_flag_has_its_variable_and_a_help() {
        let mut flags = 0;
        for arg in controller().get_arguments().filter(|arg| arg.get_id() != "help" && arg.get_id() != "version") {
            let flag = arg.get_long().unwrap();
            let expected = format!("SSM_READY_{}", flag.replace('-', "_").to_uppercase());
            assert_eq!(arg.get_env().and_then(|name| name.to_str()), Some(expected.as_str()), "--{flag}");
            assert!(arg.get_help().is_some(), "--{flag}");
            flags += 1;
        }
        assert_eq!(flags, 20);
    }

    #[test]
    fn only_the_cluster_id_is_required() {
        let required: Vec<_> =
            controller().get_arguments().filter(|arg| arg.is_required_set()).map(|arg| arg.get_id().clone()).collect();
        assert_eq!(required, ["cluster_id"]);
        assert_eq!(parse(&[]).unwrap_err().kind(), ErrorKind::MissingRequiredArgument);

        let args = parse(&["--cluster-id", "test"]).unwrap();
        assert_eq!((args.cluster_id.as_str(), args.mode), ("test", Mode::Enforce));
        assert_eq!((args.max_creates_per_hour, args.max_deletes_per_hour, args.concurrent), (2000, 200, 16));
        assert_eq!((args.watch_namespace, args.log_level.as_str()), (None, "info"));
        assert_eq!(args.log_format, LogFormat::Auto);
        assert_eq!(args.metrics_bind_address, BindAddress::Everywhere(8080));
        assert_eq!(args.health_bind_address, BindAddress::Everywhere(8081));
        assert_eq!((args.metrics_secure, args.metrics_cert_dir), (false, None));
        assert_eq!((args.interval_jitter_percent, args.shutdown_grace), (10, Duration::from_secs(30)));
        assert_eq!((args.leader_elect, args.leader_election_id.as_str()), (true, "ssm-ready"));
        assert_eq!(args.leader_election_namespace, None);
        let terms = [
            args.leader_election_lease_duration,
            args.leader_election_renew_deadline,
            args.leader_election_retry_period,
        ];
        assert_eq!(terms.map(|t| t.as_secs()), [35, 30, 5]);
    }

    #[test]
    fn values_are_read() {
        let args = parse(&[
            "--cluster-id=prod.eu-1",
            "--mode=Observe",
            "--log-format=json",
            "--log-level=info,kube=debug",
            "--metrics-bind-address=127.0.0.1:0",
            "--health-bind-address=0",
            "--watch-namespace=team-a",
            "--max-deletes-per-hour=0",
            "--shutdown-grace=5",
            "--leader-elect=false",
            "--leader-election-namespace=platform",
        ])
        .unwrap();
        assert_eq!((args.mode, args.log_format), (Mode::Observe, LogFormat::Json));
        assert_eq!(args.metrics_bind_address, BindAddress::At("127.0.0.1:0".parse().unwrap()));
        assert_eq!(args.health_bind_address, BindAddress::Off);
        assert_eq!(args.watch_namespace.as_deref(), Some("team-a"));
        assert_eq!((args.max_deletes_per_hour, args.shutdown_grace), (0, Duration::from_secs(5)));
        assert_eq!((args.leader_elect, args.leader_election_namespace.as_deref()), (false, Some("platform")));
        assert!(parse(&["--cluster-id=a", "--leader-elect"]).unwrap().leader_elect);
        for (flag, secure) in
            [("--metrics-secure", true), ("--metrics-secure=true", true), ("--metrics-secure=false", false)]
        {
            assert_eq!(parse(&["--cluster-id=a", flag, "--metrics-cert-dir=/certs"]).unwrap().metrics_secure, secure);
        }
        assert_eq!(parse(&["--cluster-id=a", "--mode=observe"]).unwrap().mode, Mode::Observe);
        assert!(matches!(Cli::try_parse_from(["ssm-ready", "crds"]).unwrap().command, Command::Crds));
    }

    #[test]
    fn cluster_ids_are_checked() {
        let longest = "a".repeat(63);
        for good in ["a", "7", "prod-eu-1", "a.b", "a--b", longest.as_str()] {
            assert_eq!(parse(&[&format!("--cluster-id={good}")]).unwrap().cluster_id, good);
        }
        let too_long = "a".repeat(64);
        for bad in ["", "-a", "a-", ".a", "a.", "Prod", "a_b", "a b", "a/b", "ü", "a\n", too_long.as_str()] {
            let error = parse(&[&format!("--cluster-id={bad}")]).unwrap_err().to_string();
            assert!(error.contains("--cluster-id") && error.contains("such as prod-eu-1"), "{bad:?}: {error}");
        }
    }

    #[test]
    fn a_bad_value_is_refused_with_what_to_do() {
        let cases = [
            ("--mode=Delete", "Enforce, Observe"),
            ("--concurrent=0", "1..=256"),
            ("--concurrent=257", "1..=256"),
            ("--interval-jitter-percent=51", "0..=50"),
            ("--max-creates-per-hour=-1", "--max-creates-per-hour"),
            ("--watch-namespace=", "leave the flag and its variable out"),
            ("--watch-namespace=a,b", "the name of one namespace"),
            ("--log-level=loud", "use error, warn, info, debug or trace"),
            ("--log-format=xml", "auto, json, text"),
            ("--metrics-bind-address=localhost:1", "such as 127.0.0.1:8080"),
            ("--shutdown-grace=30s", "without a unit"),
            ("--shutdown-grace=0", "1 to 600"),
            ("--leader-elect=perhaps", "true, false"),
            ("--leader-election-id=My_Lease", "such as ssm-ready"),
            ("--leader-election-lease-duration=35s", "without a unit"),
        ];
        for (flag, advice) in cases {
            let error = parse(&["--cluster-id=test", flag]).unwrap_err().to_string();
            assert!(error.contains(advice), "{flag}: {error}");
        }
    }
}
