//! The REST API of `cargo xtask dev`, behind the Worker's, and one for the tests.

use std::{collections::BTreeSet, net::TcpListener, time::Duration};

use local_api::{Options, Seed};
use xtask::store::Development;

use crate::{
    Stage,
    dev::ZEROS,
    stubs::{ACCOUNT, API_TOKEN},
};

/// A local REST API with these stores; answers its base URL. It runs until the tests end.
pub fn local_api(quota: usize, stores: &[&str]) -> String {
    let seed = |id: &&str| Seed {
        store_id: (*id).to_owned(),
        store_name: "seeded".to_owned(),
        secrets: Vec::new(),
    };
    let options = Options {
        token: API_TOKEN.to_owned().into(),
        account: ACCOUNT.to_owned(),
        data: None,
        pending: Duration::ZERO,
        quota,
        mirror: None,
        seed: stores.iter().map(seed).collect(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}/client/v4", local_api::start(listener, options).unwrap())
}

pub fn readyz_finds_every_binding_of_the_shipped_settings(stage: &Stage) {
    let _turn = stage.dev.turn();
    let answer = stage.dev.call("/readyz").bearer("dev-only-admin-token").send();
    assert_eq!(answer.status, 200, "{answer:?}");
    let bindings = answer.json()["result"]["bindings"].as_object().unwrap().clone();
    let names: BTreeSet<&str> = bindings.keys().map(String::as_str).collect();
    let development = Development::read().unwrap();
    let bound = &development.config.secrets_store_secrets;
    assert_eq!(names, bound.iter().map(|it| it.binding.as_str()).collect());
    assert!(bindings.values().all(|binding| binding["state"] == "ok"), "{answer:?}");
}

pub fn the_second_printed_curl_line_creates_a_secret(stage: &Stage) {
    let _turn = stage.dev.turn();
    let answer = stage.dev.run_curl(1);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["result"][0]["name"], "my_key");
    let local = stage.dev.local(stage);
    assert!(local.names(ZEROS).unwrap().iter().any(|(name, _)| name == "my_key"));
    assert_eq!(stage.dev.run_curl(1).status, 409, "it is there already");
}
