//! What is attached.

use crate::{
    Stage,
    stubs::{ASCII_KEY, KEY, TOKEN},
};

pub fn each_credential_reaches_the_upstream_byte_for_byte(stage: &Stage) {
    let header = |upstream: &str, name: &str| {
        let answer =
            stage.stubs.gateway("GET", &format!("/proxy/{upstream}/x")).bearer(TOKEN).send();
        answer.got_header(name).unwrap_or_else(|| panic!("no {name}: {answer:?}"))
    };
    assert_eq!(header("bearer", "authorization"), format!("Bearer {KEY}"));
    // Base64 of `alice:` and ODD_KEY in UTF-8, by another program.
    assert_eq!(
        header("basic", "authorization"),
        "Basic YWxpY2U6NWVjcmV0L2EmYj1jK2QgZT9mI2clNDE6w7wi"
    );
    assert_eq!(header("header", "x-api-key"), ASCII_KEY);
    assert_eq!(header("prefixed", "authorization"), format!("Token token={KEY}"));
    let answer = stage.stubs.gateway("GET", "/proxy/query/x?a=b").bearer(TOKEN).send();
    assert_eq!(
        answer.got_target(),
        "/x?a=b&api%20key=5ecret%2Fa%26b%3Dc%2Bd%20e%3Ff%23g%2541%3A%C3%BC%22"
    );
}

pub fn several_credentials_are_attached_together(stage: &Stage) {
    let answer = stage.stubs.gateway("GET", "/proxy/several/x").bearer(TOKEN).send();
    assert_eq!(answer.got_header("authorization"), Some(format!("Bearer {KEY}")));
    assert_eq!(answer.got_header("x-client-id").as_deref(), Some("5ecret-client"));
    assert_eq!(answer.got_target(), format!("/x?key={KEY}"));
}

pub fn the_callers_own_value_at_a_credentials_place_is_replaced(stage: &Stage) {
    let call = stage.stubs.gateway("GET", "/proxy/several/x?key=mine&k%65y=mine&other=1");
    let answer = call
        .header("x-client-id", "mine")
        .header("authorization", "Bearer mine")
        .header("proxy-authorization", format!("Bearer {TOKEN}"))
        .send();
    assert_eq!(answer.got_target(), format!("/x?other=1&key={KEY}"));
    assert!(!answer.body.contains("mine"), "{answer:?}");
}

pub fn a_plain_worker_secret_works_under_the_same_name(stage: &Stage) {
    let call = stage.stubs.gateway("GET", "/proxy/plain/x");
    let answer = call.bearer("5ecret-plain-token").send();
    assert_eq!(answer.got_header("authorization").as_deref(), Some("Bearer 5ecret-plain"));
}

pub fn a_binding_may_answer_without_a_promise(stage: &Stage) {
    let answer = stage.stubs.gateway("GET", "/proxy/at_once/x").bearer(TOKEN).send();
    assert_eq!(answer.got_header("authorization"), Some(format!("Bearer {KEY}")));
}

pub fn a_secret_in_the_query_does_not_come_back_in_a_redirect(stage: &Stage) {
    for (upstream, name) in [("query", "api%20key"), ("several", "key"), ("rotated_query", "key")] {
        let path = format!("/proxy/{upstream}/again?a=1");
        let answer = stage.stubs.gateway("GET", &path).bearer(TOKEN).send();
        let target = format!("/again?a=1&{name}=");
        assert_eq!((answer.status, answer.header("location")), (302, Some(target.as_str())));
        assert_eq!(answer.header("link"), Some(format!("<{target}>; rel=next").as_str()));
    }
}
