//! The built Worker on workerd, with a store whose bindings hang, throw and answer nonsense.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use xtask::{build, process::Process, tools::Tools};

use crate::{
    client::{Call, MARK, call},
    clients, memory,
    upstream::Upstream,
};
#[cfg(feature = "rest-api")]
use crate::{rest::local_api, storm::Scene};

/// What callers show to be let in.
pub const TOKEN: &str = "5ecret-token";
/// What admins show.
pub const ADMIN: &str = "5ecret-admin";
/// What is attached, unless a test says otherwise.
pub const KEY: &str = "5ecret-key";
/// A key with all that has to be encoded somewhere.
pub const ODD_KEY: &str = "5ecret/a&b=c+d e?f#g%41:ü\"";
/// The same, as far as a header can carry it.
pub const ASCII_KEY: &str = "5ecret/a&b=c+d e?f#g%41:\"";

/// The account that admins administer.
pub const ACCOUNT: &str = "985e105f4ecef8ad9ca31a8372d0c353";
/// Its store, where there is one from the start.
#[cfg(feature = "rest-api")]
pub const STORE: &str = "023e105f4ecef8ad9ca31a8372d0c353";
/// The token of its API.
pub const API_TOKEN: &str = "5ecret-api-token";

/// How long something may take to be seen in the log, or a runtime to start.
const PATIENCE: Duration = Duration::from_secs(20);

/// One workerd, with several Workers in it.
pub struct Stubs {
    _process: Process,
    _folder: TempDir,
    ports: BTreeMap<String, u64>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Stubs {
    pub fn start(
        tools: &Tools,
        upstream: &Upstream,
        #[cfg(feature = "rest-api")] scene: &Scene,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let example = xtask::root().join("examples/patterns");
        build::example(tools, &example).unwrap();
        copy_build(&xtask::root(), folder.path(), "gateway");
        copy_build(&example, folder.path(), "patterns");
        fs::write(folder.path().join("store.mjs"), include_str!("store.mjs")).unwrap();
        fs::write(
            folder.path().join("config.capnp"),
            config(
                upstream,
                #[cfg(feature = "rest-api")]
                scene,
            ),
        )
        .unwrap();

        let (sender, listening) = mpsc::channel();
        let log: Arc<Mutex<Vec<String>>> = Arc::default();
        let written = log.clone();
        let process = Process::start_with_lines(
            tools
                .command(tools.workerd().unwrap())
                .args(["serve", "config.capnp", "--control-fd=1", "--inspector-addr=127.0.0.1:0"])
                .current_dir(folder.path()),
            move |line| {
                written.lock().unwrap().push(line.to_owned());
                if let Ok(event) = serde_json::from_str::<Value>(line)
                    && let Some(port) = event["port"].as_u64()
                {
                    // The inspector's event names no socket.
                    let socket = event["socket"].as_str().unwrap_or("inspector");
                    let _ = sender.send((socket.to_owned(), port));
                }
            },
        )
        .unwrap();
        let mut ports = BTreeMap::new();
        while ports.len() < SOCKETS.len() + 1 {
            let Ok((socket, port)) = listening.recv_timeout(PATIENCE) else {
                panic!("workerd did not start: {:?}", log.lock().unwrap());
            };
            ports.insert(socket, port);
        }
        Self { _process: process, _folder: folder, ports, log }
    }

    /// The gateway with the settings below.
    pub fn gateway(&self, method: &str, path: &str) -> Call {
        self.worker("gateway", method, path)
    }

    pub fn worker(&self, socket: &str, method: &str, path: &str) -> Call {
        call(method, &format!("http://{}{path}", self.address(socket)))
    }

    pub fn address(&self, socket: &str) -> String {
        format!("127.0.0.1:{}", self.ports[socket])
    }

    /// How often a binding was asked for its value.
    pub fn gets(&self, binding: &str) -> u64 {
        self.worker("store", "GET", "/").send().json()[binding].as_u64().unwrap_or(0)
    }

    /// Where secrets or tokens stand in the gateway's Wasm memory.
    pub fn residue(&self) -> Vec<String> {
        // A trace too large to be overwritten by chance, where what is freed were not wiped.
        let entry = json!({
            "upstream": "query", "method": "POST", "path": "/x",
            "body": format!("{TOKEN} ").repeat(10_000),
        });
        let batch = json!({ "requests": [entry] }).to_string();
        let answer = self.gateway("POST", "/batch").bearer(TOKEN).body(batch).send();
        assert_eq!(answer.status, 200);
        let workers = [
            "gateway",
            "admin",
            "page",
            "broken",
            "patterns",
            #[cfg(feature = "rest-api")]
            "rest",
            #[cfg(feature = "rest-api")]
            "small_rest",
            "streams",
            "clients",
        ];
        memory::search(self.ports["inspector"], &workers, MARK)
    }

    /// The log line of a request.
    pub fn log_line(&self, request_id: &str) -> Value {
        let line = self.line_with(&format!("{{\"request_id\":\"{request_id}\""));
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line}"))
    }

