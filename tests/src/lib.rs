//! Parts to test the controller with: a real API server, a stand-in for AWS, the controller's own binary, and ways to
//! wait for what they do.
//!
//! Every part stops with the value that stands for it, and at the latest with the test process, however that ends.
//! With `SSM_READY_KEEP` set the folders with logs and data stay, and their names are printed. `SSM_READY_SEED` repeats
//! what happened by chance in a run that printed that seed.
//!
//! This crate is an edge: it reads clocks, starts processes and talks to the network.
#![allow(clippy::disallowed_methods)]

mod guard;
mod http;
mod process;

pub mod apiserver;
pub mod clock;
pub mod controller;
pub mod helm;
pub mod kubernetes;
pub mod proxy;
pub mod random;
pub mod simulation;
pub mod standin;
pub mod wait;
pub mod world;

pub use apiserver::ApiServer;
pub use clock::WallClock;
pub use controller::{Controller, ControllerOptions};
pub use guard::free_port;
pub use helm::Helm;
pub use kubernetes::{apply_crds, apply_yaml, client_for, objects};
pub use proxy::{Proxy, Refusal};
pub use random::Random;
pub use standin::{Flavour, HUB_ACCOUNT, Standin};
pub use wait::{condition, condition_is, eventually, throughout};

use std::path::{Path, PathBuf};

/// The folder of the repository that this crate was built from.
#[must_use]
pub fn repository() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// The target folder that holds the running test or program, if it lies in one.
fn target_folder() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file()).map(Path::to_path_buf)
}
