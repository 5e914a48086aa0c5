//! What crosses the border between the engine and the store: batches to commit, and what came of them.

use std::sync::Arc;

use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::{DeviceId, Dot, LogId, RecordKey, SpaceName};
use crdt_schema::intent::{default_ops, register_keys_to_clear};
use crdt_schema::op::{ChangeSet, Op};
use crdt_schema::resolution::RecordView;
use crdt_schema::schema::{Collection, FieldError, Schema};
use crdt_schema::value::Value;
use serde::{Deserialize, Serialize};

use fork::ForkProof;
use repair::{Repair, Repaired};
use rights::Answering;

use crate::wire::WireError;
use crate::wire::dictionary::Dictionary;

pub use held::Held;
pub use rejection::{Rejection, StoreFault};

mod calendar;
pub mod fork;
mod held;
pub mod implied;
pub mod planned;
mod rejection;
pub mod repair;
pub mod rights;

/// Names a request of a local client until it is answered.
pub type RequestId = u64;
/// Names a batch between `Effect::Commit` and its outcome.
pub type BatchId = u64;
/// Names one session with one peer; never used again.
pub type SessionId = u64;
/// The position of an entry in this store's arrival order, from 1.
pub type Arrival = u64;

/// Names a version of a schema and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaTag {
    /// The data set's name.
    pub name: String,
    /// The version.
    pub version: u32,
    /// The beginning of the text's digest.
    pub digest: [u8; 8],
}

impl SchemaTag {
    /// The tag of a schema.
    pub fn of(schema: &Schema) -> Self {
        let hash = blake3::hash(schema.source.as_bytes());
        Self {
            name: schema.name.clone(),
            version: schema.version,
            digest: std::array::from_fn(|index| hash.as_bytes()[index]),
        }
    }
}

/// The place in a log where its signed histories part: everything up to the entry `after` is common to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ForkPoint {
    /// The log, under the id that its device gave it.
    pub log: LogId,
    /// The last common entry.
    pub after: u64,
    /// The chain value there.
    pub chain: [u8; 32],
}

/// The schema in use, as far as the engine is concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaInUse {
    /// What is told to peers.
    pub tag: SchemaTag,
    /// What entries are compressed with for peers that use the same.
    pub dictionary: Dictionary,
}

impl SchemaInUse {
    /// What the engine needs of a schema.
    pub fn of(schema: &Schema) -> Self {
        Self {
            tag: SchemaTag::of(schema),
            dictionary: Dictionary::of(schema),
        }
    }
}

/// How a log begins: hashed into its chain, so it cannot change later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogHeader {
    /// The log; its id is made of the other fields, see [`crate::wire::chain::log_id`].
    pub log: LogId,
    /// The one space whose records it edits.
    pub space: SpaceName,
    /// The device that writes and signs it.
    pub device: DeviceId,
    /// The device's name when the log began, for people.
    pub name: String,
    /// Where a branch of a forked log begins. A log that its device began has none.
    pub branch_of: Option<ForkPoint>,
}

impl LogHeader {
    /// The id under which the log's device signs it: a branch is signed as the log that it was.
    pub fn signed_as(&self) -> LogId {
        self.branch_of.map_or(self.log, |point| point.log)
    }

    /// The sequence number before the first entry: not 0 in a branch, whose entries keep their numbers.
    pub fn base(&self) -> u64 {
        self.branch_of.map_or(0, |point| point.after)
    }

    /// The header of the log as its device began it.
    pub fn whole(&self) -> Self {
        Self {
            log: self.signed_as(),
            branch_of: None,
            ..self.clone()
        }
    }

    /// The header of a branch of this log.
    pub fn branch(&self, point: ForkPoint, id: LogId) -> Self {
        Self {
            log: id,
            branch_of: Some(point),
            ..self.clone()
        }
    }
}

/// How far a log is held, and the chain value there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontierRow {
    /// How the log begins.
    pub header: LogHeader,
    /// The last entry held; entries are held as prefixes.
    pub seq: u64,
    /// The chain value at `seq`.
    pub chain: [u8; 32],
    /// The time of the entry at `seq`: the next one's is later.
    pub hlc: Timestamp,
}

/// Consecutive entries of one log that end at a point its device has signed.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// How the log begins.
    pub header: LogHeader,
    /// The sequence number of the first entry.
    pub from: u64,
    /// The canonical bytes of each entry.
    pub entries: Vec<Vec<u8>>,
    /// The device's signature over the chain value at the last entry.
    pub signature: [u8; 64],
}

impl Run {
    /// The sequence number of the last entry.
    pub fn last(&self) -> u64 {
        self.from + self.entries.len() as u64 - 1
    }
}

