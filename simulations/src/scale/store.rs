//! A device's store in memory: how far it holds each log, where its points are, and in which order things
//! arrived. The entries themselves are in the [`super::pool`].
//!
//! Points, stretches and reports are made as the real store makes them, so that frames are the same bytes; a
//! test plays plans over both and compares. It is always durable and never fails: what disks do to a store is
//! for the full fidelity to find.
//!
//! It knows one space, and no forks: it answers no questions about damaged logs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::DeviceId;
use crdt_schema::op::ChangeSet;
use crdt_schema::schema::Schema;
use ed25519_dalek::SigningKey;
use fieldmesh::engine::batch::repair::{Found, Look, Repair, Repaired};
use fieldmesh::engine::batch::{
    Arrival, Batch, CommitOutcome, CommitReport, Fetched, FrontierRow, Held, Opening, PeerRow,
    RemoteOutcome, SessionId, StoreFault, VerifiedRun, Walk,
};
use fieldmesh::wire::chain::sign_point;
use fieldmesh::wire::limits::POINT_GAP_BYTES;

use super::pool::{Pool, SharedPool};
use super::{author, fetch};
use crate::device::ORGANISATION;
use crate::keep::Keep;

/// Consecutive arrivals that are consecutive entries of one log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    pub(super) first: u32,
    pub(super) log: u32,
    pub(super) from: u32,
    pub(super) count: u32,
}

impl Stretch {
    /// The last arrival.
    pub(super) fn last(&self) -> Arrival {
        u64::from(self.first) + u64::from(self.count) - 1
    }
}

/// How far one log is held. A log that is not held has no entry.
#[derive(Clone, Debug, Default)]
pub(super) struct HeldLog {
    pub(super) seq: u32,
    /// Where it is signed, ascending.
    pub(super) points: Vec<u32>,
    /// Entry bytes between the last two points.
    gap_bytes: u64,
    /// Entry bytes after the last point.
    fresh_bytes: u64,
}

/// What is remembered of a request: the digest of it and its answer.
pub(super) type Answered = ([u8; 32], CommitOutcome);

/// The store of one device.
#[derive(Debug)]
pub(super) struct MemoryStore {
    pub(super) pool: SharedPool,
    pub(super) schema: Arc<Schema>,
    signer: SigningKey,
    /// By the pool's number.
    pub(super) logs: Vec<HeldLog>,
    pub(super) stretches: Vec<Stretch>,
    pub(super) own: Option<u32>,
    /// Our own log, when its last entries await a signature.
    unsigned: Option<u32>,
    pub(super) arrival: Arrival,
    peers: BTreeMap<DeviceId, PeerRow>,
    pub(super) answered: BTreeMap<String, Answered>,
    /// The logs that the transaction is about.
    touched: BTreeSet<u32>,
}

impl MemoryStore {
    pub(super) fn new(pool: SharedPool, schema: Arc<Schema>, signer: SigningKey) -> Self {
        Self {
            pool,
            schema,
            signer,
            logs: Vec::new(),
            stretches: Vec::new(),
            own: None,
            unsigned: None,
            arrival: 0,
            peers: BTreeMap::new(),
            answered: BTreeMap::new(),
            touched: BTreeSet::new(),
        }
    }

    /// What the engine needs to start.
    pub(super) fn opening(&self) -> Opening {
        let pool = self.pool.borrow();
        let device = DeviceId(self.signer.verifying_key().to_bytes());
        let held = (0..).zip(&self.logs).filter(|(_, log)| log.seq > 0);
        let frontier: Vec<FrontierRow> = held
            .map(|(number, log)| pool.log(number).row(u64::from(log.seq)))
            .collect();
        let ours = frontier.iter().filter(|row| row.header.device == device);
        Opening {
            last_hlc: ours.map(|row| row.hlc).max().unwrap_or_default(),
            own_logs: self
                .own
                .map(|own| pool.log(own).header.clone())
                .into_iter()
                .collect(),
            peers: self.peers.values().cloned().collect(),
            arrival: self.arrival,
            frontier,
        }
    }

    /// How far each log is held.
    pub(super) fn held(&self) -> Held {
        let pool = self.pool.borrow();
        let held = (0..).zip(&self.logs).filter(|(_, log)| log.seq > 0);
        held.map(|(number, log)| (pool.log(number).header.log, u64::from(log.seq)))
            .collect()
    }

    pub(super) fn seq(&self, number: u32) -> u64 {
        let log = self.logs.get(number as usize);
        log.map_or(0, |log| u64::from(log.seq))
    }

    fn log_mut(&mut self, number: u32) -> &mut HeldLog {
        let place = number as usize;
        if self.logs.len() <= place {
            self.logs.resize_with(place + 1, HeldLog::default);
        }
        &mut self.logs[place]
    }

