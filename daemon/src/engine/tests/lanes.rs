//! What goes before what: spaces in turn, short logs before bulk, and a person's edit before everything.

use crdt_schema::ident::{Dot, LogId, SpaceName};
use proptest::prelude::*;

use super::puppet::{Author, Puppet};
use super::world::{Node, START, World, device, set_name};
use crate::engine::input::Input;
use crate::engine::limits::{BULK_ENTRIES_MIN, FRAME_BYTES_FIRST, FRESH_BYTES_MAX, WINDOW_FRAMES};
use crate::wire::message::{Hello, Message, SpaceRoot};

const BULK: u64 = 3 * BULK_ENTRIES_MIN;

/// A device that holds a long log of device 9, and its author.
fn relay() -> (Node, Author) {
    let mut node = Node::new(1);
    let mut author = Author::new(9, 9);
    let mut giver = Puppet::meet(&mut node, 9, 90);
    while author.seq < BULK {
        giver.say(&mut node, &Message::Data(vec![author.run(256)]));
        giver.hear(&mut node);
    }
    node.handle(START, Input::SessionClosed { session: 90 });
    assert_eq!(node.entries(), BULK);
    (node, author)
}

/// The runs among what was heard: log, first and last entry.
fn runs(heard: &[Message]) -> Vec<(LogId, u64, u64)> {
    let data = heard.iter().filter_map(|message| match message {
        Message::Data(runs) => Some(runs),
        _ => None,
    });
    data.flatten()
        .map(|run| (run.header.log, run.from, run.last()))
        .collect()
}

/// Acknowledges all that is sent until nothing more is. Returns it.
fn take_all(puppet: &mut Puppet, node: &mut Node) -> Vec<(LogId, u64, u64)> {
    let mut all = Vec::new();
    loop {
        let some = runs(&puppet.hear(node));
        if some.is_empty() {
            return all;
        }
        let rows: std::collections::BTreeMap<_, _> =
            some.iter().map(|(log, _, last)| (*log, *last)).collect();
        puppet.say(node, &Message::Ack(rows.into_iter().collect()));
        all.extend(some);
    }
}

fn own_log(node: &Node) -> LogId {
    let opening = node.store.opening().expect("the store reads");
    opening.own_logs[0].log
}

#[test]
fn an_edit_that_is_made_while_bulk_is_sent_goes_before_the_rest_of_it() {
    let (mut node, author) = relay();
    let mut phone = Puppet::meet(&mut node, 2, 1);
    let before = runs(&phone.hear(&mut node));
    assert!(
        before
            .iter()
            .all(|(log, _, last)| *log == author.log() && *last < BULK)
    );

    // The window is full: nothing has been acknowledged.
    node.write(START, "visit", vec![set_name("Achieng")]);

    assert_eq!(runs(&phone.hear(&mut node)), [(own_log(&node), 1, 1)]);
    let rows = vec![(author.log(), before.last().expect("a run").2)];
    phone.say(&mut node, &Message::Ack(rows));
    let rest = take_all(&mut phone, &mut node);
    assert_eq!(
        rest.last().map(|run| (run.0, run.2)),
        Some((author.log(), BULK))
    );
    assert!(
        rest.iter().all(|(log, ..)| *log == author.log()),
        "nothing is sent twice"
    );
}

#[test]
fn an_edit_of_what_the_peer_has_not_got_goes_behind_its_causes() {
    let (mut node, author) = relay();
    let mut phone = Puppet::meet(&mut node, 2, 1);
    let mut sent = runs(&phone.hear(&mut node));
    let id = |ms: u64| format!("{}-{ms}", hex::encode(&author.log().0[..2]));
    // The last record of the bulk, and one that is new.
    node.write(START, &id(author.clock_ms), vec![set_name("Achieng")]);
    node.write(START, "visit", vec![set_name("Barasa")]);
    assert!(runs(&phone.hear(&mut node)).is_empty());

    let rows = vec![(author.log(), sent.last().expect("a run").2)];
    phone.say(&mut node, &Message::Ack(rows));
    sent.extend(take_all(&mut phone, &mut node));

    let cause = sent.iter().position(|(_, _, last)| *last == BULK);
    let edit = sent.iter().position(|(log, ..)| *log == own_log(&node));
    assert!(cause.expect("the cause") < edit.expect("the edit"));
    assert_eq!(node.fleet.peers[&device(2)].ahead, 0);
}

#[test]
fn a_peer_that_is_sent_much_by_another_still_gets_what_a_person_writes() {
    let (mut node, _) = relay();
    let mut phone = Puppet::arrive(&mut node, 2, 1);
    phone.say(&mut node, &Message::Hello(phone.hello()));
    phone.say(&mut node, &Message::Hold);
    phone.say(&mut node, &Message::FrontEnd);
    assert!(runs(&phone.hear(&mut node)).is_empty());

    node.write(START, "visit", vec![set_name("Achieng")]);

    assert_eq!(runs(&phone.hear(&mut node)), [(own_log(&node), 1, 1)]);
}

#[test]
fn what_goes_beyond_the_window_is_bounded() {
    let (mut node, _) = relay();
    let mut phone = Puppet::meet(&mut node, 2, 1);
    phone.hear(&mut node);
    let mut bytes = 0;
    for n in 0..200 {
        node.write(
            START,
            &format!("visit-{n}"),
            vec![set_name(&"x".repeat(500))],
        );
        for message in phone.hear(&mut node) {
            if let Message::Data(runs) = message {
                bytes += runs
                    .iter()
                    .flat_map(|run| &run.entries)
                    .map(Vec::len)
                    .sum::<usize>();
            }
        }
    }

    let slack = FRAME_BYTES_FIRST * WINDOW_FRAMES / 2;
    assert!(
        bytes > 0 && bytes <= FRESH_BYTES_MAX + slack,
        "{bytes} bytes"
    );
}

