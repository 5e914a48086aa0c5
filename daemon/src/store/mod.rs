//! The durable store: logs, documents and views in one database, over a file or any redb backend.
//!
//! Invariants:
//! - One call of [`Store::commit`] is one durable transaction: entries, frontier, documents, views
//!   and reviews change together or not at all. One-phase commits: checksums and peers repair what
//!   a disk that lies about its writes may lose.
//! - Logs are held as prefixes that end at signed points, in an order of arrival that has causes
//!   before effects.
//! - Every row that is read as data has a checksum of ours. Documents are derived from the log and
//!   views from documents, so either can be rebuilt.
//! - Records are shown under one version of the schema at a time. Which one may change while the store is
//!   open; a read is right at once, whatever its view row was derived under.
//! - A failed write, a full disk among them, needs no restart: the database is opened anew.
//! - Nothing in memory grows with the number of records.
//!
//! The store does not verify what peers send, knows no sessions, and reads neither clock nor
//! randomness.

mod adopt;
mod author;
mod automatic;
mod begun;
mod branches;
mod catalogue;
mod checkup;
mod commit;
mod copy;
mod database;
mod feed;
mod fetch;
mod fork;
mod heal;
mod implied;
mod inspect;
mod judge;
mod kept;
mod lazy;
mod log;
mod meta;
mod open;
mod pack;
mod peers;
#[doc(hidden)]
pub mod probe;
mod read;
mod reading;
mod rebuild;
mod record;
mod refresh;
mod relations;
mod restrict;
mod retry;
mod reviews;
mod rows;
mod schemas;
mod settle;
pub mod survey;
mod tables;
#[cfg(test)]
mod tests;
mod trouble;
mod witness;

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crdt_schema::ident::{DeviceId, OrganisationId, RecordKey, SpaceName};
use crdt_schema::op::ChangeSet;
use crdt_schema::resolution::RecordView;
use crdt_schema::schema::Schema;
use redb::backends::FileBackend;
use redb::{DatabaseError, StorageBackend};

pub use crate::engine::batch::Opening;
use crate::engine::batch::{Arrival, Batch, CommitReport, LogHeader};
use crate::mutation::{Mutation, is_planted};

pub use adopt::UseSchemaError;
pub use catalogue::{Known, Published};
pub use checkup::{Checkup, Problem, Progress};
use commit::Facts;
pub use copy::Copied;
pub use reading::{Refreshing, SchemaReader, SchemaState};
pub use schemas::{LogEnd, Writes};

use begun::Begun;
use catalogue::Catalogue;
use database::{Ending, Handle, Make};
use kept::Kept;
pub use witness::{StorePlace, WitnessRecord};

/// Why the store could not be opened or read. Every message names the place, the cause and the
/// remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Another process has it.
    #[error("{path}: another process has this store open; stop it first, or use another --dir")]
    InUse {
        /// The store.
        path: String,
    },
    /// A later version of this program wrote it.
    #[error(
        "{path} has format {found}, newer than the {known} that this version reads; upgrade fieldmesh"
    )]
    NewerFormat {
        /// The store.
        path: String,
        /// Its format.
        found: u32,
        /// The newest format that this version reads.
        known: u32,
    },
    /// It is somebody else's.
    #[error("{path} belongs to organisation {found}, not {expected}")]
    OtherOrganisation {
        /// The store.
        path: String,
        /// Whose it is.
        found: OrganisationId,
        /// Whose it should be.
        expected: OrganisationId,
    },
    /// It does not read back as it was written.
    #[error(
        "{path} is damaged: {detail}; move it aside and start again: the entries come back from the other devices"
    )]
    Damaged {
        /// The store.
        path: String,
        /// What is damaged.
        detail: String,
    },
    /// The device's own schema file does not fit what the store holds. Nothing was changed.
    #[error(
        "the schema file's version {version} cannot be used with {path}: {why}; correct it, or put the earlier file back"
    )]
    OwnSchema {
        /// The store.
        path: String,
        /// The file's version.
        version: u32,
        /// What is wrong.
        why: String,
    },
    /// No space is left for it.
    #[error("the disk is full: {0}")]
    DiskFull(String),
    /// Any other failure.
    #[error("the store failed: {0}")]
    Failed(String),
}

