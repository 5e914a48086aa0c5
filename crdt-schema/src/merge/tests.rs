//! One worked example for each rule; random histories are in `tests/convergence.rs`.

use serde_json::{Value as Json, json};

use crate::document::Document;
use crate::hlc::Timestamp;
use crate::ident::{Dot, LogId};
use crate::op::{Edit, Op};
use crate::resolution::{RecordView, Resolution, ReviewSubject};
use crate::schema::{Collection, Schema};
use crate::value::Value;

const SCHEMA: &str = r#"
schema = "s"
version = 1
[collections.c.fields]
name = { type = "text", max = 5 }
parity = { type = "integer", merge = "max", max = 20 }
weight = { type = "number", merge = "max" }
first_seen = { type = "date", merge = "min" }
last_seen = { type = "datetime", merge = "max" }
stage = { type = "choice", of = ["open", "sent", "paid"], merge = "rank" }
stock = { type = "counter", min = 0, max = 10 }
allowed = { type = "set", of = "text", merge = "remove-wins" }
blood = { type = "text", merge = "review", provisional = "previous" }
extra = { type = "json" }
"#;

pub(crate) fn collection() -> Collection {
    let schema = Schema::parse(SCHEMA).unwrap_or_else(|errors| panic!("{errors}"));
    schema.collections["c"].clone()
}

/// Clocks that were never set open reviews of their own.
const START_MS: u64 = 1_790_000_000_000;

/// One device with one record.
pub(crate) struct Device {
    log: LogId,
    seq: u64,
    pub(crate) doc: Document,
    own: Vec<(Dot, Timestamp, Edit)>,
}

impl Device {
    pub(crate) fn new(number: u8) -> Self {
        Self {
            log: LogId([number; 16]),
            seq: 0,
            doc: Document::new(),
            own: Vec::new(),
        }
    }

    pub(crate) fn write(&mut self, ms: u64, op: Op) -> Dot {
        self.write_op(Timestamp::from_ms(START_MS + ms), op)
    }

    fn write_op(&mut self, hlc: Timestamp, op: Op) -> Dot {
        self.seq += 1;
        let heads = self.doc.heads().into_iter();
        let edit = Edit {
            collection: "c".into(),
            id: "1".into(),
            deps: heads.filter(|dot| dot.log != self.log).collect(),
            ops: vec![op],
        };
        let dot = Dot::new(self.log, self.seq);
        self.doc.apply(dot, hlc, 1, &edit).unwrap();
        self.own.push((dot, hlc, edit));
        dot
    }

    pub(crate) fn set(&mut self, ms: u64, key: &str, value: Value) -> Dot {
        let key = key.to_owned();
        self.write(ms, Op::Set { key, value })
    }

    /// A write by a clock that says what it likes.
    fn write_at(&mut self, hlc: Timestamp, key: &str, value: Value) -> Dot {
        let key = key.to_owned();
        self.write_op(hlc, Op::Set { key, value })
    }

    fn add(&mut self, ms: u64, delta: i64) -> Dot {
        let key = "stock".to_owned();
        self.write(ms, Op::Add { key, delta })
    }

    pub(crate) fn meet(&mut self, other: &mut Self) {
        for (dot, hlc, edit) in &other.own {
            self.doc.apply(*dot, *hlc, 1, edit).unwrap();
        }
        for (dot, hlc, edit) in &self.own {
            other.doc.apply(*dot, *hlc, 1, edit).unwrap();
        }
    }

    fn view(&self) -> RecordView {
        self.doc.view(&collection(), "1")
    }

    fn shows(&self, field: &str) -> Json {
        self.view().fields.get(field).cloned().unwrap_or_default()
    }

    fn why(&self, field: &str) -> Resolution {
        let all = self.doc.resolve(&collection(), "1");
        all.into_iter().find(|why| why.field == field).unwrap()
    }
}

pub(crate) fn pair() -> (Device, Device) {
    (Device::new(1), Device::new(2))
}

