//! Devices start and stop.

use std::sync::Arc;

use crdt_schema::ident::Dot;
use crdt_schema::op::ChangeSet;
use fieldmesh::engine::batch::{Held, Opening};
use fieldmesh::store::{StoreError, WitnessRecord};

use super::World;
use super::event::Event;
use super::seat::Seat;
use crate::alike::{KILL_NOTICE_MS, POWER_NOTICE_MS};
use crate::device::{Device, Make, Opened, case_of};
use crate::disk::{Damage, DiskFaults, SimDisk, Syncs};
use crate::draw::Draw;
use crate::family::Family;
use crate::oracle::{self, Oracle};
use crate::plan::Role;
use crate::sometimes::Sometimes;

/// How long until a device whose disk is full is started again.
const FULL_RETRY_MS: u64 = 60_000;
/// How long somebody takes to start a device on another store.
pub(super) const REPLACE_MS: u64 = 5_000;

impl World<'_> {
    pub(super) fn gone(&mut self, number: usize) {
        self.power_off(number, Some(self.case_now(number)), POWER_NOTICE_MS);
        let Some(seat) = self.seats.get_mut(&number) else {
            return;
        };
        seat.is_gone = true;
        let is_hub = seat.spec.role == Role::Hub;
        if is_hub {
            self.reach(Sometimes::HubGoneForEver);
        }
    }

    /// The device is off at once: its process is killed, and its power fails if there are draws for that. Returns
    /// whether anything has come of it.
    pub(super) fn power_off(&mut self, number: usize, cut: Option<u64>, notice_ms: u64) -> bool {
        let Some(seat) = self.seats.get_mut(&number) else {
            return false;
        };
        let is_on = seat.device.is_some();
        if is_on {
            if !seat.unreported.is_empty() {
                self.reached.note(Sometimes::KilledBeforeReport);
            }
            seat.end_process();
        }
        // What a dead process has written waits in the system's cache.
        let cut = cut.filter(|_| is_on || seat.disk.has_unsynced());
        if let Some(case) = cut {
            if seat.disk.owes_sync() {
                (seat.may_lose, seat.may_be_damaged) = (true, true);
            }
            let damage = seat.disk.power_cut(&self.draw, case);
            self.reached.note(Sometimes::PowerCut);
            let is_honest = seat.disk.faults().syncs == Syncs::Honest && !seat.may_lose;
            if is_honest && seat.cut_short.is_some() && damage != Damage::default() {
                self.reached.note(Sometimes::SectorsLostAmid);
            }
        }
        if is_on {
            self.drop_ends(number, notice_ms);
        }
        is_on || cut.is_some()
    }

    /// Keys the draws of what happens to a device at this moment.
    pub(super) fn case_now(&self, number: usize) -> u64 {
        case_of(number, self.queue.now_ms())
    }

    /// The device is started in so many milliseconds.
    pub(super) fn boot_after(&mut self, device: usize, delay_ms: u64) {
        let again = false;
        self.queue.after(delay_ms, Event::Boot { device, again });
    }

    pub(super) fn boot(&mut self, number: usize, again: bool) {
        let now_ms = self.queue.now_ms();
        self.copy_twin(number);
        let Some(seat) = self.seats.get_mut(&number) else {
            return;
        };
        if seat.device.is_some() || seat.is_gone {
            return;
        }
        let case = case_of(number, now_ms);
        let make = make(seat, &self.family, &self.draw, case);
        if again && fail_while_starting(seat, &make, &self.draw, case) {
            self.reached.note(Sometimes::PowerCutWhileRecovering);
        }
        match start(seat, &make) {
            Ok((device, opening, doubt)) => {
                seat.clock.start(now_ms);
                seat.device = Some(device);
                self.started(number, &opening, doubt);
            }
            Err(StoreError::DiskFull(_)) => {
                let device = number;
                self.queue
                    .after(FULL_RETRY_MS, Event::Boot { device, again });
            }
            Err(error) if seat.may_be_damaged || seat.disk.was_damaged() => {
                self.reached.note(Sometimes::StoreFoundDamaged);
                self.tell(&format!("  device {number}: {error}"));
                self.lose_store(number);
            }
            Err(error) => {
                let detail = format!("device {number} does not start on an honest disk: {error}");
                self.break_oracle(Oracle::NoLostWrite, detail);
            }
        }
    }

    /// A copy of a device is born with a copy of its disk.
    fn copy_twin(&mut self, number: usize) {
        let Some(seat) = self.seats.get(&number) else {
            return;
        };
        let (Some(other), 0, true) = (
            seat.spec.twin_of,
            seat.life,
            seat.disk.allocated_bytes() == 0,
        ) else {
            return;
        };
        let Some(other) = self.seats.get(&other) else {
            return;
        };
        let disk = other.disk.image();
        disk.set_faults(DiskFaults::default());
        let (witness, may_lose) = (other.witness.clone(), other.may_be_damaged);
        if let Some(seat) = self.seats.get_mut(&number) {
            (seat.disk, seat.witness) = (disk, witness);
            (seat.may_be_damaged, seat.file) = (may_lose, 1);
        }
    }

    fn started(&mut self, number: usize, opening: &Opening, doubt: Option<&'static str>) {
        let held: Held = opening
            .frontier
            .iter()
            .map(|row| (row.header.log, row.seq))
            .collect();
        let was_cut_short = self.judge_cut_short(number, &held);
        let Some(seat) = self.seats.get_mut(&number) else {
            return;
        };
        let lost = seat
            .durable
            .iter()
            .find(|(log, seq)| held.get(log).is_none_or(|held| held < seq))
            .map(|(log, seq)| Dot::new(*log, *seq));
        let may_lose = std::mem::take(&mut seat.may_lose) || seat.may_be_damaged;
        seat.durable.clone_from(&held);
        seat.arrival = opening.arrival;
        seat.has_lost |= lost.is_some();
        seat.record_witness();
        match (doubt, seat.spec.twin_of, lost) {
            (Some(_), Some(_), _) => self.reached.note(Sometimes::TwinGotItsOwnLog),
            (Some(_), None, _) => self.reached.note(Sometimes::RollbackSeenByWitness),
            (None, ..) => {}
        }
        self.counts.checks.note(Oracle::NoLostWrite, 1);
        if lost.is_some() || may_lose {
            self.excuse(number, &held);
        }
        if let Some(dot) = lost {
            self.ledger.forget_keys(number);
            if !may_lose {
                let detail = format!("device {number} had made {dot} durable and lost it");
                self.break_oracle(Oracle::NoLostWrite, detail);
            } else if doubt.is_none() && !opening.own_logs.is_empty() {
                self.tell(&format!(
                    "  device {number} lost {dot} and does not know it yet"
                ));
            }
        }
        if was_cut_short && self.failure.is_none() {
            let judged = oracle::after_death(self, number);
            self.note_failure(judged);
        }
        self.look_through(number);
        self.await_deadline(number);
        self.start_versions(number);
        self.dial_from(number);
    }

    /// What a device was told of and does not hold any more may be gone. A position that is held may have another
    /// content than it was told of.
    fn excuse(&mut self, number: usize, held: &Held) {
        let reader = self.device(number).map(|device| device.reader());
        self.ledger.excuse(number, |dot, set| {
            let is_there = held.get(&dot.log).is_some_and(|seq| *seq >= dot.seq);
            let is_same = |set: &ChangeSet| {
                let entry = reader.as_ref().map(|reader| reader.entry(*dot));
                matches!(entry, Some(Ok(Some((_, held)))) if held == *set)
            };
            is_there && set.is_none_or(is_same)
        });
    }

    /// The store is gone; the key is not.
    pub(super) fn lose_store(&mut self, number: usize) {
        self.power_off(number, None, KILL_NOTICE_MS);
        self.note_disk_faults(number);
        let Some(seat) = self.seats.get_mut(&number) else {
            return;
        };
        seat.cut_short = None;
        seat.disk = SimDisk::default();
        seat.witness = None;
        seat.file += 1;
        seat.life += 1;
        seat.wiped = std::mem::take(&mut seat.durable);
        seat.arrival = 0;
        (seat.may_be_damaged, seat.has_lost) = (false, true);
        self.ledger.excuse(number, |_, _| false);
        self.ledger.forget_keys(number);
        self.boot_after(number, REPLACE_MS);
    }
}

