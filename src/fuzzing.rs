//! What must hold of the parsers, whatever they read: the fuzz targets of `fuzz/`, as functions.
//!
//! Each takes the bytes of one input, and panics where a claim fails. Inputs are text whose first
//! lines are the smaller parts, so that a corpus file can be read and written by hand. The judge is
//! the URL parser of the platform's standard wherever a URL is concerned. `cargo test` runs every
//! file of `fuzz/corpus/`; docs/security.md tells how to look for new ones.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a panic is how a claim fails"
)]

use std::collections::{BTreeMap, BTreeSet};

use base64ct::{Base64, Encoding as _};
use percent_encoding::percent_decode_str;
#[cfg(feature = "rest-api")]
use secrets_store_api::{
    ApiError, CreateSecrets, CreateStore, DeleteSecret, DeleteSecrets, DeleteStore,
    DuplicateSecret, ExposeSecret as _, GetQuota, GetSecret, GetStore, ListSecrets, ListStores,
    Operation, Paged, UpdateSecret,
};
use serde_json::Value;
use worker::Url;

#[cfg(feature = "rest-api")]
use crate::gateway::administration::{
    Refused,
    parse::{Asked, Target},
};
use crate::{
    config::{Callers, Settings, Upstream},
    gateway::{
        batch,
        caller::{PLACES, Shown, mentions, places},
        credential::{Carrier, Credential, Placed, Placement, is_header_name, with_parameter},
        headers::{ends_here, names_host, stays_with_us},
        path::{BaseUrl, PathPattern, is_allowed},
    },
    json::{self, Mistakes},
    response::Refusal,
    router::{Route, is_request_id, split_url},
    secrets::{Flaw, Secret},
};

/// Stands for a value that no message may quote.
const MARK: &str = "5ecret";

/// The settings, from `UPSTREAMS` as JSON text, a line `---`, and `SECRETS_STORE_API`.
pub fn settings(input: &[u8]) {
    let text = text(input);
    let (upstreams, api) = match text.split_once("\n---\n") {
        Some((upstreams, api)) => (upstreams, Some(api)),
        None => (text, None),
    };
    read_settings(upstreams, api);
    read_settings(&marked(upstreams), api.map(marked).as_deref());
}

fn read_settings(upstreams: &str, api: Option<&str>) {
    match Settings::parse(Some(upstreams.into()), api.map(Into::into)) {
        Ok(settings) => are_sound(&settings),
        Err(Mistakes(mistakes)) => {
            assert!(!mistakes.is_empty(), "a failure without a mistake");
            let may_quote = names_mark(upstreams) || api.is_some_and(names_mark);
            for mistake in mistakes {
                let root = mistake.path.split(['.', '[']).next();
                assert!(matches!(root, Some("UPSTREAMS" | "SECRETS_STORE_API")), "{mistake}");
                assert!(may_quote || !mistake.to_string().contains(MARK), "quoted: {mistake}");
            }
        }
    }
}

/// Settings that were accepted lead where they seem to, and lack nothing.
fn are_sound(settings: &Settings) {
    let bindings: BTreeMap<_, _> = settings.bindings().into_iter().collect();
    let mut hosts = BTreeSet::new();
    for upstream in &settings.upstreams {
        let Upstream { name, base_url, callers, credentials, methods, timeout, .. } = upstream;
        is_plain_url(base_url);
        let route = format!("/proxy/{name}/x");
        assert_eq!(parsed(&format!("https://gateway.example{route}")).path(), route);
        let found = settings.upstream(name).expect("an upstream is found by its name");
        assert!(std::ptr::eq(found, upstream), "{name} is found as another");
        for host in &upstream.hosts {
            assert!(hosts.insert(host), "{host} is more than one upstream's");
            for written in [host.clone(), host.to_ascii_uppercase(), format!("{host}:8787")] {
                let found = settings.upstream_of_host(&written).expect("an upstream has its host");
                assert!(std::ptr::eq(found, upstream), "{written} leads to another");
            }
        }
        assert!((1..=i32::MAX as u128).contains(&timeout.as_millis()), "{timeout:?}");
        assert!(methods.as_ref().is_none_or(|them| !them.is_empty()), "no method at all");
        let forbidden = |method: &String| ["CONNECT", "TRACE", "TRACK"].contains(&method.as_str());
        assert!(!methods.iter().flatten().any(forbidden), "{methods:?}");
        if let Callers::Tokens(tokens) = callers {
            assert!(!tokens.is_empty(), "nobody is admitted");
            assert!(tokens.iter().all(|it| bindings.get(it.as_str()) == Some(&Carrier::Header)));
        }
        let mut taken = BTreeSet::new();
        for credential in credentials {
            let place = match &credential.placement {
                Placement::Bearer | Placement::Basic { .. } => "authorization".to_owned(),
                Placement::Header { name, .. } => name.to_ascii_lowercase(),
                Placement::Query { name } => format!("?{name}"),
            };
            assert!(taken.insert(place), "two credentials have one place");
            let named = [Some(&credential.secret), credential.fallback.as_ref()];
            assert!(named.iter().flatten().all(|it| bindings.contains_key(it.as_str())));
        }
    }
    if let Some(api) = &settings.secrets_store_api {
        is_plain_url(&api.base_url);
        let path = format!("/accounts/{}/secrets_store/stores", api.account_id);
        let url = parsed(&api.base_url.join(&path));
        assert!(url.path().ends_with(&path), "{url}");
        assert!(!settings.admins().is_empty(), "nobody is an admin");
        assert!(bindings.contains_key(api.token.as_str()));
    }
}

