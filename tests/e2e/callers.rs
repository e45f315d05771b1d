//! Who is let in.

use crate::{
    Stage,
    client::Call,
    stubs::{KEY, TOKEN},
};

/// `user:5ecret-token`.
const BASIC: &str = "Basic dXNlcjo1ZWNyZXQtdG9rZW4=";

pub fn a_token_is_taken_in_each_of_the_four_ways_and_never_sent_on(stage: &Stage) {
    let ways: [(&str, String, &str); 5] = [
        ("authorization", format!("Bearer {TOKEN}"), "query"),
        ("authorization", format!("bearer  {TOKEN}"), "query"),
        ("proxy-authorization", format!("Bearer {TOKEN}"), "query"),
        ("authorization", BASIC.to_owned(), "query"),
        ("x-api-key", TOKEN.to_owned(), "header"),
    ];
    for (header, value, upstream) in ways {
        let call = stage.stubs.gateway("GET", &format!("/proxy/{upstream}/x"));
        let answer = call.header(header, &value).send();
        assert_eq!(answer.status, 200, "{header}: {value}");
        assert!(!answer.body.contains(TOKEN), "{header}: the token was sent on: {answer:?}");
        assert!(!answer.body.contains(BASIC), "{header}: the token was sent on: {answer:?}");
    }
    // Shown twice, removed twice; what is somebody else's is left alone.
    let call = stage.stubs.gateway("GET", "/proxy/query/x");
    let answer = call.bearer(TOKEN).header("proxy-authorization", format!("Bearer {TOKEN}")).send();
    assert!(!answer.body.contains(TOKEN), "{answer:?}");
    // Wherever else it stands.
    for (name, value) in [
        ("authorization", format!("Bearer {TOKEN}, Bearer {TOKEN}")),
        ("authorization", TOKEN.to_owned()),
        ("x-api-key", TOKEN.to_owned()),
        ("x-anything", format!("key={TOKEN};q=1")),
    ] {
        let call = stage.stubs.gateway("GET", "/proxy/query/x").header(name, &value);
        let answer = call.header("proxy-authorization", format!("Bearer {TOKEN}")).send();
        assert_eq!(answer.status, 200, "{name}: {value}");
        assert!(!answer.body.contains(TOKEN), "{name}: the token was sent on: {answer:?}");
    }
    let call = stage.stubs.gateway("GET", "/proxy/query/x").bearer("somebody-elses");
    let answer = call.header("proxy-authorization", format!("Bearer {TOKEN}")).send();
    assert_eq!(answer.got_header("authorization").as_deref(), Some("Bearer somebody-elses"));
}

pub fn no_token_a_wrong_one_and_an_empty_one_are_refused_alike(stage: &Stage) {
    let call = || stage.stubs.gateway("GET", "/proxy/header/refused-token");
    let cases: Vec<Call> = vec![
        call(),
        call().bearer("wrong"),
        call().bearer(""),
        call().bearer(" "),
        call().bearer(&TOKEN[..TOKEN.len() - 1]),
        call().bearer(&format!("{TOKEN}x")),
        call().bearer(KEY),
        call().header("authorization", TOKEN),
        call().header("authorization", "Basic !!"),
        call().header("authorization", "Basic dXNlcjo="),
        call().header("proxy-authorization", BASIC),
        call().header("x-api-key", "wrong"),
        call().header("x-other-key", TOKEN),
    ];
    for case in cases {
        case.send().is_unauthenticated();
    }
    assert!(!stage.upstream.has_seen("/refused-token"));
}

pub fn without_a_token_nothing_is_fetched(stage: &Stage) {
    let call = || stage.stubs.gateway("GET", "/proxy/untouched/x");
    call().send().is_unauthenticated();
    call().bearer("").send().is_unauthenticated();
    call().header("authorization", "Digest x").send().is_unauthenticated();
    assert_eq!(stage.stubs.gets("UNTOUCHED_TOKEN") + stage.stubs.gets("UNTOUCHED"), 0);
    // The count is a real one.
    assert_eq!(call().bearer(TOKEN).send().status, 200);
    assert_eq!((stage.stubs.gets("UNTOUCHED_TOKEN"), stage.stubs.gets("UNTOUCHED")), (1, 1));
}

