//! `wrangler.toml` as far as it matters here: every environment, what it binds, and which bindings
//! its settings name.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::store::Binding;

/// What stands in wrangler.toml for the id of a store or an account, for development and where an
/// environment is still to be filled in: nobody has it.
pub const PLACEHOLDER: &str = "00000000000000000000000000000000";

/// A `wrangler.toml`.
#[derive(Debug)]
pub struct Config {
    /// Where it is.
    pub file: PathBuf,
    /// The top level first, then every `[env.*]`.
    pub environments: Vec<Environment>,
}

/// The top level, or an `[env.*]`, which inherits neither bindings nor variables from it.
#[derive(Debug, Default)]
pub struct Environment {
    /// `None` for the top level.
    pub name: Option<String>,
    /// The name that its Worker is deployed under.
    pub worker: Option<String>,
    /// `[[secrets_store_secrets]]`.
    pub bindings: Vec<Binding>,
    /// The names of plain secrets, and where each is written.
    pub plain: BTreeMap<String, &'static str>,
    /// There is a `[secrets]` table: of the local files, wrangler then takes no other names.
    pub lists_its_secrets: bool,
    /// What its settings say; `None` without any.
    pub settings: Option<Settings>,
    /// Entries that cannot be read.
    pub mistakes: Vec<Mistake>,
}

/// `[vars.UPSTREAMS]` and `[vars.SECRETS_STORE_API]`.
#[derive(Debug, Default)]
pub struct Settings {
    /// The bindings that they name, each with the path of the first field that does.
    pub named: BTreeMap<String, String>,
    /// The credentials of every upstream.
    pub credentials: Vec<Credential>,
    /// The callers of every upstream and of the REST API.
    pub callers: Vec<Callers>,
    /// `SECRETS_STORE_API`, if there is one.
    pub api: Option<Api>,
    /// Fields that cannot be read, and so may name bindings that are not known here.
    pub mistakes: Vec<Mistake>,
}

/// The bindings of a credential.
#[derive(Debug)]
#[allow(dead_code, reason = "for `rotate`, which a project may leave out")]
pub struct Credential {
    /// Where, for example `UPSTREAMS.demo.credentials[0]`.
    pub path: String,
    /// Its `secret`.
    pub secret: String,
    /// Its `fallback`.
    pub fallback: Option<String>,
}

/// A list of callers that is not `"public"`.
#[derive(Debug)]
pub struct Callers {
    /// Where, for example `UPSTREAMS.demo.callers`.
    pub path: String,
    /// The bindings of their tokens.
    pub tokens: Vec<String>,
}

/// `[vars.SECRETS_STORE_API]`.
#[derive(Debug)]
pub struct Api {
    /// The binding of its `token`.
    #[allow(dead_code, reason = "for `rotate`, which a project may leave out")]
    pub token: String,
    /// Its `account_id`.
    pub account_id: String,
}

/// What is wrong with one field.
#[derive(Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where, for example `UPSTREAMS.demo.callers[0]`.
    pub path: String,
    /// What it should be.
    pub what: String,
}

impl Config {
    /// Reads `file`.
    ///
    /// # Errors
    ///
    /// Where it cannot be read or is not TOML, with line and column.
    pub fn read(file: &Path) -> Result<Self> {
        let shown = file.display();
        let text = fs::read_to_string(file).with_context(|| {
            format!("cannot read {shown}; `--config FILE` names another wrangler.toml")
        })?;
        let environments = Self::parse(&text)
            .with_context(|| format!("{shown} is not TOML; correct it at the place shown"))?;
        Ok(Self { file: file.to_owned(), environments })
    }

    fn parse(text: &str) -> Result<Vec<Environment>, toml::de::Error> {
        let root: toml::Table = toml::from_str(text)?;
        let top = Environment::read(None, &root, None);
        let named = root.get("env").and_then(toml::Value::as_table).into_iter().flatten();
        let named = named.filter_map(|(name, table)| {
            Some(Environment::read(Some(name), table.as_table()?, top.worker.as_deref()))
        });
        let environments = named.collect::<Vec<_>>();
        Ok([top].into_iter().chain(environments).collect())
    }

    /// The top level for `None`, or an `[env.*]`.
    ///
    /// # Errors
    ///
    /// Where there is none of this name, with those that there are.
    pub fn environment(&self, name: Option<&str>) -> Result<&Environment> {
        let found = self.environments.iter().find(|it| it.name.as_deref() == name);
        found.with_context(|| {
            let all = self.environments.iter().filter_map(|it| it.name.as_deref());
            let all = all.map(|it| format!("[env.{it}]")).collect::<Vec<_>>().join(", ");
            let name = name.unwrap_or_default();
            format!("{} has no [env.{name}]; it has: {all}", self.file.display())
        })
    }

