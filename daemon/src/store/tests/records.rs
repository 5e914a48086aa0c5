//! Local writes and reads of records.

use crdt_schema::resolution::{Life, ReviewSubject};

use super::*;

fn rejection(result: Result<CommitOutcome, Rejection>) -> Rejection {
    result.expect_err("the write is refused")
}

#[test]
fn a_write_is_read_back_and_survives_reopening_in_memory_and_in_a_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("store.redb");
    let disk = Disk::default();
    let openers: [&dyn Fn() -> Store; 2] = [
        &|| disk.open(options(1, schema(SCHEMA))).expect("it opens"),
        &|| Store::open_file(&path, options(1, schema(SCHEMA))).expect("it opens"),
    ];
    for open in openers {
        let mut device = Device::of(open(), 1);

        let outcome = device.write(vec![upsert(
            "1",
            vec![set("name", "Amina"), add("visits", 2)],
        )]);

        let outcome = outcome.expect("a good write");
        assert_eq!(outcome.dot.seq, 1);
        assert!(outcome.records[0].created && !outcome.replayed);
        let commits = device.store.identity().expect("an identity").commits;
        drop(device);
        let device = Device::of(open(), 1);
        let record = device.get("1").expect("the record");
        assert_eq!(record.etag, outcome.records[0].etag);
        assert_eq!(record.view.fields["name"], "Amina");
        assert_eq!(
            record.view.fields["status"], "open",
            "new records get defaults"
        );
        assert_eq!(record.view.fields["visits"], 2);
        let identity = device.store.identity().expect("an identity");
        assert_eq!((identity.store, identity.commits), ([1; 16], commits));
        let opening = device.store.opening().expect("an opening");
        assert_eq!(opening.own_logs, std::slice::from_ref(&device.log));
        assert_eq!(opening.last_hlc, outcome.hlc);
        assert_eq!((opening.frontier[0].seq, opening.arrival), (1, 1));
    }
    let bytes = Store::open_file(&path, options(1, schema(SCHEMA))).expect("it opens");
    assert!(bytes.reader().counts().expect("counts").bytes > 0);
}

#[test]
fn write_modes_expect_what_they_say() {
    use WriteMode::{Create, Replace, Update, Upsert};
    let mut device = Device::new(1);
    let name = || vec![set("name", "A")];
    device
        .write(vec![edit("here", Create, name())])
        .expect("a new record");

    let exists = rejection(device.write(vec![edit("here", Create, name())]));
    assert!(matches!(exists, Rejection::Exists { .. }), "{exists}");
    for ops in [name(), vec![restore()], vec![delete()]] {
        let missing = rejection(device.write(vec![edit("gone", Update, ops)]));
        assert!(matches!(missing, Rejection::NotFound { .. }), "{missing}");
    }
    let missing = rejection(device.write(vec![upsert("gone", vec![delete()])]));
    assert!(matches!(missing, Rejection::NotFound { .. }), "{missing}");
    for (id, mode) in [
        ("here", Update),
        ("here", Upsert),
        ("here", Replace),
        ("new", Replace),
    ] {
        device
            .write(vec![edit(id, mode, name())])
            .expect("an expected write");
    }
}

#[test]
fn an_entity_tag_must_be_the_records_own() {
    let mut device = Device::new(1);
    let first = device
        .write(vec![upsert("1", vec![set("name", "A")])])
        .expect("a write");
    let second = device
        .write(vec![upsert("1", vec![set("name", "B")])])
        .expect("a write");
    let (old, new) = (&first.records[0].etag, &second.records[0].etag);
    let with_tag = |tag: &str| {
        let if_match = Some(tag.to_owned());
        vec![LocalEdit {
            if_match,
            ..upsert("1", vec![set("name", "C")])
        }]
    };

    let changed = rejection(device.write(with_tag(old)));

    assert!(matches!(changed, Rejection::Changed { etag, .. } if etag == *new));
    device.write(with_tag(new)).expect("the right tag");
}

