//! The settings of `wrangler.toml`, as types: `[vars.UPSTREAMS.*]` and `[vars.SECRETS_STORE_API]`.
//!
//! They are checked as a whole, and every mistake is told with the path of its field. Mistakes go
//! to the log, never to a caller.

use std::time::Duration;

use crate::{
    gateway::{
        credential::{Carrier, Credential},
        path::{BaseUrl, PathPattern, is_host},
    },
    json::{self, Mistakes, Reader, Value},
};

/// How long an upstream may take until its response headers arrive, where `timeout_ms` is not set.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// All settings.
#[derive(Debug, Default)]
pub struct Settings {
    /// `[vars.UPSTREAMS.*]`.
    pub upstreams: Vec<Upstream>,
    /// `[vars.SECRETS_STORE_API]`; without it there are no admin callers and no REST routes.
    pub secrets_store_api: Option<SecretsStoreApi>,
}

/// `[vars.UPSTREAMS.<name>]`: an HTTP API that is called with credentials.
#[derive(Debug)]
pub struct Upstream {
    /// Its name, as in `/proxy/<name>`.
    pub name: String,
    /// What stands before each path.
    pub base_url: BaseUrl,
    /// Who may call it.
    pub callers: Callers,
    /// What is attached to each request.
    pub credentials: Vec<Credential>,
    /// The methods that are allowed; any where it is not set.
    pub methods: Option<Vec<String>>,
    /// The paths that are allowed; any below `base_url` where it is not set.
    pub paths: Option<Vec<PathPattern>>,
    /// How long it may take until its response headers arrive.
    pub timeout: Duration,
    /// The host names that are this upstream's alone, in lower case.
    pub hosts: Vec<String>,
}

/// Who may call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Callers {
    /// Anybody: `callers = "public"`, spelled out.
    Public,
    /// Whoever shows the value of one of these bindings.
    Tokens(Vec<String>),
}

/// `[vars.SECRETS_STORE_API]`: the Secrets Store REST API and who administers it.
#[derive(Debug)]
pub struct SecretsStoreApi {
    /// `https://api.cloudflare.com/client/v4`, or a stand-in.
    #[allow(dead_code, reason = "without the feature `rest-api` nobody asks there")]
    pub base_url: BaseUrl,
    /// The only account that is spoken to.
    #[allow(dead_code, reason = "without the feature `rest-api` nobody asks there")]
    pub account_id: String,
    /// The binding of the account's API token.
    pub token: String,
    /// The bindings of the admin callers' tokens.
    pub callers: Callers,
}

impl Settings {
    /// Reads the two settings, each a table or JSON text with the same content.
    ///
    /// # Errors
    ///
    /// Every mistake in both.
    pub fn parse(
        upstreams: Option<Value>,
        secrets_store_api: Option<Value>,
    ) -> Result<Self, Mistakes> {
        let upstreams =
            upstreams.map_or(Ok(Vec::new()), |it| read("UPSTREAMS", it, read_upstreams));
        let secrets_store_api = secrets_store_api
            .map(|it| read("SECRETS_STORE_API", it, SecretsStoreApi::read))
            .transpose();
        match (upstreams, secrets_store_api) {
            (Ok(upstreams), Ok(secrets_store_api)) => Ok(Self { upstreams, secrets_store_api }),
            (upstreams, api) => {
                let mistakes = [upstreams.err(), api.err()].into_iter().flatten();
                Err(Mistakes(mistakes.flat_map(|mistakes| mistakes.0).collect()))
            }
        }
    }

    /// The upstream of this name.
    pub fn upstream(&self, name: &str) -> Option<&Upstream> {
        self.upstreams.iter().find(|upstream| upstream.name == name)
    }

    /// The upstream that this host name is set aside for; `host` may have a port.
    pub fn upstream_of_host(&self, host: &str) -> Option<&Upstream> {
        let name = without_port(host);
        let name = name.strip_suffix('.').unwrap_or(name);
        let is_its_own = |own: &String| own.eq_ignore_ascii_case(name);
        self.upstreams.iter().find(|upstream| upstream.hosts.iter().any(is_its_own))
    }

