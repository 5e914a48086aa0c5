//! Versions of the schema: published, adopted, refused, chosen, and the views that follow.

use std::sync::Arc;

use crdt_schema::ident::LogId;
use crdt_schema::schema::{PUBLISHED, PUBLISHED_VERSION_MAX, publication_id, publication_ops};

use super::*;
use crate::engine::batch::{RecordOutcome, StoreFault};
use crate::store::{StoreError, UseSchemaError};

/// Version `version`, with the fields of [`SCHEMA`] and some more.
pub(super) fn version(version: u32, more: &str) -> String {
    let text = SCHEMA.replace("version = 1", &format!("version = {version}"));
    [text.as_str(), more].concat()
}

pub(super) fn second() -> String {
    version(2, "phone = { type = \"text\" }\n")
}

/// A version that no good one comes before: it would garble the notes.
pub(super) fn retyped(number: u32) -> String {
    version(number, "").replace(
        "notes = { type = \"text\" }",
        "notes = { type = \"integer\" }",
    )
}

pub(super) fn publish_edit(source: &str) -> LocalEdit {
    let schema = schema(source);
    LocalEdit {
        collection: PUBLISHED.to_owned(),
        id: publication_id(&schema.name, schema.version),
        mode: WriteMode::Upsert,
        if_match: None,
        ops: publication_ops(source),
    }
}

impl Device {
    pub(super) fn publish(&mut self, source: &str) -> Vec<RecordOutcome> {
        let outcome = self.write(vec![publish_edit(source)]);
        outcome.expect("it is published").records
    }

    pub(super) fn active(&self) -> u32 {
        self.reader().schema().version
    }

    /// The published texts of a version, the one that counts first.
    fn texts(&self, version: u32) -> Vec<[u8; 32]> {
        let state = self.reader().schemas();
        let known = state.versions.get(&version).map(|known| &known.published);
        known
            .into_iter()
            .flatten()
            .map(|text| text.digest)
            .collect()
    }
}

fn digest(source: &str) -> [u8; 32] {
    *blake3::hash(source.as_bytes()).as_bytes()
}

#[test]
fn a_published_version_is_adopted_where_it_arrives_and_read_at_once() {
    let (mut author, mut other) = (Device::new(1), Device::new(2));
    for device in [&mut author, &mut other] {
        let id = device.log.log.0[0].to_string();
        device
            .write(vec![upsert(&id, vec![set("name", "A")])])
            .expect("a write");
    }

    author.publish(&second());
    author
        .write(vec![upsert("1", vec![set("phone", "0700")])])
        .expect("the new field is known");
    other.pull(&author, usize::MAX);

    assert_eq!((author.active(), other.active()), (2, 2));
    assert_eq!(other.field("1", "phone"), "0700");
    assert!(other.store.needs_refresh());
    other.refresh();
    author.refresh();
    author.pull(&other, usize::MAX);
    assert_eq!(other.shown(), author.shown());
    let (entry, _) = (author.reader().feed(1, 10).expect("a feed"), ());
    let versions: Vec<u32> = entry.iter().map(|item| item.set.schema_version).collect();
    assert_eq!(
        versions,
        [1, 2, 1],
        "a version is in the log before its data"
    );
}

#[test]
fn a_device_that_does_not_follow_stays_and_takes_in_newer_data() {
    let mut author = Device::new(1);
    let follow = StoreOptions {
        schema_follow: false,
        ..options(2, schema(SCHEMA))
    };
    let mut other = Device::of(Disk::default().open(follow).expect("it opens"), 2);
    author.publish(&second());
    let ops = vec![set("name", "A"), set("phone", "0700")];
    author.write(vec![upsert("1", ops)]).expect("a write");

    other.pull(&author, usize::MAX);

    let state = other.reader().schemas();
    assert_eq!((state.active.version, state.newest.version), (1, 2));
    assert_eq!(other.field("1", "name"), "A");
    assert_eq!(other.field("1", "phone"), serde_json::Value::Null);
    other.store.use_schema(2).expect("it is known");
    assert_eq!(other.field("1", "phone"), "0700");
    assert!(!other.reader().schemas().pinned);
}

