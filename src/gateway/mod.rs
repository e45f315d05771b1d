//! Lending credentials: who may call which upstream, what is attached, and the way there and back.

#[cfg(feature = "rest-api")]
pub mod administration;
mod admission;
pub mod batch;
pub mod caller;
pub mod credential;
pub mod forward;
pub mod headers;
pub mod path;
pub mod readiness;

use futures::try_join;
use worker::{
    Env,
    web_sys::{Headers, Request, Response},
};

use self::{
    admission::{admit, shown_tokens, tokens},
    forward::{Attached, fallbacks, hops, incoming, outgoing, together},
};
use crate::{
    config::{Callers, Upstream},
    response::{Failure, Refusal},
    runtime,
    secrets::{Secrets, join_all},
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
    /// The host by which the gateway was called.
    pub host: &'a str,
    /// Where the caller shows its token: the request's own headers, or those of its batch.
    pub caller_headers: &'a Headers,
}

/// What became of a call.
pub struct Outcome<Refused = Failure> {
    /// What the log tells of it beside its result.
    pub progress: Progress,
    /// The upstream's answer, or why there is none.
    pub result: Result<Response, Refused>,
}

/// How far a call has come.
#[derive(Debug, Default)]
pub struct Progress {
    /// The binding of the token that admitted the caller; none for a public upstream.
    pub caller: Option<String>,
    /// How often the request was sent again, with a fallback's value.
    pub retries: u32,
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
    let Call { upstream, path_and_query, request, is_repeatable, host, caller_headers } = call;
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
        // The fast way to wait for many. A fallback must not wait for all of them: it begins when its
        // own secret fails.
        if needed.iter().all(|it| it.fallback.is_none()) {
            secrets.settle(needed.iter().map(|it| it.secret.as_str())).await;
        }
        Ok::<_, Failure>(join_all(needed.iter().map(|it| it.resolve(secrets))).await)
    };
    let ((tokens, caller), credentials) = try_join!(admitted, credentials)?;
    progress.caller = caller;
    let secrets_ms = runtime::now().saturating_sub(started);
    if let Some(refusal) = refusal {
        return Err(refusal.into());
    }
    let mut credentials = together(&upstream.credentials, credentials)?;
    let hops = hops(caller_headers, host)?;
    let send = async |request: &Request, credentials: &[Attached<'_>]| {
        let outgoing = outgoing(upstream, path_and_query, request, credentials, &tokens, &hops)?;
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
        credentials = fallbacks;
        answer = send(&again, &credentials).await?;
    }
    let upstream_ms = runtime::now().saturating_sub(started);
    incoming(&answer, &credentials, secrets_ms, upstream_ms)
}

/// What `Allow` says where `methods` is not set.
const USUAL_METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

impl Upstream {
    /// Whether a caller that is known may not do this.
    fn refusal(&self, method: &str, path_and_query: &str) -> Option<Refusal> {
        // An upstream that answers TRACE sends back what it got (RFC 9110, section 9.3.8): the
        // credential too.
        let is_echo = ["TRACE", "TRACK"].contains(&method);
        match &self.methods {
            Some(methods) if !methods.iter().any(|allowed| allowed == method) => {
                // As `&str`, like every other list that is joined: each type has code of its own.
                let methods: Vec<&str> = methods.iter().map(String::as_str).collect();
                return Some(Refusal::MethodNotAllowed(methods.join(", ")));
            }
            None if is_echo => return Some(Refusal::MethodNotAllowed(USUAL_METHODS.to_owned())),
            _ => {}
        }
        let path = path_and_query.split('?').next().unwrap_or_default();
        let is_allowed = path::is_allowed(path, self.paths.as_deref());
        (!is_allowed).then_some(Refusal::PathNotAllowed)
    }
}
