//! Devices die in the middle of a transaction, with part of it on the disk, and are judged when they start again.
//!
//! The store's commit runs to its end and does not notice: the disk remembers what it was before one of the
//! commit's writes and syncs, and that is what is left. What the commit says is forgotten, so nobody is told of it.
//! At the next start all of it is there or nothing, and what is there is shown as the log says.

use fieldmesh::engine::batch::{FrontierRow, Held};
use fieldmesh::store::StoreIdentity;

use super::World;
use crate::device::case_of;
use crate::oracle::Oracle;
use crate::plan::Amid;
use crate::sometimes::Sometimes;

impl World<'_> {
    /// Lets a device die in the transaction that it is about to end, if a fault waits for such a one. Returns
    /// whether it has.
    pub(super) fn dies_amid(&mut self, number: usize) -> bool {
        let Some((place, amid)) = self.awaited(number) else {
            return false;
        };
        let Some(seat) = self.seats.get_mut(&number) else {
            return false;
        };
        let fault = self.plan.faults[seat.awaited.remove(place)].clone();
        let Some(device) = &mut seat.device else {
            return false;
        };
        let case = case_of(number, fault.at_ms);
        seat.disk.stop_amid(&self.draw, case);
        let report = device.commit();
        if seat.disk.has_stopped() {
            // Whether they are there is known when the device starts, if its disk can be believed then.
            let written = report.local.iter().filter(|(_, result)| result.is_ok());
            let requests = written.map(|(request, _)| *request);
            self.ledger.unread.extend(requests);
            seat.cut_short = Some(report);
            self.reached.note(match amid {
                Amid::Own => Sometimes::DiedAmidOwn,
                Amid::Peers => Sometimes::DiedAmidPeers,
                Amid::Repair => Sometimes::DiedAmidRepair,
            });
        }
        self.tell(&format!("  device {number} dies in a transaction"));
        self.note_disk_faults(number);
        if self.end_life(number, &fault.kind, fault.at_ms) {
            self.count_fault(number, fault.kind.name());
        }
        true
    }

    /// The first fault that waits for a transaction as this one is: its place among those that wait.
    fn awaited(&self, number: usize) -> Option<(usize, Amid)> {
        let seat = self.seats.get(&number)?;
        let device = seat.device.as_ref()?;
        let mut awaited = seat.awaited.iter().enumerate();
        awaited.find_map(|(place, fault)| {
            let amid = self.plan.faults[*fault].kind.amid()?;
            device.is_writing(amid).then_some((place, amid))
        })
    }

    /// Judges what a device that starts has of the transaction that it died in. Returns whether it died in one.
    pub(super) fn judge_cut_short(&mut self, number: usize, held: &Held) -> bool {
        let Some(seat) = self.seats.get_mut(&number) else {
            return false;
        };
        let Some(report) = seat.cut_short.take() else {
            return false;
        };
        if seat.may_lose || seat.is_troubled() {
            return false;
        }
        self.counts.checks.note(Oracle::Atomic, 1);
        let commits = |store: StoreIdentity| store.commits;
        let now = seat.device.as_ref().map(|device| device.identity());
        let now = now.and_then(Result::ok).map(commits);
        let is_newer = now > seat.witness.as_ref().map(|seen| commits(seen.store));
        let is_there =
            |row: &&FrontierRow| held.get(&row.header.log).is_some_and(|seq| *seq >= row.seq);
        let count = report.rows.iter().filter(is_there).count();
        // A repair may take entries out of a log, so that its rows do not tell.
        let is_half =
            report.repairs.is_empty() && count != if is_newer { report.rows.len() } else { 0 };
        if is_half {
            let detail = format!(
                "device {number} died in a transaction, counts it: {is_newer}, and has {count} of its logs: {:?}",
                report.rows
            );
            self.break_oracle(Oracle::Atomic, detail);
        } else if is_newer {
            self.reach(Sometimes::CutShortAndWhole);
            self.note_commit(number, &report);
        }
        true
    }
}
