//! How one secret is placed on an upstream request. A new way is one more [`Placement`].

use base64ct::{Base64Unpadded, Encoding as _};
use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

use super::{caller::occurrences, headers::is_hop_by_hop};
use crate::{
    config::read_binding,
    json::{Fields, Reader},
    secrets::{
        Environment, ErrorKind, Flaw, Secret, SecretError, SecretErrors, Secrets, with_fallback,
    },
};

/// One secret and its place on a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Where the value goes.
    pub placement: Placement,
    /// The binding.
    pub secret: String,
    /// The binding to use when the first one fails.
    pub fallback: Option<String>,
}

/// The places, by the `type` of the setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Placement {
    /// `Authorization: Bearer <secret>` (RFC 6750, section 2.1).
    Bearer,
    /// `Authorization: Basic base64(<username>:<secret>)` (RFC 7617).
    Basic {
        /// What stands before the colon.
        username: String,
    },
    /// `<name>: <prefix><secret>`.
    Header {
        /// The header's name, in lower case.
        name: String,
        /// What stands before the value, perhaps nothing.
        prefix: String,
    },
    /// `?<name>=<secret>`, percent-encoded.
    Query {
        /// The parameter's name.
        name: String,
    },
}

/// How a value travels, which decides what may be in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// As it is, in a header.
    Header,
    /// In base64 or percent-encoded: characters beyond ASCII go through as well.
    Encoded,
}

impl Carrier {
    /// Has a value that this can carry.
    ///
    /// # Errors
    ///
    /// See [`Secrets::get`].
    pub async fn get<E: Environment>(
        self,
        secrets: &Secrets<E>,
        binding: &str,
    ) -> Result<Secret, SecretError> {
        match secrets.get(binding).await {
            Err(SecretError { kind: ErrorKind::NotHeaderSafe(Flaw::NotAscii), .. })
                if self == Self::Encoded =>
            {
                secrets.get_text(binding).await
            }
            result => result,
        }
    }
}

/// A value at its place.
pub enum Placed<'a> {
    /// A header and its value.
    Header(&'a str, Secret),
    /// A query parameter: its name as it is, and `name=value` percent-encoded.
    Query(&'a str, Zeroizing<String>),
}

impl Placed<'_> {
    /// The header that it is in, where it is in one.
    pub fn header(&self) -> Option<&str> {
        match self {
            Self::Header(name, _) => Some(name),
            Self::Query(..) => None,
        }
    }
}

impl Credential {
    /// Reads the `credentials` of an upstream.
    pub fn read_all(credentials: &Reader<'_>) -> Option<Vec<Self>> {
        let all = credentials.list(|credential| Self::read(&credential))?;
        for (index, (credential, field)) in all.iter().zip(credentials.items()?).enumerate() {
            let place = credential.placement.place_name();
            let is_free = !all.iter().take(index).any(|it| it.placement.place_name() == place);
            field.check(is_free, "an earlier credential has the same place")?;
        }
        Some(all)
    }

    fn read(credential: &Reader<'_>) -> Option<Self> {
        let fields = credential.any_fields()?;
        let kind = fields.required("type")?;
        let (own, read_placement): (&[&str], ReadPlacement) = match kind.text()?.as_str() {
            "bearer" => (&[], |_| Some(Placement::Bearer)),
            "basic" => (&["username"], read_basic),
            "header" => (&["name", "prefix"], read_header),
            "query" => (&["name"], read_query),
            _ => return kind.mistake("must be one of bearer, basic, header, query"),
        };
        fields.only(&[&["type", "secret", "fallback"], own].concat());
        let placement = read_placement(&fields);
        let secret = fields.required("secret").and_then(|it| read_binding(&it));
        let fallback = fields.optionally("fallback", |it| read_binding(&it));
        Some(Self { placement: placement?, secret: secret?, fallback: fallback? })
    }

