//! [`Secrets`]: the secrets of one request.

use std::{cell::RefCell, pin::pin, time::Duration};

use futures::{
    FutureExt as _,
    future::{Either, ready, select},
};
use serde::de::DeserializeOwned;

use super::{
    Binding, Environment, ErrorKind, Flaw, Secret, SecretError, SecretErrors, join_all,
    once::{Once, WeakOnce, all_done},
    typed,
};

/// How long a `.get()` may take until it counts as failed.
pub const GET_TIMEOUT: Duration = Duration::from_secs(5);

/// The secrets of one request.
///
/// Make one when a request arrives and drop it with the request. However often a binding is asked
/// for, and however many ask at once, it does one `.get()` for it; the next request starts anew, so
/// a value that was changed in the store is used at once.
pub struct Secrets<E = worker::Env> {
    environment: E,
    /// By binding. There are few, so that looking through them is as fast as hashing.
    gets: RefCell<Vec<(String, Get)>>,
    /// When the last `.get()` was started, and its deadline: those that start together share one.
    deadline: RefCell<Option<(u64, WeakOnce<()>)>>,
}

/// A `.get()` that is under way or done, shared by all who ask for the same binding.
type Get = Once<Got>;

/// What it answered.
type Got = Result<(Secret, Option<Flaw>), ErrorKind>;

impl<E: Environment> Secrets<E> {
    /// The secrets that `environment` binds, none of them fetched yet.
    pub fn new(environment: E) -> Self {
        Self { environment, gets: RefCell::default(), deadline: RefCell::default() }
    }

    /// One secret, as a credential: a value that a header can carry unchanged.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]. The usual flaw is a line break at the end, from a file; it is an error
    /// here and not silently mended, since the store would still hold the wrong value.
    pub async fn get(&self, binding: &str) -> Result<Secret, SecretError> {
        match self.start(binding).await {
            Ok((secret, None)) => Ok(secret),
            Ok((_, Some(flaw))) => Err(named(binding, ErrorKind::NotHeaderSafe(flaw))),
            Err(kind) => Err(named(binding, kind)),
        }
    }

    /// One secret of any text, line breaks included: a private key in PEM form, say.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]; all but [`ErrorKind::NotHeaderSafe`].
    pub async fn get_text(&self, binding: &str) -> Result<Secret, SecretError> {
        let result = self.start(binding).await;
        result.map(|(secret, _)| secret).map_err(|kind| named(binding, kind))
    }

    /// One secret that holds JSON, parsed. Fields of `T` that are secret should be [`Secret`]s.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`]; [`ErrorKind::InvalidJson`] tells where, and quotes nothing.
    pub async fn get_json<T: DeserializeOwned>(&self, binding: &str) -> Result<T, SecretError> {
        let secret = self.get_text(binding).await?;
        serde_json::from_str(&secret.expose_secret())
            .map_err(|error| named(binding, typed::invalid_json(&error)))
    }

    /// The primary secret, or the fallback when the primary one fails. The fallback is not asked
    /// for otherwise.
    ///
    /// # Errors
    ///
    /// Both errors, the primary's first; one error where there is no fallback.
    pub async fn get_with_fallback(
        &self,
        primary: &str,
        fallback: Option<&str>,
    ) -> Result<Secret, SecretErrors> {
        with_fallback(self.get(primary), fallback.map(|fallback| self.get(fallback))).await
    }

    /// Many secrets at once, all or nothing.
    ///
    /// # Errors
    ///
    /// Every binding that failed, not just the first.
    pub async fn get_all<const N: usize>(
        &self,
        bindings: [&str; N],
    ) -> Result<[Secret; N], SecretErrors> {
        let mut errors = Vec::new();
        let secrets: Vec<Secret> = self
            .get_all_settled(bindings)
            .await
            .into_iter()
            .filter_map(|result| result.map_err(|error| errors.push(error)).ok())
            .collect();
        // As many as were asked for, or else there is an error.
        secrets.try_into().map_err(|_| SecretErrors(errors))
    }

