//! Work on the store of a device whose daemon does not run: checks, rebuilding, copies, a new life.
//!
//! Opening the store takes its lock, so nothing here can happen beside a running daemon.

use std::path::Path;

use super::{NodeError, open_store};
use crate::config::{Config, KEY_FILE};
use crate::net::identity::Identity;
use crate::store::Store;
pub use crate::store::{Checkup, Copied, Problem, Progress, StoreError};

/// How the names of copies begin that are made for a backup, and are removed when they have been used.
pub const COPY_PREFIX: &str = "store-copy-";

/// The store of a device that does not run.
#[derive(Debug)]
pub struct OfflineStore {
    store: Store,
}

impl OfflineStore {
    /// Opens the store.
    ///
    /// # Errors
    /// Why it cannot be used; [`StoreError::InUse`] if the daemon runs.
    pub fn open(config: &Config) -> Result<Self, NodeError> {
        let identity = Identity::load_or_create(&config.dir.join(KEY_FILE))?;
        let store = open_store(config, &identity)?;
        Ok(Self { store })
    }

    /// Checks everything, and mends nothing. Views that a switch of the schema has left to be derived anew are
    /// derived first.
    ///
    /// # Errors
    /// The store's, if it cannot be read at all.
    pub fn check(&mut self, progress: &mut dyn Progress) -> Result<Checkup, StoreError> {
        self.store.refresh_all()?;
        self.store.reader().check(progress)
    }

    /// Makes documents and views anew from the logs. Returns how many records there are.
    ///
    /// # Errors
    /// The store's, or that a log is damaged.
    pub fn rebuild(&mut self, progress: &mut dyn Progress) -> Result<u64, StoreError> {
        self.store.rebuild(progress)
    }

    /// Writes a copy to a file, which must not exist.
    ///
    /// # Errors
    /// The store's, or that the file cannot be written.
    pub fn copy_to(&self, path: &Path) -> Result<Copied, StoreError> {
        self.store.reader().copy_to(path)
    }

    /// Begins new logs: what was written after this copy was made, or is written where it came from, has
    /// taken the next positions of the old ones.
    ///
    /// # Errors
    /// The store's.
    pub fn begin_incarnation(&mut self) -> Result<(), StoreError> {
        self.store.begin_incarnation()
    }
}

/// Removes copies that a backup has left behind when it was interrupted.
pub(super) fn remove_copies(dir: &Path) {
    let Ok(files) = std::fs::read_dir(dir) else {
        return;
    };
    for file in files.flatten() {
        if file.file_name().to_string_lossy().starts_with(COPY_PREFIX)
            && let Err(error) = std::fs::remove_file(file.path())
        {
            tracing::warn!(%error, path = %file.path().display(), "a copy of the store was not removed");
        }
    }
}
