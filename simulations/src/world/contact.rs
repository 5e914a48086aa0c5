//! Contacts and connections: who can reach whom, and what travels.
//!
//! While two devices are in contact they keep one connection, and dial again when it ends. When a contact
//! ends, neither side learns of it at once, and not at the same time, so half-open sessions meet new ones.

use fieldmesh::engine::batch::SessionId;
use fieldmesh::engine::effect::CloseReason;
use fieldmesh::engine::input::Input;
use fieldmesh::wire::message::Message;

use super::World;
use super::event::{Bytes, Event};
use super::wire::{Wire, end_of, session_of};
use crate::alike::{self, CUT_NOTICE_MS, DIALS_MAX, NOTICE_MS_MAX, STARTED_DIAL_MS};
use crate::link::Passage;
use crate::oracle::{self, Oracle};
use crate::plan::Contact;
use crate::sometimes::Sometimes;
use crate::trace::{Line, Measured};

/// A contact of the plan, or one of the time after the faults.
#[derive(Debug)]
pub(super) struct ContactState {
    pub(super) contact: Contact,
    pub(super) is_active: bool,
    pub(super) dials: u32,
    /// Never given up.
    pub(super) is_lasting: bool,
}

impl ContactState {
    pub(super) fn new(contact: Contact) -> Self {
        Self {
            contact,
            is_active: false,
            dials: 0,
            is_lasting: false,
        }
    }
}

