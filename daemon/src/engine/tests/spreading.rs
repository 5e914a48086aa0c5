//! How entries and news of them spread.

use crdt_schema::hlc::Timestamp;

use super::puppet::{Author, Puppet};
use super::world::{Node, START, World, device, set_name};
use crate::engine::batch::{Batch, Held, Walk};
use crate::engine::input::{Input, Now};
use crate::engine::limits::{
    FRAME_BYTES_FIRST, STAGED_BYTES_MAX, WANT_DELAY_MAX_MS, WANT_DELAY_MS, WINDOW_BYTES,
    WINDOW_FRAMES,
};
use crate::wire::message::Message;

#[test]
fn nothing_leaves_before_it_is_durable() {
    let mut world = World::new(2);
    world.write(0, "p0", "Achieng");
    world.meet(0, 1);
    world.said.clear();
    world.nodes[0].holds_commits = true;
    world.nodes[1].holds_commits = true;
    let (published, now) = (world.nodes[0].published, world.now);

    let request = world.nodes[0].write(now, "p1", vec![set_name("Barasa")]);
    world.settle();
    assert!(world.said.is_empty());
    assert!(!world.nodes[0].replies.contains_key(&request));
    assert_eq!(world.nodes[0].published, published);

    world.nodes[0].commit(now);
    world.settle();
    assert!(world.nodes[0].replies[&request].is_ok());
    assert_eq!(world.nodes[0].published, published + 1);
    assert!(matches!(&world.said[..], [(0, Message::Data(_))]));

    world.nodes[1].commit(now);
    world.settle();
    assert!(matches!(&world.said[1..], [(1, Message::Ack(_))]));
    world.assert_converged();
}

#[test]
fn effects_of_a_commit_are_reply_then_publication_then_frames() {
    let mut node = Node::new(1);
    let _peer = Puppet::meet(&mut node, 2, 1);
    node.trace.clear();

    node.write(START, "p1", vec![set_name("Achieng")]);

    let kinds: Vec<&str> = node
        .trace
        .iter()
        .filter_map(|line| line.split([' ', '(']).next())
        .collect();
    assert_eq!(kinds, ["Commit", "Reply", "Publish", "Fetch", "Send"]);
}

#[test]
fn a_first_meeting_brings_both_to_the_same_state() {
    let mut world = World::new(2);
    for n in 0..200 {
        world.write(n % 2, &format!("p{n}"), "a name that is somewhat long");
    }

    world.meet(0, 1);

    world.assert_converged();
    assert_eq!(world.nodes[0].entries(), 200);
    assert_eq!(world.entries_sent(), 200);
    for (node, peer) in [(0, 2), (1, 1)] {
        let status = &world.nodes[node].fleet.peers[&device(peer)];
        assert_eq!((status.behind, status.ahead), (0, 0));
        assert_eq!(status.name, format!("tablet {peer}"));
        assert_eq!(status.held, world.nodes[node].held());
        assert!(status.connected);
    }
    assert!(world.nodes[1].fleet.peers[&device(1)].hub);
}

#[test]
fn three_joined_devices_converge_and_send_nothing_twice() {
    let mut world = World::new(3);
    for (a, b) in [(0, 1), (1, 2), (2, 0)] {
        world.meet(a, b);
    }
    for round in 0..5 {
        for node in 0..3 {
            world.write(node, &format!("p{round}"), &format!("by {node}"));
            world.settle();
        }
    }
    world.pass(10_000);

    world.assert_converged();
    assert_eq!(world.nodes[0].entries(), 15);
    assert_eq!(
        world.entries_sent(),
        30,
        "each entry goes once to each of the two others"
    );
    assert_eq!(
        world
            .said
            .iter()
            .filter(|(_, m)| matches!(m, Message::Want))
            .count(),
        0
    );
    for node in &world.nodes {
        assert!(
            node.fleet
                .peers
                .values()
                .all(|peer| (peer.behind, peer.ahead) == (0, 0))
        );
    }
}

#[test]
fn what_was_only_announced_is_asked_for_and_comes() {
    let mut world = World::new(3);
    world.meet(0, 1);
    world.meet(1, 2);

    world.write(0, "p1", "Achieng");
    world.settle();
    assert_eq!(world.nodes[1].entries(), 1);
    assert_eq!(world.nodes[2].entries(), 0);
    assert_eq!(world.nodes[2].fleet.peers[&device(2)].behind, 1);
    world.pass(WANT_DELAY_MS - 1);
    assert_eq!(world.nodes[2].entries(), 0);
    world.pass(1_000);

    world.assert_converged();
    assert_eq!(world.count(2, |m| matches!(m, Message::Want)), 1);
    assert_eq!(world.entries_sent(), 2);
}

