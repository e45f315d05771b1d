//! The rules, over plain data.

use std::{collections::BTreeMap, fs};

use secrets_store_api::{Scope, Status, Usage};

use super::{
    config::{Config, Environment, PLACEHOLDER},
    find::{Facts, Finding, Kind, Place, Secret, Stores, findings, quota},
};

const STORE: &str = "023e105f4ecef8ad9ca31a8372d0c353";

/// An environment whose settings name KEY and TOKEN, each bound.
const RIGHT: &str = r#"
name = "gateway"
[[secrets_store_secrets]]
binding = "KEY"
store_id = "023e105f4ecef8ad9ca31a8372d0c353"
secret_name = "key"
[[secrets_store_secrets]]
binding = "TOKEN"
store_id = "023e105f4ecef8ad9ca31a8372d0c353"
secret_name = "token"
[vars.UPSTREAMS.demo]
base_url = "https://api.example.com"
callers = ["TOKEN"]
credentials = [{ type = "bearer", secret = "KEY" }]
"#;

fn config(text: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wrangler.toml");
    fs::write(&file, text).unwrap();
    Config::read(&file).unwrap()
}

fn secret(name: &str) -> Secret {
    let scopes = vec![Scope::Workers];
    Secret { name: name.to_owned(), id: format!("id-of-{name}"), scopes, status: Status::Active }
}

fn account(secrets: Vec<Secret>) -> Stores {
    let id = STORE.to_owned();
    Stores {
        place: Place::Account,
        names: BTreeMap::from([(id.clone(), "main".to_owned())]),
        secrets: BTreeMap::from([(id, secrets)]),
    }
}

fn local(secrets: Vec<Secret>, seeds: &[&str]) -> Stores {
    let seeds = seeds.iter().map(|it| (*it).to_owned()).collect();
    let place = Place::Local { flag: " --persist-to /s".to_owned(), seeds };
    Stores { place, names: BTreeMap::new(), ..account(secrets) }
}

fn both() -> Vec<Secret> {
    vec![secret("key"), secret("token")]
}

fn facts(stores: Option<&Stores>) -> Facts<'_> {
    Facts { stores, plain: BTreeMap::new(), config_flag: "" }
}

/// What is wrong with the last environment of `text`.
fn found(text: &str, stores: Option<&Stores>) -> Vec<Finding> {
    let config = config(text);
    findings(config.environments.last().unwrap(), config.top().unwrap(), &facts(stores))
}

/// The only thing that is wrong.
fn only(text: &str, stores: Option<&Stores>) -> Finding {
    let found = found(text, stores);
    assert_eq!(found.len(), 1, "{found:?}");
    found.into_iter().next().unwrap()
}

fn kinds(found: &[Finding]) -> Vec<(&str, Kind)> {
    found.iter().map(|it| (it.binding.as_deref().unwrap_or_default(), it.kind)).collect()
}

/// `RIGHT` as `[env.production]`, below a top level that is the same.
fn in_env(of_env: &str) -> String {
    let of_env = of_env
        .replace("[[", "[[env.production.")
        .replace("[vars", "[env.production.vars")
        .replace("name = \"gateway\"\n", "");
    format!("{RIGHT}\n{of_env}")
}

#[test]
fn where_everything_is_right_nothing_is_found() {
    for stores in [None, Some(&account(both())), Some(&local(both(), &[]))] {
        assert_eq!(found(RIGHT, stores), []);
        assert_eq!(found(&in_env(RIGHT), stores), []);
    }
}

#[test]
fn a_store_that_the_account_has_not_is_told_with_the_one_that_it_has() {
    let text = RIGHT.replacen(STORE, "f00d", 1);
    let it = only(&text, Some(&account(both())));
    assert_eq!((it.kind, it.binding.as_deref()), (Kind::NoSuchStore, Some("KEY")));
    assert_eq!(it.what, "the account has no store f00d");
    assert_eq!(
        it.mend,
        format!("in its entry: store_id = \"{STORE}\" (the account's only store, main)")
    );

    let mut none = account(Vec::new());
    none.names.clear();
    let it = found(RIGHT, Some(&none));
    assert_eq!(it[0].mend, "npx wrangler secrets-store store create default --remote");
    let mut two = account(both());
    two.names.insert("beef".to_owned(), "other".to_owned());
    assert_eq!(only(&text, Some(&two)).mend, "npx wrangler secrets-store store list --remote");
}

