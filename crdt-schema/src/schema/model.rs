//! What a schema says, checked and ready for use: plain data with public fields.

use indexmap::IndexMap;

use super::Migration;
use super::roles::Role;
use super::rules::Rule;
use crate::flags::{Flags, Trial};
use crate::lens::Lens;
use crate::value::Value;

/// A parsed and checked schema file.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    /// The data set's name, such as `clinic`.
    pub name: String,
    /// Raised by one with every change; from 1.
    pub version: u32,
    /// The collections in the file's order, by name.
    pub collections: IndexMap<String, Collection>,
    /// How the versions before this one became it, ascending.
    pub migrations: Vec<Migration>,
    /// What the devices of each role may do; empty if every device may do everything.
    pub roles: IndexMap<String, Role>,
    /// The file's text, kept so that it can be shown and travel.
    pub source: String,
}

/// A kind of record.
#[derive(Clone, Debug, PartialEq)]
pub struct Collection {
    /// Its name.
    pub name: String,
    /// The field that people know a record by, if one is named.
    pub label: Option<String>,
    /// What happens when a delete meets an edit that it had not seen.
    pub delete: DeletePolicy,
    /// The fields in the file's order, by name.
    pub fields: IndexMap<String, Field>,
    /// How writes of other versions are read.
    pub lens: Lens,
    /// The conditions that a person is asked about, in the file's order.
    pub rules: Vec<Rule>,
    /// Concurrent writes whose clocks lie further apart than this, in days, are put before a person where
    /// the clocks decide between them.
    pub clock_bound_days: u32,
    /// Its place among the collections when those that are referred to come first.
    pub rank: usize,
    /// Its place among the collections when those whose records decide over others' lives come first.
    pub judged: usize,
}

/// A typed field.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// The name that people and programs use.
    pub name: String,
    /// The key that documents and change sets use; the name at its birth, unchanged by renames.
    pub key: String,
    /// Its type.
    pub kind: FieldType,
    /// Whether a record must have it.
    pub required: bool,
    /// The value a new record gets when the writer gives none.
    pub default: Option<Value>,
    /// Least value: of the number, or of a text's length in characters, or of a counter's sum.
    pub min: Option<f64>,
    /// Greatest value, in the same terms.
    pub max: Option<f64>,
    /// How concurrent writes merge.
    pub merge: MergePolicy,
    /// What is shown while a review of concurrent writes is open.
    pub provisional: Provisional,
    /// Which reviews people should see first.
    pub priority: Priority,
    /// When, and on which devices, people may write it.
    pub flags: Flags,
    /// Another policy for some writes.
    pub trial: Option<Trial>,
    /// Of a reference: what the deletion of the record referred to means.
    pub on_delete: OnDelete,
}

/// The type of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldType {
    /// Unicode text.
    Text,
    /// A signed 64-bit integer.
    Integer,
    /// A finite 64-bit float.
    Number,
    /// True or false.
    Bool,
    /// One of the listed texts.
    Choice {
        /// The choices, in the file's order.
        of: Vec<String>,
    },
    /// A calendar date, `2026-11-21`.
    Date,
    /// A moment, RFC 3339 with an offset; kept in UTC.
    DateTime,
    /// The id of a record in another (or the same) collection.
    Ref {
        /// That collection.
        to: String,
    },
    /// A sum that every device adds to.
    Counter,
    /// A set of values.
    Set {
        /// What its elements are: `Text`, `Integer`, `Date` or `Choice`.
        of: Box<Self>,
    },
    /// Any JSON, kept and replaced as a whole.
    Json,
}

impl FieldType {
    /// The type's name in schema files.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Bool => "bool",
            Self::Choice { .. } => "choice",
            Self::Date => "date",
            Self::DateTime => "datetime",
            Self::Ref { .. } => "ref",
            Self::Counter => "counter",
            Self::Set { .. } => "set",
            Self::Json => "json",
        }
    }
}