/// A `base_url` that was accepted is a URL of a host and a path, and the platform reads it as it
/// is written.
fn is_plain_url(base_url: &BaseUrl) {
    let joined = base_url.join("/x");
    if is_internationalized(&joined) {
        return;
    }
    let url = parsed(&joined);
    assert!(["http", "https"].contains(&url.scheme()), "{joined}");
    assert!(url.host_str().is_some_and(|host| !host.is_empty()), "{joined}");
    assert!(url.username().is_empty() && url.password().is_none(), "{joined}");
    assert!(url.query().is_none() && url.fragment().is_none(), "{joined}");
    assert_eq!(url.path(), path_of(&joined));
}

/// The platform refuses a label that is no valid Punycode, and the settings do not look into it.
fn is_internationalized(url: &str) -> bool {
    url.to_ascii_lowercase().contains("xn--")
}

/// A path below a `base_url`: lines of the URL, of patterns with spaces between, and of the path.
pub fn path(input: &[u8]) {
    let [base, patterns, path] = lines(input);
    let base = setting(base, BaseUrl::read).filter(|it| !is_internationalized(&it.join("")));
    let base = base.or_else(|| setting("https://a.example/base", BaseUrl::read));
    let base = base.expect("this one is right");
    let patterns: Vec<_> =
        patterns.split(' ').filter_map(|pattern| setting(pattern, PathPattern::read)).collect();
    let patterns = (!patterns.is_empty()).then_some(patterns.as_slice());
    let path = path.split('?').next().unwrap_or_default();
    let path =
        if path.is_empty() { String::new() } else { format!("/{}", path.trim_start_matches('/')) };

    let is_simple = |c: char| c.is_ascii_graphic() && !".%;\\".contains(c);
    assert!(!path.chars().all(|c| is_simple(c) || c == '/') || is_allowed(&path, None), "{path}");
    if !is_allowed(&path, patterns) {
        return;
    }
    assert!(is_allowed(&path, None), "{path}: narrowed to more than without patterns");
    if let Some(patterns) = patterns {
        let matched = if path.is_empty() { "/" } else { &path };
        let fits = |it: &PathPattern| match it {
            PathPattern::Exact(own) => matched == own,
            PathPattern::Prefix(own) => matched.starts_with(own.as_str()),
        };
        assert!(patterns.iter().any(fits), "{path} is none of {patterns:?}");
    }

    let origin = parsed(&base.join("")).origin();
    let mut decoded = path.clone();
    // As it goes on, and as servers behind it would read it that decode once, twice, three times.
    for times in 0..=3 {
        let joined = base.join(&decoded);
        let url = parsed(&joined);
        assert_eq!(url.origin(), origin, "{path:?} leads elsewhere, decoded {times} times");
        assert_eq!(
            segments(url.path()),
            segments(path_of(&as_a_parser_takes_it(&joined))),
            "{path:?} has a dot segment, decoded {times} times"
        );
        decoded = percent_decode_str(&decoded).decode_utf8_lossy().into_owned();
    }
    if path.chars().all(|c| c.is_ascii_graphic() && !"\"<>\\^`{|}#".contains(c)) {
        let joined = base.join(&path);
        let written = Some(path_of(&joined)).filter(|it| !it.is_empty()).unwrap_or("/");
        assert_eq!(parsed(&joined).path(), written, "it does not go on byte for byte");
    }
}