#[test]
fn what_cannot_be_a_store_id_is_told_without_the_account() {
    let it = only(&in_env(&RIGHT.replacen(STORE, "<your store's id>", 1)), None);
    assert_eq!((it.kind, it.binding.as_deref()), (Kind::NoSuchStore, Some("KEY")));
    assert_eq!(it.what, "<your store's id> is no store's id");
    // Locally, any will do.
    let here = local(Vec::new(), &[]);
    let here =
        Stores { secrets: [STORE, "any at all"].map(|id| (id.to_owned(), both())).into(), ..here };
    assert_eq!(found(&RIGHT.replacen(STORE, "any at all", 1), Some(&here)), []);
}

#[test]
fn a_secret_that_the_account_has_not_is_created_there() {
    let it = only(RIGHT, Some(&account(vec![secret("token")])));
    assert_eq!((it.kind, it.binding.as_deref()), (Kind::NoSuchSecret, Some("KEY")));
    assert_eq!(
        it.mend,
        format!(
            "npx wrangler secrets-store secret create {STORE} --name key --scopes workers --remote"
        )
    );
    let deleted = Secret { status: Status::Deleted, ..secret("key") };
    let it = only(RIGHT, Some(&account(vec![secret("token"), deleted])));
    assert_eq!(it.kind, Kind::NoSuchSecret);
}

#[test]
fn a_local_secret_is_created_by_dev_where_it_has_a_value_and_by_wrangler_where_not() {
    let found = found(RIGHT, Some(&local(Vec::new(), &["key"])));
    assert_eq!(kinds(&found), [("KEY", Kind::NoSuchSecret), ("TOKEN", Kind::NoSuchSecret)]);
    assert_eq!(found[0].mend, "cargo xtask dev --persist-to /s");
    assert_eq!(
        found[1].mend,
        format!(
            "npx wrangler secrets-store secret create {STORE} --name token --scopes workers \
             --persist-to /s"
        )
    );
}

#[test]
fn a_secret_whose_name_differs_in_case_only_is_told_by_its_name() {
    for stores in [account, |secrets| local(secrets, &[])] {
        let stores = stores(vec![secret("Key"), secret("token")]);
        let it = only(RIGHT, Some(&stores));
        assert_eq!((it.kind, it.binding.as_deref()), (Kind::DiffersInCase, Some("KEY")));
        assert_eq!(it.what, "the store has no secret key, but Key; case matters");
        assert_eq!(it.mend, "in its entry: secret_name = \"Key\"");
    }
    // Both spellings may be there, each a secret of its own.
    assert_eq!(found(RIGHT, Some(&account([both(), vec![secret("KEY")]].concat()))), []);
}

#[test]
fn a_missing_scope_is_added_to_those_that_are_there() {
    for (scopes, expected) in
        [(vec![Scope::Dex, Scope::AiGateway], "dex,ai_gateway,workers"), (Vec::new(), "workers")]
    {
        let without = Secret { scopes, ..secret("key") };
        let it = only(RIGHT, Some(&account(vec![without, secret("token")])));
        assert_eq!((it.kind, it.binding.as_deref()), (Kind::ScopeMissing, Some("KEY")));
        assert_eq!(
            it.mend,
            format!(
                "npx wrangler secrets-store secret update {STORE} --secret-id id-of-key --scopes \
                 {expected} --remote"
            )
        );
    }
}

