//! Reading JSON that somebody else wrote, with the path of each mistake.
//!
//! Serde's derived errors end at the first mistake and quote the offending value; the settings and
//! a batch are to be checked as a whole, and nothing in them quoted.

use std::{borrow::Cow, cell::RefCell, fmt};

pub use self::value::Value;

/// A JSON value: in a Worker the runtime's own, which costs no code to parse and to write. Natively, in
/// tests, serde_json's.
#[cfg(target_arch = "wasm32")]
mod value {
    use wasm_bindgen::prelude::wasm_bindgen;
    use worker::{
        js_sys::{Array, Error, JSON, Object},
        wasm_bindgen::{JsCast as _, JsValue},
    };

    #[wasm_bindgen]
    extern "C" {
        type Text;
        #[wasm_bindgen(method, js_name = isWellFormed)]
        fn is_well_formed(this: &Text) -> bool;
    }

    #[derive(Clone)]
    pub struct Value(pub JsValue);

    impl Value {
        pub const NULL: Self = Self(JsValue::NULL);

        /// Parses a text; the error is the runtime's, which may quote the text.
        pub fn parse(text: &str) -> Result<Self, String> {
            let message = |error: JsValue| error.unchecked_into::<Error>().message().into();
            JSON::parse(text).map(Self).map_err(message)
        }

        pub fn is_text(&self) -> bool {
            self.0.is_string()
        }

        /// A string, unless half a character is in it (`\ud800`): in Rust there is no such thing, and
        /// the rest of it would pass for the whole.
        pub fn text(&self) -> Option<String> {
            let is_whole = self.is_text() && self.0.unchecked_ref::<Text>().is_well_formed();
            is_whole.then(|| self.0.as_string()).flatten()
        }

        pub fn number(&self) -> Option<f64> {
            self.0.as_f64()
        }

        pub fn is_null(&self) -> bool {
            self.0.is_null()
        }

        pub fn is_list(&self) -> bool {
            Array::is_array(&self.0)
        }

        pub fn items(&self) -> Option<Vec<Self>> {
            let items = self.0.dyn_ref::<Array>()?;
            Some(items.iter().map(Self).collect())
        }

        pub fn entries(&self) -> Option<Vec<(String, Self)>> {
            let table = self.0.dyn_ref::<Object>().filter(|_| !self.is_list())?;
            let entry = |entry: JsValue| {
                let entry: Array = entry.unchecked_into();
                Some((Self(entry.get(0)).text()?, Self(entry.get(1))))
            };
            Object::entries(table).iter().map(entry).collect()
        }

