//! What the tests share.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The template's folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// An empty folder with this name, always the same, so that cargo writes over what it compiled there
/// before. It stays, to be looked at.
pub fn empty_folder(name: &str) -> PathBuf {
    let folder = root().join("target/projects").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// The sources as they are now: what git knows, and what it would be told of.
pub fn sources() -> Vec<String> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let files = String::from_utf8(output.stdout).unwrap();
    // One that is deleted, and not committed so, is known too.
    let is_there = |it: &&str| root().join(it).is_file();
    files.split_terminator('\0').filter(is_there).map(str::to_owned).collect()
}

/// A copy of them.
#[allow(dead_code, reason = "not every test takes all")]
pub fn copy_of_the_sources(into: &Path) {
    for file in sources() {
        copy(&file, into, &file);
    }
}

/// A copy of one file.
pub fn copy(file: &str, into: &Path, name: &str) {
    let to = into.join(name);
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::copy(root().join(file), to).unwrap();
}

/// Runs cargo with the repository's target folder, where the dependencies are compiled already. Answers
/// what it prints to standard output.
pub fn cargo(project: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO"));
    command.args(arguments).current_dir(project);
    command.env("CARGO_TARGET_DIR", root().join("target")).env("RUSTDOCFLAGS", "-Dwarnings");
    // What cargo tells this test of its package is not for the cargo below it.
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "cargo {} in {}: {}{}",
        arguments.join(" "),
        project.display(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The files of a project that are text, and what they say.
#[allow(dead_code, reason = "not every test takes all")]
pub fn texts(folder: &Path) -> Vec<(PathBuf, String)> {
    let entries = fs::read_dir(folder).unwrap().map(|it| it.unwrap().path());
    let texts = entries.flat_map(|path| match path.is_dir() {
        true => texts(&path),
        false => fs::read_to_string(&path).into_iter().map(|text| (path.clone(), text)).collect(),
    });
    texts.collect()
}
