//! Who calls: the tokens that a request shows, and whose they are.

use base64ct::{Base64Unpadded, Encoding as _};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::credential::{Credential, Placement};
use crate::secrets::Secret;

/// A header in which a caller may show its token, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// The header's name, in lower case.
    pub header: &'a str,
    form: Form<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form<'a> {
    /// `Bearer <token>` (RFC 6750, section 2.1).
    Bearer,
    /// The password of `Basic base64(<user>:<token>)` (RFC 7617).
    BasicPassword,
    /// The token after a prefix, which may be empty and may be left out.
    AfterPrefix(&'a str),
}

/// A header in which a request shows something that could be a token.
pub struct Shown<'a> {
    /// Where.
    pub place: Place<'a>,
    /// The header's value, whole.
    pub value: Secret,
}

/// The places where an admin, or any upstream's caller, may show its token.
pub const PLACES: [Place<'static>; 3] = [
    Place { header: "authorization", form: Form::Bearer },
    Place { header: "authorization", form: Form::BasicPassword },
    Place { header: "proxy-authorization", form: Form::Bearer },
];

/// The places where a caller of an upstream with these credentials may show its token: also the
/// header where the upstream's own API client puts its key.
pub fn places(credentials: &[Credential]) -> impl Iterator<Item = Place<'_>> {
    let own = credentials.iter().filter_map(|credential| match &credential.placement {
        Placement::Header { name, prefix } => {
            Some(Place { header: name, form: Form::AfterPrefix(prefix) })
        }
        _ => None,
    });
    PLACES.into_iter().chain(own)
}

impl Place<'_> {
    /// The token in a header's value; none where there is no value of this form, or an empty one.
    pub fn token(&self, value: &str) -> Option<Zeroizing<String>> {
        let token = match self.form {
            Form::Bearer => Zeroizing::new(after_scheme("bearer", value)?.to_owned()),
            Form::BasicPassword => {
                let pair = decoded(after_scheme("basic", value)?)?;
                let (_, password) = std::str::from_utf8(&pair).ok()?.split_once(':')?;
                Zeroizing::new(password.to_owned())
            }
            Form::AfterPrefix(prefix) => {
                Zeroizing::new(value.strip_prefix(prefix).unwrap_or(value).to_owned())
            }
        };
        (!token.is_empty()).then_some(token)
    }
}

impl<'a> Shown<'a> {
    /// What a header's value, whose text has been exposed, shows at `place`, if it could hold a token.
    pub fn read(place: Place<'a>, value: &Secret, text: &str) -> Option<Self> {
        place.token(text).map(|_| Self { place, value: value.clone() })
    }

    /// The binding of the first of `tokens` that this is; compares with every one of them.
    pub fn whose<'t>(&self, tokens: &[(&'t str, Secret)]) -> Option<&'t str> {
        let shown = self.place.token(&self.value.expose_secret())?;
        tokens.iter().rev().fold(None, |found, (binding, token)| {
            if is_equal(&shown, &token.expose_secret()) { Some(*binding) } else { found }
        })
    }
}

/// A token of this length stands in no text by chance.
const LONG_TOKEN: usize = 12;

/// Whether `token` stands in a header's value, as it is or in the base64 of `Basic`. A short token
/// must be set apart from what is around it, so that it strips nothing else.
pub fn mentions(value: &str, token: &str) -> bool {
    let sets_apart = |c: char| !c.is_ascii_alphanumeric() && !['-', '_', '.'].contains(&c);
    let stands_apart = |(before, after): (&str, &str)| {
        before.chars().next_back().is_none_or(sets_apart)
            && after.chars().next().is_none_or(sets_apart)
    };
    let stands_in = |text: &str| {
        occurrences(text, token).any(|around| token.len() >= LONG_TOKEN || stands_apart(around))
    };
    let pair = || {
        let pair = decoded(after_scheme("basic", value)?)?;
        std::str::from_utf8(&pair).ok().map(stands_in)
    };
    stands_in(value) || pair() == Some(true)
}

