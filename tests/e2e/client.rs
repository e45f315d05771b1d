//! A fluent client: a request is a line, an answer can be asked about.

use std::io::Read;

use serde_json::Value;
use ureq::{
    Agent, Body, SendBody,
    http::{Request, Response},
};

/// What every secret value of the tests contains, so that one that got out is found.
pub const MARK: &str = "5ecret";

/// A request.
pub struct Call {
    method: String,
    url: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Sent,
}

/// What a request has for a body.
enum Sent {
    Nothing,
    Text(String),
    Stream(Box<dyn Read + Send>),
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: String,
}

/// A request to `url`.
pub fn call(method: &str, url: &str) -> Call {
    Call {
        method: method.to_owned(),
        url: url.to_owned(),
        headers: Vec::new(),
        body: Sent::Nothing,
    }
}

impl Call {
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Shows a token in the usual way.
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    pub fn body(mut self, body: impl Into<String>) -> Self {
        self.body = Sent::Text(body.into());
        self
    }

    pub fn stream(mut self, body: impl Read + Send + 'static) -> Self {
        self.body = Sent::Stream(Box::new(body));
        self
    }

    pub fn send(self) -> Answer {
        let mut response = self.start();
        let body = response.body_mut().read_to_string().unwrap();
        let headers = response.headers().iter();
        Answer {
            status: response.status().as_u16(),
            headers: headers
                .map(|(name, value)| {
                    (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
                })
                .collect(),
            body,
        }
    }

    /// Sends it, and leaves the answer's body to be read.
    pub fn start(self) -> Response<Body> {
        let what = format!("{} {}", self.method, self.url);
        self.try_start().unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    /// The same, where the connection may break.
    pub fn try_start(self) -> Result<Response<Body>, ureq::Error> {
        let agent: Agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .allow_non_standard_methods(true)
            .build()
            .into();
        let mut request = Request::builder().method(self.method.as_str()).uri(&self.url);
        for (name, value) in &self.headers {
            request = request.header(name, value.as_slice());
        }
        match self.body {
            Sent::Nothing => agent.run(request.body(()).unwrap()),
            Sent::Text(body) => agent.run(request.body(body).unwrap()),
            Sent::Stream(body) => {
                agent.run(request.body(SendBody::from_owned_reader(body)).unwrap())
            }
        }
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// All values of a header that may come more than once.
    pub fn headers(&self, name: &str) -> String {
        let own = self.headers.iter().filter(|(own, _)| own == name);
        own.map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(", ")
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The value of a header that the test upstream got.
    pub fn got_header(&self, name: &str) -> Option<String> {
        let got = self.json();
        let headers = got["headers"].as_array().unwrap_or_else(|| panic!("no echo: {self:?}"));
        let found = headers.iter().find(|header| header[0] == name)?;
        Some(found[1].as_str().unwrap().to_owned())
    }

    /// What the test upstream was asked for.
    pub fn got_target(&self) -> String {
        self.json()["target"].as_str().unwrap_or_else(|| panic!("no echo: {self:?}")).to_owned()
    }

    /// It is the Worker's own refusal, whole and with nothing of ours in it.
    #[track_caller]
    pub fn is_refused(&self, status: u16, code: u32, message: &str) -> &Self {
        assert_eq!(self.status, status, "{self:?}");
        let envelope = serde_json::json!({
            "success": false, "errors": [{ "code": code, "message": message }]
        });
        assert_eq!(self.json(), envelope);
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert_eq!(self.header("cache-control"), Some("no-store"));
        assert!(self.header("x-request-id").is_some());
        assert!(!format!("{self:?}").contains(MARK), "a secret got out: {self:?}");
        self
    }

    #[track_caller]
    pub fn is_unauthenticated(&self) -> &Self {
        self.is_refused(401, 40101, "Authentication required");
        assert_eq!(self.header("www-authenticate"), Some("Bearer realm=\"gateway\""));
        self
    }

    #[track_caller]
    pub fn is_configuration_error(&self) -> &Self {
        self.is_refused(500, 50001, "Configuration error")
    }
}
