//! Those who mean harm: strangers on the same network, and a member that lies.
//!
//! Both only need to say things; neither runs an engine. The transport has proved their keys, as it has
//! everybody's. A liar writes to records of its own (their ids begin with [`LIAR_PREFIX`]), so what the
//! honest devices hold of honest logs must stay the same whatever it does.

mod author;

use std::collections::BTreeSet;

use crdt_schema::ident::{LogId, SpaceName};
use crdt_schema::op::Implied;
use fieldmesh::engine::batch::Held;
use fieldmesh::wire::chain::{JoinSecret, organisation_tag};
use fieldmesh::wire::message::{FrameEncoder, FrontRow, Hello, Message, PROTOCOL_VERSION};

use crate::clock::EPOCH_MS;
use crate::device::{ORGANISATION, SECRET, device_id};
use crate::draw::Draw;
use crate::plan::Role;

use author::{Author, counter};

/// How the ids of records begin that only liars write.
pub const LIAR_PREFIX: &str = "liar-";

/// How many frames a hostile device remembers to send again.
const HEARD_MAX: usize = 32;
/// How many logs of one peer it remembers, to write under their ids elsewhere.
const KNOWN_MAX: usize = 500;
/// Longest piece of garbage, in bytes.
const GARBAGE_BYTES_MAX: u64 = 40_000;
/// A clock so far ahead that nobody may follow it: forty years.
const FAR_FUTURE_MS: u64 = 40 * 365 * 24 * 3_600_000;

/// What a stranger does in one session.
#[derive(Clone, Copy, Debug)]
enum Intrusion {
    Garbage,
    WrongSecret,
    WrongOrganisation,
    OtherVersion,
    Silence,
    DataFirst,
    Replay,
    LargeFrame,
}

const INTRUSIONS: [Intrusion; 8] = [
    Intrusion::Garbage,
    Intrusion::WrongSecret,
    Intrusion::WrongOrganisation,
    Intrusion::OtherVersion,
    Intrusion::Silence,
    Intrusion::DataFirst,
    Intrusion::Replay,
    Intrusion::LargeFrame,
];

/// What a liar does in one session, after a good opening.
#[derive(Clone, Copy, Debug)]
enum Lie {
    BadSignature,
    BrokenChain,
    SomebodyElsesName,
    SomebodyElsesLog,
    FarFuture,
    HugeCounter,
    HoldsMoreThanThere,
    HoldsMoreOfYours,
    MissingCause,
    BackwardsTime,
    Replay,
    TwoHistories,
    NoEarlierEdit,
    OneRecordTwice,
}

const LIES: [Lie; 14] = [
    Lie::BadSignature,
    Lie::BrokenChain,
    Lie::SomebodyElsesName,
    Lie::SomebodyElsesLog,
    Lie::FarFuture,
    Lie::HugeCounter,
    Lie::HoldsMoreThanThere,
    Lie::HoldsMoreOfYours,
    Lie::MissingCause,
    Lie::BackwardsTime,
    Lie::Replay,
    Lie::TwoHistories,
    Lie::NoEarlierEdit,
    Lie::OneRecordTwice,
];

/// A hostile device.
#[derive(Debug)]
pub struct Actor {
    number: usize,
    role: Role,
    draw: Draw,
    sessions: u64,
    heard: Vec<Vec<u8>>,
    /// Logs of others that it has been told of.
    known: BTreeSet<LogId>,
    log: Author,
}

impl Actor {
    /// Hostile device `number`.
    pub fn new(number: usize, role: Role, draw: Draw) -> Self {
        Self {
            number,
            role,
            draw,
            sessions: 0,
            heard: Vec::new(),
            known: BTreeSet::new(),
            log: Author::new(number, 0),
        }
    }

    /// Remembers a frame, to send it again some time.
    pub fn hear(&mut self, frame: Vec<u8>) {
        if self.heard.len() < HEARD_MAX {
            self.heard.push(frame);
        }
    }

