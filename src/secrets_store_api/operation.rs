//! The operations, each a type: what it asks for, and what it answers with.

use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde_json::Value;

use super::{
    error::{ApiError, Invalid, Mistake, Reported},
    model::{
        Direction, Quota, Scope, SecretId, SecretMetadata, SecretOrder, Store, StoreId, StoreOrder,
    },
};

/// The longest value, in bytes of UTF-8.
pub const MAX_VALUE: usize = 65_536;

/// A request of the API.
#[derive(Debug, Clone)]
pub struct Request {
    /// The HTTP method.
    pub method: &'static str,
    /// What comes after `/accounts/{account_id}/secrets_store`.
    pub path_and_query: String,
    /// JSON, perhaps with values in it.
    pub body: Option<SecretString>,
}

/// One operation of the API.
pub trait Operation {
    /// What a success answers with.
    type Output;

    /// The request for it.
    ///
    /// # Errors
    ///
    /// Everything that the API is known to refuse, by field.
    fn request(&self) -> Result<Request, Invalid>;

    /// Reads the `result` of a success; `None` where it is not what it should be.
    fn result(result: &Value) -> Option<Self::Output>;

    /// Reads an answer: its status, its `Retry-After`, its body.
    ///
    /// # Errors
    ///
    /// Whatever is not the API's success.
    fn read(status: u16, retry_after: Option<&str>, body: &[u8]) -> Result<Self::Output, ApiError> {
        read_envelope::<Self>(status, retry_after, body).map(|(output, _)| output)
    }
}

/// Which page of a list, and how long a page is; the API's own defaults where not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Page {
    /// From 1.
    pub page: Option<u32>,
    /// How many items a page has.
    pub per_page: Option<u32>,
}

/// An operation whose answer comes in pages.
pub trait Paged: Operation<Output = Vec<Self::Item>> + Clone {
    /// What is listed.
    type Item;

    /// The page that is asked for.
    fn page(&mut self) -> &mut Page;

    /// Reads an answer as [`Operation::read`] does, and beside it the number of all items, where the
    /// answer tells it.
    ///
    /// # Errors
    ///
    /// Whatever is not the API's success.
    fn read_page(
        status: u16,
        retry_after: Option<&str>,
        body: &[u8],
    ) -> Result<(Self::Output, Option<u64>), ApiError> {
        read_envelope::<Self>(status, retry_after, body)
    }
}

/// `GET /stores`
#[derive(Debug, Clone, Default)]
pub struct ListStores {
    /// Which page.
    pub page: Page,
    /// What to order by.
    pub order: Option<StoreOrder>,
    /// Which way.
    pub direction: Option<Direction>,
}

/// `POST /stores`
#[derive(Debug, Clone)]
pub struct CreateStore {
    /// Its name.
    pub name: String,
}

/// `GET /stores/{store_id}`
#[derive(Debug, Clone)]
pub struct GetStore {
    /// Which one.
    pub store: StoreId,
}

/// `DELETE /stores/{store_id}`
#[derive(Debug, Clone)]
pub struct DeleteStore {
    /// Which one.
    pub store: StoreId,
    /// Its secrets too; otherwise a store that is not empty stays.
    pub force: bool,
}

/// `GET /stores/{store_id}/secrets`
#[derive(Debug, Clone)]
pub struct ListSecrets {
    /// In which store.
    pub store: StoreId,
    /// Which page.
    pub page: Page,
    /// Only those with this text in name or comment.
    pub search: Option<String>,
    /// Only those with these scopes; any where empty.
    pub scopes: Vec<Scope>,
    /// What to order by.
    pub order: Option<SecretOrder>,
    /// Which way.
    pub direction: Option<Direction>,
}

/// `POST /stores/{store_id}/secrets`: one secret or many. Either all are created or none.
#[derive(Debug, Clone)]
pub struct CreateSecrets {
    /// In which store.
    pub store: StoreId,
    /// What to create.
    pub secrets: Vec<NewSecret>,
}

/// A secret that is to be created.
#[derive(Debug, Clone)]
pub struct NewSecret {
    /// Its name: letters, digits, `_` and `-`; unique in its store.
    pub name: String,
    /// Its value, at most [`MAX_VALUE`] bytes.
    pub value: SecretString,
    /// Which services may use it; at least one. A binding needs [`Scope::Workers`].
    pub scopes: Vec<Scope>,
    /// A note about it.
    pub comment: Option<String>,
}

/// `GET /stores/{store_id}/secrets/{secret_id}`
#[derive(Debug, Clone)]
pub struct GetSecret {
    /// In which store.
    pub store: StoreId,
    /// Which one.
    pub secret: SecretId,
}

