//! Logs of which two histories or more have spread: every device ends with all of them, under the same names.

use proptest::prelude::*;

use crdt_schema::ident::{Dot, LogId, RecordKey};

use super::puppet::{Author, Puppet};
use super::repair::{damage_entry, open};
use super::world::{Node, ORGANISATION, SECRET, START, World, device};
use crate::engine::batch::fork::{ForkProof, Side};
use crate::engine::batch::{ForkPoint, Run};
use crate::engine::input::Input;
use crate::store::{ListQuery, Progress, StoredRecord};
use crate::wire::chain::{branch_id, chain_start, entry_digest};
use crate::wire::message::{FrontRow, Message};

/// One history of a log, with the runs that it came in.
#[derive(Clone)]
pub(super) struct History {
    pub(super) author: Author,
    pub(super) runs: Vec<Run>,
}

impl History {
    pub(super) fn new() -> Self {
        Self::of(Author::new(5, 5))
    }

    pub(super) fn of(author: Author) -> Self {
        let runs = Vec::new();
        Self { author, runs }
    }

    /// Goes on as another copy of the device would.
    pub(super) fn apart(&self, skew: u64) -> Self {
        let mut other = self.clone();
        other.author.clock_ms += skew;
        other
    }

    /// Writes `count` edits, signed together, of a few records.
    pub(super) fn write(&mut self, count: usize) {
        let first = self.author.seq;
        let names = (0..count).map(|n| (first + n as u64) % 3);
        let edits: Vec<String> = names.map(|n| format!("shared-{n}")).collect();
        self.runs.push(self.author.edits(&edits));
    }
}

struct Quiet;

