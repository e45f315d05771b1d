//! What a request for the REST API asks for, as an operation.

use secrets_store_api::{
    CreateSecrets, CreateStore, DeleteSecret, DeleteSecrets, DeleteStore, Direction,
    DuplicateSecret, GetQuota, GetSecret, GetStore, Invalid, ListSecrets, ListStores, NewSecret,
    Operation, Page, Reported, Request, Scope, SecretId, SecretOrder, SecretString, StoreId,
    StoreOrder, UpdateSecret,
};

use super::Refused;
use crate::{
    gateway::credential::decoded,
    json::{self, Reader},
    response::Refusal,
};

/// How many secrets one request may name: ten times what an account may have.
const MAX_SECRETS: usize = 1000;

/// How many values a body may have, lists and tables included: each costs memory, however short it is.
const MAX_VALUES: usize = 16 * MAX_SECRETS;

/// What a request asks for: checked, and ready to be sent.
#[derive(Debug)]
pub enum Asked {
    /// By this request.
    Request(Request),
    /// By a duplicate that is to have its source's scopes, which the API wants to be told.
    DuplicateLikeItsSource(DuplicateSecret),
}

/// What a path names.
#[derive(Debug)]
enum Named {
    Stores,
    Store(StoreId),
    Secrets(StoreId),
    Secret(StoreId, SecretId),
    Duplicate(StoreId, SecretId),
    Quota,
}

/// A method that goes with a path.
#[derive(Debug)]
struct Method {
    name: &'static str,
    /// What may stand in the query.
    parameters: &'static [&'static str],
    /// What may stand in the body; nothing where there is none.
    fields: &'static [&'static str],
}

const fn method(
    name: &'static str,
    parameters: &'static [&'static str],
    fields: &'static [&'static str],
) -> Method {
    Method { name, parameters, fields }
}

impl Named {
    fn of(path: &str) -> Result<Self, Refused> {
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        let (store, secret) = (segments.get(1).copied(), segments.get(3).copied());
        let store = || store_id(store.unwrap_or_default());
        let secret = || secret_id(secret.unwrap_or_default());
        Ok(match *segments {
            ["stores"] => Self::Stores,
            ["stores", _] => Self::Store(store()?),
            ["stores", _, "secrets"] => Self::Secrets(store()?),
            ["stores", _, "secrets", _] => Self::Secret(store()?, secret()?),
            ["stores", _, "secrets", _, "duplicate"] => Self::Duplicate(store()?, secret()?),
            ["quota"] => Self::Quota,
            _ => return Err(Refusal::NotFound.into()),
        })
    }

    /// The methods that there are.
    fn methods(&self) -> &'static [Method] {
        match self {
            Self::Stores => {
                const {
                    &[
                        method("GET", &["page", "per_page", "order", "direction"], &[]),
                        method("POST", &[], &["name"]),
                    ]
                }
            }
            Self::Store(_) => {
                const { &[method("GET", &[], &[]), method("DELETE", &["force"], &[])] }
            }
            Self::Secrets(_) => {
                const {
                    const LIST: &[&str] =
                        &["page", "per_page", "order", "direction", "search", "scopes"];
                    &[
                        method("GET", LIST, &[]),
                        method("POST", &[], &["name", "value", "scopes", "comment"]),
                        method("DELETE", &[], &["secret_ids"]),
                    ]
                }
            }
            Self::Secret(..) => {
                const {
                    &[
                        method("GET", &[], &[]),
                        method("PATCH", &[], &["value", "scopes", "comment"]),
                        method("DELETE", &[], &[]),
                    ]
                }
            }
            Self::Duplicate(..) => const { &[method("POST", &[], &["name", "scopes", "comment"])] },
            Self::Quota => const { &[method("GET", &[], &[])] },
        }
    }
}

/// The operation that a method and a path stand for, and its query.
#[derive(Debug)]
pub struct Target<'a> {
    named: Named,
    method: &'static Method,
    query: &'a str,
}

