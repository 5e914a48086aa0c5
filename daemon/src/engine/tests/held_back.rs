//! What depends on a damaged entry waits with it, is refused by nobody, and arrives once the entry is mended.

use std::path::Path;

use super::puppet::{Author, Puppet};
use super::repair::{damage_entry, open};
use super::world::{Node, World};
use crate::engine::batch::Held;
use crate::engine::effect::CloseReason;
use crate::wire::message::Message;

/// Device 1 holds two entries of device 2, of which the second is damaged, and has written one that depends on
/// it. Device 4 holds the log of device 2 alone; device 3 has not met anybody.
fn world_with_an_effect_of_damage(dir: &Path) -> World {
    let path = dir.join("store");
    let mut world = World::new(4);
    world.nodes[0] = open(&path, 1, 0);
    world.write(1, "p0", "Achieng");
    world.write(1, "p1", "Achieng");
    for other in [3, 0] {
        let (session, _) = world.meet(1, other);
        world.cut(session);
    }
    world.write(0, "p1", "Baraka");
    world.nodes[0] = Node::new(1);
    damage_entry(&path, 2);
    world.nodes[0] = open(&path, 1, 1);
    world
}

fn assert_nothing_refused(world: &World) {
    for node in &world.nodes {
        for peer in node.fleet.peers.values() {
            assert!(peer.refused_logs.is_empty(), "{:?}", peer.refused_logs);
        }
    }
}

#[test]
fn what_depends_on_a_damaged_entry_is_held_back_with_it_and_what_does_not_is_sent() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut world = world_with_an_effect_of_damage(dir.path());

    let mut free = Author::new(5, 5);
    let mut giver = Puppet::meet(&mut world.nodes[0], 5, 50);
    giver.say(&mut world.nodes[0], &Message::Data(vec![free.run(2)]));
    world.nodes[0].outbox.clear();

    world.meet(0, 2);

    assert_nothing_refused(&world);
    assert_eq!(world.nodes[2].held(), Held::from([(free.log(), 2)]));
}

#[test]
fn what_is_written_in_the_session_on_top_of_what_is_held_back_is_held_back_too() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut world = world_with_an_effect_of_damage(dir.path());
    world.meet(0, 2);

    world.write(0, "p1", "Chidi");
    world.settle();

    assert_nothing_refused(&world);
    assert_eq!(world.nodes[2].entries(), 0);
}

#[test]
fn a_peer_that_gets_the_damaged_entry_from_another_is_asked_again_and_gets_what_was_held_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut world = world_with_an_effect_of_damage(dir.path());
    let (session, _) = world.meet(0, 2);
    world.write(0, "p1", "Chidi");
    world.settle();

    world.meet(2, 3);
    assert_eq!(world.nodes[0].end_of(session), Some(&CloseReason::Repaired));
    world.meet(0, 2);

    assert!(world.nodes[0].fleet.repairs.damaged.is_empty());
    assert_eq!(world.nodes[2].entries(), 4);
    assert_nothing_refused(&world);
}
