//! Entries that do not name their records: what they cost, who reads them, and what becomes of lies.

use std::collections::BTreeMap;

use crdt_schema::op::Implied;
use proptest::prelude::*;
use redb::ReadableTable;

use super::repair::{Quiet, check, flip_entry, tamper};
use super::*;
use crate::engine::batch::LeftOut;
use crate::engine::batch::repair::{Outcome, Repair};
use crate::store::tables;
use crate::wire::WireError;

pub(super) const RANDOM_ID: &str = "6f1c1d0e-93a4-4b6e-8a55-0d9a1f2c7b31";

/// The bytes of everything that a device holds, in order of arrival.
fn entries(device: &Device) -> Vec<Vec<u8>> {
    let everything = device
        .reader()
        .fetch(&Walk::default(), &Held::new(), usize::MAX);
    let runs = everything.expect("a fetch").runs;
    runs.into_iter().flat_map(|run| run.entries).collect()
}

pub(super) fn sets(device: &Device) -> Vec<ChangeSet> {
    let feed = device.reader().feed(0, usize::MAX).expect("a feed");
    feed.into_iter().map(|item| item.set).collect()
}

pub(super) fn ids(set: &ChangeSet) -> Vec<&str> {
    set.edits.iter().map(|edit| edit.id.as_str()).collect()
}

fn is_in(needle: &str, bytes: &[u8]) -> bool {
    bytes
        .windows(needle.len())
        .any(|part| part == needle.as_bytes())
}

pub(super) fn rename(device: &mut Device, id: &str, name: &str) {
    device
        .write(vec![upsert(id, vec![set("name", name)])])
        .expect("a write");
}

/// A log of this device that no store wrote, with one change set after the other.
fn forged(device: &Device, sets: &[ChangeSet]) -> Run {
    let entries: Vec<Vec<u8>> = sets.iter().map(encode_change_set).collect();
    let start = chain_start(&ORGANISATION, &device.log);
    let chain = entries.iter().fold(start, |c, entry| chain_next(&c, entry));
    let (signer, seq) = (&device.store.options.signer, entries.len() as u64);
    Run {
        header: device.log.clone(),
        from: 1,
        entries,
        signature: sign_point(signer, &ORGANISATION, &device.log, seq, &chain),
    }
}

/// A change set of edits that set a name, each of the record told.
fn telling(ms: u64, told: Vec<Result<&str, Implied>>) -> ChangeSet {
    let edits = told.iter().map(|told| Edit {
        collection: told.map_or("", |_| "patient").to_owned(),
        id: told.unwrap_or_default().to_owned(),
        deps: Vec::new(),
        ops: vec![set("name", "forged")],
    });
    let implied = told.iter().enumerate();
    ChangeSet {
        hlc: Timestamp::from_ms(1_790_000_000_000 + ms),
        schema_version: 1,
        person: String::new(),
        edits: edits.collect(),
        tags: BTreeMap::new(),
        implied: implied
            .filter_map(|(place, told)| Some((place, told.err()?)))
            .collect(),
    }
}

fn own(back: u64, edit: usize) -> Result<&'static str, Implied> {
    Err(Implied { back, edit })
}

pub(super) fn left_out(device: &mut Device, runs: Vec<VerifiedRun>) -> Vec<(LogId, LeftOut)> {
    let mut report = device.store.commit(vec![Batch::Remote { batch: 7, runs }]);
    let outcome = report.remote.remove(0);
    assert_eq!(outcome.result, Ok(()));
    outcome.left_out
}

#[test]
fn an_update_by_the_author_or_another_device_does_not_name_its_record() {
    let (mut a, mut b) = (Device::new(1), Device::new(2));
    rename(&mut a, RANDOM_ID, "A");
    rename(&mut a, RANDOM_ID, "B");
    b.pull(&a, usize::MAX);
    rename(&mut b, RANDOM_ID, "C");
    a.pull(&b, usize::MAX);
    rename(&mut a, RANDOM_ID, "D");
    b.pull(&a, usize::MAX);

    for device in [&a, &b] {
        let entries = entries(device);
        let named = entries.iter().filter(|entry| is_in(RANDOM_ID, entry));
        assert_eq!((entries.len(), named.count()), (4, 1));
        for (set, entry) in sets(device).iter().zip(&entries) {
            assert_eq!(ids(set), [RANDOM_ID]);
            assert_eq!(&encode_change_set(set), entry);
        }
        assert_eq!(device.field(RANDOM_ID, "name"), "D");
        assert_eq!(check(device).told, []);
    }
    assert_eq!(a.shown(), b.shown());
}