/// What a URL parser leaves out before it parses (WHATWG URL, section 4.4).
fn as_a_parser_takes_it(url: &str) -> String {
    url.trim_end_matches(|c: char| c <= ' ').replace(['\t', '\n', '\r'], "")
}

/// The segments of a path, decoded; a backslash is a slash to a URL parser.
fn segments(path: &str) -> Vec<Vec<u8>> {
    // The root alone stands for no path at all.
    let path = if path.is_empty() { "/" } else { path };
    path.split(['/', '\\']).map(|it| percent_decode_str(it).collect()).collect()
}

/// The body of a batch.
pub fn batch(input: &[u8]) {
    let body = text(input);
    read_batch(body);
    read_batch(&marked(body));
}

fn read_batch(body: &str) {
    let document: Value = serde_json::from_str(body).unwrap_or_default();
    let given = document["requests"].as_array();
    match batch::parse(body) {
        Ok(entries) => {
            assert!((1..=16).contains(&entries.len()));
            assert_eq!(given.map(Vec::len), Some(entries.len()));
            for (entry, given) in entries.iter().zip(given.into_iter().flatten()) {
                is_sendable(entry, given);
            }
        }
        Err(Refusal::BadRequest(message)) => {
            assert!(!message.is_empty());
            assert!(names_mark(body) || !message.contains(MARK), "quoted: {message}");
        }
        Err(Refusal::TooLarge) => assert!(given.is_some_and(|them| them.len() > 16)),
        Err(other) => panic!("{other:?}"),
    }
}

fn is_sendable(entry: &batch::Entry, given: &Value) {
    assert_eq!(given["upstream"].as_str(), Some(entry.upstream.as_str()));
    assert!(is_header_name(&entry.method), "{entry:?}");
    let url = format!("https://a.example/base{}", entry.path_and_query);
    let url = Url::parse(&url).expect("a path of a batch makes a URL");
    assert_eq!(url.host_str(), Some("a.example"), "{entry:?}");
    assert!(url.fragment().is_none(), "{entry:?}");
    for (name, value) in &entry.headers {
        assert!(is_header_name(name), "{entry:?}");
        assert!(!value.contains(|c: char| c != '\t' && c.is_control()), "{entry:?}");
    }
    match &entry.body {
        None => assert!(given["body"].is_null()),
        Some(body) => match &given["body"] {
            Value::String(text) => assert_eq!(body, text),
            json => {
                let body: Value = serde_json::from_str(body).expect("what is sent is JSON");
                assert!(is_the_same(&body, json), "{body} is not {json}");
                let types = entry.headers.iter();
                let types = types.filter(|(it, _)| it.eq_ignore_ascii_case("content-type"));
                assert!(types.count() >= 1, "JSON without its type");
            }
        },
    }
}

/// Whether two JSON texts say the same; serde_json reads a long number with its last bit perhaps off.
fn is_the_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(a, b)| is_the_same(a, b))
        }
        (Value::Object(one), Value::Object(other)) => {
            let are_the_same = |(name, value): (&String, &Value)| {
                other.get(name).is_some_and(|other| is_the_same(value, other))
            };
            one.len() == other.len() && one.iter().all(are_the_same)
        }
        (Value::Number(one), Value::Number(other)) if one.is_f64() && other.is_f64() => {
            let (one, other) =
                (one.as_f64().unwrap_or_default(), other.as_f64().unwrap_or_default());
            one == other || (one / other - 1.0).abs() < 1e-14
        }
        _ => one == other,
    }
}

