//! The routes.

use std::sync::Arc;

use axum::{
    Router,
    body::Body,
    extract::{FromRequest, FromRequestParts, Path, Request, State},
    http::{HeaderMap, Uri, header::AUTHORIZATION, request::Parts},
    middleware::{self, Next},
    routing::{get, post},
};
use http_body_util::BodyExt as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use subtle::ConstantTimeEq as _;

use crate::{
    answer::{self, Answer, ApiError, success, success_page},
    keeper::Keeper,
    list::{Listing, Query, word},
    state::{Account, Input, Rules, Scope, SecretView},
};

/// Where the accounts are, on the real host and on this one.
const ACCOUNTS: &str = "/client/v4/accounts/";

/// The most bytes of a request's body: a full account's values in one batch. Assumed.
const MOST_BODY_BYTES: usize = 8 << 20;

/// What every request needs.
pub(crate) struct Shared {
    pub(crate) token: SecretString,
    pub(crate) rules: Rules,
    pub(crate) keeper: Keeper,
}

type Api = State<Arc<Shared>>;

pub(crate) fn router(shared: Arc<Shared>) -> Router {
    let operations = Router::new()
        .route("/quota", get(quota))
        .route("/stores", get(list_stores).post(create_store))
        .route("/stores/{store}", get(get_store).delete(delete_store))
        .route(
            "/stores/{store}/secrets",
            get(list_secrets).post(create_secrets).delete(delete_secrets),
        )
        .route(
            "/stores/{store}/secrets/{secret}",
            get(get_secret).patch(update_secret).delete(delete_secret),
        )
        .route("/stores/{store}/secrets/{secret}/duplicate", post(duplicate_secret));
    Router::new()
        .nest(&format!("{ACCOUNTS}{{account}}/secrets_store"), operations)
        .fallback(async || answer::not_found())
        .method_not_allowed_fallback(async || answer::method_not_allowed())
        .layer(middleware::from_fn_with_state(shared.clone(), admit))
        .with_state(shared)
}

/// The token comes first: without it nothing is told.
async fn admit(State(api): Api, request: Request, next: Next) -> Answer {
    if !shows(request.headers(), &api.token) {
        return Err(answer::authentication_error());
    }
    let path = request.uri().path();
    // To the router, an id may be empty.
    if path.contains("//") {
        return Err(answer::not_found());
    }
    match path.strip_prefix(ACCOUNTS).and_then(|it| it.split('/').next()) {
        Some(account) if account != api.rules.account => {
            let is_id = account.len() == 32 && account.chars().all(|it| it.is_ascii_hexdigit());
            Err(if is_id { answer::foreign_account() } else { answer::could_not_route() })
        }
        _ => Ok(next.run(request).await),
    }
}

fn shows(headers: &HeaderMap, token: &SecretString) -> bool {
    let shown = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some((scheme, shown)) = shown.and_then(|it| it.split_once(' ')) else { return false };
    scheme.eq_ignore_ascii_case("bearer")
        && shown.as_bytes().ct_eq(token.expose_secret().as_bytes()).into()
}

async fn quota(State(api): Api) -> Answer {
    #[derive(Serialize)]
    struct Quota {
        secrets: Secrets,
    }
    #[derive(Serialize)]
    struct Secrets {
        quota: usize,
        usage: usize,
    }
    let usage = api.keeper.read().usage();
    success(Quota { secrets: Secrets { quota: api.rules.quota, usage } })
}

async fn list_stores(State(api): Api, uri: Uri) -> Answer {
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "lowercase")]
    enum Field {
        Name,
        #[default]
        Created,
        Modified,
    }
    let listing = Listing::parse(&query(&uri))?;
    let stores = api.keeper.read().stores(&api.rules);
    success_page(listing.page_of(stores, |field, one, other| match field {
        Field::Name => one.name.cmp(&other.name),
        Field::Created => one.created.cmp(&other.created),
        Field::Modified => one.modified.cmp(&other.modified),
    }))
}

async fn create_store(State(api): Api, Json(body): Json) -> Answer {
    #[derive(Deserialize)]
    struct NewStore {
        name: Option<String>,
    }
    let store: NewStore = object(body)?;
    success(change(api, move |account, rules| account.create_store(store.name, rules)).await?)
}

async fn get_store(State(api): Api, at: At) -> Answer {
    success(api.keeper.read().store(&at.store, &api.rules)?)
}

async fn delete_store(State(api): Api, at: At, uri: Uri) -> Answer {
    let force = match query(&uri).get("force") {
        Some("true") => true,
        Some("false") | None => false,
        Some(_) => return Err(answer::invalid_parameter("force")),
    };
    success(change(api, move |account, _| account.delete_store(&at.store, force)).await?)
}