impl<'a> Target<'a> {
    /// Finds the operation. `path_and_query` is what comes after `…/secrets_store`.
    ///
    /// # Errors
    ///
    /// 404, and 405 where the path has other methods.
    pub fn of(method: &str, path_and_query: &'a str) -> Result<Self, Refused> {
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        let named = Named::of(path)?;
        let methods = named.methods();
        match methods.iter().find(|it| it.name == method) {
            Some(method) => Ok(Self { named, method, query }),
            None => {
                let allow: Vec<_> = methods.iter().map(|it| it.name).collect();
                Err(Refusal::MethodNotAllowed(allow.join(", ")).into())
            }
        }
    }

    /// Whether the operation has a body.
    pub fn has_body(&self) -> bool {
        !self.method.fields.is_empty()
    }

    /// Reads the query and the body.
    ///
    /// # Errors
    ///
    /// 400, with everything that is wrong.
    pub fn read(self, body: &str) -> Result<Asked, Refused> {
        let query = Parameters::read(self.query, self.method.parameters)?;
        let is_list = body.trim_start().starts_with('[');
        let may_be_list = matches!(self.named, Named::Secrets(_)) && self.method.name == "POST";
        if is_list && !may_be_list {
            return Err(not_json("must be a table".to_owned()));
        }
        let fields = self.method.fields;
        let mut entries = if fields.is_empty() { Vec::new() } else { read(body, fields)? };
        let entry = if may_be_list { None } else { entries.pop() };
        let Entry { name, value, scopes, comment, secret_ids } = entry.unwrap_or_default();
        let name = name.unwrap_or_default();
        match (self.named, self.method.name) {
            (Named::Stores, "GET") => checked(&ListStores {
                page: query.page()?,
                order: query.one_of("order", &StoreOrder::ALL, StoreOrder::as_str)?,
                direction: query.direction()?,
            }),
            (Named::Stores, _) => checked(&CreateStore { name }),
            (Named::Store(store), "GET") => checked(&GetStore { store }),
            (Named::Store(store), _) => {
                let force = query.one_of("force", &["false", "true"], |it| it)?;
                checked(&DeleteStore { store, force: force == Some("true") })
            }
            (Named::Secrets(store), "GET") => checked(&ListSecrets {
                store,
                page: query.page()?,
                search: query.last("search").map(str::to_owned),
                scopes: query.all("scopes").flat_map(|it| it.split(',')).map(scope).collect(),
                order: query.one_of("order", &SecretOrder::ALL, SecretOrder::as_str)?,
                direction: query.direction()?,
            }),
            (Named::Secrets(store), "POST") => {
                let new = |entry: Entry| NewSecret {
                    name: entry.name.unwrap_or_default(),
                    value: entry.value.unwrap_or_default(),
                    scopes: entry.scopes.unwrap_or_default(),
                    comment: entry.comment,
                };
                let secrets = entries.into_iter().map(new).collect();
                let create = CreateSecrets { store, secrets };
                create.request().map(Asked::Request).map_err(|mut invalid| {
                    // By the fields of what was sent, which goes on as a list.
                    for mistake in invalid.0.iter_mut().filter(|_| !is_list) {
                        if let Some(field) = mistake.field.strip_prefix("[0].") {
                            mistake.field = field.to_owned();
                        }
                    }
                    invalid.into()
                })
            }
            (Named::Secrets(store), _) => {
                let secrets = secret_ids.unwrap_or_default();
                checked(&DeleteSecrets { store, secrets })
            }
            (Named::Secret(store, secret), "GET") => checked(&GetSecret { store, secret }),
            (Named::Secret(store, secret), "PATCH") => {
                checked(&UpdateSecret { store, secret, value, scopes, comment })
            }
            (Named::Secret(store, secret), _) => checked(&DeleteSecret { store, secret }),
            (Named::Duplicate(store, secret), _) => {
                let is_like_its_source = scopes.is_none();
                // Whatever its source has, where none are given: the rest is checked now.
                let scopes = scopes.unwrap_or_else(|| vec![Scope::Workers]);
                let mut duplicate = DuplicateSecret { store, secret, name, scopes, comment };
                let asked = checked(&duplicate)?;
                if !is_like_its_source {
                    return Ok(asked);
                }
                duplicate.scopes.clear();
                Ok(Asked::DuplicateLikeItsSource(duplicate))
            }
            (Named::Quota, _) => checked(&GetQuota),
        }
    }
}

