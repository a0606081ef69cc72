//! Helm and the chart, as a user has them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::guard::Scratch;
use crate::process::{last_line_of, without_proxies};
use crate::repository;

/// What the chart gives the controller's service account in the cluster when everything is switched on, rendered for the
/// tests that do without Helm; `make chart` proves it equal to the chart's templates.
pub const RBAC: &str = "tests/fixtures/rbac.yaml";

/// Which Helm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Major {
    /// Helm 3.
    Three,
    /// Helm 4.
    Four,
}

/// A Helm with settings and caches of its own.
#[derive(Debug)]
pub struct Helm {
    binary: PathBuf,
    kubeconfig: PathBuf,
    scratch: Scratch,
}

impl Helm {
    /// Takes the one that `tests/tools/chart.sh` builds, to work with the cluster of a kubeconfig.
    pub async fn new(major: Major, kubeconfig: &Path) -> Result<Self> {
        let tools = PathBuf::from(last_line_of(&repository().join("tests/tools/chart.sh")).await?);
        let binary = tools.join(match major {
            Major::Three => "helm3",
            Major::Four => "helm4",
        });
        Ok(Self { binary, kubeconfig: kubeconfig.to_owned(), scratch: Scratch::new("helm")? })
    }

    /// The folder of the chart.
    #[must_use]
    pub fn chart() -> PathBuf {
        repository().join("charts/ssm-ready")
    }

    /// A folder that goes with this value.
    #[must_use]
    pub fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// Runs it, and returns what it prints. What it says of an error is in the error.
    pub async fn run<A: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Result<String> {
        let mut command = Command::new(&self.binary);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.scratch.path())
            .env("KUBECONFIG", &self.kubeconfig)
            .args(arguments);
        without_proxies(&mut command).stdin(Stdio::null());
        let what = format!("{command:?}");
        let output = tokio::process::Command::from(command).kill_on_drop(true).output().await.context(what.clone())?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            bail!("{what}: {}: {}{text}", output.status, String::from_utf8_lossy(&output.stderr));
        }
        Ok(text)
    }
}