#[test]
fn a_change_set_may_point_into_several_entries_and_name_what_is_new() {
    let (mut a, mut b) = (Device::new(1), Device::new(2));
    let name = |id: &str| upsert(id, vec![set("name", "A")]);
    let ids_of = ["one-of-many", "two-of-many", "three-of-many"];
    a.write(ids_of.map(name).into()).expect("a write");
    b.pull(&a, usize::MAX);
    rename(&mut b, "two-of-many", "B");
    let all = ["new-and-long", "three-of-many", "two-of-many"];
    b.write(all.map(|id| upsert(id, vec![set("name", "C")])).into())
        .expect("a write");
    a.pull(&b, usize::MAX);

    let last = sets(&a).pop().expect("the last");
    assert_eq!(ids(&last), all);
    let dep = |edit| Implied { back: 0, edit };
    let before = Implied { back: 1, edit: 0 };
    assert_eq!(last.implied, [(1, dep(2)), (2, before)].into());
    assert_eq!(a.shown(), b.shown());
    assert_eq!(a.store.rebuild(&mut Quiet).expect("it rebuilds"), 4);
    assert_eq!(a.shown(), b.shown());
}

#[test]
fn the_length_of_an_id_costs_nothing_once_it_has_been_said() {
    let size = |id: &str| {
        let mut device = Device::new(1);
        rename(&mut device, id, "A");
        rename(&mut device, id, "B");
        entries(&device)[1].len()
    };

    assert_eq!(size(&"x".repeat(128)), size("x-1"));
}

#[test]
fn names_that_are_lost_are_found_again_by_everybody_who_reads() {
    let disk = Disk::default();
    let mut device = Device::on(&disk, 1);
    for name in ["A", "B", "C", "D"] {
        rename(&mut device, RANDOM_ID, name);
    }
    let (shown, fed) = (device.shown(), sets(&device));
    drop(device);
    tamper(&disk, |tx| {
        let mut rows = tx.open_table(tables::IMPLIED).expect("the table");
        let row = |rows: &redb::Table<'_, _, &[u8]>| {
            let row = rows.get((0, 3)).expect("a read");
            row.expect("the row").value().to_vec()
        };
        let mut bad = row(&rows);
        bad[10] ^= 1;
        rows.insert((0, 3), bad.as_slice()).expect("a write");
        rows.remove((0, 2)).expect("a write");
    });

    let mut device = Device::on(&disk, 1);
    assert_eq!(sets(&device), fed);
    assert_eq!(device.shown(), shown);
    let told = check(&device).told;
    assert_eq!((told.len(), told[0].what), (1, "names"), "{told:?}");
    rename(&mut device, RANDOM_ID, "E");
    let shown = device.shown();
    assert_eq!(device.store.rebuild(&mut Quiet).expect("it rebuilds"), 1);
    assert_eq!(device.shown(), shown);
    assert_eq!(check(&device).told, []);
    drop(device);
    tamper(&disk, |tx| {
        let rows = tx.open_table(tables::IMPLIED).expect("the table");
        for seq in 2..=4 {
            assert!(rows.get((0, seq)).expect("a read").is_some(), "{seq}");
        }
    });
}

#[test]
fn what_points_to_no_earlier_edit_is_left_out_alone() {
    let good = telling(1, vec![Ok("1"), Ok("2")]);
    let lies = [
        ("an edit that there is not", telling(2, vec![own(1, 2)])),
        ("an entry before the first", telling(2, vec![own(2, 0)])),
        ("itself", telling(2, vec![own(u64::MAX, 0)])),
        (
            "twice the same record",
            telling(2, vec![own(1, 1), own(1, 1)]),
        ),
        ("what is also named", telling(2, vec![Ok("2"), own(1, 1)])),
    ];
    for (what, lie) in lies {
        let (mut device, author, mut other) = (Device::new(1), Device::new(2), Device::new(3));
        rename(&mut other, RANDOM_ID, "A");
        rename(&mut other, RANDOM_ID, "B");
        let mut runs = device.verify(&[forged(&author, &[good.clone(), lie])]);
        let honest = other
            .reader()
            .fetch(&Walk::default(), &Held::new(), usize::MAX);
        runs.extend(device.verify(&honest.expect("a fetch").runs));

        let left_out = left_out(&mut device, runs);

        assert_eq!(left_out.len(), 1, "{what}");
        let (log, why) = &left_out[0];
        assert_eq!(*log, author.log.log);
        assert!(
            matches!(why, LeftOut::Malformed(WireError::Malformed(_))),
            "{what}: {why:?}"
        );
        assert_eq!(device.held(), [(other.log.log, 2)].into(), "{what}");
        assert_eq!(device.shown(), other.shown(), "{what}");
    }
}

