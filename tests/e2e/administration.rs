//! The Secrets Store REST API through the Worker: with the local API behind it, and with an upstream
//! that shows what it gets and answers nonsense.

use std::{io::Write as _, process::Stdio};

use serde_json::{Value, json};
use xtask::process;

use crate::{
    Stage,
    client::{Answer, Call, MARK},
    clients,
    stubs::{ACCOUNT, ADMIN, KEY, STORE, TOKEN},
    upstream::HTML,
};

/// A request for the API, by an admin.
fn ask(stage: &Stage, socket: &str, method: &str, path: &str) -> Call {
    let path = format!("/client/v4/accounts/{ACCOUNT}/secrets_store{path}");
    stage.stubs.worker(socket, method, &path).bearer(ADMIN)
}

/// The result of a success.
#[track_caller]
fn result(answer: &Answer) -> Value {
    assert!(!format!("{answer:?}").contains(MARK), "a secret got out: {answer:?}");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["success"], true, "{answer:?}");
    answer.json()["result"].clone()
}

/// It is a refusal in the API's envelope, and this is what it reports first.
#[track_caller]
fn reports(answer: &Answer, status: u16, code: u32, message: &str) {
    assert!(!format!("{answer:?}").contains(MARK), "a secret got out: {answer:?}");
    assert_eq!(answer.status, status, "{answer:?}");
    let body = answer.json();
    assert_eq!((&body["success"], &body["messages"]), (&json!(false), &json!([])), "{answer:?}");
    assert!(body.get("result").is_some_and(Value::is_null), "{answer:?}");
    let first = &body["errors"][0];
    assert_eq!(first["code"], code, "{answer:?}");
    assert!(first["message"].as_str().unwrap().contains(message), "{answer:?}");
}