    /// The top level, which `wrangler dev` runs.
    pub fn top(&self) -> Option<&Environment> {
        self.environments.first()
    }

    /// The names of plain secrets that `wrangler dev` takes from files for this environment, and the
    /// file that each is in. Names alone: values are not kept.
    pub fn plain_in_files(&self, environment: &Environment) -> BTreeMap<String, String> {
        if environment.lists_its_secrets {
            return BTreeMap::new();
        }
        let folder = self.file.parent().unwrap_or(Path::new(""));
        let read = |name: &String| fs::read_to_string(folder.join(name)).ok();
        let suffix = environment.name.as_ref().map(|name| format!(".{name}"));
        let own = suffix.iter().map(|suffix| format!(".dev.vars{suffix}"));
        // As wrangler does: the first .dev.vars alone, or else every .env.
        if let Some((file, text)) =
            own.chain([".dev.vars".to_owned()]).find_map(|it| Some((it.clone(), read(&it)?)))
        {
            return names(&text).map(|name| (name.to_owned(), file.clone())).collect();
        }
        let files = ["", ".local"].into_iter().flat_map(|end| {
            let own = suffix.iter().map(move |suffix| format!(".env{suffix}{end}"));
            [format!(".env{end}")].into_iter().chain(own)
        });
        let mut found = BTreeMap::new();
        for (file, text) in files.filter_map(|file| Some((file.clone(), read(&file)?))) {
            found.extend(names(&text).map(|name| (name.to_owned(), file.clone())));
        }
        found
    }
}

impl Environment {
    /// Whether it is as the project ships it: no account has the store of any binding.
    pub fn is_placeholder(&self) -> bool {
        !self.bindings.is_empty() && self.bindings.iter().all(|it| it.store_id == PLACEHOLDER)
    }

    fn read(name: Option<&str>, table: &toml::Table, top: Option<&str>) -> Self {
        let own = table.get("name").and_then(toml::Value::as_str).map(str::to_owned);
        // wrangler's rule for an environment without a name of its own.
        let worker = own.or_else(|| Some(format!("{}-{}", top?, name?)));
        let mut environment = Self { name: name.map(str::to_owned), worker, ..Default::default() };
        environment.read_bindings(table);
        environment.read_vars(table.get("vars"));
        if let Some(secrets) = table.get("secrets") {
            environment.lists_its_secrets = true;
            let required = secrets.get("required").and_then(toml::Value::as_array);
            let required = required.into_iter().flatten().filter_map(toml::Value::as_str);
            environment.plain.extend(required.map(|name| (name.to_owned(), "[secrets] required")));
        }
        environment
    }

    fn read_bindings(&mut self, table: &toml::Table) {
        let entries = table.get("secrets_store_secrets").map(|it| it.as_array().ok_or(()));
        let Some(Ok(entries)) = entries else {
            if entries.is_some() {
                self.mistake("secrets_store_secrets", "must be [[secrets_store_secrets]]");
            }
            return;
        };
        for (index, entry) in entries.iter().enumerate() {
            match entry.clone().try_into() {
                Ok(binding) => self.bindings.push(binding),
                Err(error) => {
                    self.mistake(&format!("secrets_store_secrets[{index}]"), error.message().trim())
                }
            }
        }
    }

    fn read_vars(&mut self, vars: Option<&toml::Value>) {
        let mut settings = Settings::default();
        let mut is_set = false;
        for (name, value) in vars.and_then(toml::Value::as_table).into_iter().flatten() {
            let read: fn(&mut Settings, &Field<'_>) = match name.as_str() {
                "UPSTREAMS" => Settings::read_upstreams,
                "SECRETS_STORE_API" => Settings::read_api,
                _ => {
                    if value.is_str() {
                        self.plain.insert(name.clone(), "[vars]");
                    }
                    continue;
                }
            };
            is_set = true;
            match json(value) {
                Ok(value) => read(&mut settings, &Field { path: name.clone(), value: &value }),
                Err(what) => settings.mistake(name, what),
            }
        }
        self.settings = is_set.then_some(settings);
    }

    fn mistake(&mut self, path: &str, what: &str) {
        self.mistakes.push(Mistake { path: path.to_owned(), what: what.to_owned() });
    }
}

