//! What can go wrong with a secret, as types.

use std::fmt;

/// One binding whose value could not be had. It names the binding and never the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("binding `{binding}`: {kind}")]
pub struct SecretError {
    /// The name on `env`.
    pub binding: String,
    /// What is wrong with it.
    pub kind: ErrorKind,
}

/// The kinds of failure. Each message says what mends it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ErrorKind {
    /// `env` has nothing under this name.
    #[error(
        "nothing is bound under this name; add it to [[secrets_store_secrets]] in wrangler.toml \
         (for each [env.*] too, bindings are not inherited) or run `wrangler secret put`"
    )]
    NotBound,
    /// Neither a Secrets Store binding nor a string.
    #[error(
        "neither a Secrets Store binding nor a plain secret, or its value is not text; bind a \
         secret under this name, or use another name"
    )]
    WrongKind,
    /// The store has no such secret.
    #[error(
        "the store has no such secret; compare secret_name (case counts) and store_id in \
         wrangler.toml with `wrangler secrets-store secret list`, and create local secrets \
         without --remote"
    )]
    NotFound,
    /// `.get()` threw something else.
    #[error(".get() failed: {0}")]
    Failed(Cause),
    /// `.get()` did not answer within [`GET_TIMEOUT`](super::GET_TIMEOUT).
    #[error(".get() did not answer within 5 s; the store may be unavailable")]
    TimedOut,
    /// `.get()` answered null or undefined.
    #[error(".get() answered null; create the secret again")]
    Null,
    /// The value is an empty string.
    #[error("the value is empty; write the secret again")]
    Empty,
    /// The value would not pass through a header unchanged.
    #[error("not usable in a header: {0}; write the secret again without it")]
    NotHeaderSafe(Flaw),
    /// The value is not the JSON that was asked for.
    #[error("not the JSON that is expected here, line {line}, column {column}")]
    InvalidJson {
        /// The line of the value's text, from 1.
        line: usize,
        /// The column of that line, from 1.
        column: usize,
    },
    /// The Rust type that [`load`](super::Secrets::load) is to fill cannot hold a secret.
    #[error("{0}")]
    UnsupportedType(&'static str),
}

impl ErrorKind {
    /// A short name for logs and for machines.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotBound => "not_bound",
            Self::WrongKind => "wrong_kind",
            Self::NotFound => "not_found",
            Self::Failed(_) => "failed",
            Self::TimedOut => "timed_out",
            Self::Null => "null",
            Self::Empty => "empty",
            Self::NotHeaderSafe(_) => "not_header_safe",
            Self::InvalidJson { .. } => "invalid_json",
            Self::UnsupportedType(_) => "unsupported_type",
        }
    }

    /// Whether there is no secret at all, as opposed to one that cannot be had.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::NotBound | Self::NotFound)
    }
}

/// Why a `.get()` failed, as far as it can be told without quoting the runtime's error text:
/// that text is not ours, and might carry the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// The connection to the store broke.
    #[error("the connection to the store was lost")]
    ConnectionLost,
    /// The platform's own fault.
    #[error("internal error of the platform")]
    Internal,
    /// The Worker used up a limit of the platform, such as subrequests of one request.
    #[error("a limit of the platform was exceeded")]
    LimitExceeded,
    /// The platform refused access.
    #[error("access was refused; does the secret have the scope `workers`?")]
    Forbidden,
    /// Anything else.
    #[error(
        "an error that this Worker does not know (its text is withheld, it might carry the value)"
    )]
    Unknown,
}

impl Cause {
    /// Reads the cause from the text of a JavaScript error.
    pub fn from_message(message: &str) -> Self {
        let message = message.to_ascii_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| contains(&message, word));
        if says(&["connection lost", "disconnected", "connection refused", "connection reset"]) {
            Self::ConnectionLost
        } else if says(&["internal error"]) {
            Self::Internal
        } else if says(&["too many", "limit", "exceeded", "overloaded"]) {
            Self::LimitExceeded
        } else if says(&["forbidden", "not authorized", "unauthorized", "permission", "scope"]) {
            Self::Forbidden
        } else {
            Self::Unknown
        }
    }
}

/// `str::contains`, for the short text of an error. That one is made for long texts, and with what it
/// takes for them it would be 4 KiB of the upload.
pub(super) fn contains(text: &str, words: &str) -> bool {
    let mut begins = text.char_indices();
    begins.any(|(at, _)| text.get(at..).is_some_and(|rest| rest.starts_with(words)))
}