#[test]
fn a_pending_secret_says_that_deploying_fails_now() {
    let pending = Secret { status: Status::Pending, ..secret("key") };
    let it = only(RIGHT, Some(&account(vec![pending, secret("token")])));
    assert_eq!((it.kind, it.binding.as_deref()), (Kind::Pending, Some("KEY")));
    assert!(it.what.contains("10182"), "{}", it.what);
    assert_eq!(it.mend, "wait a moment, then: cargo xtask doctor --remote");
}

#[test]
fn a_name_that_nothing_binds_is_told_with_its_path_and_the_lines_to_add() {
    let text = RIGHT.replace("secret = \"KEY\"", "secret = \"KEY\", fallback = \"OLD_KEY\"");
    let it = only(&text, None);
    assert_eq!((it.kind, it.binding.as_deref()), (Kind::NotBound, Some("OLD_KEY")));
    assert_eq!(
        it.what,
        "UPSTREAMS.demo.credentials[0].fallback names it, and nothing in wrangler.toml binds it"
    );
    // The lines do what they promise.
    let (_, last) = RIGHT.split_once("\n").unwrap();
    let mended = format!("{}\n{}\n{last}", "name = \"gateway\"", it.mend)
        .replace("secret = \"KEY\"", "secret = \"KEY\", fallback = \"OLD_KEY\"");
    assert_eq!(found(&mended, None), []);
    assert!(it.mend.ends_with("plain secret: OLD_KEY=<value> in .dev.vars"), "{}", it.mend);

    let remote = only(&text, Some(&account(both()))).mend;
    assert!(remote.ends_with("plain secret: npx wrangler secret put OLD_KEY"), "{remote}");
}

#[test]
fn every_field_that_names_a_binding_is_read() {
    let api = r#"
[vars.SECRETS_STORE_API]
token = "API_TOKEN"
callers = ["ADMIN"]
"#;
    let found = found(&format!("{RIGHT}{api}"), None);
    assert_eq!(kinds(&found), [("ADMIN", Kind::NotBound), ("API_TOKEN", Kind::NotBound)]);
    assert!(found[0].what.starts_with("SECRETS_STORE_API.callers[0] "), "{}", found[0].what);
    assert!(found[1].what.starts_with("SECRETS_STORE_API.token "), "{}", found[1].what);
}

#[test]
fn settings_may_be_json_text_and_callers_may_be_public() {
    let (bindings, _) = RIGHT.split_once("[vars.").unwrap();
    let vars = r#"
[vars]
UPSTREAMS = '{"a":{"callers":"public","credentials":[{"secret":"KEY","fallback":null},{"secret":"TOKEN"}]}}'
"#;
    assert_eq!(found(&format!("{bindings}{vars}"), None), []);
    let it = only(&format!("{bindings}[vars]\nUPSTREAMS = 'x'\n"), None);
    assert_eq!(it.kind, Kind::Malformed);
    assert!(it.what.starts_with("UPSTREAMS: is text, and not JSON: "), "{}", it.what);
}

#[test]
fn what_cannot_be_read_is_told_with_its_path_and_the_rest_is_checked() {
    let text = RIGHT
        .replace("callers = [\"TOKEN\"]", "callers = \"TOKEN\"")
        .replace("secret = \"KEY\"", "secret = 7, fallback = \"OLD\"")
        .replacen("secret_name = \"key\"\n", "", 1);
    let found = found(&text, None);
    let what: Vec<&str> = found.iter().map(|it| it.what.as_str()).collect();
    assert_eq!(
        what,
        [
            "secrets_store_secrets[0]: missing field `secret_name`",
            "UPSTREAMS.demo.callers: must be a list of bindings, or \"public\"",
            "UPSTREAMS.demo.credentials[0].secret: must name a binding",
            "UPSTREAMS.demo.credentials[0].fallback names it, and nothing in wrangler.toml binds it",
        ]
    );
    let (_, vars) = RIGHT.split_once("[vars.").unwrap();
    let text = format!("secrets_store_secrets = {{}}\n[vars.{vars}");
    assert_eq!(found_kinds(&text)[0], Kind::Malformed);
}

fn found_kinds(text: &str) -> Vec<Kind> {
    found(text, None).iter().map(|it| it.kind).collect()
}

