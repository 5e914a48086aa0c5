//! The world at scale: the event queue, devices, people and what breaks.
//!
//! It carries out a plan event by event as [`crate::world`] does, with the same draws, so that both give the
//! same frames at the same moments. What it adds are the indexes without which a thousand devices would
//! search through one another's links.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crdt_schema::schema::{Collection, FieldType, Schema};
use fieldmesh::engine::batch::{Fetched, SessionId, WriteMode};
use fieldmesh::engine::input::{Input, LocalResult, Now};

use super::contact::{ContactState, Wire};
use super::device::Seat;
use super::is_possible;
use super::pool::{Pool, SharedPool};
use super::spread::Spread;
use crate::alike::{self, GROUP_MAX, KILL_NOTICE_MS, POWER_NOTICE_MS};
use crate::device::{Ask, Fetch};
use crate::draw::Draw;
use crate::holding::Holdings;
use crate::plan::{Act, FaultKind, Plan, schema};
use crate::queue::Queue;
use crate::verified;

/// Something that happens.
pub(super) enum Event {
    ContactStart(usize),
    ContactEnd(usize),
    Dial(usize),
    Arrive {
        wire: u64,
        end: usize,
        frame: Vec<u8>,
    },
    Hangup {
        wire: u64,
        end: usize,
    },
    Operation(usize),
    Fault(usize),
    Gone(usize),
    Boot(usize),
    /// Something about a device that was on when it was put in.
    Device {
        device: usize,
        life: u64,
        what: DeviceEvent,
    },
}

/// Something that happens on a device, unless that has been switched off since.
pub(super) enum DeviceEvent {
    Write,
    Commit,
    Report,
    Read(Fetch),
    Fetched(SessionId, Result<Fetched, String>),
    Wake,
}

/// Counts of what happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Events that were carried out.
    pub events: u64,
    /// Writes acknowledged.
    pub saved: u64,
    /// Contacts that began.
    pub contacts: u64,
    /// Connections that were made.
    pub connections: u64,
    /// Connections that ended while devices could reach each other.
    pub cuts: u64,
    /// Frames sent.
    pub frames: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Most connections at once.
    pub wires_max: usize,
}

/// What a run amounted to.
#[derive(Clone, Debug)]
pub struct ScaleOutcome {
    /// What happened.
    pub counts: Counts,
    /// How long entries took.
    pub spread: Spread,
    /// Bytes that each device sent, by number.
    pub sent: BTreeMap<usize, u64>,
    /// What the devices held at the horizon and in the end; empty unless they were asked to settle.
    pub holdings: [Holdings; 2],
    /// Virtual milliseconds until the fleet had settled, if it was asked to.
    pub settled_ms: Option<u64>,
}

pub(super) struct World<'p> {
    pub(super) plan: &'p Plan,
    pub(super) schema: Arc<Schema>,
    pub(super) draw: Draw,
    pub(super) pool: SharedPool,
    pub(super) queue: Queue<Event>,
    pub(super) seats: BTreeMap<usize, Seat>,
    pub(super) contacts: Vec<ContactState>,
    pub(super) wires: BTreeMap<u64, Wire>,
    /// The pairs that are connected, smaller number first, and by how many living connections.
    pub(super) pairs: BTreeMap<(usize, usize), usize>,
    pub(super) next_wire: u64,
    next_request: u64,
    pub(super) counts: Counts,
}

/// Carries out a plan until its horizon. `told` is called now and then with the virtual time.
///
/// # Errors
/// The plan asks for something that this fidelity does not know, or the schema is wrong.
pub fn run(plan: &Plan, told: &mut dyn FnMut(u64)) -> Result<ScaleOutcome, String> {
    let mut world = World::new(plan, Arc::new(schema()?))?;
    world.begin();
    world.run_days(told);
    Ok(world.finish(Default::default(), None))
}

/// Carries out a plan under a schema, and lets the fleet settle as the full fidelity does. `told` is called now and
/// then with the virtual time.
///
/// # Errors
/// As for [`run`], or the fleet does not settle.
pub fn run_and_settle(
    plan: &Plan,
    schema: &Arc<Schema>,
    told: &mut dyn FnMut(u64),
) -> Result<ScaleOutcome, ScaleError> {
    let mut world = World::new(plan, schema.clone()).map_err(ScaleError::Refused)?;
    world.begin();
    world.run_days(told);
    let at_horizon = world.holdings().map_err(ScaleError::Broken)?;
    let settled_ms = world.settle().map_err(ScaleError::Unsettled)?;
    world.last_quiet();
    let at_end = world.holdings().map_err(ScaleError::Broken)?;
    Ok(world.finish([at_horizon, at_end], Some(settled_ms)))
}

