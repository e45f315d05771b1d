//! `cargo xtask deploy` as it is run, with the real wrangler, before a stand-in of the account's API
//! and of the Worker that is deployed.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "in a test, a panic is how a claim fails"
)]

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::any,
};
use serde_json::{Value, json};
use tempfile::TempDir;

const ACCOUNT: &str = "0123456789abcdef0123456789abcdef";
const STORE: &str = "023e105f4ecef8ad9ca31a8372d0c353";
const TOKEN: &str = "account-5ecret";
const ADMIN: &str = "admin-5ecret";

/// What the stand-in has, and what it was asked for.
#[derive(Default)]
struct Cloud {
    /// The secret of the one binding has this status.
    status: &'static str,
    /// An upload is refused, with code 10182.
    refuses: bool,
    /// What the deployed Worker tells of the one binding.
    state: &'static str,
    /// How often it answers 503 to /healthz before.
    starting: usize,
    asked: Vec<String>,
}

/// An account, a Worker and a `wrangler.toml` for them.
struct Scene {
    folder: TempDir,
    address: SocketAddr,
    cloud: Arc<Mutex<Cloud>>,
}

impl Scene {
    fn set(cloud: Cloud) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let main = xtask::root().join("build/index.js");
        let main = main.display();
        let config = format!(
            r#"
name = "gateway"
main = "{main}"
compatibility_date = "2026-10-01"

[[env.live.secrets_store_secrets]]
binding = "KEY"
store_id = "{STORE}"
secret_name = "key"

[env.live.vars.UPSTREAMS.demo]
base_url = "https://api.example.com"
callers = ["KEY"]
credentials = []

[env.live.vars.SECRETS_STORE_API]
base_url = "https://api.cloudflare.com/client/v4"
account_id = "{ACCOUNT}"
token = "KEY"
callers = ["KEY"]
"#
        );
        fs::write(folder.path().join("wrangler.toml"), config).unwrap();
        let cloud = Arc::new(Mutex::new(cloud));
        Self { folder, address: start(cloud.clone()), cloud }
    }

    fn right() -> Self {
        Self::set(Cloud { status: "active", state: "ok", ..Cloud::default() })
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn deploy(&self, arguments: &[&str]) -> (i32, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
            .args(["deploy", "--env", "live", "--skip-tests", "--wait", "1", "--config"])
            .arg(self.folder.path().join("wrangler.toml"))
            .args(arguments)
            .current_dir(xtask::root())
            .env("CLOUDFLARE_API_BASE_URL", format!("{}/client/v4", self.url()))
            .env("CLOUDFLARE_ACCOUNT_ID", ACCOUNT)
            .env("CLOUDFLARE_API_TOKEN", TOKEN)
            .env("GATEWAY_ADMIN_TOKEN", ADMIN)
            .env("WRANGLER_WRITE_LOGS", "false")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let printed = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(!printed.contains("5ecret"), "a secret got out: {printed}");
        (output.status.code().unwrap(), printed)
    }

    fn has_uploaded(&self) -> bool {
        self.cloud.lock().unwrap().asked.iter().any(|it| it.starts_with("PUT "))
    }
}

fn start(cloud: Arc<Mutex<Cloud>>) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(any(move |request: Request| {
        let cloud = cloud.clone();
        async move {
            // The upload is read to its end, before the connection may be closed.
            let (parts, body) = request.into_parts();
            to_bytes(body, usize::MAX).await.unwrap();
            answer(&Request::from_parts(parts, Body::empty()), &mut cloud.lock().unwrap())
        }
    }));
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, router).await.unwrap();
        });
    });
    address
}

