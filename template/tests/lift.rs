//! `src/secrets/` alone, in the shape of the official hello world: what the README says that it takes is
//! all that it takes.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is how a claim fails")]

mod common;

use std::fs;

use crate::common::{cargo, copy, empty_folder, root, sources};

/// The official template's `src/lib.rs`, with one secret.
const HELLO_WORLD: &str = r#"
use worker::*;

mod allocator;
mod secrets;

use secrets::Secrets;

#[event(fetch)]
async fn fetch(_req: Request, env: Env, _ctx: Context) -> Result<Response> {
    match Secrets::new(env).get("API_KEY").await {
        Ok(_) => Response::ok("Hello World!"),
        Err(error) => {
            console_error!("{error}");
            Response::error("Configuration error", 500)
        }
    }
}
"#;

/// The official template's `Cargo.toml`, up to its dependencies.
const MANIFEST: &str = r#"
[package]
name = "hello-world"
version = "0.1.0"
edition = "2024"

[package.metadata.release]
release = false

[lib]
crate-type = ["cdylib"]

# It stands in a folder of ours, and is none of our workspace.
[workspace]

"#;

/// The workspace's profile, so that the dependencies are not compiled once more with another.
fn profile() -> String {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let (_, profile) = manifest.split_once("[profile.release]").unwrap();
    format!("[profile.release]{profile}")
}

/// The README's lines on what the module stands on.
fn dependencies() -> String {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let blocks = readme.split("```toml\n").skip(1).filter_map(|it| it.split("```").next());
    let mut found = blocks.filter(|it| it.starts_with("[dependencies]"));
    let dependencies = found.next().expect("the README lists the dependencies of src/secrets/");
    assert!(found.next().is_none(), "which of the README's lists is it?");
    dependencies.to_owned()
}

#[test]
fn the_module_works_in_a_worker_of_its_own() {
    let worker = &empty_folder("hello-world");
    let module = |it: &String| it.starts_with("src/secrets/");
    for file in sources().iter().filter(|it| module(it)) {
        copy(file, worker, file);
    }
    for file in ["src/allocator.rs", "clippy.toml"] {
        copy(file, worker, file);
    }
    // With the versions that everything else is tested with.
    copy("Cargo.lock", worker, "Cargo.lock");
    fs::write(worker.join("src/lib.rs"), HELLO_WORLD).unwrap();
    fs::write(worker.join("Cargo.toml"), [MANIFEST, &dependencies(), &profile()].concat()).unwrap();

    let wasm = ["--target", "wasm32-unknown-unknown"];
    cargo(worker, &[&["build", "--quiet", "--release", "--offline"], &wasm[..]].concat());
    assert!(root().join("target").join(wasm[1]).join("release/hello_world.wasm").is_file());
    let told = cargo(worker, &["test", "--lib", "--offline"]);
    // Its own tests, and not none.
    assert!(told.contains("secrets::tests::") && told.contains("test result: ok"), "{told}");
}
