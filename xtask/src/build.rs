//! `cargo xtask build`: the Worker into `build/`.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fs::{self, File},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

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
/// worse than the call, and functions compress better beside their like: 4 % and 3 % of the upload.
const OPTIMIZE: [&str; 8] = [
    "-Os",
    "--always-inline-max-function-size=0",
    "--flexible-inline-max-function-size=0",
    "--one-caller-inline-max-function-size=0",
    "--dealign",
    "--reorder-functions-by-name",
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
    let (glue, module) = (bound.join("index.js"), bound.join("index_bg.wasm"));
    let text = fs::read_to_string(&glue).context("wasm-bindgen has written no index.js")?;
    // The runtime gives a module of Wasm by a plain import.
    let mut text = text.replace("import source ", "import ").into_bytes();
    let mut wasm = fs::read(&module).context("wasm-bindgen has written no index_bg.wasm")?;
    number_hashes(&mut text, &mut wasm);
    fs::write(&glue, &text)?;
    fs::write(&module, wasm)?;
    let text = String::from_utf8(text).context("wasm-bindgen has written no text")?;
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
    let graph = bound.join("graph.json");
    fs::write(&graph, used_exports(&text, &fs::read_to_string(&bundle)?).to_string())?;
    let used = bound.join("used.wasm");
    process::run(
        "wasm-metadce",
        tools
            .command("wasm-metadce")
            .args(FEATURES)
            .arg("--debuginfo")
            .arg(format!("--graph-file={}", graph.display()))
            .arg(&module)
            .arg("-o")
            .arg(&used)
            .stdout(Stdio::null()),
        "Its message is above",
    )?;
    process::run(
        "wasm-opt",
        tools
            .command("wasm-opt")
            .args(OPTIMIZE)
            .args(FEATURES)
            .arg(&used)
            .arg("-o")
            .arg(into.join("index_bg.wasm")),
        "Its message is above",
    )?;
    fs::copy(&bundle, into.join("index.js")).context("cannot write into build/")?;
    Ok(())
}

/// Numbers the hashes at the end of the imports' names, on both sides alike: 16 random digits each, which
/// do not compress, 1 % of the upload.
fn number_hashes(glue: &mut [u8], wasm: &mut [u8]) {
    const DIGITS: usize = 16;
    let is_hash =
        |text: &[u8]| text.iter().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte));
    let mut known: BTreeMap<Vec<u8>, String> = BTreeMap::new();
    for (is_glue, text) in [(true, glue), (false, wasm)] {
        for at in 0..text.len() {
            let Some([b'_', hash @ ..]) = text.get_mut(at..=at + DIGITS) else { continue };
            let is_known = known.contains_key(hash);
            if is_known || (is_glue && is_hash(hash)) {
                let number = known.len();
                let number = known.entry(hash.to_vec()).or_insert_with(|| format!("{number:016}"));
                hash.copy_from_slice(number.as_bytes());
            }
        }
    }
}

/// The exports that the bundle still uses of those that wasm-bindgen's `glue` does, as a graph for
/// wasm-metadce, which drops all that none of them reaches.
fn used_exports(glue: &str, bundle: &str) -> Value {
    let is_of_a_name = |c: char| c.is_ascii_alphanumeric() || "_$".contains(c);
    let after = glue.split("wasm.").skip(1);
    let names = after.map(|it| it.split(|c| !is_of_a_name(c)).next().unwrap_or_default());
    let used: BTreeSet<&str> =
        names.filter(|name| !name.is_empty() && bundle.contains(&format!(".{name}"))).collect();
    let export = |name: &&str| json!({ "name": name, "export": name });
    let mut graph = vec![json!({ "name": "bundle", "root": true, "reaches": used })];
    graph.extend(used.iter().map(export));
    Value::Array(graph)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_numbered_alike_on_both_sides() {
        let mut glue = b"__wbg_get_d1be46ee9f51a100: x, __wbg_set_0380ccaa2f57f0d9: y".to_vec();
        let mut wasm = b"\x1a__wbg_set_0380ccaa2f57f0d9\0__wbg_get_d1be46ee9f51a100".to_vec();
        number_hashes(&mut glue, &mut wasm);
        assert_eq!(glue, b"__wbg_get_0000000000000000: x, __wbg_set_0000000000000001: y");
        assert_eq!(wasm, b"\x1a__wbg_set_0000000000000001\0__wbg_get_0000000000000000");
    }

    #[test]
    fn an_export_is_kept_where_the_bundle_uses_it() {
        let glue = "wasm.fetch(a); class A { free() { wasm.__wbg_a_free(p) } }\nwasm = x; wasm.memory.buffer";
        let graph = used_exports(glue, "let i;i.fetch(a);i.memory.buffer");
        assert_eq!(
            graph,
            json!([
                { "name": "bundle", "root": true, "reaches": ["fetch", "memory"] },
                { "name": "fetch", "export": "fetch" },
                { "name": "memory", "export": "memory" },
            ])
        );
    }
}
