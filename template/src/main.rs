//! Makes a project of this template, in the current folder: gives it its name, and takes out the parts
//! that it does not want and all that is the template's own. `cargo-generate.toml` has it run by
//! `cargo generate`.
//!
//! The code has no marks for it. A part is a cargo feature; to take it out is to delete what stands
//! under its `#[cfg(feature = "…")]` (by `cut`), its files, and its settings.

mod cut;
mod files;
mod parts;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use crate::{
    files::{Result, edit},
    parts::{PARTS, Part, TEMPLATE},
};

/// The template's own name, as a package and in code.
const OWN_NAME: &str = "secrets-store-gateway";

/// Where its name is that of a cache of tools, which projects share.
const KEEPS_NAME: &str = "xtask/src/tools.rs";

fn main() -> ExitCode {
    match run(&env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let (name, left_out) = read(arguments)?;
    let root = env::current_dir().map_err(|error| error.to_string())?;
    // It changes the folder that it runs in, and deletes files.
    if root.join(".git").exists() {
        return Err("this is a git clone, and not the copy that `cargo generate` makes: run \
                    `cargo generate --path <this folder>` in another folder"
            .to_owned());
    }
    for part in left_out.iter().chain([&&TEMPLATE]) {
        part.take_out(&root)?;
    }
    let left_out: Vec<_> = left_out.iter().map(|it| it.title).collect();
    introduce(&root, name, &left_out)?;
    rename(&root, name)?;
    files::unlink(&root)?;
    // What is left keeps its versions; the lock files get the new name, in their order.
    for manifest in ["Cargo.toml", "fuzz/Cargo.toml"] {
        cargo(&root, &["update", "--quiet", "--workspace", "--manifest-path", manifest])?;
    }
    cargo(&root, &["fmt", "--all"])
}

/// The name, and the parts that are left out: `--name N`, and for each part `--<feature> true|false`.
fn read(arguments: &[String]) -> Result<(&str, Vec<&'static Part>)> {
    let value = |option: &str| {
        let given = arguments.chunks(2).find(|it| it.first().is_some_and(|it| it == option));
        given.and_then(|it| it.get(1)).ok_or_else(|| format!("{option} is missing"))
    };
    let name = value("--name")?;
    check(name)?;
    let mut left_out = Vec::new();
    for part in PARTS {
        match value(&format!("--{}", part.feature))?.as_str() {
            "true" => {}
            "false" => left_out.push(part),
            other => return Err(format!("--{} is true or false, not {other}", part.feature)),
        }
    }
    Ok((name, left_out))
}

/// A name that a Worker can have, and a package beside the others.
fn check(name: &str) -> Result<()> {
    let of_a_name = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '-';
    let is_name = name.starts_with(|it: char| it.is_ascii_lowercase())
        && name.chars().all(of_a_name)
        && !name.ends_with('-')
        && name.len() <= 63;
    if !is_name {
        return Err(format!(
            "{name} cannot be a Worker's name: up to 63 of a-z, 0-9 and '-', a letter first"
        ));
    }
    let lock = fs::read_to_string("Cargo.lock").unwrap_or_default();
    if lock.lines().any(|it| it == format!("name = \"{name}\"")) && name != OWN_NAME {
        return Err(format!("{name} is the name of a package that is used here; take another"));
    }
    Ok(())
}

/// The README begins with the project's name, and says what it came from.
fn introduce(root: &Path, name: &str, left_out: &[&str]) -> Result<()> {
    let without = match left_out {
        [] => String::new(),
        parts => {
            format!(" It leaves out {}, which this page still speaks of.", parts.join(" and "))
        }
    };
    edit(&root.join("README.md"), |text| {
        let (title, rest) = text.split_once('\n').unwrap_or((text, ""));
        let title = title.trim_start_matches(['#', ' ']);
        format!("# {name}\n\nMade of the template “{title}”, whose page follows.{without}\n{rest}")
    })
}

/// The project's name in place of the template's, in all that is text.
fn rename(root: &Path, name: &str) -> Result<()> {
    let (own_code, code) = (OWN_NAME.replace('-', "_"), name.replace('-', "_"));
    for file in files::all(root)? {
        if file == root.join(KEEPS_NAME) {
            continue;
        }
        edit(&file, |text| text.replace(OWN_NAME, name).replace(&own_code, &code))?;
    }
    Ok(())
}

fn cargo(root: &Path, arguments: &[&str]) -> Result<()> {
    let cargo = env::var_os("CARGO").map_or(PathBuf::from("cargo"), PathBuf::from);
    let status = Command::new(cargo).args(arguments).current_dir(root).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(format!("`cargo {}` failed; its message is above", arguments.join(" "))),
        Err(error) => Err(format!("cannot run cargo: {error}")),
    }
}
