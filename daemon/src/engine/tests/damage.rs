//! Forked, damaged and ill-willed histories: refused log by log, while all else goes on.

use crdt_schema::ident::{Dot, LogId, SpaceName};

use super::puppet::{Author, Puppet};
use super::world::{Node, START, World, device, key, options, set_name};
use crate::engine::batch::{LogHeader, Run};
use crate::engine::limits::{FAULTS_MAX, LOGS_MAX, SEQ_MAX};
use crate::store::Store;
use crate::wire::chain::log_id;
use crate::wire::limits::FRONT_ROWS_MAX;
use crate::wire::message::{FrontRow, Message};

/// A device that holds five entries of log 5, and the author of that log.
fn node_with_log() -> (Node, Author) {
    let mut node = Node::new(1);
    let mut author = Author::new(5, 5);
    let mut puppet = Puppet::meet(&mut node, 5, 50);
    puppet.say(&mut node, &Message::Data(vec![author.run(5)]));
    assert_eq!(node.entries(), 5);
    (node, author)
}

fn refusal(node: &Node, peer: u8, log: LogId) -> String {
    node.fleet.peers[&device(peer)]
        .refused_logs
        .get(&log)
        .cloned()
        .unwrap_or_default()
}

#[test]
fn a_fork_is_seen_in_the_opening_and_other_logs_go_on() {
    let (mut node, mut author) = node_with_log();
    let mut branch = Author::new(5, 5);
    branch.clock_ms += 77;
    branch.run(5);
    let mut good = Author::new(2, 2);

    let mut puppet = Puppet::meet_with(&mut node, 2, 1, vec![branch.front_row()]);
    assert_eq!(
        refusal(&node, 2, branch.log()),
        "fork: the same positions hold other entries there"
    );
    let rest = branch.run(1);
    puppet.say(&mut node, &Message::Data(vec![rest, good.run(3)]));

    puppet.assert_open(&node);
    assert_eq!(
        refusal(&node, 2, branch.log()),
        "fork: the same positions hold other entries there"
    );
    assert_eq!(node.held()[&branch.log()], 5);
    assert_eq!(node.held()[&good.log()], 3);
    assert!(
        !puppet
            .hear(&mut node)
            .iter()
            .any(|m| matches!(m, Message::Data(_)))
    );

    // The true continuation still comes from elsewhere.
    let mut other = Puppet::meet(&mut node, 3, 2);
    other.say(&mut node, &Message::Data(vec![author.run(2)]));
    assert_eq!(node.held()[&author.log()], 7);
}

#[test]
fn a_branch_that_does_not_follow_our_chain_is_refused_and_so_is_what_depends_on_it() {
    let (mut node, author) = node_with_log();
    let mut branch = Author::new(5, 5);
    branch.clock_ms += 77;
    branch.run(5);
    let mut dependent = Author::new(6, 6);
    let mut free = Author::new(7, 7);
    let mut puppet = Puppet::meet(&mut node, 2, 1);
    puppet.hear(&mut node);

    puppet.say(
        &mut node,
        &Message::Data(vec![
            branch.run(3),
            dependent.run_after(vec![Dot::new(branch.log(), 7)]),
            free.run_tagged(vec![(Dot::new(branch.log(), 4), author.tag(4))]),
        ]),
    );

    puppet.assert_open(&node);
    assert_eq!(refusal(&node, 2, branch.log()), "fork or damaged history");
    assert!(refusal(&node, 2, dependent.log()).contains("missing"));
    assert_eq!(node.held().get(&dependent.log()), None);
    assert_eq!(node.held()[&free.log()], 1);
    // The refusals repeat what was told: the fifth entry of the one, nothing of the other.
    let acks = puppet.hear_acks(&mut node);
    assert!(acks.contains(&(branch.log(), 5)), "{acks:?}");
    assert!(acks.contains(&(dependent.log(), 0)), "{acks:?}");
}

#[test]
fn a_refusal_frees_the_window_of_the_sender() {
    let mut node = Node::new(1);
    for n in 0..60 {
        node.write(
            START,
            &format!("p{n}"),
            vec![set_name(&"x".repeat(60 << 10))],
        );
    }
    let own = *node.held().keys().next().expect("one log");
    let mut author = Author::new(5, 5);
    let mut giver = Puppet::meet(&mut node, 5, 50);
    giver.say(&mut node, &Message::Data(vec![author.run(4)]));
    let mut puppet = Puppet::meet(&mut node, 2, 1);
    puppet.hear(&mut node);

    puppet.say(&mut node, &Message::Ack(vec![(own, 0)]));

    puppet.assert_open(&node);
    assert!(refusal(&node, 2, own).contains("peer refuses"));
    let heard = puppet.hear(&mut node);
    let runs: Vec<&Run> = heard
        .iter()
        .filter_map(|m| {
            if let Message::Data(runs) = m {
                Some(runs)
            } else {
                None
            }
        })
        .flatten()
        .collect();
    assert!(
        runs.iter().all(|run| run.header.log == author.log()),
        "nothing more of the refused log"
    );
    assert_eq!(runs.len(), 1);
}

