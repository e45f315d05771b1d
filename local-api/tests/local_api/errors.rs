//! Every refusal, with its status, code and message.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
};

use serde_json::{Value, json};

use crate::client::{ACCOUNT, Api, MARK, TOKEN, bare, secret};

const OTHER: &str = "ffffffffffffffffffffffffffffffff";

/// Each operation, on ids that are none.
fn operations() -> Vec<(&'static str, String)> {
    let secrets = format!("/stores/{OTHER}/secrets");
    vec![
        ("GET", "/quota".to_owned()),
        ("GET", "/stores".to_owned()),
        ("POST", "/stores".to_owned()),
        ("GET", format!("/stores/{OTHER}")),
        ("DELETE", format!("/stores/{OTHER}")),
        ("GET", secrets.clone()),
        ("POST", secrets.clone()),
        ("DELETE", secrets.clone()),
        ("GET", format!("{secrets}/{OTHER}")),
        ("PATCH", format!("{secrets}/{OTHER}")),
        ("DELETE", format!("{secrets}/{OTHER}")),
        ("POST", format!("{secrets}/{OTHER}/duplicate")),
    ]
}

#[test]
fn without_the_token_nothing_is_told() {
    let api = Api::new();
    let mut paths = operations();
    paths.extend([("GET", "/nothing".to_owned()), ("PUT", "/stores".to_owned())]);
    for (method, path) in paths {
        let call = || api.call(method, &path);
        let wrong = [
            call().token(None),
            call().token(Some("wrong")),
            call().token(Some("the-tokem")),
            call().token(Some("the-toke")),
            call().token(Some("the-token-and-more")),
            call().authorization(""),
            call().authorization("Bearer "),
            call().authorization(&format!("Basic {TOKEN}")),
            call().authorization(&format!("Bearer  {TOKEN}")),
        ];
        for call in wrong {
            call.send().is_refused(401, 10000, "Authentication error");
        }
    }
    let answer = api.call("GET", "/stores").authorization(&format!("bearer {TOKEN}")).send();
    assert_eq!(answer.status, 200);
}

#[test]
fn another_account_is_refused() {
    let api = Api::new();
    for (method, path) in operations() {
        let at = |account: &str| {
            let path = format!("/accounts/{account}/secrets_store{path}");
            api.call(method, "").at(&api.base, &path).send()
        };
        at(OTHER).is_refused(403, 10000, "Authentication error");
        let message = "could not route: is the account's id right?";
        for account in ["not-an-id", &ACCOUNT.to_uppercase()[1..], &format!("{ACCOUNT}0"), "%ff"] {
            at(account).is_refused(400, 7003, message);
        }
    }
}

#[test]
fn an_account_of_any_form_can_be_set() {
    let mut command = bare();
    let arguments = ["--listen", "127.0.0.1:0", "--token", TOKEN, "--account", "mine"];
    let api = Api::start(command.args(arguments).env("LOCAL_API_ACCOUNT", ACCOUNT));
    let answer = api.call("GET", "").at(&api.base, "/accounts/mine/secrets_store/quota").send();
    answer.result();
    api.get("/quota").is_refused(403, 10000, "Authentication error");
}

#[test]
fn a_path_that_there_is_not_answers_404() {
    let api = Api::new();
    let store = api.store();
    for path in ["/stores/", "/stores//secrets", &format!("{store}/secrets/"), "", "/", "/nothing"]
    {
        api.get(path).is_refused(404, 1000, "not found");
    }
    api.post(&format!("{store}/secrets//duplicate"), &secret("x")).is_refused(
        404,
        1000,
        "not found",
    );
    api.get("/stores/%ff").is_refused(404, 1000, "not found");
    for path in ["/", "/accounts", "/accounts//secrets_store/quota", "/user/tokens/verify"] {
        api.call("GET", "").at(&api.base, path).send().is_refused(404, 1000, "not found");
    }
}

#[test]
fn a_method_that_there_is_not_answers_405() {
    let api = Api::new();
    for path in ["/quota", "/stores", "/stores/x", "/stores/x/secrets", "/stores/x/secrets/y"] {
        api.call("PUT", path).json(&json!({})).send().is_refused(405, 10405, "Method not allowed");
    }
    api.get("/stores/x/secrets/y/duplicate").is_refused(405, 10405, "Method not allowed");
}

#[test]
fn an_unknown_store_is_not_found() {
    let api = Api::new();
    api.store();
    for (method, path) in operations().into_iter().filter(|(_, path)| path.contains(OTHER)) {
        let body = match (method, path.ends_with("/secrets")) {
            ("DELETE", true) => json!({ "secret_ids": [OTHER] }),
            _ => secret("one"),
        };
        let answer = api.call(method, &path).json(&body).send();
        answer.is_refused(404, 1001, "store_not_found");
    }
}