    /// A line that was logged, or is about to be.
    pub fn line_with(&self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(line) = self.lines().into_iter().find(|line| line.contains(text)) {
                return line;
            }
            assert!(Instant::now() < deadline, "no log line with {text}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// What was logged after the first `count` lines.
    #[cfg(feature = "rest-api")]
    pub fn lines_after(&self, count: usize) -> Vec<String> {
        self.log.lock().unwrap().get(count..).unwrap_or_default().to_vec()
    }

    /// Where secrets stand in the Wasm memory of one Worker, and how large that memory is.
    pub fn memory(&self, worker: &str) -> (Vec<String>, u64) {
        let inspector = self.ports["inspector"];
        (memory::search(inspector, &[worker], MARK), memory::size(inspector, worker))
    }

    /// Tells a binding that does as it is told what to do from now on.
    #[cfg(feature = "rest-api")]
    pub fn tell(&self, binding: &str, does: &str, value: &Value) {
        let body = json!({ "name": binding, "does": does, "value": value });
        let answer = self.worker("store", "POST", "/").body(body.to_string()).send();
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// All that was logged.
    pub fn lines(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
}

fn copy_build(from: &Path, to: &Path, name: &str) {
    let folder = to.join(name);
    fs::create_dir(&folder).unwrap();
    for file in ["index.js", "index_bg.wasm"] {
        fs::copy(from.join("build").join(file), folder.join(file)).unwrap();
    }
}

const SOCKETS: &[&str] = &[
    "gateway",
    "admin",
    "page",
    "broken",
    "patterns",
    "unbound",
    "store",
    #[cfg(feature = "rest-api")]
    "rest",
    #[cfg(feature = "rest-api")]
    "small_rest",
    #[cfg(feature = "rest-api")]
    "lost_api",
    #[cfg(feature = "rest-api")]
    "unreachable_api",
    "streams",
    #[cfg(feature = "rest-api")]
    "storm",
    "clients",
];

fn config(upstream: &Upstream, #[cfg(feature = "rest-api")] scene: &Scene) -> String {
    let base_url = format!("http://{}", upstream.address);
    let services: &[String] = &[
        worker("gateway", &bindings(&upstreams(&base_url))),
        worker("admin", &admin_bindings(&base_url)),
        worker("page", &page_bindings(&base_url)),
        // The same on its own, so that its memory is its own.
        worker("streams", &bindings(&upstreams(&base_url))),
        worker("broken", &broken_bindings()),
        worker("patterns", &pattern_bindings(&base_url)),
        #[cfg(feature = "rest-api")]
        worker("rest", &api_bindings(&local_api(1000, &[STORE]), "API_TOKEN")),
        #[cfg(feature = "rest-api")]
        worker("small_rest", &api_bindings(&local_api(5, &[]), "API_TOKEN")),
        #[cfg(feature = "rest-api")]
        worker("lost_api", &api_bindings(&base_url, "NOT_FOUND")),
        #[cfg(feature = "rest-api")]
        worker("unreachable_api", &api_bindings("http://127.0.0.1:1", "API_TOKEN")),
        worker("unbound", &[plain("UPSTREAM", &base_url)]),
        #[cfg(feature = "rest-api")]
        worker("storm", &storm_bindings(scene)),
        worker("clients", &client_bindings(upstream)),
        r#"(name = "store", worker = (
            compatibilityDate = "2026-10-01",
            modules = [(name = "store.mjs", esModule = embed "store.mjs")]))"#
            .to_owned(),
        r#"(name = "internet", network = (allow = ["public", "private", "local"],
            tlsOptions = (trustBrowserCas = true)))"#
            .to_owned(),
    ];
    let socket = |name: &&str| {
        format!(r#"(name = "{name}", address = "127.0.0.1:0", http = (), service = "{name}")"#)
    };
    let sockets: Vec<_> = SOCKETS.iter().map(socket).collect();
    format!(
        "using Workerd = import \"/workerd/workerd.capnp\";\n\
         const config :Workerd.Config = (\n  services = [{}],\n  sockets = [{}],\n  \
           extensions = [(modules = [(name = \"test:at-once\", internal = true,\n    \
             esModule = \"export default ({{ value }}) => ({{ get: () => value }})\")])]\n);\n",
        services.join(",\n"),
        sockets.join(",\n")
    )
}

fn worker(name: &str, bindings: &[String]) -> String {
    // The example is a Worker of its own; the others are the gateway with other bindings.
    let is_example = ["patterns", "unbound"].contains(&name);
    let build = if is_example { "patterns" } else { "gateway" };
    format!(
        r#"(name = "{name}", worker = (
            compatibilityDate = "2026-10-01",
            compatibilityFlags = ["enable_request_signal", "request_signal_passthrough"],
            modules = [
                (name = "index.js", esModule = embed "{build}/index.js"),
                (name = "index_bg.wasm", wasm = embed "{build}/index_bg.wasm")],
            bindings = [{}]))"#,
        bindings.join(",\n")
    )
}