/// Why a plan was not carried out to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScaleError {
    /// It asks for something that this fidelity does not know.
    #[error("{0}")]
    Refused(String),
    /// A device's records cannot be read.
    #[error("{0}")]
    Broken(String),
    /// The fleet did not settle.
    #[error("{0}")]
    Unsettled(String),
}

impl<'p> World<'p> {
    fn new(plan: &'p Plan, schema: Arc<Schema>) -> Result<Self, String> {
        if super::plain(plan) != *plan {
            return Err(
                "the scale fidelity has no disks, hostile devices or copies of devices: use --fidelity full"
                    .to_owned(),
            );
        }
        let refers = |collection: &Collection| {
            let mut fields = collection.fields.values();
            fields.any(|field| match &field.kind {
                FieldType::Set { of } => matches!(**of, FieldType::Ref { .. }),
                kind => matches!(kind, FieldType::Ref { .. }),
            })
        };
        if schema
            .collections
            .iter()
            .any(|(_, collection)| refers(collection))
        {
            return Err(
                "the scale fidelity does not know references between records: use --fidelity full"
                    .to_owned(),
            );
        }
        verified::forget();
        let pool = Pool::of(plan.devices.len());
        let seats = plan
            .devices
            .iter()
            .map(|spec| (spec.device, Seat::new(spec.clone())));
        Ok(Self {
            plan,
            schema,
            draw: Draw::new(plan.header.seed),
            pool: SharedPool::new(pool.into()),
            queue: Queue::default(),
            seats: seats.collect(),
            contacts: plan
                .contacts
                .iter()
                .cloned()
                .map(ContactState::new)
                .collect(),
            wires: BTreeMap::new(),
            pairs: BTreeMap::new(),
            next_wire: 0,
            next_request: 1,
            counts: Counts::default(),
        })
    }

    fn finish(self, holdings: [Holdings; 2], settled_ms: Option<u64>) -> ScaleOutcome {
        let sent = self
            .seats
            .iter()
            .map(|(number, seat)| (*number, seat.sent_bytes));
        ScaleOutcome {
            counts: self.counts,
            sent: sent.collect(),
            spread: std::mem::take(&mut self.pool.borrow_mut().spread),
            holdings,
            settled_ms,
        }
    }

    /// Puts the whole plan into the queue, in the order in which the full fidelity does.
    fn begin(&mut self) {
        for spec in &self.plan.devices {
            self.queue.at(spec.born_ms, Event::Boot(spec.device));
            if let Some(gone_ms) = spec.gone_ms {
                self.queue.at(gone_ms, Event::Gone(spec.device));
            }
        }
        for (number, contact) in self.plan.contacts.iter().enumerate() {
            self.queue.at(contact.at_ms, Event::ContactStart(number));
            self.queue.at(contact.end_ms, Event::ContactEnd(number));
        }
        for (number, operation) in self.plan.operations.iter().enumerate() {
            self.queue.at(operation.at_ms, Event::Operation(number));
        }
        for (number, fault) in self.plan.faults.iter().enumerate() {
            self.queue.at(fault.at_ms, Event::Fault(number));
        }
    }

    /// Carries out what is due by the horizon.
    fn run_days(&mut self, told: &mut dyn FnMut(u64)) {
        /// How often the time is told.
        const TOLD_MS: u64 = 600_000;
        let horizon_ms = self.plan.header.horizon_ms;
        let mut now_ms = 0;
        while now_ms < horizon_ms {
            now_ms = (now_ms + TOLD_MS).min(horizon_ms);
            self.run_until(now_ms);
            told(now_ms);
        }
    }

