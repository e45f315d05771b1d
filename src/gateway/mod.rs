//! Lending credentials: who may call which upstream, what is attached, and the way there and back.

pub mod batch;
pub mod caller;
pub mod credential;
mod headers;
pub mod path;
pub mod readiness;

use futures::{future::join_all, try_join};
use worker::{
    Env,
    wasm_bindgen::JsCast as _,
    web_sys::{Headers, Request, RequestInit, Response},
};
use zeroize::Zeroizing;

use self::{
    caller::{Place, Shown},
    credential::{Credential, Placed},
};
use crate::{
    config::{Callers, Upstream},
    response::{Failure, Refusal},
    runtime,
    secrets::{Secret, SecretError, SecretErrors, Secrets},
};

/// A request for an upstream.
pub struct Call<'a> {
    /// Which one.
    pub upstream: &'a Upstream,
    /// What goes after its `base_url`: empty, or beginning with `/` or `?`.
    pub path_and_query: &'a str,
    /// The method, the headers and the body.
    pub request: &'a Request,
    /// Whether the body is short enough to be held, for a second try.
    pub is_repeatable: bool,
    /// Where the caller shows its token: the request's own headers, or those of its batch.
    pub caller_headers: &'a Headers,
}

/// What became of a [`Call`].
pub struct Outcome {
    /// What the log tells of it beside its result.
    pub progress: Progress,
    /// The upstream's answer, or why there is none.
    pub result: Result<Response, Failure>,
}

/// How far a [`Call`] has come.
#[derive(Debug, Default)]
pub struct Progress {
    /// The binding of the token that admitted the caller; none for a public upstream.
    pub caller: Option<String>,
    /// How often the request was sent again, with a fallback's value.
    pub retries: u32,
}

/// The tokens that would admit a caller, and those that could not be had.
struct Tokens<'a> {
    known: Vec<(&'a str, Secret)>,
    failed: Vec<SecretError>,
}

/// Admits the caller, attaches the credentials, calls the upstream, and hands its answer back.
pub async fn call(call: Call<'_>, secrets: &Secrets<Env>) -> Outcome {
    let mut progress = Progress::default();
    let result = admit_and_send(call, secrets, &mut progress).await;
    Outcome { progress, result }
}

async fn admit_and_send(
    call: Call<'_>,
    secrets: &Secrets<Env>,
    progress: &mut Progress,
) -> Result<Response, Failure> {
    let Call { upstream, path_and_query, request, is_repeatable, caller_headers } = call;
    let shown = shown_tokens(caller_headers, caller::places(&upstream.credentials));
    if upstream.callers != Callers::Public && shown.is_empty() {
        return Err(Refusal::Unauthenticated.into());
    }

    // One wave; what is refused in any case needs no credentials. A stranger's answer does not wait
    // for them: how long they take would tell of them.
    let started = runtime::now();
    let refusal = upstream.refusal(&request.method(), path_and_query);
    let admitted = async {
        let tokens = tokens(&upstream.callers, secrets).await;
        let caller = match upstream.callers {
            Callers::Public => None,
            Callers::Tokens(_) => Some(admit(&shown, &tokens)?.to_owned()),
        };
        Ok((tokens, caller))
    };
    let credentials = async {
        let needed = if refusal.is_none() { upstream.credentials.as_slice() } else { &[] };
        Ok::<_, Failure>(join_all(needed.iter().map(|it| it.resolve(secrets))).await)
    };
    let ((tokens, caller), credentials) = try_join!(admitted, credentials)?;
    progress.caller = caller;
    let secrets_ms = runtime::now().saturating_sub(started);
    if let Some(refusal) = refusal {
        return Err(refusal.into());
    }
    let credentials = together(&upstream.credentials, credentials)?;
    let shows_a_token = tokens.shown_in(request, upstream);
    let send = async |request: &Request, credentials: &[Attached<'_>]| {
        let outgoing = outgoing(upstream, path_and_query, request, credentials, &shows_a_token)?;
        runtime::fetch(&outgoing, upstream.timeout).await
    };

    let started = runtime::now();
    let has_fallback = upstream.credentials.iter().any(|it| it.fallback.is_some());
    let again = if is_repeatable && has_fallback { request.clone().ok() } else { None };
    let mut answer = send(request, &credentials).await?;
    if answer.status() == 401
        && let Some(again) = again
        && let Some(fallbacks) = fallbacks(&credentials, secrets).await
    {
        progress.retries = 1;
        runtime::discard(&answer);
        answer = send(&again, &fallbacks).await?;
    }
    let upstream_ms = runtime::now().saturating_sub(started);
    incoming(&answer, secrets_ms, upstream_ms)
}

