//! The command line of the local Secrets Store REST API.

use std::{
    alloc::System,
    io::{self, Write as _},
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::{Parser, builder::NonEmptyStringValueParser};
use local_api::{Options, Server};
use local_store::LocalStore;
use tokio::signal::unix::{SignalKind, signal};
use zeroizing_alloc::ZeroAlloc;

/// Wipes what is freed: the copies of values that serde or a growing buffer leave behind.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

/// A local stand-in for Cloudflare's Secrets Store REST API, for development and tests.
///
/// It has the same paths, envelopes, errors, limits and pages below
/// /client/v4/accounts/ACCOUNT/secrets_store. Whatever can be told another base URL than
/// https://api.cloudflare.com/client/v4 works with it: the Worker of this project
/// (SECRETS_STORE_API.base_url), the official SDKs (baseURL), wrangler (CLOUDFLARE_API_BASE_URL).
#[derive(Parser)]
#[command(version, after_help = EXAMPLE)]
struct Arguments {
    /// Where to listen; port 0 takes any that is free
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8788")]
    listen: SocketAddr,
    /// The API token that callers show. As a variable, it is not seen in the list of processes
    #[arg(long, env = "LOCAL_API_TOKEN", hide_env_values = true)]
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    token: String,
    /// The account's id
    #[arg(long, env = "LOCAL_API_ACCOUNT", value_parser = NonEmptyStringValueParser::new())]
    account: String,
    /// Keeps stores and secrets in this file, values in plain text, readable by its owner alone;
    /// without it they end with the process
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// How many milliseconds a created secret stays pending
    #[arg(long, value_name = "MS", default_value_t = 1000)]
    pending: u32,
    /// The most secrets in the account
    #[arg(long, value_name = "N", default_value_t = 100)]
    quota: usize,
    /// Puts every change of a secret with the scope `workers` into wrangler's local store too, so
    /// that `wrangler dev --persist-to DIR` reads it at the next request. DIR is .wrangler/state
    /// unless you chose another. A change takes a second or two longer for each secret. A value that
    /// ends in white space is an argument of wrangler's command, which others on this machine can
    /// see while it runs
    #[arg(long, value_name = "DIR")]
    mirror: Option<PathBuf>,
}

const EXAMPLE: &str = "\
Example:
  cargo run -p local-api -- --token T --account A --data target/secrets.json
  curl http://127.0.0.1:8788/client/v4/accounts/A/secrets_store/stores \\
    -H 'Authorization: Bearer T' -d '{\"name\":\"default\"}'

It ends with Ctrl-C.";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<()> {
    let mirror = arguments.mirror.as_deref().map(LocalStore::in_project).transpose()?;
    let server = Server::open(Options {
        token: arguments.token.into(),
        account: arguments.account,
        data: arguments.data,
        pending: Duration::from_millis(arguments.pending.into()),
        quota: arguments.quota,
        mirror,
        seed: Vec::new(),
    })?;
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let listener = TcpListener::bind(arguments.listen).with_context(|| {
        format!("cannot listen on {}; give --listen another address", arguments.listen)
    })?;
    let address = listener.local_addr()?;
    let _ = writeln!(io::stdout(), "local Secrets Store API on http://{address}/client/v4");
    server
        .run(listener, async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        })
        .await
}