/// A run whose chain, signature and structure have been verified.
#[derive(Clone, Debug, PartialEq)]
pub struct VerifiedRun {
    /// The run; starts just after what is held or staged.
    pub run: Run,
    /// Its entries, decoded.
    pub sets: Vec<Arc<ChangeSet>>,
    /// The chain value at its last entry.
    pub chain: [u8; 32],
}

/// What a local write expects of the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteMode {
    /// The record must not exist.
    Create,
    /// The record must exist and not be deleted.
    Update,
    /// Either.
    Upsert,
    /// Either; register fields that the ops do not name are cleared.
    Replace,
}

/// One record's part of a local write, before it has a position or dependencies.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalEdit {
    /// The record's collection; exists in the schema.
    pub collection: String,
    /// The record's id; well-formed.
    pub id: String,
    /// What is expected of the record.
    pub mode: WriteMode,
    /// If given, the record's entity tag must be this one.
    pub if_match: Option<String>,
    /// The intents, already checked against the schema's types.
    pub ops: Vec<Op>,
}

impl LocalEdit {
    /// The intents, with what the edit's mode and the record's novelty add to them.
    pub fn complete(&self, collection: &Collection, view: &RecordView, is_new: bool) -> Vec<Op> {
        let mut ops = self.ops.clone();
        if is_new {
            ops.extend(default_ops(collection, &self.ops));
        } else if self.mode == WriteMode::Replace {
            let keys = register_keys_to_clear(collection, &self.ops).into_iter();
            let has_value = |key: &String| {
                let field = collection.field_by_key(key);
                field
                    .is_some_and(|field| view.fields.get(&field.name).is_some_and(|v| !v.is_null()))
            };
            ops.extend(keys.filter(has_value).map(|key| Op::Set {
                key,
                value: Value::Null,
            }));
        }
        ops
    }
}

/// A client's promise that requests with one key are one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// The client's key.
    pub key: String,
    /// A digest of the request: the same key with another request is refused.
    pub fingerprint: [u8; 32],
}

/// A local write: becomes one change set, or nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalCommit {
    /// Who waits for the outcome.
    pub request: RequestId,
    /// The log to append to (its space is the edits' space); new if the store has no entry of it.
    pub log: LogHeader,
    /// The write's time. Grows from commit to commit.
    pub hlc: Timestamp,
    /// Wall clock at the write, in milliseconds since 1970: dates the idempotency row.
    pub unix_ms: u64,
    /// The person; empty if unknown.
    pub person: String,
    /// The version of the schema that the edits were made under.
    pub schema_version: u32,
    /// The edits; not empty, at most one for each record.
    pub edits: Vec<LocalEdit>,
    /// Set if the client may retry.
    pub idempotency: Option<Idempotency>,
    /// Set if the write answers a review.
    pub answering: Option<Box<Answering>>,
}

impl LocalCommit {
    /// The record that one of its edits is of.
    pub fn record(&self, edit: &LocalEdit) -> RecordKey {
        RecordKey {
            space: self.log.space.clone(),
            collection: edit.collection.clone(),
            id: edit.id.clone(),
        }
    }
}

/// What the store thread is asked to write, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Batch {
    /// A local write.
    Local(LocalCommit),
    /// Verified entries from a peer. Each run continues its log exactly where the batches before end.
    Remote {
        /// Names the batch in its outcome.
        batch: BatchId,
        /// The runs, causes before effects.
        runs: Vec<VerifiedRun>,
    },
    /// Remembers what is known of a peer. Needs no outcome.
    Peer(PeerRow),
    /// Puts a log right, with what came from a session.
    Repair(SessionId, Box<Repair>),
}

/// Names a frontier to two devices of one organisation: a keyed digest of it.
pub type CheckpointId = [u8; 8];

/// A frontier that this device and a peer have both held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Names it to the peer.
    pub id: CheckpointId,
    /// Everything up to here in this store's arrival order is part of it.
    pub arrival: Arrival,
    /// How far each log was held.
    pub rows: Held,
}

/// The checkpoints with one peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoints {
    /// The newest that the peer has named as well.
    pub agreed: Option<Checkpoint>,
    /// A newer one, of which it is not known whether the peer remembers it.
    pub tentative: Option<Checkpoint>,
}

impl Checkpoints {
    /// Both, the agreed one first.
    pub fn iter(&self) -> impl Iterator<Item = &Checkpoint> {
        self.agreed.iter().chain(&self.tentative)
    }
}

/// What is kept of a peer between sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerRow {
    /// The peer.
    pub device: DeviceId,
    /// Its name, for people.
    pub name: String,
    /// Whether it counts as a durable copy.
    pub hub: bool,
    /// When it was last heard, in milliseconds since 1970.
    pub last_seen_ms: u64,
    /// What it said it holds durably.
    pub held: Held,
    /// What both have held.
    pub checkpoints: Checkpoints,
}

