//! Several peers at once that hold the same.

use super::puppet::{Author, Puppet, default_tag};
use super::world::{Node, START, World};
use crate::engine::input::{Input, Now};
use crate::engine::limits::{HOLD_ENTRIES_MIN, HOLD_MAX_MS, HOLD_STALL_MS};
use crate::wire::message::{Hello, Message, SpaceRoot};

/// Devices 0 and 1 hold the same; 2 holds nothing.
fn two_givers(entries: usize) -> World {
    let mut world = World::new(3);
    for n in 0..entries {
        world.write(n % 2, &format!("p{n}"), "a name that is somewhat long");
    }
    let (session, _) = world.meet(0, 1);
    world.cut(session);
    world.said.clear();
    world
}

#[test]
fn of_two_full_devices_met_at_once_one_sends() {
    let mut world = two_givers(300);

    world.join(0, 2);
    world.join(1, 2);
    world.settle();

    world.assert_converged();
    assert_eq!(world.entries_sent(), 300);
    assert_eq!(world.count(2, |m| matches!(m, Message::Hold)), 1);
    assert_eq!(world.count(2, |m| matches!(m, Message::Want)), 1);
}

#[test]
fn when_the_one_that_sends_is_gone_the_other_takes_over_at_once() {
    let mut world = two_givers(800);
    let (sending, _) = world.join(0, 2);
    world.join(1, 2);
    assert!(!world.settle_some(20));
    let before = world.nodes[2].entries();
    assert!(before > 0 && before < 800, "{before}");

    world.cut(sending);
    world.settle();

    assert_eq!(world.nodes[2].entries(), 800);
}

#[test]
fn devices_that_hold_different_things_send_at_the_same_time() {
    let mut world = World::new(3);
    for n in 0..200 {
        world.write(n % 2, &format!("p{n}"), "a name");
    }

    world.join(0, 2);
    world.join(1, 2);
    world.settle();

    assert_eq!(world.nodes[2].entries(), 200);
    let held: u64 = world.nodes.iter().map(Node::entries).sum();
    let arrived = held as usize - 200;
    assert_eq!(world.entries_sent(), arrived, "nothing is sent twice");
    assert_eq!(world.count(2, |m| matches!(m, Message::Want)), 1);
}

#[test]
fn what_a_device_writes_after_it_was_told_to_hold_arrives() {
    let mut world = two_givers(300);
    world.join(0, 2);
    world.join(1, 2);
    world.settle();

    world.write(1, "late", "Achieng");
    world.settle();

    assert_eq!(world.nodes[2].entries(), 301);
}

#[test]
fn a_few_entries_are_not_worth_the_waiting() {
    let mut world = two_givers(HOLD_ENTRIES_MIN as usize);

    world.join(0, 2);
    world.join(1, 2);
    world.settle();

    world.assert_converged();
    assert_eq!(world.count(2, |m| matches!(m, Message::Hold)), 0);
}

/// A peer that claims to hold 100 entries of a log, and has told so. It holds more than the device, which tells.
fn claimant(node: &mut Node, number: u8, session: u64) -> Puppet {
    let mut author = Author::new(9, 9);
    author.run(100);
    let mut puppet = Puppet::arrive(node, number, session);
    let space = SpaceRoot {
        tag: default_tag(),
        root: [2; 16],
        count: 100,
    };
    let hello = Hello {
        spaces: vec![space],
        ..puppet.hello()
    };
    puppet.say(node, &Message::Hello(hello));
    let answer = Message::Answer {
        more: false,
        differs: Vec::new(),
        rows: vec![author.range_row()],
    };
    puppet.say(node, &answer);
    puppet.say(node, &Message::FrontEnd);
    puppet
}

fn wants(puppet: &mut Puppet, node: &mut Node) -> usize {
    let heard = puppet.hear(node);
    heard.iter().filter(|m| **m == Message::Want).count()
}

fn after(ms: u64) -> Now {
    Now {
        mono_ms: START.mono_ms + ms,
        ..START
    }
}

#[test]
fn a_giver_that_falls_silent_is_not_waited_for() {
    let mut node = Node::new(1);
    let _silent = claimant(&mut node, 2, 1);
    let mut waiting = claimant(&mut node, 3, 2);
    assert!(waiting.hear(&mut node).contains(&Message::Hold));

    node.handle(after(HOLD_STALL_MS - 1), Input::Timeout);
    assert_eq!(wants(&mut waiting, &mut node), 0);
    node.handle(after(HOLD_STALL_MS), Input::Timeout);
    assert_eq!(wants(&mut waiting, &mut node), 1);
}

#[test]
fn a_giver_that_sends_too_slowly_is_not_waited_for_without_end() {
    let mut node = Node::new(1);
    let mut slow = claimant(&mut node, 2, 1);
    let mut waiting = claimant(&mut node, 3, 2);
    waiting.hear(&mut node);
    let mut author = Author::new(9, 9);

    let mut asked_after = None;
    for ms in (1_000..2 * HOLD_MAX_MS).step_by(1_000) {
        slow.say_at(&mut node, after(ms), &Message::Data(vec![author.run(1)]));
        node.handle(after(ms), Input::Timeout);
        if wants(&mut waiting, &mut node) > 0 {
            asked_after = Some(ms);
            break;
        }
    }

    assert_eq!(asked_after, Some(HOLD_MAX_MS));
}
