//! Logs that fork in a store part of which does not read back.

use redb::ReadableTable;

use super::repair::{check, flip_entry, tamper};
use super::*;
use crate::engine::batch::LeftOut;
use crate::engine::batch::fork::{ForkProof, Forked};
use crate::engine::batch::repair::{Found, Look, Outcome, Repair};
use crate::store::rows::LogRow;
use crate::store::tables;
use crate::wire::chain::{SEALED, log_id};

/// The numbers of the logs in the store.
const WHOLE: u32 = 0;
const FORKING: u32 = 1;

/// A store that holds a log and one history of another, which forks.
struct Story {
    disk: Disk,
    whole: Device,
    /// The other history.
    other: Run,
    proof: Arc<ForkProof>,
}

impl Story {
    fn new() -> Self {
        let (disk, mut whole) = (Disk::default(), Device::new(6));
        let (mut one, mut two) = (author(), author());
        for (device, id, name) in [
            (&mut whole, "2", "A"),
            (&mut one, "1", "B"),
            (&mut two, "1", "C"),
        ] {
            let ops = vec![set("name", name)];
            device.write(vec![upsert(id, ops)]).expect("a write");
        }
        let mut device = Device::on(&disk, 1);
        device.pull(&whole, usize::MAX);
        device.pull(&one, usize::MAX);
        let other = run(&two);
        // Whoever reads the history back can prove the fork.
        let Ok(Outcome::Forked(Forked { proof, .. })) = repaired(&mut one, branch(&other)) else {
            panic!("it is sealed");
        };
        Self {
            disk,
            whole,
            other,
            proof,
        }
    }

    fn device(&self) -> Device {
        Device::on(&self.disk, 1)
    }

    fn mend(&self) -> Batch {
        let run = run(&self.whole);
        Batch::Repair(1, Box::new(Repair::Mend(run)))
    }
}

/// The device whose log forks.
pub(super) fn author() -> Device {
    let mut author = Device::new(5);
    let LogHeader {
        space,
        device,
        name,
        ..
    } = &author.log;
    author.log.log = log_id([5; 8], space, device, name);
    author
}

pub(super) fn branch(run: &Run) -> Batch {
    Batch::Repair(1, Box::new(Repair::Branch(run.clone())))
}

/// Everything that a device has written.
pub(super) fn run(device: &Device) -> Run {
    run_of(device, device.log.log)
}

/// A log that a device holds.
pub(super) fn run_of(device: &Device, log: LogId) -> Run {
    run_from(device, log, 1)
}

/// What a device holds of a log, from an entry on.
fn run_from(device: &Device, log: LogId, from: u64) -> Run {
    match device.reader().look(&Look::Run { log, from }) {
        Ok(Found::Run { run: Some(run), .. }) => run,
        other => panic!("it is held: {other:?}"),
    }
}

pub(super) fn repaired(device: &mut Device, batch: Batch) -> Result<Outcome, String> {
    let mut report = device.store.commit(vec![batch]);
    report.repairs.remove(0).result
}

#[test]
fn a_log_is_not_sealed_before_its_records_can_be_rebuilt_and_they_take_writes_meanwhile() {
    let story = Story::new();
    flip_entry(&story.disk, WHOLE, 1);
    let mut device = story.device();
    let name = |name| vec![upsert("1", vec![set("name", name)])];

    let report = device.store.commit(vec![branch(&story.other)]);

    assert!(report.repairs[0].result.is_err(), "{report:?}");
    assert_eq!(report.damaged, [Dot::new(story.whole.log.log, 1)]);
    device.write(name("D")).expect("a write");
    let mended = repaired(&mut device, story.mend());
    assert_eq!(mended, Ok(Outcome::Mended { entries: 1 }));
    assert_eq!(check(&device).told, []);
    let forked = repaired(&mut device, branch(&story.other));
    assert!(matches!(forked, Ok(Outcome::Forked(_))), "{forked:?}");
    assert_eq!(check(&device).told, []);
    device.write(name("E")).expect("a write");
    assert_eq!(check(&device).told, []);
}

#[test]
fn a_log_is_not_sealed_while_what_would_move_is_damaged_and_other_writes_are_made() {
    let story = Story::new();
    flip_entry(&story.disk, FORKING, 1);
    let mut device = story.device();
    let ops = vec![set("name", "D")];
    let local = Batch::Local(device.local(vec![upsert("3", ops)]));

    let fork = Batch::Repair(1, Box::new(Repair::Fork(Arc::clone(&story.proof))));
    let report = device.store.commit(vec![fork, local]);

    assert!(report.repairs[0].result.is_err(), "{report:?}");
    assert_eq!(report.damaged, [Dot::new(story.proof.header.log, 1)]);
    assert!(report.local[0].1.is_ok(), "{report:?}");
}

