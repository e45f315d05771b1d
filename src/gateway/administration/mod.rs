//! The Secrets Store REST API for admin callers: secrets are administered with the account's API
//! token, and the token is given to nobody.
//!
//! A request is read into an operation of the API and checked, and what is sent is made anew of that
//! operation: nothing else of the caller's request goes on.

pub mod parse;

use std::{pin::pin, time::Duration};

use futures::{
    future::{Either, select},
    try_join,
};
use secrets_store_api::{
    ExposeSecret as _, GetSecret, Operation as _, Reported, Request as Sent, Scope,
};
use worker::{
    Delay, Env,
    wasm_bindgen::JsValue,
    web_sys::{Headers, Request, RequestInit, RequestRedirect, Response},
};

use self::parse::{Asked, Target};
use super::{
    Outcome, Progress,
    admission::{admit, shown_tokens, tokens},
    caller,
    credential::{Carrier, Placed, Placement},
    forward::{hops, incoming},
};
use crate::{
    config::SecretsStoreApi,
    response::{Answer, Failure, Refusal},
    runtime,
    secrets::{Secret, SecretErrors, Secrets},
};

/// How many bytes a request may have: an account's whole quota of secrets, 100 of 64 KiB, and the
/// JSON around them.
const MAX_BODY: u32 = 8 * 1024 * 1024;

/// How long the API may take until its response headers arrive. The platform's own proxies give up
/// after 100 s (error 524).
const TIMEOUT: Duration = Duration::from_secs(100);

/// How many bytes the answer about one secret may have.
const MAX_METADATA: u32 = 1024 * 1024;

/// A request for the REST API.
pub struct Call<'a> {
    /// The settings for it.
    pub api: &'a SecretsStoreApi,
    /// The account that the path names.
    pub account: &'a str,
    /// What comes after `…/secrets_store`.
    pub path_and_query: &'a str,
    /// The method, the headers and the body.
    pub request: &'a Request,
    /// The host by which the gateway was called.
    pub host: &'a str,
}

/// Why the API is not asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// In this Worker's own words.
    pub failure: Failure,
    /// In the API's words, where it has some for this: clients know them.
    pub reported: Vec<Reported>,
}

impl<F: Into<Failure>> From<F> for Refused {
    fn from(failure: F) -> Self {
        Self { failure: failure.into(), reported: Vec::new() }
    }
}

impl Refused {
    /// The answer that tells the caller.
    pub fn answer(&self) -> Answer {
        self.failure.refusal.answer_in_full(&self.reported)
    }
}

/// Admits the caller, checks what it asks for, asks the API, and hands its answer back.
pub async fn call(call: Call<'_>, secrets: &Secrets<Env>) -> Outcome<Refused> {
    let mut progress = Progress::default();
    let result = admit_and_ask(call, secrets, &mut progress).await;
    Outcome { progress, result }
}

async fn admit_and_ask(
    call: Call<'_>,
    secrets: &Secrets<Env>,
    progress: &mut Progress,
) -> Result<Response, Refused> {
    let Call { api, account, path_and_query, request, host } = call;
    let caller_headers = request.headers();
    let shown = shown_tokens(&caller_headers, caller::PLACES.into_iter());
    if shown.is_empty() {
        return Err(Refusal::Unauthenticated.into());
    }

    // One wave; a stranger's answer does not wait for the API's token.
    let started = runtime::now();
    let admitted = async {
        let tokens = tokens(&api.callers, secrets).await;
        admit(&shown, &tokens).map(str::to_owned)
    };
    let token = async { Ok(Carrier::Header.get(secrets, &api.token).await) };
    let (admin, token) = try_join!(admitted, token)?;
    progress.caller = Some(admin);
    let secrets_ms = runtime::now().saturating_sub(started);

    if account.is_empty() {
        return Err(parse::no_id(account, ""));
    }
    if account != api.account_id {
        return Err(Refusal::PathNotAllowed.because("another account than the settings'").into());
    }
    let target = Target::of(&request.method(), path_and_query)?;
    let asked = read(target, request).await?;
    let token = token.map_err(SecretErrors::from)?;
    let api = Api { settings: api, token, hops: hops(&caller_headers, host)? };

    let started = runtime::now();
    let answer = match asked {
        Asked::Request(sent) => api.ask(sent).await?,
        Asked::DuplicateLikeItsSource(duplicate) => {
            let source =
                GetSecret { store: duplicate.store.clone(), secret: duplicate.secret.clone() };
            let answer = api.ask(source.request()?).await?;
            match scopes(&answer).await? {
                Some(scopes) => api.ask(duplicate.like(&scopes)?).await?,
                // There is no such secret, say: the API has answered.
                None => answer,
            }
        }
    };
    let upstream_ms = runtime::now().saturating_sub(started);
    Ok(incoming(&answer, &[], secrets_ms, upstream_ms)?)
}

