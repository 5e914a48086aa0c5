//! Members who fork their logs on purpose: honest devices that hold what such a member told them apart go on with
//! each other.

use crdt_schema::ident::SpaceName;

use super::forks::{assert_one_story, give};
use super::puppet::{Author, Puppet, SALT, default_tag};
use super::world::{Node, ORGANISATION, SECRET, START, World, set_name};
use crate::engine::limits::FAULTS_MAX;
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
