//! Remote entries: merging, refusing, and schemas that differ.

use super::implied::left_out;
use super::*;
use crate::engine::batch::{LeftOut, PeerRow, StoreFault};
use crdt_schema::resolution::Life;

fn all_runs(device: &Device, receiver: &Device) -> Vec<VerifiedRun> {
    let fetched = device
        .reader()
        .fetch(&Walk::default(), &Held::new(), usize::MAX)
        .expect("a fetch");
    receiver.verify(&fetched.runs)
}

fn remote(device: &mut Device, runs: Vec<VerifiedRun>) -> (Result<(), StoreFault>, CommitReport) {
    let mut report = device.store.commit(vec![Batch::Remote { batch: 7, runs }]);
    let outcome = report.remote.remove(0);
    assert_eq!(outcome.batch, 7);
    (outcome.result, report)
}

#[test]
fn two_stores_converge_on_records_tallies_and_lives() {
    let (mut a, mut b) = (Device::new(1), Device::new(2));
    a.write(vec![
        upsert("1", vec![set("name", "A")]),
        upsert("2", vec![set("name", "B")]),
    ])
    .expect("a write");
    b.write(vec![upsert("3", vec![set("name", "C"), add("visits", 1)])])
        .expect("a write");
    a.pull(&b, usize::MAX);
    b.pull(&a, usize::MAX);
    a.write(vec![
        upsert("2", vec![delete()]),
        upsert("3", vec![delete()]),
    ])
    .expect("a delete");
    b.write(vec![upsert("3", vec![add("visits", 1)])])
        .expect("a write");

    a.pull(&b, usize::MAX);
    b.pull(&a, usize::MAX);

    assert_eq!(a.shown(), b.shown());
    assert_eq!(
        a.get("3").map(|record| record.view.life),
        Some(Life::Contested)
    );
    let (a, b) = (
        a.reader().counts().expect("counts"),
        b.reader().counts().expect("counts"),
    );
    assert_eq!(a, b);
    assert_eq!(
        a.records,
        [(SpaceName::default(), "patient".to_owned(), 2, 1)]
    );
}

#[test]
fn a_batch_that_does_not_continue_its_log_is_refused_alone() {
    let (mut author, mut device) = (Device::new(1), Device::new(2));
    for n in 0..4 {
        author
            .write(vec![upsert(&n.to_string(), vec![set("name", "A")])])
            .expect("a write");
    }
    let whole = all_runs(&author, &device);
    let (run, sets) = (&whole[0].run, &whole[0].sets);
    let other_chain = VerifiedRun {
        chain: [0; 32],
        ..whole[0].clone()
    };
    let other_header = VerifiedRun {
        run: Run {
            header: LogHeader {
                name: "x".to_owned(),
                ..author.log.clone()
            },
            ..run.clone()
        },
        ..whole[0].clone()
    };
    let empty = VerifiedRun {
        run: Run {
            entries: vec![],
            from: 0,
            ..run.clone()
        },
        sets: sets[2..].to_vec(),
        chain: whole[0].chain,
    };
    let local = device.local(vec![upsert("mine", vec![set("name", "B")])]);
    let bad = [
        vec![whole[0].clone(), other_header],
        vec![other_chain],
        vec![empty],
    ];

    let mut batches: Vec<Batch> = bad
        .into_iter()
        .zip(1..)
        .map(|(runs, batch)| Batch::Remote { batch, runs })
        .collect();
    batches.insert(2, Batch::Local(local));
    let report = device.store.commit(batches);

    assert_eq!(report.remote.len(), 3);
    for outcome in &report.remote {
        assert!(
            matches!(outcome.result, Err(StoreFault::Failed(_))),
            "{outcome:?}"
        );
    }
    assert!(report.local[0].1.is_ok());
    assert_eq!(
        device.held(),
        [(device.log.log, 1)].into(),
        "nothing of the bad batches is held"
    );
    assert_eq!(remote(&mut device, whole).0, Ok(()));
    assert_eq!(device.reader().counts().expect("counts").entries, 5);
}

