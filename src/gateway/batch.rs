//! `/batch`: several upstream requests in one call.

use std::pin::pin;

use futures::{
    FutureExt,
    future::{Either, select, select_ok},
};
use worker::{
    Delay, Env,
    js_sys::{Array, Object, Reflect, Uint8Array},
    wasm_bindgen::JsValue,
    web_sys::{Headers, Request, RequestInit, Response},
};

use super::{
    Call, Progress,
    admission::{may_call, shown_tokens},
    caller,
    credential::is_header_name,
    forward::MAX_REPEATED_BODY,
};
use crate::{
    config::{Callers, Settings, Upstream},
    json::{self, Mistakes, Reader},
    response::{Answer, Failure, Refusal},
    runtime,
    secrets::{Secrets, join_all},
};

/// How many requests a batch may have.
const MAX_REQUESTS: usize = 16;

/// How many bytes a batch may have.
const MAX_BODY: u32 = 1024 * 1024;

/// How many bytes of one answer a batch hands back: it holds all of them at once, and an isolate
/// has 128 MB.
const MAX_ANSWER: u32 = 1024 * 1024;

/// One request of a batch.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// For which upstream.
    pub upstream: String,
    /// `GET` where it names none.
    pub method: String,
    /// Empty, or beginning with `/` or `?`.
    pub path_and_query: String,
    /// The headers, and the content type of a body that was given as JSON.
    pub headers: Vec<(String, String)>,
    /// The body as text.
    pub body: Option<String>,
}

/// What one request of a batch came to.
struct Part {
    progress: Progress,
    answer: JsValue,
    failure: Option<Failure>,
}

impl Part {
    fn refusal(&self) -> Option<&Refusal> {
        Some(&self.failure.as_ref()?.refusal)
    }

    fn is_unauthenticated(&self) -> bool {
        self.refusal() == Some(&Refusal::Unauthenticated)
    }
}

/// A batch that was carried out.
pub struct Batch {
    /// The callers that were admitted, and all retries together.
    pub progress: Progress,
    /// The answers in the order of the requests.
    pub answer: Response,
    /// The first request that failed, with the causes of all.
    pub failure: Option<Failure>,
}

/// Carries out a batch: all its requests at once, each secret fetched once.
///
/// # Errors
///
/// 401 where the caller may call none of the upstreams, 400 and 413.
pub async fn run(
    settings: &Settings,
    host: &str,
    request: &Request,
    secrets: &Secrets<Env>,
) -> Result<Batch, Failure> {
    let headers = request.headers();
    let may_be_for = |upstream: &Upstream| {
        upstream.callers == Callers::Public
            || !shown_tokens(&headers, caller::places(&upstream.credentials)).is_empty()
    };
    if !settings.upstreams.iter().any(may_be_for) {
        return Err(Refusal::Unauthenticated.into());
    }
    // Whoever may call no upstream at all learns nothing but that.
    let is_known = async || {
        let callable = settings.upstreams.iter().map(|it| may_call(it, &headers, secrets));
        select_ok(callable.map(FutureExt::boxed_local)).await.map(drop)
    };
    let entries = match read(request).await {
        Ok(entries) => entries,
        Err(refusal) => {
            is_known().await?;
            return Err(refusal.into());
        }
    };

    let parts =
        join_all(entries.iter().map(|it| carry_out(it, settings, host, request, secrets))).await;
    let is_refused =
        |part: &Part| part.refusal() == Some(&Refusal::NotFound) || part.is_unauthenticated();
    let causes = causes(&parts);
    if parts.iter().all(is_refused) {
        if parts.iter().any(Part::is_unauthenticated) {
            return Err(Refusal::Unauthenticated.because(causes));
        }
        is_known().await?;
    }
    let failure = parts.iter().find_map(|part| part.failure.clone());
    let failure = failure.map(|failure| Failure { cause: Some(causes), ..failure });
    let answers: Array = parts.iter().map(|part| &part.answer).collect();
    let answer = runtime::success(&answers)
        .map_err(|_| Refusal::UpstreamUnreachable.because("the answers cannot be put together"))?;
    let mut callers: Vec<&str> = Vec::new();
    for caller in parts.iter().filter_map(|it| it.progress.caller.as_deref()) {
        if !callers.contains(&caller) {
            callers.push(caller);
        }
    }
    let callers = callers.join(", ");
    let progress = Progress {
        caller: (!callers.is_empty()).then_some(callers),
        retries: parts.iter().map(|part| part.progress.retries).sum(),
    };
    Ok(Batch { progress, answer, failure })
}

