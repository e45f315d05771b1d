//! The local Secrets Store of `wrangler dev`, filled with development values.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context as _, Result};
pub use local_store::LocalStore;
use serde::Deserialize;

use crate::{root, step, tools::Tools};

/// The file of development values: a value for each `secret_name`.
const DEVELOPMENT_SECRETS: &str = "secrets.dev.toml";

const STORE_IS_BROKEN: &str =
    "the local store cannot be used; if it is broken, remove .wrangler and run again";

/// What of `wrangler.toml` matters here.
#[derive(Debug, Deserialize)]
pub struct WranglerToml {
    /// `[[secrets_store_secrets]]`.
    #[serde(default)]
    pub secrets_store_secrets: Vec<Binding>,
    /// `[vars]`.
    #[serde(default)]
    pub vars: toml::Table,
}

/// An entry of `[[secrets_store_secrets]]`.
#[derive(Debug, Deserialize)]
pub struct Binding {
    /// The name on `env`.
    pub binding: String,
    /// The store.
    pub store_id: String,
    /// The name in the store.
    pub secret_name: String,
}

/// What of an upstream matters here. That it is right as a whole, the Worker checks.
#[derive(Debug)]
pub struct Upstream<'a> {
    /// As in `/proxy/<name>`.
    pub name: &'a str,
    /// Where it is.
    pub base_url: &'a str,
    /// The binding of its first caller's token.
    pub caller: Option<&'a str>,
    /// The binding of its first credential.
    pub secret: Option<&'a str>,
}

/// What of `[vars.SECRETS_STORE_API]` matters here.
#[derive(Debug)]
pub struct SecretsStoreApi<'a> {
    /// Where it is.
    pub base_url: &'a str,
    /// The account.
    pub account_id: &'a str,
    /// The binding of the account's API token.
    pub token: &'a str,
    /// The binding of its first caller's token.
    pub caller: Option<&'a str>,
}

/// The bindings of `wrangler.toml`, and values for them.
#[derive(Debug)]
pub struct Development {
    /// `wrangler.toml`.
    pub config: WranglerToml,
    /// The names that the local store had before it was filled.
    pub there: Vec<String>,
    /// By `secret_name`.
    values: BTreeMap<String, String>,
}

impl Development {
    /// Reads `wrangler.toml` and `secrets.dev.toml`.
    ///
    /// # Errors
    ///
    /// Where one cannot be read, with line and column.
    pub fn read() -> Result<Self> {
        Ok(Self {
            config: read("wrangler.toml")?,
            there: Vec::new(),
            values: read(DEVELOPMENT_SECRETS)?,
        })
    }

