//! Checks, rebuilding, copies and mends of stores with real rows.

use redb::ReadableTable;

use super::forked::{repaired, run, run_of};
use super::*;
use crate::engine::batch::repair::{Found, Look, Outcome, Repair};
use crate::store::{Checkup, Progress, StoreError, tables};
use crate::wire::chain::SEALED;

type Change = fn(&redb::WriteTransaction);

pub(super) struct Quiet;

impl Progress for Quiet {
    fn at(&mut self, _: &'static str, _: u64, _: u64) {}
}

pub(super) fn check(device: &Device) -> Checkup {
    device.reader().check(&mut Quiet).expect("it reads")
}

fn kinds(device: &Device) -> Vec<&'static str> {
    let mut kinds: Vec<_> = check(device)
        .told
        .iter()
        .map(|problem| problem.what)
        .collect();
    kinds.dedup();
    kinds
}

/// A device with records of every kind: alive, deleted, contested, and under review.
fn busy(disk: &Disk) -> Device {
    let mut device = Device::on(disk, 1);
    let mut other = Device::new(2);
    for n in 0..5 {
        let ops = vec![set("name", "A"), add("visits", 1)];
        device
            .write(vec![upsert(&n.to_string(), ops)])
            .expect("a write");
    }
    other.pull(&device, usize::MAX);
    device
        .write(vec![upsert("0", vec![set("name", "B")])])
        .expect("a write");
    other
        .write(vec![upsert("0", vec![set("name", "C")])])
        .expect("a write");
    other
        .write(vec![upsert("1", vec![delete()])])
        .expect("a write");
    device
        .write(vec![upsert("1", vec![set("notes", "n")])])
        .expect("a write");
    other
        .write(vec![upsert("2", vec![delete()])])
        .expect("a write");
    device.pull(&other, usize::MAX);
    assert!(!device.reader().reviews().expect("reviews").is_empty());
    device
}

/// Changes tables by hand, without the store's knowledge.
pub(super) fn tamper(disk: &Disk, change: impl FnOnce(&redb::WriteTransaction)) {
    let database = redb::Builder::new()
        .create_with_backend(disk.clone())
        .expect("it opens");
    let tx = database.begin_write().expect("a transaction");
    change(&tx);
    tx.commit().expect("a commit");
}

/// Flips a bit of an entry of a log.
pub(super) fn flip_entry(disk: &Disk, log: u32, seq: u64) {
    tamper(disk, |tx| {
        let mut rows = tx.open_table(tables::ENTRIES).expect("the table");
        let mut bad = rows
            .get((log, seq))
            .expect("a read")
            .expect("the row")
            .value()
            .to_vec();
        bad[9] ^= 1;
        rows.insert((log, seq), bad.as_slice()).expect("a write");
    });
}

#[test]
fn a_good_store_passes_its_check_and_rebuilding_changes_nothing() {
    let mut device = busy(&Disk::default());
    let (shown, reviews) = (device.shown(), device.reader().reviews().expect("reviews"));
    let before = check(&device);
    assert_eq!(
        (before.problems, before.logs, before.records),
        (0, 2, 5),
        "{before:?}"
    );

    assert_eq!(device.store.rebuild(&mut Quiet).expect("it rebuilds"), 5);

    assert_eq!(check(&device), before);
    assert_eq!(device.shown(), shown);
    assert_eq!(device.reader().reviews().expect("reviews"), reviews);
}

#[test]
fn whatever_is_derived_wrongly_is_found_and_rebuilt() {
    let disk = Disk::default();
    let shown = busy(&disk).shown();
    let tampers: [(&str, Change); 5] = [
        ("document", |tx| {
            let mut docs = tx.open_table(tables::DOCS).expect("the table");
            let other = docs
                .get(3)
                .expect("a read")
                .expect("the row")
                .value()
                .to_vec();
            docs.insert(4, other.as_slice()).expect("a write");
        }),
        ("view", |tx| {
            tx.open_table(tables::VIEWS)
                .expect("the table")
                .remove(4)
                .expect("a write");
        }),
        ("review", |tx| {
            let mut reviews = tx.open_table(tables::REVIEWS).expect("the table");
            reviews.retain(|_, _| false).expect("a write");
        }),
        ("tally", |tx| {
            let mut tallies = tx.open_table(tables::TALLIES).expect("the table");
            tallies.retain(|_, _| false).expect("a write");
        }),
        ("document", |tx| {
            // A record that no log knows.
            let key = tables::record_key(&patient("made-up"));
            let mut index = tx.open_table(tables::INDEX).expect("the table");
            index.insert(key.as_slice(), 77).expect("a write");
        }),
    ];
    for (kind, change) in tampers {
        tamper(&disk, change);
        let mut device = Device::on(&disk, 1);
        let found = kinds(&device);
        assert!(found.contains(&kind), "{kind}: {found:?}");

        device.store.rebuild(&mut Quiet).expect("it rebuilds");

        assert_eq!(check(&device).told, []);
        assert_eq!(device.shown(), shown);
    }
}

#[test]
fn a_damaged_log_is_found_and_nothing_is_rebuilt_from_it() {
    let disk = Disk::default();
    let shown = busy(&disk).shown();
    flip_entry(&disk, 0, 3);
    let mut device = Device::on(&disk, 1);

    assert_eq!(kinds(&device), ["log", "document"]);
    assert!(device.store.rebuild(&mut Quiet).is_err());

    assert_eq!(device.shown(), shown, "what was there is still there");
}