#[test]
fn entries_that_are_held_already_are_skipped() {
    let (mut author, mut device) = (Device::new(1), Device::new(2));
    author
        .write(vec![upsert("1", vec![set("name", "A"), add("visits", 1)])])
        .expect("a write");
    let first = all_runs(&author, &device);
    author
        .write(vec![upsert("1", vec![add("visits", 1)])])
        .expect("a write");
    let both = all_runs(&author, &device);

    assert_eq!(remote(&mut device, first.clone()).0, Ok(()));
    assert_eq!(remote(&mut device, both.clone()).0, Ok(()));
    let (again, report) = remote(&mut device, both);
    assert_eq!(again, Ok(()));
    assert_eq!(
        report.rows.len(),
        1,
        "the sender is told where the log ends"
    );
    assert_eq!((report.rows[0].seq, report.arrival), (2, 2));
    assert_eq!(remote(&mut device, first).0, Ok(()));

    assert_eq!(device.field("1", "visits"), 2);
    assert_eq!(device.shown(), author.shown());
}

#[test]
fn a_collection_that_the_schema_lacks_is_kept_passed_on_and_shown_once_known() {
    let newer = [SCHEMA, SECOND_COLLECTION].concat();
    let disk = Disk::default();
    let mut author = Device::with_schema(&Disk::default(), 1, &newer);
    let stock = LocalEdit {
        collection: "stock".to_owned(),
        ..upsert(
            "s1",
            vec![Op::Set {
                key: "item".to_owned(),
                value: Value::Text("ORS".into()),
            }],
        )
    };
    author
        .write(vec![stock, upsert("1", vec![set("name", "A")])])
        .expect("a write");
    let key = RecordKey {
        collection: "stock".to_owned(),
        ..patient("s1")
    };

    let mut older = Device::on(&disk, 2);
    older.pull(&author, usize::MAX);

    assert!(older.reader().get(&key).expect("a read").is_none());
    assert!(older.reader().document(&key).expect("a read").is_some());
    assert!(older.get("1").is_some());
    drop(older);
    let mut upgraded = Device::with_schema(&disk, 2, &newer);
    upgraded.refresh();
    let shown = upgraded
        .reader()
        .get(&key)
        .expect("a read")
        .expect("the record");
    assert_eq!(shown.view.fields["item"], "ORS");
    assert_eq!(upgraded.shown(), author.shown());
    let (counts, expected) = (upgraded.reader().counts(), author.reader().counts());
    assert_eq!(counts.expect("counts"), expected.expect("counts"));
    drop(upgraded);
    let mut third = Device::new(3);
    third.pull(&Device::with_schema(&disk, 2, &newer), usize::MAX);
    assert_eq!(third.shown(), author.shown());
}

#[test]
fn peers_are_remembered() {
    let disk = Disk::default();
    let mut device = Device::on(&disk, 1);
    let peer = PeerRow {
        device: DeviceId([5; 32]),
        name: "hub".to_owned(),
        hub: true,
        last_seen_ms: 99,
        held: [(LogId([1; 16]), 3)].into(),
        checkpoints: Default::default(),
    };
    let older = PeerRow {
        last_seen_ms: 1,
        ..peer.clone()
    };

    let report = device
        .store
        .commit(vec![Batch::Peer(older), Batch::Peer(peer.clone())]);

    assert_eq!(report, CommitReport::default());
    drop(device);
    let device = Device::on(&disk, 1);
    assert_eq!(device.store.opening().expect("an opening").peers, [peer]);
}

#[test]
fn a_batch_whose_causes_were_lost_with_the_batch_before_waits_for_them() {
    let (mut a, mut b) = (Device::new(1), Device::new(2));
    a.write(vec![upsert("1", vec![set("name", "A")])])
        .expect("a write");
    b.pull(&a, usize::MAX);
    b.write(vec![upsert("1", vec![set("name", "B")])])
        .expect("a write");
    let disk = Disk::default();
    let mut device = Device::on(&disk, 3);
    let runs = all_runs(&b, &device);
    let (causes, effects) = (vec![runs[0].clone()], vec![runs[1].clone()]);

    disk.fill_to_the_brim();
    assert!(remote(&mut device, causes.clone()).0.is_err());
    disk.free();
    let early = left_out(&mut device, effects.clone());

    let waiting = [(b.log.log, LeftOut::LeftOutBefore(a.log.log))];
    assert_eq!(early, waiting);
    assert_eq!(device.held(), Held::new());
    let backwards = vec![effects[0].clone(), causes[0].clone()];
    assert_eq!(left_out(&mut device, backwards), waiting);
    assert_eq!(device.held(), [(a.log.log, 1)].into());
    let batches = [(1, causes), (2, effects)];
    let batches = batches.map(|(batch, runs)| Batch::Remote { batch, runs });
    let report = device.store.commit(batches.into());
    assert!(report.remote.iter().all(|outcome| outcome.result.is_ok()));
    assert_eq!(device.shown(), b.shown());
}