/// Fixed facts the store needs.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Whose the store is.
    pub organisation: OrganisationId,
    /// Signs the ends of our own logs.
    pub signer: ed25519_dalek::SigningKey,
    /// The device's own schema file: the least that it can read with.
    pub schema: Arc<Schema>,
    /// Whether newer versions are adopted as soon as they have been published.
    pub schema_follow: bool,
    /// Page cache, in bytes.
    pub cache_bytes: usize,
    /// Names the store if it is made now: random bytes.
    pub new_store_id: [u8; 16],
}

/// The store's writer. There is one for each database.
#[derive(Debug)]
pub struct Store {
    handle: Arc<Handle>,
    options: StoreOptions,
    read_schema: SchemaReader,
    /// Tells which schema is in use.
    cell: Arc<reading::Cell>,
    /// The versions that are known.
    catalogue: Catalogue,
    /// Set while views remain to be derived anew.
    refresh: Option<refresh::Cursor>,
    /// The last arrival that was seen, for reports of failed commits.
    arrival: Arrival,
    /// What the last commit left for the next.
    kept: Kept,
}

impl Store {
    /// Opens or makes a store over `backend`, which is used up: a failed write cannot be recovered
    /// from. See [`Store::open_with`].
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn open(backend: impl StorageBackend, options: StoreOptions) -> Result<Self, StoreError> {
        let backend = Mutex::new(Some(backend));
        Self::open_with(
            move || {
                let mut backend = backend.lock().unwrap_or_else(PoisonError::into_inner);
                backend
                    .take()
                    .ok_or_else(|| io::Error::other("the backend cannot be opened twice"))
            },
            options,
        )
    }

    /// Opens or makes a store over the backend that `make_backend` gives. It is asked again after a
    /// failed write, when the backend before it has been closed.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn open_with<B: StorageBackend>(
        make_backend: impl Fn() -> io::Result<B> + Send + Sync + 'static,
        options: StoreOptions,
    ) -> Result<Self, StoreError> {
        Self::open_reading(make_backend, options, reading::read_schema)
    }

    /// As [`Store::open_with`], for whoever opens many stores of the same schemas and need not read each text
    /// every time.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn open_reading<B: StorageBackend>(
        make_backend: impl Fn() -> io::Result<B> + Send + Sync + 'static,
        options: StoreOptions,
        read_schema: SchemaReader,
    ) -> Result<Self, StoreError> {
        let make: Make = Box::new(move |builder| {
            let backend = make_backend().map_err(DatabaseError::from)?;
            builder.create_with_backend(Begun::new(backend))
        });
        let handle = Handle::open(None, options.cache_bytes, make)?;
        Self::prepare(handle, options, read_schema)
    }

    /// Opens or makes a store in a file.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn open_file(path: &Path, options: StoreOptions) -> Result<Self, StoreError> {
        let file = path.to_owned();
        let is_new = !file.exists();
        let make: Make = Box::new({
            let file = file.clone();
            move |builder| {
                let mut options = File::options();
                options.read(true).write(true).create(true).truncate(false);
                let backend = FileBackend::new(options.open(&file)?)?;
                builder.create_with_backend(Begun::new(backend))
            }
        });
        let store = Self::prepare(
            Handle::open(Some(file), options.cache_bytes, make)?,
            options,
            reading::read_schema,
        )?;
        if is_new {
            sync_parent(path)
                .map_err(|error| StoreError::Failed(format!("{}: {error}", path.display())))?;
        }
        Ok(store)
    }

    fn prepare(
        handle: Handle,
        options: StoreOptions,
        read_schema: SchemaReader,
    ) -> Result<Self, StoreError> {
        open::prepare(&handle, &options)?;
        let (catalogue, state) = adopt::open(&handle, &options, read_schema)?;
        let arrival = handle.read(open::last_arrival)?;
        let mut store = Self {
            handle: Arc::new(handle),
            options,
            read_schema,
            cell: Arc::new(reading::Cell::new(state)),
            catalogue,
            refresh: None,
            arrival,
            kept: Kept::default(),
        };
        store.begin_refresh()?;
        Ok(store)
    }

    /// Writes all batches in one durable transaction; a batch that must be refused is left out of
    /// it and says so in its outcome. If the transaction itself fails, every outcome says so.
    pub fn commit(&mut self, batches: Vec<Batch>) -> CommitReport {
        let mut report = CommitReport {
            arrival: self.arrival,
            ..CommitReport::default()
        };
        // A repair may give entries other names: what was made before it and what comes after do not share its
        // transaction.
        for some in batches.split_inclusive(|batch| matches!(batch, Batch::Repair(..))) {
            match some.split_last() {
                Some((repair @ Batch::Repair(..), before)) => {
                    if !before.is_empty() {
                        report.join(self.commit_some(before));
                    }
                    report.join(self.commit_some(std::slice::from_ref(repair)));
                }
                _ => report.join(self.commit_some(some)),
            }
        }
        report
    }

    fn commit_some(&mut self, batches: &[Batch]) -> CommitReport {
        let state = self.cell.state();
        let facts = Facts {
            organisation: self.options.organisation,
            signer: &self.options.signer,
            schema: &state.active,
            stamp: state.stamp(),
            arrival: self.arrival,
        };
        // It comes back with what was committed, or is lost.
        let kept = std::mem::take(&mut self.kept);
        let written = self
            .handle
            .write(|tx| commit::commit(tx, facts, batches, kept));
        match written {
            Ok(committed) => {
                self.kept = committed.kept;
                self.arrival = committed.report.arrival;
                if committed.has_published {
                    self.on_published();
                }
                committed.report
            }
            Err(trouble) => {
                let fault = trouble.fault();
                tracing::error!(%fault, "a commit failed");
                commit::failed_report(batches, &trouble, self.arrival)
            }
        }
    }

    /// Reads of the last committed state.
    pub fn reader(&self) -> Reader {
        Reader {
            handle: Arc::clone(&self.handle),
            cell: Arc::clone(&self.cell),
        }
    }

    /// What the engine needs to start.
    ///
    /// # Errors
    /// The store's.
    pub fn opening(&self) -> Result<Opening, StoreError> {
        let device = DeviceId(self.options.signer.verifying_key().to_bytes());
        self.handle.read(|tx| open::opening(tx, device))
    }

    /// Forgets which logs are our own, so that the next write begins new ones.
    ///
    /// # Errors
    /// The store's.
    pub fn begin_incarnation(&mut self) -> Result<(), StoreError> {
        if is_planted(Mutation::WitnessIgnored) {
            return Ok(());
        }
        self.kept.adopted.clear();
        let result = self.handle.write(|tx| {
            tx.open_table(tables::OWN_LOGS)?.retain(|_, _| false)?;
            meta::count_commit(tx)?;
            Ok(Ending::Commit(()))
        });
        result.map_err(|trouble| self.handle.explain(trouble))
    }

    /// Random identity of this store file, and how many transactions it has committed: what a
    /// witness outside the file is compared with.
    ///
    /// # Errors
    /// The store's.
    pub fn identity(&self) -> Result<StoreIdentity, StoreError> {
        self.handle.read(meta::identity)
    }
}