#[test]
fn what_an_author_should_not_have_signed_is_refused() {
    let (mut node, author) = node_with_log();
    let mut cases: Vec<(Run, &str)> = Vec::new();
    let mut garbled = author.clone();
    cases.push((garbled.sign(vec![vec![1, 2, 3]]), "malformed"));
    let mut selfish = author.clone();
    let own = Dot::new(author.log(), 2);
    cases.push((selfish.run_after(vec![own]), "malformed"));
    let mut backwards = author.clone();
    backwards.clock_ms -= 100;
    cases.push((backwards.run(1), "out of order"));
    let mut hopeful = author.clone();
    cases.push((
        hopeful.run_after(vec![Dot::new(LogId([77; 16]), 1)]),
        "missing",
    ));
    let mut gapped = author.clone();
    gapped.run(1);
    cases.push((gapped.run(1), "entries before 7 are missing"));
    let renamed = LogHeader {
        name: "another".to_owned(),
        ..author.header.clone()
    };
    cases.push((Author::begin(key(5), renamed).run(6), "beginning differs"));
    let mut flipped = author.clone();
    let mut run = flipped.run(1);
    run.signature[0] ^= 1;
    cases.push((run, "fork or damaged"));

    for (session, (run, why)) in (1..).zip(cases) {
        let mut puppet = Puppet::meet(&mut node, 2, session);
        puppet.say(&mut node, &Message::Data(vec![run]));
        assert!(refusal(&node, 2, author.log()).contains(why), "{why}");
        puppet.assert_open(&node);
        assert_eq!(node.entries(), 5);
    }
}

#[test]
fn dependencies_across_spaces_are_refused() {
    let (mut node, author) = node_with_log();
    let space = SpaceName::new("elsewhere").expect("a space");
    let header = LogHeader {
        log: log_id([6; 8], &space, &author.header.device, &author.header.name),
        space,
        ..author.header.clone()
    };
    let mut other = Author::begin(key(5), header);
    let mut puppet = Puppet::meet(&mut node, 2, 1);

    puppet.say(
        &mut node,
        &Message::Data(vec![other.run_after(vec![Dot::new(author.log(), 1)])]),
    );

    assert!(refusal(&node, 2, other.log()).contains("missing"));
    assert_eq!(node.entries(), 5);
}

#[test]
fn too_many_damaged_logs_end_the_session() {
    let mut node = Node::new(1);
    let mut puppet = Puppet::meet(&mut node, 2, 1);
    let mut good = Author::new(3, 200);

    for n in 0..=FAULTS_MAX {
        puppet.assert_open(&node);
        let mut run = Author::new(2, n as u8).run(1);
        run.signature[5] ^= 1;
        let more = good.run(1);
        puppet.say(&mut node, &Message::Data(vec![more, run]));
    }

    puppet.assert_breach(&node, "too many damaged");
    assert_eq!(
        node.entries(),
        FAULTS_MAX as u64 + 1,
        "what was good in the last frame is kept"
    );
}

#[test]
fn sequence_numbers_out_of_bounds_end_the_session() {
    let rows = |seq| {
        vec![FrontRow {
            log: LogId([8; 16]),
            seq,
            chain_tag: [0; 8],
        }]
    };
    let mut node = Node::new(1);
    Puppet::meet_with(&mut node, 2, 1, rows(SEQ_MAX + 1)).assert_breach(&node, "FRONT");

    let mut puppet = Puppet::meet(&mut node, 2, 2);
    puppet.say(&mut node, &Message::Ack(vec![(LogId([8; 16]), u64::MAX)]));
    puppet.assert_breach(&node, "ACK");

    for (session, from) in [(3, u64::MAX), (4, SEQ_MAX)] {
        let mut puppet = Puppet::meet(&mut node, 2, session);
        let run = Run {
            from,
            ..Author::new(2, 2).run(1)
        };
        puppet.say(&mut node, &Message::Data(vec![run]));
        assert!(node.end_of(session).is_some(), "{from}");
    }
    assert!(
        Puppet::meet_with(&mut node, 2, 5, rows(SEQ_MAX))
            .hear(&mut node)
            .len()
            > 1
    );
    assert_eq!(node.end_of(5), None);
}

#[test]
fn a_frontier_may_not_contradict_itself_or_have_no_end() {
    let (mut node, author) = node_with_log();
    let mut puppet = Puppet::arrive(&mut node, 2, 2);
    puppet.say(&mut node, &Message::Hello(puppet.hello()));
    for _ in 0..2 {
        let rows = vec![author.front_row()];
        puppet.say(
            &mut node,
            &Message::Front {
                space: SpaceName::default(),
                rows,
            },
        );
    }
    puppet.assert_breach(&node, "twice");

    let mut puppet = Puppet::arrive(&mut node, 2, 3);
    puppet.say(&mut node, &Message::Hello(puppet.hello()));
    let mut claimed = 0;
    while node.end_of(3).is_none() {
        let row = |n: usize| {
            let log = LogId(((claimed + n) as u128 + 1).to_be_bytes());
            FrontRow {
                log,
                seq: 1,
                chain_tag: [0; 8],
            }
        };
        let rows = (0..FRONT_ROWS_MAX).map(row).collect();
        puppet.say(
            &mut node,
            &Message::Front {
                space: SpaceName::default(),
                rows,
            },
        );
        claimed += FRONT_ROWS_MAX;
        assert!(claimed <= LOGS_MAX + FRONT_ROWS_MAX);
    }
    puppet.assert_breach(&node, "more logs than may be");
}