/// `PATCH /stores/{store_id}/secrets/{secret_id}`: what is set changes, at least one of them.
#[derive(Debug, Clone)]
pub struct UpdateSecret {
    /// In which store.
    pub store: StoreId,
    /// Which one.
    pub secret: SecretId,
    /// A new value.
    pub value: Option<SecretString>,
    /// Other scopes.
    pub scopes: Option<Vec<Scope>>,
    /// Another note.
    pub comment: Option<String>,
}

/// `DELETE /stores/{store_id}/secrets/{secret_id}`
#[derive(Debug, Clone)]
pub struct DeleteSecret {
    /// In which store.
    pub store: StoreId,
    /// Which one.
    pub secret: SecretId,
}

/// `DELETE /stores/{store_id}/secrets`: several at once.
#[derive(Debug, Clone)]
pub struct DeleteSecrets {
    /// In which store.
    pub store: StoreId,
    /// Which ones; at least one.
    pub secrets: Vec<SecretId>,
}

/// `POST /stores/{store_id}/secrets/{secret_id}/duplicate`: the same value under another name.
#[derive(Debug, Clone)]
pub struct DuplicateSecret {
    /// In which store.
    pub store: StoreId,
    /// Which one.
    pub secret: SecretId,
    /// The new one's name.
    pub name: String,
    /// The new one's scopes; the API wants at least one. [`Self::like`] takes the source's.
    pub scopes: Vec<Scope>,
    /// A note about the new one.
    pub comment: Option<String>,
}

/// `GET /quota`
#[derive(Debug, Clone, Copy, Default)]
pub struct GetQuota;

/// What deleting answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deleted;

impl Operation for ListStores {
    type Output = Vec<Store>;

    fn request(&self) -> Result<Request, Invalid> {
        let mut query = Query::of(self.page, Check::default())?;
        query.add("order", self.order.map(StoreOrder::as_str));
        query.add("direction", self.direction.map(Direction::as_str));
        Ok(get(query.after("/stores")))
    }

    fn result(result: &Value) -> Option<Self::Output> {
        list(result, Store::read)
    }
}

impl Paged for ListStores {
    type Item = Store;

    fn page(&mut self) -> &mut Page {
        &mut self.page
    }
}

impl Operation for CreateStore {
    type Output = Store;

    fn request(&self) -> Result<Request, Invalid> {
        let mut check = Check::default();
        check.that(!self.name.is_empty(), "name", "must not be empty", None);
        check.done()?;
        let body = Body { name: Some(&self.name), ..Body::default() };
        Ok(with_body("POST", "/stores".to_owned(), &body))
    }

    fn result(result: &Value) -> Option<Self::Output> {
        Store::read(result)
    }
}

impl Operation for GetStore {
    type Output = Store;

    fn request(&self) -> Result<Request, Invalid> {
        Ok(get(format!("/stores/{}", self.store)))
    }

    fn result(result: &Value) -> Option<Self::Output> {
        Store::read(result)
    }
}

impl Operation for DeleteStore {
    type Output = Deleted;

    fn request(&self) -> Result<Request, Invalid> {
        let force = if self.force { "?force=true" } else { "" };
        Ok(delete(format!("/stores/{}{force}", self.store)))
    }

    fn result(_: &Value) -> Option<Self::Output> {
        Some(Deleted)
    }
}

impl Operation for ListSecrets {
    type Output = Vec<SecretMetadata>;

    fn request(&self) -> Result<Request, Invalid> {
        let mut check = Check::default();
        check.scopes("scopes", &self.scopes);
        let mut query = Query::of(self.page, check)?;
        query.add("search", self.search.as_deref());
        for scope in &self.scopes {
            query.add("scopes", Some(scope.as_str()));
        }
        query.add("order", self.order.map(SecretOrder::as_str));
        query.add("direction", self.direction.map(Direction::as_str));
        Ok(get(query.after(&secrets(&self.store))))
    }

    fn result(result: &Value) -> Option<Self::Output> {
        list(result, SecretMetadata::read)
    }
}

impl Paged for ListSecrets {
    type Item = SecretMetadata;

    fn page(&mut self) -> &mut Page {
        &mut self.page
    }
}

impl Operation for CreateSecrets {
    type Output = Vec<SecretMetadata>;

