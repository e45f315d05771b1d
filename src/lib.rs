//! A Cloudflare Worker that keeps API credentials in Secrets Store and lends them to callers one
//! request at a time.
//!
//! To read secrets in a Worker of your own, begin with [`secrets`]: it teaches each pattern of the
//! binding API, and its folder is there to be copied. `secrets_store_api`, a package of its own, is
//! for whoever creates and rotates secrets over REST.
//!
//! To see the gateway run: `cargo xtask dev`, which prints a `curl` line that works. `README.md` goes
//! on from there, and `docs/` has every setting.
//!
//! To read its code, follow a request:
//!
//! | module | what it knows |
//! | --- | --- |
//! | this one | the two events, start and fetch |
//! | `router` | which way a request goes, and the one log line |
//! | `config` | what can be set, and what is wrong with it |
//! | `gateway` | callers, credentials, forwarding, batches; `/readyz` and the REST API for admins |
//! | `response` | every answer of the Worker's own, with its code |
//! | `runtime` | the JavaScript side: all else decides over plain values |

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
