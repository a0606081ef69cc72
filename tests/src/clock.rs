//! A wall clock of one process that can be set, by a library that is put before libc (`clock.c`).

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::guard::Scratch;

/// The wall clock of the processes that are started with its environment. It is right until it is set.
#[derive(Debug)]
pub struct WallClock {
    offset: File,
    scratch: Scratch,
}

impl WallClock {
    /// Builds the library with the system's C compiler, without which the controller itself could not be built.
    pub fn new() -> Result<Self> {
        let scratch = Scratch::new("clock")?;
        let source = scratch.join("clock.c");
        std::fs::write(&source, include_str!("clock.c"))?;
        let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
        let built = Command::new(&compiler)
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(scratch.join("clock.so"))
            .arg(&source)
            .output()
            .with_context(|| format!("{} could not be started", compiler.display()))?;
        ensure!(built.status.success(), "clock.c: {}", String::from_utf8_lossy(&built.stderr));
        let offset = File::options().create_new(true).write(true).open(scratch.join("offset"))?;
        let clock = Self { offset, scratch };
        clock.set(0)?;
        Ok(clock)
    }

    /// Sets the clock so many seconds before (less than 0) or after the true time, in processes that run already too.
    pub fn set(&self, seconds: i64) -> Result<()> {
        // One write of eight bytes within a page: never seen in halves.
        self.offset.write_all_at(&seconds.to_ne_bytes(), 0).context("the clock could not be set")
    }

    /// What a process has to be started with.
    #[must_use]
    pub fn env(&self) -> Vec<(String, String)> {
        [("LD_PRELOAD", "clock.so"), ("SSM_READY_TEST_CLOCK", "offset")]
            .map(|(name, file)| (name.to_owned(), self.scratch.join(file).display().to_string()))
            .to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_tells_another_time_as_soon_as_it_is_set() {
        let clock = WallClock::new().unwrap();
        let off = || {
            let told = Command::new("date").arg("+%s").envs(clock.env()).output().unwrap();
            let told: i64 = String::from_utf8(told.stdout).unwrap().trim().parse().unwrap();
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
            told - i64::try_from(now).unwrap()
        };
        assert!(off().abs() < 30, "{}", off());
        clock.set(3600).unwrap();
        assert!((off() - 3600).abs() < 30, "{}", off());
        clock.set(-7200).unwrap();
        assert!((off() + 7200).abs() < 30, "{}", off());
    }
}