/// A credential and its value.
type Attached<'a> = (&'a Credential, Secret);

/// The longest body that is kept to be sent again.
pub const MAX_REPEATED_BODY: u32 = 64 * 1024;

/// Whether a request that arrives has no body, or one that is short enough to be held.
pub fn is_repeatable(request: &Request) -> bool {
    let length = || request.headers().get("content-length").ok()??.parse().ok();
    request.body().is_none() || length().is_some_and(|length: u32| length <= MAX_REPEATED_BODY)
}

/// The credentials with the fallbacks' values; none where no fallback is left or can be had.
async fn fallbacks<'a>(
    credentials: &[Attached<'a>],
    secrets: &Secrets<Env>,
) -> Option<Vec<Attached<'a>>> {
    let fallback_of = |credential: &'a Credential| async move {
        let carrier = credential.placement.carrier();
        let fallback = credential.fallback.as_deref()?;
        // Where the primary one failed, the fallback has been tried. (This fetches nothing anew.)
        carrier.get(secrets, &credential.secret).await.ok()?;
        carrier.get(secrets, fallback).await.ok()
    };
    let fallbacks =
        join_all(credentials.iter().map(|(credential, _)| fallback_of(credential))).await;
    if fallbacks.iter().all(Option::is_none) {
        return None;
    }
    let attach = |((credential, first), fallback): (&Attached<'a>, Option<Secret>)| {
        (*credential, fallback.unwrap_or_else(|| first.clone()))
    };
    Some(credentials.iter().zip(fallbacks).map(attach).collect())
}

impl Upstream {
    /// Whether a caller that is known may not do this.
    fn refusal(&self, method: &str, path_and_query: &str) -> Option<Refusal> {
        if let Some(methods) = &self.methods
            && !methods.iter().any(|allowed| allowed == method)
        {
            return Some(Refusal::MethodNotAllowed(methods.join(", ")));
        }
        let path = path_and_query.split('?').next().unwrap_or_default();
        let is_allowed = path::is_allowed(path, self.paths.as_deref());
        (!is_allowed).then_some(Refusal::PathNotAllowed)
    }
}

/// What a request shows that could be a token.
fn shown_tokens<'a>(headers: &Headers, places: impl Iterator<Item = Place<'a>>) -> Vec<Shown<'a>> {
    let read = |place: Place<'a>| Shown::read(place, runtime::header(headers, place.header));
    places.filter_map(read).collect()
}

async fn tokens<'a>(callers: &'a Callers, secrets: &Secrets<Env>) -> Tokens<'a> {
    let bindings = match callers {
        Callers::Public => &[],
        Callers::Tokens(bindings) => bindings.as_slice(),
    };
    let results = secrets.get_all_settled(bindings).await;
    Tokens::new(bindings.iter().map(String::as_str).zip(results))
}

impl<'a> Tokens<'a> {
    /// The headers of a request that are not to go on, since a token is in them: wherever its text
    /// stands, and where it is shown in base64. (In a batch, these are headers of the entry.)
    fn shown_in(&self, request: &Request, upstream: &Upstream) -> Vec<String> {
        let headers = request.headers();
        let places = caller::places(&upstream.credentials);
        let shown = shown_tokens(&headers, places).into_iter().filter(|shown| {
            // Where a token could not be had, whatever looks like one might be it.
            !self.failed.is_empty() || shown.whose(&self.known).is_some()
        });
        let mut found: Vec<String> = shown.map(|shown| shown.place.header.to_owned()).collect();
        let tokens: Vec<_> = self.known.iter().map(|(_, token)| token.expose_secret()).collect();
        if !tokens.is_empty() {
            found.extend(runtime::header_names(&headers).into_iter().filter(|name| {
                let value = runtime::header(&headers, name);
                let value = value.map(|value| value.expose_secret()).unwrap_or_default();
                tokens.iter().any(|token| value.contains(token.as_str()))
            }));
        }
        found
    }

