//! The API's way in: bounded commands to the node's loop, and reads that bypass it.

use std::path::PathBuf;
use std::sync::Arc;

use crdt_schema::ident::{DeviceId, OrganisationId, SpaceName};
use crdt_schema::schema::{PUBLISHED, Schema, publication_id, publication_ops};
use tokio::sync::{mpsc, oneshot, watch};

pub use super::offline::COPY_PREFIX;
use crate::engine::batch::rights::Answering;
use crate::engine::batch::{Arrival, CommitOutcome, Idempotency, LocalEdit, Rejection, WriteMode};
use crate::engine::fleet::Fleet;
pub use crate::net::NetReport;
use crate::store::{Reader, UseSchemaError};

/// Fixed facts about this node.
#[derive(Clone, Debug)]
pub struct NodeFacts {
    /// The organisation.
    pub organisation: OrganisationId,
    /// This device.
    pub device: DeviceId,
    /// Where it keeps its state.
    pub dir: PathBuf,
    /// Its name.
    pub name: String,
    /// Whether it is a hub.
    pub hub: bool,
    /// Its role among those of the schema, if it has one.
    pub role: Option<String>,
    /// The libp2p peer id, as text.
    pub peer_id: String,
}

/// A local write, before it is numbered.
#[derive(Clone, Debug)]
pub struct Write {
    /// The space of the records.
    pub space: SpaceName,
    /// The person; empty if unknown.
    pub person: String,
    /// The version of the schema that the edits were made under: [`Handle::schema`] then.
    pub schema_version: u32,
    /// The edits; not empty, at most one for each record.
    pub edits: Vec<LocalEdit>,
    /// Set if the client may retry.
    pub idempotency: Option<Idempotency>,
    /// Set if the write answers a review.
    pub answering: Option<Box<Answering>>,
}

/// The write that publishes a schema, made while `active` is in use.
pub(super) fn publication(schema: &Schema, person: String, active: u32) -> Write {
    let edit = LocalEdit {
        collection: PUBLISHED.to_owned(),
        id: publication_id(&schema.name, schema.version),
        mode: WriteMode::Upsert,
        if_match: None,
        ops: publication_ops(&schema.source),
    };
    Write {
        space: SpaceName::default(),
        person,
        schema_version: active,
        edits: vec![edit],
        idempotency: None,
        answering: None,
    }
}

/// Why a command was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Nothing was written.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// Too many commands wait; try again.
    #[error("the daemon is busy; try again")]
    Busy,
    /// Another version of the schema was not put to use.
    #[error(transparent)]
    Schema(#[from] UseSchemaError),
    /// The node is shutting down.
    #[error("the daemon is shutting down")]
    Stopping,
}

/// A command to the node's loop.
#[derive(Debug)]
pub enum Command {
    /// Write.
    Write(Write, oneshot::Sender<Result<CommitOutcome, Rejection>>),
    /// Take the device off the network, or back on it.
    Network(bool, oneshot::Sender<()>),
    /// Use another version of the schema.
    UseSchema(u32, oneshot::Sender<Result<(), UseSchemaError>>),
}

/// A running node, seen from the API. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) reader: Reader,
    pub(super) facts: Arc<NodeFacts>,
    pub(super) fleet: watch::Receiver<Arc<Fleet>>,
    pub(super) net: watch::Receiver<Arc<NetReport>>,
    pub(super) arrival: watch::Receiver<Arrival>,
}

impl Handle {
    /// Writes durably: once this returns `Ok`, the write survives a crash or a power cut.
    pub async fn write(&self, write: Write) -> Result<CommitOutcome, CommandError> {
        let (reply, outcome) = oneshot::channel();
        self.send(Command::Write(write, reply))?;
        Ok(outcome.await.map_err(|_| CommandError::Stopping)??)
    }

    /// Takes the device off the network, or back on it. Returns when every session has been told to end.
    pub async fn set_online(&self, online: bool) -> Result<(), CommandError> {
        let (reply, done) = oneshot::channel();
        self.send(Command::Network(online, reply))?;
        done.await.map_err(|_| CommandError::Stopping)
    }

    /// Uses another known version of the schema from here on. Reads show it as soon as this returns.
    pub async fn use_schema(&self, version: u32) -> Result<(), CommandError> {
        let (reply, outcome) = oneshot::channel();
        self.send(Command::UseSchema(version, reply))?;
        Ok(outcome.await.map_err(|_| CommandError::Stopping)??)
    }

    /// Publishes a schema's text, durably: every device that this one's entries reach will know it. The caller
    /// has checked it.
    pub async fn publish(
        &self,
        schema: &Schema,
        person: String,
    ) -> Result<CommitOutcome, CommandError> {
        self.write(publication(schema, person, self.schema().version))
            .await
    }

    fn send(&self, command: Command) -> Result<(), CommandError> {
        self.commands
            .try_send(command)
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => CommandError::Busy,
                mpsc::error::TrySendError::Closed(_) => CommandError::Stopping,
            })
    }

    /// The store's last committed state. Reads block the thread: call them from a blocking task.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Fixed facts about this node.
    pub fn facts(&self) -> &NodeFacts {
        &self.facts
    }

    /// The schema that records are read and written under at this moment. It may be another one at the next
    /// call, so a request asks once.
    pub fn schema(&self) -> Arc<Schema> {
        self.reader.schema()
    }

    /// Who holds what.
    pub fn fleet(&self) -> Arc<Fleet> {
        self.fleet.borrow().clone()
    }

    /// What the network side last reported.
    pub fn net(&self) -> Arc<NetReport> {
        self.net.borrow().clone()
    }

    /// Changes whenever entries have been committed: its value is the store's last arrival.
    pub fn arrivals(&self) -> watch::Receiver<Arrival> {
        self.arrival.clone()
    }
}