    fn request(&self) -> Result<Request, Invalid> {
        let mut check = Check::default();
        check.that(!self.secrets.is_empty(), "body", "must have at least one secret", None);
        for (index, new) in self.secrets.iter().enumerate() {
            let field = |name: &str| format!("[{index}].{name}");
            check.name(&field("name"), &new.name);
            let is_first = self.secrets.iter().take(index).all(|other| other.name != new.name);
            check.that(
                is_first,
                field("name"),
                "is the name of an earlier entry too",
                Some(Reported::known(1003, "secret_name_already_exists")),
            );
            check.value(&field("value"), &new.value);
            check.some_scopes(&field("scopes"), &new.scopes);
        }
        check.done()?;
        fn body(new: &NewSecret) -> Body<'_> {
            Body {
                name: Some(&new.name),
                value: Some(new.value.expose_secret()),
                scopes: Some(&new.scopes),
                comment: new.comment.as_deref(),
                ..Body::default()
            }
        }
        // Also for one, as the official clients do: the answer's form follows the request's.
        let body: Vec<_> = self.secrets.iter().map(body).collect();
        Ok(with_body("POST", secrets(&self.store), &body))
    }

    fn result(result: &Value) -> Option<Self::Output> {
        // A single create may answer with an object.
        if result.is_object() {
            return Some(vec![SecretMetadata::read(result)?]);
        }
        list(result, SecretMetadata::read).filter(|created| !created.is_empty())
    }
}

impl Operation for GetSecret {
    type Output = SecretMetadata;

    fn request(&self) -> Result<Request, Invalid> {
        Ok(get(secret(&self.store, &self.secret)))
    }

    fn result(result: &Value) -> Option<Self::Output> {
        SecretMetadata::read(result)
    }
}

impl Operation for UpdateSecret {
    type Output = SecretMetadata;

    fn request(&self) -> Result<Request, Invalid> {
        let mut check = Check::default();
        let changes = self.value.is_some() || self.scopes.is_some() || self.comment.is_some();
        check.that(changes, "body", "must change value, scopes or comment", None);
        if let Some(value) = &self.value {
            check.value("value", value);
        }
        if let Some(scopes) = &self.scopes {
            check.some_scopes("scopes", scopes);
        }
        check.done()?;
        let body = Body {
            value: self.value.as_ref().map(|value| value.expose_secret()),
            scopes: self.scopes.as_deref(),
            comment: self.comment.as_deref(),
            ..Body::default()
        };
        Ok(with_body("PATCH", secret(&self.store, &self.secret), &body))
    }

    fn result(result: &Value) -> Option<Self::Output> {
        SecretMetadata::read(result)
    }
}

impl Operation for DeleteSecret {
    type Output = Deleted;

    fn request(&self) -> Result<Request, Invalid> {
        Ok(delete(secret(&self.store, &self.secret)))
    }

    fn result(_: &Value) -> Option<Self::Output> {
        Some(Deleted)
    }
}

impl Operation for DeleteSecrets {
    type Output = Deleted;

    fn request(&self) -> Result<Request, Invalid> {
        let mut check = Check::default();
        check.that(!self.secrets.is_empty(), "secret_ids", "must name at least one secret", None);
        check.done()?;
        let ids = self.secrets.iter().map(SecretId::as_str).collect();
        let body = Body { secret_ids: Some(ids), ..Body::default() };
        Ok(with_body("DELETE", secrets(&self.store), &body))
    }

    fn result(_: &Value) -> Option<Self::Output> {
        Some(Deleted)
    }
}

impl Operation for DuplicateSecret {
    type Output = SecretMetadata;

    fn request(&self) -> Result<Request, Invalid> {
        let mut check = Check::default();
        check.name("name", &self.name);
        check.some_scopes("scopes", &self.scopes);
        check.done()?;
        Ok(self.request_with(&self.scopes))
    }

    fn result(result: &Value) -> Option<Self::Output> {
        SecretMetadata::read(result)
    }
}

impl Operation for GetQuota {
    type Output = Quota;

    fn request(&self) -> Result<Request, Invalid> {
        Ok(get("/quota".to_owned()))
    }

    fn result(result: &Value) -> Option<Self::Output> {
        Quota::read(result)
    }
}

impl DuplicateSecret {
    /// The request for a duplicate that has its source's `scopes`, whatever they are: also one that
    /// this version does not know. Its own are not looked at.
    ///
    /// # Errors
    ///
    /// As [`request`](Operation::request).
    pub fn like(&self, scopes: &[Scope]) -> Result<Request, Invalid> {
        let mut check = Check::default();
        check.name("name", &self.name);
        check.done()?;
        Ok(self.request_with(scopes))
    }

    fn request_with(&self, scopes: &[Scope]) -> Request {
        let body = Body {
            name: Some(&self.name),
            scopes: Some(scopes),
            comment: self.comment.as_deref(),
            ..Body::default()
        };
        with_body("POST", format!("{}/duplicate", secret(&self.store, &self.secret)), &body)
    }
}

/// What may stand in a body. It alone can be serialized, so that no value is by accident.
#[derive(Default, Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes: Option<&'a [Scope]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_ids: Option<Vec<&'a str>>,
}

/// The mistakes that were found so far.
#[derive(Default)]
struct Check(Vec<Mistake>);

impl Check {
    fn that(
        &mut self,
        holds: bool,
        field: impl Into<String>,
        what: &'static str,
        reported: Option<Reported>,
    ) {
        if !holds {
            self.0.push(Mistake { field: field.into(), what, reported });
        }
    }