#[test]
fn an_own_write_takes_its_causes_along() {
    let mut world = World::new(3);
    world.meet(0, 1);
    world.meet(1, 2);
    world.write(0, "p1", "Achieng");
    world.settle();

    // Device 2 edits what device 3 has only heard of.
    world.write(1, "p1", "Achieng Otieno");
    world.settle();

    world.assert_converged();
    assert!(
        world.nodes[2].fleet.peers[&device(2)]
            .refused_logs
            .is_empty()
    );
}

#[test]
fn entries_that_come_twice_are_written_once() {
    let mut node = Node::new(1);
    let mut author = Author::new(5, 5);
    let runs = [author.run(3), author.run(2)];
    let joined = {
        let mut again = Author::new(5, 5);
        again.run(5)
    };
    let mut one = Puppet::meet(&mut node, 2, 1);
    let mut two = Puppet::meet(&mut node, 3, 2);
    two.hear(&mut node);

    node.holds_commits = true;
    one.say(&mut node, &Message::Data(vec![runs[0].clone()]));
    two.say(&mut node, &Message::Data(vec![runs[0].clone()]));
    two.say(&mut node, &Message::Data(vec![joined.clone()]));
    let batches: Vec<u64> = node.pending.iter().map(runs_from).collect();
    assert_eq!(
        batches,
        [1, 4],
        "the second device's copy begins where the first one's ends"
    );
    assert!(two.hear(&mut node).is_empty());

    node.commit(START);
    node.holds_commits = false;
    assert_eq!(two.hear_acks(&mut node), [(author.log(), 5)]);
    one.hear(&mut node);
    one.say(&mut node, &Message::Data(vec![joined]));
    assert!(one.hear(&mut node).is_empty(), "it was told already");
    assert_eq!(node.entries(), 5);
    one.assert_open(&node);
    two.assert_open(&node);
}

fn runs_from(batch: &Batch) -> u64 {
    match batch {
        Batch::Remote { runs, .. } => runs[0].run.from,
        Batch::Local(_) | Batch::Peer(_) | Batch::Repair(..) => 0,
    }
}

#[test]
fn a_peer_that_does_not_acknowledge_gets_a_window_and_no_more() {
    let mut node = Node::new(1);
    for n in 0..600 {
        node.write(
            START,
            &format!("p{n}"),
            vec![set_name(&"x".repeat(3 << 10))],
        );
    }
    let mut puppet = Puppet::meet(&mut node, 2, 1);

    let sent = data_bytes(&puppet.hear(&mut node));
    let first_window = FRAME_BYTES_FIRST * WINDOW_FRAMES;
    assert!(
        sent.1 >= first_window && sent.1 < first_window + (64 << 10),
        "{sent:?}"
    );
    puppet.say(&mut node, &Message::Want);
    assert!(puppet.hear(&mut node).is_empty());

    let log = *node.held().keys().next().expect("one log");
    let mut last = sent.0;
    while last < 600 {
        puppet.say(&mut node, &Message::Ack(vec![(log, last)]));
        let more = data_bytes(&puppet.hear(&mut node));
        assert!(more.0 > last, "acknowledging opens the window");
        assert!(more.1 <= WINDOW_BYTES + (256 << 10), "{more:?}");
        last = more.0;
    }
    puppet.say(&mut node, &Message::Ack(vec![(log, last)]));
    assert_eq!(node.fleet.peers[&device(2)].ahead, 0);
}

/// The last entry and the entry bytes of the DATA among messages.
fn data_bytes(messages: &[Message]) -> (u64, usize) {
    let mut found = (0, 0);
    for message in messages {
        if let Message::Data(runs) = message {
            for run in runs {
                found.0 = run.last();
                found.1 += run.entries.iter().map(Vec::len).sum::<usize>();
            }
        }
    }
    found
}

