//! `cargo xtask rotate` before the Worker in `wrangler dev`.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use local_api::{Options, Seed};
use tempfile::TempDir;
use xtask::{process::Process, store};

use crate::{
    Stage,
    client::{MARK, call},
};

const ZEROS: &str = "00000000000000000000000000000000";
const ADMIN: &str = "admin-5ecret";
const CALLER: &str = "caller-5ecret";
const API_TOKEN: &str = "api-5ecret";

/// The values of the credential. The test upstream takes the one that the path asks for.
const OLD: &str = "old-5ecret";
const NEW: &str = "new-5ecret";

/// How long `wrangler dev` may take to start.
const START: Duration = Duration::from_secs(60);

const SECRETS: [(&str, &str, &str); 5] = [
    ("API_KEY", "api_key", OLD),
    ("API_KEY_PREVIOUS", "api_key_previous", "any-5ecret"),
    ("GATEWAY_TOKEN", "gateway_token", CALLER),
    ("ADMIN_TOKEN", "admin_token", ADMIN),
    ("CF_API_TOKEN", "cf_api_token", API_TOKEN),
];

/// A Worker with a store of its own, and the REST API behind it.
struct Live {
    _process: Process,
    folder: TempDir,
    url: String,
}

impl Live {
    fn start(stage: &Stage) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let local = store::local(&stage.tools, &state).unwrap();
        for (_, name, value) in SECRETS {
            local.put(ZEROS, name, &value.into()).unwrap();
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let secrets = SECRETS.map(|(_, name, value)| (name.to_owned(), value.into()));
        let api = local_api::start(
            listener,
            Options {
                token: API_TOKEN.into(),
                account: ZEROS.to_owned(),
                data: None,
                pending: Duration::from_secs(1),
                quota: 100,
                mirror: Some(local),
                seed: vec![Seed {
                    store_id: ZEROS.to_owned(),
                    store_name: "store".to_owned(),
                    secrets: secrets.into(),
                }],
            },
        )
        .unwrap();
        let bound = SECRETS.map(|(binding, name, _)| {
            format!(
                "[[secrets_store_secrets]]\nbinding = \"{binding}\"\nstore_id = \"{ZEROS}\"\n\
                 secret_name = \"{name}\"\n"
            )
        });
        let config = format!(
            r#"
name = "rotation"
main = "{}"
compatibility_date = "2026-10-01"
{}
[vars.UPSTREAMS.test]
base_url = "http://{}"
callers = ["GATEWAY_TOKEN"]
credentials = [{{ type = "bearer", secret = "API_KEY", fallback = "API_KEY_PREVIOUS" }}]
[vars.SECRETS_STORE_API]
base_url = "http://{api}/client/v4"
account_id = "{ZEROS}"
token = "CF_API_TOKEN"
callers = ["ADMIN_TOKEN"]
"#,
            xtask::root().join("build/index.js").display(),
            bound.concat(),
            stage.upstream.address,
        );
        let file = folder.path().join("wrangler.toml");
        fs::write(&file, config).unwrap();
        let mut wrangler = stage.tools.wrangler();
        wrangler
            .args(["dev", "--ip", "127.0.0.1", "--port", "0"])
            .args(["--show-interactive-dev-session=false", "--persist-to"])
            .arg(state)
            .arg("--config")
            .arg(file);
        let (sender, ready) = mpsc::channel();
        let process = Process::start_with_lines(&mut wrangler, move |line| {
            if let Some((_, address)) = line.split_once("Ready on ") {
                let _ = sender.send(address.trim().to_owned());
            }
        })
        .unwrap();
        let url = ready.recv_timeout(START).expect("wrangler dev did not start");
        Self { _process: process, folder, url }
    }

    fn rotate(&self, arguments: &[&str]) -> Child {
        let mut child = Command::new(program())
            .args(["rotate", "API_KEY", "--url", &self.url, "--config"])
            .arg(self.folder.path().join("wrangler.toml"))
            .args(arguments)
            .env("GATEWAY_ADMIN_TOKEN", ADMIN)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let _ = child.stdin.take().unwrap().write_all(NEW.as_bytes());
        child
    }

    /// Runs it to its end.
    #[track_caller]
    fn rotates(&self, arguments: &[&str]) {
        let output = self.rotate(arguments).wait_with_output().unwrap();
        let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(output.status.success() && !told.contains(MARK), "{arguments:?}: {told}");
    }

    /// Runs it until it says that it does `step`, and breaks it off there.
    fn breaks(&self, step: &str) {
        let mut child = self.rotate(&[]);
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let is_there = lines.any(|line| line.contains(step));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(is_there, "it did not come to `{step}`");
    }
}

/// Requests, one after the other, until this is dropped.
struct Traffic {
    /// What the upstream takes now: each request asks for all of these.
    keys: Arc<Mutex<Vec<&'static str>>>,
    ends: Arc<AtomicBool>,
    requests: Option<JoinHandle<(usize, Vec<String>)>>,
}

impl Traffic {
    fn start(url: &str) -> Self {
        let keys = Arc::new(Mutex::new(vec![OLD]));
        let ends: Arc<AtomicBool> = Arc::default();
        let (url, taken, end) = (url.to_owned(), keys.clone(), ends.clone());
        let requests = thread::spawn(move || {
            let (mut count, mut failed) = (0, Vec::new());
            while !end.load(Ordering::SeqCst) {
                // Held for a whole round, so that a change of the keys is for the next one.
                let keys = taken.lock().unwrap();
                for key in keys.iter() {
                    let path = format!("{url}/proxy/test/wants/{key}");
                    let answer = call("GET", &path).bearer(CALLER).send();
                    count += 1;
                    if answer.status != 200 {
                        failed.push(format!("{key}: {}", answer.status));
                    }
                }
                drop(keys);
                thread::sleep(Duration::from_millis(10));
            }
            (count, failed)
        });
        Self { keys, ends, requests: Some(requests) }
    }

    /// From now on the upstream takes these alone, each in a request of its own.
    fn takes(&self, keys: &[&'static str]) {
        *self.keys.lock().unwrap() = keys.to_vec();
    }

    /// How many there were, and which failed.
    fn end(mut self) -> (usize, Vec<String>) {
        self.ends.store(true, Ordering::SeqCst);
        self.requests.take().unwrap().join().unwrap()
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
    }
}

/// `cargo xtask` itself, which is built: so that a signal is for it and not for cargo.
pub fn program() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.parent().unwrap().parent().unwrap().join("xtask")
}

pub fn no_request_fails_while_a_credential_is_rotated(stage: &Stage) {
    let live = Live::start(stage);
    let traffic = Traffic::start(&live.url);
    // Broken off where the fallback is gone, and where the new value is on its way.
    live.breaks("copying api_key to api_key_previous");
    live.breaks("writing the new value to api_key");
    live.rotates(&[]);
    // Whichever of the two the upstream takes.
    traffic.takes(&[OLD, NEW]);
    live.rotates(&[]);
    traffic.takes(&[OLD]);
    live.rotates(&["--undo"]);
    live.rotates(&[]);
    traffic.takes(&[NEW]);
    live.rotates(&["--finish"]);
    let (count, failed) = traffic.end();
    assert!(count > 100, "{count} requests are none to speak of");
    assert!(failed.is_empty(), "of {count}: {failed:?}");
    // The one before is gone.
    let answer = call("GET", &format!("{}/proxy/test/wants/{OLD}", live.url)).bearer(CALLER).send();
    assert_eq!(answer.status, 401);
}
