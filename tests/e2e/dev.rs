//! `cargo xtask dev`, used as its user would.

use std::{
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::Command,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc},
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

/// How long a line about a request may take to be printed.
const TOLD: Duration = Duration::from_secs(10);

/// The account and the store of the shipped settings.
#[cfg(feature = "rest-api")]
pub const ZEROS: &str = "00000000000000000000000000000000";

/// A running `cargo xtask dev`.
pub struct Dev {
    process: Process,
    state: TempDir,
    /// The lines that it printed to be tried.
    curls: Vec<String>,
    turn: Mutex<()>,
    log: Arc<Log>,
}

/// What it prints.
#[derive(Default)]
struct Log {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

impl Log {
    fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.lines.lock().unwrap()
    }

    /// The first line that there is, or comes, with all of this in it.
    fn wait_for(&self, texts: &[&str]) -> String {
        let has_all = |line: &&String| texts.iter().all(|text| line.contains(text));
        let find = |lines: &Vec<String>| lines.iter().find(has_all).cloned();
        let wait = |lines| self.more.wait_timeout_while(lines, TOLD, |it| find(it).is_none());
        let lines = wait(self.lines()).unwrap().0;
        find(&lines).unwrap_or_else(|| panic!("no {texts:?} in {lines:#?}"))
    }
}

impl Dev {
    pub fn start(arguments: &[&str]) -> Self {
        let state = tempfile::tempdir().unwrap();
        let (sender, curl) = mpsc::channel();
        let log: Arc<Log> = Arc::default();
        let written = log.clone();
        let process = Process::start_with_lines(
            Command::new("cargo")
                .args(["xtask", "dev", "--persist-to"])
                .arg(state.path())
                .args(arguments)
                .current_dir(xtask::root()),
            move |line| {
                written.lines().push(line.to_owned());
                written.more.notify_all();
                if line.starts_with("curl ") {
                    let _ = sender.send(line.to_owned());
                }
            },
        )
        .unwrap();
        let printed: &[&str] = &[
            "a call",
            #[cfg(feature = "rest-api")]
            "a new secret",
        ];
        let next = |what: &&str| {
            curl.recv_timeout(START).unwrap_or_else(|_| {
                panic!("`cargo xtask dev` printed no line for {what}: {:#?}", log.lines())
            })
        };
        let curls = printed.iter().map(next).collect();
        Self { process, state, curls, turn: Mutex::new(()), log }
    }

    /// The address in the line that it printed.
    pub fn address(&self) -> String {
        let url = self.curls[0].split(' ').nth(1).unwrap();
        url.split('/').take(3).collect::<Vec<_>>().join("/")
    }

    fn port(&self) -> u16 {
        self.address().rsplit(':').next().unwrap().parse().unwrap()
    }

    pub fn call(&self, path: &str) -> Call {
        call("GET", &format!("{}{path}", self.address()))
    }

    /// What a line that it printed does: `curl URL -H 'NAME: VALUE' -d 'BODY'`.
    pub fn run_curl(&self, line: usize) -> Answer {
        let (command, rest) =
            self.curls[line].split_once(" -H '").unwrap_or((&self.curls[line], ""));
        let url = command.strip_prefix("curl ").unwrap();
        let Some((header, rest)) = rest.split_once('\'') else { return call("GET", url).send() };
        let (name, value) = header.split_once(": ").unwrap();
        match rest.strip_prefix(" -d '").and_then(|it| it.strip_suffix('\'')) {
            None => call("GET", url).header(name, value).send(),
            Some(body) => call("POST", url).header(name, value).body(body).send(),
        }
    }

    /// A request for the REST API, by the admin.
    #[cfg(feature = "demo")]
    #[cfg(feature = "rest-api")]
    pub fn administer(&self, method: &str, path: &str) -> Call {
        let path = format!("/client/v4/accounts/{ZEROS}/secrets_store/stores/{ZEROS}{path}");
        call(method, &format!("{}{path}", self.address())).bearer("dev-only-admin-token")
    }

    /// The id of a secret.
    #[cfg(feature = "demo")]
    #[cfg(feature = "rest-api")]
    pub fn id_of(&self, name: &str) -> String {
        let listed = self.administer("GET", &format!("/secrets?search={name}")).send().json();
        let found = listed["result"].as_array().unwrap().iter().find(|it| it["name"] == name);
        found.unwrap_or_else(|| panic!("no {name} in {listed}"))["id"].as_str().unwrap().to_owned()
    }

    /// One test at a time may count on the values in the store, or change them.
    pub fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its local store.
    pub fn local(&self, stage: &Stage) -> store::LocalStore {
        store::local(&stage.tools, self.state.path()).unwrap()
    }

    /// The first line of its log that there is, or comes, with this in it.
    pub fn line_with(&self, texts: &[&str]) -> String {
        self.log.wait_for(texts)
    }

    /// All that it printed, but for the line with the token in it.
    pub fn log(&self) -> Vec<String> {
        let lines = self.log.lines();
        lines.iter().filter(|line| !line.starts_with("curl ")).cloned().collect()
    }
}

pub fn doctor_finds_nothing_wrong_in_the_store_that_dev_has_filled(stage: &Stage) {
    let _turn = stage.dev.turn();
    let state = stage.dev.state.path();
    let options = doctor::Options { persist_to: Some(state.to_owned()), ..Default::default() };
    assert!(doctor::run(&options).unwrap());
    // wrangler calls it a failure that a store is empty.
    let local = stage.dev.local(stage);
    assert!(local.names("11111111111111111111111111111111").unwrap().is_empty());
}

pub fn each_request_is_one_readable_line(stage: &Stage) {
    // Of another status than what other tests ask for meanwhile, so that its path can be told.
    let answer = call("POST", &format!("{}/healthz?token=not-for-the-log", stage.dev.address()))
        .header("x-request-id", "one-readable-line")
        .send();
    assert_eq!(answer.status, 405);
    let line = stage.dev.line_with(&["request one-readable-line"]);
    let (time, rest) = line.split_once("  ").unwrap();
    assert!(time.len() == 9 && time.ends_with('Z'), "{line}");
    let (status, rest) = rest.split_once(" ms  ").unwrap();
    assert!(status.starts_with("405 "), "{line}");
    assert_eq!(rest, "POST /healthz  method_not_allowed  request one-readable-line");
    let log = stage.dev.log();
    let others = ["POST /healthz 405", "not-for-the-log", "\"request_id\"", "\u{1b}"];
    for told in others {
        assert!(!log.iter().any(|line| line.contains(told)), "{told} in {log:#?}");
    }
}

pub fn a_second_dev_finds_free_ports_and_ends_all_it_started(stage: &Stage) {
    let _turn = stage.dev.turn();
    let mut second = Dev::start(&["--port", &stage.dev.port().to_string()]);
    assert_ne!(second.port(), stage.dev.port());
    assert_eq!(second.run_curl(0).status, 200);

    second.process.interrupt();
    second.process.wait().unwrap_err();
    let is_free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    assert!(is_free(second.port()), "the port is still taken after Ctrl-C");
    // The first one is none the worse for it.
    assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, stage.dev.port())).is_ok());
    assert_eq!(stage.dev.call("/healthz").send().status, 200);
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
    for bound in Development::read().unwrap().config.secrets_store_secrets {
        assert!(printed.contains(&format!("env.{}", bound.binding)), "{printed}");
    }
    assert!(folder.path().join("index.js").is_file());
}
