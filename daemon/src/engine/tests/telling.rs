//! One side tells its frontier in ranges and the other answers: honest ones over bad links, and all kinds of lies.

use std::collections::BTreeMap;

use crdt_schema::ident::{LogId, SpaceName};
use proptest::prelude::*;

use super::puppet::{Author, Puppet, SALT, default_tag};
use super::world::{Node, ORGANISATION, SECRET, START, World, set_name};
use crate::engine::batch::Run;
use crate::engine::effect::CloseReason;
use crate::engine::input::{Input, Now};
use crate::engine::limits::{FRONT_MOVED_MAX, HANDSHAKE_MS, LOGS_MAX, MARK_DELAY_MS, RANGES_MAX};
use crate::wire::limits::RANGE_ROWS_MAX;
use crate::wire::message::{Hello, Message, RangeRow, SpaceRoot};

/// What a link carries between two drops, in bytes of frames.
const CUT_BYTES: usize = 4_000;

/// Gives a device of this number so many entries of each of these authors.
fn load(node: &mut Node, number: u8, authors: impl Iterator<Item = (u32, usize)>) {
    let mut puppet = Puppet::meet_as(node, 250, 1, number);
    let runs: Vec<Run> = authors
        .map(|(number, entries)| Author::numbered(number).run(entries))
        .collect();
    for runs in runs.chunks(500) {
        puppet.say(node, &Message::Data(runs.to_vec()));
        assert_eq!(node.end_of(1), None);
    }
    node.handle(START, Input::SessionClosed { session: 1 });
    node.outbox.clear();
    node.trace.clear();
}

/// Meets over links that are cut again and again, until one is not. Returns how many it took.
fn meet_over_a_bad_link(world: &mut World, most: usize) -> usize {
    for node in &mut world.nodes {
        node.is_traced = false;
    }
    for meeting in 1..=most {
        let (session, _) = world.join(0, 1);
        let is_done = world.settle_bytes(CUT_BYTES);
        world.cut(session);
        world.nodes.iter_mut().for_each(|node| node.outbox.clear());
        for node in &world.nodes {
            let faults = node.closed.iter().filter(|(_, why)| is_breach(why));
            assert_eq!(faults.count(), 0, "{:?}", node.closed);
        }
        if is_done {
            return meeting;
        }
    }
    panic!("{most} meetings are not enough");
}

fn is_breach(why: &CloseReason) -> bool {
    matches!(why, CloseReason::Breach(_, _))
}

fn rows_told(world: &World) -> usize {
    let rows = world.said.iter().map(|(_, message)| match message {
        Message::Front { rows, .. } => rows.len(),
        Message::Range { rows, .. } | Message::Answer { rows, .. } => rows.len(),
        _ => 0,
    });
    rows.sum()
}

#[test]
fn a_thousand_common_logs_are_told_once_over_a_link_that_drops_every_four_kilobytes() {
    let mut world = World::new(2);
    for node in 0..2 {
        let ahead = |n: u32| usize::from(n % 100 == node);
        load(
            &mut world.nodes[node as usize],
            node as u8 + 1,
            (0..1_000).map(|n| (n, 1 + ahead(n))),
        );
    }

    let meetings = meet_over_a_bad_link(&mut world, 20);

    world.assert_converged();
    assert_eq!(world.entries_sent(), 20);
    let told = rows_told(&world);
    assert!(told <= 1_000 + meetings * 2 * RANGE_ROWS_MAX, "{told} rows");
}

#[test]
fn a_thousand_logs_on_each_side_end_equal_over_a_link_that_drops_every_four_kilobytes() {
    let mut world = World::new(2);
    load(&mut world.nodes[0], 1, (0..1_000).map(|n| (n, 1)));
    load(&mut world.nodes[1], 2, (1_000..2_000).map(|n| (n, 1)));

    meet_over_a_bad_link(&mut world, 100);

    world.assert_converged();
    let sent = world.entries_sent();
    assert!(sent <= 2_000 + 2_000 / 50, "{sent} entries");
}

