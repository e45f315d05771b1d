//! `cargo xtask dev` as a whole: its demo upstream, and its REST API behind the Worker's.

use std::process::Command;

use serde_json::{Value, json};

use crate::{Stage, dev::ZEROS, rotate::program};

pub fn readyz_tells_which_bindings_have_the_same_value(stage: &Stage) {
    let _turn = stage.dev.turn();
    let bindings = || {
        let answer = stage.dev.call("/readyz").bearer("dev-only-admin-token").send();
        answer.json()["result"]["bindings"].clone()
    };
    let before = bindings();
    assert!(before.as_object().unwrap().values().all(|it| it["same_as"].is_null()), "{before}");
    let local = stage.dev.local(stage);
    let put = |value: &str| local.put(ZEROS, "api_key_previous", &value.into()).unwrap();
    put("dev-only-api-key");
    let during = bindings();
    put("dev-only-api-key-previous");
    let told = during.as_object().unwrap().values().filter(|it| !it["same_as"].is_null());
    assert_eq!(told.count(), 1, "{during}");
    assert_eq!(during["API_KEY_PREVIOUS"]["same_as"], "API_KEY");
}

pub fn a_value_changed_over_rest_is_used_by_the_next_request(stage: &Stage) {
    let _turn = stage.dev.turn();
    let call = |token: &str| stage.dev.call("/proxy/demo/hello").bearer(token).send();
    let secret = format!("/secrets/{}", stage.dev.id_of("gateway_token"));
    let change = |value: &str| {
        let body = format!(r#"{{"value":"{value}"}}"#);
        let answer = stage.dev.administer("PATCH", &secret).body(body).send();
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    assert_eq!(call("dev-only-gateway-token").status, 200);
    change("dev-only-rotated-token");
    assert_eq!(call("dev-only-rotated-token").status, 200);
    call("dev-only-gateway-token").is_unauthenticated();
    change("dev-only-gateway-token");
    assert_eq!(call("dev-only-gateway-token").status, 200);
}

pub fn a_secret_that_is_created_and_deleted_over_rest_comes_and_goes(stage: &Stage) {
    let _turn = stage.dev.turn();
    let state = || {
        let answer = stage.dev.call("/readyz").bearer("dev-only-admin-token").send();
        answer.json()["result"]["bindings"]["API_KEY_PREVIOUS"]["state"].clone()
    };
    assert_eq!(state(), "ok");
    let secret = format!("/secrets/{}", stage.dev.id_of("api_key_previous"));
    assert_eq!(stage.dev.administer("DELETE", &secret).send().status, 200);
    assert_eq!(state(), "not_found");
    let new = json!([{
        "name": "api_key_previous", "value": "dev-only-again\n", "scopes": ["workers"],
    }]);
    let create =
        |new: &Value| stage.dev.administer("POST", "/secrets").body(new.to_string()).send();
    assert_eq!(create(&new).status, 200);
    // Its line break is there too.
    assert_eq!(state(), "not_header_safe");
    let secret = format!("/secrets/{}", stage.dev.id_of("api_key_previous"));
    let body = r#"{"value":"dev-only-api-key-previous"}"#;
    assert_eq!(stage.dev.administer("PATCH", &secret).body(body).send().status, 200);
    assert_eq!(state(), "ok");
}

pub fn the_check_after_a_deployment_names_the_binding_that_cannot_be_had(stage: &Stage) {
    let _turn = stage.dev.turn();
    let check = || {
        let output = Command::new(program())
            .args(["deploy", "--env", "production", "--wait", "0", "--check"])
            .args(["--url", &stage.dev.address()])
            .env("GATEWAY_ADMIN_TOKEN", "dev-only-admin-token")
            .current_dir(xtask::root())
            .output()
            .unwrap();
        let told = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code(), told)
    };
    let (code, told) = check();
    assert_eq!(code, Some(0), "{told}");
    let local = stage.dev.local(stage);
    local.remove(ZEROS, "api_key_previous").unwrap();
    let without = check();
    local.put(ZEROS, "api_key_previous", &"dev-only-api-key-previous".into()).unwrap();
    let (code, told) = without;
    assert_eq!(code, Some(3), "{told}");
    assert!(
        told.contains("1 of 5 bindings cannot be had.\n  API_KEY_PREVIOUS: not_found"),
        "{told}"
    );
    assert!(told.contains("npx wrangler rollback --env production\n"), "{told}");
}
