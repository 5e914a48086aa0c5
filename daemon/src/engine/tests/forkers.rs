//! Members who fork their logs on purpose: honest devices that hold what such a member told them apart go on with
//! each other.

use std::sync::Arc;

use crdt_schema::ident::{LogId, SpaceName};
use crdt_schema::op::Implied;

use super::forks::{History, assert_one_story, claim, entries, forked, give, mingle};
use super::puppet::{Author, Puppet, SALT, default_tag};
use super::world::{Node, ORGANISATION, SECRET, START, World, key, set_name};
use crate::engine::batch::repair::Repair;
use crate::engine::batch::{Batch, ForkPoint};
use crate::engine::limits::{
    BRANCHES_OF_LOG_MAX, FAULTS_MAX, FORK_BYTES_TOLD_MAX, FORKS_OF_DEVICE_MAX,
};
use crate::wire::chain::{chain_link, chain_start, sign_point};
use crate::wire::limits::FORK_DIGESTS_MAX;
use crate::wire::message::{Hello, Message, SpaceRoot};

/// More forked logs than a peer may offer damaged ones, each of a key of its own.
const FORKERS: u8 = FAULTS_MAX as u8 + 6;

#[test]
fn devices_that_hold_other_histories_of_many_logs_do_not_take_each_other_for_liars() {
    let (mut firsts, mut others) = (Vec::new(), Vec::new());
    for number in 0..FORKERS {
        let mut first = Author::new(10 + number, 1);
        let mut other = first.clone();
        other.clock_ms += 500;
        firsts.extend([first.run(1), first.run(1)]);
        others.push(other.run(1));
    }
    let mut world = World::new(2);
    give(&mut world, 0, &firsts);
    give(&mut world, 1, &others);
    world.write(0, "p1", "of the first");
    let own = world.nodes[0].engine.own_logs.values().next();
    let own = own.expect("a log").log;

    world.meet(0, 1);

    let refusals = &world.nodes[1].fleet.refusals;
    assert_eq!(world.nodes[1].held().get(&own), Some(&1), "{refusals:?}");
    for _ in 0..2 * FORKERS {
        world.meet(0, 1);
    }
    for node in &world.nodes {
        let forged = node.fleet.refusals.get("forged_logs");
        assert_eq!(forged, None, "{:?}", node.fleet.refusals);
        assert_eq!(node.fleet.repairs.forks, u64::from(FORKERS));
    }
    assert_one_story(&world);
}

#[test]
fn a_peer_with_entries_whose_records_cannot_be_told_here_is_no_liar() {
    let mut node = Node::new(1);
    let mut puppet = Puppet::meet(&mut node, 2, 1);
    // Another history of a log than is held here may have the edit that they point to.
    for number in 0..=FAULTS_MAX as u32 {
        let mut author = Author::numbered(number);
        let told = Implied { back: 1, edit: 1 };
        let runs = vec![author.run(1), author.run_implying(&[told])];
        puppet.say(&mut node, &Message::Data(runs));
    }
    puppet.say(&mut node, &Message::Data(vec![Author::new(6, 6).run(1)]));

    puppet.assert_open(&node);
    assert_eq!(node.entries(), FAULTS_MAX as u64 + 2);
}

fn payroll() -> SpaceName {
    SpaceName::new("payroll").expect("a space name")
}

/// A device that holds a log of another device's in the default space, and a peer whose HELLO claims so many
/// entries in each of two spaces.
fn hold_log(count: u64) -> (Node, Author, Puppet) {
    let (mut node, mut author) = (Node::new(1), Author::new(5, 5));
    node.write(START, "p1", vec![set_name("Achieng")]);
    let mut relay = Puppet::meet(&mut node, 3, 1);
    relay.say(&mut node, &Message::Data(vec![author.run(2)]));
    relay.hear(&mut node);
    let mut puppet = Puppet::arrive(&mut node, 2, 2);
    let tags = [default_tag(), SECRET.space_tag(&ORGANISATION, &payroll())];
    let mut spaces = tags.map(|tag| SpaceRoot {
        tag,
        root: [2; 16],
        count,
    });
    spaces.sort_by_key(|space| space.tag);
    let hello = Hello {
        spaces: spaces.to_vec(),
        ..puppet.hello()
    };
    puppet.say(&mut node, &Message::Hello(hello));
    (node, author, puppet)
}

/// Ends the opening, and asserts that all but the author's log is exchanged.
fn assert_goes_on(mut node: Node, author: &Author, mut puppet: Puppet) {
    puppet.say(&mut node, &Message::FrontEnd);
    let (mut other, mut longer) = (Author::new(6, 6), author.clone());
    longer.clock_ms += 100;
    let runs = vec![longer.run(1), other.run(2)];
    puppet.say(&mut node, &Message::Data(runs));

    puppet.assert_open(&node);
    assert_eq!(node.held()[&other.log()], 2);
    assert_eq!(node.held()[&author.log()], 2);
    let sent = puppet.hear(&mut node).into_iter();
    let runs = sent.filter_map(|message| match message {
        Message::Data(runs) => Some(runs),
        _ => None,
    });
    let logs: Vec<_> = runs.flatten().map(|run| run.header.log).collect();
    let own = node.engine.own_logs.values().next().expect("a log").log;
    assert_eq!(logs, [own]);
    let refused = node.fleet.peers.values().flat_map(|p| &p.refused_logs);
    let refused: Vec<_> = refused.map(|(log, _)| *log).collect();
    assert_eq!(refused, [author.log()]);
}