    fn new(results: impl Iterator<Item = (&'a str, Result<Secret, SecretError>)>) -> Self {
        let mut tokens = Self { known: Vec::new(), failed: Vec::new() };
        for (binding, result) in results {
            match result {
                Ok(token) => tokens.known.push((binding, token)),
                Err(error) => tokens.failed.push(error),
            }
        }
        tokens
    }
}

/// The binding whose token the caller shows.
///
/// # Errors
///
/// 401, whatever is wrong: also when a token's secret cannot be had, which the log alone tells.
fn admit<'a>(shown: &[Shown<'_>], tokens: &Tokens<'a>) -> Result<&'a str, Failure> {
    let admitted = shown.iter().find_map(|shown| shown.whose(&tokens.known));
    admitted.ok_or_else(|| {
        if tokens.failed.is_empty() {
            Refusal::Unauthenticated.into()
        } else {
            Refusal::Unauthenticated.because(SecretErrors(tokens.failed.clone()))
        }
    })
}

/// Whether a caller who shows these headers may call an upstream.
///
/// # Errors
///
/// 401.
async fn may_call(
    upstream: &Upstream,
    headers: &Headers,
    secrets: &Secrets<Env>,
) -> Result<(), Failure> {
    if upstream.callers == Callers::Public {
        return Ok(());
    }
    let shown = shown_tokens(headers, caller::places(&upstream.credentials));
    if shown.is_empty() {
        return Err(Refusal::Unauthenticated.into());
    }
    admit(&shown, &tokens(&upstream.callers, secrets).await).map(drop)
}

/// All the credentials, or every binding that failed.
fn together(
    credentials: &[Credential],
    results: Vec<Result<Secret, SecretErrors>>,
) -> Result<Vec<Attached<'_>>, SecretErrors> {
    let mut errors = Vec::new();
    let secrets = results.into_iter().filter_map(|it| it.map_err(|it| errors.extend(it.0)).ok());
    let together: Vec<_> = credentials.iter().zip(secrets).collect();
    if errors.is_empty() { Ok(together) } else { Err(SecretErrors(errors)) }
}

/// The request as it goes to the upstream. The runtime copies the method, the headers and the body
/// by itself; the body stays a stream. `shows_a_token` names the headers that do.
fn outgoing(
    upstream: &Upstream,
    path_and_query: &str,
    request: &Request,
    credentials: &[Attached<'_>],
    shows_a_token: &[String],
) -> Result<Request, Failure> {
    let refused = |_| Refusal::BadRequest("the request cannot be sent on".to_owned());
    let placed: Vec<Placed<'_>> =
        credentials.iter().map(|(credential, secret)| credential.placement.place(secret)).collect();

    let mut path_and_query = Zeroizing::new(path_and_query.to_owned());
    for placed in &placed {
        if let Placed::Query(name, pair) = placed {
            path_and_query = credential::with_parameter(&path_and_query, name, pair);
        }
    }
    let url = Zeroizing::new(upstream.base_url.join(&path_and_query));
    let outgoing = Request::new_with_str_and_init(&url, request.unchecked_ref::<RequestInit>())
        .map_err(|_| {
            Refusal::Configuration.because("the runtime refuses the URL: is base_url one?")
        })?;

    let headers = outgoing.headers();
    let connection = headers.get("connection").ok().flatten();
    // The one upgrade that the runtime carries through; it makes the headers for it.
    let upgrade = headers.get("upgrade").ok().flatten();
    let is_websocket = upgrade.is_some_and(|protocol| protocol.eq_ignore_ascii_case("websocket"));
    for name in runtime::header_names(&headers) {
        if headers::ends_here(&name, connection.as_deref()) {
            headers.delete(&name).map_err(refused)?;
        }
    }
    if is_websocket {
        headers.set("upgrade", "websocket").map_err(refused)?;
    }
    for name in shows_a_token {
        headers.delete(name).map_err(refused)?;
    }
    for placed in &placed {
        if let Placed::Header(name, value) = placed {
            headers.set(name, value).map_err(|_| {
                Refusal::Configuration.because(format!("the runtime refuses the header {name}"))
            })?;
        }
    }
    Ok(outgoing)
}

/// The answer as it goes to the caller.
fn incoming(answer: &Response, secrets_ms: u64, upstream_ms: u64) -> Result<Response, Failure> {
    let answer = runtime::changeable(answer)?;
    let headers = answer.headers();
    let connection = headers.get("connection").ok().flatten();
    for name in runtime::header_names(&headers) {
        if headers::stays_with_us(&name, connection.as_deref()) {
            let _ = headers.delete(&name);
        }
    }
    let timing = format!("secrets;dur={secrets_ms}, upstream;dur={upstream_ms}");
    let _ = headers.append("server-timing", &timing);
    Ok(answer)
}
