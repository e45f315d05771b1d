//! The runtime's side: what needs JavaScript, so that the rest decides over plain values.

use std::{cell::RefCell, rc::Rc, time::Duration};

use futures::{
    future::{Either, select},
    pin_mut,
};
use wasm_bindgen::prelude::wasm_bindgen;
use worker::{
    Delay, Env,
    js_sys::{
        Array, Date, JSON, JsString, Object, Promise, Reflect, Uint8Array, futures::JsFuture,
    },
    wasm_bindgen::{JsCast as _, JsValue},
    web_sys::{Blob, Headers, ReadableStream, Request, Response, ResponseInit},
};

use zeroize::Zeroizing;

use crate::{
    config::Settings,
    json::{Mistakes, Value},
    response::{Answer, Failure, Refusal},
    secrets::{Secret, interned},
};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = crypto, js_name = randomUUID)]
    fn random_uuid() -> String;

    #[wasm_bindgen(catch, js_name = fetch)]
    fn global_fetch(request: &Request) -> Result<Promise, JsValue>;

    /// `Headers` whose names and values stay in the runtime's memory.
    type HeaderValues;
    #[wasm_bindgen(method)]
    fn get(this: &HeaderValues, name: &JsString) -> JsValue;
    #[wasm_bindgen(method, catch)]
    fn set(this: &HeaderValues, name: &JsString, value: &JsString) -> Result<(), JsValue>;
    #[wasm_bindgen(method)]
    fn append(this: &HeaderValues, name: &JsString, value: &str);
    #[wasm_bindgen(method)]
    fn keys(this: &HeaderValues) -> HeaderIterator;
    #[wasm_bindgen(method)]
    fn entries(this: &HeaderValues) -> HeaderIterator;

    /// `Iterator.prototype.toArray` (ECMAScript 2025).
    type HeaderIterator;
    #[wasm_bindgen(method, js_name = toArray)]
    fn to_array(this: &HeaderIterator) -> Items;

    /// An array.
    type Items;
    #[wasm_bindgen(method)]
    fn join(this: &Items, separator: &JsString) -> String;

    /// The settings on `env`.
    type Variables;
    #[wasm_bindgen(method, getter, js_name = UPSTREAMS)]
    fn upstreams(this: &Variables) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = SECRETS_STORE_API)]
    fn secrets_store_api(this: &Variables) -> JsValue;

    /// `new Response(body, init)` with a body that stays in the runtime's memory.
    #[wasm_bindgen(extends = Response, js_name = Response)]
    type AnyResponse;
    #[wasm_bindgen(catch, constructor, js_class = Response)]
    fn new(body: &JsValue, init: &JsValue) -> Result<AnyResponse, JsValue>;

    type TextDecoder;
    #[wasm_bindgen(constructor)]
    fn new(label: &str, options: &JsValue) -> TextDecoder;
    #[wasm_bindgen(catch, method)]
    fn decode(this: &TextDecoder, bytes: &Uint8Array) -> Result<JsString, JsValue>;

    /// A reader that takes the buffer to read into. `readAtLeast` is the platform's own
    /// (<https://developers.cloudflare.com/workers/runtime-apis/streams/readablestreambyobreader/>).
    #[wasm_bindgen(js_name = ReadableStreamBYOBReader)]
    type ByteReader;
    #[wasm_bindgen(catch, constructor, js_class = ReadableStreamBYOBReader)]
    fn new(body: &ReadableStream) -> Result<ByteReader, JsValue>;
    #[wasm_bindgen(method, js_name = readAtLeast)]
    fn read_at_least(this: &ByteReader, bytes: u32, into: &Uint8Array) -> Promise;
    #[wasm_bindgen(method)]
    fn cancel(this: &ByteReader) -> Promise;

    /// What it answers.
    type ReadBytes;
    #[wasm_bindgen(method, getter)]
    fn value(this: &ReadBytes) -> Option<Uint8Array>;

    /// `Uint8Array.prototype.toBase64` (ECMAScript 2026).
    type Bytes;
    #[wasm_bindgen(method, js_name = toBase64)]
    fn to_base64(this: &Bytes) -> JsString;
}

