//! [`Secret`]: a value that is hard to leak by accident.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, Visitor},
};
use worker::js_sys::JsString;
use zeroize::Zeroizing;

/// The name by which a deserializer knows that a [`Secret`] is asked for, and not any string.
pub(super) const TYPE_NAME: &str = "$secrets::Secret";

/// The value behind a binding.
///
/// It prints as `Secret([redacted])`, cannot be displayed or serialized, and comes out through
/// [`expose_secret`](Self::expose_secret) and [`expose_js_string`](Self::expose_js_string) alone, so
/// that `grep expose_` finds every place that handles a value.
///
/// In a Worker the value stays in the runtime's memory, where `.get()` has put it, and this type
/// refers to it. Wasm memory gets a copy when the value is exposed, and that copy is wiped when the
/// caller drops it. Elsewhere, in a native test, the value is in Rust's memory and wiped with its
/// last clone.
///
/// ```compile_fail,E0277
/// # use secrets_store_gateway::secrets::Secret;
/// println!("{}", Secret::from("sk_live".to_owned())); // a Secret has no Display
/// ```
///
/// ```compile_fail,E0277
/// # use secrets_store_gateway::secrets::Secret;
/// serde_json::to_string(&Secret::from("sk_live".to_owned())); // nor Serialize
/// ```
#[derive(Clone)]
pub struct Secret(Held);

#[derive(Clone)]
enum Held {
    Runtime(JsString),
    #[cfg(not(target_arch = "wasm32"))]
    Memory(std::rc::Rc<Zeroizing<String>>),
}

impl Secret {
    /// A copy of the value, wiped when it is dropped.
    ///
    /// Use it up before the next `.await`: a request that is cancelled while it waits is never
    /// dropped, and then nothing wipes the copy. (Clippy guards this where `clippy.toml` lists
    /// `zeroize::Zeroizing` under `await-holding-invalid-types`.) What is built from it belongs in
    /// [`Zeroizing`] too.
    pub fn expose_secret(&self) -> Zeroizing<String> {
        match &self.0 {
            Held::Runtime(value) => Zeroizing::new(String::from(value)),
            #[cfg(not(target_arch = "wasm32"))]
            Held::Memory(value) => Zeroizing::clone(value),
        }
    }

    /// The value for a call of the runtime that takes a string of its own, such as a header's: no copy
    /// of it comes into Wasm memory. In a Worker only: elsewhere there is no runtime to have strings.
    pub fn expose_js_string(&self) -> JsString {
        match &self.0 {
            Held::Runtime(value) => value.clone(),
            #[cfg(not(target_arch = "wasm32"))]
            Held::Memory(value) => JsString::from(value.as_str()),
        }
    }

    /// The value with `prefix` before it: `Bearer `, say. It is made where the value is.
    #[must_use]
    pub fn prefixed(&self, prefix: &str) -> Self {
        if prefix.is_empty() {
            return self.clone();
        }
        Self(match &self.0 {
            Held::Runtime(value) => Held::Runtime(JsString::from(prefix).concat(value)),
            #[cfg(not(target_arch = "wasm32"))]
            Held::Memory(value) => {
                Held::Memory(std::rc::Rc::new(Zeroizing::new([prefix, value].concat())))
            }
        })
    }
}

impl From<String> for Secret {
    /// Moves the value out of Wasm memory, in a Worker, and wipes what was there.
    fn from(value: String) -> Self {
        let value = Zeroizing::new(value);
        #[cfg(target_arch = "wasm32")]
        return Self(Held::Runtime(JsString::from(value.as_str())));
        #[cfg(not(target_arch = "wasm32"))]
        return Self(Held::Memory(std::rc::Rc::new(value)));
    }
}

impl From<JsString> for Secret {
    fn from(value: JsString) -> Self {
        Self(Held::Runtime(value))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret([redacted])")
    }
}

/// Any string becomes a secret, so that a field of a JSON secret may be one.
impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl<'de> Visitor<'de> for Text {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a secret's text")
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(
                self,
                deserializer: D,
            ) -> Result<Secret, D::Error> {
                deserializer.deserialize_string(self)
            }

            fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Secret, E> {
                Ok(Secret::from(value.to_owned()))
            }

            fn visit_string<E: serde::de::Error>(self, value: String) -> Result<Secret, E> {
                Ok(Secret::from(value))
            }
        }

        deserializer
            .deserialize_newtype_struct(TYPE_NAME, Text)
            // Serde's own message would quote what it found in the place of a string.
            .map_err(|_| D::Error::custom("expected a string"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_as_redacted() {
        let secret = Secret::from("sk_live_1".to_owned());
        assert_eq!(format!("{secret:?}"), "Secret([redacted])");
        assert_eq!(format!("{:?}", Some(vec![secret])), "Some([Secret([redacted])])");
    }

    #[test]
    fn the_value_comes_out_when_exposed() {
        let secret = Secret::from("sk_live_1".to_owned());
        assert_eq!(secret.clone().expose_secret().as_str(), "sk_live_1");
    }

    #[test]
    fn a_value_may_get_a_prefix() {
        let secret = Secret::from("sk_live_1".to_owned());
        assert_eq!(secret.prefixed("Bearer ").expose_secret().as_str(), "Bearer sk_live_1");
        assert_eq!(secret.prefixed("").expose_secret().as_str(), "sk_live_1");
    }

    #[test]
    fn a_field_of_a_json_text_can_be_a_secret() {
        let secret: Secret = serde_json::from_str(r#""line\nbreak""#).unwrap();
        assert_eq!(secret.expose_secret().as_str(), "line\nbreak");
    }

    #[test]
    fn a_json_value_of_another_type_is_not_quoted_in_the_error() {
        let error = serde_json::from_str::<Secret>("12345678").unwrap_err();
        assert!(!error.to_string().contains("12345678"), "{error}");
    }
}
