//! `/readyz`: whether every binding that the settings name can be had.

use futures::try_join;
use subtle::ConstantTimeEq as _;
use worker::{Env, web_sys::Headers};
use zeroize::Zeroizing;

use super::{
    admission::{Tokens, admit, shown_tokens},
    caller,
    credential::{Carrier, Credential},
};
use crate::{
    config::{Callers, Settings, Upstream},
    json::{list, quoted, table},
    response::{Answer, Failure, Refusal},
    runtime,
    secrets::{Cause, ErrorKind, Secret, SecretError, SecretErrors, Secrets, join_all},
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

    let result = report(settings, &checks);
    let errors: Vec<_> = checks.into_iter().filter_map(|check| check.result.err()).collect();
    if errors.is_empty() {
        return Ok((admin, Answer::success(result), None));
    }
    let failure = Refusal::NotReady.because(SecretErrors(errors));
    Ok((admin, Refusal::NotReady.answer_with(Some(result)), Some(failure)))
}

/// The state of each binding, and what it is for, in the shape of the settings: names of bindings, and
/// never a value.
fn report(settings: &Settings, checks: &[Check<'_>]) -> String {
    let callers = |callers: &Callers| match callers {
        Callers::Public => quoted("public"),
        Callers::Tokens(bindings) => list(bindings.iter().map(|it| quoted(it)).collect()),
    };
    let upstream = |upstream: &Upstream| {
        let credential = |it: &Credential| {
            let fallback = it.fallback.as_deref().map_or_else(|| "null".to_owned(), quoted);
            table(&[
                ("type", quoted(it.placement.type_name())),
                ("secret", quoted(&it.secret)),
                ("fallback", fallback),
            ])
        };
        table(&[
            ("callers", callers(&upstream.callers)),
            ("credentials", list(upstream.credentials.iter().map(credential).collect())),
        ])
    };
    let upstreams: Vec<_> =
        settings.upstreams.iter().map(|it| (it.name.as_str(), upstream(it))).collect();
    let api = settings
        .secrets_store_api
        .as_ref()
        .map(|it| table(&[("callers", callers(&it.callers)), ("token", quoted(&it.token))]));
    table(&[
        ("bindings", states(checks)),
        ("upstreams", table(&upstreams)),
        ("secrets_store_api", api.unwrap_or_else(|| "null".to_owned())),
    ])
}

/// The state of each binding, and the first one before it that has the same value: how a rotation sees
/// that this Worker has followed it (`cargo xtask rotate`).
fn states<'a>(checks: &[Check<'a>]) -> String {
    let values: Vec<_> =
        checks.iter().map(|it| it.result.as_ref().ok().map(Secret::expose_secret)).collect();
    let state = |(check, value): (&Check<'a>, _)| {
        let first = values.iter().position(|other| is_equal(value, other));
        let first = first.and_then(|first| Some(checks.get(first)?.binding));
        (check.binding, check.report(first.filter(|first| *first != check.binding)))
    };
    let states: Vec<_> = checks.iter().zip(&values).map(state).collect();
    table(&states)
}

