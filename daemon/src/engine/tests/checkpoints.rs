//! What two devices remember of each other's frontiers, and what happens when one of them is wrong.

use proptest::prelude::*;

use super::puppet::{Author, Puppet};
use super::world::{Node, START, World, device, set_name};
use crate::engine::batch::{CheckpointId, SessionId};
use crate::engine::input::Input;
use crate::engine::limits::MARK_DELAY_MS;
use crate::wire::frame::FrameDecoder;
use crate::wire::message::{Hello, Message, SpaceRoot, is_data};

/// A world in which every device holds an entry of every device, and all have met the first.
fn level_world(count: u8) -> World {
    let mut world = World::new(count);
    for node in 0..usize::from(count) {
        world.write(node, &format!("p{node}"), "Achieng");
    }
    for _ in 0..2 {
        for node in 1..usize::from(count) {
            meet_and_part(&mut world, 0, node);
        }
    }
    world.assert_converged();
    world.said.clear();
    world
}

fn meet_and_part(world: &mut World, a: usize, b: usize) -> SessionId {
    let (session, _) = world.meet(a, b);
    world.pass(2 * MARK_DELAY_MS);
    world.cut(session);
    session
}

/// How many rows were told, in whatever message.
fn front_rows(world: &World) -> usize {
    let rows = world.said.iter().map(|(_, message)| match message {
        Message::Front { rows, .. } => rows.len(),
        Message::Range { rows, .. } => rows.len(),
        Message::Answer { differs, rows, .. } => differs.len() + rows.len(),
        _ => 0,
    });
    rows.sum()
}

#[test]
fn a_second_meeting_tells_only_the_rows_that_moved() {
    let mut world = level_world(5);
    world.write(0, "p9", "Barasa");
    world.write(3, "p8", "Chebet");

    meet_and_part(&mut world, 0, 3);

    assert_eq!(front_rows(&world), 2, "{:?}", world.said);
    assert_eq!(world.entries_sent(), 2);
    assert_eq!(world.nodes[0].held(), world.nodes[3].held());
}

#[test]
fn two_that_hold_the_same_fall_silent() {
    let mut world = level_world(2);
    world.write(0, "p9", "Barasa");
    world.meet(0, 1);
    world.pass(2 * MARK_DELAY_MS);
    world.said.clear();

    for _ in 0..10 {
        world.pass(2 * MARK_DELAY_MS);
    }

    assert!(world.said.is_empty(), "{:?}", world.said);
}

#[test]
fn without_a_checkpoint_one_side_tells_the_whole_frontier() {
    let mut world = level_world(3);
    world.write(1, "p9", "Barasa");

    meet_and_part(&mut world, 1, 2);

    assert_eq!(front_rows(&world), 4, "three are told, one is otherwise");
    assert_eq!(world.entries_sent(), 1);
}

#[test]
fn a_peer_that_stands_at_a_checkpoint_is_sent_entries_at_once() {
    let mut world = level_world(2);
    world.write(0, "p9", "Barasa");
    let (at_zero, _) = world.join(0, 1);
    let (_, hello) = world.nodes[1].outbox.pop_front().expect("its HELLO");

    let input = Input::Frame {
        session: at_zero,
        bytes: hello,
    };
    world.nodes[0].handle(START, input);

    let sent = &world.nodes[0].outbox;
    assert!(sent.iter().any(|(_, frame)| is_data(frame)), "{sent:?}");
}

#[test]
fn a_link_that_drops_before_the_mark_costs_an_older_checkpoint_and_no_more() {
    let mut world = level_world(4);
    world.write(0, "p9", "Barasa");
    let (session, _) = world.meet(0, 1);
    world.cut(session);
    world.said.clear();
    world.write(1, "p8", "Chebet");

    meet_and_part(&mut world, 0, 1);

    assert_eq!(front_rows(&world), 3, "the log of 0 at both, and that of 1");
    assert_eq!(world.entries_sent(), 1);
    assert_eq!(world.nodes[0].held(), world.nodes[1].held());
}

#[test]
fn checkpoints_survive_a_restart() {
    let mut world = level_world(3);
    let node = world.nodes.remove(0);
    world.nodes.insert(0, Node::on(node.store, 1, 1));
    world.write(0, "p9", "Barasa");

    meet_and_part(&mut world, 0, 1);

    assert_eq!(front_rows(&world), 1);
}

#[test]
fn a_peer_that_forgot_or_lost_everything_gets_the_whole_frontier() {
    let mut world = level_world(3);
    world.nodes[1] = Node::new(2);

    meet_and_part(&mut world, 0, 1);

    assert_eq!(front_rows(&world), 3);
    assert_eq!(world.nodes[0].held(), world.nodes[1].held());
}

/// Opens a session as device 2 and reads the HELLO that device 1 greets it with.
fn greeted(node: &mut Node, session: SessionId) -> (Puppet, Hello) {
    let mut puppet = Puppet::arrive(node, 2, session);
    let heard = puppet.hear(node);
    let [Message::Hello(hello)] = &heard[..] else {
        panic!("{heard:?}")
    };
    (puppet, hello.clone())
}