#[test]
fn a_version_that_would_break_data_is_held_back_and_a_good_one_before_it_is_adopted() {
    let (mut author, mut other) = (Device::new(1), Device::new(2));

    author.publish(&retyped(3));
    assert_eq!(author.active(), 1);
    author.publish(&second());
    other.pull(&author, usize::MAX);

    for device in [&author, &other] {
        let state = device.reader().schemas();
        assert_eq!((state.active.version, state.newest.version), (2, 3));
        let why = state.held_back.clone().expect("a reason");
        assert!(
            why.contains("version 3") && why.contains("patient.notes"),
            "{why}"
        );
    }
}

#[test]
fn of_two_texts_of_one_version_the_first_published_counts_in_either_order() {
    let texts = [second(), version(2, "email = { type = \"text\" }\n")];
    let (mut early, mut late) = (Device::new(1), Device::new(2));
    late.clock_ms += 500_000;
    early.publish(&texts[0]);
    late.publish(&texts[1]);

    let mut one = Device::new(3);
    one.pull(&early, usize::MAX);
    one.pull(&late, usize::MAX);
    let mut two = Device::new(4);
    two.pull(&late, usize::MAX);
    assert_eq!(two.texts(2), [digest(&texts[1])]);
    two.pull(&early, usize::MAX);
    early.pull(&late, usize::MAX);
    late.pull(&early, usize::MAX);

    for device in [&one, &two, &early, &late] {
        assert_eq!(device.texts(2), [digest(&texts[0]), digest(&texts[1])]);
        let active = device.reader().schema();
        assert_eq!(active.source, texts[0]);
    }
}

#[test]
fn the_same_text_published_twice_is_one_version() {
    let (mut one, mut two) = (Device::new(1), Device::new(2));
    let first = one.publish(&second());
    two.clock_ms += 1;
    two.publish(&second());

    one.pull(&two, usize::MAX);
    two.pull(&one, usize::MAX);

    assert!(first[0].created);
    assert_eq!(one.reader().schemas().versions, {
        let mut versions = two.reader().schemas().versions.clone();
        versions.get_mut(&2).expect("it is known").own = None;
        versions
    });
    assert_eq!(one.texts(2).len(), 1);
}

#[test]
fn what_is_no_schema_of_ours_is_kept_and_changes_nothing() {
    let mut device = Device::new(1);
    let other_name = second().replace("schema = \"clinic\"", "schema = \"farm\"");
    let good_toml = "schema = \"clinic\"\nversion = 9\nnothing = \"else\"\n";
    let endless = version(PUBLISHED_VERSION_MAX + 1, "");
    let raw = |id: &str, source: &str| LocalEdit {
        id: id.to_owned(),
        ops: publication_ops(source),
        ..publish_edit(SCHEMA)
    };

    for edit in [
        publish_edit(&other_name),
        raw("clinic-10001", &endless),
        raw("clinic-2", "not toml ["),
        raw("clinic-3", &second()),
        raw("clinic-9", good_toml),
    ] {
        device.write(vec![edit]).expect("a write");
    }

    let state = device.reader().schemas();
    assert_eq!((state.active.version, state.newest.version), (1, 1));
    assert_eq!(state.versions.keys().collect::<Vec<_>>(), [&1, &9]);
    assert!(state.unusable[&9].contains("cannot use"));
}

