//! Which version of the schema a device uses when nobody has chosen one there.
//!
//! Invariants:
//! - It is a function of the texts that are known, of when each was first published, and of nothing else: not of
//!   what arrived first, nor of what was in use before. So devices that know the same use the same.
//! - The versions are gone through in the order in which they were first published. One is adopted if it is above
//!   the last that was adopted and loses or garbles nothing of it. Whoever publishes a version has seen those that
//!   it builds on, so its time is later than theirs.
//! - A text of this device's own that nobody has published stands before all others if its version is below
//!   theirs, because the device began with it, and otherwise after them.
//!
//! It does not know what a person has chosen.

use std::collections::BTreeMap;
use std::sync::Arc;

use crdt_schema::schema::{Schema, compare};

use super::catalogue::{Catalogue, Published};
use super::reading::{Choice, Grounds, Texts, broken};
use super::trouble::Trouble;

/// How many texts are read, in the order of their publication. All are read again at every publication, so
/// without a bound a member could make that endless.
const WALKED_MAX: usize = 100;

/// What a device uses by itself.
pub(super) struct Automatic {
    pub(super) schema: Arc<Schema>,
    /// Why the newest of the versions above it is not adopted.
    pub(super) held_back: Option<String>,
}

impl Grounds<'_> {
    /// The version that is used if nobody has chosen one; the device's own file if no text can be used. `None`
    /// while a text does not read back: without it another one might seem to follow.
    pub(super) fn automatic(self, texts: Texts<'_>) -> Result<Option<Automatic>, Trouble> {
        match self.walk(texts) {
            Err(Trouble::Damaged(why)) => {
                tracing::error!(why, "the version of the schema stays as it is");
                Ok(None)
            }
            walked => walked.map(Some),
        }
    }

    fn walk(self, texts: Texts<'_>) -> Result<Automatic, Trouble> {
        let mut adopted: Option<Arc<Schema>> = None;
        let mut held_back = BTreeMap::new();
        let mut walked = 0;
        for version in in_order(self.catalogue) {
            if adopted.as_ref().is_some_and(|last| version <= last.version) {
                continue;
            }
            if walked == WALKED_MAX {
                let words = format!(
                    "version {version} is one of more than {WALKED_MAX} and must be chosen by hand"
                );
                held_back.insert(version, words);
                continue;
            }
            walked += 1;
            // Why a text cannot be used is told elsewhere.
            let Ok(schema) = self.parse(version, texts)? else {
                continue;
            };
            match adopted
                .as_ref()
                .and_then(|last| broken(&compare(last, &schema)))
            {
                None => adopted = Some(schema),
                Some(why) => {
                    let words = format!("version {version} does not follow: {why}");
                    held_back.insert(version, words);
                }
            }
        }
        let schema = adopted.unwrap_or_else(|| Arc::clone(self.own));
        let newest = held_back.into_iter().next_back();
        let newest = newest.filter(|(version, _)| *version > schema.version);
        Ok(Automatic {
            schema,
            held_back: newest.map(|(_, words)| words),
        })
    }

    /// A person's choice. The version that would be used anyway gives way to those that will be published; any
    /// other stays.
    pub(super) fn chosen(self, version: u32, texts: Texts<'_>) -> Result<Choice, Trouble> {
        let automatic = self.automatic(texts)?;
        let pinned = automatic.is_none_or(|automatic| automatic.schema.version != version);
        Ok(Choice { version, pinned })
    }
}

/// The versions in the order in which they are gone through.
fn in_order(catalogue: &Catalogue) -> Vec<u32> {
    let versions = catalogue.0.iter();
    let lowest = versions
        .clone()
        .find(|(_, known)| !known.published.is_empty());
    let mut order: Vec<(u8, Option<Published>, u32)> = versions
        .map(|(&version, known)| {
            let first = known.published.first().copied();
            let is_before = lowest.is_some_and(|(lowest, _)| version < *lowest);
            let class = match (first, is_before) {
                (None, true) => 0,
                (Some(_), _) => 1,
                (None, false) => 2,
            };
            (class, first, version)
        })
        .collect();
    order.sort_unstable();
    order.into_iter().map(|(_, _, version)| version).collect()
}
