//! A Cloudflare Worker that keeps API credentials in Secrets Store and lends them to callers one
//! request at a time.
//!
//! [`secrets`] is the part to reuse; `secrets_store_api` is the REST API, and a package of its own.
//! The rest is the gateway: `router` says which way a request goes, `gateway` what happens on it,
//! `config` what can be set, `response` what the Worker itself answers.

mod allocator;
mod config;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod gateway;
mod json;
mod log;
mod response;
mod router;
mod runtime;
pub mod secrets;
mod status_page;

use std::convert::Infallible;

use worker::{
    Context, Env, event,
    web_sys::{Request, Response},
};

/// Runs once an isolate: makes a panic readable in the log.
#[event(start)]
fn start() {
    console_error_panic_hook::set_once();
}

/// Runs for each request.
#[event(fetch)]
async fn fetch(request: Request, env: Env, _: Context) -> Result<Response, Infallible> {
    Ok(router::respond(request, env).await)
}