#[test]
fn an_unknown_secret_is_not_found() {
    let api = Api::new();
    let store = api.store();
    let path = format!("{store}/secrets/{OTHER}");
    api.get(&path).is_refused(404, 1001, "secret_not_found");
    api.delete(&path).is_refused(404, 1001, "secret_not_found");
    api.patch(&path, &json!({ "comment": "x" })).is_refused(404, 1001, "secret_not_found");
    api.post(&format!("{path}/duplicate"), &secret("one")).is_refused(
        404,
        1001,
        "secret_not_found",
    );
}

#[test]
fn a_second_store_is_one_too_many() {
    let api = Api::new();
    api.store();
    let answer = api.post("/stores", &json!({ "name": "second" }));
    answer.is_refused(409, 1003, "maximum_stores_exceeded");
    assert_eq!(api.get("/stores").names(), ["default"]);
}

#[test]
fn a_store_needs_a_name() {
    let api = Api::new();
    for input in [json!({}), json!({ "name": "" }), json!({ "name": null })] {
        api.post("/stores", &input).is_refused(400, 1001, "store_name_empty");
    }
}

#[test]
fn a_store_with_secrets_is_not_deleted_without_force() {
    let api = Api::new();
    let store = api.store();
    api.secret(&store, "one");
    for query in ["", "?force=false", "?force="] {
        let answer = api.delete(&format!("{store}{query}"));
        answer.is_refused(409, 1003, "store_not_empty");
    }
    let answer = api.delete(&format!("{store}?force=yes"));
    answer.is_refused(400, 1001, "invalid_parameter: force");
    assert_eq!(api.names(&store), ["one"]);
}

/// What is wrong with a secret, and how it is refused.
fn bad_secrets() -> Vec<(Value, &'static str)> {
    let with = |field: &str, value: Value| {
        let mut input = secret("bad");
        input[field] = value;
        input
    };
    vec![
        (with("name", json!("")), "secret_name_empty"),
        (with("name", Value::Null), "secret_name_empty"),
        (with("name", json!("a b")), "secret_name_invalid"),
        (with("name", json!("a.b")), "secret_name_invalid"),
        (with("name", json!("ü")), "secret_name_invalid"),
        (with("value", json!("")), "secret_value_empty"),
        (with("value", Value::Null), "secret_value_empty"),
        (with("value", json!(MARK.repeat(65_537 / MARK.len() + 1))), "secret_value_too_large"),
        // Fewer characters than the limit, more bytes.
        (with("value", json!("é".repeat(32_769))), "secret_value_too_large"),
        (with("scopes", json!([])), "secret_scopes_empty"),
        (with("scopes", Value::Null), "secret_scopes_empty"),
        (with("scopes", json!(["nothing"])), "secret_scope_invalid"),
        (with("scopes", json!(["workers", "ai-gateway"])), "secret_scope_invalid"),
        (with("scopes", json!(["Workers"])), "secret_scope_invalid"),
        (with("name", json!(1)), "invalid_json_body"),
        (with("value", json!([MARK])), "invalid_json_body"),
        (with("scopes", json!("workers")), "invalid_json_body"),
        (with("comment", json!({})), "invalid_json_body"),
        (json!(MARK), "invalid_json_body"),
        (json!(["bad", MARK, ["workers"], null]), "invalid_json_body"),
        (Value::Null, "invalid_json_body"),
    ]
}

#[test]
fn a_bad_secret_is_refused() {
    let api = Api::new();
    let store = api.store();
    for (input, message) in bad_secrets() {
        api.post(&format!("{store}/secrets"), &input).is_refused(400, 1001, message);
    }
    assert_eq!(api.names(&store), Vec::<String>::new());
}

#[test]
fn a_batch_with_one_bad_entry_creates_nothing() {
    let api = Api::new();
    let store = api.store();
    for (input, message) in bad_secrets() {
        let batch = json!([secret("one"), input, secret("two")]);
        api.post(&format!("{store}/secrets"), &batch).is_refused(400, 1001, message);
    }
    api.post(&format!("{store}/secrets"), &json!([])).is_refused(400, 1001, "invalid_json_body");
    assert_eq!(api.names(&store), Vec::<String>::new());
}

#[test]
fn a_name_that_is_taken_is_refused_with_the_whole_batch() {
    let api = Api::new();
    let store = api.store();
    let path = api.secret(&store, "one");
    for input in [
        secret("one"),
        json!([secret("two"), secret("one")]),
        // Within the batch.
        json!([secret("two"), secret("three"), secret("two")]),
    ] {
        let answer = api.post(&format!("{store}/secrets"), &input);
        answer.is_refused(409, 1003, "secret_name_already_exists");
    }
    let answer = api.post(&format!("{path}/duplicate"), &secret("one"));
    answer.is_refused(409, 1003, "secret_name_already_exists");
    assert_eq!(api.names(&store), ["one"]);
}

#[test]
fn more_than_the_quota_is_refused_with_the_whole_batch() {
    let api = Api::with(&["--quota", "2"]);
    let store = api.store();
    let path = api.secret(&store, "one");
    let answer = api.post(&format!("{store}/secrets"), &json!([secret("two"), secret("three")]));
    answer.is_refused(409, 1003, "maximum_secrets_exceeded");
    api.secret(&store, "two");
    let answer = api.post(&format!("{store}/secrets"), &secret("three"));
    answer.is_refused(409, 1003, "maximum_secrets_exceeded");
    let answer = api.post(&format!("{path}/duplicate"), &secret("three"));
    answer.is_refused(409, 1003, "maximum_secrets_exceeded");
    assert_eq!(api.names(&store), ["one", "two"]);
}

