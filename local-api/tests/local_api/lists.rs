//! Lists: pages, orders, filters.

use serde_json::{Value, json};

use crate::client::{Api, MARK, program, secret};

/// Seven secrets in an order that is no field's, and their store's path.
fn seven(api: &Api) -> String {
    let store = api.store();
    let input = |name: &str, comment: Value, scopes: &[&str]| json!({ "name": name, "value": MARK, "scopes": scopes, "comment": comment });
    let batch = json!([
        input("delta", json!("same"), &["workers"]),
        input("alpha", json!("same"), &["dex"]),
        input("golf", json!("a"), &["workers", "dex"]),
        input("Bravo", Value::Null, &["access"]),
        input("echo", json!("same"), &["ai_gateway"]),
        input("charlie", json!("Über ALPHA"), &["containers"]),
        input("foxtrot", json!("z"), &["websearch"]),
    ]);
    api.post(&format!("{store}/secrets"), &batch).result();
    store
}

const CREATED: [&str; 7] = ["delta", "alpha", "golf", "Bravo", "echo", "charlie", "foxtrot"];

fn reversed<'a>(names: &[&'a str]) -> Vec<&'a str> {
    names.iter().rev().copied().collect()
}

#[test]
fn pages_of_every_size_are_all_of_the_list() {
    let api = Api::new();
    let store = seven(&api);
    for per_page in 1..=8_usize {
        let pages = 7_usize.div_ceil(per_page);
        let mut all = Vec::new();
        for page in 1..=pages + 1 {
            let answer = api.get(&format!("{store}/secrets?page={page}&per_page={per_page}"));
            let names = answer.names();
            let info = json!({
                "page": page, "per_page": per_page, "count": names.len(),
                "total_count": 7, "total_pages": pages,
            });
            assert_eq!(answer.json["result_info"], info);
            assert_eq!(names.is_empty(), page > pages);
            all.extend(names);
        }
        assert_eq!(all, CREATED);
    }
    // So far that the count of what comes before it has no number.
    let far = api.get(&format!("{store}/secrets?page={}&per_page=2", usize::MAX / 2 + 2));
    assert_eq!(far.names(), Vec::<String>::new());
}

#[test]
fn a_list_without_parameters_is_the_first_twenty_as_created() {
    let api = Api::new();
    let store = api.store();
    let names: Vec<String> = (0..21).map(|it| format!("s{}", 99 - it)).collect();
    let batch: Vec<Value> = names.iter().map(|name| secret(name)).collect();
    api.post(&format!("{store}/secrets"), &json!(batch)).result();
    let answer = api.get(&format!("{store}/secrets"));
    assert_eq!(answer.names(), names[..20]);
    let info = json!({
        "page": 1, "per_page": 20, "count": 20, "total_count": 21, "total_pages": 2
    });
    assert_eq!(answer.json["result_info"], info);
}

#[test]
fn an_empty_list_has_no_pages() {
    let api = Api::new();
    let answer = api.get("/stores");
    let info = json!({
        "page": 1, "per_page": 20, "count": 0, "total_count": 0, "total_pages": 0
    });
    assert_eq!((answer.result(), &answer.json["result_info"]), (json!([]), &info));
    let store = api.store();
    assert_eq!(api.get("/stores").json["result_info"]["total_pages"], 1);
    assert_eq!(api.get(&format!("{store}/secrets")).json["result_info"]["total_count"], 0);
}

#[test]
fn secrets_are_ordered_by_each_field_both_ways() {
    let api = Api::with(&["--pending", "60000"]);
    let store = seven(&api);
    // The first one is the last one modified.
    let first = api.get(&format!("{store}/secrets?per_page=1")).result()[0].clone();
    let path = format!("{store}/secrets/{}", first["id"].as_str().unwrap());
    api.patch(&path, &json!({ "value": MARK })).result();

    let list = |query: &str| api.get(&format!("{store}/secrets?{query}")).names();
    let by_name = ["Bravo", "alpha", "charlie", "delta", "echo", "foxtrot", "golf"];
    let mut by_modified = CREATED;
    by_modified.rotate_left(1);
    assert_eq!(list("order=name"), by_name);
    assert_eq!(list("order=name&direction=asc"), by_name);
    assert_eq!(list("order=name&direction=desc"), reversed(&by_name));
    assert_eq!(list("order=created"), CREATED);
    assert_eq!(list("order=created&direction=desc"), reversed(&CREATED));
    assert_eq!(list("direction=desc"), reversed(&CREATED));
    assert_eq!(list("order=modified"), by_modified);
    assert_eq!(list("order=modified&direction=desc"), reversed(&by_modified));
    // Those that are equal stay in the order of their creation.
    let by_comment = ["Bravo", "golf", "delta", "alpha", "echo", "foxtrot", "charlie"];
    assert_eq!(list("order=comment"), by_comment);
    let by_comment = ["charlie", "foxtrot", "delta", "alpha", "echo", "golf", "Bravo"];
    assert_eq!(list("order=comment&direction=desc"), by_comment);
    assert_eq!(list("order=status"), CREATED);
}