/// What keeps a value from passing through a header unchanged (RFC 9110, section 5.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// White space at its start or end, which is stripped on the way.
    #[error("white space at its start or end, such as a line break from a file")]
    OuterWhiteSpace,
    /// A control character.
    #[error("a control character in it")]
    ControlCharacter,
    /// A character beyond ASCII. The runtime would send it as UTF-8, and put a warning with the
    /// whole value into the log.
    #[error("a character beyond ASCII in it")]
    NotAscii,
    /// U+FFFD, which stands where text could not be decoded.
    #[error("it is not valid text")]
    NotText,
}

impl Flaw {
    /// The first flaw of a value, if it has one.
    pub fn of(value: &str) -> Option<Self> {
        if value.bytes().all(|byte| byte.is_ascii_graphic()) {
            // Most values: the rest is to tell what is wrong.
            None
        } else if value.starts_with(char::is_whitespace) || value.ends_with(char::is_whitespace) {
            Some(Self::OuterWhiteSpace)
        } else if value.contains(char::is_control) {
            Some(Self::ControlCharacter)
        } else if value.chars().any(|c| c == char::REPLACEMENT_CHARACTER) {
            Some(Self::NotText)
        } else if !value.is_ascii() {
            Some(Self::NotAscii)
        } else {
            None
        }
    }
}

/// Every binding that failed where several were asked for; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretErrors(pub Vec<SecretError>);

impl fmt::Display for SecretErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for SecretErrors {}

impl From<SecretError> for SecretErrors {
    fn from(error: SecretError) -> Self {
        Self(vec![error])
    }
}

// So that `?` works in a handler that returns `worker::Result`.
impl From<SecretError> for worker::Error {
    fn from(error: SecretError) -> Self {
        Self::RustError(error.to_string())
    }
}

impl From<SecretErrors> for worker::Error {
    fn from(errors: SecretErrors) -> Self {
        Self::RustError(errors.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_a_header_carries_unchanged_has_no_flaw() {
        for value in ["sk_live_1", "two words", "dGVzdA==", "a:b;c\"d"] {
            assert_eq!(Flaw::of(value), None, "{value}");
        }
    }

    #[test]
    fn each_flaw_is_told_apart() {
        for value in ["key\n", "key\r\n", " key", "key\t", "\u{a0}key"] {
            assert_eq!(Flaw::of(value), Some(Flaw::OuterWhiteSpace), "{value:?}");
        }
        for value in ["a\nb", "a\0b", "a\x7fb", "a\tb", "a\u{85}b"] {
            assert_eq!(Flaw::of(value), Some(Flaw::ControlCharacter), "{value:?}");
        }
        assert_eq!(Flaw::of("a\u{fffd}b"), Some(Flaw::NotText));
        assert_eq!(Flaw::of("пароль"), Some(Flaw::NotAscii));
    }

    #[test]
    fn the_cause_is_read_from_the_platforms_words_and_quotes_none_of_them() {
        for (message, cause) in [
            ("Network connection lost.", Cause::ConnectionLost),
            ("internal error; reference = abc", Cause::Internal),
            ("Too many subrequests.", Cause::LimitExceeded),
            ("Secret lacks the workers scope", Cause::Forbidden),
            ("boom: sk_live_1", Cause::Unknown),
        ] {
            assert_eq!(Cause::from_message(message), cause, "{message}");
            assert!(!cause.to_string().contains("sk_live"));
        }
    }

    #[test]
    fn an_error_names_the_binding_and_what_mends_it() {
        let error = SecretError { binding: "API_KEY".into(), kind: ErrorKind::NotBound };
        assert!(error.to_string().starts_with("binding `API_KEY`: nothing is bound"));
        assert!(error.to_string().contains("[[secrets_store_secrets]]"));
    }

    #[test]
    fn several_errors_are_told_one_after_the_other() {
        let errors = SecretErrors(vec![
            SecretError { binding: "A".into(), kind: ErrorKind::Null },
            SecretError { binding: "B".into(), kind: ErrorKind::Empty },
        ]);
        assert_eq!(
            errors.to_string(),
            "binding `A`: .get() answered null; create the secret again; \
             binding `B`: the value is empty; write the secret again"
        );
    }
}
