//! The local Secrets Store of `wrangler dev`, filled with development values.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::{process, root, step, tools::Tools};

/// The file of development values: a value for each `secret_name`.
const DEVELOPMENT_SECRETS: &str = "secrets.dev.toml";

const STORE_IS_BROKEN: &str = "If the local store is broken, remove .wrangler and run again";

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

/// The bindings of `wrangler.toml`, and values for them.
#[derive(Debug)]
pub struct Development {
    /// `wrangler.toml`.
    pub config: WranglerToml,
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
        Ok(Self { config: read("wrangler.toml")?, values: read(DEVELOPMENT_SECRETS)? })
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

    /// The development value of a binding.
    ///
    /// # Errors
    ///
    /// Where there is none.
    pub fn value(&self, binding: &str) -> Result<&str> {
        let bound = self.config.secrets_store_secrets.iter().find(|it| it.binding == binding);
        let bound = bound.with_context(|| {
            format!("wrangler.toml has no [[secrets_store_secrets]] with binding = \"{binding}\"")
        })?;
        let value = self.values.get(&bound.secret_name).with_context(|| {
            format!("{DEVELOPMENT_SECRETS} has no value for {}", bound.secret_name)
        })?;
        Ok(value)
    }

    /// Creates in the local store below `state` what `secrets.dev.toml` has and the store has not,
    /// or has from an earlier version of that file. What a developer changed in the store stays.
    ///
    /// # Errors
    ///
    /// What wrangler says.
    pub fn seed(&self, tools: &Tools, state: &Path) -> Result<()> {
        let bindings = &self.config.secrets_store_secrets;
        let seeded_file = state.join("seeded.toml");
        let seeded: BTreeMap<String, String> = fs::read_to_string(&seeded_file)
            .ok()
            .and_then(|text| toml::from_str(&text).ok())
            .unwrap_or_default();

        let mut stores: Vec<&str> = bindings.iter().map(|it| it.store_id.as_str()).collect();
        stores.sort_unstable();
        stores.dedup();
        let mut missing = Vec::new();
        for store in stores {
            let there = names(tools, state, store)?;
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
        if missing.is_empty() {
            return Ok(());
        }
        step(&format!("{} development secrets into the local store, by wrangler", missing.len()));
        // One after the other: two at once find the store's database locked.
        for (binding, value) in missing {
            eprintln!("    {}", binding.secret_name);
            create(tools, state, &binding.store_id, &binding.secret_name, value)?;
        }
        fs::write(&seeded_file, toml::to_string(&self.values)?)
            .with_context(|| format!("cannot write {}", seeded_file.display()))
    }
}

/// Creates a local secret, or gives it a new value. For development values only: the value is an
/// argument of wrangler's command.
///
/// # Errors
///
/// What wrangler says.
pub fn create(tools: &Tools, state: &Path, store: &str, name: &str, value: &str) -> Result<()> {
    let mut command = tools.wrangler();
    command
        .args(["secrets-store", "secret", "create", store, "--name", name, "--value", value])
        .args(["--scopes", "workers", "--persist-to"])
        .arg(state);
    process::output(&format!("creating the local secret {name}"), &mut command, STORE_IS_BROKEN)?;
    Ok(())
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
pub fn names(tools: &Tools, state: &Path, store: &str) -> Result<Vec<String>> {
    if !is_there(state) {
        return Ok(Vec::new());
    }
    let mut command = tools.wrangler();
    command
        // A mistake in wrangler.toml is no reason not to list.
        .args(["secrets-store", "secret", "list", store, "--config", "/dev/null"])
        .args(["--per-page", "100", "--persist-to"])
        .arg(state);
    match process::output("listing the local secrets", &mut command, STORE_IS_BROKEN) {
        Ok(table) => Ok(first_column(&table)),
        // wrangler's word for an empty store, which it takes for a failure.
        Err(error) if format!("{error:#}").contains("returned no secrets") => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// The first cell of each row but the head; a row is `│ name │ id │ …`.
fn first_column(table: &str) -> Vec<String> {
    let rows = table.lines().filter_map(|row| Some(row.split('│').nth(1)?.trim().to_owned()));
    rows.skip(1).collect()
}

fn read<T: for<'de> Deserialize<'de>>(file: &str) -> Result<T> {
    let text =
        fs::read_to_string(root().join(file)).with_context(|| format!("cannot read {file}"))?;
    toml::from_str(&text).with_context(|| format!("mistake in {file}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_a_list_are_read_and_its_head_is_none() {
        let table = "🔐 Listing secrets... (store-id: 0, page: 1)\n\
                     ┌─────────┬────┐\n│ Name    │ ID │\n├─────────┼────┤\n\
                     │ api_key │ 1a │\n├─────────┼────┤\n│ b       │ 2b │\n└─────────┴────┘\n";
        assert_eq!(first_column(table), ["api_key", "b"]);
        assert!(first_column("").is_empty());
    }
}
