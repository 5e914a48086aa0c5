//! Helpers of the tests of change sets: small change sets by hand, and what author and receiver say to bad ones.

mod any;
mod bytes;
mod rules;

use crdt_schema::value::Value;

use super::*;

fn log(n: u8) -> LogId {
    LogId([n; 16])
}

fn set(key: &str, value: Value) -> Op {
    Op::Set {
        key: key.to_owned(),
        value,
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn edit(id: &str, ops: Vec<Op>) -> Edit {
    Edit {
        collection: "visit".to_owned(),
        id: id.to_owned(),
        deps: Vec::new(),
        ops,
    }
}

fn change_set(edits: Vec<Edit>) -> ChangeSet {
    let hlc = Timestamp::from_ms(1_760_000_000_000);
    ChangeSet {
        implied: BTreeMap::new(),
        hlc,
        schema_version: 3,
        person: "amina".to_owned(),
        tags: tags_of(&edits),
        edits,
    }
}

/// A tag for everything that the edits depend on.
fn tags_of(edits: &[Edit]) -> BTreeMap<Dot, DotTag> {
    let deps = edits.iter().flat_map(|edit| &edit.deps);
    deps.map(|dep| (*dep, [dep.log.0[0], dep.seq as u8]))
        .collect()
}

/// A change set with one edit of one op.
fn single(op: Op) -> ChangeSet {
    change_set(vec![edit("KE-1", vec![op])])
}

/// A change set of edits without names, each told by an earlier edit.
fn implying(edits: Vec<(Vec<Dot>, Implied)>) -> ChangeSet {
    let mut all = change_set(Vec::new());
    for (deps, earlier) in edits {
        all.implied.insert(all.edits.len(), earlier);
        all.edits.push(Edit {
            collection: String::new(),
            deps,
            ..edit("", vec![set("status", text("open"))])
        });
    }
    all.tags = tags_of(&all.edits);
    all
}

/// The error that both the author and the receiver give.
fn refusal(set: &ChangeSet) -> WireError {
    let author = check_change_set(set).expect_err("the author's check passed");
    assert!(
        decode_change_set(&encode_change_set(set)).is_err(),
        "the decoder accepted {set:?}"
    );
    author
}

fn assert_malformed(set: &ChangeSet) {
    let error = refusal(set);
    assert!(matches!(error, WireError::Malformed(_)), "{error}");
}

fn assert_too_large(set: &ChangeSet) {
    let error = refusal(set);
    assert!(matches!(error, WireError::TooLarge { .. }), "{error}");
}
