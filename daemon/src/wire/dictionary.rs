//! What both sides of a session know before the first entry: a dictionary for the compression of entries.
//!
//! It is made from the schema alone: for each collection an entry that creates a record, the choices, and an
//! entry for each field that changes it, in the bytes that real entries have. No record's data is in it, so it
//! tells nothing, and nobody sends one. A session adds the names of the logs that both sides know.
//!
//! Invariants:
//! - Equal schemas give equal bytes, and the id is a digest of them: two devices that name one id hold one
//!   dictionary, whatever version of this program made it.
//! - It is never longer than [`DICTIONARY_BYTES_MAX`] and [`DICTIONARY_LOGS_MAX`] logs, whatever the schema.
//!
//! It does not know when it is used; see [`super::compress`] and the engine's opening.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::LogId;
use crdt_schema::op::{ChangeSet, Edit, Op};
use crdt_schema::schema::{Collection, Field, FieldType, Schema};
use crdt_schema::value::Value;

use super::changeset::encode_change_set;
use super::codec::Writer;
use super::limits::{DICTIONARY_BYTES_MAX, DICTIONARY_LOGS_MAX};
use super::value::write_value;

/// Names a dictionary: the beginning of the digest of its bytes.
pub type DictionaryId = [u8; 8];

/// Bytes that a compressed stream may refer back to before it has begun.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Dictionary {
    bytes: Arc<[u8]>,
}

impl Dictionary {
    /// The dictionary of a schema.
    pub fn of(schema: &Schema) -> Self {
        let mut bytes = Vec::new();
        for collection in schema.collections.values() {
            for piece in pieces(collection) {
                if bytes.len() + piece.len() > DICTIONARY_BYTES_MAX {
                    break;
                }
                bytes.extend(piece);
            }
        }
        Self {
            bytes: bytes.into(),
        }
    }

    /// The same with the names of logs that both sides know, in an order that is the same for both.
    pub fn with_logs<'a>(&self, logs: impl Iterator<Item = &'a LogId>) -> Self {
        let mut bytes = self.bytes.to_vec();
        for log in logs.take(DICTIONARY_LOGS_MAX) {
            bytes.extend(log.0);
        }
        Self {
            bytes: bytes.into(),
        }
    }

    /// What names it.
    pub fn id(&self) -> DictionaryId {
        let digest = blake3::derive_key("fieldmesh dictionary v1", &self.bytes);
        std::array::from_fn(|index| digest[index])
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for Dictionary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dictionary({} bytes)", self.bytes.len())
    }
}

/// What is worth knowing of a collection, the most frequent last: what is nearer takes fewer bytes to name.
fn pieces(collection: &Collection) -> Vec<Vec<u8>> {
    let fields: Vec<&Field> = collection.fields.values().collect();
    let mut pieces = vec![entry(collection, &fields)];
    pieces.extend(fields.iter().filter_map(|field| choices(field)));
    pieces.extend(fields.iter().map(|field| entry(collection, &[field])));
    pieces
}

/// The choices of a field after the first, as values.
fn choices(field: &Field) -> Option<Vec<u8>> {
    let of = match &field.kind {
        FieldType::Choice { of } => of,
        FieldType::Set { of } => match &**of {
            FieldType::Choice { of } => of,
            _ => return None,
        },
        _ => return None,
    };
    let mut writer = Writer::new();
    for choice in of.iter().skip(1) {
        write_value(&mut writer, &Value::Text(choice.clone()));
    }
    Some(writer.into_bytes())
}

/// An entry that gives these fields of a record a value, from its collection on.
fn entry(collection: &Collection, fields: &[&Field]) -> Vec<u8> {
    let set = ChangeSet {
        implied: BTreeMap::new(),
        hlc: Timestamp::from_ms(0),
        schema_version: 0,
        person: String::new(),
        edits: vec![Edit {
            collection: collection.name.clone(),
            id: String::new(),
            deps: Vec::new(),
            ops: fields.iter().map(|field| typical_op(field)).collect(),
        }],
        tags: BTreeMap::new(),
    };
    encode_change_set(&set)
}

fn typical_op(field: &Field) -> Op {
    let key = field.key.clone();
    match &field.kind {
        FieldType::Counter => Op::Add { key, delta: 1 },
        FieldType::Set { of } => Op::Insert {
            key,
            element: typical_value(of),
        },
        kind => Op::Set {
            key,
            value: field.default.clone().unwrap_or_else(|| typical_value(kind)),
        },
    }
}

fn typical_value(kind: &FieldType) -> Value {
    match kind {
        FieldType::Integer | FieldType::Counter => Value::Integer(1),
        FieldType::Number => Value::Number(0.5),
        FieldType::Bool => Value::Bool(true),
        FieldType::Choice { of } => Value::Text(of.first().cloned().unwrap_or_default()),
        FieldType::Date => Value::Text("2026-01-01".to_owned()),
        FieldType::DateTime => Value::Text("2026-01-01T00:00:00Z".to_owned()),
        FieldType::Json => Value::Json("{}".to_owned()),
        FieldType::Text | FieldType::Ref { .. } | FieldType::Set { .. } => {
            Value::Text(String::new())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(fields: &str) -> Schema {
        let text =
            format!("schema = \"clinic\"\nversion = 1\n[collections.patient.fields]\n{fields}");
        Schema::parse(&text).expect("a good schema")
    }

    #[test]
    fn equal_schemas_make_equal_dictionaries_and_others_have_other_names() {
        let one = "status = { type = \"choice\", of = [\"open\", \"closed\"] }";
        let two = "status = { type = \"choice\", of = [\"open\", \"shut\"] }";

        let dictionary = Dictionary::of(&schema(one));

        assert_eq!(dictionary, Dictionary::of(&schema(one)));
        assert_eq!(dictionary.id(), Dictionary::of(&schema(one)).id());
        assert_ne!(dictionary.id(), Dictionary::of(&schema(two)).id());
        assert_ne!(
            dictionary.id(),
            dictionary.with_logs([LogId([1; 16])].iter()).id()
        );
    }

    #[test]
    fn a_huge_schema_and_many_logs_make_a_dictionary_within_its_bounds() {
        let field =
            |n: usize| format!("a_field_with_quite_a_long_name_{n} = {{ type = \"text\" }}\n");
        let fields: String = (0..200).map(field).collect();
        let logs: Vec<LogId> = (0..2 * DICTIONARY_LOGS_MAX)
            .map(|n| LogId(std::array::from_fn(|byte| (n >> byte) as u8)))
            .collect();

        let dictionary = Dictionary::of(&schema(&fields));

        let bytes = dictionary.as_bytes().len();
        assert!((DICTIONARY_BYTES_MAX / 2..=DICTIONARY_BYTES_MAX).contains(&bytes));
        let with_logs = dictionary.with_logs(logs.iter());
        assert_eq!(with_logs.as_bytes().len(), bytes + 16 * DICTIONARY_LOGS_MAX);
    }
}
