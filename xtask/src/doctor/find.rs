//! The rules: what is wrong with an environment, given what is known. Nothing is looked up here.

use std::collections::{BTreeMap, BTreeSet};

use secrets_store_api::{Scope, Status, StoreId, Usage};
use serde::Serialize;

use super::config::{Environment, PLACEHOLDER, Settings};
use crate::store::Binding;

/// From this share of the quota on, in percent, it is nearly used up.
const NEARLY: u64 = 90;

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The `[env.*]`; `None` for the top level, and for what concerns the whole account.
    pub environment: Option<String>,
    /// The binding, where it is about one.
    pub binding: Option<String>,
    /// Which rule.
    pub kind: Kind,
    /// What is wrong, on one line.
    pub what: String,
    /// What mends it: a command, lines for wrangler.toml, or a short advice.
    pub mend: String,
}

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A part of wrangler.toml cannot be read, so it was not checked.
    Malformed,
    /// An id is still the placeholder of zeros.
    NotFilledIn,
    /// No such store.
    NoSuchStore,
    /// No such secret in the store.
    NoSuchSecret,
    /// There is one whose name differs in case only.
    DiffersInCase,
    /// The secret lacks the scope `workers`.
    ScopeMissing,
    /// The secret cannot be used yet.
    Pending,
    /// A setting names it, and nothing binds it.
    NotBound,
    /// As [`NotBound`](Self::NotBound), and the top level binds it.
    NotInherited,
    /// Bound, and no setting names it.
    NeverUsed,
    /// An `[env.*]` without settings, while the top level has some.
    NoSettings,
    /// A plain secret and a binding of the store have the same name.
    PlainAndStore,
    /// The account's quota is nearly used up.
    QuotaNearlyUsedUp,
}

/// What is known of where an environment's Worker runs.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The stores that it is compared with, if any.
    pub stores: Option<&'a Stores>,
    /// The names of plain secrets that wrangler.toml does not have, and how each is removed.
    pub plain: BTreeMap<String, String>,
    /// ` --config FILE`, where wrangler would not find the file by itself.
    pub config_flag: &'a str,
}

/// Stores, local or an account's.
#[derive(Debug)]
pub struct Stores {
    /// Which.
    pub place: Place,
    /// Every store's name, by id. Locally, any id is a store.
    pub names: BTreeMap<String, String>,
    /// Secrets by their store's id.
    pub secrets: BTreeMap<String, Vec<Secret>>,
}

/// Where stores are.
#[derive(Debug)]
pub enum Place {
    /// On this machine.
    Local {
        /// ` --persist-to DIR`, where it is not wrangler's default.
        flag: String,
        /// Secrets that `cargo xtask dev` has a value for, and creates.
        seeds: BTreeSet<String>,
    },
    /// In the account.
    Account,
}

/// A secret, without its value.
#[derive(Debug, Clone)]
pub struct Secret {
    /// Its name.
    pub name: String,
    /// Its id; not needed of a local one.
    pub id: String,
    /// Which services may use it.
    pub scopes: Vec<Scope>,
    /// Whether it can be used.
    pub status: Status,
}

impl Secret {
    /// A local one: it has neither scopes nor a status of its own.
    pub fn local(name: String) -> Self {
        Self { name, id: String::new(), scopes: vec![Scope::Workers], status: Status::Active }
    }
}

/// Everything that is wrong with `environment`.
pub fn findings(environment: &Environment, top: &Environment, facts: &Facts<'_>) -> Vec<Finding> {
    let mut found = Found { environment, top, facts, findings: Vec::new() };
    found.in_stores();
    found.in_settings();
    found.twice_bound();
    // By binding, so that one line follows another about the same thing.
    found.findings.sort_by(|a, b| (&a.binding, a.kind).cmp(&(&b.binding, b.kind)));
    found.findings
}

/// Whether the account has hardly room for another secret.
pub fn quota(usage: Usage, a_store: Option<&str>) -> Option<Finding> {
    let Usage { quota, usage } = usage;
    if quota == 0 || usage.saturating_mul(100) < quota.saturating_mul(NEARLY) {
        return None;
    }
    let store = a_store.map_or("<store id>".to_owned(), word);
    Some(Finding {
        environment: None,
        binding: None,
        kind: Kind::QuotaNearlyUsedUp,
        what: format!("{usage} of the account's {quota} secrets are used"),
        mend: format!(
            "npx wrangler secrets-store secret list {store} --per-page 100 --remote, and delete \
             what nothing uses"
        ),
    })
}