#[test]
fn secrets_are_ordered_by_status() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secrets.json");
    let api = Api::start(program().args(["--pending", "600000", "--data"]).arg(&file));
    let store = api.store();
    api.secret(&store, "pending");
    drop(api);
    let api = Api::start(program().args(["--pending", "0", "--data"]).arg(&file));
    api.secret(&store, "active");
    let list = |query: &str| api.get(&format!("{store}/secrets?order=status{query}")).names();
    assert_eq!(list(""), ["active", "pending"]);
    assert_eq!(list("&direction=desc"), ["pending", "active"]);
}

#[test]
fn an_ordered_list_comes_in_pages_without_gaps() {
    let api = Api::new();
    let store = seven(&api);
    let mut all = Vec::new();
    for page in 1..=7 {
        let query = format!("order=comment&direction=desc&per_page=1&page={page}");
        all.extend(api.get(&format!("{store}/secrets?{query}")).names());
    }
    assert_eq!(all, ["charlie", "foxtrot", "delta", "alpha", "echo", "golf", "Bravo"]);
}

#[test]
fn a_search_finds_names_and_comments() {
    let api = Api::new();
    let store = seven(&api);
    for (query, expected) in [
        ("search=alpha", vec!["alpha", "charlie"]),
        ("search=ALPHA", vec!["alpha", "charlie"]),
        ("search=%C3%BCber+a", vec!["charlie"]),
        ("search=same&order=name", vec!["alpha", "delta", "echo"]),
        ("search=nothing-like-it", vec![]),
        ("search=", CREATED.to_vec()),
        ("search=workers", vec![]),
        // A value is not searched.
        (&format!("search={MARK}"), vec![]),
    ] {
        let answer = api.get(&format!("{store}/secrets?{query}"));
        assert_eq!(answer.names(), expected, "{query}");
        assert_eq!(answer.json["result_info"]["total_count"], expected.len());
    }
}

#[test]
fn scopes_are_a_filter_in_either_form() {
    let api = Api::new();
    let store = seven(&api);
    for (query, expected) in [
        ("scopes=workers", vec!["delta", "golf"]),
        ("scopes=dex,access", vec!["alpha", "golf", "Bravo"]),
        ("scopes=dex&scopes=access", vec!["alpha", "golf", "Bravo"]),
        ("scopes=ai_gateway&scopes=containers,websearch", vec!["echo", "charlie", "foxtrot"]),
        ("scopes=workers&search=gol", vec!["golf"]),
        ("scopes=", CREATED.to_vec()),
    ] {
        assert_eq!(api.get(&format!("{store}/secrets?{query}")).names(), expected, "{query}");
    }
}

#[test]
fn stores_are_a_list_too() {
    let api = Api::new();
    api.store();
    for order in ["name", "created", "modified"] {
        for direction in ["asc", "desc"] {
            let answer = api.get(&format!("/stores?order={order}&direction={direction}"));
            assert_eq!(answer.names(), ["default"]);
        }
    }
    let answer = api.get("/stores?page=2");
    assert_eq!((answer.result(), &answer.json["result_info"]["count"]), (json!([]), &json!(0)));
}

#[test]
fn a_parameter_that_is_not_as_it_should_be_is_refused() {
    let api = Api::new();
    let store = api.store();
    let secrets = format!("{store}/secrets");
    for (path, query, name) in [
        ("/stores", "page=0", "page"),
        ("/stores", "page=x", "page"),
        ("/stores", "per_page=0", "per_page"),
        ("/stores", "per_page=101", "per_page"),
        ("/stores", "order=comment", "order"),
        ("/stores", "direction=up", "direction"),
        (&secrets, "page=-1", "page"),
        (&secrets, "page=99999999999999999999", "page"),
        (&secrets, "per_page=1.5", "per_page"),
        (&secrets, "order=value", "order"),
        (&secrets, "direction=DESC", "direction"),
        (&secrets, "scopes=ai-gateway", "scopes"),
        (&secrets, "scopes=dex,", "scopes"),
    ] {
        let answer = api.get(&format!("{path}?{query}"));
        answer.is_refused(400, 1001, &format!("invalid_parameter: {name}"));
    }
}