#[test]
fn a_log_row_whose_chain_is_wrong_is_found_and_mended() {
    let disk = Disk::default();
    let device = busy(&disk);
    let log = device.log.log;
    let mut whole = Device::new(3);
    whole.pull(&device, usize::MAX);
    drop(device);
    tamper(&disk, |tx| {
        let mut rows = tx.open_table(tables::LOGS).expect("the table");
        let bytes = rows
            .get(0)
            .expect("a read")
            .expect("the row")
            .value()
            .to_vec();
        let mut row = crate::store::rows::LogRow::decode(&bytes).expect("a row");
        row.chain[0] ^= 1;
        rows.insert(0, row.encode().as_slice()).expect("a write");
    });
    let mut device = Device::on(&disk, 1);
    assert_eq!(kinds(&device), ["log", "document"]);
    let seqs = vec![device.held()[&log]];
    let Ok(Found::Tags {
        damaged: Some(from),
        ..
    }) = device.reader().look(&Look::Tags { log, seqs })
    else {
        panic!("the damage is seen");
    };
    let Ok(Found::Run { run: Some(run), .. }) = whole.reader().look(&Look::Run { log, from })
    else {
        panic!("the other holds it");
    };

    let report = device
        .store
        .commit(vec![Batch::Repair(1, Box::new(Repair::Mend(run)))]);

    assert!(
        matches!(report.repairs[0].result, Ok(Outcome::Mended { .. })),
        "{report:?}"
    );
    assert_eq!(check(&device).told, []);
}

#[test]
fn a_mend_without_a_signature_keeps_the_one_that_is_held_and_needs_one() {
    let mut author = Device::new(2);
    for id in ["1", "2"] {
        let ops = vec![set("name", "A")];
        author.write(vec![upsert(id, ops)]).expect("a write");
    }
    let honest = run(&author);
    let unsigned = Run {
        signature: SEALED,
        ..honest.clone()
    };
    for is_held in [true, false] {
        let disk = Disk::default();
        Device::on(&disk, 1).pull(&author, usize::MAX);
        flip_entry(&disk, 0, 2);
        tamper(&disk, |tx| {
            let mut points = tx.open_table(tables::POINTS).expect("the table");
            if !is_held {
                points.insert((0, 2), &[7; 64]).expect("a write");
            }
        });
        let mut device = Device::on(&disk, 1);
        let mend = |run: &Run| Batch::Repair(1, Box::new(Repair::Mend(run.clone())));

        let mended = repaired(&mut device, mend(&unsigned));

        assert_eq!(mended.is_ok(), is_held, "{mended:?}");
        assert!(repaired(&mut device, mend(&honest)).is_ok());
        assert_eq!(check(&device).told, []);
        assert_eq!(run_of(&device, author.log.log).signature, honest.signature);
    }
}

#[test]
fn a_fetch_leaves_out_a_damaged_log_and_gives_the_others() {
    let disk = Disk::default();
    let device = busy(&disk);
    let other = *device
        .held()
        .keys()
        .find(|log| **log != device.log.log)
        .expect("a log");
    drop(device);
    flip_entry(&disk, 0, 1);
    let device = Device::on(&disk, 1);

    let fetched = device
        .reader()
        .fetch(&Walk::default(), &Held::new(), usize::MAX)
        .expect("a fetch");

    assert_eq!(fetched.damaged, [Dot::new(device.log.log, 1)]);
    assert!(fetched.end);
    assert!(fetched.runs.iter().all(|run| run.header.log == other));
    assert!(!fetched.runs.is_empty());
}

#[test]
fn one_damaged_record_hides_no_other_reviews_and_not_even_its_own() {
    let disk = Disk::default();
    let before = busy(&disk).reader().reviews().expect("reviews");
    tamper(&disk, |tx| {
        tx.open_table(tables::VIEWS)
            .expect("the table")
            .remove(0)
            .expect("a write");
    });
    assert_eq!(
        Device::on(&disk, 1).reader().reviews().expect("reviews"),
        before
    );
    tamper(&disk, |tx| {
        tx.open_table(tables::DOCS)
            .expect("the table")
            .remove(0)
            .expect("a write");
    });

    let reader = Device::on(&disk, 1).reader();
    let left = reader.reviews().expect("reviews");

    assert!(
        left.len() == before.len() - 1 && !left.is_empty(),
        "{left:?}"
    );
    for review in before {
        let one = reader.review(&review.1.id.0);
        match left.contains(&review) {
            true => assert_eq!(one, Ok(Some(review))),
            false => assert!(matches!(one, Err(StoreError::Damaged { .. })), "{one:?}"),
        }
    }
    assert_eq!(reader.review("none"), Ok(None));
}

#[test]
fn a_copy_is_the_store_and_never_written_over_anything() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("copy.redb");
    let device = busy(&Disk::default());

    let copied = device.reader().copy_to(&path).expect("a copy");

    assert_eq!(
        copied.entries,
        device.reader().counts().expect("counts").entries
    );
    assert!(device.reader().copy_to(&path).is_err());
    let store = Store::open_file(&path, options(1, schema(SCHEMA))).expect("it opens");
    assert_eq!(store.identity().expect("it reads"), copied.identity);
    let copy = Device::of(store, 1);
    assert_eq!(copy.shown(), device.shown());
    assert_eq!(check(&copy), check(&device));
}
