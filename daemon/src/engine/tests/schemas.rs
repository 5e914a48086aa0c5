//! What peers tell each other of their schemas.

use super::puppet::{Author, Puppet};
use super::world::{Node, START, World, device, schema};
use crate::engine::batch::{SchemaInUse, SchemaTag, SessionId};
use crate::engine::input::Input;
use crate::wire::dictionary::Dictionary;
use crate::wire::message::{FrameEncoder, Message};

fn tag(name: &str, version: u32, digest: u8) -> SchemaTag {
    SchemaTag {
        name: name.to_owned(),
        version,
        digest: [digest; 8],
    }
}

fn switch(tag: SchemaTag) -> Input {
    let dictionary = Dictionary::default();
    Input::Schema(SchemaInUse { tag, dictionary })
}

#[test]
fn peers_learn_each_others_schema_when_they_meet_and_when_it_is_switched() {
    let mut world = World::new(2);
    world.meet(0, 1);
    let seen = |world: &World, node: usize, of: u8| {
        let peer = &world.nodes[node].fleet.peers[&device(of)];
        peer.schema.as_ref().map(|schema| schema.version)
    };
    assert_eq!((seen(&world, 0, 2), seen(&world, 1, 1)), (Some(1), Some(1)));

    let now = world.now;
    world.nodes[0].handle(now, switch(tag("clinic", 2, 7)));
    world.settle();

    assert_eq!((seen(&world, 0, 2), seen(&world, 1, 1)), (Some(1), Some(2)));
    let told = |world: &World| world.count(0, |m| matches!(m, Message::Schema(_)));
    assert_eq!(told(&world), 2);
    world.nodes[0].handle(now, switch(tag("clinic", 2, 7)));
    world.settle();
    assert_eq!(told(&world), 2, "what has not changed is not told again");
}

#[test]
fn another_schema_or_text_ends_no_session_and_data_flows() {
    let mut world = World::new(2);
    let now = world.now;
    world.nodes[1].handle(now, switch(tag("farm", 9, 1)));
    world.write(0, "p1", "Achieng");
    let (at_a, at_b) = world.meet(0, 1);
    world.write(1, "p2", "Barasa");
    world.settle();

    world.assert_converged();
    assert_eq!(world.nodes[0].end_of(at_a), None);
    assert_eq!(world.nodes[1].end_of(at_b), None);
    let shown = &world.nodes[0].fleet.peers[&device(2)].schema;
    assert_eq!(shown.as_ref(), Some(&tag("farm", 9, 1)));
}

#[test]
fn a_stranger_is_told_nothing_of_the_schema_and_cannot_tell_one() {
    let mut node = Node::new(1);
    let mut stranger = Puppet::arrive(&mut node, 2, 1);
    assert!(matches!(stranger.hear(&mut node)[..], [Message::Hello(_)]));

    stranger.say(&mut node, &Message::Schema(tag("clinic", 1, 1)));

    stranger.assert_breach(&node, "SCHEMA before HELLO");
    node.handle(START, switch(tag("clinic", 2, 1)));
    assert!(node.fleet.peers.is_empty());
}

#[test]
fn devices_with_one_schema_compress_with_what_both_know_and_others_do_not() {
    let mut world = World::new(2);
    for node in 0..2 {
        world.write(node, &format!("p{node}"), "Achieng");
    }
    world.meet(0, 1);
    world.pass(10_000);
    let used = |world: &World, (at_a, at_b): (SessionId, SessionId)| {
        let at = |node: usize, session| world.nodes[node].engine.dictionary(session).cloned();
        let both = at(0, at_a);
        assert_eq!(both, at(1, at_b));
        both
    };

    let met = world.meet(0, 1);
    let logs = 16 * world.nodes[0].held().len();
    let bytes = used(&world, met).map(|dictionary| dictionary.as_bytes().len());
    assert_eq!(
        bytes,
        Some(Dictionary::of(&schema()).as_bytes().len() + logs)
    );

    let now = world.now;
    world.nodes[1].handle(now, switch(tag("clinic", 2, 1)));
    assert!(used(&world, met).is_some(), "not in the midst of a session");
    let met = world.meet(0, 1);
    assert_eq!(used(&world, met), None);
}

#[test]
fn entries_compressed_with_a_dictionary_that_was_not_agreed_on_are_a_counted_breach() {
    let mut node = Node::new(1);
    let puppet = Puppet::meet(&mut node, 2, 1);
    let mut encoder = FrameEncoder::new();
    encoder.use_dictionary(Dictionary::of(&schema()));
    let bytes = encoder.encode(&Message::Data(vec![Author::new(2, 7).run(1)]));

    node.handle(START, Input::Frame { session: 1, bytes });

    puppet.assert_breach(&node, "dictionary that was not agreed on");
    assert_eq!(node.fleet.refusals["unknown_dictionary"], 1);
}
