//! Everything that a peer may do wrong, one by one: it is refused, counted under a code of its own and shown in
//! words; what it takes of memory stays under its cap; and a good peer that is there as well goes on.

use crdt_schema::ident::{Dot, SpaceName};
use crdt_schema::op::Implied;

use super::puppet::{Author, Puppet};
use super::world::{Node, START, set_name};
use crate::engine::batch::Batch;
use crate::engine::effect::Breach;
use crate::engine::input::Input;
use crate::engine::limits::{
    ANSWERS_MAX, FAULTS_MAX, SEQ_MAX, STAGED_BYTES_MAX, STRANGER_FRAME_BYTES_MAX,
};
use crate::engine::pump::run_bytes;
use crate::wire::limits::{DATA_BYTES_MAX, ENTRY_BYTES_MAX, POINT_BYTES_TARGET};
use crate::wire::message::{FrontRow, Hello, Message, SpaceRoot};

/// What a bad input comes to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ends {
    /// The session.
    Session,
    /// Only the exchange of one log: a fork or damage may be somebody else's doing.
    Log,
}

/// Something that a peer does wrong.
struct Wrong {
    name: &'static str,
    does: fn(&mut Node),
    code: &'static str,
    words: &'static str,
    ends: Ends,
}

/// The session of whoever does wrong.
const SESSION: u64 = 1;

fn member(node: &mut Node) -> Puppet {
    Puppet::meet(node, 2, SESSION)
}

fn data(node: &mut Node, run: crate::engine::batch::Run) {
    member(node).say(node, &Message::Data(vec![run]));
}

fn frame(node: &mut Node, bytes: &[u8]) {
    member(node).say_bytes(node, START, bytes.to_vec());
}

/// A DATA frame with a body of so many zeros: a thousandth of its size on the wire.
fn bomb(bytes: usize) -> Vec<u8> {
    let mut stream = zstd::stream::Encoder::new(Vec::new(), 3).expect("it begins");
    stream.window_log(20).expect("a good size");
    std::io::Write::write_all(&mut stream, &vec![0; bytes]).expect("it compresses");
    std::io::Write::flush(&mut stream).expect("it flushes");
    let mut frame = vec![5, 0];
    // zstd's magic number does not travel.
    frame.extend(&stream.get_ref()[4..]);
    frame
}

/// Says HELLO with a claim about one space, then FRONT.
fn front(node: &mut Node, count: u64, rows: Vec<FrontRow>, space: &str) {
    let mut puppet = Puppet::arrive(node, 2, SESSION);
    let claim = SpaceRoot {
        tag: [1; 8],
        root: [2; 16],
        count,
    };
    let hello = Hello {
        spaces: vec![claim],
        ..puppet.hello()
    };
    puppet.say(node, &Message::Hello(hello));
    let space = SpaceName::new(space).expect("a space name");
    puppet.say(node, &Message::Front { space, rows });
}

fn own_row(node: &Node, seq: u64) -> FrontRow {
    let held = node.store.opening().expect("the store reads");
    FrontRow {
        log: held.own_logs[0].log,
        seq,
        chain_tag: [7; 8],
    }
}

