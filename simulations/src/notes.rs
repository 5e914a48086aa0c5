//! Notes of a run for people who look for a cause: what happened last, in words, and from which line of the plan.

use std::collections::VecDeque;
use std::fmt;

use serde::Serialize;

use crate::plan::text::Lines;
use crate::trace::Observer;

/// A part of the plan, by its place in the list of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A contact.
    Contact(usize),
    /// Something that a person does.
    Operation(usize),
    /// Something that breaks.
    Fault(usize),
}

impl Part {
    /// The line of the plan's file in which it stands; what the plan does not spell out stands in none.
    pub fn line(self, lines: &Lines) -> Option<usize> {
        let (list, place) = match self {
            Self::Contact(place) => (&lines.contacts, place),
            Self::Operation(place) => (&lines.operations, place),
            Self::Fault(place) => (&lines.faults, place),
        };
        list.get(place).copied()
    }
}

/// One note of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// Virtual milliseconds.
    pub t_ms: u64,
    /// The line of the plan that it comes from, if it comes from one.
    pub line: Option<usize>,
    /// What happened.
    pub text: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>12.3} s  {}", self.t_ms as f64 / 1000.0, self.text)?;
        match self.line {
            Some(line) => write!(f, "  (plan line {line})"),
            None => Ok(()),
        }
    }
}

impl Note {
    /// Whether it has these words as whole words: "device 2" is not in what is said of device 20.
    pub fn has_words(&self, words: &str) -> bool {
        let text = self.to_string();
        let is_in_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        let starts_word = is_in_word(words.chars().next());
        let ends_word = is_in_word(words.chars().next_back());
        let mut found = text.match_indices(words);
        found.any(|(at, _)| {
            let before = text[..at].chars().next_back();
            let after = text[at + words.len()..].chars().next();
            let begins_inside = starts_word && is_in_word(before);
            let ends_inside = ends_word && is_in_word(after);
            !begins_inside && !ends_inside
        })
    }
}

/// Keeps the last notes of a run that somebody wants.
#[derive(Clone, Debug)]
pub struct Notes {
    notes: VecDeque<Note>,
    notes_max: usize,
    only: Option<String>,
    lines: Lines,
}

impl Notes {
    /// Keeps the last `notes_max` that have the words `only`. `lines` are those of the plan's file.
    pub fn new(notes_max: usize, only: Option<&str>, lines: Lines) -> Self {
        Self {
            notes: VecDeque::new(),
            notes_max,
            only: only.map(str::to_owned),
            lines,
        }
    }

    /// The notes, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Note> {
        self.notes.iter()
    }
}

impl Observer for Notes {
    fn wants_notes(&self) -> bool {
        true
    }

    fn note(&mut self, t_ms: u64, text: &str, part: Option<Part>) {
        let note = Note {
            t_ms,
            line: part.and_then(|part| part.line(&self.lines)),
            text: text.to_owned(),
        };
        if self.only.as_ref().is_some_and(|only| !note.has_words(only)) {
            return;
        }
        self.notes.push_back(note);
        if self.notes.len() > self.notes_max {
            self.notes.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_notes_that_somebody_wants_are_kept_with_their_lines_of_the_plan() {
        let lines = Lines {
            operations: vec![7, 9],
            ..Lines::default()
        };
        let mut notes = Notes::new(2, Some("device 2"), lines);
        for number in 0..5 {
            let part = Some(Part::Operation(number));
            notes.note(number as u64 * 1000, "device 2 writes", part);
            notes.note(number as u64 * 1000, "device 20 writes", part);
            notes.note(number as u64 * 1000, "a device 2x", None);
        }
        notes.note(9000, "  device 2: it is damaged", Some(Part::Operation(1)));

        let kept: Vec<String> = notes.iter().map(Note::to_string).collect();
        assert_eq!(
            kept,
            [
                "       4.000 s  device 2 writes",
                "       9.000 s    device 2: it is damaged  (plan line 9)"
            ]
        );
    }
}
