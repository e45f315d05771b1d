//! Several upstream requests in one call.

use serde_json::{Value, json};

use crate::{
    Stage,
    client::{Answer, Call, MARK},
    stubs::{KEY, TOKEN},
    upstream,
};

fn batch(stage: &Stage, requests: Value) -> Call {
    stage.stubs.gateway("POST", "/batch").body(json!({ "requests": requests }).to_string())
}

/// The answers, each with its body read as JSON.
#[track_caller]
fn parts(answer: &Answer) -> Vec<(u64, Value)> {
    assert_eq!(answer.status, 200, "{answer:?}");
    let envelope = answer.json();
    assert_eq!(envelope["success"], true);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let parts = envelope["result"].as_array().unwrap();
    let part = |part: &Value| {
        let body = serde_json::from_str(part["body"].as_str().unwrap());
        (part["status"].as_u64().unwrap(), body.unwrap_or_else(|_| part["body"].clone()))
    };
    parts.iter().map(part).collect()
}

pub fn a_batch_runs_its_requests_in_their_order_with_secrets_fetched_once(stage: &Stage) {
    let requests: Vec<Value> = (0..16)
        .map(|index| {
            json!({
                "upstream": "batched",
                "method": "POST",
                "path": format!("/item/{index}?a=%41"),
                "headers": { "x-index": index.to_string() },
                "body": { "index": index },
            })
        })
        .collect();
    let answer = batch(stage, requests.into()).bearer(TOKEN).send();
    let parts = parts(&answer);
    assert_eq!(parts.len(), 16);
    for (index, (status, got)) in parts.into_iter().enumerate() {
        assert_eq!(status, 200);
        assert_eq!(
            (&got["method"], &got["target"]),
            (&"POST".into(), &format!("/item/{index}?a=%41").into())
        );
        assert_eq!(got["body"], json!({ "index": index }).to_string());
        let headers = got["headers"].as_array().unwrap();
        for header in [
            json!(["authorization", format!("Bearer {KEY}")]),
            json!(["x-index", index.to_string()]),
            json!(["content-type", "application/json"]),
        ] {
            assert!(headers.contains(&header), "{header} is not in {headers:?}");
        }
    }
    assert_eq!((stage.stubs.gets("BATCHED"), stage.stubs.gets("BATCHED_TOKEN")), (1, 1));
    let line = stage.stubs.log_line(answer.header("x-request-id").unwrap());
    assert_eq!((&line["route"], &line["caller"]), (&"batch".into(), &"BATCHED_TOKEN".into()));
}

pub fn one_failure_in_a_batch_does_not_fail_the_others(stage: &Stage) {
    let requests = json!([
        { "upstream": "bearer", "path": "/status/404" },
        { "upstream": "not_found" },
        { "upstream": "nobody" },
        { "upstream": "plain" },
        { "upstream": "narrow", "path": "/refunds" },
        { "upstream": "narrow", "path": "/charges", "method": "DELETE" },
        { "upstream": "unreachable" },
        { "upstream": "bearer", "method": "GET", "body": "a GET has none" },
        { "upstream": "impatient", "path": "/stall" },
        { "upstream": "bearer", "path": "/x" },
    ]);
    let answer = batch(stage, requests).bearer(TOKEN).send();
    let parts = parts(&answer);
    let statuses: Vec<u64> = parts.iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses, [404, 500, 404, 401, 403, 405, 502, 400, 504, 200]);
    assert_eq!(parts[1].1["errors"][0]["code"], 50001);
    assert_eq!(parts[9].1["target"], "/x");
    let headers = |index: usize| answer.json()["result"][index]["headers"].clone();
    assert_eq!(headers(3)["www-authenticate"], "Bearer realm=\"gateway\"");
    assert_eq!(headers(5)["allow"], "GET, POST");
    let line = stage.stubs.log_line(answer.header("x-request-id").unwrap());
    assert_eq!(line["error"], "secret_not_found");
    let cause = line["cause"].as_str().unwrap();
    assert!(cause.contains("requests[1]: binding `NOT_FOUND`"), "{cause}");
    assert!(cause.contains("requests[6]: "), "{cause}");
}

