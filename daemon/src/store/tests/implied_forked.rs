//! Entries that do not name their records, of logs that fork: what moves to a branch or is written again.

use super::forked::{author, branch, repaired};
use super::implied::{RANDOM_ID, ids, left_out, rename, sets};
use super::repair::{Quiet, check, tamper};
use super::*;
use crate::engine::batch::ForkPoint;
use crate::engine::batch::fork::ForkProof;
use crate::engine::batch::repair::{Found, Look, Outcome, Repair};
use crate::store::tables;
use crate::wire::chain::branch_id;

impl Device {
    /// A run from the beginning of a log, as the engine would pass it on.
    fn verify_sealed(&self, run: &Run) -> VerifiedRun {
        let start = chain_start(&ORGANISATION, &run.header);
        let entries = run.entries.iter();
        let decode = |entry: &Vec<u8>| Arc::new(decode_change_set(entry).expect("a change set"));
        VerifiedRun {
            run: run.clone(),
            sets: entries.clone().map(decode).collect(),
            chain: entries.fold(start, |c, entry| chain_next(&c, entry)),
        }
    }
}

/// A log that forked after its first entry, with what a third device wrote about one of its histories.
struct Forked {
    /// The histories, both with the entry in common.
    histories: [Device; 2],
    witness: Device,
}

impl Forked {
    fn new() -> Self {
        let (disk, log) = (Disk::default(), author().log);
        let on = |disk: &Disk| Device {
            log: log.clone(),
            ..Device::on(disk, 5)
        };
        let mut one = on(&disk);
        rename(&mut one, RANDOM_ID, "A");
        drop(one);
        let backup = disk.bytes();
        let mut histories = [on(&disk), on(&Disk::of_bytes(&backup))];
        for (device, name) in histories.iter_mut().zip(["B", "X"]) {
            device.clock_ms += 60_000;
            rename(device, RANDOM_ID, name);
            rename(device, RANDOM_ID, &format!("{name} again"));
        }
        let mut witness = Device::new(6);
        witness.pull(&histories[0], usize::MAX);
        rename(&mut witness, RANDOM_ID, "W");
        Self { histories, witness }
    }

    /// A history's entries after the fork, as those of a branch.
    fn branch(&self, number: usize, point: ForkPoint) -> VerifiedRun {
        let device = &self.histories[number];
        let log = device.log.log;
        let (look, from) = (Look::Run { log, from: 2 }, 2);
        let Ok(Found::Run { run: Some(run), .. }) = device.reader().look(&look) else {
            panic!("it is held");
        };
        let chains = run.entries.iter().scan(point.chain, |chain, entry| {
            *chain = chain_next(chain, entry);
            Some(*chain)
        });
        let chains: Vec<_> = chains.collect();
        let decode = |entry: &Vec<u8>| Arc::new(decode_change_set(entry).expect("a change set"));
        VerifiedRun {
            sets: run.entries.iter().map(decode).collect(),
            chain: *chains.last().expect("an entry"),
            run: Run {
                header: device.log.branch(point, branch_id(&chains[0])),
                from,
                ..run
            },
        }
    }

    fn fork(&self, device: &mut Device) -> Arc<ForkProof> {
        let log = self.histories[1].log.log;
        let look = self.histories[1].reader().look(&Look::Run { log, from: 2 });
        let Ok(Found::Run { run: Some(run), .. }) = look else {
            panic!("it is held");
        };
        match repaired(device, branch(&run)) {
            Ok(Outcome::Forked(forked)) => forked.proof,
            other => panic!("it is sealed: {other:?}"),
        }
    }
}

fn assert_all_of(device: &Device, id: &str) {
    for set in sets(device) {
        assert_eq!(ids(&set), [id]);
    }
    assert_eq!(check(device).told, []);
}

#[test]
fn names_are_known_before_and_after_their_entries_move_to_a_branch() {
    let story = Forked::new();
    let disk = Disk::default();
    let mut device = Device::on(&disk, 1);
    device.pull(&story.witness, usize::MAX);

    let proof = story.fork(&mut device);

    assert_all_of(&device, RANDOM_ID);
    let other = story.branch(1, proof.point());
    assert_eq!(left_out(&mut device, vec![other]), []);
    assert_all_of(&device, RANDOM_ID);
    let (shown, fed) = (device.shown(), sets(&device));
    assert_eq!(fed.len(), 6);
    drop(device);
    tamper(&disk, |tx| {
        let mut rows = tx.open_table(tables::IMPLIED).expect("the table");
        rows.retain(|_, _| false).expect("a write");
    });
    let mut device = Device::on(&disk, 1);
    assert_eq!(sets(&device), fed);
    device.store.rebuild(&mut Quiet).expect("it rebuilds");
    assert_eq!(device.shown(), shown);
}

