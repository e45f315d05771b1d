//! The program, started for a test, and a fluent client for it.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::mpsc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use ureq::{Agent, http::Request};

/// What every value of the tests contains, so that one that got out is found.
pub const MARK: &str = "5ecret";

pub const TOKEN: &str = "the-token";
pub const ACCOUNT: &str = "0123456789abcdef0123456789abcdef";

/// How long to wait for what must come.
pub const SOON: Duration = Duration::from_secs(20);

/// The program, ended when this is dropped.
pub struct Api {
    child: Child,
    pub base: String,
    stderr: Option<JoinHandle<String>>,
}

/// Its command, without an argument.
pub fn bare() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_local-api"));
    command.env_remove("LOCAL_API_TOKEN").env_remove("LOCAL_API_ACCOUNT");
    command
}

/// Its command, to be given more arguments.
pub fn program() -> Command {
    let mut command = bare();
    command.args(["--listen", "127.0.0.1:0", "--token", TOKEN, "--account", ACCOUNT]);
    command
}

/// Waits until it is so.
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !is_so() {
        assert!(Instant::now() < deadline, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

impl Api {
    /// In memory.
    pub fn new() -> Self {
        Self::start(&mut program())
    }

    pub fn with(arguments: &[&str]) -> Self {
        Self::start(program().args(arguments))
    }

    pub fn with_data(file: &Path) -> Self {
        Self::start(program().arg("--data").arg(file))
    }

    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let stderr = thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).unwrap();
            text
        });
        let mut api = Self { child, base: String::new(), stderr: Some(stderr) };
        let (sender, line) = mpsc::channel();
        thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).for_each(|it| {
                let _ = sender.send(it);
            });
        });
        match line.recv_timeout(SOON) {
            Ok(line) => {
                let base = line.strip_prefix("local Secrets Store API on ");
                api.base = base.unwrap_or_else(|| panic!("{line}")).to_owned();
            }
            Err(_) => panic!("it did not start: {:?}", api.end()),
        }
        api
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end, which something else brings, and answers what it said.
    pub fn wait(&mut self) -> (ExitStatus, String) {
        wait_until("it ends", || self.child.try_wait().unwrap().is_some());
        (self.child.wait().unwrap(), self.stderr())
    }

    /// Ends it at once, as a crash does, and answers what it said.
    pub fn end(&mut self) -> String {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.stderr()
    }

    fn stderr(&mut self) -> String {
        self.stderr.take().map(|it| it.join().unwrap()).unwrap_or_default()
    }

    /// The address without the path.
    pub fn address(&self) -> &str {
        self.base.strip_prefix("http://").unwrap().split('/').next().unwrap()
    }

    /// A request below the account's `/secrets_store`.
    pub fn call(&self, method: &str, path: &str) -> Call {
        let url = format!("{}/accounts/{ACCOUNT}/secrets_store{path}", self.base);
        Call { method: method.to_owned(), url, token: Some(TOKEN.to_owned()), body: Vec::new() }
    }

    pub fn get(&self, path: &str) -> Answer {
        self.call("GET", path).send()
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.call("POST", path).json(body).send()
    }

    pub fn patch(&self, path: &str, body: &Value) -> Answer {
        self.call("PATCH", path).json(body).send()
    }

    pub fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path).send()
    }

    /// A new store's path.
    #[track_caller]
    pub fn store(&self) -> String {
        let store = self.post("/stores", &json!({ "name": "default" })).result();
        format!("/stores/{}", store["id"].as_str().unwrap())
    }

    /// A new secret's path, in the store of that path.
    #[track_caller]
    pub fn secret(&self, store: &str, name: &str) -> String {
        let created = self.post(&format!("{store}/secrets"), &secret(name)).result();
        format!("{store}/secrets/{}", created["id"].as_str().unwrap())
    }

    /// The names in a store, in the order of their creation.
    #[track_caller]
    pub fn names(&self, store: &str) -> Vec<String> {
        self.get(&format!("{store}/secrets?per_page=100")).names()
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        let said = self.end();
        if !thread::panicking() {
            assert!(!said.contains(MARK), "a value got out: {said}");
            assert!(!said.contains("panicked"), "{said}");
        }
    }
}

