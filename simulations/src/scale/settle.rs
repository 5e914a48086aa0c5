//! The liveness phase at scale, step by step as in the full fidelity, for plans that are played in both.

use fieldmesh::engine::batch::Held;
use fieldmesh::engine::input::Input;

use super::contact::ContactState;
use super::world::{Event, World};
use crate::plan::Contact;
use crate::world::settle::{APART_MS, LOOK_MS, QUIET_MS, REST_MS};

impl World<'_> {
    /// Ends the faults and waits until all hold the same. Returns how long that took.
    ///
    /// # Errors
    /// It took too long.
    pub(super) fn settle(&mut self) -> Result<u64, String> {
        self.heal();
        let healed_ms = self.queue.now_ms();
        let end_ms = healed_ms + self.plan.header.settle_ms;
        loop {
            let now_ms = self.queue.now_ms();
            if self.is_settled() {
                self.run_until(now_ms + REST_MS);
                return Ok(now_ms - healed_ms);
            }
            if now_ms >= end_ms {
                return Err(format!(
                    "it did not settle within {} ms",
                    self.plan.header.settle_ms
                ));
            }
            self.run_until(self.queue.next_look(LOOK_MS, end_ms));
        }
    }

    fn heal(&mut self) {
        self.queue.retain(|event| {
            !matches!(
                event,
                Event::ContactStart(_)
                    | Event::ContactEnd(_)
                    | Event::Dial(_)
                    | Event::Operation(_)
                    | Event::Fault(_)
                    | Event::Gone(_)
                    | Event::Boot(_)
            )
        });
        self.end_contacts();
        for number in self.seats.keys() {
            self.queue.after(0, Event::Boot(*number));
        }
        self.run_until(self.queue.now_ms() + APART_MS);
        // There the stores are looked through meanwhile.
        self.run_until(self.queue.now_ms() + APART_MS);
        for number in self.living() {
            self.feed(number, Input::Network { online: true });
        }
        for pair in self.living().windows(2) {
            self.join(pair[0], pair[1]);
        }
    }

    fn end_contacts(&mut self) {
        for number in 0..self.contacts.len() {
            if self.contacts[number].is_active {
                self.contact_end(number);
            }
        }
    }

    fn join(&mut self, a: usize, b: usize) {
        let mut state = ContactState::new(Contact::for_ever(self.queue.now_ms(), a, b));
        state.is_lasting = true;
        self.contacts.push(state);
        self.contact_start(self.contacts.len() - 1);
    }

    fn is_settled(&self) -> bool {
        let mut first: Option<Held> = None;
        for number in self.living() {
            let seat = &self.seats[&number];
            let Some(device) = seat.device.as_ref().filter(|device| device.is_idle()) else {
                return false;
            };
            let held = device.store().held();
            if !seat.unreported.is_empty() || *first.get_or_insert_with(|| held.clone()) != held {
                return false;
            }
        }
        true
    }

    /// Listens to a settled fleet, and then to a meeting of two that hold the same.
    pub(super) fn last_quiet(&mut self) {
        self.run_until(self.queue.now_ms() + QUIET_MS);
        self.end_contacts();
        self.run_until(self.queue.now_ms() + APART_MS);
        if let [a, b, ..] = self.living()[..] {
            self.join(a, b);
            self.run_until(self.queue.now_ms() + APART_MS);
        }
    }
}