async fn carry_out(
    entry: &Entry,
    settings: &Settings,
    host: &str,
    outer: &Request,
    secrets: &Secrets<Env>,
) -> Part {
    let mut progress = Progress::default();
    let result = async {
        let upstream = settings.upstream(&entry.upstream).ok_or(Refusal::NotFound)?;
        let request = entry.request(outer).map_err(|_| {
            Refusal::BadRequest(
                "the method, the headers and the body do not go together".to_owned(),
            )
        })?;
        let path_and_query = &entry.path_and_query;
        let is_repeatable =
            entry.body.as_ref().is_none_or(|body| body.len() <= MAX_REPEATED_BODY as usize);
        let call = Call {
            upstream,
            path_and_query,
            request: &request,
            is_repeatable,
            host,
            caller_headers: &outer.headers(),
        };
        let outcome = super::call(call, secrets).await;
        progress = outcome.progress;
        let answer = outcome.result?;
        let body = pin!(runtime::read_body(answer.body(), MAX_ANSWER));
        let body = match select(body, Delay::from(upstream.timeout)).await {
            Either::Left((body, _)) => body,
            Either::Right(_) => {
                return Err(Refusal::UpstreamTimedOut.because("the answer's body took too long"));
            }
        };
        let body = body
            .map_err(|_| Refusal::UpstreamUnreachable.because("the upstream's answer broke off"))?;
        let body = body.ok_or_else(|| {
            Refusal::TooLarge
                .because(format!("an upstream's answer has more than {MAX_ANSWER} bytes"))
        })?;
        Ok(whole(&answer, &body))
    }
    .await;
    match result {
        Ok(answer) => Part { progress, answer, failure: None },
        Err(failure) => Part { progress, answer: own(&failure), failure: Some(failure) },
    }
}

/// An upstream's answer in a batch: `{"status","headers","body"}`. A body that is not text is
/// given as base64, with `"encoding":"base64"` beside it.
fn whole(answer: &Response, body: &Uint8Array) -> JsValue {
    let status = JsValue::from(answer.status());
    // These tell of the body as it came. The runtime has decoded it, if it knows the coding.
    let headers = answer.headers();
    let _ = headers.delete("content-length");
    let coding = headers.get("content-encoding").ok().flatten().unwrap_or_default();
    if ["gzip", "br"].contains(&coding.as_str()) {
        let _ = headers.delete("content-encoding");
    }
    let headers = runtime::headers_object(&answer.headers());
    match runtime::text(body) {
        Some(text) => {
            runtime::object([("status", status), ("headers", headers), ("body", text.into())])
        }
        None => runtime::object([
            ("status", status),
            ("headers", headers),
            ("body", runtime::base64(body).into()),
            ("encoding", "base64".into()),
        ]),
    }
}

/// The Worker's own answer in a batch, in the same form.
fn own(failure: &Failure) -> JsValue {
    let Answer { status, headers: own, body } = failure.refusal.answer();
    let headers = Object::new();
    for (name, value) in own.into_iter().chain([("content-type", "application/json".to_owned())]) {
        let _ = Reflect::set(&headers, &name.into(), &value.into());
    }
    runtime::object([("status", status.into()), ("headers", headers.into()), ("body", body.into())])
}

/// Every cause, with the place of its request.
fn causes(parts: &[Part]) -> String {
    let mut causes = String::new();
    for (index, part) in parts.iter().enumerate() {
        let Some(failure) = &part.failure else { continue };
        let cause = failure.cause.as_deref().unwrap_or(&failure.kind);
        let before = if causes.is_empty() { "" } else { "; " };
        causes += &format!("{before}requests[{index}]: {cause}");
    }
    causes
}

