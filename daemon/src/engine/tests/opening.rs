//! How sessions begin and end.

use crdt_schema::ident::SpaceName;
use proptest::prelude::*;

use super::puppet::{Author, Puppet};
use super::world::{Node, START, World, device, set_name};
use crate::engine::effect::CloseReason;
use crate::engine::input::{Input, Now};
use crate::engine::limits::HANDSHAKE_MS;
use crate::wire::message::{FrameEncoder, Hello, Message, PROTOCOL_VERSION};

fn node_with_entries() -> Node {
    let mut node = Node::new(1);
    node.write(START, "p1", vec![set_name("Achieng")]);
    node
}

#[test]
fn nothing_but_hello_is_said_until_the_peer_has_proved_itself() {
    let mut node = node_with_entries();
    let mut stranger = Puppet::arrive(&mut node, 2, 1);
    node.write(START, "p2", vec![set_name("Barasa")]);
    assert!(matches!(stranger.hear(&mut node)[..], [Message::Hello(_)]));

    let hello = Hello {
        proof: [0; 32],
        ..stranger.hello()
    };
    stranger.say(&mut node, &Message::Hello(hello));

    let heard = stranger.hear(&mut node);
    assert!(matches!(&heard[..], [Message::Bye { code, .. }] if code == "wrong_secret"));
    assert_eq!(node.end_of(1), Some(&CloseReason::WrongSecret));
    assert_eq!(node.fleet.refusals["wrong_secret"], 1);
    assert_eq!(
        node.fleet.last_refusal.as_ref().map(|(peer, _)| *peer),
        Some(device(2))
    );
    assert!(node.fleet.peers.is_empty());
}

#[test]
fn strangers_are_told_which_of_version_organisation_and_secret_is_wrong() {
    let mut node = node_with_entries();
    let good = Puppet::arrive(&mut node, 2, 1).hello();
    let cases = [
        (
            Hello {
                version: 7,
                ..good.clone()
            },
            CloseReason::Version { theirs: 7 },
        ),
        (
            Hello {
                organisation_tag: [0; 8],
                proof: [0; 32],
                ..good.clone()
            },
            CloseReason::OtherOrganisation,
        ),
        // The proof of device 2, repeated by device 3.
        (good, CloseReason::WrongSecret),
    ];

    for (session, (hello, reason)) in (10..).zip(cases) {
        let mut stranger = Puppet::arrive(&mut node, 3, session);
        stranger.say(&mut node, &Message::Hello(hello));
        assert_eq!(node.end_of(session), Some(&reason));
    }
}

#[test]
fn messages_out_of_place_end_the_session() {
    let mut author = Author::new(2, 2);
    let run = author.run(1);
    let before_hello = [
        Message::Name("x".to_owned()),
        Message::FrontEnd,
        Message::Data(vec![run.clone()]),
        Message::Ack(Vec::new()),
        Message::Want,
    ];
    for message in before_hello {
        let mut node = node_with_entries();
        let mut puppet = Puppet::arrive(&mut node, 2, 1);
        puppet.say(&mut node, &message);
        puppet.assert_breach(&node, "before HELLO");
        assert_eq!(node.held().len(), 1);
    }
    for message in [Message::Data(vec![run]), Message::Want] {
        let mut node = node_with_entries();
        let mut puppet = Puppet::arrive(&mut node, 2, 1);
        puppet.say(&mut node, &Message::Hello(puppet.hello()));
        puppet.say(&mut node, &message);
        puppet.assert_breach(&node, "during the opening");
    }
    let mut node = node_with_entries();
    let mut puppet = Puppet::meet(&mut node, 2, 1);
    puppet.say(&mut node, &Message::Hello(puppet.hello()));
    puppet.assert_breach(&node, "HELLO after the opening");
}

#[test]
fn a_silent_peer_is_given_up() {
    let mut node = node_with_entries();
    let _silent = Puppet::arrive(&mut node, 2, 1);
    let due = node.engine.poll_timeout().expect("a deadline");
    assert_eq!(due, START.mono_ms + HANDSHAKE_MS);

    node.handle(
        Now {
            mono_ms: due - 1,
            ..START
        },
        Input::Timeout,
    );
    assert_eq!(node.end_of(1), None);
    node.handle(
        Now {
            mono_ms: due,
            ..START
        },
        Input::Timeout,
    );

    assert_eq!(node.end_of(1), Some(&CloseReason::Timeout));
    assert_eq!(node.engine.poll_timeout(), None);
}

#[test]
fn a_device_does_not_talk_to_itself_nor_while_it_is_off_the_network() {
    let mut node = node_with_entries();
    let itself = Puppet::arrive(&mut node, 1, 1);
    itself.assert_breach(&node, "own device");

    let mut peer = Puppet::meet(&mut node, 2, 2);
    node.handle(START, Input::Network { online: false });
    assert_eq!(node.end_of(2), Some(&CloseReason::Offline));
    assert!(
        matches!(peer.hear(&mut node).last(), Some(Message::Bye { code, .. }) if code == "offline")
    );
    assert!(!node.fleet.online);
    assert!(!node.fleet.peers[&device(2)].connected);
    Puppet::arrive(&mut node, 2, 3);
    assert_eq!(node.end_of(3), Some(&CloseReason::Offline));

    node.handle(START, Input::Network { online: true });
    let peer = Puppet::meet(&mut node, 2, 4);
    peer.assert_open(&node);
}

