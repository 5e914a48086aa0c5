//! Refusals end as soon as what they waited for has come, and not before.

use crdt_schema::ident::{Dot, LogId, SpaceName};

use super::forks::claim;
use super::puppet::{Author, Puppet};
use super::world::{Node, START, World, device, key};
use crate::engine::batch::fork::ForkProof;
use crate::engine::batch::{LogHeader, Run, StoreFault, Walk};
use crate::engine::effect::CloseReason;
use crate::engine::input::Input;
use crate::wire::chain::log_id;
use crate::wire::message::Message;

fn refused(node: &Node, peer: u8) -> Vec<LogId> {
    let peer = &node.fleet.peers[&device(peer)];
    peer.refused_logs.keys().copied().collect()
}

/// A log that is forked after so many entries: the proof, and its branches as a peer sends them.
fn forked(after: usize) -> (ForkProof, Vec<Run>) {
    let mut first = Author::new(5, 5);
    let common = (after > 0).then(|| first.run(after));
    let mut second = first.clone();
    second.clock_ms += 500;
    let mut world = World::new(2);
    for (number, author) in [(0, &mut first), (1, &mut second)] {
        let node = &mut world.nodes[number];
        let mut puppet = Puppet::meet_as(node, 9, 90, number as u8 + 1);
        let runs = common.iter().cloned().chain([author.run(2)]);
        puppet.say(node, &Message::Data(runs.collect()));
        node.handle(START, Input::SessionClosed { session: 90 });
        node.outbox.clear();
    }
    for _ in 0..4 {
        world.meet(0, 1);
        world.pass(1_000);
    }
    let store = &world.nodes[0].store;
    let forks = store.opening().expect("it reads").forks;
    let proof = ForkProof::clone(forks.first().expect("the fork is settled"));
    let fetched = store
        .reader()
        .fetch(&Walk::default(), &Default::default(), usize::MAX);
    (proof, fetched.expect("it reads").runs)
}

#[test]
fn what_was_refused_for_want_of_a_cause_is_asked_for_again_when_the_cause_is_here() {
    let mut node = Node::new(1);
    let (mut cause, mut effect) = (Author::new(5, 5), Author::new(6, 6));
    let causes = [cause.run(1), cause.run(1), cause.run(1)].map(|run| Message::Data(vec![run]));
    let effects = effect.run_tagged(vec![(Dot::new(cause.log(), 2), cause.tag(2))]);
    let mut early = Puppet::meet(&mut node, 2, 1);
    early.say(&mut node, &Message::Data(vec![effects.clone()]));
    assert_eq!(refused(&node, 2), [effect.log()]);
    let mut gone = Puppet::meet(&mut node, 3, 2);
    gone.say(&mut node, &Message::Data(vec![effects.clone()]));
    node.handle(START, Input::SessionClosed { session: 2 });
    assert_eq!(refused(&node, 3), [effect.log()]);
    let mut bringer = Puppet::meet(&mut node, 4, 3);

    bringer.say(&mut node, &causes[0]);
    early.assert_open(&node);
    bringer.say(&mut node, &causes[1]);

    assert_eq!(node.end_of(1), Some(&CloseReason::Repaired));
    bringer.assert_open(&node);
    assert_eq!((refused(&node, 2), refused(&node, 3)), (vec![], vec![]));
    let mut again = Puppet::meet(&mut node, 2, 4);
    again.say(&mut node, &Message::Data(vec![effects]));
    bringer.say(&mut node, &causes[2]);
    again.assert_open(&node);
    assert_eq!(node.held()[&effect.log()], 1);
}

#[test]
fn a_cause_that_comes_into_another_space_ends_nothing() {
    let mut node = Node::new(1);
    let space = SpaceName::new("elsewhere").expect("a good name");
    let header = LogHeader {
        log: log_id([5; 8], &space, &device(5), "tablet"),
        space,
        device: device(5),
        name: "tablet".to_owned(),
        branch_of: None,
    };
    let mut cause = Author::begin(key(5), header);
    let mut effect = Author::new(6, 6);
    let mut puppet = Puppet::meet(&mut node, 2, 1);
    let run = effect.run_after(vec![Dot::new(cause.log(), 1)]);
    puppet.say(&mut node, &Message::Data(vec![run]));

    for _ in 0..3 {
        puppet.say(&mut node, &Message::Data(vec![cause.run(1)]));
    }

    puppet.assert_open(&node);
    assert_eq!(refused(&node, 2), [effect.log()]);
}

#[test]
fn what_a_fork_is_needed_for_waits_until_the_store_has_settled_the_fork() {
    let (proof, runs) = forked(1);
    let branch = proof.branches().next().expect("a branch");
    let mut effect = Author::new(6, 6);
    let effects = effect.run_after(vec![Dot::new(branch, 2)]);
    let more = effect.run(1);
    let mut node = Node::new(1);
    node.holds_commits = true;
    let mut puppet = Puppet::meet_with(&mut node, 2, 1, claim(&proof));
    puppet.hear(&mut node);

    puppet.say(&mut node, &Message::Fork(Box::new(proof)));
    for run in runs.iter().cloned().chain([effects, more]) {
        puppet.say(&mut node, &Message::Data(vec![run]));
    }

    puppet.assert_open(&node);
    assert_eq!(refused(&node, 2), []);
    assert_eq!(puppet.hear_acks(&mut node), [], "nothing is said of it");
    node.holds_commits = false;
    node.commit(START);
    assert_eq!(node.end_of(1), Some(&CloseReason::Repaired));
    let mut again = Puppet::meet(&mut node, 2, 2);
    again.say(&mut node, &Message::Data(runs));
    again.assert_open(&node);
    assert_eq!(refused(&node, 2), []);
    assert_eq!(node.held()[&branch], 3);
}

#[test]
fn what_was_put_off_for_a_fork_that_the_store_cannot_settle_is_refused() {
    let (proof, runs) = forked(1);
    let mut logs: Vec<LogId> = runs.iter().map(|run| run.header.log).collect();
    logs.sort();
    let mut node = Node::new(1);
    node.holds_commits = true;
    let mut puppet = Puppet::meet_with(&mut node, 2, 1, claim(&proof));
    puppet.say(&mut node, &Message::Fork(Box::new(proof)));
    puppet.say(&mut node, &Message::Data(runs));
    assert_eq!(refused(&node, 2), []);

    node.fault = Some(StoreFault::DiskFull("no room".to_owned()));
    node.commit(START);

    puppet.assert_open(&node);
    assert_eq!(refused(&node, 2), logs);
}

/// Its author had seen one of the branches under the log's own name, of which nothing is left.
#[test]
fn what_depends_on_a_log_that_forked_at_its_first_entry_is_taken() {
    let (proof, runs) = forked(0);
    let (whole, mut effect) = (proof.header.log, Author::new(6, 6));
    let mut seen = Author::new(5, 5);
    seen.run(2);
    let effects = effect.run_tagged(vec![(Dot::new(whole, 2), seen.tag(2))]);
    let mut node = Node::new(1);
    let mut puppet = Puppet::meet_with(&mut node, 2, 1, claim(&proof));
    puppet.say(&mut node, &Message::Fork(Box::new(proof)));
    let mut puppet = Puppet::meet(&mut node, 2, 2);

    puppet.say(&mut node, &Message::Data(runs));
    puppet.say(&mut node, &Message::Data(vec![effects]));

    assert_eq!(refused(&node, 2), []);
    assert_eq!(node.held()[&effect.log()], 1);
}