async fn read(request: &Request) -> Result<Vec<Entry>, Refusal> {
    let unreadable = |_| Refusal::BadRequest("the body could not be read".to_owned());
    let body = runtime::read_body(request.body(), MAX_BODY).await.map_err(unreadable)?;
    let body = body.ok_or(Refusal::TooLarge)?;
    let body = String::from_utf8(body.to_vec())
        .map_err(|_| Refusal::BadRequest("the body is not UTF-8".to_owned()))?;
    parse(&body)
}

/// Reads the body of a batch.
///
/// # Errors
///
/// 400 with the first mistake, and 413.
pub fn parse(body: &str) -> Result<Vec<Entry>, Refusal> {
    let mut too_many = false;
    let entries = json::read_text("", body, |root| {
        let requests = root.fields(&["requests"])?.required("requests")?;
        too_many = requests.items()?.len() > MAX_REQUESTS;
        if too_many {
            return None;
        }
        requests.check(!requests.items()?.is_empty(), "must have at least one request")?;
        requests.list(|entry| Entry::read(&entry))
    });
    match entries {
        _ if too_many => Err(Refusal::TooLarge),
        Ok(entries) => Ok(entries),
        Err(Mistakes(mistakes)) => {
            let first = mistakes.first().map(ToString::to_string).unwrap_or_default();
            Err(Refusal::BadRequest(first))
        }
    }
}

impl Entry {
    fn read(entry: &Reader<'_>) -> Option<Self> {
        let fields = entry.fields(&["upstream", "method", "path", "headers", "body"])?;
        let upstream = fields.required("upstream").and_then(|it| it.text());
        let method = fields.optionally("method", |it| {
            let method = it.text()?;
            it.check(is_header_name(&method), "must be a method, such as GET")?;
            Some(method)
        });
        let path = fields.optionally("path", |it| {
            let path = it.text()?;
            let begins_well = path.is_empty() || path.starts_with(['/', '?']);
            let is_sendable = path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
            it.check(
                begins_well && is_sendable,
                "must begin with '/', be percent-encoded and have no fragment",
            )?;
            Some(path)
        });
        let headers = fields.optionally("headers", |it| {
            json::all(it.entries()?.into_iter().map(|(name, value)| {
                let text = value.text()?;
                value.check(is_header_name(&name), "is not a header's name")?;
                let of_a_value = |byte: u8| byte.is_ascii_graphic() || b" \t".contains(&byte);
                value.check(text.bytes().all(of_a_value), "must be a header's value in ASCII")?;
                Some((name, text))
            }))
        });
        let mut headers = headers?.unwrap_or_default();
        let names_its_type =
            headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        let body = fields.optionally("body", |body| {
            if body.is_text() {
                return body.text();
            }
            if !names_its_type {
                headers.push(("content-type".to_owned(), "application/json".to_owned()));
            }
            body.to_json()
        });
        Some(Self {
            upstream: upstream?,
            method: method?.unwrap_or_else(|| "GET".to_owned()),
            path_and_query: path?.unwrap_or_default(),
            headers,
            body: body?,
        })
    }