/// A setting as the Worker sees it: a table, or JSON text with the same content.
fn json(setting: &toml::Value) -> Result<Value, String> {
    let read = match setting {
        toml::Value::String(text) => serde_json::from_str(text),
        table => serde_json::to_value(table),
    };
    read.map_err(|error| format!("is text, and not JSON: {error}"))
}

/// A field of the settings, and its path.
struct Field<'a> {
    path: String,
    value: &'a Value,
}

impl<'a> Field<'a> {
    fn get(&self, name: &str) -> Option<Self> {
        // As the Worker reads it: null is not there.
        let value = self.value.get(name).filter(|value| !value.is_null())?;
        Some(Self { path: format!("{}.{name}", self.path), value })
    }

    fn items(&self) -> Option<impl Iterator<Item = Self> + use<'a>> {
        let path = self.path.clone();
        let items = self.value.as_array()?.iter().enumerate();
        Some(items.map(move |(index, value)| Self { path: format!("{path}[{index}]"), value }))
    }
}

// What does not name a binding (methods, paths, types) is left to the Worker, which checks it all.
impl Settings {
    /// The bindings of the admins' tokens; `None` where nobody is one.
    pub fn admins(&self) -> Option<&[String]> {
        let callers = self.callers.iter().find(|it| it.path == "SECRETS_STORE_API.callers")?;
        Some(&callers.tokens)
    }

    fn mistake(&mut self, path: &str, what: impl Into<String>) {
        self.mistakes.push(Mistake { path: path.to_owned(), what: what.into() });
    }

    fn read_upstreams(&mut self, upstreams: &Field<'_>) {
        let Some(entries) = upstreams.value.as_object() else {
            return self.mistake(&upstreams.path, "must be a table");
        };
        for (name, value) in entries {
            let upstream = Field { path: format!("{}.{name}", upstreams.path), value };
            self.read_callers(&upstream);
            let list = upstream.get("credentials");
            let Some(credentials) = list.as_ref().and_then(Field::items) else {
                self.mistake(&format!("{}.credentials", upstream.path), "must be a list");
                continue;
            };
            for credential in credentials {
                let secret = self.read_binding(&credential, "secret");
                let fallback = credential
                    .get("fallback")
                    .and_then(|_| self.read_binding(&credential, "fallback"));
                if let Some(secret) = secret {
                    self.credentials.push(Credential { path: credential.path, secret, fallback });
                }
            }
        }
    }

    fn read_api(&mut self, api: &Field<'_>) {
        let token = self.read_binding(api, "token");
        self.read_callers(api);
        let account_id = api.get("account_id").and_then(|it| it.value.as_str());
        self.api = token.map(|token| {
            let account_id = account_id.unwrap_or_default().to_owned();
            Api { token, account_id }
        });
    }

    fn read_callers(&mut self, parent: &Field<'_>) {
        let callers = parent.get("callers");
        if callers.as_ref().is_some_and(|it| it.value == "public") {
            return;
        }
        let Some(tokens) = callers.as_ref().and_then(Field::items) else {
            let what = "must be a list of bindings, or \"public\"";
            return self.mistake(&format!("{}.callers", parent.path), what);
        };
        let tokens = tokens.filter_map(|token| self.name(&token.path, token.value)).collect();
        self.callers.push(Callers { path: format!("{}.callers", parent.path), tokens });
    }

    fn read_binding(&mut self, parent: &Field<'_>, name: &str) -> Option<String> {
        let Some(field) = parent.get(name) else {
            self.mistake(&format!("{}.{name}", parent.path), "must name a binding");
            return None;
        };
        self.name(&field.path, field.value)
    }

    fn name(&mut self, path: &str, binding: &Value) -> Option<String> {
        let Some(name) = binding.as_str().filter(|name| !name.is_empty()) else {
            self.mistake(path, "must name a binding");
            return None;
        };
        self.named.entry(name.to_owned()).or_insert_with(|| path.to_owned());
        Some(name.to_owned())
    }
}

/// The names in a file of `NAME=value` lines. A line of a value that goes over several may look like
/// one: such a name is only ever compared with those of bindings.
fn names(text: &str) -> impl Iterator<Item = &str> {
    let of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    text.lines().filter_map(move |line| {
        let line = line.trim_start();
        let (name, _) = line.strip_prefix("export ").unwrap_or(line).split_once(['=', ':'])?;
        let name = name.trim();
        (!name.is_empty() && name.bytes().all(of_a_name)).then_some(name)
    })
}

/// The stores that some bindings refer to, each once.
pub fn store_ids(bindings: &[Binding]) -> BTreeSet<&str> {
    bindings.iter().map(|binding| binding.store_id.as_str()).collect()
}
