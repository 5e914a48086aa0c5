//! What one version of a schema means to data of another: the two questions that the store asks.
//!
//! Stands in for the same functions of `crdt_schema::schema`, with their signatures: it knows no migrations,
//! so versions are read without lenses, and of changes it judges only the name, the version and types.

use crdt_schema::schema::Schema;

/// How much a change of a schema matters. The worst comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Data would be lost or misread.
    Error,
    /// People should know before they publish.
    Warning,
    /// Nothing to worry about.
    Note,
}

impl Severity {
    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// One difference between two versions of a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// How much it matters.
    pub severity: Severity,
    /// The collection it is in.
    pub collection: Option<String>,
    /// The field it is of.
    pub field: Option<String>,
    /// What happens to data, a plain sentence.
    pub data: String,
    /// What older devices see; may be empty.
    pub older: String,
}

/// What is different in `new`, worst first; empty if nothing is.
pub fn compare(old: &Schema, new: &Schema) -> Vec<Change> {
    let change = |severity, data: String| Change {
        severity,
        collection: None,
        field: None,
        data,
        older: String::new(),
    };
    let mut changes = Vec::new();
    if new.name != old.name {
        let data = format!("the schema is named {}, not {}", new.name, old.name);
        changes.push(change(Severity::Error, data));
    }
    if new.version <= old.version {
        let data = format!("version {} does not follow {}", new.version, old.version);
        changes.push(change(Severity::Error, data));
    }
    for collection in new.collections.values() {
        let Some(before) = old.collection(&collection.name) else {
            continue;
        };
        for field in collection.fields.values() {
            let Some(was) = before.field_by_key(&field.key) else {
                continue;
            };
            if was.kind.name() != field.kind.name() {
                let (from, to) = (was.kind.name(), field.kind.name());
                changes.push(Change {
                    collection: Some(collection.name.clone()),
                    field: Some(field.name.clone()),
                    ..change(
                        Severity::Error,
                        format!("a {from} becomes a {to} without a migration"),
                    )
                });
            } else if was.required != field.required && field.required {
                changes.push(Change {
                    collection: Some(collection.name.clone()),
                    field: Some(field.name.clone()),
                    ..change(
                        Severity::Warning,
                        "records without it cannot be saved until it is filled in".to_owned(),
                    )
                });
            }
        }
    }
    changes
}

/// `schema`, able to read what was written under versions up to `newest`.
pub(super) fn reading(schema: Schema, newest: &Schema) -> Result<Schema, String> {
    if schema.name != newest.name {
        return Err(format!("{} is another schema", newest.name));
    }
    Ok(schema)
}
