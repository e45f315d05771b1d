//! Secrets that cannot be had.

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

pub fn sixteen_secrets_are_fetched_in_one_wave(stage: &Stage) {
    // Each of them answers only when all sixteen are asked at once.
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