#[test]
fn a_deleted_record_takes_only_a_restore() {
    let mut device = Device::new(1);
    device
        .write(vec![upsert("1", vec![set("name", "A")])])
        .expect("a write");
    let alive = rejection(device.write(vec![upsert("1", vec![restore()])]));
    assert!(matches!(alive, Rejection::Invalid { .. }), "{alive}");

    device
        .write(vec![upsert("1", vec![delete()])])
        .expect("a delete");

    for mode in [
        WriteMode::Create,
        WriteMode::Update,
        WriteMode::Upsert,
        WriteMode::Replace,
    ] {
        let deleted = rejection(device.write(vec![edit("1", mode, vec![set("name", "B")])]));
        assert!(
            matches!(deleted, Rejection::Deleted { .. }),
            "{mode:?}: {deleted}"
        );
    }
    let deleted = rejection(device.write(vec![upsert("1", vec![delete()])]));
    assert!(matches!(deleted, Rejection::Deleted { .. }), "{deleted}");
    assert_eq!(
        device.get("1").map(|record| record.view.life),
        Some(Life::Deleted)
    );
    device
        .write(vec![upsert("1", vec![restore()])])
        .expect("a restore");
    assert_eq!(
        device.get("1").map(|record| record.view.life),
        Some(Life::Live)
    );
}

#[test]
fn replace_clears_what_it_does_not_name() {
    let mut device = Device::new(1);
    let ops = vec![set("name", "A"), set("notes", "n"), add("visits", 1)];
    device.write(vec![upsert("1", ops)]).expect("a write");

    device
        .write(vec![edit("1", WriteMode::Replace, vec![set("name", "B")])])
        .expect("a replacement");

    assert_eq!(device.field("1", "name"), "B");
    assert_eq!(device.field("1", "notes"), serde_json::Value::Null);
    assert_eq!(device.field("1", "status"), serde_json::Value::Null);
    assert_eq!(device.field("1", "visits"), 1, "counters are not registers");
    let without_name = edit("1", WriteMode::Replace, vec![set("notes", "n")]);
    assert!(matches!(
        rejection(device.write(vec![without_name])),
        Rejection::Invalid { .. }
    ));
}

#[test]
fn a_refused_write_leaves_nothing_and_the_others_go_on() {
    let mut device = Device::new(1);
    let first = device.local(vec![upsert("1", vec![set("name", "A"), add("visits", 1)])]);
    let bad = device.local(vec![
        upsert("1", vec![add("visits", 5)]),
        upsert("2", vec![set("name", "B")]),
        upsert("3", vec![set("notes", "no name")]),
    ]);
    let last = device.local(vec![upsert("1", vec![add("visits", 1)])]);

    let report = device.store.commit(
        vec![first, bad, last]
            .into_iter()
            .map(Batch::Local)
            .collect(),
    );

    assert_eq!(
        (report.arrival, report.rows.len(), report.rows[0].seq),
        (2, 1, 2)
    );
    let results = local_results(report);
    assert!(
        matches!(&results[1], Err(Rejection::Invalid { id, errors, .. })
        if id == "3" && errors[0].code == "missing_required")
    );
    assert_eq!(results[2].as_ref().map(|outcome| outcome.dot.seq), Ok(2));
    assert_eq!(device.field("1", "visits"), 2);
    assert!(device.get("2").is_none() && device.get("3").is_none());
    let counts = device.reader().counts().expect("counts");
    assert_eq!(
        counts.records,
        [(SpaceName::default(), "patient".to_owned(), 1, 0)]
    );
}

#[test]
fn a_transaction_of_refusals_only_is_not_committed() {
    let mut device = Device::new(1);
    let commits = device.store.identity().expect("an identity").commits;

    rejection(device.write(vec![upsert("1", vec![])]));
    rejection(device.write(vec![edit("1", WriteMode::Update, vec![set("name", "A")])]));

    assert_eq!(
        device.store.identity().expect("an identity").commits,
        commits
    );
    assert!(device.held().is_empty());
}

#[test]
fn a_record_that_a_merge_made_invalid_stays_editable() {
    let (mut a, mut b) = (Device::new(1), Device::new(2));
    a.write(vec![upsert("1", vec![set("name", "A"), add("visits", 3)])])
        .expect("a write");
    b.pull(&a, usize::MAX);
    a.write(vec![upsert("1", vec![add("visits", -2)])])
        .expect("down to 1");
    b.write(vec![upsert("1", vec![add("visits", -2)])])
        .expect("down to 1");
    a.pull(&b, usize::MAX);
    assert_eq!(a.field("1", "visits"), -1);

    a.write(vec![upsert("1", vec![set("notes", "recount")])])
        .expect("another field");
    let down = rejection(a.write(vec![upsert("1", vec![add("visits", -1)])]));
    assert!(matches!(down, Rejection::Invalid { .. }), "{down}");
    a.write(vec![upsert("1", vec![add("visits", 1)])])
        .expect("back to 0");
}