#[test]
fn a_hundred_logs_of_which_ten_differ_are_compared_in_two_and_a_half_kilobytes() {
    let mut world = World::new(2);
    let far = |n: u32| if n.is_multiple_of(10) { 101 } else { 1 };
    load(&mut world.nodes[0], 1, (0..100).map(|n| (n, far(n))));
    load(&mut world.nodes[1], 2, (0..100).map(|n| (n, 1)));
    let mut bytes = 0;

    world.join(0, 1);
    while let Some(node) = (0..2).find(|n| !world.nodes[*n].outbox.is_empty()) {
        let frame = world.nodes[node].outbox.front();
        let is_search = |frame: &[u8]| matches!(frame.first(), Some(1..=4 | 20..=22));
        bytes += frame.map_or(0, |(_, frame)| frame.len() * usize::from(is_search(frame)));
        world.deliver(node);
    }

    world.assert_converged();
    assert_eq!(world.entries_sent(), 1_000);
    assert!(bytes <= 2_500, "{bytes} bytes");
}

#[test]
fn rows_that_moved_since_a_checkpoint_are_told_in_ranges_if_they_are_many() {
    let mut world = World::new(2);
    load(&mut world.nodes[0], 1, (0..600).map(|n| (n, 1)));
    let (session, _) = world.meet(0, 1);
    world.pass(2 * MARK_DELAY_MS);
    world.cut(session);
    let many = FRONT_MOVED_MAX as u32 + 1;
    load(
        &mut world.nodes[1],
        2,
        (1_000..1_000 + many).map(|n| (n, 1)),
    );
    world.said.clear();

    let (session, _) = world.meet(0, 1);

    world.assert_converged();
    assert_eq!(
        rows_told(&world),
        many as usize,
        "the checkpoint is built on"
    );
    assert_eq!(world.count(0, |m| matches!(m, Message::Front { .. })), 0);
    world.pass(2 * MARK_DELAY_MS);
    world.cut(session);
    world.said.clear();
    world.write(0, "p1", "Achieng");
    world.meet(0, 1);
    assert_eq!(rows_told(&world), 1, "a newer one is agreed");
}

#[test]
fn a_peer_that_has_forgotten_is_told_everything_again() {
    let mut world = World::new(2);
    load(&mut world.nodes[0], 1, (0..300).map(|n| (n, 1)));
    load(&mut world.nodes[1], 2, (100..400).map(|n| (n, 1)));
    let (session, _) = world.join(0, 1);
    world.settle_some(9);
    world.cut(session);
    world.nodes.iter_mut().for_each(|node| node.outbox.clear());
    let node = world.nodes.remove(1);
    world.nodes.push(Node::on(node.store, 2, 1));

    world.meet(0, 1);

    world.assert_converged();
    assert!(world.nodes.iter().all(|node| node.closed.is_empty()));
}

#[test]
fn what_moved_while_the_link_was_gone_is_told_and_sent() {
    let mut world = World::new(2);
    load(&mut world.nodes[0], 1, (0..200).map(|n| (n, 1)));
    load(&mut world.nodes[1], 2, (100..300).map(|n| (n, 1)));
    let (session, _) = world.join(0, 1);
    world.settle_some(10);
    world.cut(session);
    world.nodes.iter_mut().for_each(|node| node.outbox.clear());
    load(&mut world.nodes[0], 1, (0..20).map(|n| (n, 3)));
    load(&mut world.nodes[1], 2, (10..30).map(|n| (n, 5)));

    world.meet(0, 1);

    world.assert_converged();
}

/// A device with three logs, and a peer that tells it something.
fn listening() -> (Node, Puppet, Vec<Author>) {
    let mut node = Node::new(1);
    load(&mut node, 1, (1..=3).map(|n| (n, 2)));
    let mut puppet = Puppet::arrive(&mut node, 2, 7);
    puppet.say(&mut node, &Message::Hello(puppet.hello()));
    let mut authors: Vec<Author> = (1..=3).map(Author::numbered).collect();
    authors.iter_mut().for_each(|author| drop(author.run(2)));
    authors.sort_by_key(Author::log);
    (node, puppet, authors)
}

fn tell() -> Message {
    let (salt, base) = (SALT, None);
    Message::Tell { salt, base }
}

fn range(ends: bool, rows: Vec<RangeRow>) -> Message {
    let space = default_tag();
    Message::Range { space, ends, rows }
}

