//! `cargo xtask storm`: one of the end-to-end tests alone, for longer and with another seed.

use std::hash::{BuildHasher as _, RandomState};

use anyhow::Result;

use crate::{build, process, step};

/// The test, by its name.
const TRIAL: &str = "storm::nothing_gets_out_and_nothing_breaks";

/// Runs the storm.
///
/// # Errors
///
/// What it found, and how to run the same one again.
pub fn run(seconds: u64, seed: Option<u64>) -> Result<()> {
    // The standard library's one source of chance: each hasher has keys of its own. Short enough to
    // be typed again.
    let seed = seed.unwrap_or_else(|| RandomState::new().hash_one(()) % 1_000_000);
    step(&format!("a storm of {seconds} s, seed {seed}"));
    let mut command = build::cargo();
    command
        .args([
            "test",
            "--quiet",
            "--locked",
            "--test",
            "e2e",
            "--",
            "--exact",
            TRIAL,
            "--nocapture",
        ])
        .env("STORM_SECONDS", seconds.to_string())
        .env("STORM_SEED", seed.to_string());
    let again = format!(
        "What it found is above; `cargo xtask storm --seconds {seconds} --seed {seed}` throws the same"
    );
    process::run("the storm", &mut command, &again)
}
