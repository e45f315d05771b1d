//! Admission: whether a caller shows the token of one who may call.

use worker::{
    Env,
    web_sys::{Headers, Request},
};

use super::caller::{self, Place, Shown, mentions};
use crate::{
    config::{Callers, Upstream},
    response::{Failure, Refusal},
    runtime,
    secrets::{Secret, SecretError, SecretErrors, Secrets},
};

/// The tokens that would admit a caller, and those that could not be had.
pub(super) struct Tokens<'a> {
    known: Vec<(&'a str, Secret)>,
    failed: Vec<SecretError>,
}

/// What a request shows that could be a token.
pub(super) fn shown_tokens<'a>(
    headers: &Headers,
    places: impl Iterator<Item = Place<'a>>,
) -> Vec<Shown<'a>> {
    let read = |place: Place<'a>| Shown::read(place, runtime::header(headers, place.header));
    places.filter_map(read).collect()
}

/// The tokens that would admit a caller: none for a public upstream.
pub(super) async fn tokens<'a>(callers: &'a Callers, secrets: &Secrets<Env>) -> Tokens<'a> {
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
    pub(super) fn shown_in(&self, request: &Request, upstream: &Upstream) -> Vec<String> {
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
                tokens.iter().any(|token| mentions(&value, token))
            }));
        }
        found
    }

    /// The tokens among these.
    pub(super) fn new(
        results: impl Iterator<Item = (&'a str, Result<Secret, SecretError>)>,
    ) -> Self {
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
pub(super) fn admit<'a>(shown: &[Shown<'_>], tokens: &Tokens<'a>) -> Result<&'a str, Failure> {
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
pub(super) async fn may_call(
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