    /// What it sends in a new session with `peer`, which holds `held`.
    pub fn open(&mut self, peer: usize, held: &Held) -> Vec<Vec<u8>> {
        self.sessions += 1;
        let case = self.number as u64 * 100_000 + self.sessions;
        let mut frames = match self.role {
            Role::Stranger => {
                let intrusion = *self.draw.pick("intrusion", case, &INTRUSIONS);
                self.intrude(intrusion, peer, case)
            }
            Role::Liar | Role::Field | Role::Hub => {
                let lie = *self.draw.pick("lie", case, &LIES);
                self.lie(lie, peer, held, case)
            }
        };
        frames.truncate(1000);
        frames
    }

    fn intrude(&mut self, intrusion: Intrusion, peer: usize, case: u64) -> Vec<Vec<u8>> {
        let mut encoder = encoder();
        let hello = |secret: &JoinSecret| hello(self.number, peer, secret);
        match intrusion {
            Intrusion::Garbage => (0..5).map(|n| self.garbage(case * 8 + n)).collect(),
            Intrusion::WrongSecret => {
                vec![encoder.encode(&Message::Hello(hello(&JoinSecret([1; 32]))))]
            }
            Intrusion::WrongOrganisation => {
                let mut hello = hello(&SECRET);
                hello.organisation_tag = [1; 8];
                vec![encoder.encode(&Message::Hello(hello))]
            }
            Intrusion::OtherVersion => {
                let mut hello = hello(&SECRET);
                hello.version = PROTOCOL_VERSION + 1;
                vec![encoder.encode(&Message::Hello(hello))]
            }
            Intrusion::Silence => Vec::new(),
            Intrusion::DataFirst => {
                let run = self.log.run(vec![self.log.entry(EPOCH_MS, counter(1))]);
                vec![encoder.encode(&Message::Data(vec![run]))]
            }
            Intrusion::Replay => self.heard.clone(),
            Intrusion::LargeFrame => vec![vec![1; 1 << 20], vec![5; (1 << 20) + 1]],
        }
    }

    fn garbage(&self, case: u64) -> Vec<u8> {
        let length = self
            .draw
            .number("garbage length", case, 0..GARBAGE_BYTES_MAX);
        let mut bytes = self.draw.stream("garbage", case * 4096, length as usize);
        if let Some(tag) = bytes.first_mut() {
            *tag %= 10;
        }
        bytes
    }

    fn lie(&mut self, lie: Lie, peer: usize, held: &Held, case: u64) -> Vec<Vec<u8>> {
        let wanted = self.known.iter().find(|log| !held.contains_key(log));
        let wanted = wanted.copied();
        self.known.extend(held.keys().take(KNOWN_MAX));
        let mut encoder = encoder();
        let mut frames = vec![encoder.encode(&Message::Hello(hello(self.number, peer, &SECRET)))];
        frames.push(encoder.encode(&Message::Name(format!("device {}\u{1b}[2J", self.number))));
        let rows = self.false_rows(lie, held);
        if !rows.is_empty() {
            let space = SpaceName::default();
            frames.push(encoder.encode(&Message::Front { space, rows }));
        }
        frames.push(encoder.encode(&Message::FrontEnd));
        for message in self.false_messages(lie, wanted, case) {
            frames.push(encoder.encode(&message));
        }
        if let Lie::Replay = lie {
            frames.extend(self.heard.iter().cloned());
        }
        frames
    }

    /// Claims to hold more of others' logs, or of the peer's own, than there is.
    fn false_rows(&self, lie: Lie, held: &Held) -> Vec<FrontRow> {
        let more = match lie {
            Lie::HoldsMoreThanThere => 1_000,
            Lie::HoldsMoreOfYours => 1,
            _ => return Vec::new(),
        };
        let rows = held.iter().map(|(log, seq)| FrontRow {
            log: *log,
            seq: seq + more,
            chain_tag: [0; 8],
        });
        rows.take(500).collect()
    }