        /// JSON text; none where the runtime cannot write it, which must not pass for an empty one.
        pub fn to_json(&self) -> Option<String> {
            JSON::stringify(&self.0).ok().map(String::from)
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod value {
    #[derive(Clone)]
    pub struct Value(pub serde_json::Value);

    impl From<&str> for Value {
        fn from(text: &str) -> Self {
            Self(text.into())
        }
    }

    impl Value {
        pub const NULL: Self = Self(serde_json::Value::Null);

        pub fn parse(text: &str) -> Result<Self, String> {
            serde_json::from_str(text).map(Self).map_err(|error| error.to_string())
        }

        pub fn is_text(&self) -> bool {
            self.0.is_string()
        }

        pub fn text(&self) -> Option<String> {
            self.0.as_str().map(str::to_owned)
        }

        pub fn number(&self) -> Option<f64> {
            self.0.as_f64()
        }

        pub fn is_null(&self) -> bool {
            self.0.is_null()
        }

        #[cfg(feature = "rest-api")]
        pub fn is_list(&self) -> bool {
            self.0.is_array()
        }

        pub fn items(&self) -> Option<Vec<Self>> {
            Some(self.0.as_array()?.iter().cloned().map(Self).collect())
        }

        pub fn entries(&self) -> Option<Vec<(String, Self)>> {
            let entry =
                |(name, value): (&String, &serde_json::Value)| (name.clone(), Self(value.clone()));
            Some(self.0.as_object()?.iter().map(entry).collect())
        }

        pub fn to_json(&self) -> Option<String> {
            Some(self.0.to_string())
        }
    }
}

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where, for example `UPSTREAMS.demo.credentials[0].type`.
    pub path: String,
    /// What, and what it should be.
    pub what: Cow<'static, str>,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.what)
    }
}

/// Every mistake of a document; never empty where it stands for a failure.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mistakes(pub Vec<Mistake>);

/// How many mistakes are written out: a body may have thousands.
const MAX_TOLD: usize = 20;

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().take(MAX_TOLD).enumerate() {
            if index > 0 {
                f.write_str("; ")?;
            }
            mistake.fmt(f)?;
        }
        match self.0.len().saturating_sub(MAX_TOLD) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

impl std::error::Error for Mistakes {}

/// Parses `text`, whose root is called `name`, and reads it as [`read`] does.
///
/// # Errors
///
/// Every mistake that was noted.
pub fn read_text<T>(
    name: &str,
    text: &str,
    reading: impl FnOnce(&Reader<'_>) -> Option<T>,
) -> Result<T, Mistakes> {
    read(name, parse(name, text)?, reading)
}

fn parse(name: &str, text: &str) -> Result<Value, Mistakes> {
    Value::parse(text).map_err(|error| {
        let what = ["not valid JSON", &place(&error).unwrap_or_default()].concat();
        Mistakes(vec![Mistake { path: name.to_owned(), what: what.into() }])
    })
}

/// Where a text is not JSON, of a message of V8's (`… (line 2 column 10)`) or serde_json's (`… at line 2
/// column 10`): what else it says may quote the text.
fn place(message: &str) -> Option<String> {
    let mut words = message.rsplit(' ').map(|word| word.trim_matches(['(', ')']));
    let mut number = |before: &str| {
        let number = words.next()?;
        let is_number = number.bytes().all(|byte| byte.is_ascii_digit());
        (is_number && words.next()? == before).then_some(number)
    };
    let (column, line) = (number("column")?, number("line")?);
    Some([" (line ", line, ", column ", column, ")"].concat())
}

/// Reads a value, whose root is called `name`, with `reading`. A reader that notes a mistake answers
/// `None` and goes on, so that all of them are found.
///
/// # Errors
///
/// Every mistake that was noted.
pub fn read<T>(
    name: &str,
    value: Value,
    reading: impl FnOnce(&Reader<'_>) -> Option<T>,
) -> Result<T, Mistakes> {
    let mistakes = RefCell::default();
    let root = Reader { value, path: name.to_owned(), mistakes: &mistakes };
    let result = reading(&root);
    if result.is_none() && mistakes.borrow().is_empty() {
        root.note("cannot be read".into());
    }
    match result {
        Some(result) if mistakes.borrow().is_empty() => Ok(result),
        _ => Err(Mistakes(mistakes.take())),
    }
}

/// A string as JSON text.
pub fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

/// A table of names and the JSON text of each.
pub fn table(fields: &[(&str, String)]) -> String {
    let mut json = String::from("{");
    for (index, (name, value)) in fields.iter().enumerate() {
        json.push_str(if index == 0 { "" } else { "," });
        json.push_str(&quoted(name));
        json.push(':');
        json.push_str(value);
    }
    json.push('}');
    json
}

/// A list of JSON texts.
pub fn list(items: Vec<String>) -> String {
    let mut json = String::from("[");
    for (index, item) in items.iter().enumerate() {
        json.push_str(if index == 0 { "" } else { "," });
        json.push_str(item);
    }
    json.push(']');
    json
}

/// How many values a JSON text has at the most, lists and tables included: told before it is parsed,
/// since each value costs memory, however short it is.
#[cfg(feature = "rest-api")]
pub fn values(text: &str) -> usize {
    let mut count = 1;
    let mut is_in_string = false;
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' if is_in_string => drop(bytes.next()),
            b'"' => is_in_string = !is_in_string,
            b',' | b'[' | b'{' if !is_in_string => count += 1,
            _ => {}
        }
    }
    count
}

/// A value and where it stands.
#[derive(Clone)]
pub struct Reader<'m> {
    value: Value,
    path: String,
    mistakes: &'m RefCell<Vec<Mistake>>,
}

