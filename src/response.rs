//! What the Worker itself answers: the envelope and the error codes, here alone.

use std::borrow::Cow;

#[cfg(feature = "rest-api")]
use secrets_store_api::Reported;

use crate::{
    json::{list, quoted, table},
    secrets::SecretErrors,
};

/// Why a request gets no answer from an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// 400: malformed input; the text says which field.
    BadRequest(String),
    /// 401: no token, or a wrong one.
    Unauthenticated,
    /// 403: outside the upstream's `paths`, or out of `base_url`.
    PathNotAllowed,
    /// 404: no such route or upstream.
    NotFound,
    /// 405, with the methods that are allowed.
    MethodNotAllowed(String),
    /// 413: a batch with too many entries, or too large.
    TooLarge,
    /// The caller went away: nobody reads this answer, but the log tells of it. (499 is nginx's.)
    CallerGone,
    /// 500: a setting is wrong, or a secret that is needed cannot be had.
    Configuration,
    /// 502.
    UpstreamUnreachable,
    /// 503: some binding cannot be had (`/readyz` alone).
    NotReady,
    /// 504.
    UpstreamTimedOut,
}

/// A refusal, with what the log says about it and the caller is not told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What the caller is told.
    pub refusal: Refusal,
    /// A short name for what went wrong: the kind of error in the log.
    pub kind: Cow<'static, str>,
    /// What an operator needs to mend it.
    pub cause: Option<String>,
}

/// An answer of the Worker's own, before it becomes the runtime's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Headers beside those that every answer has.
    pub headers: Vec<(&'static str, String)>,
    /// The envelope, as JSON text.
    pub body: String,
}

impl Refusal {
    fn status_code_message(&self) -> (u16, u32, &str) {
        match self {
            Self::BadRequest(message) => (400, 40001, message),
            Self::Unauthenticated => (401, 40101, "Authentication required"),
            Self::PathNotAllowed => (403, 40301, "Path not allowed"),
            Self::NotFound => (404, 40401, "Not found"),
            Self::MethodNotAllowed(_) => (405, 40501, "Method not allowed"),
            Self::TooLarge => (413, 41301, "Too large"),
            Self::CallerGone => (499, 49901, "Caller gone"),
            Self::Configuration => (500, 50001, "Configuration error"),
            Self::UpstreamUnreachable => (502, 50201, "Upstream unreachable"),
            Self::NotReady => (503, 50301, "Not ready"),
            Self::UpstreamTimedOut => (504, 50401, "Upstream timed out"),
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::BadRequest(_) => "bad_request",
            Self::Unauthenticated => "unauthenticated",
            Self::PathNotAllowed => "path_not_allowed",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed(_) => "method_not_allowed",
            Self::TooLarge => "too_large",
            Self::CallerGone => "caller_gone",
            Self::Configuration => "configuration",
            Self::UpstreamUnreachable => "upstream_unreachable",
            Self::NotReady => "not_ready",
            Self::UpstreamTimedOut => "upstream_timed_out",
        }
    }

    /// The answer that tells the caller.
    pub fn answer(&self) -> Answer {
        self.answer_with(None)
    }

    /// The same, with a result beside the error, as JSON text.
    pub fn answer_with(&self, result: Option<String>) -> Answer {
        let mut envelope =
            vec![("success", "false".to_owned()), ("errors", list(vec![self.error()]))];
        envelope.extend(result.map(|result| ("result", result)));
        self.answer_of(&envelope)
    }

    /// The answer for a client of the Secrets Store REST API: the envelope in full, as that API has
    /// it, and before our own error what the API itself says to the same, which such a client knows.
    #[cfg(feature = "rest-api")]
    pub fn answer_in_full(&self, reported: &[Reported]) -> Answer {
        let mut errors: Vec<String> =
            reported.iter().map(|it| error(it.code, &it.message)).collect();
        if matches!(self, Self::Unauthenticated | Self::PathNotAllowed) {
            errors.push(error(10000, "Authentication error"));
        }
        errors.push(self.error());
        self.answer_of(&[
            ("success", "false".to_owned()),
            ("errors", list(errors)),
            ("messages", list(Vec::new())),
            ("result", "null".to_owned()),
        ])
    }

    fn error(&self) -> String {
        let (_, code, message) = self.status_code_message();
        error(code, message)
    }

    fn answer_of(&self, envelope: &[(&str, String)]) -> Answer {
        let (status, ..) = self.status_code_message();
        let headers = match self {
            // RFC 9110, section 11.6.1: a 401 says how to authenticate. The realm tells nothing.
            Self::Unauthenticated => {
                vec![("www-authenticate", "Bearer realm=\"gateway\"".to_owned())]
            }
            Self::MethodNotAllowed(allow) => vec![("allow", allow.clone())],
            _ => Vec::new(),
        };
        Answer { status, headers, body: table(envelope) }
    }