impl World<'_> {
    pub(super) fn contact_start(&mut self, number: usize) {
        let state = &mut self.contacts[number];
        state.is_active = true;
        let Contact { a, b, class, .. } = state.contact;
        self.counts.contacts += 1;
        let t_ms = self.queue.now_ms();
        self.observer
            .trace(&Line::ContactStart { t_ms, a, b, class });
        self.queue.after(0, Event::Dial(number));
    }

    pub(super) fn contact_end(&mut self, number: usize) {
        let state = &mut self.contacts[number];
        state.is_active = false;
        let Contact { a, b, class, .. } = state.contact;
        let t_ms = self.queue.now_ms();
        self.observer.trace(&Line::ContactEnd { t_ms, a, b, class });
        let wires: Vec<u64> = self
            .wires
            .iter()
            .filter(|(_, wire)| wire.contact == number)
            .map(|(id, _)| *id)
            .collect();
        for wire in wires {
            self.sever(wire, NOTICE_MS_MAX);
        }
        let judged = oracle::after_contact(self, a, b);
        self.note_failure(judged);
    }

    /// Nothing arrives on a connection any more; each end notices some time within `notice_ms`.
    fn sever(&mut self, id: u64, notice_ms: u64) {
        let Some(wire) = self.wires.get_mut(&id) else {
            return;
        };
        wire.is_dead = true;
        for end in 0..2 {
            let delay_ms = alike::notice_ms(&self.draw, wire.key, end, notice_ms);
            self.queue.after(delay_ms, Event::Hangup { wire: id, end });
        }
    }

    pub(super) fn dial(&mut self, number: usize) {
        let Some(ends) = self.may_dial(number) else {
            return;
        };
        let state = &mut self.contacts[number];
        state.dials += 1;
        let lanes = alike::lanes(&state.contact, state.dials);
        let key = alike::wire_key(&state.contact, state.dials);
        let id = self.next_wire;
        self.next_wire += 1;
        let held = ends.map(|end| self.seats[&end].durable.clone());
        if held[0] == held[1] && !held[0].is_empty() {
            self.reach(Sometimes::EqualRootsSaidNothing);
        }
        self.wires
            .insert(id, Wire::new((number, key), ends, lanes, held));
        let is_between_honest = ends.iter().all(|end| self.seats[end].is_honest());
        self.counts.connections += u64::from(is_between_honest);
        for end in 0..2 {
            self.open_end(id, ends, end);
        }
    }

    /// The two devices of a contact, if they can and should be connected.
    fn may_dial(&self, number: usize) -> Option<[usize; 2]> {
        let state = &self.contacts[number];
        let ends = [state.contact.a, state.contact.b];
        let seats = [self.seats.get(&ends[0])?, self.seats.get(&ends[1])?];
        let is_possible = state.is_active
            && (state.is_lasting || state.dials < DIALS_MAX)
            && seats.iter().all(|seat| seat.is_reachable())
            && seats.iter().any(|seat| seat.is_honest())
            && seats[0].identity != seats[1].identity;
        let is_connected = self
            .wires
            .values()
            .any(|wire| !wire.is_dead && ends.iter().all(|end| wire.ends.contains(end)));
        (is_possible && !is_connected).then_some(ends)
    }

    fn open_end(&mut self, id: u64, ends: [usize; 2], end: usize) {
        let session = session_of(id, end);
        let other = &self.seats[&ends[1 - end]];
        let (device, held) = (other.id(), other.durable.clone());
        let identity = other.identity;
        let Some(seat) = self.seats.get_mut(&ends[end]) else {
            return;
        };
        if let Some(actor) = &mut seat.actor {
            for frame in actor.open(identity, &held) {
                self.send(ends[end], session, frame);
            }
        } else {
            self.feed(ends[end], Input::SessionOpened { session, device });
        }
    }

    pub(super) fn send(&mut self, from: usize, session: SessionId, frame: Vec<u8>) {
        let (id, end) = end_of(session);
        let Some(wire) = self.wires.get_mut(&id).filter(|wire| wire.is_open[end]) else {
            return;
        };
        let to = wire.ends[1 - end];
        let (t_ms, bytes) = (self.queue.now_ms(), frame.len());
        if wire.is_dead {
            return;
        }
        let is_between_honest = self.seats[&from].is_honest() && self.seats[&to].is_honest();
        if is_between_honest {
            self.counts.frames += 1;
            self.counts.bytes += bytes as u64;
            self.observer.trace(&Line::Frame {
                t_ms,
                from,
                to,
                bytes: bytes as u64,
            });
            let class = self.contacts[wire.contact].contact.class;
            self.observer.measure(&Measured::Sent {
                t_ms,
                from,
                to,
                class,
                bytes: bytes as u64,
            });
            self.look_into(id, end, &frame);
        }
        let Some(wire) = self.wires.get_mut(&id) else {
            return;
        };
        wire.bytes += bytes as u64;
        let limit = self.contacts[wire.contact].contact.faults.cut_at_bytes;
        if limit.is_some_and(|limit| wire.bytes > limit) {
            self.reach(Sometimes::CutInsideFrame);
            return self.sever(id, CUT_NOTICE_MS);
        }
        match wire.lanes[end].send(&self.draw, t_ms, bytes) {
            Passage::Arrives { at_ms } => {
                let (wire, end, frame) = (id, 1 - end, Bytes(frame));
                self.queue.at(at_ms, Event::Arrive { wire, end, frame });
            }
            Passage::Lost => self.reach(Sometimes::OneWayLink),
            Passage::Breaks { .. } => {
                self.reach(Sometimes::StallBrokeConnection);
                self.sever(id, crate::link::STALL_MAX_MS);
            }
        }
    }

    /// Opens a frame that travels between honest devices, to judge what is said.
    fn look_into(&mut self, id: u64, end: usize, frame: &[u8]) {
        let Some(wire) = self.wires.get_mut(&id) else {
            return;
        };
        let device = self.seats[&wire.ends[end]].device.as_ref();
        let dictionary = device.and_then(|device| device.dictionary(session_of(id, end)));
        let message = match wire.open_frame(end, frame, &self.ledger.headers, dictionary) {
            Ok(message) => message,
            Err(why) => {
                let detail = format!("an honest device sent a frame that does not open: {why}");
                return self.break_oracle(Oracle::Containment, detail);
            }
        };
        match message {
            Some(Message::Data(runs)) => {
                let author = self.seats[&wire.ends[end]].id();
                let is_relayed = runs.iter().any(|run| run.header.device != author);
                let forked = &self.ledger.went_back;
                let judged = oracle::resent(&runs, &wire.held[1 - end], forked, wire.ends);
                if is_relayed {
                    self.reach(Sometimes::PeerRelayedOthersEntries);
                }
                self.counts.checks.note(Oracle::Resume, 1);
                self.note_failure(judged);
            }
            Some(Message::Want) => self.reach(Sometimes::NewsAskedFor),
            _ => {}
        }
    }

    pub(super) fn arrive(&mut self, id: u64, end: usize, frame: Vec<u8>) {
        let Some(wire) = self.wires.get(&id).filter(|wire| !wire.is_dead) else {
            return;
        };
        let number = wire.ends[end];
        if !wire.is_open[end] {
            return;
        }
        if let Some(actor) = self
            .seats
            .get_mut(&number)
            .and_then(|seat| seat.actor.as_mut())
        {
            return actor.hear(frame);
        }
        let session = session_of(id, end);
        self.feed(
            number,
            Input::Frame {
                session,
                bytes: frame,
            },
        );
    }

    /// A device ends a session. What it said before still arrives.
    pub(super) fn close(&mut self, session: SessionId, reason: &CloseReason) {
        let (id, end) = end_of(session);
        let (closer, peer) = self.ends(id, end);
        let now_ms = self.queue.now_ms();
        let Some(wire) = self.wires.get_mut(&id) else {
            return;
        };
        wire.is_open[end] = false;
        let other = wire.ends[1 - end];
        let drained_ms = wire.lanes[end].drained_at_ms(now_ms);
        let end = 1 - end;
        self.queue.at(drained_ms, Event::Hangup { wire: id, end });
        let is_hostile = !self.seats[&other].is_honest();
        match reason {
            CloseReason::Replaced => self.reach(Sometimes::HalfOpenSessionReplaced),
            reason if is_hostile && reason.is_refusal() => {
                self.reach(Sometimes::StrangerTurnedAway);
            }
            reason => {
                self.counts.checks.note(Oracle::Containment, 1);
                let judged = oracle::farewell(reason, is_hostile);
                self.note_failure(judged);
            }
        }
        self.tell(&format!(
            "  {closer} closes connection {id} with {peer}: {reason}"
        ));
    }

    pub(super) fn hangup(&mut self, id: u64, end: usize) {
        let Some(wire) = self.wires.get_mut(&id) else {
            return;
        };
        let (number, contact) = (wire.ends[end], wire.contact);
        if std::mem::replace(&mut wire.is_open[end], false) {
            let session = session_of(id, end);
            self.feed(number, Input::SessionClosed { session });
        }
        let is_over = self
            .wires
            .get(&id)
            .is_some_and(|wire| wire.is_open == [false; 2]);
        if is_over {
            self.wires.remove(&id);
            if self.contacts[contact].is_active {
                self.counts.cuts += 1;
                self.redial(contact);
            }
        }
    }

    fn redial(&mut self, number: usize) {
        let ContactState { contact, dials, .. } = &self.contacts[number];
        let wait_ms = alike::redial_ms(&self.draw, contact, *dials);
        self.queue.after(wait_ms, Event::Dial(number));
    }

    /// A device's process is gone, and with it its ends of all connections.
    pub(super) fn drop_ends(&mut self, number: usize, notice_ms: u64) {
        let wires: Vec<u64> = self
            .wires
            .iter()
            .filter(|(_, wire)| wire.ends.contains(&number))
            .map(|(id, _)| *id)
            .collect();
        if !wires.is_empty() {
            self.reach(Sometimes::KilledDuringSession);
        }
        for id in wires {
            if let Some(wire) = self.wires.get_mut(&id) {
                for end in 0..2 {
                    wire.is_open[end] &= wire.ends[end] != number;
                }
            }
            self.sever(id, notice_ms);
        }
    }

    /// Dials whoever a device that has come back is in contact with.
    pub(super) fn dial_from(&mut self, number: usize) {
        for (index, state) in self.contacts.iter().enumerate() {
            let is_part = [state.contact.a, state.contact.b].contains(&number);
            if state.is_active && is_part {
                self.queue.after(STARTED_DIAL_MS, Event::Dial(index));
            }
        }
    }
}