impl<'m> Reader<'m> {
    /// Notes a mistake of this value.
    pub fn mistake<T>(&self, what: impl Into<Cow<'static, str>>) -> Option<T> {
        self.note(what.into());
        None
    }

    fn note(&self, what: Cow<'static, str>) {
        self.mistakes.borrow_mut().push(Mistake { path: self.path.clone(), what });
    }

    /// `Some` where `holds`, or else the mistake.
    pub fn check(&self, holds: bool, what: &'static str) -> Option<()> {
        if holds { Some(()) } else { self.mistake(what) }
    }

    /// Whether this is a string.
    pub fn is_text(&self) -> bool {
        self.value.is_text()
    }

    /// Whether this is a list.
    #[cfg(feature = "rest-api")]
    pub fn is_list(&self) -> bool {
        self.value.is_list()
    }

    /// Whether this is null.
    pub fn is_null(&self) -> bool {
        self.value.is_null()
    }

    /// The value as JSON text.
    pub fn to_json(&self) -> Option<String> {
        self.value.to_json().or_else(|| self.mistake("cannot be written as JSON"))
    }

    /// A string, possibly empty.
    pub fn text(&self) -> Option<String> {
        self.value.text().or_else(|| self.mistake("must be a string"))
    }

    /// A whole number from 1 to `most`.
    pub fn number(&self, most: u32) -> Option<u32> {
        let number = self.value.number().filter(|it| *it >= 1.0 && *it <= f64::from(most));
        let whole = number.filter(|it| it.fract() == 0.0).map(|it| it as u32);
        whole.or_else(|| self.mistake(format!("must be a whole number from 1 to {most}")))
    }

    /// The items of a list.
    pub fn items(&self) -> Option<Vec<Self>> {
        let Some(items) = self.value.items() else { return self.mistake("must be a list") };
        let item = |(index, value)| Self {
            value,
            path: format!("{}[{index}]", self.path),
            mistakes: self.mistakes,
        };
        Some(items.into_iter().enumerate().map(item).collect())
    }

    /// The items of a list, each read with `read`; `None` if one of them has a mistake.
    pub fn list<T>(&self, read: impl FnMut(Self) -> Option<T>) -> Option<Vec<T>> {
        all(self.items()?.into_iter().map(read))
    }

    /// A table whose names are free.
    pub fn entries(&self) -> Option<Vec<(String, Self)>> {
        let Some(entries) = self.value.entries() else { return self.mistake("must be a table") };
        let child = |(name, value): (String, Value)| {
            let child = self.child(&name, value);
            (name, child)
        };
        Some(entries.into_iter().map(child).collect())
    }

    /// A table whose names are `known`; any other name is a mistake.
    pub fn fields(&self, known: &[&str]) -> Option<Fields<'m>> {
        let fields = self.any_fields()?;
        fields.only(known);
        Some(fields)
    }

    /// A table of which it is not known yet what may be in it.
    pub fn any_fields(&self) -> Option<Fields<'m>> {
        Some(Fields { table: self.clone(), fields: self.entries()? })
    }

    fn child(&self, name: &str, value: Value) -> Self {
        let dot = if self.path.is_empty() { "" } else { "." };
        Self { value, path: [&self.path, dot, name].concat(), mistakes: self.mistakes }
    }
}

/// The fields of a table.
pub struct Fields<'m> {
    table: Reader<'m>,
    fields: Vec<(String, Reader<'m>)>,
}

