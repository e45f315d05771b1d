//! The platform's side: bindings on `env`.

use std::time::Duration;

use futures::{FutureExt as _, future::LocalBoxFuture};
use wasm_bindgen::prelude::wasm_bindgen;
use worker::{
    Delay, Env,
    js_sys::{JsString, Promise, Reflect, futures::JsFuture},
    wasm_bindgen::{JsCast as _, JsValue},
};

use super::{Binding, Cause, Environment, ErrorKind, Secret};

#[wasm_bindgen]
extern "C" {
    /// A `[[secrets_store_secrets]]` binding: an object whose `get()` promises the value.
    #[derive(Debug)]
    pub type StoreBinding;

    // As a method, and not as a function that is looked up and then called: on the platform the
    // object is a stub, and what is looked up on a stub is a stub again, `get.call` included.
    #[wasm_bindgen(catch, method)]
    fn get(this: &StoreBinding) -> Result<JsValue, JsValue>;
}

/// A secret on `env`. What kind it is, is found from what it is: so moving a secret from plain to
/// Secrets Store changes no code and no setting.
#[derive(Debug)]
pub enum PlatformBinding {
    /// `[[secrets_store_secrets]]`.
    Store(StoreBinding),
    /// A plain Worker secret (`wrangler secret put`, `.dev.vars`): the value itself.
    Plain(JsString),
}

impl Environment for Env {
    type Binding = PlatformBinding;

    fn binding(&self, name: &str) -> Result<PlatformBinding, ErrorKind> {
        let bound = Reflect::get(self, &name.into()).unwrap_or_default();
        if bound.is_undefined() || bound.is_null() {
            Err(ErrorKind::NotBound)
        } else if let Some(value) = bound.dyn_ref::<JsString>() {
            Ok(PlatformBinding::Plain(value.clone()))
        } else if Reflect::get(&bound, &"get".into()).is_ok_and(|get| get.is_function()) {
            Ok(PlatformBinding::Store(bound.unchecked_into()))
        } else {
            Err(ErrorKind::WrongKind)
        }
    }

    fn delay(&self, duration: Duration) -> LocalBoxFuture<'static, ()> {
        Delay::from(duration).boxed_local()
    }
}

impl Binding for PlatformBinding {
    async fn get(&self) -> Result<Option<Secret>, ErrorKind> {
        let store = match self {
            Self::Plain(value) => return Ok(Some(value.clone().into())),
            Self::Store(store) => store,
        };
        let answer = store.get().map_err(|error| kind_of(&error))?;
        // `resolve` leaves a promise as it is, and makes one of anything else.
        let value =
            JsFuture::from(Promise::resolve(&answer)).await.map_err(|error| kind_of(&error))?;
        if value.is_undefined() || value.is_null() {
            return Ok(None);
        }
        match value.dyn_into::<JsString>() {
            Ok(value) => Ok(Some(value.into())),
            Err(_) => Err(ErrorKind::WrongKind),
        }
    }
}

/// Tells from what `get()` threw what is wrong.
fn kind_of(error: &JsValue) -> ErrorKind {
    // Its text is treated like a secret: it is not ours, and might quote the value.
    let text = match error.dyn_ref::<JsString>() {
        Some(thrown) => Some(thrown.clone()),
        None => Reflect::get(error, &"message".into()).ok().and_then(|it| it.dyn_into().ok()),
    };
    let Some(text) = text else { return ErrorKind::Failed(Cause::Unknown) };
    let text = Secret::from(text).expose_secret();
    // `Secret "name" not found` from the local store, `Secret not found in store` from the real one.
    if text.contains("not found") {
        ErrorKind::NotFound
    } else if text.contains("does not implement the method") || text.contains("is not a function") {
        ErrorKind::WrongKind
    } else {
        ErrorKind::Failed(Cause::from_message(&text))
    }
}