/// A device that has agreed with device 2 on a frontier of some logs; the frontier, and its name.
fn node_with_a_checkpoint() -> (Node, Vec<SpaceRoot>, CheckpointId) {
    let mut node = Node::new(1);
    let mut puppet = Puppet::meet(&mut node, 2, 1);
    let runs = (5..9).map(|n| Author::new(n, n).run(2)).collect();
    puppet.say(&mut node, &Message::Data(runs));
    let now = crate::engine::input::Now {
        mono_ms: START.mono_ms + MARK_DELAY_MS,
        ..START
    };
    node.handle(now, Input::Timeout);
    let marks = puppet
        .hear(&mut node)
        .into_iter()
        .filter_map(|message| match message {
            Message::Mark(mark) => Some(mark),
            _ => None,
        });
    let marks: Vec<_> = marks.collect();
    let [mark] = marks[..] else {
        panic!("{marks:?}")
    };
    puppet.say(&mut node, &Message::Mark(mark));
    node.handle(START, Input::SessionClosed { session: 1 });
    let (_, hello) = greeted(&mut node, 2);
    assert_eq!(hello.checkpoints, [mark]);
    node.handle(START, Input::SessionClosed { session: 2 });
    (node, hello.spaces, mark)
}

#[test]
fn only_the_peer_itself_is_shown_a_checkpoint() {
    let (mut node, _, _) = node_with_a_checkpoint();

    let mut other = Puppet::arrive(&mut node, 3, 9);

    let heard = other.hear(&mut node);
    assert!(matches!(&heard[..], [Message::Hello(hello)] if hello.checkpoints.is_empty()));
}

#[test]
fn a_checkpoint_that_we_do_not_know_is_answered_with_the_whole_frontier() {
    let (mut node, _, _) = node_with_a_checkpoint();
    let mut puppet = Puppet::arrive(&mut node, 2, 9);

    let hello = Hello {
        checkpoints: vec![[0xee; 8]],
        ..puppet.hello()
    };
    puppet.say(&mut node, &Message::Hello(hello));
    puppet.tell(&mut node, Vec::new());

    let rows = puppet
        .hear(&mut node)
        .into_iter()
        .map(|message| match message {
            Message::Answer { rows, .. } => rows.len(),
            _ => 0,
        });
    assert_eq!(rows.sum::<usize>(), 4);
}

#[test]
fn a_peer_whose_frontier_does_not_add_up_loses_its_checkpoint_and_is_told_everything() {
    let (mut node, mut spaces, mark) = node_with_a_checkpoint();
    let (mut puppet, _) = greeted(&mut node, 9);
    spaces[0].count += 5;
    spaces[0].root = [1; 16];

    let hello = Hello {
        spaces: spaces.clone(),
        checkpoints: vec![mark],
        ..puppet.hello()
    };
    puppet.say(&mut node, &Message::Hello(hello));
    puppet.say(&mut node, &Message::FrontEnd);

    puppet.assert_breach(&node, "add up");
    let (mut puppet, hello) = greeted(&mut node, 10);
    assert_eq!(hello.checkpoints, [[0; 8]; 0]);
    let hello = Hello {
        spaces: Vec::new(),
        checkpoints: vec![mark],
        ..puppet.hello()
    };
    puppet.say(&mut node, &Message::Hello(hello));
    puppet.say(&mut node, &Message::FrontEnd);
    let heard = puppet.hear(&mut node);
    assert!(
        heard
            .iter()
            .any(|message| matches!(message, Message::Data(runs) if runs.len() == 4)),
        "{heard:?}"
    );
}

#[test]
fn a_row_behind_the_checkpoint_that_the_peer_named_ends_the_session() {
    let (mut node, spaces, mark) = node_with_a_checkpoint();
    let (mut puppet, _) = greeted(&mut node, 9);
    let hello = Hello {
        spaces,
        checkpoints: vec![mark],
        ..puppet.hello()
    };
    puppet.say(&mut node, &Message::Hello(hello));
    let mut author = Author::new(5, 5);
    author.run(1);

    let rows = vec![author.front_row()];
    let space = crdt_schema::ident::SpaceName::default();
    puppet.say(&mut node, &Message::Front { space, rows });

    puppet.assert_breach(&node, "behind the checkpoint");
    assert_eq!(greeted(&mut node, 10).1.checkpoints, [[0; 8]; 0]);
}

#[test]
fn a_mark_of_another_frontier_is_nothing() {
    let mut node = Node::new(1);
    node.write(START, "p1", vec![set_name("Achieng")]);
    let mut puppet = Puppet::meet(&mut node, 2, 1);
    puppet.hear(&mut node);

    puppet.say(&mut node, &Message::Mark([4; 8]));

    puppet.assert_open(&node);
    assert!(puppet.hear(&mut node).is_empty());
    node.handle(START, Input::SessionClosed { session: 1 });
    assert_eq!(greeted(&mut node, 2).1.checkpoints, [[0; 8]; 0]);
}

#[test]
fn every_frame_of_a_hello_with_checkpoints_can_be_read() {
    let (mut node, _, _) = node_with_a_checkpoint();
    Puppet::arrive(&mut node, 2, 9);

    let (_, frame) = node.outbox.pop_back().expect("a HELLO");

    assert!(frame.len() < 100, "{} bytes", frame.len());
    assert!(FrameDecoder::new().decode(&frame).is_ok());
    assert!(node.fleet.peers.contains_key(&device(2)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn wherever_links_are_cut_everybody_ends_alike(
        steps in prop::collection::vec((0..4usize, 1..4usize, 0..12usize, 0..3_000u64), 1..25),
    ) {
        let mut world = World::new(4);
        for (number, (a, step, frames, ms)) in steps.into_iter().enumerate() {
            let b = (a + step) % 4;
            world.write(a, &format!("p{}", number % 5), &format!("name {number}"));
            let (session, _) = world.join(a, b);
            if world.settle_some(frames) {
                world.pass(ms);
            }
            world.cut(session);
            // Nothing that was under way arrives by another link.
            for node in &mut world.nodes {
                node.outbox.clear();
            }
        }
        for _ in 0..2 {
            for (a, b) in [(0, 1), (1, 2), (2, 3), (3, 0)] {
                meet_and_part(&mut world, a, b);
            }
        }
        world.assert_converged();
    }
}
