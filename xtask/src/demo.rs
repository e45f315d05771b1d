//! The demo upstream: an HTTP API that answers to the right credential only.

use std::net::{SocketAddr, TcpListener};

use anyhow::Result;
use axum::{
    Json, Router,
    extract::Request,
    http::{StatusCode, header::AUTHORIZATION},
    routing::any,
};
use serde_json::{Value, json};

/// Starts it, and answers where it listens. It runs until the process ends.
///
/// # Errors
///
/// Where the listener cannot be used.
pub fn start(listener: TcpListener, api_key: &str) -> Result<SocketAddr> {
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
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
    Ok(address)
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
