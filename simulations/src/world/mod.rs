//! The world: a queue of events in virtual time, devices, links, people and what breaks.
//!
//! [`World::run`] is a pure function of the plan: it reads no clock, starts no thread and draws nothing
//! that the plan's seed does not determine. It has two phases. Until the horizon the plan is carried out
//! (*safety*). Then everything heals and the fleet must settle (*liveness*); see [`settle`]. The oracles
//! are asked on the way and at the end; the first that does not hold ends the run.

pub(crate) mod act;
mod amid;
mod causes;
pub(crate) mod contact;
mod event;
mod faults;
mod holding;
mod mend;
pub(crate) mod power;
mod rot;
mod seat;
pub(crate) mod settle;
mod settled;
pub(crate) mod store;
mod versions;
pub(crate) mod wire;
mod words;
mod written;

use std::collections::BTreeMap;

use fieldmesh::engine::input::{Input, Now};

use crate::device::{Ask, Device};
use crate::draw::Draw;
use crate::family::Family;
use crate::hostile::Actor;
use crate::ledger::Ledger;
use crate::likeness::{Crash, Stall};
use crate::oracle::{self, Oracle};
use crate::outcome::{Counts, Digest, Failure, Outcome, Verdict};
use crate::panics;
use crate::plan::{FaultKind, Plan};
use crate::queue::Queue;
use crate::sometimes::{Reached, Sometimes};
use crate::trace::{Line, Observer, TraceDevice};
use crate::verified;

use contact::ContactState;
use event::Event;
pub(crate) use seat::Seat;
use wire::Wire;

/// A run with more events has no end.
const EVENTS_MAX: u64 = 30_000_000;

/// A fleet, and all that is around it.
pub struct World<'o> {
    pub(crate) plan: Plan,
    pub(crate) family: Family,
    pub(crate) draw: Draw,
    observer: &'o mut dyn Observer,
    queue: Queue<Event>,
    pub(crate) seats: BTreeMap<usize, Seat>,
    contacts: Vec<ContactState>,
    wires: BTreeMap<u64, Wire>,
    next_wire: u64,
    next_request: u64,
    pub(crate) ledger: Ledger,
    pub(crate) reached: Reached,
    pub(crate) counts: Counts,
    digest: Digest,
    failure: Option<Failure>,
    events_max: u64,
}

impl std::fmt::Debug for World<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World")
            .field("now_ms", &self.queue.now_ms())
            .finish_non_exhaustive()
    }
}

impl<'o> World<'o> {
    /// Carries out a plan under the bundled schema. Never panics: a panic of what is simulated is a verdict.
    pub fn run(plan: &Plan, observer: &'o mut dyn Observer) -> Outcome {
        Self::run_within(plan, EVENTS_MAX, observer)
    }

    /// As [`Self::run`], with another bound on the number of events.
    pub fn run_within(plan: &Plan, events_max: u64, observer: &'o mut dyn Observer) -> Outcome {
        match Family::bundled() {
            Ok(family) => Self::play_under(plan, &family, events_max, observer),
            Err(why) => crashed(Crash {
                place: None,
                detail: format!("the schema: {why}"),
            }),
        }
    }

    /// Carries out a plan under these versions of a schema.
    pub fn run_under(plan: &Plan, family: &Family, observer: &'o mut dyn Observer) -> Outcome {
        Self::play_under(plan, family, EVENTS_MAX, observer)
    }

    fn play_under(
        plan: &Plan,
        family: &Family,
        events_max: u64,
        observer: &'o mut dyn Observer,
    ) -> Outcome {
        let play = || World::new(plan.clone(), family.clone(), events_max, observer).play();
        panics::caught(play).unwrap_or_else(crashed)
    }

    fn new(plan: Plan, family: Family, events_max: u64, observer: &'o mut dyn Observer) -> Self {
        verified::forget();
        let draw = Draw::new(plan.header.seed);
        let mut seats = BTreeMap::new();
        for spec in &plan.devices {
            let identity = spec.twin_of.unwrap_or(spec.device);
            let actor = Actor::new(spec.device, spec.role, draw);
            let actor = (!spec.role.is_honest()).then_some(actor);
            seats.insert(spec.device, Seat::new(spec.clone(), identity, actor));
        }
        let contacts = plan
            .contacts
            .iter()
            .cloned()
            .map(ContactState::new)
            .collect();
        Self {
            family,
            draw,
            observer,
            queue: Queue::default(),
            seats,
            contacts,
            wires: BTreeMap::new(),
            next_wire: 0,
            next_request: 1,
            ledger: Ledger::default(),
            reached: Reached::default(),
            counts: Counts::default(),
            digest: Digest::default(),
            failure: None,
            events_max,
            plan,
        }
    }

