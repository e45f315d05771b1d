//! `cargo xtask rotate` as it is run, before the local REST API: broken off at every request, run
//! again, undone; with a Worker's stand-in that looks after each change whether requests would have
//! had the right value.

#![cfg(feature = "rest-api")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "in a test, a panic is how a claim fails"
)]

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use axum::{
    Router,
    body::{Bytes, to_bytes},
    extract::Request,
    http::{Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::any,
};
use local_api::{Options, Seed};
use serde_json::{Value, json};
use tempfile::TempDir;

const ACCOUNT: &str = "0123456789abcdef0123456789abcdef";
const STORE: &str = "023e105f4ecef8ad9ca31a8372d0c353";

/// What every value contains, so that one that got out is found.
const MARK: &str = "5ecret";
const ADMIN: &str = "admin-5ecret";
const API_TOKEN: &str = "api-5ecret";
const OLD: &str = "old-5ecret";
const NEW: &str = "new-5ecret";
const OTHER: &str = "other-5ecret";

/// The bindings of the settings, and their secrets.
const BOUND: [(&str, &str); 4] = [
    ("KEY", "key"),
    ("KEY_PREVIOUS", "key_previous"),
    ("TOKEN", "token"),
    ("TOKEN_PREVIOUS", "token_previous"),
];

const SETTINGS: &str = r#"
[env.live.vars.UPSTREAMS.demo]
base_url = "https://api.example.com"
callers = ["TOKEN", "TOKEN_PREVIOUS"]
credentials = [{ type = "bearer", secret = "KEY", fallback = "KEY_PREVIOUS" }]
[env.live.vars.SECRETS_STORE_API]
base_url = "https://api.cloudflare.com/client/v4"
account_id = "0123456789abcdef0123456789abcdef"
token = "API"
callers = ["ADMIN"]
"#;

/// At which change the answer is lost.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// The change was not made.
    Before(usize),
    /// It was made.
    After(usize),
}

/// How the stand-in is, and what it saw.
#[derive(Default)]
struct Behaviour {
    fault: Option<Fault>,
    /// Changes of the store, made or not.
    changes: usize,
    /// What `/readyz` answers instead of what is there.
    stale: Option<Value>,
    /// Values of which requests need one, and at which change there was none.
    needed: Vec<&'static str>,
    missed: Vec<String>,
}

/// A store, and a Worker before it.
struct Scene {
    folder: TempDir,
    address: SocketAddr,
    behaviour: Arc<Mutex<Behaviour>>,
}

impl Scene {
    /// With these secrets, and room for so many.
    fn set(secrets: &[(&str, &str)], quota: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let entry = |(binding, secret): &(&str, &str)| {
            format!(
                "[[env.live.secrets_store_secrets]]\nbinding = \"{binding}\"\nstore_id = \
                 \"{STORE}\"\nsecret_name = \"{secret}\"\n"
            )
        };
        let config = BOUND.iter().map(entry).collect::<String>() + SETTINGS;
        fs::write(folder.path().join("wrangler.toml"), config).unwrap();
        let data = folder.path().join("store.json");
        let secrets = secrets.iter().map(|(name, value)| ((*name).to_owned(), (*value).into()));
        let options = Options {
            token: API_TOKEN.into(),
            account: ACCOUNT.to_owned(),
            data: Some(data.clone()),
            pending: Duration::ZERO,
            quota,
            mirror: None,
            seed: vec![Seed {
                store_id: STORE.to_owned(),
                store_name: "store".to_owned(),
                secrets: secrets.collect(),
            }],
        };
        let api = local_api::start(listener(), options).unwrap();
        let behaviour: Arc<Mutex<Behaviour>> = Arc::default();
        let address = start(api, data, behaviour.clone());
        let scene = Self { folder, address, behaviour };
        scene.comment("key", "from the mail team");
        scene
    }

    fn usual() -> Self {
        Self::set(&[("key", OLD), ("key_previous", OTHER), ("token", "t")], 100)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("store.json")
    }

    /// Values and comments.
    fn secrets(&self) -> BTreeMap<String, (String, String)> {
        read(&self.data())
    }

    fn values(&self) -> Vec<(String, String)> {
        self.secrets().into_iter().map(|(name, (value, _))| (name, value)).collect()
    }

