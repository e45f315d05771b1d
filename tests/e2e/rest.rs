//! The REST API of `cargo xtask dev`, behind the Worker's, and one for the tests.

use std::{collections::BTreeSet, fs, net::TcpListener, process::Command, time::Duration};

use local_api::{Options, Seed};
use xtask::{process, store::Development};

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

pub fn the_curl_lines_of_the_docs_answer_as_they_say(stage: &Stage) {
    let _turn = stage.dev.turn();
    let docs = fs::read_to_string(xtask::root().join("docs/rest-api.md")).unwrap();
    let (_, operations) = docs.split_once("## The operations").unwrap();
    let (operations, _) = operations.split_once("## Official clients").unwrap();
    let blocks = operations.split("```sh\n").skip(1).map(|it| it.split("```").next().unwrap());
    let script = blocks.collect::<String>().replace("127.0.0.1:8787", &stage.dev.address()[7..]);
    // 200, or what the comment says.
    let said = script.lines().filter(|line| line.starts_with("curl ")).map(|line| {
        line.split_once("# ").map_or("200", |(_, comment)| comment.split(':').next().unwrap())
    });
    let mut shell = Command::new("sh");
    shell.args([
        "-euc",
        &format!("curl() {{ command curl -sS -w '\n%{{http_code}}\n' \"$@\"; }}\n{script}"),
    ]);
    let printed = process::output("the lines of docs/rest-api.md", &mut shell, "").unwrap();
    let is_status = |line: &&str| line.len() == 3 && line.parse::<u16>().is_ok();
    let answered: Vec<_> = printed.lines().filter(is_status).collect();
    assert_eq!(answered, said.collect::<Vec<_>>(), "{printed}");
    // Each status but 200 comes with the message that the comment names.
    for message in
        script.lines().filter_map(|line| Some(line.split_once("# ")?.1.split_once(": ")?.1))
    {
        assert!(printed.contains(message), "no {message} in {printed}");
    }
}