#[test]
fn the_verdict_on_a_lie_is_the_same_however_it_comes() {
    let author = Device::new(2);
    let good = telling(1, vec![Ok("1")]);
    let lie = telling(2, vec![own(1, 0), own(1, 0)]);
    let both = forged(&author, &[good.clone(), lie]);
    let first = forged(&author, &[good]);
    let mut device = Device::new(1);

    let runs = device.verify(&[first]);
    assert_eq!(left_out(&mut device, runs), []);
    let rest = Run {
        from: 2,
        entries: both.entries[1..].to_vec(),
        ..both
    };
    let runs = device.verify(&[rest]);
    let left_out = left_out(&mut device, runs);

    assert!(matches!(left_out[..], [(_, LeftOut::Malformed(_))]));
    assert_eq!(device.held(), [(author.log.log, 1)].into());
}

#[test]
fn what_comes_after_a_lie_is_left_out_and_fails_no_batch() {
    let (mut device, author) = (Device::new(1), Device::new(2));
    let story = [
        telling(1, vec![own(1, 0)]),
        telling(2, vec![Ok("1")]),
        telling(3, vec![own(1, 0)]),
    ];
    let part = |from, to| part_of(&author, &story, from, to);
    let mut follower = Device::new(3);
    follower.log.log = LogId([33; 16]);
    let cause = (Dot::new(author.log.log, 2), [0; 2]);
    let effect = follower.log_after(vec![cause]);
    let effect = VerifiedRun {
        sets: vec![Arc::new(
            decode_change_set(&effect.entries[0]).expect("a change set"),
        )],
        chain: chain_next(
            &chain_start(&ORGANISATION, &effect.header),
            &effect.entries[0],
        ),
        run: effect,
    };
    let log = author.log.log;

    let first = left_out(&mut device, vec![part(0, 1)]);
    assert!(
        matches!(first[..], [(_, LeftOut::Malformed(_))]),
        "{first:?}"
    );
    let next = left_out(&mut device, vec![part(1, 2), effect]);
    let before = |it: LogId| (it, LeftOut::LeftOutBefore(log));
    assert_eq!(next, [before(log), before(follower.log.log)]);
    assert_eq!(device.held(), Held::new());
}

/// A part of the log that `forged` makes of all of these change sets.
fn part_of(author: &Device, sets: &[ChangeSet], from: usize, to: usize) -> VerifiedRun {
    let run = forged(author, &sets[..to]);
    let start = chain_start(&ORGANISATION, &author.log);
    let chain = run.entries.iter().fold(start, |c, e| chain_next(&c, e));
    VerifiedRun {
        sets: sets[from..to].iter().cloned().map(Arc::new).collect(),
        chain,
        run: Run {
            from: from as u64 + 1,
            entries: run.entries[from..].to_vec(),
            ..run
        },
    }
}

#[test]
fn what_comes_before_the_effect_of_a_lie_is_written_and_only_what_is_written_is_told() {
    let (mut device, liar, author) = (Device::new(1), Device::new(2), Device::new(3));
    let lie = part_of(&liar, &[telling(1, vec![own(1, 0)])], 0, 1);
    let cause = Dot::new(liar.log.log, 1);
    let mut effect = telling(3, vec![Ok("1")]);
    effect.edits[0].deps.push(cause);
    effect.tags.insert(cause, [0; 2]);
    let story = [telling(2, vec![Ok("1")]), effect, telling(4, vec![Ok("1")])];
    let part = |from, to| part_of(&author, &story, from, to);
    assert_eq!(left_out(&mut device, vec![lie]).len(), 1);

    let runs = vec![part(0, 1), part(1, 2)];
    let mut report = device.store.commit(vec![Batch::Remote { batch: 7, runs }]);

    let before = |it: LogId| [(author.log.log, LeftOut::LeftOutBefore(it))];
    assert_eq!(report.remote.remove(0).left_out, before(liar.log.log));
    let told: Vec<u64> = report.rows.iter().map(|row| row.seq).collect();
    assert_eq!(told, [1]);
    assert_eq!(device.held(), [(author.log.log, 1)].into());
    let later = left_out(&mut device, vec![part(2, 3)]);
    assert_eq!(later, before(author.log.log));
}

