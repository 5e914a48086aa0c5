//! What these tools ask of schema evolution: how two schemas differ, and how a record of one is read
//! under the other.
//!
//! Compares field by field and by stored key; a field whose stored key is gone is not shown.

use crdt_schema::document::{Document, DocumentError};
use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::Dot;
use crdt_schema::op::Edit;
use crdt_schema::resolution::RecordView;
use crdt_schema::schema::{Collection, Field, Schema};

/// How much a change asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    Error,
    Warning,
    Note,
}

impl Severity {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// One difference between two schemas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) severity: Severity,
    pub(super) collection: Option<String>,
    pub(super) field: Option<String>,
    /// What happens to data.
    pub(super) data: String,
    /// What happens on older devices; may be empty.
    pub(super) older: String,
}

/// What changes from `old` to `new`, the worst first.
pub(super) fn compare(old: &Schema, new: &Schema) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut whole = |data: String| {
        changes.push(Change {
            severity: Severity::Error,
            collection: None,
            field: None,
            data,
            older: String::new(),
        });
    };
    if old.name != new.name {
        whole(format!(
            "the name changes from {} to {}",
            old.name, new.name
        ));
    }
    if old.source != new.source && old.version >= new.version {
        whole(format!("the version must be greater than {}", old.version));
    }
    for was in old.collections.values() {
        match new.collection(&was.name) {
            Some(is) => changes.extend(compare_collections(was, is)),
            None => changes.push(Change {
                severity: Severity::Error,
                collection: Some(was.name.clone()),
                field: None,
                data: "the collection is dropped and its records are not shown".to_owned(),
                older: "go on writing records that newer ones do not show".to_owned(),
            }),
        }
    }
    changes.sort_by_key(|change| change.severity);
    changes
}

fn compare_collections(was: &Collection, is: &Collection) -> Vec<Change> {
    let change = |severity, field: Option<&Field>, data: String, older: &str| Change {
        severity,
        collection: Some(is.name.clone()),
        field: field.map(|field| field.name.clone()),
        data,
        older: older.to_owned(),
    };
    let mut changes = Vec::new();
    if was.delete != is.delete {
        let (from, to) = (was.delete.name(), is.delete.name());
        let data = format!("a delete that meets an edit is judged by {to} in place of {from}");
        changes.push(change(Severity::Warning, None, data, "judge as before"));
    }
    for field in was.fields.values() {
        let Some(now) = is.field_by_key(&field.key) else {
            let data = "is dropped without a migration; its values are kept and not shown";
            changes.push(change(
                Severity::Error,
                Some(field),
                data.to_owned(),
                "go on writing it",
            ));
            continue;
        };
        if field.kind.name() != now.kind.name() {
            let (from, to) = (field.kind.name(), now.kind.name());
            let data = format!("changes from {from} to {to} without a migration");
            changes.push(change(Severity::Error, Some(now), data, ""));
        } else if field.merge != now.merge {
            let (from, to) = (field.merge.name(), now.merge.name());
            let data = format!("concurrent writes merge by {to} in place of {from}");
            changes.push(change(
                Severity::Warning,
                Some(now),
                data,
                "merge as before",
            ));
        }
    }
    for field in is.fields.values() {
        if was.field_by_key(&field.key).is_none() {
            let severity = if field.required && field.default.is_none() {
                Severity::Warning
            } else {
                Severity::Note
            };
            let data = "is new; records have it once somebody writes it".to_owned();
            changes.push(change(
                severity,
                Some(field),
                data,
                "keep it and do not show it",
            ));
        }
    }
    changes
}

/// `old` as a device reads with it that has met data of `new`.
pub(super) fn reading(old: Schema, _new: &Schema) -> Result<Schema, String> {
    Ok(old)
}

/// What is in the record and `is` cannot show, in plain words. `before` is the record under `was`.
pub(super) fn partial(
    before: &RecordView,
    _after: &RecordView,
    was: &Collection,
    is: &Collection,
) -> Vec<String> {
    let lost = |name: &&String| {
        let field = was.fields.get(*name);
        field.is_some_and(|field| is.field_by_key(&field.key).is_none())
    };
    before.fields.keys().filter(lost).cloned().collect()
}

/// Applies an edit that was written under `_version` of the schema.
pub(super) fn apply(
    document: &mut Document,
    dot: Dot,
    hlc: Timestamp,
    _version: u32,
    edit: &Edit,
) -> Result<(), DocumentError> {
    document.apply(dot, hlc, edit)
}