fn is_equal(one: &Option<Zeroizing<String>>, other: &Option<Zeroizing<String>>) -> bool {
    let (Some(one), Some(other)) = (one, other) else { return false };
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

/// The command that mends it, or tells how to; none where it is for the platform, or time, to mend.
fn mend(error: &SecretError) -> Option<String> {
    match error.kind {
        ErrorKind::NotBound
        | ErrorKind::WrongKind
        | ErrorKind::NotFound
        | ErrorKind::Failed(Cause::Forbidden | Cause::Unknown) => {
            Some("cargo xtask doctor --remote".to_owned())
        }
        ErrorKind::Null | ErrorKind::Empty | ErrorKind::NotHeaderSafe(_) => Some(format!(
            "npx wrangler secrets-store secret update <store id> --secret-id <id> --remote\n\
             # or, if it is a plain secret: npx wrangler secret put {}",
            error.binding
        )),
        _ => None,
    }
}

impl Check<'_> {
    fn report(&self, same_as: Option<&str>) -> String {
        let mut report = vec![("state", quoted("ok")), ("ms", self.ms.to_string())];
        if let Some(first) = same_as {
            report.push(("same_as", quoted(first)));
        }
        if let Err(error) = &self.result {
            let mend = mend(error).map_or_else(|| "null".to_owned(), |it| quoted(&it));
            report = vec![
                ("state", quoted(error.kind.code())),
                ("ms", self.ms.to_string()),
                ("error", quoted(&error.kind.to_string())),
                ("mend", mend),
            ];
        }
        table(&report)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::secrets::Flaw;

    #[test]
    fn what_bindings_are_for_has_the_shape_of_the_settings_and_what_they_name() {
        let upstreams = r#"{
            "demo": {"base_url":"https://a.example","callers":["T","U"],"credentials":[
                {"type":"bearer","secret":"A","fallback":"B"},
                {"type":"header","name":"x-key","prefix":"p","secret":"C"},
                {"type":"query","name":"q","secret":"D"}]},
            "open": {"base_url":"https://b.example","callers":"public","credentials":[
                {"type":"basic","username":"u","secret":"E"}]}
        }"#;
        let api =
            r#"{"base_url":"https://c.example","account_id":"0a","token":"K","callers":["X"]}"#;
        let settings = Settings::parse(Some(upstreams.into()), Some(api.into())).unwrap();
        let credential = |kind: &str, secret: &str, fallback: Option<&str>| json!({ "type": kind, "secret": secret, "fallback": fallback });
        let checks = ["T", "U", "A"].map(|binding| {
            let value = if binding == "U" { "1" } else { "2" };
            Check { binding, result: Ok(Secret::from(value.to_owned())), ms: 3 }
        });
        assert_eq!(
            serde_json::from_str::<Value>(&super::report(&settings, &checks)).unwrap(),
            json!({
                "bindings": {
                    "T": { "state": "ok", "ms": 3 },
                    "U": { "state": "ok", "ms": 3 },
                    "A": { "state": "ok", "ms": 3, "same_as": "T" },
                },
                "upstreams": {
                    "demo": { "callers": ["T", "U"], "credentials": [
                        credential("bearer", "A", Some("B")),
                        credential("header", "C", None),
                        credential("query", "D", None),
                    ] },
                    "open": { "callers": "public", "credentials": [credential("basic", "E", None)] },
                },
                "secrets_store_api": { "callers": ["X"], "token": "K" },
            })
        );
    }

    #[test]
    fn a_failed_binding_is_told_in_words_and_with_the_command_that_mends_it() {
        let report = |kind: ErrorKind| {
            let error = SecretError { binding: "KEY".to_owned(), kind };
            let report = Check { binding: "KEY", result: Err(error), ms: 7 }.report(None);
            let report: Value = serde_json::from_str(&report).unwrap();
            assert_eq!(report["ms"], 7);
            assert!(report["error"].as_str().unwrap().len() > 20, "{report}");
            report["mend"].as_str().unwrap_or("nothing").to_owned()
        };
        for kind in [
            ErrorKind::NotBound,
            ErrorKind::WrongKind,
            ErrorKind::NotFound,
            ErrorKind::Failed(Cause::Forbidden),
            ErrorKind::Failed(Cause::Unknown),
        ] {
            assert_eq!(report(kind), "cargo xtask doctor --remote");
        }
        for kind in
            [ErrorKind::Null, ErrorKind::Empty, ErrorKind::NotHeaderSafe(Flaw::OuterWhiteSpace)]
        {
            let mend = report(kind);
            assert!(mend.starts_with("npx wrangler secrets-store secret update "), "{mend}");
            assert!(mend.ends_with("npx wrangler secret put KEY"), "{mend}");
        }
        for kind in [ErrorKind::TimedOut, ErrorKind::Failed(Cause::ConnectionLost)] {
            assert_eq!(report(kind), "nothing");
        }
        let fine = Check { binding: "KEY", result: Ok(Secret::from("5ecret".to_owned())), ms: 7 };
        assert_eq!(fine.report(None), r#"{"state":"ok","ms":7}"#);
    }
}
