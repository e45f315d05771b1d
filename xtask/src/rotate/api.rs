//! The REST API through a running Worker.

use anyhow::{Result, anyhow};
use secrets_store_api::{
    Answer, ApiError, Client, ClientError, Operation, Paged, Request, Transport,
};

use crate::worker::{UNKNOWN_TOKEN, Worker};

/// The Worker's code for a caller that it does not know.
const UNAUTHENTICATED: u32 = 40101;

/// The REST API of a Worker, for an account.
pub struct Api<'w> {
    worker: &'w Worker,
    account: &'w str,
}

impl<'w> Api<'w> {
    /// That of `worker`.
    pub fn new(worker: &'w Worker, account: &'w str) -> Self {
        Self { worker, account }
    }

    /// Carries out an operation.
    ///
    /// # Errors
    ///
    /// Why it did not succeed, and what mends that.
    pub fn run<O: Operation>(&self, operation: &O) -> Result<O::Output> {
        self.block_on(Client::new(self).run(operation))
    }

    /// Every item of a list.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn all<O: Paged>(&self, list: &O) -> Result<Vec<O::Item>> {
        self.block_on(Client::new(self).all(list))
    }

    /// What is done with its client.
    ///
    /// # Errors
    ///
    /// As [`run`](Self::run).
    pub fn block_on<T>(
        &self,
        future: impl Future<Output = Result<T, ClientError<ureq::Error>>>,
    ) -> Result<T> {
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        runtime.block_on(future).map_err(|error| self.explain(error))
    }

    fn explain(&self, error: ClientError<ureq::Error>) -> anyhow::Error {
        let url = self.worker.url();
        match error {
            ClientError::Transport(error) => {
                anyhow!("no answer of the Worker at {url}: {error}. Is it there, and the network?")
            }
            ClientError::Api(ApiError::NotAuthorized { reported })
                if reported.iter().any(|it| it.code == UNAUTHENTICATED) =>
            {
                anyhow!("{UNKNOWN_TOKEN}")
            }
            ClientError::Api(ApiError::Other { status: 404, .. }) => anyhow!(
                "the Worker at {url} has no REST API: deploy it with [vars.SECRETS_STORE_API], and \
                 with the account_id of this wrangler.toml"
            ),
            error => anyhow!("{error}"),
        }
    }
}

impl Transport for &Api<'_> {
    type Error = ureq::Error;

    async fn send(&self, request: Request) -> Result<Answer, ureq::Error> {
        let Request { method, path_and_query, body } = request;
        let path = format!("/client/v4/accounts/{}/secrets_store{path_and_query}", self.account);
        self.worker.endpoint().send(method, &path, body.as_ref())
    }
}