pub(crate) fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// What is shown of a field after the first device wrote one value and then the second one, unseen, the
/// other.
fn concurrent(field: &str, first: Value, second: Value) -> Json {
    let (mut a, mut b) = pair();
    a.set(1, field, first);
    b.set(2, field, second);
    a.meet(&mut b);
    assert_eq!(a.view(), b.view());
    a.shows(field)
}

#[test]
fn the_greatest_or_least_of_concurrent_values_wins_whatever_the_clocks_say() {
    let (whole, number) = (Value::Integer, Value::Number);
    assert_eq!(concurrent("parity", whole(7), whole(3)), 7);
    assert_eq!(concurrent("parity", whole(-7), whole(-3)), -3);
    assert_eq!(concurrent("weight", number(2.5), number(10.0)), 10.0);
    assert_eq!(concurrent("weight", number(10.0), number(-0.5)), 10.0);
    let (early, late) = (text("2026-01-31"), text("2026-11-01"));
    assert_eq!(concurrent("first_seen", early.clone(), late), "2026-01-31");
    assert_eq!(concurrent("first_seen", early, Value::Null), "2026-01-31");
    assert_eq!(concurrent("parity", whole(3), text("many")), 3);
}

#[test]
fn moments_are_compared_as_moments_and_not_as_texts() {
    // As texts, `Z` comes after `.5Z`.
    assert_eq!(
        concurrent(
            "last_seen",
            text("2026-11-21T07:00:00.5Z"),
            text("2026-11-21T07:00:00Z")
        ),
        "2026-11-21T07:00:00.5Z"
    );
}

#[test]
fn a_wrong_maximum_can_be_corrected_by_somebody_who_saw_it() {
    let (mut a, mut b) = pair();
    a.set(1, "parity", Value::Integer(17));
    a.meet(&mut b);
    b.set(2, "parity", Value::Integer(2));
    a.set(1, "name", text("Amina"));
    a.meet(&mut b);

    assert_eq!((a.shows("parity"), b.shows("parity")), (json!(2), json!(2)));
}

#[test]
fn equal_maxima_are_of_the_latest_writer() {
    let (mut a, mut b) = pair();
    a.set(9, "parity", Value::Integer(3));
    let last = b.set(10, "parity", Value::Integer(3));
    a.meet(&mut b);

    let why = a.why("parity");

    assert_eq!(why.winner.unwrap().dot, last);
    assert_eq!(why.policy, "max");
    assert_eq!(
        why.why,
        "2 concurrent writes; the greatest value of them wins"
    );
}

#[test]
fn of_concurrent_ranks_the_one_furthest_along_wins_and_an_unknown_one_never() {
    assert_eq!(concurrent("stage", text("paid"), text("sent")), "paid");
    assert_eq!(concurrent("stage", text("open"), text("lost")), "open");
    assert_eq!(concurrent("stage", text("open"), Value::Null), "open");
}

#[test]
fn a_later_lower_rank_from_a_device_that_did_not_check_wins_over_what_it_saw() {
    let (mut a, mut b) = pair();
    a.set(1, "stage", text("paid"));
    a.meet(&mut b);
    b.set(2, "stage", text("open"));
    a.meet(&mut b);
    assert_eq!(a.shows("stage"), "open");

    // Another write that had not seen it still competes by rank.
    let mut c = Device::new(3);
    c.set(1, "stage", text("sent"));
    c.meet(&mut a);
    assert_eq!(a.shows("stage"), "sent");
}

#[test]
fn a_remove_wins_over_a_concurrent_insert_where_the_schema_says_so() {
    let (mut a, mut b) = pair();
    let insert = |element: &str| Op::Insert {
        key: "allowed".into(),
        element: text(element),
    };
    a.write(1, insert("Ann"));
    a.write(2, insert("Ben"));
    a.meet(&mut b);
    a.write(
        3,
        Op::Remove {
            key: "allowed".into(),
            element: text("Ann"),
        },
    );
    b.write(4, insert("Ann"));
    a.meet(&mut b);
    assert_eq!(a.shows("allowed"), json!(["Ben"]));
    assert_eq!(
        a.why("allowed").why,
        "1 of the elements were inserted and removed at once; removes win"
    );

    b.write(5, insert("Ann"));
    a.meet(&mut b);
    assert_eq!(a.shows("allowed"), json!(["Ann", "Ben"]));
}