/// A log of one entry, as a careless engine would pass it on.
fn unverified(run: Run) -> VerifiedRun {
    let start = chain_start(&ORGANISATION, &run.header);
    let set = decode_change_set(&run.entries[0]).expect("a change set");
    VerifiedRun {
        sets: vec![Arc::new(set)],
        chain: chain_next(&start, &run.entries[0]),
        run,
    }
}

#[test]
fn what_does_not_reach_its_log_s_end_is_left_out() {
    let (mut author, mut device) = (Device::new(1), Device::new(2));
    for id in ["1", "2"] {
        let ops = vec![set("name", "A")];
        author.write(vec![upsert(id, ops)]).expect("a write");
    }
    let mut gap = all_runs(&author, &device).remove(0);
    gap.run.entries.remove(0);
    gap.run.from = 2;
    gap.sets.remove(0);

    let log = author.log.log;
    let waiting = [(log, LeftOut::LeftOutBefore(log))];
    assert_eq!(left_out(&mut device, vec![gap]), waiting);
    assert_eq!(device.held(), Held::new());
}

#[test]
fn what_lacks_its_cause_is_left_out_alone() {
    let (mut device, mut good) = (Device::new(1), Device::new(2));
    good.write(vec![upsert("2", vec![set("name", "A")])])
        .expect("a write");
    let cause = Dot::new(LogId([99; 16]), 1);
    let effect = unverified(Device::new(3).log_after(vec![(cause, [0; 2])]));
    let log = effect.run.header.log;
    let mut runs = all_runs(&good, &device);
    runs.insert(0, effect);

    let mut report = device.store.commit(vec![Batch::Remote { batch: 7, runs }]);

    let outcome = report.remote.remove(0);
    assert_eq!(outcome.result, Ok(()));
    assert_eq!(outcome.left_out, [(log, LeftOut::LeftOutBefore(cause.log))]);
    assert_eq!(device.held(), [(good.log.log, 1)].into());
}

#[test]
fn a_cause_in_another_space_counts_as_missing() {
    let (mut device, mut author) = (Device::new(1), Device::new(2));
    device
        .write(vec![upsert("1", vec![set("name", "A")])])
        .expect("a write");
    let here = device.verify(&[author.log_after(vec![device.last()])]);
    author.log.space = SpaceName::new("clinic/kisumu").expect("a space name");
    let elsewhere = device.verify(&[author.log_after(vec![device.last()])]);

    let refused = left_out(&mut device, elsewhere);

    let waiting = LeftOut::LeftOutBefore(device.log.log);
    assert_eq!(refused, [(author.log.log, waiting)]);
    assert_eq!(remote(&mut device, here).0, Ok(()));
    assert_eq!(device.field("1", "name"), "renamed");
}

#[test]
fn an_own_log_that_comes_back_from_a_peer_is_no_longer_written() {
    let disk = Disk::default();
    let mut device = Device::on(&disk, 1);
    let rename = |device: &mut Device, name: &str| {
        device
            .write(vec![upsert("1", vec![set("name", name)])])
            .expect("a write");
    };
    rename(&mut device, "A");
    drop(device);
    let backup = disk.bytes();
    let mut device = Device::on(&disk, 1);
    let mut restored = Device::on(&Disk::of_bytes(&backup), 1);
    let known = all_runs(&device, &Device::new(2));
    device.clock_ms += 10_000;
    rename(&mut device, "B");
    let news = device
        .reader()
        .fetch(&Walk::default(), &restored.held(), usize::MAX);
    let second = restored.verify(&news.expect("a fetch").runs);
    rename(&mut device, "C");
    let own_logs = |device: &Device| device.store.opening().expect("an opening").own_logs;

    assert_eq!(remote(&mut restored, known).0, Ok(()));
    assert_eq!(own_logs(&restored), [restored.log.clone()], "nothing new");
    assert_eq!(remote(&mut restored, second).0, Ok(()));
    assert_eq!(own_logs(&restored), []);

    restored.log.log = LogId([77; 16]);
    restored.clock_ms += 60_000;
    rename(&mut restored, "D");
    restored.pull(&device, usize::MAX);
    assert_eq!(own_logs(&restored), [restored.log.clone()], "the new log");
    device.pull(&restored, usize::MAX);
    assert_eq!(device.shown(), restored.shown());
}
