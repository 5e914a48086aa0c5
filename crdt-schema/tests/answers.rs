//! Which reviews there are and what they were answered with, where migrations, trials, rules and clocks
//! meet.

use crdt_schema::document::Document;
use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::{Dot, LogId};
use crdt_schema::op::{Edit, Op};
use crdt_schema::resolution::{RecordView, ReviewSubject};
use crdt_schema::schema::Schema;
use crdt_schema::value::Value;

/// Clocks that were never set open reviews of their own.
const START_MS: u64 = 1_790_000_000_000;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

fn schema(version: u32, fields: &str, rest: &str) -> Schema {
    let text =
        format!("schema = \"s\"\nversion = {version}\n[collections.c.fields]\n{fields}\n{rest}");
    Schema::parse(&text).unwrap_or_else(|errors| panic!("{errors}"))
}

fn view(doc: &Document, schema: &Schema) -> RecordView {
    doc.view(&schema.collections["c"], "1")
}

/// One record, written by devices that had seen these heads.
#[derive(Default)]
struct Record {
    doc: Document,
    writes: u64,
}

impl Record {
    /// A write under a version, `days` after the start. Returns what a later author may have seen.
    fn write(&mut self, log: u8, version: u32, days: u64, seen: &[Dot], op: Op) -> Dot {
        self.writes += 1;
        let dot = Dot::new(LogId([log; 16]), self.writes);
        let edit = Edit {
            collection: "c".into(),
            id: "1".into(),
            deps: seen
                .iter()
                .copied()
                .filter(|seen| seen.log != dot.log)
                .collect(),
            ops: vec![op],
        };
        let hlc = Timestamp::from_ms(START_MS + days * DAY_MS + self.writes);
        let applied = self.doc.apply(dot, hlc, version, &edit);
        applied.expect("its causes are there");
        dot
    }
}

fn set(key: &str, value: impl Into<String>) -> Op {
    Op::Set {
        key: key.into(),
        value: Value::Text(value.into()),
    }
}

fn resolve(key: &str, value: Value) -> Op {
    Op::Resolve {
        key: key.into(),
        value,
        note: "asked".into(),
    }
}

#[test]
fn a_rule_over_fields_that_nobody_wrote_asks_of_each_record_by_its_own_name() {
    let fields = "a = { type = \"text\" }\nb = { type = \"text\" }";
    let rule = "[[review]]\nin = \"c\"\nwhen = \"b is empty\"\nreason = \"b is needed\"";
    let schema = schema(1, fields, rule);
    let asked = |log: u8| {
        let mut record = Record::default();
        record.write(log, 1, 0, &[], set("a", "x"));
        view(&record.doc, &schema).reviews.remove(0).id
    };

    // The logs are of two spaces, in which there may be two records of one id.
    assert_ne!(asked(1), asked(2));
    assert_eq!(asked(1), asked(1));
}

#[test]
fn clocks_are_asked_about_where_the_policy_that_is_tried_leaves_it_to_them() {
    let shown = |merge: &str, tried: &str| {
        let field = format!(
            "n = {{ type = \"integer\", merge = \"{merge}\", trial = {{ merge = \"{tried}\" }} }}"
        );
        let schema = schema(1, &field, "");
        let mut record = Record::default();
        for (log, number) in [(1, 7), (2, 5)] {
            let (key, value) = ("n".into(), Value::Integer(number));
            record.write(log, 1, u64::from(log) * 400, &[], Op::Set { key, value });
        }
        let view = view(&record.doc, &schema);
        (view.fields["n"].as_i64(), view.reviews.len())
    };

    assert_eq!(shown("lww", "max"), (Some(7), 0));
    assert_eq!(shown("max", "lww"), (Some(5), 1));
}

#[test]
fn an_answer_to_a_value_that_no_migration_carries_names_the_review_that_it_closed() {
    let new = schema(
        2,
        "n = { type = \"number\" }",
        "[[migrations]]\nto = 2\nsteps = [{ convert = \"c.n\", with = \"c_to_f\" }]",
    );
    let mut record = Record::default();
    let (key, value) = ("n".into(), Value::Number(f64::MAX));
    let stuck = record.write(1, 1, 0, &[], Op::Set { key, value });
    let open = view(&record.doc, &new).reviews.remove(0);
    assert!(matches!(open.subject, ReviewSubject::Invalid { .. }));

    record.write(2, 2, 0, &[stuck], resolve("n", Value::Number(12.0)));

    let after = view(&record.doc, &new);
    assert_eq!(after.reviews, []);
    let answers: Vec<_> = after.answered.iter().map(|answer| &answer.review).collect();
    assert_eq!(answers, [&open.id]);
}

#[test]
fn answers_that_stood_beside_each_other_before_a_split_were_no_conflict() {
    let two = schema(
        2,
        "first = { type = \"text\", merge = \"review\" }\nlast = { type = \"text\" }",
        "[[migrations]]\nto = 2\nsteps = [{ split = \"c.name\", into = [\"first\", \"last\"], with = \"first_space\" }]",
    );
    let mut record = Record::default();
    let asked = [
        record.write(1, 1, 0, &[], set("name", "Ann Lee")),
        record.write(2, 1, 0, &[], set("name", "Bea Lee")),
    ];
    let open = view(&record.doc, &two).reviews.remove(0).id;
    let answers = [(3, "Ann Lee"), (4, "Bea Lee")].map(|(log, name)| {
        record.write(log, 1, 0, &asked, resolve("name", Value::Text(name.into())))
    });
    assert_eq!(view(&record.doc, &two).reviews, []);

    record.write(
        5,
        2,
        0,
        &answers,
        resolve("first", Value::Text("Cleo".into())),
    );

    let after = view(&record.doc, &two);
    assert_eq!(after.fields["first"], "Cleo");
    assert_eq!(after.reviews, []);
    let answered = after
        .answered
        .iter()
        .filter(|answer| answer.dot.log == LogId([5; 16]));
    let answered: Vec<_> = answered.map(|answer| &answer.review).collect();
    assert_eq!(answered, [&open]);
}
