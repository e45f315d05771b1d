//! Where a request goes: the URL of an upstream, and the paths below it.
//!
//! The runtime's URL parser (WHATWG URL) resolves dot segments, `%2e` for a dot and `\` for a
//! slash included, and a server behind it may decode more. So a path in which any of them could
//! find a dot segment is refused; every other one goes on byte for byte.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::json::Reader;

/// `base_url`: an absolute http or https URL, perhaps with a path, without a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl(String);

impl BaseUrl {
    /// Reads a `base_url` setting.
    pub fn read(field: &Reader<'_>) -> Option<Self> {
        let url = field.text()?;
        match Self::parse(url) {
            Ok(url) => Some(url),
            Err(why) => field.mistake(why),
        }
    }

    fn parse(url: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        if !["http", "https"].contains(&scheme) {
            return Err("must be an absolute URL that begins with http:// or https://");
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err("must have no user or password in it; use a `basic` credential");
        }
        if rest.contains(['?', '#']) {
            return Err("must have no query and no fragment; use a `query` credential");
        }
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port),
            _ => (authority, "80"),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let of_an_address = |byte: u8| byte.is_ascii_hexdigit() || b":.".contains(&byte);
        let host_is_good = match bare {
            Some(address) => !address.is_empty() && address.bytes().all(of_an_address),
            None => !host.is_empty() && host.bytes().all(of_a_name),
        };
        if !host_is_good || port.parse::<u16>().is_err() {
            return Err("must have a host name, or an IP address, and after it perhaps a port");
        }
        let path = path.trim_end_matches('/');
        let of_a_path = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte);
        if !path.bytes().all(of_a_path) || has_dot_segment(path) {
            return Err("must have a percent-encoded path without dot segments");
        }
        Ok(Self(format!("{scheme}://{authority}{path}")))
    }

    /// This URL with `path_and_query` after it, which is empty or begins with `/` or `?`.
    pub fn join(&self, path_and_query: &str) -> String {
        format!("{}{path_and_query}", self.0)
    }
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
            None => (pattern, false),
        };
        field.check(path.starts_with('/'), "must begin with '/'")?;
        field
            .check(!path.contains(['*', '?', '#']), "may have '*' at its end only, and no query")?;
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
        let name = segment.split(';').next().unwrap_or_default();
        matches!(name, "." | "..")
    };
    let mut text = Cow::Borrowed(path);
    for _ in 0..=MAX_ENCODINGS {
        if text.split(['/', '\\']).any(of_dots) {
            return true;
        }
        match percent_decode_str(&text).decode_utf8_lossy() {
            decoded if decoded == text => return false,
            decoded => text = decoded.into_owned().into(),
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(list: &[&str]) -> Vec<PathPattern> {
        let text = serde_json::to_string(list).unwrap();
        crate::json::read("paths", &text, |it| it.list(|path| PathPattern::read(&path))).unwrap()
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
    fn a_path_that_is_encoded_over_and_over_is_refused_and_costs_little() {
        let path = format!("/%{}2e", "25".repeat(4_000));
        assert!(!is_allowed(&path, None));
    }
}
