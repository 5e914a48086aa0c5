//! What an author must say of what it had seen, judged when the change set is durable: an edit follows all
//! that its record showed (9), and its time is later than theirs and than that of whatever its device had
//! taken in, of other records too (19).

use crdt_schema::hlc::{DRIFT_MAX_MS, Timestamp};
use crdt_schema::ident::{Dot, RecordKey};
use crdt_schema::op::ChangeSet;
use fieldmesh::engine::batch::{CommitOutcome, CommitReport, LogHeader};
use fieldmesh::store::Reader;

use super::World;
use crate::oracle::Oracle;

/// No entry that has come waits longer until it is durable: what its device's clock showed at least when it came is
/// known so.
const TAKING_MS_MAX: u64 = 600_000;

impl World<'_> {
    /// An edit that shared its transaction with entries of a peer may not have seen them, and none names what does not
    /// read back.
    pub(super) fn judge_causes(
        &mut self,
        reader: &Reader,
        (header, dot): (&LogHeader, Dot),
        set: &ChangeSet,
        (report, latest_ms): (&CommitReport, u64),
    ) {
        let alone = report.remote.is_empty() && report.repairs.is_empty();
        for edit in &set.edits {
            // A time beyond the bound is suspect, and nobody's clock follows it, even when it has come near.
            let is_later = |dep: &Dot| {
                !self.plan.has_sane_clocks()
                    || self.ledger.entries.get(dep).is_none_or(|cause| {
                        cause.set.hlc < set.hlc
                            || cause.set.hlc.ms() > latest_ms.saturating_add(DRIFT_MAX_MS)
                    })
            };
            self.counts
                .checks
                .note(Oracle::Clock, edit.deps.len() as u64);
            if let Some(dep) = edit.deps.iter().find(|dep| !is_later(dep)) {
                let detail = format!("{dot} follows {dep} and is not later: {:?}", set.hlc);
                return self.break_oracle(Oracle::Clock, detail);
            }
            let key = RecordKey {
                space: header.space.clone(),
                collection: edit.collection.clone(),
                id: edit.id.clone(),
            };
            let heads = match reader.get(&key) {
                Ok(Some(stored)) => stored.view.heads,
                Ok(None) | Err(_) => continue,
            };
            self.counts.checks.note(Oracle::Order, u64::from(alone));
            let readable = heads.iter().filter(|head| !report.damaged.contains(head));
            if alone && readable.count() > 1 {
                let detail = format!("{dot} was written to {key} and leaves {heads:?} standing");
                return self.break_oracle(Oracle::Order, detail);
            }
        }
    }

    /// Notes the times of what a device has made durable that others wrote: its clock follows them.
    pub(super) fn note_taken(&mut self, number: usize, report: &CommitReport) {
        // A repair gives a new place to entries that may have come before the clock was started.
        if self.plan.sets_clocks() || !report.repairs.is_empty() {
            return;
        }
        let now_ms = self.queue.now_ms();
        let Some(seat) = self.seats.get_mut(&number) else {
            return;
        };
        let shown_ms = seat.clock.shown(now_ms).saturating_sub(TAKING_MS_MAX);
        let near_ms = shown_ms.saturating_add(DRIFT_MAX_MS);
        let id = seat.id();
        let others = report.rows.iter().filter(|row| row.header.device != id);
        let near = others
            .map(|row| row.hlc)
            .filter(|time| time.ms() <= near_ms);
        seat.taken = near.fold(seat.taken, Timestamp::max);
    }

    /// Notes what a device had taken in when it was asked to write.
    pub(super) fn note_asked(&mut self, number: usize, request: u64) {
        if let Some(seat) = self.seats.get(&number) {
            self.ledger.asked_after.insert(request, seat.taken);
        }
    }

    /// A change set is later than all that its device had taken in when it was asked for.
    pub(super) fn judge_asked(&mut self, number: usize, request: u64, outcome: &CommitOutcome) {
        self.counts.checks.note(Oracle::Clock, 1);
        let after = self.ledger.asked_after.get(&request).copied();
        if let Some(after) = after.filter(|after| outcome.hlc <= *after) {
            let detail = format!(
                "device {number} had taken in what was written at {after:?} and dated {} at {:?}",
                outcome.dot, outcome.hlc
            );
            self.break_oracle(Oracle::Clock, detail);
        }
    }
}
