//! What was asked for and what was committed (4), compared edit by edit.

use crdt_schema::flags::Flags;
use crdt_schema::op::{ChangeSet, Edit, Op};
use crdt_schema::schema::{Collection, Field, Schema};
use fieldmesh::engine::batch::LocalEdit;

use crate::ledger::{Asked, beyond};

/// Whether a change set says all that was asked for, and nothing else but the defaults of records that are new.
/// `is_first` tells whether an edit is the first of its record, if that is known.
///
/// # Errors
/// What is there and was not asked for, or the other way round.
pub(crate) fn as_asked(
    set: &ChangeSet,
    asked: &Asked,
    schema: &Schema,
    is_first: impl Fn(&Edit) -> Option<bool>,
) -> Result<(), String> {
    if set.schema_version != asked.version {
        let (found, version) = (set.schema_version, asked.version);
        return Err(format!("it is of version {found} and not {version}"));
    }
    if set.edits.len() != asked.edits.len() {
        return Err(format!("it has the edits {:?}", set.edits));
    }
    for wanted in &asked.edits {
        let mut edits = set.edits.iter();
        let found = edits.find_map(|edit| Some((edit, beyond(edit, wanted)?)));
        let Some((edit, beyond)) = found else {
            return Err(format!("it has the edits {:?}", set.edits));
        };
        let collection = schema.collection(&edit.collection);
        let defaults = collection.map_or(Vec::new(), |it| defaults(it, wanted));
        let is_first = (!defaults.is_empty()).then(|| is_first(edit)).flatten();
        let is_default = |op: &Op| is_first != Some(false) && defaults.iter().any(|it| it.1 == *op);
        if let Some(op) = beyond.iter().find(|op| !is_default(op)) {
            return Err(format!("it does {op:?} as well"));
        }
        let lacks = |(field, op): &&(&Field, Op)| !is_dated(field) && !beyond.contains(op);
        if let Some((field, _)) = defaults
            .iter()
            .find(lacks)
            .filter(|_| is_first == Some(true))
        {
            return Err(format!("it leaves out the default of {}", field.name));
        }
    }
    Ok(())
}

/// The defaults that a new record of the collection has besides what was asked for.
fn defaults<'c>(collection: &'c Collection, asked: &LocalEdit) -> Vec<(&'c Field, Op)> {
    let is_named = |field: &&Field| asked.ops.iter().any(|op| op.key() == Some(&field.key));
    let unnamed = collection.fields.values().filter(|field| !is_named(field));
    let default = |field: &'c Field| {
        let (key, value) = (field.key.clone(), field.default.clone()?);
        Some((field, Op::Set { key, value }))
    };
    unnamed.filter_map(default).collect()
}

/// Whether the field is written on some days or some devices only.
fn is_dated(field: &Field) -> bool {
    field.flags != Flags::default()
}