/// What stands before and after `part`, at each place where it is in `text`, also where two of them
/// overlap. (The standard library's search would be one for long texts, and 4 KiB of the upload.)
pub fn occurrences<'t>(text: &'t str, part: &str) -> impl Iterator<Item = (&'t str, &'t str)> {
    let first = part.chars().next();
    let begins = text.char_indices().filter(move |(_, c)| Some(*c) == first);
    begins.filter_map(move |(at, _)| {
        let (before, rest) = text.split_at_checked(at)?;
        Some((before, rest.strip_prefix(part)?))
    })
}

/// What base64 stands for, with its padding or without.
fn decoded(base64: &str) -> Option<Zeroizing<Vec<u8>>> {
    Some(Zeroizing::new(Base64Unpadded::decode_vec(base64.trim_end_matches('=')).ok()?))
}

/// What follows the scheme of an `Authorization` value; its name is compared without regard to
/// case (RFC 9110, section 11.1).
fn after_scheme<'v>(scheme: &str, value: &'v str) -> Option<&'v str> {
    let (own, rest) = value.split_once(' ')?;
    own.eq_ignore_ascii_case(scheme).then(|| rest.trim_start_matches(' '))
}

/// Compares in a time that tells nothing of where they differ; it may tell that their lengths do.
/// An empty secret is equal to nothing.
fn is_equal(shown: &str, secret: &str) -> bool {
    !secret.is_empty() && bool::from(shown.as_bytes().ct_eq(secret.as_bytes()))
}

#[cfg(test)]
mod tests {
    use base64ct::Base64;
    use proptest::prelude::*;

    use super::*;

    fn header(name: &str, prefix: &str) -> Credential {
        Credential {
            placement: Placement::Header { name: name.to_owned(), prefix: prefix.to_owned() },
            secret: "K".to_owned(),
            fallback: None,
        }
    }

    fn tokens(header: &str, value: &str, credentials: &[Credential]) -> Vec<String> {
        places(credentials)
            .filter(|place| place.header == header)
            .filter_map(|place| place.token(value))
            .map(|token| token.to_string())
            .collect()
    }

    #[test]
    fn a_token_is_shown_in_four_ways() {
        let own = [header("x-api-key", "")];
        assert_eq!(tokens("authorization", "Bearer t-1", &[]), ["t-1"]);
        assert_eq!(tokens("authorization", "bEARER   t-1", &[]), ["t-1"]);
        assert_eq!(tokens("proxy-authorization", "Bearer t-1", &[]), ["t-1"]);
        assert_eq!(tokens("authorization", "Basic dXNlcjp0LTE=", &[]), ["t-1"]); // user:t-1
        assert_eq!(tokens("authorization", "Basic OmE6Yg==", &[]), ["a:b"]); // :a:b
        assert_eq!(tokens("authorization", "Basic Ojs/Pz4+fn4=", &[]), [";??>>~~"]); // :;??>>~~
        assert_eq!(tokens("x-api-key", "t-1", &own), ["t-1"]);
        assert_eq!(tokens("x-api-key", "t-1", &[]), [""; 0]);
    }

    #[test]
    fn a_token_may_stand_after_the_credentials_own_prefix() {
        let own = [header("authorization", "Token token=")];
        assert_eq!(tokens("authorization", "Token token=t-1", &own), ["t-1"]);
        assert_eq!(tokens("authorization", "t-1", &own), ["t-1"]);
        assert_eq!(tokens("authorization", "Bearer t-1", &own)[0], "t-1");
    }