#[test]
fn what_was_on_its_way_when_its_log_was_sealed_is_left_out() {
    let story = Story::new();
    let log = story.proof.header.log;
    let run = run_of(&story.device(), log);
    let fork = Batch::Repair(1, Box::new(Repair::Fork(Arc::clone(&story.proof))));
    for is_at_once in [true, false] {
        let mut device = Device::new(1);
        let runs = device.verify(std::slice::from_ref(&run));
        let remote = Batch::Remote { batch: 1, runs };

        let report = if is_at_once {
            device.store.commit(vec![fork.clone(), remote])
        } else {
            device.store.commit(vec![fork.clone()]);
            device.store.commit(vec![remote])
        };

        let outcome = &report.remote[0];
        assert_eq!(outcome.left_out, [(log, LeftOut::Sealed(Dot::new(log, 1)))]);
        assert_eq!((&outcome.result, report.rows.len()), (&Ok(()), 0));
        assert_eq!(device.held(), Held::new());
    }
}

#[test]
fn an_entry_that_does_not_read_back_is_not_mended_with_one_of_another_branch() {
    let story = Story::new();
    let ours = run_of(&story.device(), story.proof.header.log);
    flip_entry(&story.disk, FORKING, 1);
    let mut device = story.device();
    let mend = |run: &Run| Batch::Repair(1, Box::new(Repair::Mend(run.clone())));

    let other = repaired(&mut device, mend(&story.other));

    assert!(other.is_err(), "{other:?}");
    let mended = repaired(&mut device, mend(&ours));
    assert_eq!(mended, Ok(Outcome::Mended { entries: 1 }));
    assert_eq!(check(&device).told, []);
    assert_eq!(device.field("1", "name"), "B");
}

#[test]
fn an_entry_is_mended_though_all_else_that_tells_its_branch_is_damaged_but_one() {
    let story = Story::new();
    let log = story.proof.header.log;
    let ours = run_of(&story.device(), log);
    let wounds: [fn(&redb::WriteTransaction); 3] = [forget_tag, forget_point, forget_end];
    for kept in 0..wounds.len() {
        let story = Story::new();
        flip_entry(&story.disk, FORKING, 1);
        tamper(&story.disk, |tx| {
            let others = wounds.iter().enumerate().filter(|(n, _)| *n != kept);
            others.for_each(|(_, wound)| wound(tx));
        });
        let mut device = story.device();

        for (run, is_ours) in [(&story.other, false), (&ours, true)] {
            let mend = Batch::Repair(1, Box::new(Repair::Mend(run.clone())));
            let mended = repaired(&mut device, mend);
            assert_eq!(mended.is_ok(), is_ours, "{kept}: {mended:?}");
        }
        assert_eq!(check(&device).told, [], "{kept}");
    }
}

#[test]
fn what_is_no_change_set_mends_nothing_though_its_author_signed_it_and_it_has_the_tag() {
    let story = Story::new();
    let ours = run_of(&story.device(), story.proof.header.log);
    flip_entry(&story.disk, FORKING, 1);
    let mut device = story.device();
    let author = author();
    let chain_of = |entry: &[u8]| chain_next(&chain_start(&ORGANISATION, &ours.header), entry);
    let tag = chain_of(&ours.entries[0])[..2].to_vec();
    let mut entries = (0u32..).map(|n| [&[99; 40], &n.to_le_bytes()[..]].concat());
    let entry = entries.find(|entry| chain_of(entry)[..2] == tag);
    let entry = entry.expect("one of 65,536 has the tag");
    let signer = &author.store.options.signer;
    let malformed = Run {
        signature: sign_point(signer, &ORGANISATION, &ours.header, 1, &chain_of(&entry)),
        entries: vec![entry],
        ..ours.clone()
    };
    let mend = |run: Run| Batch::Repair(1, Box::new(Repair::Mend(run)));

    let refused = repaired(&mut device, mend(malformed));

    assert!(
        refused.as_ref().is_err_and(|why| why.contains("malformed")),
        "{refused:?}"
    );
    let mended = repaired(&mut device, mend(ours));
    assert_eq!(mended, Ok(Outcome::Mended { entries: 1 }));
}

