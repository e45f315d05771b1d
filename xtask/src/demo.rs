//! The demo upstream: an HTTP API that answers to the right credential only.

use std::net::TcpListener;

use anyhow::{Context as _, Result};
use axum::{
    Json, Router,
    extract::Request,
    http::{StatusCode, header::AUTHORIZATION},
    routing::any,
};
use serde_json::{Value, json};

use crate::{dev::StandIn, step, store::Development};

/// Plays the upstream `demo` of wrangler.toml, until the process ends.
///
/// # Errors
///
/// Where it has no credential, or no port is free.
pub fn play(development: &Development) -> Result<Option<StandIn>> {
    let Some(demo) = development.upstreams().find(|upstream| upstream.name == "demo") else {
        return Ok(None);
    };
    let key = demo.secret.context(
        "the upstream `demo` of wrangler.toml has no credential that `cargo xtask dev` could ask \
         for; give it one, or another name",
    );
    let listening = StandIn::listen(("UPSTREAMS", Some("demo")), demo.base_url)?;
    let Some((listener, stand_in)) = listening else { return Ok(None) };
    start(listener, development.value(key?)?)?;
    step(&format!("the demo upstream, on http://{}", stand_in.address()));
    Ok(Some(stand_in))
}

fn start(listener: TcpListener, api_key: &str) -> Result<()> {
    listener.set_nonblocking(true)?;
    let authorization = format!("Bearer {api_key}");
    let router =
        Router::new().fallback(any(move |request: Request| answer(request, authorization)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            axum::serve(listener, router).await
        })
    });
    Ok(())
}

async fn answer(request: Request, authorization: String) -> (StatusCode, Json<Value>) {
    let shown = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    if shown != Some(authorization.as_str()) {
        let told = json!({ "error": "the demo upstream wants its API key" });
        return (StatusCode::UNAUTHORIZED, Json(told));
    }
    let told = json!({
        "message": "the demo upstream got the right API key, which you never saw",
        "method": request.method().as_str(),
        "path": request.uri().to_string(),
    });
    (StatusCode::OK, Json(told))
}
