//! Contacts and connections at scale: as in the full fidelity, with indexes.

use fieldmesh::engine::batch::SessionId;
use fieldmesh::engine::input::Input;

use super::world::{Event, World};
use crate::alike::{self, CUT_NOTICE_MS, DIALS_MAX, NOTICE_MS_MAX, STARTED_DIAL_MS};
use crate::link::{Lane, Passage, STALL_MAX_MS};
use crate::plan::Contact;
use crate::world::wire::{end_of, session_of};

/// A contact of the plan, or one of the time after the faults.
pub(super) struct ContactState {
    pub(super) contact: Contact,
    pub(super) is_active: bool,
    dials: u32,
    /// Never given up.
    pub(super) is_lasting: bool,
    /// Its connections, ascending.
    wires: Vec<u64>,
}

impl ContactState {
    pub(super) fn new(contact: Contact) -> Self {
        Self {
            contact,
            is_active: false,
            dials: 0,
            is_lasting: false,
            wires: Vec::new(),
        }
    }

    fn pair(&self) -> (usize, usize) {
        let Contact { a, b, .. } = self.contact;
        (a.min(b), a.max(b))
    }
}

/// One connection.
pub(super) struct Wire {
    contact: usize,
    /// Keys its draws.
    key: u64,
    ends: [usize; 2],
    /// Which ends still believe in it.
    is_open: [bool; 2],
    /// Nothing arrives any more.
    is_dead: bool,
    lanes: [Lane; 2],
    bytes: u64,
}

