//! What can go wrong underneath: the database's errors and rows that do not read back, sorted by
//! what a person can do about them. Private to the store; callers see [`StoreError`] and
//! [`StoreFault`].

use crdt_schema::ident::Dot;

use crate::engine::batch::StoreFault;

use super::StoreError;

/// Errors of the operating system that mean "no space": ENOSPC, EFBIG, EDQUOT on Linux and Android.
const NO_SPACE_ERRNOS: [i32; 3] = [28, 27, 122];

#[derive(Debug)]
pub(super) enum Trouble {
    /// The database refused or failed.
    Database(Box<redb::Error>),
    /// A row does not read back as it was written. Names the row.
    Damaged(String),
    /// An entry of a log does not read back.
    Unread(Dot, &'static str),
    /// The database panicked, as it may over damaged pages.
    Panicked(String),
    /// The database is closed after a failure.
    Closed(String),
}

impl Trouble {
    /// Whether the disk has no room.
    pub(super) fn is_disk_full(&self) -> bool {
        matches!(self, Self::Database(error) if matches!(&**error, redb::Error::Io(io) if no_space(io)))
    }

    /// Whether the database must be opened anew before it can be used.
    pub(super) fn needs_reopening(&self) -> bool {
        !matches!(self, Self::Damaged(_) | Self::Unread(..))
    }

    /// The entry that does not read back, if that is the trouble.
    pub(super) fn place(&self) -> Option<Dot> {
        match self {
            Self::Unread(place, _) => Some(*place),
            _ => None,
        }
    }

    /// The trouble as a write's outcome.
    pub(super) fn fault(&self) -> StoreFault {
        if self.is_disk_full() {
            return StoreFault::DiskFull(self.words());
        }
        StoreFault::Failed(self.words())
    }

    /// The trouble as an error about the store at `path`.
    pub(super) fn explain(self, path: &str) -> StoreError {
        let path = path.to_owned();
        match &self {
            Self::Damaged(_) | Self::Unread(..) | Self::Panicked(_) => StoreError::Damaged {
                path,
                detail: self.words(),
            },
            Self::Closed(_) => StoreError::Failed(format!("{path}: {}", self.words())),
            Self::Database(error) => match &**error {
                redb::Error::DatabaseAlreadyOpen => StoreError::InUse { path },
                redb::Error::Io(io) if no_space(io) => {
                    StoreError::DiskFull(format!("{path}: {io}; free some space"))
                }
                redb::Error::Io(io) if unreadable(io) => StoreError::Damaged {
                    path,
                    detail: self.words(),
                },
                redb::Error::Corrupted(_)
                | redb::Error::TableTypeMismatch { .. }
                | redb::Error::TypeDefinitionChanged { .. }
                | redb::Error::TableDoesNotExist(_)
                | redb::Error::TableIsMultimap(_)
                | redb::Error::RepairAborted => StoreError::Damaged {
                    path,
                    detail: self.words(),
                },
                other => StoreError::Failed(format!("{path}: {other}")),
            },
        }
    }

    /// The trouble in words.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Database(error) => match &**error {
                redb::Error::Io(io) => io.to_string(),
                other => other.to_string(),
            },
            Self::Damaged(what) => what.clone(),
            Self::Unread(place, why) => format!("entry {place}: {why}"),
            Self::Panicked(what) => format!("the database panicked: {what}"),
            Self::Closed(why) => format!("the database is closed: {why}; try again"),
        }
    }
}

fn no_space(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
        || error
            .raw_os_error()
            .is_some_and(|errno| NO_SPACE_ERRNOS.contains(&errno))
}

fn unreadable(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{InvalidData, UnexpectedEof};
    matches!(error.kind(), InvalidData | UnexpectedEof)
}

macro_rules! from_redb {
    ($($error:ty),*) => {
        $(impl From<$error> for Trouble {
            fn from(error: $error) -> Self {
                Self::Database(Box::new(error.into()))
            }
        })*
    };
}

from_redb!(
    redb::StorageError,
    redb::TableError,
    redb::TransactionError,
    redb::CommitError,
    redb::DatabaseError
);

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_full_disk_is_told_from_other_failures() {
        let trouble = |io: io::Error| Trouble::from(redb::StorageError::Io(io));

        for errno in NO_SPACE_ERRNOS {
            let full = trouble(io::Error::from_raw_os_error(errno));
            assert!(
                matches!(full.fault(), StoreFault::DiskFull(_)),
                "errno {errno}"
            );
            assert!(
                matches!(full.explain("x"), StoreError::DiskFull(_)),
                "errno {errno}"
            );
        }
        let other = trouble(io::Error::from_raw_os_error(5));
        assert!(matches!(other.fault(), StoreFault::Failed(_)));
        assert!(matches!(other.explain("x"), StoreError::Failed(_)));
        let torn = trouble(io::Error::from(io::ErrorKind::UnexpectedEof));
        assert!(matches!(torn.explain("x"), StoreError::Damaged { .. }));
    }
}
