//! `cargo xtask doctor` as it is run: its output, its exit codes, and what it asks the API for.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "in a test, a panic is how a claim fails"
)]

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::{Command, Output},
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    extract::Request,
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::any,
};
use serde_json::{Value, json};
use tempfile::TempDir;

const ACCOUNT: &str = "0123456789abcdef0123456789abcdef";
const STORE: &str = "023e105f4ecef8ad9ca31a8372d0c353";
const TOKEN: &str = "the-account-token";

/// In every file that may hold one; it must never come out.
const VALUE: &str = "value-that-nobody-may-see";

/// A `wrangler.toml` with every fault there is.
const FAULTY: &str = r#"
name = "gateway"

[[secrets_store_secrets]]
binding = "API_KEY"
store_id = "00000000000000000000000000000000"
secret_name = "api_key"

[[secrets_store_secrets]]
binding = "GATEWAY_TOKEN"
store_id = "00000000000000000000000000000000"
secret_name = "gateway_token"

[vars.UPSTREAMS.demo]
base_url = "https://api.example.com"
callers = ["GATEWAY_TOKEN", "SECOND_TOKEN"]
credentials = [{ type = "bearer", secret = "API_KEY" }]

[env.empty]

[env.broken.vars.UPSTREAMS.demo]
base_url = "https://api.example.com"
callers = "everybody"
credentials = []

[env.production.vars.UPSTREAMS.demo]
base_url = "https://api.example.com"
callers = ["GATEWAY_TOKEN"]
credentials = [
  { type = "bearer", secret = "NO_STORE" },
  { type = "bearer", secret = "MISSING" },
  { type = "bearer", secret = "CASE" },
  { type = "bearer", secret = "SCOPE" },
  { type = "bearer", secret = "PENDING" },
  { type = "bearer", secret = "PUT_BEFORE" },
  { type = "bearer", secret = "DEPLOYED" },
  { type = "bearer", secret = "NOWHERE" },
]
"#;

/// `[env.production]` binds these, each a secret of its own.
const BOUND: [(&str, &str, &str); 7] = [
    ("NO_STORE", "f00df00df00df00df00df00df00df00d", "any"),
    ("MISSING", STORE, "missing"),
    ("CASE", STORE, "case"),
    ("SCOPE", STORE, "scope"),
    ("PENDING", STORE, "pending"),
    ("PUT_BEFORE", STORE, "put_before"),
    ("UNUSED", STORE, "unused"),
];

fn faulty() -> String {
    let entries = BOUND.map(|(binding, store, secret)| {
        format!(
            "[[env.production.secrets_store_secrets]]\nbinding = \"{binding}\"\n\
             store_id = \"{store}\"\nsecret_name = \"{secret}\"\n"
        )
    });
    FAULTY.to_owned() + &entries.concat()
}

/// As `[env.production]` should be.
fn right() -> String {
    format!(
        "name = \"gateway\"\n[[env.production.secrets_store_secrets]]\nbinding = \"KEY\"\n\
         store_id = \"{STORE}\"\nsecret_name = \"put_before\"\n\
         [env.production.vars.UPSTREAMS.demo]\ncallers = \"public\"\n\
         credentials = [{{ type = \"bearer\", secret = \"KEY\" }}]\n"
    )
}