    /// Who may see `/readyz` and administer the store: nobody where nobody is named.
    pub fn admins(&self) -> &[String] {
        match &self.secrets_store_api {
            Some(SecretsStoreApi { callers: Callers::Tokens(bindings), .. }) => bindings,
            _ => &[],
        }
    }

    /// Every binding that the settings name, each once, and how its value travels: by a header, where
    /// it does so in one place and encoded in another.
    pub fn bindings(&self) -> Vec<(&str, Carrier)> {
        let mut bindings: Vec<(&str, Carrier)> = Vec::new();
        let mut add = |binding, carrier| match bindings.iter_mut().find(|(own, _)| *own == binding)
        {
            Some((_, known)) if carrier == Carrier::Header => *known = carrier,
            Some(_) => {}
            None => bindings.push((binding, carrier)),
        };
        let credentials = self.upstreams.iter().flat_map(|upstream| &upstream.credentials);
        for credential in credentials {
            let carrier = credential.placement.carrier();
            for binding in [Some(&credential.secret), credential.fallback.as_ref()].iter().flatten()
            {
                add(binding.as_str(), carrier);
            }
        }
        let callers = self.upstreams.iter().map(|upstream| &upstream.callers);
        let tokens = callers.flat_map(|callers| match callers {
            Callers::Public => &[],
            Callers::Tokens(tokens) => tokens.as_slice(),
        });
        let admin = self.secrets_store_api.iter().map(|api| &api.token).chain(self.admins());
        tokens.chain(admin).for_each(|binding| add(binding.as_str(), Carrier::Header));
        bindings
    }
}

impl Upstream {
    fn read(name: &str, upstream: &Reader<'_>, hosts: &mut Vec<String>) -> Option<Self> {
        let fields = upstream.fields(&[
            "base_url",
            "callers",
            "credentials",
            "methods",
            "paths",
            "timeout_ms",
            "hosts",
        ])?;
        // First read everything, so that every mistake is noted; then give up on any.
        let name = upstream
            .check(
                is_segment(name),
                "an upstream's name has letters, digits, '-', '.', '_' and '~' only",
            )
            .map(|()| name.to_owned());
        let base_url = fields.required("base_url").and_then(|it| BaseUrl::read(&it));
        let callers = fields.required("callers").and_then(|it| Callers::read(&it));
        let credentials = fields.required("credentials").and_then(|it| Credential::read_all(&it));
        let methods = fields.optionally("methods", |it| {
            let methods = it.list(|method| read_method(&method))?;
            it.check(!methods.is_empty(), "must have at least one method, or be left out")?;
            Some(methods)
        });
        let paths = fields.optionally("paths", |it| it.list(|path| PathPattern::read(&path)));
        // The longest time that a timer of JavaScript takes.
        let timeout = fields.optionally("timeout_ms", |it| it.number(i32::MAX as u32));
        let hosts = fields.optionally("hosts", |it| it.list(|host| read_host(&host, hosts)));
        Some(Self {
            name: name?,
            base_url: base_url?,
            callers: callers?,
            credentials: credentials?,
            methods: methods?,
            paths: paths?,
            timeout: timeout?.map_or(DEFAULT_TIMEOUT, |ms| Duration::from_millis(ms.into())),
            hosts: hosts?.unwrap_or_default(),
        })
    }
}

impl Callers {
    fn read(callers: &Reader<'_>) -> Option<Self> {
        if callers.is_text() {
            callers
                .check(callers.text()? == "public", "must be a list of bindings, or \"public\"")?;
            return Some(Self::Public);
        }
        let bindings = callers.list(|binding| read_binding(&binding))?;
        let is_public = bindings.iter().any(|binding| binding == "public");
        callers.check(!is_public, "\"public\" stands alone, and not in a list")?;
        callers.check(!bindings.is_empty(), "must name at least one binding, or be \"public\"")?;
        Some(Self::Tokens(bindings))
    }
}

impl SecretsStoreApi {
    fn read(api: &Reader<'_>) -> Option<Self> {
        let fields = api.fields(&["base_url", "account_id", "token", "callers"])?;
        let base_url = fields.required("base_url").and_then(|it| BaseUrl::read(&it));
        let account_id = fields.required("account_id").and_then(|it| {
            let id = it.text()?;
            it.check(is_segment(&id), "must be an account's id: 32 hexadecimal digits")?;
            Some(id)
        });
        let token = fields.required("token").and_then(|it| read_binding(&it));
        let callers = fields.required("callers").and_then(|it| {
            let callers = Callers::read(&it)?;
            it.check(callers != Callers::Public, "cannot be \"public\": admins write secrets")?;
            Some(callers)
        });
        Some(Self {
            base_url: base_url?,
            account_id: account_id?,
            token: token?,
            callers: callers?,
        })
    }
}

