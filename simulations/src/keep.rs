//! What a device asks of its store while it runs, so that one device runs over the real store and over the one
//! in memory that [`crate::scale`] uses.

use fieldmesh::engine::batch::repair::{Found, Look};
use fieldmesh::engine::batch::{Batch, CommitReport, Fetched, Held, Walk};
use fieldmesh::store::Store;

/// A store that keeps logs. Errors are in words, as the engine takes them.
pub trait Keep {
    /// Writes all batches in one transaction.
    fn commit(&mut self, batches: Vec<Batch>) -> CommitReport;

    /// What lies on the walk and is not `known` to a peer, about `bytes_max` entry bytes of it.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn fetch(&self, walk: &Walk, known: &Held, bytes_max: usize) -> Result<Fetched, String>;

    /// The answer to a question about one log.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn look(&self, look: &Look) -> Result<Found, String>;
}

impl Keep for Store {
    fn commit(&mut self, batches: Vec<Batch>) -> CommitReport {
        Self::commit(self, batches)
    }

    fn fetch(&self, walk: &Walk, known: &Held, bytes_max: usize) -> Result<Fetched, String> {
        let found = self.reader().fetch(walk, known, bytes_max);
        found.map_err(|error| error.to_string())
    }

    fn look(&self, look: &Look) -> Result<Found, String> {
        self.reader().look(look).map_err(|error| error.to_string())
    }
}