    /// Gives a secret a comment, as an operator has it.
    fn comment(&self, name: &str, comment: &str) {
        let base = format!(
            "http://{}/client/v4/accounts/{ACCOUNT}/secrets_store/stores/{STORE}/secrets",
            self.address
        );
        let bearer = format!("Bearer {ADMIN}");
        let listed = ureq::get(&base).header("authorization", &bearer).call().unwrap();
        let listed: Value = serde_json::from_reader(listed.into_body().into_reader()).unwrap();
        let found = listed["result"].as_array().unwrap().iter().find(|it| it["name"] == name);
        let id = found.unwrap()["id"].as_str().unwrap();
        let body = json!({ "comment": comment }).to_string();
        let patch = ureq::patch(format!("{base}/{id}")).header("authorization", &bearer);
        patch.send(&body).unwrap();
    }

    /// From now on: with this fault, and these needs.
    fn behaves(&self, fault: Option<Fault>, needed: &[&'static str]) {
        let mut behaviour = self.behaviour.lock().unwrap();
        *behaviour = Behaviour { fault, needed: needed.to_vec(), ..Behaviour::default() };
    }

    fn changes(&self) -> usize {
        self.behaviour.lock().unwrap().changes
    }

    fn start(&self, arguments: &[&str]) -> Child {
        self.start_at(&format!("http://{}", self.address), ADMIN, arguments)
    }

    fn start_at(&self, url: &str, admin_token: &str, arguments: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_xtask"))
            .args(["rotate", "--env", "live", "--wait", "0", "--config"])
            .arg(self.folder.path().join("wrangler.toml"))
            .args(["--url", url])
            .args(arguments)
            .env_clear()
            .env("GATEWAY_ADMIN_TOKEN", admin_token)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn run(&self, arguments: &[&str], input: &str) -> Told {
        end(self.start(arguments), input)
    }

    #[track_caller]
    fn succeeds(&self, arguments: &[&str], input: &str) -> Told {
        let told = self.run(arguments, input);
        assert_eq!(told.code, 0, "{}", told.text);
        self.was_answered();
        told
    }

    /// Stops, and says how to go on.
    #[track_caller]
    fn stops(&self, arguments: &[&str], input: &str) -> Told {
        let told = self.run(arguments, input);
        assert_eq!(told.code, 1, "{}", told.text);
        self.was_answered();
        told
    }

    /// At each moment there was a binding with a value that is needed.
    #[track_caller]
    fn was_answered(&self) {
        let missed = self.behaviour.lock().unwrap().missed.clone();
        assert!(missed.is_empty(), "{missed:?}");
    }
}

/// How it ended, and all that it printed.
struct Told {
    code: i32,
    text: String,
}

fn end(mut child: Child, input: &str) -> Told {
    // It may have ended without reading it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = String::from_utf8([stdout, stderr].concat()).unwrap();
    assert!(!text.contains(MARK), "a secret got out: {text}");
    Told { code: status.code().unwrap(), text }
}

/// Waits until it has printed `text`, and answers what else it prints; ends it where it does not.
fn wait_for(child: &mut Child, text: &'static str) -> JoinHandle<String> {
    let stderr = child.stderr.take().unwrap();
    let (sender, there) = mpsc::channel();
    let printed = thread::spawn(move || {
        let mut printed = String::new();
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            printed += &line;
            if line.contains(text) {
                let _ = sender.send(());
            }
        }
        printed
    });
    if there.recv_timeout(Duration::from_secs(20)).is_err() {
        child.kill().unwrap();
        panic!("it did not print {text}");
    }
    printed
}

fn listener() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()
}

/// Values and comments by name, as the local API's file has them.
fn read(data: &Path) -> BTreeMap<String, (String, String)> {
    let file: Value = serde_json::from_slice(&fs::read(data).unwrap()).unwrap();
    let secrets = file["account"]["stores"][0]["secrets"].as_array().unwrap();
    let text = |it: &Value| it.as_str().unwrap_or_default().to_owned();
    let secret = |it: &Value| {
        let metadata = &it["metadata"];
        (text(&metadata["name"]), (text(&it["value"]), text(&metadata["comment"])))
    };
    secrets.iter().map(secret).collect()
}

/// The Worker's stand-in: its `/readyz`, and its way to the API.
fn start(api: SocketAddr, data: PathBuf, behaviour: Arc<Mutex<Behaviour>>) -> SocketAddr {
    let listener = listener();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(any(move |request: Request| {
        let (data, behaviour) = (data.clone(), behaviour.clone());
        async move { answer(request, api, &data, &behaviour).await }
    }));
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, router).await.unwrap();
        });
    });
    address
}