#[test]
fn a_log_that_a_peer_tells_in_another_space_is_refused_and_nothing_else() {
    let (mut node, author, mut puppet) = hold_log(1);
    let (space, rows) = (payroll(), vec![author.front_row()]);
    puppet.say(&mut node, &Message::Front { space, rows });

    assert_goes_on(node, &author, puppet);
}

#[test]
fn a_log_that_a_range_names_in_another_space_is_refused_and_nothing_else() {
    let (mut node, author, mut puppet) = hold_log(1);
    let (salt, base) = (SALT, None);
    puppet.say(&mut node, &Message::Tell { salt, base });
    let space = SECRET.space_tag(&ORGANISATION, &payroll());
    let (ends, rows) = (true, vec![author.range_row()]);
    puppet.say(&mut node, &Message::Range { space, ends, rows });

    assert_goes_on(node, &author, puppet);
}

#[test]
fn a_log_that_an_answer_names_in_two_spaces_is_refused_and_nothing_else() {
    let (mut node, author, mut puppet) = hold_log(100);
    let ranges = puppet.hear(&mut node).into_iter();
    let ranges = ranges.filter_map(|message| match message {
        Message::Range { space, rows, .. } => Some((space, rows)),
        _ => None,
    });
    for (space, told) in ranges.collect::<Vec<_>>() {
        let row = author.range_row();
        let (differs, rows) = match space == default_tag() {
            true => ((0..told.len() as u64).map(|at| (at, 0)).collect(), vec![]),
            false => (vec![], vec![row]),
        };
        let answer = Message::Answer {
            more: false,
            differs,
            rows,
        };
        puppet.say(&mut node, &answer);
    }

    assert_goes_on(node, &author, puppet);
}

/// What the proofs that a device has told weigh, without their headers.
fn proof_bytes(said: &[(usize, Message)], from: usize) -> usize {
    let proofs = said.iter().filter_map(|(by, message)| match message {
        Message::Fork(proof) if *by == from => Some(proof),
        _ => None,
    });
    let sides = proofs.flat_map(|proof| proof.sides.clone());
    sides.map(|side| 32 * side.digests.len()).sum()
}

#[test]
fn proofs_of_forks_of_which_nothing_is_held_go_no_further_and_end_no_session() {
    let mut world = World::new(2);
    let mut good = Puppet::meet(&mut world.nodes[0], 3, 1);
    let proofs: Vec<_> = (0..20).map(|log| forked(Author::new(5, log))).collect();
    // Of half of them the peer says that it holds the branches.
    let rows = proofs[..10].iter().flat_map(claim);
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by_key(|row| row.log);
    let mut puppet = Puppet::meet_with(&mut world.nodes[0], 2, 2, rows);
    for proof in proofs {
        puppet.say(&mut world.nodes[0], &Message::Fork(Box::new(proof)));
    }

    let known = world.nodes[0].store.opening().expect("it reads").forks;
    assert_eq!(known.len(), 10);
    puppet.assert_open(&world.nodes[0]);
    good.assert_open(&world.nodes[0]);
    good.say(
        &mut world.nodes[0],
        &Message::Data(vec![Author::new(6, 6).run(1)]),
    );
    world.nodes[0].outbox.clear();
    world.meet(0, 1);
    assert_eq!(
        world.count(0, |message| matches!(message, Message::Fork(_))),
        0
    );
    world.assert_converged();
}

#[test]
fn a_flood_of_proofs_does_not_pile_up_before_the_store() {
    let mut node = Node::new(1);
    let proofs = (0..40).map(|log| {
        let mut proof = forked(Author::new(5, log));
        for side in &mut proof.sides {
            side.digests.resize(FORK_DIGESTS_MAX, [log; 32]);
            let chain = side
                .digests
                .iter()
                .fold(proof.chain, |c, d| chain_link(&c, d));
            let last = side.digests.len() as u64;
            side.signature = sign_point(&key(5), &ORGANISATION, &proof.header, last, &chain);
        }
        proof
    });
    let proofs: Vec<_> = proofs.collect();
    let mut rows: Vec<_> = proofs.iter().flat_map(claim).collect();
    rows.sort_by_key(|row| row.log);
    let mut puppet = Puppet::meet_with(&mut node, 2, 1, rows);
    node.holds_commits = true;
    for proof in proofs {
        puppet.say(&mut node, &Message::Fork(Box::new(proof)));
    }

    puppet.assert_open(&node);
    let waiting = node.pending.iter().map(|batch| match batch {
        Batch::Repair(_, repair) => match &**repair {
            Repair::Fork(proof) => proof.weight(),
            _ => 0,
        },
        _ => 0,
    });
    let waiting: usize = waiting.sum();
    assert!(
        (1 << 19..=FORK_BYTES_TOLD_MAX).contains(&waiting),
        "{waiting}"
    );
}