#[test]
fn a_branch_may_come_first_and_the_edits_that_follow_it_find_their_record() {
    let story = Forked::new();
    let mut whole = Device::new(1);
    whole.pull(&story.witness, usize::MAX);
    let proof = story.fork(&mut whole);
    let point = proof.point();
    assert_eq!(left_out(&mut whole, vec![story.branch(1, point)]), []);
    let everything = story
        .witness
        .reader()
        .fetch(&Walk::default(), &Held::new(), usize::MAX);
    let everything = everything.expect("a fetch").runs;
    let mut device = Device::new(2);
    let fork = Repair::Fork(Arc::clone(&proof));
    let known = device.store.commit(vec![Batch::Repair(1, Box::new(fork))]);
    assert!(known.repairs[0].result.is_ok());

    let begin = whole.reader().fetch(&Walk::default(), &Held::new(), 1);
    let begin = begin.expect("a fetch").runs.swap_remove(0);
    assert_eq!((begin.header.log, begin.entries.len()), (point.log, 1));
    let begin = device.verify_sealed(&begin);
    assert_eq!(left_out(&mut device, vec![begin]), []);
    for number in [1, 0] {
        let branch = story.branch(number, point);
        assert_eq!(left_out(&mut device, vec![branch]), []);
    }
    let follows = everything
        .into_iter()
        .find(|run| run.header == story.witness.log);
    let follows = device.verify_sealed(&follows.expect("the witness's"));
    assert_eq!(left_out(&mut device, vec![follows]), []);

    assert_all_of(&device, RANDOM_ID);
    assert_eq!(device.shown(), whole.shown());
}

#[test]
fn a_repeated_request_is_answered_with_the_name_that_its_change_set_has_now() {
    let edits = || vec![upsert(RANDOM_ID, vec![set("name", "asked once")])];
    let is_answered_after = |repair: fn(Run, LogHeader) -> Repair| {
        let [theirs, mut ours] = Forked::new().histories;
        let was = ours.write_once("key", edits()).expect("a write").dot;
        let (log, from) = (theirs.log.log, 2);
        let look = theirs.reader().look(&Look::Run { log, from });
        let Ok(Found::Run { run: Some(run), .. }) = look else {
            panic!("it is held");
        };
        let into = LogHeader {
            log: LogId([55; 16]),
            ..ours.log.clone()
        };
        let repair = Box::new(repair(run, into));
        repaired(&mut ours, Batch::Repair(1, repair)).expect("it is done");

        let is = ours.write_once("key", edits()).expect("an answer");

        assert!(is.replayed && is.dot.log != was.log, "{was} is {}", is.dot);
        let entry = ours.reader().entry(is.dot).expect("it reads");
        let (_, found) = entry.expect("it is held");
        assert_eq!(found.edits[0].ops, [set("name", "asked once")]);
    };

    is_answered_after(|run, into| Repair::Settle {
        shared: [(run.header.log, 1)].into(),
        run,
        into,
    });
    is_answered_after(|run, _| Repair::Branch(run));
}

#[test]
fn what_is_written_again_in_another_log_names_its_records_and_leaves_nothing_behind() {
    let story = Forked::new();
    let [theirs, mut ours] = story.histories;
    let look = theirs.reader().look(&Look::Run {
        log: theirs.log.log,
        from: 2,
    });
    let Ok(Found::Run { run: Some(run), .. }) = look else {
        panic!("it is held");
    };
    let into = LogHeader {
        log: LogId([55; 16]),
        ..ours.log.clone()
    };
    let settle = Repair::Settle {
        run: run.clone(),
        shared: [(ours.log.log, 1)].into(),
        into: into.clone(),
    };

    let settled = repaired(&mut ours, Batch::Repair(1, Box::new(settle)));

    assert!(
        matches!(settled, Ok(Outcome::Settled { .. })),
        "{settled:?}"
    );
    assert_all_of(&ours, RANDOM_ID);
    let again: Vec<bool> = sets(&ours)
        .iter()
        .skip(1)
        .map(|set| set.implied.is_empty())
        .collect();
    assert_eq!(again, [true, true]);
    let runs = ours.verify(&[run]);
    assert_eq!(left_out(&mut ours, runs), []);
    assert_all_of(&ours, RANDOM_ID);
    ours.log = into;
    rename(&mut ours, RANDOM_ID, "last");
    assert_all_of(&ours, RANDOM_ID);
}
