//! A real kube-apiserver over a real etcd, with RBAC and nothing else of a cluster: no controllers, so nothing is
//! garbage-collected and a deleted namespace stays `Terminating`; no nodes.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use aws_lc_rs::encoding::{AsDer as _, EcPrivateKeyRfc5915Der};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{Api, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Client, Config};
use serde_json::{Value, json};

use crate::guard::{Scratch, free_port};
use crate::kubernetes::{FIELD_MANAGER, config_for};
use crate::process::{Process, last_line_of, without_proxies};
use crate::repository;

const READY_WITHIN: Duration = Duration::from_secs(60);
const ATTEMPTS: u32 = 3;

/// The file that says what is logged of requests; without it nothing is.
const AUDIT_POLICY: &str = "audit-policy.yaml";
const AUDITED: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Metadata, userGroups: ['system:serviceaccounts']}
- {level: None}
";

/// A running API server with its store. Both end, and their data goes, when this value is dropped.
#[derive(Debug)]
pub struct ApiServer {
    // Dropped in this order: server, store, folder.
    server: Mutex<Option<Process>>,
    _etcd: Process,
    etcd_url: String,
    port: u16,
    tools: PathBuf,
    admin: Config,
    admin_kubeconfig: PathBuf,
    tokens: Mutex<Vec<String>>,
    scratch: Scratch,
}

impl ApiServer {
    /// Starts both on free ports of 127.0.0.1, after building them if this user has not done so before.
    pub async fn start() -> Result<Self> {
        Self::start_with(false).await
    }

    /// The same, with a log of everything that service accounts ask for: [`Self::audit`].
    pub async fn start_audited() -> Result<Self> {
        Self::start_with(true).await
    }

    async fn start_with(audited: bool) -> Result<Self> {
        // Only the first call has an effect; whichever provider is there then will do.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let tools = PathBuf::from(last_line_of(&repository().join("tests/tools/build.sh")).await?);
        let mut attempt = 1;
        loop {
            // Somebody else may take a port between the look for a free one and its use.
            match Self::start_once(&tools, audited).await {
                Ok(started) => return Ok(started),
                Err(error) if attempt < ATTEMPTS && format!("{error:#}").contains("address already in use") => {
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn start_once(tools: &Path, audited: bool) -> Result<Self> {
        let scratch = Scratch::new("apiserver")?;
        let etcd_url = format!("http://127.0.0.1:{}", free_port()?);
        let etcd = start_etcd(tools, &scratch, &etcd_url)?;
        let port = free_port()?;

        let token = random_token()?;
        write_private(&scratch.join("tokens.csv"), &format!("{token},admin,admin,system:masters\n"))?;
        write_private(&scratch.join("service-account.key"), &private_key()?)?;
        if audited {
            std::fs::write(scratch.join(AUDIT_POLICY), AUDITED)?;
        }
        let mut server = start_server(tools, &scratch, &etcd_url, port)?;

        let ca = scratch.join("certs/apiserver.crt");
        wait_for_file(&ca, &mut server).await?;
        let admin_kubeconfig = scratch.join("admin.kubeconfig");
        write_kubeconfig(&admin_kubeconfig, &ca, &url_of(port), "default", &token)?;
        let admin = config_for(&admin_kubeconfig).await?;

        let started = Self {
            server: Mutex::new(Some(server)),
            _etcd: etcd,
            etcd_url,
            port,
            tools: tools.to_owned(),
            admin,
            admin_kubeconfig,
            tokens: Mutex::default(),
            scratch,
        };
        started.wait_until_ready().await?;
        Ok(started)
    }

    /// A new client that may do everything. A client belongs to the runtime it was made in, so a test makes its own
    /// even where tests share the server.
    pub fn admin_client(&self) -> Result<Client> {
        Ok(Client::try_from(self.admin.clone())?)
    }

    /// What such a client is made from, for one that is to differ.
    #[must_use]
    pub fn admin_config(&self) -> Config {
        self.admin.clone()
    }

    /// The kubeconfig file of that administrator, for `kubectl` and the like.
    #[must_use]
    pub fn admin_kubeconfig(&self) -> &Path {
        &self.admin_kubeconfig
    }

    /// Where the server listens.
    #[must_use]
    pub fn url(&self) -> String {
        url_of(self.port)
    }

    /// The tokens of service accounts that were asked for so far.
    #[must_use]
    pub fn tokens(&self) -> Vec<String> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The log of all runs of this server.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.scratch.join("kube-apiserver.log")).unwrap_or_default()
    }

    /// What service accounts have asked for so far, as `audit.k8s.io/v1` events; nothing unless it was started so.
    pub fn audit(&self) -> Result<Vec<Value>> {
        let text = std::fs::read_to_string(self.scratch.join("audit.log")).unwrap_or_default();
        // The last line may be half written.
        let complete = text.rfind('\n').map_or("", |end| &text[..end]);
        complete.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
    }

    /// Writes a kubeconfig with a token of a service account, which is made, with its namespace, if it is not there.
    /// The context's namespace is that of the account.
    pub async fn kubeconfig_for_service_account(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        self.kubeconfig_by_way_of(&self.url(), namespace, name).await
    }

    /// The same, for reaching the server by another address, such as that of a [`crate::Proxy`].
    pub async fn kubeconfig_by_way_of(&self, url: &str, namespace: &str, name: &str) -> Result<PathBuf> {
        let client = self.admin_client()?;
        let apply = PatchParams::apply(FIELD_MANAGER);
        let metadata = |name: &str| ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let wanted = Namespace { metadata: metadata(namespace), ..Namespace::default() };
        Api::<Namespace>::all(client.clone()).patch(namespace, &apply, &Patch::Apply(&wanted)).await?;
        let accounts: Api<ServiceAccount> = Api::namespaced(client, namespace);
        let wanted = ServiceAccount { metadata: metadata(name), ..ServiceAccount::default() };
        accounts.patch(name, &apply, &Patch::Apply(&wanted)).await?;
        self.kubeconfig_with_token(url, namespace, name).await
    }

    /// The same for a service account that has to be there.
    pub async fn kubeconfig_of(&self, namespace: &str, name: &str) -> Result<PathBuf> {
        self.kubeconfig_with_token(&self.url(), namespace, name).await
    }

    async fn kubeconfig_with_token(&self, url: &str, namespace: &str, name: &str) -> Result<PathBuf> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.admin_client()?, namespace);
        let request = TokenRequest {
            spec: TokenRequestSpec { expiration_seconds: Some(24 * 60 * 60), ..TokenRequestSpec::default() },
            ..TokenRequest::default()
        };
        let answer = accounts.create_token_request(name, &PostParams::default(), &request).await?;
        let token = answer.status.context("the server returned no token")?.token;
        // One for each time, since each is for somebody who may still be using it.
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.scratch.join(&format!("{namespace}.{name}.{}.kubeconfig", tokens.len()));
        write_kubeconfig(&path, &self.scratch.join("certs/apiserver.crt"), url, namespace, &token)?;
        tokens.push(token);
        Ok(path)
    }