#[test]
fn forks_of_honest_devices_are_settled_however_many_others_are_known() {
    let mut first = History::new();
    first.write(2);
    let mut second = first.apart(500);
    first.write(1);
    second.write(2);
    let mut world = World::new(2);
    let some = forked(Author::new(9, 9));
    for number in 0..1_200 {
        let mut other = some.clone();
        other.header = Author::numbered(number).header;
        other.header.device.0[..4].copy_from_slice(&number.to_le_bytes());
        world.nodes[0].engine.frontier.forks.learn(Arc::new(other));
    }
    give(&mut world, 0, &first.runs);
    give(&mut world, 1, &second.runs);

    mingle(&mut world);

    assert_one_story(&world);
    assert_eq!(world.nodes[0].fleet.repairs.forks, 1);
}

#[test]
fn a_new_device_is_told_many_long_proofs_a_few_at_a_time_and_gets_every_branch() {
    let mut world = World::new(3);
    for log in 0..4 {
        let mut first = History::of(Author::new(20 + log, log));
        first.write(1);
        let mut second = first.apart(500);
        for history in [&mut first, &mut second] {
            let run = history.author.run(280);
            history.runs.push(run);
        }
        give(&mut world, 0, &first.runs);
        give(&mut world, 1, &second.runs);
    }
    for _ in 0..8 {
        world.meet(0, 1);
    }
    assert_eq!(world.nodes[0].fleet.repairs.forks, 4);
    let mut meetings = 0;
    while entries(&world.nodes[2]) < 4 * 561 {
        world.said.clear();
        world.meet(1, 2);
        let is_data =
            |(by, message): &(usize, Message)| *by == 1 && matches!(message, Message::Data(_));
        let data = world.said.iter().position(is_data);
        let told = proof_bytes(&world.said[..data.unwrap_or(world.said.len())], 1);
        assert!(told <= 64 << 10, "{told}");
        meetings += 1;
        assert!(meetings < 12, "{}", entries(&world.nodes[2]));
    }
    mingle(&mut world);
    assert_one_story(&world);
    world.said.clear();
    world.meet(1, 2);
    assert_eq!(proof_bytes(&world.said, 1), 0);
}

/// A device that knows as many forks of one device as it remembers, and another with an edit of its own that follows
/// the history of one more that only it has. Device 3 is new.
fn edit_after_a_fork_too_many() -> World {
    let mut first = History::new();
    first.write(2);
    let mut second = first.apart(500);
    first.write(2);
    second.write(1);
    let mut world = World::new(3);
    for log in 0..FORKS_OF_DEVICE_MAX as u8 {
        let proof = forked(Author::new(5, 100 + log));
        world.nodes[0].engine.frontier.forks.learn(Arc::new(proof));
    }
    give(&mut world, 0, &second.runs);
    give(&mut world, 1, &first.runs);
    give(&mut world, 2, &second.runs);
    world
}

fn assert_all_have(world: &World, log: &LogId) {
    for node in &world.nodes {
        assert_eq!(node.held().get(log), Some(&1), "{:?}", node.fleet.peers);
    }
}

fn own_log(node: &Node) -> LogId {
    node.engine.own_logs.values().next().expect("a log").log
}

#[test]
fn a_fork_too_many_is_settled_if_an_honest_edit_follows_one_of_its_histories() {
    for record in ["shared-0", "shared-2"] {
        let mut world = edit_after_a_fork_too_many();
        world.meet(0, 1);
        world.write(1, record, "by an honest device");
        let log = own_log(&world.nodes[1]);

        mingle(&mut world);

        assert_all_have(&world, &log);
        assert_one_story(&world);
    }
}

#[test]
fn a_fork_too_many_is_settled_if_an_honest_edit_follows_one_of_its_branches() {
    for record in ["shared-0", "shared-2"] {
        let mut world = edit_after_a_fork_too_many();
        for _ in 0..3 {
            world.meet(1, 2);
        }
        assert_eq!(world.nodes[1].fleet.repairs.forks, 1);
        world.write(1, record, "by an honest device");
        let log = own_log(&world.nodes[1]);

        mingle(&mut world);

        assert_all_have(&world, &log);
        assert_one_story(&world);
    }
}

#[test]
fn a_branch_too_many_is_taken_if_an_honest_edit_follows_it() {
    let mut first = History::new();
    first.write(1);
    let mut second = first.apart(500);
    first.write(1);
    second.write(1);
    let mut world = World::new(2);
    let header = &first.author.header;
    let (log, after, chain) = (header.log, 0, chain_start(&ORGANISATION, header));
    for number in 0..BRANCHES_OF_LOG_MAX as u8 {
        let branch = header.branch(ForkPoint { log, after, chain }, LogId([number; 16]));
        world.nodes[0].engine.frontier.forks.note(&branch);
    }
    give(&mut world, 0, &second.runs);
    give(&mut world, 1, &first.runs);
    world.write(1, "shared-1", "by an honest device");
    let log = own_log(&world.nodes[1]);

    mingle(&mut world);

    assert_all_have(&world, &log);
}
