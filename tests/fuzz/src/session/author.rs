//! Whoever writes a log with a member's key, honestly or not.

use std::collections::BTreeMap;

use arbitrary::{Result, Unstructured};
use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::{Dot, LogId, SpaceName};
use crdt_schema::op::{ChangeSet, Edit, Implied, Op};
use crdt_schema::value::Value;
use ed25519_dalek::SigningKey;
use fieldmesh::engine::batch::{LogHeader, Run};
use fieldmesh::wire::chain::{chain_next, chain_start, log_id, sign_point};
use fieldmesh::wire::changeset::encode_change_set;
use fieldmesh::wire::message::FrontRow;

use super::device::{SECRET, device_id};
use crate::seeds::{ORGANISATION, signer};

/// One log and where its author is.
#[derive(Clone)]
pub(super) struct Author {
    key: SigningKey,
    header: LogHeader,
    seq: u64,
    chain: [u8; 32],
    clock_ms: u64,
}

impl Author {
    /// Log `log` of device `number`.
    pub(super) fn new(number: u8, log: u8) -> Self {
        let (space, device) = (SpaceName::default(), device_id(number));
        let name = format!("tablet {number}");
        let header = LogHeader {
            log: log_id([log; 8], &space, &device, &name),
            space,
            device,
            name,
            branch_of: None,
        };
        let chain = chain_start(&ORGANISATION, &header);
        let clock_ms = 1_790_000_000_000;
        Self {
            key: signer(number),
            header,
            seq: 0,
            chain,
            clock_ms,
        }
    }

    pub(super) fn log(&self) -> LogId {
        self.header.log
    }

    /// How the log stands in a FRONT.
    pub(super) fn front_row(&self) -> FrontRow {
        let chain_tag = std::array::from_fn(|index| self.chain[index]);
        FrontRow {
            log: self.log(),
            seq: self.seq,
            chain_tag,
        }
    }

    /// The tag of the log's end in a telling with this salt.
    pub(super) fn row_tag(&self, salt: &[u8; 8]) -> [u8; 4] {
        SECRET.row_tag(&ORGANISATION, salt, &self.chain)
    }

    /// One entry that nobody can object to.
    pub(super) fn honest_run(&mut self, unix_ms: u64) -> Run {
        self.clock_ms = self.clock_ms.max(unix_ms);
        let op = Op::Set {
            key: "name".to_owned(),
            value: Value::Text("Siaya".to_owned()),
        };
        let entry = self.entry("place", "honest", Vec::new(), vec![op]);
        self.sign(vec![entry])
    }

    /// A few entries, and with some luck something wrong with them.
    pub(super) fn some_run(&mut self, drawn: &mut Unstructured<'_>) -> Result<Run> {
        let before = self.clone();
        let count = drawn.int_in_range(1..=4)?;
        let entries = (0..count)
            .map(|_| self.some_entry(drawn))
            .collect::<Result<Vec<_>>>()?;
        let mut run = self.sign(entries);
        match drawn.int_in_range(0..=15)? {
            0 => run.from = drawn.int_in_range(1..=1 << 41)?,
            1 => run.signature[drawn.choose_index(64)?] ^= 1,
            2 => run.header.device = device_id(7),
            3 => run.header.name.push('x'),
            4 => run.header.log = LogId(drawn.arbitrary()?),
            5 => run.entries[0] = drawn.arbitrary::<[u8; 24]>()?.to_vec(),
            6 => run.entries.push(Vec::new()),
            // The log is written twice from here: a fork.
            7 => *self = before,
            8 => run.header.space = SpaceName::new("clinic/elsewhere").expect("a good name"),
            _ => {}
        }
        Ok(run)
    }

    fn some_entry(&mut self, drawn: &mut Unstructured<'_>) -> Result<Vec<u8>> {
        match drawn.int_in_range(0..=9)? {
            0 => self.clock_ms += drawn.int_in_range(0..=1 << 47)?,
            1 => {
                self.clock_ms = self
                    .clock_ms
                    .saturating_sub(drawn.arbitrary::<u32>()?.into())
            }
            _ => {}
        }
        let deps = match drawn.int_in_range(0..=5)? {
            0 => vec![Dot::new(LogId(drawn.arbitrary()?), drawn.arbitrary()?)],
            1 if self.seq > 0 => vec![Dot::new(self.log(), self.seq)],
            2 => vec![Dot::new(self.log(), self.seq + 2)],
            3 => return self.pointing_entry(drawn),
            _ => Vec::new(),
        };
        let collection = *drawn.choose(&["place", "patient", "nothing", "fieldmesh_schema"])?;
        let id = *drawn.choose(&["mine-0", "mine-1", "p", "golden-2"])?;
        let key = (*drawn.choose(&["name", "visits", "lat", "unknown", "part_1"])?).to_owned();
        let op = match drawn.int_in_range(0..=5)? {
            0 => Op::Add {
                key,
                delta: drawn.arbitrary()?,
            },
            1 => Op::Delete {
                reason: String::new(),
            },
            2 => Op::Set {
                key,
                value: Value::Number(drawn.arbitrary()?),
            },
            3 => Op::Set {
                key,
                value: Value::Text("x".repeat(drawn.int_in_range(0..=5_000)?)),
            },
            4 => Op::Insert {
                key,
                element: Value::Integer(drawn.arbitrary()?),
            },
            _ => Op::Set {
                key,
                value: Value::Text("some name".to_owned()),
            },
        };
        Ok(self.entry(collection, id, deps, vec![op]))
    }

    /// An entry whose edits point to earlier ones, of which there may be none.
    fn pointing_entry(&mut self, drawn: &mut Unstructured<'_>) -> Result<Vec<u8>> {
        self.clock_ms += 1;
        let mut set = ChangeSet {
            hlc: Timestamp::from_ms(self.clock_ms),
            schema_version: 1,
            person: String::new(),
            edits: Vec::new(),
            tags: BTreeMap::new(),
            implied: BTreeMap::new(),
        };
        for place in 0..drawn.int_in_range(1..=2)? {
            let (back, edit) = (drawn.int_in_range(1..=4)?, drawn.int_in_range(0..=1)?);
            set.implied.insert(place, Implied { back, edit });
            set.edits.push(Edit {
                collection: String::new(),
                id: String::new(),
                deps: Vec::new(),
                ops: vec![Op::Set {
                    key: "name".to_owned(),
                    value: Value::Text("some name".to_owned()),
                }],
            });
        }
        Ok(encode_change_set(&set))
    }

    fn entry(&mut self, collection: &str, id: &str, deps: Vec<Dot>, ops: Vec<Op>) -> Vec<u8> {
        self.clock_ms += 1;
        encode_change_set(&ChangeSet {
            implied: BTreeMap::new(),
            hlc: Timestamp::from_ms(self.clock_ms),
            schema_version: 1,
            person: String::new(),
            tags: deps.iter().map(|dep| (*dep, [0; 2])).collect(),
            edits: vec![Edit {
                collection: collection.to_owned(),
                id: id.to_owned(),
                deps,
                ops,
            }],
        })
    }

    fn sign(&mut self, entries: Vec<Vec<u8>>) -> Run {
        let from = self.seq + 1;
        self.seq += entries.len() as u64;
        self.chain = entries
            .iter()
            .fold(self.chain, |chain, entry| chain_next(&chain, entry));
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
}
