//! The controller's own binary, run as it runs in a cluster: with the token of its service account and the permissions
//! that the chart gives it.

use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use hyper::Method;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Container};

use crate::guard::{Scratch, free_port};
use crate::process::{Process, tail, without_proxies};
use crate::{ApiServer, Standin, apply_crds, apply_yaml, http, repository, target_folder};

const READY_WITHIN: Duration = Duration::from_secs(60);
const ENDS_WITHIN: Duration = Duration::from_secs(45);

/// The namespace the controller runs in, and the name of its service account.
pub const NAMESPACE: &str = "ssm-ready";

/// What differs from a plain `ssm-ready controller --cluster-id test`.
#[derive(Debug, Clone, Default)]
pub struct ControllerOptions {
    /// Further arguments.
    pub args: Vec<String>,
    /// Further environment variables; one of the stand-in's names overrides it.
    pub env: Vec<(String, String)>,
    /// The binary; by default `SSM_READY_BIN`, else the one of the running program's target folder, which
    /// `cargo build -p ssm-ready` writes.
    pub binary: Option<PathBuf>,
    /// The cluster id; by default `test`.
    pub cluster_id: Option<String>,
    /// Where it reaches the API server, if not directly.
    pub api_url: Option<String>,
}

/// A running controller. It is killed when this value is dropped.
#[derive(Debug)]
pub struct Controller {
    process: Process,
    command: Command,
    log: PathBuf,
    ended: bool,
    metrics: String,
    probes: String,
    _scratch: Scratch,
}

impl Controller {
    /// Applies the definitions of our kinds and the controller's permissions (those of the chart, see
    /// [`crate::helm::RBAC`]), starts the binary and waits until it calls itself ready.
    pub async fn start(server: &ApiServer, standin: &Standin, options: ControllerOptions) -> Result<Self> {
        let url = options.api_url.unwrap_or_else(|| server.url());
        let kubeconfig = server.kubeconfig_by_way_of(&url, NAMESPACE, NAMESPACE).await?;
        let client = server.admin_client()?;
        apply_crds(&client).await?;
        let rbac = repository().join(crate::helm::RBAC);
        let text = std::fs::read_to_string(&rbac).with_context(|| format!("{}", rbac.display()))?;
        apply_yaml(&client, &text).await.with_context(|| format!("{}", rbac.display()))?;

        let binary = built_binary(options.binary)?;
        let scratch = Scratch::new("controller")?;
        let metrics = format!("127.0.0.1:{}", free_port()?);
        let probes = format!("127.0.0.1:{}", free_port()?);
        let mut command = Command::new(&binary);
        // Only what is named: a developer's own AWS or Kubernetes settings must not have a say.
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", scratch.path())
            .env("KUBECONFIG", kubeconfig)
            // Tests that end it have no time to wait until its Lease runs out; those of the election say otherwise.
            .env("SSM_READY_LEADER_ELECT", "false")
            .envs(standin.aws_env())
            .envs(options.env)
            .args(["controller", "--cluster-id", options.cluster_id.as_deref().unwrap_or("test")])
            .args(["--metrics-bind-address", &metrics, "--health-bind-address", &probes])
            .args(options.args)
            .current_dir(scratch.path());
        Self::launch(command, metrics, probes, scratch).await
    }

    /// Starts the binary as a kubelet would start the first pod of a Deployment, and waits until it calls itself ready:
    /// with the arguments and variables of its container and no others, as its service account. Its ports have to be
    /// free on this machine, and nothing of its environment may come from elsewhere than the Deployment.
    pub async fn start_as_deployed(server: &ApiServer, deployment: &Deployment) -> Result<Self> {
        let namespace = deployment.metadata.namespace.as_deref().context("a Deployment without a namespace")?;
        let name = deployment.metadata.name.as_deref().context("a Deployment without a name")?;
        let spec = deployment.spec.as_ref().and_then(|spec| spec.template.spec.as_ref()).context("no pod template")?;
        let container = spec.containers.first().context("no container")?;
        ensure!(container.command.is_none(), "another command than the image's: {:?}", container.command);
        ensure!(container.env_from.is_none(), "variables from elsewhere: {:?}", container.env_from);
        let env = environment(container, namespace, &format!("{name}-0"))?;
        let address = |variable: &str| -> Result<String> {
            let port = env.iter().find(|(name, _)| name == variable).and_then(|(_, value)| value.strip_prefix(':'));
            Ok(format!("127.0.0.1:{}", port.with_context(|| format!("{variable} gives no port"))?))
        };
        let (metrics, probes) = (address("SSM_READY_METRICS_BIND_ADDRESS")?, address("SSM_READY_HEALTH_BIND_ADDRESS")?);
        let account = spec.service_account_name.as_deref().context("no service account")?;
        let scratch = Scratch::new("controller")?;
        let mut command = Command::new(built_binary(None)?);
        command
            .env_clear()
            // In a pod these two are not there, and the API server is found by the files of the service account.
            .env("HOME", scratch.path())
            .env("KUBECONFIG", server.kubeconfig_of(namespace, account).await?)
            .envs(env)
            .args(container.args.iter().flatten())
            .current_dir(scratch.path());
        Self::launch(command, metrics, probes, scratch).await
    }

