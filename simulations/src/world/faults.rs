//! The faults of the plan, each carried out at its moment, and counted where it takes effect: one that did
//! nothing, because its device was off or its disk had room enough, is not.

use super::World;
use super::event::Event;
use super::power::REPLACE_MS;
use super::seat::{Backup, Ongoing, Seat};
use crate::alike::{KILL_NOTICE_MS, POWER_NOTICE_MS};
use crate::device::case_of;
use crate::disk::{DiskFaults, Syncs};
use crate::draw::key;
use crate::plan::{Fault, FaultKind};
use crate::sometimes::Sometimes;
use crate::trace::Line;

/// Most pages that wear out at once.
const PAGES_MAX: u64 = 64;

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
    pub(super) fn fault(&mut self, number: usize) {
        let Fault {
            at_ms,
            device,
            kind,
        } = self.plan.faults[number].clone();
        let is_possible = |seat: &&mut Seat| seat.is_honest() && !seat.is_gone;
        let Some(seat) = self.seats.get_mut(&device).filter(is_possible) else {
            return;
        };
        if kind.amid().is_some() {
            return seat.awaited.push(number);
        }
        let has_effect = match kind {
            FaultKind::Kill { .. } | FaultKind::PowerCut { .. } => {
                self.end_life(device, &kind, at_ms)
            }
            FaultKind::IgnoredSync { .. } | FaultKind::DiskFull { .. } => {
                self.begin_disk_fault(number, device, &kind, at_ms);
                false
            }
            FaultKind::Rot { bits } => self.rot(device, case_of(device, at_ms), bits),
            FaultKind::RotEntry { place } => self.rot_entry(device, place),
            FaultKind::Wear { pages } => self.wear(number, device, pages),
            FaultKind::Restore { witness_kept, .. } => {
                let memory = if witness_kept {
                    Memory::Present
                } else {
                    Memory::None
                };
                self.restore(number, device, memory)
            }
            FaultKind::RestoreUnnoticed { .. } => self.restore(number, device, Memory::Restored),
            FaultKind::Wipe {} => self.wipe(device),
            FaultKind::ClockJump { by_ms } => self.set_clock(device, by_ms),
        };
        if has_effect {
            self.count_fault(device, kind.name());
        }
    }

    pub(super) fn count_fault(&mut self, device: usize, kind: &'static str) {
        let t_ms = self.queue.now_ms();
        *self.counts.faults.entry(kind).or_default() += 1;
        let kind = kind.into();
        self.observer.trace(&Line::Fault { t_ms, kind, device });
    }

    /// A kill or a power cut. Returns whether anything has come of it.
    pub(super) fn end_life(&mut self, device: usize, kind: &FaultKind, at_ms: u64) -> bool {
        let is_on = self.device(device).is_some();
        let case = case_of(device, at_ms);
        let (down_ms, again, has_effect) = match kind {
            FaultKind::Kill { down_ms, .. } => {
                let has_effect = self.power_off(device, None, KILL_NOTICE_MS);
                (*down_ms, false, has_effect)
            }
            FaultKind::PowerCut { down_ms, again, .. } => {
                let has_effect = self.power_off(device, Some(case), POWER_NOTICE_MS);
                (*down_ms, *again, has_effect)
            }
            _ => return false,
        };
        if is_on {
            self.queue.after(down_ms, Event::Boot { device, again });
        }
        has_effect
    }

    fn begin_disk_fault(&mut self, number: usize, device: usize, kind: &FaultKind, at_ms: u64) {
        let Some(seat) = self.seats.get_mut(&device) else {
            return;
        };
        let mut faults = seat.disk.faults();
        let for_ms = match kind {
            FaultKind::IgnoredSync {
                for_ms,
                honest_every,
            } => {
                faults.syncs = honest_every.map_or(Syncs::Ignored, Syncs::HonestEvery);
                *for_ms
            }
            FaultKind::DiskFull { for_ms } => {
                // Most full disks give out no more pages; some cannot even write the pages that a file has.
                let case = case_of(device, at_ms);
                let to_the_brim = self.draw.happens("full to the brim", case, 300);
                faults.full_from_write = to_the_brim.then_some(0);
                faults.bytes_max = Some(seat.disk.allocated_bytes());
                *for_ms
            }
            _ => return,
        };
        seat.disk.set_faults(faults);
        let counters = seat.disk.counters();
        seat.ongoing.push(Ongoing { number, counters });
        self.queue.after(for_ms, Event::FaultEnd(number));
    }

    /// Counts those faults of a device's disk that have taken effect since they began.
    pub(super) fn note_disk_faults(&mut self, device: usize) {
        let Some(seat) = self.seats.get_mut(&device) else {
            return;
        };
        let now = seat.disk.counters();
        let mut felt = Vec::new();
        seat.ongoing.retain(|ongoing| {
            let (kind, before) = (&self.plan.faults[ongoing.number].kind, ongoing.counters);
            let is_felt = match kind {
                FaultKind::IgnoredSync { .. } => now.syncs_ignored > before.syncs_ignored,
                FaultKind::DiskFull { .. } => now.full > before.full,
                FaultKind::Wear { .. } => now.read_errors > before.read_errors,
                _ => false,
            };
            if is_felt {
                felt.push(kind.name());
            }
            if is_felt && matches!(kind, FaultKind::Wear { .. }) {
                self.reached.note(Sometimes::ReadFailed);
            }
            !is_felt
        });
        for kind in felt {
            self.count_fault(device, kind);
        }
    }

    pub(super) fn fault_end(&mut self, number: usize) {
        let Fault { device, kind, .. } = self.plan.faults[number].clone();
        if let FaultKind::IgnoredSync { .. } = kind {
            let is_on = self.device(device).is_some();
            let case = self.case_now(device);
            self.power_off(device, Some(case), POWER_NOTICE_MS);
            if is_on {
                self.boot_after(device, REPLACE_MS);
            }
        }
        self.note_disk_faults(device);
        if let Some(seat) = self.seats.get_mut(&device) {
            seat.ongoing.retain(|ongoing| ongoing.number != number);
            let mut faults = seat.disk.faults();
            match kind {
                FaultKind::IgnoredSync { .. } => faults.syncs = Syncs::Honest,
                _ => (faults.full_from_write, faults.bytes_max) = (None, None),
            }
            seat.disk.set_faults(faults);
        }
    }

    /// Pages wear out under a device that runs on. It is counted when it is felt.
    fn wear(&mut self, number: usize, device: usize, pages: u64) -> bool {
        let at_ms = self.plan.faults[number].at_ms;
        let Some(seat) = self.seats.get_mut(&device) else {
            return false;
        };
        let counters = seat.disk.counters();
        for page in 0..pages.min(PAGES_MAX) {
            let case = key(&[device as u64, at_ms, page]);
            seat.disk.wear(&self.draw, case);
        }
        if seat.disk.is_worn() {
            (seat.may_lose, seat.may_be_damaged) = (true, true);
            seat.ongoing.push(Ongoing { number, counters });
        }
        false
    }

    fn wipe(&mut self, device: usize) -> bool {
        let is_on = self.device(device).is_some();
        if is_on {
            self.lose_store(device);
        }
        is_on
    }

    fn set_clock(&mut self, device: usize, by_ms: i64) -> bool {
        let Some(seat) = self.seats.get_mut(&device) else {
            return false;
        };
        seat.clock.jump(by_ms);
        if by_ms < 0 && seat.device.is_some() {
            self.reached.note(Sometimes::ClockWentBack);
        }
        by_ms != 0
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

    fn restore(&mut self, number: usize, device: usize, memory: Memory) -> bool {
        let Some(seat) = self.seats.get_mut(&device) else {
            return false;
        };
        let Some(backup) = seat.backups.remove(&number) else {
            return false;
        };
        self.power_off(device, None, KILL_NOTICE_MS);
        self.note_disk_faults(device);
        if let Some(seat) = self.seats.get_mut(&device) {
            seat.disk = backup.disk;
            seat.cut_short = None;
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
        self.boot_after(device, REPLACE_MS);
        true
    }
}