/// Starts a device whose power fails in the middle of it. Returns whether it had anything to write.
fn fail_while_starting(seat: &mut Seat, make: &Make, draw: &Draw, case: u64) -> bool {
    seat.disk.stop_amid(draw, case);
    drop(Opened::open(make, &seat.disk).and_then(|opened| opened.start(make)));
    let has_stopped = seat.disk.has_stopped();
    if seat.disk.owes_sync() {
        (seat.may_lose, seat.may_be_damaged) = (true, true);
    }
    seat.disk.power_cut(draw, case);
    has_stopped
}

fn make(seat: &Seat, family: &Family, draw: &Draw, case: u64) -> Make {
    let mut store_id = [0; 16];
    store_id.copy_from_slice(&draw.bytes("store id", case)[..16]);
    Make {
        number: seat.identity,
        hub: seat.spec.role == Role::Hub,
        schema: Arc::clone(family.own(seat.own_version)),
        store_id,
        seed: draw.bytes("engine", case),
    }
}

/// Starts a device as the daemon does: a store that its witness does not know begins new logs.
fn start(seat: &Seat, make: &Make) -> Result<(Device, Opening, Option<&'static str>), StoreError> {
    let mut opened = Opened::open(make, &seat.disk)?;
    let doubt = WitnessRecord::doubt(seat.witness.as_ref(), opened.identity()?, &seat.place());
    if doubt.is_some() {
        opened.begin_incarnation()?;
    }
    let (device, opening) = opened.start(make)?;
    Ok((device, opening, doubt))
}