async fn answer(
    request: Request,
    api: SocketAddr,
    data: &Path,
    behaviour: &Mutex<Behaviour>,
) -> Response {
    let (parts, body) = request.into_parts();
    let shown = parts.headers.get(header::AUTHORIZATION);
    if shown.is_none_or(|it| it != &format!("Bearer {ADMIN}")) {
        let errors = json!([{ "code": 40101, "message": "Authentication required" }]);
        let body = json!({ "success": false, "errors": errors }).to_string();
        return (StatusCode::UNAUTHORIZED, body).into_response();
    }
    if parts.uri.path() == "/readyz" {
        let stale = behaviour.lock().unwrap().stale.clone();
        let bindings = stale.unwrap_or_else(|| bindings(data));
        let answer = json!({ "success": true, "result": { "bindings": bindings } });
        return answer.to_string().into_response();
    }
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let forward = || forward(&parts.method, &format!("http://{api}{}", parts.uri), &body);
    if parts.method == Method::GET {
        return forward();
    }
    let mut behaviour = behaviour.lock().unwrap();
    behaviour.changes += 1;
    let lost = (StatusCode::BAD_GATEWAY, "<h1>a proxy's page</h1>").into_response();
    let answer = match behaviour.fault {
        Some(Fault::Before(at)) if at == behaviour.changes => lost,
        Some(Fault::After(at)) if at == behaviour.changes => {
            forward();
            lost
        }
        _ => forward(),
    };
    let there = read(data);
    let has = |value: &&str| {
        let first_two = ["key", "key_previous"];
        first_two.iter().any(|name| there.get(*name).is_some_and(|(it, _)| it == value))
    };
    let missed: Vec<_> = behaviour.needed.iter().filter(|value| !has(value)).collect();
    if !missed.is_empty() {
        let missed = format!("{missed:?} after change {}: {there:?}", behaviour.changes);
        behaviour.missed.push(missed);
    }
    answer
}

/// What the Worker tells: a binding's state, and the first one that has the same value.
fn bindings(data: &Path) -> Value {
    let there = read(data);
    let value = |secret: &str| there.get(secret).map(|(value, _)| value);
    let report = |(binding, secret): &(&str, &str)| {
        let Some(own) = value(secret) else {
            return ((*binding).to_owned(), json!({ "state": "not_found", "ms": 1 }));
        };
        let first = BOUND.iter().find(|(_, other)| value(other) == Some(own)).unwrap().0;
        let report = json!({
            "state": "ok", "ms": 1, "same_as": (first != *binding).then_some(first),
        });
        ((*binding).to_owned(), report)
    };
    Value::Object(BOUND.iter().map(report).collect())
}

fn forward(method: &Method, url: &str, body: &Bytes) -> Response {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let request = ureq::http::Request::builder().method(method.as_str()).uri(url);
    let request = request.header("authorization", format!("Bearer {API_TOKEN}"));
    let mut answer = match body.is_empty() {
        true => agent.run(request.body(()).unwrap()),
        false => agent.run(request.body(&body[..]).unwrap()),
    }
    .unwrap();
    let status = StatusCode::from_u16(answer.status().as_u16()).unwrap();
    (status, answer.body_mut().read_to_vec().unwrap()).into_response()
}

/// The changes of each way, so that none of them is forgotten below.
const FORWARD: usize = 4;
const FINISH: usize = 4;
const UNDO: usize = 5;

fn faults(changes: usize) -> impl Iterator<Item = Fault> {
    (1..=changes).flat_map(|at| [Fault::Before(at), Fault::After(at)])
}

