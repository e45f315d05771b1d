//! Routes, and what the Worker itself answers.

use serde_json::{Value, json};

use crate::{
    Stage,
    client::MARK,
    stubs::{ADMIN, FAILURES, TOKEN},
};

pub fn healthz_answers_anyone(stage: &Stage) {
    for socket in ["gateway", "broken"] {
        let answer = stage.stubs.worker(socket, "GET", "/healthz").send();
        assert_eq!(
            (answer.status, answer.json()),
            (200, json!({ "success": true, "result": "ok" }))
        );
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    assert_eq!(stage.stubs.gateway("HEAD", "/healthz").send().status, 200);
}

pub fn an_unknown_route_or_upstream_is_a_404(stage: &Stage) {
    for path in [
        "//",
        "/nowhere",
        "/proxy",
        "/proxy/",
        "/proxy/nobody/x",
        "/healthz/",
        "/client/v4/accounts/a/secrets_store/stores",
    ] {
        let answer = stage.stubs.gateway("GET", path).bearer(TOKEN).send();
        answer.is_refused(404, 40401, "Not found");
    }
}

pub fn a_wrong_method_is_a_405_that_says_what_is_allowed(stage: &Stage) {
    for (method, path, allowed) in [
        ("POST", "/", "GET, HEAD"),
        ("POST", "/healthz", "GET, HEAD"),
        ("DELETE", "/readyz", "GET, HEAD"),
        ("GET", "/batch", "POST"),
        ("DELETE", "/proxy/narrow/charges", "GET, POST"),
    ] {
        let answer = stage.stubs.gateway(method, path).bearer(TOKEN).send();
        answer.is_refused(405, 40501, "Method not allowed");
        assert_eq!(answer.header("allow"), Some(allowed), "{method} {path}");
    }
}

pub fn a_request_id_is_taken_over_or_made(stage: &Stage) {
    let ask = |id: &str| {
        let answer = stage.stubs.gateway("GET", "/healthz").header("x-request-id", id).send();
        answer.header("x-request-id").unwrap().to_owned()
    };
    assert_eq!(ask("my.own_id-1"), "my.own_id-1");
    assert_eq!(stage.stubs.log_line("my.own_id-1")["route"], "healthz");
    for id in ["has space", "quo\"te", &"x".repeat(129)] {
        let made = ask(id);
        assert_ne!(made, id);
        assert_eq!(made.len(), 36, "a UUID: {made}");
    }
}

pub fn readyz_tells_each_bindings_state_to_admins_alone(stage: &Stage) {
    stage.stubs.worker("admin", "GET", "/readyz").send().is_unauthenticated();
    stage.stubs.worker("admin", "GET", "/readyz").bearer(TOKEN).send().is_unauthenticated();
    // Where nobody is an admin, nobody is let in.
    stage.stubs.gateway("GET", "/readyz").bearer(TOKEN).send().is_unauthenticated();

    let answer = stage.stubs.worker("admin", "GET", "/readyz").bearer(ADMIN).send();
    assert_eq!(answer.status, 503);
    let body = answer.json();
    assert_eq!(body["success"], false);
    let bindings = body["result"]["bindings"].as_object().unwrap();
    for (binding, state) in FAILURES {
        assert_eq!(bindings[binding]["state"], state, "{binding}");
        // In words, too.
        assert!(bindings[binding]["error"].as_str().unwrap().len() > 20, "{binding}");
    }
    let doctor = "cargo xtask doctor --remote";
    assert_eq!(bindings["NOT_FOUND"]["mend"], doctor);
    for binding in ["ADMIN", "KEY", "TOKEN"] {
        assert_eq!(bindings[binding]["state"], "ok", "{binding}");
        assert_eq!(bindings[binding]["error"], Value::Null, "{binding}");
    }
    let failing = &body["result"]["upstreams"]["failing"];
    assert_eq!(failing["callers"], json!(["TOKEN"]));
    assert_eq!(failing["credentials"].as_array().unwrap().len(), FAILURES.len());
    assert_eq!(
        body["result"]["secrets_store_api"],
        json!({ "callers": ["NOT_BOUND", "ADMIN"], "token": "KEY" })
    );
    assert_eq!(bindings.len(), FAILURES.len() + 3);
    assert!(bindings["HANGS"]["ms"].as_u64().unwrap() >= 4_900, "a get has five seconds");
    assert!(!answer.body.contains(MARK), "a secret got out: {answer:?}");
}

pub fn a_broken_setting_is_told_to_the_log_with_its_path(stage: &Stage) {
    for path in ["/proxy/demo/x", "/readyz", "/batch", "/nowhere"] {
        let answer = stage.stubs.worker("broken", "POST", path).bearer(TOKEN).send();
        answer.is_configuration_error();
        let line = stage.stubs.log_line(answer.header("x-request-id").unwrap());
        let cause = line["cause"].as_str().unwrap();
        assert!(cause.contains("UPSTREAMS.demo.callers: is required"), "{cause}");
        assert!(cause.contains("UPSTREAMS.demo.credentials[0].type: must be one of"), "{cause}");
    }
}