/// Reads what a request asks for, its body too.
async fn read(target: Target<'_>, request: &Request) -> Result<Asked, Refused> {
    if !target.has_body() {
        return target.read("");
    }
    let unreadable = |_| Refusal::BadRequest("the body could not be read".to_owned());
    let body = runtime::read_body(request.body(), MAX_BODY).await.map_err(unreadable)?;
    // Values may be in it: from here to the request that is sent, nothing is waited for.
    let text = runtime::text(&body.ok_or(Refusal::TooLarge)?).map(Secret::from);
    let text = text.ok_or_else(parse::not_utf8)?;
    target.read(&text.expose_secret())
}

/// The scopes of the secret that an answer tells of; `None` where the API refuses to, and the answer can
/// still be read.
///
/// # Errors
///
/// 502 for what is no answer of the API: handed back, it would pass for the answer to the operation.
/// 504 for one that does not end.
async fn scopes(answer: &Response) -> Result<Option<Vec<Scope>>, Failure> {
    if !answer.ok() {
        return Ok(None);
    }
    let broken = |_| Refusal::UpstreamUnreachable.because("the API's answer broke off");
    let copy = answer.clone().map_err(broken)?;
    let body = pin!(runtime::read_body(copy.body(), MAX_METADATA));
    let body = match select(body, Delay::from(TIMEOUT)).await {
        Either::Left((body, _)) => body.map_err(broken)?,
        Either::Right(_) => {
            return Err(Refusal::UpstreamTimedOut.because("the API's answer took too long"));
        }
    };
    let text = body.and_then(|body| runtime::text(&body)).map(String::from).unwrap_or_default();
    parse::scopes_of(&text).ok_or_else(|| {
        Refusal::UpstreamUnreachable
            .because("the API's answer about the secret is none of its own: is base_url right?")
    })
}

/// The API, as this request may ask it.
struct Api<'a> {
    settings: &'a SecretsStoreApi,
    token: Secret,
    hops: String,
}

impl Api<'_> {
    async fn ask(&self, sent: Sent) -> Result<Response, Failure> {
        let request = self.request(sent)?;
        runtime::fetch(&request, TIMEOUT).await
    }

    /// A request as the runtime sends it. What it was made of is dropped, and wiped.
    fn request(&self, sent: Sent) -> Result<Request, Failure> {
        let refused = |_| {
            Refusal::Configuration.because("the runtime refuses the request: is base_url a URL?")
        };
        let headers = Headers::new().map_err(refused)?;
        if let Placed::Header(name, value) = Placement::Bearer.place(&self.token) {
            runtime::set_secret_header(&headers, name, &value).map_err(refused)?;
        }
        headers.set("cdn-loop", &self.hops).map_err(refused)?;
        let init = RequestInit::new();
        init.set_method(sent.method);
        // The token is the API's alone.
        init.set_redirect(RequestRedirect::Manual);
        if let Some(body) = &sent.body {
            headers.set("content-type", "application/json").map_err(refused)?;
            init.set_body(&JsValue::from_str(body.expose_secret()));
        }
        init.set_headers(&headers);
        let SecretsStoreApi { base_url, account_id, .. } = self.settings;
        let path = format!("/accounts/{account_id}/secrets_store{}", sent.path_and_query);
        Request::new_with_str_and_init(&base_url.join(&path), &init).map_err(refused)
    }
}
