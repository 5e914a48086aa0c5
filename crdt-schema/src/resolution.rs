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
    /// The record fulfils the condition of one of the schema's rules.
    Rule {
        /// The rule's name.
        name: String,
    },
    /// Clocks that lie far apart, or were never set, chose between concurrent values.
    Clock {
        /// The field's stored key.
        key: String,
    },
    /// The record that a field refers to is deleted.
    Reference {
        /// The field's stored key.
        key: String,
    },
    /// The record was deleted while records that still live refer to it.
    Restricted,
}

impl ReviewSubject {
    /// The stored key of the field that it is about, if it is about one.
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Field { key }
            | Self::Bounds { key }
            | Self::Invalid { key }
            | Self::Clock { key }
            | Self::Reference { key } => Some(key),
            Self::Deletion | Self::Rule { .. } | Self::Restricted => None,
        }
    }

    /// Whether a person may say that it can stay as it is. The others have sides to choose from.
    pub fn can_be_accepted(&self) -> bool {
        !matches!(self, Self::Field { .. } | Self::Deletion)
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
    /// they had not seen (value `false`). For bounds: each log's running sum, which nobody chooses. For a
    /// rule: the standing writes of the fields that it mentions. For references: the write of the field,
    /// or the deletes.
    pub candidates: Vec<Candidate>,
    /// The write whose value is shown until then: a candidate, or a write that all of them had seen.
    pub provisional: Dot,
}

/// A person's answer to a review, as long as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// The review that it answered.
    pub review: ReviewId,
    /// What the review was about; `None` for one that was accepted and would no longer be open.
    pub subject: Option<ReviewSubject>,
    /// The value decided on; `None` if what there was may stay.
    pub value: Option<Value>,
    /// The change set that says so.
    pub dot: Dot,
    /// When, by its author's hybrid clock.
    pub hlc: Timestamp,
    /// Why, in the reviewer's words; may be empty.
    pub note: String,
}

/// What a reference leads to, as far as this device knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A record that is alive or contested.
    Here,
    /// A record that nobody has told this device of.
    Unknown,
    /// A record that is deleted.
    Deleted,
}

/// A reference of a record to another one of its space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The field's stored key.
    pub key: String,
    /// The collection of the record referred to.
    pub collection: String,
    /// The id of the record referred to.
    pub id: String,
    /// The write of the field.
    pub dot: Dot,
    /// When that was, by its author's hybrid clock.
    pub hlc: Timestamp,
    /// The schema version it was written under.
    pub version: u32,
    /// What it leads to. [`Target::Here`] in a view that has not been judged.
    pub target: Target,
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
    /// The answers to reviews that stand, the latest of each review first.
    pub answered: Vec<Answered>,
    /// What its fields of type `ref` refer to.
    pub refs: Vec<Reference>,
    /// The deletes that it is deleted by, its own or those of the records that it goes with; ascending.
    /// Empty unless it is deleted.
    pub deleted_by: Vec<Dot>,
}

impl RecordView {
    /// The records that it refers to and that this device has not been told of, as `collection/id`:
    /// until they are here, it is not complete.
    pub fn waiting(&self) -> Vec<String> {
        let unknown = self
            .refs
            .iter()
            .filter(|reference| reference.target == Target::Unknown);
        unknown
            .map(|reference| format!("{}/{}", reference.collection, reference.id))
            .collect()
    }

    /// Whether a person has let stand what the review is about.
    pub fn has_accepted(&self, review: &ReviewId) -> bool {
        let mut answers = self.answered.iter();
        answers.any(|answer| answer.review == *review && answer.value.is_none())
    }
}
