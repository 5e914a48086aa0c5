//! The engine's promises, each as a short story over real stores.

mod mesh;

use crdt_schema::ident::{LogId, OrganisationId, SpaceName};
use crdt_schema::op::{ChangeSet, Edit, Op};
use crdt_schema::value::Value;
use mesh::{Mesh, Node, ORGANISATION, SECRET, config};

use super::batch::{LogHeader, Run};
use super::effect::{CloseReason, Effect};
use super::input::Input;
use crate::wire::chain::{chain_next, chain_start, sign_point};
use crate::wire::changeset::encode_change_set;
use crate::wire::message::{FrameEncoder, Message};

const MINUTE: u64 = 60_000;

#[test]
fn nothing_is_answered_or_sent_before_it_is_durable() {
    let mut mesh = Mesh::new(2);
    let [session, _] = mesh.connect(0, 1);
    mesh.settle(1_000);
    mesh.nodes[0].store_held_up = true;
    let said = mesh.kinds(0, session).len();

    mesh.visit(0, 1);
    mesh.settle(1_000);
    assert!(mesh.nodes[0].replies.is_empty());
    assert_eq!(mesh.kinds(0, session).len(), said);

    mesh.nodes[0].store_held_up = false;
    mesh.settle(1_000);
    assert!(mesh.nodes[0].replies[0].is_ok());
    assert_eq!(mesh.nodes[1].visits(), Some(1));
}

#[test]
fn strangers_get_hello_and_a_reason_and_nothing_else() {
    let cases = [
        (
            config(1, OrganisationId([9; 16]), SECRET),
            CloseReason::OtherOrganisation,
        ),
        (config(1, ORGANISATION, [7; 32]), CloseReason::WrongSecret),
    ];
    for (stranger, reason) in cases {
        let mut mesh = Mesh::of(vec![
            Node::new(0, config(0, ORGANISATION, SECRET)),
            Node::new(1, stranger),
        ]);
        mesh.visit(0, 1);
        mesh.settle(1_000);

        let [session, _] = mesh.connect(0, 1);
        mesh.settle(MINUTE);

        assert_eq!(mesh.kinds(0, session), ["hello", "bye"]);
        assert_eq!(mesh.nodes[0].closed, std::slice::from_ref(&reason));
        assert_eq!(mesh.nodes[0].fleet.refusals.get(reason.code()), Some(&1));
        assert!(mesh.nodes[0].fleet.peers.is_empty());
        assert_eq!(mesh.nodes[1].visits(), None);
    }
}

#[test]
fn garbage_ends_the_session_and_no_other() {
    let mut mesh = Mesh::new(3);
    let [good, _] = mesh.connect(0, 1);
    let [bad, _] = mesh.connect(0, 2);
    mesh.settle(1_000);

    mesh.feed(
        0,
        Input::Frame {
            session: bad,
            bytes: vec![0xee; 40],
        },
    );
    mesh.visit(1, 5);
    mesh.settle(1_000);

    assert!(matches!(
        mesh.nodes[0].closed[..],
        [CloseReason::Protocol(_)]
    ));
    assert_eq!(mesh.nodes[0].visits(), Some(5));
    assert!(mesh.kinds(0, good).contains(&"ack"));
}

#[test]
fn a_peer_that_never_finishes_the_opening_is_let_go() {
    let mut mesh = Mesh::new(1);
    mesh.feed(
        0,
        Input::SessionOpened {
            session: 1,
            device: mesh::device(5),
        },
    );

    mesh.settle(2 * MINUTE);

    assert_eq!(mesh.nodes[0].closed, [CloseReason::Timeout]);
}

#[test]
fn stores_that_agree_say_hello_and_no_more() {
    let mut mesh = Mesh::new(2);
    mesh.connect(0, 1);
    for _ in 0..20 {
        mesh.visit(0, 1);
    }
    mesh.settle(MINUTE);

    let [left, right] = mesh.connect(0, 1);
    mesh.settle(MINUTE);

    for (node, session) in [(0, left), (1, right)] {
        assert_eq!(mesh.kinds(node, session), ["hello", "name", "front end"]);
        assert!(
            mesh.bytes(node, session) < 250,
            "{} bytes",
            mesh.bytes(node, session)
        );
    }
    assert!(
        mesh.nodes[0].closed.contains(&CloseReason::Replaced),
        "the newer session took over"
    );
}

#[test]
fn devices_that_never_met_exchange_everything_once() {
    let mut mesh = Mesh::new(2);
    for _ in 0..30 {
        mesh.visit(0, 1);
        mesh.visit(1, 2);
    }
    mesh.settle(1_000);

    mesh.connect(0, 1);
    mesh.settle(MINUTE);

    assert_eq!(
        (mesh.nodes[0].visits(), mesh.nodes[1].visits()),
        (Some(90), Some(90))
    );
    assert_eq!(mesh.entries_sent(), 60);
    assert_eq!(mesh.nodes[0].fleet.held, mesh.nodes[1].fleet.held);
}

