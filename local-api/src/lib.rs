//! A local stand-in for the Secrets Store REST API, for development and tests: the same paths,
//! envelopes, errors, limits and pages, for official clients and for any other.
//!
//! Where no source says what the real API does, a comment says `assumed`.

mod answer;
mod api;
mod data;
mod keeper;
mod list;
mod state;
mod time;

use std::{
    io::Write as _,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use axum::Router;
use local_store::LocalStore;
use secrecy::SecretString;
use tokio::{runtime, sync::oneshot, time::sleep};

use crate::{
    api::Shared,
    data::DataFile,
    keeper::Keeper,
    state::{Account, Rules},
};

/// How long clients have to take their answers when the end has come.
const GRACE: Duration = Duration::from_secs(3);

/// How the API is to be.
#[derive(Debug)]
pub struct Options {
    /// The API token that callers show.
    pub token: SecretString,
    /// The account's id.
    pub account: String,
    /// The file that keeps the secrets; without one they end with the process.
    pub data: Option<PathBuf>,
    /// How long a created secret stays pending.
    pub pending: Duration,
    /// The most secrets in the account.
    pub quota: usize,
    /// wrangler's local store, which is to have the same secrets.
    pub mirror: Option<LocalStore>,
    /// What there is from the start.
    pub seed: Vec<Seed>,
}

/// A store and secrets that are added at the start where they are not there yet: of scope
/// `workers`, active at once, whatever the limits. They do not go to the mirror.
#[derive(Debug)]
pub struct Seed {
    /// The store's id.
    pub store_id: String,
    /// The store's name, if it is added.
    pub store_name: String,
    /// Names and values.
    pub secrets: Vec<(String, SecretString)>,
}

/// The API, with its data file read and locked.
#[derive(Debug)]
pub struct Server(Router);

impl Server {
    /// Reads the data file, if there is one, and adds the seed.
    ///
    /// # Errors
    ///
    /// What is wrong with the data file, and what mends it.
    pub fn open(options: Options) -> Result<Self> {
        let (file, account) = match &options.data {
            Some(path) => DataFile::open(path).map(|(file, account)| (Some(file), account))?,
            None => (None, Account::default()),
        };
        let Options { token, account: id, pending, quota, mirror, seed, .. } = options;
        let mut account = account;
        seed.iter().for_each(|seed| account.seed(seed));
        if let Some(file) = file.as_ref().filter(|_| !seed.is_empty()) {
            file.write(&account)?;
        }
        let rules = Rules { account: id, pending, quota };
        let keeper = Keeper::new(account, file, mirror);
        Ok(Self(api::router(Arc::new(Shared { token, rules, keeper }))))
    }

    /// Serves until `end`, and then until the requests under way have their answers, or have had
    /// time enough. The runtime's own end waits for a change that is still under way.
    ///
    /// # Errors
    ///
    /// Where the listener cannot be used.
    pub async fn run(
        self,
        listener: TcpListener,
        end: impl Future<Output = ()> + Send + 'static,
    ) -> Result<()> {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let (sender, ending) = oneshot::channel();
        let server = axum::serve(listener, self.0).with_graceful_shutdown(async {
            end.await;
            let _ = sender.send(());
        });
        tokio::select! {
            served = async { server.await } => served.context("the server failed"),
            () = async { let _ = ending.await; sleep(GRACE).await } => Ok(()),
        }
    }
}

/// Starts the API on a thread of its own, where it runs until the process ends, and answers where
/// it listens.
///
/// # Errors
///
/// As [`Server::open`].
pub fn start(listener: TcpListener, options: Options) -> Result<SocketAddr> {
    let address = listener.local_addr()?;
    let server = Server::open(options)?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    thread::spawn(move || {
        if let Err(error) = runtime.block_on(server.run(listener, std::future::pending())) {
            warn(&format!("{error:#}"));
        }
    });
    Ok(address)
}

/// Says on standard error what no client is told. That it may be closed is no reason to end.
fn warn(what: &str) {
    let _ = writeln!(std::io::stderr(), "local-api: {what}");
}