/// Tokens: lines of the prefix of a credential, of a header's value, of a token, and of a user.
pub fn tokens(input: &[u8]) {
    let [prefix, value, token, user] = lines(input);
    let placement = Placement::Header { name: "x-api-key".to_owned(), prefix: prefix.to_owned() };
    let credentials = [Credential { placement, secret: "K".to_owned(), fallback: None }];

    // What a request shows as a token is recognised, and so does not go on.
    for place in places(&credentials) {
        let Some(shown) = place.token(value) else { continue };
        assert!(!shown.is_empty());
        // At its own place, the credential replaces whatever stands there.
        assert!(!PLACES.contains(&place) || mentions(value, &shown), "{value:?} shows {}", *shown);
        let known = [("OTHER", secret("another")), ("T", secret(&shown))];
        let shows = || Shown::read(place, &secret(value), value);
        let expected = if *shown == "another" { "OTHER" } else { "T" };
        assert_eq!(shows().and_then(|it| it.whose(&known)), Some(expected), "{value:?}");
        let longer = [("T", secret(&format!("{}x", *shown))), ("EMPTY", secret(""))];
        assert_eq!(shows().and_then(|it| it.whose(&longer)), None, "{value:?}");
    }

    // However it is shown, a token is known.
    if !token.is_empty() && Flaw::of(token).is_none() && !user.contains(':') {
        let basic = Base64::encode_string(format!("{user}:{token}").as_bytes());
        for (place, value) in [
            (PLACES[0], format!("Bearer {token}")),
            (PLACES[1], format!("Basic {basic}")),
            (PLACES[1], format!("bASIC   {basic}")),
            (PLACES[2], format!("bearer {token}")),
        ] {
            let shown = Shown::read(place, &secret(&value), &value);
            let whose = shown.and_then(|it| it.whose(&[("T", secret(token))]));
            assert_eq!(whose, Some("T"), "{value:?}");
            assert!(mentions(&value, token), "{value:?} is not seen to have {token:?} in it");
        }
    }

    // And it is found nowhere else.
    if mentions(value, token) {
        let encoded = value.split_once(' ').map_or("", |(_, rest)| rest.trim_start_matches(' '));
        let padding = (4 - encoded.trim_end_matches('=').len() % 4) % 4;
        let padded = format!("{}{}", encoded.trim_end_matches('='), "=".repeat(padding));
        let pair = Base64::decode_vec(&padded).unwrap_or_default();
        let stands_in = |text: &str| !token.is_empty() && text.contains(token);
        let stands_in_pair = str::from_utf8(&pair).is_ok_and(stands_in);
        assert!(stands_in(value) || stands_in_pair, "{value:?} has no {token:?} in it");
    }
}

/// Credentials at their places: lines of `credentials` as JSON text, of a secret, and of a path and
/// a query.
pub fn credentials(input: &[u8]) {
    let [list, value, path_and_query] = lines(input);
    let Ok(credentials) = json::read_text("credentials", list, Credential::read_all) else {
        return;
    };
    let is_sent = |c: char| !c.is_control() && c != ' ' && c != '#';
    let begins_well = path_and_query.is_empty() || path_and_query.starts_with(['/', '?']);
    if value.is_empty() || !begins_well || !path_and_query.chars().all(is_sent) {
        return;
    }
    for credential in &credentials {
        let placement = &credential.placement;
        match Flaw::of(value) {
            None => {}
            Some(Flaw::NotAscii) if placement.carrier() == Carrier::Encoded => {}
            Some(_) => continue,
        }
        match (placement, placement.place(&secret(value))) {
            (Placement::Query { name }, Placed::Query(placed, pair)) => {
                assert_eq!(name, placed);
                is_replaced(path_and_query, name, value, &pair);
            }
            (placement, Placed::Header(name, placed)) => {
                assert!(is_header_name(name) && *name == name.to_ascii_lowercase());
                let placed = placed.expose_secret();
                // It goes through a header unchanged (RFC 9110, section 5.5).
                assert!(placed.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()));
                assert_eq!(placed.trim(), *placed);
                match placement {
                    Placement::Bearer => assert_eq!(*placed, format!("Bearer {value}")),
                    Placement::Basic { username } => {
                        let pair = placed.strip_prefix("Basic ").expect("it has its scheme");
                        let pair = Base64::decode_vec(pair).expect("it is base64");
                        assert_eq!(pair, format!("{username}:{value}").into_bytes());
                    }
                    Placement::Header { prefix, .. } => {
                        assert_eq!(*placed, format!("{prefix}{value}"));
                    }
                    Placement::Query { .. } => panic!("a query credential in a header"),
                }
            }
            (placement, Placed::Query(..)) => panic!("{placement:?} in a query"),
        }
    }
}

