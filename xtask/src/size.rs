//! `cargo xtask size`: how large the upload is, and what makes it so.

use std::{collections::BTreeMap, fs, io::Write as _, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use flate2::{Compression, write::GzEncoder};
use serde::Deserialize;

use crate::{
    build, process, root, step,
    tools::{Tools, WASM_TARGET},
};

/// The most that the upload may have, in bytes, gzipped. A cold start loads all of it.
pub const BUDGET: usize = 100 * 1024;

/// How many contributors are named.
const NAMED: usize = 30;

/// Prints the sizes, and the biggest contributors.
///
/// # Errors
///
/// A build or a tool that fails.
pub fn run() -> Result<()> {
    let tools = Tools::ensure()?;
    build::with(&tools)?;
    let (wasm, glue) = upload()?;
    println!(
        "{} bytes gzipped of {BUDGET}: index_bg.wasm {wasm}, index.js {glue}\n\n{}",
        wasm + glue,
        contributors(&tools)?
    );
    Ok(())
}

/// Whether what was built keeps the budget.
///
/// # Errors
///
/// Where it does not, with the biggest contributors.
pub fn check(tools: &Tools) -> Result<()> {
    let (wasm, glue) = upload()?;
    let size = wasm + glue;
    if size > BUDGET {
        bail!(
            "the upload has {size} bytes gzipped (index_bg.wasm {wasm}, index.js {glue}), {} more than \
             it may have. Make it smaller, or say in xtask/src/size.rs why it may be larger. Before \
             wasm-opt, in bytes:\n{}",
            size - BUDGET,
            contributors(tools)?
        );
    }
    println!("{size} bytes gzipped, of {BUDGET}");
    Ok(())
}

/// The two files' sizes, gzipped: within a few hundred bytes of what wrangler prints.
fn upload() -> Result<(usize, usize)> {
    let gzipped = |name: &str| {
        let file = root().join("build").join(name);
        let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&bytes)?;
        Ok::<_, anyhow::Error>(encoder.finish()?.len())
    };
    Ok((gzipped("index_bg.wasm")?, gzipped("index.js")?))
}

/// The biggest functions, and what each crate has, by twiggy: of the Wasm before its names are gone.
fn contributors(tools: &Tools) -> Result<String> {
    #[derive(Deserialize)]
    struct Item {
        name: String,
        shallow_size: u64,
    }
    let twiggy = tools.ensure_twiggy()?;
    step("the biggest contributors, by twiggy");
    let mut command = tools.command(twiggy);
    command.args(["top", "--format", "json"]).arg(named_wasm());
    let items = process::output("twiggy", &mut command, "`cargo xtask build` makes what it reads")?;
    let items: Vec<Item> = serde_json::from_str(&items).context("twiggy printed no JSON")?;
    let items: Vec<Item> = items.into_iter().filter(|it| !it.name.contains("section")).collect();

    let mut crates: BTreeMap<String, u64> = BTreeMap::new();
    for item in &items {
        *crates.entry(crate_of(&item.name)).or_default() += item.shallow_size;
    }
    let mut crates: Vec<_> = crates.into_iter().collect();
    crates.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    let crates = crates.iter().take(NAMED / 2).map(|(name, size)| format!("{size:8}  {name}"));
    let functions =
        items.iter().take(NAMED).map(|it| format!("{:8}  {}", it.shallow_size, short(&it.name)));
    let lines: Vec<String> = crates.chain([String::new()]).chain(functions).collect();
    Ok(lines.join("\n"))
}

/// What wasm-bindgen wrote: with its names.
fn named_wasm() -> PathBuf {
    let release = build::target_folder().join(WASM_TARGET).join("release");
    release.join("secrets_store_gateway.bound/index_bg.wasm")
}

/// The crate of a function: the first path in its name.
fn crate_of(name: &str) -> String {
    let is_of_a_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let name = name.trim_start_matches(|c| !is_of_a_name(c));
    let end = name.find(|c| !is_of_a_name(c)).unwrap_or(name.len());
    let (first, rest) = name.split_at_checked(end).unwrap_or((name, ""));
    if rest.starts_with("::") || rest.starts_with('[') {
        first.to_owned()
    } else {
        "other".to_owned()
    }
}

/// A name without its hash, and not too long for a line.
fn short(name: &str) -> String {
    let name = name.rsplit_once("::h").map_or(name, |(name, _)| name);
    name.chars().take(110).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_its_crates() {
        for (name, is_of) in [
            ("secrets_store_gateway::router::respond::h0123", "secrets_store_gateway"),
            ("<core::str::Split<P> as core::iter::Iterator>::next::h1", "core"),
            ("<&mut serde_json::ser::Serializer<W>>::x", "other"),
            ("data segment \".rodata\"", "other"),
            ("alloc[0123]::vec::Vec", "alloc"),
        ] {
            assert_eq!(crate_of(name), is_of, "{name}");
        }
    }
}