/// The result of reading the settings, shared by all requests.
pub type ReadSettings = Rc<Result<Settings, Mistakes>>;

/// The settings, read anew only when they have changed: an isolate may live on when a deployment
/// changes nothing but its variables.
pub fn settings(env: &Env) -> ReadSettings {
    thread_local! {
        // It outlives a request. It is no secret: settings name bindings.
        static SETTINGS: RefCell<Option<([JsValue; 2], ReadSettings)>> = const { RefCell::new(None) };
    }
    let variables = env.unchecked_ref::<Variables>();
    // The same objects, or the same texts: JavaScript's own comparison tells.
    let found = [variables.upstreams(), variables.secrets_store_api()];
    SETTINGS.with_borrow_mut(|known| match known {
        Some((values, settings)) if *values == found => settings.clone(),
        _ => {
            let [upstreams, secrets_store_api] = found.each_ref().map(setting);
            let settings = Rc::new(Settings::parse(upstreams, secrets_store_api));
            *known = Some((found, settings.clone()));
            settings
        }
    })
}

/// A setting, if it is there.
#[cfg(target_arch = "wasm32")]
fn setting(value: &JsValue) -> Option<Value> {
    (!value.is_undefined() && !value.is_null()).then(|| Value(value.clone()))
}

/// Natively there is no `env` to have settings.
#[cfg(not(target_arch = "wasm32"))]
fn setting(_: &JsValue) -> Option<Value> {
    None
}

/// A new id for a request.
pub fn new_request_id() -> String {
    random_uuid()
}

/// Milliseconds since 1970. On the platform, time stands still between I/O.
pub fn now() -> u64 {
    Date::now() as u64
}

/// A header's value, left in the runtime's memory.
pub fn header(headers: &Headers, name: &str) -> Option<Secret> {
    let value = headers.unchecked_ref::<HeaderValues>().get(&interned(name));
    value.dyn_into::<JsString>().ok().map(Secret::from)
}

/// Sets a header.
///
/// # Errors
///
/// Where the runtime refuses the name or the value.
pub fn set_header(headers: &Headers, name: &str, value: &str) -> Result<(), JsValue> {
    headers.unchecked_ref::<HeaderValues>().set(&interned(name), &value.into())
}

/// Sets a header to a secret, which stays in the runtime's memory.
///
/// # Errors
///
/// As [`set_header`].
pub fn set_secret_header(headers: &Headers, name: &str, value: &Secret) -> Result<(), JsValue> {
    let value = value.expose_js_string();
    headers.unchecked_ref::<HeaderValues>().set(&interned(name), &value)
}

/// Says how long the parts of an answer took, beside what the upstream says itself.
pub fn append_server_timing(headers: &Headers, timing: &str) {
    headers.unchecked_ref::<HeaderValues>().append(&interned("server-timing"), timing);
}

/// The names of all headers, in lower case, each in a line: a call for each would take longer than
/// all of them together.
pub fn header_names(headers: &Headers) -> String {
    lines(&headers.unchecked_ref::<HeaderValues>().keys())
}

/// All headers, each in a line as `name,value`. No name has a comma in it, and no value a line break.
pub fn header_lines(headers: &Headers) -> Zeroizing<String> {
    // An array's text is that of its items, with commas between them.
    Zeroizing::new(lines(&headers.unchecked_ref::<HeaderValues>().entries()))
}

fn lines(items: &HeaderIterator) -> String {
    items.to_array().join(&interned("\n"))
}

