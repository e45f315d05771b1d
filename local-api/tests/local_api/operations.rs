//! Every operation that succeeds.

use serde_json::{Value, json};

use crate::client::{ACCOUNT, Api, MARK, secret, wait_until};

#[track_caller]
fn is_id(id: &Value) {
    let id = id.as_str().unwrap();
    let is_hexadecimal = id.chars().all(|it| matches!(it, '0'..='9' | 'a'..='f'));
    assert!(id.len() == 32 && is_hexadecimal, "{id}");
}

#[track_caller]
fn is_time(time: &Value) {
    let time = time.as_str().unwrap();
    assert!(humantime::parse_rfc3339(time).is_ok() && time.ends_with('Z'), "{time}");
}

#[test]
fn a_store_is_created_read_listed_and_deleted() {
    let api = Api::new();
    let store = api.post("/stores", &json!({ "name": "default" })).result();
    is_id(&store["id"]);
    is_time(&store["created"]);
    assert_eq!(store["modified"], store["created"]);
    assert_eq!(store["name"], "default");
    assert_eq!(store["account_id"], ACCOUNT);
    assert_eq!(store.as_object().unwrap().len(), 5);

    let path = format!("/stores/{}", store["id"].as_str().unwrap());
    assert_eq!(api.get(&path).result(), store);
    assert_eq!(api.get("/stores").result(), json!([store]));
    assert_eq!(api.delete(&path).result(), Value::Null);
    assert_eq!(api.get("/stores").result(), json!([]));
    // There is room for another one again.
    api.store();
}

#[test]
fn a_store_with_secrets_is_deleted_with_force() {
    let api = Api::new();
    let store = api.store();
    api.secret(&store, "one");
    assert_eq!(api.delete(&format!("{store}?force=true")).result(), Value::Null);
    assert_eq!(api.get("/stores").result(), json!([]));
    assert_eq!(api.get("/quota").result()["secrets"]["usage"], 0);
}

#[test]
fn one_secret_is_created_and_answered_as_one() {
    let api = Api::new();
    let store = api.store();
    let input = json!({
        "name": "Some_name-1", "value": MARK, "scopes": ["workers", "ai_gateway"], "comment": "why"
    });
    let created = api.post(&format!("{store}/secrets"), &input).result();
    is_id(&created["id"]);
    is_time(&created["created"]);
    let expected = json!({
        "id": created["id"], "store_id": store.strip_prefix("/stores/"), "name": "Some_name-1",
        "comment": "why", "scopes": ["workers", "ai_gateway"], "status": "pending",
        "created": created["created"], "modified": created["created"],
    });
    assert_eq!(created, expected);
    let path = format!("{store}/secrets/{}", created["id"].as_str().unwrap());
    assert_eq!(api.get(&path).result()["name"], "Some_name-1");
}

#[test]
fn a_batch_is_created_and_answered_as_an_array_in_its_order() {
    let api = Api::new();
    let store = api.store();
    let batch = json!([secret("b"), secret("a"), secret("c")]);
    let answer = api.post(&format!("{store}/secrets"), &batch);
    assert_eq!(answer.names(), ["b", "a", "c"]);
    assert_eq!(api.names(&store), ["b", "a", "c"]);
    // Also an array of one.
    assert_eq!(api.post(&format!("{store}/secrets"), &json!([secret("d")])).names(), ["d"]);
}

#[test]
fn every_scope_is_taken_and_one_that_comes_twice_counts_once() {
    let api = Api::new();
    let store = api.store();
    let scopes = json!(["workers", "ai_gateway", "dex", "access", "containers", "websearch"]);
    let mut input = secret("one");
    input["scopes"] = scopes.clone();
    assert_eq!(api.post(&format!("{store}/secrets"), &input).result()["scopes"], scopes);
    let mut input = secret("two");
    input["scopes"] = json!(["dex", "dex"]);
    assert_eq!(api.post(&format!("{store}/secrets"), &input).result()["scopes"], json!(["dex"]));
}

#[test]
fn case_makes_another_name() {
    let api = Api::new();
    let store = api.store();
    api.secret(&store, "name");
    api.secret(&store, "Name");
    assert_eq!(api.names(&store), ["name", "Name"]);
}

#[test]
fn a_value_of_the_most_bytes_is_taken() {
    let api = Api::new();
    let store = api.store();
    let mut input = secret("one");
    input["value"] = json!("é".repeat(32_768));
    api.post(&format!("{store}/secrets"), &input).result();
}

#[test]
fn a_full_batch_of_the_largest_values_is_taken() {
    let api = Api::new();
    let store = api.store();
    let batch: Vec<Value> = (0..100)
        .map(|it| {
            json!({ "name": format!("s{it}"), "value": "x".repeat(65_536), "scopes": ["dex"] })
        })
        .collect();
    let created = api.post(&format!("{store}/secrets"), &json!(batch)).result();
    assert_eq!(created.as_array().unwrap().len(), 100);
}