pub fn nothing_but_the_operation_reaches_the_api(stage: &Stage) {
    let answer = ask(stage, "admin", "POST", "/stores/a1/secrets?")
        .header("cookie", "a=b")
        .header("x-other", "x")
        .header("content-type", "text/plain")
        .body(r#" {"scopes": ["ai-gateway"], "name": "A", "value": "not marked"} "#)
        .send();
    assert_eq!(answer.got_target(), format!("/accounts/{ACCOUNT}/secrets_store/stores/a1/secrets"));
    assert_eq!(answer.got_header("authorization"), Some(format!("Bearer {KEY}")));
    assert_eq!(answer.got_header("content-type").as_deref(), Some("application/json"));
    for name in ["cookie", "x-other", "x-request-id"] {
        assert_eq!(answer.got_header(name), None, "{name}");
    }
    let got = answer.json();
    assert_eq!(got["method"], "POST");
    assert_eq!(got["body"], r#"[{"name":"A","value":"not marked","scopes":["ai_gateway"]}]"#);
}

pub fn the_apis_answer_is_handed_back_as_it_is(stage: &Stage) {
    let answer = ask(stage, "admin", "GET", "/stores/html").send();
    assert_eq!((answer.status, answer.body.as_str()), (502, HTML));
    assert_eq!(answer.header("set-cookie"), None);
    assert!(answer.header("x-request-id").is_some());
    assert!(answer.header("server-timing").unwrap().starts_with("secrets;dur="));
    // The token goes nowhere else.
    let answer = ask(stage, "admin", "GET", "/stores/elsewhere").send();
    assert_eq!((answer.status, answer.header("location")), (302, Some("/stores/seen")));
    // What is no answer about a secret is handed back too, where its scopes were to be had.
    let path = "/stores/a1/secrets/html/duplicate";
    let answer = ask(stage, "admin", "POST", path).body(r#"{"name":"B"}"#).send();
    assert_eq!((answer.status, answer.body.as_str()), (502, HTML));
    assert!(!stage.upstream.has_seen(&format!("/accounts/{ACCOUNT}/secrets_store{path}")));
    // But never as a success of what was not done.
    for secret in ["page", "poor"] {
        let path = format!("/stores/a1/secrets/{secret}/duplicate");
        let answer = ask(stage, "admin", "POST", &path).body(r#"{"name":"B"}"#).send();
        reports(&answer, 502, 50201, "Upstream unreachable");
    }
}

pub fn an_api_that_fails_is_told_in_its_envelope(stage: &Stage) {
    reports(&ask(stage, "lost_api", "GET", "/quota").send(), 500, 50001, "Configuration error");
    reports(&ask(stage, "unreachable_api", "GET", "/quota").send(), 502, 50201, "unreachable");
    let answer = ask(stage, "lost_api", "GET", "/quota").send();
    let line = stage.stubs.log_line(answer.header("x-request-id").unwrap());
    assert_eq!((&line["route"], &line["caller"]), (&json!("secrets_store_api"), &json!("ADMIN")));
    assert_eq!(line["error"], "secret_not_found");
    assert!(line["cause"].as_str().unwrap().contains("binding `NOT_FOUND`"), "{line}");
}

pub fn a_broken_setting_is_told_to_its_clients_in_full(stage: &Stage) {
    reports(&ask(stage, "broken", "GET", "/quota").send(), 500, 50001, "Configuration error");
}

pub fn the_rest_api_is_for_admins_of_its_account_alone(stage: &Stage) {
    let path = format!("/client/v4/accounts/{ACCOUNT}/secrets_store/quota");
    let unauthenticated = |answer: &Answer| {
        reports(answer, 401, 10000, "Authentication error");
        assert_eq!(answer.json()["errors"][1]["code"], 40101);
        assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"gateway\""));
    };
    let call = |socket: &str, path: &str| stage.stubs.worker(socket, "GET", path);
    unauthenticated(&call("rest", &path).send());
    for token in [TOKEN, KEY, "", "5ecret-admi", "5ecret-adminn"] {
        unauthenticated(&call("rest", &path).bearer(token).send());
    }
    // Also where nothing is, where something is wrong, and before the API's own token is missed.
    for path in ["/client/v4/accounts/other/secrets_store/quota", &format!("{path}/nothing")] {
        unauthenticated(&call("rest", path).bearer(TOKEN).send());
    }
    unauthenticated(&call("lost_api", &path).bearer(TOKEN).send());

    let other = "/client/v4/accounts/0123456789abcdef0123456789abcdef/secrets_store/quota";
    let answer = call("rest", other).bearer(ADMIN).send();
    reports(&answer, 403, 10000, "Authentication error");
    assert_eq!(answer.json()["errors"][1], json!({ "code": 40301, "message": "Path not allowed" }));
    let answer = call("rest", "/client/v4/accounts//secrets_store/quota").bearer(ADMIN).send();
    reports(&answer, 404, 1000, "not found");
    // As the password of Basic, too.
    let basic = "Basic YWxpY2U6NWVjcmV0LWFkbWlu";
    let answer = call("rest", &path).header("authorization", basic).send();
    assert!(result(&answer)["secrets"]["quota"].is_number());
}

pub fn what_the_api_would_refuse_is_not_sent(stage: &Stage) {
    let secrets = "/stores/refused/secrets";
    for (method, path, body, code, message) in [
        (
            "POST",
            secrets,
            r#"[{"value":"5ecret","scopes":["workers"]}]"#,
            1001,
            "secret_name_empty",
        ),
        ("POST", secrets, r#"[{"name":"A","value":"5ecret"}]"#, 1001, "secret_scopes_empty"),
        (
            "POST",
            secrets,
            r#"[{"name":"A","value":"5ecret","scopes":["worker"]}]"#,
            1001,
            "secret_scope_invalid",
        ),
        ("POST", secrets, r#"[{"name":"A","value":"5ecret"#, 1001, "invalid_json_body"),
        (
            "PATCH",
            "/stores/refused/secrets/b2",
            "{}",
            40001,
            "must change value, scopes or comment",
        ),
        ("DELETE", secrets, r#"{"secret_ids":[]}"#, 40001, "secret_ids: must name at least one"),
        (
            "GET",
            "/stores/refused/secrets?order=size",
            "",
            40001,
            "order: must be one of name, comment",
        ),
    ] {
        reports(&ask(stage, "admin", method, path).body(body).send(), 400, code, message);
    }
    let answer = ask(stage, "admin", "POST", secrets).body(r#"[{"name":"A"}]"#).send();
    let told = answer.json()["errors"].as_array().unwrap().last().unwrap().clone();
    let message = "[0].value: must not be empty; [0].scopes: must have at least one scope";
    assert_eq!(told, json!({ "code": 40001, "message": message }));
    let answer = ask(stage, "admin", "PUT", "/stores").send();
    reports(&answer, 405, 40501, "Method not allowed");
    assert_eq!(answer.header("allow"), Some("GET, POST"));
    reports(&ask(stage, "admin", "GET", "/nothing").send(), 404, 40401, "Not found");
    reports(&ask(stage, "admin", "GET", "/stores/").send(), 404, 1000, "not found");
    let body = format!(r#"{{"name":"A","value":"{}"}}"#, "5ecret ".repeat(1_300_000));
    let answer = ask(stage, "admin", "POST", "/stores/refused/secrets").body(body).send();
    reports(&answer, 413, 41301, "Too large");
    // Short values, each of which would cost more memory than bytes.
    let body = format!("[{}1]", "1,".repeat(1_000_000));
    let answer = ask(stage, "admin", "POST", "/stores/refused/secrets").body(body).send();
    reports(&answer, 413, 41301, "Too large");
    let prefix = format!("/accounts/{ACCOUNT}/secrets_store");
    for target in [secrets, "/stores/refused/secrets/b2", "/stores/", "/nothing"] {
        assert!(!stage.upstream.has_seen(&format!("{prefix}{target}")), "{target}");
    }
}

pub fn every_operation_works_through_the_worker(stage: &Stage) {
    let ask = |method: &str, path: &str| ask(stage, "small_rest", method, path);
    let usage = || result(&ask("GET", "/quota").send())["secrets"].clone();
    assert_eq!(result(&ask("GET", "/stores").send()), json!([]));
    let store = result(&ask("POST", "/stores").body(r#"{"name":"mine"}"#).send());
    let store = store["id"].as_str().unwrap();
    reports(
        &ask("POST", "/stores").body(r#"{"name":"another"}"#).send(),
        409,
        1003,
        "maximum_stores_exceeded",
    );
    assert_eq!(result(&ask("GET", &format!("/stores/{store}")).send())["name"], "mine");
    assert_eq!(result(&ask("GET", "/stores").send())[0]["id"], store);

    let secrets = format!("/stores/{store}/secrets");
    let create = |body: Value| ask("POST", &secrets).body(body.to_string()).send();
    let new = |name: &str| json!({ "name": name, "value": format!("5ecret {name}"), "scopes": ["workers"] });
    // One, and a batch.
    let one = result(&create(new("one")));
    let one = one[0]["id"].as_str().unwrap();
    let created = result(&create(json!([new("two"), new("three"), new("four")])));
    assert_eq!(created.as_array().unwrap().len(), 3);
    assert_eq!(created[2]["name"], "four");
    let quota = json!({ "quota": 5, "usage": 4 });
    assert_eq!(usage(), quota);
    // All or nothing.
    reports(&create(json!([new("five"), new("two")])), 409, 1003, "secret_name_already_exists");
    reports(&create(json!([new("five"), new("six")])), 409, 1003, "maximum_secrets_exceeded");
    assert_eq!(usage(), quota);

    // Metadata, search, order, pages.
    let secret = result(&ask("GET", &format!("{secrets}/{one}")).send());
    assert_eq!((&secret["name"], &secret["scopes"]), (&json!("one"), &json!(["workers"])));
    let names = |query: &str| {
        let listed = result(&ask("GET", &format!("{secrets}{query}")).send());
        let names = listed.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap());
        names.map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names("?search=o&order=name"), "four one two");
    assert_eq!(names("?order=name&direction=desc"), "two three one four");
    for (page, name) in [(1, "four"), (2, "one"), (3, "three"), (4, "two"), (5, "")] {
        assert_eq!(names(&format!("?per_page=1&order=name&page={page}")), name);
    }
    let answer = ask("GET", &format!("{secrets}?per_page=3&page=2")).send();
    let info = json!({ "page": 2, "per_page": 3, "count": 1, "total_count": 4, "total_pages": 2 });
    assert_eq!(answer.json()["result_info"], info);

    // A change, and a duplicate without scopes, which has its source's.
    let body = r#"{"scopes":["workers","ai-gateway"],"comment":"c","value":"5ecret"}"#;
    let changed = result(&ask("PATCH", &format!("{secrets}/{one}")).body(body).send());
    assert_eq!(changed["scopes"], json!(["workers", "ai_gateway"]));
    assert_eq!(names("?scopes=ai-gateway"), "one");
    let copy = |body: &str| ask("POST", &format!("{secrets}/{one}/duplicate")).body(body).send();
    assert_eq!(result(&copy(r#"{"name":"five"}"#))["scopes"], json!(["workers", "ai_gateway"]));
    reports(&copy(r#"{"name":"five"}"#), 409, 1003, "secret_name_already_exists");
    let none = "00000000000000000000000000000000";
    let answer = ask("POST", &format!("{secrets}/{none}/duplicate")).body(r#"{"name":"x"}"#).send();
    reports(&answer, 404, 1001, "secret_not_found");
    reports(&ask("GET", &format!("{secrets}/{none}")).send(), 404, 1001, "secret_not_found");
    reports(&ask("GET", &format!("/stores/{none}")).send(), 404, 1001, "store_not_found");

    // Away with them.
    assert!(result(&ask("DELETE", &format!("{secrets}/{one}")).send()).is_null());
    reports(&ask("DELETE", &format!("/stores/{store}")).send(), 409, 1003, "store_not_empty");
    let ids = [&created[0]["id"], &created[1]["id"]];
    let batch =
        |ids: Value| ask("DELETE", &secrets).body(json!({ "secret_ids": ids }).to_string()).send();
    reports(&batch(json!([ids[0], none])), 404, 1001, "secret_not_found");
    assert!(result(&batch(json!(ids))).is_null());
    assert_eq!(names("?order=name"), "five four");
    assert!(result(&ask("DELETE", &format!("/stores/{store}?force=true")).send()).is_null());
    assert_eq!(result(&ask("GET", "/stores").send()), json!([]));
    assert_eq!(usage(), json!({ "quota": 5, "usage": 0 }));
}

pub fn a_whole_quota_of_secrets_goes_through_in_one_batch(stage: &Stage) {
    let value = "5ecret\n".repeat(65_536 / 7);
    let new =
        |index| json!({ "name": format!("large_{index}"), "value": value, "scopes": ["dex"] });
    let body = Value::Array((0..100).map(new).collect()).to_string();
    let secrets = format!("/stores/{STORE}/secrets");
    let created = result(&ask(stage, "rest", "POST", &secrets).body(body).send());
    let ids: Vec<_> = created.as_array().unwrap().iter().map(|it| it["id"].clone()).collect();
    assert_eq!(ids.len(), 100);
    let body = json!({ "secret_ids": ids }).to_string();
    assert!(result(&ask(stage, "rest", "DELETE", &secrets).body(body).send()).is_null());
}

/// Runs wrangler as one who has the admin token and no more; answers what it prints, and whether it
/// succeeded.
fn wrangler(stage: &Stage, token: &str, arguments: &[&str], input: &str) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut command = stage.tools.wrangler();
    command
        .arg("secrets-store")
        .args(arguments)
        .arg("--remote")
        .current_dir(folder.path())
        .env("CLOUDFLARE_API_BASE_URL", format!("http://{}/client/v4", stage.stubs.address("rest")))
        .env("CLOUDFLARE_ACCOUNT_ID", ACCOUNT)
        .env("CLOUDFLARE_API_TOKEN", token);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let printed = [output.stdout, output.stderr].map(|it| String::from_utf8(it).unwrap());
    (output.status.success(), printed.concat())
}

pub fn wranglers_remote_commands_work_through_the_worker(stage: &Stage) {
    let run = |arguments: &[&str], input: &str| {
        let (succeeded, printed) = wrangler(stage, ADMIN, arguments, input);
        assert!(succeeded, "{arguments:?}: {printed}");
        assert!(!printed.contains(MARK), "{printed}");
        printed
    };
    let fails = |token: &str, arguments: &[&str], told: &str| {
        let (succeeded, printed) = wrangler(stage, token, arguments, "5ecret");
        assert!(!succeeded && printed.contains(told), "{arguments:?}: {printed}");
        assert!(!printed.contains(MARK), "{printed}");
    };
    // A row of the table that it prints: `│ name │ id │ …`.
    let id = |printed: &str, name: &str| {
        let row = printed.lines().find(|row| row.contains(&format!("│ {name} ")));
        let row = row.unwrap_or_else(|| panic!("no {name} in {printed}"));
        row.split('│').nth(2).unwrap().trim().to_owned()
    };
    assert!(run(&["store", "list"], "").contains(STORE));
    let create = ["secret", "create", STORE, "--name", "wrangled", "--scopes", "workers"];
    let secret = id(&run(&create, "5ecret from standard input\n"), "wrangled");
    fails(ADMIN, &create, "secret_name_already_exists");
    let list = run(&["secret", "list", STORE, "--per-page", "100"], "");
    assert_eq!(id(&list, "wrangled"), secret);
    assert!(run(&["secret", "get", STORE, "--secret-id", &secret], "").contains("workers"));
    let scopes = ["--scopes", "workers,ai_gateway", "--comment", "rotated"];
    let update = [&["secret", "update", STORE, "--secret-id", &secret][..], &scopes].concat();
    assert!(run(&update, "").contains("rotated"));
    let duplicate =
        ["secret", "duplicate", STORE, "--secret-id", &secret, "--name", "wrangled_too"];
    let copy = id(&run(&[&duplicate[..], &scopes].concat(), ""), "wrangled_too");
    run(&["secret", "delete", STORE, "--secret-id", &secret], "");
    run(&["secret", "delete", STORE, "--secret-id", &copy], "");
    fails(ADMIN, &["secret", "get", STORE, "--secret-id", &secret], "secret_not_found");
    fails(ADMIN, &["store", "create", "another"], "maximum_stores_exceeded");
    fails("wrong", &["store", "list"], "Authentication error [code: 10000]");
    let create = ["secret", "create", STORE, "--name", "x", "--scopes", "worker"];
    fails(ADMIN, &create, "secret_scope_invalid [code: 1001]");
}

pub fn the_official_sdk_works_through_the_worker(stage: &Stage) {
    let clients = clients::install(&stage.tools);
    let mut command = stage.tools.command("node");
    command
        .arg(clients.join("cloudflare.mjs"))
        .env("BASE_URL", format!("http://{}/client/v4", stage.stubs.address("rest")))
        .env("ACCOUNT", ACCOUNT)
        .env("STORE", STORE)
        .env("TOKEN", ADMIN);
    process::output("the SDK's script", &mut command, "What it found is above").unwrap();
}
