//! What a record holds beyond the fields of the schema that it is read under: values that older versions
//! left behind, values that newer ones have written, and the value of a field that nobody wrote.

use serde_json::{Map, Value as Json};

use super::{Merged, Record, merge};
use crate::document::{SetElement, State};
use crate::lens::Assumed;
use crate::resolution::Candidate;
use crate::schema::{Collection, Field, FieldType};
use crate::value::Value;

/// The last values of removed fields that the schema still shows. Nobody can answer a review of them,
/// so none is opened.
pub(super) fn values(
    state: &State,
    collection: &Collection,
    record: &Record<'_>,
) -> Map<String, Json> {
    let mut values = Map::new();
    for removed in collection.lens.legacy() {
        let field = &removed.field;
        let written = match field.kind {
            FieldType::Counter => state.counters.contains_key(&field.key),
            _ => true,
        };
        if let Some(value) = merge(state, field, record).value.filter(|_| written) {
            values.insert(field.name.clone(), value);
        }
    }
    values
}

/// What the schema cannot show, in the order of the stored keys: fields that it does not know, and writes
/// under versions that it knows nothing of.
pub(super) fn partial(state: &State, collection: &Collection) -> Vec<String> {
    let mut lacks = Vec::new();
    let writes = |key: &str, candidates: &[Candidate], shown: bool, lacks: &mut Vec<String>| {
        let newest = candidates.iter().map(|write| write.version).max();
        let lack = newest.and_then(|newest| lack(collection, key, newest, shown));
        lacks.extend(lack);
    };
    for (key, candidates) in &state.registers {
        let empty = candidates.iter().all(|write| write.value.is_null());
        if !empty {
            let shown = shows(collection, key, Field::is_register);
            writes(key, candidates, shown, &mut lacks);
        }
    }
    for (key, sums) in &state.counters {
        let shown = shows(collection, key, |field| field.kind == FieldType::Counter);
        writes(key, sums, shown, &mut lacks);
    }
    for (key, elements) in &state.sets {
        let marks: Vec<Candidate> = elements.iter().flat_map(inserts).collect();
        let shown = shows(collection, key, |field| {
            matches!(field.kind, FieldType::Set { .. })
        });
        writes(key, &marks, shown, &mut lacks);
    }
    lacks.sort_unstable();
    lacks.dedup();
    lacks
}

fn inserts(element: &SetElement) -> impl Iterator<Item = Candidate> {
    let inserts = element.marks.iter();
    inserts
        .filter(|mark| mark.value == Value::Bool(true))
        .cloned()
}

fn shows(collection: &Collection, key: &str, kind: impl Fn(&Field) -> bool) -> bool {
    collection.field_by_key(key).is_some_and(kind)
}

/// What is lacking of a key whose newest write was made under that version.
fn lack(collection: &Collection, key: &str, newest: u32, shown: bool) -> Option<String> {
    let lens = &collection.lens;
    match shown {
        false => lens.lacks(key, newest),
        true if newest > lens.knows => {
            let name = collection
                .field_by_key(key)
                .map_or(key, |field| &field.name);
            Some(format!("{name} (written under version {newest})"))
        }
        true => None,
    }
}

/// A field that nobody has written, with the value that a migration gives it.
pub(super) fn assumed(assumed: &Assumed) -> Merged {
    Merged {
        value: Some(assumed.value.to_json()).filter(|value| !value.is_null()),
        winner: None,
        others: Vec::new(),
        review: None,
        accepted: Vec::new(),
        why: format!(
            "nobody has written it; version {} added it with this value",
            assumed.since
        ),
    }
}