#[test]
fn a_repeated_request_is_answered_and_not_written_again() {
    let mut device = Device::new(1);
    let ops = || vec![upsert("1", vec![set("name", "A"), add("visits", 1)])];
    let first = device.write_once("key", ops()).expect("a write");

    let again = device.write_once("key", ops()).expect("a replay");
    let other = device.write_once("key", vec![upsert("1", vec![add("visits", 7)])]);

    assert_eq!(
        again,
        CommitOutcome {
            replayed: true,
            ..first
        }
    );
    assert_eq!(
        rejection(other),
        Rejection::KeyReused {
            key: "key".to_owned()
        }
    );
    assert_eq!(device.field("1", "visits"), 1);
}

#[test]
fn a_repeated_request_is_known_however_the_clock_jumps() {
    let mut device = Device::new(1);
    let ops = || vec![upsert("1", vec![set("name", "A"), add("visits", 1)])];
    let today = device.clock_ms;
    device.clock_ms = 5000;
    let first = device.write_once("key", ops()).expect("a write in 1970");

    for clock_ms in [today, 5000, 2 * today, today] {
        device.clock_ms = clock_ms;
        device
            .write_once(
                &clock_ms.to_string(),
                vec![upsert("2", vec![set("name", "B")])],
            )
            .expect("a write");
        let again = device.write_once("key", ops()).expect("a replay");
        assert!(again.replayed && again.dot == first.dot, "at {clock_ms}");
    }

    assert_eq!(device.field("1", "visits"), 1);
}

#[test]
fn a_write_that_changes_nothing_appends_nothing() {
    let mut device = Device::new(1);
    let first = device
        .write(vec![upsert("1", vec![set("name", "A")])])
        .expect("a write");

    let nothing = device
        .write_once("key", vec![upsert("1", vec![])])
        .expect("no change");
    let some = device.write(vec![
        upsert("1", vec![]),
        upsert("2", vec![set("name", "B")]),
    ]);

    assert_eq!(
        (nothing.dot, &nothing.records[0].etag),
        (first.dot, &first.records[0].etag)
    );
    let some = some.expect("a write of one of two");
    assert_eq!((some.dot.seq, some.records.len()), (2, 2));
    assert!(!some.records[0].created && some.records[1].created);
    let entry = device
        .reader()
        .entry(some.dot)
        .expect("the entry reads")
        .expect("the entry");
    assert_eq!(entry.1.edits.len(), 1);
}

#[test]
fn a_change_set_that_is_too_large_is_refused() {
    let mut device = Device::new(1);
    let text = "x".repeat(60_000);
    let edits = |count: usize| {
        let record = |n| upsert(&format!("{n}"), vec![set("name", "A"), set("notes", &text)]);
        (0..count).map(record).collect()
    };

    let refused = rejection(device.write(edits(9)));

    assert!(matches!(refused, Rejection::TooLarge { bytes, bytes_max } if bytes > bytes_max));
    device.write(edits(8)).expect("half a megabyte");
}

#[test]
fn lists_are_pages_in_the_order_of_ids() {
    let mut device = Device::new(1);
    for id in ["5", "3", "1", "4", "2"] {
        device
            .write(vec![upsert(id, vec![set("name", id)])])
            .expect("a write");
    }
    device
        .write(vec![upsert("3", vec![delete()])])
        .expect("a delete");
    let ids = |after, limit, deleted, keep: &dyn Fn(&str) -> bool| {
        let keep = |view: &crdt_schema::resolution::RecordView| {
            keep(view.fields["name"].as_str().unwrap_or_default())
        };
        let page = device
            .reader()
            .list(&query(after, limit, deleted), &keep)
            .expect("a page");
        let ids: Vec<String> = page
            .records
            .into_iter()
            .map(|record| record.key.id)
            .collect();
        (ids.join(" "), page.next)
    };
    let all = |_: &str| true;

    assert_eq!(
        ids(None, 2, false, &all),
        ("1 2".to_owned(), Some("2".to_owned()))
    );
    assert_eq!(ids(Some("2"), 2, false, &all), ("4 5".to_owned(), None));
    assert_eq!(ids(None, 9, true, &all), ("1 2 3 4 5".to_owned(), None));
    assert_eq!(
        ids(None, 1, false, &|id| id > "3"),
        ("4".to_owned(), Some("4".to_owned()))
    );
    assert_eq!(
        ids(Some("4"), 1, false, &|id| id < "5"),
        (String::new(), None)
    );
    let counts = device.reader().counts().expect("counts");
    assert_eq!(
        counts.records,
        [(SpaceName::default(), "patient".to_owned(), 4, 1)]
    );
    assert_eq!(counts.entries, 6);
}