/// An operation that is wrong: what is wrong with it, and what the API says to that.
impl From<Invalid> for Refused {
    fn from(invalid: Invalid) -> Self {
        let mut reported: Vec<Reported> = Vec::new();
        for mistake in &invalid.0 {
            if let Some(word) = &mistake.reported
                && !reported.contains(word)
            {
                reported.push(word.clone());
            }
        }
        Self { failure: Refusal::BadRequest(invalid.to_string()).into(), reported }
    }
}

/// A body that is no text.
pub fn not_utf8() -> Refused {
    not_json("the body is not UTF-8".to_owned())
}

fn not_json(message: String) -> Refused {
    Refused {
        failure: Refusal::BadRequest(message).into(),
        reported: vec![Reported::known(1001, "invalid_json_body")],
    }
}

fn checked(operation: &impl Operation) -> Result<Asked, Refused> {
    Ok(Asked::Request(operation.request()?))
}

/// What may stand in a body; which of it, the operation says. What is missing, it tells.
#[derive(Default)]
struct Entry {
    name: Option<String>,
    value: Option<SecretString>,
    scopes: Option<Vec<Scope>>,
    comment: Option<String>,
    secret_ids: Option<Vec<SecretId>>,
}

impl Entry {
    fn read(entry: &Reader<'_>, known: &[&str]) -> Option<Self> {
        let fields = entry.fields(known)?;
        // A null is a wish: to have no value, say. No operation hears it, but that a new secret may
        // well have no comment.
        let is_new = known.contains(&"name");
        for (name, field) in fields.all() {
            let is_heard = is_new && name == "comment";
            field.check(is_heard || !field.is_null(), "must not be null");
        }
        let text = |name: &str| fields.optionally(name, |it| it.text());
        // First read everything, so that every mistake is noted; then give up on any.
        let name = text("name");
        let value = text("value");
        let scopes =
            fields.optionally("scopes", |it| it.list(|word| word.text().map(|it| scope(&it))));
        let comment = text("comment");
        let secret_ids = fields.optionally("secret_ids", |it| {
            it.list(|id| SecretId::parse(&id.text()?).or_else(|| id.mistake("is not an id")))
        });
        Some(Self {
            name: name?,
            value: value?.map(Into::into),
            scopes: scopes?,
            comment: comment?,
            secret_ids: secret_ids?,
        })
    }
}

/// Reads a body: one entry, or a list of them.
fn read(body: &str, known: &[&str]) -> Result<Vec<Entry>, Refused> {
    if json::values(body) > MAX_VALUES {
        return Err(Refusal::TooLarge.because("too many values in the body").into());
    }
    let entries = json::read_text("", body, |root| {
        if root.is_list() {
            root.list(|entry| Entry::read(&entry, known))
        } else {
            Some(vec![Entry::read(root, known)?])
        }
    })
    .map_err(|mistakes| not_json(mistakes.to_string()))?;
    let secrets = |entry: &Entry| entry.secret_ids.as_ref().map_or(1, Vec::len);
    if entries.iter().map(secrets).sum::<usize>() > MAX_SECRETS {
        return Err(Refusal::TooLarge.because("too many secrets in the body").into());
    }
    Ok(entries)
}

/// The scopes of the secret in an answer of the API's: `None` where it is no such answer, and none of
/// them where the API says that there is no success.
pub fn scopes_of(answer: &str) -> Option<Option<Vec<Scope>>> {
    let read = |root: &Reader<'_>| {
        let envelope = root.any_fields()?;
        match envelope.required("success")?.to_json()?.as_str() {
            "true" => {}
            "false" => return Some(None),
            _ => return None,
        }
        let secret = envelope.required("result")?.any_fields()?;
        secret.required("name")?;
        let scopes = secret.optionally("scopes", |it| it.list(|word| word.text()))?;
        Some(Some(scopes.unwrap_or_default().iter().map(|it| Scope::from(it.as_str())).collect()))
    };
    json::read_text("", answer, read).ok()
}

