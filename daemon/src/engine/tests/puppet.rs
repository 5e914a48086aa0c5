//! A peer that the test plays: it can say anything, at any time.

use std::collections::BTreeMap;

use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::{DeviceId, Dot, LogId, SpaceName};
use crdt_schema::op::{ChangeSet, DotTag, Edit, Implied};
use ed25519_dalek::SigningKey;

use super::world::{Node, ORGANISATION, SECRET, START, device, key, set_name};
use crate::engine::batch::{LogHeader, Run, SessionId};
use crate::engine::effect::CloseReason;
use crate::engine::input::{Input, Now};
use crate::wire::chain::{chain_next, chain_start, log_id, organisation_tag, sign_point};
use crate::wire::changeset::encode_change_set;
use crate::wire::message::{
    FrameDecoder, FrameEncoder, FrontRow, Hello, Message, PROTOCOL_VERSION, RangeRow,
};

/// What the puppets make their tags with when they tell.
pub(super) const SALT: [u8; 8] = [5; 8];

/// The tag of the default space.
pub(super) fn default_tag() -> [u8; 8] {
    SECRET.space_tag(&ORGANISATION, &SpaceName::default())
}

pub(super) struct Puppet {
    pub(super) session: SessionId,
    pub(super) device: DeviceId,
    encoder: FrameEncoder,
    decoder: FrameDecoder,
    /// Every frame that it has sent.
    pub(super) said: Vec<Vec<u8>>,
}

impl Puppet {
    /// Opens a session as device `number`, and says nothing.
    pub(super) fn arrive(node: &mut Node, number: u8, session: SessionId) -> Self {
        Self::arrive_at(node, START, number, session)
    }

    fn arrive_at(node: &mut Node, now: Now, number: u8, session: SessionId) -> Self {
        let device = device(number);
        node.handle(now, Input::SessionOpened { session, device });
        Self {
            session,
            device,
            encoder: FrameEncoder::new(),
            decoder: FrameDecoder::new(),
            said: Vec::new(),
        }
    }

    /// Opens a session with device 1 and gets to where entries flow, showing nothing.
    pub(super) fn meet(node: &mut Node, number: u8, session: SessionId) -> Self {
        Self::meet_with(node, number, session, Vec::new())
    }

    /// The same, showing a frontier of the default space.
    pub(super) fn meet_with(
        node: &mut Node,
        number: u8,
        session: SessionId,
        rows: Vec<FrontRow>,
    ) -> Self {
        Self::meet_at(node, START, number, session, rows)
    }

    /// The same, at another time.
    pub(super) fn meet_at(
        node: &mut Node,
        now: Now,
        number: u8,
        session: SessionId,
        rows: Vec<FrontRow>,
    ) -> Self {
        let mut puppet = Self::arrive_at(node, now, number, session);
        puppet.say_at(node, now, &Message::Hello(puppet.hello()));
        if !rows.is_empty() {
            let space = SpaceName::default();
            puppet.say_at(node, now, &Message::Front { space, rows });
        }
        puppet.say_at(node, now, &Message::FrontEnd);
        puppet
    }

    /// Opens a session with any device and gets to where entries flow, telling nothing.
    pub(super) fn meet_as(node: &mut Node, number: u8, session: SessionId, with: u8) -> Self {
        let mut puppet = Self::arrive(node, number, session);
        let proof = SECRET.proof(&ORGANISATION, &puppet.device, &device(with));
        let hello = Hello {
            proof,
            ..puppet.hello()
        };
        puppet.say(node, &Message::Hello(hello));
        puppet.say(node, &Message::FrontEnd);
        puppet
    }

    /// Tells a frontier of the default space, in one range, and does not end the opening.
    pub(super) fn tell(&mut self, node: &mut Node, rows: Vec<RangeRow>) {
        let (salt, base) = (SALT, None);
        self.say(node, &Message::Tell { salt, base });
        let (space, ends) = (default_tag(), true);
        self.say(node, &Message::Range { space, ends, rows });
    }

