//! Operations and answers, as the API really sends them.

use std::{cell::RefCell, collections::VecDeque, convert::Infallible, rc::Rc, time::Duration};

use futures::executor::block_on;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const STORE: &str = "023e105f4ecef8ad9ca31a8372d0c353";
const SECRET: &str = "3fd85f74b32742f1bff64a85009dda07";

fn store() -> StoreId {
    StoreId::parse(STORE).unwrap()
}

fn secret() -> SecretId {
    SecretId::parse(SECRET).unwrap()
}

fn new(name: &str, value: &str, scopes: &[Scope]) -> NewSecret {
    let (name, value) = (name.to_owned(), value.to_owned().into());
    NewSecret { name, value, scopes: scopes.to_vec(), comment: None }
}

fn create(secrets: Vec<NewSecret>) -> CreateSecrets {
    CreateSecrets { store: store(), secrets }
}

fn update() -> UpdateSecret {
    UpdateSecret { store: store(), secret: secret(), value: None, scopes: None, comment: None }
}

fn list() -> ListSecrets {
    ListSecrets {
        store: store(),
        page: Page::default(),
        search: None,
        scopes: Vec::new(),
        order: None,
        direction: None,
    }
}

fn duplicate() -> DuplicateSecret {
    let scopes = vec![Scope::Workers];
    DuplicateSecret { store: store(), secret: secret(), name: "B".into(), scopes, comment: None }
}

/// The request's method, path and body.
fn sent(operation: &impl Operation) -> (&'static str, String, Value) {
    let request = operation.request().unwrap();
    let body = request
        .body
        .map_or(Value::Null, |body| serde_json::from_str(body.expose_secret()).unwrap());
    (request.method, request.path_and_query, body)
}

fn mistakes(operation: &impl Operation) -> Vec<String> {
    let invalid = operation.request().unwrap_err();
    invalid.0.iter().map(ToString::to_string).collect()
}

fn metadata(name: &str) -> Value {
    json!({
        "id": SECRET, "store_id": STORE, "name": name, "comment": "", "scopes": ["workers"],
        "status": "pending", "created": "2025-04-01T09:30:00.123456Z",
        "modified": "2025-04-01T09:30:00.123456Z",
    })
}

fn success(result: Value) -> String {
    json!({ "success": true, "errors": [], "messages": [], "result": result }).to_string()
}

fn failure(code: u32, message: &str) -> String {
    let errors = [json!({ "code": code, "message": message })];
    json!({ "success": false, "errors": errors, "messages": [], "result": null }).to_string()
}

fn error(status: u16, body: &str) -> ApiError {
    GetSecret::read(status, None, body.as_bytes()).unwrap_err()
}