/// An account, and what it was asked for.
struct Api {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Api {
    /// Starts it on a free port; it runs until the tests end.
    fn start(answer: fn(&Request) -> Response) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let note = asked.clone();
        let router = Router::new().fallback(any(move |request: Request| {
            note.lock().unwrap().push(format!("{} {}", request.method(), request.uri()));
            std::future::ready(answer(&request))
        }));
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, router).await.unwrap();
            });
        });
        Self { address, asked }
    }

    fn base_url(&self) -> String {
        format!("http://{}/client/v4", self.address)
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// An account with one store, which answers in pages of two, whatever it was asked for.
fn account(request: &Request) -> Response {
    let authorization = request.headers().get(header::AUTHORIZATION);
    if authorization.is_none_or(|it| it != &format!("Bearer {TOKEN}")) {
        let errors = json!([{ "code": 10000, "message": "Authentication error" }]);
        let answer = json!({ "success": false, "errors": errors, "messages": [], "result": null });
        return (StatusCode::FORBIDDEN, Json(answer)).into_response();
    }
    let prefix = format!("/client/v4/accounts/{ACCOUNT}");
    let path = request.uri().path().strip_prefix(&prefix).unwrap_or_default();
    let time = "2025-04-01T09:30:00.123456Z";
    if path == "/secrets_store/stores" {
        let store = json!({ "id": STORE, "name": "main", "created": time, "modified": time });
        return page(request.uri(), &[store]);
    }
    if path == format!("/secrets_store/stores/{STORE}/secrets") {
        let secret = |name: &str, scopes: &[&str], status: &str| {
            json!({
                "id": format!("id-of-{name}"), "store_id": STORE, "name": name, "comment": "",
                "scopes": scopes, "status": status, "created": time, "modified": time,
            })
        };
        let all = [
            secret("Case", &["workers"], "active"),
            secret("scope", &["ai_gateway"], "active"),
            secret("pending", &["workers"], "pending"),
            secret("put_before", &["workers"], "active"),
            secret("unused", &["workers", "dex"], "active"),
        ];
        return page(request.uri(), &all);
    }
    let result = match path {
        "/secrets_store/quota" => json!({ "secrets": { "quota": 100, "usage": 95 } }),
        "/workers/scripts/gateway-production/secrets" => json!([
            { "name": "PUT_BEFORE", "type": "secret_text" },
            { "name": "DEPLOYED", "type": "secret_text" },
            // The binding itself, of the version before: no clash.
            { "name": "PENDING", "type": "secrets_store_secret" },
        ]),
        _ => {
            let errors = json!([{ "code": 10007, "message": "This Worker does not exist" }]);
            let answer =
                json!({ "success": false, "errors": errors, "messages": [], "result": null });
            return (StatusCode::NOT_FOUND, Json(answer)).into_response();
        }
    };
    Json(json!({ "success": true, "errors": [], "messages": [], "result": result })).into_response()
}

fn page(uri: &Uri, all: &[Value]) -> Response {
    let query = uri.query().unwrap_or_default();
    let page = query.split('&').find_map(|it| it.strip_prefix("page=")?.parse().ok()).unwrap_or(1);
    let items: Vec<&Value> = all.iter().skip((page - 1) * 2).take(2).collect();
    let info = json!({
        "page": page, "per_page": 2, "count": items.len(), "total_count": all.len(),
        "total_pages": all.len().div_ceil(2),
    });
    Json(json!({
        "success": true, "errors": [], "messages": [], "result": items, "result_info": info,
    }))
    .into_response()
}

/// A folder with this `wrangler.toml`, and a value in each file of secrets.
fn folder(config: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("wrangler.toml", config);
    write(".dev.vars", &format!("DEV_ONLY={VALUE}\n"));
    write("secrets.dev.toml", &format!("api_key = \"{VALUE}\"\n"));
    folder
}

fn doctor(folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["doctor", "--config"])
        .arg(folder.join("wrangler.toml"))
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    for printed in [text(&output.stdout), text(&output.stderr)] {
        assert!(!printed.contains(TOKEN) && !printed.contains(VALUE), "{printed}");
    }
    output
}