/// Calls an upstream. Redirects are handed on, since the request of a Worker's own event has
/// `redirect: "manual"`, and so has what is made of it.
///
/// # Errors
///
/// 502 and 504; 499 where the caller went away, which ends the request to the upstream too.
pub async fn fetch(request: &Request, timeout: Duration) -> Result<Response, Failure> {
    // The runtime's error text may quote the URL, and with it a credential: it is withheld.
    let unreachable = |_| {
        if request.signal().aborted() {
            return Refusal::CallerGone.into();
        }
        Refusal::UpstreamUnreachable.because("the connection failed or was closed early")
    };
    let answer = JsFuture::from(global_fetch(request).map_err(unreachable)?);
    let deadline = Delay::from(timeout);
    pin_mut!(answer, deadline);
    match select(answer, deadline).await {
        Either::Left((answer, _)) => Ok(answer.map_err(unreachable)?.unchecked_into()),
        Either::Right(_) => Err(Refusal::UpstreamTimedOut
            .because(format!("no response headers within {} ms", timeout.as_millis() as u64))),
    }
}

/// Throws an answer away.
pub fn discard(answer: &Response) {
    if let Some(body) = answer.body() {
        // Not waited for: when it is gone matters to nobody.
        let _ = body.cancel();
    }
}

/// The same answer with headers that can be changed: an upstream's own cannot. The body stays a
/// stream.
///
/// # Errors
///
/// 502 for an answer that the runtime cannot pass on.
pub fn changeable(answer: &Response) -> Result<Response, Failure> {
    Response::new_with_opt_readable_stream_and_init(
        answer.body().as_ref(),
        answer.unchecked_ref::<ResponseInit>(),
    )
    .map_err(|_| Refusal::UpstreamUnreachable.because("the upstream's answer is malformed"))
}

/// How many bytes of a body are asked for first: the whole of most.
const FIRST_BYTES: u32 = 16 * 1024;

/// A whole body, at most `limit` bytes of it; `None` where there is more.
///
/// # Errors
///
/// What the stream failed with.
pub async fn read_body(
    body: Option<ReadableStream>,
    limit: u32,
) -> Result<Option<Uint8Array>, JsValue> {
    let Some(body) = body else { return Ok(Some(Uint8Array::new_with_length(0))) };
    let reader = ByteReader::new(&body)?;
    let chunks = Array::new();
    let (mut length, mut wanted) = (0, FIRST_BYTES);
    loop {
        let step =
            JsFuture::from(reader.read_at_least(wanted, &Uint8Array::new_with_length(wanted)));
        let chunk = step.await?.unchecked_into::<ReadBytes>().value();
        let chunk_length = chunk.as_ref().map_or(0, Uint8Array::byte_length);
        length += chunk_length;
        if length > limit {
            // Not waited for: whether the rest is thrown away now or later matters to nobody.
            let _ = reader.cancel();
            return Ok(None);
        }
        // It gives less at the end of the body alone.
        let is_end = chunk_length < wanted;
        match chunk {
            Some(chunk) if is_end && length == chunk_length => return Ok(Some(chunk)),
            Some(chunk) => drop(chunks.push(&chunk)),
            None => {}
        }
        if is_end {
            break;
        }
        wanted = (2 * wanted).min(limit - length + 1);
    }
    let blob = Blob::new_with_u8_array_sequence(&chunks)?;
    let buffer = JsFuture::from(blob.array_buffer()).await?;
    Ok(Some(Uint8Array::new(&buffer)))
}

/// Bytes as text, left in the runtime's memory; `None` where they are not UTF-8.
pub fn text(bytes: &Uint8Array) -> Option<JsString> {
    let strict = object([("fatal", JsValue::TRUE), ("ignoreBOM", JsValue::TRUE)]);
    TextDecoder::new("utf-8", &strict).decode(bytes).ok()
}

/// Bytes as base64, left in the runtime's memory.
pub fn base64(bytes: &Uint8Array) -> JsString {
    bytes.unchecked_ref::<Bytes>().to_base64()
}