#[test]
fn each_operation_asks_as_the_api_wants_it() {
    let in_store = format!("/stores/{STORE}");
    let secrets = format!("/stores/{STORE}/secrets");
    let of_secret = format!("/stores/{STORE}/secrets/{SECRET}");
    let page = Page { page: Some(2), per_page: Some(50) };
    for (asked, expected) in [
        (sent(&ListStores::default()), ("GET", "/stores".to_owned(), Value::Null)),
        (
            sent(&ListStores {
                page,
                order: Some(StoreOrder::Created),
                direction: Some(Direction::Descending),
            }),
            (
                "GET",
                "/stores?page=2&per_page=50&order=created&direction=desc".to_owned(),
                Value::Null,
            ),
        ),
        (
            sent(&CreateStore { name: "my store".into() }),
            ("POST", "/stores".to_owned(), json!({ "name": "my store" })),
        ),
        (sent(&GetStore { store: store() }), ("GET", in_store.clone(), Value::Null)),
        (
            sent(&DeleteStore { store: store(), force: false }),
            ("DELETE", in_store.clone(), Value::Null),
        ),
        (
            sent(&DeleteStore { store: store(), force: true }),
            ("DELETE", format!("{in_store}?force=true"), Value::Null),
        ),
        (sent(&list()), ("GET", secrets.clone(), Value::Null)),
        (
            sent(&ListSecrets {
                page,
                search: Some("a&b ü".into()),
                scopes: vec![Scope::Workers, Scope::AiGateway],
                order: Some(SecretOrder::Status),
                direction: Some(Direction::Ascending),
                ..list()
            }),
            (
                "GET",
                format!(
                    "{secrets}?page=2&per_page=50&search=a%26b%20%C3%BC&scopes=workers\
                     &scopes=ai_gateway&order=status&direction=asc"
                ),
                Value::Null,
            ),
        ),
        (
            sent(&create(vec![
                new("A", "line\nbreak", &[Scope::Workers, Scope::AiGateway]),
                NewSecret { comment: Some("why".into()), ..new("b-_1", "2", &[Scope::Dex]) },
            ])),
            (
                "POST",
                secrets.clone(),
                json!([
                    { "name": "A", "value": "line\nbreak", "scopes": ["workers", "ai_gateway"] },
                    { "name": "b-_1", "value": "2", "scopes": ["dex"], "comment": "why" },
                ]),
            ),
        ),
        (
            sent(&GetSecret { store: store(), secret: secret() }),
            ("GET", of_secret.clone(), Value::Null),
        ),
        (
            sent(&UpdateSecret { value: Some("new".to_owned().into()), ..update() }),
            ("PATCH", of_secret.clone(), json!({ "value": "new" })),
        ),
        (
            sent(&UpdateSecret {
                scopes: Some(vec![Scope::Access]),
                comment: Some(String::new()),
                ..update()
            }),
            ("PATCH", of_secret.clone(), json!({ "scopes": ["access"], "comment": "" })),
        ),
        (
            sent(&DeleteSecret { store: store(), secret: secret() }),
            ("DELETE", of_secret.clone(), Value::Null),
        ),
        (
            sent(&DeleteSecrets { store: store(), secrets: vec![secret()] }),
            ("DELETE", secrets.clone(), json!({ "secret_ids": [SECRET] })),
        ),
        (
            sent(&duplicate()),
            (
                "POST",
                format!("{of_secret}/duplicate"),
                json!({ "name": "B", "scopes": ["workers"] }),
            ),
        ),
        (sent(&GetQuota), ("GET", "/quota".to_owned(), Value::Null)),
    ] {
        assert_eq!(asked, expected);
    }
}

#[test]
fn what_the_api_would_refuse_is_told_by_entry_and_field() {
    let workers = [Scope::Workers];
    assert_eq!(
        mistakes(&create(vec![
            new("A", "1", &workers),
            new("", "", &[]),
            new("a b", &"x".repeat(65_537), &[Scope::Workers, Scope::Other("wrkers".into())]),
            new("A", "1", &workers),
            new("a", "1", &workers),
        ])),
        [
            "[1].name: must not be empty",
            "[1].value: must not be empty",
            "[1].scopes: must have at least one scope",
            "[2].name: may have letters, digits, '_' and '-' only",
            "[2].value: must have at most 65536 bytes (as UTF-8)",
            "[2].scopes[1]: must be one of workers, ai_gateway, dex, access, containers, websearch",
            "[3].name: is the name of an earlier entry too",
        ]
    );
    assert_eq!(mistakes(&create(Vec::new())), ["body: must have at least one secret"]);
    assert_eq!(mistakes(&update()), ["body: must change value, scopes or comment"]);
    assert_eq!(
        mistakes(&UpdateSecret {
            value: Some(String::new().into()),
            scopes: Some(Vec::new()),
            ..update()
        }),
        ["value: must not be empty", "scopes: must have at least one scope"]
    );
    assert_eq!(
        mistakes(&DuplicateSecret { name: "ü".into(), scopes: Vec::new(), ..duplicate() }),
        [
            "name: may have letters, digits, '_' and '-' only",
            "scopes: must have at least one scope"
        ]
    );
    assert_eq!(
        mistakes(&DeleteSecrets { store: store(), secrets: Vec::new() }),
        ["secret_ids: must name at least one secret"]
    );
    assert_eq!(mistakes(&CreateStore { name: String::new() }), ["name: must not be empty"]);
    let page = Page { page: Some(0), per_page: Some(0) };
    let told = ["page: must be a whole number from 1", "per_page: must be a whole number from 1"];
    assert_eq!(mistakes(&ListSecrets { page, ..list() }), told);
    assert_eq!(mistakes(&ListStores { page, ..ListStores::default() }), told);
}

