//! One JSON line a request.

use crate::json::{quoted, table};

/// What is logged of a request: chosen fields, and never a header, a query or a body.
#[derive(Debug)]
pub struct Line<'a> {
    /// As in `x-request-id`.
    pub request_id: &'a str,
    /// Which route it took.
    pub route: &'static str,
    /// Which upstream it was for.
    pub upstream: Option<&'a str>,
    /// The binding of the token that admitted the caller.
    pub caller: Option<&'a str>,
    /// The answer's status.
    pub status: u16,
    /// Milliseconds from the request's arrival to the answer's headers.
    pub ms: u64,
    /// How often it was sent again, with a fallback's value.
    pub retries: u32,
    /// The kind of error.
    pub error: Option<&'a str>,
    /// What an operator needs to mend it.
    pub cause: Option<&'a str>,
}

impl Line<'_> {
    /// Writes it, on one level whatever it says: `wrangler dev` decorates an error, and then the
    /// line is no JSON.
    pub fn write(&self) {
        let fields = [
            ("request_id", Some(quoted(self.request_id))),
            ("route", Some(quoted(self.route))),
            ("upstream", self.upstream.map(quoted)),
            ("caller", self.caller.map(quoted)),
            ("status", Some(self.status.to_string())),
            ("ms", Some(self.ms.to_string())),
            ("retries", (self.retries > 0).then(|| self.retries.to_string())),
            ("error", self.error.map(quoted)),
            ("cause", self.cause.map(quoted)),
        ];
        let known = fields.into_iter().filter_map(|(name, value)| Some((name, value?)));
        worker::console_log!("{}", table(&known.collect::<Vec<_>>()));
    }
}
