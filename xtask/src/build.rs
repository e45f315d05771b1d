//! `cargo xtask build`: the Worker into `build/`.

use std::{
    collections::BTreeMap,
    env,
    fs::{self, File, Permissions},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

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

/// The classes that linker.sh leaves out and that a Worker might come to need: streams made in Rust.
const STREAMS: [&str; 3] =
    ["IntoUnderlyingByteSource", "IntoUnderlyingSink", "IntoUnderlyingSource"];

/// What esbuild is told. Without the two names, it drops the classes that `worker` exports, and closures
/// are freed where Rust drops them, without a register of each.
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
/// worse than the call, but for the shims around an import, and functions compress better beside their
/// like: 4 % and 3 % of the upload. The low memory is the stack's end, which nothing reaches that is not
/// about to trap: so an offset may be part of an access, and needs no addition.
const OPTIMIZE: [&str; 12] = [
    "-Os",
    "--low-memory-unused",
    "--always-inline-max-function-size=0",
    "--flexible-inline-max-function-size=0",
    "--one-caller-inline-max-function-size=40",
    "--skip-pass=local-cse",
    "--skip-pass=memory-packing",
    "--dealign",
    "--reorder-functions-by-name",
    "--strip-debug",
    "--strip-producers",
    "--strip-target-features",
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
            .env("CARGO_TARGET_DIR", target_folder())
            .env("CARGO_ENCODED_RUSTFLAGS", compiler_flags()?),
        "The compiler's message is above",
    )?;
    let folder = target_folder().join(WASM_TARGET).join("release");
    Ok(folder.join(package.replace('-', "_")).with_extension("wasm"))
}

/// What the compiler is told: to link with linker.sh, and paths in the messages of panics that are the
/// same wherever it runs, and tell nothing of this machine.
fn compiler_flags() -> Result<String> {
    let rustc = |argument: [&str; 2]| {
        let mut command = Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        process::output("rustc", command.args(argument), "Is Rust installed?")
    };
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(env::home_dir()?.join(".cargo")));
    let packages = home.context("no home folder; set CARGO_HOME")?.join("registry/src");
    // None where all packages are vendored.
    let folders = fs::read_dir(packages).into_iter().flatten().flatten();
    let mut paths: Vec<(PathBuf, String)> =
        folders.map(|folder| (folder.path(), String::new())).collect();
    // As the standard library's own build names its sources.
    let version = rustc(["--version", "--verbose"])?;
    let commit = version.lines().find_map(|line| line.strip_prefix("commit-hash: "));
    let library = Path::new(rustc(["--print", "sysroot"])?.trim()).join("lib/rustlib/src/rust");
    paths.push((library, format!("/rustc/{}", commit.unwrap_or_default())));

    let mut flags = vec![format!("-Clinker={}", linker()?.display())];
    flags.extend(
        paths.iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display())),
    );
    // Cargo's separator, so that a folder's name may have a blank in it.
    Ok(flags.join("\x1f"))
}

/// linker.sh, where it can be run; by another name once it says something else, so that cargo links anew.
fn linker() -> Result<PathBuf> {
    let script = include_str!("linker.sh");
    let mut hasher = DefaultHasher::new();
    script.hash(&mut hasher);
    let file = target_folder().join(format!("linker-{:016x}", hasher.finish()));
    if !file.is_file() {
        // Written beside it, and moved: another build may be about to run it.
        let whole = file.with_extension(std::process::id().to_string());
        fs::create_dir_all(target_folder()).context("cannot make target/")?;
        fs::write(&whole, script).context("cannot write into target/")?;
        fs::set_permissions(&whole, Permissions::from_mode(0o755))?;
        fs::rename(&whole, &file)?;
    }
    Ok(file)
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
    if let Some(class) = STREAMS.iter().find(|it| text.contains(&format!("{it}.__wrap("))) {
        bail!(
            "the Worker makes a stream, and xtask/src/linker.sh leaves out the methods of {class}: take \
             its name out there, and out of STREAMS in xtask/src/build.rs"
        );
    }
    // The runtime gives a module of Wasm by a plain import.
    let mut text = text.replace("import source ", "import ").into_bytes();
    let mut wasm = fs::read(&module).context("wasm-bindgen has written no index_bg.wasm")?;
    number_imports(&mut text, &mut wasm);
    fs::write(&glue, &text)?;
    fs::write(&module, wasm)?;
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
            .arg(&module)
            .arg("-o")
            .arg(into.join("index_bg.wasm")),
        "Its message is above",
    )?;
    fs::copy(&bundle, into.join("index.js")).context("cannot write into build/")?;
    Ok(())
}

/// Numbers the imports on both sides, in names as long as wasm-bindgen's: those are 2 % of the upload.
fn number_imports(glue: &mut [u8], wasm: &mut [u8]) {
    const PREFIX: &[u8] = b"__wb";
    let is_of_a_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let mut numbers: BTreeMap<Vec<u8>, String> = BTreeMap::new();
    for (is_glue, text) in [(true, glue), (false, wasm)] {
        let mut rest = text;
        while let Some(start) = rest.windows(PREFIX.len()).position(|it| it == PREFIX) {
            let (_, from_name) = rest.split_at_mut(start);
            let length = from_name.iter().take_while(|byte| is_of_a_name(byte)).count();
            let (name, after) = from_name.split_at_mut(length);
            // In the glue, each import is a field of an object.
            if numbers.contains_key(name) || (is_glue && after.starts_with(b": ")) {
                let next = format!("{:_>length$}", numbers.len());
                let number = numbers.entry(name.to_vec()).or_insert(next);
                name.copy_from_slice(number.as_bytes());
            }
            rest = after;
        }
    }
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
    fn imports_are_numbered_alike_on_both_sides() {
        let mut glue =
            b"{ __wbg_get_d1be: function(a) { wasm.__wbindgen_free(a) }, __wbg_set_03: x }"
                .to_vec();
        let mut wasm = b"\x0c__wbg_set_03\0\x0e__wbg_get_d1be\0\x0f__wbindgen_free\0".to_vec();
        number_imports(&mut glue, &mut wasm);
        assert_eq!(
            glue,
            b"{ _____________0: function(a) { wasm.__wbindgen_free(a) }, ___________1: x }"
        );
        assert_eq!(wasm, b"\x0c___________1\0\x0e_____________0\0\x0f__wbindgen_free\0");
    }
}
