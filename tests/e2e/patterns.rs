//! `examples/patterns`: each documented pattern of the binding API, in a Worker that copied
//! `src/secrets/` and uses the plain `worker` API.

use serde_json::json;

use crate::{Stage, client::Answer};

fn run(stage: &Stage, pattern: &str) -> Answer {
    let answer = stage.stubs.worker("patterns", "GET", &format!("/{pattern}")).send();
    assert_eq!(answer.status, 200, "{pattern}: {answer:?}");
    answer
}

pub fn each_pattern_of_the_binding_api_runs_in_the_runtime(stage: &Stage) {
    // API_KEY counts its gets: one a request.
    let answer = run(stage, "basic");
    assert_eq!(answer.got_header("authorization").as_deref(), Some("Bearer 5ecret-pattern-1"));
    let answer = run(stage, "fallback");
    assert_eq!(answer.got_header("authorization").as_deref(), Some("Bearer 5ecret-pattern-2"));
    let answer = run(stage, "batch");
    assert_eq!(answer.got_header("x-client-id").as_deref(), Some("5ecret-client"));
    assert_eq!(answer.got_header("x-api-key").as_deref(), Some("5ecret-pattern-3"));
    assert_eq!(run(stage, "settled").json(), json!([true, false]));

    let both = run(stage, "request-scope").json();
    for answer in ["r1", "r2"] {
        let headers = both[answer]["headers"].as_array().unwrap();
        let header = json!(["authorization", "Bearer 5ecret-pattern-5"]);
        assert!(headers.contains(&header), "{headers:?}");
    }

    let answer = run(stage, "json");
    assert_eq!(answer.got_header("x-email").as_deref(), Some("a@example.com"));
    assert_eq!(answer.got_header("x-key").as_deref(), Some("5ecret-private"));

    let answer = run(stage, "typed");
    assert_eq!(answer.got_header("x-api-key").as_deref(), Some("5ecret-pattern-6"));
    assert_eq!(answer.got_header("x-next").as_deref(), Some("5ecret-pattern-6"));
    assert_eq!(answer.got_header("x-plain").as_deref(), Some("5ecret-plain"));
    assert_eq!(answer.got_header("x-key").as_deref(), Some("5ecret-private"));
}

pub fn a_missing_secret_answers_500_in_the_example_too(stage: &Stage) {
    // The same Worker, without any binding of its own but the upstream.
    let answer = stage.stubs.worker("unbound", "GET", "/batch").send();
    assert_eq!((answer.status, answer.body.as_str()), (500, "Configuration error"));
    let told = stage.stubs.line_with("binding `CLIENT_ID`");
    assert!(told.contains("binding `API_KEY`: nothing is bound"), "{told}");
}
