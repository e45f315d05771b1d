//! `cargo xtask test`: everything that must be true before a change lands.

use std::{process::Command, time::Instant};

use anyhow::Result;

use crate::{build, process, root, size, step, tools::Tools};

/// Runs every check; stops at the first that fails.
///
/// # Errors
///
/// Which one, and how to run it alone.
pub fn run() -> Result<()> {
    let tools = Tools::ensure()?;
    ensure_components()?;
    timed("formatting", || {
        cargo("formatting", &["fmt", "--all", "--check"], "`cargo fmt --all` mends it")
    })?;
    timed("lints", || {
        let arguments = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-Dwarnings"];
        cargo("lints", &arguments, "The messages are above")
    })?;
    timed("documentation", || {
        let mut command = build::cargo();
        command
            .args(["doc", "--workspace", "--no-deps", "--locked"])
            .env("RUSTDOCFLAGS", "-Dwarnings");
        process::run("documentation", &mut command, "The messages are above")
    })?;
    timed("build", || build::with(&tools))?;
    timed("size", || size::check(&tools))?;
    timed("tests", || {
        let mend = "The failures are above; `cargo test --test e2e -- NAME` runs one alone";
        cargo("tests", &["test", "--workspace", "--locked"], mend)
    })?;
    #[cfg(feature = "template")]
    timed("projects of this template", || {
        let manifest = ["--manifest-path", "template/Cargo.toml"];
        let mend = "The message is above; `cargo test --manifest-path template/Cargo.toml NAME` runs \
                    one alone";
        cargo("formatting", &[&["fmt", "--check"], &manifest[..]].concat(), mend)?;
        let lints = ["clippy", "--all-targets", "--locked"];
        let deny = ["--", "-Dwarnings"];
        cargo("lints", &[&lints, &manifest[..], &deny].concat(), mend)?;
        cargo("tests", &[&["test", "--locked"], &manifest[..]].concat(), mend)
    })?;
    Ok(())
}

fn cargo(what: &str, arguments: &[&str], mend: &str) -> Result<()> {
    process::run(what, build::cargo().args(arguments), mend)
}

/// A minimal Rust has neither.
fn ensure_components() -> Result<()> {
    for (program, component) in [("cargo-fmt", "rustfmt"), ("cargo-clippy", "clippy")] {
        let is_there =
            Command::new(program).arg("--version").output().is_ok_and(|it| it.status.success());
        if !is_there {
            step(&format!("Rust's {component}"));
            process::run(
                "adding the component",
                Command::new("rustup").args(["component", "add", component]).current_dir(root()),
                "Without rustup, install it by other means",
            )?;
        }
    }
    Ok(())
}

fn timed(what: &str, run: impl FnOnce() -> Result<()>) -> Result<()> {
    step(what);
    let started = Instant::now();
    run()?;
    step(&format!("{what}: done in {:.0} s", started.elapsed().as_secs_f32()));
    Ok(())
}
