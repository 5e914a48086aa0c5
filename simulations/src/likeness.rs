//! What a failure is about, so that a plan is not made small towards another failure.
//!
//! Values, numbers and names of devices differ between a plan and a smaller one; the place of a panic, the sentence
//! that an oracle says, and what keeps a fleet from settling do not.

use std::collections::BTreeSet;
use std::fmt;

/// A panic, or a run without an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crash {
    /// The file, line and column of the panic; `None` if it was none, or nobody noted it.
    pub place: Option<String>,
    /// What was said.
    pub detail: String,
}

/// A fleet that does not come to hold the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stall {
    /// What is in the way of those who lack something.
    pub obstacles: BTreeSet<Obstacle>,
    /// Which entries are missing where, who holds them, and what was said about it.
    pub detail: String,
}

/// What keeps a device from holding what others hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Obstacle {
    /// It is off.
    Off,
    /// It has no session.
    Alone,
    /// It has sessions and nothing is said about what it lacks.
    Silent,
    /// It refuses what it lacks, or was refused, in these words.
    Refused(String),
    /// It lacks nothing, and is off or still writing.
    Busy,
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "it panicked at {place}: {}", self.detail),
            None => f.write_str(&self.detail),
        }
    }
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl Crash {
    /// Whether both are the same panic: at one place, or, if nobody noted that, in the same words.
    pub fn is_like(&self, other: &Self) -> bool {
        match (&self.place, &other.place) {
            (None, None) => about(&self.detail) == about(&other.detail),
            (one, other) => one == other,
        }
    }
}

impl Stall {
    /// Whether nothing is in the way here that is not in the way there.
    pub fn is_like(&self, other: &Self) -> bool {
        self.obstacles.is_subset(&other.obstacles)
    }
}

/// What a sentence is about: its words, and the collections of the records that it names, without numbers, names
/// and values. Values come last in the sentences of oracles, so what follows a quote or a bracket is left out.
pub fn about(sentence: &str) -> String {
    let plain = sentence.split(['{', '[', '(', '"']).next();
    let words = plain.unwrap_or_default().split_whitespace();
    let words = words.filter_map(|word| {
        let word = word.split('/').next().unwrap_or_default();
        let word = word.trim_matches([',', '.', ':', ';', '\'']);
        let is_word = |c: char| c.is_ascii_lowercase() || c == '_' || c == '.';
        (!word.is_empty() && word.chars().all(is_word)).then_some(word)
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::Oracle;
    use crate::outcome::{Failure, Verdict};

    fn broken(oracle: Oracle, detail: &str) -> Verdict {
        Verdict::Broken(Failure {
            oracle,
            at_ms: 0,
            detail: detail.to_owned(),
        })
    }

    fn crashed(place: Option<&str>, detail: &str) -> Verdict {
        Verdict::Crashed(Crash {
            place: place.map(str::to_owned),
            detail: detail.to_owned(),
        })
    }

    fn unsettled(obstacles: &[Obstacle]) -> Verdict {
        Verdict::Unsettled(Stall {
            obstacles: obstacles.iter().cloned().collect(),
            detail: String::new(),
        })
    }

    #[test]
    fn one_oracle_that_says_two_things_has_found_two_failures() {
        let lost = |detail| broken(Oracle::NoLostWrite, detail);
        let one = lost("device 3 lacks 7f@12, which device 1 acknowledged: [Edit { id: \"p-9\" }]");
        let same = lost("device 0 lacks a0@2, which device 4 acknowledged: []");
        let other = lost("device 3 had made 7f@12 durable and lost it");

        assert!(same.is_like(&one) && !other.is_like(&one));
        assert!(!broken(Oracle::Audit, "device 0 lacks a0@2").is_like(&one));
        let field = |detail| broken(Oracle::Register, detail);
        let name = field("patient/p-3: name is \"Awa\", and the entries say \"Binta\"");
        assert!(
            field("patient/q-81: name is 3, and the entries say 4")
                .is_like(&field("patient/p-3: name is 5, and the entries say 9"))
        );
        assert!(!field("patient/p-3: notes is \"Awa\", and").is_like(&name));
        assert!(!field("visit/p-3: name is \"Awa\", and").is_like(&name));
    }

    #[test]
    fn a_panic_is_told_by_its_place() {
        let one = crashed(Some("a.rs:3:1"), "index 3");

        assert!(crashed(Some("a.rs:3:1"), "index 9").is_like(&one));
        assert!(!crashed(Some("b.rs:3:1"), "index 3").is_like(&one));
        assert!(!crashed(None, "more than 9000 events").is_like(&one));
        let endless = crashed(None, "more than 30000000 events");
        assert!(crashed(None, "more than 9000 events").is_like(&endless));
        assert!(!crashed(None, "the schema: a table").is_like(&endless));
    }

    #[test]
    fn a_fleet_that_does_not_settle_is_told_by_what_is_in_the_way() {
        let refused = |why: &str| Obstacle::Refused(why.to_owned());
        let one = unsettled(&[Obstacle::Silent, refused("a fork")]);

        assert!(unsettled(&[refused("a fork")]).is_like(&one));
        assert!(!unsettled(&[refused("no key")]).is_like(&one));
        assert!(!unsettled(&[Obstacle::Alone, refused("a fork")]).is_like(&one));
    }
}