#[test]
fn a_mistake_says_what_the_api_would() {
    let scopes = [Scope::Other("x".into())];
    let invalid = create(vec![new("", "1", &[]), new("A", "1", &scopes), new("A", "1", &scopes)])
        .request()
        .unwrap_err();
    let reported: Vec<_> = invalid.0.iter().filter_map(|it| it.reported.as_ref()).collect();
    let reported: Vec<_> = reported.iter().map(|it| (it.code, it.message.as_ref())).collect();
    assert_eq!(
        reported,
        [
            (1001, "secret_name_empty"),
            (1001, "secret_scopes_empty"),
            (1001, "secret_scope_invalid"),
            (1003, "secret_name_already_exists"),
            (1001, "secret_scope_invalid"),
        ]
    );
}

#[test]
fn a_value_is_measured_in_bytes() {
    let of = |value: String| create(vec![new("A", &value, &[Scope::Workers])]).request();
    assert!(of("x".repeat(65_536)).is_ok());
    assert!(of("ü".repeat(32_768)).is_ok());
    assert!(of("ü".repeat(32_769)).is_err());
}

#[test]
fn a_value_is_printed_by_nothing() {
    let operation = create(vec![new("A", "5ecret", &[Scope::Workers])]);
    let update = UpdateSecret { value: Some("5ecret".to_owned().into()), ..update() };
    let printed = format!("{operation:?} {:?} {update:?}", operation.request().unwrap());
    assert!(printed.contains("REDACTED") && !printed.contains("5ecret"), "{printed}");
}