/// The parameter is there once, with this value, and the others are as they were.
fn is_replaced(before: &str, name: &str, value: &str, pair: &str) {
    let after = with_parameter(before, name, pair);
    let read = |text: &str| -> Vec<(String, String)> {
        parsed(&format!("https://a.example{text}")).query_pairs().into_owned().collect()
    };
    let mut expected = read(before);
    expected.retain(|(own, _)| own != name);
    expected.push((name.to_owned(), value.to_owned()));
    assert_eq!(read(&after), expected, "{before:?} became {:?}", *after);
    // Byte for byte, in their order.
    let raw = |text: &str| -> Vec<String> {
        let query = text.split_once('?').map_or("", |(_, query)| query);
        query.split('&').map(str::to_owned).collect()
    };
    let mut left = raw(before).into_iter();
    let mut kept = raw(&after);
    assert_eq!(kept.pop().as_deref(), Some(pair));
    assert!(kept.iter().all(|it| left.any(|own| own == *it)), "{before:?} became {:?}", *after);
    let path = |text: &str| text.split('?').next().map(str::to_owned);
    assert_eq!(path(before), path(&after));
}

/// A request for the REST API: a line of its method and what comes after `…/secrets_store`, and its
/// body.
#[cfg(feature = "rest-api")]
pub fn administration(input: &[u8]) {
    let [first, body] = lines(input);
    let (method, path_and_query) = first.split_once(' ').unwrap_or((first, ""));
    // So the route gives it.
    if !path_and_query.is_empty() && !path_and_query.starts_with(['/', '?']) {
        return;
    }
    read_administration(method, path_and_query, body);
    read_administration(method, path_and_query, &marked(body));
}

#[cfg(feature = "rest-api")]
fn read_administration(method: &str, path_and_query: &str, body: &str) {
    let target = Target::of(method, path_and_query);
    match target.and_then(|target| target.read(body)) {
        Ok(Asked::Request(sent)) => {
            assert_eq!(sent.method, method);
            let root = "/client/v4/accounts/0a/secrets_store";
            let joined = format!("https://a.example{root}{}", sent.path_and_query);
            let url = parsed(&joined);
            assert_eq!(url.as_str(), joined, "the platform reads it as another");
            let asked = path_and_query.split('?').next().unwrap_or_default();
            assert_eq!(url.path(), format!("{root}{asked}"));
            assert!(url.fragment().is_none(), "{url}");
            let sent_body = sent.body.as_ref().map(|it| it.expose_secret().to_owned());
            assert!(!format!("{:?}", sent.body).contains(MARK), "a body prints");
            match sent_body {
                None => assert!(["GET", "DELETE"].contains(&method)),
                Some(sent) => is_body_of(&sent, body),
            }
        }
        Ok(Asked::DuplicateLikeItsSource(duplicate)) => {
            assert!(duplicate.scopes.is_empty() && method == "POST");
        }
        Err(Refused { failure, reported }) => {
            let message = match &failure.refusal {
                Refusal::BadRequest(message) => message.as_str(),
                Refusal::NotFound | Refusal::MethodNotAllowed(_) => "",
                other => panic!("{other:?}"),
            };
            let words = reported.iter().map(|it| it.message.as_ref());
            let told = words.chain([message]).chain(failure.cause.as_deref());
            for text in told {
                assert!(names_mark(body) || !text.contains(MARK), "quoted: {text}");
            }
        }
    }
}

/// What is sent has the values that were given, and nothing that was not.
#[cfg(feature = "rest-api")]
fn is_body_of(sent: &str, given: &str) {
    let sent: Value = serde_json::from_str(sent).expect("what is sent is JSON");
    let given: Value = serde_json::from_str(given).expect("what was read is JSON");
    let list = |value: Value| match value {
        Value::Array(items) => items,
        one => vec![one],
    };
    let (sent, given) = (list(sent), list(given));
    assert_eq!(sent.len(), given.len());
    for (sent, given) in sent.iter().zip(&given) {
        for (name, value) in sent.as_object().expect("each is a table") {
            if name != "scopes" {
                assert_eq!(given.get(name), Some(value), "{name}");
            }
        }
    }
}

