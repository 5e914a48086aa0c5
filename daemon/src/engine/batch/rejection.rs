//! Why something was not written.

use crdt_schema::schema::FieldError;

/// Why a local write was refused. Nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The record must exist and does not.
    #[error("{collection}/{id} does not exist")]
    NotFound {
        /// The record's collection.
        collection: String,
        /// The record's id.
        id: String,
    },
    /// The record must not exist and does.
    #[error("{collection}/{id} already exists")]
    Exists {
        /// The record's collection.
        collection: String,
        /// The record's id.
        id: String,
    },
    /// The record is deleted; only a restore may follow.
    #[error("{collection}/{id} is deleted; restore it first")]
    Deleted {
        /// The record's collection.
        collection: String,
        /// The record's id.
        id: String,
    },
    /// The record is deleted because others are that it goes with; only their restore brings it back.
    #[error("{collection}/{id} is deleted with {}; restore that first", with.join(" and "))]
    DeletedWith {
        /// The record's collection.
        collection: String,
        /// The record's id.
        id: String,
        /// The deleted records that it refers to, as `collection/id`.
        with: Vec<String>,
    },
    /// The record has another entity tag than the request named.
    #[error("{collection}/{id} has changed since it was read")]
    Changed {
        /// The record's collection.
        collection: String,
        /// The record's id.
        id: String,
        /// Its entity tag.
        etag: String,
    },
    /// Other records refer to the record in a way that keeps it from being deleted.
    #[error("{collection}/{id} cannot be deleted: {count} to it, such as {}", by.join(", "))]
    Referenced {
        /// The record's collection.
        collection: String,
        /// The record's id.
        id: String,
        /// How many they are and that they refer, in words.
        count: String,
        /// The first few of them, as `collection/id`.
        by: Vec<String>,
    },
    /// The record would break the schema.
    #[error("{collection}/{id} would break the schema")]
    Invalid {
        /// The record's collection.
        collection: String,
        /// The record's id.
        id: String,
        /// What is wrong.
        errors: Vec<FieldError>,
    },
    /// The role of the device does not allow the answer to a review.
    #[error("a device with {role} may not answer this review; {who}")]
    NotAllowed {
        /// The role that it has, in words.
        role: String,
        /// Who may answer it, in words.
        who: String,
    },
    /// The idempotency key was used for another request.
    #[error("idempotency key {key:?} was used for a different request")]
    KeyReused {
        /// The key.
        key: String,
    },
    /// The change set would be larger than an entry may be.
    #[error("the change set has {bytes} bytes, more than the {bytes_max} allowed; split the batch")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The schema was switched after the edits were made.
    #[error("the write was made under schema version {made}, and {active} is in use by now")]
    SchemaMoved {
        /// The version that the edits were made under.
        made: u32,
        /// The version in use.
        active: u32,
    },
    /// The store could not write.
    #[error("{0}")]
    Store(StoreFault),
}

/// Why the store could not write, in a form that can be cloned and shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreFault {
    /// No space left on the device.
    #[error("the disk is full: {0}")]
    DiskFull(String),
    /// Any other failure.
    #[error("the store failed: {0}")]
    Failed(String),
}
