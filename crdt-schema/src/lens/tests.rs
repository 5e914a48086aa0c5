//! One kind of step at a time, over two devices of two versions.

use serde_json::{Value as Json, json};

use crate::document::Document;
use crate::hlc::Timestamp;
use crate::ident::{Dot, LogId};
use crate::op::{Edit, Op};
use crate::resolution::{RecordView, ReviewSubject};
use crate::schema::{Collection, ReadingError, Schema};
use crate::value::Value;

fn schema(version: u32, fields: &str, steps: &str) -> Schema {
    let migrations = match version {
        1 => String::new(),
        _ => format!("[[migrations]]\nto = {version}\nsteps = [{steps}]\n"),
    };
    parse(version, fields, &migrations)
}

fn parse(version: u32, fields: &str, migrations: &str) -> Schema {
    let text = format!(
        "schema = \"s\"\nversion = {version}\n[collections.c.fields]\n{fields}\n{migrations}"
    );
    Schema::parse(&text).unwrap_or_else(|errors| panic!("{errors}"))
}

/// A record and who wrote what under which version. Every write has seen `seen` writes of the others.
struct Record {
    doc: Document,
    old: Schema,
    new: Schema,
}

impl Record {
    fn new(before: &str, after: &str, steps: &str) -> Self {
        let (old, new) = (schema(1, before, ""), schema(2, after, steps));
        Self {
            doc: Document::new(),
            old: old.reading(&new).unwrap_or_else(|error| panic!("{error}")),
            new,
        }
    }

    /// A write by device `log`, whose author had seen everything or nothing of the others.
    fn write(&mut self, log: u8, version: u32, ops: &[Op], saw_all: bool) -> Dot {
        let log = LogId([log; 16]);
        let changes = self.doc.changes();
        let seq = 1 + changes.iter().filter(|(dot, _)| dot.log == log).count() as u64;
        let heads = self.doc.heads().into_iter();
        let edit = Edit {
            collection: "c".into(),
            id: "1".into(),
            deps: heads.filter(|dot| saw_all && dot.log != log).collect(),
            ops: ops.to_vec(),
        };
        let (dot, hlc) = (
            Dot::new(log, seq),
            Timestamp::from_ms(changes.len() as u64 + 1),
        );
        self.doc.apply(dot, hlc, version, &edit).unwrap();
        dot
    }

    fn set(&mut self, version: u32, key: &str, value: Value) {
        self.write(version as u8, version, &[set(key, value)], true);
    }

    fn under(&self, schema: &Schema) -> RecordView {
        self.doc.view(&schema.collections["c"], "1")
    }

    fn old(&self, field: &str) -> Json {
        shown(&self.under(&self.old), field)
    }

    fn new_(&self, field: &str) -> Json {
        shown(&self.under(&self.new), field)
    }
}

fn shown(view: &RecordView, field: &str) -> Json {
    view.fields.get(field).cloned().unwrap_or_default()
}