/// One record's part of a successful local write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordOutcome {
    /// The record's collection.
    pub collection: String,
    /// The record's id.
    pub id: String,
    /// Its entity tag after the write.
    pub etag: String,
    /// Whether the write created it.
    pub created: bool,
    /// What people should know about it, such as a field that is out of use.
    #[serde(default)]
    pub warnings: Vec<FieldError>,
}

/// A successful local write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitOutcome {
    /// The change set.
    pub dot: Dot,
    /// Its time.
    pub hlc: Timestamp,
    /// The records, in the order of the edits.
    pub records: Vec<RecordOutcome>,
    /// Whether this answers a retry of a write that had already succeeded.
    pub replayed: bool,
}

impl CommitOutcome {
    /// What a write is answered with by [`crate::mutation::Mutation::ReplyBeforeCommit`], which cannot know
    /// the records.
    pub(super) fn promised(dot: Dot, hlc: Timestamp) -> Self {
        Self {
            dot,
            hlc,
            records: Vec::new(),
            replayed: false,
        }
    }
}

/// What came of one remote batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteOutcome {
    /// The batch.
    pub batch: BatchId,
    /// `Err` if nothing of it was written.
    pub result: Result<(), StoreFault>,
    /// The logs whose runs were left out, and why.
    pub left_out: Vec<(LogId, LeftOut)>,
}

/// Why a run was left out of a batch that was written. Only the store can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeftOut {
    /// A dependency of which another branch is held here than the author meant, or none.
    OtherBranch(Dot),
    /// Its own first entry that follows where the log was sealed while it was on its way.
    Sealed(Dot),
    /// An entry that is damaged here, and must be mended before this run can be read.
    Unread(Dot),
    /// Its author signed what no honest author writes.
    Malformed(WireError),
    /// It continues or follows what was left out before.
    LeftOutBefore(LogId),
}

/// What came of one store transaction, which may hold several batches (group commit).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct CommitReport {
    /// The outcome of each local write in it.
    pub local: Vec<(RequestId, Result<CommitOutcome, Rejection>)>,
    /// The outcome of each remote batch in it.
    pub remote: Vec<RemoteOutcome>,
    /// The outcome of each repair in it.
    pub repairs: Vec<Repaired>,
    /// Entries that were found not to read back.
    pub damaged: Vec<Dot>,
    /// The frontier rows that moved, each once, as they are now.
    pub rows: Vec<FrontierRow>,
    /// The last arrival in the store.
    pub arrival: Arrival,
}

impl CommitReport {
    /// Adds the report of a later transaction.
    pub fn join(&mut self, later: Self) {
        self.local.extend(later.local);
        self.remote.extend(later.remote);
        self.repairs.extend(later.repairs);
        self.damaged.extend(later.damaged);
        let moved = |row: &FrontierRow| later.rows.iter().any(|it| it.header.log == row.header.log);
        self.rows.retain(|row| !moved(row));
        self.rows.extend(later.rows);
        self.arrival = later.arrival;
    }
}

/// What a fetch for a session reads. Either way causes come before effects, and logs without gaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Walk {
    /// The entries of a space, in the order in which they arrived.
    Space {
        /// The space.
        space: SpaceName,
        /// Where to start in this store's arrival order, exclusive.
        after: Arrival,
    },
    /// What the peer lacks of some logs, out of turn: one log after the other, and each only as far as the
    /// peer has its causes.
    Logs(Vec<LogId>),
}

/// All of the default space.
impl Default for Walk {
    fn default() -> Self {
        Self::Space {
            space: SpaceName::default(),
            after: 0,
        }
    }
}

/// What a fetch for a session found.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Fetched {
    /// Runs, causes before effects.
    pub runs: Vec<Run>,
    /// Every arrival in the space up to this one is in `runs` or was known to the peer. Equal to the store's
    /// last arrival when there is nothing more to send. Means nothing for a walk over logs.
    pub arrival: Arrival,
    /// Whether the walk's end was reached.
    pub end: bool,
    /// Where logs are held back because an entry there or soon after does not read back: at most one
    /// place in each log, just after what reads back.
    pub damaged: Vec<Dot>,
}

/// What the engine needs of the store to start.
#[derive(Clone, Debug, Default)]
pub struct Opening {
    /// How far every log is held.
    pub frontier: Vec<FrontierRow>,
    /// The forks that are known.
    pub forks: Vec<Arc<ForkProof>>,
    /// The logs that this incarnation writes, at most one for each space.
    pub own_logs: Vec<LogHeader>,
    /// What is known of the peers.
    pub peers: Vec<PeerRow>,
    /// The greatest timestamp in our own logs.
    pub last_hlc: Timestamp,
    /// The last arrival.
    pub arrival: Arrival,
}
