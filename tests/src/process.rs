//! A child process with its log in a file, which is killed when it is dropped or its parent is gone.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::guard;

/// A running child.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with both outputs appended to `log`.
    pub fn start(name: &'static str, command: &mut Command, log: PathBuf) -> Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(&log)?;
        let both: File = file.try_clone()?;
        let child = without_proxies(command)
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(both)
            .spawn()
            .with_context(|| format!("{name} ({}) could not be started", command.get_program().display()))?;
        let process = Self { name, child, log };
        guard::watch(process.pid())?;
        Ok(process)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far.
    pub fn log(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// An error, with the end of its log, once it has ended by itself.
    pub fn ensure_running(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended with {status}; the end of its log:\n{}", self.name, tail(&self.log(), 30)),
        }
    }

    /// Ends it at once, as a crash would.
    pub fn kill(&mut self) -> Result<()> {
        self.end()
    }

    /// Sends it a signal by name, such as `STOP`.
    pub fn signal(&self, name: &str) -> Result<()> {
        // There is no way to send a signal but SIGKILL in the standard library; every shell has one.
        let script = r#"kill -s "$1" "$2""#;
        let sent = Command::new("sh").args(["-c", script, "kill", name, &self.pid().to_string()]).status()?;
        ensure!(sent.success(), "{} could not be sent SIG{name}", self.name);
        Ok(())
    }

    /// Asks it to end (SIGTERM) and waits; an error if it is still there after `patience`.
    pub async fn terminate(&mut self, patience: Duration) -> Result<ExitStatus> {
        let asked = self.signal("TERM");
        if let Some(status) = self.child.try_wait()? {
            return Ok(status);
        }
        asked?;
        self.ends(patience).await
    }

    /// Waits until it has ended; an error if it still runs after `patience`.
    pub async fn ends(&mut self, patience: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() >= deadline {
                bail!("{} still runs after {patience:?}; the end of its log:\n{}", self.name, tail(&self.log(), 30));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn end(&mut self) -> Result<()> {
        if self.child.try_wait()?.is_none() {
            self.child.kill().with_context(|| format!("{} could not be killed", self.name))?;
            self.child.wait()?;
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.end();
        guard::forget(self.pid());
    }
}

/// All that the tests reach is on this machine; a proxy could only be in the way.
pub fn without_proxies(command: &mut Command) -> &mut Command {
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"] {
        command.env_remove(name);
    }
    command
}

/// Runs a script that may build things for minutes: its progress goes to our stderr. Returns the last line of its
/// stdout.
pub async fn last_line_of(script: &Path) -> Result<String> {
    let output = tokio::process::Command::new(script)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("{} could not be started", script.display()))?;
    if !output.status.success() {
        bail!("{} failed with {}", script.display(), output.status);
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().rev().map(str::trim).find(|line| !line.is_empty());
    last.map(ToOwned::to_owned).with_context(|| format!("{} printed nothing", script.display()))
}

/// The last lines of a text.
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::Scratch;

    fn shell(script: &str, scratch: &Scratch) -> Process {
        Process::start("shell", Command::new("sh").args(["-c", script]), scratch.join("log")).unwrap()
    }

    #[tokio::test]
    async fn a_child_that_ends_is_reported_with_its_log() {
        let scratch = Scratch::new("process").unwrap();
        let mut child = shell("echo cannot bind; exit 3", &scratch);
        let error = loop {
            if let Err(error) = child.ensure_running() {
                break error.to_string();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        assert!(error.contains("exit status: 3"), "{error}");
        assert!(error.contains("cannot bind"), "{error}");
    }

    #[tokio::test]
    async fn terminate_gives_the_exit_status() {
        let scratch = Scratch::new("process").unwrap();
        let mut child = shell("trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done", &scratch);
        while !child.log().contains("ready") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(child.terminate(Duration::from_secs(10)).await.unwrap().code(), Some(7));
    }

    #[test]
    fn the_tail_is_the_end() {
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc");
        assert_eq!(tail("a", 2), "a");
        assert_eq!(tail("", 2), "");
    }
}
