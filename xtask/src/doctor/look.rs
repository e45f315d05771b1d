//! Where the facts come from: the local store by wrangler's list, the account by its REST API.
//! Names and metadata alone; a value is neither asked for nor part of any answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use secrets_store_api::{
    Answer, ApiError, Client, ClientError, GetQuota, ListSecrets, ListStores, Page, Request,
    StoreId, Transport, Usage,
};

use super::find::{Place, Secret, Stores};
use crate::{http::Endpoint, store, tools::Tools};

const BASE_URL: &str = "https://api.cloudflare.com/client/v4";

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The local stores `ids` below the folder `state`.
///
/// # Errors
///
/// What wrangler says, or what of it could not be fetched.
pub fn local(state: &Path, ids: &BTreeSet<&str>, place: Place) -> Result<Stores> {
    let mut secrets = BTreeMap::new();
    // Without a store there is nothing to ask wrangler, nor to fetch it for.
    if store::is_there(state) {
        let local = store::local(&Tools::ensure_npm_side()?, state)?;
        for id in ids {
            let names = store::names(&local, state, id)?;
            secrets.insert((*id).to_owned(), names.into_iter().map(Secret::local).collect());
        }
    }
    Ok(Stores { place, names: BTreeMap::new(), secrets })
}

/// The secrets that `cargo xtask dev` creates, by their names.
pub fn seeds(file: &Path) -> BTreeSet<String> {
    let table = fs::read_to_string(file).ok().and_then(|text| text.parse::<toml::Table>().ok());
    table.into_iter().flatten().map(|(name, _)| name).collect()
}

/// An account and the token for its API.
pub struct Account {
    /// Its id.
    pub id: String,
    api: Endpoint,
}

impl Account {
    /// As the environment has it, in the variables that wrangler reads.
    ///
    /// # Errors
    ///
    /// Which variable is missing or wrong.
    pub fn from_environment() -> Result<Self> {
        let read = |name: &str| env::var(name).ok().filter(|value| !value.trim().is_empty());
        let token = read("CLOUDFLARE_API_TOKEN").context(
            "CLOUDFLARE_API_TOKEN is not set. Make an API token with the permission Secrets Store \
             Read for the account, and: export CLOUDFLARE_API_TOKEN=<the token>",
        )?;
        let id = read("CLOUDFLARE_ACCOUNT_ID").context(
            "CLOUDFLARE_ACCOUNT_ID is not set. `npx wrangler whoami` shows it, then: export \
             CLOUDFLARE_ACCOUNT_ID=<the id>",
        )?;
        let base_url = read("CLOUDFLARE_API_BASE_URL").unwrap_or_else(|| BASE_URL.to_owned());
        if !is_segment(&id) {
            bail!("CLOUDFLARE_ACCOUNT_ID is no account's id; `npx wrangler whoami` shows it");
        }
        let api = Endpoint::new(&base_url, Some(&token.into()), TIMEOUT)
            .context("CLOUDFLARE_API_TOKEN has characters that no token has")?;
        Ok(Self { id, api })
    }

    /// The stores `ids`, as far as the account has them, and how much of its quota is used.
    ///
    /// # Errors
    ///
    /// Why the API did not tell, and what mends it.
    pub fn look(&self, ids: &BTreeSet<&str>) -> Result<(Stores, Usage)> {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        runtime.block_on(self.ask(ids)).map_err(|error| self.explain(error))
    }

    async fn ask(&self, ids: &BTreeSet<&str>) -> Result<(Stores, Usage), ClientError<ureq::Error>> {
        let client = Client::new(self);
        let all = client.all(&ListStores::default()).await?;
        let mut secrets = BTreeMap::new();
        for store in all.iter().filter(|store| ids.contains(store.id.as_str())) {
            let list = client.all(&every_secret(&store.id)).await?.into_iter().map(|it| Secret {
                name: it.name,
                id: it.id.to_string(),
                scopes: it.scopes,
                status: it.status,
            });
            secrets.insert(store.id.to_string(), list.collect());
        }
        let usage = client.run(&GetQuota).await?.secrets;
        let names = all.into_iter().map(|store| (store.id.to_string(), store.name)).collect();
        Ok((Stores { place: Place::Account, names, secrets }, usage))
    }

    /// The names of a deployed Worker's plain secrets; `None` where the token may not see them, since
    /// that takes more than the permission for the store.
    pub fn plain_secrets(&self, worker: &str) -> Option<Vec<String>> {
        if !is_segment(worker) {
            return None;
        }
        let answer = self.get(&format!("/workers/scripts/{worker}/secrets")).ok()?;
        let answer: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
        // The API's word for a Worker that is not deployed yet.
        if answer.pointer("/errors/0/code").is_some_and(|code| code == 10007) {
            return Some(Vec::new());
        }
        let all = answer.get("result")?.as_array()?.iter();
        let plain = all.filter(|it| it.get("type").is_some_and(|it| it != "secrets_store_secret"));
        Some(plain.filter_map(|it| Some(it.get("name")?.as_str()?.to_owned())).collect())
    }

    fn get(&self, path_and_query: &str) -> Result<Answer, ureq::Error> {
        // Whoever only looks has no other method, and no body.
        self.api.send("GET", &format!("/accounts/{}{path_and_query}", self.id), None)
    }

    fn explain(&self, error: ClientError<ureq::Error>) -> anyhow::Error {
        let mend = match &error {
            ClientError::Transport(_) => {
                "Is the network there? CLOUDFLARE_API_BASE_URL sets another address"
            }
            ClientError::Api(ApiError::NotAuthorized { .. }) => {
                "Set CLOUDFLARE_API_TOKEN and CLOUDFLARE_ACCOUNT_ID to a pair that belongs together"
            }
            ClientError::Api(ApiError::NotAnAnswer { .. }) => {
                "CLOUDFLARE_API_BASE_URL sets it; without it, it is Cloudflare's own"
            }
            ClientError::Api(ApiError::BadInput(_)) => "Is CLOUDFLARE_ACCOUNT_ID right?",
            _ => "Try again later",
        };
        anyhow!("{error}. {mend}")
            .context(format!("cannot look into the account at {}", self.api.base_url()))
    }
}

impl Transport for &Account {
    type Error = ureq::Error;

    async fn send(&self, request: Request) -> Result<Answer, ureq::Error> {
        self.get(&format!("/secrets_store{}", request.path_and_query))
    }
}

fn every_secret(store: &StoreId) -> ListSecrets {
    ListSecrets {
        store: store.clone(),
        page: Page::default(),
        search: None,
        scopes: Vec::new(),
        order: None,
        direction: None,
    }
}

/// Whether it is one segment of a URL's path, and cannot be more.
fn is_segment(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|it| it.is_ascii_alphanumeric() || b"_-".contains(&it))
}