#[test]
fn a_binding_whose_name_differs_in_case_only_is_one_finding_and_not_two() {
    let it = only(&RIGHT.replace("binding = \"KEY\"", "binding = \"Key\""), None);
    assert_eq!((it.kind, it.binding.as_deref()), (Kind::DiffersInCase, Some("KEY")));
    assert_eq!(it.mend, "write Key in UPSTREAMS.demo.credentials[0].secret");
}

#[test]
fn a_binding_that_no_setting_names_is_told_unless_there_are_no_settings() {
    let it = only(&RIGHT.replace("callers = [\"TOKEN\"]", "callers = \"public\""), None);
    assert_eq!((it.kind, it.binding.as_deref()), (Kind::NeverUsed, Some("TOKEN")));
    assert_eq!(it.mend, "name it in the settings, or remove its [[secrets_store_secrets]]");
    // A Worker of another kind reads its bindings in its code.
    let (bindings, _) = RIGHT.split_once("[vars.").unwrap();
    assert_eq!(found(bindings, None), []);
}

#[test]
fn bindings_are_not_inherited_by_an_environment() {
    let (_, vars) = RIGHT.split_once("[vars.").unwrap();
    let text = in_env(&format!("[vars.{vars}"));
    let missing = found(&text, Some(&account(both())));
    assert_eq!(kinds(&missing), [("KEY", Kind::NotInherited), ("TOKEN", Kind::NotInherited)]);
    assert_eq!(
        missing[0].mend,
        format!(
            "[[env.production.secrets_store_secrets]]\nbinding = \"KEY\"\nstore_id = \"{STORE}\"\n\
             secret_name = \"key\"\n# or, if it is a plain secret: npx wrangler secret put KEY \
             --env production"
        )
    );
    let mended = format!("{text}\n{}\n{}\n", missing[0].mend, missing[1].mend);
    assert_eq!(found(&mended, Some(&account(both()))), []);
}

#[test]
fn the_placeholder_for_development_is_not_proposed_for_an_environment() {
    let (_, vars) = RIGHT.split_once("[vars.").unwrap();
    let text = in_env(&format!("[vars.{vars}")).replace(STORE, PLACEHOLDER);
    let blank = found(&text, None);
    assert!(blank[0].mend.contains("store_id = \"<your store's id>\"    # npx wrangler"));
    let with_account = found(&text, Some(&account(both())));
    assert!(with_account[0].mend.contains(&format!("store_id = \"{STORE}\"\n")));
}

#[test]
fn an_environment_without_settings_is_told_once() {
    for vars in ["", "[vars]\nLOG = \"1\"\n"] {
        let (bindings, _) = RIGHT.split_once("[vars.").unwrap();
        let it = only(&in_env(&format!("{bindings}{vars}")), None);
        assert_eq!((it.kind, it.binding), (Kind::NoSettings, None));
        assert_eq!(it.environment.as_deref(), Some("production"));
        assert!(it.mend.contains("[env.production.vars.UPSTREAMS.<name>]"), "{}", it.mend);
    }
}

#[test]
fn a_plain_secret_of_the_same_name_as_a_binding_is_told_with_its_place() {
    let var = format!("{RIGHT}\n[vars]\nKEY = \"x\"\n");
    let it = only(&var, None);
    assert_eq!((it.kind, it.binding.as_deref()), (Kind::PlainAndStore, Some("KEY")));
    assert_eq!(it.mend, "remove KEY from [vars]");

    let required = in_env(&format!("{RIGHT}\n[secrets]\nrequired = [\"KEY\"]\n"))
        .replace("[secrets]", "[env.production.secrets]");
    assert_eq!(only(&required, None).mend, "remove KEY from [env.production.secrets] required");

    let config = config(RIGHT);
    let top = config.top().unwrap();
    let mend = "npx wrangler secret delete KEY".to_owned();
    let plain = BTreeMap::from([("KEY".to_owned(), mend.clone())]);
    let found = findings(top, top, &Facts { plain, ..facts(None) });
    assert_eq!((found[0].kind, &found[0].mend), (Kind::PlainAndStore, &mend));
}

