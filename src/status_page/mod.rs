//! `GET /`: what this is, as JSON; to a browser, as a page that shows the state of every binding once
//! an admin's token is entered. It knows no settings, so that it answers whatever is wrong with them.

use crate::response::Answer;

/// The page: markup, style and script in one, with nothing from elsewhere.
const PAGE: &str = include_str!("page.html");

/// What the page may do: run its own script and style, known by their hashes (a test below compares
/// them), and ask its own server. Text becomes no markup, nothing is sent by a form, and no other page
/// may frame it. `img-src` is for its icon, without which a browser asks for `/favicon.ico`.
const POLICY: &str = "default-src 'none'; \
    script-src 'sha256-vyRNq2LweHfd6eGg4ywT1CbiE1ubU3KddnVO2hLoXxQ='; \
    style-src 'sha256-q9mNF8BzoGvUn4CsGXcQqVwwDPytUYgNyDD1Tt5EBew='; \
    connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

/// What others than browsers get. As text, since code that puts it together would be larger.
const JSON: &str = concat!(
    r#"{"success":true,"result":{"name":""#,
    env!("CARGO_PKG_NAME"),
    r#"","description":""#,
    env!("CARGO_PKG_DESCRIPTION"),
    r#"","routes":{
"/proxy/{upstream}/{path}":"for the upstream's callers: its answer",
"/batch":"for the same: up to 16 such requests in one",
"/healthz":"for anyone: whether the gateway runs",
"/readyz":"for admins: whether every binding can be had",
"/client/v4/accounts/{account}/secrets_store":"for admins: the Secrets Store API"}}}"#
);

/// The answer to a request with this `Accept`.
pub fn answer(accept: &str) -> Answer {
    let is_page = cfg!(feature = "status-page") && names_html(accept);
    let headers: &[_] = if is_page {
        &[
            ("vary", "accept"),
            ("content-type", "text/html; charset=utf-8"),
            ("content-security-policy", POLICY),
            ("cross-origin-opener-policy", "same-origin"),
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
        ]
    } else {
        &[("vary", "accept")]
    };
    Answer {
        status: 200,
        headers: headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(),
        body: if is_page { PAGE } else { JSON }.to_owned(),
    }
}

/// Whether `Accept` names HTML itself, as browsers do and API clients do not (RFC 9110, section
/// 12.5.1): `*/*` is no wish for a page.
fn names_html(accept: &str) -> bool {
    accept.split(',').any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let is_html = parts.next().is_some_and(|it| it.eq_ignore_ascii_case("text/html"));
        is_html && !parts.any(is_zero_weight)
    })
}

/// `q=0`, which says "not this one": with up to three decimals, and no regard to case.
fn is_zero_weight(parameter: &str) -> bool {
    let weight = parameter.strip_prefix(['q', 'Q']).and_then(|it| it.strip_prefix("=0"));
    weight.is_some_and(|decimals| decimals.bytes().all(|it| matches!(it, b'.' | b'0')))
}

#[cfg(test)]
mod tests {
    use base64ct::{Base64, Encoding as _};
    use serde_json::{Value, json};
    use sha2::{Digest as _, Sha256};

    use super::*;

    #[test]
    fn others_than_browsers_get_json() {
        for accept in ["", "*/*", "application/json", "text/*", "text/plain, */*;q=0.1"] {
            let answer = answer(accept);
            let body: Value = serde_json::from_str(&answer.body).unwrap();
            assert_eq!((answer.status, &body["success"]), (200, &json!(true)), "{accept}");
            assert_eq!(body["result"]["name"], "secrets-store-gateway");
            assert_eq!(answer.headers, [("vary", "accept".to_owned())]);
        }
    }

    #[test]
    fn a_browser_gets_the_page() {
        let firefox = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        for accept in [firefox, "text/html", "*/*, TEXT/HTML ; q=0.1", "text/html;q=0.001"] {
            let answer = answer(accept);
            let policy = ("content-security-policy", POLICY.to_owned());
            let is_page = answer.body == PAGE && answer.headers.contains(&policy);
            assert_eq!(is_page, cfg!(feature = "status-page"), "{accept}");
        }
        for accept in ["text/html;q=0", "text/html; Q=0.00", "text/htmlx", "text/xhtml+xml"] {
            assert!(!names_html(accept), "{accept}");
        }
    }

    /// What stands in the page's only element of this name.
    fn content(element: &str) -> &str {
        let (before, rest) = PAGE.split_once(&format!("<{element}>")).unwrap();
        let (content, after) = rest.split_once(&format!("</{element}>")).unwrap();
        let other = format!("<{element}");
        assert!(!before.contains(&other) && !after.contains(&other));
        content
    }

    #[test]
    fn the_policy_has_the_hashes_of_the_pages_script_and_style() {
        let directives = ["script", "style"].map(|element| {
            let hash = Base64::encode_string(&Sha256::digest(content(element)));
            format!("{element}-src 'sha256-{hash}'; ")
        });
        assert!(POLICY.contains(&directives.concat()), "write into POLICY: {directives:#?}");
    }
}