    fn name(&mut self, field: &str, name: &str) {
        let of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if name.is_empty() {
            let reported = Reported::known(1001, "secret_name_empty");
            return self.that(false, field, "must not be empty", Some(reported));
        }
        let is_name = name.bytes().all(of_a_name);
        self.that(is_name, field, "may have letters, digits, '_' and '-' only", None);
    }

    fn value(&mut self, field: &str, value: &SecretString) {
        let length = value.expose_secret().len();
        self.that(length > 0, field, "must not be empty", None);
        self.that(length <= MAX_VALUE, field, "must have at most 65536 bytes (as UTF-8)", None);
    }

    fn some_scopes(&mut self, field: &str, scopes: &[Scope]) {
        let reported = || Reported::known(1001, "secret_scopes_empty");
        self.that(!scopes.is_empty(), field, "must have at least one scope", Some(reported()));
        self.scopes(field, scopes);
    }

    fn scopes(&mut self, field: &str, scopes: &[Scope]) {
        for (index, scope) in scopes.iter().enumerate() {
            self.that(
                !matches!(scope, Scope::Other(_)),
                format!("{field}[{index}]"),
                "must be one of workers, ai_gateway, dex, access, containers, websearch",
                Some(Reported::known(1001, "secret_scope_invalid")),
            );
        }
    }

    fn done(self) -> Result<(), Invalid> {
        if self.0.is_empty() { Ok(()) } else { Err(Invalid(self.0)) }
    }
}

/// A query string, as it grows.
struct Query(String);

impl Query {
    fn of(page: Page, mut check: Check) -> Result<Self, Invalid> {
        let mut query = Self(String::new());
        for (name, number) in [("page", page.page), ("per_page", page.per_page)] {
            check.that(number != Some(0), name, "must be a whole number from 1", None);
            query.add(name, number.map(|it| it.to_string()).as_deref());
        }
        check.done().map(|()| query)
    }

    fn add(&mut self, name: &str, value: Option<&str>) {
        let Some(value) = value else { return };
        self.0.push(if self.0.is_empty() { '?' } else { '&' });
        self.0 += name;
        self.0.push('=');
        let digit = |it: u8| char::from(if it < 10 { b'0' + it } else { b'A' - 10 + it });
        for byte in value.bytes() {
            // Unreserved characters stay as they are (RFC 3986, section 2.3).
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                self.0.push(byte.into());
            } else {
                self.0.extend(['%', digit(byte >> 4), digit(byte & 0xf)]);
            }
        }
    }

    fn after(self, path: &str) -> String {
        format!("{path}{}", self.0)
    }
}

fn secrets(store: &StoreId) -> String {
    format!("/stores/{store}/secrets")
}

fn secret(store: &StoreId, secret: &SecretId) -> String {
    format!("/stores/{store}/secrets/{secret}")
}

fn get(path_and_query: String) -> Request {
    Request { method: "GET", path_and_query, body: None }
}

fn delete(path_and_query: String) -> Request {
    Request { method: "DELETE", path_and_query, body: None }
}

fn with_body(method: &'static str, path: String, body: &impl Serialize) -> Request {
    // Strings and lists of them: there is nothing in them that JSON cannot express.
    let body = serde_json::to_string(body).unwrap_or_default();
    Request { method, path_and_query: path, body: Some(body.into()) }
}

fn list<T>(result: &Value, read: fn(&Value) -> Option<T>) -> Option<Vec<T>> {
    result.as_array()?.iter().map(read).collect()
}

/// Reads the envelope that every answer of the API has, and beside the result the number of all items
/// of a list.
fn read_envelope<O: Operation + ?Sized>(
    status: u16,
    retry_after: Option<&str>,
    body: &[u8],
) -> Result<(O::Output, Option<u64>), ApiError> {
    let envelope = result_of(status, retry_after, body)?;
    let result = envelope.get("result").unwrap_or(&Value::Null);
    let total = envelope.pointer("/result_info/total_count").and_then(Value::as_u64);
    let output = O::result(result).ok_or(ApiError::NotAnAnswer { status })?;
    Ok((output, total))
}

/// The envelope of a success.
fn result_of(status: u16, retry_after: Option<&str>, body: &[u8]) -> Result<Value, ApiError> {
    let text = std::str::from_utf8(body).unwrap_or_default();
    let envelope: Value = serde_json::from_str(text).unwrap_or_default();
    let success = envelope.get("success").and_then(Value::as_bool);
    if success == Some(true) && status / 100 == 2 {
        return Ok(envelope);
    }
    let errors =
        envelope.get("errors").and_then(Value::as_array).filter(|_| success == Some(false));
    let reported = errors.into_iter().flatten().map(Reported::read).collect();
    Err(ApiError::of(status, retry_after, reported))
}