    /// Writes an entry of our own, to be signed before anything of another log follows.
    pub(super) fn append_own(
        &mut self,
        pool: &mut Pool,
        number: u32,
        entry: &[u8],
        set: &ChangeSet,
    ) {
        let fresh_bytes = self.log_mut(number).fresh_bytes;
        if fresh_bytes + entry.len() as u64 > POINT_GAP_BYTES as u64 {
            self.sign_own(pool);
        }
        if self.seq(number) == pool.log(number).len() {
            pool.write(number, entry, set);
        }
        self.append(pool, number);
        self.unsigned = Some(number);
    }

    /// Appends the entry of the pool that comes next.
    fn append(&mut self, pool: &mut Pool, number: u32) {
        let seq = self.seq(number) + 1;
        if self.stretches.last().is_none_or(|last| last.log != number) {
            self.sign_own(pool);
            self.stretches.push(Stretch {
                first: self.arrival as u32 + 1,
                log: number,
                from: seq as u32,
                count: 0,
            });
        }
        if let Some(stretch) = self.stretches.last_mut() {
            stretch.count += 1;
        }
        let log = self.log_mut(number);
        log.seq += 1;
        log.fresh_bytes += pool.log(number).bytes(seq).len() as u64;
        self.arrival += 1;
        self.touched.insert(number);
        pool.arrived(number, seq);
    }

    fn sign_own(&mut self, pool: &mut Pool) {
        let Some(number) = self.unsigned.take() else {
            return;
        };
        let seq = self.seq(number);
        let row = pool.log(number).row(seq);
        let signature = sign_point(&self.signer, &ORGANISATION, &row.header, seq, &row.chain);
        pool.sign(number, seq, signature);
        self.put_point(number);
    }

    /// Sets a point at the log's end, and drops the one before it when the two lie close together in one
    /// stretch.
    fn put_point(&mut self, number: u32) {
        let Some(stretch) = self.stretches.last().copied() else {
            return;
        };
        let log = self.log_mut(number);
        let point = log.points.last().copied().unwrap_or(0);
        if point == log.seq {
            return;
        }
        let is_inside = point >= stretch.from;
        if is_inside && log.gap_bytes + log.fresh_bytes <= POINT_GAP_BYTES as u64 {
            log.points.pop();
            log.gap_bytes += log.fresh_bytes;
        } else {
            log.gap_bytes = log.fresh_bytes;
        }
        log.points.push(log.seq);
        log.fresh_bytes = 0;
    }

    fn remote(&mut self, pool: &mut Pool, runs: &[VerifiedRun]) -> Result<(), StoreFault> {
        for VerifiedRun { run, .. } in runs {
            let log = run.header.log;
            let number = pool.number(&log).filter(|number| {
                run.from <= self.seq(*number) + 1 && run.last() <= pool.log(*number).len()
            });
            let Some(number) = number else {
                let why = format!("a run of log {log} does not continue what is held");
                return Err(StoreFault::Failed(why));
            };
            self.touched.insert(number);
            let held = self.seq(number);
            for _ in held..run.last() {
                self.append(pool, number);
            }
            self.put_point(number);
            if run.last() > held && self.own == Some(number) {
                self.own = None;
            }
        }
        Ok(())
    }
}

impl Keep for MemoryStore {
    fn commit(&mut self, batches: Vec<Batch>) -> CommitReport {
        let shared = SharedPool::clone(&self.pool);
        let pool = &mut *shared.borrow_mut();
        let mut report = CommitReport::default();
        for batch in batches {
            match batch {
                Batch::Local(commit) => {
                    let result = author::write(self, pool, &commit);
                    report.local.push((commit.request, result));
                }
                Batch::Remote { batch, runs } => {
                    let result = self.remote(pool, &runs);
                    report.remote.push(RemoteOutcome { batch, result });
                }
                Batch::Peer(peer) => {
                    self.peers.insert(peer.device, peer);
                }
                Batch::Repair(session, repair) => {
                    report.repairs.push(not_repaired(session, &repair));
                }
            }
        }
        self.sign_own(pool);
        let touched = std::mem::take(&mut self.touched);
        report.rows = touched
            .into_iter()
            .map(|number| pool.log(number).row(self.seq(number)))
            .collect();
        report.rows.sort_by_key(|row| row.header.log);
        report.arrival = self.arrival;
        report
    }

    fn fetch(&self, walk: &Walk, known: &Held, bytes_max: usize) -> Result<Fetched, String> {
        fetch::fetch(self, walk, known, bytes_max)
    }

    fn look(&self, look: &Look) -> Result<Found, String> {
        Ok(match look {
            Look::Run { log, .. } => Found::Run {
                log: *log,
                run: None,
            },
            Look::Tags { log, .. } => Found::Tags {
                log: *log,
                rows: Vec::new(),
                damaged: None,
            },
        })
    }
}

fn not_repaired(session: SessionId, repair: &Repair) -> Repaired {
    Repaired {
        session,
        log: repair.log(),
        result: Err("a store in memory repairs nothing".to_owned()),
    }
}

/// The time of the last entry of a log that is held up to `seq`.
pub(super) fn last_hlc(pool: &Pool, number: u32, seq: u64) -> Timestamp {
    pool.log(number).row(seq).hlc
}
