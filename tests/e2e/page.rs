//! `GET /`, and the page that a browser gets there, opened in headless Chromium by
//! `tests/page/page.mjs`, which has each claim below under the same name.

use std::sync::{Mutex, PoisonError};

use serde_json::json;
use xtask::process;

use crate::{
    Stage,
    stubs::{ADMIN, TOKEN},
};

/// One browser at a time: they take what the machine has, and share a Worker whose secrets change.
static TURN: Mutex<()> = Mutex::new(());

/// Has the browser check a claim.
fn check(stage: &Stage, claim: &str) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = xtask::root().join("tests/page");
    stage.tools.npm_ci(&folder, "Chromium").unwrap();
    let mut command = stage.tools.command("node");
    command.arg(folder.join("page.mjs")).arg(claim).env("ADMIN", ADMIN).env("TOKEN", TOKEN);
    for socket in ["admin", "page", "broken", "store"] {
        command
            .env(socket.to_uppercase() + "_URL", format!("http://{}", stage.stubs.address(socket)));
    }
    process::output(claim, &mut command, "What the browser found is below").unwrap();
}

macro_rules! claims {
    ($($claim:ident),+ $(,)?) => {
        $(pub fn $claim(stage: &Stage) {
            check(stage, stringify!($claim));
        })+
    };
}

claims! {
    it_asks_for_nothing_before_it_has_a_token,
    each_way_to_get_no_answer_is_told_in_words,
    every_binding_is_shown_with_its_state_and_what_mends_it,
    names_are_shown_as_text_whatever_is_in_them,
    a_refresh_shows_what_has_changed,
    the_token_is_kept_nowhere,
    it_works_by_keyboard_and_says_what_it_does,
    it_fits_a_phone_and_can_be_read_in_light_and_dark,
    its_pictures_are_taken,
}

pub fn a_browser_gets_the_page_and_others_json(stage: &Stage) {
    // Also where a setting is wrong: it knows none.
    for socket in ["gateway", "broken"] {
        let ask = |method: &str| stage.stubs.worker(socket, method, "/?from=a-bookmark");
        let page = ask("GET").header("accept", "text/html,*/*;q=0.8").send();
        assert_eq!(page.status, 200, "{page:?}");
        assert!(page.body.starts_with("<!doctype html>"), "{page:?}");
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"), "{policy}");
        for (name, value) in [
            ("content-type", "text/html; charset=utf-8"),
            ("cache-control", "no-store"),
            ("cross-origin-opener-policy", "same-origin"),
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
            ("vary", "accept"),
        ] {
            assert_eq!(page.header(name), Some(value), "{name}");
        }
        let head = ask("HEAD").header("accept", "text/html").send();
        assert_eq!((head.status, head.body.as_str()), (200, ""));

        let answer = ask("GET").header("accept", "*/*").send();
        assert_eq!((answer.status, answer.header("vary")), (200, Some("accept")));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.json()["success"], true);
        assert_eq!(answer.json()["result"]["name"], "secrets-store-gateway");
        for answer in [page, answer] {
            let line = stage.stubs.log_line(answer.header("x-request-id").unwrap());
            assert_eq!((&line["route"], &line["status"]), (&json!("root"), &json!(200)));
        }
    }
    // An upstream's own host is that upstream's alone.
    let answer = stage
        .stubs
        .gateway("GET", "/")
        .header("host", "own.gateway.example")
        .header("accept", "text/html")
        .bearer(TOKEN)
        .send();
    assert_eq!(answer.got_target(), "/");
}