    fn play(mut self) -> Outcome {
        self.begin();
        self.run_days(self.plan.header.horizon_ms);
        let (settled_ms, unsettled) = self.come_to_rest();
        self.finish(settled_ms, unsettled)
    }

    /// The liveness phase and the last checks. Returns how long settling took, or what blocked it.
    fn come_to_rest(&mut self) -> (Option<u64>, Option<Stall>) {
        let mut settled_ms = None;
        let mut unsettled = None;
        if self.failure.is_none() {
            match self.settle() {
                Ok(after_ms) => settled_ms = after_ms,
                Err(why) => unsettled = Some(why),
            }
        }
        if self.failure.is_none() && unsettled.is_none() {
            let judged = oracle::judge(self);
            self.note_failure(judged);
        }
        if self.failure.is_none() && unsettled.is_none() {
            self.measure_settled();
            self.last_quiet();
        }
        if self.failure.is_none() && unsettled.is_none() && self.plan.mixes_versions() {
            let judged = oracle::judge_versions(self);
            self.note_failure(judged);
        }
        (settled_ms, unsettled)
    }

    fn finish(mut self, settled_ms: Option<u64>, unsettled: Option<Stall>) -> Outcome {
        let verdict = match (self.failure.take(), unsettled) {
            (Some(failure), _) if self.digest.events() > self.events_max => {
                Verdict::Crashed(Crash {
                    place: None,
                    detail: failure.detail,
                })
            }
            (Some(failure), _) => Verdict::Broken(failure),
            (None, Some(why)) => Verdict::Unsettled(why),
            (None, None) => Verdict::Held,
        };
        self.counts.events = self.digest.events();
        self.counts.saved = self.ledger.saved;
        self.counts.refused = std::mem::take(&mut self.ledger.refused);
        self.counts.answered = self.ledger.answered.len() as u64;
        let honest = self.seats.values().filter(|seat| seat.is_honest());
        self.counts.device_ms = self.queue.now_ms() * honest.count() as u64;
        let holdings = self.held_digest(verdict.is_held());
        let (digest, blocks) = self.digest.finish();
        Outcome {
            verdict,
            counts: self.counts,
            reached: self.reached,
            settled_ms,
            holdings,
            digest,
            blocks,
        }
    }

