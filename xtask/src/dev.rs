//! `cargo xtask dev`: from a fresh clone to a running gateway.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{self, Path},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use toml::Value;

use crate::{build, demo, process::Process, root, step, store::Development, tools::Tools};

/// How long `wrangler dev` may take to start, and how long the Worker to answer.
const START: Duration = Duration::from_secs(60);

/// Runs until wrangler ends, or the process is told to.
///
/// # Errors
///
/// What failed, and what to do about it.
pub fn run(port: u16, state: &Path) -> Result<()> {
    let tools = Tools::ensure()?;
    build::with(&tools)?;
    let state = path::absolute(root().join(state))?;
    fs::create_dir_all(&state).with_context(|| format!("cannot make {}", state.display()))?;
    let development = Development::read()?;
    development.seed(&tools, &state)?;

    let demo = Demo::start(&development)?;
    step("the gateway, by wrangler dev");
    let mut wrangler = tools.wrangler();
    wrangler
        .args(["dev", "--ip", "127.0.0.1", "--show-interactive-dev-session=false"])
        .args(["--port", &free_port(port).to_string(), "--persist-to"])
        .arg(&state);
    if let Some(upstreams) = demo.settings_elsewhere(&development)? {
        wrangler.args(["--var", &format!("UPSTREAMS:{upstreams}")]);
    }
    let (sender, lines) = mpsc::channel();
    let mut process = Process::start_with_lines(&mut wrangler, move |line| {
        println!("{line}");
        let _ = sender.send(line.to_owned());
    })?;
    let address = wait_until_it_answers(&lines, &mut process)?;
    println!("{}", demo.how_to_try(&address));

    // Until wrangler ends, or a signal ends us.
    while lines.recv().is_ok() {}
    process.wait().context("wrangler dev ended; its message is above")
}

/// The upstream `demo` of wrangler.toml, which this command plays.
struct Demo {
    address: SocketAddr,
    configured: SocketAddr,
    token: String,
}

impl Demo {
    fn start(development: &Development) -> Result<Self> {
        let setting = |name| development.config.vars.get("UPSTREAMS")?.get("demo")?.get(name);
        let text = |value: &'_ Value| value.as_str().map(str::to_owned);
        let what = "`cargo xtask dev` plays the upstream `demo` of wrangler.toml";

        let base_url = setting("base_url").and_then(text).unwrap_or_default();
        let configured =
            base_url.strip_prefix("http://").and_then(|it| it.split('/').next()?.parse().ok());
        let configured: SocketAddr = configured
            .with_context(|| format!("{what}; its base_url must be http://127.0.0.1:<port>"))?;
        let token = setting("callers").and_then(|it| text(it.get(0)?));
        let token = token.with_context(|| format!("{what}; it must have a caller"))?;
        let key = setting("credentials").and_then(|it| text(it.get(0)?.get("secret")?));
        let key = key.with_context(|| format!("{what}; it must have a bearer credential"))?;

        let address = demo::start(configured, development.value(&key)?)?;
        step(&format!("the demo upstream, on http://{address}"));
        Ok(Self { address, configured, token: development.value(&token)?.to_owned() })
    }

    /// `[vars.UPSTREAMS]` as JSON text with the demo upstream where it is, if that is not where
    /// wrangler.toml says.
    fn settings_elsewhere(&self, development: &Development) -> Result<Option<String>> {
        if self.address == self.configured {
            return Ok(None);
        }
        eprintln!(
            "    {} is taken, so [vars.UPSTREAMS] is handed over as it is now: after a change \
             there, start again",
            self.configured
        );
        let mut upstreams = development.config.vars.get("UPSTREAMS").cloned();
        let base_url = upstreams.as_mut().and_then(|it| it.get_mut("demo")?.get_mut("base_url"));
        if let Some(base_url) = base_url {
            *base_url = Value::String(format!("http://{}", self.address));
        }
        Ok(Some(serde_json::to_string(&upstreams)?))
    }

    fn how_to_try(&self, gateway: &str) -> String {
        format!(
            "\nThe gateway runs on {gateway}, the demo upstream on http://{}. In another terminal:\n\n\
             curl {gateway}/proxy/demo/hello -H 'Authorization: Bearer {}'\n\n\
             Change src/ or wrangler.toml, and it is built or read anew. Ctrl-C ends everything.\n",
            self.address, self.token
        )
    }
}

/// The port, or 0 for any other if it is taken.
fn free_port(port: u16) -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_or(0, |_| port)
}

/// Waits for wrangler's word that it listens, and then for the Worker's first answer.
fn wait_until_it_answers(lines: &Receiver<String>, process: &mut Process) -> Result<String> {
    let deadline = Instant::now() + START;
    let address = loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match lines.recv_timeout(left) {
            Ok(line) => {
                if let Some((_, address)) = line.split_once("Ready on http://") {
                    break address.trim().to_owned();
                }
            }
            Err(_) if process.is_running() => bail!("wrangler dev did not start in {START:?}"),
            Err(_) => bail!("wrangler dev ended; its message is above"),
        }
    };
    while !answers(&address) {
        if Instant::now() > deadline {
            bail!("the Worker did not answer http://{address}/healthz in {START:?}");
        }
        thread::sleep(Duration::from_millis(100));
    }
    Ok(format!("http://{address}"))
}

fn answers(address: &str) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect(address)?;
        write!(stream, "GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        std::io::Result::Ok(answer.starts_with("HTTP/1.1 200"))
    };
    ask().unwrap_or(false)
}
