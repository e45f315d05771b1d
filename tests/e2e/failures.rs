//! Secrets that cannot be had.

use std::time::Instant;

use secrets_store_gateway::secrets::GET_TIMEOUT;
use serde_json::json;

use crate::{
    Stage,
    stubs::{FAILURES, KEY, TOKEN},
};

pub fn every_way_to_fail_answers_500_and_names_no_value(stage: &Stage) {
    for (binding, kind) in FAILURES {
        let path = format!("/proxy/{}/{binding}", binding.to_lowercase());
        let answer = stage.stubs.gateway("GET", &path).bearer(TOKEN).send();
        answer.is_configuration_error();
        let line = stage.stubs.log_line(answer.header("x-request-id").unwrap());
        assert_eq!(line["error"], format!("secret_{kind}"), "{line}");
        assert!(line["cause"].as_str().unwrap().contains(&format!("`{binding}`")), "{line}");
        assert!(!stage.upstream.has_seen(&format!("/{binding}")), "it was sent without its key");
    }
}

pub fn the_fallback_is_used_when_the_primary_fails(stage: &Stage) {
    let answer = stage.stubs.gateway("GET", "/proxy/fallback/x").bearer(TOKEN).send();
    assert_eq!(answer.got_header("authorization"), Some(format!("Bearer {KEY}")));
}

pub fn the_fallback_is_not_asked_for_while_the_primary_works(stage: &Stage) {
    let answer = stage.stubs.gateway("GET", "/proxy/unneeded/x").bearer(TOKEN).send();
    assert_eq!(answer.status, 200);
    assert_eq!(stage.stubs.gets("UNNEEDED_FALLBACK"), 0);
}

pub fn a_fallback_waits_for_no_other_secret(stage: &Stage) {
    // The other secret answers once the fallback has been asked for.
    let answer = stage.stubs.gateway("GET", "/proxy/early/x").bearer(TOKEN).send();
    assert_eq!(answer.got_header("authorization").as_deref(), Some("Bearer 5ecret-early"));
}

pub fn when_both_fail_the_log_tells_both(stage: &Stage) {
    let answer = stage.stubs.gateway("GET", "/proxy/both_fail/x").bearer(TOKEN).send();
    answer.is_configuration_error();
    let line = stage.stubs.log_line(answer.header("x-request-id").unwrap());
    let cause = line["cause"].as_str().unwrap();
    assert!(cause.contains("`IS_NULL`") && cause.contains("`IS_EMPTY`"), "{cause}");
}

pub fn every_failed_binding_is_in_the_log(stage: &Stage) {
    let answer = stage.stubs.gateway("GET", "/proxy/two_fail/x").bearer(TOKEN).send();
    answer.is_configuration_error();
    let line = stage.stubs.log_line(answer.header("x-request-id").unwrap());
    let cause = line["cause"].as_str().unwrap();
    assert!(cause.contains("`NOT_FOUND`") && cause.contains("`NOT_BOUND`"), "{cause}");
    assert!(!cause.contains("`KEY`"), "{cause}");
}

pub fn an_upstream_that_refuses_the_key_gets_the_fallback(stage: &Stage) {
    let other = "5ecret-other";
    for upstream in ["rotated_query", "rotated_both"] {
        let path = format!("/proxy/{upstream}/wants/{other}?{upstream}");
        let answer = stage.stubs.gateway("GET", &path).bearer(TOKEN).send();
        assert_eq!(answer.status, 200, "{answer:?}");
        let line = stage.stubs.log_line(answer.header("x-request-id").unwrap());
        assert_eq!(line["retries"], 1, "{line}");
        // A body that is not too long goes again.
        let call = stage.stubs.gateway("POST", &path).bearer(TOKEN);
        let answer = call.body("b".repeat(64 * 1024)).send();
        assert_eq!(answer.json()["body"].as_str().unwrap().len(), 64 * 1024);
    }
    let call = stage.stubs.gateway("GET", "/proxy/rotated_both/wants/5ecret-other").bearer(TOKEN);
    assert_eq!(call.send().got_header("x-client-id").as_deref(), Some("5ecret-client"));
}

