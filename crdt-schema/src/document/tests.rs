use super::*;
use crate::flags::Flags;
use crate::ident::LogId;
use crate::lens::Lens;
use crate::op::Op;
use crate::resolution::{Life, ReviewSubject};
use crate::schema::{DeletePolicy, Field, FieldType, MergePolicy, OnDelete, Priority, Provisional};
use crate::value::Value;

fn field(name: &str, kind: FieldType, merge: MergePolicy) -> (String, Field) {
    let field = Field {
        name: name.to_owned(),
        key: name.to_owned(),
        kind,
        required: false,
        default: None,
        min: None,
        max: None,
        merge,
        provisional: Provisional::default(),
        priority: Priority::default(),
        flags: Flags::default(),
        trial: None,
        on_delete: OnDelete::default(),
    };
    (name.to_owned(), field)
}

fn collection(delete: DeletePolicy) -> Collection {
    let fields = [
        field("name", FieldType::Text, MergePolicy::Review),
        field("phone", FieldType::Text, MergePolicy::Lww),
        field("visits", FieldType::Counter, MergePolicy::Counter),
        field(
            "tags",
            FieldType::Set {
                of: Box::new(FieldType::Text),
            },
            MergePolicy::Set,
        ),
    ];
    Collection {
        name: "patient".to_owned(),
        label: None,
        delete,
        fields: fields.into_iter().collect(),
        lens: Lens::default(),
        rules: Vec::new(),
        clock_bound_days: 180,
        rank: 0,
        judged: 0,
    }
}

/// One device with one record.
struct Device {
    log: LogId,
    seq: u64,
    doc: Document,
}

type Delivery = (Dot, Timestamp, Edit);

impl Device {
    fn new(number: u8) -> Self {
        Self {
            log: LogId([number; 16]),
            seq: 0,
            doc: Document::new(),
        }
    }

    fn edit(&mut self, ms: u64, ops: Vec<Op>) -> Delivery {
        self.seq += 1;
        let deps = self
            .doc
            .heads()
            .into_iter()
            .filter(|dot| dot.log != self.log)
            .collect();
        let edit = Edit {
            collection: "patient".to_owned(),
            id: "1".to_owned(),
            deps,
            ops,
        };
        let delivery = (Dot::new(self.log, self.seq), Timestamp::from_ms(ms), edit);
        self.take(&delivery);
        delivery
    }

    fn take(&mut self, (dot, hlc, edit): &Delivery) {
        self.doc
            .apply(*dot, *hlc, 1, edit)
            .expect("a causally complete edit applies");
    }

    fn view(&self, delete: DeletePolicy) -> RecordView {
        self.doc.view(&collection(delete), "1")
    }
}

fn set(key: &str, text: &str) -> Vec<Op> {
    vec![Op::Set {
        key: key.to_owned(),
        value: Value::Text(text.to_owned()),
    }]
}

fn add(delta: i64) -> Vec<Op> {
    vec![Op::Add {
        key: "visits".to_owned(),
        delta,
    }]
}

fn delete() -> Vec<Op> {
    vec![Op::Delete {
        reason: "moved away".to_owned(),
    }]
}

#[test]
fn counters_sum_and_survive_duplicate_delivery() {
    let (mut a, mut b) = (Device::new(1), Device::new(2));
    let first = a.edit(1, add(3));
    let second = b.edit(1, add(4));
    let third = a.edit(2, add(-1));

    for _ in 0..2 {
        b.take(&first);
        b.take(&third);
        a.take(&second);
    }

    assert_eq!(a.view(DeletePolicy::Review).fields["visits"], 6);
    assert_eq!(a.view(DeletePolicy::Review), b.view(DeletePolicy::Review));
}

#[test]
fn a_causally_later_write_wins_whatever_its_clock_says() {
    let (mut a, mut b) = (Device::new(1), Device::new(2));
    let first = a.edit(9_000_000, set("phone", "old"));
    b.take(&first);
    let second = b.edit(5, set("phone", "new"));
    a.take(&second);

    assert_eq!(a.view(DeletePolicy::Review).fields["phone"], "new");
}

#[test]
fn a_review_opens_on_differing_values_and_its_answer_stands() {
    let (mut a, mut b) = (Device::new(1), Device::new(2));
    let from_a = a.edit(1, set("name", "Amina"));
    let from_b = b.edit(2, set("name", "Aminah"));
    a.take(&from_b);
    b.take(&from_a);
    let open = a.view(DeletePolicy::Review);
    assert_eq!(open.reviews.len(), 1);
    assert_eq!(open.reviews, b.view(DeletePolicy::Review).reviews);
    assert_eq!(open.fields["name"], "Aminah");

    let answer = a.edit(
        1,
        vec![Op::Resolve {
            key: "name".to_owned(),
            value: Value::Text("Amina".to_owned()),
            note: "birth card".to_owned(),
        }],
    );
    b.take(&answer);
    b.take(&from_a);

    for device in [&a, &b] {
        let view = device.view(DeletePolicy::Review);
        assert_eq!(view.fields["name"], "Amina");
        assert!(view.reviews.is_empty());
        let why = &device.doc.resolve(&collection(DeletePolicy::Review), "1")[0];
        assert_eq!(why.why, "a person decided in a review: birth card");
    }
}

