//! The load, by autocannon.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::scenario::{Body, Scenario};
use crate::{process, root, tools::Tools};

/// What autocannon saw.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// The median time to the end of an answer, in milliseconds.
    pub p50_ms: f64,
    /// What 99 of 100 answers took at most, in milliseconds.
    pub p99_ms: f64,
    /// From the first request to the last answer, in seconds.
    pub seconds: f64,
}

/// Throws `requests` of a scenario at `address`.
///
/// # Errors
///
/// Where one of them got no answer or another status.
pub fn throw(
    tools: &Tools,
    folder: &Path,
    scenario: &Scenario,
    requests: u32,
    address: &str,
) -> Result<Seen> {
    let mut command = tools.command("node");
    command
        .arg(root().join("bench/node_modules/autocannon/autocannon.js"))
        .args(["--json", "--no-progress", "--timeout", "60", "--method", scenario.method])
        .args(["--connections", &scenario.connections.min(requests).to_string()])
        .args(["--amount", &requests.to_string()]);
    for header in scenario.headers() {
        command.args(["--headers", &header]);
    }
    if let Some(file) = body(folder, scenario)? {
        command.arg("--input").arg(file);
    }
    command.arg(format!("{address}{}", scenario.path));
    let text = process::output("autocannon", &mut command, "Its message is above")?;
    let seen: Value = serde_json::from_str(text.trim())
        .with_context(|| format!("autocannon printed no JSON: {text}"))?;
    let number = |path: &str| seen.pointer(path).and_then(Value::as_f64).unwrap_or_default();
    let answered = number(&format!("/statusCodeStats/{}/count", scenario.status));
    ensure!(
        answered == f64::from(requests),
        "{}: {answered} of {requests} answers had status {}: {}",
        scenario.name,
        scenario.status,
        seen.get("statusCodeStats").cloned().unwrap_or_default()
    );
    Ok(Seen {
        p50_ms: number("/latency/p50"),
        p99_ms: number("/latency/p99"),
        seconds: number("/duration"),
    })
}

/// A file with what a request sends.
fn body(folder: &Path, scenario: &Scenario) -> Result<Option<PathBuf>> {
    let (name, bytes) = match &scenario.body {
        Body::None => return Ok(None),
        Body::Bytes(count) => (format!("body-{count}"), vec![b'x'; *count]),
        Body::Json(text) => (format!("body-{}.json", text.len()), text.clone().into_bytes()),
    };
    let file = folder.join(name);
    if !file.is_file() {
        fs::write(&file, bytes).context("cannot write a request's body")?;
    }
    Ok(Some(file))
}