#[test]
fn an_entry_that_comes_back_is_acknowledged_unless_the_peer_was_told() {
    let mut node = Node::new(1);
    let text = "x".repeat(60 << 10);
    for n in 0..30 {
        node.write(START, &format!("p{n}"), vec![set_name(&text)]);
    }
    let mut puppet = Puppet::meet(&mut node, 2, 1);
    // The window is full, so these are neither sent nor announced.
    for n in 30..33 {
        node.write(START, &format!("p{n}"), vec![set_name(&text)]);
    }
    let runs = node
        .store
        .reader()
        .fetch(&Walk::default(), &Held::new(), usize::MAX)
        .expect("a read")
        .runs;
    let own = runs[0].header.log;
    let (told, untold): (Vec<_>, Vec<_>) = runs.into_iter().partition(|run| run.last() <= 30);
    puppet.hear(&mut node);

    puppet.say(&mut node, &Message::Data(untold));
    assert_eq!(
        puppet.hear_acks(&mut node),
        [(own, 33)],
        "it has them from somebody else"
    );
    puppet.say(&mut node, &Message::Data(told));
    assert!(puppet.hear_acks(&mut node).is_empty());

    let mut author = Author::new(5, 5);
    let run = author.run(1);
    let mut giver = Puppet::meet(&mut node, 5, 2);
    giver.say(&mut node, &Message::Data(vec![run.clone()]));
    let mut taker = Puppet::arrive(&mut node, 6, 3);
    taker.say(&mut node, &Message::Hello(taker.hello()));
    taker.tell(&mut node, Vec::new());
    taker.say(&mut node, &Message::FrontEnd);
    taker.hear(&mut node);
    taker.say(&mut node, &Message::Data(vec![run]));
    assert!(taker.hear_acks(&mut node).is_empty(), "the opening told it");
}

#[test]
fn what_was_sent_counts_as_told() {
    let mut node = Node::new(1);
    let mut puppet = Puppet::meet(&mut node, 2, 1);
    node.write(START, "p1", vec![set_name("Achieng")]);
    let heard = puppet.hear(&mut node);
    let Some(Message::Data(runs)) = heard.last() else {
        panic!("{heard:?}")
    };

    puppet.say(&mut node, &Message::Data(runs.clone()));

    assert!(puppet.hear(&mut node).is_empty());
}

#[test]
fn asking_waits_while_entries_arrive_but_not_for_ever() {
    let mut node = Node::new(1);
    let (mut busy_log, quiet_log) = (Author::new(5, 5), Author::new(6, 6));
    let mut busy = Puppet::meet(&mut node, 2, 1);
    let mut quiet = Puppet::meet(&mut node, 3, 2);
    quiet.hear(&mut node);
    quiet.say(&mut node, &Message::Ack(vec![(quiet_log.log(), 1)]));

    let mut asked_after = None;
    for ms in (200..10_000).step_by(200) {
        let now = Now {
            mono_ms: START.mono_ms + ms,
            ..START
        };
        if node
            .engine
            .poll_timeout()
            .is_some_and(|due| due <= now.mono_ms)
        {
            node.handle(now, Input::Timeout);
        }
        if quiet.hear(&mut node).contains(&Message::Want) {
            asked_after = Some(ms);
            break;
        }
        busy.say_at(&mut node, now, &Message::Data(vec![busy_log.run(1)]));
    }

    let asked_after = asked_after.expect("it asks in the end");
    assert!(
        (2_800..=WANT_DELAY_MAX_MS).contains(&asked_after),
        "after {asked_after} ms"
    );
}

#[test]
fn a_peer_may_not_fill_the_memory_while_the_store_is_slow() {
    let mut node = Node::new(1);
    node.holds_commits = true;
    let mut author = Author::new(2, 2);
    let mut puppet = Puppet::meet(&mut node, 2, 1);

    let mut sent = 0;
    while node.end_of(1).is_none() {
        puppet.say(
            &mut node,
            &Message::Data(vec![author.run_of_bytes(60 << 10)]),
        );
        sent += 60 << 10;
        assert!(
            sent <= STAGED_BYTES_MAX + (128 << 10),
            "{sent} bytes are staged"
        );
    }
    puppet.assert_breach(&node, "beyond the window");
    assert!(sent > STAGED_BYTES_MAX - (128 << 10));

    node.holds_commits = false;
    node.commit(START);
    assert!(node.entries() > 60, "what was staged in time is written");
}

#[test]
fn a_peer_that_lost_its_store_gets_everything_again() {
    let mut world = World::new(2);
    for n in 0..10 {
        world.write(0, &format!("p{n}"), "Achieng");
    }
    let (session, _) = world.meet(0, 1);
    world.cut(session);
    assert_eq!(world.nodes[0].fleet.peers[&device(2)].held.len(), 1);

    world.nodes[1] = Node::new(2);
    world.join(0, 1);
    world.nodes[1].holds_commits = true;
    world.settle();
    assert!(
        world.nodes[0].fleet.peers[&device(2)].held.is_empty(),
        "it is believed"
    );
    let now = world.now;
    world.nodes[1].holds_commits = false;
    world.nodes[1].commit(now);
    world.settle();

    world.assert_converged();
    assert_eq!(world.nodes[0].fleet.peers[&device(2)].held.len(), 1);
}

