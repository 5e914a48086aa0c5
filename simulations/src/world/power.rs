//! Devices start and stop, and their disks and clocks break.

use std::sync::Arc;

use crdt_schema::ident::Dot;
use crdt_schema::op::ChangeSet;
use fieldmesh::engine::batch::{Held, Opening};
use fieldmesh::store::{StoreError, WitnessRecord};

use super::World;
use super::event::Event;
use super::seat::{Backup, Seat};
use crate::device::{Device, Make, Opened};
use crate::disk::{DiskFaults, SimDisk, Syncs};
use crate::family::Family;
use crate::oracle::Oracle;
use crate::plan::{Fault, FaultKind, Role};
use crate::sometimes::Sometimes;
use crate::trace::Line;

/// How long until a device whose disk is full is started again.
const FULL_RETRY_MS: u64 = 60_000;
/// How long until others notice that a process or a device is gone.
pub(crate) const KILL_NOTICE_MS: u64 = 50;
pub(crate) const POWER_NOTICE_MS: u64 = 60_000;
/// How long somebody takes to start a device on another store.
pub(super) const REPLACE_MS: u64 = 5_000;

/// A start that is cut short has at most so many writes.
const STARTING_WRITES_MAX: u64 = 40;
/// More lives than a device has in a run: numbers the power cuts of all.
const CUTS_MAX: u64 = 1 << 20;

/// What a restored device has in place of its witness.
#[derive(Clone, Copy, Debug)]
enum Memory {
    /// The witness as it was last written.
    Present,
    None,
    /// The witness as it was with the store, which so agrees with it.
    Restored,
}

