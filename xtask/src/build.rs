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

/// The JavaScript that the runtime calls.
const ENTRY: &str = "src/worker.mjs";

/// What wasm-bindgen is told. After a panic, the next request gets a new instance.
const BIND: [&str; 7] = [
    "--target=module",
    "--out-name=index",
    "--no-typescript",
    "--keep-debug",
    "--no-demangle",
    "--experimental-reset-state-function",
    "--force-enable-abort-handler",
];

/// What esbuild is told. Without the two names, it drops the classes that `worker` exports for what
/// this Worker has not, and closures are freed where Rust drops them, without a register of each.
const BUNDLE: [&str; 8] = [
    "--bundle",
    "--minify",
    "--format=esm",
    "--external:./index_bg.wasm",
    "--external:cloudflare:*",
    "--define:FinalizationRegistry=undefined",
    "--define:Symbol.dispose=undefined",
    "--log-level=warning",
];

/// Of Wasm's features those that rustc and wasm-bindgen use and workerd runs.
const FEATURES: [&str; 7] = [
    "--enable-mutable-globals",
    "--enable-sign-ext",
    "--enable-nontrapping-float-to-int",
    "--enable-bulk-memory",
    "--enable-multivalue",
    "--enable-reference-types",
    "--enable-exception-handling",
];

/// What wasm-opt does: small code, and no names, a sixth of the size. What it would inline compresses
/// worse than the call: 4 % of the upload.
const OPTIMIZE: [&str; 7] = [
    "-Oz",
    "--always-inline-max-function-size=0",
    "--flexible-inline-max-function-size=0",
    "--one-caller-inline-max-function-size=0",
    "--dealign",
    "--strip-debug",
    "--strip-producers",
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
    let wasm = compile("secrets-store-gateway")?;
    // One build at a time: each `dev` of this folder has one when a source changes.
    let lock =
        File::create(target_folder().join("xtask-build.lock")).context("cannot lock the build")?;
    lock.lock().context("cannot lock the build")?;
    // Cargo knows whether something has changed; what comes after it does not, and takes seconds.
    let build = root().join("build");
    let stamp = build.join(".stamp");
    let recipe = recipe(tools, &wasm)?;
    if build.join("index.js").is_file() && fs::read_to_string(&stamp).is_ok_and(|it| it == recipe) {
        return Ok(());
    }
    // From here on, what is in build/ is of no known source until all is done.
    let _ = fs::remove_file(&stamp);
    package(tools, &wasm, &build)?;
    fs::write(&stamp, recipe).context("cannot write into build/")
}

/// Builds an example, a Worker of its own.
///
/// # Errors
///
/// As [`with`].
pub fn example(tools: &Tools, folder: &Path) -> Result<()> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    package(tools, &compile(&name)?, &folder.join("build"))
}

/// Compiles a package, and answers where its Wasm is.
fn compile(package: &str) -> Result<PathBuf> {
    process::run(
        "compiling the Worker",
        cargo()
            .args(["build", "-p", package, "--lib", "--release", "--locked"])
            .args(["--target", WASM_TARGET])
            .env("CARGO_TARGET_DIR", target_folder()),
        "The compiler's message is above",
    )?;
    let folder = target_folder().join(WASM_TARGET).join("release");
    Ok(folder.join(package.replace('-', "_")).with_extension("wasm"))
}

/// Makes of compiled Wasm what the runtime loads: `index.js` and `index_bg.wasm`, in `into`.
fn package(tools: &Tools, wasm: &Path, into: &Path) -> Result<()> {
    step("the Worker: wasm-bindgen, esbuild, wasm-opt");
    // Each step's output is the next one's input, and `into` gets what is whole.
    let bound = wasm.with_extension("bound");
    let _ = fs::remove_dir_all(&bound);
    process::run(
        "wasm-bindgen",
        tools.wasm_bindgen().args(BIND).arg("--out-dir").arg(&bound).arg(wasm),
        "Its message is above; `cargo clean` helps where it speaks of a schema or of externref",
    )?;
    // The runtime gives a module of Wasm by a plain import.
    let glue = bound.join("index.js");
    let text = fs::read_to_string(&glue).context("wasm-bindgen has written no index.js")?;
    fs::write(&glue, text.replace("import source ", "import "))?;
    fs::copy(root().join(ENTRY), bound.join("worker.mjs")).context("cannot copy the entry")?;
    let bundle = bound.join("bundle.js");
    process::run(
        "esbuild",
        tools
            .command("esbuild")
            .args(BUNDLE)
            .arg("worker.mjs")
            .arg(format!("--outfile={}", bundle.display()))
            .current_dir(&bound),
        "Its message is above",
    )?;
    fs::create_dir_all(into).with_context(|| format!("cannot make {}", into.display()))?;
    process::run(
        "wasm-opt",
        tools
            .command("wasm-opt")
            .args(OPTIMIZE)
            .args(FEATURES)
            .arg(bound.join("index_bg.wasm"))
            .arg("-o")
            .arg(into.join("index_bg.wasm")),
        "Its message is above",
    )?;
    fs::copy(&bundle, into.join("index.js")).context("cannot write into build/")?;
    Ok(())
}

/// All that the content of `build/` depends on: what cargo made, and what is done with it.
fn recipe(tools: &Tools, wasm: &Path) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    for file in [wasm, &root().join(ENTRY), &root().join("package-lock.json")] {
        fs::read(file)
            .with_context(|| format!("cannot read {}", file.display()))?
            .hash(&mut hasher);
    }
    (BIND, BUNDLE, FEATURES, OPTIMIZE).hash(&mut hasher);
    Ok(format!("wasm-bindgen {}, {:016x}", tools.wasm_bindgen_version()?, hasher.finish()))
}

/// Where the Worker is compiled: this clone's own folder, also where the user shares one among
/// projects. Cargo gives a cdylib's file no hash, so that two clones would take each other's Worker
/// for their own.
pub fn target_folder() -> PathBuf {
    root().join("target")
}

/// How cargo is called by the other commands.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}
