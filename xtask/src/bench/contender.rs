//! The Workers that are compared, each on a workerd of its own, with the same stubs around it.

use std::{
    fs,
    path::Path,
    sync::mpsc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

use crate::{process::Process, root, tools::Tools};

/// What callers show.
pub const TOKEN: &str = "bench-gateway-token-0123456789abcdef";

/// How long workerd may take to start.
const START: Duration = Duration::from_secs(20);

/// A Worker that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Contender {
    /// This one.
    Gateway,
    /// The same duties in JavaScript: `bench/reference.mjs`.
    Reference,
    /// No duties at all: `bench/pass-through.mjs`.
    PassThrough,
}

impl Contender {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Gateway, Self::Reference, Self::PassThrough];

    /// Those with a gateway's duties.
    pub const GATEWAYS: [Self; 2] = [Self::Gateway, Self::Reference];

    /// Its name, in results and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Reference => "reference",
            Self::PassThrough => "pass-through",
        }
    }

    fn modules(self) -> &'static str {
        match self {
            Self::Gateway => {
                r#"(name = "worker.mjs", esModule = embed "index.js"),
                (name = "index_bg.wasm", wasm = embed "index_bg.wasm")"#
            }
            Self::Reference => r#"(name = "worker.mjs", esModule = embed "reference.mjs")"#,
            Self::PassThrough => r#"(name = "worker.mjs", esModule = embed "pass-through.mjs")"#,
        }
    }
}

/// Copies what is measured into `folder`, so that a build beside the measurement changes nothing.
///
/// # Errors
///
/// A file that is not there.
pub fn set_up(folder: &Path) -> Result<()> {
    let files = [
        "build/index.js",
        "build/index_bg.wasm",
        "bench/reference.mjs",
        "bench/pass-through.mjs",
        "bench/stubs.mjs",
        "bench/own.mjs",
    ];
    for file in files.map(Path::new) {
        let name = file.file_name().context("no file")?;
        fs::copy(root().join(file), folder.join(name))
            .with_context(|| format!("cannot copy {}", file.display()))?;
    }
    for contender in Contender::ALL {
        fs::write(folder.join(Setting::Whole.file(contender)), config(contender))?;
    }
    for contender in Contender::GATEWAYS {
        fs::write(folder.join(Setting::Own.file(contender)), own_config(contender))?;
    }
    Ok(())
}

/// What a contender runs in.
#[derive(Debug, Clone, Copy)]
pub enum Setting {
    /// HTTP before it, and the stubs behind it.
    Whole,
    /// `bench/own.mjs`, which calls it.
    Own,
}

impl Setting {
    fn file(self, contender: Contender) -> String {
        let suffix = match self {
            Self::Whole => "",
            Self::Own => "-own",
        };
        format!("{}{suffix}.capnp", contender.name())
    }
}

/// A workerd with one contender in it.
#[derive(Debug)]
pub struct Running {
    process: Process,
    /// Where it listens: `http://127.0.0.1:…`.
    pub address: String,
    /// When its process was started.
    pub started: Instant,
}

impl Running {
    /// Starts one.
    ///
    /// # Errors
    ///
    /// What workerd says.
    pub fn start(
        tools: &Tools,
        folder: &Path,
        contender: Contender,
        setting: Setting,
    ) -> Result<Self> {
        let (sender, listening) = mpsc::channel();
        let started = Instant::now();
        let process = Process::start_with_lines(
            tools
                .command(tools.workerd()?)
                .args(["serve", &setting.file(contender), "--control-fd=1"])
                .current_dir(folder),
            move |line| {
                let event: Option<Value> = serde_json::from_str(line).ok();
                match event {
                    Some(event) if event.get("event").is_some() => {
                        let _ = sender.send(event.get("port").and_then(Value::as_u64));
                    }
                    // The log lines of the requests.
                    Some(_) => {}
                    None => eprintln!("{}: {line}", contender.name()),
                }
            },
        )?;
        let port = listening.recv_timeout(START).ok().flatten();
        let port = port.with_context(|| {
            format!("workerd did not start with {}; its message is above", contender.name())
        })?;
        Ok(Self { process, address: format!("http://127.0.0.1:{port}"), started })
    }

