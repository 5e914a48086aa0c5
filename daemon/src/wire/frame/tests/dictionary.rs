//! Dictionaries: what both sides know does not travel, and one that was not agreed on is refused.

use std::collections::BTreeMap;

use crdt_schema::hlc::Timestamp;
use crdt_schema::op::{ChangeSet, Edit, Op};
use crdt_schema::schema::Schema;
use crdt_schema::value::Value;

use super::*;
use crate::wire::changeset::encode_change_set;

fn clinic() -> Dictionary {
    let text = "schema = \"clinic\"\nversion = 1\n[collections.patient.fields]\nname = { type = \"text\" }\n\
                status = { type = \"choice\", of = [\"waiting\", \"treated\", \"referred\"] }";
    Dictionary::of(&Schema::parse(text).expect("a good schema"))
}

/// A change of one field of a patient.
fn update() -> Message {
    let set = ChangeSet {
        implied: BTreeMap::new(),
        hlc: Timestamp::from_ms(1_790_000_000_000),
        schema_version: 1,
        person: "amina".to_owned(),
        edits: vec![Edit {
            collection: "patient".to_owned(),
            id: "KE-77".to_owned(),
            deps: Vec::new(),
            ops: vec![Op::Set {
                key: "status".to_owned(),
                value: Value::Text("referred".to_owned()),
            }],
        }],
        tags: BTreeMap::new(),
    };
    Message::Data(vec![run(1, 1, &[&encode_change_set(&set)])])
}

#[test]
fn what_the_schema_says_and_logs_that_both_know_do_not_travel() {
    let plain = FrameEncoder::new().encode(&update());
    let dictionary = clinic().with_logs([header(1).log].iter());
    let (mut encoder, mut decoder) = (FrameEncoder::new(), FrameDecoder::new());
    encoder.use_dictionary(dictionary.clone());
    decoder.use_dictionary(dictionary);

    let frame = encoder.encode(&update());

    assert_eq!(decoder.decode(&frame), Ok(update()));
    assert!(
        frame.len() + 20 < plain.len(),
        "{} and {} bytes",
        frame.len(),
        plain.len()
    );
}

#[test]
fn a_dictionary_that_was_not_agreed_on_is_refused_and_another_one_gives_nothing_false() {
    let mut encoder = FrameEncoder::new();
    encoder.use_dictionary(clinic());
    let frame = encoder.encode(&update());

    assert_eq!(refusal(&frame), WireError::Dictionary);
    let mut decoder = FrameDecoder::new();
    decoder.use_dictionary(Dictionary::default());
    assert!(decoder.decode(&frame).is_err());
}

#[test]
fn a_dictionary_that_comes_too_late_is_not_used() {
    let (mut encoder, mut decoder) = (FrameEncoder::new(), FrameDecoder::new());
    for _ in 0..2 {
        let frame = encoder.encode(&update());
        assert_eq!(decoder.decode(&frame), Ok(update()));
        encoder.use_dictionary(clinic());
    }
}
