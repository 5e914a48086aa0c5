//! JSON bodies about the daemon itself: its state, its peers and its schema.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::SchemaStatus;

/// `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The version of fieldmesh.
    pub version: String,
    /// For how long the API has been up, in seconds.
    pub uptime_s: u64,
    /// This device.
    pub device: Device,
    /// The organisation.
    pub organisation: String,
    /// The schema that records are read and written under.
    pub schema: SchemaName,
    /// How that version stands among the known ones.
    #[serde(default)]
    pub schema_status: SchemaStatus,
    /// Whether the device may talk to others.
    pub online: bool,
    /// How many conflicts wait for a person.
    pub reviews: u64,
    /// How many change sets are held here but not, as far as is known, by any hub.
    pub pending: u64,
    /// What the store holds.
    pub store: StoreStatus,
    /// What was repaired since the start, and what waits to be.
    #[serde(default)]
    pub repairs: Repairs,
    /// The other devices.
    pub peers: Vec<Peer>,
    /// The network side.
    pub network: NetworkStatus,
}

/// This device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its key.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether it is a hub.
    pub hub: bool,
    /// Its role among those of the schema, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// Its libp2p peer id.
    pub peer_id: String,
}

/// A schema's name and version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaName {
    /// The data set's name.
    pub name: String,
    /// Raised by one with every change.
    pub version: u32,
}

/// What the store holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreStatus {
    /// The size of the store file.
    pub bytes: u64,
    /// How many change sets it holds.
    pub entries: u64,
    /// How many records it holds.
    pub collections: Vec<CollectionCount>,
}

/// What was repaired since the start, and what waits to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repairs {
    /// The logs that do not read back: peers that hold them are awaited.
    pub damaged_logs: Vec<DamagedLog>,
    /// How many damaged change sets came back from peers.
    pub mended: u64,
    /// How many change sets of its own the device had lost and took back from peers.
    pub taken_back: u64,
    /// How many change sets of a forked log were written again in a new one.
    pub rewritten: u64,
    /// How many forks of logs were settled here by keeping both histories, as branches.
    pub forks: u64,
    /// How many change sets were moved from a forked log to a branch.
    pub branched: u64,
}

/// A log that does not read back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DamagedLog {
    /// The log.
    pub log: String,
    /// Where the damage begins.
    pub from: u64,
}

/// A copy of the store, made beside it. Whoever asked for it removes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreCopy {
    /// Its file name, in the device's directory.
    pub file: String,
    /// How many change sets it holds.
    pub entries: u64,
    /// How many transactions the store had committed.
    pub commits: u64,
}

/// How many records of one collection in one space there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CollectionCount {
    /// The space.
    pub space: String,
    /// The collection.
    pub collection: String,
    /// How many are alive or contested.
    pub live: u64,
    /// How many are deleted.
    pub deleted: u64,
}

/// The network side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkStatus {
    /// The loopback address that this API is served at, besides the Unix socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<String>,
    /// The addresses listened on.
    pub listening: Vec<String>,
    /// Bytes received in sessions since the start.
    pub bytes_in: u64,
    /// Bytes sent in sessions since the start.
    pub bytes_out: u64,
    /// Why devices on the local network are not found, if they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mdns_error: Option<String>,
    /// How many sessions were refused or broken, and how many logs were refused in them, by reason.
    pub refusals: BTreeMap<String, u64>,
    /// The newest refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_refusal: Option<Refusal>,
}

/// A session, or a log in one, that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The other device.
    pub device: String,
    /// Its name; empty if it was not introduced.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// `GET /v1/peers`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerList {
    /// The other devices, in the order of their keys.
    pub items: Vec<Peer>,
}

/// Another device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its key.
    pub device: String,
    /// Its name; empty until it has been introduced.
    pub name: String,
    /// Whether it counts as a durable copy.
    pub hub: bool,
    /// Whether a session is open.
    pub connected: bool,
    /// The address it is connected through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// When it was last heard; `null` if never.
    pub last_seen: Option<String>,
    /// How many change sets it holds that this device lacks.
    pub behind: u64,
    /// How many change sets this device holds that it lacks.
    pub ahead: u64,
    /// The schema in use there, as it last said; absent if it has not been met since the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<SchemaName>,
    /// What is wrong between its schema and this device's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_note: Option<String>,
    /// Whether its clock is far ahead of this device's.
    pub clock_suspect: bool,
    /// Logs that are not exchanged with it.
    pub refused_logs: Vec<RefusedLog>,
}

/// A log that is not exchanged with a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedLog {
    /// The log.
    pub log: String,
    /// Why.
    pub reason: String,
}

/// `PUT /v1/network`, and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Whether the device may talk to others.
    pub online: bool,
}

/// A version of the schema.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SchemaSummary {
    /// The data set's name.
    pub name: String,
    /// Raised by one with every change.
    pub version: u32,
    /// The text of the schema file.
    pub source: String,
    /// The collections, in the file's order.
    pub collections: Vec<CollectionSummary>,
}

/// A collection of the schema.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CollectionSummary {
    /// Its name.
    pub name: String,
    /// The field that people know a record by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What happens when a delete meets an edit that it had not seen.
    pub delete: String,
    /// The fields, in the file's order.
    pub fields: Vec<FieldSummary>,
}

/// A field of the schema.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FieldSummary {
    /// Its name.
    pub name: String,
    /// Its type, as in schema files.
    #[serde(rename = "type")]
    pub kind: String,
    /// The choices of a `choice`, or of a `set` of choices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<String>,
    /// The type of a set's elements.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub element: Option<String>,
    /// The collection that a `ref` points to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Whether a record must have it.
    pub required: bool,
    /// The value a new record gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Json>,
    /// Least value, or length, or sum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Greatest value, or length, or sum.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// How concurrent writes merge.
    pub merge: String,
    /// What is shown while a review of concurrent writes is open; absent for the last writer's value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisional: Option<String>,
    /// How urgent its reviews are; absent if they are as all others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<String>,
}

/// `GET /healthz` and `GET /readyz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// `ok`.
    pub status: String,
}