#[test]
fn what_is_known_of_a_peer_survives_a_restart() {
    let mut world = World::new(2);
    world.write(0, "p1", "Achieng");
    let (session, _) = world.meet(0, 1);
    world.cut(session);

    let node = world.nodes.remove(0);
    let mut again = Node::on(node.store, 1, 1);
    again.handle(START, Input::Timeout);

    let peer = &again.fleet.peers[&device(2)];
    assert_eq!(peer.name, "tablet 2");
    assert_eq!(peer.held, again.held());
    assert!(!peer.connected);
    let heads = [crdt_schema::ident::Dot::new(
        *again.held().keys().next().expect("a log"),
        1,
    )];
    let spread = again.fleet.spread(&heads);
    assert_eq!((spread.shared, spread.synced), (1, false));
}

#[test]
fn what_a_peer_holds_is_written_now_and_then_and_not_at_each_acknowledgement() {
    let mut world = World::new(2);
    world.meet(0, 1);
    let saved = |world: &World| {
        let lines = world.nodes[0].trace.iter();
        lines.filter(|line| line.starts_with("Commit(Peer")).count()
    };
    for n in 0..20 {
        world.write(0, &format!("p{n}"), "Achieng");
        world.settle();
    }
    assert_eq!(saved(&world), 0);

    world.pass(31_000);
    assert_eq!(saved(&world), 1);
    world.pass(120_000);
    assert_eq!(saved(&world), 1, "nothing has changed since");
}

#[test]
fn a_clock_far_ahead_makes_its_device_suspect_and_is_not_followed() {
    let mut node = Node::new(1);
    let mut author = Author::new(2, 2);
    author.clock_ms += 48 * 3_600_000;
    let mut puppet = Puppet::meet(&mut node, 2, 1);

    puppet.say(&mut node, &Message::Data(vec![author.run(1)]));
    let request = node.write(START, "p1", vec![set_name("Achieng")]);

    assert_eq!(node.entries(), 2);
    assert!(node.fleet.peers[&device(2)].clock_suspect);
    let hlc = node.replies[&request].as_ref().expect("a success").hlc;
    assert!(hlc.ms() < START.unix_ms + 1_000);
}

#[test]
fn a_write_is_later_than_what_was_taken_in_before_it_of_other_records_too() {
    let mut node = Node::new(1);
    let mut author = Author::new(2, 2);
    author.clock_ms += 30 * 60_000;
    let mut puppet = Puppet::meet(&mut node, 2, 1);

    puppet.say(&mut node, &Message::Data(vec![author.run(1)]));
    let request = node.write(START, "of-nobody-else", vec![set_name("Achieng")]);

    assert!(!node.fleet.peers[&device(2)].clock_suspect);
    let hlc = node.replies[&request].as_ref().expect("a success").hlc;
    assert!(hlc > Timestamp::from_ms(author.clock_ms));
}

#[test]
fn the_same_seed_and_the_same_inputs_give_the_same_effects() {
    let run = || {
        let mut world = World::new(3);
        for (a, b) in [(0, 1), (1, 2)] {
            world.meet(a, b);
        }
        for n in 0..10 {
            world.write(n % 3, &format!("p{}", n % 4), &format!("name {n}"));
        }
        world.pass(5_000);
        let (session, _) = world.meet(0, 2);
        world.cut(session);
        world.pass(60_000);
        world.assert_converged();
        world
            .nodes
            .into_iter()
            .map(|node| node.trace)
            .collect::<Vec<_>>()
    };

    let (first, second) = (run(), run());

    assert!(first.iter().all(|trace| trace.len() > 20));
    assert_eq!(first, second);
}

#[test]
fn devices_that_meet_in_pairs_over_days_all_end_alike() {
    let mut world = World::new(4);
    for day in 0..6 {
        for node in 0..4 {
            world.write(
                node,
                &format!("p{}", (day + node) % 3),
                &format!("{day} {node}"),
            );
        }
        let (a, b) = [(0, 1), (2, 3), (1, 2), (3, 0), (0, 2), (1, 3)][day];
        let (session, _) = world.meet(a, b);
        world.pass(60_000);
        world.cut(session);
    }
    for (a, b) in [(0, 1), (2, 3), (1, 2), (3, 0), (0, 2), (1, 3)] {
        world.meet(a, b);
    }
    world.pass(10_000);

    world.assert_converged();
    // What comes before its cause is refused first, even if it is taken in the end.
    for node in &world.nodes {
        assert_eq!(node.fleet.refusals.get("missing_cause"), None);
    }
    assert_eq!(world.nodes[0].entries(), 24);
    assert!(world.nodes.iter().all(|node| node.held().len() == 4));
    let held: Held = world.nodes[0].held();
    assert!(held.iter().all(|(_, seq)| *seq == 6));
}