pub fn a_batch_of_a_stranger_is_refused_as_a_whole(stage: &Stage) {
    let requests =
        || json!([{ "upstream": "bearer", "path": "/strange" }, { "upstream": "nobody" }]);
    batch(stage, requests()).send().is_unauthenticated();
    batch(stage, requests()).bearer("wrong").send().is_unauthenticated();
    assert!(!stage.upstream.has_seen("/strange"));
    // A caller who is known to nobody in the batch, and one who mistyped, are told apart.
    let mistyped = || json!([{ "upstream": "nobody" }]);
    let parts = parts(&batch(stage, mistyped()).bearer(TOKEN).send());
    assert_eq!(parts[0].0, 404);
    // Who is known nowhere learns not even that a name is wrong.
    let call = |token: &str| {
        let body = json!({ "requests": mistyped() }).to_string();
        stage.stubs.worker("admin", "POST", "/batch").bearer(token).body(body).send()
    };
    call("wrong").is_unauthenticated();
    assert_eq!(call(TOKEN).json()["result"][0]["status"], 404);
    // Where no upstream is public, nobody without a token is listened to at all.
    let call = || stage.stubs.worker("admin", "POST", "/batch").body("not even JSON");
    call().send().is_unauthenticated();
    call().bearer("wrong").send().is_unauthenticated();
}

pub fn a_batch_for_a_public_upstream_needs_no_token(stage: &Stage) {
    let requests = json!([{ "upstream": "public", "path": "/x" }, { "upstream": "bearer" }]);
    let parts = parts(&batch(stage, requests).send());
    assert_eq!((parts[0].0, parts[1].0), (200, 401));
}

pub fn a_batch_that_is_malformed_or_too_large_is_refused(stage: &Stage) {
    let send = |body: &str| stage.stubs.gateway("POST", "/batch").bearer(TOKEN).body(body).send();
    send("{").is_refused(400, 40001, "not valid JSON (line 1, column 2)");
    send("").is_refused(400, 40001, "not valid JSON");
    // The runtime's own message would quote it.
    send("{5ecret}").is_refused(400, 40001, "not valid JSON (line 1, column 2)");
    send("[x5ecret]").is_refused(400, 40001, "not valid JSON");
    send(r#"{"requests":[{"upstream":"bearer"},{}]}"#).is_refused(
        400,
        40001,
        "requests[1].upstream: is required",
    );
    send(r#"{"requests":[{"upstream":"bearer","path":"x"}]}"#).is_refused(
        400,
        40001,
        "requests[0].path: must begin with '/', be percent-encoded and have no fragment",
    );
    // Half a character is no text, and no upstream gets what is left of it.
    for field in ["upstream", "path", "body"] {
        let body = r#"{"requests":[{"upstream":"bearer","FIELD":"/\ud800"}]}"#.replace(
            "\"upstream\":\"bearer\",\"FIELD\"",
            &match field {
                "upstream" => "\"upstream\"".to_owned(),
                _ => format!("\"upstream\":\"bearer\",\"{field}\""),
            },
        );
        send(&body).is_refused(400, 40001, &format!("requests[0].{field}: must be a string"));
    }
    // However deep it is nested, it goes on whole.
    let deep = format!("{}{}", "[".repeat(400_000), "]".repeat(400_000));
    let body = format!(r#"{{"requests":[{{"upstream":"bearer","method":"POST","body":{deep}}}]}}"#);
    let answer = send(&body);
    assert!(answer.status == 200 && answer.body.contains(&deep), "{}", answer.status);
    let many = vec![json!({ "upstream": "bearer" }); 17];
    batch(stage, many.into()).bearer(TOKEN).send().is_refused(413, 41301, "Too large");
    let large = json!([{ "upstream": "bearer", "method": "POST", "body": "x".repeat(1 << 20) }]);
    batch(stage, large).bearer(TOKEN).send().is_refused(413, 41301, "Too large");
    let fitting =
        json!([{ "upstream": "bearer", "method": "POST", "body": "x".repeat(1_000_000) }]);
    assert_eq!(parts(&batch(stage, fitting).bearer(TOKEN).send())[0].0, 200);
}

pub fn the_requests_of_a_batch_run_at_once(stage: &Stage) {
    // The upstream answers neither before it has both.
    let requests = json!([
        { "upstream": "bearer", "path": "/meet/one" },
        { "upstream": "bearer", "path": "/meet/two" },
    ]);
    let parts = parts(&batch(stage, requests).bearer(TOKEN).send());
    assert_eq!((parts[0].0, parts[1].0), (200, 200));
}

