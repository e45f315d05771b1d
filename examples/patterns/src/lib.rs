//! The patterns of the Secrets Store binding API, each as a route of a small Worker.
//!
//! It uses `src/secrets/` and `src/allocator.rs` as your Worker would, copied into it (here by their
//! paths, so that there is one copy), and the plain `worker` API beside them.

#[path = "../../../src/allocator.rs"]
mod allocator;
#[path = "../../../src/secrets/mod.rs"]
pub mod secrets;

use futures::try_join;
use serde::Deserialize;
use worker::{
    Context, Env, Fetch, Headers, Request, RequestInit, Response, Result, console_error, event,
};
use zeroize::Zeroizing;

use self::secrets::{Secret, Secrets};

#[event(fetch)]
async fn fetch(request: Request, env: Env, _: Context) -> Result<Response> {
    let upstream = env.var("UPSTREAM")?.to_string();
    // One for each request, and never in a `static`: the next request sees what has changed.
    let secrets = Secrets::new(env);
    let answer = match request.path().as_str() {
        "/basic" => basic(&secrets, &upstream).await,
        "/fallback" => fallback(&secrets, &upstream).await,
        "/batch" => batch(&secrets, &upstream).await,
        "/settled" => settled(&secrets).await,
        "/request-scope" => request_scope(&secrets, &upstream).await,
        "/json" => json(&secrets, &upstream).await,
        "/typed" => typed(&secrets, &upstream).await,
        _ => Response::error("Not found", 404),
    };
    // Error handling: the log gets the binding's name and what mends it, the caller neither.
    answer.or_else(|error| {
        console_error!("{error}");
        Response::error("Configuration error", 500)
    })
}

/// One secret, in a header of an upstream request.
async fn basic(secrets: &Secrets, upstream: &str) -> Result<Response> {
    let key = secrets.get("API_KEY").await?;
    call(upstream, &[("authorization", "Bearer ", &key)]).await
}

/// The fallback where the primary one fails: while a key is rotated, say.
async fn fallback(secrets: &Secrets, upstream: &str) -> Result<Response> {
    let key = secrets.get_with_fallback("API_KEY_NEXT", Some("API_KEY")).await?;
    call(upstream, &[("authorization", "Bearer ", &key)]).await
}

/// Several at once: all or nothing, and the error names every one that failed.
async fn batch(secrets: &Secrets, upstream: &str) -> Result<Response> {
    let [id, key] = secrets.get_all(["CLIENT_ID", "API_KEY"]).await?;
    call(upstream, &[("x-client-id", "", &id), ("x-api-key", "", &key)]).await
}

/// Several at once, with a result for each.
async fn settled(secrets: &Secrets) -> Result<Response> {
    let results = secrets.get_all_settled(["API_KEY", "API_KEY_NEXT"]).await;
    Response::from_json(&results.iter().map(|it| it.is_ok()).collect::<Vec<_>>())
}

/// Two calls that need the same secret do one `get()`.
async fn request_scope(secrets: &Secrets, upstream: &str) -> Result<Response> {
    let (mut r1, mut r2) = try_join!(basic(secrets, upstream), basic(secrets, upstream))?;
    let (r1, r2): (serde_json::Value, serde_json::Value) = try_join!(r1.json(), r2.json())?;
    Response::from_json(&serde_json::json!({ "r1": r1, "r2": r2 }))
}

/// A secret that holds JSON.
#[derive(Deserialize)]
struct ServiceAccount {
    client_email: Secret,
    private_key: Secret,
}

async fn json(secrets: &Secrets, upstream: &str) -> Result<Response> {
    let account: ServiceAccount = secrets.get_json("SERVICE_ACCOUNT").await?;
    call(upstream, &[("x-email", "", &account.client_email), ("x-key", "", &account.private_key)])
        .await
}

/// A typed environment: the Worker's secrets as the fields of a struct.
#[derive(Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
struct Keys {
    api_key: Secret,
    /// A plain Worker secret (`wrangler secret put`): the same under any name.
    plain: Secret,
    /// May be missing.
    api_key_next: Option<Secret>,
    service_account: ServiceAccount,
}

async fn typed(secrets: &Secrets, upstream: &str) -> Result<Response> {
    let keys: Keys = secrets.load().await?;
    let next = keys.api_key_next.unwrap_or_else(|| keys.api_key.clone());
    call(
        upstream,
        &[
            ("x-api-key", "", &keys.api_key),
            ("x-plain", "", &keys.plain),
            ("x-next", "", &next),
            ("x-key", "", &keys.service_account.private_key),
        ],
    )
    .await
}

/// Calls the upstream with secrets as headers: name, prefix, secret.
async fn call(upstream: &str, credentials: &[(&str, &str, &Secret)]) -> Result<Response> {
    let request = {
        let headers = Headers::new();
        for (name, prefix, secret) in credentials {
            let value = Zeroizing::new([prefix, secret.expose_secret().as_str()].concat());
            headers.set(name, &value)?;
        }
        Request::new_with_init(upstream, RequestInit::new().with_headers(headers))?
    };
    Fetch::Request(request).send().await
}
