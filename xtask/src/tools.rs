//! The tools that the build and the local runtime need, each at a pinned version. Those that took
//! long to fetch are kept in the user's cache folder, so that a second clone starts fast.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{build, process, root, step};

/// The oldest Node.js that wrangler runs on, and the one that is fetched where the user's is older.
const OLDEST_NODE: (u32, u32) = (22, 12);
const NODE: &str = "24.21.0";

const TWIGGY: &str = "0.8.0";

/// What the Worker is compiled for.
pub const WASM_TARGET: &str = "wasm32-unknown-unknown";

const TRY_AGAIN: &str = "Its message is above. Is the network there, and npm's registry the right one (`npm \
                         config get registry`)? Then run the command again: it goes on where it stopped";

/// The tools, all of them there.
#[derive(Debug, Clone)]
pub struct Tools {
    /// `PATH` with the tools first.
    path: OsString,
    /// The folder of wasm-bindgen.
    bin: PathBuf,
}

impl Tools {
    /// Fetches what is missing.
    ///
    /// # Errors
    ///
    /// What could not be fetched, and what to do about it.
    pub fn ensure() -> Result<Self> {
        Self::ensure_with(|cache| {
            ensure_wasm_target()?;
            ensure_wasm_bindgen(cache)
        })
    }

    /// Fetches what is missing of the npm side, wrangler above all, and nothing to build with.
    ///
    /// # Errors
    ///
    /// As [`ensure`](Self::ensure).
    pub fn ensure_npm_side() -> Result<Self> {
        Self::ensure_with(|_| Ok(PathBuf::new()))
    }

    fn ensure_with(build_tools: impl FnOnce(&Path) -> Result<PathBuf>) -> Result<Self> {
        let cache = cache_folder()?;
        fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
        // Two clones that start at once fetch one after the other.
        let lock = cache.join("lock");
        let lock =
            fs::File::create(&lock).with_context(|| format!("cannot write {}", lock.display()))?;
        lock.lock().context("cannot lock the cache folder")?;

        let node = ensure_node(&cache)?;
        let mut folders: Vec<PathBuf> = node.iter().cloned().collect();
        let path = |folders: &[PathBuf]| {
            let inherited = env::var_os("PATH").unwrap_or_default();
            env::join_paths(folders.iter().cloned().chain(env::split_paths(&inherited)))
        };
        npm_ci(&root(), "wrangler, workerd, esbuild and wasm-opt", &path(&folders)?)?;
        link_node(node.as_deref())?;
        let bin = build_tools(&cache)?;
        folders.push(root().join("node_modules/.bin"));
        Ok(Self { path: path(&folders)?, bin })
    }

    /// A command that finds the tools.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(root())
            .env("PATH", &self.path)
            .env("WRANGLER_SEND_METRICS", "false")
            // Where a caller is in the world is asked for on the internet, and not needed here.
            .env("CLOUDFLARE_CF_FETCH_ENABLED", "false");
        command
    }

    /// `wrangler`.
    pub fn wrangler(&self) -> Command {
        self.command(root().join("node_modules/.bin/wrangler"))
    }

    /// Installs the npm packages of a folder, `what` they are, unless they are there.
    ///
    /// # Errors
    ///
    /// What npm says.
    pub fn npm_ci(&self, folder: &Path, what: &str) -> Result<()> {
        npm_ci(folder, what, &self.path)
    }

    /// `wasm-bindgen`.
    pub fn wasm_bindgen(&self) -> Command {
        self.command(self.bin.join("wasm-bindgen"))
    }

    /// `twiggy`, which tells what makes Wasm large. Nothing else needs it, so it is fetched here.
    ///
    /// # Errors
    ///
    /// What could not be fetched.
    pub fn ensure_twiggy(&self) -> Result<PathBuf> {
        Ok(ensure_cargo_tool(&cache_folder()?, "twiggy", "twiggy", TWIGGY)?.join("twiggy"))
    }

    /// `workerd`, the runtime itself and not the script that starts it.
    ///
    /// # Errors
    ///
    /// Where npm has brought none for this machine.
    pub fn workerd(&self) -> Result<PathBuf> {
        let packages = root().join("node_modules/@cloudflare");
        let found = fs::read_dir(&packages).into_iter().flatten().flatten().find_map(|entry| {
            let program = entry.path().join("bin/workerd");
            program.is_file().then_some(program)
        });
        found.with_context(|| {
            format!("no workerd in {}; remove node_modules and run again", packages.display())
        })
    }

    /// The version of wasm-bindgen.
    ///
    /// # Errors
    ///
    /// A Cargo.lock that does not tell.
    pub fn wasm_bindgen_version(&self) -> Result<String> {
        locked_version("wasm-bindgen")
    }
}

/// Where tools are kept.
fn cache_folder() -> Result<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| Some(env::home_dir()?.join(".cache")))
        .context("no home folder to keep tools in; set XDG_CACHE_HOME")?;
    Ok(cache.join("secrets-store-gateway"))
}

/// Node.js: the folder of one that was fetched, where the user's is too old for wrangler.
fn ensure_node(cache: &Path) -> Result<Option<PathBuf>> {
    let version = process::output(
        "asking Node.js for its version",
        Command::new("node").arg("--version"),
        "Install Node.js with npm: any version, a newer one is fetched where wrangler needs it",
    )?;
    if parse_version(&version).is_some_and(|version| version >= OLDEST_NODE) {
        return Ok(None);
    }
    let folder = cache.join(format!("node-{NODE}"));
    let bin = folder.join("node_modules/node/bin");
    if !bin.join("node").is_file() {
        step(&format!(
            "Node.js {NODE}: yours is {}, wrangler needs {}.{}; yours stays as it is",
            version.trim(),
            OLDEST_NODE.0,
            OLDEST_NODE.1
        ));
        fs::create_dir_all(&folder)?;
        process::run(
            "fetching Node.js",
            Command::new("npm")
                .args(["install", "--no-audit", "--no-fund", "--loglevel=error", "--prefix"])
                .arg(&folder)
                .arg(format!("node@{NODE}"))
                .stdout(std::io::stderr()),
            TRY_AGAIN,
        )?;
    }
    if !bin.join("node").is_file() {
        bail!(
            "npm has put no program into {}; remove {} and run again",
            bin.display(),
            folder.display()
        );
    }
    Ok(Some(bin))
}

