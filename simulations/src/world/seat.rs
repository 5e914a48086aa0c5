//! A device's place in the world: what is there whether it is switched on or not.

use std::collections::BTreeMap;

use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::{DeviceId, LogId};
use fieldmesh::engine::batch::{CommitReport, Held};
use fieldmesh::store::{StorePlace, WitnessRecord};

use crate::clock::Clock;
use crate::device::{Device, device_id};
use crate::disk::{DiskCounters, SimDisk};
use crate::hostile::Actor;
use crate::plan::DeviceSpec;

/// A device that may be on or off, its disk, its witness and its clock.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) spec: DeviceSpec,
    /// The number whose key it has: its own, or that of the device it is a copy of.
    pub(crate) identity: usize,
    pub(crate) device: Option<Device>,
    pub(crate) actor: Option<Actor>,
    pub(crate) disk: SimDisk,
    /// The small file outside the store, durable at once.
    pub(crate) witness: Option<WitnessRecord>,
    /// Tells the store's file from restored copies of it.
    pub(crate) file: u64,
    pub(crate) clock: Clock,
    /// How often it was switched on: events for an earlier life are void.
    pub(crate) life: u64,
    /// It is away until somebody switches it on again.
    pub(crate) is_gone: bool,
    /// What it has durably, as its own store reported; kept while it is off.
    pub(crate) durable: Held,
    /// What it had when its store was last lost, until it has it all again.
    pub(crate) wiped: Held,
    /// A fault that may lose what was acknowledged has happened since it was last started.
    pub(crate) may_lose: bool,
    /// Such a fault has happened at some time.
    pub(crate) has_lost: bool,
    /// The disk may have been damaged: its store may refuse to open.
    pub(crate) may_be_damaged: bool,
    /// What the device was, by the fault that restores it.
    pub(crate) backups: BTreeMap<usize, Backup>,
    /// Faults that wait for a transaction to happen in, by their place in the plan.
    pub(crate) awaited: Vec<usize>,
    /// Faults of its disk that have not been felt yet.
    pub(crate) ongoing: Vec<Ongoing>,
    /// What the transaction would have done in which it died, until it is started.
    pub(crate) cut_short: Option<CommitReport>,
    /// Transactions that are durable and not reported, oldest first.
    pub(crate) unreported: std::collections::VecDeque<CommitReport>,
    /// When the engine will be woken, if an event for it waits.
    pub(crate) wake_ms: Option<u64>,
    /// Reads for peers that have begun and not ended.
    pub(crate) reads: u64,
    /// The last arrival that was seen, since the store was last lost.
    pub(crate) arrival: u64,
    /// The log that it has written to since it was last started.
    pub(crate) own_log: Option<LogId>,
    /// The latest time that it has taken in from others since it was last started and must follow.
    pub(crate) taken: Timestamp,
    /// A write has failed since the device was started.
    pub(crate) has_failed: bool,
    /// The version of the schema file beside its store.
    pub(crate) own_version: u32,
    /// Whether an event for the next few views that must be derived anew waits.
    pub(crate) is_refreshing: bool,
}

/// A device's storage as it was.
#[derive(Debug)]
pub(crate) struct Backup {
    pub(crate) disk: SimDisk,
    pub(crate) witness: Option<WitnessRecord>,
    pub(crate) file: u64,
    /// The disk may have been damaged then.
    pub(crate) may_be_damaged: bool,
}

/// A fault of a disk that has begun.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ongoing {
    /// Its place in the plan.
    pub(crate) number: usize,
    /// What had been done with the disk until then.
    pub(crate) counters: DiskCounters,
}

impl Seat {
    pub(crate) fn new(spec: DeviceSpec, identity: usize, actor: Option<Actor>) -> Self {
        Self {
            clock: Clock::new(spec.clock),
            identity,
            device: None,
            actor,
            disk: SimDisk::default(),
            witness: None,
            file: 0,
            life: 0,
            is_gone: false,
            durable: Held::new(),
            wiped: Held::new(),
            may_lose: false,
            has_lost: false,
            may_be_damaged: false,
            backups: BTreeMap::new(),
            awaited: Vec::new(),
            ongoing: Vec::new(),
            cut_short: None,
            unreported: std::collections::VecDeque::new(),
            wake_ms: None,
            reads: 0,
            arrival: 0,
            taken: Timestamp::default(),
            has_failed: false,
            own_log: None,
            own_version: spec.schema,
            is_refreshing: false,
            spec,
        }
    }

    pub(crate) fn id(&self) -> DeviceId {
        device_id(self.identity)
    }

    pub(crate) fn is_honest(&self) -> bool {
        self.spec.role.is_honest()
    }

    /// Whether a session with it can be had.
    pub(crate) fn is_reachable(&self) -> bool {
        self.device.is_some() || (self.actor.is_some() && !self.is_gone)
    }

    pub(crate) fn place(&self) -> StorePlace {
        StorePlace {
            file: self.file,
            machine: format!("machine-{}", self.spec.device),
        }
    }

    /// Whether its store has a reason not to answer: the disk is full or may be damaged.
    pub(crate) fn is_troubled(&self) -> bool {
        self.may_be_damaged || self.disk.faults().full_from_write.is_some()
    }

    /// Whether a failure of its store may come from damage that no look has found, as in what a database keeps for
    /// itself. Then it is in doubt again.
    pub(crate) fn doubts_again(&mut self) -> bool {
        self.may_be_damaged |= self.disk.was_damaged();
        self.may_be_damaged
    }

    /// Notes outside the store what the store now is.
    pub(crate) fn record_witness(&mut self) {
        let Some(Ok(store)) = self.device.as_ref().map(Device::identity) else {
            return;
        };
        let place = self.place();
        self.witness = Some(WitnessRecord { store, place });
    }

    /// The process ends as it should: it closes its store, which so need not be repaired at the next start.
    pub(crate) fn close_store(&mut self) {
        drop(self.device.take());
        self.end_process();
    }

    /// The process is gone; the disk keeps what the operating system was given.
    pub(crate) fn end_process(&mut self) {
        self.life += 1;
        self.disk.kill();
        self.device = None;
        self.unreported.clear();
        self.wake_ms = None;
        self.reads = 0;
        self.taken = Timestamp::default();
        self.has_failed = false;
        self.own_log = None;
        self.is_refreshing = false;
    }
}