    #[test]
    fn what_is_no_token_is_none() {
        for value in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer    ",
            "Digest t-1",
            "Basic",
            "Basic !",
            "Basic dXNlcg==",
            "Basic dXNlcjo=",
            "t-1",
        ] {
            assert_eq!(tokens("authorization", value, &[]), [""; 0], "{value}");
        }
        assert_eq!(tokens("proxy-authorization", "Basic dXNlcjp0LTE=", &[]), [""; 0]);
    }

    #[test]
    fn whose_a_token_is_is_found_by_the_whole_token() {
        let tokens = [("A", "t-1"), ("EMPTY", ""), ("B", "t-2")]
            .map(|(b, t)| (b, Secret::from(t.to_owned())));
        let whose =
            |value: &str| Shown::read(PLACES[0], &value.to_owned().into(), value)?.whose(&tokens);
        assert_eq!(whose("Bearer t-1"), Some("A"));
        assert_eq!(whose("Bearer t-2"), Some("B"));
        for value in [
            "Bearer t",
            "Bearer t-",
            "Bearer t-3",
            "Bearer t-11",
            "Bearer T-1",
            "Bearer t-1t-1",
            "Bearer",
            "Bearer  ",
        ] {
            assert_eq!(whose(value), None, "{value}");
        }
    }

    #[test]
    fn a_token_is_found_wherever_it_stands() {
        let long = "a-long-token-1";
        for value in [
            "a-long-token-1",
            "xa-long-token-1x",
            "http://a.example/?t=a-long-token-1&b",
            "Basic YS1sb25nLXRva2VuLTE6",     // a-long-token-1:
            "Basic dTphLWxvbmctdG9rZW4tMQ==", // u:a-long-token-1
            "basic dTphLWxvbmctdG9rZW4tMQ",   // the same, unpadded
        ] {
            assert!(mentions(value, long), "{value}");
        }
        assert!(!mentions("a-long-token-2", long));
        // A short one stands in much by chance.
        for value in ["t-1", "Bearer t-1", "Bearer x, Bearer t-1", "key=t-1;q=1", "(t-1)", "a/t-1"]
        {
            assert!(mentions(value, "t-1"), "{value}");
        }
        for value in ["", "t-12", "xt-1", "t-", "at-1b"] {
            assert!(!mentions(value, "t-1"), "{value}");
        }
        assert!(!mentions("", "") && !mentions("x", ""));
        // The first place overlaps with the second, which is set apart.
        for (value, token) in [("Bearer r r", "r r"), ("Basic YWI6Yjpi", "b:b")] {
            assert!(mentions(value, token), "{value}"); // the second is ab:b:b
        }
    }

    #[test]
    fn an_empty_secret_is_equal_to_nothing() {
        assert!(!is_equal("", ""));
        assert!(!is_equal("x", ""));
        assert!(!is_equal("", "x"));
        assert!(is_equal("x", "x"));
        assert!(!is_equal("xx", "x"));
        assert!(!is_equal("x", "xx"));
    }

    proptest! {
        #[test]
        fn a_token_is_known_however_it_is_shown_and_no_other_is(
            token in "[!-~]{1,40}",
            other in "[!-~]{1,40}",
            user in "[^:]{0,8}",
        ) {
            let tokens = [("T", Secret::from(token.clone()))];
            let credentials = [header("x-api-key", "")];
            let shows = |header: &str, value: String, tokens: &[(&'static str, Secret)]| {
                places(&credentials)
                    .filter(|place| place.header == header)
                    .filter_map(|place| Shown::read(place, &value.clone().into(), &value))
                    .find_map(|shown| shown.whose(tokens))
            };
            let basic = |token: &str| {
                format!("Basic {}", Base64::encode_string(format!("{user}:{token}").as_bytes()))
            };
            for (name, shown) in [
                ("authorization", format!("Bearer {token}")),
                ("proxy-authorization", format!("bearer  {token}")),
                ("authorization", basic(&token)),
                ("x-api-key", token.clone()),
            ] {
                prop_assert_eq!(shows(name, shown, &tokens), Some("T"));
            }
            prop_assume!(other != token);
            for (name, shown) in [
                ("authorization", format!("Bearer {other}")),
                ("authorization", basic(&other)),
                ("x-api-key", other.clone()),
            ] {
                prop_assert_eq!(shows(name, shown, &tokens), None);
            }
        }
    }
}