    /// The HELLO of a member without entries, for device 1.
    pub(super) fn hello(&self) -> Hello {
        Hello {
            version: PROTOCOL_VERSION,
            organisation_tag: organisation_tag(&ORGANISATION),
            proof: SECRET.proof(&ORGANISATION, &self.device, &device(1)),
            hub: false,
            schema_version: 1,
            dictionary: [0; 8],
            spaces: Vec::new(),
            checkpoints: Vec::new(),
            accord: None,
        }
    }

    pub(super) fn say(&mut self, node: &mut Node, message: &Message) {
        self.say_at(node, START, message);
    }

    pub(super) fn say_at(&mut self, node: &mut Node, now: Now, message: &Message) {
        let bytes = self.encoder.encode(message);
        self.say_bytes(node, now, bytes);
    }

    /// Sends a frame that need not be one.
    pub(super) fn say_bytes(&mut self, node: &mut Node, now: Now, bytes: Vec<u8>) {
        self.said.push(bytes.clone());
        let session = self.session;
        node.handle(now, Input::Frame { session, bytes });
    }

    /// What the device has said to this peer since it was last asked.
    pub(super) fn hear(&mut self, node: &mut Node) -> Vec<Message> {
        let (mine, others): (Vec<_>, Vec<_>) = node
            .outbox
            .drain(..)
            .partition(|(session, _)| *session == self.session);
        node.outbox.extend(others);
        let held = |log: &LogId| node.store.reader().header(*log).expect("a read");
        let decode = |(_, frame): &(_, Vec<u8>)| {
            let message = self.decoder.decode_with(frame, &held);
            message.expect("a frame")
        };
        mine.iter().map(decode).collect()
    }

    /// The ACK rows among what the device has said.
    pub(super) fn hear_acks(&mut self, node: &mut Node) -> Vec<(LogId, u64)> {
        let acks = self
            .hear(node)
            .into_iter()
            .filter_map(|message| match message {
                Message::Ack(rows) => Some(rows),
                _ => None,
            });
        acks.flatten().collect()
    }

    pub(super) fn assert_open(&self, node: &Node) {
        assert_eq!(node.end_of(self.session), None);
    }

    /// Asserts that the device has ended the session as a breach of the protocol.
    pub(super) fn assert_breach(&self, node: &Node, what: &str) {
        match node.end_of(self.session) {
            Some(CloseReason::Breach(_, found)) if found.contains(what) => {}
            other => panic!("expected a breach about {what:?}, found {other:?}"),
        }
    }
}

/// Somebody who writes a log.
#[derive(Clone)]
pub(super) struct Author {
    key: SigningKey,
    pub(super) header: LogHeader,
    pub(super) seq: u64,
    chain: [u8; 32],
    /// The chain value after each entry.
    pub(super) chains: Vec<[u8; 32]>,
    /// When the next entry is written.
    pub(super) clock_ms: u64,
}

impl Author {
    /// Device `number`, beginning its log `log`.
    pub(super) fn new(number: u8, log: u8) -> Self {
        let (space, device, name) = (
            SpaceName::default(),
            device(number),
            format!("tablet {number}"),
        );
        let log = log_id([log; 8], &space, &device, &name);
        let header = LogHeader {
            log,
            space,
            device,
            name,
            branch_of: None,
        };
        Self::begin(key(number), header)
    }

    /// One of many authors: a log of device 60 of that number.
    pub(super) fn numbered(number: u32) -> Self {
        let (space, device, name) = (SpaceName::default(), device(60), "tablet".to_owned());
        let nonce = *blake3::hash(&number.to_le_bytes()).as_bytes();
        let nonce = std::array::from_fn(|index| nonce[index]);
        let log = log_id(nonce, &space, &device, &name);
        let header = LogHeader {
            log,
            space,
            device,
            name,
            branch_of: None,
        };
        Self::begin(key(60), header)
    }

    pub(super) fn begin(key: SigningKey, header: LogHeader) -> Self {
        let chain = chain_start(&ORGANISATION, &header);
        Self {
            key,
            header,
            seq: 0,
            chain,
            chains: Vec::new(),
            clock_ms: START.unix_ms,
        }
    }

    pub(super) fn log(&self) -> LogId {
        self.header.log
    }

    /// Writes entries, one to a record.
    pub(super) fn run(&mut self, count: usize) -> Run {
        let entries = (0..count)
            .map(|_| {
                let id = self.new_id();
                self.entry(Vec::new(), &id, "some name")
            })
            .collect();
        self.sign(entries)
    }

