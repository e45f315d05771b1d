//! The project's commands, as functions: for `cargo xtask` and for the end-to-end tests.

pub mod build;
pub mod demo;
pub mod dev;
pub mod process;
pub mod store;
pub mod test;
pub mod tools;

use std::path::{Path, PathBuf};

/// The folder of the workspace.
pub fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_owned()
}

/// Says what is done next.
pub fn step(what: &str) {
    eprintln!("==> {what}");
}