/// How concurrent writes of one field merge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MergePolicy {
    /// The last writer wins, by hybrid clock and then by log id.
    Lww,
    /// All increments are summed.
    Counter,
    /// The greatest of concurrent values wins.
    Max,
    /// The least of concurrent values wins.
    Min,
    /// Of concurrent choices the one that is listed last wins; nobody goes back on purpose.
    Rank,
    /// Elements are merged one by one; an insert wins over a concurrent remove.
    Set,
    /// Elements are merged one by one; a remove wins over a concurrent insert.
    RemoveWins,
    /// Concurrent, differing values wait for a person; see [`Provisional`].
    Review,
}

impl MergePolicy {
    /// The policy's name in schema files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lww => "lww",
            Self::Counter => "counter",
            Self::Max => "max",
            Self::Min => "min",
            Self::Rank => "rank",
            Self::Set => "set",
            Self::RemoveWins => "remove-wins",
            Self::Review => "review",
        }
    }
}

/// What a field with policy `review` shows until a person decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Provisional {
    /// The value that the last writer wins with.
    #[default]
    Lww,
    /// The last value that all the writers had seen; the last writer's if there is none.
    Previous,
}

impl Provisional {
    /// Its name in schema files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lww => "lww",
            Self::Previous => "previous",
        }
    }
}

/// How urgent the reviews of a field are. The more urgent come first in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Listed before all others.
    Critical,
    /// All others.
    #[default]
    Normal,
}

impl Priority {
    /// Its name in schema files and in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::Normal => "normal",
        }
    }
}

/// What the deletion of a record means for those that refer to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDelete {
    /// They stay, and a review opens on each.
    #[default]
    Review,
    /// A record that others refer to cannot be deleted.
    Restrict,
    /// They are deleted as long as it is.
    Cascade,
    /// Their reference reads as empty as long as it is deleted.
    Detach,
}

impl OnDelete {
    /// Its name in schema files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Review => "review",
            Self::Restrict => "restrict",
            Self::Cascade => "cascade",
            Self::Detach => "detach",
        }
    }
}

/// What happens when a delete meets an edit that it had not seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeletePolicy {
    /// The record stays readable and a review opens.
    Review,
    /// The record is deleted; the edit stays in its history.
    DeleteWins,
    /// The record stays alive; the delete stays in its history.
    EditWins,
}

impl DeletePolicy {
    /// The policy's name in schema files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Review => "review",
            Self::DeleteWins => "delete-wins",
            Self::EditWins => "edit-wins",
        }
    }
}

/// One thing wrong with one field of one record.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FieldError {
    /// Where, as a JSON pointer into the record: `/temp_c`.
    pub pointer: String,
    /// A stable code: `unknown_field`, `wrong_type`, `missing_required`, `below_min`, `above_max`,
    /// `not_a_choice`, `moves_back`, `counter_needs_add`, `bad_intent`, `counter_overflow`,
    /// `not_yet`, `deprecated`.
    pub code: String,
    /// What is wrong and what would be right, for people.
    pub message: String,
}

impl FieldError {
    /// An error of the field of that name. The name may be anything that a client sent.
    pub fn new(field: &str, code: &str, message: impl Into<String>) -> Self {
        let name: String = field.chars().take(POINTER_CHARS_MAX).collect();
        let pointer = format!("/{}", name.replace('~', "~0").replace('/', "~1"));
        Self {
            pointer,
            code: code.to_owned(),
            message: message.into(),
        }
    }
}

/// How much of an unknown field's name an error repeats.
const POINTER_CHARS_MAX: usize = 80;

impl Schema {
    /// The collection of that name.
    pub fn collection(&self, name: &str) -> Option<&Collection> {
        self.collections.get(name)
    }
}

impl Field {
    /// Whether it holds one value that writes replace, rather than a sum or a set.
    pub fn is_register(&self) -> bool {
        !matches!(self.kind, FieldType::Counter | FieldType::Set { .. })
    }
}

impl Collection {
    /// The field with that stored key.
    pub fn field_by_key(&self, key: &str) -> Option<&Field> {
        self.fields.values().find(|field| field.key == key)
    }
}