fn answer(request: &Request, cloud: &mut Cloud) -> Response {
    let path = request.uri().path();
    cloud.asked.push(format!("{} {path}", request.method()));
    let shows = |token: &str| {
        let shown = request.headers().get(header::AUTHORIZATION);
        shown.is_some_and(|it| it == &format!("Bearer {token}"))
    };
    if path == "/healthz" {
        let is_there = cloud.starting == 0;
        cloud.starting = cloud.starting.saturating_sub(1);
        let status = if is_there { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        return status.into_response();
    }
    if path == "/readyz" {
        if !shows(ADMIN) {
            return StatusCode::UNAUTHORIZED.into_response();
        }
        let bindings = json!({ "KEY": { "state": cloud.state, "ms": 1 } });
        let answer = json!({ "success": true, "result": { "bindings": bindings } });
        return answer.to_string().into_response();
    }
    let fails = |status: StatusCode, code: u32, message: &str| {
        let errors = json!([{ "code": code, "message": message }]);
        let body = json!({ "success": false, "errors": errors, "messages": [], "result": null });
        (status, body.to_string()).into_response()
    };
    if !shows(TOKEN) {
        return fails(StatusCode::FORBIDDEN, 10000, "Authentication error");
    }
    let path = path.strip_prefix(&format!("/client/v4/accounts/{ACCOUNT}")).unwrap();
    let time = "2025-04-01T09:30:00.123456Z";
    let result = match path {
        "/secrets_store/stores" => {
            json!([{ "id": STORE, "name": "main", "created": time, "modified": time }])
        }
        "/secrets_store/quota" => json!({ "secrets": { "quota": 100, "usage": 1 } }),
        _ if path.starts_with("/secrets_store/") => json!([{
            "id": "0".repeat(32), "store_id": STORE, "name": "key", "scopes": ["workers"],
            "status": cloud.status, "created": time, "modified": time,
        }]),
        // No name that could be asked for: without --url, that is told.
        "/workers/subdomain" => json!({ "subdomain": "not/a/name" }),
        "/workers/scripts/gateway-live/secrets" => json!([]),
        "/workers/scripts/gateway-live/deployments" => json!({ "deployments": [] }),
        "/workers/scripts/gateway-live/subdomain" => {
            json!({ "enabled": true, "previews_enabled": true })
        }
        "/workers/workers/gateway-live" => {
            json!({ "subdomain": { "enabled": true, "previews_enabled": true } })
        }
        _ if path.starts_with("/workers/services/") => {
            return fails(StatusCode::NOT_FOUND, 10090, "This service does not exist");
        }
        "/workers/scripts/gateway-live" if cloud.refuses => {
            return fails(StatusCode::BAD_REQUEST, 10182, "binding KEY: secret is pending");
        }
        "/workers/scripts/gateway-live" => json!({
            "id": "gateway-live", "startup_time_ms": 3,
            "deployment_id": "7d4a7ba4a7604a1ba5c099480d584cac",
        }),
        _ => Value::Null,
    };
    let info = json!({ "page": 1, "per_page": 100, "count": 1, "total_count": 1 });
    json!({
        "success": true, "errors": [], "messages": [], "result": result, "result_info": info,
    })
    .to_string()
    .into_response()
}

#[test]
fn what_is_deployed_is_checked_where_it_runs() {
    let scene = Scene::right();
    scene.cloud.lock().unwrap().starting = 1;
    let (code, printed) = scene.deploy(&["--url", &scene.url()]);
    assert_eq!(code, 0, "{printed}");
    assert!(scene.has_uploaded());
    let asked = scene.cloud.lock().unwrap().asked.clone();
    assert_eq!(asked.iter().filter(|it| *it == "GET /healthz").count(), 2, "503 is not well");
    let ready = format!("{} is ready: each of its 1 bindings can be had.", scene.url());
    assert!(printed.contains(&ready), "{printed}");
    assert!(printed.contains("  npx wrangler rollback --env live --config "), "{printed}");
}

#[test]
fn what_is_not_ready_is_told_by_its_kind_and_with_the_way_back() {
    let scene = Scene::set(Cloud { status: "active", state: "not_found", ..Cloud::default() });
    let (code, printed) = scene.deploy(&["--url", &scene.url()]);
    assert_eq!(code, 3, "{printed}");
    assert!(scene.has_uploaded());
    assert!(printed.contains("\n  KEY: not_found — the store has no such secret"), "{printed}");
    assert!(printed.contains("  npx wrangler rollback --env live --config "), "{printed}");
    // Mended, it is looked at again, and nothing is deployed for it.
    let mut cloud = scene.cloud.lock().unwrap();
    (cloud.state, cloud.asked) = ("ok", Vec::new());
    drop(cloud);
    let (code, printed) = scene.deploy(&["--check", "--url", &scene.url()]);
    assert_eq!(code, 0, "{printed}");
    assert_eq!(scene.cloud.lock().unwrap().asked, ["GET /healthz", "GET /readyz"]);
}

#[test]
fn without_an_address_the_one_that_wrangler_tells_is_checked() {
    let scene = Scene::right();
    let (code, printed) = scene.deploy(&[]);
    assert_eq!(code, 3, "{printed}");
    assert!(scene.has_uploaded());
    let told = "--check --url https://gateway-live.not/a/name.workers.dev\n";
    assert!(
        printed.contains("must be scheme and host alone") && printed.contains(told),
        "{printed}"
    );
}

#[test]
fn what_doctor_finds_is_not_deployed() {
    let scene = Scene::set(Cloud { status: "pending", state: "ok", ..Cloud::default() });
    let (code, printed) = scene.deploy(&["--url", &scene.url()]);
    assert_eq!(code, 1, "{printed}");
    assert!(printed.contains("KEY: the secret key is still pending"), "{printed}");
    assert!(printed.contains("nothing was deployed. Mend what doctor found"), "{printed}");
    assert!(!scene.has_uploaded());
}

#[test]
fn an_upload_that_is_refused_is_told_as_one_and_nothing_is_checked() {
    let scene =
        Scene::set(Cloud { refuses: true, ..Cloud { status: "active", ..Cloud::default() } });
    let (code, printed) = scene.deploy(&["--url", &scene.url()]);
    assert_eq!(code, 1, "{printed}");
    assert!(printed.contains("10182"), "{printed}");
    assert!(printed.contains("the version before is still the one that runs"), "{printed}");
    assert!(!scene.cloud.lock().unwrap().asked.contains(&"GET /healthz".to_owned()));
}

#[test]
fn a_dry_run_asks_nobody() {
    let scene = Scene::right();
    let (code, printed) = scene.deploy(&["--dry-run"]);
    assert_eq!(code, 0, "{printed}");
    assert!(printed.contains("env.KEY") && printed.contains("nothing was deployed"), "{printed}");
    assert_eq!(scene.cloud.lock().unwrap().asked, Vec::<String>::new());
}

#[test]
fn where_nobody_answers_it_is_not_ready() {
    let scene = Scene::right();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let (code, printed) = scene.deploy(&["--check", "--url", &url]);
    assert_eq!(code, 3, "{printed}");
    assert!(printed.contains(&format!("{url}/healthz gives no answer")), "{printed}");
}
