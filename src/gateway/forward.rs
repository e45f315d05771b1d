//! Forwarding: the request as it goes to an upstream, and the answer as it comes back.

use worker::{
    Env,
    wasm_bindgen::JsCast as _,
    web_sys::{Headers, Request, RequestInit, Response},
};
use zeroize::Zeroizing;

use super::{
    admission::Tokens,
    credential::{self, Credential, Placed, Placement},
    headers,
};
use crate::{
    config::Upstream,
    response::{Failure, Refusal},
    runtime,
    secrets::{Secret, SecretErrors, Secrets, join_all},
};

/// A credential and its value.
pub(super) type Attached<'a> = (&'a Credential, Secret);

/// The longest body that is kept to be sent again.
pub const MAX_REPEATED_BODY: u32 = 64 * 1024;

/// Whether a request that arrives has no body, or one that is short enough to be held.
pub fn is_repeatable(request: &Request) -> bool {
    let length = || request.headers().get("content-length").ok()??.parse().ok();
    request.body().is_none() || length().is_some_and(|length: u32| length <= MAX_REPEATED_BODY)
}

/// The credentials with the fallbacks' values; none where no fallback is left or can be had.
pub(super) async fn fallbacks<'a>(
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

/// All the credentials, or every binding that failed.
pub(super) fn together(
    credentials: &[Credential],
    results: Vec<Result<Secret, SecretErrors>>,
) -> Result<Vec<Attached<'_>>, SecretErrors> {
    let mut errors = Vec::new();
    let secrets = results.into_iter().filter_map(|it| it.map_err(|it| errors.extend(it.0)).ok());
    let together: Vec<_> = credentials.iter().zip(secrets).collect();
    if errors.is_empty() { Ok(together) } else { Err(SecretErrors(errors)) }
}

/// The gateways that a request has come through, this one included (RFC 8586, `CDN-Loop`).
///
/// # Errors
///
/// 500 where this one is among them already: an upstream leads back here, and would for ever.
pub(super) fn hops(headers: &Headers, host: &str) -> Result<String, Failure> {
    let before = runtime::header(headers, "cdn-loop").map(|it| it.expose_secret().to_string());
    let before = before.unwrap_or_default();
    if headers::names_host(&before, host) {
        return Err(Refusal::Configuration.because(
            "the request came through this host before: does a base_url lead back to it?",
        ));
    }
    Ok(if before.is_empty() { host.to_owned() } else { format!("{before}, {host}") })
}

/// The request as it goes to the upstream. The runtime copies the method, the headers and the body
/// by itself; the body stays a stream. What shows one of `tokens` does not go on; `hops` are the
/// gateways on the way.
pub(super) fn outgoing(
    upstream: &Upstream,
    path_and_query: &str,
    request: &Request,
    credentials: &[Attached<'_>],
    tokens: &Tokens<'_>,
    hops: &str,
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
    let shows_a_token = tokens.recogniser(upstream);
    let is_replaced = |name: &str| placed.iter().any(|it| it.header() == Some(name));
    let mut is_websocket = false;
    {
        let lines = runtime::header_lines(&headers);
        let lines = || lines.lines().filter_map(|line| line.split_once(','));
        let connection = lines().find_map(|(name, value)| (name == "connection").then_some(value));
        for (name, value) in lines() {
            // The one upgrade that the runtime carries through; it makes the headers for it.
            is_websocket |= name == "upgrade" && value.eq_ignore_ascii_case("websocket");
            if (headers::ends_here(name, connection) || shows_a_token(name, value))
                && !is_replaced(name)
            {
                headers.delete(name).map_err(refused)?;
            }
        }
    }
    if is_websocket {
        headers.set("upgrade", "websocket").map_err(refused)?;
    }
    runtime::set_header(&headers, "cdn-loop", hops).map_err(refused)?;
    for placed in &placed {
        if let Placed::Header(name, value) = placed {
            runtime::set_secret_header(&headers, name, value).map_err(|_| {
                Refusal::Configuration.because(format!("the runtime refuses the header {name}"))
            })?;
        }
    }
    Ok(outgoing)
}

/// The answer as it goes to the caller, without what `credentials` have attached to the query.
pub(super) fn incoming(
    answer: &Response,
    credentials: &[Attached<'_>],
    secrets_ms: u64,
    upstream_ms: u64,
) -> Result<Response, Failure> {
    let answer = runtime::changeable(answer)?;
    let headers = answer.headers();
    let names = runtime::header_names(&headers);
    let has_connection = names.lines().any(|name| name == "connection");
    let connection = has_connection.then(|| headers.get("connection").ok().flatten()).flatten();
    for name in names.lines().filter(|it| headers::stays_with_us(it, connection.as_deref())) {
        let _ = headers.delete(name);
    }
    withhold(&headers, credentials);
    let timing = format!("secrets;dur={secrets_ms}, upstream;dur={upstream_ms}");
    runtime::append_server_timing(&headers, &timing);
    Ok(answer)
}

/// Takes out of an answer's headers the secrets that went into the query: an upstream that repeats
/// the URL, in a redirect say, would tell them to the caller.
fn withhold(headers: &Headers, credentials: &[Attached<'_>]) {
    for (credential, secret) in credentials {
        let Placement::Query { name } = &credential.placement else { continue };
        let pair = credential::parameter(name, &secret.expose_secret());
        let lines = runtime::header_lines(headers);
        for (name, value) in lines.lines().filter_map(|line| line.split_once(',')) {
            let kept = credential::without_value(value, &pair);
            // What cannot be set must not stay either.
            if kept.is_some_and(|kept| headers.set(name, &kept).is_err()) {
                let _ = headers.delete(name);
            }
        }
    }
}