    async fn launch(mut command: Command, metrics: String, probes: String, scratch: Scratch) -> Result<Self> {
        let log = scratch.join("controller.log");
        let process = Process::start("controller", without_proxies(&mut command), log.clone())?;
        let mut controller = Self { process, command, log, ended: false, metrics, probes, _scratch: scratch };
        controller.wait_until_ready().await?;
        Ok(controller)
    }

    /// Ends it at once if it runs, and starts it again as it was, without waiting for it. Its log goes on.
    pub fn relaunch(&mut self) -> Result<()> {
        self.kill9()?;
        self.process = Process::start("controller", &mut self.command, self.log.clone())?;
        self.ended = false;
        Ok(())
    }

    /// Waits until it calls itself ready.
    pub async fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = tokio::time::Instant::now() + READY_WITHIN;
        loop {
            self.process.ensure_running()?;
            let seen = self.probe("readyz").await;
            let Err(error) = seen else { return Ok(()) };
            ensure!(
                tokio::time::Instant::now() < deadline,
                "the controller is not ready after {READY_WITHIN:?}: {error:#}; the end of its log:\n{}",
                tail(&self.log(), 30)
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The answer of a probe (`readyz`, `healthz`); an error unless it is 2xx.
    pub async fn probe(&self, path: &str) -> Result<String> {
        http::text(Method::GET, &format!("http://{}/{path}", self.probes), None).await
    }

    /// Sends it a signal by name, such as `STOP`.
    pub fn signal(&self, name: &str) -> Result<()> {
        self.process.signal(name)
    }

    /// Waits until it has ended by itself, and returns its exit status.
    pub async fn ends_by_itself(&mut self, within: Duration) -> Result<ExitStatus> {
        self.ended = true;
        self.process.ends(within).await
    }

    /// An error, with the end of its log, if it has ended by itself.
    pub fn ensure_running(&mut self) -> Result<()> {
        self.process.ensure_running()
    }

    /// Whether it was ended by one of the functions here.
    #[must_use]
    pub fn was_ended(&self) -> bool {
        self.ended
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Ends it at once (SIGKILL), as a crash would.
    pub fn kill9(&mut self) -> Result<()> {
        self.ended = true;
        self.process.kill()
    }

    /// Asks it to end (SIGTERM), and returns its exit status.
    pub async fn terminate(&mut self) -> Result<ExitStatus> {
        self.ended = true;
        self.process.terminate(ENDS_WITHIN).await
    }

    /// What it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Where its metrics are served: address and port.
    #[must_use]
    pub fn metrics_address(&self) -> &str {
        &self.metrics
    }

    /// Its metrics, in the text format.
    pub async fn metrics(&self) -> Result<String> {
        http::text(Method::GET, &format!("http://{}/metrics", self.metrics), None).await
    }

    /// Resident memory now.
    pub fn memory_kib(&self) -> Result<u64> {
        self.status_field("VmRSS:")
    }

    /// The most memory that was resident at any time.
    pub fn memory_peak_kib(&self) -> Result<u64> {
        self.status_field("VmHWM:")
    }

    fn status_field(&self, field: &str) -> Result<u64> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        status_kib(&text, field).with_context(|| format!("no {field} in /proc"))
    }

    /// CPU time used so far, in user and kernel mode.
    pub fn cpu_seconds(&self) -> Result<f64> {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()))?;
        cpu_seconds(&text).context("/proc/<pid>/stat has another form than expected")
    }
}

/// The variables of a container, those that come from its pod filled in.
fn environment(container: &Container, namespace: &str, pod: &str) -> Result<Vec<(String, String)>> {
    let mut env = Vec::new();
    for variable in container.env.iter().flatten() {
        let field = variable.value_from.as_ref().map(|from| from.field_ref.as_ref().map(|field| &*field.field_path));
        let value = match (&variable.value, field) {
            (Some(value), None) => value.clone(),
            (None, None) => String::new(),
            (None, Some(Some("metadata.name"))) => pod.to_owned(),
            (None, Some(Some("metadata.namespace"))) => namespace.to_owned(),
            _ => bail!("{} comes from where a test cannot take it: {variable:?}", variable.name),
        };
        env.push((variable.name.clone(), value));
    }
    Ok(env)
}

