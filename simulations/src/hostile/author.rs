//! The logs that hostile devices write: signed and chained as they should be, whatever their entries say.

use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::{DeviceId, Dot, LogId, SpaceName};
use crdt_schema::op::{ChangeSet, Edit, Implied, Op};
use crdt_schema::value::Value;
use ed25519_dalek::SigningKey;
use fieldmesh::engine::batch::{LogHeader, Run};
use fieldmesh::wire::chain::{chain_next, chain_start, log_id, sign_point};
use fieldmesh::wire::changeset::encode_change_set;

use super::LIAR_PREFIX;
use crate::device::{ORGANISATION, device_id, signing_key};

/// A log that a hostile device writes.
#[derive(Clone, Debug)]
pub(super) struct Author {
    key: SigningKey,
    pub(super) header: LogHeader,
    seq: u64,
    chain: [u8; 32],
}

impl Author {
    pub(super) fn new(number: usize, nonce: u64) -> Self {
        let (space, device) = (SpaceName::default(), device_id(number));
        let name = format!("liar {number}");
        let header = LogHeader {
            log: log_id(nonce.to_le_bytes(), &space, &device, &name),
            space,
            device,
            name,
            branch_of: None,
        };
        Self {
            key: signing_key(number),
            chain: chain_start(&ORGANISATION, &header),
            header,
            seq: 0,
        }
    }

    /// The same author, who writes under the id of a log that is not theirs.
    pub(super) fn taking(mut self, log: LogId) -> Self {
        self.header.log = log;
        self.chain = chain_start(&ORGANISATION, &self.header);
        self
    }

    pub(super) fn entry(&self, ms: u64, op: Op) -> Vec<u8> {
        let name = Op::Set {
            key: "name".to_owned(),
            value: Value::Text(format!("{ms}")),
        };
        self.encode(ms, Vec::new(), vec![name, op])
    }

    fn encode(&self, ms: u64, deps: Vec<Dot>, ops: Vec<Op>) -> Vec<u8> {
        encode_change_set(&ChangeSet {
            implied: Default::default(),
            hlc: Timestamp::from_ms(ms),
            schema_version: 1,
            person: String::new(),
            tags: deps.iter().map(|dep| (*dep, [0; 2])).collect(),
            edits: vec![Edit {
                collection: "patient".to_owned(),
                id: format!("{LIAR_PREFIX}{}", hex::encode(&self.header.log.0[..4])),
                deps,
                ops,
            }],
        })
    }

    /// An entry whose edits do not name their records.
    pub(super) fn implying(&self, ms: u64, told: &[Implied]) -> Vec<u8> {
        let edit = Edit {
            collection: String::new(),
            id: String::new(),
            deps: Vec::new(),
            ops: vec![counter(1)],
        };
        encode_change_set(&ChangeSet {
            hlc: Timestamp::from_ms(ms),
            schema_version: 1,
            person: String::new(),
            edits: vec![edit; told.len()],
            tags: Default::default(),
            implied: told.iter().copied().enumerate().collect(),
        })
    }

    pub(super) fn single(&mut self, ms: u64) -> Run {
        let entry = self.entry(ms, counter(1));
        self.run(vec![entry])
    }

    /// An entry that depends on one that nobody has.
    pub(super) fn orphan(&mut self, ms: u64) -> Run {
        let nobody: DeviceId = device_id(self.header.log.0[0] as usize + 5_000);
        let space = SpaceName::default();
        let log = log_id([3; 8], &space, &nobody, "nobody");
        let cause = Dot::new(log, 1);
        let entry = self.encode(ms, vec![cause], vec![counter(1)]);
        self.run(vec![entry])
    }

    pub(super) fn run(&mut self, entries: Vec<Vec<u8>>) -> Run {
        let from = self.seq + 1;
        self.seq += entries.len() as u64;
        for entry in &entries {
            self.chain = chain_next(&self.chain, entry);
        }
        let (header, seq) = (self.header.clone(), self.seq);
        let signature = sign_point(&self.key, &ORGANISATION, &header, seq, &self.chain);
        Run {
            header,
            from,
            entries,
            signature,
        }
    }
}

/// An op that adds to a counter.
pub(super) fn counter(delta: i64) -> Op {
    let key = "visits".to_owned();
    Op::Add { key, delta }
}