#[test]
fn a_sum_out_of_its_bounds_opens_a_review_that_closes_when_it_is_back() {
    let (mut a, mut b) = pair();
    a.add(1, 4);
    a.meet(&mut b);
    a.add(2, -3);
    b.add(2, -3);
    assert!(a.view().reviews.is_empty() && b.view().reviews.is_empty());
    a.meet(&mut b);

    let (left, right) = (a.view(), b.view());
    assert_eq!(left, right);
    assert_eq!(left.fields["stock"], -2);
    assert_eq!(left.reviews.len(), 1);
    let key = "stock".to_owned();
    assert_eq!(left.reviews[0].subject, ReviewSubject::Bounds { key });
    assert_eq!(left.reviews[0].candidates.len(), 2);
    let why = a.why("stock");
    assert_eq!(why.review.as_ref(), Some(&left.reviews[0].id));
    assert_eq!(
        why.why,
        "the sum of what 2 devices have added; stock must be at least 0, found -2, so it waits for a person"
    );

    // Another sum is another question.
    b.add(3, 1);
    assert_ne!(b.view().reviews[0].id, left.reviews[0].id);
    b.add(4, 1);
    assert!(b.view().reviews.is_empty());
}

#[test]
fn a_value_that_breaks_the_schema_is_shown_and_waits_for_a_person() {
    let (mut a, mut b) = pair();
    for (field, value) in [
        ("name", text("far too long")),
        ("parity", Value::Integer(21)),
        ("stage", text("lost")),
        ("first_seen", text("soon")),
    ] {
        a.set(1, field, value.clone());
        a.meet(&mut b);

        let view = b.view();
        assert_eq!(view.fields[field], value.to_json());
        assert_eq!(view.reviews.len(), 1, "{field}");
        let key = field.to_owned();
        assert_eq!(view.reviews[0].subject, ReviewSubject::Invalid { key });
        assert!(b.why(field).why.contains("breaks the schema"));

        b.set(2, field, Value::Null);
        assert!(b.view().reviews.is_empty());
        b.meet(&mut a);
    }
}

#[test]
fn the_review_of_an_invalid_value_keeps_its_name_while_others_lose_to_it() {
    let (mut a, mut b) = pair();
    a.set(2, "name", text("far too long"));
    let alone = a.view().reviews[0].id.clone();
    b.set(1, "name", text("far too old"));
    let other = b.view().reviews[0].id.clone();
    a.meet(&mut b);

    let review = &a.view().reviews[0];

    assert_eq!(review.id, alone);
    assert_ne!(other, alone);
    assert_eq!(review.candidates.len(), 2);
}

#[test]
fn until_a_person_decides_the_value_from_before_is_shown_where_the_schema_says_so() {
    let (mut a, mut b) = pair();
    let before = a.set(1, "blood", text("A"));
    a.meet(&mut b);
    let one = a.set(2, "blood", text("AB"));
    let other = b.set(3, "blood", text("0"));
    a.meet(&mut b);

    let view = a.view();
    assert_eq!(
        (view.fields["blood"].clone(), &view),
        (json!("A"), &b.view())
    );
    assert_eq!(view.reviews[0].provisional, before);
    let dots: Vec<Dot> = view.reviews[0].candidates.iter().map(|c| c.dot).collect();
    assert_eq!(dots, [other, one]);
    let why = a.why("blood");
    assert_eq!(why.winner.unwrap().dot, before);
    assert_eq!(why.others.len(), 2);

    b.write(
        4,
        Op::Resolve {
            key: "blood".into(),
            value: text("0"),
            note: "test".into(),
        },
    );
    a.meet(&mut b);
    assert_eq!(a.shows("blood"), "0");
    assert!(a.view().reviews.is_empty());
}

#[test]
fn without_a_value_from_before_the_latest_is_shown() {
    assert_eq!(concurrent("blood", text("A"), text("B")), "B");
}