#[test]
fn going_back_rereads_everything_and_stays_over_a_restart_until_told_otherwise() {
    let disk = Disk::default();
    let mut device = Device::on(&disk, 1);
    device.publish(&second());
    let ops = vec![set("name", "A"), set("phone", "0700")];
    device.write(vec![upsert("1", ops)]).expect("a write");

    device.store.use_schema(1).expect("it is known");
    assert_eq!(device.field("1", "phone"), serde_json::Value::Null);
    device
        .write(vec![upsert("1", vec![set("notes", "n")])])
        .expect("a write under version 1");
    device.publish(&version(3, "phone = { type = \"text\" }\n"));
    drop(device);

    let mut device = Device::on(&disk, 1);
    assert_eq!(device.active(), 1);
    assert!(device.reader().schemas().pinned);
    device.store.use_schema(3).expect("it is known");
    assert!(!device.reader().schemas().pinned);
    assert_eq!(device.field("1", "phone"), "0700");
    let error = device.store.use_schema(7).expect_err("it is not known");
    assert!(matches!(error, UseSchemaError::Unusable(_)), "{error}");
    assert_eq!(device.active(), 3);
}

#[test]
fn a_choice_that_finds_no_room_says_so_and_the_version_in_use_stays() {
    let disk = Disk::default();
    let mut device = Device::on(&disk, 1);
    device.publish(&second());
    disk.fill_to_the_brim();

    let error = device.store.use_schema(1).expect_err("there is no room");

    assert!(
        matches!(error, UseSchemaError::Store(StoreError::DiskFull(_))),
        "{error}"
    );
    assert_eq!(device.active(), 2);
    disk.free();
    device.store.use_schema(1).expect("there is room");
    assert_eq!(device.active(), 1);
}

#[test]
fn a_publication_that_finds_no_room_says_so_and_nothing_of_it_is_known() {
    let disk = Disk::default();
    let mut device = Device::on(&disk, 1);
    disk.fill_to_the_brim();

    let refused = device.write(vec![publish_edit(&second())]);

    assert!(
        matches!(refused, Err(Rejection::Store(StoreFault::DiskFull(_)))),
        "{refused:?}"
    );
    assert_eq!((device.active(), device.texts(2)), (1, Vec::new()));
    disk.free();
    device.publish(&second());
    assert_eq!(device.active(), 2);
}

#[test]
fn a_refresh_takes_small_steps_and_begins_again_after_an_interruption() {
    let disk = Disk::default();
    let mut device = Device::on(&disk, 1);
    for id in 0..300 {
        let record = upsert(&format!("{id:03}"), vec![set("name", "A")]);
        device.write(vec![record]).expect("a write");
    }
    let counts = device.reader().counts().expect("counts");
    device.publish(&second());

    assert!(device.store.refresh(100).expect("a step"));
    let progress = device.reader().refreshing().expect("it goes on");
    // The published schema is a record as well, and is passed over.
    assert_eq!((progress.done, progress.total), (101, 301));
    drop(device);
    let mut device = Device::on(&disk, 1);
    assert!(device.store.needs_refresh());
    assert!(device.store.refresh(150).expect("a step"));
    assert_eq!(
        device.reader().refreshing().map(|progress| progress.done),
        Some(251)
    );
    device.refresh();

    assert_eq!(device.reader().refreshing(), None);
    assert_eq!(
        device.reader().counts().expect("counts").records,
        counts.records
    );
    assert!(!Device::on(&disk, 1).store.needs_refresh());
}

#[test]
fn a_collection_comes_and_goes_with_its_version() {
    let mut device = Device::new(1);
    device.publish(&version(2, SECOND_COLLECTION));
    let stock = LocalEdit {
        collection: "stock".to_owned(),
        ..upsert("s1", vec![set("item", "ORS")])
    };
    device.write(vec![stock]).expect("a write");
    let key = RecordKey {
        collection: "stock".to_owned(),
        ..patient("s1")
    };
    let count = |device: &Device| device.reader().counts().expect("counts").records.len();
    assert_eq!(count(&device), 1);

    device.store.use_schema(1).expect("it is known");
    assert!(device.reader().get(&key).expect("a read").is_none());
    device.refresh();
    assert_eq!(count(&device), 0);

    device.store.use_schema(2).expect("it is known");
    assert!(device.reader().get(&key).expect("a read").is_some());
    device.refresh();
    assert_eq!(count(&device), 1);
}