#[test]
fn a_value_is_rotated_with_the_one_before_beside_it_until_it_is_finished() {
    let scene = Scene::usual();
    scene.behaves(None, &[OLD]);
    let told = scene.succeeds(&["KEY"], NEW);
    assert_eq!(scene.changes(), FORWARD);
    assert!(told.text.contains(" --finish\n") && told.text.contains(" --undo"), "{}", told.text);
    assert!(told.text.contains("`npx wrangler tail --env live` has \"retries\""), "{}", told.text);
    let secrets = scene.secrets();
    assert_eq!((secrets["key"].0.as_str(), secrets["key_previous"].0.as_str()), (NEW, OLD));
    // Where it is, is told again, without another value.
    scene.succeeds(&["KEY"], "");
    assert_eq!(scene.changes(), FORWARD);

    scene.behaves(None, &[NEW]);
    scene.succeeds(&["KEY", "--finish"], "");
    assert_eq!(scene.changes(), FINISH);
    let comment = "from the mail team".to_owned();
    assert_eq!(
        scene.secrets(),
        BTreeMap::from([
            ("key".to_owned(), (NEW.to_owned(), comment)),
            ("key_previous".to_owned(), (NEW.to_owned(), String::new())),
            ("token".to_owned(), ("t".to_owned(), String::new())),
        ])
    );
    // And again, from where that has left it.
    scene.behaves(None, &[NEW]);
    scene.succeeds(&["KEY"], OTHER);
    scene.succeeds(&["KEY", "--undo"], "");
    assert_eq!(scene.values()[0], ("key".to_owned(), NEW.to_owned()));
}

#[test]
fn broken_off_at_any_request_it_goes_on_when_it_is_run_again() {
    for fault in faults(FORWARD) {
        let scene = Scene::usual();
        scene.behaves(Some(fault), &[OLD]);
        let told = scene.stops(&["KEY"], NEW);
        assert!(told.text.contains("To go on from here:\n\n  cargo xtask rotate KEY"), "{fault:?}");
        scene.behaves(None, &[OLD]);
        scene.succeeds(&["KEY"], NEW);
        let (values, expected) = (scene.values(), [NEW, OLD, OTHER]);
        let values: Vec<_> = values.iter().take(3).map(|(_, value)| value.as_str()).collect();
        assert_eq!(values, expected, "{fault:?}");
    }
}

#[test]
fn finishing_goes_on_too() {
    for fault in faults(FINISH) {
        let scene = Scene::usual();
        scene.succeeds(&["KEY"], NEW);
        scene.behaves(Some(fault), &[NEW]);
        scene.stops(&["KEY", "--finish"], "");
        // The other ways are closed, and say so; but for what was not begun, or is done.
        if !matches!(fault, Fault::Before(1) | Fault::After(FINISH)) {
            assert!(scene.stops(&["KEY"], NEW).text.contains("run it again with --finish"));
            assert!(scene.stops(&["KEY", "--undo"], "").text.contains("is gone from the store"));
        }
        scene.behaves(None, &[NEW]);
        scene.succeeds(&["KEY", "--finish"], "");
        let values = scene.values();
        let values: Vec<_> = values.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(values, [NEW, NEW, "t"], "{fault:?}");
    }
}

#[test]
fn from_any_break_it_can_be_undone_to_exactly_what_was_there() {
    for fault in faults(FORWARD) {
        let scene = Scene::usual();
        let before = scene.secrets();
        scene.behaves(Some(fault), &[OLD]);
        scene.stops(&["KEY"], NEW);
        scene.behaves(None, &[OLD]);
        scene.succeeds(&["KEY", "--undo"], "");
        assert_eq!(scene.secrets(), before, "{fault:?}");
    }
}

#[test]
fn undoing_goes_on_too_and_may_be_thought_better_of() {
    for fault in faults(UNDO) {
        let scene = Scene::usual();
        let before = scene.secrets();
        scene.succeeds(&["KEY"], NEW);
        scene.behaves(Some(fault), &[OLD]);
        scene.stops(&["KEY", "--undo"], "");
        scene.behaves(None, &[OLD]);
        scene.succeeds(&["KEY", "--undo"], "");
        assert_eq!(scene.secrets(), before, "{fault:?}");
        // From there on it is as it was at the first time.
        scene.succeeds(&["KEY"], NEW);
        assert_eq!(scene.values()[0], ("key".to_owned(), NEW.to_owned()));
    }
}

#[test]
fn a_fallback_that_is_not_there_yet_is_made_and_undone() {
    let scene = Scene::set(&[("key", OLD)], 100);
    let before = scene.secrets();
    scene.behaves(None, &[OLD]);
    scene.succeeds(&["KEY"], NEW);
    scene.succeeds(&["KEY", "--undo"], "");
    assert_eq!(scene.secrets(), before);
    scene.succeeds(&["KEY"], NEW);
    scene.behaves(None, &[NEW]);
    scene.succeeds(&["KEY", "--finish"], "");
    let values: Vec<_> = scene.values().into_iter().map(|(_, value)| value).collect();
    assert_eq!(values, [NEW, NEW]);
}