#[test]
fn ranges_that_are_not_in_order_end_the_session() {
    let (_, _, authors) = listening();
    let row = |n: usize| authors[n].range_row();
    let cases = [
        (vec![range(true, Vec::new())], "before TELL"),
        (vec![tell(), tell()], "second time"),
        (vec![tell(), range(false, Vec::new())], "get on"),
        (
            vec![
                tell(),
                range(false, vec![row(1)]),
                range(false, vec![row(0)]),
            ],
            "goes back",
        ),
        (
            vec![
                tell(),
                range(false, vec![row(1)]),
                range(true, vec![row(1), row(2)]),
            ],
            "goes back",
        ),
        (
            vec![tell(), range(true, vec![row(1)]), range(true, vec![row(2)])],
            "has passed",
        ),
    ];
    for (messages, what) in cases {
        let (mut node, mut puppet, _) = listening();
        for message in messages {
            puppet.assert_open(&node);
            puppet.say(&mut node, &message);
        }
        puppet.assert_breach(&node, what);
    }
}

#[test]
fn a_telling_may_not_leave_a_space_before_its_end() {
    let (mut node, mut puppet, authors) = listening();
    let elsewhere = [0xff; 8];
    puppet.say(&mut node, &tell());
    puppet.say(&mut node, &range(false, vec![authors[0].range_row()]));
    let rows = vec![authors[1].range_row()];
    let (space, ends) = (elsewhere, true);
    puppet.say(&mut node, &Message::Range { space, ends, rows });
    puppet.assert_breach(&node, "has not come");
}

#[test]
fn ranges_without_end_end_the_session() {
    let (mut node, mut puppet, _) = listening();
    puppet.say(&mut node, &tell());
    let mut told = 0_u128;
    while node.end_of(7).is_none() {
        let row = |n: u128| RangeRow {
            log: LogId((told + n + 1).to_be_bytes()),
            seq: 1,
            tag: [0; 4],
        };
        let rows = (0..RANGE_ROWS_MAX as u128).map(row).collect();
        puppet.say(&mut node, &range(false, rows));
        node.outbox.clear();
        told += RANGE_ROWS_MAX as u128;
        assert!(told <= (LOGS_MAX + RANGE_ROWS_MAX) as u128);
    }
    puppet.assert_breach(&node, "more logs than may be");

    let (mut node, mut puppet, _) = listening();
    puppet.say(&mut node, &tell());
    node.is_traced = false;
    for n in 0..=RANGES_MAX as u64 {
        puppet.assert_open(&node);
        let (space, ends, rows) = (n.to_be_bytes(), true, Vec::new());
        puppet.say(&mut node, &Message::Range { space, ends, rows });
        node.outbox.clear();
    }
    puppet.assert_breach(&node, "more ranges than may be");
}

#[test]
fn a_telling_that_builds_on_what_nobody_remembers_begins_anew_next_time() {
    let (mut node, mut puppet, _) = listening();
    let (salt, base) = (SALT, Some([9; 8]));
    puppet.say(&mut node, &Message::Tell { salt, base });
    assert_eq!(
        node.end_of(puppet.session),
        Some(&CloseReason::GroundLost),
        "an honest peer may come to this, so it is no breach"
    );

    let mut puppet = Puppet::arrive(&mut node, 2, 8);
    let heard = puppet.hear(&mut node);
    assert!(matches!(&heard[..], [Message::Hello(hello)] if hello.accord.is_none()));
    puppet.say(&mut node, &Message::Hello(puppet.hello()));
    puppet.tell(&mut node, Vec::new());
    puppet.say(&mut node, &Message::FrontEnd);
    puppet.assert_open(&node);
    assert!(
        puppet
            .hear(&mut node)
            .iter()
            .any(|m| matches!(m, Message::Data(_)))
    );
}

#[test]
fn a_teller_that_goes_silent_is_given_up() {
    let (mut node, mut puppet, authors) = listening();
    puppet.say(&mut node, &tell());
    puppet.say(&mut node, &range(false, vec![authors[0].range_row()]));

    let late = Now {
        mono_ms: START.mono_ms + HANDSHAKE_MS,
        ..START
    };
    node.handle(late, Input::Timeout);

    assert_eq!(node.end_of(7), Some(&CloseReason::Timeout));
}