fn set(key: &str, value: Value) -> Op {
    let key = key.to_owned();
    Op::Set { key, value }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

const TEXT: &str = "a = { type = \"text\" }";

#[test]
fn a_rename_keeps_the_stored_key_both_ways() {
    let mut record = Record::new(
        "tel = { type = \"text\" }",
        "phone = { type = \"text\" }",
        r#"{ rename = "c.tel", as = "phone" }"#,
    );
    assert_eq!(record.new.collections["c"].fields["phone"].key, "tel");

    record.set(1, "tel", text("1"));
    assert_eq!(record.new_("phone"), "1");
    record.set(2, "tel", text("2"));
    assert_eq!(record.old("tel"), "2");
    assert_eq!(record.under(&record.old).partial, [""; 0]);
}

#[test]
fn an_added_field_reads_as_its_default_until_somebody_writes_or_clears_it() {
    let both = format!("{TEXT}\nb = {{ type = \"text\", required = true }}");
    let mut record = Record::new(TEXT, &both, r#"{ add = "c.b", default = "none" }"#);
    assert_eq!(
        record.new_("b"),
        Json::Null,
        "an empty record has no fields"
    );

    record.set(1, "a", text("x"));
    assert_eq!(record.new_("b"), "none");
    let why = record.doc.resolve(&record.new.collections["c"], "1");
    assert!(why[1].why.contains("version 2 added it"), "{}", why[1].why);
    record.set(2, "b", text("y"));
    assert_eq!(record.new_("b"), "y");
    assert_eq!(record.under(&record.old).partial, ["b (since version 2)"]);
    record.set(2, "b", Value::Null);
    assert_eq!(record.new_("b"), Json::Null);
}

#[test]
fn a_removed_field_is_legacy_until_its_end_and_stays_in_the_document() {
    let before = "a = { type = \"text\" }\nfee = { type = \"integer\", merge = \"max\" }";
    let step = r#"{ remove = "c.fee", was = { type = "integer", merge = "max" }, until = 3 }"#;
    let mut record = Record::new(before, TEXT, step);
    let migrations = format!("[[migrations]]\nto = 2\nsteps = [{step}]");
    let third = parse(3, TEXT, &migrations);

    record.write(1, 1, &[set("fee", Value::Integer(5))], false);
    record.write(3, 1, &[set("fee", Value::Integer(3))], false);

    assert_eq!(record.under(&record.new).legacy["fee"], 5);
    assert_eq!(record.under(&record.new).partial, [""; 0]);
    assert!(record.under(&third).legacy.is_empty());
    assert_eq!(record.under(&third).partial, [""; 0]);
    assert_eq!(record.old("fee"), 5);
}

#[test]
fn a_conversion_is_read_both_ways_and_exact_for_its_writer() {
    let mut record = Record::new(
        "temp = { type = \"number\" }",
        "temp_c = { type = \"number\", min = 30 }",
        r#"{ convert = "c.temp", as = "temp_c", with = "f_to_c" }"#,
    );

    record.set(1, "temp", Value::Number(98.6));
    assert_eq!(
        (record.old("temp"), record.new_("temp_c")),
        (json!(98.6), json!(37.0))
    );
    record.set(2, "temp", Value::Number(36.6));
    assert_eq!(
        (record.old("temp"), record.new_("temp_c")),
        (json!(97.88), json!(36.6))
    );
}

#[test]
fn equal_values_of_two_versions_open_no_review() {
    let mut record = Record::new(
        "t = { type = \"number\", merge = \"review\" }",
        "t = { type = \"number\", merge = \"review\" }",
        r#"{ convert = "c.t", with = "f_to_c" }"#,
    );

    record.write(1, 1, &[set("t", Value::Number(98.6))], false);
    record.write(2, 2, &[set("t", Value::Number(37.0))], false);

    assert_eq!(record.under(&record.new).reviews, []);
    assert_eq!(record.under(&record.old).reviews, []);
    record.write(3, 1, &[set("t", Value::Number(37.0))], false);
    assert_eq!(record.under(&record.new).reviews.len(), 1);
}

#[test]
fn a_value_that_cannot_be_carried_is_shown_as_it_is_and_waits_for_a_person() {
    let mut record = Record::new(
        TEXT,
        "a = { type = \"integer\" }",
        r#"{ convert = "c.a", with = "text_to_integer" }"#,
    );

    record.set(1, "a", text("twelve"));

    let view = record.under(&record.new);
    assert_eq!(view.fields["a"], "twelve");
    assert!(matches!(
        view.reviews[0].subject,
        ReviewSubject::Invalid { .. }
    ));
    let why = &record.doc.resolve(&record.new.collections["c"], "1")[0].why;
    assert!(
        why.contains("migration to version 2 (text_to_integer)"),
        "{why}"
    );
    assert_eq!(record.under(&record.old).reviews, []);
    record.set(2, "a", Value::Integer(12));
    assert_eq!(record.under(&record.new).reviews, []);
    assert_eq!(record.old("a"), "12");
}

#[test]
fn choices_are_remapped_and_go_back_to_the_first_that_leads_there() {
    let choice = |of: &str| format!("s = {{ type = \"choice\", of = [{of}] }}");
    let mut record = Record::new(
        &choice("\"open\", \"fresh\", \"done\""),
        &choice("\"new\", \"done\""),
        r#"{ remap = "c.s", values = { open = "new", fresh = "new" } }"#,
    );

    record.set(1, "s", text("fresh"));
    assert_eq!(
        (record.old("s"), record.new_("s")),
        (json!("fresh"), json!("new"))
    );
    record.set(2, "s", text("new"));
    assert_eq!(
        (record.old("s"), record.new_("s")),
        (json!("open"), json!("new"))
    );
    record.set(2, "s", text("done"));
    assert_eq!(
        (record.old("s"), record.new_("s")),
        (json!("done"), json!("done"))
    );
}

#[test]
fn a_remapped_element_is_removed_by_whoever_had_seen_it_under_its_other_name() {
    let set_of = |of: &str| format!("s = {{ type = \"set\", of = [{of}] }}");
    let mut record = Record::new(
        &set_of("\"a\", \"b\""),
        &set_of("\"x\", \"b\""),
        r#"{ remap = "c.s", values = { a = "x" } }"#,
    );
    let mark = |element: &str, insert: bool| {
        let (key, element) = ("s".to_owned(), text(element));
        if insert {
            Op::Insert { key, element }
        } else {
            Op::Remove { key, element }
        }
    };

    record.write(1, 1, &[mark("a", true), mark("b", true)], true);
    assert_eq!(record.new_("s"), json!(["b", "x"]));
    record.write(2, 2, &[mark("x", false)], true);
    assert_eq!(
        (record.old("s"), record.new_("s")),
        (json!(["b"]), json!(["b"]))
    );
    record.write(3, 1, &[mark("a", true)], false);
    assert_eq!(
        record.new_("s"),
        json!(["b", "x"]),
        "a concurrent insert wins"
    );
}

const NAME: &str = "name = { type = \"text\" }";
const PARTS: &str = "given = { type = \"text\" }\nfamily = { type = \"text\" }";
const SPLIT: &str = r#"{ split = "c.name", into = ["given", "family"], with = "first_space" }"#;
const MERGE: &str = r#"{ merge = ["c.given", "c.family"], as = "name", with = "space" }"#;

#[test]
fn a_split_name_follows_whoever_wrote_last_under_either_version() {
    let mut record = Record::new(NAME, PARTS, SPLIT);

    record.set(1, "name", text("Amina Otieno"));
    assert_eq!(
        (record.new_("given"), record.new_("family")),
        (json!("Amina"), json!("Otieno"))
    );
    record.set(2, "given", text("Aisha"));
    assert_eq!(record.old("name"), "Aisha Otieno");
    record.set(1, "name", text("Aisha Ouma"));
    assert_eq!(
        (record.new_("given"), record.new_("family")),
        (json!("Aisha"), json!("Ouma"))
    );
    record.set(2, "family", Value::Null);
    assert_eq!(record.old("name"), "Aisha");
    assert_eq!(record.under(&record.old).partial, [""; 0]);
    assert_eq!(record.under(&record.new).partial, [""; 0]);
}

#[test]
fn concurrent_writes_on_both_sides_of_a_split_meet_in_the_policy() {
    let review = |fields: &str| fields.replace("\"text\"", "\"text\", merge = \"review\"");
    let mut record = Record::new(&review(NAME), &review(PARTS), SPLIT);
    record.set(1, "name", text("Amina Otieno"));

    let seen = record.doc.clone();
    record.set(1, "name", text("Amina Ouma"));
    let other = record.doc.clone();
    record.doc = seen;
    record.set(2, "given", text("Aisha"));
    let edit = Edit {
        collection: "c".into(),
        id: "1".into(),
        deps: Vec::new(),
        ops: vec![set("name", text("Amina Ouma"))],
    };
    let (dot, hlc) = other.changes()[1];
    record.doc.apply(dot, hlc, 1, &edit).unwrap();

    let view = record.under(&record.new);
    assert_eq!(view.reviews.len(), 1, "two given names, one family name");
    assert_eq!(view.fields["family"], "Ouma");
    assert_eq!(record.under(&record.old).reviews.len(), 1);
}

#[test]
fn merged_parts_are_read_as_one_and_written_back_as_two() {
    let mut record = Record::new(PARTS, NAME, MERGE);

    record.set(1, "given", text("Amina"));
    record.set(1, "family", text("Otieno"));
    assert_eq!(record.new_("name"), "Amina Otieno");
    record.set(2, "name", text("Aisha Ouma"));
    assert_eq!(
        (record.old("given"), record.old("family")),
        (json!("Aisha"), json!("Ouma"))
    );
    record.set(1, "family", text("Otieno"));
    assert_eq!(record.new_("name"), "Aisha Otieno");
}

#[test]
fn steps_of_several_versions_are_taken_one_after_another() {
    let first = schema(1, "t = { type = \"text\" }", "");
    let migrations = "[[migrations]]\nto = 3\nsteps = [{ convert = \"c.n\", as = \"c\", with = \"f_to_c\" }]\n\
        [[migrations]]\nto = 2\nsteps = [{ convert = \"c.t\", as = \"n\", with = \"text_to_number\" }]\n";
    let last = parse(3, "c = { type = \"number\" }", migrations);
    let mut record = Record {
        doc: Document::new(),
        old: first.reading(&last).unwrap(),
        new: last,
    };

    record.set(1, "t", text("98.6"));
    assert_eq!(record.new_("c"), json!(37.0));
    record.set(3, "t", Value::Number(37.0));
    assert_eq!(record.old("t"), "98.6");
}

#[test]
fn a_version_that_nobody_here_knows_makes_the_record_partial() {
    let alone = schema(1, TEXT, "");
    let mut record = Record::new(TEXT, TEXT, "");
    record.set(5, "a", text("x"));
    record.set(5, "b", text("y"));

    let view = record.under(&alone);

    assert_eq!(view.fields["a"], "x");
    assert_eq!(
        view.partial,
        ["a (written under version 5)", "b (written under version 5)"]
    );
}

#[test]
fn a_schema_reads_only_later_versions_of_itself() {
    let old = schema(2, TEXT, r#"{ rename = "c.x", as = "a" }"#);
    let other = schema(3, TEXT, r#"{ rename = "c.x", as = "a" }"#);
    let first = schema(1, TEXT, "");

    assert_eq!(
        old.clone().reading(&other),
        Err(ReadingError::OtherHistory { to: 2 })
    );
    assert_eq!(
        old.clone().reading(&first),
        Err(ReadingError::Older {
            reads: 2,
            newest: 1
        })
    );
    let mut stranger = old.clone();
    stranger.name = "t".to_owned();
    assert!(matches!(
        old.reading(&stranger),
        Err(ReadingError::OtherSchema { .. })
    ));
}

#[test]
fn a_trial_is_judged_by_the_newest_write_and_not_by_the_reader() {
    let fields = "a = { type = \"text\", trial = { merge = \"review\", since = \"2027-01-02\" } }";
    let schema = schema(1, fields, "");
    let collection: &Collection = &schema.collections["c"];
    let write = |doc: &mut Document, log: u8, day: u64| {
        let edit = Edit {
            collection: "c".into(),
            id: "1".into(),
            deps: Vec::new(),
            ops: vec![set("a", text(&log.to_string()))],
        };
        // The first of January 2027, and days after it.
        let hlc = Timestamp::from_ms(1_798_761_600_000 + day * 86_400_000);
        doc.apply(Dot::new(LogId([log; 16]), 1), hlc, 1, &edit)
            .unwrap();
    };
    let mut doc = Document::new();
    write(&mut doc, 1, 0);
    write(&mut doc, 2, 0);
    assert_eq!(doc.view(collection, "1").reviews, []);

    write(&mut doc, 3, 1);

    assert_eq!(doc.view(collection, "1").reviews.len(), 1);
    assert_eq!(doc.resolve(collection, "1")[0].policy, "review");
}
