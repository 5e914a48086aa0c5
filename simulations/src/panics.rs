//! Panics of what is simulated, caught with the place where they happened.
//!
//! A hook notes the place for the thread that panics and then does what the hook before it did. It is put in
//! once, by the first run.

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use crate::likeness::Crash;

thread_local! {
    /// Where this thread panicked last.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Calls `play`; a panic in it is the error.
pub(crate) fn caught<T>(play: impl FnOnce() -> T) -> Result<T, Crash> {
    note_places();
    PLACE.set(None);
    catch_unwind(AssertUnwindSafe(play)).map_err(|panic| {
        let words = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let words = words.or_else(|| panic.downcast_ref::<String>().cloned());
        Crash {
            place: PLACE.take(),
            detail: words.unwrap_or_default(),
        }
    })
}

fn note_places() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            PLACE.set(panic.location().map(ToString::to_string));
            before(panic);
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_caught_with_its_place_and_its_words() {
        let number = 3;
        let crash = caught(|| assert!(number > 4, "{number} is too few")).unwrap_err();

        let place = crash.place.as_deref().unwrap_or_default();
        assert!(place.contains("panics.rs:"), "{place}");
        assert_eq!(crash.detail, "3 is too few");
        assert!(crash.to_string().contains(place));
        assert_eq!(caught(|| 5), Ok(5));
    }
}