struct Found<'a> {
    environment: &'a Environment,
    top: &'a Environment,
    facts: &'a Facts<'a>,
    findings: Vec<Finding>,
}

impl Found<'_> {
    fn add(&mut self, kind: Kind, binding: Option<&str>, what: String, mend: String) {
        let environment = self.environment.name.clone();
        let binding = binding.map(str::to_owned);
        self.findings.push(Finding { environment, binding, kind, what, mend });
    }

    /// Each binding of the store, against the store.
    fn in_stores(&mut self) {
        let Some(stores) = self.facts.stores else { return self.in_no_store() };
        for binding in &self.environment.bindings {
            let Binding { binding: about, store_id, secret_name } = binding;
            if stores.is_account() && store_id == PLACEHOLDER {
                let what = "its store_id is the placeholder of zeros: not filled in yet".to_owned();
                self.add(Kind::NotFilledIn, Some(about), what, stores.mend_store());
                continue;
            }
            if stores.is_account() && !stores.names.contains_key(store_id) {
                let what = format!("the account has no store {store_id}");
                self.add(Kind::NoSuchStore, Some(about), what, stores.mend_store());
                continue;
            }
            let what = format!("the store has no secret {secret_name}");
            match stores.find(binding) {
                Match::Exact(secret) => self.usable(binding, secret),
                Match::OtherCase(other) => {
                    let mend = if stores.is_seeded(secret_name) {
                        stores.mend_secret(binding)
                    } else {
                        format!("in its entry: secret_name = {}", quoted(other))
                    };
                    let what = format!("{what}, but {other}; case matters");
                    self.add(Kind::DiffersInCase, Some(about), what, mend);
                }
                Match::None => {
                    self.add(Kind::NoSuchSecret, Some(about), what, stores.mend_secret(binding));
                }
            }
        }
        let api = self.environment.settings.as_ref().and_then(|it| it.api.as_ref());
        if stores.is_account() && api.is_some_and(|it| it.account_id == PLACEHOLDER) {
            let what =
                "SECRETS_STORE_API.account_id is the placeholder of zeros: not filled in yet";
            let mend = format!(
                "npx wrangler whoami shows it; it goes into [{}]",
                table(self.environment, "vars.SECRETS_STORE_API")
            );
            self.add(Kind::NotFilledIn, None, what.to_owned(), mend);
        }
    }

    /// Whether a Worker may use the secret, and can.
    fn usable(&mut self, binding: &Binding, secret: &Secret) {
        let Binding { binding: about, store_id, secret_name } = binding;
        if !secret.scopes.contains(&Scope::Workers) {
            let scopes = secret.scopes.iter().chain([&Scope::Workers]).map(Scope::as_str);
            let scopes = scopes.collect::<Vec<_>>().join(",");
            let mend = format!(
                "npx wrangler secrets-store secret update {} --secret-id {} --scopes {} --remote",
                word(store_id),
                word(&secret.id),
                word(&scopes)
            );
            let what = format!("the secret {secret_name} lacks the scope workers");
            self.add(Kind::ScopeMissing, Some(about), what, mend);
        }
        if secret.status == Status::Pending {
            let what = format!(
                "the secret {secret_name} is still pending; deploying now fails with code 10182"
            );
            let again = "wait a moment, then: cargo xtask doctor --remote".to_owned();
            self.add(Kind::Pending, Some(about), what, again + self.facts.config_flag);
        }
    }

    /// What is seen of an environment for the account without asking the account.
    fn in_no_store(&mut self) {
        for Binding { binding, store_id, .. } in &self.environment.bindings {
            if StoreId::parse(store_id).is_none() {
                let what = format!("{store_id} is no store's id");
                let mend = "npx wrangler secrets-store store list --remote".to_owned();
                self.add(Kind::NoSuchStore, Some(binding), what, mend);
            }
        }
    }

    /// What the settings name against what is bound.
    fn in_settings(&mut self) {
        for mistake in &self.environment.mistakes {
            let mend = "correct it in wrangler.toml; `binding`, `store_id` and `secret_name` are \
                        strings";
            let what = format!("{}: {}", mistake.path, mistake.what);
            self.add(Kind::Malformed, None, what, mend.to_owned());
        }
        let Some(settings) = &self.environment.settings else {
            if self.top.settings.is_some() {
                let what =
                    "no upstreams: neither [vars] nor bindings of the top level are inherited";
                let mend = format!(
                    "write [{}.<name>] into wrangler.toml, with the same fields as at the top level",
                    table(self.environment, "vars.UPSTREAMS")
                );
                self.add(Kind::NoSettings, None, what.to_owned(), mend);
            }
            // No settings at all: it is code that reads the bindings, and they may all be used.
            return;
        };
        for mistake in &settings.mistakes {
            let what = format!("{}: {}", mistake.path, mistake.what);
            let mend = "correct it in wrangler.toml; docs/settings.md has every field".to_owned();
            self.add(Kind::Malformed, None, what, mend);
        }
        let mut meant = BTreeSet::new();
        for (name, path) in &settings.named {
            if !self.is_bound(name) {
                meant.extend(self.not_bound(name, path));
            }
        }
        self.never_used(settings, &meant);
    }

    fn is_bound(&self, name: &str) -> bool {
        self.bound().any(|bound| bound == name)
            || self.environment.plain.contains_key(name)
            || self.facts.plain.contains_key(name)
    }

    fn bound(&self) -> impl Iterator<Item = &str> {
        self.environment.bindings.iter().map(|it| it.binding.as_str())
    }

    /// Tells what is missing, and answers the binding that was probably meant.
    fn not_bound(&mut self, name: &str, path: &str) -> Option<String> {
        let other = self.bound().find(|it| it.eq_ignore_ascii_case(name)).map(str::to_owned);
        if let Some(other) = other {
            let what = format!("{path} names it, and the binding is {other}; case matters");
            let mend = format!("write {other} in {path}");
            self.add(Kind::DiffersInCase, Some(name), what, mend);
            return Some(other);
        }
        let in_top = self.top.bindings.iter().find(|it| it.binding == name);
        let is_env = self.environment.name.is_some();
        let (kind, what) = match in_top {
            Some(_) if is_env => (
                Kind::NotInherited,
                "only the top level binds it: bindings are not inherited".to_owned(),
            ),
            _ => (Kind::NotBound, "nothing in wrangler.toml binds it".to_owned()),
        };
        let mend = self.mend_binding(name, in_top);
        self.add(kind, Some(name), format!("{path} names it, and {what}"), mend);
        None
    }

    fn never_used(&mut self, settings: &Settings, meant: &BTreeSet<String>) {
        // A part that cannot be read may name any of them.
        if !settings.mistakes.is_empty() {
            return;
        }
        for binding in &self.environment.bindings {
            let name = &binding.binding;
            if !settings.named.contains_key(name) && !meant.contains(name) {
                let mend = format!(
                    "name it in the settings, or remove its [[{}]]",
                    table(self.environment, "secrets_store_secrets")
                );
                let what = "bound, and no setting names it".to_owned();
                self.add(Kind::NeverUsed, Some(name), what, mend);
            }
        }
    }

    fn twice_bound(&mut self) {
        for binding in &self.environment.bindings {
            let name = &binding.binding;
            let in_config = self.environment.plain.get(name).map(|place| {
                let place = match (&self.environment.name, *place) {
                    (Some(_), "[vars]") => format!("[{}]", table(self.environment, "vars")),
                    (Some(_), _) => format!("[{}] required", table(self.environment, "secrets")),
                    (None, place) => place.to_owned(),
                };
                format!("remove {name} from {place}")
            });
            if let Some(mend) = in_config.or_else(|| self.facts.plain.get(name).cloned()) {
                let what = "a plain secret or variable and a binding of the store share this name";
                self.add(Kind::PlainAndStore, Some(name), what.to_owned(), mend);
            }
        }
    }

    /// Lines for wrangler.toml that bind `name`.
    fn mend_binding(&self, name: &str, in_top: Option<&Binding>) -> String {
        let is_env = self.environment.name.is_some();
        let is_real = |id: &&str| match self.facts.stores {
            Some(stores) if stores.is_account() => stores.names.contains_key(*id),
            _ => StoreId::parse(id).is_some() && (*id != PLACEHOLDER || !is_env),
        };
        let mut own = self.environment.bindings.iter().chain(in_top).map(|it| it.store_id.as_str());
        let only = self.facts.stores.and_then(Stores::only).map(|(id, _)| id);
        let store = own.find(is_real).or(only).map_or(
            "\"<your store's id>\"    # npx wrangler secrets-store store list --remote".to_owned(),
            quoted,
        );
        let secret = in_top.map_or_else(|| name.to_lowercase(), |it| it.secret_name.clone());
        let plain = match (&self.environment.name, self.facts.stores) {
            (None, Some(Stores { place: Place::Local { .. }, .. }) | None) => {
                format!("{name}=<value> in .dev.vars")
            }
            (environment, stores) => {
                let flag = environment.as_ref().map(|name| format!(" --env {}", word(name)));
                let list = match stores {
                    // Without the account, that list is all that can be seen of it.
                    None => {
                        format!(", listed in [{}] required", table(self.environment, "secrets"))
                    }
                    Some(_) => String::new(),
                };
                let (flag, config) = (flag.unwrap_or_default(), self.facts.config_flag);
                format!("npx wrangler secret put {}{flag}{config}{list}", word(name))
            }
        };
        format!(
            "[[{}]]\nbinding = {}\nstore_id = {store}\nsecret_name = {}\n\
             # or, if it is a plain secret: {plain}",
            table(self.environment, "secrets_store_secrets"),
            quoted(name),
            quoted(&secret)
        )
    }
}