/// An answer of the REST API: a line of its status and its `Retry-After`, and its body.
#[cfg(feature = "rest-api")]
pub fn answers(input: &[u8]) {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (first, body) = input.split_at(end);
    let body = body.get(1..).unwrap_or_default();
    let (status, retry_after) = text(first).split_once(' ').unwrap_or((text(first), ""));
    let status = status.parse().unwrap_or(200);
    let retry_after = (!retry_after.is_empty()).then_some(retry_after);
    answers_to::<GetSecret>(status, retry_after, body);
    answers_to::<UpdateSecret>(status, retry_after, body);
    answers_to::<CreateSecrets>(status, retry_after, body);
    answers_to::<DuplicateSecret>(status, retry_after, body);
    answers_to::<DeleteSecret>(status, retry_after, body);
    answers_to::<DeleteSecrets>(status, retry_after, body);
    answers_to::<GetStore>(status, retry_after, body);
    answers_to::<CreateStore>(status, retry_after, body);
    answers_to::<DeleteStore>(status, retry_after, body);
    answers_to::<GetQuota>(status, retry_after, body);
    answers_to::<ListStores>(status, retry_after, body);
    answers_to::<ListSecrets>(status, retry_after, body);
    let page = ListSecrets::read_page(status, retry_after, body);
    let list = ListSecrets::read(status, retry_after, body);
    assert_eq!(page.map(|(items, _)| items), list);
}

#[cfg(feature = "rest-api")]
fn answers_to<O: Operation>(status: u16, retry_after: Option<&str>, body: &[u8]) {
    let envelope: Value = serde_json::from_slice(body).unwrap_or_default();
    let says = envelope.get("success").and_then(Value::as_bool);
    match O::read(status, retry_after, body) {
        Ok(_) => assert!((200..300).contains(&status) && says == Some(true), "{status} is success"),
        Err(error) => {
            assert!(!error.to_string().is_empty());
            match error {
                ApiError::Other { status: own, reported } => {
                    assert!(own == status && !reported.is_empty());
                }
                ApiError::RateLimited { .. } => assert_eq!(status, 429),
                ApiError::NotAnAnswer { status: own } => assert_eq!(own, status),
                // Whatever else it is, the API said so.
                _ => assert_eq!(says, Some(false)),
            }
        }
    }
}

/// Headers of the connection: lines of `Connection`, of `CDN-Loop`, of a host, and of a header's
/// name.
pub fn headers(input: &[u8]) {
    let [connection, hops, host, name] = lines(input);
    let name = name.to_ascii_lowercase();
    let options = || connection.split(',').map(str::trim);
    for option in options().filter(|it| is_header_name(it)) {
        let option = option.to_ascii_lowercase();
        assert!(ends_here(&option, Some(connection)), "{option} is sent on");
        assert!(stays_with_us(&option, Some(connection)), "{option} is sent back");
    }
    let is_named = is_header_name(&name) && options().any(|it| it.eq_ignore_ascii_case(&name));
    if is_header_name(&name) && !is_named {
        // No more ends here than without it.
        assert_eq!(ends_here(&name, Some(connection)), ends_here(&name, None), "{name}");
        assert_eq!(stays_with_us(&name, Some(connection)), stays_with_us(&name, None), "{name}");
    }
    // A gateway that has put itself on the list finds itself there, whatever stood on it before.
    let is_host = !host.is_empty()
        && host.bytes().all(|it| it.is_ascii_alphanumeric() || b".:-[]".contains(&it));
    if is_host {
        assert!(names_host(&format!("{hops}, {host}"), host), "{hops}");
        assert!(names_host(host, host));
        if names_host(hops, host) {
            assert!(hops.to_ascii_lowercase().contains(&host.to_ascii_lowercase()), "{hops}");
        }
    }
}