    /// This entry as a request of its own, which then takes the same way as any other.
    fn request(&self, outer: &Request) -> Result<Request, JsValue> {
        let headers = Headers::new()?;
        for (name, value) in &self.headers {
            headers.append(name, value)?;
        }
        let init = RequestInit::new();
        init.set_method(&self.method);
        init.set_headers(&headers);
        // Where the caller of the batch goes away, so does its part of it.
        init.set_signal(Some(&outer.signal()));
        if let Some(body) = &self.body {
            // Bytes, since the runtime would give text a content type of its own.
            init.set_body(&Uint8Array::from(body.as_bytes()));
        }
        Reflect::set(&init, &"redirect".into(), &"manual".into())?;
        // The URL is never called: the upstream's own takes its place.
        Request::new_with_str_and_init("https://batch.invalid/", &init)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(body: &str) -> String {
        match parse(body) {
            Err(Refusal::BadRequest(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_batch_is_read() {
        let body = r#"{"requests":[
            {"upstream":"demo"},
            {"upstream":"demo","method":"POST","path":"/a?b=%41","headers":{"x-a":"1"},"body":"text"},
            {"upstream":"demo","method":"PUT","path":"?q","body":{"a":[1]}}
        ]}"#;
        let entry =
            |method: &str, path: &str, headers: &[(&str, &str)], body: Option<&str>| Entry {
                upstream: "demo".to_owned(),
                method: method.to_owned(),
                path_and_query: path.to_owned(),
                headers: headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
                body: body.map(str::to_owned),
            };
        assert_eq!(
            parse(body).unwrap(),
            [
                entry("GET", "", &[], None),
                entry("POST", "/a?b=%41", &[("x-a", "1")], Some("text")),
                entry("PUT", "?q", &[("content-type", "application/json")], Some(r#"{"a":[1]}"#)),
            ]
        );
    }

    #[test]
    fn a_mistake_in_a_batch_is_told_with_its_field() {
        for (body, told) in [
            ("", "not valid JSON (line 1, column 0)"),
            ("[]", "must be a table"),
            ("{}", "requests: is required"),
            (r#"{"requests":[]}"#, "requests: must have at least one request"),
            (r#"{"requests":[{}]}"#, "requests[0].upstream: is required"),
            (
                r#"{"requests":[{"upstream":"a"},{"upstream":1}]}"#,
                "requests[1].upstream: must be a string",
            ),
            (
                r#"{"requests":[{"upstream":"a","method":"G T"}]}"#,
                "requests[0].method: must be a method, such as GET",
            ),
            (
                r#"{"requests":[{"upstream":"a","path":"x"}]}"#,
                "requests[0].path: must begin with '/', be percent-encoded and have no fragment",
            ),
            (
                r#"{"requests":[{"upstream":"a","path":"/a#b"}]}"#,
                "requests[0].path: must begin with '/', be percent-encoded and have no fragment",
            ),
            (
                r#"{"requests":[{"upstream":"a","headers":{"x y":"1"}}]}"#,
                "requests[0].headers.x y: is not a header's name",
            ),
            (
                r#"{"requests":[{"upstream":"a","headers":{"x":"1\n"}}]}"#,
                "requests[0].headers.x: must be a header's value in ASCII",
            ),
            (
                r#"{"requests":[{"upstream":"a","url":"x"}]}"#,
                "requests[0].url: unknown field; known are upstream, method, path, headers, body",
            ),
        ] {
            assert_eq!(message(body), told, "{body}");
        }
    }

    #[test]
    fn an_entrys_own_content_type_stays_alone() {
        let body = r#"{"requests":[{"upstream":"a","headers":{"Content-Type":"x/y"},"body":[1]}]}"#;
        let entries = parse(body).unwrap();
        assert_eq!(entries[0].headers, [("Content-Type".to_owned(), "x/y".to_owned())]);
        assert_eq!(entries[0].body.as_deref(), Some("[1]"));
    }

    #[test]
    fn a_batch_may_have_sixteen_requests() {
        let of = |count: usize| {
            let entries = vec![r#"{"upstream":"a"}"#; count].join(",");
            parse(&format!(r#"{{"requests":[{entries}]}}"#))
        };
        assert_eq!(of(16).unwrap().len(), 16);
        assert_eq!(of(17), Err(Refusal::TooLarge));
    }

    proptest! {
        #[test]
        fn no_body_makes_the_reader_panic(body in ".{0,200}") {
            let _ = parse(&body);
        }

        #[test]
        fn what_is_read_can_be_sent(
            path in "[/?][ -~]{0,20}",
            name in "[ -~]{0,10}",
            value in "[\\x00-\\x7f]{0,10}",
        ) {
            let entry = serde_json::json!({ "upstream": "a", "path": path, "headers": { name: value } });
            let body = serde_json::json!({ "requests": [entry] }).to_string();
            if let Ok(entries) = parse(&body) {
                let entry = &entries[0];
                prop_assert!(!entry.path_and_query.contains([' ', '#', '\n']));
                for (name, value) in &entry.headers {
                    prop_assert!(is_header_name(name) && !value.contains(['\r', '\n', '\0']));
                }
            }
        }
    }
}
