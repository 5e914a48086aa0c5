//! Mistakes of the merge that can be planted on purpose, to see that tests and simulations find them.
//!
//! Each [`Flaw`] is at one place that asks [`is_planted`]. Without the cargo feature `mutations` the answer is a
//! constant `false`, so nothing of this is in a release. At most one is planted at a time, for one thread.
//!
//! Who runs the tests plants them and gives them names: this module does not know when, nor the places.

/// A mistake of the merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Two devices that have added the same to a counter count once.
    EqualSumsOnce,
    /// Of concurrent choices the one that is least far along wins.
    RankBackwards,
    /// Where deletions win, one that raced an edit is undone.
    RacedDeleteUndone,
    /// An answer closes the review of values that it had not seen.
    AnswerHidesOthers,
    /// A record stays when the one that it goes with is deleted.
    CascadeIgnored,
    /// A converted temperature lacks the offset between the scales.
    OffsetForgotten,
}

/// Whether the flaw is planted: never, in a build without the feature `mutations`.
#[cfg(not(feature = "mutations"))]
#[inline(always)]
pub(crate) const fn is_planted(_: Flaw) -> bool {
    false
}

#[cfg(feature = "mutations")]
pub use planted::{plant, was_reached};

#[cfg(feature = "mutations")]
pub(crate) use planted::is_planted;

#[cfg(feature = "mutations")]
mod planted {
    use std::cell::Cell;

    use super::Flaw;

    thread_local! {
        static PLANTED: Cell<Option<Flaw>> = const { Cell::new(None) };
        static IS_REACHED: Cell<bool> = const { Cell::new(false) };
    }

    /// Plants a flaw in this thread, in the place of the one before; `None` takes it out.
    pub fn plant(flaw: Option<Flaw>) {
        PLANTED.set(flaw);
        IS_REACHED.set(false);
    }

    /// Whether the place of the planted flaw has been come to since it was planted.
    pub fn was_reached() -> bool {
        IS_REACHED.get()
    }

    /// Whether the flaw is planted.
    pub(crate) fn is_planted(flaw: Flaw) -> bool {
        let is_planted = PLANTED.get() == Some(flaw);
        if is_planted {
            IS_REACHED.set(true);
        }
        is_planted
    }
}
