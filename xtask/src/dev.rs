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
    if let Some(upstreams) = demo.as_ref().and_then(|it| it.settings_elsewhere(&development)) {
        wrangler.args(["--var", &format!("UPSTREAMS:{upstreams}")]);
    }
    let (sender, lines) = mpsc::channel();
    let mut process = Process::start_with_lines(&mut wrangler, move |line| {
        println!("{line}");
        let _ = sender.send(line.to_owned());
    })?;
    let address = wait_until_it_answers(&lines, &mut process)?;
    println!("{}", how_to_try(&address, &development));

    // Until wrangler ends, or a signal ends us.
    while lines.recv().is_ok() {}
    process.wait().context("wrangler dev ended; its message is above")
}

/// The upstream `demo` of wrangler.toml, which this command plays if it is on this machine.
struct Demo {
    address: SocketAddr,
    configured: SocketAddr,
}

impl Demo {
    fn start(development: &Development) -> Result<Option<Self>> {
        let Some(demo) = development.upstreams().find(|upstream| upstream.name == "demo") else {
            return Ok(None);
        };
        let address = demo.base_url.strip_prefix("http://").and_then(|it| it.split('/').next());
        let configured = address.and_then(|it| it.parse::<SocketAddr>().ok());
        let Some(configured) = configured.filter(|it| it.ip().is_loopback()) else {
            return Ok(None);
        };
        let key = demo.secret.context(
            "the upstream `demo` of wrangler.toml has no credential that `cargo xtask dev` could \
             ask for; give it one, or another name",
        )?;
        let address = demo::start(configured, development.value(key)?)?;
        step(&format!("the demo upstream, on http://{address}"));
        Ok(Some(Self { address, configured }))
    }

    /// `[vars.UPSTREAMS]` as JSON text with the demo upstream where it is, if that is not where
    /// wrangler.toml says.
    fn settings_elsewhere(&self, development: &Development) -> Option<String> {
        if self.address == self.configured {
            return None;
        }
        eprintln!(
            "    {} is taken, so [vars.UPSTREAMS] is handed over as it is now: after a change \
             there, start again",
            self.configured
        );
        let mut upstreams = development.config.vars.get("UPSTREAMS")?.clone();
        let base_url = upstreams.get_mut("demo")?.get_mut("base_url")?;
        *base_url = Value::String(format!("http://{}", self.address));
        serde_json::to_string(&upstreams).ok()
    }
}

/// What to do next: call the first upstream whose caller's token is known here.
fn how_to_try(gateway: &str, development: &Development) -> String {
    let mut upstreams = development.upstreams().collect::<Vec<_>>();
    upstreams.sort_by_key(|upstream| upstream.name != "demo");
    let line = upstreams.iter().find_map(|upstream| {
        let token = development.value(upstream.caller?).ok()?;
        let name = upstream.name;
        Some(format!("curl {gateway}/proxy/{name}/hello -H 'Authorization: Bearer {token}'"))
    });
    let line = line.unwrap_or_else(|| format!("curl {gateway}/healthz"));
    format!(
        "\nThe gateway runs on {gateway}. In another terminal:\n\n{line}\n\n\
         Change src/ or wrangler.toml, and it is built or read anew. Ctrl-C ends everything.\n"
    )
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
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        std::io::Result::Ok(answer.starts_with("HTTP/1.1 200"))
    };
    ask().unwrap_or(false)
}