/// What a store has of the name that is asked for.
enum Match<'a> {
    Exact(&'a Secret),
    OtherCase(&'a str),
    None,
}

impl Stores {
    fn find(&self, Binding { store_id, secret_name, .. }: &Binding) -> Match<'_> {
        let secrets = self.secrets.get(store_id).into_iter().flatten();
        let there = secrets.filter(|it| it.status != Status::Deleted);
        let mut found = Match::None;
        for secret in there.filter(|it| it.name.eq_ignore_ascii_case(secret_name)) {
            if secret.name == *secret_name {
                return Match::Exact(secret);
            }
            found = Match::OtherCase(&secret.name);
        }
        found
    }

    fn is_account(&self) -> bool {
        matches!(self.place, Place::Account)
    }

    /// Whether `cargo xtask dev` creates it.
    fn is_seeded(&self, secret: &str) -> bool {
        matches!(&self.place, Place::Local { seeds, .. } if seeds.contains(secret))
    }

    /// The only store that there is, and its name.
    fn only(&self) -> Option<(&str, &str)> {
        let mut all = self.names.iter();
        let (id, name) = all.next()?;
        all.next().is_none().then_some((id, name))
    }

    fn mend_store(&self) -> String {
        match self.only() {
            Some((id, name)) => {
                format!(
                    "in its entry: store_id = {} (the account's only store, {name})",
                    quoted(id)
                )
            }
            None if self.names.is_empty() => {
                "npx wrangler secrets-store store create default --remote".to_owned()
            }
            None => "npx wrangler secrets-store store list --remote".to_owned(),
        }
    }

    fn mend_secret(&self, binding: &Binding) -> String {
        let create = format!(
            "npx wrangler secrets-store secret create {} --name {} --scopes workers",
            word(&binding.store_id),
            word(&binding.secret_name)
        );
        match &self.place {
            Place::Account => create + " --remote",
            Place::Local { flag, .. } if self.is_seeded(&binding.secret_name) => {
                format!("cargo xtask dev{flag}")
            }
            Place::Local { flag, .. } => create + flag,
        }
    }
}

/// The name of a table of this environment.
fn table(environment: &Environment, table: &str) -> String {
    let Some(name) = &environment.name else { return table.to_owned() };
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    if !name.is_empty() && name.bytes().all(is_bare) {
        return format!("env.{name}.{table}");
    }
    format!("env.{}.{table}", quoted(name))
}

/// A string as TOML writes it.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// A word as a shell takes it.
pub fn word(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./,:=@%+".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}
