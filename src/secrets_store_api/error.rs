//! What can go wrong: before a request is sent, and in the answer to it.

use std::{borrow::Cow, fmt, time::Duration};

use serde_json::Value;

/// Why an operation is not sent: all that is wrong with it; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid(pub Vec<Mistake>);

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where, as in the request's JSON: `name`, or `[1].scopes[0]` in a batch.
    pub field: String,
    /// What, and what it should be. It quotes nothing.
    pub what: &'static str,
    /// What the API says to it, where that is known.
    pub reported: Option<Reported>,
}

/// An error as the API reports it. Several meanings share a code; the message tells them apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reported {
    /// Its number; 0 where the API gives none.
    pub code: u32,
    /// Its text, such as `secret_not_found`.
    pub message: Cow<'static, str>,
}

impl Reported {
    /// An error that the API is known to report.
    pub const fn known(code: u32, message: &'static str) -> Self {
        Self { code, message: Cow::Borrowed(message) }
    }

    pub(super) fn read(error: &Value) -> Self {
        let code = error.get("code").and_then(Value::as_u64).and_then(|it| it.try_into().ok());
        let message = error.get("message").and_then(Value::as_str).unwrap_or_default().to_owned();
        Self { code: code.unwrap_or_default(), message: message.into() }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.what)
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_list(f, &self.0)
    }
}

impl std::error::Error for Invalid {}

impl fmt::Display for Reported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

/// Why an operation did not succeed, as the API answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// There is no such store.
    #[error(
        "the account has no such store; `wrangler secrets-store store list --remote` shows them"
    )]
    StoreNotFound,
    /// There is no such secret.
    #[error("the store has no such secret")]
    SecretNotFound,
    /// A secret of this name is there already.
    #[error("the store has a secret of this name already")]
    NameTaken,
    /// The account's quota of secrets is used up.
    #[error("the account's quota of secrets is used up")]
    OverQuota,
    /// The account has as many stores as it may have.
    #[error("the account has as many stores as it may have")]
    MaximumOfStores,
    /// The store has secrets, and `force` was not set.
    #[error("the store is not empty; delete it with force to delete its secrets too")]
    StoreNotEmpty,
    /// The API refuses the input.
    #[error("the API refuses the input: {0}")]
    BadInput(Reported),
    /// The token is wrong, or may not do this.
    #[error(
        "the API token is wrong, or lacks the permission Secrets Store Edit (or Read) for this \
         account; the API reports: {}",
        List(reported)
    )]
    NotAuthorized {
        /// What it reports; never empty.
        reported: Vec<Reported>,
    },
    /// Too many requests.
    #[error("too many requests; {}", wait.map_or("try again later".to_owned(), |it| format!("try again in {} s", it.as_secs())))]
    RateLimited {
        /// How long to wait, where the answer says it in seconds.
        wait: Option<Duration>,
    },
    /// The answer is none of the API's: a proxy's page, a body that was cut short.
    #[error("the answer is none of the Secrets Store API's (status {status})")]
    NotAnAnswer {
        /// Its HTTP status.
        status: u16,
    },
    /// Anything else that the API reports.
    #[error("the API reports (status {status}): {}", List(reported))]
    Other {
        /// The answer's HTTP status.
        status: u16,
        /// What it reports; never empty.
        reported: Vec<Reported>,
    },
}

impl ApiError {
    /// Reads it from an answer that is no success. `reported` is empty where the answer is not the
    /// API's envelope.
    pub(super) fn of(status: u16, retry_after: Option<&str>, reported: Vec<Reported>) -> Self {
        if status == 429 {
            // RFC 9110, section 10.2.3. The date form would need a clock; the API sends seconds.
            let seconds = retry_after.and_then(|value| value.trim().parse().ok());
            return Self::RateLimited { wait: seconds.map(Duration::from_secs) };
        }
        if let Some(known) = reported.iter().find_map(Self::known) {
            return known;
        }
        let says = |words: &str| reported.iter().any(|it| it.message.contains(words));
        match (status, reported.first()) {
            (_, None) => Self::NotAnAnswer { status },
            (401 | 403, _) => Self::NotAuthorized { reported },
            _ if says("Authentication error") => Self::NotAuthorized { reported },
            (400, Some(first)) => Self::BadInput(first.clone()),
            (_, Some(first)) if matches!(first.code, 1001 | 7003) => Self::BadInput(first.clone()),
            _ => Self::Other { status, reported },
        }
    }

    /// What one reported error means. Codes are shared, so the message decides.
    fn known(reported: &Reported) -> Option<Self> {
        let says = |words: &[&str]| words.iter().any(|word| reported.message.contains(word));
        Some(if says(&["store_not_found"]) {
            Self::StoreNotFound
        } else if says(&["secret_not_found"]) {
            Self::SecretNotFound
        } else if says(&["secret_name_already_exists", "Name exists", "already exists"]) {
            Self::NameTaken
        } else if says(&["maximum_secrets_exceeded"]) {
            Self::OverQuota
        } else if says(&["maximum_stores_exceeded"]) {
            Self::MaximumOfStores
        } else if says(&["store_not_empty"]) {
            Self::StoreNotEmpty
        } else {
            return None;
        })
    }
}

/// Several things, one after the other.
struct List<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_list(f, self.0)
    }
}

/// How many items of a list are written out: an input may have thousands of mistakes.
const MAX_LISTED: usize = 20;

fn write_list(f: &mut fmt::Formatter<'_>, items: &[impl fmt::Display]) -> fmt::Result {
    for (index, item) in items.iter().take(MAX_LISTED).enumerate() {
        if index > 0 {
            f.write_str("; ")?;
        }
        item.fmt(f)?;
    }
    match items.len().saturating_sub(MAX_LISTED) {
        0 => Ok(()),
        more => write!(f, "; and {more} more"),
    }
}