#[test]
fn reviews_are_the_same_everywhere_and_end_with_their_answer() {
    let (mut a, mut b) = (Device::new(1), Device::new(2));
    a.write(vec![upsert("1", vec![set("name", "Amina")])])
        .expect("a write");
    b.pull(&a, usize::MAX);
    a.write(vec![upsert("1", vec![set("name", "Amina W.")])])
        .expect("a write");
    b.write(vec![upsert("1", vec![set("name", "Aminah")])])
        .expect("a write");

    a.pull(&b, usize::MAX);
    b.pull(&a, usize::MAX);

    let reviews = a.reader().reviews().expect("reviews");
    assert_eq!(reviews, b.reader().reviews().expect("reviews"));
    assert_eq!((reviews.len(), &reviews[0].0), (1, &patient("1")));
    assert_eq!(
        reviews[0].1.subject,
        ReviewSubject::Field {
            key: "name".to_owned()
        }
    );
    let answer = Op::Resolve {
        key: "name".to_owned(),
        value: Value::Text("Amina W.".to_owned()),
        note: "saw the card".to_owned(),
    };
    a.write(vec![upsert("1", vec![answer])]).expect("an answer");
    b.pull(&a, usize::MAX);
    assert_eq!(b.reader().reviews().expect("reviews"), []);
    assert_eq!(b.reader().counts().expect("counts").reviews, 0);
    assert_eq!(a.shown(), b.shown());
}

#[test]
fn a_new_incarnation_writes_a_new_log() {
    let disk = Disk::default();
    let mut device = Device::on(&disk, 1);
    let first = device
        .write(vec![upsert("1", vec![set("name", "A")])])
        .expect("a write");

    device.store.begin_incarnation().expect("a new incarnation");

    let opening = device.store.opening().expect("an opening");
    assert_eq!(opening.own_logs, []);
    assert_eq!(
        opening.last_hlc, first.hlc,
        "the clock goes on from the former incarnation"
    );
    device.log.log = LogId([77; 16]);
    device
        .write(vec![upsert("1", vec![set("name", "B")])])
        .expect("a write");
    assert_eq!(
        device.store.opening().expect("an opening").own_logs,
        [device.log.clone()]
    );
    assert_eq!(device.held().len(), 2);
    assert_eq!(device.field("1", "name"), "B");
}

#[test]
fn every_space_has_its_own_log_and_records() {
    let mut device = Device::new(1);
    device
        .write(vec![upsert("1", vec![set("name", "A")])])
        .expect("a write");
    let mut elsewhere = device.local(vec![upsert("1", vec![set("name", "B")])]);
    elsewhere.log.space = SpaceName::new("clinic/kisumu").expect("a space name");

    let mixed = rejection(device.commit(elsewhere.clone()));
    elsewhere.log.log = LogId([50; 16]);
    device.commit(elsewhere).expect("a write to another space");

    assert!(matches!(mixed, Rejection::Store(_)), "{mixed}");
    assert_eq!(device.field("1", "name"), "A");
    assert_eq!(
        device.store.opening().expect("an opening").own_logs.len(),
        2
    );
}

#[test]
fn an_edit_is_later_than_what_it_follows_even_when_the_clock_that_stamps_it_was_started_anew() {
    let (disk_a, disk_b) = (Disk::default(), Disk::default());
    let (mut a, mut b) = (Device::on(&disk_a, 1), Device::on(&disk_b, 2));
    for (ahead_ms, is_followed) in [(60_000, true), (3 * 3_600_000, false)] {
        a.clock_ms = b.clock_ms + ahead_ms;
        let write = |name| vec![upsert("1", vec![set("name", name)])];
        let cause = a.write(write("A")).expect("a write");
        b.pull(&a, usize::MAX);

        let effect = b.write(write("B")).expect("a write");

        assert_eq!(effect.hlc > cause.hlc, is_followed, "{ahead_ms} ms ahead");
        a.pull(&b, usize::MAX);
    }
}