const SESSIONS: &[Wrong] = &[
    Wrong {
        name: "a length prefix beyond the limit",
        does: |node| {
            member(node);
            let bytes = Some(100 << 20);
            let session = SESSION;
            node.handle(START, Input::BadFrame { session, bytes });
        },
        code: "too_large",
        words: "announced a frame of 104857600 bytes",
        ends: Ends::Session,
    },
    Wrong {
        name: "a length prefix that is none",
        does: |node| {
            member(node);
            let (session, bytes) = (SESSION, None);
            node.handle(START, Input::BadFrame { session, bytes });
        },
        code: "malformed_frame",
        words: "without a proper length",
        ends: Ends::Session,
    },
    Wrong {
        name: "an empty frame",
        does: |node| frame(node, &[]),
        code: "malformed_frame",
        words: "truncated",
        ends: Ends::Session,
    },
    Wrong {
        name: "a frame of no kind",
        does: |node| frame(node, &[200, 1, 2, 3]),
        code: "malformed_frame",
        words: "malformed",
        ends: Ends::Session,
    },
    Wrong {
        name: "a ratio of compression that no text has",
        does: |node| frame(node, &bomb(64 << 20)),
        code: "too_large",
        words: "more than the 2097152 allowed",
        ends: Ends::Session,
    },
    Wrong {
        name: "damaged compression",
        does: |node| frame(node, &[5, 0, 0x00, 0xff, 0xff, 0xff, 0xff]),
        code: "malformed_frame",
        words: "compression",
        ends: Ends::Session,
    },
    Wrong {
        name: "compression of another kind",
        does: |node| frame(node, &[5, 0x37, 0xa4, 0x30, 0xec, 1, 2, 3]),
        code: "malformed_frame",
        words: "compressed stream's beginning",
        ends: Ends::Session,
    },
    Wrong {
        name: "compression with a dictionary that was not agreed on",
        does: |node| frame(node, &[5, 1, 2, 3]),
        code: "unknown_dictionary",
        words: "must use one schema",
        ends: Ends::Session,
    },
    Wrong {
        name: "a large frame of a stranger",
        does: |node| {
            let mut stranger = Puppet::arrive(node, 2, SESSION);
            stranger.say_bytes(node, START, vec![1; STRANGER_FRAME_BYTES_MAX + 1]);
        },
        code: "too_large",
        words: "before HELLO",
        ends: Ends::Session,
    },
    Wrong {
        name: "entries of a stranger",
        does: |node| {
            let run = Author::new(2, 2).run(1);
            Puppet::arrive(node, 2, SESSION).say(node, &Message::Data(vec![run]));
        },
        code: "protocol",
        words: "before HELLO",
        ends: Ends::Session,
    },
    Wrong {
        name: "a flood of entries",
        does: |node| {
            let (mut puppet, mut author) = (member(node), Author::new(2, 2));
            node.holds_commits = true;
            for _ in 0..2 * STAGED_BYTES_MAX / (64 << 10) {
                let run = author.run_of_bytes(64 << 10);
                puppet.say(node, &Message::Data(vec![run]));
            }
            node.holds_commits = false;
        },
        code: "flood",
        words: "beyond the window",
        ends: Ends::Session,
    },
    Wrong {
        name: "a flood of questions",
        does: |node| {
            let mut puppet = member(node);
            let (log, from) = (own_row(node, 1).log, 1);
            for _ in 0..=ANSWERS_MAX {
                puppet.say(node, &Message::Ask { log, from });
                puppet.hear(node);
            }
        },
        code: "flood",
        words: "more questions than are answered",
        ends: Ends::Session,
    },
    Wrong {
        name: "an acknowledgement beyond any log",
        does: |node| {
            let mut puppet = member(node);
            let log = own_row(node, 1).log;
            let rows = vec![(log, SEQ_MAX + 1)];
            puppet.say(node, &Message::Ack(rows));
        },
        code: "lying_frontier",
        words: "out of bounds",
        ends: Ends::Session,
    },
    Wrong {
        name: "a frontier without rows",
        does: |node| front(node, 5, Vec::new(), "main"),
        code: "lying_frontier",
        words: "without rows",
        ends: Ends::Session,
    },
    Wrong {
        name: "a log in a space that it is not in",
        does: |node| {
            let row = own_row(node, 1);
            front(node, 5, vec![row], "payroll");
        },
        code: "lying_frontier",
        words: "in another space",
        ends: Ends::Session,
    },
    Wrong {
        name: "twice more of our own log than we have written",
        does: |node| {
            let row = own_row(node, 900);
            let mut puppet = Puppet::meet_with(node, 2, SESSION, vec![row]);
            node.write(START, "p5", vec![set_name("Barasa")]);
            let row = own_row(node, 901);
            puppet.say(node, &Message::Ack(vec![(row.log, row.seq)]));
        },
        code: "lying_frontier",
        words: "claims again",
        ends: Ends::Session,
    },
    Wrong {
        name: "forged logs without end",
        does: |node| {
            let mut puppet = member(node);
            for number in 0..=FAULTS_MAX {
                let mut run = Author::new(2, number as u8).run(1);
                run.signature[0] ^= 1;
                puppet.say(node, &Message::Data(vec![run]));
            }
        },
        code: "forged_logs",
        words: "too many damaged or forked logs",
        ends: Ends::Session,
    },
    Wrong {
        name: "a message out of place",
        does: |node| member(node).say(node, &Message::FrontEnd),
        code: "protocol",
        words: "FRONT END after the opening",
        ends: Ends::Session,
    },
    Wrong {
        name: "an answer that was not asked for",
        does: |node| {
            let (mut puppet, log) = (member(node), own_row(node, 1).log);
            puppet.say(node, &Message::Given { log, run: None });
        },
        code: "protocol",
        words: "GIVEN without ASK",
        ends: Ends::Session,
    },
];

