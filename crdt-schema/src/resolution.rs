//! What a merge decided and why, as data.

use serde::{Deserialize, Serialize};

use crate::hlc::Timestamp;
use crate::ident::Dot;
use crate::value::Value;

/// One write of a field that no other write has superseded.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The value written.
    pub value: Value,
    /// The change set that wrote it.
    pub dot: Dot,
    /// When, by its author's hybrid clock.
    pub hlc: Timestamp,
    /// The version of the schema that it was written under.
    pub version: u32,
    /// The reviewer's note, if this write answered a review; of a delete or restore, its reason.
    pub answer: Option<String>,
}

/// How one field of one record came to its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolution {
    /// The field's name.
    pub field: String,
    /// The policy's name in schema files.
    pub policy: String,
    /// The value as JSON, or `null` if nobody has set it.
    pub value: serde_json::Value,
    /// The write that won; `None` for sums and sets, and if nobody has written.
    pub winner: Option<Candidate>,
    /// The other candidates, best first. For a counter: each log's running sum.
    pub others: Vec<Candidate>,
    /// The id of the open review on this field, if there is one.
    pub review: Option<ReviewId>,
    /// One plain sentence that says why.
    pub why: String,
}

/// The name of a review: a hash of the record, the field and the conflicting dots, so it is the same on
/// every device.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReviewId(pub String);

/// What a review is about.
#[derive(Clone, Debug, PartialEq)]
pub enum ReviewSubject {
    /// Concurrent, differing values of a field with policy `review`.
    Field {
        /// The field's stored key.
        key: String,
    },
    /// A counter's sum has left its bounds, as when two devices hand out the last pack.
    Bounds {
        /// The field's stored key.
        key: String,
    },
    /// The value of a register breaks the schema.
    Invalid {
        /// The field's stored key.
        key: String,
    },
    /// A delete met an edit that it had not seen.
    Deletion,
}

impl ReviewSubject {
    /// The stored key of the field that it is about; `None` for a deletion.
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Field { key } | Self::Bounds { key } | Self::Invalid { key } => Some(key),
            Self::Deletion => None,
        }
    }
}

/// A conflict that waits for a person. Derived from the document, so the same on every replica.
#[derive(Clone, Debug, PartialEq)]
pub struct Review {
    /// Its name.
    pub id: ReviewId,
    /// What it is about.
    pub subject: ReviewSubject,
    /// What a person may choose from. For a deletion: the deletes (value `true`) and the edits that
    /// they had not seen (value `false`). For bounds: each log's running sum, which nobody chooses.
    pub candidates: Vec<Candidate>,
    /// The write whose value is shown until then: a candidate, or a write that all of them had seen.
    pub provisional: Dot,
}

/// What has become of one write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is part of what is shown.
    Stands,
    /// It waits for a person.
    Waits {
        /// The open review.
        review: ReviewId,
    },
    /// A concurrent write won over it.
    Lost {
        /// The change set that won.
        to: Dot,
    },
    /// Somebody who had seen it wrote anew.
    Superseded {
        /// The earliest change set that replaced it.
        by: Dot,
    },
}

/// Whether a record is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Life {
    /// Alive.
    Live,
    /// Deleted. Still stored, and can be restored.
    Deleted,
    /// Deleted by one device while another edited it: readable until a person decides.
    Contested,
}

/// A record as it is shown: the merged document under one schema.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordView {
    /// The fields by name, in the schema's order; fields that nobody has set are left out.
    pub fields: serde_json::Map<String, serde_json::Value>,
    /// What the schema read under cannot show, in plain words, such as `outcome (since version 3)`. Empty
    /// if the record is whole.
    pub partial: Vec<String>,
    /// The last values of removed fields by name, until the end that their migration gives them.
    pub legacy: serde_json::Map<String, serde_json::Value>,
    /// Whether it is alive.
    pub life: Life,
    /// Its open reviews.
    pub reviews: Vec<Review>,
    /// The document's heads, ascending: what a device must hold to hold this state.
    pub heads: Vec<Dot>,
    /// When the newest of its change sets was written.
    pub updated: Timestamp,
}