/// A setting, as a table or as JSON text with the same content.
fn read<T>(
    name: &str,
    setting: Value,
    reading: impl FnOnce(&Reader<'_>) -> Option<T>,
) -> Result<T, Mistakes> {
    match setting.text() {
        Some(text) => json::read_text(name, &text, reading),
        None => json::read(name, setting, reading),
    }
}

fn read_upstreams(root: &Reader<'_>) -> Option<Vec<Upstream>> {
    let entries = root.entries()?;
    let mut taken: Vec<String> = Vec::new();
    json::all(entries.iter().map(|(name, upstream)| Upstream::read(name, upstream, &mut taken)))
}

/// The name of a binding.
pub fn read_binding(binding: &Reader<'_>) -> Option<String> {
    let name = binding.text()?;
    let of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'$');
    binding.check(
        !name.is_empty() && name.bytes().all(of_a_name),
        "must be the name of a binding: letters, digits and '_'",
    )?;
    Some(name)
}

fn read_method(method: &Reader<'_>) -> Option<String> {
    let name = method.text()?;
    method.check(
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-'),
        "must be a method in capitals, such as GET",
    )?;
    method.check(
        !["CONNECT", "TRACE", "TRACK"].contains(&name.as_str()),
        "must not be CONNECT, TRACE or TRACK: they cannot be sent on with a credential",
    )?;
    Some(name)
}

/// A host name, which none of those before it has.
fn read_host(host: &Reader<'_>, taken: &mut Vec<String>) -> Option<String> {
    let name = host.text()?.to_ascii_lowercase();
    host.check(
        is_host(&name) && !name.ends_with('.'),
        "must be a host name alone, without scheme, port or path",
    )?;
    host.check(!taken.contains(&name), "this host name is already an upstream's")?;
    taken.push(name.clone());
    Some(name)
}

/// Whether this is one segment of a path as it stands: of unreserved characters (RFC 3986, section
/// 2.3), and no dot segment.
fn is_segment(name: &str) -> bool {
    let is_unreserved =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    name.bytes().any(|byte| byte != b'.') && name.bytes().all(is_unreserved)
}

