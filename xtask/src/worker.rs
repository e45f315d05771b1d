//! A Worker that runs somewhere: whether it is well, and which of its bindings can be had.

use std::{
    collections::BTreeMap,
    fmt,
    ops::ControlFlow,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use secrets_store_api::SecretString;
use serde::Deserialize;

use crate::http::Endpoint;

/// How long an answer may take: as long as the Worker gives the API behind it.
const TIMEOUT: Duration = Duration::from_secs(100);

/// How often a Worker is asked again.
const INTERVAL: Duration = Duration::from_millis(500);

/// A Worker, and perhaps the token of one of its admins.
pub struct Worker {
    endpoint: Endpoint,
}

/// What `/readyz` tells.
#[derive(Debug, Default, Deserialize)]
pub struct Readiness {
    bindings: BTreeMap<String, Binding>,
}

/// What `/readyz` tells of a binding.
#[derive(Debug, Deserialize)]
struct Binding {
    state: String,
    same_as: Option<String>,
}

impl Worker {
    /// The Worker at `url`.
    ///
    /// # Errors
    ///
    /// Where `url` is no Worker's, or would show the token to a network.
    pub fn at(url: &str, admin_token: Option<&SecretString>) -> Result<Self> {
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        let host = rest.trim_end_matches('/');
        if !["http", "https"].contains(&scheme) || host.is_empty() || host.contains(['/', '@', '?'])
        {
            bail!("--url must be scheme and host alone, such as https://gateway.example.com");
        }
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let is_here = ["127.0.0.1", "localhost", "[::1]"].contains(&name);
        if scheme == "http" && !is_here {
            bail!("{url} is not encrypted: the admin token would be seen on the way. Use https://");
        }
        let endpoint = Endpoint::new(url, admin_token, TIMEOUT)
            .context("the admin token has characters that no token has")?;
        Ok(Self { endpoint })
    }

    /// How it is asked.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        self.endpoint.base_url()
    }

    /// Whether it answers at all.
    ///
    /// # Errors
    ///
    /// What it answers instead.
    pub fn is_well(&self) -> Result<()> {
        let url = self.url();
        let answer = self.endpoint.send("GET", "/healthz", None);
        let answer = answer.with_context(|| format!("{url}/healthz gives no answer"))?;
        if answer.status != 200 {
            bail!("{url}/healthz answers {}", answer.status);
        }
        Ok(())
    }

    /// The state of each binding.
    ///
    /// # Errors
    ///
    /// Why it does not tell.
    pub fn readiness(&self) -> Result<Readiness> {
        #[derive(Deserialize)]
        struct Envelope {
            result: Option<Readiness>,
        }
        let url = self.url();
        let answer = self.endpoint.send("GET", "/readyz", None);
        let answer = answer.with_context(|| format!("{url}/readyz gives no answer"))?;
        let envelope = serde_json::from_slice::<Envelope>(&answer.body).ok();
        match (answer.status, envelope.and_then(|it| it.result)) {
            (200 | 503, Some(readiness)) => Ok(readiness),
            (401, _) => bail!("{url}/readyz: {UNKNOWN_TOKEN}"),
            (500, _) => bail!(
                "{url}/readyz answers 500: a mistake in its settings; `npx wrangler tail` shows which"
            ),
            (status, _) => bail!("{url}/readyz answers {status}: is it this Worker's address?"),
        }
    }

    /// Asks until `what` breaks with what is waited for, and for no longer than `wait`.
    ///
    /// # Errors
    ///
    /// Where it fails; where the time is over, what it last continued with.
    pub fn wait_for<T>(
        &self,
        wait: Duration,
        what: impl Fn(&Self) -> Result<ControlFlow<T, anyhow::Error>>,
    ) -> Result<T> {
        let deadline = Instant::now() + wait;
        loop {
            match what(self)? {
                ControlFlow::Break(found) => return Ok(found),
                ControlFlow::Continue(_) if Instant::now() < deadline => thread::sleep(INTERVAL),
                ControlFlow::Continue(error) => return Err(error),
            }
        }
    }
}

/// What is wrong where a Worker answers 401.
pub const UNKNOWN_TOKEN: &str = "the Worker does not know this admin token. It is the value of one of \
                             the callers of [vars.SECRETS_STORE_API]; where that was rotated \
                             itself, the new one";

impl Readiness {
    /// The state of a binding: `ok`, or the kind of its error.
    pub fn state(&self, binding: &str) -> &str {
        self.bindings.get(binding).map_or("not in the settings that it runs with", |it| &it.state)
    }

    /// Whether a binding can be had.
    pub fn is_ok(&self, binding: &str) -> bool {
        self.state(binding) == "ok"
    }

    /// Whether both can be had, and have the same value.
    pub fn are_same(&self, one: &str, other: &str) -> bool {
        let first = |name| {
            let binding = self.bindings.get(name)?;
            Some(binding.same_as.as_deref().unwrap_or(name))
        };
        self.is_ok(one) && self.is_ok(other) && first(one) == first(other)
    }

    /// The bindings that cannot be had, and why.
    pub fn failures(&self) -> impl Iterator<Item = Failure<'_>> {
        let failing = self.bindings.iter().filter(|(_, it)| it.state != "ok");
        failing.map(|(binding, it)| Failure { binding, kind: &it.state })
    }

    /// How many bindings there are.
    pub fn len(&self) -> usize {
        self.bindings.len()
    }

    /// Whether the settings name no binding.
    pub fn is_empty(&self) -> bool {
        self.bindings.is_empty()
    }
}

/// A binding that cannot be had. As text: what is wrong, and what mends it.
#[derive(Debug)]
pub struct Failure<'a> {
    /// Its name.
    pub binding: &'a str,
    /// The kind of its error.
    pub kind: &'a str,
}

impl fmt::Display for Failure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The Worker's own words for each are in its log.
        let mend = match self.kind {
            "not_bound" => "bind it in wrangler.toml, in this environment, and deploy again",
            "wrong_kind" => "it is bound to something that is no secret; bind a secret",
            "not_found" => "the store has no such secret: create it, or correct its entry",
            "null" | "empty" => "write its value again",
            "not_header_safe" => {
                "write its value again, without white space at its ends, control characters and \
                 characters beyond ASCII"
            }
            "timed_out" => "the store did not answer in 5 s; look again in a while",
            _ => "`npx wrangler tail` shows more while you look again",
        };
        write!(f, "{}: {} — {mend}", self.binding, self.kind)
    }
}
