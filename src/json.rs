//! Reading JSON that somebody else wrote, with the path of each mistake.
//!
//! Serde's derived errors end at the first mistake and quote the offending value; the settings and
//! a batch are to be checked as a whole, and nothing in them quoted.

use std::{borrow::Cow, cell::RefCell, fmt};

use serde_json::{Map, Value};

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

/// Parses `text`, whose root is called `name`, and reads it with `read`. A reader that notes a
/// mistake answers `None` and goes on, so that all of them are found.
///
/// # Errors
///
/// Every mistake that was noted.
pub fn read<T>(
    name: &str,
    text: &str,
    read: impl FnOnce(&Reader<'_>) -> Option<T>,
) -> Result<T, Mistakes> {
    let note = |what: String| Mistakes(vec![Mistake { path: name.to_owned(), what: what.into() }]);
    let value: Value = serde_json::from_str(text).map_err(|error| {
        note(format!("not valid JSON (line {}, column {})", error.line(), error.column()))
    })?;
    let mistakes = RefCell::default();
    let result = read(&Reader { value: &value, path: name.to_owned(), mistakes: &mistakes });
    let mistakes = mistakes.into_inner();
    match result {
        Some(result) if mistakes.is_empty() => Ok(result),
        _ if mistakes.is_empty() => Err(note("cannot be read".to_owned())),
        _ => Err(Mistakes(mistakes)),
    }
}

/// A string as JSON text.
pub fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

/// A table of names and the JSON text of each.
pub fn table(fields: &[(&str, String)]) -> String {
    let field = |(name, value): &(&str, String)| [&quoted(name), ":", value].concat();
    let fields: Vec<String> = fields.iter().map(field).collect();
    ["{", &fields.join(","), "}"].concat()
}

/// A list of JSON texts.
pub fn list(items: Vec<String>) -> String {
    ["[", &items.join(","), "]"].concat()
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
pub struct Reader<'a> {
    value: &'a Value,
    path: String,
    mistakes: &'a RefCell<Vec<Mistake>>,
}

impl<'a> Reader<'a> {
    /// Notes a mistake of this value.
    pub fn mistake<T>(&self, what: impl Into<Cow<'static, str>>) -> Option<T> {
        self.mistakes.borrow_mut().push(Mistake { path: self.path.clone(), what: what.into() });
        None
    }

    /// `Some` where `holds`, or else the mistake.
    pub fn check(&self, holds: bool, what: &'static str) -> Option<()> {
        if holds { Some(()) } else { self.mistake(what) }
    }

    /// The value as it is.
    pub fn value(&self) -> &'a Value {
        self.value
    }

    /// A string, possibly empty.
    pub fn text(&self) -> Option<&'a str> {
        self.value.as_str().or_else(|| self.mistake("must be a string"))
    }

    /// A whole number within `range`.
    pub fn number(&self, range: std::ops::RangeInclusive<u32>) -> Option<u32> {
        let number = self.value.as_u64().and_then(|number| u32::try_from(number).ok());
        number.filter(|number| range.contains(number)).or_else(|| {
            self.mistake(format!(
                "must be a whole number from {} to {}",
                range.start(),
                range.end()
            ))
        })
    }

    /// The items of a list.
    pub fn items(&self) -> Option<Vec<Reader<'a>>> {
        let Some(items) = self.value.as_array() else { return self.mistake("must be a list") };
        let item = |(index, value)| Reader {
            value,
            path: format!("{}[{index}]", self.path),
            mistakes: self.mistakes,
        };
        Some(items.iter().enumerate().map(item).collect())
    }

    /// The items of a list, each read with `read`; `None` if one of them has a mistake.
    pub fn list<T>(&self, read: impl FnMut(Reader<'a>) -> Option<T>) -> Option<Vec<T>> {
        all(self.items()?.into_iter().map(read))
    }

    /// A table whose names are free.
    pub fn entries(&self) -> Option<Vec<(&'a str, Reader<'a>)>> {
        let table = self.table()?;
        Some(table.iter().map(|(name, value)| (name.as_str(), self.child(name, value))).collect())
    }

    /// A table whose names are `known`; any other name is a mistake.
    pub fn fields(&self, known: &[&str]) -> Option<Fields<'a>> {
        for (name, field) in self.entries()? {
            if !known.contains(&name) {
                let _: Option<()> =
                    field.mistake(format!("unknown field; known are {}", known.join(", ")));
            }
        }
        Some(Fields { table: self.clone() })
    }

    fn table(&self) -> Option<&'a Map<String, Value>> {
        self.value.as_object().or_else(|| self.mistake("must be a table"))
    }

    /// A field of a table, if this is a table and has it.
    pub fn field(&self, name: &str) -> Option<Reader<'a>> {
        let value = self.value.get(name).filter(|value| !value.is_null())?;
        Some(self.child(name, value))
    }

    /// A field that must be there.
    pub fn required(&self, name: &str) -> Option<Reader<'a>> {
        self.table()?;
        self.field(name).or_else(|| self.child(name, &Value::Null).mistake("is required"))
    }

    fn child(&self, name: &str, value: &'a Value) -> Reader<'a> {
        let path =
            if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        Reader { value, path, mistakes: self.mistakes }
    }
}

/// The fields of a table.
pub struct Fields<'a> {
    table: Reader<'a>,
}

impl<'a> Fields<'a> {
    /// A field that may be left out.
    pub fn optional(&self, name: &str) -> Option<Reader<'a>> {
        self.table.field(name)
    }

    /// A field that must be there.
    pub fn required(&self, name: &str) -> Option<Reader<'a>> {
        self.table.required(name)
    }

    /// A field that may be left out, read with `read`: `Some(None)` where it is left out, `None`
    /// where it has a mistake.
    pub fn optionally<T>(
        &self,
        name: &str,
        read: impl FnOnce(Reader<'a>) -> Option<T>,
    ) -> Option<Option<T>> {
        match self.optional(name) {
            None => Some(None),
            Some(field) => read(field).map(Some),
        }
    }
}

/// All the values, or `None` if one is missing; unlike collecting into an `Option`, goes through
/// all of them, so that every mistake is noted.
pub fn all<T>(values: impl Iterator<Item = Option<T>>) -> Option<Vec<T>> {
    let values: Vec<Option<T>> = values.collect();
    values.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes<T: fmt::Debug>(
        text: &str,
        reading: impl FnOnce(&Reader<'_>) -> Option<T>,
    ) -> Vec<String> {
        let mistakes = read("ROOT", text, reading).unwrap_err();
        mistakes.0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_mistake_is_told_with_its_path() {
        let list_of_text = |root: &Reader<'_>| {
            let fields = root.fields(&["names"])?;
            fields.required("names")?.list(|item| item.text().map(str::to_owned))
        };
        assert_eq!(
            read("ROOT", r#"{"names": ["a", "b"]}"#, list_of_text).unwrap(),
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
    fn what_is_no_json_is_told_by_line_and_column_and_not_quoted() {
        assert_eq!(
            mistakes("{\n  \"key\": sk_live }", |root| root.fields(&[]).map(|_| ())),
            ["ROOT: not valid JSON (line 2, column 10)"]
        );
    }

    #[test]
    fn a_number_is_kept_within_its_range() {
        let number = |root: &Reader<'_>| root.number(1..=100);
        assert_eq!(read("ROOT", "100", number), Ok(100));
        for text in ["0", "101", "-1", "1.5", "\"7\"", "99999999999999999999"] {
            assert_eq!(mistakes(text, number), ["ROOT: must be a whole number from 1 to 100"]);
        }
    }
}