#[test]
fn who_comes_second_overwrites_nothing() {
    let scene = Scene::usual();
    // One is asked for the value while the other has it.
    let mut slow = scene.start(&["KEY"]);
    let printed = wait_for(&mut slow, "end this with Ctrl-C");
    scene.succeeds(&["KEY"], NEW);
    let before = scene.secrets();
    assert_eq!(end(slow, OTHER).code, 1);
    let told = printed.join().unwrap();
    assert!(told.contains("yours was not written") && !told.contains(MARK), "{told}");
    assert_eq!(scene.secrets(), before);
}

#[test]
fn a_value_that_is_the_one_before_is_told_and_is_not_the_end_of_the_one_before() {
    let scene = Scene::usual();
    let before = scene.secrets();
    scene.behaves(None, &[OLD]);
    let told = scene.stops(&["KEY"], OLD);
    assert!(told.text.contains("Or the new value is the one before: --undo"), "{}", told.text);
    scene.stops(&["KEY", "--finish"], "");
    scene.succeeds(&["KEY", "--undo"], "");
    assert_eq!(scene.secrets(), before);
}

#[test]
fn nothing_new_is_written_before_the_worker_sees_that_the_present_value_is_kept() {
    let scene = Scene::usual();
    scene.behaves(None, &[OLD]);
    let stale = bindings(&scene.data());
    scene.behaviour.lock().unwrap().stale = Some(stale);
    let told = scene.stops(&["KEY"], NEW);
    assert!(told.text.contains("the same value in both, and sees: KEY ok"), "{}", told.text);
    assert!(told.text.contains("deploy once more"), "{}", told.text);
    assert_eq!(scene.values()[0], ("key".to_owned(), OLD.to_owned()));
    // A primary that cannot be had is not kept: what is behind it may be all that works.
    let scene = Scene::usual();
    let stale = json!({ "KEY": { "state": "failed" }, "KEY_PREVIOUS": { "state": "ok" } });
    scene.behaviour.lock().unwrap().stale = Some(stale);
    assert!(scene.stops(&["KEY"], NEW).text.contains("mend it first"));
    assert_eq!(scene.changes(), 1, "the comment, before it");
}

#[test]
fn what_no_header_carries_is_refused_and_the_line_break_of_echo_is_none() {
    let scene = Scene::usual();
    scene.behaves(None, &[]);
    for value in ["", "\n", " new-5ecret", "new-5ecret ", "new\n5ecret", "new-5ecret\n\n", "a\0b"] {
        assert!(scene.stops(&["KEY"], value).text.contains("the new value"), "{value:?}");
    }
    assert_eq!(scene.changes(), 0);
    scene.succeeds(&["KEY"], &format!("{NEW}\r\n"));
    assert_eq!(scene.values()[0].1, NEW);
}

#[test]
fn without_room_or_without_the_right_token_nothing_is_changed() {
    let scene = Scene::set(&[("key", OLD), ("key_previous", OTHER)], 2);
    let before = scene.secrets();
    assert!(scene.stops(&["KEY"], NEW).text.contains("quota of secrets is used up"));
    assert_eq!(scene.secrets(), before);

    let url = format!("http://{}", scene.address);
    let told = end(scene.start_at(&url, "wrong-5ecret", &["KEY"]), NEW);
    assert_eq!(told.code, 1);
    assert!(told.text.contains("does not know this admin token"), "{}", told.text);
    assert_eq!(scene.secrets(), before);
}

#[test]
fn the_admin_token_is_not_sent_where_others_could_see_it() {
    let scene = Scene::usual();
    let refused = |url: &str, why: &str| {
        let told = end(scene.start_at(url, ADMIN, &["KEY"]), NEW);
        assert_eq!(told.code, 1);
        assert!(told.text.contains(why), "{}", told.text);
    };
    refused("http://gateway.example.com", "is not encrypted");
    refused("http://127.0.0.1.example.com", "is not encrypted");
    for url in ["gateway.example.com", "https://user@host", "https://host/path", "ftp://host"] {
        refused(url, "scheme and host alone");
    }
}

#[test]
fn a_token_of_callers_is_rotated_beside_a_second_one() {
    let scene = Scene::usual();
    let told = scene.succeeds(&["TOKEN"], NEW);
    assert!(told.text.contains("\"caller\":\"TOKEN_PREVIOUS\""), "{}", told.text);
    let secrets = scene.secrets();
    assert_eq!((secrets["token"].0.as_str(), secrets["token_previous"].0.as_str()), (NEW, "t"));
}