/// A Secrets Store binding.
fn secret(name: &str, does: &str, value: impl Into<Value>) -> String {
    let props = json!({ "name": name, "does": does, "value": value.into() }).to_string();
    format!(
        r#"(name = "{name}", service = (name = "store", entrypoint = "Secret", props = (json = {})))"#,
        quoted(&props)
    )
}

fn plain(name: &str, value: &str) -> String {
    format!(r#"(name = "{name}", text = {})"#, quoted(value))
}

fn variable(name: &str, value: &Value) -> String {
    format!(r#"(name = "{name}", json = {})"#, quoted(&value.to_string()))
}

/// Text in a workerd configuration, whose strings are written as in C: bytes of UTF-8.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The failures of a binding: its name, what it does, and the kind of error that it is.
pub const FAILURES: [(&str, &str); 13] = [
    ("NOT_BOUND", "not_bound"),
    ("WRONG_KIND", "wrong_kind"),
    ("A_NUMBER", "wrong_kind"),
    ("A_NAMESPACE", "wrong_kind"),
    ("NOT_FOUND", "not_found"),
    ("THROWS", "failed"),
    ("HANGS", "timed_out"),
    ("IS_NULL", "null"),
    ("IS_UNDEFINED", "null"),
    ("NO_PROMISE", "null"),
    ("IS_EMPTY", "empty"),
    ("LINE_BREAK", "not_header_safe"),
    ("BEYOND_ASCII", "not_header_safe"),
];

fn failing_secrets() -> Vec<String> {
    vec![
        variable("WRONG_KIND", &json!({ "not": "a secret" })),
        secret("A_NUMBER", "answer", 5),
        secret("NOT_FOUND", "throw", "Secret \"x\" not found"),
        secret("THROWS", "throw", "boom: the value is 5ecret-in-an-error"),
        secret("HANGS", "hang", ""),
        secret("IS_NULL", "answer", Value::Null),
        secret("IS_EMPTY", "answer", ""),
        secret("IS_UNDEFINED", "nothing", ""),
        secret("LINE_BREAK", "answer", "5ecret-from-a-file\n"),
        secret("BEYOND_ASCII", "answer", "5ecret-ü"),
        r#"(name = "A_NAMESPACE", kvNamespace = "store")"#.to_owned(),
        at_once("NO_PROMISE", &Value::Null),
    ]
}

/// A binding whose `get` answers its value, and no promise of it.
fn at_once(name: &str, value: &Value) -> String {
    let value = variable("value", value);
    format!(
        r#"(name = "{name}", wrapped = (moduleName = "test:at-once", innerBindings = [{value}]))"#
    )
}

fn bindings(upstreams: &Value) -> Vec<String> {
    let mut bindings = failing_secrets();
    bindings.extend([
        variable("UPSTREAMS", upstreams),
        secret("TOKEN", "answer", TOKEN),
        secret("KEY", "answer", KEY),
        at_once("KEY_AT_ONCE", &KEY.into()),
        secret("ODD_KEY", "answer", ODD_KEY),
        secret("ASCII_KEY", "answer", ASCII_KEY),
        secret("OTHER_KEY", "answer", "5ecret-other"),
        secret("CLIENT_ID", "answer", "5ecret-client"),
        secret("CHANGES", "change", "5ecret-changes"),
        secret("COUNTED_TOKEN", "answer", TOKEN),
        secret("COUNTED", "answer", KEY),
        secret("BATCHED_TOKEN", "answer", TOKEN),
        secret("BATCHED", "answer", KEY),
        secret("UNTOUCHED_TOKEN", "answer", TOKEN),
        secret("UNTOUCHED", "answer", KEY),
        secret("REFUSED", "answer", KEY),
        secret("NOT_NEEDED", "answer", KEY),
        secret("UNNEEDED_FALLBACK", "answer", KEY),
        plain("PLAIN_TOKEN", "5ecret-plain-token"),
        plain("PLAIN", "5ecret-plain"),
    ]);
    bindings.extend((0..16).map(|index| {
        let name = format!("MEETS_{index}");
        secret(&name, "meet", json!({ "of": 17, "value": format!("5ecret-{name}") }))
    }));
    bindings.push(secret("PAIR_A", "pair", json!({ "of": 2, "value": TOKEN })));
    bindings.push(secret("PAIR_B", "pair", json!({ "of": 2, "value": "5ecret-pair" })));
    for name in ["EARLY_KEY", "EARLY_FALLBACK"] {
        bindings.push(secret(name, "early", json!({ "of": 2, "value": "5ecret-early" })));
    }
    bindings.push(secret("MEETS_TOKEN", "meet", json!({ "of": 17, "value": TOKEN })));
    bindings
}

fn upstreams(base_url: &str) -> Value {
    // `settings` over an upstream that has what every upstream needs.
    let upstream = |settings: Value| {
        let mut upstream = json!({
            "base_url": base_url,
            "callers": ["TOKEN"],
            "credentials": [{ "type": "bearer", "secret": "KEY" }],
        });
        for (name, value) in settings.as_object().unwrap() {
            upstream[name] = value.clone();
        }
        upstream
    };
    let with = |credential: Value| upstream(json!({ "credentials": [credential] }));
    let bearer = |secret: &str| with(json!({ "type": "bearer", "secret": secret }));
    let mut upstreams = json!({
        "bearer": bearer("KEY"),
        "based": upstream(json!({ "base_url": format!("{base_url}/v2/") })),
        "basic": with(json!({ "type": "basic", "username": "alice", "secret": "ODD_KEY" })),
        "header": with(json!({ "type": "header", "name": "X-API-Key", "secret": "ASCII_KEY" })),
        "prefixed": with(json!({
            "type": "header", "name": "Authorization", "prefix": "Token token=", "secret": "KEY"
        })),
        "query": with(json!({ "type": "query", "name": "api key", "secret": "ODD_KEY" })),
        "several": upstream(json!({ "credentials": [
            { "type": "bearer", "secret": "KEY" },
            { "type": "header", "name": "x-client-id", "secret": "CLIENT_ID" },
            { "type": "query", "name": "key", "secret": "KEY" },
        ] })),
        "plain": upstream(json!({
            "callers": ["PLAIN_TOKEN"], "credentials": [{ "type": "bearer", "secret": "PLAIN" }]
        })),
        "changes": bearer("CHANGES"),
        "fallback": with(json!({ "type": "bearer", "secret": "NOT_FOUND", "fallback": "KEY" })),
        "unneeded": with(json!({
            "type": "bearer", "secret": "KEY", "fallback": "UNNEEDED_FALLBACK"
        })),
        "rotated": with(json!({ "type": "bearer", "secret": "KEY", "fallback": "OTHER_KEY" })),
        "rotated_query": with(json!({
            "type": "query", "name": "key", "secret": "KEY", "fallback": "OTHER_KEY"
        })),
        "rotated_both": upstream(json!({ "credentials": [
            { "type": "bearer", "secret": "KEY", "fallback": "OTHER_KEY" },
            { "type": "header", "name": "x-client-id", "secret": "CLIENT_ID" },
        ] })),
        "half_rotated": with(json!({ "type": "bearer", "secret": "KEY", "fallback": "IS_NULL" })),
        "both_fail": with(json!({ "type": "bearer", "secret": "IS_NULL", "fallback": "IS_EMPTY" })),
        "two_fail": upstream(json!({ "credentials": [
            { "type": "bearer", "secret": "NOT_FOUND" },
            { "type": "header", "name": "x-a", "secret": "KEY" },
            { "type": "header", "name": "x-b", "secret": "NOT_BOUND" },
        ] })),
        "counted": upstream(json!({ "callers": ["COUNTED_TOKEN"], "credentials": [
            { "type": "bearer", "secret": "COUNTED" },
            { "type": "header", "name": "x-again", "secret": "COUNTED" },
        ] })),
        "batched": upstream(json!({
            "callers": ["BATCHED_TOKEN"],
            "credentials": [{ "type": "bearer", "secret": "BATCHED" }],
        })),
        "untouched": upstream(json!({
            "callers": ["UNTOUCHED_TOKEN"],
            "credentials": [{ "type": "bearer", "secret": "UNTOUCHED" }],
        })),
        "not_needed": bearer("NOT_NEEDED"),
        "narrow": upstream(json!({
            "credentials": [{ "type": "bearer", "secret": "REFUSED" }],
            "methods": ["GET", "POST"],
            "paths": ["/charges", "/customers/*"],
        })),
        "public": upstream(json!({ "callers": "public" })),
        "rotating": upstream(json!({ "callers": ["NOT_FOUND", "TOKEN"] })),
        "rotating_query": upstream(json!({
            "callers": ["NOT_FOUND", "TOKEN"],
            "credentials": [{ "type": "query", "name": "key", "secret": "KEY" }],
        })),
        "two_callers": upstream(json!({ "callers": ["PAIR_A", "PAIR_B"] })),
        "unreachable_query": upstream(json!({
            "base_url": "http://127.0.0.1:1",
            "credentials": [{ "type": "query", "name": "key", "secret": "KEY" }],
        })),
        "lost": upstream(json!({ "callers": ["NOT_FOUND"] })),
        "empty": upstream(json!({ "callers": ["IS_EMPTY"] })),
        "own": upstream(json!({ "hosts": ["own.gateway.example"] })),
        "unreachable": upstream(json!({ "base_url": "http://127.0.0.1:1" })),
        "no_tls": upstream(json!({ "base_url": base_url.replacen("http", "https", 1) })),
        "impatient": upstream(json!({ "timeout_ms": 200 })),
        "sixteen": upstream(json!({ "callers": ["MEETS_TOKEN"], "credentials": (0..16).map(|index| json!({
            "type": "header", "name": format!("x-{index}"), "secret": format!("MEETS_{index}")
        })).collect::<Vec<_>>() })),
    });
    upstreams["at_once"] = bearer("KEY_AT_ONCE");
    upstreams["early"] = upstream(json!({ "credentials": [
        { "type": "header", "name": "x-key", "secret": "EARLY_KEY" },
        { "type": "bearer", "secret": "NOT_FOUND", "fallback": "EARLY_FALLBACK" },
    ] }));
    for (binding, _) in FAILURES {
        upstreams[binding.to_lowercase()] = bearer(binding);
    }
    upstreams
}

/// The gateway with admins; its settings are JSON text.
fn admin_bindings(base_url: &str) -> Vec<String> {
    let credentials: Vec<Value> = FAILURES
        .iter()
        .enumerate()
        .map(|(index, (binding, _))| {
            json!({ "type": "header", "name": format!("x-{index}"), "secret": binding })
        })
        .collect();
    let upstreams = json!({
        "failing": { "base_url": base_url, "callers": ["TOKEN"], "credentials": credentials },
    });
    let api = json!({
        "base_url": base_url, "account_id": ACCOUNT, "token": "KEY",
        "callers": ["NOT_BOUND", "ADMIN"],
    });
    let mut bindings = failing_secrets();
    bindings.extend([
        plain("UPSTREAMS", &upstreams.to_string()),
        plain("SECRETS_STORE_API", &api.to_string()),
        secret("TOKEN", "answer", TOKEN),
        secret("ADMIN", "answer", ADMIN),
        secret("KEY", "answer", KEY),
    ]);
    bindings
}

/// The gateway as the status page's pictures show it: some bindings fail, the others take a while.
/// `LEDGER_KEY` does as it is told.
fn page_bindings(base_url: &str) -> Vec<String> {
    let upstreams = json!({
        "ledger": {
            "base_url": base_url,
            "callers": ["GATEWAY_TOKEN"],
            "credentials": [
                { "type": "header", "name": "x-client-id", "secret": "LEDGER_ID" },
                { "type": "basic", "username": "gateway", "secret": "LEDGER_KEY" },
            ],
        },
        "maps": {
            "base_url": base_url,
            "callers": "public",
            "credentials": [{ "type": "query", "name": "key", "secret": "MAPS_KEY" }],
        },
        "stripe": {
            "base_url": base_url,
            "callers": ["GATEWAY_TOKEN"],
            "credentials": [{
                "type": "bearer", "secret": "STRIPE_KEY", "fallback": "STRIPE_KEY_PREVIOUS"
            }],
        },
    });
    let api = json!({
        "base_url": base_url, "account_id": ACCOUNT, "token": "CF_API_TOKEN",
        "callers": ["ADMIN_TOKEN"],
    });
    let takes = |name: &str, ms: u32, value: &str| {
        secret(name, "take", json!({ "ms": ms, "value": value }))
    };
    vec![
        variable("UPSTREAMS", &upstreams),
        variable("SECRETS_STORE_API", &api),
        takes("GATEWAY_TOKEN", 9, TOKEN),
        takes("LEDGER_ID", 31, "5ecret-ledger"),
        secret("LEDGER_KEY", "as told", Value::Null),
        takes("MAPS_KEY", 23, "5ecret-from-a-file\n"),
        takes("STRIPE_KEY", 14, KEY),
        secret("STRIPE_KEY_PREVIOUS", "throw", "Secret \"x\" not found"),
        takes("ADMIN_TOKEN", 8, ADMIN),
        takes("CF_API_TOKEN", 19, API_TOKEN),
    ]
}

/// The gateway in front of a REST API.
#[cfg(feature = "rest-api")]
fn api_bindings(base_url: &str, token: &str) -> Vec<String> {
    let api = json!({
        "base_url": base_url, "account_id": ACCOUNT, "token": token, "callers": ["ADMIN"],
    });
    vec![
        variable("SECRETS_STORE_API", &api),
        secret("ADMIN", "answer", ADMIN),
        secret("API_TOKEN", "answer", API_TOKEN),
        secret("NOT_FOUND", "throw", "Secret \"x\" not found"),
    ]
}

/// The gateway in the storm: what its secrets are changes while it runs.
#[cfg(feature = "rest-api")]
fn storm_bindings(scene: &Scene) -> Vec<String> {
    let mut bindings = vec![
        variable("UPSTREAMS", &scene.upstreams()),
        variable("SECRETS_STORE_API", &scene.secrets_store_api()),
    ];
    bindings.extend(scene.secrets.names().map(|name| secret(name, "as told", Value::Null)));
    bindings
}

/// The gateway of docs/clients.md.
fn client_bindings(upstream: &Upstream) -> Vec<String> {
    let settings = clients::settings(upstream);
    let mut bindings = vec![variable("UPSTREAMS", &settings)];
    bindings.extend(
        clients::secrets(&settings)
            .iter()
            .map(|(name, value)| secret(name, "answer", value.as_str())),
    );
    bindings
}

fn broken_bindings() -> Vec<String> {
    let upstreams = json!({ "demo": {
        "base_url": "https://api.example.com",
        "credentials": [{ "type": "beerer", "secret": "KEY" }],
    } });
    vec![variable("UPSTREAMS", &upstreams), secret("KEY", "answer", KEY)]
}

/// The example's bindings; there is no API_KEY_NEXT.
fn pattern_bindings(base_url: &str) -> Vec<String> {
    let account = json!({ "client_email": "a@example.com", "private_key": "5ecret-private" });
    vec![
        plain("UPSTREAM", base_url),
        plain("PLAIN", "5ecret-plain"),
        secret("API_KEY", "change", "5ecret-pattern"),
        secret("CLIENT_ID", "answer", "5ecret-client"),
        // As it comes from a file.
        secret("SERVICE_ACCOUNT", "answer", format!("{account}\n")),
    ]
}
