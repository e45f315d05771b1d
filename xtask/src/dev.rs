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
use local_api::Options;
use toml::Value;

use crate::{
    build, demo,
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
    let development = Development::read()?;
    let tools = Tools::ensure()?;
    build::with(&tools)?;
    let state = path::absolute(root().join(state))?;
    fs::create_dir_all(&state).with_context(|| format!("cannot make {}", state.display()))?;
    let there = development.seed(&store::local(&tools, &state)?, &state)?;

    let demo = Demo::start(&development)?;
    let api = Api::start(&development, &tools, &state)?;
    step("the gateway, by wrangler dev");
    let mut wrangler = tools.wrangler();
    wrangler
        .args(["dev", "--ip", "127.0.0.1", "--show-interactive-dev-session=false"])
        .args(["--port", &free_port(port).to_string(), "--persist-to"])
        .arg(&state)
        // Its lines are read here before they are shown.
        .env_remove("FORCE_COLOR")
        .env("NO_COLOR", "1");
    let demo = demo.as_ref().and_then(|it| it.settings_elsewhere(&development));
    let api_elsewhere = api.as_ref().and_then(|it| it.settings_elsewhere(&development));
    for variable in [demo, api_elsewhere].iter().flatten() {
        wrangler.args(["--var", variable]);
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
    println!("{}", how_to_try(&address, &development, api.is_some(), &there));

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
        let Some(configured) = on_this_machine(demo.base_url) else { return Ok(None) };
        let key = demo.secret.context(
            "the upstream `demo` of wrangler.toml has no credential that `cargo xtask dev` could \
             ask for; give it one, or another name",
        )?;
        let address = demo::start(listener(configured)?, development.value(key)?)?;
        step(&format!("the demo upstream, on http://{address}"));
        Ok(Some(Self { address, configured }))
    }

    /// `[vars.UPSTREAMS]` with the demo upstream where it is, if that is not where wrangler.toml says.
    fn settings_elsewhere(&self, development: &Development) -> Option<String> {
        if self.address == self.configured {
            return None;
        }
        elsewhere(development, "UPSTREAMS", self.configured, |upstreams| {
            *upstreams.get_mut("demo")?.get_mut("base_url")? =
                Value::String(format!("http://{}", self.address));
            Some(())
        })
    }
}

/// The REST API of `[vars.SECRETS_STORE_API]`, which this command plays if it is on this machine.
/// What is written to it goes to the local store too, where the Worker's bindings read it.
struct Api {
    address: SocketAddr,
    configured: SocketAddr,
}

impl Api {
    fn start(development: &Development, tools: &Tools, state: &Path) -> Result<Option<Self>> {
        let Some(api) = development.secrets_store_api() else { return Ok(None) };
        let Some(configured) = on_this_machine(api.base_url) else { return Ok(None) };
        let options = Options {
            token: development.value(api.token)?.to_owned().into(),
            account: api.account_id.to_owned(),
            data: Some(state.join("secrets-store-api.json")),
            pending: Duration::from_secs(1),
            quota: 100,
            mirror: Some(store::local(tools, state)?),
            seed: development.seeds(),
        };
        let address = local_api::start(listener(configured)?, options)?;
        step(&format!("the local REST API, on http://{address}"));
        Ok(Some(Self { address, configured }))
    }

    fn settings_elsewhere(&self, development: &Development) -> Option<String> {
        if self.address == self.configured {
            return None;
        }
        elsewhere(development, "SECRETS_STORE_API", self.configured, |api| {
            let base_url = api.get_mut("base_url")?;
            let moved = base_url.as_str()?.replacen(
                &self.configured.to_string(),
                &self.address.to_string(),
                1,
            );
            *base_url = Value::String(moved);
            Some(())
        })
    }
}

/// The address in a base URL, where it is one of this machine alone.
fn on_this_machine(base_url: &str) -> Option<SocketAddr> {
    let address = base_url.strip_prefix("http://")?.split('/').next()?;
    address.parse().ok().filter(|it: &SocketAddr| it.ip().is_loopback())
}

/// Listens there, or on a free port where that one is taken.
fn listener(configured: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(configured)
        .or_else(|_| TcpListener::bind((configured.ip(), 0)))
        .with_context(|| format!("cannot listen on {}", configured.ip()))
}

/// A setting of wrangler.toml as an argument of `--var`, changed since its address is taken.
fn elsewhere(
    development: &Development,
    name: &str,
    taken: SocketAddr,
    change: impl FnOnce(&mut Value) -> Option<()>,
) -> Option<String> {
    eprintln!(
        "    {taken} is taken, so [vars.{name}] is handed over as it is now: after a change there, \
         start again"
    );
    let mut setting = development.config.vars.get(name)?.clone();
    change(&mut setting)?;
    Some(format!("{name}:{}", serde_json::to_string(&setting).ok()?))
}

/// What to do next: call the first upstream whose caller's token is known here, and create a secret.
fn how_to_try(gateway: &str, development: &Development, has_api: bool, there: &[String]) -> String {
    let mut upstreams = development.upstreams().collect::<Vec<_>>();
    upstreams.sort_by_key(|upstream| upstream.name != "demo");
    let call = upstreams.iter().find_map(|upstream| {
        let token = development.value(upstream.caller?).ok()?;
        let name = upstream.name;
        Some(format!("curl {gateway}/proxy/{name}/hello -H 'Authorization: Bearer {token}'"))
    });
    let call = call.unwrap_or_else(|| format!("curl {gateway}/healthz"));
    let create = || {
        let api = development.secrets_store_api().filter(|_| has_api)?;
        let store = &development.config.secrets_store_secrets.first()?.store_id;
        let (account, token) = (api.account_id, development.value(api.caller?).ok()?);
        // A name that is free, so that the line works however often it was run before.
        let mut names = (2..).map(|number| format!("my_key_{number}"));
        let mut name = "my_key".to_owned();
        while there.contains(&name) {
            name = names.next()?;
        }
        let body = format!(r#"{{"name":"{name}","value":"my-value","scopes":["workers"]}}"#);
        Some(format!(
            "Create a secret over the REST API; a binding reads it at the next request:\n\n\
             curl {gateway}/client/v4/accounts/{account}/secrets_store/stores/{store}/secrets \
             -H 'Authorization: Bearer {token}' -d '{body}'\n\n"
        ))
    };
    let page = development.secrets_store_api().and_then(|api| {
        let admin = &development.secret_name(api.caller?)?;
        Some(format!(
            "Or open {gateway} in a browser: the state of every binding, for who enters the value \
             of {admin} in secrets.dev.toml.\n\n"
        ))
    });
    format!(
        "\nThe gateway runs on {gateway}. In another terminal:\n\n{call}\n\n{}{}\
         A line for each request follows. Change src/ or wrangler.toml, and it is built or read anew.\n\
         Ctrl-C ends everything.\n",
        create().unwrap_or_default(),
        page.unwrap_or_default(),
    )
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