pub fn what_cannot_be_sent_again_is_not(stage: &Stage) {
    let path = |name: &str| format!("/proxy/rotated_both/wants/5ecret-other?{name}");
    let long =
        stage.stubs.gateway("POST", &path("long")).bearer(TOKEN).body("b".repeat(64 * 1024 + 1));
    let chunked = stage.stubs.gateway("POST", &path("chunked")).bearer(TOKEN).stream(&b"short"[..]);
    for call in [long, chunked] {
        let answer = call.send();
        assert_eq!((answer.status, answer.body.as_str()), (401, "another key, please"));
        let line = stage.stubs.log_line(answer.header("x-request-id").unwrap());
        assert_eq!(line["retries"], json!(null), "{line}");
    }
}

pub fn the_upstreams_refusal_is_handed_on_when_the_fallback_is_no_better(stage: &Stage) {
    // The last two have no fallback, or have used it already.
    for (upstream, sent) in [("rotated", 2), ("half_rotated", 1), ("bearer", 1), ("fallback", 1)] {
        let target = format!("/wants/what-nobody-has?{upstream}");
        let path = format!("/proxy/{upstream}{target}");
        let answer = stage.stubs.gateway("GET", &path).bearer(TOKEN).send();
        assert_eq!((answer.status, answer.body.as_str()), (401, "another key, please"));
        assert_eq!(stage.upstream.seen(&target), sent, "{upstream}");
        let line = stage.stubs.log_line(answer.header("x-request-id").unwrap());
        assert_eq!(line["retries"].as_u64().unwrap_or(0) + 1, sent as u64, "{line}");
    }
    // Another refusal is none of the key's.
    for status in [403, 429, 500] {
        let target = format!("/status/{status}?rotated");
        let path = format!("/proxy/rotated{target}");
        assert_eq!(stage.stubs.gateway("GET", &path).bearer(TOKEN).send().status, status);
        assert_eq!(stage.upstream.seen(&target), 1, "{status}");
    }
}

pub fn a_strangers_answer_does_not_wait_for_the_credentials(stage: &Stage) {
    // The credential hangs for as long as a get may; its state is none of a stranger's business.
    let started = Instant::now();
    stage.stubs.gateway("GET", "/proxy/hangs/x").bearer("wrong").send().is_unauthenticated();
    stage.stubs.worker("admin", "GET", "/readyz").bearer("wrong").send().is_unauthenticated();
    assert!(started.elapsed() < GET_TIMEOUT, "it took {:?}", started.elapsed());
}

pub fn sixteen_secrets_are_fetched_in_one_wave(stage: &Stage) {
    // Each of them, and the caller's token, answers only when all seventeen are asked at once.
    let answer = stage.stubs.gateway("GET", "/proxy/sixteen/x").bearer(TOKEN).send();
    assert_eq!(answer.status, 200, "{answer:?}");
    for index in 0..16 {
        let got = answer.got_header(&format!("x-{index}"));
        assert_eq!(got, Some(format!("5ecret-MEETS_{index}")));
    }
}

pub fn a_binding_is_fetched_once_for_a_request(stage: &Stage) {
    let answer = stage.stubs.gateway("GET", "/proxy/counted/x").bearer(TOKEN).send();
    assert_eq!(answer.got_header("authorization"), Some(format!("Bearer {KEY}")));
    assert_eq!(answer.got_header("x-again").as_deref(), Some(KEY));
    assert_eq!((stage.stubs.gets("COUNTED"), stage.stubs.gets("COUNTED_TOKEN")), (1, 1));
}

pub fn a_changed_value_is_used_by_the_next_request(stage: &Stage) {
    let ask = || {
        let answer = stage.stubs.gateway("GET", "/proxy/changes/x").bearer(TOKEN).send();
        answer.got_header("authorization").unwrap()
    };
    assert_eq!(ask(), "Bearer 5ecret-changes-1");
    assert_eq!(ask(), "Bearer 5ecret-changes-2");
}
