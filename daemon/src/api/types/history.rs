//! The history of a record.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::Origin;

/// `GET /v1/collections/{collection}/records/{id}/history`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistoryPage {
    /// The edits, newest first. Each original edit is one, however it arrived.
    pub items: Vec<HistoryEntry>,
    /// The `cursor` of the next page; `null` on the last.
    pub next: Option<String>,
}

/// One edit of the record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// Who made it.
    #[serde(flatten)]
    pub origin: Origin,
    /// What it said.
    pub ops: Vec<HistoryOp>,
    /// Edits made at the same time, unseen, that wrote other things, as `log:seq`: information only.
    /// At most 20, newest first; `concurrent` counts all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parallel: Vec<String>,
    /// Edits made at the same time, unseen, that wrote the same thing otherwise. At most 20.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<String>,
    /// How many edits were made at the same time, unseen.
    pub concurrent: usize,
}

/// One intent of an edit, and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistoryOp {
    /// `set`, `add`, `insert`, `remove`, `delete`, `restore`, `resolve` or `accept`.
    pub kind: String,
    /// The field's name; its stored key if the schema does not know it. Absent for the record's life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The value set, what was added, the element, or the id of the review accepted; `null` for the
    /// record's life.
    pub value: Json,
    /// The reason or the reviewer's note, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What became of it.
    pub fate: Fate,
    /// The change set that won over it, or replaced it, as `log:seq`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The open review that it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<String>,
}

/// What became of an intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It is part of what is shown.
    Stands,
    /// It waits for a person.
    Waits,
    /// A write made at the same time won over it.
    Lost,
    /// Somebody who had seen it wrote anew.
    Superseded,
}
