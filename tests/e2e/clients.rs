//! Official API clients through the Worker: what `docs/clients.md` shows is what runs here, with the
//! addresses of the test in place of its own.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

use serde_json::{Value, json};
use xtask::{build, process, tools::Tools};

use crate::{Stage, apis, stubs::TOKEN, upstream::Upstream};

/// The host names of the docs, and what stands for them.
const GATEWAY: &str = "https://gateway.example.com";
const STRIPE: &str = "stripe.gateway.example.com";

fn docs() -> String {
    fs::read_to_string(xtask::root().join("docs/clients.md")).unwrap()
}

/// The code blocks of the docs in a language, one after the other.
fn blocks(language: &str) -> String {
    let docs = docs();
    let opening = format!("```{language}\n");
    let blocks = docs.split(&opening).skip(1);
    blocks.map(|it| it.split("```").next().unwrap()).collect()
}

/// The same, with the Worker's address in the test.
fn code(stage: &Stage, language: &str) -> String {
    let address = stage.stubs.address("clients");
    let (_, port) = address.split_once(':').unwrap();
    blocks(language)
        .replace(GATEWAY, &format!("http://{address}"))
        .replace(STRIPE, "localhost")
        .replace("port: 443", &format!("port: {port}"))
        .replace("protocol: \"https\"", "protocol: \"http\"")
}

/// The settings of the docs, before the stand-ins, and one upstream that cannot be reached.
pub fn settings(upstream: &Upstream) -> Value {
    let settings: Value = toml::from_str(&blocks("toml").replace(STRIPE, "localhost")).unwrap();
    let mut upstreams = settings["vars"]["UPSTREAMS"].clone();
    for (_, settings) in upstreams.as_object_mut().unwrap() {
        let base_url = settings["base_url"].as_str().unwrap();
        let stand_in = format!("http://{}/", upstream.address);
        settings["base_url"] = json!(base_url.replace("https://", &stand_in));
    }
    let mut unreachable = upstreams["openai"].clone();
    unreachable["base_url"] = json!("http://127.0.0.1:1");
    upstreams["unreachable"] = unreachable;
    upstreams
}

/// The bindings that the settings name, with their values.
pub fn secrets(settings: &Value) -> Vec<(String, String)> {
    let credentials = settings.as_object().unwrap().values().flat_map(|it| {
        it["credentials"].as_array().unwrap().iter().map(|it| it["secret"].as_str().unwrap())
    });
    let mut bindings: Vec<_> = credentials.collect();
    bindings.sort_unstable();
    bindings.dedup();
    let keys = bindings.into_iter().map(|binding| (binding.to_owned(), apis::key(binding)));
    keys.chain([("GATEWAY_TOKEN".to_owned(), TOKEN.to_owned())]).collect()
}

/// A command that runs code of the docs, with the variables that they set.
fn with_variables(stage: &Stage, command: &mut Command) {
    command
        .env("GATEWAY", format!("http://{}", stage.stubs.address("clients")))
        .env("STAND_IN", format!("http://{}", stage.upstream.address))
        .env("GATEWAY_TOKEN", TOKEN)
        .env("NO_PROXY", "*");
    for line in code(stage, "sh").lines().filter_map(|line| line.strip_prefix("export ")) {
        let (name, value) = line.split_once('=').unwrap();
        command.env(name, value.replace("$GATEWAY_TOKEN", TOKEN).trim_matches('"'));
    }
}

/// Installs the npm packages of the clients; one test at a time.
pub fn install(tools: &Tools) -> PathBuf {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = xtask::root().join("tests/clients");
    tools.npm_ci(&folder, "official API clients").unwrap();
    folder
}

pub fn official_clients_for_node_work_through_the_worker(stage: &Stage) {
    let folder = install(&stage.tools);
    let script = fs::read_to_string(folder.join("apis.mjs")).unwrap();
    // Where Node.js finds the packages, and nobody else the file.
    let program = folder.join("node_modules/.apis.mjs");
    fs::write(&program, format!("{}{script}", code(stage, "js"))).unwrap();
    let mut node = stage.tools.command("node");
    with_variables(stage, &mut node);
    process::output("the clients' script", node.arg(program), "What it found is above").unwrap();
}

/// The name of the test below, which is left out where there is no Python.
pub const OF_PYTHON: &str = "clients::official_clients_for_python_work_through_the_worker";

/// What it takes.
const PYTHON: &str = "python3 of version 3.11 or later, with its modules venv and pip";