    /// Many secrets at once, with a result for each in the order of asking.
    pub async fn get_all_settled<B: AsRef<str>>(
        &self,
        bindings: impl IntoIterator<Item = B>,
    ) -> Vec<Result<Secret, SecretError>> {
        let bindings: Vec<B> = bindings.into_iter().collect();
        self.settle(bindings.iter().map(AsRef::as_ref)).await;
        let mut results = Vec::with_capacity(bindings.len());
        for binding in &bindings {
            results.push(self.get(binding.as_ref()).await);
        }
        results
    }

    /// Waits until each of them has answered or failed, so that whoever asks next is told at once.
    ///
    /// It is the fastest way to wait for many: each time that one answers, all that still wait are
    /// asked, and here that is a glance at a flat list.
    pub async fn settle<'b>(&self, bindings: impl IntoIterator<Item = &'b str>) {
        let gets: Vec<Get> = bindings.into_iter().map(|it| self.start(it)).collect();
        all_done(&gets).await;
    }

    /// Fills a `#[derive(Deserialize)]` struct whose fields are bindings, all fetched at once.
    ///
    /// A field is a [`Secret`], with a value as [`get`](Self::get) wants it, or any other type that
    /// the secret's JSON is parsed into. `Option` around it allows the binding or its secret to be
    /// missing; `#[serde(default)]` does not. `#[serde(rename)]` and `rename_all` give the binding's
    /// name; `alias` and `flatten` are not for this. A plain `String` is refused, since it would
    /// print.
    ///
    /// # Errors
    ///
    /// Every binding that failed, not just the first. A secret that is there and cannot be had (a
    /// time-out, say) is an error also for an `Option`.
    pub async fn load<T: DeserializeOwned>(&self) -> Result<T, SecretErrors> {
        let fields = typed::fields::<T>()?;
        let values = join_all(fields.iter().map(|field| async {
            match field.form {
                typed::Form::Secret => self.get(field.name).await,
                typed::Form::Json => self.get_text(field.name).await,
            }
        }))
        .await;
        typed::assemble(&fields, values)
    }

    /// The one `.get()` of this request for `binding`.
    fn start(&self, binding: &str) -> Get {
        let mut gets = self.gets.borrow_mut();
        if let Some((_, get)) = gets.iter().find(|(own, _)| own == binding) {
            return get.clone();
        }
        let get = match self.environment.binding(binding) {
            Ok(found) => resolve(found, self.deadline()).boxed_local(),
            Err(kind) => ready(Err(kind)).boxed_local(),
        };
        let get = Once::new(get);
        gets.push((binding.to_owned(), get.clone()));
        get
    }

    /// The deadline of a `.get()` that starts now. Each timer is a call to the runtime, and another
    /// one to stop it.
    fn deadline(&self) -> Once<()> {
        let now = self.environment.now();
        let mut last = self.deadline.borrow_mut();
        match last.as_ref().filter(|(then, _)| *then == now).and_then(|(_, it)| Once::upgrade(it)) {
            Some(deadline) => deadline,
            None => {
                let deadline = Once::new(self.environment.delay(GET_TIMEOUT));
                *last = Some((now, deadline.downgrade()));
                deadline
            }
        }
    }
}

/// What `primary` answers, or `fallback` when `primary` fails: for other than
/// [`Secrets::get`], such as two secrets that hold JSON.
///
/// # Errors
///
/// Both errors, the primary's first; one error where there is no fallback.
pub async fn with_fallback<T>(
    primary: impl Future<Output = Result<T, SecretError>>,
    fallback: Option<impl Future<Output = Result<T, SecretError>>>,
) -> Result<T, SecretErrors> {
    let first = match primary.await {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    let Some(fallback) = fallback else { return Err(first.into()) };
    fallback.await.map_err(|second| SecretErrors(vec![first, second]))
}

async fn resolve(binding: impl Binding, deadline: impl Future<Output = ()> + Unpin) -> Got {
    let answer = match select(pin!(binding.get()), deadline).await {
        Either::Left((answer, _)) => answer?,
        Either::Right(_) => return Err(ErrorKind::TimedOut),
    };
    let secret = answer.ok_or(ErrorKind::Null)?;
    let value = secret.expose_secret();
    if value.is_empty() {
        return Err(ErrorKind::Empty);
    }
    let flaw = Flaw::of(&value);
    Ok((secret, flaw))
}

fn named(binding: &str, kind: ErrorKind) -> SecretError {
    SecretError { binding: binding.to_owned(), kind }
}