    /// Has the value, or the fallback's.
    ///
    /// # Errors
    ///
    /// Both errors, where there is a fallback.
    pub async fn resolve<E: Environment>(
        &self,
        secrets: &Secrets<E>,
    ) -> Result<Secret, SecretErrors> {
        let carrier = self.placement.carrier();
        let fallback = self.fallback.as_deref().map(|fallback| carrier.get(secrets, fallback));
        with_fallback(carrier.get(secrets, &self.secret), fallback).await
    }
}

impl Placement {
    /// Puts a value at its place.
    pub fn place(&self, secret: &Secret) -> Placed<'_> {
        match self {
            Self::Bearer => Placed::Header("authorization", secret.prefixed("Bearer ")),
            Self::Basic { username } => {
                let pair = concat(&[username, ":", &secret.expose_secret()]);
                let length = Base64Unpadded::encoded_len(pair.as_bytes());
                let mut encoded = Zeroizing::new(vec![0; length]);
                // The buffer has the length that was asked for, so this cannot fail.
                let encoded =
                    Base64Unpadded::encode(pair.as_bytes(), &mut encoded).unwrap_or_default();
                let padding = ["", "", "==", "="].get(length % 4).unwrap_or(&"");
                let value = ["Basic ", encoded, padding].concat();
                Placed::Header("authorization", value.into())
            }
            Self::Header { name, prefix } => Placed::Header(name, secret.prefixed(prefix)),
            Self::Query { name } => Placed::Query(name, parameter(name, &secret.expose_secret())),
        }
    }

    /// How a value travels there.
    pub fn carrier(&self) -> Carrier {
        match self {
            Self::Bearer | Self::Header { .. } => Carrier::Header,
            Self::Basic { .. } | Self::Query { .. } => Carrier::Encoded,
        }
    }

    /// The `type` of the setting.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Bearer => "bearer",
            Self::Basic { .. } => "basic",
            Self::Header { .. } => "header",
            Self::Query { .. } => "query",
        }
    }

    /// Two credentials may not have the same place.
    fn place_name(&self) -> (&'static str, &str) {
        match self {
            Self::Bearer | Self::Basic { .. } => ("header", "authorization"),
            Self::Header { name, .. } => ("header", name),
            Self::Query { name } => ("query", name),
        }
    }
}

/// `name=value`, percent-encoded.
pub fn parameter(name: &str, value: &str) -> Zeroizing<String> {
    // Three bytes for each at the most: a string that grows leaves copies behind.
    let mut pair = Zeroizing::new(String::with_capacity(3 * (name.len() + value.len()) + 1));
    percent_encode(name, &mut pair);
    pair.push('=');
    percent_encode(value, &mut pair);
    pair
}

/// `path_and_query` with `pair` (`name=value`, encoded) as its one parameter of this name; the
/// other parameters stay as they are, byte for byte. (A server that takes `;` for `&` as well might
/// still read another one of this name; the URL standard knows no such separator.)
pub fn with_parameter(path_and_query: &str, name: &str, pair: &str) -> Zeroizing<String> {
    let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
    let own_name =
        |parameter: &str| parameter.split('=').next().is_some_and(|it| decoded(it) == name);
    let parameters = (!query.is_empty()).then(|| query.split('&')).into_iter().flatten();
    let mut joined = Zeroizing::new(String::with_capacity(path_and_query.len() + pair.len() + 2));
    joined.push_str(path);
    joined.push('?');
    for parameter in parameters.filter(|parameter| !own_name(parameter)) {
        joined.push_str(parameter);
        joined.push('&');
    }
    joined.push_str(pair);
    joined
}

/// A header of an answer without the value of `pair` (`name=value`, encoded), wherever an upstream
/// repeats it: a redirect to the same URL, a link to the next page. What stands before `=` stays.
/// `None` where it is not in it. (What is in a body goes on as it is: it is a stream.)
pub fn without_value(header: &str, pair: &str) -> Option<Zeroizing<String>> {
    let wanted = decoded(pair);
    let ends = |c: char| c.is_whitespace() || ['<', '>', '"', ',', ';', '?', '&', '#'].contains(&c);
    let mut kept = Zeroizing::new(String::with_capacity(header.len()));
    for part in header.split_inclusive(ends) {
        let parameter = part.trim_end_matches(ends);
        // However it is encoded there, also within another parameter.
        if occurrences(&decoded(parameter), &wanted).next().is_some() {
            kept.push_str(parameter.split_once('=').map_or("", |(name, _)| name));
            kept.push('=');
            kept.push_str(part.strip_prefix(parameter).unwrap_or_default());
        } else {
            kept.push_str(part);
        }
    }
    (kept.as_str() != header).then_some(kept)
}

