//! `/readyz`: whether every binding that the settings name can be had.

use futures::try_join;
use serde_json::{Map, Value, json};
use subtle::ConstantTimeEq as _;
use worker::{Env, web_sys::Headers};
use zeroize::Zeroizing;

use super::{
    admission::{Tokens, admit, shown_tokens},
    caller,
    credential::Carrier,
};
use crate::{
    config::Settings,
    response::{Answer, Failure, Refusal},
    runtime,
    secrets::{Secret, SecretError, SecretErrors, Secrets, join_all},
};

/// One binding that was tried.
struct Check<'a> {
    binding: &'a str,
    result: Result<Secret, SecretError>,
    ms: u64,
}

/// Tries every binding. Answers the admin's binding beside what to tell it; 503 is a failure too,
/// and carries the same result.
///
/// # Errors
///
/// 401.
pub async fn check<'a>(
    settings: &'a Settings,
    headers: &Headers,
    secrets: &Secrets<Env>,
) -> Result<(&'a str, Answer, Option<Failure>), Failure> {
    let shown = shown_tokens(headers, caller::PLACES.into_iter());
    if shown.is_empty() {
        return Err(Refusal::Unauthenticated.into());
    }
    let admins = settings.admins();
    if admins.is_empty() {
        return Err(Refusal::Unauthenticated
            .because("nobody is an admin: name callers in [vars.SECRETS_STORE_API]"));
    }
    let try_one = |(binding, carrier): (&'a str, Carrier)| async move {
        let started = runtime::now();
        let result = carrier.get(secrets, binding).await;
        Check { binding, result, ms: runtime::now().saturating_sub(started) }
    };
    // One wave, as for any request; a stranger's answer does not wait for the rest of it.
    let admitted = async {
        let tokens = admins.iter().map(|admin| try_one((admin, Carrier::Header)));
        let checks = join_all(tokens).await;
        let tokens = Tokens::new(checks.iter().map(|it| (it.binding, it.result.clone())));
        Ok::<_, Failure>((admit(&shown, &tokens)?, checks))
    };
    let others = settings.bindings().into_iter();
    let others = others.filter(|(binding, _)| !admins.iter().any(|admin| admin == binding));
    let others = async { Ok(join_all(others.map(try_one)).await) };
    let ((admin, mut checks), others) = try_join!(admitted, others)?;
    checks.extend(others);

    let result = json!({ "bindings": report(&checks) });
    let errors: Vec<_> = checks.into_iter().filter_map(|check| check.result.err()).collect();
    if errors.is_empty() {
        return Ok((admin, Answer::success(result), None));
    }
    let failure = Refusal::NotReady.because(SecretErrors(errors));
    Ok((admin, Refusal::NotReady.answer_with(Some(result)), Some(failure)))
}

/// The state of each binding, and the first one before it that has the same value: how a rotation sees
/// that this Worker has followed it (`cargo xtask rotate`).
fn report(checks: &[Check<'_>]) -> Map<String, Value> {
    let values: Vec<_> =
        checks.iter().map(|it| it.result.as_ref().ok().map(Secret::expose_secret)).collect();
    let report = |(check, value): (&Check<'_>, _)| {
        let state = check.result.as_ref().map_or_else(|error| error.kind.code(), |_| "ok");
        let first = values.iter().position(|other| is_equal(value, other));
        let first = first.and_then(|first| Some(checks.get(first)?.binding));
        let report = match first.filter(|first| *first != check.binding) {
            Some(first) => json!({ "state": state, "ms": check.ms, "same_as": first }),
            None => json!({ "state": state, "ms": check.ms }),
        };
        (check.binding.to_owned(), report)
    };
    checks.iter().zip(&values).map(report).collect()
}

fn is_equal(one: &Option<Zeroizing<String>>, other: &Option<Zeroizing<String>>) -> bool {
    let (Some(one), Some(other)) = (one, other) else { return false };
    one.as_bytes().ct_eq(other.as_bytes()).into()
}