#[test]
fn a_secret_is_pending_for_the_time_that_was_set() {
    let api = Api::with(&["--pending", "300"]);
    let store = api.store();
    let path = api.secret(&store, "one");
    assert_eq!(api.get(&path).result()["status"], "pending");
    wait_until("it is active", || api.get(&path).result()["status"] == "active");

    let api = Api::with(&["--pending", "600000"]);
    let store = api.store();
    let path = api.secret(&store, "one");
    // A change leaves it as it is.
    assert_eq!(api.patch(&path, &json!({ "comment": "x" })).result()["status"], "pending");
    assert_eq!(api.get(&path).result()["status"], "pending");

    let api = Api::with(&["--pending", "0"]);
    let store = api.store();
    let path = api.secret(&store, "one");
    assert_eq!(api.get(&path).result()["status"], "active");
}

#[test]
fn an_update_changes_what_it_names_and_the_time() {
    let api = Api::with(&["--pending", "0"]);
    let store = api.store();
    let path = api.secret(&store, "one");
    let mut expected = api.get(&path).result();
    for (input, changes) in [
        (json!({ "comment": "new" }), Some(("comment", json!("new")))),
        (json!({ "scopes": ["dex", "access"] }), Some(("scopes", json!(["dex", "access"])))),
        (json!({ "value": MARK, "comment": null }), None),
    ] {
        let updated = api.patch(&path, &input).result();
        assert!(updated["modified"].as_str() > expected["modified"].as_str());
        expected["modified"] = updated["modified"].clone();
        if let Some((field, value)) = changes {
            expected[field] = value;
        }
        assert_eq!(updated, expected);
        assert_eq!(api.get(&path).result(), expected);
    }
}

#[test]
fn a_secret_is_deleted() {
    let api = Api::new();
    let store = api.store();
    let path = api.secret(&store, "one");
    api.secret(&store, "two");
    assert_eq!(api.delete(&path).result(), Value::Null);
    assert_eq!(api.names(&store), ["two"]);
    // Its name is free again.
    api.secret(&store, "one");
}

#[test]
fn a_batch_is_deleted() {
    let api = Api::new();
    let store = api.store();
    let batch = json!([secret("a"), secret("b"), secret("c")]);
    let created = api.post(&format!("{store}/secrets"), &batch).result();
    // One of them twice.
    let ids = json!({ "secret_ids": [created[0]["id"], created[2]["id"], created[0]["id"]] });
    let answer = api.call("DELETE", &format!("{store}/secrets")).json(&ids).send();
    assert_eq!(answer.result(), Value::Null);
    assert_eq!(api.names(&store), ["b"]);
}

#[test]
fn a_duplicate_is_a_secret_of_its_own() {
    let api = Api::new();
    let store = api.store();
    let path = api.secret(&store, "one");
    let duplicate = format!("{path}/duplicate");
    let input = json!({ "name": "two", "scopes": ["dex"], "comment": "copy" });
    let duplicated = api.post(&duplicate, &input).result();
    is_id(&duplicated["id"]);
    assert_eq!(duplicated["name"], "two");
    assert_eq!(duplicated["scopes"], json!(["dex"]));
    assert_eq!(duplicated["comment"], "copy");
    assert_eq!(duplicated["status"], "pending");
    // Without a comment, and with none at all.
    for (name, input) in [
        ("three", json!({ "name": "three", "scopes": ["dex"] })),
        ("four", json!({ "name": "four", "scopes": ["dex"], "comment": null })),
    ] {
        let duplicated = api.post(&duplicate, &input).result();
        assert_eq!((&duplicated["name"], &duplicated["comment"]), (&json!(name), &Value::Null));
    }
    api.delete(&path).result();
    assert_eq!(api.names(&store), ["two", "three", "four"]);
}

#[test]
fn the_quota_counts_the_secrets() {
    let api = Api::with(&["--quota", "7"]);
    let quota = |usage| json!({ "secrets": { "quota": 7, "usage": usage } });
    assert_eq!(api.get("/quota").result(), quota(0));
    let store = api.store();
    let path = api.secret(&store, "one");
    api.secret(&store, "two");
    assert_eq!(api.get("/quota").result(), quota(2));
    api.delete(&path).result();
    assert_eq!(api.get("/quota").result(), quota(1));
}

#[test]
fn what_the_api_does_not_know_of_an_input_is_left_alone() {
    let api = Api::new();
    let store = api.store();
    let mut input = secret("one");
    input["unknown"] = json!(1);
    api.post(&format!("{store}/secrets?unknown=1"), &input).result();
}
