//! Operations, sent by whatever can send a request.

use super::{
    error::{ApiError, Invalid},
    model::{Scope, SecretId, SecretMetadata, StoreId},
    operation::{DuplicateSecret, GetSecret, Operation, Paged, Request},
};

/// An answer as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The value of `Retry-After`.
    pub retry_after: Option<String>,
    /// The whole body.
    pub body: Vec<u8>,
}

/// An HTTP client that knows the API's base URL, the account and its token.
pub trait Transport {
    /// Why no answer came.
    type Error;

    /// Sends a request to `{base_url}/accounts/{account_id}/secrets_store{path_and_query}`, with the
    /// token as `Authorization: Bearer`, and reads the answer whatever its status. It follows no
    /// redirect: the token is the API's alone.
    ///
    /// # Errors
    ///
    /// Where no answer came, or its body broke off.
    fn send(&self, request: Request) -> impl Future<Output = Result<Answer, Self::Error>>;
}

/// Why an operation did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError<E> {
    /// It was not sent: it is not right.
    #[error("{0}")]
    Invalid(#[from] Invalid),
    /// The API refused it.
    #[error("{0}")]
    Api(#[from] ApiError),
    /// No answer came.
    #[error("{0}")]
    Transport(E),
}

/// The API of one account.
#[derive(Debug, Clone)]
pub struct Client<T> {
    transport: T,
}

/// How many items a page has where all are asked for: an account's whole quota fits.
const PER_PAGE: u32 = 100;

/// More pages than any list has: a server that answers every page with the same items is no reason
/// to ask for ever.
const MAX_PAGES: u32 = 10_000;

impl<T: Transport> Client<T> {
    /// A client that sends with `transport`.
    pub fn new(transport: T) -> Self {
        Self { transport }
    }

    /// Carries out an operation.
    ///
    /// # Errors
    ///
    /// What is wrong with it, or what the API says to it.
    pub async fn run<O: Operation>(
        &self,
        operation: &O,
    ) -> Result<O::Output, ClientError<T::Error>> {
        let answer = self.send(operation.request()?).await?;
        Ok(O::read(answer.status, answer.retry_after.as_deref(), &answer.body)?)
    }

    /// Every item of a list, page by page to the end.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run), for any of the pages.
    pub async fn all<O: Paged>(&self, list: &O) -> Result<Vec<O::Item>, ClientError<T::Error>> {
        let mut list = list.clone();
        list.page().per_page.get_or_insert(PER_PAGE);
        let mut all = Vec::new();
        for page in 1..=MAX_PAGES {
            list.page().page = Some(page);
            let answer = self.send(list.request()?).await?;
            let (items, total) =
                O::read_page(answer.status, answer.retry_after.as_deref(), &answer.body)?;
            let is_empty = items.is_empty();
            all.extend(items);
            // A page may be shorter than it was asked for, so that only these tell the end.
            if is_empty || total.is_some_and(|total| all.len() as u64 >= total) {
                break;
            }
        }
        Ok(all)
    }

    /// Gives the value of a secret another name beside its own; with the source's scopes where none
    /// are given.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub async fn duplicate(
        &self,
        store: &StoreId,
        secret: &SecretId,
        name: &str,
        scopes: Option<Vec<Scope>>,
        comment: Option<String>,
    ) -> Result<SecretMetadata, ClientError<T::Error>> {
        let is_like_its_source = scopes.is_none();
        let scopes = scopes.unwrap_or_default();
        let duplicate = DuplicateSecret {
            store: store.clone(),
            secret: secret.clone(),
            name: name.to_owned(),
            scopes,
            comment,
        };
        if !is_like_its_source {
            return self.run(&duplicate).await;
        }
        let source = GetSecret { store: store.clone(), secret: secret.clone() };
        let source = self.run(&source).await?;
        let answer = self.send(duplicate.like(&source.scopes)?).await?;
        Ok(DuplicateSecret::read(answer.status, answer.retry_after.as_deref(), &answer.body)?)
    }

    async fn send(&self, request: Request) -> Result<Answer, ClientError<T::Error>> {
        self.transport.send(request).await.map_err(ClientError::Transport)
    }
}