pub fn an_unauthenticated_caller_learns_nothing_about_credentials(stage: &Stage) {
    for upstream in ["not_found", "is_null", "not_bound", "two_fail"] {
        let call = || stage.stubs.gateway("GET", &format!("/proxy/{upstream}/x"));
        call().send().is_unauthenticated();
        call().bearer("wrong").send().is_unauthenticated();
        call().bearer(TOKEN).send().is_configuration_error();
    }
    // Nor which methods and paths there are.
    let call = || stage.stubs.gateway("DELETE", "/proxy/narrow/elsewhere");
    call().send().is_unauthenticated();
    call().bearer("wrong").send().is_unauthenticated();
}

pub fn either_of_two_tokens_admits_while_one_is_missing(stage: &Stage) {
    let answer = stage.stubs.gateway("GET", "/proxy/rotating/x").bearer(TOKEN).send();
    assert_eq!(answer.status, 200, "{answer:?}");
    stage.stubs.gateway("GET", "/proxy/rotating/x").bearer("wrong").send().is_unauthenticated();
    // What looks like a token might be the one that could not be had: it does not go on.
    let call = stage.stubs.gateway("GET", "/proxy/rotating_query/x").bearer("perhaps-the-other");
    let answer = call.header("proxy-authorization", format!("Bearer {TOKEN}")).send();
    assert_eq!((answer.status, answer.got_header("authorization")), (200, None));
}

pub fn the_tokens_of_several_callers_are_fetched_at_once(stage: &Stage) {
    // Each answers only when the other is asked too.
    let answer = stage.stubs.gateway("GET", "/proxy/two_callers/x").bearer("5ecret-pair").send();
    assert_eq!(answer.status, 200, "{answer:?}");
    let line = stage.stubs.log_line(answer.header("x-request-id").unwrap());
    assert_eq!(line["caller"], "PAIR_B");
}

pub fn a_missing_or_empty_token_secret_admits_nobody(stage: &Stage) {
    for (upstream, binding) in [("lost", "NOT_FOUND"), ("empty", "IS_EMPTY")] {
        for token in ["", " ", "null", "undefined", "x"] {
            let call = stage.stubs.gateway("GET", &format!("/proxy/{upstream}/x"));
            let answer = call.bearer(token).send();
            answer.is_unauthenticated();
            if token == "x" {
                let line = stage.stubs.log_line(answer.header("x-request-id").unwrap());
                assert!(line["cause"].as_str().unwrap().contains(binding), "{line}");
            }
        }
    }
}

pub fn a_public_upstream_admits_anyone(stage: &Stage) {
    let answer = stage.stubs.gateway("GET", "/proxy/public/x").send();
    assert_eq!(answer.got_header("authorization"), Some(format!("Bearer {KEY}")));
    let answer = stage.stubs.gateway("GET", "/proxy/public/x").bearer("anything").send();
    assert_eq!(answer.got_header("authorization"), Some(format!("Bearer {KEY}")));
}

pub fn the_log_names_the_callers_binding_and_never_its_token(stage: &Stage) {
    let answer = stage.stubs.gateway("GET", "/proxy/rotating/x?q=1").bearer(TOKEN).send();
    let line = stage.stubs.log_line(answer.header("x-request-id").unwrap());
    let mut fields: Vec<_> = line.as_object().unwrap().keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["caller", "ms", "request_id", "route", "status", "upstream"]);
    assert_eq!(
        (&line["caller"], &line["route"], &line["upstream"], &line["status"]),
        (&"TOKEN".into(), &"proxy".into(), &"rotating".into(), &200.into())
    );
    let answer = stage.stubs.gateway("GET", "/proxy/rotating/x").bearer("wrong").send();
    let line = stage.stubs.log_line(answer.header("x-request-id").unwrap());
    assert_eq!((&line["caller"], &line["error"]), (&().into(), &"unauthenticated".into()));
}