#[test]
fn in_a_triangle_each_entry_reaches_each_device_once() {
    let mut mesh = Mesh::new(3);
    for (a, b) in [(0, 1), (1, 2), (0, 2)] {
        mesh.connect(a, b);
    }
    mesh.settle(MINUTE);

    for n in 0..10 {
        mesh.visit(n % 3, 1);
        mesh.settle(5_000);
    }

    for node in &mesh.nodes {
        assert_eq!(node.visits(), Some(10));
    }
    assert_eq!(mesh.entries_sent(), 20, "ten entries to two peers each");
}

#[test]
fn a_relay_passes_on_what_its_peers_cannot_send_each_other() {
    let mut mesh = Mesh::new(3);
    mesh.connect(0, 1);
    let [_, far] = mesh.connect(1, 2);
    mesh.settle(MINUTE);

    mesh.visit(0, 3);
    mesh.settle(5_000);

    assert_eq!(mesh.nodes[2].visits(), Some(3));
    assert!(
        mesh.kinds(2, far).contains(&"want"),
        "it was announced and asked for"
    );
    let spread = mesh.nodes[0].fleet.held.len();
    assert_eq!(spread, 1);
}

#[test]
fn a_frame_delivered_twice_changes_nothing() {
    let mut mesh = Mesh::new(2);
    let [_, session] = mesh.connect(0, 1);
    mesh.settle(1_000);
    mesh.visit(0, 1);
    mesh.settle(1_000);
    let data = mesh
        .lanes
        .values()
        .flat_map(|lane| &lane.messages)
        .find(|m| matches!(m, Message::Data(_)));
    let data = data.expect("an entry was sent").clone();
    mesh.connect(0, 1);
    mesh.settle(1_000);
    let before = mesh.nodes[1].fleet.held.clone();

    // The same entries again, over a session of their own: a frame's compression depends on its session.
    let [_, again] = mesh.connect(0, 1);
    mesh.settle(1_000);
    let mut encoder = FrameEncoder::new();
    for _ in 0..3 {
        let bytes = encoder.encode(&data);
        mesh.feed(
            1,
            Input::Frame {
                session: again,
                bytes,
            },
        );
    }
    mesh.settle(1_000);

    assert_ne!(session, again);
    assert_eq!(mesh.nodes[1].visits(), Some(1));
    assert_eq!(mesh.nodes[1].fleet.held, before);
}

#[test]
fn the_window_bounds_what_is_on_its_way() {
    let mut mesh = Mesh::new(2);
    let note = |n: usize| Op::Set {
        key: "notes".to_owned(),
        value: Value::Text(format!("{n} ").repeat(10_000)),
    };
    let name = || Op::Set {
        key: "name".to_owned(),
        value: Value::Text("Amina".to_owned()),
    };
    for n in 0..120 {
        mesh.write(0, &format!("r{n}"), vec![name(), note(n)]);
    }
    mesh.settle(1_000);
    mesh.nodes[1].store_held_up = true;
    mesh.connect(0, 1);
    mesh.settle(MINUTE);
    let sent: usize = mesh
        .lanes
        .values()
        .flat_map(|lane| &lane.messages)
        .map(|message| match message {
            Message::Data(runs) => runs.iter().flat_map(|run| &run.entries).map(Vec::len).sum(),
            _ => 0,
        })
        .sum();
    assert!(
        sent > super::limits::WINDOW_BYTES / 2,
        "only {sent} bytes were sent"
    );
    assert!(
        sent < 2 * super::limits::WINDOW_BYTES,
        "{sent} bytes were sent unacknowledged"
    );

    mesh.nodes[1].store_held_up = false;
    mesh.settle(MINUTE);

    assert_eq!(mesh.nodes[0].fleet.held, mesh.nodes[1].fleet.held);
}

/// Entries of a device, chained and signed by hand.
fn run(node: &Node, log: LogId, notes: &[&str]) -> Run {
    let header = LogHeader {
        log,
        space: SpaceName::default(),
        device: crdt_schema::ident::DeviceId(node.key.verifying_key().to_bytes()),
        name: "by hand".to_owned(),
    };
    let mut chain = chain_start(&ORGANISATION, &header);
    let mut entries = Vec::new();
    for (at, note) in notes.iter().enumerate() {
        let op = Op::Set {
            key: "name".to_owned(),
            value: Value::Text((*note).to_owned()),
        };
        let edit = Edit {
            collection: "patient".into(),
            id: format!("{log}"),
            deps: Vec::new(),
            ops: vec![op],
        };
        let set = ChangeSet {
            hlc: crdt_schema::hlc::Timestamp::from_ms(1_000 + at as u64),
            schema_version: 1,
            person: String::new(),
            edits: vec![edit],
        };
        let entry = encode_change_set(&set);
        chain = chain_next(&chain, &entry);
        entries.push(entry);
    }
    let signature = sign_point(
        &node.key,
        &ORGANISATION,
        &header,
        notes.len() as u64,
        &chain,
    );
    Run {
        header,
        from: 1,
        entries,
        signature,
    }
}

