//! Queries, and lists in pages.

use std::cmp::Ordering;

use form_urlencoded::parse;
use serde::{
    Deserialize, Serialize,
    de::{IntoDeserializer, value::Error},
};

use crate::answer::{ApiError, invalid_parameter};

/// How many a page has when the request does not say, and at most. Both are assumed.
const PER_PAGE: usize = 20;
const MOST_PER_PAGE: usize = 100;

/// The parameters after the `?`. Those that nobody asks for are ignored (assumed).
pub(crate) struct Query(Vec<(String, String)>);

/// Which page, in which order. That a parameter which is not as it should be is refused is assumed.
pub(crate) struct Listing<Field> {
    page: usize,
    per_page: usize,
    field: Field,
    descending: bool,
}

/// One page.
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    pub(crate) info: ResultInfo,
}

/// Where in the list a page is.
#[derive(Serialize)]
pub(crate) struct ResultInfo {
    page: usize,
    per_page: usize,
    count: usize,
    total_count: usize,
    total_pages: usize,
}

/// A word of a fixed set, such as a scope.
pub(crate) fn word<T: for<'de> Deserialize<'de>>(text: &str) -> Option<T> {
    T::deserialize(IntoDeserializer::<Error>::into_deserializer(text)).ok()
}

impl Query {
    pub(crate) fn parse(query: &str) -> Self {
        Self(parse(query.as_bytes()).into_owned().collect())
    }

    /// The values of a parameter that may come more than once. One that is empty is not there.
    pub(crate) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let named = self.0.iter().filter(move |(own, value)| own == name && !value.is_empty());
        named.map(|(_, value)| value.as_str())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    pub(crate) fn word<T: for<'de> Deserialize<'de>>(
        &self,
        name: &str,
    ) -> Result<Option<T>, ApiError> {
        let read = |text| word(text).ok_or_else(|| invalid_parameter(name));
        self.get(name).map(read).transpose()
    }

    fn number(&self, name: &str, default: usize) -> Result<usize, ApiError> {
        let read = |text: &str| text.parse().ok().filter(|number| *number > 0);
        self.get(name).map_or(Some(default), read).ok_or_else(|| invalid_parameter(name))
    }
}

impl<Field: for<'de> Deserialize<'de> + Default> Listing<Field> {
    pub(crate) fn parse(query: &Query) -> Result<Self, ApiError> {
        #[derive(Deserialize, PartialEq)]
        #[serde(rename_all = "lowercase")]
        enum Direction {
            Asc,
            Desc,
        }
        let per_page = query.number("per_page", PER_PAGE)?;
        if per_page > MOST_PER_PAGE {
            return Err(invalid_parameter("per_page"));
        }
        Ok(Self {
            page: query.number("page", 1)?,
            per_page,
            field: query.word("order")?.unwrap_or_default(),
            // That the first comes first where nothing is said is assumed.
            descending: query.word("direction")? == Some(Direction::Desc),
        })
    }

    /// The page of `items`, which come in the order of their creation: so it stays for those that
    /// `compare` finds equal.
    pub(crate) fn page_of<T>(
        &self,
        mut items: Vec<T>,
        compare: impl Fn(&Field, &T, &T) -> Ordering,
    ) -> Page<T> {
        items.sort_by(|one, other| {
            let ordering = compare(&self.field, one, other);
            if self.descending { ordering.reverse() } else { ordering }
        });
        let total_count = items.len();
        let before = (self.page - 1).saturating_mul(self.per_page);
        let items: Vec<T> = items.into_iter().skip(before).take(self.per_page).collect();
        let info = ResultInfo {
            page: self.page,
            per_page: self.per_page,
            count: items.len(),
            total_count,
            total_pages: total_count.div_ceil(self.per_page),
        };
        Page { items, info }
    }
}