/// Runs the program where it is to end by itself, and answers what it said.
#[track_caller]
pub fn output(command: &mut Command) -> Output {
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let deadline = Instant::now() + SOON;
    while child.try_wait().unwrap().is_none() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(5));
    }
    // What it says fits into a pipe, so it has not waited for a reader.
    let has_ended = child.try_wait().unwrap().is_some();
    let _ = child.kill();
    let output = child.wait_with_output().unwrap();
    assert!(has_ended, "it did not end: {output:?}");
    output
}

/// A secret of scope `workers`.
pub fn secret(name: &str) -> Value {
    json!({ "name": name, "value": format!("{MARK}-{name}"), "scopes": ["workers"] })
}

/// A request.
pub struct Call {
    method: String,
    url: String,
    token: Option<String>,
    body: Vec<u8>,
}

impl Call {
    pub fn token(mut self, token: Option<&str>) -> Self {
        self.token = token.map(|token| format!("Bearer {token}"));
        self
    }

    /// The whole `Authorization` header.
    pub fn authorization(mut self, value: &str) -> Self {
        self.token = Some(value.to_owned());
        self
    }

    /// Another URL, below the base.
    pub fn at(mut self, base: &str, path: &str) -> Self {
        self.url = format!("{base}{path}");
        self
    }

    pub fn json(self, body: &Value) -> Self {
        self.body(body.to_string())
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    #[track_caller]
    pub fn send(self) -> Answer {
        self.try_send().unwrap()
    }

    /// Where the program may be gone.
    pub fn try_send(self) -> Result<Answer, ureq::Error> {
        let agent: Agent = Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .timeout_global(Some(Duration::from_secs(60)))
            .build()
            .into();
        let mut request = Request::builder().method(self.method.as_str()).uri(&self.url);
        if let Some(token) = &self.token {
            let is_whole = token.contains(' ') || token.is_empty();
            let value = if is_whole { token.clone() } else { format!("Bearer {token}") };
            request = request.header("authorization", value);
        }
        let mut response = if self.body.is_empty() {
            agent.run(request.body(()).unwrap())?
        } else {
            agent.run(request.body(self.body).unwrap())?
        };
        let text = response.body_mut().read_to_string()?;
        let told = format!("{:?} {text}", response.headers());
        assert!(!told.contains(MARK), "a value got out: {told}");
        assert_eq!(response.headers()["content-type"], "application/json", "{told}");
        let json: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {told}"));
        // The whole envelope, whatever was asked.
        for field in ["success", "errors", "messages", "result"] {
            assert!(json.get(field).is_some(), "no {field}: {told}");
        }
        Ok(Answer { status: response.status().as_u16(), json })
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub status: u16,
    pub json: Value,
}

impl Answer {
    /// The result of a success.
    #[track_caller]
    pub fn result(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        assert_eq!(self.json["success"], true);
        assert_eq!(self.json["errors"], json!([]));
        assert_eq!(self.json["messages"], json!([]));
        self.json["result"].clone()
    }

    /// The names of a list.
    #[track_caller]
    pub fn names(&self) -> Vec<String> {
        let result = self.result();
        let name = |it: &Value| it["name"].as_str().unwrap().to_owned();
        result.as_array().unwrap().iter().map(name).collect()
    }

    /// A refusal, and nothing else.
    #[track_caller]
    pub fn is_refused(&self, status: u16, code: u32, message: &str) {
        let envelope = json!({
            "success": false,
            "errors": [{ "code": code, "message": message }],
            "messages": [],
            "result": null,
        });
        assert_eq!((self.status, &self.json), (status, &envelope));
    }
}
