//! `cargo xtask doctor`: every binding of `wrangler.toml` against the store, and how to mend what is
//! wrong.
//!
//! `config` reads the file, `look` finds out what the stores have, `find` has the rules.

pub(crate) mod config;
mod find;
mod look;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fmt,
    io::Write as _,
    path::{self, Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde::Serialize;
use serde_json::json;

pub(crate) use self::find::word;
pub use self::find::{Finding, Kind};
use self::{
    config::{Config, Environment},
    find::{Facts, Place},
    look::Account,
};
use crate::root;

const SETTINGS_ALONE: &str = "settings and bindings compared with each other alone";

const NOT_FILLED_IN: &str = "its ids are the placeholder of zeros: not filled in yet";

/// What to look at.
#[derive(Debug, Default, clap::Args)]
pub struct Options {
    /// Compare with the account instead of the local store: the top level and every [env.*], unless
    /// its store ids are all the placeholder of zeros. Reads CLOUDFLARE_API_TOKEN,
    /// CLOUDFLARE_ACCOUNT_ID and, if it is set, CLOUDFLARE_API_BASE_URL
    #[arg(long)]
    pub remote: bool,
    /// Look at this [env.*] alone; with --remote, that it is not filled in yet is then a finding
    #[arg(long, value_name = "NAME")]
    pub env: Option<String>,
    /// Print one JSON document and nothing else
    #[arg(long)]
    pub json: bool,
    /// Another wrangler.toml
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The folder of the local Secrets Store, as for `dev`; by default .wrangler/state beside the
    /// wrangler.toml
    #[arg(long, value_name = "DIR")]
    pub persist_to: Option<PathBuf>,
}

impl Options {
    /// The environments that are looked at.
    fn chosen<'c>(&self, config: &'c Config) -> impl Iterator<Item = &'c Environment> {
        let all = config.environments.iter();
        let is_chosen = move |it: &&Environment| self.env.is_none() || it.name == self.env;
        all.filter(is_chosen).collect::<Vec<_>>().into_iter()
    }
}

/// What was looked at, and what is wrong.
#[derive(Debug, Default)]
pub struct Report {
    /// Every environment.
    pub checked: Vec<Checked>,
    /// Everything that is wrong, in the order of the environments.
    pub findings: Vec<Finding>,
}

/// An environment that was looked at.
#[derive(Debug, Serialize)]
pub struct Checked {
    /// The `[env.*]`; `None` for the top level.
    pub environment: Option<String>,
    /// What it was compared with.
    pub compared_with: ComparedWith,
    /// The same for people.
    #[serde(skip)]
    told: String,
}

/// What an environment is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ComparedWith {
    /// The local store.
    LocalStore,
    /// The account.
    Account,
    /// No store: its settings and its bindings were compared with each other alone.
    NoStore,
}

/// Looks, and prints what it sees. Answers whether nothing is wrong.
///
/// # Errors
///
/// Why it could not look, and what mends that.
pub fn run(options: &Options) -> Result<bool> {
    let report = examine(options);
    let text = match &report {
        Ok(report) if !options.json => report.to_string(),
        Err(_) if !options.json => String::new(),
        Ok(Report { checked, findings }) => {
            let ok = findings.is_empty();
            json!({ "ok": ok, "checked": checked, "findings": findings }).to_string() + "\n"
        }
        Err(error) => {
            let error = format!("{error:#}");
            json!({ "ok": false, "checked": [], "findings": [], "error": error }).to_string() + "\n"
        }
    };
    std::io::stdout().write_all(text.as_bytes()).context("cannot print")?;
    Ok(report?.findings.is_empty())
}

fn examine(options: &Options) -> Result<Report> {
    let file = options.config.clone().unwrap_or_else(|| root().join("wrangler.toml"));
    let config = Config::read(&file)?;
    if options.env.is_some() {
        config.environment(options.env.as_deref())?;
    }
    // The project's own file is the one that wrangler and `dev` take by themselves.
    let folder = path::absolute(&file)?.parent().map(Path::to_owned).unwrap_or_default();
    let is_own = folder == root() && file.ends_with("wrangler.toml");
    let config_flag =
        if is_own { String::new() } else { format!(" --config {}", word(&file.to_string_lossy())) };
    if options.remote {
        let account = Account::from_environment()?;
        return examine_remotely(&config, &config_flag, &account, options);
    }
    let state = match &options.persist_to {
        Some(folder) => path::absolute(root().join(folder))?,
        None => folder.join(".wrangler/state"),
    };
    let flag = match (&options.persist_to, is_own) {
        (None, true) => String::new(),
        _ => format!(" --persist-to {}", word(&state.to_string_lossy())),
    };
    let seeds =
        if is_own { look::seeds(&folder.join("secrets.dev.toml")) } else { Default::default() };
    let ids = config.top().map(|top| config::store_ids(&top.bindings)).unwrap_or_default();
    let stores = look::local(&state, &ids, Place::Local { flag, seeds })?;

    let mut report = Report::default();
    for environment in options.chosen(&config) {
        let is_top = environment.name.is_none();
        let mut plain = plain_in_files(&config, environment);
        if !is_top {
            // A plain secret here for what is in the store there is no clash.
            plain.retain(|name, _| !environment.bindings.iter().any(|it| it.binding == *name));
        }
        let stores = is_top.then_some(&stores);
        let facts = Facts { stores, plain, config_flag: &config_flag };
        let (with, told) = if is_top {
            (
                ComparedWith::LocalStore,
                format!("compared with the local store in {}", shown(&state)),
            )
        } else {
            (
                ComparedWith::NoStore,
                match environment.is_placeholder() {
                    true => format!("{SETTINGS_ALONE}; {NOT_FILLED_IN}"),
                    false => format!("{SETTINGS_ALONE}; --remote compares it with the account"),
                },
            )
        };
        report.add(&config, environment, &facts, with, told);
    }
    Ok(report)
}