/// The npm packages of a folder, as its package-lock.json has them.
fn npm_ci(folder: &Path, what: &str, path: &OsStr) -> Result<()> {
    let lock = folder.join("package-lock.json");
    let lock = fs::read(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
    // Written last, so that an installation that was stopped is done again.
    let stamp = folder.join("node_modules/.installed-package-lock.json");
    if fs::read(&stamp).ok().as_ref() == Some(&lock) {
        return Ok(());
    }
    step(&format!("{what}, by npm"));
    process::run(
        "npm ci",
        Command::new("npm")
            .args(["ci", "--no-audit", "--no-fund", "--loglevel=error"])
            .current_dir(folder)
            .env("PATH", path)
            // What is fetched is no answer of the command that needs it.
            .stdout(std::io::stderr()),
        TRY_AGAIN,
    )?;
    fs::write(&stamp, &lock).with_context(|| format!("cannot write {}", stamp.display()))
}

/// `npx wrangler` runs what is in node_modules/.bin first: so it too gets the newer Node.js. Where the
/// Node.js at hand is new enough, a link from before stays: it may be at hand because of it.
fn link_node(node: Option<&Path>) -> Result<()> {
    let link = root().join("node_modules/.bin/node");
    if let Some(program) = node.map(|bin| bin.join("node"))
        && fs::read_link(&link).ok().as_ref() != Some(&program)
    {
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(program, &link).context("cannot link the newer Node.js")?;
    }
    Ok(())
}

fn ensure_wasm_target() -> Result<()> {
    let sysroot = process::output(
        "asking rustc for its folder",
        Command::new("rustc").args(["--print", "sysroot"]),
        "Install Rust by rustup (https://rustup.rs)",
    )?;
    if Path::new(sysroot.trim()).join("lib/rustlib").join(WASM_TARGET).is_dir() {
        return Ok(());
    }
    step(&format!("Rust's target {WASM_TARGET}"));
    process::run(
        "adding the target",
        Command::new("rustup").args(["target", "add", WASM_TARGET]),
        "Without rustup, install this target for your Rust by other means",
    )
}

/// wasm-bindgen's command line.
fn ensure_wasm_bindgen(cache: &Path) -> Result<PathBuf> {
    ensure_cargo_tool(cache, "wasm-bindgen-cli", "wasm-bindgen", &locked_version("wasm-bindgen")?)
}

/// A program of a package, compiled from source into a folder of the cache: the folder it is in.
fn ensure_cargo_tool(cache: &Path, package: &str, program: &str, version: &str) -> Result<PathBuf> {
    let folder = cache.join(format!("{program}-{version}"));
    let bin = folder.join("bin");
    if bin.join(program).is_file() {
        return Ok(bin);
    }
    step(&format!("{program} {version}, by cargo: a minute or two, once"));
    // Else cargo says that the folder should be on PATH.
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths(env::split_paths(&path).chain([bin.clone()]))?;
    // Kept until all is built, so that a run that was stopped goes on where it was.
    let target = folder.join("target");
    process::run(
        "cargo install",
        build::cargo()
            // It compiles in half the time so, and runs for a second or two.
            .args(["install", "--locked", "--debug", "--root"])
            .arg(&folder)
            .arg(format!("{package}@{version}"))
            .env("PATH", path)
            .env("CARGO_TARGET_DIR", &target)
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .env_remove("RUSTFLAGS")
            .current_dir(cache),
        "A C compiler is needed (cc). If it is there, is the network? Run the command again: it \
         goes on where it stopped",
    )?;
    let _ = fs::remove_dir_all(&target);
    Ok(bin)
}

/// The version of a package in Cargo.lock.
fn locked_version(package: &str) -> Result<String> {
    #[derive(serde::Deserialize)]
    struct Lock {
        package: Vec<Package>,
    }
    #[derive(serde::Deserialize)]
    struct Package {
        name: String,
        version: String,
    }
    let text = fs::read_to_string(root().join("Cargo.lock")).context("cannot read Cargo.lock")?;
    let lock: Lock = toml::from_str(&text).context("cannot read Cargo.lock")?;
    let found = lock.package.into_iter().find(|it| it.name == package);
    Ok(found.with_context(|| format!("Cargo.lock has no {package}"))?.version)
}

/// The first two numbers of a version such as `v22.12.0`.
fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim().trim_start_matches('v').split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_compared_by_its_numbers() {
        assert_eq!(parse_version("v22.12.0\n"), Some((22, 12)));
        assert!(parse_version("v20.20.2").unwrap() < OLDEST_NODE);
        assert!(parse_version("v22.9.0").unwrap() < OLDEST_NODE);
        assert!(parse_version(NODE).unwrap() >= OLDEST_NODE);
        assert_eq!(parse_version("none"), None);
    }

    #[test]
    fn wasm_bindgen_is_in_the_lock_file() {
        assert!(locked_version("wasm-bindgen").unwrap().starts_with("0.2."));
        assert!(locked_version("no-such-package").is_err());
    }
}