#[test]
fn equal_values_open_no_review() {
    let (mut a, mut b) = (Device::new(1), Device::new(2));
    let from_b = b.edit(2, set("name", "Amina"));
    a.edit(1, set("name", "Amina"));
    a.take(&from_b);

    assert!(a.view(DeletePolicy::Review).reviews.is_empty());
}

#[test]
fn a_delete_that_races_an_edit_is_judged_by_the_collections_policy() {
    let (mut a, mut b) = (Device::new(1), Device::new(2));
    let birth = a.edit(1, set("name", "Amina"));
    b.take(&birth);
    let gone = a.edit(2, delete());
    let edit = b.edit(3, set("phone", "0700"));
    a.take(&edit);
    b.take(&gone);

    for (policy, life, reviews) in [
        (DeletePolicy::Review, Life::Contested, 1),
        (DeletePolicy::DeleteWins, Life::Deleted, 0),
        (DeletePolicy::EditWins, Life::Live, 0),
    ] {
        let view = a.view(policy);
        assert_eq!(view, b.view(policy));
        assert_eq!(
            (view.life, view.reviews.len()),
            (life, reviews),
            "{policy:?}"
        );
    }
    let review = &a.view(DeletePolicy::Review).reviews[0];
    assert_eq!(review.subject, ReviewSubject::Deletion);
    assert_eq!(review.candidates.len(), 2);
}

#[test]
fn a_second_delete_that_has_seen_both_sides_settles_the_review() {
    let (mut a, mut b) = (Device::new(1), Device::new(2));
    let birth = a.edit(1, set("name", "Amina"));
    b.take(&birth);
    let gone = a.edit(2, delete());
    b.edit(3, set("phone", "0700"));
    b.take(&gone);
    assert_eq!(b.view(DeletePolicy::Review).life, Life::Contested);

    b.edit(4, delete());

    let view = b.view(DeletePolicy::Review);
    assert_eq!(view.life, Life::Deleted);
    assert!(view.reviews.is_empty());
}

#[test]
fn a_delete_that_had_seen_everything_deletes_and_a_restore_brings_back() {
    let mut a = Device::new(1);
    a.edit(1, set("name", "Amina"));
    a.edit(2, delete());
    assert_eq!(a.view(DeletePolicy::Review).life, Life::Deleted);

    a.edit(
        3,
        vec![Op::Restore {
            reason: String::new(),
        }],
    );

    let view = a.view(DeletePolicy::Review);
    assert_eq!(view.life, Life::Live);
    assert_eq!(view.fields["name"], "Amina");
}

#[test]
fn an_insert_wins_over_a_concurrent_remove() {
    let tag = |insert: bool| {
        let (key, element) = ("tags".to_owned(), Value::Text("twin".to_owned()));
        if insert {
            vec![Op::Insert { key, element }]
        } else {
            vec![Op::Remove { key, element }]
        }
    };
    let (mut a, mut b) = (Device::new(1), Device::new(2));
    let first = a.edit(1, tag(true));
    b.take(&first);
    let removed = a.edit(2, tag(false));
    let again = b.edit(3, tag(true));
    assert_eq!(a.view(DeletePolicy::Review).fields.get("tags"), None);

    a.take(&again);
    b.take(&removed);

    assert_eq!(
        a.view(DeletePolicy::Review).fields["tags"],
        serde_json::json!(["twin"])
    );
    assert_eq!(a.view(DeletePolicy::Review), b.view(DeletePolicy::Review));
}

#[test]
fn a_saved_document_reads_back_with_its_dots() {
    let (mut a, mut b) = (Device::new(1), Device::new(2));
    let first = a.edit(1, set("name", "Amina"));
    b.take(&first);
    let second = b.edit(2, add(2));
    a.edit(3, set("phone", "0700"));
    a.take(&second);

    let read = Document::load(&a.doc.save()).expect("own bytes load");

    assert_eq!(read.heads(), a.doc.heads());
    assert_eq!(read.changes().len(), 3);
    assert!(read.contains(second.0));
    assert_eq!(
        read.view(&collection(DeletePolicy::Review), "1"),
        a.view(DeletePolicy::Review)
    );
}

#[test]
fn edits_that_cannot_apply_change_nothing() {
    let mut a = Device::new(1);
    a.edit(5, set("name", "Amina"));
    let before = a.doc.save();
    let missing = Edit {
        collection: "patient".to_owned(),
        id: "1".to_owned(),
        deps: vec![Dot::new(LogId([9; 16]), 4)],
        ops: set("name", "x"),
    };

    let result = a
        .doc
        .apply(Dot::new(LogId([2; 16]), 1), Timestamp(1), 1, &missing);
    assert!(matches!(result, Err(DocumentError::MissingDependency(_))));
    assert_eq!(a.doc.save(), before);
    a.seq = 9;
    a.edit(6, set("phone", "1"));
    let before = a.doc.save();
    let late = Edit {
        deps: Vec::new(),
        ..missing
    };
    let result = a
        .doc
        .apply(Dot::new(LogId([1; 16]), 5), Timestamp(1), 1, &late);

    assert!(matches!(result, Err(DocumentError::OutOfOrder(_))));
    assert_eq!(a.doc.save(), before);
}

#[test]
fn damaged_bytes_are_an_error() {
    let mut a = Device::new(1);
    a.edit(1, set("name", "Amina"));
    let mut bytes = a.doc.save();
    bytes.truncate(bytes.len() / 2);

    assert!(Document::load(&bytes).is_err());
    assert!(Document::load(b"not a document").is_err());
}