fn remotely(config: &str, base_url: &str, token: &str, arguments: &[&str]) -> Output {
    let environment = [
        ("CLOUDFLARE_API_TOKEN", token),
        ("CLOUDFLARE_ACCOUNT_ID", ACCOUNT),
        ("CLOUDFLARE_API_BASE_URL", base_url),
    ];
    doctor(folder(config).path(), &[&["--remote"], arguments].concat(), &environment)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Its exit code and its standard error.
fn failure(output: &Output) -> (Option<i32>, String) {
    assert!(output.stdout.is_empty(), "{}", text(&output.stdout));
    (output.status.code(), text(&output.stderr))
}

#[test]
fn every_fault_is_found_in_an_account_and_none_twice() {
    let api = Api::start(account);
    let output = remotely(&faulty(), &api.base_url(), TOKEN, &["--json"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["ok"], false);
    assert_eq!(
        report["checked"],
        json!([
            { "environment": null, "compared_with": "no_store" },
            { "environment": "broken", "compared_with": "account" },
            { "environment": "empty", "compared_with": "account" },
            { "environment": "production", "compared_with": "account" },
        ])
    );
    let findings = report["findings"].as_array().unwrap();
    let all: Vec<Value> =
        findings.iter().map(|it| json!([it["environment"], it["binding"], it["kind"]])).collect();
    assert_eq!(
        json!(all),
        json!([
            [null, "SECOND_TOKEN", "not_bound"],
            ["broken", null, "malformed"],
            ["empty", null, "no_settings"],
            ["production", "CASE", "differs_in_case"],
            ["production", "GATEWAY_TOKEN", "not_inherited"],
            ["production", "MISSING", "no_such_secret"],
            ["production", "NOWHERE", "not_bound"],
            ["production", "NO_STORE", "no_such_store"],
            ["production", "PENDING", "pending"],
            ["production", "PUT_BEFORE", "plain_and_store"],
            ["production", "SCOPE", "scope_missing"],
            ["production", "UNUSED", "never_used"],
            [null, null, "quota_nearly_used_up"],
        ])
    );
    let config = folder("").path().parent().unwrap().display().to_string();
    let mend = |kind: &str| {
        let it = findings.iter().rfind(|it| it["kind"] == kind).unwrap();
        it["mend"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        mend("scope_missing"),
        format!(
            "npx wrangler secrets-store secret update {STORE} --secret-id id-of-scope --scopes \
             ai_gateway,workers --remote"
        )
    );
    let delete = mend("plain_and_store");
    let expected =
        format!("npx wrangler secret delete PUT_BEFORE --env production --config {config}");
    assert!(delete.starts_with(&expected), "{delete}");
    assert!(mend("not_inherited").contains(&format!("store_id = \"{STORE}\"")));
}

#[test]
fn the_api_is_asked_for_names_alone_page_by_page() {
    let api = Api::start(account);
    remotely(&faulty(), &api.base_url(), TOKEN, &[]);
    let prefix = format!("/client/v4/accounts/{ACCOUNT}");
    let pages = (1..=3).map(|page| {
        format!("GET {prefix}/secrets_store/stores/{STORE}/secrets?page={page}&per_page=100")
    });
    let mut expected = vec![format!("GET {prefix}/secrets_store/stores?page=1&per_page=100")];
    expected.extend(pages);
    expected.push(format!("GET {prefix}/secrets_store/quota"));
    for environment in ["broken", "empty", "production"] {
        expected.push(format!("GET {prefix}/workers/scripts/gateway-{environment}/secrets"));
    }
    assert_eq!(api.asked(), expected);
}

#[test]
fn for_people_each_environment_has_its_findings_below_it() {
    let api = Api::start(account);
    let output = remotely(&right(), &api.base_url(), TOKEN, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stdout),
        format!(
            "top level: settings and bindings compared with each other alone; for development, \
             without an account's store\n\
             [env.production]: compared with the account {ACCOUNT}\n\
             account\n  ✗ 95 of the account's 100 secrets are used — npx wrangler secrets-store \
             secret list {STORE} --per-page 100 --remote, and delete what nothing uses\n\
             1 finding\n"
        )
    );
}

#[test]
fn where_nothing_is_wrong_the_exit_code_is_zero() {
    let api = Api::start(roomy);
    let output = remotely(&right(), &api.base_url(), TOKEN, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    assert!(text(&output.stdout).ends_with("nothing is wrong\n"));
    let output = remotely(&right(), &api.base_url(), TOKEN, &["--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["ok"], &report["findings"]), (&json!(true), &json!([])));
}

/// An account without a nearly used up quota.
fn roomy(request: &Request) -> Response {
    if request.uri().path().ends_with("/quota") {
        let quota = json!({ "secrets": { "quota": 100, "usage": 5 } });
        return Json(json!({ "success": true, "errors": [], "result": quota })).into_response();
    }
    account(request)
}

#[test]
fn an_environment_that_is_not_filled_in_yet_is_wrong_only_where_it_is_asked_for() {
    let api = Api::start(roomy);
    let zeros = "0".repeat(32);
    let config = format!(
        "{}\n[env.production.vars.SECRETS_STORE_API]\naccount_id = \"{zeros}\"\ntoken = \"KEY\"\n\
         callers = [\"KEY\"]\n",
        right()
    );
    let blank = config.replace(STORE, &zeros);
    let output = remotely(&blank, &api.base_url(), TOKEN, &[]);
    let printed = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{printed}");
    assert!(printed.contains("[env.production]: ") && printed.contains("not filled in yet"));

    let kinds = |config: &str, arguments: &[&str]| {
        let arguments = [&["--json"], arguments].concat();
        let output = remotely(config, &api.base_url(), TOKEN, &arguments);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let findings = report["findings"].as_array().unwrap().clone();
        let kinds = findings.iter().map(|it| json!([it["binding"], it["kind"]]));
        (output.status.code(), json!(kinds.collect::<Vec<_>>()))
    };
    let both = json!([[null, "not_filled_in"], ["KEY", "not_filled_in"]]);
    assert_eq!(kinds(&blank, &["--env", "production"]), (Some(1), both));
    // One that is filled in by half, in any case.
    assert_eq!(kinds(&config, &[]), (Some(1), json!([[null, "not_filled_in"]])));

    let (code, told) = failure(&remotely(&config, &api.base_url(), TOKEN, &["--env", "live"]));
    assert_eq!(code, Some(2));
    assert!(told.contains("has no [env.live]; it has: [env.production]"), "{told}");
}

#[test]
fn one_environment_may_be_looked_at_alone() {
    let api = Api::start(roomy);
    let output = remotely(&right(), &api.base_url(), TOKEN, &["--env", "production"]);
    let expected =
        format!("[env.production]: compared with the account {ACCOUNT}\nnothing is wrong\n");
    assert_eq!(text(&output.stdout), expected);
}

#[test]
fn a_top_level_with_a_store_of_the_account_is_compared_with_it() {
    let api = Api::start(account);
    let output = remotely(&right().replace("env.production.", ""), &api.base_url(), TOKEN, &[]);
    let first =
        format!("top level: compared with the account {ACCOUNT}\naccount\n  ✗ 95 of the account's");
    assert!(text(&output.stdout).starts_with(&first), "{}", text(&output.stdout));
}

#[test]
fn a_token_that_may_not_see_the_workers_secrets_is_enough() {
    let api = Api::start(|request| match request.uri().path().ends_with("-production/secrets") {
        true => StatusCode::FORBIDDEN.into_response(),
        false => account(request),
    });
    let printed = text(&remotely(&right(), &api.base_url(), TOKEN, &[]).stdout);
    assert!(printed.contains("; its Worker's plain secrets cannot be seen"), "{printed}");
    assert!(printed.ends_with("\n1 finding\n"), "{printed}");
}

#[test]
fn a_plain_secret_of_wrangler_dev_clashes_at_the_top_level_alone() {
    let entry =
        "secrets_store_secrets]]\nbinding = \"DEV_ONLY\"\nstore_id = \"0\"\nsecret_name = \"d\"\n";
    let config = format!("[[{entry}[[env.production.{entry}");
    let output = doctor(folder(&config).path(), &["--json"], &[]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let clashes = report["findings"].as_array().unwrap().iter();
    let clashes: Vec<_> = clashes.filter(|it| it["kind"] == "plain_and_store").collect();
    assert_eq!(clashes.len(), 1, "{report}");
    assert_eq!(clashes[0]["environment"], Value::Null);
    assert_eq!(clashes[0]["mend"], "remove DEV_ONLY from .dev.vars");
}

#[test]
fn a_local_store_that_is_not_there_yet_has_no_secret() {
    let output = doctor(folder(FAULTY).path(), &[], &[]);
    let (code, printed) = (output.status.code(), text(&output.stdout));
    assert_eq!(code, Some(1), "{printed}{}", text(&output.stderr));
    assert!(printed.starts_with("top level: compared with the local store in "), "{printed}");
    assert!(printed.contains("  ✗ API_KEY: the store has no secret api_key — npx wrangler "));
    // What goes to the account is not looked for here.
    assert!(
        printed.contains(
            "[env.production]: settings and bindings compared with each other alone; --remote"
        ),
        "{printed}"
    );
    assert!(!printed.contains("no secret missing"), "{printed}");
}

#[test]
fn a_wrong_token_is_exit_code_2_and_says_which_permission_it_lacks() {
    let api = Api::start(account);
    let (code, told) = failure(&remotely(&right(), &api.base_url(), "another", &[]));
    assert_eq!(code, Some(2));
    assert!(told.contains("Secrets Store") && told.contains("CLOUDFLARE_API_TOKEN"), "{told}");
}

#[test]
fn a_page_instead_of_an_answer_is_exit_code_2() {
    let api = Api::start(|_| axum::response::Html("<h1>proxy</h1>").into_response());
    let (code, told) = failure(&remotely(&right(), &api.base_url(), TOKEN, &[]));
    assert_eq!(code, Some(2));
    assert!(told.contains("CLOUDFLARE_API_BASE_URL"), "{told}");
}

#[test]
fn a_redirect_is_not_followed_with_the_token() {
    let api =
        Api::start(|_| (StatusCode::FOUND, [(header::LOCATION, "/elsewhere")]).into_response());
    let (code, _) = failure(&remotely(&right(), &api.base_url(), TOKEN, &[]));
    assert_eq!((code, api.asked().len()), (Some(2), 1));
}

#[test]
fn where_nobody_listens_the_exit_code_is_2_and_json_is_still_json() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let (code, told) = failure(&remotely(&right(), &base_url, TOKEN, &[]));
    assert_eq!(code, Some(2));
    assert!(told.contains(&base_url) && told.contains("network"), "{told}");

    let output = remotely(&right(), &base_url, TOKEN, &["--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &report["ok"]), (Some(2), &json!(false)));
    assert!(report["error"].is_string());
}

#[test]
fn a_variable_that_is_missing_is_exit_code_2_and_named() {
    let folder = folder(&right());
    let (code, told) = failure(&doctor(folder.path(), &["--remote"], &[]));
    assert_eq!(code, Some(2));
    assert!(told.contains("export CLOUDFLARE_API_TOKEN="), "{told}");
    let token = [("CLOUDFLARE_API_TOKEN", TOKEN)];
    let (code, told) = failure(&doctor(folder.path(), &["--remote"], &token));
    assert_eq!(code, Some(2));
    assert!(told.contains("export CLOUDFLARE_ACCOUNT_ID="), "{told}");
    // A line break in it, as from a file, is told without the token.
    let broken = format!("{TOKEN}\nx");
    let (code, told) = failure(&remotely(&right(), "http://127.0.0.1", &broken, &[]));
    assert_eq!(code, Some(2));
    assert!(told.contains("CLOUDFLARE_API_TOKEN has characters"), "{told}");
}

#[test]
fn a_file_that_cannot_be_read_is_exit_code_2_with_line_and_column() {
    let (code, told) = failure(&doctor(folder("[vars\n").path(), &[], &[]));
    assert_eq!(code, Some(2));
    assert!(told.contains("wrangler.toml") && told.contains("line 1, column 6"), "{told}");
    let (code, told) = failure(&doctor(Path::new("/no-such-folder"), &[], &[]));
    assert_eq!(code, Some(2));
    assert!(told.contains("/no-such-folder/wrangler.toml") && told.contains("--config"), "{told}");
}
