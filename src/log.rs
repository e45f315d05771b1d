//! One JSON line a request.

use serde::Serialize;

/// What is logged of a request: chosen fields, and never a header, a query or a body.
#[derive(Debug, Default, Serialize)]
pub struct Line<'a> {
    /// As in `x-request-id`.
    pub request_id: &'a str,
    /// Which route it took.
    pub route: &'static str,
    /// Which upstream it was for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<&'a str>,
    /// The binding of the token that admitted the caller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<&'a str>,
    /// The answer's status.
    pub status: u16,
    /// Milliseconds from the request's arrival to the answer's headers.
    pub ms: u64,
    /// How often it was sent again, with a fallback's value.
    #[serde(skip_serializing_if = "is_zero")]
    pub retries: u32,
    /// The kind of error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'a str>,
    /// What an operator needs to mend it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<&'a str>,
}

impl Line<'_> {
    /// Writes it, on one level whatever it says: `wrangler dev` decorates an error, and then the
    /// line is no JSON.
    pub fn write(&self) {
        worker::console_log!("{}", serde_json::to_string(self).unwrap_or_default());
    }
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}