    /// What it says of entries. `wanted` is a log of somebody else that the peer does not hold yet.
    fn false_messages(&mut self, lie: Lie, wanted: Option<LogId>, case: u64) -> Vec<Message> {
        let now_ms = EPOCH_MS + case % 1000;
        let run = match lie {
            Lie::BadSignature => {
                let mut run = Author::new(self.number, case).single(now_ms);
                run.signature[7] ^= 1;
                run
            }
            Lie::BrokenChain => {
                let mut author = Author::new(self.number, case);
                let entries = (0..3)
                    .map(|n| author.entry(now_ms + n, counter(1)))
                    .collect();
                let mut run = author.run(entries);
                run.entries.swap(0, 1);
                run
            }
            Lie::SomebodyElsesName => {
                let mut author = Author::new(self.number, case);
                author.header.device = device_id(0);
                author.single(now_ms)
            }
            Lie::SomebodyElsesLog => {
                let Some(log) = wanted else {
                    return Vec::new();
                };
                Author::new(self.number, case).taking(log).single(now_ms)
            }
            Lie::FarFuture => {
                let mut author = Author::new(self.number, case);
                author.single(now_ms + FAR_FUTURE_MS)
            }
            Lie::HugeCounter => {
                let mut author = Author::new(self.number, case);
                let entries = [i64::MAX, i64::MAX, i64::MIN];
                let entries = entries.into_iter().zip(0..);
                let entries = entries.map(|(by, n)| author.entry(now_ms + n, counter(by)));
                let entries = entries.collect();
                author.run(entries)
            }
            Lie::MissingCause => {
                let mut author = Author::new(self.number, case);
                author.orphan(now_ms)
            }
            Lie::BackwardsTime => {
                let mut author = Author::new(self.number, case);
                let entries = (0..3)
                    .map(|n| author.entry(now_ms - n, counter(1)))
                    .collect();
                author.run(entries)
            }
            // One log, continued differently in each session.
            Lie::TwoHistories => {
                let mut author = Author::new(self.number, 0);
                author.single(now_ms + case)
            }
            // More follows what nobody can take.
            Lie::NoEarlierEdit | Lie::OneRecordTwice => {
                let mut author = Author::new(self.number, case);
                let lie = match lie {
                    Lie::NoEarlierEdit => vec![Implied { back: 1, edit: 7 }],
                    _ => vec![Implied { back: 1, edit: 0 }; 2],
                };
                let entries = vec![
                    author.entry(now_ms, counter(1)),
                    author.implying(now_ms + 1, &lie),
                ];
                let runs = vec![author.run(entries), author.single(now_ms + 2)];
                return runs
                    .into_iter()
                    .map(|run| Message::Data(vec![run]))
                    .collect();
            }
            Lie::HoldsMoreThanThere | Lie::HoldsMoreOfYours | Lie::Replay => return Vec::new(),
        };
        let claims = vec![(run.header.log, 1 << 41)];
        vec![
            Message::Data(vec![run]),
            Message::Want,
            Message::Ack(claims),
        ]
    }
}

/// What it encodes with: a large stream takes longer to make than all that it says in a session.
fn encoder() -> FrameEncoder {
    let mut encoder = FrameEncoder::new();
    encoder.expect_entries(1);
    encoder
}

fn hello(number: usize, peer: usize, secret: &JoinSecret) -> Hello {
    Hello {
        version: PROTOCOL_VERSION,
        organisation_tag: organisation_tag(&ORGANISATION),
        proof: secret.proof(&ORGANISATION, &device_id(number), &device_id(peer)),
        hub: true,
        schema_version: 1,
        dictionary: [0; 8],
        spaces: Vec::new(),
        checkpoints: Vec::new(),
        accord: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trick_is_played_in_the_end_and_none_is_empty_for_long() {
        for role in [Role::Stranger, Role::Liar] {
            let mut actor = Actor::new(9, role, Draw::new(1));
            actor.hear(vec![1, 2, 3]);
            let said: Vec<_> = (0..200).map(|_| actor.open(0, &Held::new())).collect();
            let distinct: BTreeSet<_> = said.iter().map(Vec::len).collect();
            assert!(distinct.len() > 2, "{role:?} says {distinct:?}");
        }
    }
}
