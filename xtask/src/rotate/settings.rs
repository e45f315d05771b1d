//! The two bindings of a rotation, as wrangler.toml has them: and what is to be added where it has not.

use anyhow::{Context as _, Result, bail};
use secrets_store_api::StoreId;

use super::plan::Refusal;
use crate::{
    doctor::config::{Config, Environment, PLACEHOLDER, Settings},
    store::Binding,
};

/// A binding, the one behind it, and their secrets.
#[derive(Debug, PartialEq, Eq)]
pub struct Pair {
    /// What is rotated.
    pub binding: String,
    /// Where its value before is kept.
    pub fallback: String,
    /// The account.
    pub account: String,
    /// The store of both.
    pub store: StoreId,
    /// The name of the one's secret.
    pub primary: String,
    /// The name of the other's.
    pub secondary: String,
    /// The bindings of the admins' tokens.
    pub admins: Vec<String>,
    /// It is a token of callers, and not a credential.
    pub is_token: bool,
}

impl Pair {
    /// Finds them in an environment.
    ///
    /// # Errors
    ///
    /// Whatever stands in the way of a rotation without a gap, and what mends it.
    pub fn find(config: &Config, env: Option<&str>, binding: &str) -> Result<Self> {
        let environment = config.environment(env)?;
        let place = place(environment);
        let settings = settings(environment)?;
        let own = bound(environment, binding).with_context(|| {
            format!(
                "{place} binds no secret of the store as {binding}. A plain secret has one value, and \
                 is changed at once: npx wrangler secret put {binding}"
            )
        })?;
        let api = settings.api.as_ref().with_context(|| {
            format!(
                "{place} has no [vars.SECRETS_STORE_API], and so no admin and no REST API: add it \
                 (docs/rest-api.md) and deploy"
            )
        })?;
        if is_of(environment, &api.token, own) {
            bail!(
                "{binding} is the API token of SECRETS_STORE_API, through which secrets are rotated. \
                 Cloudflare takes two of them at once, so it needs no second binding: make a new API \
                 token, write it (npx wrangler secrets-store secret update {} --remote), look at \
                 /readyz and run `cargo xtask doctor --remote`, and revoke the one before",
                own.store_id
            );
        }
        let store = StoreId::parse(&own.store_id)
            .with_context(|| format!("{binding}: {} is no store's id", own.store_id))?;
        if env.is_some() && own.store_id == PLACEHOLDER {
            bail!(
                "{place} is not filled in yet; `cargo xtask doctor --remote` says what is missing"
            );
        }

        let credential = settings.credentials.iter().find(|it| it.secret == binding);
        let is_token = settings.callers.iter().any(|it| it.tokens.iter().any(|it| it == binding));
        if credential.is_none() && !is_token {
            bail!(
                "{binding} is neither the `secret` of a credential nor among the callers in {place}"
            );
        }
        let fallback = credential.and_then(|it| it.fallback.clone());
        let fallback = fallback.unwrap_or_else(|| format!("{binding}_PREVIOUS"));
        let mut missing = Vec::new();
        let other = bound(environment, &fallback);
        match other {
            Some(other) if other.store_id != own.store_id => missing.push(format!(
                "{fallback} must be in the store of {binding}, {}: a value cannot be copied to \
                 another one",
                own.store_id
            )),
            Some(other) if other.secret_name == own.secret_name => {
                missing.push(format!("{fallback} must have another secret_name than {binding}"))
            }
            Some(_) => {}
            None => missing.push(format!(
                "{place}: bind {fallback}, with a secret_name of its own such as {}_previous, and \
                 create that secret",
                own.secret_name
            )),
        }
        let secondary = other.map_or_else(
            || format!("{}_previous", own.secret_name),
            |other| other.secret_name.clone(),
        );
        let pair = Self {
            binding: binding.to_owned(),
            fallback,
            account: api.account_id.clone(),
            store,
            primary: own.secret_name.clone(),
            secondary,
            admins: settings.admins().unwrap_or_default().to_owned(),
            is_token,
        };
        // A secret may be used under several names, and by several environments.
        for environment in &config.environments {
            missing.extend(pair.missing(environment, own, other));
        }
        if missing.is_empty() {
            return Ok(pair);
        }
        bail!(
            "{binding} cannot be rotated without a gap. Mend these in wrangler.toml, and deploy before \
             you rotate:\n  {}",
            missing.join("\n  ")
        );
    }

