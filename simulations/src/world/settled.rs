//! A device has settled a fork of its log: what only it held is in a new log, so the ledger must say so.
//!
//! Positions of the old branch are no longer its own; the same writes stand at new ones, and what people
//! were told was saved is looked for there.

use fieldmesh::engine::batch::CommitReport;
use fieldmesh::engine::batch::repair::Outcome;

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
                    continue;
                }
                Err(_) => continue,
            };
            self.reached.note(Sometimes::ForkSettled);
            let Some(seat) = self.seats.get_mut(&number) else {
                return;
            };
            for end in ends {
                match end.seq {
                    0 => seat.durable.remove(&end.header.log),
                    seq => seat.durable.insert(end.header.log, seq),
                };
            }
            let (id, reader) = (
                seat.id(),
                seat.device.as_ref().map(|device| device.reader()),
            );
            for (was, is) in moved {
                self.counts.checks += 1;
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
}