    /// The upstreams of the settings.
    pub fn upstreams(&self) -> impl Iterator<Item = Upstream<'_>> {
        let upstreams = self.config.vars.get("UPSTREAMS").and_then(toml::Value::as_table);
        upstreams.into_iter().flatten().map(|(name, upstream)| Upstream {
            name,
            base_url: upstream.get("base_url").and_then(toml::Value::as_str).unwrap_or_default(),
            caller: upstream.get("callers").and_then(|it| it.get(0)?.as_str()),
            secret: upstream.get("credentials").and_then(|it| it.get(0)?.get("secret")?.as_str()),
        })
    }

    /// The REST API of the settings.
    pub fn secrets_store_api(&self) -> Option<SecretsStoreApi<'_>> {
        let api = self.config.vars.get("SECRETS_STORE_API")?;
        let text = |name: &str| api.get(name).and_then(toml::Value::as_str);
        Some(SecretsStoreApi {
            base_url: text("base_url")?,
            account_id: text("account_id")?,
            token: text("token")?,
            caller: api.get("callers").and_then(|it| it.get(0)?.as_str()),
        })
    }

    /// The name in the store of a binding's secret.
    pub fn secret_name(&self, binding: &str) -> Option<&str> {
        let bound = self.config.secrets_store_secrets.iter().find(|it| it.binding == binding)?;
        Some(&bound.secret_name)
    }

    /// The development value of a binding.
    ///
    /// # Errors
    ///
    /// Where there is none.
    pub fn value(&self, binding: &str) -> Result<&str> {
        let name = self.secret_name(binding).with_context(|| {
            format!("wrangler.toml has no [[secrets_store_secrets]] with binding = \"{binding}\"")
        })?;
        let value = self.values.get(name);
        Ok(value.with_context(|| format!("{DEVELOPMENT_SECRETS} has no value for {name}"))?)
    }

    /// The stores that are bound.
    pub fn stores(&self) -> BTreeSet<&str> {
        self.config.secrets_store_secrets.iter().map(|it| it.store_id.as_str()).collect()
    }

    /// Creates in the local store below `state` what `secrets.dev.toml` has and the store has not,
    /// or has from an earlier version of that file. What a developer changed in the store stays.
    ///
    /// # Errors
    ///
    /// What wrangler says.
    pub fn seed(&mut self, local: &LocalStore, state: &Path) -> Result<()> {
        let bindings = &self.config.secrets_store_secrets;
        let seeded_file = state.join("seeded.toml");
        let seeded: BTreeMap<String, String> = fs::read_to_string(&seeded_file)
            .ok()
            .and_then(|text| toml::from_str(&text).ok())
            .unwrap_or_default();

        let (mut missing, mut all) = (Vec::new(), Vec::new());
        for store in self.stores() {
            let there = names(local, state, store)?;
            all.extend(there.iter().cloned());
            for binding in bindings.iter().filter(|it| it.store_id == store) {
                let name = &binding.secret_name;
                match self.values.get(name) {
                    Some(value) if seeded.get(name) == Some(value) && there.contains(name) => {}
                    Some(value) => missing.push((binding, value)),
                    None => eprintln!(
                        "    {DEVELOPMENT_SECRETS} has no value for {name}: whatever needs {} \
                         answers 500",
                        binding.binding
                    ),
                }
            }
        }
        self.there = all;
        if missing.is_empty() {
            return Ok(());
        }
        step(&format!("{} development secrets into the local store, by wrangler", missing.len()));
        // One after the other: two at once find the store's database locked.
        for (binding, value) in missing {
            eprintln!("    {}", binding.secret_name);
            local
                .put(&binding.store_id, &binding.secret_name, &value.clone().into())
                .context(STORE_IS_BROKEN)?;
        }
        fs::write(&seeded_file, toml::to_string(&self.values)?)
            .with_context(|| format!("cannot write {}", seeded_file.display()))?;
        Ok(())
    }
}

/// wrangler's local stores below `state`.
///
/// # Errors
///
/// Where there is no current folder.
pub fn local(tools: &Tools, state: &Path) -> Result<LocalStore> {
    let tools = tools.clone();
    LocalStore::new(move || tools.wrangler(), state)
}

/// Whether there is any local store below `state`.
pub fn is_there(state: &Path) -> bool {
    state.join("v3/secrets-store").is_dir()
}

/// The names that a local store has.
///
/// # Errors
///
/// What wrangler says.
pub fn names(local: &LocalStore, state: &Path, store: &str) -> Result<Vec<String>> {
    // Asking wrangler takes a second.
    if !is_there(state) {
        return Ok(Vec::new());
    }
    let names = local.names(store).context(STORE_IS_BROKEN)?;
    Ok(names.into_iter().map(|(name, _)| name).collect())
}

fn read<T: for<'de> Deserialize<'de>>(file: &str) -> Result<T> {
    let text = fs::read_to_string(root().join(file)).with_context(|| {
        format!("cannot read {file} (`git restore {file}` brings the one back that was committed)")
    })?;
    toml::from_str(&text)
        .with_context(|| format!("mistake in {file}; correct it at the place shown"))
}
