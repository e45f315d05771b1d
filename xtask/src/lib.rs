//! The project's commands, as functions: for `cargo xtask` and for the end-to-end tests.

#[cfg(feature = "rest-api")]
pub mod api;
pub mod bench;
pub mod build;
#[cfg(feature = "demo")]
pub mod demo;
pub mod deploy;
pub mod dev;
pub mod doctor;
pub mod http;
pub mod process;
pub mod prompt;
pub mod requests;
#[cfg(feature = "rest-api")]
pub mod rotate;
pub mod size;
pub mod store;
#[cfg(feature = "rest-api")]
pub mod storm;
pub mod test;
pub mod tools;
pub mod worker;

use std::{
    env,
    path::{Path, PathBuf},
};

/// The folder of the workspace: the one around the current folder, since a binary that was compiled
/// for one clone may be run in another, where they share a target folder.
pub fn root() -> PathBuf {
    let compiled_in = Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned);
    let is_root =
        |folder: &&Path| folder.join("wrangler.toml").is_file() && folder.join("xtask").is_dir();
    let around = env::current_dir().ok();
    let around = around.as_deref().and_then(|it| it.ancestors().find(is_root)).map(Path::to_owned);
    around.or(compiled_in).unwrap_or_default()
}

/// Says what is done next.
pub fn step(what: &str) {
    eprintln!("==> {what}");
}
