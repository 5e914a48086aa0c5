//! The operations of a plan: what people do, when, and on which device.

use crdt_schema::schema::Schema;
use fieldmesh::engine::batch::{LocalEdit, WriteMode};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// Something that a person does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// When.
    pub at_ms: u64,
    /// On which device.
    pub device: usize,
    /// What.
    #[serde(flatten)]
    pub act: Act,
}

/// What a person does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// Writes one change set.
    Write {
        /// One part for each record.
        edits: Vec<EditSpec>,
        /// The same key twice is a double tap, or a client that repeats itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// Writes one change set, if the records that it edits are there.
    Update {
        /// One part for each record.
        edits: Vec<EditSpec>,
    },
    /// F27: publishes a version of the schema.
    Publish {
        /// Which.
        version: u32,
    },
    /// F27: uses a version that is known on the device, an older one too.
    UseSchema {
        /// Which.
        version: u32,
    },
    /// F27: puts another schema file beside the store and starts the device again.
    Install {
        /// The file's version.
        version: u32,
    },
    /// Answers the review that stands at this place of the list, if any is open.
    Review {
        /// Its place, modulo the length of the list.
        place: u64,
        /// Which candidate is chosen, modulo their number; a deletion is confirmed by an odd number.
        choice: u64,
    },
    /// Switches the network off or on.
    Network {
        /// Whether it is on from here on.
        online: bool,
    },
}

impl Act {
    /// Whether it changes which versions of the schema are known or used.
    pub fn is_of_versions(&self) -> bool {
        matches!(
            self,
            Self::Publish { .. } | Self::UseSchema { .. } | Self::Install { .. }
        )
    }
}

/// One record's part of a write.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EditSpec {
    /// Its collection.
    pub collection: String,
    /// Its id.
    pub id: String,
    /// The intents.
    pub ops: Vec<OpSpec>,
}

impl EditSpec {
    /// What a person asks for under a version of the schema: what that does not have is not done.
    pub fn local_edit(&self, schema: &Schema, mode: WriteMode) -> LocalEdit {
        let ops = self.ops.iter();
        let ops = ops.filter_map(|op| op.read(&self.collection, schema).ok());
        LocalEdit {
            collection: self.collection.clone(),
            id: self.id.clone(),
            mode,
            if_match: None,
            ops: ops.collect(),
        }
    }
}

/// One intent, by field name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum OpSpec {
    /// Sets a register.
    Set(String, Json),
    /// Adds to a counter.
    Add(String, i64),
    /// Puts a text into a set.
    Insert(String, String),
    /// Takes a text out of a set.
    Remove(String, String),
    /// Deletes the record, for a reason.
    Delete(String),
    /// Restores it, for a reason.
    Restore(String),
}
