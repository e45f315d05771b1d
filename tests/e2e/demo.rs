//! `cargo xtask dev` with its demo upstream.

use xtask::store::Development;

use crate::Stage;

pub fn the_printed_curl_line_gets_the_upstreams_answer(stage: &Stage) {
    let _turn = stage.dev.turn();
    let answer = stage.dev.run_curl(0);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["path"], "/hello");
    // The demo upstream answers to the right credential alone.
    stage.dev.call("/proxy/demo/hello").bearer("wrong").send().is_unauthenticated();
}

pub fn a_value_changed_with_wrangler_is_used_by_the_next_request(stage: &Stage) {
    let _turn = stage.dev.turn();
    let development = Development::read().unwrap();
    let store = &development.config.secrets_store_secrets[0].store_id;
    let local = stage.dev.local(stage);
    let change = |name: &str, value: &str| {
        local.put(store, name, &value.to_owned().into()).unwrap();
    };
    let call = |token: &str| stage.dev.call("/proxy/demo/hello").bearer(token).send();
    // The caller's token.
    assert_eq!(call("dev-only-gateway-token").status, 200);
    change("gateway_token", "dev-only-new-token");
    assert_eq!(call("dev-only-new-token").status, 200);
    call("dev-only-gateway-token").is_unauthenticated();
    change("gateway_token", "dev-only-gateway-token");
    assert_eq!(call("dev-only-gateway-token").status, 200);
    // The credential: the demo upstream refuses any but the first.
    change("api_key", "dev-only-other-key");
    assert_eq!(call("dev-only-gateway-token").status, 401);
    change("api_key", "dev-only-api-key");
    assert_eq!(call("dev-only-gateway-token").status, 200);
}
