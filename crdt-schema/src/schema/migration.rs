//! What `[[migrations]]` say, as people wrote it: by names. [`super::chain`] finds the stored keys.

use std::fmt;

use indexmap::IndexMap;

use super::Field;
use crate::lens::{Function, Joint};

/// The steps from one version to the next.
#[derive(Clone, Debug, PartialEq)]
pub struct Migration {
    /// The version that they lead to.
    pub to: u32,
    /// In the file's order.
    pub steps: Vec<Step>,
}

/// One step. The names before it are those of the version before, the names after it those of the
/// version that it leads to.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// `{ rename = "patient.tel", as = "phone" }`
    Rename {
        /// The collection.
        collection: String,
        /// The name before.
        field: String,
        /// The name after.
        name: String,
    },
    /// `{ add = "visit.outcome", default = "open" }`
    Add {
        /// The collection.
        collection: String,
        /// The field.
        field: String,
        /// Its stored key, if that is not its name.
        key: Option<String>,
        /// What a record reads as in which nobody has written it.
        default: Option<serde_json::Value>,
    },
    /// `{ remove = "visit.fee", was = { type = "integer" }, until = 5 }`
    Remove {
        /// The collection.
        collection: String,
        /// The field.
        field: String,
        /// The field as it was.
        was: Box<Field>,
        /// The first version that does not show its last value.
        until: Option<u32>,
    },
    /// `{ convert = "visit.temp", as = "temp_c", with = "f_to_c" }`
    Convert {
        /// The collection.
        collection: String,
        /// The name before.
        field: String,
        /// The name after, which may be the same.
        name: String,
        /// What is done to each value.
        with: Function,
    },
    /// `{ remap = "visit.state", values = { open = "new", done = "closed" } }`
    Remap {
        /// The collection.
        collection: String,
        /// The field.
        field: String,
        /// Old choice → new choice. The way back takes the first that leads to a choice.
        values: IndexMap<String, String>,
    },
    /// `{ split = "patient.name", into = ["given", "family"], with = "first_space" }`
    Split {
        /// The collection.
        collection: String,
        /// The field before.
        field: String,
        /// The fields after.
        into: [String; 2],
        /// Where the text is divided.
        with: Joint,
    },
    /// `{ merge = ["patient.given", "patient.family"], as = "name", with = "space" }`
    Merge {
        /// The collection.
        collection: String,
        /// The fields before.
        fields: [String; 2],
        /// The field after.
        name: String,
        /// What is put between the texts.
        with: Joint,
    },
}

impl Step {
    /// The collection that it changes.
    pub fn collection(&self) -> &str {
        match self {
            Self::Rename { collection, .. }
            | Self::Add { collection, .. }
            | Self::Remove { collection, .. }
            | Self::Convert { collection, .. }
            | Self::Remap { collection, .. }
            | Self::Split { collection, .. }
            | Self::Merge { collection, .. } => collection,
        }
    }
}

impl fmt::Display for Step {
    /// In short, for messages: `rename patient.tel as phone`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let c = self.collection();
        match self {
            Self::Rename { field, name, .. } => write!(f, "rename {c}.{field} as {name}"),
            Self::Add { field, .. } => write!(f, "add {c}.{field}"),
            Self::Remove { field, .. } => write!(f, "remove {c}.{field}"),
            Self::Convert {
                field, name, with, ..
            } => write!(f, "convert {c}.{field} as {name} with {}", with.name()),
            Self::Remap { field, .. } => write!(f, "remap {c}.{field}"),
            Self::Split { field, into, .. } => {
                write!(f, "split {c}.{field} into {} and {}", into[0], into[1])
            }
            Self::Merge { fields, name, .. } => {
                write!(f, "merge {c}.{} and {c}.{} as {name}", fields[0], fields[1])
            }
        }
    }
}