    /// Ends the server as a crash would, and leaves it down; its data stays in the store.
    pub fn stop(&self) -> Result<()> {
        let running = self.server.lock().unwrap_or_else(PoisonError::into_inner).take();
        running.map_or(Ok(()), |mut server| server.kill())
    }

    /// Ends the server if it runs, starts it again on the same port and waits until it is ready. Certificates, tokens
    /// and data stay valid.
    pub async fn restart(&self) -> Result<()> {
        self.stop()?;
        let server = start_server(&self.tools, &self.scratch, &self.etcd_url, self.port)?;
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(server);
        self.wait_until_ready().await
    }

    async fn wait_until_ready(&self) -> Result<()> {
        let client = self.admin_client()?;
        let look = async || -> Result<()> {
            let request = hyper::Request::get("/readyz?verbose").body(Vec::new())?;
            client.request_text(request).await?;
            Ok(())
        };
        let deadline = tokio::time::Instant::now() + READY_WITHIN;
        loop {
            if let Some(server) = self.server.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
                server.ensure_running()?;
            }
            let seen = tokio::time::timeout(Duration::from_secs(2), look()).await;
            let error = match seen {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => format!("{error:#}"),
                Err(_) => "no answer within 2 s".to_owned(),
            };
            if tokio::time::Instant::now() >= deadline {
                return Err(anyhow!(error).context(format!("kube-apiserver is not ready after {READY_WITHIN:?}")));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn start_etcd(tools: &Path, scratch: &Scratch, url: &str) -> Result<Process> {
    let mut command = Command::new(tools.join("etcd"));
    command
        .arg("--data-dir")
        .arg(scratch.join("etcd"))
        .args(["--listen-client-urls", url, "--advertise-client-urls", url])
        // A store of one has no peers; any port will do.
        .args(["--listen-peer-urls", "http://127.0.0.1:0"])
        // The data need not survive a power cut.
        .arg("--unsafe-no-fsync")
        .args(["--log-level", "warn"]);
    Process::start("etcd", without_proxies(&mut command), scratch.join("etcd.log"))
}

fn start_server(tools: &Path, scratch: &Scratch, etcd_url: &str, port: u16) -> Result<Process> {
    let flag = |name: &str, file: &str| format!("--{name}={}", scratch.join(file).display());
    let mut command = Command::new(tools.join("kube-apiserver"));
    command
        .args([format!("--etcd-servers={etcd_url}"), format!("--secure-port={port}")])
        .args(["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--service-cluster-ip-range=10.0.0.0/24"])
        .args([flag("cert-dir", "certs"), flag("token-auth-file", "tokens.csv")])
        .arg("--authorization-mode=RBAC")
        .arg("--service-account-issuer=https://kubernetes.default.svc")
        .arg(flag("service-account-key-file", "service-account.key"))
        .arg(flag("service-account-signing-key-file", "service-account.key"))
        // Waits for the default account of a namespace, which a controller makes that does not run here.
        .arg("--disable-admission-plugins=ServiceAccount")
        .args(["--endpoint-reconciler-type=none", "--profiling=false", "--shutdown-delay-duration=0s"]);
    if scratch.join(AUDIT_POLICY).exists() {
        command.args([flag("audit-policy-file", AUDIT_POLICY), flag("audit-log-path", "audit.log")]);
    }
    Process::start("kube-apiserver", without_proxies(&mut command), scratch.join("kube-apiserver.log"))
}

/// The server writes its self-signed certificate, with the authority that signed it, at its first start.
async fn wait_for_file(path: &Path, server: &mut Process) -> Result<()> {
    let deadline = tokio::time::Instant::now() + READY_WITHIN;
    loop {
        server.ensure_running()?;
        // The last line is there only when all of it is.
        let text = std::fs::read_to_string(path).unwrap_or_default();
        if text.matches("-----END CERTIFICATE-----").count() == 2 {
            return Ok(());
        }
        anyhow::ensure!(tokio::time::Instant::now() < deadline, "kube-apiserver wrote no {}", path.display());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn random_token() -> Result<String> {
    let mut bytes = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| anyhow!("no random numbers"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A new private key, for signing the tokens of service accounts.
fn private_key() -> Result<String> {
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(|_| anyhow!("no key was made"))?;
    // The one form from which the server takes both halves of a key on a curve.
    let der: EcPrivateKeyRfc5915Der<'_> = key.private_key().as_der().map_err(|_| anyhow!("the key has no DER form"))?;
    Ok(pem::encode(&pem::Pem::new("EC PRIVATE KEY", der.as_ref())))
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes()).with_context(|| format!("{}", path.display()))
}

fn url_of(port: u16) -> String {
    format!("https://127.0.0.1:{port}")
}

fn write_kubeconfig(path: &Path, ca: &Path, url: &str, namespace: &str, token: &str) -> Result<()> {
    // JSON is YAML.
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "test",
            "cluster": {"server": url, "certificate-authority": ca},
        }],
        "users": [{"name": "user", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "user", "namespace": namespace}}],
        "current-context": "test",
    });
    write_private(path, &serde_json::to_string_pretty(&config)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;

    fn config_map(name: &str) -> ConfigMap {
        ConfigMap {
            metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            ..Default::default()
        }
    }

    #[tokio::test]
    async fn an_administrator_may_write_and_a_fresh_service_account_may_not() {
        let server = ApiServer::start().await.unwrap();
        let version = server.admin_client().unwrap().apiserver_version().await.unwrap();
        if std::env::var_os("KUBEBUILDER_ASSETS").is_none() {
            let pinned = std::fs::read_to_string(repository().join("tests/tools/kubernetes/go.mod")).unwrap();
            assert!(pinned.contains(&format!("k8s.io/kubernetes {} ", version.git_version)), "{version:?}");
        }

        let admin: Api<ConfigMap> = Api::namespaced(server.admin_client().unwrap(), "default");
        admin.create(&PostParams::default(), &config_map("by-admin")).await.unwrap();

        let path = server.kubeconfig_for_service_account("team", "reader").await.unwrap();
        let client = crate::kubernetes::client_for(&path).await.unwrap();
        assert_eq!(client.default_namespace(), "team");
        let reader: Api<ConfigMap> = Api::default_namespaced(client);
        let error = reader.create(&PostParams::default(), &config_map("by-reader")).await.unwrap_err();
        let kube::Error::Api(status) = &error else { panic!("{error}") };
        assert_eq!(status.reason, "Forbidden", "{status:?}");
        assert!(status.message.contains("system:serviceaccount:team:reader"), "{status:?}");

        // Tokens, certificates and data outlive a crash of the server.
        server.restart().await.unwrap();
        admin.get("by-admin").await.unwrap();
        let error = reader.create(&PostParams::default(), &config_map("by-reader")).await.unwrap_err();
        assert!(error.to_string().contains("forbidden"), "{error}");
    }
}
