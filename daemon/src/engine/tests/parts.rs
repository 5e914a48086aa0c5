//! Entries that are larger than what a link carries between two drops.

use super::puppet::{Author, Puppet};
use super::resume::{CUT_BYTES, noise};
use super::world::{Node, START, World};
use crate::engine::batch::{Held, Walk};
use crate::engine::effect::CloseReason;
use crate::wire::limits::WHOLE_BYTES_MAX;
use crate::wire::message::Message;
use crate::wire::part::{Part, encode_whole};

/// The bytes of all parts that a device has sent.
fn part_bytes(world: &World, node: usize) -> usize {
    let parts = world
        .said
        .iter()
        .filter_map(|(from, message)| match message {
            Message::Part(part) if *from == node => Some(part.bytes.len()),
            _ => None,
        });
    parts.sum()
}

/// Writes one entry of about so many bytes that hardly compress.
fn write_large(world: &mut World, node: usize, number: usize, bytes: usize) {
    const RECORD_BYTES: usize = 20 << 10;
    let records = (0..bytes / RECORD_BYTES).map(|n| {
        let id = format!("large-{number}-{n}");
        (id, noise(1_000 * number + n, RECORD_BYTES))
    });
    let now = world.now;
    world.nodes[node].write_all(now, &records.collect::<Vec<_>>());
    world.now.unix_ms += 1;
}

/// Lets two devices meet over a link that is cut again and again. Returns how often they met until nothing was left
/// to be said.
fn meet_in_pieces(world: &mut World, a: usize, b: usize, meetings_max: usize) -> usize {
    for meeting in 1..=meetings_max {
        let (session, _) = world.join(a, b);
        let is_done = world.settle_bytes(CUT_BYTES);
        world.cut(session);
        for node in &mut world.nodes {
            node.outbox.clear();
        }
        if is_done {
            return meeting;
        }
    }
    meetings_max + 1
}

#[test]
fn an_entry_of_300_kib_crosses_a_link_that_drops_every_four_kilobytes() {
    const ENTRY_BYTES: usize = 300 << 10;
    let mut world = World::new(2);
    world.write(0, "before", "small");
    write_large(&mut world, 0, 1, ENTRY_BYTES);
    world.write(0, "after", "small");

    let meetings = meet_in_pieces(&mut world, 0, 1, 400);

    world.assert_converged();
    assert_eq!(world.nodes[1].entries(), 3);
    let arrived = part_bytes(&world, 0);
    assert!(
        arrived < ENTRY_BYTES + (4 << 10),
        "{arrived} bytes: what has arrived does not come again"
    );
    let bytes: usize = world.bytes.iter().sum();
    assert!(
        meetings <= 2 * bytes / CUT_BYTES,
        "{meetings} meetings for {bytes} bytes"
    );
}

#[test]
fn a_large_entry_arrives_in_one_meeting_over_a_whole_link() {
    let mut world = World::new(2);
    for n in 0..4 {
        write_large(&mut world, 0, n, 60 << 10);
        world.write(0, &format!("small-{n}"), "small");
    }

    world.meet(0, 1);

    world.assert_converged();
    assert_eq!(world.nodes[1].entries(), 8);
    assert!(part_bytes(&world, 0) < 250 << 10, "no part is sent twice");
}

#[test]
fn another_peer_goes_on_with_what_the_first_has_begun() {
    const ENTRY_BYTES: usize = 100 << 10;
    let mut world = World::new(3);
    write_large(&mut world, 0, 1, ENTRY_BYTES);
    world.meet(0, 1);
    let sent = part_bytes(&world, 0);
    assert!(meet_in_pieces(&mut world, 0, 2, 9) > 9, "not yet all");

    world.meet(1, 2);

    world.assert_converged();
    let by_the_first = part_bytes(&world, 0) - sent;
    let by_the_second = part_bytes(&world, 1);
    assert!(
        by_the_second < ENTRY_BYTES - by_the_first / 2,
        "{by_the_first} and {by_the_second} bytes"
    );
}

