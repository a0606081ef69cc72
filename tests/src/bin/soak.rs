//! Plays worlds for as long as asked: see `make soak`.

use std::time::Duration;

use anyhow::{Result, bail};
use clap::Parser;
use ssm_ready_tests::simulation::soak::{Soak, run};

/// Plays worlds until the time is over, or one of them breaks a rule.
#[derive(Debug, Parser)]
struct Args {
    /// For how many minutes
    #[arg(long, default_value_t = 60)]
    minutes: u64,
    /// The seed of the first world
    #[arg(long, default_value_t = 1_000_000)]
    seed: u64,
}

fn main() -> Result<()> {
    let Args { minutes, seed } = Args::parse();
    let time = Duration::from_secs(minutes * 60);
    match run(&Soak { first: seed, worlds: None, time, tells: true, ..Soak::default() }) {
        Ok(sum) => {
            println!("{sum}");
            Ok(())
        }
        Err(broken) => bail!("{broken}"),
    }
}