pub fn in_a_batch_a_token_admits_outside_alone_and_goes_on_nowhere(stage: &Stage) {
    let requests = |token: &str| {
        let authorization = format!("Bearer {token}");
        json!([{ "upstream": "query", "path": "/x", "headers": { "authorization": authorization } }])
    };
    batch(stage, requests(TOKEN)).send().is_unauthenticated();
    let answer = batch(stage, requests(TOKEN)).bearer(TOKEN).send();
    assert_eq!(parts(&answer)[0].0, 200);
    assert!(!answer.body.contains(TOKEN), "the token was sent on: {answer:?}");
    let answer = batch(stage, requests("somebody-elses")).bearer(TOKEN).send();
    let headers = parts(&answer)[0].1["headers"].clone();
    assert!(headers.to_string().contains("Bearer somebody-elses"), "{headers}");
    // The header of an upstream's own credential shows a token here too.
    let requests = json!([{ "upstream": "header", "path": "/x" }]);
    let answer = batch(stage, requests).header("x-api-key", TOKEN).send();
    assert_eq!(parts(&answer)[0].0, 200);
}

pub fn a_batch_knows_the_gateways_on_its_way(stage: &Stage) {
    let address = stage.stubs.address("gateway");
    let send = |hops: &str| {
        let requests = json!([{ "upstream": "bearer", "path": "/x" }]);
        parts(&batch(stage, requests).bearer(TOKEN).header("cdn-loop", hops).send()).remove(0)
    };
    assert_eq!(send(&address).0, 500);
    let headers = send("other.example").1["headers"].to_string();
    assert!(headers.contains(&format!("other.example, {address}")), "{headers}");
}

pub fn a_batch_follows_no_redirect_and_retries_a_refused_key(stage: &Stage) {
    let requests = json!([
        { "upstream": "bearer", "path": "/status/302" },
        { "upstream": "rotated_both", "path": "/wants/5ecret-other", "method": "POST", "body": "b" },
        {
            "upstream": "rotated_both", "path": "/wants/5ecret-other", "method": "POST",
            "body": "b".repeat(64 * 1024 + 1),
        },
    ]);
    let answer = batch(stage, requests).bearer(TOKEN).send();
    let redirect = &answer.json()["result"][0];
    assert_eq!(redirect["status"], 302);
    assert_eq!(redirect["headers"]["location"], "http://elsewhere.invalid/");
    let statuses: Vec<u64> = parts(&answer).iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses, [302, 200, 401]);
    let line = stage.stubs.log_line(answer.header("x-request-id").unwrap());
    assert_eq!(line["retries"], 1);
}

pub fn a_body_that_is_no_text_comes_back_as_base64(stage: &Stage) {
    let answer =
        batch(stage, json!([{ "upstream": "bearer", "path": "/binary" }])).bearer(TOKEN).send();
    let part = &answer.json()["result"][0];
    assert_eq!((&part["body"], &part["encoding"]), (&"iVBOR/8=".into(), &"base64".into()));
    assert_eq!(part["headers"]["content-type"], "image/png");
    assert!(!answer.body.contains(MARK));
    let requests = json!([
        { "upstream": "bearer", "path": "/bom" },
        { "upstream": "bearer", "path": "/long" },
    ]);
    let parts = parts(&batch(stage, requests).bearer(TOKEN).send());
    assert_eq!(parts[0].1, "\u{feff}text");
    assert_eq!(parts[1].0, 413);
}

pub fn an_answer_in_a_batch_is_whole_however_long_it_is(stage: &Stage) {
    const KIB: usize = 1024;
    let lengths =
        [0, 1, 16 * KIB - 1, 16 * KIB, 16 * KIB + 1, 48 * KIB, 100 * KIB, KIB * KIB, KIB * KIB + 1];
    let requests: Vec<Value> = lengths
        .iter()
        .map(|length| json!({ "upstream": "bearer", "path": format!("/length/{length}") }))
        .chain([json!({ "upstream": "bearer", "path": "/cut" })])
        .collect();
    let parts = parts(&batch(stage, json!(requests)).bearer(TOKEN).send());
    let statuses: Vec<u64> = parts.iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 200, 200, 413, 502]);
    for (length, (_, body)) in lengths.iter().zip(&parts).take(8) {
        // Not with assert_eq!, which would print a MiB.
        assert!(body.as_str() == Some(&upstream::numbers(*length)), "{length}");
    }
}