/// Makes a new file's name durable. Its content is durable since the first commit.
fn sync_parent(path: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

/// Which store file this is, and how old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreIdentity {
    /// Random bytes drawn when it was made.
    pub store: [u8; 16],
    /// How many transactions it has committed.
    pub commits: u64,
}

/// A record as it is stored and shown.
#[derive(Clone, Debug)]
pub struct StoredRecord {
    /// The record.
    pub key: RecordKey,
    /// How it is shown.
    pub view: RecordView,
    /// A digest of the document's heads: changes with every change of the record.
    pub etag: String,
}

/// Which records to list.
#[derive(Clone, Debug)]
pub struct ListQuery {
    /// The space.
    pub space: SpaceName,
    /// The collection.
    pub collection: String,
    /// Start after this id, in byte order.
    pub after: Option<String>,
    /// Most records to return.
    pub limit: usize,
    /// Deleted records are left out otherwise; contested ones never are.
    pub deleted: bool,
}

/// One page of a list.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The records, by id.
    pub records: Vec<StoredRecord>,
    /// Where the next page starts after, if there is one.
    pub next: Option<String>,
}

/// One change set in arrival order.
#[derive(Clone, Debug)]
pub struct FeedItem {
    /// Its arrival.
    pub arrival: Arrival,
    /// How its log begins.
    pub header: LogHeader,
    /// Its position in the log.
    pub seq: u64,
    /// The change set.
    pub set: ChangeSet,
}

/// How much there is of everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// (space, collection) → records alive or contested, records deleted.
    pub records: Vec<(SpaceName, String, u64, u64)>,
    /// Open reviews.
    pub reviews: u64,
    /// Entries of all logs.
    pub entries: u64,
    /// Size of the store file, in bytes; 0 if the store is not in a file.
    pub bytes: u64,
}

/// Reads of the store's last committed state. Cheap to clone; safe to use from any thread.
#[derive(Clone, Debug)]
pub struct Reader {
    handle: Arc<Handle>,
    /// Tells which schema is in use.
    cell: Arc<reading::Cell>,
}
