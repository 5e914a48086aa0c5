use std::convert::Infallible;

use serde_json::json;

use super::*;
use crate::document::Document;
use crate::hlc::Timestamp;
use crate::ident::LogId;
use crate::op::{Edit, Op};
use crate::schema::Schema;

const SCHEMA: &str = r#"
schema = "s"
version = 1
[collections.place.fields]
name = { type = "text" }
[collections.item]
delete = "delete-wins"
[collections.item.fields]
asks = { type = "ref", to = "place" }
goes = { type = "ref", to = "place", on_delete = "cascade" }
loose = { type = "ref", to = "place", on_delete = "detach" }
count = { type = "counter" }
[[review]]
in = "item"
when = "count < 0"
reason = "it went negative"
"#;

fn collection(name: &str) -> Collection {
    let schema = Schema::parse(SCHEMA).unwrap_or_else(|errors| panic!("{errors}"));
    schema.collections[name].clone()
}

fn dot(seq: u64) -> Dot {
    Dot::new(LogId([1; 16]), seq)
}

fn record(writes: Vec<Vec<Op>>) -> Document {
    let mut doc = Document::new();
    for (seq, ops) in (1..).zip(writes) {
        let edit = Edit {
            collection: "item".into(),
            id: "i".into(),
            deps: Vec::new(),
            ops,
        };
        let hlc = Timestamp::from_ms(1_790_000_000_000 + seq);
        doc.apply(dot(seq), hlc, 1, &edit).unwrap();
    }
    doc
}

fn set(key: &str) -> Op {
    Op::Set {
        key: key.into(),
        value: Value::Text("p".into()),
    }
}

fn judged(doc: &Document, parent: Parent) -> RecordView {
    let collection = collection("item");
    let own = doc.view(&collection, "i");
    let parents = vec![parent; own.refs.len()];
    let judged = judge(own, &collection, "i", &parents, || {
        Ok::<_, Infallible>(false)
    });
    judged.unwrap()
}

fn gone() -> Parent {
    Parent::Deleted(vec![Dot::new(LogId([9; 16]), 3)])
}

#[test]
fn a_record_waits_for_what_it_refers_to() {
    let doc = record(vec![vec![set("asks"), set("goes")]]);

    assert_eq!(
        judged(&doc, Parent::Unknown).waiting(),
        ["place/p", "place/p"]
    );
    assert!(judged(&doc, Parent::Here).waiting().is_empty());
    assert!(judged(&doc, gone()).waiting().is_empty());
}

#[test]
fn each_mode_says_what_a_deleted_parent_means() {
    let asks = judged(&record(vec![vec![set("asks")]]), gone());
    let goes = judged(&record(vec![vec![set("goes")]]), gone());
    let loose = judged(&record(vec![vec![set("loose")]]), gone());

    let key = "asks".to_owned();
    assert_eq!(asks.reviews[0].subject, ReviewSubject::Reference { key });
    assert_eq!(
        (asks.life, goes.life, loose.life),
        (Life::Live, Life::Deleted, Life::Live)
    );
    assert_eq!(goes.deleted_by, [Dot::new(LogId([9; 16]), 3)]);
    assert_eq!(asks.fields.get("asks"), Some(&json!("p")));
    assert!(!loose.fields.contains_key("loose") && loose.reviews.is_empty());
}

#[test]
fn a_parent_that_is_here_changes_nothing() {
    let doc = record(vec![vec![set("asks"), set("goes"), set("loose")]]);

    assert_eq!(
        judged(&doc, Parent::Here),
        doc.view(&collection("item"), "i")
    );
}

#[test]
fn a_deletion_waits_while_a_living_record_restricts_it_or_until_a_person_lets_it() {
    let place = collection("place");
    let delete = || Op::Delete {
        reason: String::new(),
    };
    let held = |doc: &Document, held: bool| {
        judge(doc.view(&place, "p"), &place, "p", &[], || {
            Ok::<_, Infallible>(held)
        })
        .unwrap()
    };
    let doc = record(vec![vec![set("name")], vec![delete()]]);

    let contested = held(&doc, true);

    assert_eq!(contested.life, Life::Contested);
    assert_eq!(contested.reviews[0].subject, ReviewSubject::Restricted);
    assert_eq!(held(&doc, false).life, Life::Deleted);
    let accept = Op::Accept {
        review: contested.reviews[0].id.0.clone(),
        note: "moved".into(),
    };
    let accepted = held(
        &record(vec![vec![set("name")], vec![delete()], vec![accept]]),
        true,
    );
    assert_eq!(accepted.life, Life::Deleted);
    assert!(accepted.reviews.is_empty());
    assert_eq!(
        accepted.answered[0].subject,
        Some(ReviewSubject::Restricted)
    );
}

#[test]
fn an_accepted_reference_is_not_asked_about_again_until_it_is_written() {
    let writes = || vec![vec![set("asks")]];
    let open = judged(&record(writes()), gone());
    let accept = Op::Accept {
        review: open.reviews[0].id.0.clone(),
        note: String::new(),
    };

    let mut more = writes();
    more.push(vec![accept]);
    let accepted = judged(&record(more.clone()), gone());
    more.push(vec![set("asks")]);
    let again = judged(&record(more), gone());

    assert!(accepted.reviews.is_empty());
    assert_eq!(again.reviews.len(), 1);
    assert_ne!(again.reviews[0].id, open.reviews[0].id);
}

#[test]
fn rules_do_not_speak_of_records_that_went_with_another() {
    let key = "count".to_owned();
    let doc = record(vec![vec![set("goes"), Op::Add { key, delta: -1 }]]);

    assert_eq!(judged(&doc, Parent::Here).reviews.len(), 1);
    assert!(judged(&doc, gone()).reviews.is_empty());
}

#[test]
fn the_reasons_name_the_record_that_is_missing_or_gone() {
    let collection = collection("item");
    let doc = record(vec![vec![set("asks"), set("goes"), set("loose")]]);
    let why = |parent| {
        let mut why = doc.resolve(&collection, "i");
        explain(&judged(&doc, parent), &collection, &mut why);
        why
    };

    assert!(
        why(Parent::Unknown)[0]
            .why
            .ends_with("waiting for place/p, which is not here yet")
    );
    let gone = why(gone());
    assert!(
        gone[1].why.contains("this record with it"),
        "{}",
        gone[1].why
    );
    assert!(gone[2].why.contains("reads as empty") && gone[2].value.is_null());
}
