//! `cargo xtask dev`, used as its user would.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::Command,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    time::Duration,
};

use tempfile::TempDir;
use xtask::{
    doctor,
    process::{self, Process},
    store::{self, Development},
};

use crate::{
    Stage,
    client::{Answer, Call, call},
};

/// How long it may take to start: its tools are there, the Worker is built.
const START: Duration = Duration::from_secs(120);

/// A running `cargo xtask dev`.
pub struct Dev {
    process: Process,
    state: TempDir,
    curl: String,
    turn: Mutex<()>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Dev {
    pub fn start(arguments: &[&str]) -> Self {
        let state = tempfile::tempdir().unwrap();
        let (sender, curl) = mpsc::channel();
        let log: Arc<Mutex<Vec<String>>> = Arc::default();
        let written = log.clone();
        let process = Process::start_with_lines(
            Command::new("cargo")
                .args(["xtask", "dev", "--persist-to"])
                .arg(state.path())
                .args(arguments)
                .current_dir(xtask::root()),
            move |line| {
                written.lock().unwrap().push(line.to_owned());
                if line.starts_with("curl ") {
                    let _ = sender.send(line.to_owned());
                }
            },
        )
        .unwrap();
        let Ok(curl) = curl.recv_timeout(START) else {
            panic!("`cargo xtask dev` did not start: {:#?}", log.lock().unwrap());
        };
        Self { process, state, curl, turn: Mutex::new(()), log }
    }

    /// The address in the line that it printed.
    fn address(&self) -> String {
        let url = self.curl.split(' ').nth(1).unwrap();
        url.split('/').take(3).collect::<Vec<_>>().join("/")
    }

    fn port(&self) -> u16 {
        self.address().rsplit(':').next().unwrap().parse().unwrap()
    }

    fn call(&self, path: &str) -> Call {
        call("GET", &format!("{}{path}", self.address()))
    }

    /// What the line that it printed does.
    fn run_curl(&self) -> Answer {
        let (command, header) = self.curl.split_once(" -H '").unwrap();
        let (name, value) = header.trim_end_matches('\'').split_once(": ").unwrap();
        call("GET", command.strip_prefix("curl ").unwrap()).header(name, value).send()
    }

    /// One test at a time may count on the values in the store, or change them.
    fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that it printed, but for the line with the token in it.
    pub fn log(&self) -> Vec<String> {
        let lines = self.log.lock().unwrap();
        lines.iter().filter(|line| !line.starts_with("curl ")).cloned().collect()
    }
}

pub fn the_printed_curl_line_gets_the_upstreams_answer(stage: &Stage) {
    let _turn = stage.dev.turn();
    let answer = stage.dev.run_curl();
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["path"], "/hello");
    // The demo upstream answers to the right credential alone.
    stage.dev.call("/proxy/demo/hello").bearer("wrong").send().is_unauthenticated();
}

pub fn readyz_finds_every_binding_of_the_shipped_settings(stage: &Stage) {
    let _turn = stage.dev.turn();
    let answer = stage.dev.call("/readyz").bearer("dev-only-admin-token").send();
    assert_eq!(answer.status, 200, "{answer:?}");
    let bindings = answer.json()["result"]["bindings"].as_object().unwrap().clone();
    let names: BTreeSet<&str> = bindings.keys().map(String::as_str).collect();
    let development = Development::read().unwrap();
    let bound = &development.config.secrets_store_secrets;
    assert_eq!(names, bound.iter().map(|it| it.binding.as_str()).collect());
    assert!(bindings.values().all(|binding| binding["state"] == "ok"), "{answer:?}");
}

pub fn doctor_finds_nothing_wrong_in_the_store_that_dev_has_filled(stage: &Stage) {
    let _turn = stage.dev.turn();
    let state = stage.dev.state.path();
    let options = doctor::Options { persist_to: Some(state.to_owned()), ..Default::default() };
    assert!(doctor::run(&options).unwrap());
    // wrangler calls it a failure that a store is empty.
    let another = store::names(&stage.tools, state, "11111111111111111111111111111111");
    assert_eq!(another.unwrap(), [""; 0]);
}

pub fn a_value_changed_with_wrangler_is_used_by_the_next_request(stage: &Stage) {
    let _turn = stage.dev.turn();
    let development = Development::read().unwrap();
    let store = &development.config.secrets_store_secrets[0].store_id;
    let change = |name: &str, value: &str| {
        store::create(&stage.tools, stage.dev.state.path(), store, name, value).unwrap();
    };
    let call = |token: &str| stage.dev.call("/proxy/demo/hello").bearer(token).send();
    // The caller's token.
    assert_eq!(call("dev-only-gateway-token").status, 200);
    change("gateway_token", "dev-only-new-token");
    assert_eq!(call("dev-only-new-token").status, 200);
    call("dev-only-gateway-token").is_unauthenticated();
    change("gateway_token", "dev-only-gateway-token");
    assert_eq!(call("dev-only-gateway-token").status, 200);
    // The credential: the demo upstream refuses any but the first.
    change("api_key", "dev-only-other-key");
    assert_eq!(call("dev-only-gateway-token").status, 401);
    change("api_key", "dev-only-api-key");
    assert_eq!(call("dev-only-gateway-token").status, 200);
}

pub fn a_second_dev_finds_free_ports_and_ends_all_it_started(stage: &Stage) {
    let _turn = stage.dev.turn();
    let mut second = Dev::start(&["--port", &stage.dev.port().to_string()]);
    assert_ne!(second.port(), stage.dev.port());
    assert_eq!(second.run_curl().status, 200);

    second.process.interrupt();
    second.process.wait().unwrap_err();
    let is_free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    assert!(is_free(second.port()), "the port is still taken after Ctrl-C");
    // The first one is none the worse for it.
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, stage.dev.port())).is_ok());
    assert_eq!(stage.dev.run_curl().status, 200);
}

pub fn plain_npx_wrangler_works_after_the_first_run(_: &Stage) {
    let folder = tempfile::tempdir().unwrap();
    // With the user's own Node.js first on PATH, however old it is.
    let mut npx = Command::new("npx");
    npx.args(["wrangler", "deploy", "--dry-run", "--outdir"])
        .arg(folder.path())
        .current_dir(xtask::root())
        .env("WRANGLER_SEND_METRICS", "false");
    // Twice: the build that it runs, below the newer Node.js, must leave all as it is.
    process::output("npx wrangler deploy --dry-run", &mut npx, "").unwrap();
    let printed = process::output("npx wrangler deploy --dry-run", &mut npx, "").unwrap();
    assert!(printed.contains("env.API_KEY"), "{printed}");
    assert!(folder.path().join("index.js").is_file());
}
