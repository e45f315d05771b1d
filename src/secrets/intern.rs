//! Names as the runtime's strings, which stay for the next request.

use std::cell::RefCell;

use worker::js_sys::JsString;

/// How many are kept at most.
const SLOTS: usize = 256;

/// A name, of a binding or a header, as the runtime's string.
///
/// Each text that leaves Wasm memory is decoded and then garbage: a quarter of what the Worker itself
/// did for a further secret. So a name stays for the next request. It stands in the source or in the
/// settings and is no secret; what comes from a request, or from the store, does not belong here.
pub(crate) fn interned(name: &str) -> JsString {
    thread_local! {
        static NAMES: RefCell<Names<JsString>> = const { RefCell::new(Names::EMPTY) };
    }
    NAMES.with_borrow_mut(|names| names.get(name, |name| name.into()))
}

/// Each name has one slot. Where two have the same, the later one drives the earlier one out.
struct Names<T>([Option<(Box<str>, T)>; SLOTS]);

impl<T: Clone> Names<T> {
    const EMPTY: Self = Self([const { None }; SLOTS]);

    fn get(&mut self, name: &str, make: fn(&str) -> T) -> T {
        // FNV-1a: names are short, and none comes from a caller.
        let hash = name
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        let Some(slot) = self.0.get_mut(hash as usize % SLOTS) else { return make(name) };
        match slot {
            Some((own, made)) if **own == *name => made.clone(),
            _ => slot.insert((name.into(), make(name))).1.clone(),
        }
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
        let mut names = Names::EMPTY;
        for _ in 0..2 {
            for name in ["KEY_2", "KEY", "x-api-key", "", "KEY_10"] {
                assert_eq!(&*names.get(name, make), name);
            }
        }
        assert_eq!(MADE.get(), 5);
    }

    #[test]
    fn names_in_the_same_slot_are_told_apart() {
        let mut names = Names::EMPTY;
        for _ in 0..2 {
            for number in 0..2 * SLOTS {
                assert_eq!(*names.get(&number.to_string(), make), *number.to_string());
            }
        }
        assert!(MADE.get() > 2 * SLOTS);
    }
}
