//! Admission: whether a caller shows the token of one who may call.

use worker::{Env, web_sys::Headers};
use zeroize::Zeroizing;

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
    // Places in the same header stand beside each other.
    let (mut header, mut value, mut text) = ("", None, Zeroizing::default());
    let read = |place: Place<'a>| {
        if place.header != header {
            header = place.header;
            value = runtime::header(headers, header);
            text = value.as_ref().map(Secret::expose_secret).unwrap_or_default();
        }
        Shown::read(place, value.as_ref()?, &text)
    };
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
    /// Tells of a header, by its name and value, whether a token is in it: then it does not go on,
    /// wherever the token stands.
    pub(super) fn recogniser(&self, upstream: &Upstream) -> impl Fn(&str, &str) -> bool {
        let tokens: Vec<_> = self.known.iter().map(|(_, token)| token.expose_secret()).collect();
        // Where a token could not be had, whatever looks like one might be it.
        let is_place = move |name: &str, value: &str| {
            let mut places = caller::places(&upstream.credentials);
            places.any(|place| place.header == name && place.token(value).is_some())
        };
        let some_failed = !self.failed.is_empty();
        move |name, value| {
            tokens.iter().any(|token| mentions(value, token))
                || (some_failed && is_place(name, value))
        }
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