/// A store that holds a log sealed after its first entry, and a branch of it with the second; and both.
fn sealed() -> (Disk, Run) {
    let disk = Disk::default();
    let (log, mut other) = (author().log, author());
    let mut device = Device {
        log: log.clone(),
        ..Device::on(&disk, 5)
    };
    for (device, name) in [(&mut device, "B"), (&mut other, "C")] {
        for name in ["A", name] {
            let ops = vec![set("name", name)];
            device.write(vec![upsert("1", ops)]).expect("a write");
        }
    }
    let theirs = run_from(&other, log.log, 2);
    let forked = repaired(&mut device, branch(&theirs));
    assert!(matches!(forked, Ok(Outcome::Forked(_))), "{forked:?}");
    (disk, run_of(&device, log.log))
}

#[test]
fn who_writes_under_which_version_is_told_of_a_branch_as_well() {
    let (disk, _) = sealed();

    let writes = Device::on(&disk, 5).reader().writes(&Default::default());

    assert_eq!(writes.expect("a scan").ends.len(), 2);
}

#[test]
fn the_end_of_a_sealed_log_is_mended_without_a_signature() {
    let (_, beyond) = sealed();
    assert_eq!(beyond.last(), 2);
    let unsigned = Run {
        entries: beyond.entries[..1].to_vec(),
        signature: SEALED,
        ..beyond.clone()
    };
    for run in [beyond, unsigned] {
        let (disk, whole) = sealed();
        flip_entry(&disk, 0, 1);
        tamper(&disk, |tx| {
            let mut rows = tx.open_table(tables::POINTS).expect("the table");
            rows.insert((0, 1), &[7; 64]).expect("a write");
        });
        let mut device = Device::on(&disk, 5);
        let mend = Repair::Mend(run);

        let mended = repaired(&mut device, Batch::Repair(1, Box::new(mend)));

        assert_eq!(mended, Ok(Outcome::Mended { entries: 1 }));
        assert_eq!(run_of(&device, whole.header.log), whole);
        assert_eq!(check(&device).told, []);
    }
}

#[test]
fn a_tail_is_written_again_though_what_it_depends_on_is_of_a_log_that_was_sealed_since() {
    let (mut one, mut two) = (author(), author());
    for (device, name) in [(&mut one, "B"), (&mut two, "C")] {
        let ops = vec![set("name", name)];
        device.write(vec![upsert("1", ops)]).expect("a write");
    }
    let (mut device, mut copy) = (Device::new(1), Device::new(1));
    for device in [&mut device, &mut copy] {
        let ops = vec![set("name", "A")];
        device.write(vec![upsert("2", ops)]).expect("a write");
    }
    copy.write(vec![upsert("2", vec![delete()])])
        .expect("a write");
    device.pull(&one, usize::MAX);
    let ops = vec![set("name", "D")];
    device.write(vec![upsert("1", ops)]).expect("a write");
    let forked = repaired(&mut device, branch(&run(&two)));
    assert!(matches!(forked, Ok(Outcome::Forked(_))), "{forked:?}");
    let settle = Repair::Settle {
        run: run_from(&copy, device.log.log, 2),
        shared: Held::new(),
        into: LogHeader {
            log: LogId([77; 16]),
            ..device.log.clone()
        },
    };

    let settled = repaired(&mut device, Batch::Repair(1, Box::new(settle)));

    assert!(
        matches!(settled, Ok(Outcome::Settled { .. })),
        "{settled:?}"
    );
    assert_eq!(check(&device).told, []);
    let mut other = Device::new(3);
    other.pull(&device, usize::MAX);
    assert_eq!(other.field("1", "name"), "D");
    assert_eq!(other.shown(), device.shown());
}

fn forget_tag(tx: &redb::WriteTransaction) {
    let mut rows = tx.open_table(tables::ENTRIES).expect("the table");
    let row = rows.get((FORKING, 1)).expect("a read").expect("the row");
    let mut bad = row.value().to_vec();
    drop(row);
    bad[0] ^= 1;
    rows.insert((FORKING, 1), bad.as_slice()).expect("a write");
}

fn forget_point(tx: &redb::WriteTransaction) {
    let mut rows = tx.open_table(tables::POINTS).expect("the table");
    rows.insert((FORKING, 1), &[7; 64]).expect("a write");
}

fn forget_end(tx: &redb::WriteTransaction) {
    let mut rows = tx.open_table(tables::LOGS).expect("the table");
    let held = rows.get(FORKING).expect("a read").expect("the row");
    let mut row = LogRow::decode(held.value()).expect("a row");
    drop(held);
    row.chain[0] ^= 1;
    let bytes = row.encode();
    rows.insert(FORKING, bytes.as_slice()).expect("a write");
}
