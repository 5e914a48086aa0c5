//! Members who fork their logs on purpose: honest devices that hold what such a member told them apart go on with
//! each other.

use super::forks::{assert_one_story, give};
use super::puppet::Author;
use super::world::World;
use crate::engine::limits::FAULTS_MAX;

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
