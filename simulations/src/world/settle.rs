//! The liveness phase: everything heals, and the fleet must come to hold the same.
//!
//! Strangers and liars leave; devices that are not gone for ever are started; disks are honest. Then all
//! are joined in a chain, the longest way there is. If the fleet does not settle in time, the answer says
//! which entries are missing where, who holds them, and what was said about it.

use std::collections::{BTreeMap, BTreeSet};

use crdt_schema::ident::LogId;
use fieldmesh::engine::batch::Held;
use fieldmesh::engine::input::Input;

use super::World;
use super::contact::ContactState;
use super::event::Event;
use crate::disk::DiskFaults;
use crate::likeness::{Obstacle, Stall, about};
use crate::oracle::{IDLE_MEETING_BYTES_MAX, Oracle};
use crate::plan::{Contact, Role};
use crate::trace::Line;

/// How often it is looked whether the fleet has settled.
pub(crate) const LOOK_MS: u64 = 1_000;
/// How long acknowledgements and saved peers may take after the last entry.
pub(crate) const REST_MS: u64 = 45_000;
/// How long everybody takes to notice that all links are gone.
pub(crate) const APART_MS: u64 = 30_000;
/// How long a settled fleet is listened to.
pub(crate) const QUIET_MS: u64 = 600_000;