#[test]
fn short_logs_whose_causes_are_there_go_before_bulk() {
    let (mut node, bulk) = relay();
    let mut giver = Puppet::meet(&mut node, 9, 91);
    let (mut answers, mut follower) = (Author::new(7, 7), Author::new(8, 8));
    let last = Dot::new(bulk.log(), BULK);
    giver.say(
        &mut node,
        &Message::Data(vec![
            answers.run(5),
            follower.run_tagged(vec![(last, bulk.tag(BULK))]),
        ]),
    );
    node.handle(START, Input::SessionClosed { session: 91 });

    let mut phone = Puppet::meet(&mut node, 2, 1);
    let mut sent = runs(&phone.hear(&mut node));

    assert_eq!(sent[0], (answers.log(), 1, 5));
    let rows = sent.iter().map(|(log, _, last)| (*log, *last));
    let rows: std::collections::BTreeMap<_, _> = rows.collect();
    phone.say(&mut node, &Message::Ack(rows.into_iter().collect()));
    sent.extend(take_all(&mut phone, &mut node));
    assert_eq!(
        sent.last(),
        Some(&(follower.log(), 1, 1)),
        "it waits for its cause"
    );
}

#[test]
fn a_small_space_is_sent_while_a_large_one_is() {
    let mut node = Node::new(1);
    let space = |name: &str| SpaceName::new(name).expect("a space name");
    let text = "x".repeat(2_000);
    for n in 0..400 {
        node.write_in(
            START,
            &space("archive"),
            &format!("p{n}"),
            vec![set_name(&text)],
        );
    }
    // Too long to go out of turn, and the last to have arrived.
    for n in 0..40 {
        node.write_in(
            START,
            &space("ward"),
            &format!("p{n}"),
            vec![set_name("Achieng")],
        );
    }
    let mut phone = Puppet::meet(&mut node, 2, 1);

    let first_window = runs(&phone.hear(&mut node));

    let held = node.store.opening().expect("the store reads").frontier;
    let ward = held.iter().find(|row| row.header.space == space("ward"));
    let ward = ward.expect("it is held").header.log;
    assert!(
        first_window
            .iter()
            .any(|(log, _, last)| (*log, *last) == (ward, 40))
    );
    let archive = first_window.iter().filter(|(log, ..)| *log != ward);
    assert!(archive.count() > 0, "the large one is not kept back");
}

#[test]
fn a_checkpoint_is_where_every_space_goes_on() {
    let mut world = World::new(2);
    let spaces = ["a", "b", "c"].map(|name| SpaceName::new(name).expect("a space name"));
    for (n, space) in spaces.iter().cycle().take(9).enumerate() {
        world.nodes[0].write_in(START, space, &format!("p{n}"), vec![set_name("Achieng")]);
    }
    let (session, _) = world.meet(0, 1);
    world.pass(3_000);
    world.cut(session);
    world.said.clear();
    world.nodes[0].write_in(START, &spaces[1], "q", vec![set_name("Barasa")]);

    world.meet(0, 1);

    world.assert_converged();
    assert_eq!(world.entries_sent(), 1);
}

/// A peer that claims to hold much and says nothing of it.
#[test]
fn a_peer_that_takes_nothing_keeps_nobody_else_waiting() {
    let (mut node, author) = relay();
    let mut deaf = Puppet::arrive(&mut node, 3, 2);
    let claim = SpaceRoot {
        tag: [1; 8],
        root: [2; 16],
        count: 5,
    };
    let hello = Hello {
        spaces: vec![claim],
        ..deaf.hello()
    };
    deaf.say(&mut node, &Message::Hello(hello));
    deaf.say(&mut node, &Message::FrontEnd);
    let mut phone = Puppet::meet(&mut node, 2, 1);

    let sent = take_all(&mut phone, &mut node);

    assert_eq!(
        sent.last().map(|run| (run.0, run.2)),
        Some((author.log(), BULK))
    );
    assert_eq!(node.fleet.peers[&device(2)].ahead, 0);
    assert_eq!(node.fleet.peers[&device(3)].ahead, BULK);
    deaf.assert_open(&node);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn wherever_links_are_cut_several_spaces_end_alike(
        steps in prop::collection::vec((0..3usize, 1..3usize, 0..3usize, 0..14usize, 0..2_000u64), 1..20),
    ) {
        let mut world = World::new(3);
        let spaces = ["a", "b", "c"].map(|name| SpaceName::new(name).expect("a space name"));
        for (number, (a, step, space, frames, ms)) in steps.into_iter().enumerate() {
            let b = (a + step) % 3;
            let now = world.now;
            for n in 0..=(number % 8) {
                let ops = vec![set_name(&format!("name {number} {n}"))];
                world.nodes[a].write_in(now, &spaces[space], &format!("p{}", n % 5), ops);
            }
            let (session, _) = world.join(a, b);
            // Somebody writes while entries are under way.
            world.settle_some(frames / 2);
            let ops = vec![set_name("in between")];
            world.nodes[b].write_in(now, &spaces[(space + 1) % 3], &format!("p{}", number % 5), ops);
            if world.settle_some(frames) {
                world.pass(ms);
            }
            world.cut(session);
            for node in &mut world.nodes {
                node.outbox.clear();
            }
        }
        for _ in 0..2 {
            for (a, b) in [(0, 1), (1, 2), (2, 0)] {
                let (session, _) = world.meet(a, b);
                world.cut(session);
            }
        }
        world.assert_converged();
        let refused = world.nodes.iter().flat_map(|node| node.fleet.peers.values());
        prop_assert!(refused.clone().all(|peer| peer.refused_logs.is_empty()));
    }
}
