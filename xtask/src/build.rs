//! `cargo xtask build`: the Worker into `build/`.

use std::{
    env,
    fs::{self, File},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{
    process, root, step,
    tools::{Tools, WASM_TARGET},
};

/// What wasm-opt does: small code, no names, and of Wasm's features those that rustc and
/// wasm-bindgen use and workerd runs.
const OPTIMIZE: [&str; 9] = [
    "-Os",
    "--strip-debug",
    "--enable-mutable-globals",
    "--enable-sign-ext",
    "--enable-nontrapping-float-to-int",
    "--enable-bulk-memory",
    "--enable-multivalue",
    "--enable-reference-types",
    "--enable-exception-handling",
];

/// Fetches the tools and builds.
///
/// # Errors
///
/// What failed, and what to do about it.
pub fn run() -> Result<()> {
    with(&Tools::ensure()?)
}

/// Builds, unless what is in `build/` is what would come out.
///
/// # Errors
///
/// What the compiler or a tool says.
pub fn with(tools: &Tools) -> Result<()> {
    process::run(
        "compiling the Worker",
        cargo()
            .args(["build", "-p", "secrets-store-gateway", "--lib", "--release", "--locked"])
            .args(["--target", WASM_TARGET])
            .env("CARGO_TARGET_DIR", target_folder()),
        "The compiler's message is above",
    )?;
    // One build at a time: each `dev` of this folder has one when a source changes.
    let lock =
        File::create(target_folder().join("xtask-build.lock")).context("cannot lock the build")?;
    lock.lock().context("cannot lock the build")?;
    // Cargo knows whether something has changed; what comes after it does not, and takes seconds.
    let build = root().join("build");
    let stamp = build.join(".stamp");
    let recipe = recipe(tools)?;
    if build.join("index.js").is_file() && fs::read_to_string(&stamp).is_ok_and(|it| it == recipe) {
        return Ok(());
    }
    // From here on, what is in build/ is of no known source until all is done.
    let _ = fs::remove_file(&stamp);
    step("the Worker, by worker-build");
    process::run(
        "worker-build",
        tools.worker_build().arg("--release"),
        "Its message is above; `cargo clean` helps where it speaks of a schema or of externref",
    )?;
    let wasm = build.join("index_bg.wasm");
    process::run(
        "wasm-opt",
        tools.command("wasm-opt").args(OPTIMIZE).arg(&wasm).arg("-o").arg(&wasm),
        "Its message is above",
    )?;
    fs::write(&stamp, recipe).context("cannot write into build/")
}

/// All that the content of `build/` depends on: what cargo made, and what is done with it.
fn recipe(tools: &Tools) -> Result<String> {
    let wasm = target_folder().join(WASM_TARGET).join("release/secrets_store_gateway.wasm");
    let mut hasher = DefaultHasher::new();
    for file in [wasm, root().join("Cargo.toml"), root().join("package-lock.json")] {
        fs::read(&file)
            .with_context(|| format!("cannot read {}", file.display()))?
            .hash(&mut hasher);
    }
    Ok(format!("{}, wasm-opt {}, {:016x}", tools.versions()?, OPTIMIZE.join(" "), hasher.finish()))
}

/// Where the Worker is compiled: this clone's own folder, also where the user shares one among
/// projects. Cargo gives a cdylib's file no hash, so that two clones would take each other's Worker
/// for their own.
pub fn target_folder() -> PathBuf {
    root().join("target")
}

/// Builds an example, a Worker of its own.
///
/// # Errors
///
/// As [`with`].
pub fn example(tools: &Tools, folder: &Path) -> Result<()> {
    process::run(
        "worker-build",
        tools.worker_build().arg("--release").current_dir(folder),
        "Its message is above",
    )
}

/// How cargo is called by the other commands.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}