const LOGS: &[Wrong] = &[
    Wrong {
        name: "a broken chain",
        does: |node| {
            let mut author = Author::new(2, 2);
            let mut run = author.run(3);
            run.entries.swap(0, 1);
            data(node, run);
        },
        code: "bad_signature",
        words: "fork or damaged history",
        ends: Ends::Log,
    },
    Wrong {
        name: "a bad signature",
        does: |node| {
            let mut run = Author::new(2, 2).run(3);
            run.signature[10] ^= 4;
            data(node, run);
        },
        code: "bad_signature",
        words: "fork or damaged history",
        ends: Ends::Log,
    },
    Wrong {
        name: "a log under another device's name",
        does: |node| {
            let mut author = Author::new(2, 2);
            author.header.name = "somebody else".to_owned();
            data(node, author.run(1));
        },
        code: "forged_log",
        words: "does not belong to the device",
        ends: Ends::Log,
    },
    Wrong {
        name: "more than an entry's size without a signature",
        does: |node| {
            let mut author = Author::new(2, 2);
            let count = (ENTRY_BYTES_MAX + POINT_BYTES_TARGET) / (60 << 10) + 1;
            let runs = (0..count).map(|_| author.clone().run_of_bytes(60 << 10));
            let entries = runs.flat_map(|run| run.entries).collect();
            data(node, author.sign(entries));
        },
        code: "unsigned_length",
        words: "without a signature",
        ends: Ends::Log,
    },
    Wrong {
        name: "a log that begins in the middle",
        does: |node| {
            let mut author = Author::new(2, 2);
            author.run(4);
            data(node, author.run(1));
        },
        code: "gap",
        words: "entries before 5 are missing",
        ends: Ends::Log,
    },
    Wrong {
        name: "a signed entry that is none",
        does: |node| {
            let run = Author::new(2, 2).sign(vec![vec![0xff; 40]]);
            data(node, run);
        },
        code: "malformed_entry",
        words: "malformed entry",
        ends: Ends::Log,
    },
    Wrong {
        name: "a clock that goes back inside a log",
        does: |node| {
            let mut author = Author::new(2, 2);
            let mut run = author.clone().run(1);
            author.clock_ms -= 5_000;
            let early = author.clone().run(1);
            run.entries.extend(early.entries);
            author.clock_ms += 10_000;
            data(node, author.sign(run.entries));
        },
        code: "time_went_back",
        words: "out of order",
        ends: Ends::Log,
    },
    Wrong {
        name: "an edit of the record of no earlier edit",
        does: |node| {
            let mut author = Author::new(2, 2);
            let mut puppet = member(node);
            puppet.say(node, &Message::Data(vec![author.run(1)]));
            let lie = author.run_implying(&[Implied { back: 1, edit: 1 }]);
            puppet.say(node, &Message::Data(vec![lie]));
        },
        code: "malformed_entry",
        words: "of the record of no earlier edit",
        ends: Ends::Log,
    },
    Wrong {
        name: "two edits of one record that neither names, and more after them",
        does: |node| {
            let mut author = Author::new(2, 2);
            let mut puppet = member(node);
            puppet.say(node, &Message::Data(vec![author.run(1)]));
            node.holds_commits = true;
            let told = Implied { back: 1, edit: 0 };
            for _ in 0..3 {
                let lie = author.run_implying(&[told, told]);
                puppet.say(node, &Message::Data(vec![lie]));
            }
            node.holds_commits = false;
            node.commit(START);
        },
        code: "malformed_entry",
        words: "two edits of one record",
        ends: Ends::Log,
    },
    Wrong {
        name: "an effect without its cause",
        does: |node| {
            let cause = Dot::new(Author::new(9, 9).log(), 4);
            data(node, Author::new(2, 2).run_after(vec![cause]));
        },
        code: "missing_cause",
        words: "which is missing",
        ends: Ends::Log,
    },
];