#[test]
fn a_store_that_went_back_in_time_begins_a_new_log_and_gets_its_entries_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let (path, copy) = (dir.path().join("store"), dir.path().join("copy"));
    let open = |start| {
        Node::on(
            Store::open_file(&path, options(1)).expect("the store opens"),
            1,
            start,
        )
    };
    let mut world = World::new(2);
    world.nodes[0] = open(0);
    world.write(0, "p1", "before the copy");
    let old = *world.nodes[0].held().keys().next().expect("one log");
    world.nodes[0] = Node::new(1);
    std::fs::copy(&path, &copy).expect("a copy");
    world.nodes[0] = open(1);
    world.write(0, "p2", "after the copy");
    let (session, _) = world.meet(0, 1);
    world.cut(session);
    world.nodes[0] = Node::new(1);
    std::fs::copy(&copy, &path).expect("back in time");
    world.nodes[0] = open(2);
    assert_eq!(world.nodes[0].held()[&old], 1);

    world.meet(0, 1);
    world.write(0, "p3", "after the restore");
    world.settle();

    world.assert_converged();
    assert_eq!(world.nodes[0].held()[&old], 2);
    assert_eq!(
        world.nodes[0].held().len(),
        2,
        "the new write is in a new log"
    );
    assert_eq!(world.nodes[1].end_of(session), None);
    assert!(
        world
            .nodes
            .iter()
            .all(|n| n.fleet.peers.values().all(|p| p.refused_logs.is_empty()))
    );
}

#[test]
fn a_peer_may_claim_more_of_our_log_once_and_not_without_end() {
    let mut node = Node::new(1);
    let mut puppet = Puppet::meet(&mut node, 2, 1);
    node.write(START, "p1", vec![set_name("Achieng")]);
    let first = *node.held().keys().next().expect("one log");

    puppet.say(&mut node, &Message::Ack(vec![(first, 9)]));
    puppet.assert_open(&node);
    node.write(START, "p2", vec![set_name("Barasa")]);
    let second = *node
        .held()
        .keys()
        .find(|log| **log != first)
        .expect("a new log");
    puppet.say(&mut node, &Message::Ack(vec![(second, 9)]));

    puppet.assert_breach(&node, "again");
}

#[test]
fn entries_in_our_own_log_that_we_have_not_written_are_refused() {
    let mut node = Node::new(1);
    node.write(START, "p1", vec![set_name("Achieng")]);
    let opening = node.store.opening().expect("the store reads");
    let header = opening.own_logs[0].clone();
    let mut forger = Author::begin(key(1), header.clone());
    let mut puppet = Puppet::meet(&mut node, 2, 1);

    puppet.say(&mut node, &Message::Data(vec![forger.run(2)]));

    assert!(refusal(&node, 2, header.log).contains("has not written"));
    assert_eq!(node.entries(), 1);
}

#[test]
fn a_log_begun_under_anothers_id_is_not_taken_and_the_true_one_still_is() {
    let mut node = Node::new(1);
    let mut author = Author::new(5, 5);
    let stolen = LogHeader {
        device: device(2),
        space: SpaceName::new("elsewhere").expect("a space"),
        ..author.header.clone()
    };
    let mut thief = Puppet::meet(&mut node, 2, 1);
    thief.say(
        &mut node,
        &Message::Data(vec![Author::begin(key(2), stolen).run(1)]),
    );
    assert!(refusal(&node, 2, author.log()).contains("does not belong"));

    let mut honest = Puppet::meet(&mut node, 3, 2);
    honest.say(&mut node, &Message::Data(vec![author.run(2)]));

    assert_eq!(node.held()[&author.log()], 2);
}

#[test]
fn a_device_leaves_its_log_where_others_hold_another_history_of_it() {
    let mut node = Node::new(1);
    node.write(START, "p1", vec![set_name("Achieng")]);
    node.commit(START);
    let own = *node.held().keys().next().expect("a log");
    let mut puppet = Puppet::meet(&mut node, 2, 1);

    // The peer takes nothing of it: what it holds under this name was written before a restore.
    puppet.say(&mut node, &Message::Ack(vec![(own, 0)]));
    node.write(START, "p2", vec![set_name("Baraka")]);
    node.commit(START);

    assert!(refusal(&node, 2, own).contains("peer refuses"));
    assert_eq!(node.held().len(), 2, "the second write went to a new log");
    assert_eq!(node.held()[&own], 1);
    assert!(
        !node.fleet.peers[&device(2)].held.contains_key(&own),
        "it does not count as a copy"
    );
}
