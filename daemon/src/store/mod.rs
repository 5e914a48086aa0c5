//! CONTRACT (implementation in progress): the durable store, over a file or any redb backend.
#![allow(missing_docs, unused_variables, clippy::todo)]

use std::sync::Arc;

use crdt_schema::document::Document;
use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::{Dot, LogId, OrganisationId, RecordKey, SpaceName};
use crdt_schema::op::ChangeSet;
use crdt_schema::resolution::{RecordView, Review};
use crdt_schema::schema::Schema;

use crate::engine::batch::{Arrival, Batch, CommitReport, Fetched, FrontierRow, Held, LogHeader, PeerRow};

/// Why the store could not be opened or read. Every message names the place, the cause and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{path}: another process has this store open; stop it first, or use another --dir")]
    InUse { path: String },
    #[error("{path} has format {found}, newer than the {known} that this version reads; upgrade fieldmesh")]
    NewerFormat { path: String, found: u32, known: u32 },
    #[error("{path} belongs to organisation {found}, not {expected}")]
    OtherOrganisation { path: String, found: OrganisationId, expected: OrganisationId },
    #[error("{path} is damaged: {detail}; move it aside and start again: the entries come back from the other devices")]
    Damaged { path: String, detail: String },
    #[error("the disk is full: {0}")]
    DiskFull(String),
    #[error("the store failed: {0}")]
    Failed(String),
}

/// Fixed facts the store needs.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    pub organisation: OrganisationId,
    /// Signs the ends of our own logs.
    pub signer: ed25519_dalek::SigningKey,
    pub schema: Arc<Schema>,
    /// Page cache, in bytes.
    pub cache_bytes: usize,
}

/// What the engine needs to start.
#[derive(Clone, Debug, Default)]
pub struct Opening {
    pub frontier: Vec<FrontierRow>,
    /// The logs that this incarnation writes, at most one for each space.
    pub own_logs: Vec<LogHeader>,
    pub peers: Vec<PeerRow>,
    /// The greatest timestamp in our own logs.
    pub last_hlc: Timestamp,
    pub arrival: Arrival,
}

#[derive(Debug)]
pub struct Store {}

impl Store {
    pub fn open(backend: impl redb::StorageBackend, options: StoreOptions) -> Result<Self, StoreError> { todo!() }
    pub fn open_file(path: &std::path::Path, options: StoreOptions) -> Result<Self, StoreError> { todo!() }
    /// Writes all batches in one durable transaction; a batch that must be refused is left out of it and
    /// says so in its outcome. If the transaction itself fails, every outcome says so.
    pub fn commit(&mut self, batches: Vec<Batch>) -> CommitReport { todo!() }
    pub fn reader(&self) -> Reader { todo!() }
    pub fn opening(&self) -> Result<Opening, StoreError> { todo!() }
    /// Forgets which logs are our own, so that the next write begins new ones.
    pub fn begin_incarnation(&mut self) -> Result<(), StoreError> { todo!() }
    /// Random identity of this store file, and how many transactions it has committed: what a witness
    /// outside the file is compared with.
    pub fn identity(&self) -> Result<StoreIdentity, StoreError> { todo!() }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreIdentity {
    pub store: [u8; 16],
    pub commits: u64,
}

/// A record as it is stored and shown.
#[derive(Clone, Debug)]
pub struct StoredRecord {
    pub key: RecordKey,
    pub view: RecordView,
    /// A digest of the document's heads: changes with every change of the record.
    pub etag: String,
}

#[derive(Clone, Debug)]
pub struct ListQuery {
    pub space: SpaceName,
    pub collection: String,
    /// Start after this id, in byte order.
    pub after: Option<String>,
    pub limit: usize,
    /// Deleted records are left out otherwise; contested ones never are.
    pub deleted: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Page {
    pub records: Vec<StoredRecord>,
    /// Where the next page starts after, if there is one.
    pub next: Option<String>,
}

/// One change set in arrival order.
#[derive(Clone, Debug)]
pub struct FeedItem {
    pub arrival: Arrival,
    pub header: LogHeader,
    pub seq: u64,
    pub set: ChangeSet,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// (space, collection) → records alive or contested, records deleted.
    pub records: Vec<(SpaceName, String, u64, u64)>,
    pub reviews: u64,
    pub entries: u64,
    /// Size of the store file, in bytes.
    pub bytes: u64,
}

/// Reads of the store's last committed state. Cheap to clone; safe to use from any thread.
#[derive(Clone, Debug)]
pub struct Reader {}

impl Reader {
    pub fn get(&self, key: &RecordKey) -> Result<Option<StoredRecord>, StoreError> { todo!() }
    pub fn list(&self, query: &ListQuery, keep: &dyn Fn(&RecordView) -> bool) -> Result<Page, StoreError> { todo!() }
    pub fn document(&self, key: &RecordKey) -> Result<Option<Document>, StoreError> { todo!() }
    pub fn reviews(&self) -> Result<Vec<(RecordKey, Review)>, StoreError> { todo!() }
    pub fn entry(&self, dot: Dot) -> Result<Option<(LogHeader, ChangeSet)>, StoreError> { todo!() }
    pub fn header(&self, log: LogId) -> Result<Option<LogHeader>, StoreError> { todo!() }
    /// Up to `limit` change sets after `after`, oldest arrival first.
    pub fn feed(&self, after: Arrival, limit: usize) -> Result<Vec<FeedItem>, StoreError> { todo!() }
    pub fn fetch(&self, after: Arrival, known: &Held, bytes_max: usize) -> Result<Fetched, StoreError> { todo!() }
    pub fn arrival(&self) -> Result<Arrival, StoreError> { todo!() }
    pub fn counts(&self) -> Result<Counts, StoreError> { todo!() }
}