fn built_binary(given: Option<PathBuf>) -> Result<PathBuf> {
    let binary = match given {
        Some(binary) => binary,
        None => default_binary()?,
    };
    ensure!(binary.is_file(), "no {}; `cargo build -p ssm-ready` makes it", binary.display());
    Ok(binary)
}

/// The binary that tests run: `SSM_READY_BIN`, else the one of the running program's target folder.
pub fn default_binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("SSM_READY_BIN") {
        return Ok(PathBuf::from(path));
    }
    let target = target_folder().context("not run from a target folder; set SSM_READY_BIN")?;
    Ok(target.join("debug/ssm-ready"))
}

fn status_kib(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    // The second field is the name in parentheses and may hold anything; utime and stime are the 14th and 15th.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    // USER_HZ is 100 in the interface of every Linux that we run on.
    Some(f64::from(user + system) / 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers probes and metrics like the controller, and tells what it was given.
    const FAKE: &str = r#"#!/usr/bin/env python3
import http.server, os, signal, subprocess, sys, threading
flags = dict(zip(sys.argv[2::2], sys.argv[3::2]))
signal.signal(signal.SIGTERM, lambda *_: os._exit(5))
print(" ".join(sys.argv[1:4]), os.environ["AWS_ACCESS_KEY_ID"], os.environ["EXTRA"], flags["--mode"], flush=True)
whoami = subprocess.run(["kubectl", "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"], capture_output=True, text=True)
print(whoami.stdout, whoami.stderr, flush=True)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path in ("/readyz", "/metrics") else 404)
        self.end_headers()
        self.wfile.write(b"answer to " + self.path.encode())
for flag in ("--metrics-bind-address", "--health-bind-address"):
    host, port = flags[flag].split(":")
    server = http.server.HTTPServer((host, int(port)), Handler)
    threading.Thread(target=server.serve_forever).start()
"#;

    #[tokio::test]
    async fn a_controller_gets_its_settings_and_permissions_and_is_seen_from_outside() {
        use std::os::unix::fs::PermissionsExt as _;

        let server = ApiServer::start().await.unwrap();
        let standin = Standin::start(crate::Flavour::Extended).await.unwrap();
        let scratch = Scratch::new("fake").unwrap();
        let binary = scratch.join("controller");
        std::fs::write(&binary, FAKE).unwrap();
        std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o700)).unwrap();
        let options = ControllerOptions {
            args: vec!["--mode".into(), "Observe".into()],
            env: vec![("EXTRA".into(), "extra".into())],
            binary: Some(binary),
            ..ControllerOptions::default()
        };
        let mut controller = Controller::start(&server, &standin, options).await.unwrap();

        let log = controller.log();
        assert!(log.contains("controller --cluster-id test AKIA999988887777ROOT extra Observe"), "{log}");
        assert!(log.contains("system:serviceaccount:ssm-ready:ssm-ready"), "{log}");
        assert_eq!(controller.metrics().await.unwrap(), "answer to /metrics");
        assert!(controller.probe("livez").await.unwrap_err().to_string().contains("404"));
        assert!(controller.memory_kib().unwrap() > 1000);
        assert!(controller.memory_peak_kib().unwrap() >= controller.memory_kib().unwrap());
        assert!(controller.cpu_seconds().unwrap() > 0.0);
        assert!(!controller.was_ended());
        assert_eq!(controller.terminate().await.unwrap().code(), Some(5));
        assert!(controller.ensure_running().is_err() && controller.was_ended());
        controller.relaunch().unwrap();
        controller.wait_until_ready().await.unwrap();
        assert_eq!(controller.log().matches("--cluster-id test").count(), 2, "{}", controller.log());
    }

    #[test]
    fn proc_files_are_read() {
        let status = "Name:\tssm-ready\nVmHWM:\t   52340 kB\nVmRSS:\t   41200 kB\nThreads:\t4\n";
        assert_eq!(status_kib(status, "VmRSS:"), Some(41_200));
        assert_eq!(status_kib(status, "VmHWM:"), Some(52_340));
        assert_eq!(status_kib(status, "Threads:"), None);
        let stat = "42 (a ) b) S 1 42 42 0 -1 4194304 900 0 0 0 123 27 0 0 20 0 4 0 100 1 1";
        assert_eq!(cpu_seconds(stat), Some(1.5));
        assert_eq!(cpu_seconds("nothing"), None);
    }
}
