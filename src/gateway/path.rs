//! Where a request goes: the URL of an upstream, and the paths below it.
//!
//! The runtime's URL parser (WHATWG URL) resolves dot segments, `%2e` for a dot and `\` for a
//! slash included, and a server behind it may decode more. So a path in which any of them could
//! find a dot segment is refused; every other one goes on byte for byte.

use std::net::{Ipv4Addr, Ipv6Addr};

use percent_encoding::percent_decode_str;

use crate::json::Reader;

/// `base_url`: an absolute http or https URL, perhaps with a path, without a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl(String);

impl BaseUrl {
    /// Reads a `base_url` setting.
    pub fn read(field: &Reader<'_>) -> Option<Self> {
        match Self::parse(&field.text()?) {
            Ok(url) => Some(url),
            Err(why) => field.mistake(why),
        }
    }

    fn parse(url: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = url.split_once(':').unwrap_or_default();
        let scheme = scheme.to_ascii_lowercase();
        let is_http = ["http", "https"].contains(&scheme.as_str());
        let Some(rest) = rest.strip_prefix("//").filter(|_| is_http) else {
            return Err("must be an absolute URL that begins with http:// or https://");
        };
        let end = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
        if authority.bytes().any(|byte| byte == b'@') {
            return Err("must have no user or password in it; use a `basic` credential");
        }
        if rest.contains(['?', '#']) {
            return Err("must have no query and no fragment; use a `query` credential");
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port),
            _ => (authority, "80"),
        };
        let is_port = port.bytes().all(|byte| byte.is_ascii_digit())
            && port.parse::<u16>().is_ok_and(|port| port > 0);
        if !is_host(host) || !is_port {
            return Err("must have a host name, or an IP address, and after it perhaps a port");
        }
        let path = path.trim_end_matches('/');
        if !is_encoded(path) || has_dot_segment(path) {
            return Err("must have a percent-encoded path without dot segments");
        }
        Ok(Self(format!("{scheme}://{authority}{path}")))
    }

    /// This URL with `path_and_query` after it, which is empty or begins with `/` or `?`.
    pub fn join(&self, path_and_query: &str) -> String {
        format!("{}{path_and_query}", self.0)
    }
}

/// Whether this is a host name, an IPv4 address, or an IPv6 address in brackets, as a URL has it
/// (WHATWG URL, section 3.5): a name whose last label is a number would be an IPv4 address.
pub fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().is_ok();
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    let of_a_label = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let is_label = |label: &str| !label.is_empty() && label.bytes().all(of_a_label);
    let last = host.rsplit('.').next().unwrap_or_default();
    let hexadecimal = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit())
        || hexadecimal.is_some_and(|it| it.bytes().all(|byte| byte.is_ascii_hexdigit()));
    if is_number { host.parse::<Ipv4Addr>().is_ok() } else { host.split('.').all(is_label) }
}

/// An entry of `paths`: a path, or the beginning of one with `*` after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathPattern {
    /// This path alone.
    Exact(String),
    /// Every path that begins like this.
    Prefix(String),
}

impl PathPattern {
    /// Reads an entry of the `paths` setting.
    pub fn read(field: &Reader<'_>) -> Option<Self> {
        let pattern = field.text()?;
        let (path, is_prefix) = match pattern.strip_suffix('*') {
            Some(path) => (path, true),
            None => (pattern.as_str(), false),
        };
        field.check(path.starts_with('/'), "must begin with '/'")?;
        field
            .check(!path.contains(['*', '?', '#']), "may have '*' at its end only, and no query")?;
        field.check(is_encoded(path), "must be percent-encoded")?;
        field.check(!has_dot_segment(path), "must have no dot segments")?;
        let path = path.to_owned();
        Some(if is_prefix { Self::Prefix(path) } else { Self::Exact(path) })
    }

    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(own) => own == path,
            Self::Prefix(own) => path.starts_with(own),
        }
    }
}

/// Whether a request may go on to `path`, which is empty or begins with `/`.
///
/// It must match one of `patterns` as it stands, where they narrow an upstream. And it must have no
/// dot segment, however written: the runtime would resolve a plain one, so that it would neither go
/// on byte for byte nor surely stay below `base_url`.
pub fn is_allowed(path: &str, patterns: Option<&[PathPattern]>) -> bool {
    let matched = if path.is_empty() { "/" } else { path };
    let matches = |patterns: &[PathPattern]| patterns.iter().any(|it| it.matches(matched));
    !has_dot_segment(path) && patterns.is_none_or(matches)
}

/// Whether a path has only what may stand in a URL as it is.
fn is_encoded(path: &str) -> bool {
    path.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte))
}

/// How often a path may be percent-encoded over itself. Nobody has a good reason for more, and each
/// time costs another pass.
const MAX_ENCODINGS: usize = 3;