#[test]
fn a_fork_is_seen_again_by_a_telling_that_builds_on_the_last() {
    let (mut node, mut puppet, _) = listening();
    let mut branch = Author::numbered(2);
    branch.clock_ms += 77;
    branch.run(2);
    puppet.tell(&mut node, vec![branch.range_row()]);
    node.handle(START, Input::SessionClosed { session: 7 });
    let accord = SECRET.accord_id(&ORGANISATION, &SALT, 1);

    let mut puppet = Puppet::arrive(&mut node, 2, 8);
    let heard = puppet.hear(&mut node);
    assert!(matches!(&heard[..], [Message::Hello(hello)] if hello.accord == Some(accord)));
    puppet.say(&mut node, &Message::Hello(puppet.hello()));
    let (salt, base) = ([6; 8], Some(accord));
    puppet.say(&mut node, &Message::Tell { salt, base });
    puppet.say(&mut node, &range(true, Vec::new()));

    let heard = puppet.hear(&mut node);
    let is_told = |m: &Message| matches!(m, Message::Answer { rows, .. } if rows.len() == 1 && rows[0].log == branch.log());
    assert!(heard.iter().any(is_told), "{heard:?}");
}

#[test]
fn a_fork_is_seen_and_the_teller_hears_of_it() {
    let (mut node, mut puppet, _) = listening();
    let mut branch = Author::numbered(2);
    branch.clock_ms += 77;
    branch.run(2);
    puppet.hear(&mut node);
    puppet.tell(&mut node, vec![branch.range_row()]);
    puppet.say(&mut node, &Message::FrontEnd);

    puppet.assert_open(&node);
    let heard = puppet.hear(&mut node);
    let is_told =
        |m: &Message| matches!(m, Message::Answer { differs, .. } if *differs == [(0, 2)]);
    assert!(heard.iter().any(is_told), "{heard:?}");
    let fleet = &node.fleet.peers[&puppet.device];
    assert!(fleet.refused_logs[&branch.log()].contains("fork"));
}

/// A device that tells a peer three logs, and the peer. It says that it holds a hundred entries of the space.
fn telling() -> (Node, Puppet, Vec<Author>) {
    let mut node = Node::new(1);
    load(&mut node, 1, (1..=3).map(|n| (n, 2)));
    let mut puppet = Puppet::arrive(&mut node, 2, 7);
    let space = SpaceRoot {
        tag: default_tag(),
        root: [2; 16],
        count: 100,
    };
    let hello = Hello {
        spaces: vec![space],
        ..puppet.hello()
    };
    puppet.say(&mut node, &Message::Hello(hello));
    let mut authors: Vec<Author> = (1..=3).map(Author::numbered).collect();
    authors.iter_mut().for_each(|author| drop(author.run(2)));
    authors.sort_by_key(Author::log);
    (node, puppet, authors)
}

fn answer(more: bool, differs: &[(u64, u64)], rows: Vec<RangeRow>) -> Message {
    let differs = differs.to_vec();
    Message::Answer {
        more,
        differs,
        rows,
    }
}

#[test]
fn answers_to_what_was_not_told_end_the_session() {
    let (_, _, authors) = telling();
    let mut more: Vec<RangeRow> = (8..10)
        .map(|n| {
            let mut author = Author::numbered(n);
            author.run(1);
            author.range_row()
        })
        .collect();
    more.sort_by_key(|row| row.log);
    let cases = [
        (vec![answer(false, &[(3, 1)], Vec::new())], "not told"),
        (vec![answer(true, &[], Vec::new())], "say nothing"),
        (
            vec![
                answer(true, &[], vec![more[0].clone()]),
                answer(false, &[(0, 1)], vec![more[1].clone()]),
            ],
            "say nothing",
        ),
        (
            vec![
                answer(true, &[], vec![more[1].clone()]),
                answer(false, &[], vec![more[0].clone()]),
            ],
            "outside its range",
        ),
        (
            vec![answer(false, &[], vec![authors[0].range_row()])],
            "twice",
        ),
        (
            vec![
                answer(false, &[], Vec::new()),
                answer(false, &[], Vec::new()),
            ],
            "not told",
        ),
        (vec![Message::FrontEnd], "before every range"),
        (vec![tell()], "out of turn"),
        (vec![range(true, Vec::new())], "out of turn"),
    ];
    for (messages, what) in cases {
        let (mut node, mut puppet, _) = telling();
        for message in messages {
            puppet.assert_open(&node);
            puppet.say(&mut node, &message);
        }
        puppet.assert_breach(&node, what);
    }
    let (mut node, mut puppet, _) = listening();
    puppet.say(&mut node, &answer(false, &[], Vec::new()));
    puppet.assert_breach(&node, "not told");
}

