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

#[cfg(feature = "rest-api")]
use crate::api;
#[cfg(feature = "demo")]
use crate::demo;
use crate::{
    build,
    process::Process,
    requests, root, step,
    store::{self, Development},
    tools::Tools,
};

/// How long `wrangler dev` may take to start, and how long the Worker to answer.
const START: Duration = Duration::from_secs(60);

/// Runs until wrangler ends, or the process is told to.
///
/// # Errors
///
/// What failed, and what to do about it.
pub fn run(port: u16, state: &Path) -> Result<()> {
    // A mistake in a file is told before the minutes that tools may take.
    let mut development = Development::read()?;
    let tools = Tools::ensure()?;
    build::with(&tools)?;
    let state = path::absolute(root().join(state))?;
    fs::create_dir_all(&state).with_context(|| format!("cannot make {}", state.display()))?;
    development.seed(&store::local(&tools, &state)?, &state)?;

    let played: &[Option<StandIn>] = &[
        #[cfg(feature = "demo")]
        demo::play(&development)?,
        #[cfg(feature = "rest-api")]
        api::play(&development, &tools, &state)?,
    ];
    step("the gateway, by wrangler dev");
    let mut wrangler = tools.wrangler();
    wrangler
        .args(["dev", "--ip", "127.0.0.1", "--show-interactive-dev-session=false"])
        .args(["--port", &free_port(port).to_string(), "--persist-to"])
        .arg(&state)
        // Its lines are read here before they are shown.
        .env_remove("FORCE_COLOR")
        .env("NO_COLOR", "1");
    for variable in played.iter().flatten().filter_map(|it| it.setting_elsewhere(&development)) {
        wrangler.args(["--var", &variable]);
    }
    let (printed, to_show) = mpsc::channel();
    let (shown, lines) = mpsc::channel();
    let mut process = Process::start_with_lines(&mut wrangler, move |line| {
        let _ = printed.send(line.to_owned());
    })?;
    thread::spawn(move || {
        requests::show(&to_show, |line| {
            let _ = shown.send(line);
        });
    });
    let address = wait_until_it_answers(&lines, &mut process)?;
    println!("\nThe gateway runs on {address}. In another terminal:\n");
    println!("{}\n", how_to_call(&address, &development));
    #[cfg(feature = "rest-api")]
    if let Some(line) = api::how_to_create(&address, &development, played) {
        println!("Create a secret over the REST API; a binding reads it at the next request:\n");
        println!("{line}\n");
    }
    if let Some(line) = how_to_look(&address, &development) {
        println!("{line}\n");
    }
    println!(
        "A line for each request follows. Change src/ or wrangler.toml, and it is built or read anew.\n\
         Ctrl-C ends everything.\n"
    );

    // Until wrangler ends, or a signal ends us.
    while lines.recv().is_ok() {}
    process.wait().context("wrangler dev ended; its message is above")
}

/// A part that this command plays: what the settings have at an address of this machine.
pub struct StandIn {
    /// The variable that has its `base_url`, and the table in it.
    setting: (&'static str, Option<&'static str>),
    configured: SocketAddr,
    address: SocketAddr,
}

impl StandIn {
    /// Listens where `base_url` says, or on another port where that one is taken. Nothing where it is
    /// not on this machine: then somebody else plays it. `setting` is the variable that has this
    /// `base_url`, and the table in it.
    ///
    /// # Errors
    ///
    /// Where no port is free.
    pub fn listen(
        setting: (&'static str, Option<&'static str>),
        base_url: &str,
    ) -> Result<Option<(TcpListener, Self)>> {
        let configured = base_url.strip_prefix("http://").and_then(|it| it.split('/').next());
        let configured = configured.and_then(|it| it.parse().ok());
        let Some(configured) = configured.filter(|it: &SocketAddr| it.ip().is_loopback()) else {
            return Ok(None);
        };
        let listener = TcpListener::bind(configured)
            .or_else(|_| TcpListener::bind((configured.ip(), 0)))
            .with_context(|| format!("cannot listen on {}", configured.ip()))?;
        let address = listener.local_addr()?;
        Ok(Some((listener, Self { setting, configured, address })))
    }

    /// The variable that names it.
    pub fn variable(&self) -> &'static str {
        self.setting.0
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its setting as an argument of `--var`, where it is not where wrangler.toml says.
    fn setting_elsewhere(&self, development: &Development) -> Option<String> {
        let Self { setting: (name, entry), configured, address } = self;
        if address == configured {
            return None;
        }
        eprintln!(
            "    {configured} is taken, so [vars.{name}] is handed over as it is now: after a change \
             there, start again"
        );
        let mut setting = development.config.vars.get(*name)?.clone();
        let table = match entry {
            Some(entry) => setting.get_mut(entry)?,
            None => &mut setting,
        };
        let base_url = table.get_mut("base_url")?;
        let moved = base_url.as_str()?.replacen(&configured.to_string(), &address.to_string(), 1);
        *base_url = Value::String(moved);
        Some(format!("{name}:{}", serde_json::to_string(&setting).ok()?))
    }
}

/// A line that calls the first upstream whose caller's token is known here.
fn how_to_call(gateway: &str, development: &Development) -> String {
    let mut upstreams = development.upstreams().collect::<Vec<_>>();
    upstreams.sort_by_key(|upstream| upstream.name != "demo");
    let call = upstreams.iter().find_map(|upstream| {
        let token = development.value(upstream.caller?).ok()?;
        let name = upstream.name;
        Some(format!("curl {gateway}/proxy/{name}/hello -H 'Authorization: Bearer {token}'"))
    });
    call.unwrap_or_else(|| format!("curl {gateway}/healthz"))
}

/// Where a browser shows what there is.
fn how_to_look(gateway: &str, development: &Development) -> Option<String> {
    let api = development.secrets_store_api()?;
    let admin = development.secret_name(api.caller?)?;
    Some(format!(
        "Or open {gateway} in a browser: the state of every binding, for who enters the value of {admin} \
         in secrets.dev.toml."
    ))
}

/// The port, or 0 for any other if it is taken.
fn free_port(port: u16) -> u16 {
    let is_free = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    if !is_free {
        eprintln!("    port {port} is taken: another one, which is told below");
    }
    if is_free { port } else { 0 }
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
        write!(
            stream,
            "GET /healthz HTTP/1.1\r\nHost: {address}\r\nX-Request-Id: {}\r\nConnection: close\r\n\r\n",
            requests::PROBE
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        std::io::Result::Ok(answer.starts_with("HTTP/1.1 200"))
    };
    ask().unwrap_or(false)
}