/// Whether someone on the way could find a dot segment in `path`: plain, percent-encoded (once or
/// more often), behind an encoded slash or backslash, with parameters after a semicolon, or with
/// characters in it that a URL parser drops.
fn has_dot_segment(path: &str) -> bool {
    if path.contains(|c: char| c.is_control() || c == ' ') {
        return true;
    }
    let of_dots = |segment: &str| {
        // Parameters, and what cuts a path short or is trimmed from it once it is decoded.
        let name = segment.split([';', '?', '#', '\0']).next().unwrap_or_default();
        matches!(name.trim_matches(|c: char| c.is_whitespace() || c.is_control()), "." | "..")
    };
    // In lower case: this is compared, and never sent.
    let mut text = path.to_ascii_lowercase();
    for _ in 0..=MAX_ENCODINGS {
        if text.split(['/', '\\']).any(of_dots) {
            return true;
        }
        // Most paths: nothing to decode.
        if text.bytes().all(|byte| byte.is_ascii() && byte != b'%') {
            return false;
        }
        match decoded(&text) {
            decoded if decoded == text => return false,
            decoded => text = decoded,
        }
    }
    true
}

/// Percent-decodes a path as the most lenient of servers would: also dots, slashes and backslashes
/// that are written as IIS once took them, as overlong UTF-8, or as their full-width doubles. Tabs and
/// line breaks that come out of it are dropped, as a URL parser does (WHATWG URL, section 4.4).
fn decoded(path: &str) -> String {
    const LENIENT: [(&str, &str); 12] = [
        ("%u002e", "."),
        ("%u002f", "/"),
        ("%u005c", "\\"),
        ("%c0%ae", "."),
        ("%c0%af", "/"),
        ("%c1%9c", "\\"),
        ("%e0%80%ae", "."),
        ("%e0%80%af", "/"),
        ("%e0%81%9c", "\\"),
        ("\u{ff0e}", "."),
        ("\u{ff0f}", "/"),
        ("\u{ff3c}", "\\"),
    ];
    let path = path.to_ascii_lowercase();
    let mut read = String::with_capacity(path.len());
    let mut rest = path.as_str();
    while let Some(first) = rest.chars().next() {
        let lenient = |(written, meant)| Some((meant, rest.strip_prefix(written)?));
        let as_it_is = || rest.split_at_checked(first.len_utf8()).unwrap_or_default();
        let (meant, after) = LENIENT.into_iter().find_map(lenient).unwrap_or_else(as_it_is);
        read.push_str(meant);
        rest = after;
    }
    percent_decode_str(&read).decode_utf8_lossy().replace(['\t', '\n', '\r'], "")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn patterns(list: &[&str]) -> Vec<PathPattern> {
        let text = serde_json::to_string(list).unwrap();
        crate::json::read_text("paths", &text, |it| it.list(|path| PathPattern::read(&path)))
            .unwrap()
    }

    #[test]
    fn a_base_url_is_joined_to_what_follows_byte_for_byte() {
        for (base, rest, url) in [
            ("https://api.example.com", "/a?b=c", "https://api.example.com/a?b=c"),
            ("https://api.example.com/", "/a", "https://api.example.com/a"),
            ("https://api.example.com/v2", "", "https://api.example.com/v2"),
            ("https://api.example.com/v2/", "?q", "https://api.example.com/v2?q"),
            ("http://127.0.0.1:8080/v2", "//x/%41%zz", "http://127.0.0.1:8080/v2//x/%41%zz"),
            ("http://[::1]:8080", "/x", "http://[::1]:8080/x"),
            ("http://[::1]", "/x", "http://[::1]/x"),
            ("http://2fa:8080", "/x", "http://2fa:8080/x"),
            ("http://4f2a9c1b03de", "/x", "http://4f2a9c1b03de/x"),
            ("HTTPS://Api.example.com.", "/x", "https://Api.example.com./x"),
            ("http://localhost:8080", "/x", "http://localhost:8080/x"),
        ] {
            assert_eq!(BaseUrl::parse(base).unwrap().join(rest), url);
        }
    }

    #[test]
    fn what_is_no_base_url_is_refused() {
        for url in [
            "",
            "api.example.com",
            "/v2",
            "ftp://api.example.com",
            "https://",
            "https:///v2",
            "https://user:password@api.example.com",
            "https://api.example.com?key=1",
            "https://api.example.com/v2#x",
            "https://api.example.com/v2/../v3",
            "https://api.example.com/a b",
            "https://api example.com",
            "https://api.example.com:port",
            "https://api.example.com:99999",
            "https://[::1",
            "https://[1]",
            "https://1.2.3.4.5",
            "http://999.1.1.1",
            "http://a..b",
            "http://a..",
            "http://0X7f.1.2.3.4",
            "http://127.0.0.1:+18080",
            "http://127.0.0.1:0",
            "https://api.example.com\\@evil.example",
            "https://пример.example",
        ] {
            assert!(BaseUrl::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_pattern_matches_the_whole_path_or_with_a_star_the_rest() {
        let only = patterns(&["/charges", "/customers/*"]);
        for path in ["/charges", "/customers/", "/customers/1", "/customers/1/cards"] {
            assert!(is_allowed(path, Some(&only)), "{path}");
        }
        for path in [
            "",
            "/",
            "/charges/",
            "/charges/1",
            "/customers",
            "/customersx",
            "/Charges",
            "/%63harges",
        ] {
            assert!(!is_allowed(path, Some(&only)), "{path}");
        }
        assert!(is_allowed("", Some(&patterns(&["/*"]))));
    }

    #[test]
    fn whatever_may_be_read_as_a_dot_segment_is_refused() {
        let only = patterns(&["/customers/*"]);
        for path in [
            "/customers/../admin",
            "/customers/%2e%2e/admin",
            "/customers/.%2E/admin",
            "/customers/..%2fadmin",
            "/customers/..%5cadmin",
            "/customers/..\\admin",
            "/customers/%252e%252e/admin",
            "/customers/%25252e%25252e/admin",
            "/customers/x%2f..%2f..%2fadmin",
            "/customers/..;a=b/admin",
            "/customers/.\t./admin",
            "/customers/.",
            "/customers/a/../b",
            "/customers/..%00/x",
            "/customers/..%20/x",
            "/customers/%09../x",
            "/customers/.%09./admin",
            "/customers/.%250a%250d./admin",
            "/customers/%%092e%%092e/admin",
            "/customers/..%3fx",
            "/customers/..%23",
            "/customers/%C0%AE%c0%ae/x",
            "/customers/..%c0%afx",
            "/customers/%EF%BC%8E%ef%bc%8e/x",
            "/customers/%u002e%u002e/x",
            "/customers/..%u002fx",
            "/customers/..%u005cx",
            "/customers/..%c1%9cx",
            "/customers/%e0%80%ae%e0%80%ae/x",
            "/customers/..%e0%80%afx",
            "/customers/..%e0%81%9cx",
            "/customers/..%ef%bc%8fx",
            "/customers/..%ef%bc%bcx",
        ] {
            assert!(!is_allowed(path, Some(&only)), "{path}");
            assert!(!is_allowed(path, None), "{path}");
        }
        for path in
            ["/customers/...", "/customers/a..b", "/customers/.well-known", "/customers/a%2fb%0a"]
        {
            assert!(is_allowed(path, Some(&only)), "{path}");
            assert!(is_allowed(path, None), "{path}");
        }
        for path in ["", "/", "//a//b", "/%zz", "/100%25"] {
            assert!(is_allowed(path, None), "{path}");
        }
    }

    #[test]
    fn a_path_may_be_encoded_over_itself_so_often_and_no_more() {
        // `a`, encoded once, and then over itself.
        let encoded = |times: usize| format!("/%{}61", "25".repeat(times - 1));
        assert!(is_allowed(&encoded(MAX_ENCODINGS), None));
        assert!(!is_allowed(&encoded(MAX_ENCODINGS + 1), None));
        assert!(!is_allowed(&encoded(4_000), None));
    }

    proptest! {
        /// The URL parser of the platform's standard is the judge.
        #[test]
        fn what_is_allowed_stays_below_its_base(
            pieces in prop::collection::vec(
                prop::sample::select(vec![
                    "/", "\\", ".", "..", "%2e", "%2E", "%2f", "%5c", "%25", "2e", ";", "a", "%zz",
                    "%00", "%c0%ae", "\u{ff0e}", "//", "...", "%", "é",
                ]),
                0..12,
            ),
        ) {
            let path = format!("/{}", pieces.concat());
            if is_allowed(&path, None) {
                let joined = BaseUrl::parse("https://a.example/base").unwrap().join(&path);
                let url = worker::Url::parse(&joined).unwrap();
                prop_assert_eq!(url.host_str(), Some("a.example"));
                let rest = url.path().strip_prefix("/base").unwrap().to_owned();
                if path.is_ascii() && !path.contains('\\') {
                    prop_assert_eq!(rest, path, "it does not go on byte for byte");
                }
            }
        }

        #[test]
        fn a_path_without_dots_and_backslashes_is_never_refused(path in "(/[a-zA-Z0-9_~%!$&'()*+,=:@-]{0,8}){1,5}") {
            // Encoded over and over, or encoding a dot, it may be.
            prop_assume!(!path.contains("%25") && !path.to_lowercase().contains("%2e"));
            prop_assert!(is_allowed(&path, None));
        }

        #[test]
        fn no_base_url_is_accepted_that_the_platform_refuses(text in "https?://[a-z0-9.:@\\[\\]_-]{1,16}(/[a-z.%]{0,6}){0,3}") {
            if let Ok(base) = BaseUrl::parse(&text) {
                prop_assert!(worker::Url::parse(&base.join("/x")).is_ok(), "{}", text);
            }
        }
    }
}