#[test]
fn a_write_that_was_made_under_another_version_is_refused() {
    let mut device = Device::new(1);
    let mut commit = device.local(vec![upsert("1", vec![set("name", "A")])]);
    commit.schema_version = 2;

    let refused = device.commit(commit);

    assert!(matches!(
        refused,
        Err(Rejection::SchemaMoved { made: 2, active: 1 })
    ));
    assert!(device.get("1").is_none());
}

#[test]
fn a_newer_file_is_adopted_at_the_start_and_an_incompatible_one_changes_nothing() {
    let disk = Disk::default();
    drop(Device::on(&disk, 1));
    let newer = Device::with_schema(&disk, 1, &second());
    assert_eq!(newer.active(), 2);
    assert_eq!(newer.reader().schemas().unpublished(), [1, 2]);
    drop(newer);

    let farm = second().replace("schema = \"clinic\"", "schema = \"farm\"");
    for text in [farm, retyped(3)] {
        let error = disk.open(options(1, schema(&text))).expect_err("refused");
        assert!(matches!(error, StoreError::OwnSchema { .. }), "{error}");
    }

    // The earlier file does not take the device back: versions are chosen, not files.
    assert_eq!(Device::on(&disk, 1).active(), 2);
}

#[test]
fn the_views_of_a_stored_schema_hold_no_matter_which_schema_the_rows_were_derived_under() {
    let mut device = Device::new(1);
    let name = |value| vec![upsert("1", vec![set("name", value)])];
    device.write(name("A")).expect("a write");
    let mut other = Device::new(2);
    other.pull(&device, usize::MAX);
    device.write(name("B")).expect("a write");
    other.clock_ms += 1;
    other.write(name("C")).expect("a write");
    device.pull(&other, usize::MAX);
    assert_eq!(device.reader().reviews().expect("reviews").len(), 1);

    // Under version 2 names merge by the last writer, so the review of version 1 is not open.
    let lww = version(2, "").replace(", merge = \"review\" }", " }");
    device.publish(&lww);

    assert_eq!(device.reader().reviews().expect("reviews").len(), 0);
    device.refresh();
    assert_eq!(device.reader().counts().expect("counts").reviews, 0);
    device.store.use_schema(1).expect("it is known");
    device.refresh();
    assert_eq!(device.reader().reviews().expect("reviews").len(), 1);
}

#[test]
fn who_writes_under_which_version_and_a_field_on_its_way_out_is_read_from_the_logs() {
    let (mut one, mut two) = (Device::new(1), Device::new(2));
    two.log.log = LogId([2; 16]);
    let note = |id: &str| vec![upsert(id, vec![set("name", "A"), set("notes", "n")])];
    one.write(note("1")).expect("a write");
    one.publish(&second());
    two.write(note("2")).expect("a write");
    one.write(vec![upsert("1", vec![set("phone", "1")])])
        .expect("a write");
    one.pull(&two, usize::MAX);

    let field = ("patient".to_owned(), "notes".to_owned());
    let writes = one
        .reader()
        .writes(&[field.clone()].into())
        .expect("a scan");

    let ends: Vec<(u8, u32)> = writes
        .ends
        .iter()
        .map(|end| (end.header.log.0[0], end.schema_version))
        .collect();
    assert_eq!(ends, [(1, 2), (2, 1)]);
    assert_eq!(writes.writers[&field].len(), 2);
}

#[test]
fn a_text_that_a_device_has_only_in_its_file_can_be_read_by_version() {
    let device = Device::new(1);
    let text = device.reader().schema_text(1).expect("a read");
    assert_eq!(text.as_deref(), Some(SCHEMA));
    assert_eq!(device.reader().schema_text(2).expect("a read"), None);
    let _: Arc<Schema> = device.reader().schema();
}
