//! Requests with a token: to the account's API, and to a Worker that runs somewhere.

use std::time::Duration;

use secrets_store_api::{Answer, ExposeSecret as _, SecretString};
use ureq::{
    Agent, Body,
    http::{HeaderValue, Request, Response, header::InvalidHeaderValue},
};

/// The longest answer that is read, in bytes: a page of 100 secrets has some 50 kB.
const MAX_ANSWER: u64 = 8 << 20;

/// A server, and the token that it is shown.
pub struct Endpoint {
    base_url: String,
    authorization: Option<HeaderValue>,
    agent: Agent,
}

impl Endpoint {
    /// `timeout` is for a whole exchange.
    ///
    /// # Errors
    ///
    /// Where no header can carry the token; the error does not quote it.
    pub fn new(
        base_url: &str,
        token: Option<&SecretString>,
        timeout: Duration,
    ) -> Result<Self, InvalidHeaderValue> {
        let authorization = token.map(|token| {
            let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()))?;
            value.set_sensitive(true);
            Ok(value)
        });
        let agent = Agent::config_builder()
            // The token is this server's alone.
            .max_redirects(0)
            // What a status means is told by the body.
            .http_status_as_error(false)
            .timeout_global(Some(timeout))
            .build()
            .new_agent();
        Ok(Self {
            base_url: base_url.trim_end_matches('/').to_owned(),
            authorization: authorization.transpose()?,
            agent,
        })
    }

    /// Where it is, without a slash at the end.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Sends a request, and reads the answer whatever its status.
    ///
    /// # Errors
    ///
    /// Where no answer came, or broke off.
    pub fn send(
        &self,
        method: &str,
        path_and_query: &str,
        body: Option<&SecretString>,
    ) -> Result<Answer, ureq::Error> {
        let url = format!("{}{path_and_query}", self.base_url);
        let mut request = Request::builder().method(method).uri(url);
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization.clone());
        }
        let mut response = match body {
            None => self.agent.run(request.body(())?)?,
            Some(body) => {
                let request = request.header("content-type", "application/json");
                self.agent.run(request.body(body.expose_secret())?)?
            }
        };
        read(&mut response)
    }
}

fn read(response: &mut Response<Body>) -> Result<Answer, ureq::Error> {
    let retry_after = response.headers().get("retry-after").and_then(|it| it.to_str().ok());
    Ok(Answer {
        status: response.status().as_u16(),
        retry_after: retry_after.map(str::to_owned),
        body: response.body_mut().with_config().limit(MAX_ANSWER).read_to_vec()?,
    })
}