/// Whether it is to run: the project's commands need no Python, but its CI leaves nothing out.
pub fn wants_python() -> bool {
    let wants = env::var_os("PYTHON_REQUIRED").is_some() || python_version().is_some();
    if !wants {
        eprintln!("==> {OF_PYTHON} is left out: it takes {PYTHON}");
    }
    wants
}

fn python_version() -> Option<String> {
    let probe = "import sys, venv, pip; print(sys.version); sys.exit(sys.version_info < (3, 11))";
    let output = Command::new("python3").args(["-c", probe]).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A virtual environment with the clients, in the target folder; answers its folder.
fn install_for_python() -> PathBuf {
    let version = python_version().unwrap_or_else(|| panic!("this takes {PYTHON}"));
    let folder = build::target_folder().join("clients-python");
    let requirements = xtask::root().join("tests/clients/requirements.txt");
    let wanted = version + &fs::read_to_string(&requirements).unwrap();
    // Written last, so that an installation that was stopped is done again.
    let stamp = folder.join("installed");
    if fs::read_to_string(&stamp).ok().as_ref() == Some(&wanted) {
        return folder;
    }
    let run = |arguments: &[&str], what: &Path| {
        let mut python = Command::new("python3");
        process::run(
            "installing the clients for Python",
            python.arg("-m").args(arguments).arg(what).stdout(io::stderr()),
            "Is the network there?",
        )
        .unwrap();
    };
    run(&["venv", "--clear", "--without-pip"], &folder);
    let environment = folder.to_str().unwrap();
    let pip = ["pip", "--python", environment, "install", "--quiet", "--disable-pip-version-check"];
    // Nothing of what comes is run while it is installed.
    let checks = ["--no-compile", "--only-binary=:all:", "--require-hashes", "--requirement"];
    run(&[&pip[..], &checks].concat(), &requirements);
    fs::write(stamp, wanted).unwrap();
    folder
}

pub fn official_clients_for_python_work_through_the_worker(stage: &Stage) {
    let folder = install_for_python();
    let script = include_str!("../clients/apis.py");
    let program = folder.join("apis.py");
    fs::write(&program, format!("{}{script}", code(stage, "python"))).unwrap();
    let mut python = Command::new(folder.join("bin/python"));
    with_variables(stage, &mut python);
    process::output("the clients' script", python.arg(program), "What it found is above").unwrap();
}

pub fn the_curl_lines_of_the_clients_page_answer_as_they_say(stage: &Stage) {
    let script = code(stage, "sh");
    let said = script.lines().filter(|line| line.starts_with("curl ")).map(|line| {
        line.split_once("# ").map_or("200", |(_, comment)| comment.split(':').next().unwrap())
    });
    let home = tempfile::tempdir().unwrap();
    let mut shell = Command::new("sh");
    with_variables(stage, &mut shell);
    let curl = "curl() { command curl -sS -w '\n%{http_code}\n' \"$@\"; }";
    shell.env("HOME", home.path()).args(["-euc", &format!("{curl}\n{script}")]);
    let printed = process::output("the lines of docs/clients.md", &mut shell, "").unwrap();
    let is_status = |line: &&str| line.len() == 3 && line.parse::<u16>().is_ok();
    let answered: Vec<_> = printed.lines().filter(is_status).collect();
    assert_eq!(answered, said.collect::<Vec<_>>(), "{printed}");
    for wanted in ["Hello there!", "data: [DONE]", "\"status\":\"OK\"", "Authentication required"] {
        assert!(printed.contains(wanted), "no {wanted} in {printed}");
    }
}

pub fn the_clients_page_names_the_versions_that_are_tried(_: &Stage) {
    let folder = xtask::root().join("tests/clients");
    let npm = fs::read_to_string(folder.join("package.json")).unwrap();
    let npm: Value = serde_json::from_str(&npm).unwrap();
    let npm = npm["dependencies"].as_object().unwrap().iter();
    let npm = npm.map(|(name, version)| (name.clone(), version.as_str().unwrap().to_owned()));
    let pip = fs::read_to_string(folder.join("requirements.txt")).unwrap();
    // What they depend on is there for its hashes.
    let is_asked_for = |(name, _): &(&str, &str)| ["anthropic", "openai", "stripe"].contains(name);
    let pip = pip.lines().filter_map(|line| line.split_once("==")).filter(is_asked_for);
    let pip = pip.map(|(name, rest)| (name.to_owned(), rest.replace(" \\", "")));
    let docs = docs();
    for (name, version) in npm.chain(pip) {
        let told = format!("`{name}` {version}");
        assert!(docs.contains(&told), "docs/clients.md does not name {told}");
    }
}
