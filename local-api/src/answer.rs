//! What every answer is: the envelope, and the errors with their codes.

use std::borrow::Cow;

use axum::{
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use crate::list::{Page, ResultInfo};

/// What a handler comes to.
pub(crate) type Answer = Result<Response, ApiError>;

#[derive(Serialize)]
struct Envelope<T> {
    success: bool,
    errors: Vec<Told>,
    messages: [(); 0],
    result: Option<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result_info: Option<ResultInfo>,
}

#[derive(Debug, Serialize)]
struct Told {
    code: u32,
    message: Cow<'static, str>,
}

/// A refusal. It is made by one of the functions below, which are all there are.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    told: Told,
}

/// Success with one thing, or with `()` for none.
pub(crate) fn success(result: impl Serialize) -> Answer {
    Ok(respond(StatusCode::OK, Vec::new(), Some(result), None))
}

/// Success with a page of a list.
pub(crate) fn success_page<T: Serialize>(page: Page<T>) -> Answer {
    Ok(respond(StatusCode::OK, Vec::new(), Some(page.items), Some(page.info)))
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        respond(self.status, vec![self.told], None::<()>, None)
    }
}

fn respond<T: Serialize>(
    status: StatusCode,
    errors: Vec<Told>,
    result: Option<T>,
    result_info: Option<ResultInfo>,
) -> Response {
    let success = errors.is_empty();
    let envelope = Envelope { success, errors, messages: [], result, result_info };
    // It fails for a clock past the year 9999 alone.
    let body = serde_json::to_vec(&envelope).unwrap_or_default();
    (status, [(CONTENT_TYPE, "application/json")], body).into_response()
}

/// Makes a function for each refusal: its name, status, code and message.
macro_rules! errors {
    ($($(#[$doc:meta])* $name:ident => $status:ident, $code:literal, $message:literal;)*) => {$(
        $(#[$doc])*
        pub(crate) fn $name() -> ApiError {
            error(StatusCode::$status, $code, $message)
        }
    )*};
}

// Codes and messages are those of the real API; so is the status, but for 1003 and 7003, where it
// is assumed.
errors! {
    store_not_found => NOT_FOUND, 1001, "store_not_found";
    secret_not_found => NOT_FOUND, 1001, "secret_not_found";
    secret_name_empty => BAD_REQUEST, 1001, "secret_name_empty";
    secret_scopes_empty => BAD_REQUEST, 1001, "secret_scopes_empty";
    secret_scope_invalid => BAD_REQUEST, 1001, "secret_scope_invalid";
    invalid_json_body => BAD_REQUEST, 1001, "invalid_json_body";
    secret_name_already_exists => CONFLICT, 1003, "secret_name_already_exists";
    maximum_stores_exceeded => CONFLICT, 1003, "maximum_stores_exceeded";
    /// The code is assumed, the status is not.
    store_not_empty => CONFLICT, 1003, "store_not_empty";
    could_not_route => BAD_REQUEST, 7003, "could not route: is the account's id right?";
    /// For an empty id in the path; assumed for every other path that there is not.
    not_found => NOT_FOUND, 1000, "not found";
    /// No token or a wrong one. The real API answers 401 or 403: which of them when is assumed.
    authentication_error => UNAUTHORIZED, 10000, "Authentication error";
    /// Another account; assumed.
    foreign_account => FORBIDDEN, 10000, "Authentication error";
}

// No source says how the real API refuses these: all of it is assumed.
errors! {
    maximum_secrets_exceeded => CONFLICT, 1003, "maximum_secrets_exceeded";
    store_name_empty => BAD_REQUEST, 1001, "store_name_empty";
    secret_name_invalid => BAD_REQUEST, 1001, "secret_name_invalid";
    secret_value_empty => BAD_REQUEST, 1001, "secret_value_empty";
    secret_value_too_large => BAD_REQUEST, 1001, "secret_value_too_large";
    secret_ids_empty => BAD_REQUEST, 1001, "secret_ids_empty";
    nothing_to_update => BAD_REQUEST, 1001, "nothing_to_update";
    body_too_large => PAYLOAD_TOO_LARGE, 1001, "request_body_too_large";
    method_not_allowed => METHOD_NOT_ALLOWED, 10405, "Method not allowed";
    /// The data file cannot be written.
    not_saved => INTERNAL_SERVER_ERROR, 10500,
        "not_saved: nothing was changed; the reason is in the server's output";
    /// A mistake of this program.
    internal_error => INTERNAL_SERVER_ERROR, 10500, "internal_error";
}

/// A parameter of the query is not as it should be. Assumed.
pub(crate) fn invalid_parameter(name: &str) -> ApiError {
    error(StatusCode::BAD_REQUEST, 1001, format!("invalid_parameter: {name}"))
}

/// wrangler's local store could not follow. Assumed.
pub(crate) fn mirror_failed(secret: &str) -> ApiError {
    let message = format!(
        "mirror_failed: wrangler's local store could not follow with {secret}; nothing was changed \
         here, so try again; the reason is in the server's output"
    );
    error(StatusCode::INTERNAL_SERVER_ERROR, 10500, message)
}

fn error(status: StatusCode, code: u32, message: impl Into<Cow<'static, str>>) -> ApiError {
    ApiError { status, told: Told { code, message: message.into() } }
}