#[test]
fn what_follows_a_damaged_entry_waits_until_that_is_mended() {
    let disk = Disk::default();
    let (mut a, mut b) = (Device::new(1), Device::new(2));
    rename(&mut a, RANDOM_ID, "A");
    b.pull(&a, usize::MAX);
    let mut device = Device::on(&disk, 3);
    device.pull(&a, usize::MAX);
    rename(&mut b, RANDOM_ID, "B");
    drop(device);
    flip_entry(&disk, 0, 1);
    let mut device = Device::on(&disk, 3);
    let news = b
        .reader()
        .fetch(&Walk::default(), &device.held(), usize::MAX);
    let news = device.verify(&news.expect("a fetch").runs);

    let batch = Batch::Remote {
        batch: 7,
        runs: news.clone(),
    };
    let report = device.store.commit(vec![batch]);

    let place = Dot::new(a.log.log, 1);
    assert_eq!(report.damaged, [place]);
    let waiting = (b.log.log, LeftOut::Unread(place));
    assert_eq!(report.remote[0].left_out, [waiting]);
    // Our own writes need nobody: they name the record.
    rename(&mut device, RANDOM_ID, "C");
    let mend = a.reader().fetch(&Walk::default(), &Held::new(), usize::MAX);
    let mend = Repair::Mend(mend.expect("a fetch").runs.remove(0));
    let mut report = device.store.commit(vec![Batch::Repair(1, Box::new(mend))]);
    let mended = report.repairs.remove(0).result;
    assert_eq!(mended, Ok(Outcome::Mended { entries: 1 }));
    assert_eq!(left_out(&mut device, news), []);
    assert_eq!(check(&device).told, []);
}

#[test]
fn an_update_after_a_damaged_entry_of_the_same_device_names_its_record() {
    let disk = Disk::default();
    let mut device = Device::on(&disk, 1);
    rename(&mut device, RANDOM_ID, "A");
    rename(&mut device, "other", "A");
    drop(device);
    flip_entry(&disk, 0, 1);
    let mut device = Device::on(&disk, 1);

    rename(&mut device, RANDOM_ID, "B");

    let news = [(device.log.log, 2)].into();
    let news = device.reader().fetch(&Walk::default(), &news, usize::MAX);
    assert!(is_in(RANDOM_ID, &news.expect("a fetch").runs[0].entries[0]));
}

#[test]
fn a_store_of_the_format_before_is_opened_and_written_in() {
    let disk = Disk::default();
    let mut device = Device::on(&disk, 1);
    rename(&mut device, RANDOM_ID, "A");
    drop(device);
    tamper(&disk, |tx| {
        tx.delete_table(tables::IMPLIED).expect("it is there");
        let mut meta = tx.open_table(tables::META).expect("the table");
        let format = 1_u32.to_le_bytes();
        meta.insert("format", format.as_slice()).expect("a write");
    });

    let mut device = Device::on(&disk, 1);
    rename(&mut device, RANDOM_ID, "B");

    assert!(!is_in(RANDOM_ID, &entries(&device)[1]));
    assert_eq!(device.field(RANDOM_ID, "name"), "B");
    assert_eq!(check(&device).told, []);
}

/// What somebody does.
#[derive(Clone, Debug)]
enum Deed {
    Write(Vec<u8>),
    Pull(usize),
}

fn any_deed() -> impl Strategy<Value = (usize, Deed)> {
    let records = prop::collection::btree_set(0_u8..4, 1..4);
    let deed = prop_oneof![
        3 => records.prop_map(|ids| Deed::Write(ids.into_iter().collect())),
        1 => (0..3_usize).prop_map(Deed::Pull),
    ];
    (0..3_usize, deed)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn everybody_reads_the_records_that_the_author_wrote(
        deeds in prop::collection::vec(any_deed(), 1..40)
    ) {
        let disks = [(); 3].map(|()| Disk::default());
        let mut devices = [0, 1, 2].map(|n| Device::on(&disks[n], n as u8 + 1));
        let mut written: BTreeMap<Dot, Vec<String>> = BTreeMap::new();
        for (who, deed) in deeds {
            match deed {
                Deed::Write(records) => {
                    let mut ids: Vec<String> =
                        records.iter().map(|n| format!("{n}-{RANDOM_ID}")).collect();
                    let edits = ids.iter().map(|id| upsert(id, vec![add("visits", 1), set("name", "A")]));
                    let edits = edits.collect();
                    let outcome = devices[who].write(edits).expect("a write");
                    ids.sort();
                    written.insert(outcome.dot, ids);
                }
                Deed::Pull(from) if from != who => {
                    let [a, b] = devices.get_disjoint_mut([who, from]).expect("two devices");
                    a.pull(b, usize::MAX);
                }
                Deed::Pull(_) => {}
            }
        }
        for (to, from) in [(0, 1), (0, 2), (1, 0), (2, 0)] {
            let [a, b] = devices.get_disjoint_mut([to, from]).expect("two devices");
            a.pull(b, 64);
        }
        let shown = devices[0].shown();
        for device in &mut devices {
            for item in device.reader().feed(0, usize::MAX).expect("a feed") {
                let dot = Dot::new(item.header.log, item.seq);
                let mut ids: Vec<String> = item.set.edits.into_iter().map(|edit| edit.id).collect();
                ids.sort();
                prop_assert_eq!(Some(&ids), written.get(&dot));
            }
            prop_assert_eq!(&device.shown(), &shown);
            device.store.rebuild(&mut Quiet).expect("it rebuilds");
            prop_assert_eq!(&device.shown(), &shown);
        }
    }
}