#[test]
fn what_comes_whole_from_another_peer_ends_the_sending_of_parts() {
    let mut world = World::new(3);
    write_large(&mut world, 0, 1, 60 << 10);
    world.meet(0, 1);
    world.join(0, 2);
    world.settle_bytes(12_000);
    world.join(1, 2);

    world.settle();
    world.pass(10_000);

    world.assert_converged();
    assert!(world.nodes.iter().all(|node| node.closed.is_empty()));
    assert_eq!(world.nodes[2].entries(), 1);
}

/// A part of a run.
fn part_of(run: &crate::engine::batch::Run, from: usize, to: usize) -> Message {
    let (whole, bytes) = encode_whole(run);
    Message::Part(Part {
        whole,
        total: bytes.len(),
        offset: from,
        bytes: bytes[from..to.min(bytes.len())].to_vec(),
    })
}

#[test]
fn parts_of_a_forged_run_are_refused_like_the_run_itself() {
    let mut node = Node::new(1);
    let mut puppet = Puppet::meet(&mut node, 2, 1);
    let mut author = Author::new(2, 7);
    let mut run = author.run_of_bytes(6_000);
    run.signature[3] ^= 1;

    puppet.say(&mut node, &part_of(&run, 0, 3_000));
    puppet.say(&mut node, &part_of(&run, 3_000, 10_000));

    puppet.assert_open(&node);
    assert_eq!(node.entries(), 0);
    assert_eq!(puppet.hear_acks(&mut node), [(run.header.log, 0)]);
}

#[test]
fn parts_before_the_opening_has_ended_or_from_strangers_are_a_breach() {
    let mut node = Node::new(1);
    let run = Author::new(2, 7).run_of_bytes(6_000);
    let mut stranger = Puppet::arrive(&mut node, 2, 1);
    stranger.say(&mut node, &part_of(&run, 0, 3_000));
    stranger.assert_breach(&node, "before HELLO");

    let mut early = Puppet::arrive(&mut node, 3, 2);
    let hello = Message::Hello(early.hello());
    early.say(&mut node, &hello);
    early.say(&mut node, &part_of(&run, 0, 3_000));
    early.assert_breach(&node, "PART during the opening");
}

#[test]
fn a_part_that_nothing_goes_before_ends_the_session_and_nothing_else() {
    let mut node = Node::new(1);
    let mut author = Author::new(2, 7);
    let run = author.run_of_bytes(6_000);
    let mut puppet = Puppet::meet(&mut node, 2, 1);
    puppet.say(&mut node, &part_of(&run, 3_000, 10_000));
    assert_eq!(node.end_of(1), Some(&CloseReason::PartsLost));

    let mut again = Puppet::meet(&mut node, 2, 2);
    again.say(&mut node, &part_of(&run, 0, 3_000));
    again.say(&mut node, &part_of(&run, 3_000, 10_000));

    again.assert_open(&node);
    assert_eq!(again.hear_acks(&mut node), [(run.header.log, 1)]);
}

#[test]
fn a_peer_that_claims_to_have_what_it_has_not_gets_the_whole_or_nothing() {
    let mut node = Node::new(1);
    node.write(
        START,
        "large",
        vec![super::world::set_name(&noise(1, 9_000))],
    );
    let fetched = node.store.reader().fetch(&Walk::default(), &Held::new(), 1);
    let run = fetched.expect("a read").runs.remove(0);
    let (whole, _) = encode_whole(&run);
    for (session, bytes) in [(1, WHOLE_BYTES_MAX), (2, 8_999)] {
        let mut puppet = Puppet::arrive(&mut node, 2, session);
        let hello = Message::Hello(puppet.hello());
        puppet.say(&mut node, &hello);
        puppet.say(&mut node, &Message::Have { whole, bytes });
        puppet.say(&mut node, &Message::FrontEnd);

        let said = puppet.hear(&mut node);
        let first = said.iter().find_map(|message| match message {
            Message::Part(part) => Some(part.offset),
            _ => None,
        });
        let expected = if bytes == WHOLE_BYTES_MAX { 0 } else { bytes };
        assert_eq!(first, Some(expected));
        puppet.assert_open(&node);
    }
}