/// Appends `text` with all but the unreserved characters percent-encoded (RFC 3986, sections 2.1 and 2.3).
/// (Not by `percent-encoding`: its table of all that can come of it is 1 % of the upload.)
fn percent_encode(text: &str, into: &mut String) {
    let digit = |it: u8| char::from(if it < 10 { b'0' + it } else { b'A' - 10 + it });
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            into.push(byte.into());
        } else {
            into.extend(['%', digit(byte >> 4), digit(byte & 0xf)]);
        }
    }
}

/// A parameter, or its name, as a server reads it (application/x-www-form-urlencoded).
pub fn decoded(parameter: &str) -> String {
    percent_decode_str(&parameter.replace('+', " ")).decode_utf8_lossy().into_owned()
}

/// One string of several, made without growing: growing would leave copies behind.
fn concat(parts: &[&str]) -> Zeroizing<String> {
    Zeroizing::new(parts.concat())
}

/// Reads the fields of one type of credential.
type ReadPlacement = fn(&Fields<'_>) -> Option<Placement>;

fn read_basic(fields: &Fields<'_>) -> Option<Placement> {
    let field = fields.required("username")?;
    let username = field.text()?;
    field.check(
        !username.contains(|c: char| c == ':' || c.is_control()),
        "must have no colon and no control characters (RFC 7617, section 2)",
    )?;
    Some(Placement::Basic { username })
}

fn read_header(fields: &Fields<'_>) -> Option<Placement> {
    let name = fields.required("name").and_then(|field| {
        let name = field.text()?.to_ascii_lowercase();
        field.check(is_header_name(&name), "must be a header's name (RFC 9110, section 5.1)")?;
        // RFC 9110, sections 7.2, 7.6.1 and 8.6: the runtime sets them.
        let is_the_runtimes =
            is_hop_by_hop(&name) || ["content-length", "host"].contains(&name.as_str());
        field.check(
            !is_the_runtimes,
            "is a header of the connection and cannot carry a credential",
        )?;
        Some(name)
    });
    let prefix = fields.optionally("prefix", |field| {
        let prefix = field.text()?;
        // Beyond ASCII, the runtime would put a warning with the whole value into the log.
        field.check(
            prefix.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
                && !prefix.starts_with(' '),
            "must be printable ASCII without a space at its start",
        )?;
        Some(prefix)
    });
    Some(Placement::Header { name: name?, prefix: prefix?.unwrap_or_default() })
}

fn read_query(fields: &Fields<'_>) -> Option<Placement> {
    let field = fields.required("name")?;
    let name = field.text()?;
    field.check(!name.is_empty(), "must not be empty")?;
    Some(Placement::Query { name })
}

/// Whether this is a token (RFC 9110, section 5.6.2).
pub fn is_header_name(name: &str) -> bool {
    let of_a_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(of_a_token)
}

#[cfg(test)]
mod tests {
    use base64ct::Base64;
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Result<Vec<Credential>, Vec<String>> {
        crate::json::read_text("credentials", text, Credential::read_all)
            .map_err(|mistakes| mistakes.0.iter().map(ToString::to_string).collect())
    }

    fn placed(text: &str, secret: &str) -> (String, String) {
        let credential = read(text).unwrap().remove(0);
        match credential.placement.place(&Secret::from(secret.to_owned())) {
            Placed::Header(name, value) => (name.to_owned(), value.expose_secret().to_string()),
            Placed::Query(name, pair) => (format!("?{name}"), pair.to_string()),
        }
    }

    #[test]
    fn each_type_has_its_place() {
        for (text, secret, name, value) in [
            (r#"[{"type":"bearer","secret":"K"}]"#, "sk_1", "authorization", "Bearer sk_1"),
            (
                // The example of RFC 7617, section 2.
                r#"[{"type":"basic","secret":"K","username":"Aladdin"}]"#,
                "open sesame",
                "authorization",
                "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            ),
            (
                // The example of RFC 7617, section 2.1.
                r#"[{"type":"basic","secret":"K","username":"test"}]"#,
                "123\u{a3}",
                "authorization",
                "Basic dGVzdDoxMjPCow==",
            ),
            (r#"[{"type":"header","secret":"K","name":"X-API-Key"}]"#, "sk 1", "x-api-key", "sk 1"),
            (
                r#"[{"type":"header","secret":"K","name":"Authorization","prefix":"Token token="}]"#,
                "sk_1",
                "authorization",
                "Token token=sk_1",
            ),
            (
                r#"[{"type":"query","secret":"K","name":"api key"}]"#,
                "a&b=c/ü~",
                "?api key",
                "api%20key=a%26b%3Dc%2F%C3%BC~",
            ),
        ] {
            assert_eq!(placed(text, secret), (name.to_owned(), value.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_long_secret_is_placed_whole() {
        let secret = "s".repeat(64 * 1024);
        let (_, value) = placed(r#"[{"type":"basic","secret":"K","username":"u"}]"#, &secret);
        let decoded = Base64::decode_vec(value.strip_prefix("Basic ").unwrap()).unwrap();
        assert_eq!(decoded, format!("u:{secret}").into_bytes());
    }

    #[test]
    fn a_mistake_is_told_with_the_path_of_its_field() {
        for (text, mistakes) in [
            (
                r#"[{"type":"beerer","secret":"K"}]"#,
                vec!["credentials[0].type: must be one of bearer, basic, header, query"],
            ),
            (r#"[{"secret":"K"}]"#, vec!["credentials[0].type: is required"]),
            (r#"[{"type":"bearer"}]"#, vec!["credentials[0].secret: is required"]),
            (
                r#"[{"type":"bearer","secret":7,"fallback":""}]"#,
                vec![
                    "credentials[0].secret: must be a string",
                    "credentials[0].fallback: must be the name of a binding: letters, digits and '_'",
                ],
            ),
            (
                r#"[{"type":"bearer","secret":"K","name":"x"}]"#,
                vec!["credentials[0].name: unknown field; known are type, secret, fallback"],
            ),
            (
                r#"[{"type":"basic","secret":"K","username":"a:b"}]"#,
                vec![
                    "credentials[0].username: must have no colon and no control characters (RFC 7617, section 2)",
                ],
            ),
            (
                r#"[{"type":"header","secret":"K","name":"a b"}]"#,
                vec!["credentials[0].name: must be a header's name (RFC 9110, section 5.1)"],
            ),
            (
                r#"[{"type":"header","secret":"K","name":"Host"}]"#,
                vec![
                    "credentials[0].name: is a header of the connection and cannot carry a credential",
                ],
            ),
            (
                r#"[{"type":"header","secret":"K","name":"x","prefix":"clé "}]"#,
                vec!["credentials[0].prefix: must be printable ASCII without a space at its start"],
            ),
            (
                r#"[{"type":"query","secret":"K","name":""}]"#,
                vec!["credentials[0].name: must not be empty"],
            ),
            (
                r#"[{"type":"bearer","secret":"K"},{"type":"basic","secret":"L","username":"u"}]"#,
                vec!["credentials[1]: an earlier credential has the same place"],
            ),
            (r#"{"type":"bearer","secret":"K"}"#, vec!["credentials: must be a list"]),
        ] {
            assert_eq!(read(text).unwrap_err(), mistakes, "{text}");
        }
    }

    #[test]
    fn what_was_attached_to_the_query_does_not_come_back() {
        let pair = "key=a%20%2Fb";
        for (header, kept) in [
            ("/x?key=a%20%2Fb", "/x?key="),
            ("https://a.example/x?a=1&key=a+/b&c=2#f", "https://a.example/x?a=1&key=&c=2#f"),
            ("/x?k%65y=a%20%2fb;q", "/x?k%65y=;q"),
            ("</x?key=a%20%2Fb>; rel=next, </y>", "</x?key=>; rel=next, </y>"),
            ("/login?next=%2Fx%3Fkey%3Da%20%2Fb&a", "/login?next=&a"),
        ] {
            let without = without_value(header, pair);
            assert_eq!(without.as_ref().map(|it| it.as_str()), Some(kept), "{header}");
        }
        for header in ["", "/x?key=other&a=a%20%2Fb", "W/\"1\"", "a=1; b=2, ?&"] {
            assert_eq!(without_value(header, pair), None, "{header}");
        }
    }

    #[test]
    fn a_parameter_is_added_and_the_others_stay_as_they_are() {
        for (before, after) in [
            ("/a", "/a?key=s"),
            ("", "?key=s"),
            ("/a?", "/a?key=s"),
            ("/a?b=%41+c&&d", "/a?b=%41+c&&d&key=s"),
            ("/a?b=c?d", "/a?b=c?d&key=s"),
        ] {
            assert_eq!(with_parameter(before, "key", "key=s").as_str(), after);
        }
    }

    #[test]
    fn the_callers_own_parameter_of_that_name_is_replaced_however_it_is_written() {
        for query in ["key=x", "key", "key=", "k%65y=x", "key=x&key=y"] {
            let before = format!("/a?{query}&b=c");
            assert_eq!(with_parameter(&before, "key", "key=s").as_str(), "/a?b=c&key=s");
        }
        assert_eq!(
            with_parameter("/a?api+key=x", "api key", "api%20key=s").as_str(),
            "/a?api%20key=s"
        );
        assert_eq!(with_parameter("/a?KEY=x", "key", "key=s").as_str(), "/a?KEY=x&key=s");
    }

    proptest! {
        #[test]
        fn what_is_reserved_is_encoded_as_the_library_does(text in ".{0,20}|[ -~]{0,20}") {
            const RESERVED: &AsciiSet =
                &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
            let mut encoded = String::new();
            percent_encode(&text, &mut encoded);
            prop_assert_eq!(encoded, utf8_percent_encode(&text, RESERVED).to_string());
        }

        /// A server reads the secret once, and the caller's other parameters as they were.
        #[test]
        fn a_parameter_is_read_as_it_was_written(
            secret in "[ -~]{1,40}|.{1,20}",
            others in prop::collection::vec(("[a-z%+]{0,6}", "[a-z0-9%+=]{0,6}"), 0..5),
        ) {
            let placement = Placement::Query { name: "k y".to_owned() };
            let Placed::Query(name, pair) = placement.place(&Secret::from(secret.clone())) else {
                panic!("it is a query credential");
            };
            let query: Vec<String> = others.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let before = format!("/p?{}", query.join("&"));
            let after = with_parameter(&before, name, &pair);
            let read = |text: &str| -> Vec<(String, String)> {
                let url = worker::Url::parse(&format!("https://a.example{text}")).unwrap();
                url.query_pairs().into_owned().collect()
            };
            let mut expected = read(&before);
            expected.retain(|(name, _)| name != "k y");
            expected.push(("k y".to_owned(), secret));
            prop_assert_eq!(read(&after), expected);
        }

        #[test]
        fn a_basic_credential_is_read_as_it_was_written(username in "[^:\\p{Cc}]{0,10}", secret in ".{1,60}") {
            let placement = Placement::Basic { username: username.clone() };
            let Placed::Header(_, value) = placement.place(&Secret::from(secret.clone())) else {
                panic!("it is a header");
            };
            let value = value.expose_secret();
            let decoded = Base64::decode_vec(value.strip_prefix("Basic ").unwrap()).unwrap();
            prop_assert_eq!(String::from_utf8(decoded).unwrap(), format!("{username}:{secret}"));
        }
    }
}
