//! The plan, over everything that a store can have of it; the settings, over files.

use std::fs;

use secrets_store_api::SecretId;

use super::{
    plan::{Direction, Expectation, Mark, Next, Refusal, Secret, Seen, Step, next},
    settings::Pair,
};
use crate::doctor::config::Config;

const STORE: &str = "023e105f4ecef8ad9ca31a8372d0c353";

fn secret(mark: Mark) -> Secret {
    let id = SecretId::parse("0123456789abcdef0123456789abcdef").unwrap();
    Secret { id, comment: String::new(), mark }
}

/// A store as text: primary, secondary, spare; `-` for none, `*` behind a mark.
fn seen(text: [&str; 3]) -> Seen {
    let [primary, secondary, spare] = text.map(|it| match it {
        "-" => None,
        "new*" => Some(secret(Mark::New)),
        "old*" => Some(secret(Mark::Kept)),
        _ => Some(secret(Mark::None)),
    });
    Seen { primary, secondary, spare }
}

/// What a step makes of a store.
fn after(step: Step, [primary, secondary, spare]: [&'static str; 3]) -> [&'static str; 3] {
    let plain = |it: &'static str| it.strip_suffix('*').unwrap_or(it);
    let copy_to = |there: &'static str, from: &'static str| {
        assert_eq!(there, "-", "{step:?}: the name is taken");
        assert_ne!(from, "-", "{step:?}: there is nothing to copy");
        plain(from)
    };
    match step {
        Step::SetAside => [primary, secondary, copy_to(spare, secondary)],
        Step::RemoveSecondary => [primary, "-", spare],
        Step::KeepPresent => {
            assert_eq!(copy_to(secondary, primary), "old");
            [primary, "old*", spare]
        }
        Step::WriteNew => ["new*", secondary, spare],
        Step::CopyNew => [primary, copy_to(secondary, primary), spare],
        Step::RemoveSpare => [primary, secondary, "-"],
        Step::Unmark => [plain(primary), secondary, spare],
        Step::RemovePrimary => ["-", secondary, spare],
        Step::RestorePrimary => [copy_to(primary, secondary), secondary, spare],
        Step::RestoreSecondary => [primary, copy_to(secondary, spare), spare],
    }
}

/// Every store on the way, to the end.
fn way(direction: Direction, mut store: [&'static str; 3]) -> Vec<[&'static str; 3]> {
    let mut way = vec![store];
    while let Next::Do(step, _) = next(direction, &seen(store)) {
        store = after(step, store);
        assert!(!way.contains(&store), "it goes round: {way:?}");
        way.push(store);
    }
    assert!(matches!(next(direction, &seen(store)), Next::Done(_)), "{direction:?} {store:?}");
    way
}

const STARTS: [[&str; 3]; 2] = [["old", "any", "-"], ["old", "-", "-"]];

#[test]
fn from_every_place_on_the_way_the_end_is_reached_and_so_is_the_beginning() {
    for start in STARTS {
        let forward = way(Direction::Forward, start);
        let both = ["new*", "old*", if start[1] == "-" { "-" } else { "any" }];
        assert_eq!(forward.last(), Some(&both));
        for store in &forward {
            let back = way(Direction::Undo, *store);
            assert_eq!(back.last(), Some(&start));
            // An --undo that is broken off: it goes on, and so does the way forward where it may.
            for store in back {
                assert_eq!(way(Direction::Undo, store).last(), Some(&start));
                match next(Direction::Forward, &seen(store)) {
                    Next::Refuse(why) => assert_eq!((why, store[0]), (Refusal::Undoing, "-")),
                    _ => assert_eq!(way(Direction::Forward, store).last(), Some(&both)),
                }
            }
        }
        for store in way(Direction::Finish, both) {
            assert_eq!(way(Direction::Finish, store).last(), Some(&["new", "new", "-"]));
        }
    }
}

#[test]
fn what_is_needed_is_there_at_every_moment() {
    for start in STARTS {
        let has = |store: &[&str; 3], value| store[..2].iter().any(|it| it.starts_with(value));
        let forward = way(Direction::Forward, start);
        assert!(forward.iter().all(|store| has(store, "old")), "{forward:?}");
        let both = *forward.last().unwrap();
        assert!(way(Direction::Undo, both).iter().all(|store| has(store, "old")));
        assert!(way(Direction::Finish, both).iter().all(|store| has(store, "new")));
    }
}

#[test]
fn a_value_is_dropped_only_when_the_worker_is_seen_to_have_another() {
    let removals = [Step::RemoveSecondary, Step::RemovePrimary, Step::WriteNew];
    for (direction, start) in [
        (Direction::Forward, ["old", "any", "-"]),
        (Direction::Finish, ["new*", "old*", "any"]),
        (Direction::Undo, ["new*", "old*", "any"]),
    ] {
        for store in way(direction, start) {
            if let Next::Do(step, expectation) = next(direction, &seen(store))
                && removals.contains(&step)
            {
                let wanted = match (direction, step) {
                    (_, Step::WriteNew) => Expectation::Same,
                    (Direction::Forward, _) => Expectation::Primary,
                    (Direction::Finish, _) => Expectation::Different,
                    (_, Step::RemovePrimary) => Expectation::Fallback,
                    (Direction::Undo, _) => Expectation::Same,
                };
                assert_eq!(expectation, wanted, "{direction:?} {step:?}");
            }
        }
    }
}

#[test]
fn what_cannot_be_done_is_refused() {
    let refusal = |direction, store| match next(direction, &seen(store)) {
        Next::Refuse(why) => why,
        other => panic!("{store:?}: {other:?}"),
    };
    assert_eq!(refusal(Direction::Forward, ["-", "any", "-"]), Refusal::NoSecret);
    assert_eq!(refusal(Direction::Forward, ["-", "old*", "any"]), Refusal::Undoing);
    assert_eq!(refusal(Direction::Finish, ["-", "old*", "any"]), Refusal::Undoing);
    assert_eq!(refusal(Direction::Forward, ["new*", "-", "any"]), Refusal::Finishing);
    assert_eq!(refusal(Direction::Finish, ["old", "old*", "any"]), Refusal::NotWritten);
    assert_eq!(refusal(Direction::Finish, ["old", "any", "any"]), Refusal::NotWritten);
    assert_eq!(refusal(Direction::Undo, ["new*", "new", "any"]), Refusal::TooLate);
    assert_eq!(refusal(Direction::Undo, ["new*", "-", "any"]), Refusal::TooLate);
}

#[test]
fn a_mark_stands_behind_the_operators_own_comment_and_goes_without_a_trace() {
    for comment in ["", "from the mail team", "[odd]", "a [cargo xtask rotate: b]"] {
        for mark in [Mark::None, Mark::Kept, Mark::New] {
            assert_eq!(Mark::read(&mark.write(comment)), (mark, comment));
        }
    }
}

/// A `wrangler.toml` where KEY and TOKEN can be rotated.
fn right() -> String {
    let bound = [
        ("KEY", "key"),
        ("KEY_BEFORE", "key_before"),
        ("TOKEN", "token"),
        ("TOKEN_PREVIOUS", "token_previous"),
        ("ADMIN", "admin"),
        ("API", "api"),
    ];
    let entry = |(binding, secret): &(&str, &str)| {
        format!(
            "[[env.live.secrets_store_secrets]]\nbinding = \"{binding}\"\nstore_id = \"{STORE}\"\n\
             secret_name = \"{secret}\"\n"
        )
    };
    bound.iter().map(entry).collect::<String>()
        + r#"
[env.live.vars.UPSTREAMS.demo]
base_url = "https://api.example.com"
callers = ["TOKEN", "TOKEN_PREVIOUS"]
credentials = [{ type = "bearer", secret = "KEY", fallback = "KEY_BEFORE" }]
[env.live.vars.SECRETS_STORE_API]
base_url = "https://api.cloudflare.com/client/v4"
account_id = "0123456789abcdef0123456789abcdef"
token = "API"
callers = ["ADMIN"]
"#
}

fn find(text: &str, binding: &str) -> Result<Pair, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wrangler.toml");
    fs::write(&file, text).unwrap();
    Pair::find(&Config::read(&file).unwrap(), Some("live"), binding)
        .map_err(|error| format!("{error:#}"))
}

#[test]
fn a_credential_has_its_fallback_behind_it_and_a_token_the_one_before() {
    let key = find(&right(), "KEY").unwrap();
    assert_eq!((key.fallback.as_str(), key.secondary.as_str()), ("KEY_BEFORE", "key_before"));
    assert_eq!((key.is_token, key.admins), (false, vec!["ADMIN".to_owned()]));
    let token = find(&right(), "TOKEN").unwrap();
    assert_eq!(
        (token.fallback.as_str(), token.secondary.as_str()),
        ("TOKEN_PREVIOUS", "token_previous")
    );
    assert!(token.is_token);
}

/// What is told of `right()` where one text stands for another.
#[track_caller]
fn refused(binding: &str, text: &str, instead: &str, told: &str) {
    let changed = right().replacen(text, instead, 1);
    assert_ne!(changed, right());
    let error = find(&changed, binding).unwrap_err();
    assert!(error.contains(told), "{error}");
}

#[test]
fn what_is_missing_for_a_rotation_without_a_gap_is_told_as_what_to_add() {
    let no_fallback = "[env.live], UPSTREAMS.demo.credentials[0]: add fallback = \"KEY_PREVIOUS\"";
    refused("KEY", ", fallback = \"KEY_BEFORE\"", "", no_fallback);
    let unbound =
        "[env.live]: bind KEY_PREVIOUS, with a secret_name of its own such as key_previous";
    refused("KEY", ", fallback = \"KEY_BEFORE\"", "", unbound);
    let callers = "[env.live], UPSTREAMS.demo.callers: add \"TOKEN_PREVIOUS\"";
    refused("TOKEN", "\"TOKEN\", \"TOKEN_PREVIOUS\"", "\"TOKEN\"", callers);
    let admins = find(&right(), "ADMIN").unwrap_err();
    assert!(admins.contains("SECRETS_STORE_API.callers: add \"ADMIN_PREVIOUS\""), "{admins}");
}

#[test]
fn a_binding_that_shares_its_secret_or_its_fallback_is_not_rotated_over_others() {
    let second = "credentials = [{ type = \"query\", name = \"k\", secret = \"KEY\" }, {";
    refused("KEY", "credentials = [{", second, "credentials[0]: add fallback = ");
    let own_use = "credentials = [{ type = \"query\", name = \"k\", secret = \"KEY_BEFORE\" }, {";
    refused("KEY", "credentials = [{", own_use, "KEY_BEFORE is to be behind KEY alone");
    refused("KEY", "\"key_before\"", "\"key\"", "must have another secret_name");
    let elsewhere = format!("{STORE}\"\nsecret_name = \"key_before");
    let other = "f00df00df00df00df00df00df00df00d\"\nsecret_name = \"key_before";
    refused("KEY", &elsewhere, other, "must be in the store of KEY");
    // The same secret, in another environment and under another name.
    let staging = format!(
        "[[env.staging.secrets_store_secrets]]\nbinding = \"K\"\nstore_id = \"{STORE}\"\n\
         secret_name = \"key\"\n[env.staging.vars.UPSTREAMS.s]\ncallers = \"public\"\n\
         credentials = [{{ type = \"bearer\", secret = \"K\" }}]\n{}",
        right()
    );
    let error = find(&staging, "KEY").unwrap_err();
    assert!(error.contains("[env.staging], UPSTREAMS.s.credentials[0]: add fallback"), "{error}");
}

#[test]
fn what_cannot_be_rotated_so_is_told_how_it_is_changed() {
    let error = find(&right(), "API").unwrap_err();
    assert!(error.contains("make a new API token"), "{error}");
    let error = find(&right(), "PLAIN").unwrap_err();
    assert!(error.contains("npx wrangler secret put PLAIN"), "{error}");
    let error = find(&right().replace(STORE, &"0".repeat(32)), "KEY").unwrap_err();
    assert!(error.contains("not filled in yet"), "{error}");
    let error = find(&right().replace("[env.live.vars.SECRETS", "[env.live.vars.X"), "KEY");
    assert!(error.unwrap_err().contains("no [vars.SECRETS_STORE_API]"));
}