    pub(super) fn run_until(&mut self, end_ms: u64) {
        while let Some(event) = self.queue.pop_until(end_ms) {
            self.counts.events += 1;
            self.step(event);
        }
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::ContactStart(number) => self.contact_start(number),
            Event::ContactEnd(number) => self.contact_end(number),
            Event::Dial(number) => self.dial(number),
            Event::Arrive { wire, end, frame } => self.arrive(wire, end, frame),
            Event::Hangup { wire, end } => self.hangup(wire, end),
            Event::Operation(number) => self.operate(number),
            Event::Fault(number) => self.fault(number),
            Event::Gone(number) => {
                self.power_off(number, POWER_NOTICE_MS);
                if let Some(seat) = self.seats.get_mut(&number) {
                    seat.is_gone = true;
                }
            }
            Event::Boot(number) => self.boot(number),
            Event::Device { device, life, what } => {
                let seat = self.seats.get(&device);
                if seat.is_some_and(|seat| seat.life == life && seat.device.is_some()) {
                    self.step_device(device, what);
                }
            }
        }
    }

    fn step_device(&mut self, number: usize, what: DeviceEvent) {
        match what {
            DeviceEvent::Write => self.write(number),
            DeviceEvent::Commit => self.commit(number),
            DeviceEvent::Report => {
                let seat = self.seats.get_mut(&number);
                if let Some(report) = seat.and_then(|seat| seat.unreported.pop_front()) {
                    self.feed(number, Input::Committed(report));
                }
            }
            DeviceEvent::Read(fetch) => self.read(number, &fetch),
            DeviceEvent::Fetched(session, result) => {
                self.feed(number, Input::Fetched { session, result });
            }
            DeviceEvent::Wake => self.wake(number),
        }
    }

    /// Puts in something that happens on a device in so many milliseconds.
    fn after(&mut self, device: usize, delay_ms: u64, what: DeviceEvent) {
        if let Some(seat) = self.seats.get(&device) {
            let life = seat.life;
            self.queue
                .after(delay_ms, Event::Device { device, life, what });
        }
    }

    /// Gives a device's engine an input and carries out what it asks for.
    pub(super) fn feed(&mut self, number: usize, input: Input) {
        let mono_ms = self.queue.now_ms();
        let Some(seat) = self.seats.get_mut(&number) else {
            return;
        };
        let unix_ms = seat.clock.read(mono_ms);
        let Some(device) = &mut seat.device else {
            return;
        };
        for ask in device.feed(Now { mono_ms, unix_ms }, input) {
            self.carry_out(number, ask);
        }
        self.await_deadline(number);
    }

    fn carry_out(&mut self, number: usize, ask: Ask) {
        match ask {
            Ask::Send(session, frame) => self.send(number, session, frame),
            Ask::Close(session, _) => self.close(session),
            Ask::Answer(_, result) => self.answered(&result),
            Ask::Write => self.after(number, 0, DeviceEvent::Write),
            Ask::Fetch(fetch) => {
                let delay_ms = self
                    .seats
                    .get(&number)
                    .map_or(0, |seat| seat.spec.fetch_ms / 2);
                self.after(number, delay_ms, DeviceEvent::Read(fetch));
            }
        }
    }

    fn answered(&mut self, result: &LocalResult) {
        self.counts.saved += u64::from(result.is_ok());
    }

    fn wake(&mut self, number: usize) {
        let now_ms = self.queue.now_ms();
        let Some(seat) = self.seats.get_mut(&number) else {
            return;
        };
        seat.wake_ms = None;
        let deadline = seat.device.as_ref().and_then(|device| device.deadline());
        if deadline.is_some_and(|deadline| deadline <= now_ms) {
            self.feed(number, Input::Timeout);
        } else {
            self.await_deadline(number);
        }
    }

    pub(super) fn await_deadline(&mut self, number: usize) {
        let Some(seat) = self.seats.get_mut(&number) else {
            return;
        };
        let deadline = seat.device.as_ref().and_then(|device| device.deadline());
        if let Some(deadline) = deadline
            && seat.wake_ms.is_none_or(|wake_ms| deadline < wake_ms)
        {
            seat.wake_ms = Some(deadline);
            let (life, device, what) = (seat.life, number, DeviceEvent::Wake);
            self.queue
                .at(deadline, Event::Device { device, life, what });
        }
    }

    fn operate(&mut self, number: usize) {
        let operation = &self.plan.operations[number];
        let Some(seat) = self.seats.get(&operation.device) else {
            return;
        };
        if seat.device.is_none() {
            return;
        }
        let request = self.next_request;
        let write = match &operation.act {
            Act::Network { online } => {
                let online = *online;
                return self.feed(operation.device, Input::Network { online });
            }
            Act::Write { edits, key } => {
                let (schema, mode) = (&self.schema, WriteMode::Upsert);
                super::device::write(schema, request, edits, key.as_ref(), mode)
            }
            Act::Update { edits } => {
                let (schema, mode) = (&self.schema, WriteMode::Update);
                super::device::write(schema, request, edits, None, mode)
            }
            // A plan that has these is refused.
            Act::Publish { .. } | Act::UseSchema { .. } | Act::Install { .. } => None,
            Act::Review { place, choice } => seat.device.as_ref().and_then(|device| {
                let store = device.store();
                store.answer_review(&seat.spec, request, *place, *choice)
            }),
        };
        if let Some(write) = write {
            self.next_request += 1;
            self.feed(operation.device, Input::Local(write));
        }
    }

    fn write(&mut self, number: usize) {
        let Some(seat) = self.seats.get_mut(&number) else {
            return;
        };
        let group = seat.spec.group.unwrap_or(GROUP_MAX);
        let commit_ms = seat.spec.commit_ms;
        if let Some(device) = &mut seat.device {
            device.begin_write(group);
        }
        self.after(number, commit_ms, DeviceEvent::Commit);
    }

    fn commit(&mut self, number: usize) {
        let now_ms = self.queue.now_ms();
        self.pool.borrow_mut().spread.at(now_ms);
        let report_ms = alike::report_ms(&self.draw, number, now_ms);
        let Some(seat) = self.seats.get_mut(&number) else {
            return;
        };
        let Some(device) = &mut seat.device else {
            return;
        };
        let report = device.commit();
        let has_queue = device.has_queue();
        seat.unreported.push_back(report);
        self.after(number, report_ms, DeviceEvent::Report);
        if has_queue {
            self.after(number, report_ms, DeviceEvent::Write);
        }
    }

    fn read(&mut self, number: usize, fetch: &Fetch) {
        let Some(seat) = self.seats.get(&number) else {
            return;
        };
        let bytes_max = fetch
            .bytes_max
            .min(seat.spec.fetch_bytes.unwrap_or(usize::MAX));
        let Some(device) = &seat.device else {
            return;
        };
        let result = device.read(fetch, bytes_max);
        let delay_ms = seat.spec.fetch_ms - seat.spec.fetch_ms / 2;
        let what = DeviceEvent::Fetched(fetch.session, result);
        self.after(number, delay_ms, what);
    }

    fn fault(&mut self, number: usize) {
        let fault = &self.plan.faults[number];
        let device = fault.device;
        let Some(seat) = self.seats.get_mut(&device).filter(|seat| !seat.is_gone) else {
            return;
        };
        let is_on = seat.device.is_some();
        let (down_ms, notice_ms) = match fault.kind {
            FaultKind::ClockJump { by_ms } => return seat.clock.jump(by_ms),
            FaultKind::Kill { down_ms, .. } => (down_ms, KILL_NOTICE_MS),
            FaultKind::PowerCut { down_ms, .. } => (down_ms, POWER_NOTICE_MS),
            ref other => {
                debug_assert!(!is_possible(other), "the plan was checked");
                return;
            }
        };
        if is_on {
            self.power_off(device, notice_ms);
            self.queue.after(down_ms, Event::Boot(device));
        }
    }

    fn power_off(&mut self, number: usize, notice_ms: u64) {
        let seat = self.seats.get_mut(&number);
        if let Some(seat) = seat.filter(|seat| seat.device.is_some()) {
            seat.end_process();
            self.drop_ends(number, notice_ms);
        }
    }

    pub(super) fn boot(&mut self, number: usize) {
        let now_ms = self.queue.now_ms();
        let Some(seat) = self.seats.get_mut(&number) else {
            return;
        };
        if seat.device.is_some() || seat.is_gone {
            return;
        }
        seat.start(now_ms, &self.pool, &self.schema, &self.draw);
        self.await_deadline(number);
        self.dial_from(number);
    }

    /// The devices that are not gone for ever, ascending.
    pub(super) fn living(&self) -> Vec<usize> {
        let living = self.seats.iter().filter(|(_, seat)| !seat.is_gone);
        living.map(|(number, _)| *number).collect()
    }

    fn holdings(&self) -> Result<Holdings, String> {
        let mut holdings = Holdings::new();
        for (number, seat) in &self.seats {
            if let Some(device) = &seat.device {
                holdings.insert(*number, device.store().holding()?);
            }
        }
        Ok(holdings)
    }
}

/// The contacts that are active, by the device that has them.
pub(super) type Active = BTreeSet<usize>;