impl Progress for Quiet {
    fn at(&mut self, _: &'static str, _: u64, _: u64) {}
}

/// Device 5 gives a device everything of one history.
pub(super) fn give(world: &mut World, node: usize, runs: &[Run]) {
    let session = 1_000 + world.said.len() as u64 + node as u64;
    let to = &mut world.nodes[node];
    let mut puppet = Puppet::arrive(to, 5, session);
    let mut hello = puppet.hello();
    hello.proof = SECRET.proof(&ORGANISATION, &device(5), &device(node as u8 + 1));
    puppet.say(to, &Message::Hello(hello));
    puppet.say(to, &Message::FrontEnd);
    for run in runs {
        puppet.say(to, &Message::Data(vec![run.clone()]));
    }
    to.handle(START, Input::SessionClosed { session });
    to.outbox.clear();
    to.closed.clear();
}

pub(super) fn shown(node: &Node) -> Vec<String> {
    let query = ListQuery {
        space: Default::default(),
        collection: "patient".to_owned(),
        after: None,
        limit: usize::MAX,
        deleted: true,
    };
    let page = node.store.reader().list(&query, &|_| true).expect("a list");
    let show = |r: StoredRecord| format!("{} {} {:?}", r.key, r.etag, r.view);
    page.records.into_iter().map(show).collect()
}

/// How many entries a device holds.
pub(super) fn entries(node: &Node) -> u64 {
    let rows = node.store.opening().expect("it reads").frontier;
    rows.iter().map(|row| row.seq - row.header.base()).sum()
}

/// Lets everybody meet everybody, until all is said.
pub(super) fn mingle(world: &mut World) {
    let count = world.nodes.len();
    for _ in 0..5 {
        for a in 0..count {
            for b in a + 1..count {
                world.meet(a, b);
                world.pass(1_000);
            }
        }
    }
}

pub(super) fn assert_one_story(world: &World) {
    world.assert_converged();
    let first = shown(&world.nodes[0]);
    for node in &world.nodes {
        assert_eq!(shown(node), first);
        let checkup = node.store.reader().check(&mut Quiet).expect("a check");
        assert_eq!(checkup.problems, 0, "{checkup:?}");
        let refused = node.fleet.peers.values().flat_map(|p| &p.refused_logs);
        assert_eq!(refused.count(), 0, "{:?}", node.fleet.peers);
    }
}

#[test]
fn two_histories_that_spread_while_their_author_was_gone_both_reach_everybody() {
    let mut first = History::new();
    first.write(5);
    let mut second = first.apart(500);
    first.write(7);
    second.write(3);
    let mut world = World::new(3);
    give(&mut world, 0, &first.runs);
    give(&mut world, 1, &second.runs);
    world.write(0, "shared-1", "of those who saw the first");
    world.write(1, "shared-1", "of those who saw the second");
    let log = first.author.log();

    mingle(&mut world);

    assert_one_story(&world);
    assert_eq!(entries(&world.nodes[2]), 5 + 7 + 3 + 2);
    assert_eq!(world.nodes[2].held()[&log], 5);
    assert_eq!(world.nodes[0].fleet.repairs.forks, 1);
    assert_eq!(world.nodes[0].fleet.repairs.branched, 7);
}

#[test]
fn another_history_of_the_same_length_is_no_repetition() {
    let (mut first, mut second) = (History::new(), History::new().apart(500));
    first.write(5);
    second.write(5);
    let mut world = World::new(1);
    give(&mut world, 0, &first.runs);
    give(&mut world, 0, &first.runs);
    let refused = |world: &World| {
        let peers = world.nodes[0].fleet.peers.values();
        peers.map(|peer| peer.refused_logs.len()).sum::<usize>()
    };
    assert_eq!(refused(&world), 0, "the same again is a repetition");

    give(&mut world, 0, &second.runs);

    assert_eq!(refused(&world), 1);
}

#[test]
fn a_fork_waits_until_a_damaged_log_that_all_hold_alike_is_mended() {
    let (mut first, dir) = (History::new(), tempfile::tempdir().expect("a directory"));
    let path = dir.path().join("store");
    first.write(5);
    let mut second = first.apart(500);
    first.write(7);
    second.write(3);
    let mut world = World::new(2);
    world.nodes[0] = open(&path, 1, 0);
    world.write(0, "apart", "of a log that never forks");
    let (session, _) = world.meet(0, 1);
    world.cut(session);
    give(&mut world, 0, &first.runs);
    give(&mut world, 1, &second.runs);
    world.nodes[0] = Node::new(1);
    damage_entry(&path, 1);
    world.nodes[0] = open(&path, 1, 1);

    mingle(&mut world);

    assert_one_story(&world);
    assert_eq!(world.nodes[0].fleet.repairs.mended, 1);
    assert_eq!(world.nodes[0].fleet.repairs.forks, 1);
}

#[test]
fn a_log_that_forks_at_its_first_entry_is_nothing_but_branches() {
    let mut first = History::new();
    let mut second = first.apart(500);
    let mut third = first.apart(900);
    first.write(2);
    second.write(1);
    third.write(3);
    let mut world = World::new(3);
    give(&mut world, 0, &first.runs);
    give(&mut world, 1, &second.runs);
    mingle(&mut world);
    give(&mut world, 0, &third.runs);
    give(&mut world, 2, &first.runs);
    world.meet(1, 2);
    let log = first.author.log();
    assert_eq!(world.nodes[0].held().get(&log), None);
    let mut late = World::new(2);
    give(&mut late, 0, &third.runs);
    late.nodes[1] = world.nodes.remove(1);
    // The new world numbers its sessions anew.
    late.nodes[1].closed.clear();

    late.meet(0, 1);
    late.meet(0, 1);

    assert_eq!(entries(&late.nodes[1]), 2 + 1 + 3);
    assert_one_story(&late);
}

#[test]
fn what_a_branch_says_follows_what_its_author_had_said_before() {
    let mut first = History::new();
    first.write(3);
    let mut second = first.apart(500);
    first.write(3);
    second.write(3);
    let mut world = World::new(2);
    give(&mut world, 0, &first.runs);
    give(&mut world, 1, &second.runs);

    mingle(&mut world);

    assert_one_story(&world);
    let key = RecordKey {
        space: Default::default(),
        collection: "patient".to_owned(),
        id: "shared-1".to_owned(),
    };
    for node in &world.nodes {
        let doc = node.store.reader().document(&key).expect("it reads");
        let doc = doc.expect("the record");
        // Both branches replaced the edit from before the fork, and neither saw the other.
        assert_eq!((doc.changes().len(), doc.heads().len()), (3, 2));
    }
}

#[test]
fn a_sealed_store_opens_again_with_its_branches_and_tells_them() {
    let mut first = History::new();
    first.write(2);
    let mut second = first.apart(500);
    first.write(1);
    second.write(2);
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("store");
    let open = |start| {
        let store = crate::store::Store::open_file(&path, super::world::options(1));
        Node::on(store.expect("it opens"), 1, start)
    };
    let mut world = World::new(3);
    world.nodes[0] = open(0);
    give(&mut world, 0, &first.runs);
    give(&mut world, 1, &second.runs);
    world.meet(0, 1);
    world.meet(0, 1);
    world.nodes[0] = Node::new(1);

    world.nodes[0] = open(1);
    world.meet(0, 2);
    world.meet(0, 2);

    assert_eq!(entries(&world.nodes[2]), 5);
    mingle(&mut world);
    assert_one_story(&world);
}

#[test]
fn a_device_that_wrote_one_of_the_branches_goes_on_in_a_new_log() {
    let dir = tempfile::tempdir().expect("a directory");
    let (path, copy) = (dir.path().join("store"), dir.path().join("copy"));
    let open = |path: &std::path::Path, start| {
        let store = crate::store::Store::open_file(path, super::world::options(1));
        Node::on(store.expect("it opens"), 1, start)
    };
    let mut world = World::new(3);
    world.nodes[0] = open(&path, 0);
    world.write(0, "p1", "before");
    world.nodes[0] = Node::new(1);
    std::fs::copy(&path, &copy).expect("a copy");
    // The copy meets one village, the first the other.
    world.nodes[0] = open(&copy, 1);
    world.write(0, "p1", "by the copy");
    world.meet(0, 2);
    world.nodes[0] = open(&path, 2);
    world.write(0, "p1", "by the first");
    world.meet(0, 1);
    let old = *world.nodes[0].held().keys().next().expect("a log");

    mingle(&mut world);
    world.write(0, "p1", "after all");
    mingle(&mut world);

    assert_one_story(&world);
    assert_eq!(world.nodes[0].held()[&old], 1);
    assert_eq!(entries(&world.nodes[1]), 4);
    assert!(shown(&world.nodes[1])[0].contains("after all"));
}

#[test]
fn a_fork_without_proof_ends_the_session_and_seals_nothing() {
    let mut history = History::new();
    history.write(2);
    let mut world = World::new(1);
    give(&mut world, 0, &history.runs);
    let log = history.author.log();
    let digests = |n: u8| vec![entry_digest(&[n])];
    let mut sides = [digests(1), digests(2)].map(|digests| Side {
        digests,
        signature: [7; 64],
    });
    sides.sort_by_key(|side| side.digests[0]);
    let header = history.author.header.clone();
    let proof = ForkProof {
        after: 0,
        chain: chain_start(&ORGANISATION, &header),
        header,
        sides,
    };

    let mut puppet = Puppet::meet(&mut world.nodes[0], 2, 1);
    puppet.say(&mut world.nodes[0], &Message::Fork(Box::new(proof)));

    puppet.assert_breach(&world.nodes[0], "FORK without proof");
    assert_eq!(world.nodes[0].held()[&log], 2);
}

#[test]
fn a_branch_of_a_fork_that_is_not_proved_is_not_taken() {
    let mut history = History::new();
    history.write(1);
    let chain = history.author.chain();
    let before = history.runs.clone();
    history.write(1);
    let mut world = World::new(1);
    give(&mut world, 0, &before);
    let mut run = history.runs[1].clone();
    let point = ForkPoint {
        log: history.author.log(),
        after: 1,
        chain,
    };
    let id = branch_id(&history.author.chain());
    run.header = run.header.branch(point, id);

    let mut puppet = Puppet::meet(&mut world.nodes[0], 2, 1);
    puppet.say(&mut world.nodes[0], &Message::Data(vec![run]));

    puppet.assert_open(&world.nodes[0]);
    assert_eq!(world.nodes[0].held().get(&id), None);
}

/// The proof that a log forks at its first entry.
pub(super) fn forked(author: Author) -> ForkProof {
    let mut other = author.clone();
    other.clock_ms += 500;
    let (chain, header) = (author.chain(), author.header.clone());
    let mut sides = [author, other].map(|mut author| {
        let run = author.run(1);
        Side {
            digests: vec![entry_digest(&run.entries[0])],
            signature: run.signature,
        }
    });
    sides.sort_by_key(|side| side.digests[0]);
    let after = 0;
    ForkProof {
        header,
        after,
        chain,
        sides,
    }
}

/// The rows of a peer that says to hold the branches of a fork.
pub(super) fn claim(proof: &ForkProof) -> Vec<FrontRow> {
    let row = |log| FrontRow {
        log,
        seq: proof.after + 1,
        chain_tag: [1; 8],
    };
    let mut rows: Vec<_> = proof.branches().map(row).collect();
    rows.sort_by_key(|row| row.log);
    rows
}

#[test]
fn a_device_that_forks_its_logs_without_end_is_listened_to_for_a_while() {
    let mut world = World::new(1);
    let proofs = (0..40).map(|log| forked(Author::new(5, log)));
    for (n, proof) in (1..).zip(proofs) {
        let rows = claim(&proof);
        let mut puppet = Puppet::meet_with(&mut world.nodes[0], 2, n, rows);
        puppet.say(&mut world.nodes[0], &Message::Fork(Box::new(proof)));
    }

    let known = world.nodes[0].store.opening().expect("it reads").forks;
    assert_eq!(known.len(), super::super::limits::FORKS_OF_DEVICE_MAX);
}

#[test]
fn what_depends_on_another_branch_than_is_held_waits_for_that_branch() {
    let mut first = History::new();
    first.write(1);
    let mut second = first.apart(500);
    first.write(1);
    second.write(1);
    let log = first.author.log();
    let mut world = World::new(2);
    give(&mut world, 0, &first.runs);
    give(&mut world, 1, &second.runs);
    let mut dependent = Author::new(6, 6);
    let meant = second.author.tag(2);
    let run = dependent.run_tagged(vec![(Dot::new(log, 2), meant)]);
    let name: LogId = dependent.log();

    let mut puppet = Puppet::meet(&mut world.nodes[0], 2, 1);
    puppet.say(&mut world.nodes[0], &Message::Data(vec![run.clone()]));
    assert_eq!(world.nodes[0].held().get(&name), None);
    puppet.assert_open(&world.nodes[0]);
    world.nodes[0].outbox.clear();
    mingle(&mut world);
    let mut puppet = Puppet::meet(&mut world.nodes[0], 3, 2);
    puppet.say(&mut world.nodes[0], &Message::Data(vec![run]));

    assert_eq!(world.nodes[0].held()[&name], 1);
}

#[test]
fn what_depends_on_a_log_of_which_there_are_only_branches_is_taken() {
    let mut first = History::new();
    let mut second = first.apart(500);
    first.write(1);
    second.write(1);
    let log = first.author.log();
    let mut world = World::new(2);
    give(&mut world, 0, &first.runs);
    give(&mut world, 1, &second.runs);
    mingle(&mut world);
    assert_eq!(world.nodes[0].held().get(&log), None);
    let mut dependent = Author::new(6, 6);
    // Its author has not heard of the fork.
    let run = dependent.run_tagged(vec![(Dot::new(log, 1), second.author.tag(1))]);

    let mut puppet = Puppet::meet(&mut world.nodes[0], 2, 900);
    puppet.say(&mut world.nodes[0], &Message::Data(vec![run]));

    assert_eq!(world.nodes[0].held().get(&dependent.log()), Some(&1));
}

#[derive(Clone, Debug)]
enum Step {
    Write(usize, usize),
    Part(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..4_usize, 1..4_usize).prop_map(|(history, count)| Step::Write(history, count)),
        2 => (0..4_usize).prop_map(Step::Part),
    ];
    prop::collection::vec(step, 3..14)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the branches, whoever has which, and whoever meets first.
    #[test]
    fn however_a_log_forks_all_devices_end_alike(
        steps in steps(),
        given in prop::collection::vec(0..4_usize, 3),
        writes in prop::collection::vec(0..3_usize, 0..4),
        meetings in prop::collection::vec((0..3_usize, 0..3_usize), 0..6),
    ) {
        let mut histories = vec![History::new()];
        histories[0].write(2);
        for step in steps {
            match step {
                Step::Write(n, count) => {
                    let n = n % histories.len();
                    histories[n].write(count);
                }
                Step::Part(n) if histories.len() < 4 => {
                    let skew = 500 * histories.len() as u64;
                    let other = histories[n % histories.len()].apart(skew);
                    histories.push(other);
                }
                Step::Part(_) => {}
            }
        }
        let mut world = World::new(3);
        let mut distinct = std::collections::BTreeSet::new();
        for (node, which) in given.into_iter().enumerate() {
            let history = &histories[which % histories.len()];
            distinct.extend(history.author.chains.iter().copied());
            give(&mut world, node, &history.runs);
        }
        for (n, node) in writes.iter().enumerate() {
            world.write(*node, "shared-1", &format!("{n}"));
        }
        for (a, b) in meetings {
            if a != b {
                world.meet(a, b);
            }
        }

        mingle(&mut world);

        assert_one_story(&world);
        let expected = distinct.len() + writes.len();
        prop_assert_eq!(entries(&world.nodes[0]), expected as u64);
    }
}