    /// What the settings of an environment lack: wherever the one secret is used, the other must be
    /// behind it, and nowhere else.
    fn missing(
        &self,
        environment: &Environment,
        own: &Binding,
        other: Option<&Binding>,
    ) -> Vec<String> {
        let Some(settings) = &environment.settings else { return Vec::new() };
        let place = place(environment);
        let is_own = |name: &str| is_of(environment, name, own);
        let is_other = |name: &str| other.is_some_and(|other| is_of(environment, name, other));
        let Self { binding, fallback, .. } = self;
        let mut missing = Vec::new();
        for it in &settings.credentials {
            let behind = it.fallback.as_deref();
            let path = &it.path;
            if is_own(&it.secret) && !behind.is_some_and(is_other) {
                missing.push(format!("{place}, {path}: add fallback = \"{fallback}\""));
            }
            if behind.is_some_and(is_own) {
                missing.push(format!("{place}, {path}: {binding} is a fallback here; use another"));
            }
            if is_other(&it.secret) || (behind.is_some_and(is_other) && !is_own(&it.secret)) {
                missing.push(format!(
                    "{place}, {path}: {fallback} is to be behind {binding} alone; use another"
                ));
            }
        }
        for it in &settings.callers {
            let has = |is: &dyn Fn(&str) -> bool| it.tokens.iter().any(|it| is(it));
            let path = &it.path;
            match (has(&is_own), has(&is_other)) {
                (true, false) => missing.push(format!("{place}, {path}: add \"{fallback}\"")),
                (false, true) => missing.push(format!(
                    "{place}, {path}: {fallback} is to be beside {binding} alone; remove it"
                )),
                _ => {}
            }
        }
        missing
    }

    /// The name of the secret that has what the second one had before.
    pub fn spare(&self) -> String {
        format!("{}_before_rotation", self.secondary)
    }

    /// Why something cannot be done.
    pub fn tell(&self, why: Refusal) -> String {
        let Self { binding, primary, secondary, .. } = self;
        match why {
            Refusal::NoSecret => format!(
                "the store has no secret {primary}: create it first (npx wrangler secrets-store secret \
                 create {} --name {primary} --scopes workers --remote)",
                self.store
            ),
            Refusal::Undoing => {
                format!("an --undo of {binding} was broken off: run it again with --undo")
            }
            Refusal::Finishing => {
                format!("a --finish of {binding} was broken off: run it again with --finish")
            }
            Refusal::NotWritten => format!(
                "the new value of {binding} is not written yet: run it without --finish, or with --undo"
            ),
            Refusal::TooLate => format!(
                "the value before is gone from the store: --finish has dropped it. Run it again with \
                 --finish, then rotate to the value that you want (of {primary}, {secondary} has a \
                 copy)"
            ),
        }
    }
}

fn settings(environment: &Environment) -> Result<&Settings> {
    let settings = environment.settings.as_ref();
    let settings = settings.filter(|it| it.mistakes.is_empty() && environment.mistakes.is_empty());
    settings.with_context(|| {
        format!(
            "{} has no settings, or a mistake in them: run cargo xtask doctor",
            place(environment)
        )
    })
}

fn bound<'e>(environment: &'e Environment, binding: &str) -> Option<&'e Binding> {
    environment.bindings.iter().find(|it| it.binding == binding)
}

/// Whether `name` is bound to the same secret as `other`.
fn is_of(environment: &Environment, name: &str, other: &Binding) -> bool {
    bound(environment, name)
        .is_some_and(|it| (&it.store_id, &it.secret_name) == (&other.store_id, &other.secret_name))
}

fn place(environment: &Environment) -> String {
    environment.name.as_ref().map_or("the top level".to_owned(), |it| format!("[env.{it}]"))
}