    /// This refusal as a failure with a cause.
    pub fn because(self, cause: impl ToString) -> Failure {
        Failure { cause: Some(cause.to_string()), ..self.into() }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let kind = refusal.kind().into();
        Self { refusal, kind, cause: None }
    }
}

/// A secret that is needed cannot be had: the caller learns no more than that.
impl From<SecretErrors> for Failure {
    fn from(errors: SecretErrors) -> Self {
        let failure = Refusal::Configuration.because(&errors);
        match errors.0.first() {
            Some(first) => Self { kind: format!("secret_{}", first.kind.code()).into(), ..failure },
            None => failure,
        }
    }
}

impl Answer {
    /// 200, with a result, as JSON text.
    pub fn success(result: String) -> Self {
        let body = table(&[("success", "true".to_owned()), ("result", result)]);
        Self { status: 200, headers: Vec::new(), body }
    }
}

fn error(code: u32, message: &str) -> String {
    table(&[("code", code.to_string()), ("message", quoted(message))])
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::secrets::{ErrorKind, SecretError};

    #[test]
    fn every_refusal_has_the_status_code_and_message_of_the_contract() {
        for (refusal, status, code, message) in [
            (
                Refusal::BadRequest("requests: is required".into()),
                400,
                40001,
                "requests: is required",
            ),
            (Refusal::Unauthenticated, 401, 40101, "Authentication required"),
            (Refusal::PathNotAllowed, 403, 40301, "Path not allowed"),
            (Refusal::NotFound, 404, 40401, "Not found"),
            (Refusal::MethodNotAllowed("GET".into()), 405, 40501, "Method not allowed"),
            (Refusal::TooLarge, 413, 41301, "Too large"),
            (Refusal::Configuration, 500, 50001, "Configuration error"),
            (Refusal::UpstreamUnreachable, 502, 50201, "Upstream unreachable"),
            (Refusal::NotReady, 503, 50301, "Not ready"),
            (Refusal::UpstreamTimedOut, 504, 50401, "Upstream timed out"),
        ] {
            let answer = refusal.answer();
            assert_eq!(answer.status, status);
            assert_eq!(
                serde_json::from_str::<Value>(&answer.body).unwrap(),
                json!({ "success": false, "errors": [{ "code": code, "message": message }] })
            );
        }
    }

    #[test]
    fn a_401_says_how_to_authenticate_and_a_405_what_is_allowed() {
        let names = |answer: Answer| answer.headers.into_iter().next().unwrap();
        assert_eq!(
            names(Refusal::Unauthenticated.answer()),
            ("www-authenticate", "Bearer realm=\"gateway\"".to_owned())
        );
        assert_eq!(
            names(Refusal::MethodNotAllowed("GET, HEAD".into()).answer()),
            ("allow", "GET, HEAD".to_owned())
        );
    }

    #[cfg(feature = "rest-api")]
    #[test]
    fn a_client_of_the_rest_api_gets_its_envelope_in_full() {
        let errors = |refusal: Refusal, reported: &[Reported]| {
            let answer = refusal.answer_in_full(reported);
            let body: Value = serde_json::from_str(&answer.body).unwrap();
            let rest = json!({ "success": body["success"], "messages": body["messages"] });
            assert_eq!(rest, json!({ "success": false, "messages": [] }));
            assert!(body.get("result").is_some_and(Value::is_null));
            assert_eq!((answer.status, answer.headers), {
                let own = refusal.answer();
                (own.status, own.headers)
            });
            let errors = body["errors"].as_array().unwrap().clone();
            errors.iter().map(|it| format!("{} {}", it["code"], it["message"])).collect::<Vec<_>>()
        };
        assert_eq!(
            errors(Refusal::Unauthenticated, &[]),
            [r#"10000 "Authentication error""#, r#"40101 "Authentication required""#]
        );
        assert_eq!(
            errors(Refusal::PathNotAllowed, &[]),
            [r#"10000 "Authentication error""#, r#"40301 "Path not allowed""#]
        );
        assert_eq!(
            errors(
                Refusal::BadRequest("name: must not be empty".into()),
                &[Reported::known(1001, "secret_name_empty")]
            ),
            [r#"1001 "secret_name_empty""#, r#"40001 "name: must not be empty""#]
        );
        assert_eq!(errors(Refusal::Configuration, &[]), [r#"50001 "Configuration error""#]);
    }

    #[test]
    fn a_failed_secret_is_named_in_the_log_and_not_to_the_caller() {
        let error = SecretError { binding: "API_KEY".into(), kind: ErrorKind::Null };
        let failure = Failure::from(SecretErrors::from(error));
        assert_eq!(failure.kind, "secret_null");
        assert!(failure.cause.unwrap().contains("API_KEY"));
        assert!(!failure.refusal.answer().body.contains("API_KEY"));
    }

    #[test]
    fn success_carries_its_result() {
        let body: Value = serde_json::from_str(&Answer::success("[1]".to_owned()).body).unwrap();
        assert_eq!(body, json!({ "success": true, "result": [1] }));
    }
}
