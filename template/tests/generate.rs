//! Projects made of this template by cargo-generate itself, of the working tree as it is: with all parts,
//! and with none. What each is to do is what is run in it here; `cargo xtask test` in one does the rest.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test, a panic is how a claim fails"
)]

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::common::{cargo, copy_of_the_sources, empty_folder};

/// A project, with these answers to what is asked for.
fn generate(name: &str, answers: &[&str]) -> PathBuf {
    let folder = empty_folder(name);
    let template = folder.join("template");
    copy_of_the_sources(&template);
    let mut command = Command::new(env!("CARGO"));
    command.args(["run", "--quiet", "--locked", "--example", "cargo-generate"]);
    command.arg("--manifest-path").arg(common::root().join("template/Cargo.toml")).arg("--");
    command.arg("generate").arg("--path").arg(&template).arg("--destination").arg(&folder);
    command.args(["--name", name, "--vcs", "none", "--silent", "--allow-commands"]);
    // It is below this workspace, and no member of it.
    command.arg("--no-workspace");
    command.args(answers.iter().flat_map(|it| ["--define", it]));
    // It wants to know who the author is.
    let output = command.env("USER", "somebody").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    folder.join(name)
}

/// What a project is to be, whatever it has of the template.
fn works(project: &Path, name: &str) {
    for gone in ["cargo-generate.toml", "template", ".ci", ".git", "CHANGELOG.md", "target"] {
        assert!(!project.join(gone).exists(), "{gone} is the template's own");
    }
    let manifest = fs::read_to_string(project.join("Cargo.toml")).unwrap();
    assert!(manifest.contains(&format!("name = \"{name}\"")), "{manifest}");
    for (file, text) in common::texts(project) {
        let is_cache = file.ends_with("xtask/src/tools.rs");
        assert!(is_cache || !text.contains("secrets-store-gateway"), "{}", file.display());
        assert!(!text.contains("feature = \"template\""), "{}", file.display());
    }
    compiles(project);
    cargo(project, &["doc", "--quiet", "--workspace", "--no-deps", "--locked"]);
    let wasm = ["--target", "wasm32-unknown-unknown"];
    cargo(project, &[&["build", "--quiet", "--lib", "--release", "--locked"], &wasm[..]].concat());
    cargo(project, &["test", "--quiet", "--workspace", "--lib", "--locked"]);
}

fn compiles(project: &Path) {
    cargo(project, &["fmt", "--all", "--check"]);
    let lints = ["clippy", "--quiet", "--workspace", "--all-targets", "--locked"];
    cargo(project, &[&lints[..], &["--", "-Dwarnings"]].concat());
}

#[test]
fn each_part_may_be_left_out_alone() {
    compiles(&generate("no-demo", &["demo=false"]));
    compiles(&generate("no-rest", &["rest_api=false"]));
}

#[test]
fn a_project_with_all_parts_works() {
    let project = generate("my-gateway", &[]);
    works(&project, "my-gateway");
    for kept in ["local-api", "src/gateway/administration", "xtask/src/demo.rs"] {
        assert!(project.join(kept).exists(), "{kept} is part of it");
    }
}

#[test]
fn a_project_without_the_parts_that_can_be_left_out_works() {
    let project = generate("bare", &["demo=false", "rest_api=false"]);
    works(&project, "bare");
    for gone in ["local-api", "src/gateway/administration", "xtask/src/demo.rs", "docs/rest-api.md"]
    {
        assert!(!project.join(gone).exists(), "{gone} was to be left out");
    }
    for (file, text) in common::texts(&project) {
        for left in ["feature = \"demo\"", "feature = \"rest-api\"", "local_api", "rest-api.md)"] {
            assert!(!text.contains(left), "{left} in {}", file.display());
        }
    }
    let wrangler = fs::read_to_string(project.join("wrangler.toml")).unwrap();
    assert!(!wrangler.contains("SECRETS_STORE_API") && !wrangler.contains("demo"), "{wrangler}");
    let values = fs::read_to_string(project.join("secrets.dev.toml")).unwrap();
    assert!(!values.contains("dev-only"), "nothing is bound: {values}");
    assert!(wrangler.contains("[env.production.vars.UPSTREAMS.example]"), "{wrangler}");
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_changed() {
    let folder = empty_folder("refused");
    common::copy("Cargo.lock", &folder, "Cargo.lock");
    let refuses = |name: &str, told: &str| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_template"));
        program.args(["--name", name, "--demo", "true", "--rest-api", "true"]);
        let output = program.current_dir(&folder).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains(told), "{name}: {error}");
        assert!(folder.join("Cargo.lock").is_file());
    };
    for name in ["My", "1st", "a_b", "a-", "", "ü", &"a".repeat(64)] {
        refuses(name, "cannot be a Worker's name");
    }
    refuses("local-api", "is the name of a package that is used here");
    // It would change a clone, and not a copy of it.
    fs::create_dir(folder.join(".git")).unwrap();
    refuses("my-gateway", "this is a git clone");
}