impl World<'_> {
    pub(super) fn gone(&mut self, number: usize) {
        self.power_off(number, true, POWER_NOTICE_MS);
        let Some(seat) = self.seats.get_mut(&number) else {
            return;
        };
        seat.is_gone = true;
        let is_hub = seat.spec.role == Role::Hub;
        if is_hub {
            self.reach(Sometimes::HubGoneForEver);
        }
    }

    /// The device is off at once: its process is killed, or its power fails.
    pub(super) fn power_off(&mut self, number: usize, power_fails: bool, notice_ms: u64) {
        let Some(seat) = self
            .seats
            .get_mut(&number)
            .filter(|seat| seat.device.is_some())
        else {
            return;
        };
        if !seat.unreported.is_empty() {
            self.reached.note(Sometimes::KilledBeforeReport);
        }
        seat.end_process();
        if power_fails {
            if seat.disk.owes_sync() {
                (seat.may_lose, seat.may_be_damaged) = (true, true);
            }
            seat.disk
                .power_cut(&self.draw, number as u64 * CUTS_MAX + seat.life);
            self.reached.note(Sometimes::PowerCut);
        }
        self.drop_ends(number, notice_ms);
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
        let make = make(seat, &self.family, &self.draw);
        if again {
            let cut = number as u64 * CUTS_MAX + CUTS_MAX / 2 + seat.life;
            if fail_while_starting(seat, &make, &self.draw, cut) {
                self.reached.note(Sometimes::PowerCutWhileRecovering);
            }
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
            Err(error) if seat.may_be_damaged => {
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
        let Some(seat) = self.seats.get_mut(&number) else {
            return;
        };
        let held: Held = opening
            .frontier
            .iter()
            .map(|row| (row.header.log, row.seq))
            .collect();
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
        self.counts.checks += 1;
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
        self.await_deadline(number);
        self.start_versions(number);
        self.dial_from(number);
    }

    /// What a device was told of and does not hold any more may be gone. A position that is held may have another
    /// content than it was told of.
    fn excuse(&mut self, number: usize, held: &Held) {
        let device = self.seats[&number].device.as_ref();
        let reader = device.map(|device| device.reader());
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
        self.power_off(number, false, KILL_NOTICE_MS);
        let Some(seat) = self.seats.get_mut(&number) else {
            return;
        };
        seat.disk = SimDisk::default();
        seat.witness = None;
        seat.file += 1;
        seat.life += 1;
        seat.wiped = std::mem::take(&mut seat.durable);
        seat.arrival = 0;
        (seat.may_be_damaged, seat.has_lost) = (false, true);
        self.ledger.excuse(number, |_, _| false);
        self.ledger.forget_keys(number);
        let (device, again) = (number, false);
        self.queue.after(REPLACE_MS, Event::Boot { device, again });
    }

    pub(super) fn back_up(&mut self, number: usize) {
        let device = self.plan.faults[number].device;
        if let Some(seat) = self.seats.get_mut(&device)
            && seat.disk.allocated_bytes() > 0
        {
            let disk = seat.disk.image();
            disk.set_faults(DiskFaults::default());
            let backup = Backup {
                disk,
                witness: seat.witness.clone(),
                file: seat.file,
                may_be_damaged: seat.may_be_damaged,
            };
            seat.backups.insert(number, backup);
        }
    }

    pub(super) fn fault(&mut self, number: usize) {
        let Fault {
            device: number_of_device,
            kind,
            ..
        } = self.plan.faults[number].clone();
        let is_possible = |seat: &&mut Seat| seat.is_honest() && !seat.is_gone;
        let Some(seat) = self.seats.get_mut(&number_of_device).filter(is_possible) else {
            return;
        };
        let (device, now_ms) = (number_of_device, self.queue.now_ms());
        let is_on = seat.device.is_some();
        if let FaultKind::ClockJump { by_ms } = kind {
            seat.clock.jump(by_ms);
            if by_ms < 0 && is_on {
                self.reached.note(Sometimes::ClockWentBack);
            }
        }
        // Most full disks give out no more pages; some cannot even write the pages that a file has.
        let to_the_brim = self.draw.happens("full to the brim", now_ms, 300);
        let full = DiskFaults {
            full_from_write: to_the_brim.then_some(0),
            bytes_max: Some(seat.disk.allocated_bytes()),
            ..seat.disk.faults()
        };
        let lying = DiskFaults {
            syncs: Syncs::Ignored,
            ..seat.disk.faults()
        };
        match &kind {
            FaultKind::DiskFull { for_ms } => {
                seat.disk.set_faults(full);
                self.queue.after(*for_ms, Event::FaultEnd(number));
            }
            FaultKind::IgnoredSync { for_ms } => {
                seat.disk.set_faults(lying);
                self.queue.after(*for_ms, Event::FaultEnd(number));
            }
            FaultKind::Kill { down_ms } if is_on => {
                self.power_off(device, false, KILL_NOTICE_MS);
                let again = false;
                self.queue.after(*down_ms, Event::Boot { device, again });
            }
            FaultKind::PowerCut { down_ms, again } if is_on => {
                self.power_off(device, true, POWER_NOTICE_MS);
                let again = *again;
                self.queue.after(*down_ms, Event::Boot { device, again });
            }
            FaultKind::Rot { bits } if is_on => self.rot(device, number, *bits),
            FaultKind::RotEntry { place } if is_on => self.rot_entry(device, *place),
            FaultKind::Restore { witness_kept, .. } => {
                let memory = if *witness_kept {
                    Memory::Present
                } else {
                    Memory::None
                };
                self.restore(number, device, memory);
            }
            FaultKind::RestoreUnnoticed { .. } => self.restore(number, device, Memory::Restored),
            FaultKind::Wipe {} if is_on => self.lose_store(device),
            FaultKind::Kill { .. }
            | FaultKind::PowerCut { .. }
            | FaultKind::Rot { .. }
            | FaultKind::RotEntry { .. }
            | FaultKind::Wipe {}
            | FaultKind::ClockJump { .. } => {}
        }
        let (t_ms, kind) = (self.queue.now_ms(), kind.name());
        *self.counts.faults.entry(kind).or_default() += 1;
        let kind = kind.into();
        self.observer.trace(&Line::Fault { t_ms, kind, device });
    }

    fn restore(&mut self, number: usize, device: usize, memory: Memory) {
        let Some(seat) = self.seats.get_mut(&device) else {
            return;
        };
        let Some(backup) = seat.backups.remove(&number) else {
            return;
        };
        self.power_off(device, false, KILL_NOTICE_MS);
        if let Some(seat) = self.seats.get_mut(&device) {
            seat.disk = backup.disk;
            seat.life += 1;
            (seat.may_lose, seat.has_lost) = (true, true);
            seat.may_be_damaged |= backup.may_be_damaged;
            match memory {
                Memory::Present => seat.file += 1,
                Memory::None => (seat.file, seat.witness) = (seat.file + 1, None),
                Memory::Restored => {
                    (seat.file, seat.witness) = (backup.file, backup.witness);
                    let id = seat.id();
                    self.ledger.went_back(id);
                }
            }
        }
        let again = false;
        self.queue.after(REPLACE_MS, Event::Boot { device, again });
    }

    pub(super) fn fault_end(&mut self, number: usize) {
        let fault = self.plan.faults[number].clone();
        let device = fault.device;
        if let FaultKind::IgnoredSync { .. } = fault.kind {
            let is_on = self
                .seats
                .get(&device)
                .is_some_and(|seat| seat.device.is_some());
            self.power_off(device, true, POWER_NOTICE_MS);
            if is_on {
                let again = false;
                self.queue.after(REPLACE_MS, Event::Boot { device, again });
            }
        }
        if let Some(seat) = self.seats.get_mut(&device) {
            let mut faults = seat.disk.faults();
            match fault.kind {
                FaultKind::IgnoredSync { .. } => faults.syncs = Syncs::Honest,
                _ => (faults.full_from_write, faults.bytes_max) = (None, None),
            }
            seat.disk.set_faults(faults);
        }
    }
}

/// Starts a device whose power fails in the middle of it. Returns whether it had anything to write until then.
fn fail_while_starting(seat: &mut Seat, make: &Make, draw: &crate::draw::Draw, cut: u64) -> bool {
    let writes = draw.number("start writes", cut, 1..STARTING_WRITES_MAX);
    seat.disk
        .fail_power_before(seat.disk.counters().writes + writes);
    drop(Opened::open(make, &seat.disk).and_then(|opened| opened.start(make)));
    let has_failed = seat.disk.has_power_failed();
    if seat.disk.owes_sync() {
        (seat.may_lose, seat.may_be_damaged) = (true, true);
    }
    seat.disk.power_cut(draw, cut);
    has_failed
}

fn make(seat: &Seat, family: &Family, draw: &crate::draw::Draw) -> Make {
    let case = seat.spec.device as u64 * 100_000 + seat.life;
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
