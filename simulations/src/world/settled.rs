//! A device has settled a fork of its log: what only it held is in a new log, so the ledger must say so.
//!
//! Positions of the old branch are no longer its own; the same writes stand at new ones, and what people
//! were told was saved is looked for there. A fork that has spread leaves every change set in its place, under the
//! name of a branch.

use fieldmesh::engine::batch::repair::Outcome;
use fieldmesh::engine::batch::{CommitReport, FrontierRow};

use super::World;
use crate::oracle::Oracle;
use crate::sometimes::Sometimes;

impl World<'_> {
    pub(super) fn note_settled(&mut self, number: usize, report: &CommitReport) {
        for repaired in &report.repairs {
            let (ends, moved) = match &repaired.result {
                Ok(Outcome::Settled { ends, moved }) => (ends, moved),
                Ok(Outcome::Mended { .. }) => {
                    self.reached.note(Sometimes::DamageMended);
                    self.look_through(number);
                    continue;
                }
                Ok(Outcome::Forked(forked)) => {
                    self.reached.note(Sometimes::ForkSealed);
                    self.note_ends(number, &forked.ends);
                    continue;
                }
                Ok(Outcome::Known) => continue,
                Err(_) => continue,
            };
            self.reached.note(Sometimes::ForkSettled);
            self.note_ends(number, ends);
            let Some(seat) = self.seats.get_mut(&number) else {
                return;
            };
            let (id, reader) = (
                seat.id(),
                seat.device.as_ref().map(|device| device.reader()),
            );
            for (was, is) in moved {
                self.counts.checks.note(Oracle::NoInvention, 1);
                let found = reader.as_ref().map(|reader| reader.entry(*is));
                let Some(Ok(Some((_, set)))) = found else {
                    let detail = format!("device {number} wrote {was} again as {is} and lacks it");
                    return self.break_oracle(Oracle::NoLostWrite, detail);
                };
                if let Err(why) = self.ledger.moved(*was, *is, id, set) {
                    return self.break_oracle(Oracle::NoInvention, why);
                }
            }
        }
    }

    /// Logs of a device end elsewhere than before, or have begun.
    fn note_ends(&mut self, number: usize, ends: &[FrontierRow]) {
        for end in ends {
            self.ledger.note_log(&end.header);
            let Some(seat) = self.seats.get_mut(&number) else {
                return;
            };
            match end.seq == end.header.base() {
                true => seat.durable.remove(&end.header.log),
                false => seat.durable.insert(end.header.log, end.seq),
            };
        }
    }
}
