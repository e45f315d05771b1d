//! The platform's side: bindings on `env`.

use std::time::Duration;

use futures::{FutureExt as _, future::LocalBoxFuture};
use wasm_bindgen::prelude::wasm_bindgen;
use worker::{
    Delay, Env,
    js_sys::{Date, JsString, Promise, Reflect, futures::JsFuture},
    wasm_bindgen::{JsCast as _, JsValue},
};

use super::{Binding, Cause, Environment, ErrorKind, Secret, error::contains, interned};

#[wasm_bindgen]
extern "C" {
    /// A `[[secrets_store_secrets]]` binding: an object whose `get()` promises the value.
    #[derive(Debug)]
    pub type StoreBinding;

    // As a method, and not as a function that is looked up and then called: on the platform the
    // object is a stub, and what is looked up on a stub is a stub again, `get.call` included.
    #[wasm_bindgen(catch, method)]
    fn get(this: &StoreBinding) -> Result<JsValue, JsValue>;

    /// What may be a promise: its `then` tells.
    type Thenable;
    #[wasm_bindgen(catch, method, getter)]
    fn then(this: &Thenable) -> Result<JsValue, JsValue>;
}

/// A secret on `env`. What kind it is, is found from what it is: so moving a secret from plain to
/// Secrets Store changes no code and no setting.
#[derive(Debug)]
pub enum PlatformBinding {
    /// `[[secrets_store_secrets]]`.
    Store(StoreBinding),
    /// A plain Worker secret (`wrangler secret put`, `.dev.vars`): the value itself.
    Plain(Secret),
}

impl Environment for Env {
    type Binding = PlatformBinding;

    fn binding(&self, name: &str) -> Result<PlatformBinding, ErrorKind> {
        match Reflect::get(self, &interned(name)).unwrap_or_default().dyn_into::<JsString>() {
            Ok(value) => Ok(PlatformBinding::Plain(value.into())),
            Err(nothing) if nothing.is_null_or_undefined() => Err(ErrorKind::NotBound),
            // Whether it has a `get` is told by the call: to look for it first would cost as much.
            Err(bound) => Ok(PlatformBinding::Store(bound.unchecked_into())),
        }
    }

    fn delay(&self, duration: Duration) -> LocalBoxFuture<'static, ()> {
        Delay::from(duration).boxed_local()
    }

    fn now(&self) -> u64 {
        // It stands still between I/O.
        Date::now() as u64
    }
}

impl Binding for PlatformBinding {
    async fn get(&self) -> Result<Option<Secret>, ErrorKind> {
        let store = match self {
            Self::Plain(value) => return Ok(Some(value.clone())),
            Self::Store(store) => store,
        };
        let answer = store.get().map_err(|error| kind_of(&error))?;
        // Null and undefined throw here: they are no promise, and the answer itself.
        let then = answer.unchecked_ref::<Thenable>().then();
        let value = if then.is_ok_and(|then| then.is_function()) {
            // The platform's is a stub's, and no `Promise`. It is waited for as it is:
            // `Promise.resolve` would put another one around it, and a turn. It is trusted to call
            // back later, and once, as the platform's does.
            let promise = answer.unchecked_into::<Promise>();
            JsFuture::from(promise).await.map_err(|error| kind_of(&error))?
        } else {
            answer
        };
        match value.dyn_into::<JsString>() {
            Ok(value) => Ok(Some(value.into())),
            Err(nothing) if nothing.is_null_or_undefined() => Ok(None),
            Err(_) => Err(ErrorKind::WrongKind),
        }
    }
}

/// Tells from what `get()` threw what is wrong.
fn kind_of(error: &JsValue) -> ErrorKind {
    // Its text is treated like a secret: it is not ours, and might quote the value.
    let property = |name: &str| Reflect::get(error, &name.into()).ok()?.dyn_into::<JsString>().ok();
    let Some(text) = error.dyn_ref().cloned().or_else(|| property("message")) else {
        return ErrorKind::Failed(Cause::Unknown);
    };
    let is_type_error = property("name").is_some_and(|name| name == "TypeError");
    error_kind(&Secret::from(text).expose_secret(), is_type_error)
}

/// The same, from the error's text.
fn error_kind(text: &str, is_type_error: bool) -> ErrorKind {
    // `Secret "name" not found` from the local store, `Secret not found in store` from the real one.
    if text.starts_with("Secret") && contains(text, "not found") {
        ErrorKind::NotFound
    } else if contains(text, "does not implement the method")
        || (is_type_error && (contains(text, "parameter") || contains(text, "is not a function")))
    {
        // Another Worker has no such method; the `get` of KV, R2 and Durable Objects wants a key.
        ErrorKind::WrongKind
    } else {
        ErrorKind::Failed(Cause::from_message(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_get_threw_tells_what_is_wrong() {
        let connection_lost = ErrorKind::Failed(Cause::ConnectionLost);
        for (text, is_type_error, kind) in [
            ("Secret \"api_key\" not found", false, ErrorKind::NotFound),
            ("Secret not found in store", false, ErrorKind::NotFound),
            ("host not found", false, ErrorKind::Failed(Cause::Unknown)),
            (
                "Failed to execute 'get' on 'KvNamespace': parameter 1 is not of type 'string'.",
                true,
                ErrorKind::WrongKind,
            ),
            ("The RPC receiver does not implement the method \"get\".", true, ErrorKind::WrongKind),
            ("Network connection lost.", false, connection_lost),
            ("wrong parameter", false, ErrorKind::Failed(Cause::Unknown)),
        ] {
            assert_eq!(error_kind(text, is_type_error), kind, "{text}");
        }
    }
}
