//! Nothing outlives the test process: a small shell, waiting at the end of a pipe, hears of its end whatever the
//! cause, then kills what is left and removes the process's scratch folder.
//!
//! The kernel's parent-death signal would do for single-threaded programs only: it fires when the *thread* that started
//! the child ends, and a part that several tests share outlives the thread of the first one.

use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::{Context as _, Result, anyhow, bail};

/// Reads `+ <pid>` and `- <pid>` until its input ends. Process ids that are still listed then are killed.
const SCRIPT: &str = r#"
trap '' HUP INT QUIT TERM
pids=' '
while read -r sign pid; do
  case $sign in
    +) pids="$pids$pid " ;;
    -) case $pids in *" $pid "*) pids="${pids%% "$pid" *} ${pids#* "$pid" }" ;; esac ;;
  esac
done
for pid in $pids; do kill -KILL "$pid" 2>/dev/null; done
tries=0
for pid in $pids; do
  while kill -0 "$pid" 2>/dev/null && [ "$tries" -lt 40 ]; do sleep 0.05; tries=$((tries + 1)); done
done
if [ -n "$1" ]; then rm -rf -- "$1"; fi
"#;

struct Guard {
    pipe: Mutex<ChildStdin>,
    scratch: PathBuf,
}

/// The guard of this process, started at its first use.
fn guard() -> Result<&'static Guard> {
    static GUARD: OnceLock<Result<Guard, String>> = OnceLock::new();
    GUARD.get_or_init(|| start().map_err(|error| format!("{error:#}"))).as_ref().map_err(|error| anyhow!("{error}"))
}

fn start() -> Result<Guard> {
    let scratch = make_unique(&std::env::temp_dir(), &format!("ssm-ready-{}", std::process::id()))?;
    let removed = if keep() { Path::new("") } else { scratch.as_path() };
    let mut shell = Command::new("sh")
        .args(["-c", SCRIPT, "guard"])
        .arg(removed)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // A signal to our process group must not reach it.
        .process_group(0)
        .spawn()
        .context("the shell that guards child processes could not be started")?;
    let pipe = shell.stdin.take().context("the guarding shell has no input")?;
    Ok(Guard { pipe: Mutex::new(pipe), scratch })
}

fn make_unique(parent: &Path, name: &str) -> Result<PathBuf> {
    for attempt in 0..100 {
        let path = parent.join(format!("{name}-{attempt}"));
        match std::fs::DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("{} could not be made", path.display())),
        }
    }
    bail!("no unused name for a folder {name} in {}", parent.display())
}

fn keep() -> bool {
    std::env::var_os("SSM_READY_KEEP").is_some_and(|value| !value.is_empty())
}

fn tell(sign: char, pid: u32) -> Result<()> {
    let mut pipe = guard()?.pipe.lock().unwrap_or_else(PoisonError::into_inner);
    // One write, so that a line is never read in halves.
    pipe.write_all(format!("{sign} {pid}\n").as_bytes()).context("the guarding shell is gone")
}

/// From now on `pid` is killed when this process ends.
pub fn watch(pid: u32) -> Result<()> {
    tell('+', pid)
}

/// `pid` is gone, and its number may come to belong to somebody else.
pub fn forget(pid: u32) {
    let _ = tell('-', pid);
}

/// A folder of one part, private to the user, removed with this value.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes an empty folder for the part called `name`.
    pub fn new(name: &str) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = make_unique(&guard()?.scratch, &format!("{name}-{number}"))?;
        if keep() {
            eprintln!("{name}: logs and data are kept in {}", path.display());
        }
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The path of a file or folder in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !keep() {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// A port of 127.0.0.1 on which nobody listens. It is taken from below the range that Linux gives to outgoing
/// connections, so that none of those takes it before the part that asked listens on it.
pub fn free_port() -> Result<u16> {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 10_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test processes that run side by side begin at different places.
    let begin = u16::try_from(std::process::id().wrapping_mul(61) % u32::from(COUNT))?;
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        let port = FIRST + (begin + step) % COUNT;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port between {FIRST} and {}", FIRST + COUNT - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the guard's script over `lines` with a folder to remove.
    fn run(lines: &str, folder: &Path) {
        let mut shell =
            Command::new("sh").args(["-c", SCRIPT, "guard"]).arg(folder).stdin(Stdio::piped()).spawn().unwrap();
        shell.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
        assert!(shell.wait().unwrap().success());
    }

    #[test]
    fn what_is_listed_when_the_pipe_closes_is_killed_and_the_rest_lives() {
        let scratch = Scratch::new("guard test").unwrap();
        let folder = scratch.join("with a space");
        std::fs::create_dir(&folder).unwrap();
        let mut sleepers: Vec<_> = (0..3).map(|_| Command::new("sleep").arg("60").spawn().unwrap()).collect();
        let [a, b, c] = [sleepers[0].id(), sleepers[1].id(), sleepers[2].id()];

        run(&format!("+ {a}\n+ {b}\n+ {c}\n- {b}\n- 1\n"), &folder);

        assert!(!sleepers[0].wait().unwrap().success());
        assert!(!sleepers[2].wait().unwrap().success());
        assert!(sleepers[1].try_wait().unwrap().is_none(), "a forgotten process was killed");
        assert!(!folder.exists());
        sleepers[1].kill().unwrap();
        sleepers[1].wait().unwrap();
    }

    #[test]
    fn two_free_ports_differ() {
        assert_ne!(free_port().unwrap(), free_port().unwrap());
    }
}