impl World<'_> {
    pub(super) fn contact_start(&mut self, number: usize) {
        let state = &mut self.contacts[number];
        state.is_active = true;
        let Contact { a, b, .. } = state.contact;
        for end in [a, b] {
            if let Some(seat) = self.seats.get_mut(&end) {
                seat.active.insert(number);
            }
        }
        self.counts.contacts += 1;
        self.queue.after(0, Event::Dial(number));
    }

    pub(super) fn contact_end(&mut self, number: usize) {
        let state = &mut self.contacts[number];
        state.is_active = false;
        let Contact { a, b, .. } = state.contact;
        let wires = state.wires.clone();
        for end in [a, b] {
            if let Some(seat) = self.seats.get_mut(&end) {
                seat.active.remove(&number);
            }
        }
        for wire in wires {
            self.sever(wire, NOTICE_MS_MAX);
        }
    }

    /// Nothing arrives on a connection any more; each end notices some time within `notice_ms`.
    fn sever(&mut self, id: u64, notice_ms: u64) {
        let Some(wire) = self.wires.get_mut(&id) else {
            return;
        };
        let (pair, key) = (self.contacts[wire.contact].pair(), wire.key);
        if !std::mem::replace(&mut wire.is_dead, true) {
            self.part(pair);
        }
        for end in 0..2 {
            let delay_ms = alike::notice_ms(&self.draw, key, end, notice_ms);
            self.queue.after(delay_ms, Event::Hangup { wire: id, end });
        }
    }

    /// One living connection less between two.
    fn part(&mut self, pair: (usize, usize)) {
        if let Some(count) = self.pairs.get_mut(&pair) {
            *count -= 1;
            if *count == 0 {
                self.pairs.remove(&pair);
            }
        }
    }

    pub(super) fn dial(&mut self, number: usize) {
        let Some(ends) = self.may_dial(number) else {
            return;
        };
        let id = self.next_wire;
        self.next_wire += 1;
        let state = &mut self.contacts[number];
        state.dials += 1;
        state.wires.push(id);
        let wire = Wire {
            contact: number,
            key: alike::wire_key(&state.contact, state.dials),
            ends,
            is_open: [true; 2],
            is_dead: false,
            lanes: alike::lanes(&state.contact, state.dials),
            bytes: 0,
        };
        *self.pairs.entry(state.pair()).or_default() += 1;
        self.wires.insert(id, wire);
        self.counts.wires_max = self.counts.wires_max.max(self.wires.len());
        self.counts.connections += 1;
        for number in ends {
            if let Some(seat) = self.seats.get_mut(&number) {
                seat.wires.insert(id);
            }
        }
        for end in 0..2 {
            let session = session_of(id, end);
            let device = self.seats[&ends[1 - end]].id;
            self.feed(ends[end], Input::SessionOpened { session, device });
        }
    }

    /// The two devices of a contact, if they can and should be connected.
    fn may_dial(&self, number: usize) -> Option<[usize; 2]> {
        let state = &self.contacts[number];
        let ends = [state.contact.a, state.contact.b];
        let is_on = |end: &usize| {
            self.seats
                .get(end)
                .is_some_and(|seat| seat.device.is_some())
        };
        let is_possible = state.is_active
            && (state.is_lasting || state.dials < DIALS_MAX)
            && ends.iter().all(is_on)
            && ends[0] != ends[1];
        (is_possible && !self.pairs.contains_key(&state.pair())).then_some(ends)
    }

    pub(super) fn send(&mut self, from: usize, session: SessionId, frame: Vec<u8>) {
        let (id, end) = end_of(session);
        let Some(wire) = self.wires.get_mut(&id).filter(|wire| wire.is_open[end]) else {
            return;
        };
        if wire.is_dead {
            return;
        }
        let (now_ms, bytes) = (self.queue.now_ms(), frame.len());
        self.counts.frames += 1;
        self.counts.bytes += bytes as u64;
        if let Some(seat) = self.seats.get_mut(&from) {
            seat.sent_bytes += bytes as u64;
        }
        wire.bytes += bytes as u64;
        let limit = self.contacts[wire.contact].contact.faults.cut_at_bytes;
        if limit.is_some_and(|limit| wire.bytes > limit) {
            return self.sever(id, CUT_NOTICE_MS);
        }
        match wire.lanes[end].send(&self.draw, now_ms, bytes) {
            Passage::Arrives { at_ms } => {
                let (wire, end) = (id, 1 - end);
                self.queue.at(at_ms, Event::Arrive { wire, end, frame });
            }
            Passage::Lost => {}
            Passage::Breaks { .. } => self.sever(id, STALL_MAX_MS),
        }
    }

    pub(super) fn arrive(&mut self, id: u64, end: usize, bytes: Vec<u8>) {
        let wire = self.wires.get(&id);
        if let Some(wire) = wire.filter(|wire| !wire.is_dead && wire.is_open[end]) {
            let (number, session) = (wire.ends[end], session_of(id, end));
            self.feed(number, Input::Frame { session, bytes });
        }
    }

    /// A device ends a session. What it said before still arrives.
    pub(super) fn close(&mut self, session: SessionId) {
        let (id, end) = end_of(session);
        let now_ms = self.queue.now_ms();
        if let Some(wire) = self.wires.get_mut(&id) {
            wire.is_open[end] = false;
            let drained_ms = wire.lanes[end].drained_at_ms(now_ms);
            let (wire, end) = (id, 1 - end);
            self.queue.at(drained_ms, Event::Hangup { wire, end });
        }
    }

    pub(super) fn hangup(&mut self, id: u64, end: usize) {
        let Some(wire) = self.wires.get_mut(&id) else {
            return;
        };
        let number = wire.ends[end];
        if std::mem::replace(&mut wire.is_open[end], false) {
            let session = session_of(id, end);
            self.feed(number, Input::SessionClosed { session });
        }
        let is_over = |wire: &&Wire| wire.is_open == [false; 2];
        if self.wires.get(&id).filter(is_over).is_some()
            && let Some(wire) = self.wires.remove(&id)
        {
            self.forget(id, &wire);
            if self.contacts[wire.contact].is_active {
                self.counts.cuts += 1;
                self.redial(wire.contact);
            }
        }
    }

    /// Takes a connection that is over out of the indexes.
    fn forget(&mut self, id: u64, wire: &Wire) {
        let state = &mut self.contacts[wire.contact];
        state.wires.retain(|other| *other != id);
        let pair = state.pair();
        for end in wire.ends {
            if let Some(seat) = self.seats.get_mut(&end) {
                seat.wires.remove(&id);
            }
        }
        if !wire.is_dead {
            self.part(pair);
        }
    }

    fn redial(&mut self, number: usize) {
        let ContactState { contact, dials, .. } = &self.contacts[number];
        let wait_ms = alike::redial_ms(&self.draw, contact, *dials);
        self.queue.after(wait_ms, Event::Dial(number));
    }

    /// A device's process is gone, and with it its ends of all connections.
    pub(super) fn drop_ends(&mut self, number: usize, notice_ms: u64) {
        let wires = self.seats.get(&number).map(|seat| seat.wires.clone());
        for id in wires.unwrap_or_default() {
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
        let active = self.seats.get(&number).map(|seat| seat.active.clone());
        for contact in active.unwrap_or_default() {
            self.queue.after(STARTED_DIAL_MS, Event::Dial(contact));
        }
    }
}