#[test]
fn a_plain_secret_binds_what_the_settings_name() {
    let text = RIGHT.replacen("binding = \"KEY\"", "binding = \"KEY2\"", 1);
    let text = text.replace("callers = [\"TOKEN\"]", "callers = [\"TOKEN\", \"KEY2\"]");
    assert_eq!(kinds(&found(&text, None)), [("KEY", Kind::NotBound)]);
    for plain in ["[vars]\nKEY = \"x\"\n", "[secrets]\nrequired = [\"KEY\"]\n"] {
        assert_eq!(found(&format!("{text}\n{plain}"), None), [], "{plain}");
    }
    let config = config(&text);
    let top = config.top().unwrap();
    let plain = BTreeMap::from([("KEY".to_owned(), String::new())]);
    assert_eq!(findings(top, top, &Facts { plain, ..facts(None) }), []);
}

#[test]
fn plain_secrets_come_from_the_files_that_wrangler_reads() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("wrangler.toml", "[env.staging]\n[env.other.secrets]\nrequired = []\n");
    let config = Config::read(&folder.path().join("wrangler.toml")).unwrap();
    let names = |environment: Option<&str>| -> Vec<(String, String)> {
        let is_it = |it: &&Environment| it.name.as_deref() == environment;
        let environment = config.environments.iter().find(is_it).unwrap();
        config.plain_in_files(environment).into_iter().collect()
    };
    let pair = |name: &str, file: &str| (name.to_owned(), file.to_owned());

    write(".env", "# a comment = 1\nexport A = 1\nB: 2\n\nnot a name = 3\n=4\n");
    write(".env.staging", "C=1");
    assert_eq!(names(None), [pair("A", ".env"), pair("B", ".env")]);
    assert_eq!(names(Some("staging")).last(), Some(&pair("C", ".env.staging")));
    write(".dev.vars", "D=1");
    assert_eq!(names(None), [pair("D", ".dev.vars")]);
    assert_eq!(names(Some("staging")), [pair("D", ".dev.vars")]);
    write(".dev.vars.staging", "E=1");
    assert_eq!(names(Some("staging")), [pair("E", ".dev.vars.staging")]);
    assert_eq!(names(Some("other")), []);
}

#[test]
fn nine_tenths_of_the_quota_are_nearly_all_of_it() {
    let of = |usage, quota_of| quota(Usage { quota: quota_of, usage }, Some(STORE));
    assert_eq!(of(89, 100), None);
    assert_eq!(of(0, 0), None);
    for usage in [90, 100, 101] {
        let it = of(usage, 100).unwrap();
        assert_eq!(it.kind, Kind::QuotaNearlyUsedUp);
        assert!(it.what.contains(&format!("{usage} of the account's 100")), "{}", it.what);
        let command =
            format!("npx wrangler secrets-store secret list {STORE} --per-page 100 --remote");
        assert!(it.mend.starts_with(&command), "{}", it.mend);
    }
    assert!(of(17, 20).is_none() && of(18, 20).is_some());
}

#[test]
fn a_command_takes_names_as_a_shell_does() {
    assert_eq!(super::word("api_key-2"), "api_key-2");
    assert_eq!(super::word("it's $(x)"), r"'it'\''s $(x)'");
    assert_eq!(super::word(""), "''");
    let text = in_env(RIGHT).replace("env.production.", "env.\"a b\".");
    let text = text.replace("callers = [\"TOKEN\"]", "callers = [\"OTHER\", \"TOKEN\"]");
    let it = only(&text, None);
    assert!(it.mend.starts_with("[[env.\"a b\".secrets_store_secrets]]"), "{}", it.mend);
    let plain =
        "npx wrangler secret put OTHER --env 'a b', listed in [env.\"a b\".secrets] required";
    assert!(it.mend.ends_with(plain), "{}", it.mend);
}