#[test]
fn a_forked_log_is_left_out_and_everything_else_goes_on() {
    let mut mesh = Mesh::new(2);
    let [_, session] = mesh.connect(0, 1);
    mesh.settle(1_000);
    let (log, other) = (LogId([5; 16]), LogId([6; 16]));
    let one = run(&mesh.nodes[0], log, &["a", "b"]);
    let fork = run(&mesh.nodes[0], log, &["a", "x", "y"]);
    let fine = run(&mesh.nodes[0], other, &["c"]);
    let mut encoder = FrameEncoder::new();
    for runs in [vec![one], vec![fork, fine]] {
        let bytes = encoder.encode(&Message::Data(runs));
        mesh.feed(1, Input::Frame { session, bytes });
        mesh.settle(1_000);
    }
    // From the other side: the frames above have used up the compression stream of this one.
    mesh.visit(1, 4);
    mesh.settle(1_000);

    let node = &mesh.nodes[1];
    assert_eq!(
        node.fleet.held.get(&log),
        Some(&2),
        "the fork was not taken"
    );
    assert_eq!(node.fleet.held.get(&other), Some(&1));
    assert_eq!(mesh.nodes[0].visits(), Some(4), "the session goes on");
    assert!(
        node.fleet.peers[&mesh::device(0)]
            .refused_logs
            .contains_key(&log)
    );
    assert!(mesh.kinds(1, session).contains(&"refuse"));
    assert!(node.closed.is_empty());
}

#[test]
fn entries_that_were_tampered_with_are_not_taken() {
    let mut mesh = Mesh::new(2);
    let [_, session] = mesh.connect(0, 1);
    mesh.settle(1_000);
    let log = LogId([5; 16]);
    let mut tampered = run(&mesh.nodes[0], log, &["a", "b"]);
    tampered.entries[0] = run(&mesh.nodes[0], log, &["z"]).entries.remove(0);

    let bytes = FrameEncoder::new().encode(&Message::Data(vec![tampered]));
    mesh.feed(1, Input::Frame { session, bytes });
    mesh.settle(1_000);

    assert_eq!(mesh.nodes[1].fleet.held.get(&log), None);
}

#[test]
fn a_store_that_went_back_in_time_writes_into_a_new_log_and_gets_its_entries_back() {
    let mut mesh = Mesh::new(2);
    mesh.connect(0, 1);
    mesh.visit(0, 1);
    mesh.settle(1_000);
    let own = *mesh.nodes[0].fleet.held.keys().next().expect("a log");
    // The same device from a backup of before the write: it knows its log and lacks the entry.
    let mut restored = Node::new(0, config(0, ORGANISATION, SECRET));
    let header = LogHeader {
        log: own,
        space: SpaceName::default(),
        device: mesh::device(0),
        name: "node 0".to_owned(),
    };
    restored.engine.own.insert(SpaceName::default(), header);
    mesh.nodes[0] = restored;

    mesh.connect(0, 1);
    mesh.settle(1_000);
    mesh.visit(0, 2);
    mesh.settle(1_000);

    for node in &mesh.nodes {
        assert_eq!(node.visits(), Some(3));
        assert_eq!(node.fleet.held.get(&own), Some(&1));
        assert_eq!(
            node.fleet.held.len(),
            2,
            "the second write went to a new log"
        );
    }
}

#[test]
fn off_the_network_every_session_ends_and_none_begins() {
    let mut mesh = Mesh::new(2);
    let [session, _] = mesh.connect(0, 1);
    mesh.settle(1_000);

    mesh.feed(0, Input::Network { online: false });
    mesh.settle(1_000);
    mesh.connect(0, 1);
    mesh.settle(1_000);

    assert_eq!(
        mesh.nodes[0].closed,
        [CloseReason::Offline, CloseReason::Offline]
    );
    assert!(mesh.kinds(0, session).contains(&"bye"));
    assert!(!mesh.nodes[0].fleet.peers[&mesh::device(1)].connected);
    mesh.visit(0, 1);
    mesh.settle(1_000);
    assert!(mesh.nodes[0].replies[0].is_ok(), "data entry never stops");
}

#[test]
fn equal_inputs_give_equal_effects() {
    let play = || {
        let mut mesh = Mesh::new(3);
        for (a, b) in [(0, 1), (1, 2), (0, 2)] {
            mesh.connect(a, b);
        }
        for n in 0..12 {
            mesh.visit(n % 3, n as i64);
        }
        mesh.settle(MINUTE);
        let effects: Vec<Vec<Effect>> = mesh.nodes.into_iter().map(|node| node.effects).collect();
        effects
    };

    assert_eq!(play(), play());
}