/// A JavaScript object.
pub fn object<const N: usize>(fields: [(&str, JsValue); N]) -> JsValue {
    let object = Object::new();
    for (name, value) in fields {
        // Fails for a frozen object alone.
        let _ = Reflect::set(&object, &name.into(), &value);
    }
    object.into()
}

/// Headers as a JavaScript object.
pub fn headers_object(headers: &Headers) -> JsValue {
    // Fails for what has no pairs in it alone.
    Object::from_entries(headers).unwrap_or_default().into()
}

/// 200 with `{"success":true,"result":…}` around a result that stays in the runtime's memory.
///
/// # Errors
///
/// What JSON cannot express.
pub fn success(result: &JsValue) -> Result<Response, JsValue> {
    let envelope = object([("success", JsValue::TRUE), ("result", result.clone())]);
    let body = JSON::stringify(&envelope)?;
    let answer: Response = AnyResponse::new(&body, &JsValue::UNDEFINED)?.into();
    own_headers(&answer);
    Ok(answer)
}

/// An answer of the Worker's own.
pub fn response(answer: &Answer) -> Response {
    let init = ResponseInit::new();
    init.set_status(answer.status);
    // Fails for no status that we know, and then the answer is at least an error.
    let response = Response::new_with_opt_str_and_init(Some(&answer.body), &init)
        .unwrap_or_else(|_| Response::error());
    own_headers(&response);
    for (name, value) in &answer.headers {
        let _ = response.headers().set(name, value);
    }
    response
}

fn own_headers(response: &Response) {
    let headers = response.headers();
    let _ = headers.set("content-type", "application/json");
    let _ = headers.set("cache-control", "no-store");
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    /// What can hold a value from one request to the next.
    fn outlives_a_request(line: &str) -> bool {
        // `static NAME:` anywhere in a line, also behind attributes and visibilities.
        let is_static = line.split("static ").skip(1).any(|rest| {
            let name = rest.trim_start_matches("mut ").split(':').next().unwrap_or_default();
            !name.is_empty()
                && name.chars().all(|c| c.is_ascii_uppercase() || "_0123456789".contains(c))
        });
        let cells = ["thread_local", "OnceCell", "OnceLock", "LazyCell", "LazyLock", "::leak("];
        is_static || cells.iter().any(|cell| line.contains(cell))
    }

    #[test]
    fn what_outlives_a_request_is_recognised() {
        for line in [
            "static CACHE: Mutex<u8> = Mutex::new(0);",
            "pub(crate) static mut CACHE_2: u8 = 0;",
            "#[allow(x)] static A: u8 = 0;",
            "use std::thread_local as t;",
            "let it = Box::leak(Box::new(1));",
        ] {
            assert!(outlives_a_request(line), "{line}");
        }
        assert!(!outlives_a_request("fn code(&self) -> &'static str {"));
    }

    fn visit(folder: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                visit(&path, found);
                continue;
            }
            let source = fs::read_to_string(&path).unwrap();
            // The code alone: neither the tests at its end nor comments.
            let code = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
            let lines = code.lines().map(str::trim).filter(|line| !line.starts_with("//"));
            let name = path.file_name().unwrap().to_string_lossy();
            found.extend(
                lines.filter(|line| outlives_a_request(line)).map(|line| format!("{name}: {line}")),
            );
        }
    }

    #[test]
    fn nothing_outlives_a_request_but_the_allocator_the_settings_and_names() {
        let mut found = Vec::new();
        visit(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
        found.sort();
        assert_eq!(
            found,
            [
                "allocator.rs: static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);",
                "intern.rs: static NAMES: RefCell<Names<JsString>> = const { RefCell::new(Names::EMPTY) };",
                "intern.rs: thread_local! {",
                "runtime.rs: static SETTINGS: RefCell<Option<([JsValue; 2], ReadSettings)>> = const { RefCell::new(None) };",
                "runtime.rs: thread_local! {",
            ]
        );
    }
}