#[test]
fn a_success_is_read_into_its_result() {
    let read = |body: &str| CreateSecrets::read(200, None, body.as_bytes());
    // A single create answers with an object or with an array of one.
    assert_eq!(read(&success(metadata("A"))).unwrap()[0].name, "A");
    assert_eq!(read(&success(json!([metadata("A"), metadata("B")]))).unwrap().len(), 2);
    let quota = success(json!({ "secrets": { "quota": 100, "usage": 3 } }));
    let quota = GetQuota::read(200, None, quota.as_bytes()).unwrap();
    assert_eq!(quota.secrets, Usage { quota: 100, usage: 3 });
    for deleted in [Value::Null, json!({}), json!([])] {
        assert_eq!(DeleteSecret::read(200, None, success(deleted).as_bytes()), Ok(Deleted));
    }
    let none = CreateSecrets::read(200, None, success(json!([])).as_bytes());
    assert_eq!(none.unwrap_err(), ApiError::NotAnAnswer { status: 200 });
    // Without what is of no use here.
    assert_eq!(DeleteSecret::read(200, None, br#"{"success":true}"#), Ok(Deleted));
}

#[test]
fn each_error_of_the_api_has_its_type() {
    for (status, code, message, expected) in [
        (404, 1001, "store_not_found", ApiError::StoreNotFound),
        (404, 1001, "secret_not_found", ApiError::SecretNotFound),
        (409, 1003, "secret_name_already_exists", ApiError::NameTaken),
        (400, 10000, "Name exists", ApiError::NameTaken),
        (409, 1003, "a secret of this name already exists", ApiError::NameTaken),
        (409, 1003, "maximum_secrets_exceeded", ApiError::OverQuota),
        (409, 1003, "maximum_stores_exceeded", ApiError::MaximumOfStores),
        (409, 1003, "store_not_empty", ApiError::StoreNotEmpty),
        // Only `success` says whether it is one.
        (200, 1001, "secret_not_found", ApiError::SecretNotFound),
    ] {
        assert_eq!(error(status, &failure(code, message)), expected);
    }
    for message in
        ["secret_name_empty", "secret_scopes_empty", "secret_scope_invalid", "invalid_json_body"]
    {
        let ApiError::BadInput(reported) = error(400, &failure(1001, message)) else {
            panic!("{message}");
        };
        assert_eq!((reported.code, reported.message.as_ref()), (1001, message));
    }
    assert!(matches!(error(404, &failure(7003, "could not route")), ApiError::BadInput(_)));
    assert!(matches!(error(400, &failure(40001, "name: must …")), ApiError::BadInput(_)));
    for (status, code, message) in [
        (401, 10000, "Authentication error"),
        (200, 10000, "Authentication error"),
        (401, 40101, "Authentication required"),
        (403, 9109, "Unauthorized to access requested resource"),
    ] {
        let ApiError::NotAuthorized { reported } = error(status, &failure(code, message)) else {
            panic!("{message}");
        };
        assert_eq!((reported[0].code, reported[0].message.as_ref()), (code, message));
    }
}

#[test]
fn an_unknown_error_keeps_its_code_and_message() {
    let ApiError::Other { status: 500, reported } = error(500, &failure(1999, "odd")) else {
        panic!("not kept");
    };
    assert_eq!((reported[0].code, reported[0].message.as_ref()), (1999, "odd"));
    // Also where a field of it is missing.
    let body = r#"{"success":false,"errors":[{"message":"odd"},{"code":7}]}"#;
    assert!(matches!(error(418, body), ApiError::Other { reported, .. } if reported.len() == 2));
}

#[test]
fn too_many_requests_say_how_long_to_wait() {
    let wait = |retry_after| match GetQuota::read(429, retry_after, b"<html>slow down") {
        Err(ApiError::RateLimited { wait }) => wait,
        other => panic!("{other:?}"),
    };
    assert_eq!(wait(Some("30")), Some(Duration::from_secs(30)));
    for other in [None, Some("soon"), Some("-1"), Some("Fri, 31 Dec 1999 23:59:59 GMT")] {
        assert_eq!(wait(other), None);
    }
}

#[test]
fn what_is_no_answer_of_the_api_is_never_success() {
    let whole = success(metadata("A"));
    for (status, body) in [
        (502, "<html><body>Bad gateway</body></html>"),
        (200, "<html><body>Sign in</body></html>"),
        (200, ""),
        (200, "null"),
        (200, "[]"),
        (200, "{}"),
        (200, r#"{"result":{}}"#),
        (200, r#"{"success":"true","result":null}"#),
        (200, r#"{"success":true,"result":{"id":"not a secret"}}"#),
        (200, r#"{"success":true,"result":null}"#),
        (200, r#"{"success":false}"#),
        (200, r#"{"success":false,"errors":[]}"#),
        (200, r#"{"success":false,"errors":null}"#),
        (500, &whole),
        (302, &whole),
        (204, ""),
        (403, "<html>blocked</html>"),
    ] {
        assert_eq!(error(status, body), ApiError::NotAnAnswer { status }, "{status} {body}");
    }
    for end in 0..whole.len() {
        assert_eq!(error(200, whole.get(..end).unwrap()), ApiError::NotAnAnswer { status: 200 });
    }
    assert_eq!(
        GetSecret::read(200, None, b"\xff{}").unwrap_err(),
        ApiError::NotAnAnswer { status: 200 }
    );
}

/// Answers in turn with what it is given, and keeps what it was asked.
#[derive(Default)]
struct Script {
    answers: RefCell<VecDeque<(u16, String)>>,
    asked: RefCell<Vec<String>>,
}

impl Script {
    fn client(answers: impl IntoIterator<Item = (u16, String)>) -> (Client<Rc<Self>>, Rc<Self>) {
        let answers = RefCell::new(answers.into_iter().collect());
        let script = Rc::new(Self { answers, ..Self::default() });
        (Client::new(script.clone()), script)
    }
}

impl Transport for Rc<Script> {
    type Error = Infallible;

    async fn send(&self, request: Request) -> Result<Answer, Infallible> {
        let body = request.body.as_ref().map_or("", |body| body.expose_secret());
        let line = format!("{} {} {body}", request.method, request.path_and_query);
        self.asked.borrow_mut().push(line.trim_end().to_owned());
        let (status, body) = self.answers.borrow_mut().pop_front().expect("one request too many");
        Ok(Answer { status, retry_after: None, body: body.into_bytes() })
    }
}

fn page(names: &[&str], total: Option<usize>) -> (u16, String) {
    let result: Vec<Value> = names.iter().map(|name| metadata(name)).collect();
    let mut envelope: Value = serde_json::from_str(&success(json!(result))).unwrap();
    if let Some(total) = total {
        envelope["result_info"] = json!({ "total_count": total });
    }
    (200, envelope.to_string())
}

#[test]
fn a_list_follows_its_pages_to_the_end() {
    let names = |answers: Vec<(u16, String)>| {
        let (client, script) = Script::client(answers);
        let list = ListSecrets { page: Page { page: None, per_page: Some(2) }, ..list() };
        let all = block_on(client.all(&list)).unwrap();
        assert!(script.answers.borrow().is_empty(), "it stopped early");
        let asked = script.asked.borrow().join(" ");
        (all.into_iter().map(|it| it.name).collect::<Vec<_>>().join(""), asked)
    };
    let (all, asked) = names(vec![page(&["A", "B"], Some(3)), page(&["C"], Some(3))]);
    assert_eq!(all, "ABC");
    assert!(asked.contains("?page=1&per_page=2") && asked.contains("?page=2&per_page=2"));
    // Shorter pages than asked for, as a server may have a limit.
    assert_eq!(names(vec![page(&["A"], Some(2)), page(&["B"], Some(2))]).0, "AB");
    // Without the total: to the first page that is empty.
    let pages = vec![page(&["A", "B"], None), page(&["C"], None), page(&[], None)];
    assert_eq!(names(pages).0, "ABC");
    assert_eq!(names(vec![page(&["A", "B"], None), page(&[], None)]).0, "AB");
    // A total that is never reached, as when somebody deletes meanwhile.
    assert_eq!(names(vec![page(&["A", "B"], Some(9)), page(&[], Some(9))]).0, "AB");
    assert_eq!(names(vec![page(&[], Some(0))]).0, "");
}

#[test]
fn a_page_that_fails_fails_the_list() {
    let (client, _) =
        Script::client([page(&["A"; 100], Some(200)), (404, failure(1001, "store_not_found"))]);
    let error = block_on(client.all(&list())).unwrap_err();
    assert!(matches!(error, ClientError::Api(ApiError::StoreNotFound)), "{error}");
}

#[test]
fn a_duplicate_without_scopes_has_its_sources() {
    let mut source = metadata("A");
    source["scopes"] = json!(["workers", "dex"]);
    let (client, script) = Script::client([(200, success(source)), (200, success(metadata("B")))]);
    block_on(client.duplicate(&store(), &secret(), "B", None, None)).unwrap();
    let path = format!("/stores/{STORE}/secrets/{SECRET}");
    assert_eq!(
        *script.asked.borrow(),
        [
            format!("GET {path}"),
            format!(r#"POST {path}/duplicate {{"name":"B","scopes":["workers","dex"]}}"#)
        ]
    );
    let (client, script) = Script::client([(200, success(metadata("B")))]);
    let scopes = Some(vec![Scope::Access]);
    block_on(client.duplicate(&store(), &secret(), "B", scopes, Some("c".into()))).unwrap();
    assert_eq!(
        *script.asked.borrow(),
        [format!(r#"POST {path}/duplicate {{"name":"B","scopes":["access"],"comment":"c"}}"#)]
    );
}

#[test]
fn a_duplicate_takes_a_scope_that_is_not_known_here_from_its_source() {
    let mut source = metadata("A");
    source["scopes"] = json!(["brand_new"]);
    let (client, script) = Script::client([(200, success(source)), (200, success(metadata("B")))]);
    block_on(client.duplicate(&store(), &secret(), "B", None, None)).unwrap();
    assert!(script.asked.borrow()[1].ends_with(r#"{"name":"B","scopes":["brand_new"]}"#));
}

#[test]
fn thousands_of_mistakes_are_told_in_short() {
    let invalid = create(vec![new("", "v", &[Scope::Dex]); 1000]).request().unwrap_err();
    let told = invalid.to_string();
    assert!(told.contains("[9].name") && told.ends_with("; and 1979 more"), "{told}");
}

#[test]
fn what_is_wrong_is_not_sent() {
    let (client, script) = Script::client([]);
    let error = block_on(client.run(&update())).unwrap_err();
    assert!(matches!(error, ClientError::Invalid(_)), "{error}");
    assert!(script.asked.borrow().is_empty());
}

proptest! {
    #[test]
    fn no_answer_makes_the_reader_panic(status: u16, body: Vec<u8>, wait in ".{0,20}") {
        let _ = ListSecrets::read(status, Some(&wait), &body);
    }

    #[test]
    fn a_request_is_made_of_what_a_url_may_hold(name in ".{0,20}", search in ".{0,20}") {
        const RESERVED: &AsciiSet =
            &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
        let encoded = utf8_percent_encode(&search, RESERVED).to_string();
        let list = ListSecrets { search: Some(search), ..list() };
        let path = list.request().unwrap().path_and_query;
        prop_assert_eq!(path, format!("/stores/{STORE}/secrets?search={encoded}"));
        if let Ok(request) = create(vec![new(&name, "v", &[Scope::Workers])]).request() {
            let quoted = format!("\"{name}\"");
            prop_assert!(request.body.unwrap().expose_secret().contains(&quoted));
        }
    }
}
