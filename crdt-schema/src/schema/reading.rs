//! An older schema that can read what newer ones wrote.

use super::Schema;
use crate::lens::Lens;

/// Why a schema cannot read what another wrote.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadingError {
    /// They are of different data sets.
    #[error("schema {found} is of another data set than {expected}; take one of {expected}")]
    OtherSchema {
        /// The data set that is read.
        expected: String,
        /// The other's.
        found: String,
    },
    /// It is older than the one to read under.
    #[error("schema version {newest} is older than version {reads}, which is to read it")]
    Older {
        /// The version to read under.
        reads: u32,
        /// The version of the other.
        newest: u32,
    },
    /// They came to a version in different ways.
    #[error(
        "the two schemas differ in their migration to version {to}; never change a migration that has \
         been in use, add a new one"
    )]
    OtherHistory {
        /// That version.
        to: u32,
    },
}

impl Schema {
    /// This schema, able to carry back what was written under versions up to that of `newest`. Its
    /// fields and policies stay its own.
    ///
    /// # Errors
    /// If `newest` is not a later version of the same schema.
    pub fn reading(mut self, newest: &Self) -> Result<Self, ReadingError> {
        if self.name != newest.name {
            return Err(ReadingError::OtherSchema {
                expected: self.name,
                found: newest.name.clone(),
            });
        }
        if newest.version < self.version {
            return Err(ReadingError::Older {
                reads: self.version,
                newest: newest.version,
            });
        }
        if let Some(to) = self.differs_from(newest) {
            return Err(ReadingError::OtherHistory { to });
        }
        for (name, collection) in &mut self.collections {
            let lens = &mut collection.lens;
            lens.knows = newest.version;
            if let Some(known) = newest.collection(name) {
                *lens = Lens {
                    reads: self.version,
                    removed: std::mem::take(&mut lens.removed),
                    assumed: std::mem::take(&mut lens.assumed),
                    ..known.lens.clone()
                };
            }
        }
        Ok(self)
    }

    /// The first version up to this one to which the other's migration is another.
    pub(super) fn differs_from(&self, newer: &Self) -> Option<u32> {
        let theirs = newer.migrations.iter();
        let theirs: Vec<_> = theirs.filter(|m| m.to <= self.version).collect();
        let pairs = self.migrations.iter().zip(&theirs);
        for (own, their) in pairs {
            if own != *their {
                return Some(own.to.min(their.to));
            }
        }
        let shared = self.migrations.len().min(theirs.len());
        let own = self.migrations.get(shared).map(|migration| migration.to);
        own.or_else(|| theirs.get(shared).map(|migration| migration.to))
    }
}