#[test]
fn json_is_replaced_as_a_whole() {
    let (left, right) = (r#"{"a":1}"#.to_owned(), r#"{"b":2}"#.to_owned());
    assert_eq!(
        concurrent("extra", Value::Json(left), Value::Json(right)),
        json!({"b": 2})
    );
}

#[test]
fn clocks_that_lie_too_far_apart_are_put_before_a_person_until_the_field_is_written_anew() {
    const DAY_MS: u64 = 24 * 60 * 60 * 1000;
    let apart = |days| {
        let (mut a, mut b) = pair();
        a.set(1, "name", text("Ann"));
        b.set(1 + days * DAY_MS, "name", text("Ben"));
        a.meet(&mut b);
        a
    };

    assert!(apart(180).view().reviews.is_empty());
    let mut a = apart(181);
    let review = a.view().reviews[0].clone();
    assert_eq!(review.subject, ReviewSubject::Clock { key: "name".into() });
    assert_eq!(a.why("name").why.matches("181 days apart").count(), 1);
    assert_eq!(
        (a.shows("name"), review.candidates.len()),
        (json!("Ben"), 2)
    );
    let accept = |id: &str| Op::Accept {
        review: id.to_owned(),
        note: "seen".into(),
    };
    a.write(300 * DAY_MS, accept(&review.id.0));
    assert!(a.view().reviews.is_empty() && a.view().has_accepted(&review.id));
    assert_eq!(a.view().answered[0].subject, Some(review.subject));
    a.set(301 * DAY_MS, "name", text("Cis"));
    assert!(a.view().reviews.is_empty());
    assert_eq!(a.view().answered[0].subject, None);
}

#[test]
fn a_clock_that_was_never_set_is_suspect_only_where_it_decides() {
    let (mut a, mut b) = pair();
    a.set(0, "name", text("Ann"));
    a.set(0, "weight", Value::Integer(2));
    b.write_at(Timestamp::from_ms(7), "name", text("Ben"));
    b.write_at(Timestamp::from_ms(8), "weight", Value::Integer(3));
    a.meet(&mut b);

    let subjects: Vec<_> = a
        .view()
        .reviews
        .into_iter()
        .map(|review| review.subject)
        .collect();

    assert_eq!(subjects, [ReviewSubject::Clock { key: "name".into() }]);
    assert!(a.why("name").why.contains("never set"));
}

#[test]
fn an_accepted_review_stays_closed_until_a_new_write_joins() {
    let (mut a, mut b) = pair();
    a.add(1, -3);
    let first = a.view().reviews[0].id.clone();
    a.write(
        2,
        Op::Accept {
            review: first.0.clone(),
            note: String::new(),
        },
    );
    a.meet(&mut b);

    assert!(b.view().reviews.is_empty());
    b.add(3, -1);
    let again = b.view().reviews[0].id.clone();
    assert_ne!(again, first);
    a.meet(&mut b);
    assert_eq!(a.view(), b.view());
}

#[test]
fn an_answer_names_its_review_and_so_does_the_one_that_revisits_it() {
    let resolve = |value: &str| Op::Resolve {
        key: "blood".into(),
        value: text(value),
        note: String::new(),
    };
    let (mut a, mut b) = pair();
    a.set(1, "blood", text("A"));
    b.set(2, "blood", text("B"));
    a.meet(&mut b);
    let asked = a.view().reviews[0].id.clone();
    a.write(3, resolve("A"));
    b.write(4, resolve("B"));
    a.meet(&mut b);

    let both = a.view().answered;
    a.write(5, resolve("0"));
    let revisited = a.view().answered;
    a.set(6, "blood", text("AB"));

    assert!(both.len() == 2 && both.iter().all(|answer| answer.review == asked));
    assert_eq!(both[0].value, Some(text("B")));
    assert_eq!(revisited.len(), 1);
    assert_eq!(
        (&revisited[0].review, &revisited[0].value),
        (&asked, &Some(text("0")))
    );
    assert!(a.view().answered.is_empty());
}
