//! Names as the runtime's strings, each made once.

use std::cell::RefCell;

use worker::js_sys::JsString;

/// How many are kept. Those of the source and of the settings are fewer; names that a Worker makes of
/// its requests would otherwise pile up.
const MOST: usize = 256;

/// A name, of a binding or a header, as the runtime's string.
///
/// Each text that leaves Wasm memory is decoded and then garbage: half of what a further secret cost.
/// So a name stays for the next request. It stands in the source or in the settings; what comes from
/// a request, or from the store, does not belong here.
pub fn interned(name: &str) -> JsString {
    thread_local! {
        static NAMES: RefCell<Names<JsString>> = const { RefCell::new(Names(Vec::new())) };
    }
    NAMES.with_borrow_mut(|names| names.get(name, |name| name.into()))
}

/// In the order of the names, to be found by halves.
struct Names<T>(Vec<(Box<str>, T)>);

impl<T: Clone> Names<T> {
    fn get(&mut self, name: &str, make: fn(&str) -> T) -> T {
        let place = match self.0.binary_search_by(|(own, _)| (**own).cmp(name)) {
            Ok(found) => match self.0.get(found) {
                Some((_, made)) => return made.clone(),
                None => found,
            },
            Err(place) => place,
        };
        let made = make(name);
        if self.0.len() < MOST {
            self.0.insert(place, (name.into(), made.clone()));
        }
        made
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, rc::Rc};

    use super::*;

    thread_local! {
        static MADE: Cell<usize> = const { Cell::new(0) };
    }

    fn make(name: &str) -> Rc<str> {
        MADE.set(MADE.get() + 1);
        name.into()
    }

    #[test]
    fn a_name_is_made_once() {
        let mut names = Names(Vec::new());
        for _ in 0..2 {
            for name in ["KEY_2", "KEY", "x-api-key", "", "KEY_10"] {
                assert_eq!(&*names.get(name, make), name);
            }
        }
        assert_eq!(MADE.get(), 5);
    }

    #[test]
    fn so_many_are_kept_and_no_more() {
        let mut names = Names(Vec::new());
        for round in 1..=2 {
            for number in 0..2 * MOST {
                assert_eq!(*names.get(&number.to_string(), make), *number.to_string());
            }
            assert_eq!((names.0.len(), MADE.get()), (MOST, (1 + round) * MOST));
        }
    }
}
