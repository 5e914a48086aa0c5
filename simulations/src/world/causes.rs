//! What an author must say of what it had seen, judged when the change set is durable: an edit follows all
//! that its record showed (9), and its time is later than theirs (19).

use crdt_schema::hlc::DRIFT_MAX_MS;
use crdt_schema::ident::{Dot, RecordKey};
use crdt_schema::op::ChangeSet;
use fieldmesh::engine::batch::LogHeader;
use fieldmesh::store::Reader;

use super::World;
use crate::oracle::Oracle;

impl World<'_> {
    /// `alone` says that nothing of a peer was written in the same transaction.
    pub(super) fn judge_causes(
        &mut self,
        reader: &Reader,
        (header, dot): (&LogHeader, Dot),
        set: &ChangeSet,
        (alone, latest_ms): (bool, u64),
    ) {
        self.counts.checks += set.edits.len() as u64;
        for edit in &set.edits {
            // A time beyond the bound is suspect, and nobody's clock follows it, even when it has come near.
            let is_later = |dep: &Dot| {
                !self.plan.has_sane_clocks()
                    || self.ledger.entries.get(dep).is_none_or(|cause| {
                        cause.set.hlc < set.hlc
                            || cause.set.hlc.ms() > latest_ms.saturating_add(DRIFT_MAX_MS)
                    })
            };
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
            if alone && heads.len() > 1 {
                let detail = format!("{dot} was written to {key} and leaves {heads:?} standing");
                return self.break_oracle(Oracle::Order, detail);
            }
        }
    }
}
