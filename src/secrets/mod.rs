//! Reading secrets in a Worker: the patterns of the Secrets Store binding API.
//!
//! A `[[secrets_store_secrets]]` entry in `wrangler.toml` puts an object on `env`. The value is not
//! on it: it comes from an asynchronous `get()`, which throws when the secret cannot be had. This
//! module makes of that a typed API, each pattern a few lines to call. There is no HTTP in it and
//! nothing of the gateway around it, so that you can copy the folder into your own Worker: the
//! gateway's README has what it stands on, its `docs/binding-api.md` the anti-patterns and the most
//! common error messages.
//!
//! # One secret
//!
//! ```no_run
//! # use secrets_store_gateway::secrets;
//! use secrets::Secrets;
//! use worker::{Env, Headers, Result};
//! use zeroize::Zeroizing;
//!
//! async fn authorize(secrets: &Secrets, headers: &mut Headers) -> Result<()> {
//!     let key = secrets.get("API_KEY").await?;
//!     headers.set("Authorization", &Zeroizing::new(format!("Bearer {}", *key.expose_secret())))
//! }
//!
//! # async fn example(env: Env, mut headers: Headers) -> Result<()> {
//! let secrets = Secrets::new(env); // once for each request
//! authorize(&secrets, &mut headers).await?;
//! authorize(&secrets, &mut headers).await?; // does no second `get()`: that is the request's cache
//! # Ok(()) }
//! ```
//!
//! [`get`](Secrets::get) wants a value that a header can carry unchanged, so that a line break from a
//! file is found at once. [`get_text`](Secrets::get_text) takes any text, a PEM key say, and
//! [`get_json`](Secrets::get_json) parses it.
//!
//! # Errors
//!
//! Each way to fail is an [`ErrorKind`] of its own, whose text names the binding and what mends it. It is
//! for the log; the caller is told that the configuration is wrong, and no more.
//!
//! ```no_run
//! # use secrets_store_gateway::secrets::{Secret, Secrets};
//! # use worker::{Response, Result, console_error};
//! # async fn call_upstream(key: &Secret) -> Result<Response> { Response::empty() }
//! # async fn example(secrets: Secrets) -> Result<Response> {
//! match secrets.get("API_KEY").await {
//!     Ok(key) => call_upstream(&key).await,
//!     Err(error) => {
//!         console_error!("{error}"); // binding `API_KEY`: the store has no such secret; …
//!         Response::error("Configuration error", 500)
//!     }
//! }
//! # }
//! ```
//!
//! # Fallback
//!
//! The fallback is fetched only when the primary secret fails; when both fail, the error tells both.
//!
//! ```no_run
//! # use secrets_store_gateway::secrets::{SecretErrors, Secrets};
//! # async fn example(secrets: Secrets) -> Result<(), SecretErrors> {
//! let key = secrets.get_with_fallback("API_KEY", Some("API_KEY_PREVIOUS")).await?;
//! # Ok(()) }
//! ```
//!
//! # Batch
//!
//! Many at once, in parallel: all or nothing, with an error that lists every binding that failed;
//! or settled, with a result for each. Where different things are needed together, put
//! `futures::join!` around them.
//!
//! ```no_run
//! # use secrets_store_gateway::secrets::{SecretErrors, Secrets};
//! # async fn example(secrets: Secrets) -> Result<(), SecretErrors> {
//! let [id, key] = secrets.get_all(["CLIENT_ID", "CLIENT_SECRET"]).await?;
//!
//! for result in secrets.get_all_settled(["PRIMARY", "SECONDARY", "TERTIARY"]).await {
//!     match result {
//!         Ok(secret) => drop(secret),
//!         Err(error) => worker::console_error!("{error}"), // names the binding, never the value
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! # Typed
//!
//! A struct whose fields are bindings, every field fetched in parallel. `Option` allows one to be
//! missing; a secret that holds JSON is parsed into a type of its own.
//!
//! ```no_run
//! # use secrets_store_gateway::secrets;
//! use secrets::{Secret, SecretErrors, Secrets};
//! use serde::Deserialize;
//!
//! #[derive(Deserialize)]
//! #[serde(rename_all = "SCREAMING_SNAKE_CASE")]
//! struct Keys {
//!     api_key: Secret,
//!     api_key_previous: Option<Secret>,
//!     service_account: ServiceAccount,
//! }
//!
//! #[derive(Deserialize)]
//! struct ServiceAccount {
//!     client_email: String,
//!     private_key: Secret,
//! }
//!
//! # async fn example(secrets: Secrets) -> Result<(), SecretErrors> {
//! let keys: Keys = secrets.load().await?;
//! # Ok(()) }
//! ```
//!
//! # Rules
//!
//! - **A request's scope.** [`Secrets`] is made for one request and dropped with it. It does one
//!   `get()` for a binding however often it is asked, and no value outlives it: one that changes
//!   in the store is used by the very next request. Put none of this into a `static`.
//! - **Every failure is an error.** [`ErrorKind`] tells them apart, a `get()` has [`GET_TIMEOUT`],
//!   and no odd value is silently mended.
//! - **A value is a [`Secret`].** It prints as redacted. [`Secret::expose_secret`] copies it out, and
//!   the copy is wiped; [`Secret::expose_js_string`] hands it to the runtime without one.
//! - **Store or plain, one name.** A plain Worker secret (`wrangler secret put`) answers under the
//!   same calls, so moving one to Secrets Store changes no code.
//! - **Tests need no platform.** [`Environment`] is `env` in a Worker, and whatever you like in a
//!   test.

mod binding;
mod error;
mod intern;
mod join;
mod once;
mod platform;
mod scope;
mod secret;
#[cfg(test)]
mod tests;
mod typed;

pub(crate) use self::intern::interned;
pub use self::{
    binding::{Binding, Environment},
    error::{Cause, ErrorKind, Flaw, SecretError, SecretErrors},
    join::join_all,
    platform::PlatformBinding,
    scope::{GET_TIMEOUT, Secrets, with_fallback},
    secret::Secret,
};
