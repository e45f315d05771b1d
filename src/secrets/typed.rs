//! [`Secrets::load`](super::Secrets::load): a struct filled from bindings.
//!
//! Serde tells a struct's field names only while it deserializes one. So the struct is
//! deserialized in three steps: [`fields`] finds out the names and what each is to be, then the
//! values are fetched, then [`assemble`] hands them over.

use serde::{
    Deserializer,
    de::{
        DeserializeOwned, DeserializeSeed, Error as _, IntoDeserializer, MapAccess, Visitor,
        value::Error,
    },
    forward_to_deserialize_any,
};

use super::{ErrorKind, Secret, SecretError, SecretErrors, secret::TYPE_NAME};

/// A field of a struct whose fields are bindings.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Field {
    /// The binding's name: the field's, or that of its `#[serde(rename)]`.
    pub(super) name: &'static str,
    /// It is an `Option`.
    pub(super) optional: bool,
    pub(super) form: Form,
}

/// What a field's type makes of the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A [`Secret`].
    Secret,
    /// Anything else, parsed from the value's text as JSON.
    Json,
}

/// The fields of `T`.
pub(super) fn fields<T: DeserializeOwned>() -> Result<Vec<Field>, SecretErrors> {
    let unsupported = |binding: &str, why| SecretError {
        binding: binding.to_owned(),
        kind: ErrorKind::UnsupportedType(why),
    };
    let mut names = None;
    let _ = T::deserialize(NameProbe(&mut names));
    let Some(names) = names else {
        let why = "load() fills structs with named fields, and without #[serde(flatten)]";
        return Err(unsupported(std::any::type_name::<T>(), why).into());
    };
    let (fields, errors): (Vec<_>, Vec<_>) = names
        .iter()
        .map(|name| {
            let mut shape = Shape::default();
            let _ = T::deserialize(ShapeProbe { name, shape: &mut shape });
            match shape.form {
                Some(form) => Ok(Field { name, optional: shape.optional, form }),
                None => Err(unsupported(
                    name,
                    "the field is a plain string, which would print; declare it as `Secret`",
                )),
            }
        })
        .partition(Result::is_ok);
    if errors.is_empty() {
        Ok(fields.into_iter().flatten().collect())
    } else {
        Err(SecretErrors(errors.into_iter().filter_map(Result::err).collect()))
    }
}

/// Makes `T` of the values of its fields, given in the fields' order.
pub(super) fn assemble<T: DeserializeOwned>(
    fields: &[Field],
    values: Vec<Result<Secret, SecretError>>,
) -> Result<T, SecretErrors> {
    let mut present = Vec::new();
    let mut errors = Vec::new();
    for (field, value) in fields.iter().zip(values) {
        match value {
            Ok(secret) => present.push((field, secret)),
            Err(error) if field.optional && error.kind.is_missing() => {}
            Err(error) => errors.push(error),
        }
    }
    if !errors.is_empty() {
        return Err(SecretErrors(errors));
    }
    let mut failed = None;
    T::deserialize(Values { present: present.into_iter(), value: None, failed: &mut failed })
        .map_err(|_| {
            let error = failed.unwrap_or_else(|| SecretError {
                binding: std::any::type_name::<T>().to_owned(),
                kind: ErrorKind::UnsupportedType("the type refuses these values"),
            });
            error.into()
        })
}

/// What serde says of a text that is not the JSON it should be, without the quotation.
pub(super) fn invalid_json(error: &serde_json::Error) -> ErrorKind {
    ErrorKind::InvalidJson { line: error.line(), column: error.column() }
}

/// The probes have learned what they wanted; nothing is to be deserialized.
fn seen() -> Error {
    Error::custom("probed")
}

/// Learns the field names of a struct.
struct NameProbe<'a>(&'a mut Option<&'static [&'static str]>);

impl<'de> Deserializer<'de> for NameProbe<'_> {
    type Error = Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Error> {
        *self.0 = Some(fields);
        Err(seen())
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(seen())
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[derive(Default)]
struct Shape {
    optional: bool,
    form: Option<Form>,
}

/// Learns what one field of a struct wants to be: gives the struct that field alone, and sees
/// what the field's type asks of its deserializer.
struct ShapeProbe<'a> {
    name: &'static str,
    shape: &'a mut Shape,
}

impl<'de> Deserializer<'de> for ShapeProbe<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_map(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier
        ignored_any
    }
}

impl<'de> MapAccess<'de> for ShapeProbe<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        seed.deserialize(self.name.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        seed.deserialize(FieldProbe(self.shape))
    }
}

struct FieldProbe<'a>(&'a mut Shape);

impl<'de> Deserializer<'de> for FieldProbe<'_> {
    type Error = Error;

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.0.optional = true;
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        if name == TYPE_NAME {
            self.0.form = Some(Form::Secret);
            return Err(seen());
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_str<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(seen())
    }

    fn deserialize_string<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(seen())
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        self.0.form = Some(Form::Json);
        Err(seen())
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct
        seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// Hands the values over, one field after the other.
struct Values<'a, I> {
    present: I,
    value: Option<(&'a Field, Secret)>,
    failed: &'a mut Option<SecretError>,
}

impl<'de, 'a, I: Iterator<Item = (&'a Field, Secret)>> Deserializer<'de> for Values<'a, I> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_map(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier
        ignored_any
    }
}

impl<'de, 'a, I: Iterator<Item = (&'a Field, Secret)>> MapAccess<'de> for Values<'a, I> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        self.value = self.present.next();
        match &self.value {
            Some((field, _)) => seed.deserialize(field.name.into_deserializer()).map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let (field, secret) = self.value.take().ok_or_else(seen)?;
        match field.form {
            Form::Secret => seed.deserialize(TextDeserializer(secret)),
            Form::Json => {
                let text = secret.expose_secret();
                // A reader and not a slice: what is parsed may borrow nothing from the copy.
                let mut json = serde_json::Deserializer::from_reader(text.as_bytes());
                let parsed = seed.deserialize(&mut json);
                parsed.and_then(|value| json.end().map(|()| value)).map_err(|error| {
                    *self.failed = Some(SecretError {
                        binding: field.name.to_owned(),
                        kind: invalid_json(&error),
                    });
                    seen()
                })
            }
        }
    }
}

/// Hands over one value that the field's type takes as a [`Secret`], in an `Option` or not.
struct TextDeserializer(Secret);

impl<'de> Deserializer<'de> for TextDeserializer {
    type Error = Error;

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        if name == TYPE_NAME {
            // Serde moves text alone, so the copy goes over by value: into the new `Secret`.
            visitor.visit_string(std::mem::take(&mut *self.0.expose_secret()))
        } else {
            visitor.visit_newtype_struct(self)
        }
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_string(std::mem::take(&mut *self.0.expose_secret()))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}
