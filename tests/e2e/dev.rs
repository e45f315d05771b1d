//! `cargo xtask dev`, used as its user would.

use std::{
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::Command,
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use tempfile::TempDir;
use xtask::{process::Process, store};

use crate::{
    Stage,
    client::{Answer, Call, call},
};

/// How long it may take to start: its tools are there, the Worker is built.
const START: Duration = Duration::from_secs(120);

const STORE: &str = "00000000000000000000000000000000";

/// A running `cargo xtask dev`.
pub struct Dev {
    process: Process,
    state: TempDir,
    curl: String,
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
        Self { process, state, curl, log }
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

    /// What the Worker logged: JSON lines. (What `dev` itself prints has the token in it.)
    pub fn request_log(&self) -> Vec<String> {
        let lines = self.log.lock().unwrap();
        lines.iter().filter(|line| line.starts_with('{')).cloned().collect()
    }
}

pub fn the_printed_curl_line_gets_the_upstreams_answer(stage: &Stage) {
    let answer = stage.dev.run_curl();
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["path"], "/hello");
    // The demo upstream answers to the right credential alone.
    stage.dev.call("/proxy/demo/hello").bearer("wrong").send().is_unauthenticated();
}

pub fn readyz_finds_every_binding_of_the_shipped_settings(stage: &Stage) {
    let answer = stage.dev.call("/readyz").bearer("dev-only-admin-token").send();
    assert_eq!(answer.status, 200, "{answer:?}");
    let bindings = answer.json()["result"]["bindings"].as_object().unwrap().clone();
    let names: Vec<&str> = bindings.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        ["ADMIN_TOKEN", "API_KEY", "API_KEY_PREVIOUS", "CF_API_TOKEN", "GATEWAY_TOKEN"]
    );
    assert!(bindings.values().all(|binding| binding["state"] == "ok"), "{answer:?}");
}

pub fn a_value_changed_with_wrangler_is_used_by_the_next_request(stage: &Stage) {
    let ready = |token: &str| stage.dev.call("/readyz").bearer(token).send().status;
    assert_eq!(ready("dev-only-second-token"), 401);
    let state = stage.dev.state.path();
    store::create(&stage.tools, state, STORE, "cf_api_token", "").unwrap_err();
    store::create(&stage.tools, state, STORE, "cf_api_token", "dev-only-line\n").unwrap();
    let answer = stage.dev.call("/readyz").bearer("dev-only-admin-token").send();
    assert_eq!(answer.json()["result"]["bindings"]["CF_API_TOKEN"]["state"], "not_header_safe");
    store::create(&stage.tools, state, STORE, "cf_api_token", "dev-only-new").unwrap();
    assert_eq!(ready("dev-only-admin-token"), 200);
}

pub fn a_second_dev_finds_free_ports_and_ends_all_it_started(stage: &Stage) {
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
