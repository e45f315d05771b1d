//! `/readyz`: whether every binding that the settings name can be had.

use futures::try_join;
use serde_json::{Map, Value};
use worker::{Env, web_sys::Headers};

use super::{
    admission::{Tokens, admit, shown_tokens},
    caller,
    credential::Carrier,
};
use crate::{
    config::{Callers, Settings},
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

    let result = report(settings, checks.iter().map(Check::report).collect());
    let errors: Vec<_> = checks.into_iter().filter_map(|check| check.result.err()).collect();
    if errors.is_empty() {
        return Ok((admin, Answer::success(result), None));
    }
    let failure = Refusal::NotReady.because(SecretErrors(errors));
    Ok((admin, Refusal::NotReady.answer_with(Some(result)), Some(failure)))
}

/// The state of each binding, and what it is for, in the shape of the settings: names of bindings, and
/// never a value.
fn report(settings: &Settings, bindings: Value) -> Value {
    let callers = |callers: &Callers| match callers {
        Callers::Public => "public".into(),
        Callers::Tokens(bindings) => Value::from(bindings.as_slice()),
    };
    let mut upstreams = Map::new();
    for upstream in &settings.upstreams {
        let credentials = upstream.credentials.iter().map(|it| {
            object(vec![
                ("type", it.placement.type_name().into()),
                ("secret", it.secret.as_str().into()),
                ("fallback", it.fallback.as_deref().into()),
            ])
        });
        let roles = object(vec![
            ("callers", callers(&upstream.callers)),
            ("credentials", credentials.collect()),
        ]);
        upstreams.insert(upstream.name.clone(), roles);
    }
    let api = settings.secrets_store_api.as_ref().map(|it| {
        object(vec![("callers", callers(&it.callers)), ("token", it.token.as_str().into())])
    });
    object(vec![
        ("bindings", bindings),
        ("upstreams", upstreams.into()),
        ("secrets_store_api", api.into()),
    ])
}

/// As `json!` makes it, in less code.
fn object(fields: Vec<(&str, Value)>) -> Value {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
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
    fn report(&self) -> (String, Value) {
        let mut report = vec![("state", "ok".into()), ("ms", self.ms.into())];
        if let Err(error) = &self.result {
            report = vec![
                ("state", error.kind.code().into()),
                ("ms", self.ms.into()),
                ("error", error.kind.to_string().into()),
                ("mend", mend(error).into()),
            ];
        }
        (self.binding.to_owned(), object(report))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
        let settings = Settings::parse(Some(upstreams), Some(api)).unwrap();
        let credential = |kind: &str, secret: &str, fallback: Option<&str>| json!({ "type": kind, "secret": secret, "fallback": fallback });
        assert_eq!(
            report(&settings, json!({ "T": "its state" })),
            json!({
                "bindings": { "T": "its state" },
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
            let (binding, report) = Check { binding: "KEY", result: Err(error), ms: 7 }.report();
            assert_eq!((binding.as_str(), &report["ms"]), ("KEY", &json!(7)));
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
        assert_eq!(fine.report().1, json!({ "state": "ok", "ms": 7 }));
    }
}
