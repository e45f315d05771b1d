//! The local REST API of `cargo xtask dev`.

use std::{path::Path, time::Duration};

use anyhow::Result;
use local_api::{Options, Seed};

use crate::{
    dev::StandIn,
    step,
    store::{self, Development},
    tools::Tools,
};

/// The variable that names it.
const VARIABLE: &str = "SECRETS_STORE_API";

/// Plays the REST API of `[vars.SECRETS_STORE_API]`, until the process ends. What is written to it goes
/// to the local store too, where the Worker's bindings read it.
///
/// # Errors
///
/// Where its token has no value, or no port is free.
pub fn play(development: &Development, tools: &Tools, state: &Path) -> Result<Option<StandIn>> {
    let Some(api) = development.secrets_store_api() else { return Ok(None) };
    let listening = StandIn::listen((VARIABLE, None), api.base_url)?;
    let Some((listener, stand_in)) = listening else { return Ok(None) };
    let options = Options {
        token: development.value(api.token)?.to_owned().into(),
        account: api.account_id.to_owned(),
        data: Some(state.join("secrets-store-api.json")),
        pending: Duration::from_secs(1),
        quota: 100,
        mirror: Some(store::local(tools, state)?),
        seed: seeds(development),
    };
    local_api::start(listener, options)?;
    step(&format!("the local REST API, on http://{}", stand_in.address()));
    Ok(Some(stand_in))
}

/// The stores, and the secrets in them, as the local REST API is to have them from the start.
fn seeds(development: &Development) -> Vec<Seed> {
    let bindings = || development.config.secrets_store_secrets.iter();
    let secrets = |store: &str| {
        let bound = bindings().filter(|it| it.store_id == store);
        let values = bound.filter_map(|it| {
            let value = development.value(&it.binding).ok()?;
            Some((it.secret_name.clone(), value.to_owned().into()))
        });
        values.collect()
    };
    let seed = |store: &str| Seed {
        store_id: store.to_owned(),
        store_name: "development".to_owned(),
        secrets: secrets(store),
    };
    development.stores().into_iter().map(seed).collect()
}

/// A line that creates a secret in the API that is played; none where there is no admin, and for the
/// account itself.
pub fn how_to_create(
    gateway: &str,
    development: &Development,
    played: &[Option<StandIn>],
) -> Option<String> {
    let is_played = played.iter().flatten().any(|it| it.variable() == VARIABLE);
    let api = development.secrets_store_api().filter(|_| is_played)?;
    let store = &development.config.secrets_store_secrets.first()?.store_id;
    let (account, token) = (api.account_id, development.value(api.caller?).ok()?);
    // A name that is free, so that the line works however often it was run before.
    let mut names = (2..).map(|number| format!("my_key_{number}"));
    let mut name = "my_key".to_owned();
    while development.there.contains(&name) {
        name = names.next()?;
    }
    let body = format!(r#"{{"name":"{name}","value":"my-value","scopes":["workers"]}}"#);
    Some(format!(
        "curl {gateway}/client/v4/accounts/{account}/secrets_store/stores/{store}/secrets -H \
         'Authorization: Bearer {token}' -d '{body}'"
    ))
}