fn examine_remotely(
    config: &Config,
    config_flag: &str,
    account: &Account,
    options: &Options,
) -> Result<Report> {
    // The top level is for development where no entry of it could be in an account; an environment is
    // then still to be filled in, which is wrong where it is the one that is asked for.
    let is_remote = |environment: &Environment| match environment.name {
        None => !environment.bindings.is_empty() && !environment.is_placeholder(),
        Some(_) => options.env.is_some() || !environment.is_placeholder(),
    };
    let remote = options.chosen(config).filter(|it| is_remote(it));
    let ids = remote.flat_map(|it| config::store_ids(&it.bindings)).collect();
    let (stores, usage) = account.look(&ids)?;

    let mut report = Report::default();
    for environment in options.chosen(config) {
        if !is_remote(environment) {
            let plain = plain_in_files(config, environment);
            let facts = Facts { stores: None, plain, config_flag };
            let why = match environment.name {
                None => "for development, without an account's store",
                Some(_) => NOT_FILLED_IN,
            };
            let told = format!("{SETTINGS_ALONE}; {why}");
            report.add(config, environment, &facts, ComparedWith::NoStore, told);
            continue;
        }
        let flag = environment.name.as_ref().map(|name| format!(" --env {}", word(name)));
        let remove = |name: String| {
            let flag = flag.as_deref().unwrap_or_default();
            let command = format!("npx wrangler secret delete {}{flag}{config_flag}", word(&name));
            (name, command)
        };
        let deployed = environment.worker.as_ref().and_then(|it| account.plain_secrets(it));
        let hidden = if deployed.is_none() {
            "; its Worker's plain secrets cannot be seen with this token"
        } else {
            ""
        };
        let plain: BTreeMap<_, _> = deployed.into_iter().flatten().map(remove).collect();
        let facts = Facts { stores: Some(&stores), plain, config_flag };
        let told = format!("compared with the account {}{hidden}", account.id);
        report.add(config, environment, &facts, ComparedWith::Account, told);
    }
    let a_store = stores.names.keys().next().map(String::as_str);
    report.findings.extend(find::quota(usage, a_store));
    Ok(report)
}

/// A path as short as it may be.
fn shown(path: &Path) -> path::Display<'_> {
    let here = std::env::current_dir().ok();
    here.and_then(|here| path.strip_prefix(here).ok()).unwrap_or(path).display()
}

fn plain_in_files(config: &Config, environment: &Environment) -> BTreeMap<String, String> {
    let names = config.plain_in_files(environment).into_iter();
    names.map(|(name, file)| (name.clone(), format!("remove {name} from {file}"))).collect()
}

impl Report {
    fn add(
        &mut self,
        config: &Config,
        environment: &Environment,
        facts: &Facts<'_>,
        compared_with: ComparedWith,
        told: String,
    ) {
        let top = config.top().unwrap_or(environment);
        self.findings.extend(find::findings(environment, top, facts));
        let environment = environment.name.clone();
        self.checked.push(Checked { environment, compared_with, told });
    }
}

/// For people: each environment and below it what is wrong with it, a line each.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_quota = |it: &&Finding| it.kind == Kind::QuotaNearlyUsedUp;
        for Checked { environment, told, .. } in &self.checked {
            match environment {
                None => writeln!(f, "top level: {told}")?,
                Some(name) => writeln!(f, "[env.{name}]: {told}")?,
            }
            let own = self.findings.iter().filter(|it| it.environment == *environment);
            own.filter(|it| !is_quota(it)).try_for_each(|it| it.fmt(f))?;
        }
        for quota in self.findings.iter().filter(is_quota) {
            writeln!(f, "account")?;
            quota.fmt(f)?;
        }
        match self.findings.len() {
            0 => writeln!(f, "nothing is wrong"),
            1 => writeln!(f, "1 finding"),
            count => writeln!(f, "{count} findings"),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("  ✗ ")?;
        if let Some(binding) = &self.binding {
            write!(f, "{binding}: ")?;
        }
        if !self.mend.contains('\n') {
            return writeln!(f, "{} — {}", self.what, self.mend);
        }
        writeln!(f, "{} — add to wrangler.toml:", self.what)?;
        self.mend.lines().try_for_each(|line| writeln!(f, "      {line}"))
    }
}
