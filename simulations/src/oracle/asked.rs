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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crdt_schema::hlc::Timestamp;
    use crdt_schema::value::Value;
    use fieldmesh::engine::batch::WriteMode;

    use super::*;

    const SCHEMA: &str = "schema = \"s\"\nversion = 1\n[collections.stock.fields]\n\
        item = { type = \"text\" }\nunit = { type = \"text\", default = \"box\" }\n\
        on_hand = { type = \"counter\" }";

    fn set(key: &str, value: &str) -> Op {
        let (key, value) = (key.to_owned(), Value::Text(value.to_owned()));
        Op::Set { key, value }
    }

    fn add(delta: i64) -> Op {
        let key = "on_hand".to_owned();
        Op::Add { key, delta }
    }

    /// Judges a change set with these edits for a request of two records.
    fn judged(edits: &[(&str, Vec<Op>)], is_first: Option<bool>) -> Result<(), String> {
        let wanted = |id: &str, ops| LocalEdit {
            collection: "stock".to_owned(),
            id: id.to_owned(),
            mode: WriteMode::Upsert,
            if_match: None,
            ops,
        };
        let asked = Asked {
            device: 0,
            edits: vec![
                wanted("a", vec![set("item", "gloves"), add(2)]),
                wanted("b", vec![set("unit", "bag")]),
            ],
            key: None,
            review: None,
            version: 1,
        };
        let edit = |(id, ops): &(&str, Vec<Op>)| Edit {
            collection: "stock".to_owned(),
            id: (*id).to_owned(),
            deps: Vec::new(),
            ops: ops.clone(),
        };
        let set = ChangeSet {
            hlc: Timestamp::from_ms(1),
            schema_version: 1,
            person: String::new(),
            edits: edits.iter().map(edit).collect(),
            tags: BTreeMap::new(),
            implied: BTreeMap::new(),
        };
        let schema = Schema::parse(SCHEMA).unwrap();
        as_asked(&set, &asked, &schema, |_| is_first)
    }

    #[test]
    fn a_change_set_is_what_was_asked_for_with_the_defaults_of_new_records() {
        let (item, unit) = (|| set("item", "gloves"), || set("unit", "bag"));
        let known = [("b", vec![unit()]), ("a", vec![item(), add(2)])];
        let new = [
            ("a", vec![item(), add(2), set("unit", "box")]),
            ("b", vec![unit()]),
        ];

        assert_eq!(judged(&known, Some(false)), Ok(()));
        assert_eq!(judged(&new, Some(true)), Ok(()));
        assert!(judged(&new, Some(false)).is_err(), "it is not new");
        assert!(judged(&known, Some(true)).is_err(), "a default is missing");
        assert_eq!([judged(&new, None), judged(&known, None)], [Ok(()), Ok(())]);
    }

    #[test]
    fn what_is_left_out_doubled_added_or_put_elsewhere_is_seen() {
        let (item, unit) = (|| set("item", "gloves"), || ("b", vec![set("unit", "bag")]));
        for wrong in [
            vec![],
            vec![("a", vec![item(), add(2)])],
            vec![("a", vec![item(), add(4)]), unit()],
            vec![("a", vec![item(), add(2), add(2)]), unit()],
            vec![("a", vec![item()]), unit()],
            vec![("c", vec![item(), add(2)]), unit()],
            vec![("a", vec![item(), add(2)]), unit(), ("c", vec![add(1)])],
            vec![("a", vec![item(), add(2)]), ("a", vec![item(), add(2)])],
        ] {
            assert!(judged(&wrong, Some(false)).is_err(), "{wrong:?}");
        }
    }
}
