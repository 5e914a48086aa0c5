//! Records that branches of a forked log have edited, as the merge shows them and as a mistake would.

use crdt_schema::document::Document;
use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::LogId;
use crdt_schema::op::{ChangeSet, DotTag, Edit, Op};
use crdt_schema::value::Value;
use fieldmesh::engine::batch::LogHeader;
use fieldmesh::store::FeedItem;

use super::*;
use crate::oracle::branches::{Branches, forked};
use crate::oracle::record::gathered;

const SCHEMA: &str = "schema = \"s\"\nversion = 1\n[collections.patient.fields]\n\
    name = { type = \"text\" }\nweight = { type = \"integer\", merge = \"max\" }";

fn collection() -> Collection {
    Schema::parse(SCHEMA).unwrap().collections["patient"].clone()
}

fn set(key: &str, value: Value) -> Op {
    let key = key.to_owned();
    Op::Set { key, value }
}

fn name(text: &str) -> Op {
    set("name", Value::Text(text.to_owned()))
}

fn item(
    (header, seq): (&LogHeader, u64),
    ms: u64,
    deps: &[(Dot, DotTag)],
    ops: Vec<Op>,
) -> FeedItem {
    let edit = Edit {
        collection: "patient".to_owned(),
        id: "p1".to_owned(),
        deps: deps.iter().map(|(dep, _)| *dep).collect(),
        ops,
    };
    FeedItem {
        arrival: ms,
        header: header.clone(),
        seq,
        set: ChangeSet {
            hlc: Timestamp::from_ms(ms),
            schema_version: 1,
            person: String::new(),
            edits: vec![edit],
            tags: deps.iter().copied().collect(),
            implied: Default::default(),
        },
    }
}

/// A log that has forked after it gave the record a name, with one edit on each branch; and another's edit, which
/// follows that of the second branch.
fn items([whole, one, other]: &[LogHeader; 3]) -> [FeedItem; 4] {
    let peer = LogHeader {
        log: LogId([9; 16]),
        ..whole.clone()
    };
    let seen = (Dot::new(whole.log, 2), [6; 2]);
    [
        item(
            (whole, 1),
            1,
            &[],
            vec![name("Awa"), set("weight", Value::Integer(9))],
        ),
        item(
            (one, 2),
            4,
            &[],
            vec![name("Aminata"), set("weight", Value::Integer(3))],
        ),
        item((other, 2), 2, &[], vec![name("Binta")]),
        item((&peer, 1), 3, &[seen], vec![name("Bineta")]),
    ]
}

/// What the merge shows if the edits follow these, by their places.
fn merged(items: &[FeedItem], follows: &[&[usize]]) -> RecordView {
    let dot = |item: &FeedItem| Dot::new(item.header.log, item.seq);
    let mut document = Document::new();
    for (item, causes) in items.iter().zip(follows) {
        let mut edit = item.set.edits[0].clone();
        edit.deps = causes.iter().map(|cause| dot(&items[*cause])).collect();
        document.apply(dot(item), item.set.hlc, 1, &edit).unwrap();
    }
    document.view(&collection(), "p1")
}

fn judged(items: &[FeedItem], branches: &Branches, view: &RecordView) -> [Result<(), Oracle>; 2] {
    let records = gathered(items, branches);
    let record = &records[&("patient".to_owned(), "p1".to_owned())];
    let life = rules::life(record, &collection());
    let by_rules = judge_record(record, &collection(), view, Some(life));
    [
        follows(record, view).map_err(|_| Oracle::Order),
        by_rules.map_err(|(oracle, _)| oracle),
    ]
}

#[test]
fn what_the_merge_shows_of_a_record_that_both_branches_have_edited_holds() {
    let (branches, headers) = forked();
    let items = items(&headers);

    let view = merged(&items, &[&[], &[0], &[0], &[2]]);

    assert_eq!(view.fields["name"], "Aminata");
    assert_eq!(view.fields["weight"], 3);
    assert_eq!(judged(&items, &branches, &view), [Ok(()), Ok(())]);
}

#[test]
fn a_wrong_winner_among_the_edits_of_branches_is_seen() {
    let (branches, headers) = forked();
    let items = items(&headers);

    let other_branch = merged(&items, &[&[], &[0], &[0], &[1]]);
    let no_past = merged(&items, &[&[], &[], &[0], &[2]]);

    let wrong = [Err(Oracle::Order), Err(Oracle::Register)];
    assert_eq!(other_branch.fields["name"], "Bineta");
    assert_eq!(judged(&items, &branches, &other_branch), wrong);
    assert_eq!(no_past.fields["weight"], 9);
    assert_eq!(judged(&items, &branches, &no_past)[1], wrong[1]);
}

#[test]
fn an_edit_that_is_shown_without_the_branch_that_it_follows_is_seen() {
    let (branches, headers) = forked();
    let [first, one, _, peer] = items(&headers);
    let items = [first, one, peer];

    let view = merged(&items, &[&[], &[0], &[1]]);

    assert_eq!(judged(&items, &branches, &view)[0], Err(Oracle::Order));
}