/// A host without its port; an IPv6 address keeps its brackets.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mistakes(upstreams: &str) -> Vec<String> {
        let mistakes = Settings::parse(Some(upstreams.into()), None).unwrap_err();
        mistakes.0.iter().map(ToString::to_string).collect()
    }

    /// An upstream with `field` set to `value`.
    fn with(field: &str, value: &str) -> String {
        let mut upstream = serde_json::json!({
            "base_url": "https://api.example.com/v2",
            "callers": ["T"],
            "credentials": [{"type": "bearer", "secret": "K"}],
        });
        upstream[field] = serde_json::from_str(value).unwrap();
        serde_json::json!({ "demo": upstream }).to_string()
    }

    #[test]
    fn the_settings_of_the_contract_are_read() {
        let settings = Settings::parse(
            Some(r#"{"demo": {
                    "base_url": "https://api.example.com/v2",
                    "callers": ["GATEWAY_TOKEN"],
                    "credentials": [{"type": "bearer", "secret": "API_KEY", "fallback": "API_KEY_PREVIOUS"}],
                    "methods": ["GET", "POST"],
                    "paths": ["/charges", "/customers/*"],
                    "timeout_ms": 1500,
                    "hosts": ["Demo.gateway.example.com"]
                }, "open": {
                    "base_url": "http://127.0.0.1:9000", "callers": "public", "credentials": []
                }}"#.into()),
            Some(r#"{
                    "base_url": "https://api.cloudflare.com/client/v4",
                    "account_id": "0123456789abcdef0123456789abcdef",
                    "token": "CF_API_TOKEN",
                    "callers": ["ADMIN_TOKEN"]
                }"#.into()),
        )
        .unwrap();
        let demo = settings.upstream("demo").unwrap();
        assert_eq!(demo.callers, Callers::Tokens(vec!["GATEWAY_TOKEN".to_owned()]));
        assert_eq!(demo.timeout, Duration::from_millis(1500));
        assert_eq!(demo.methods.as_deref(), Some(["GET".to_owned(), "POST".to_owned()].as_slice()));
        assert_eq!(demo.hosts, ["demo.gateway.example.com"]);
        let open = settings.upstream("open").unwrap();
        assert_eq!((&open.callers, open.timeout), (&Callers::Public, Duration::from_secs(30)));
        assert_eq!(settings.admins(), ["ADMIN_TOKEN"]);
        assert_eq!(
            settings.bindings().into_iter().map(|(binding, _)| binding).collect::<Vec<_>>(),
            ["API_KEY", "API_KEY_PREVIOUS", "GATEWAY_TOKEN", "CF_API_TOKEN", "ADMIN_TOKEN"]
        );
    }

    #[test]
    fn without_settings_there_is_no_upstream_and_no_admin() {
        let settings = Settings::parse(None, None).unwrap();
        assert!(settings.upstreams.is_empty() && settings.admins().is_empty());
    }

    #[test]
    fn an_upstream_without_callers_is_a_mistake_and_not_an_open_door() {
        assert_eq!(mistakes(&with("callers", "null")), ["UPSTREAMS.demo.callers: is required"]);
        assert_eq!(
            mistakes(&with("callers", "[]")),
            ["UPSTREAMS.demo.callers: must name at least one binding, or be \"public\""]
        );
        for value in ["\"\"", "\"Public\"", "\"GATEWAY_TOKEN\""] {
            assert_eq!(
                mistakes(&with("callers", value)),
                ["UPSTREAMS.demo.callers: must be a list of bindings, or \"public\""]
            );
        }
    }

    #[test]
    fn every_mistake_is_told_with_the_path_of_its_field() {
        for (field, value, told) in [
            (
                "base_url",
                "\"api.example.com\"",
                "base_url: must be an absolute URL that begins with http:// or https://",
            ),
            ("base_url", "7", "base_url: must be a string"),
            ("credentials", "null", "credentials: is required"),
            (
                "credentials",
                "[{\"type\":\"x\"}]",
                "credentials[0].type: must be one of bearer, basic, header, query",
            ),
            ("methods", "[\"get\"]", "methods[0]: must be a method in capitals, such as GET"),
            ("methods", "[]", "methods: must have at least one method, or be left out"),
            (
                "methods",
                "[\"GET\", \"TRACE\"]",
                "methods[1]: must not be CONNECT, TRACE or TRACK: they cannot be sent on with a credential",
            ),
            ("paths", "[\"/é\"]", "paths[0]: must be percent-encoded"),
            ("methods", "\"GET\"", "methods: must be a list"),
            ("paths", "[\"charges\"]", "paths[0]: must begin with '/'"),
            ("paths", "[\"/a/*/b\"]", "paths[0]: may have '*' at its end only, and no query"),
            ("paths", "[\"/a/../b\"]", "paths[0]: must have no dot segments"),
            ("timeout_ms", "0", "timeout_ms: must be a whole number from 1 to 2147483647"),
            (
                "hosts",
                "[\"https://a.example\"]",
                "hosts[0]: must be a host name alone, without scheme, port or path",
            ),
            (
                "hosts",
                "[\"a..example\"]",
                "hosts[0]: must be a host name alone, without scheme, port or path",
            ),
            ("callers", "[\"public\"]", "callers: \"public\" stands alone, and not in a list"),
            (
                "hosts",
                "[\"a.example:80\"]",
                "hosts[0]: must be a host name alone, without scheme, port or path",
            ),
            (
                "timeout",
                "1",
                "timeout: unknown field; known are base_url, callers, credentials, methods, paths, timeout_ms, hosts",
            ),
        ] {
            assert_eq!(mistakes(&with(field, value)), [format!("UPSTREAMS.demo.{told}")]);
        }
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let upstreams = r#"{"a": {"callers": []}, "b c": {"base_url": "x", "callers": "public", "credentials": []}}"#;
        let api = r#"{"base_url": "https://a.example", "account_id": "a/b", "token": "T", "callers": "public"}"#;
        let mistakes = Settings::parse(Some(upstreams.into()), Some(api.into())).unwrap_err();
        let paths: Vec<&str> = mistakes.0.iter().map(|mistake| mistake.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "UPSTREAMS.a.base_url",
                "UPSTREAMS.a.callers",
                "UPSTREAMS.a.credentials",
                "UPSTREAMS.b c",
                "UPSTREAMS.b c.base_url",
                "SECRETS_STORE_API.account_id",
                "SECRETS_STORE_API.callers",
            ]
        );
    }

    #[test]
    fn a_name_that_becomes_part_of_a_path_is_no_dot_segment() {
        for (name, is_right) in
            [("a", true), (".a", true), ("...", false), (".", false), ("..", false), ("", false)]
        {
            let upstream = serde_json::json!({
                name: { "base_url": "https://a.example", "callers": ["T"], "credentials": [] },
            });
            let api = serde_json::json!({
                "base_url": "https://a.example", "account_id": name, "token": "K", "callers": ["T"],
            });
            let reads = |upstreams: Option<String>, api: Option<String>| {
                Settings::parse(
                    upstreams.as_deref().map(Into::into),
                    api.as_deref().map(Into::into),
                )
                .is_ok()
            };
            assert_eq!(reads(Some(upstream.to_string()), None), is_right, "{name}");
            assert_eq!(reads(None, Some(api.to_string())), is_right, "{name}");
        }
    }

    #[test]
    fn a_host_name_may_stand_in_one_upstream_only() {
        let upstream = |hosts: &str| {
            format!(
                r#"{{"base_url":"https://a.example","callers":"public","credentials":[],"hosts":{hosts}}}"#
            )
        };
        let text = format!(
            r#"{{"a": {}, "b": {}}}"#,
            upstream(r#"["one.example", "two.example"]"#),
            upstream(r#"["three.example", "ONE.example"]"#)
        );
        assert_eq!(
            mistakes(&text),
            ["UPSTREAMS.b.hosts[1]: this host name is already an upstream's"]
        );
    }

    #[test]
    fn a_host_is_found_without_its_port_and_in_any_case() {
        let text = with("hosts", r#"["demo.example", "[::1]"]"#);
        let settings = Settings::parse(Some(text.as_str().into()), None).unwrap();
        for host in ["demo.example", "DEMO.example:8787", "demo.example.", "[::1]", "[::1]:80"] {
            assert!(settings.upstream_of_host(host).is_some(), "{host}");
        }
        for host in ["", "demo", "xdemo.example", "demo.example..", "demo.example:x"] {
            assert!(settings.upstream_of_host(host).is_none(), "{host}");
        }
    }

    /// Any JSON, with the names that the settings know often enough.
    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            ".{0,12}".prop_map(Into::into),
            prop::sample::select(vec![
                "public",
                "bearer",
                "query",
                "https://a.example",
                "GET",
                "/a/*",
                "K"
            ])
            .prop_map(Into::into),
        ];
        let names = prop::sample::select(vec![
            "demo",
            "base_url",
            "callers",
            "credentials",
            "type",
            "secret",
            "fallback",
            "name",
            "username",
            "prefix",
            "methods",
            "paths",
            "timeout_ms",
            "hosts",
            "account_id",
            "token",
            "other",
        ]);
        leaf.prop_recursive(5, 64, 6, move |inner| {
            let table =
                prop::collection::hash_map(names.clone(), inner.clone(), 0..8).prop_map(|it| {
                    it.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
                });
            prop_oneof![
                prop::collection::vec(inner, 0..4).prop_map(serde_json::Value::Array),
                table.prop_map(serde_json::Value::Object),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_setting_makes_the_reader_panic_and_a_failure_has_a_mistake(
            upstreams in json(),
            api in json(),
        ) {
            let (upstreams, api) = (upstreams.to_string(), api.to_string());
            if let Err(Mistakes(mistakes)) = Settings::parse(Some(upstreams.as_str().into()), Some(api.as_str().into())) {
                prop_assert!(!mistakes.is_empty());
                for mistake in mistakes {
                    prop_assert!(
                        mistake.path.starts_with("UPSTREAMS") || mistake.path.starts_with("SECRETS_STORE_API")
                    );
                }
            }
        }
    }
}
