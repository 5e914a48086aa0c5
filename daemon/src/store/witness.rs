//! What is remembered of a store outside it, and when that gives reason to doubt the store.
//!
//! A witness names the store, how many transactions it had committed, the file that it was in and the
//! machine. A restored or copied store disagrees with its witness, or comes without one; writing on in
//! its logs would give two histories the same positions. A witness may lag behind its store, which is no
//! reason for doubt; it can only be ahead of a store that lost commits.
//!
//! Where the witness is kept is the caller's affair.

use super::StoreIdentity;

/// Where a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorePlace {
    /// Tells the file from a copy of it: its inode.
    pub file: u64,
    /// Tells the machine from others; one word.
    pub machine: String,
}

/// What a store was when it was last written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessRecord {
    /// Which store, and how old.
    pub store: StoreIdentity,
    /// Where it was.
    pub place: StorePlace,
}

impl WitnessRecord {
    /// Why the store `now`, found at `place`, may not be the one that was last written there; `None` if
    /// it is. `seen` is what its witness says, if there is one that reads back.
    pub fn doubt(
        seen: Option<&Self>,
        now: StoreIdentity,
        place: &StorePlace,
    ) -> Option<&'static str> {
        if now.commits == 0 {
            return None;
        }
        let Some(seen) = seen else {
            return Some("there is no witness beside the store");
        };
        if seen.store.store != now.store {
            Some("the witness is of another store")
        } else if seen.place.file != place.file {
            Some("the store file is another one than was last written")
        } else if seen.place.machine != place.machine {
            Some("the store was last written on another machine")
        } else if seen.store.commits > now.commits {
            Some("the store has fewer commits than the witness has seen")
        } else {
            None
        }
    }

    /// One line of text, of the same length for every record of one store and place.
    pub fn to_text(&self) -> String {
        let StorePlace { file, machine } = &self.place;
        format!(
            "{} {:020} {file:020} {machine}\n",
            hex::encode(self.store.store),
            self.store.commits
        )
    }

    /// Reads what [`Self::to_text`] wrote; `None` if it is anything else.
    pub fn from_text(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let store = hex::decode(words.next()?).ok()?.try_into().ok()?;
        let commits = words.next()?.parse().ok()?;
        let file = words.next()?.parse().ok()?;
        let machine = words.next()?.to_owned();
        Some(Self {
            store: StoreIdentity { store, commits },
            place: StorePlace { file, machine },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(store: u8, commits: u64, file: u64, machine: &str) -> WitnessRecord {
        WitnessRecord {
            store: StoreIdentity {
                store: [store; 16],
                commits,
            },
            place: StorePlace {
                file,
                machine: machine.to_owned(),
            },
        }
    }

    #[test]
    fn only_the_same_store_in_the_same_place_with_no_fewer_commits_is_trusted() {
        let seen = record(1, 12, 7, "tablet");
        let doubt = |now: &WitnessRecord| WitnessRecord::doubt(Some(&seen), now.store, &now.place);

        assert_eq!(doubt(&seen), None);
        assert_eq!(doubt(&record(1, 13, 7, "tablet")), None);
        for other in [
            record(1, 11, 7, "tablet"),
            record(2, 12, 7, "tablet"),
            record(1, 12, 8, "tablet"),
            record(1, 12, 7, "laptop"),
        ] {
            assert!(doubt(&other).is_some(), "{other:?} is trusted");
        }
    }

    #[test]
    fn a_store_without_its_witness_is_doubted_unless_it_is_new() {
        let new = record(1, 0, 7, "tablet");
        assert_eq!(WitnessRecord::doubt(None, new.store, &new.place), None);
        let old = record(1, 1, 7, "tablet");
        assert!(WitnessRecord::doubt(None, old.store, &old.place).is_some());
    }

    #[test]
    fn a_record_reads_back_from_its_text_and_nothing_else_does() {
        let record = record(1, 12, 7, "tablet");
        assert_eq!(WitnessRecord::from_text(&record.to_text()), Some(record));
        for bad in ["", "zz 1 2 m", "0101 1 2 m", "garbage"] {
            assert_eq!(WitnessRecord::from_text(bad), None, "{bad:?}");
        }
    }
}