/// Routes: lines of a URL, and of a request id.
pub fn routes(input: &[u8]) {
    let [url, id] = lines(input);
    let upstreams = r#"{
        "demo": {"base_url":"https://a.example/v2","callers":["T"],"credentials":[]},
        "own": {"base_url":"https://b.example","callers":["T"],"credentials":[],
                "hosts":["own.gateway.example"]}
    }"#;
    let api = r#"{"base_url":"https://c.example","account_id":"0a","token":"K","callers":["T"]}"#;
    let settings =
        Settings::parse(Some(upstreams.into()), Some(api.into())).expect("these are right");
    let (host, path_and_query) = split_url(url);
    assert!(url.ends_with(path_and_query) && url.contains(host));
    let expected = match Route::of(host, path_and_query, &settings) {
        Route::Proxy(upstream, rest) if upstream.name == "own" && rest == path_and_query => {
            let host = host.to_ascii_lowercase();
            assert!(host.starts_with("own.gateway.example"), "{host}");
            return;
        }
        Route::Proxy(upstream, rest) => format!("/proxy/{}{rest}", upstream.name),
        #[cfg(feature = "rest-api")]
        Route::SecretsStoreApi(_, account, rest) => {
            assert!(!account.contains(['/', '?']), "{account}");
            format!("/client/v4/accounts/{account}/secrets_store{rest}")
        }
        route @ (Route::Root | Route::Health | Route::Readiness | Route::Batch) => {
            let query =
                path_and_query.split_once('?').map_or(String::new(), |(_, it)| format!("?{it}"));
            let path = match route {
                Route::Root => "/",
                Route::Health => "/healthz",
                Route::Readiness => "/readyz",
                _ => "/batch",
            };
            format!("{path}{query}")
        }
        Route::Unknown => return,
    };
    assert_eq!(path_and_query, expected);
    if is_request_id(id) {
        // It goes into a header and into the log.
        assert!(id.len() <= 128 && Flaw::of(id).is_none() && !id.contains(['"', '\\', ' ']));
    }
}

/// The text that an input begins with.
fn text(input: &[u8]) -> &str {
    input.utf8_chunks().next().map_or("", |chunk| chunk.valid())
}

/// An input's first lines; the last has the rest, and those that are not there are empty.
fn lines<const N: usize>(input: &[u8]) -> [&str; N] {
    let mut lines = text(input).splitn(N, '\n');
    std::array::from_fn(|_| lines.next().unwrap_or_default())
}

fn secret(value: &str) -> Secret {
    Secret::from(value.to_owned())
}

/// Reads one setting that is a string.
fn setting<T>(text: &str, read: impl FnOnce(&json::Reader<'_>) -> Option<T>) -> Option<T> {
    json::read("setting", text.into(), read).ok()
}

fn parsed(url: &str) -> Url {
    Url::parse(url).unwrap_or_else(|error| panic!("the platform refuses {url:?}: {error}"))
}

/// The path of a URL with an authority, as it is written.
fn path_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = rest.find(['/', '\\']).map_or("", |at| rest.get(at..).unwrap_or_default());
    path.split(['?', '#']).next().unwrap_or_default()
}

/// The same JSON with [`MARK`] in each of its texts; what is no JSON stays as it is.
fn marked(text: &str) -> String {
    fn mark(value: &mut Value) {
        match value {
            Value::String(text) => text.push_str(MARK),
            Value::Array(items) => items.iter_mut().for_each(mark),
            Value::Object(table) => table.values_mut().for_each(mark),
            _ => {}
        }
    }
    let Ok(mut value) = serde_json::from_str(text) else { return text.to_owned() };
    mark(&mut value);
    value.to_string()
}

/// Whether a name in this JSON has [`MARK`] in it: names are told, where a mistake is.
fn names_mark(text: &str) -> bool {
    fn names(value: &Value) -> bool {
        match value {
            Value::Array(items) => items.iter().any(names),
            Value::Object(table) => {
                table.iter().any(|(name, value)| name.contains(MARK) || names(value))
            }
            _ => false,
        }
    }
    serde_json::from_str(text).is_ok_and(|value| names(&value))
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    /// A target takes the bytes of an input, and panics where its claim fails.
    type Claim = fn(&[u8]);

    /// Every target, by the name of its corpus.
    const TARGETS: &[(&str, Claim)] = &[
        ("settings", settings),
        ("path", path),
        ("batch", batch),
        ("tokens", tokens),
        ("credentials", credentials),
        #[cfg(feature = "rest-api")]
        ("administration", administration),
        #[cfg(feature = "rest-api")]
        ("answers", answers),
        ("headers", headers),
        ("routes", routes),
    ];

    #[test]
    fn every_claim_holds_for_the_whole_corpus() {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        for &(name, target) in TARGETS {
            assert!(fuzz.join(format!("fuzz_targets/{name}.rs")).is_file(), "{name} is not fuzzed");
            let mut count = 0;
            for file in fs::read_dir(fuzz.join("corpus").join(name)).unwrap() {
                let file = file.unwrap().path();
                // Told where the claim fails.
                println!("{}", file.display());
                target(&fs::read(&file).unwrap());
                count += 1;
            }
            assert!(count >= 5, "{name} has a corpus of {count} files");
        }
    }
}