#[test]
fn a_bad_update_changes_nothing() {
    let api = Api::new();
    let store = api.store();
    let path = api.secret(&store, "one");
    let before = api.get(&path);
    for input in [json!({}), json!({ "name": "two" }), json!({ "value": null, "comment": null })] {
        api.patch(&path, &input).is_refused(400, 1001, "nothing_to_update");
    }
    for (input, message) in [
        (json!({ "comment": "x", "value": "" }), "secret_value_empty"),
        (json!({ "comment": "x", "value": "é".repeat(32_769) }), "secret_value_too_large"),
        (json!({ "comment": "x", "scopes": [] }), "secret_scopes_empty"),
        (json!({ "value": MARK, "scopes": ["ai-gateway"] }), "secret_scope_invalid"),
        (json!({ "value": 1 }), "invalid_json_body"),
        (json!([{ "comment": "x" }]), "invalid_json_body"),
    ] {
        api.patch(&path, &input).is_refused(400, 1001, message);
    }
    let mut after = api.get(&path);
    after.json["result"]["status"] = before.json["result"]["status"].clone();
    assert_eq!(after, before);
}

#[test]
fn a_bad_duplicate_is_refused() {
    let api = Api::new();
    let store = api.store();
    let path = format!("{}/duplicate", api.secret(&store, "one"));
    for (input, message) in [
        (json!({ "scopes": ["dex"] }), "secret_name_empty"),
        (json!({ "name": "two" }), "secret_scopes_empty"),
        (json!({ "name": "two", "scopes": [] }), "secret_scopes_empty"),
        (json!({ "name": "two", "scopes": ["x"] }), "secret_scope_invalid"),
        (json!({ "name": "t w o", "scopes": ["dex"] }), "secret_name_invalid"),
        (json!([]), "invalid_json_body"),
    ] {
        api.post(&path, &input).is_refused(400, 1001, message);
    }
    assert_eq!(api.names(&store), ["one"]);
}

#[test]
fn a_batch_to_delete_with_one_bad_id_deletes_nothing() {
    let api = Api::new();
    let store = api.store();
    let path = api.secret(&store, "one");
    let id = path.rsplit('/').next().unwrap();
    let delete = |body: &str| api.call("DELETE", &format!("{store}/secrets")).body(body).send();
    for ids in [json!([id, OTHER]), json!([OTHER, id]), json!([id, ""])] {
        let answer = delete(&json!({ "secret_ids": ids }).to_string());
        answer.is_refused(404, 1001, "secret_not_found");
    }
    for body in ["{}", r#"{"secret_ids":[]}"#, r#"{"secret_ids":null}"#] {
        delete(body).is_refused(400, 1001, "secret_ids_empty");
    }
    for body in ["", "[]", r#"{"secret_ids":"x"}"#, r#"{"secret_ids":[1]}"#] {
        delete(body).is_refused(400, 1001, "invalid_json_body");
    }
    assert_eq!(api.names(&store), ["one"]);
}

#[test]
fn a_body_that_is_no_json_is_refused() {
    let api = Api::new();
    let store = api.store();
    let secret = api.secret(&store, "one");
    let duplicate = format!("{secret}/duplicate");
    let secrets = format!("{store}/secrets");
    for (method, path) in
        [("POST", "/stores"), ("POST", &secrets), ("PATCH", &secret), ("POST", &duplicate)]
    {
        let deep = "[".repeat(100_000);
        for body in [b"{" as &[u8], b"", b"\xff\xfe", b"{\"name\":\"\xff\"}", deep.as_bytes()] {
            let answer = api.call(method, path).body(body).send();
            answer.is_refused(400, 1001, "invalid_json_body");
        }
    }
}

#[test]
fn a_body_that_is_too_large_is_refused() {
    let api = Api::new();
    let store = api.store();
    let mut input = secret("one");
    input["comment"] = json!("x".repeat(9 << 20));
    let answer = api.post(&format!("{store}/secrets"), &input);
    answer.is_refused(413, 1001, "request_body_too_large");
    assert_eq!(api.names(&store), Vec::<String>::new());
}

#[test]
fn a_body_that_is_cut_off_creates_nothing() {
    let api = Api::new();
    let store = api.store();
    let mut stream = TcpStream::connect(api.address()).unwrap();
    let body = secret("one").to_string();
    write!(
        stream,
        "POST /client/v4/accounts/{ACCOUNT}/secrets_store{store}/secrets HTTP/1.1\r\n\
         host: x\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len() + 1
    )
    .unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    // Until the program is done with it.
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(!answer.contains(MARK) && !answer.contains(" 200 "), "{answer}");
    assert_eq!(api.names(&store), Vec::<String>::new());
}