/// A scope; what is none is told with the other mistakes of its operation.
fn scope(word: &str) -> Scope {
    Scope::parse(word).unwrap_or_else(|| Scope::Other(word.to_owned()))
}

fn store_id(id: &str) -> Result<StoreId, Refused> {
    StoreId::parse(id).ok_or_else(|| no_id(id, "store_not_found"))
}

fn secret_id(id: &str) -> Result<SecretId, Refused> {
    SecretId::parse(id).ok_or_else(|| no_id(id, "secret_not_found"))
}

/// What cannot be an id names nothing.
pub fn no_id(id: &str, not_found: &'static str) -> Refused {
    let reported = match id {
        "" => Reported::known(1000, "not found"),
        _ => Reported::known(1001, not_found),
    };
    Refused { failure: Refusal::NotFound.into(), reported: vec![reported] }
}

/// The parameters of a query (application/x-www-form-urlencoded).
struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Reads those that are known. Any other one would be a wish that nobody hears.
    fn read(query: &str, known: &[&str]) -> Result<Self, Refused> {
        let mut parameters = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decoded(name);
            if !known.contains(&name.as_str()) {
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(wrong(format!("unknown query parameter; known are {known}")));
            }
            parameters.push((name, decoded(value)));
        }
        Ok(Self(parameters))
    }

    fn all(&self, name: &'static str) -> impl DoubleEndedIterator<Item = &str> {
        self.0.iter().filter(move |(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    fn last(&self, name: &'static str) -> Option<&str> {
        self.all(name).next_back()
    }

    fn page(&self) -> Result<Page, Refused> {
        Ok(Page { page: self.number("page")?, per_page: self.number("per_page")? })
    }

    fn number(&self, name: &'static str) -> Result<Option<u32>, Refused> {
        let Some(value) = self.last(name) else { return Ok(None) };
        let number = value.parse().map_err(|_| wrong(format!("{name}: must be a whole number")));
        number.map(Some)
    }

    fn direction(&self) -> Result<Option<Direction>, Refused> {
        self.one_of("direction", &Direction::ALL, Direction::as_str)
    }

    /// Which of these it is, by its word.
    fn one_of<T: Copy>(
        &self,
        name: &'static str,
        known: &[T],
        word: fn(T) -> &'static str,
    ) -> Result<Option<T>, Refused> {
        let Some(value) = self.last(name) else { return Ok(None) };
        let found = known.iter().copied().find(|it| word(*it) == value);
        let words = || known.iter().map(|it| word(*it)).collect::<Vec<_>>().join(", ");
        found.map(Some).ok_or_else(|| wrong(format!("{name}: must be one of {}", words())))
    }
}

fn wrong(message: String) -> Refused {
    Refusal::BadRequest(message).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrets_store_api::ExposeSecret as _;

    use super::*;

    fn read(method: &str, path_and_query: &str, body: &str) -> Result<Asked, Refused> {
        Target::of(method, path_and_query)?.read(body)
    }

    /// The request that is sent.
    fn sent(method: &str, path_and_query: &str, body: &str) -> (&'static str, String, String) {
        match read(method, path_and_query, body) {
            Ok(Asked::Request(request)) => {
                let body = request.body.map(|body| body.expose_secret().to_owned());
                (request.method, request.path_and_query, body.unwrap_or_default())
            }
            other => panic!("{method} {path_and_query} {body}: {other:?}"),
        }
    }

    /// The message of a 400, and what the API says to the same.
    fn told(method: &str, path_and_query: &str, body: &str) -> (String, Vec<String>) {
        match read(method, path_and_query, body) {
            Err(Refused { failure, reported }) => match failure.refusal {
                Refusal::BadRequest(message) => {
                    (message, reported.into_iter().map(|it| it.message.into_owned()).collect())
                }
                other => panic!("{method} {path_and_query} {body}: {other:?}"),
            },
            other => panic!("{method} {path_and_query} {body}: {other:?}"),
        }
    }

    #[test]
    fn what_is_asked_is_sent_on_as_the_api_wants_it() {
        for (method, path_and_query, body) in [
            ("GET", "/stores", ""),
            ("GET", "/stores?page=2&per_page=1&order=created&direction=desc", ""),
            ("POST", "/stores", r#"{"name":"s"}"#),
            ("GET", "/stores/a1", ""),
            ("DELETE", "/stores/a1", ""),
            ("DELETE", "/stores/a1?force=true", ""),
            ("GET", "/stores/a1/secrets", ""),
            ("GET", "/stores/a1/secrets?search=a%20b&scopes=workers&scopes=dex&order=status", ""),
            (
                "POST",
                "/stores/a1/secrets",
                r#"[{"name":"A","value":"v","scopes":["workers"],"comment":"c"}]"#,
            ),
            ("DELETE", "/stores/a1/secrets", r#"{"secret_ids":["b2","c3"]}"#),
            ("GET", "/stores/a1/secrets/b2", ""),
            ("PATCH", "/stores/a1/secrets/b2", r#"{"value":"v","scopes":["dex"],"comment":""}"#),
            ("DELETE", "/stores/a1/secrets/b2", ""),
            (
                "POST",
                "/stores/a1/secrets/b2/duplicate",
                r#"{"name":"B","scopes":["ai_gateway"],"comment":"c"}"#,
            ),
            ("GET", "/quota", ""),
        ] {
            let expected = (method, path_and_query.to_owned(), body.to_owned());
            assert_eq!(sent(method, path_and_query, body), expected);
        }
    }

    #[test]
    fn the_scopes_of_a_secret_are_read_from_its_answer() {
        let scopes = |answer: &str| {
            let scopes = scopes_of(answer)?;
            Some(scopes.map(|it| it.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")))
        };
        let told = |words: &str| Some(Some(words.to_owned()));
        let secret =
            r#"{"success":true,"errors":[],"result":{"name":"a","scopes":["workers","new"]}}"#;
        assert_eq!(scopes(secret), told("workers new"));
        assert_eq!(scopes(r#"{"success":true,"result":{"name":"a"}}"#), told(""));
        assert_eq!(scopes(r#"{"success":false,"errors":[{"code":1001}]}"#), Some(None));
        for answer in [
            "",
            "<html>",
            "{}",
            r#"{"result":{"scopes":[]}}"#,
            r#"{"success":true,"result":[]}"#,
            r#"{"success":true,"result":{"scopes":[]}}"#,
            r#"{"success":true,"result":{"name":"a","scopes":"workers"}}"#,
            r#"{"success":true,"result":{"name":"a","scopes":[7]}}"#,
        ] {
            assert_eq!(scopes(answer), None, "{answer}");
        }
    }

    #[test]
    fn other_spellings_are_sent_in_the_apis() {
        let one = r#"{"scopes":["ai-gateway"],"value":"v","comment":null,"name":"A"}"#;
        let (_, _, body) = sent("POST", "/stores/a1/secrets", one);
        assert_eq!(body, r#"[{"name":"A","value":"v","scopes":["ai_gateway"]}]"#);
        let (_, path, _) =
            sent("GET", "/stores/a1/secrets?scopes=workers,ai-gateway&search=a+b", "");
        assert_eq!(path, "/stores/a1/secrets?search=a%20b&scopes=workers&scopes=ai_gateway");
        let (_, path, _) = sent("DELETE", "/stores/a1?force=false", "");
        assert_eq!(path, "/stores/a1");
    }

    #[test]
    fn a_duplicate_without_scopes_is_to_have_its_sources() {
        let path = "/stores/a1/secrets/b2/duplicate";
        let asked = read("POST", path, r#"{"name":"B"}"#).unwrap();
        let Asked::DuplicateLikeItsSource(duplicate) = asked else { panic!("{asked:?}") };
        assert_eq!((duplicate.name.as_str(), duplicate.scopes.len()), ("B", 0));
        // The rest is checked before anything is sent, and no scopes are not the same as none given.
        assert_eq!(told("POST", path, r#"{"name":""}"#).1, ["secret_name_empty"]);
        assert_eq!(told("POST", path, r#"{"name":"B","scopes":[]}"#).1, ["secret_scopes_empty"]);
    }

    #[test]
    fn what_is_wrong_is_told_by_field_and_in_the_apis_words() {
        let secrets = "/stores/a1/secrets";
        for (method, path, body, message, words) in [
            (
                "POST",
                secrets,
                r#"[{"name":"A","value":"5ecret","scopes":["workers"]},{"value":"5ecret","scopes":["x"]}]"#,
                "[1].name: must not be empty; [1].scopes[0]: must be one of workers, ai_gateway, \
                 dex, access, containers, websearch",
                &["secret_name_empty", "secret_scope_invalid"][..],
            ),
            (
                "POST",
                secrets,
                r#"{"name":"A"}"#,
                "value: must not be empty; scopes: must have at least one scope",
                &["secret_scopes_empty"],
            ),
            ("POST", secrets, "[]", "body: must have at least one secret", &[]),
            (
                "POST",
                secrets,
                r#"[{"name":7,"value":["5ecret"],"scopes":"workers"}]"#,
                "[0].name: must be a string; [0].value: must be a string; [0].scopes: must be a list",
                &["invalid_json_body"],
            ),
            (
                "POST",
                secrets,
                r#"[{"name":"A","valeu":"5ecret"}]"#,
                "[0].valeu: unknown field; known are name, value, scopes, comment",
                &["invalid_json_body"],
            ),
            (
                "POST",
                secrets,
                r#"[{"name":"A","value":"5ecret"#,
                "not valid JSON (line 1, column 28)",
                &["invalid_json_body"],
            ),
            ("POST", secrets, "", "not valid JSON (line 1, column 0)", &["invalid_json_body"]),
            ("POST", secrets, "\"5ecret\"", "must be a table", &["invalid_json_body"]),
            ("DELETE", secrets, "{}", "secret_ids: must name at least one secret", &[]),
            (
                "DELETE",
                secrets,
                r#"{"secret_ids":["../x"]}"#,
                "secret_ids[0]: is not an id",
                &["invalid_json_body"],
            ),
            (
                "PATCH",
                "/stores/a1/secrets/b2",
                "{}",
                "body: must change value, scopes or comment",
                &[],
            ),
            ("POST", "/stores", "{}", "name: must not be empty", &[]),
            (
                "PATCH",
                "/stores/a1/secrets/b2",
                r#"{"value":null,"scopes":null,"comment":null}"#,
                "comment: must not be null; scopes: must not be null; value: must not be null",
                &["invalid_json_body"],
            ),
            (
                "DELETE",
                "/stores/a1/secrets/b2?force=true",
                "",
                "unknown query parameter; known are none",
                &[],
            ),
            ("GET", "/stores?page=0", "", "page: must be a whole number from 1", &[]),
            ("GET", "/stores?page=x", "", "page: must be a whole number", &[]),
            (
                "GET",
                "/stores?order=status",
                "",
                "order: must be one of name, created, modified",
                &[],
            ),
            ("DELETE", "/stores/a1?force=yes", "", "force: must be one of false, true", &[]),
            (
                "GET",
                "/stores/a1/secrets?scope=workers",
                "",
                "unknown query parameter; known are page, per_page, order, direction, search, scopes",
                &[],
            ),
            ("GET", "/quota?x", "", "unknown query parameter; known are none", &[]),
            (
                "GET",
                "/stores/a1/secrets?scopes=x",
                "",
                "scopes[0]: must be one of workers, ai_gateway, dex, access, containers, websearch",
                &["secret_scope_invalid"],
            ),
        ] {
            let words = words.iter().map(|it| (*it).to_owned()).collect();
            assert_eq!(told(method, path, body), (message.to_owned(), words), "{path} {body}");
        }
    }

    #[test]
    fn of_a_parameter_that_comes_twice_the_last_one_counts() {
        let (_, path, _) = sent("GET", "/stores?page=1&order=name&page=2&order=created", "");
        assert_eq!(path, "/stores?page=2&order=created");
    }

    #[test]
    fn a_body_of_too_many_values_is_refused_before_it_is_read() {
        let is_too_large = |body: &str| {
            let refused = read("POST", "/stores/a1/secrets", body).map(|_| ()).unwrap_err();
            refused.failure.refusal == Refusal::TooLarge
        };
        assert!(is_too_large(&format!("[{}1]", "1,".repeat(20_000))));
        assert!(is_too_large(&"[".repeat(20_000)));
        assert!(is_too_large(&format!("[{}{{}}]", "{},".repeat(1000))));
        assert!(!is_too_large(&format!("[{}{{}}]", "{},".repeat(999))));
        // What stands in a value is no value of its own.
        let value = r#"[\",{\\"#.repeat(5000);
        let body = format!(r#"{{"name":"A","scopes":["dex"],"value":"{value}"}}"#);
        let (_, _, sent) = sent("POST", "/stores/a1/secrets", &body);
        assert!(sent.contains(&value));
    }

    #[test]
    fn an_unknown_path_is_a_404_and_a_wrong_method_a_405() {
        for path in [
            "",
            "/",
            "/quota/",
            "/stores/",
            "/stores//secrets",
            "/store",
            "/stores/a1/secret",
            "/stores/a1/secrets/",
            "/stores/a1/secrets/b2/",
            "/stores/a1/secrets/b2/copy",
            "//stores",
            "/stores/a1/secrets/b2/duplicate/x",
            "/stores/a%2fb",
            "/stores/..",
            "/stores/a1/secrets/%2e%2e",
        ] {
            let refused = read("GET", path, "").unwrap_err();
            assert_eq!(refused.failure.refusal, Refusal::NotFound, "{path}");
        }
        let words = |path| {
            let refused = read("GET", path, "").unwrap_err();
            refused.reported.into_iter().map(|it| (it.code, it.message.into_owned())).next()
        };
        assert_eq!(words("/stores/"), Some((1000, "not found".to_owned())));
        assert_eq!(words("/stores/a%2fb"), Some((1001, "store_not_found".to_owned())));
        assert_eq!(words("/stores/a1/secrets/%00"), Some((1001, "secret_not_found".to_owned())));
        assert_eq!(words("/elsewhere"), None);
        for (method, path, allow) in [
            ("PUT", "/stores", "GET, POST"),
            ("POST", "/stores/a1", "GET, DELETE"),
            ("PATCH", "/stores/a1/secrets", "GET, POST, DELETE"),
            ("POST", "/stores/a1/secrets/b2", "GET, PATCH, DELETE"),
            ("GET", "/stores/a1/secrets/b2/duplicate", "POST"),
            ("HEAD", "/quota", "GET"),
        ] {
            let refused = read(method, path, "").unwrap_err();
            assert_eq!(refused.failure.refusal, Refusal::MethodNotAllowed(allow.to_owned()));
        }
    }

    proptest! {
        #[test]
        fn no_input_makes_the_reader_panic(
            method in "GET|POST|PATCH|DELETE|PUT",
            path in "(/stores|/quota|/secrets|/duplicate|/[ -~]{0,3}){0,5}(\\?[ -~]{0,20})?",
            body in ".{0,60}",
        ) {
            let _ = read(&method, &path, &body);
        }

        #[test]
        fn what_is_sent_stays_below_the_accounts_store(
            store in "[ -~]{1,10}",
            secret in "[ -~]{1,10}",
            search in "[ -~]{0,10}",
        ) {
            let path = format!("/stores/{store}/secrets/{secret}");
            if let Ok(Asked::Request(request)) = read("GET", &path, "") {
                // A query that is empty is left out.
                prop_assert_eq!(request.path_and_query, path.strip_suffix('?').unwrap_or(&path));
                prop_assert!(!store.contains(['.', '/', '%', '?', '#']));
            }
            if let Ok(Asked::Request(request)) =
                read("GET", &format!("/stores/a1/secrets?search={search}"), "")
            {
                let (path, query) = request.path_and_query.split_once('?').unwrap();
                prop_assert_eq!(path, "/stores/a1/secrets");
                prop_assert!(!query.contains(['#', ' ', '/']));
            }
        }
    }
}
