//! What an author has committed, judged against what somebody asked for when it is durable, whether its device is
//! ever told of it or not: it says that and nothing else (4), a key gives one change set (11), and its time is within
//! the bound (19).

use crdt_schema::hlc::DRIFT_MAX_MS;
use crdt_schema::ident::Dot;
use crdt_schema::op::{ChangeSet, Edit};
use fieldmesh::engine::batch::{CommitOutcome, CommitReport, LogHeader};

use super::World;
use crate::oracle::{self, Oracle};
use crate::sometimes::Sometimes;
use crate::trace::Measured;

impl World<'_> {
    /// Judges and notes the change set that a request has become in the transaction of the report. `is_new` says that
    /// its position was not held before.
    pub(super) fn note_written(
        &mut self,
        number: usize,
        request: u64,
        outcome: &CommitOutcome,
        (is_new, report): (bool, &CommitReport),
    ) {
        let Some(seat) = self.seats.get(&number) else {
            return;
        };
        let Some(reader) = seat.device.as_ref().map(|device| device.reader()) else {
            return;
        };
        let (dot, latest_ms) = (outcome.dot, seat.clock.latest_ms());
        let (header, set) = match reader.entry(dot) {
            Ok(Some(found)) => found,
            Ok(None) | Err(_) if seat.is_troubled() => {
                self.ledger.unread.insert(request);
                return;
            }
            found => {
                let found = found.map(|_| ());
                let detail = format!("device {number} committed {dot} and reads {found:?}");
                return self.break_oracle(Oracle::NoLostWrite, detail);
            }
        };
        self.judge_time(number, dot, set.hlc.ms(), latest_ms);
        if is_new {
            self.judge_asked(number, request, outcome);
        }
        let sees_all = report.damaged.is_empty();
        self.judge_said(number, request, (dot, &set), (is_new, sees_all));
        self.judge_causes(&reader, (&header, dot), &set, (report, latest_ms));
        self.judge_key(number, request, dot);
        self.note_own_log(number, &header);
        self.observer.measure(&Measured::Written {
            t_ms: self.queue.now_ms(),
            dot,
            set: &set,
        });
        if set.edits.len() > 1 {
            self.reached.note(Sometimes::BatchOverSeveralRecords);
        }
        self.counts.checks.note(Oracle::OneHistory, 1);
        if let Err(why) = self.ledger.commit(dot, header.device, set) {
            self.break_oracle(Oracle::OneHistory, why);
        }
    }

    /// No peer may drag an author's clock along further than the bound.
    fn judge_time(&mut self, number: usize, dot: Dot, entry_ms: u64, latest_ms: u64) {
        self.counts.checks.note(Oracle::Clock, 1);
        let bound_ms = latest_ms.saturating_add(DRIFT_MAX_MS);
        // A clock that was set back goes on from the latest time it has used, in any of its lives.
        if entry_ms > bound_ms {
            let detail = format!(
                "device {number}, whose clock never showed more than {latest_ms} ms, dated {dot} at {entry_ms} ms"
            );
            self.break_oracle(Oracle::Clock, detail);
        }
    }

    /// A request becomes one change set of its own, which says what was asked for. No request of a plan asks for
    /// nothing, so none is answered with what stood there before. An author that does not see all leaves out of an edit
    /// what it follows and cannot be read.
    fn judge_said(
        &mut self,
        number: usize,
        request: u64,
        (dot, set): (Dot, &ChangeSet),
        (is_new, sees_all): (bool, bool),
    ) {
        let Some(asked) = self.ledger.asked.get(&request) else {
            return;
        };
        let Some(schema) = self.family.get(asked.version) else {
            return;
        };
        let judged = match is_new {
            true => oracle::as_asked(set, asked, schema, |edit| {
                self.is_first(dot, edit).filter(|_| sees_all)
            }),
            false => Err("it was there before".to_owned()),
        };
        self.counts.checks.note(Oracle::NoInvention, 1);
        if let Err(why) = judged {
            let detail = format!(
                "device {number} committed {dot} for what it was asked for: {why}; it was asked for {:?}",
                asked.edits
            );
            self.break_oracle(Oracle::NoInvention, detail);
        }
    }

    /// Whether an edit at `dot` is the first that its author knows of the record; unknown in a log that may have
    /// forked.
    fn is_first(&self, dot: Dot, edit: &Edit) -> Option<bool> {
        if self.ledger.went_back.contains(&dot.log) {
            return None;
        }
        let before = self.ledger.entries.range(Dot::new(dot.log, 0)..dot);
        let mut before = before.flat_map(|(_, entry)| &entry.set.edits);
        let is_known = before.any(|one| (&one.collection, &one.id) == (&edit.collection, &edit.id));
        Some(edit.deps.is_empty() && !is_known)
    }

    /// A key stands for one change set, also where an earlier answer was lost with the process that should have given
    /// it.
    pub(super) fn judge_key(&mut self, number: usize, request: u64, dot: Dot) {
        let asked = self.ledger.asked.get(&request);
        let Some(key) = asked.and_then(|asked| asked.key.clone()) else {
            return;
        };
        self.counts.checks.note(Oracle::Idempotence, 1);
        let known = self.ledger.keys.entry((number, key.clone()));
        let known = *known.or_insert(dot);
        if !self.ledger.names(known).any(|name| name == dot) {
            let detail =
                format!("device {number} made of key {key:?} first {known} and then {dot}");
            self.break_oracle(Oracle::Idempotence, detail);
        }
    }

    /// Notes which log a device writes. Another one than before shows that it knows of what it has lost.
    fn note_own_log(&mut self, number: usize, header: &LogHeader) {
        let Some(seat) = self.seats.get_mut(&number) else {
            return;
        };
        if header.device != seat.id() {
            return;
        }
        let before = seat.own_log.replace(header.log);
        if seat.has_lost && before.is_some_and(|own| own != header.log) {
            self.reached.note(Sometimes::RollbackSeenByPeer);
        }
    }
}