#[test]
fn every_wrong_is_refused_counted_and_shown_and_a_good_peer_goes_on() {
    for wrong in SESSIONS.iter().chain(LOGS) {
        let mut node = Node::new(1);
        node.write(START, "p1", vec![set_name("Achieng")]);
        let (mut good, mut author) = (Puppet::meet(&mut node, 3, 77), Author::new(3, 3));
        good.say(&mut node, &Message::Data(vec![author.run(2)]));
        good.hear(&mut node);

        (wrong.does)(&mut node);

        let name = wrong.name;
        let ended = node.end_of(SESSION).map(|reason| reason.to_string());
        assert_eq!(
            ended.is_some(),
            wrong.ends == Ends::Session,
            "{name}: {ended:?}"
        );
        let counts = &node.fleet.refusals;
        assert!(
            counts.get(wrong.code).is_some_and(|n| *n >= 1),
            "{name}: {counts:?}"
        );
        let refused = node
            .fleet
            .peers
            .values()
            .flat_map(|peer| peer.refused_logs.values());
        let last = node.fleet.last_refusal.iter().map(|(_, why)| why);
        let shown: Vec<&String> = refused.chain(last).collect();
        let is_shown = shown.iter().any(|why| why.contains(wrong.words));
        assert!(is_shown, "{name}: {shown:?}");
        assert!(pending_bytes(&node) <= STAGED_BYTES_MAX, "{name}");

        node.handle(START, Input::Timeout);
        let run = author.run(1);
        good.say(&mut node, &Message::Data(vec![run]));
        let acks: Vec<_> = good.hear_acks(&mut node);
        assert!(acks.contains(&(author.log(), 3)), "{name}: {acks:?}");
        good.assert_open(&node);
    }
}

fn pending_bytes(node: &Node) -> usize {
    let runs = node.pending.iter().map(|batch| match batch {
        Batch::Remote { runs, .. } => runs.iter().map(|verified| run_bytes(&verified.run)).sum(),
        Batch::Local(_) | Batch::Peer(_) | Batch::Repair(..) => 0,
    });
    runs.sum()
}

#[test]
fn every_way_to_break_the_protocol_is_played() {
    for breach in Breach::ALL {
        let code = breach.code();
        assert!(SESSIONS.iter().any(|wrong| wrong.code == code), "{code}");
    }
}

#[test]
fn what_one_frame_may_become_is_capped_before_it_is_read() {
    assert!(bomb(64 << 20).len() < 16 << 10);
    assert_eq!(DATA_BYTES_MAX, 2_097_152);
}

#[test]
fn an_old_session_that_is_played_again_changes_nothing() {
    let mut node = Node::new(1);
    node.write(START, "p1", vec![set_name("Achieng")]);
    let mut author = Author::new(2, 2);
    let mut first = Puppet::meet(&mut node, 2, 1);
    first.say(&mut node, &Message::Data(vec![author.run(5)]));
    first.hear(&mut node);
    let own = own_row(&node, 1);
    first.say(&mut node, &Message::Ack(vec![(own.log, 1)]));
    first.say(&mut node, &Message::Data(vec![author.run(5)]));
    node.handle(START, Input::SessionClosed { session: 1 });
    let (held, refusals) = (node.held(), node.fleet.refusals.clone());

    // By the device itself, and by another one that has listened.
    for (number, session) in [(2, 10), (3, 11)] {
        let mut again = Puppet::arrive(&mut node, number, session);
        for frame in first.said.clone() {
            again.say_bytes(&mut node, START, frame);
        }
        assert_eq!(node.end_of(session).is_some(), number == 3);
    }

    assert_eq!(node.held(), held);
    assert!(refusals.is_empty());
    assert_eq!(node.fleet.refusals.get("wrong_secret"), Some(&1));
    assert_eq!(node.fleet.refusals.len(), 1);
}