#[test]
fn the_newest_session_with_a_device_takes_over() {
    let mut node = node_with_entries();
    let first = Puppet::meet(&mut node, 2, 1);
    let other = Puppet::meet(&mut node, 3, 2);

    let second = Puppet::meet(&mut node, 2, 3);

    assert_eq!(node.end_of(first.session), Some(&CloseReason::Replaced));
    other.assert_open(&node);
    second.assert_open(&node);
    assert!(node.fleet.peers[&device(2)].connected);
    node.handle(
        START,
        Input::SessionClosed {
            session: first.session,
        },
    );
    assert!(node.fleet.peers[&device(2)].connected);
    assert!(node.fleet.refusals.is_empty());
}

#[test]
fn equal_stores_exchange_less_than_a_kilobyte_and_no_entries() {
    let mut world = World::new(2);
    for n in 0..50 {
        world.write(n % 2, &format!("p{n}"), "Achieng");
    }
    let (session, _) = world.meet(0, 1);
    world.assert_converged();
    world.cut(session);
    world.said.clear();
    world.bytes = vec![0; 2];

    world.meet(0, 1);

    for node in 0..2 {
        assert!(world.bytes[node] < 1024, "{} bytes", world.bytes[node]);
        let plain = |m: &Message| {
            use Message::{FrontEnd, Hello, Name, Schema};
            matches!(m, Hello(_) | Name(_) | Schema(_) | FrontEnd)
        };
        assert_eq!(world.count(node, plain), 4);
        assert_eq!(world.count(node, |_| true), 4);
    }
}

#[test]
fn commits_during_the_opening_are_not_lost() {
    let mut world = World::new(3);
    world.write(0, "p1", "Achieng");
    let (session, _) = world.meet(0, 1);
    world.cut(session);
    world.write(2, "p2", "Barasa");

    // Devices 1 and 2 hold the same and have said so; before either has heard it, 1 learns from 3.
    world.join(0, 1);
    let waiting = std::mem::take(&mut world.nodes[0].outbox);
    let waiting_too = std::mem::take(&mut world.nodes[1].outbox);
    world.meet(0, 2);
    world.write(1, "p3", "Chebet");
    world.nodes[0].outbox.extend(waiting);
    world.nodes[1].outbox.extend(waiting_too);
    world.pass(10_000);

    world.assert_converged();
    assert_eq!(world.nodes[1].entries(), 3);
}

#[test]
fn only_the_spaces_that_differ_are_told() {
    let mut world = World::new(2);
    let space = |n: usize| SpaceName::new(&format!("clinic/{n}")).expect("a space");
    for n in 0..10 {
        world.nodes[0].write_in(START, &space(n), "p", vec![set_name("Achieng")]);
    }
    let (session, _) = world.meet(0, 1);
    world.cut(session);
    world.said.clear();
    world.nodes[0].write_in(START, &space(4), "q", vec![set_name("Barasa")]);

    world.meet(0, 1);

    world.assert_converged();
    assert_eq!(world.count(1, |m| matches!(m, Message::Range { .. })), 1);
    assert_eq!(world.count(0, |m| matches!(m, Message::Answer { .. })), 1);
    assert_eq!(world.entries_sent(), 1);
}

#[test]
fn a_refusal_by_the_peer_is_shown() {
    let mut node = node_with_entries();
    let mut puppet = Puppet::arrive(&mut node, 2, 1);
    let text = "peer did not prove\u{1b}[2J the join secret".to_owned();

    puppet.say(
        &mut node,
        &Message::Bye {
            code: "wrong_secret".to_owned(),
            text,
        },
    );

    assert!(matches!(node.end_of(1), Some(CloseReason::Peer(_))));
    assert_eq!(node.fleet.refusals["wrong_secret"], 1);
    let (_, why) = node.fleet.last_refusal.as_ref().expect("a refusal");
    assert!(!why.contains('\u{1b}'), "{why:?}");
    assert!(
        !puppet
            .hear(&mut node)
            .iter()
            .any(|m| matches!(m, Message::Bye { .. }))
    );
}

#[test]
fn a_hello_of_another_version_needs_no_more_than_its_version() {
    let mut node = node_with_entries();
    Puppet::arrive(&mut node, 2, 1);
    let frame = vec![1, PROTOCOL_VERSION as u8 + 1, 0xff, 0xff];

    node.handle(
        START,
        Input::Frame {
            session: 1,
            bytes: frame,
        },
    );

    assert_eq!(
        node.end_of(1),
        Some(&CloseReason::Version {
            theirs: PROTOCOL_VERSION + 1
        })
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_frame_can_panic_the_engine_or_harm_another_session(
        phase in 0..3u8,
        frame in prop::collection::vec(any::<u8>(), 0..200),
        tag in 0..10u8,
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1..=255u8), 0..4),
    ) {
        let mut node = node_with_entries();
        let other = Puppet::meet(&mut node, 3, 2);
        let mut puppet = Puppet::arrive(&mut node, 2, 1);
        if phase > 0 {
            puppet.say(&mut node, &Message::Hello(puppet.hello()));
        }
        if phase > 1 {
            puppet.say(&mut node, &Message::FrontEnd);
        }
        let mut author = Author::new(2, 2);
        let message = match tag {
            0 => Message::Hello(puppet.hello()),
            1 => Message::Front { space: SpaceName::default(), rows: vec![author.front_row()] },
            2 | 3 => Message::Data(vec![author.run(3)]),
            4 => Message::Ack(vec![(author.log(), 3)]),
            _ => Message::Want,
        };
        let mut bytes = FrameEncoder::new().encode(&message);
        if tag == 9 {
            bytes = frame;
        }
        for (index, flip) in flips {
            if !bytes.is_empty() {
                let at = index.index(bytes.len());
                bytes[at] ^= flip;
            }
        }

        node.handle(START, Input::Frame { session: 1, bytes });

        other.assert_open(&node);
        node.write(START, "p9", vec![set_name("still writes")]);
        prop_assert!(node.replies.values().all(Result::is_ok));
    }
}
