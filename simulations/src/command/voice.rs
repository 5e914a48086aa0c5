//! What a command prints: words for people, or objects for tools.

use std::fmt::Display;
use std::io::{Write, stderr, stdout};

/// Whom a command talks to. A reader that has gone away is no error.
#[derive(Clone, Copy)]
pub(super) enum Voice {
    /// People: words are on standard output.
    Words,
    /// Tools: JSON lines are on standard output, and words beside it.
    Json,
}

impl Voice {
    pub(super) fn of(json: bool) -> Self {
        match json {
            true => Self::Json,
            false => Self::Words,
        }
    }

    /// Says words for people, without the ends of lines that they have already.
    pub(super) fn say(self, words: impl Display) {
        let words = words.to_string();
        let words = words.trim_end_matches('\n');
        let _ = match self {
            Self::Words => writeln!(stdout(), "{words}"),
            Self::Json => writeln!(stderr(), "{words}"),
        };
    }

    /// Says words that the object says as well: tools do without them.
    pub(super) fn report(self, words: impl FnOnce() -> String, object: impl FnOnce() -> String) {
        match self {
            Self::Words => self.say(words()),
            Self::Json => self.object(object()),
        }
    }

    /// Says an object, if tools listen.
    pub(super) fn object(self, object: impl Display) {
        if let Self::Json = self {
            let _ = writeln!(stdout(), "{object}");
        }
    }
}