    /// What its process has used.
    pub fn usage(&self) -> Usage {
        let pid = Pid::from_u32(self.process.id());
        let mut system = System::new();
        let what = ProcessRefreshKind::nothing().with_cpu().with_memory();
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), false, what);
        let process = system.process(pid);
        Usage {
            cpu_us: scheduled_us(pid).unwrap_or_else(|| {
                1000.0 * process.map_or(0, sysinfo::Process::accumulated_cpu_time) as f64
            }),
            memory: process.map_or(0, sysinfo::Process::memory),
        }
    }
}

/// What a process has used.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    /// CPU time, of all threads, in microseconds.
    pub cpu_us: f64,
    /// Resident memory, in bytes.
    pub memory: u64,
}

/// The CPU time of a process's threads, in microseconds, as Linux's scheduler knows it: what there is on
/// other systems counts in ticks of 10 ms.
fn scheduled_us(process: Pid) -> Option<f64> {
    let mut all = 0.0;
    for thread in fs::read_dir(format!("/proc/{process}/task")).ok()?.flatten() {
        // A thread that has just ended has none.
        let text = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
        let ns = text.split_whitespace().next().and_then(|ns| ns.parse::<f64>().ok());
        all += ns.unwrap_or_default() / 1000.0;
    }
    (all > 0.0).then_some(all)
}

/// A service for the contender, one for the stubs, and a socket.
fn config(contender: Contender) -> String {
    let mut bindings = vec![settings(), secret("TOKEN", TOKEN, 0)];
    for index in 0..16 {
        bindings.push(secret(
            &format!("KEY_{index}"),
            &format!("bench-key-{index}-0123456789abcdef"),
            0,
        ));
        bindings.push(secret(&format!("SLOW_{index}"), &format!("bench-slow-{index}"), 100));
    }
    let stubs = r#"globalOutbound = "stubs")),
    (name = "stubs", worker = (
      compatibilityDate = "2026-10-01",
      modules = [(name = "stubs.mjs", esModule = embed "stubs.mjs")]))"#;
    service(contender.modules(), &bindings.join(",\n"), stubs)
}

/// The contender as a module of `bench/own.mjs`, which has its own stubs.
fn own_config(contender: Contender) -> String {
    let modules = format!(
        r#"(name = "own.mjs", esModule = embed "own.mjs"),
                {}"#,
        contender.modules()
    );
    service(&modules, &settings(), "))")
}

/// A configuration of workerd: `rest` is what comes after the bindings of the service that listens.
fn service(modules: &str, bindings: &str, rest: &str) -> String {
    format!(
        r#"using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = (
      compatibilityDate = "2026-10-01",
      compatibilityFlags = ["enable_request_signal", "request_signal_passthrough"],
      modules = [{modules}],
      bindings = [{bindings}],
      {rest}],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")]
);
"#
    )
}

fn settings() -> String {
    format!(r#"(name = "UPSTREAMS", json = {})"#, quoted(&upstreams()))
}

/// The upstreams: `bearer` with one credential, `keys_N` with N, `slow` with 16 that take 100 ms.
fn upstreams() -> String {
    let upstream = |credentials: Vec<Value>| {
        json!({
            "base_url": "http://upstream.example",
            "callers": ["TOKEN"],
            "credentials": credentials,
        })
    };
    let keys = |prefix: &str, count: usize| {
        let key = |index| json!({ "type": "header", "name": format!("x-key-{index}"), "secret": format!("{prefix}_{index}") });
        upstream((0..count).map(key).collect())
    };
    json!({
        "bearer": upstream(vec![json!({ "type": "bearer", "secret": "KEY_0" })]),
        "keys_1": keys("KEY", 1),
        "keys_2": keys("KEY", 2),
        "keys_4": keys("KEY", 4),
        "keys_8": keys("KEY", 8),
        "keys_16": keys("KEY", 16),
        "slow": keys("SLOW", 16),
    })
    .to_string()
}

fn secret(name: &str, value: &str, ms: u64) -> String {
    let props = json!({ "value": value, "ms": ms }).to_string();
    format!(
        r#"(name = "{name}", service = (name = "stubs", entrypoint = "Secret", props = (json = {})))"#,
        quoted(&props)
    )
}

/// Text in a workerd configuration.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
