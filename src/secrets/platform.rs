//! The platform's side: bindings on `env`.

use std::time::Duration;

use futures::{FutureExt as _, future::LocalBoxFuture};
use worker::{
    Delay, Env,
    js_sys::{Function, JsString, Promise, Reflect, futures::JsFuture},
    wasm_bindgen::{JsCast as _, JsValue},
};

use super::{Binding, Cause, Environment, ErrorKind, Secret};

/// A secret on `env`. What kind it is, is found from what it is: so moving a secret from plain to
/// Secrets Store changes no code and no setting.
#[derive(Debug)]
pub enum PlatformBinding {
    /// `[[secrets_store_secrets]]`: an object whose `get()` promises the value.
    Store {
        /// The object on `env`.
        object: JsValue,
        /// Its `get`.
        get: Function,
    },
    /// A plain Worker secret (`wrangler secret put`, `.dev.vars`): the value itself.
    Plain(JsString),
}

impl Environment for Env {
    type Binding = PlatformBinding;

    fn binding(&self, name: &str) -> Result<PlatformBinding, ErrorKind> {
        let object = Reflect::get(self, &name.into()).unwrap_or_default();
        if object.is_undefined() || object.is_null() {
            return Err(ErrorKind::NotBound);
        }
        if let Ok(value) = object.clone().dyn_into::<JsString>() {
            return Ok(PlatformBinding::Plain(value));
        }
        match Reflect::get(&object, &"get".into()).unwrap_or_default().dyn_into::<Function>() {
            Ok(get) => Ok(PlatformBinding::Store { object, get }),
            Err(_) => Err(ErrorKind::WrongKind),
        }
    }

    fn delay(&self, duration: Duration) -> LocalBoxFuture<'static, ()> {
        Delay::from(duration).boxed_local()
    }
}

impl Binding for PlatformBinding {
    async fn get(&self) -> Result<Option<Secret>, ErrorKind> {
        let (object, get) = match self {
            Self::Plain(value) => return Ok(Some(value.clone().into())),
            Self::Store { object, get } => (object, get),
        };
        let answer = get.call0(object).map_err(|error| kind_of(&error))?;
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