impl World<'_> {
    /// Ends the faults and waits until all hold the same. Returns how long that took; `None` if something did not hold
    /// before.
    ///
    /// # Errors
    /// What blocked it, in words.
    pub(super) fn settle(&mut self) -> Result<Option<u64>, Stall> {
        self.heal();
        let healed_ms = self.queue.now_ms();
        let end_ms = healed_ms + self.plan.header.settle_ms;
        while self.failure.is_none() {
            let now_ms = self.queue.now_ms();
            if self.is_settled() {
                let t_ms = now_ms;
                self.observer.trace(&Line::Settled { t_ms });
                self.run_until(now_ms + REST_MS);
                return Ok(Some(now_ms - healed_ms));
            }
            if now_ms >= end_ms {
                return Err(self.explain());
            }
            self.run_until(self.queue.next_look(LOOK_MS, end_ms));
        }
        Ok(None)
    }

    fn heal(&mut self) {
        self.queue.retain(|event| {
            !matches!(
                event,
                Event::ContactStart(_)
                    | Event::ContactEnd(_)
                    | Event::Dial(_)
                    | Event::Operation(_)
                    | Event::Backup(_)
                    | Event::Fault(_)
                    | Event::FaultEnd(_)
                    | Event::Gone(_)
                    | Event::Boot { .. }
            )
        });
        self.end_contacts();
        let numbers: Vec<usize> = self.seats.keys().copied().collect();
        for number in numbers {
            let Some(seat) = self.seats.get_mut(&number) else {
                continue;
            };
            seat.disk.set_faults(DiskFaults::default());
            if seat.actor.is_some() {
                seat.is_gone = true;
                self.drop_ends(number, APART_MS);
                continue;
            }
            seat.awaited.clear();
            // Nobody goes on with a disk that cannot be read.
            match seat.disk.is_worn() {
                true => self.lose_store(number),
                false => self.boot_after(number, 0),
            }
        }
        self.run_until(self.queue.now_ms() + APART_MS);
        self.mend_stores();
        self.run_until(self.queue.now_ms() + APART_MS);
        for number in self.living() {
            self.feed(number, Input::Network { online: true });
        }
        self.join_all();
    }

    /// A device leaves for ever while no link is up.
    fn leave(&mut self, number: usize) {
        self.power_off(number, None, APART_MS);
        if let Some(seat) = self.seats.get_mut(&number) {
            seat.is_gone = true;
        }
    }

    fn end_contacts(&mut self) {
        for number in 0..self.contacts.len() {
            if self.contacts[number].is_active {
                self.contact_end(number);
            }
        }
    }

    /// Joins all living devices in a chain. A copy is joined to somebody who does not meet the original; if there is
    /// only the original, whom a copy cannot talk to, the copy leaves.
    fn join_all(&mut self) {
        let living = self.living();
        let is_twin = |number: &usize| {
            let seat = self.seats.get(number);
            seat.is_some_and(|seat| seat.spec.twin_of.is_some())
        };
        let (mut twins, mut chain): (Vec<usize>, Vec<usize>) =
            living.into_iter().partition(is_twin);
        if chain.is_empty() {
            chain.extend(twins.pop());
        }
        let mut pairs: Vec<[usize; 2]> = chain.windows(2).map(|pair| [pair[0], pair[1]]).collect();
        for twin in twins {
            let original = self.seats[&twin].identity;
            let is_another = |number: &&usize| self.seats[number].identity != original;
            let is_apart = |number: &&usize| {
                is_another(number)
                    && !pairs.contains(&[original, **number])
                    && !pairs.contains(&[**number, original])
            };
            let apart = chain.iter().find(is_apart);
            match apart.or_else(|| chain.iter().find(is_another)) {
                Some(other) => pairs.push([*other, twin]),
                None => self.leave(twin),
            }
        }
        for [a, b] in pairs {
            self.join(a, b);
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
            let is_idle = seat.device.as_ref().is_some_and(|device| device.is_idle());
            if !is_idle || !seat.unreported.is_empty() || seat.is_refreshing {
                return false;
            }
            let held = self.honest_held(number);
            if first.get_or_insert_with(|| held.clone()) != &held {
                return false;
            }
        }
        true
    }

    /// Listens to a settled fleet, and then to a meeting of two that hold the same.
    pub(super) fn last_quiet(&mut self) {
        // Liars and copies leave logs in doubt, which devices may go on asking about. A stranger leaves nothing.
        let mut specs = self.seats.values().map(|seat| &seat.spec);
        if specs.any(|spec| spec.twin_of.is_some() || spec.role == Role::Liar) {
            return;
        }
        let before = self.counts.frames;
        self.run_until(self.queue.now_ms() + QUIET_MS);
        self.counts.checks.note(Oracle::Bounded, 1);
        if self.counts.frames != before {
            let detail = format!(
                "{} frames were sent after the fleet had settled",
                self.counts.frames - before
            );
            return self.break_oracle(Oracle::Bounded, detail);
        }
        self.end_contacts();
        self.run_until(self.queue.now_ms() + APART_MS);
        let living = self.living();
        let [a, b, ..] = living[..] else {
            return;
        };
        let before = self.counts.bytes;
        self.join(a, b);
        self.run_until(self.queue.now_ms() + APART_MS);
        self.counts.checks.note(Oracle::Bounded, 1);
        let spent = self.counts.bytes - before;
        if spent > IDLE_MEETING_BYTES_MAX {
            let detail = format!("devices {a} and {b} held the same and exchanged {spent} bytes");
            self.break_oracle(Oracle::Bounded, detail);
        }
    }

    /// The honest devices that are not gone for ever and have been born.
    pub(crate) fn living(&self) -> Vec<usize> {
        let is_living = |seat: &&super::Seat| seat.is_honest() && !seat.is_gone;
        let living = self.seats.values().filter(is_living);
        living.map(|seat| seat.spec.device).collect()
    }

    /// Whether a device will not come back.
    pub(crate) fn is_away(&self, number: usize) -> bool {
        self.seats.get(&number).is_none_or(|seat| seat.is_gone)
    }

    /// Whether two devices go by this device's name.
    pub(crate) fn is_copied(&self, identity: usize) -> bool {
        let named = self.seats.values().filter(|seat| seat.identity == identity);
        named.count() > 1
    }

    /// Whether an honest device has written the log.
    pub(crate) fn is_honest_log(&self, log: &LogId) -> bool {
        self.ledger.logs.contains(log)
    }

    /// What a device holds durably of honest logs.
    pub(crate) fn honest_held(&self, number: usize) -> Held {
        let durable = self.seats.get(&number).map(|seat| &seat.durable);
        let rows = durable.into_iter().flatten();
        rows.filter(|(log, _)| self.is_honest_log(log))
            .map(|(log, seq)| (*log, *seq))
            .collect()
    }

    /// Which entries are missing where, who holds them, and what was said about it.
    fn explain(&self) -> Stall {
        let living = self.living();
        let all: BTreeMap<usize, Held> = living
            .iter()
            .map(|number| (*number, self.honest_held(*number)))
            .collect();
        let logs: BTreeSet<LogId> = all.values().flat_map(|held| held.keys().copied()).collect();
        let (mut text, mut obstacles) = (String::new(), BTreeSet::new());
        for log in logs {
            let seq = |held: &Held| held.get(&log).copied().unwrap_or(0);
            let most = all.values().map(seq).max().unwrap_or(0);
            let (have, lack): (Vec<_>, Vec<_>) =
                all.iter().partition(|(_, held)| seq(held) == most);
            if lack.is_empty() {
                continue;
            }
            let have: Vec<usize> = have.into_iter().map(|(number, _)| *number).collect();
            text.push_str(&format!(
                "log {log}: devices {have:?} hold {most} entries\n"
            ));
            for (number, held) in lack {
                let (obstacle, words) = self.obstacle(*number, &log);
                obstacles.insert(obstacle);
                text.push_str(&format!("  device {number} holds {}{words}\n", seq(held)));
            }
        }
        if text.is_empty() {
            let busy = living.iter().filter(|number| {
                let device = self.device(**number);
                device.is_none_or(|device| !device.is_idle())
            });
            let busy: Vec<_> = busy.collect();
            text = format!("all hold the same, and devices {busy:?} are off or still writing\n");
            obstacles.insert(Obstacle::Busy);
        }
        Stall {
            obstacles,
            detail: text,
        }
    }

    fn obstacle(&self, number: usize, log: &LogId) -> (Obstacle, String) {
        let Some(device) = self.device(number) else {
            return (Obstacle::Off, "; it is off".to_owned());
        };
        let fleet = device.fleet();
        let mut words = String::new();
        let connected = fleet.peers.values().filter(|peer| peer.connected).count();
        words.push_str(&format!("; {connected} sessions are open"));
        let mut obstacle = match connected {
            0 => Obstacle::Alone,
            _ => Obstacle::Silent,
        };
        if let Some((_, why)) = &fleet.last_refusal {
            obstacle = Obstacle::Refused(about(why));
        }
        for peer in fleet.peers.values() {
            if let Some(why) = peer.refused_logs.get(log) {
                words.push_str(&format!("; with {}: {why}", peer.name));
                obstacle = Obstacle::Refused(about(why));
            }
        }
        if let Some((device, why)) = &fleet.last_refusal {
            words.push_str(&format!("; last refusal, of {}: {why}", device.short()));
        }
        (obstacle, words)
    }
}