async fn list_secrets(State(api): Api, at: At, uri: Uri) -> Answer {
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "lowercase")]
    enum Field {
        Name,
        Comment,
        #[default]
        Created,
        Modified,
        Status,
    }
    let query = query(&uri);
    let listing = Listing::parse(&query)?;
    let scopes = query
        .all("scopes")
        .flat_map(|it| it.split(','))
        .map(|scope| word::<Scope>(scope).ok_or_else(|| answer::invalid_parameter("scopes")));
    let scopes: Vec<Scope> = scopes.collect::<Result<_, _>>()?;
    let mut secrets = api.keeper.read().secrets(&at.store)?;
    // That one of the scopes is enough is assumed.
    secrets
        .retain(|it| scopes.is_empty() || it.metadata.scopes.iter().any(|it| scopes.contains(it)));
    if let Some(search) = query.get("search") {
        // That case does not matter is assumed.
        let search = search.to_lowercase();
        let has = |text: &str| text.to_lowercase().contains(&search);
        secrets.retain(|SecretView { metadata, .. }| {
            has(&metadata.name) || metadata.comment.as_deref().is_some_and(has)
        });
    }
    success_page(listing.page_of(secrets, |field, one, other| {
        let (first, second) = (&one.metadata, &other.metadata);
        match field {
            Field::Name => first.name.cmp(&second.name),
            Field::Comment => first.comment.cmp(&second.comment),
            Field::Created => first.created.cmp(&second.created),
            Field::Modified => first.modified.cmp(&second.modified),
            Field::Status => one.status.cmp(&other.status),
        }
    }))
}

/// The answer has the form of the request, one or an array (assumed).
async fn create_secrets(State(api): Api, at: At, Json(body): Json) -> Answer {
    let (entries, is_batch) = match body {
        // That an empty one is refused is assumed.
        Value::Array(entries) if entries.is_empty() => return Err(answer::invalid_json_body()),
        Value::Array(entries) => (entries, true),
        entry => (vec![entry], false),
    };
    let inputs: Vec<Input> = entries.into_iter().map(object).collect::<Result<_, _>>()?;
    let mut created =
        change(api, move |account, rules| account.create(&at.store, inputs, rules)).await?;
    if is_batch { success(created) } else { success(created.pop()) }
}

async fn get_secret(State(api): Api, at: At) -> Answer {
    success(api.keeper.read().secret(&at.store, &at.secret)?)
}

async fn update_secret(State(api): Api, at: At, Json(body): Json) -> Answer {
    let input: Input = object(body)?;
    success(change(api, move |account, _| account.update(&at.store, &at.secret, input)).await?)
}

async fn delete_secret(State(api): Api, at: At) -> Answer {
    success(change(api, move |account, _| account.delete(&at.store, &[at.secret])).await?)
}

async fn delete_secrets(State(api): Api, at: At, Json(body): Json) -> Answer {
    #[derive(Deserialize)]
    struct Batch {
        secret_ids: Option<Vec<String>>,
    }
    let batch: Batch = object(body)?;
    let ids = batch.secret_ids.filter(|ids| !ids.is_empty());
    // An empty list is never all of them. How it is refused is assumed.
    let ids = ids.ok_or_else(answer::secret_ids_empty)?;
    success(change(api, move |account, _| account.delete(&at.store, &ids)).await?)
}

async fn duplicate_secret(State(api): Api, at: At, Json(body): Json) -> Answer {
    let input: Input = object(body)?;
    let duplicated =
        change(api, move |account, rules| account.duplicate(&at.store, &at.secret, input, rules));
    success(duplicated.await?)
}

/// Makes a change on a thread where it may block. Begun, it is finished, even when the client goes.
async fn change<T: Send + 'static>(
    api: Arc<Shared>,
    change: impl FnOnce(&mut Account, &Rules) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let changed = tokio::task::spawn_blocking(move || {
        api.keeper.change(|account| change(account, &api.rules))
    });
    changed.await.unwrap_or_else(|_| Err(answer::internal_error()))
}

fn query(uri: &Uri) -> Query {
    Query::parse(uri.query().unwrap_or_default())
}

/// The ids in the path; those that the route has not are empty.
#[derive(Deserialize)]
struct At {
    #[serde(default)]
    store: String,
    #[serde(default)]
    secret: String,
}

impl<S: Send + Sync> FromRequestParts<S> for At {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        // It fails for what is no UTF-8, and so no id.
        let path = Path::from_request_parts(parts, state).await;
        path.map(|Path(at)| at).map_err(|_| answer::not_found())
    }
}

/// A body that is JSON, whatever its `Content-Type` says (assumed).
struct Json(Value);

impl<S: Send + Sync> FromRequest<S> for Json {
    type Rejection = ApiError;

    async fn from_request(request: Request, _: &S) -> Result<Self, ApiError> {
        let body = read(request.into_body()).await?;
        serde_json::from_slice(&body).map(Self).map_err(|_| answer::invalid_json_body())
    }
}

/// Reads to the end also what is too large, so that the client is there for the answer.
async fn read(mut body: Body) -> Result<Vec<u8>, ApiError> {
    let (mut bytes, mut length) = (Vec::new(), 0_usize);
    while let Some(frame) = body.frame().await {
        let data = frame.map_err(|_| answer::invalid_json_body())?.into_data().unwrap_or_default();
        length = length.saturating_add(data.len());
        if length <= MOST_BODY_BYTES {
            bytes.extend_from_slice(&data);
        }
    }
    if length > MOST_BODY_BYTES { Err(answer::body_too_large()) } else { Ok(bytes) }
}

/// Serde would take an array for a struct too.
fn object<T: DeserializeOwned>(json: Value) -> Result<T, ApiError> {
    let object = Some(json).filter(Value::is_object).ok_or_else(answer::invalid_json_body)?;
    // Its error may quote what it read, so it is told to nobody.
    serde_json::from_value(object).map_err(|_| answer::invalid_json_body())
}