#[test]
fn an_answer_says_what_the_peer_lacks_and_it_is_sent() {
    let (mut node, mut puppet, authors) = telling();
    puppet.hear(&mut node);
    puppet.say(&mut node, &answer(false, &[(0, 0), (2, 1)], Vec::new()));
    puppet.say(&mut node, &Message::FrontEnd);

    puppet.assert_open(&node);
    let runs = puppet
        .hear(&mut node)
        .into_iter()
        .flat_map(|message| match message {
            Message::Data(runs) => runs,
            _ => Vec::new(),
        });
    let sent: BTreeMap<LogId, u64> = runs.map(|run| (run.header.log, run.from)).collect();
    assert!(sent.contains_key(&authors[0].log()) && sent.contains_key(&authors[2].log()));
    assert!(!sent.contains_key(&authors[1].log()), "it holds the same");
}

#[test]
fn a_peer_that_shows_more_of_our_own_log_makes_us_begin_a_new_one() {
    for tells in [true, false] {
        let mut node = Node::new(1);
        node.write(START, "p1", vec![set_name("Achieng")]);
        let own = *node.held().keys().next().expect("a log");
        let row = RangeRow {
            log: own,
            seq: 9,
            tag: [0; 4],
        };
        let mut puppet = Puppet::arrive(&mut node, 2, 7);
        let count = if tells { 0 } else { 100 };
        let space = SpaceRoot {
            tag: default_tag(),
            root: [2; 16],
            count,
        };
        let hello = Hello {
            spaces: vec![space],
            ..puppet.hello()
        };
        puppet.say(&mut node, &Message::Hello(hello));
        match tells {
            true => puppet.tell(&mut node, vec![row]),
            false => puppet.say(&mut node, &answer(false, &[(0, 9)], Vec::new())),
        }
        puppet.say(&mut node, &Message::FrontEnd);
        puppet.assert_open(&node);

        node.write(START, "p2", vec![set_name("Barasa")]);
        assert_eq!(node.held()[&own], 1, "the second entry is in another log");
    }
}

#[test]
fn a_log_whose_id_begins_like_another_is_not_taken_for_it() {
    let mut world = World::new(2);
    for node in 0..2_u8 {
        let mut author = Author::new(40 + node, 5);
        let mut puppet = Puppet::meet_as(&mut world.nodes[usize::from(node)], 200, 1, node + 1);
        puppet.say(
            &mut world.nodes[usize::from(node)],
            &Message::Data(vec![author.run(3)]),
        );
        let session = 1;
        world.nodes[usize::from(node)].handle(START, Input::SessionClosed { session });
        world.nodes[usize::from(node)].outbox.clear();
    }

    world.meet(0, 1);

    world.assert_converged();
    assert_eq!(world.nodes[0].held().len(), 2);
}

#[test]
fn tags_of_one_telling_say_nothing_in_the_next() {
    let chain = [7; 32];
    let tag = |salt: u8| SECRET.row_tag(&ORGANISATION, &[salt; 8], &chain);
    assert_ne!(tag(1), tag(2));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_two_frontiers_and_wherever_the_link_is_cut_both_end_equal(
        logs in prop::collection::btree_map(0..400u32, (0..3usize, 0..3usize), 0..150),
        cuts in prop::collection::vec((0..14usize, any::<bool>(), 0..3u8), 0..8),
        spaces in 1..4usize,
    ) {
        let mut world = World::new(2);
        load(&mut world.nodes[0], 1, logs.iter().map(|(n, held)| (*n, held.0)).filter(|it| it.1 > 0));
        load(&mut world.nodes[1], 2, logs.iter().map(|(n, held)| (*n, held.1)).filter(|it| it.1 > 0));
        for n in 0..spaces {
            let space = SpaceName::new(&format!("clinic/{n}")).expect("a space");
            world.nodes[n % 2].write_in(START, &space, "p", vec![set_name("Achieng")]);
        }
        for (turn, (frames, writes, restarts)) in cuts.into_iter().enumerate() {
            let (session, _) = world.join(0, 1);
            world.settle_some(frames);
            world.cut(session);
            world.nodes.iter_mut().for_each(|node| node.outbox.clear());
            if writes {
                world.write(turn % 2, &format!("p{turn}"), "Barasa");
            }
            if restarts == 2 {
                let number = turn % 2;
                let node = world.nodes.remove(number);
                let again = Node::on(node.store, number as u8 + 1, turn as u8 + 1);
                world.nodes.insert(number, again);
            }
        }
        world.meet(0, 1);
        world.assert_converged();
        for node in &world.nodes {
            prop_assert!(node.closed.iter().all(|(_, why)| !is_breach(why)), "{:?}", node.closed);
        }
    }
}