impl<'m> Fields<'m> {
    /// Notes each field whose name is not `known`.
    pub fn only(&self, known: &[&str]) {
        for (_, field) in self.fields.iter().filter(|(name, _)| !known.contains(&name.as_str())) {
            field.note(["unknown field; known are ", &known.join(", ")].concat().into());
        }
    }

    /// A field that may be left out.
    pub fn optional(&self, name: &str) -> Option<Reader<'m>> {
        let (_, field) = self.fields.iter().find(|(own, _)| own == name)?;
        Some(field.clone()).filter(|it| !it.is_null())
    }

    /// A field that must be there.
    pub fn required(&self, name: &str) -> Option<Reader<'m>> {
        self.optional(name).or_else(|| self.table.child(name, Value::NULL).mistake("is required"))
    }

    /// A field that may be left out, read with `read`: `Some(None)` where it is left out, `None`
    /// where it has a mistake.
    pub fn optionally<T>(
        &self,
        name: &str,
        read: impl FnOnce(Reader<'m>) -> Option<T>,
    ) -> Option<Option<T>> {
        match self.optional(name) {
            None => Some(None),
            Some(field) => read(field).map(Some),
        }
    }

    /// Those that are there.
    #[cfg(feature = "rest-api")]
    pub fn all(&self) -> &[(String, Reader<'m>)] {
        &self.fields
    }
}

/// All the values, or `None` if one is missing; unlike collecting into an `Option`, goes through
/// all of them, so that every mistake is noted.
pub fn all<T>(values: impl Iterator<Item = Option<T>>) -> Option<Vec<T>> {
    let mut all = Some(Vec::new());
    for value in values {
        match (value, &mut all) {
            (Some(value), Some(all)) => all.push(value),
            _ => all = None,
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes<T: fmt::Debug>(
        text: &str,
        reading: impl FnOnce(&Reader<'_>) -> Option<T>,
    ) -> Vec<String> {
        let mistakes = read_text("ROOT", text, reading).unwrap_err();
        mistakes.0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_mistake_is_told_with_its_path() {
        let list_of_text = |root: &Reader<'_>| {
            let fields = root.fields(&["names"])?;
            fields.required("names")?.list(|item| item.text())
        };
        assert_eq!(
            read_text("ROOT", r#"{"names": ["a", "b"]}"#, list_of_text).unwrap(),
            ["a".to_owned(), "b".to_owned()]
        );
        assert_eq!(
            mistakes(r#"{"names": ["a", 1, "b", null]}"#, list_of_text),
            ["ROOT.names[1]: must be a string", "ROOT.names[3]: must be a string"]
        );
        assert_eq!(mistakes("{}", list_of_text), ["ROOT.names: is required"]);
        assert_eq!(mistakes("[]", list_of_text), ["ROOT: must be a table"]);
        assert_eq!(
            mistakes(r#"{"names": [], "nmes": []}"#, list_of_text),
            ["ROOT.nmes: unknown field; known are names"]
        );
    }

    #[test]
    fn a_reader_that_gives_up_without_a_word_is_a_mistake_too() {
        assert_eq!(mistakes("{}", |_| None::<()>), ["ROOT: cannot be read"]);
    }

    #[test]
    fn what_is_no_json_is_told_by_line_and_column_and_not_quoted() {
        assert_eq!(
            mistakes("{\n  \"key\": sk_live }", |root| root.fields(&[]).map(|_| ())),
            ["ROOT: not valid JSON (line 2, column 10)"]
        );
    }

    #[test]
    fn a_number_is_kept_within_its_range() {
        let number = |root: &Reader<'_>| root.number(100);
        assert_eq!(read_text("ROOT", "100", number), Ok(100));
        for text in ["0", "101", "-1", "1.5", "\"7\"", "99999999999999999999"] {
            assert_eq!(mistakes(text, number), ["ROOT: must be a whole number from 1 to 100"]);
        }
    }
}