    /// Puts the whole plan into the queue.
    fn begin(&mut self) {
        let devices = self.seats.values().map(|seat| TraceDevice {
            name: format!("device {}", seat.spec.device),
            hub: seat.spec.role == crate::plan::Role::Hub,
        });
        let line = Line::World {
            devices: devices.collect(),
            horizon_ms: self.plan.header.horizon_ms,
        };
        self.observer.trace(&line);
        for spec in &self.plan.devices {
            let device = spec.device;
            if spec.role.is_honest() {
                let again = false;
                self.queue.at(spec.born_ms, Event::Boot { device, again });
            }
            if let Some(gone_ms) = spec.gone_ms {
                self.queue.at(gone_ms, Event::Gone(device));
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
            if let FaultKind::Restore { taken_ms, .. } | FaultKind::RestoreUnnoticed { taken_ms } =
                fault.kind
            {
                self.queue.at(taken_ms, Event::Backup(number));
            }
            self.queue.at(fault.at_ms, Event::Fault(number));
        }
    }

    /// Carries out what is due by `end_ms`, unless something does not hold before.
    fn run_until(&mut self, end_ms: u64) {
        while self.failure.is_none() {
            let Some(event) = self.queue.pop_until(end_ms) else {
                return;
            };
            self.step(event);
        }
    }

    fn step(&mut self, event: Event) {
        self.digest.add(self.queue.now_ms(), &event);
        if self.observer.wants_notes() && !matches!(event, Event::Wake { .. }) {
            let (words, part) = (self.words(&event), event.part());
            self.observer.note(self.queue.now_ms(), &words, part);
        }
        if self.digest.events() > self.events_max {
            let detail = format!("more than {} events", self.events_max);
            return self.break_oracle(Oracle::Bounded, detail);
        }
        match event {
            Event::ContactStart(number) => self.contact_start(number),
            Event::ContactEnd(number) => self.contact_end(number),
            Event::Dial(number) => self.dial(number),
            Event::Arrive { wire, end, frame } => self.arrive(wire, end, frame.0),
            Event::Hangup { wire, end } => self.hangup(wire, end),
            Event::Operation(number) => self.operate(number),
            Event::Backup(number) => self.back_up(number),
            Event::Fault(number) => self.fault(number),
            Event::FaultEnd(number) => self.fault_end(number),
            Event::Gone(device) => self.gone(device),
            Event::Boot { device, again } => self.boot(device, again),
            Event::Write { device, life } if self.lives(device, life) => self.write(device),
            Event::Commit { device, life } if self.lives(device, life) => self.commit(device),
            Event::Report { device, life } if self.lives(device, life) => self.report(device),
            Event::Read {
                device,
                life,
                fetch,
            } if self.lives(device, life) => self.read(device, &fetch.0),
            Event::Fetched {
                device,
                life,
                session,
                result,
            } if self.lives(device, life) => self.fetched(device, session, result.0),
            Event::Wake { device, life } if self.lives(device, life) => self.wake(device),
            Event::Refresh { device, life } if self.lives(device, life) => self.refresh(device),
            // A device that was killed meanwhile has forgotten what it waited for.
            Event::Write { .. }
            | Event::Commit { .. }
            | Event::Report { .. }
            | Event::Read { .. }
            | Event::Fetched { .. }
            | Event::Refresh { .. }
            | Event::Wake { .. } => {}
        }
    }

    /// The device of that number, if it is on.
    pub(crate) fn device(&self, number: usize) -> Option<&Device> {
        self.seats.get(&number)?.device.as_ref()
    }

    fn lives(&self, device: usize, life: u64) -> bool {
        let seat = self.seats.get(&device);
        seat.is_some_and(|seat| seat.life == life && seat.device.is_some())
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

    /// Gives a device's engine an input and carries out what it asks for. Never calls itself.
    fn feed(&mut self, number: usize, input: Input) {
        let now_ms = self.queue.now_ms();
        let Some(seat) = self.seats.get_mut(&number) else {
            return;
        };
        let unix_ms = seat.clock.read(now_ms);
        let Some(device) = &mut seat.device else {
            return;
        };
        let now = Now {
            mono_ms: now_ms,
            unix_ms,
        };
        for ask in device.feed(now, input) {
            self.carry_out(number, ask);
        }
        self.await_deadline(number);
    }

    fn await_deadline(&mut self, number: usize) {
        let Some(seat) = self.seats.get_mut(&number) else {
            return;
        };
        let deadline = seat.device.as_ref().and_then(|device| device.deadline());
        if let Some(deadline) = deadline
            && seat.wake_ms.is_none_or(|wake_ms| deadline < wake_ms)
        {
            seat.wake_ms = Some(deadline);
            let life = seat.life;
            let device = number;
            self.queue.at(deadline, Event::Wake { device, life });
        }
    }

    fn carry_out(&mut self, number: usize, ask: Ask) {
        let life = self.seats.get(&number).map_or(0, |seat| seat.life);
        match ask {
            Ask::Send(session, frame) => self.send(number, session, frame),
            Ask::Close(session, reason) => self.close(session, &reason),
            Ask::Answer(request, result) => self.answered(number, request, result),
            Ask::Write => {
                let device = number;
                self.queue.after(0, Event::Write { device, life });
            }
            Ask::Fetch(fetch) => self.begin_read(number, life, fetch),
        }
    }

    fn break_oracle(&mut self, oracle: Oracle, detail: String) {
        let at_ms = self.queue.now_ms();
        self.failure.get_or_insert(Failure {
            oracle,
            at_ms,
            detail,
        });
    }

    fn note_failure(&mut self, judged: Result<(), (Oracle, String)>) {
        if let Err((oracle, detail)) = judged {
            self.break_oracle(oracle, detail);
        }
    }

    fn reach(&mut self, state: Sometimes) {
        self.reached.note(state);
    }

    fn tell(&mut self, text: &str) {
        if self.observer.wants_notes() {
            self.observer.note(self.queue.now_ms(), text, None);
        }
    }
}

fn crashed(why: Crash) -> Outcome {
    Outcome {
        verdict: Verdict::Crashed(why),
        counts: Counts::default(),
        reached: Reached::default(),
        settled_ms: None,
        holdings: String::new(),
        digest: String::new(),
        blocks: Vec::new(),
    }
}