    /// Writes one entry that depends on others, of which it does not say the branch.
    pub(super) fn run_after(&mut self, deps: Vec<Dot>) -> Run {
        self.run_tagged(deps.into_iter().map(|dep| (dep, [0; 2])).collect())
    }

    /// Writes one entry that depends on others.
    pub(super) fn run_tagged(&mut self, deps: Vec<(Dot, DotTag)>) -> Run {
        let id = self.new_id();
        let entry = self.entry(deps, &id, "some name");
        self.sign(vec![entry])
    }

    /// Writes an entry for each of these records.
    pub(super) fn edits(&mut self, records: &[String]) -> Run {
        let entries = records
            .iter()
            .map(|id| {
                let name = format!("at {}", self.clock_ms);
                self.entry(Vec::new(), id, &name)
            })
            .collect();
        self.sign(entries)
    }

    pub(super) fn chain(&self) -> [u8; 32] {
        self.chain
    }

    /// What tells the entry from those of other branches.
    pub(super) fn tag(&self, seq: u64) -> DotTag {
        let chain = self.chains[seq as usize - 1];
        [chain[0], chain[1]]
    }

    fn new_id(&self) -> String {
        format!(
            "{}-{}",
            hex::encode(&self.header.log.0[..2]),
            self.clock_ms + 1
        )
    }

    /// Writes one entry of about so many bytes.
    pub(super) fn run_of_bytes(&mut self, bytes: usize) -> Run {
        let id = self.new_id();
        let entry = self.entry(Vec::new(), &id, &"x".repeat(bytes));
        self.sign(vec![entry])
    }

    /// Writes one entry of these edits, each of which sets a name and is told by an earlier one of this log.
    pub(super) fn run_implying(&mut self, told: &[Implied]) -> Run {
        self.clock_ms += 1;
        let edit = Edit {
            collection: String::new(),
            id: String::new(),
            deps: Vec::new(),
            ops: vec![set_name("some name")],
        };
        let entry = encode_change_set(&ChangeSet {
            hlc: Timestamp::from_ms(self.clock_ms),
            schema_version: 1,
            person: String::new(),
            edits: vec![edit; told.len()],
            tags: BTreeMap::new(),
            implied: told.iter().copied().enumerate().collect(),
        });
        self.sign(vec![entry])
    }

    fn entry(&mut self, deps: Vec<(Dot, DotTag)>, id: &str, name: &str) -> Vec<u8> {
        self.clock_ms += 1;
        let tags = deps.iter().copied().collect();
        let edit = Edit {
            collection: "patient".to_owned(),
            id: id.to_owned(),
            deps: deps.into_iter().map(|(dep, _)| dep).collect(),
            ops: vec![set_name(name)],
        };
        encode_change_set(&ChangeSet {
            implied: BTreeMap::new(),
            hlc: Timestamp::from_ms(self.clock_ms),
            schema_version: 1,
            person: String::new(),
            tags,
            edits: vec![edit],
        })
    }

    /// Appends and signs whatever is given.
    pub(super) fn sign(&mut self, entries: Vec<Vec<u8>>) -> Run {
        let from = self.seq + 1;
        self.seq += entries.len() as u64;
        for entry in &entries {
            self.chain = chain_next(&self.chain, entry);
            self.chains.push(self.chain);
        }
        let signature = sign_point(
            &self.key,
            &ORGANISATION,
            &self.header,
            self.seq,
            &self.chain,
        );
        Run {
            header: self.header.clone(),
            from,
            entries,
            signature,
        }
    }

    /// How this log stands in a telling with the salt of the puppets.
    pub(super) fn range_row(&self) -> RangeRow {
        RangeRow {
            log: self.log(),
            seq: self.seq,
            tag: SECRET.row_tag(&ORGANISATION, &SALT, &self.chain),
        }
    }

    /// How this log stands in a FRONT.
    pub(super) fn front_row(&self) -> FrontRow {
        let mut chain_tag = [0; 8];
        chain_tag.copy_from_slice(&self.chain[..8]);
        FrontRow {
            log: self.log(),
            seq: self.seq,
            chain_tag,
        }
    }
}
