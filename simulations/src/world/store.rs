//! What a device's store does, spread over virtual time: transactions and reads for peers.

use crdt_schema::ident::Dot;
use fieldmesh::engine::batch::{CommitReport, Fetched, Held, SessionId};
use fieldmesh::engine::input::Input;

use super::World;
use super::event::{Event, Hidden};
use crate::alike::{self, GROUP_MAX};
use crate::device::Fetch;
use crate::oracle::Oracle;
use crate::sometimes::Sometimes;
use crate::trace::{Line, Measured};

impl World<'_> {
    pub(super) fn write(&mut self, number: usize) {
        let Some(seat) = self.seats.get_mut(&number) else {
            return;
        };
        let group = seat.spec.group.unwrap_or(GROUP_MAX);
        let (life, commit_ms) = (seat.life, seat.spec.commit_ms);
        if let Some(device) = &mut seat.device {
            device.begin_write(group);
        }
        let device = number;
        self.queue.after(commit_ms, Event::Commit { device, life });
    }

    pub(super) fn commit(&mut self, number: usize) {
        if self.dies_amid(number) {
            return;
        }
        let now_ms = self.queue.now_ms();
        let Some(seat) = self.seats.get_mut(&number) else {
            return;
        };
        let Some(device) = &mut seat.device else {
            return;
        };
        let report = device.commit();
        let (life, has_queue) = (seat.life, device.has_queue());
        seat.record_witness();
        let report_ms = alike::report_ms(&self.draw, number, now_ms);
        if report.local.len() + report.remote.len() > 1 {
            self.reached.note(Sometimes::GroupCommit);
        }
        if seat.reads > 0 {
            self.reached.note(Sometimes::CommitDuringRead);
        }
        self.note_disk_faults(number);
        self.note_commit(number, &report);
        self.note_taken(number, &report);
        self.follow_schema(number);
        if let Some(seat) = self.seats.get_mut(&number) {
            seat.unreported.push_back(report);
        }
        let device = number;
        self.queue.after(report_ms, Event::Report { device, life });
        if has_queue {
            self.queue.after(report_ms, Event::Write { device, life });
        }
    }

    /// Notes in the ledger what has become durable, and judges what people asked for.
    pub(super) fn note_commit(&mut self, number: usize, report: &CommitReport) {
        let Some(seat) = self.seats.get(&number) else {
            return;
        };
        let went_back = report.arrival < seat.arrival;
        let held_before = seat.durable.clone();
        self.note_rows(number, report);
        if went_back {
            let detail = format!("device {number} went back to arrival {}", report.arrival);
            return self.break_oracle(Oracle::Session, detail);
        }
        self.observer.trace(&Line::Saved {
            t_ms: self.queue.now_ms(),
            device: number,
            entries: report.arrival,
        });
        self.note_settled(number, report);
        for (request, result) in &report.local {
            if let Some(outcome) = result.as_ref().ok().filter(|outcome| !outcome.replayed) {
                let is_new = held_before.seq(&outcome.dot.log) < outcome.dot.seq;
                self.note_written(number, *request, outcome, (is_new, report));
            }
        }
    }

    /// Notes how far each log has become durable, and the chain up to there.
    fn note_rows(&mut self, number: usize, report: &CommitReport) {
        let failed = report.remote.iter().any(|outcome| outcome.result.is_err());
        let Some(seat) = self.seats.get_mut(&number) else {
            return;
        };
        self.counts.checks.note(Oracle::Session, 1);
        seat.arrival = report.arrival;
        for row in &report.rows {
            let point = Dot::new(row.header.log, row.seq);
            self.observer.measure(&Measured::Held {
                t_ms: self.queue.now_ms(),
                device: number,
                log: point.log,
                seq: point.seq,
            });
            seat.durable.insert(point.log, point.seq);
            self.ledger.note_log(&row.header);
            if self.plan.mixes_versions() && row.header.device == seat.id() {
                self.ledger.chains.insert(point, row.chain);
            }
        }
        let durable = &seat.durable;
        let is_again = |(log, seq): (_, &u64)| durable.get(log).is_some_and(|held| held >= seq);
        if !seat.wiped.is_empty() && seat.wiped.iter().all(is_again) {
            seat.wiped = Held::new();
            self.reached.note(Sometimes::WipedDeviceFilledAgain);
        }
        if !report.rows.is_empty() && std::mem::take(&mut seat.has_failed) {
            self.reached.note(Sometimes::StoreRecoveredWithoutRestart);
        }
        seat.has_failed |= failed;
    }

    pub(super) fn report(&mut self, number: usize) {
        let Some(seat) = self.seats.get_mut(&number) else {
            return;
        };
        if let Some(report) = seat.unreported.pop_front() {
            self.feed(number, Input::Committed(report));
        }
    }

    pub(super) fn begin_read(&mut self, device: usize, life: u64, fetch: Fetch) {
        let Some(seat) = self.seats.get_mut(&device) else {
            return;
        };
        seat.reads += 1;
        let delay_ms = seat.spec.fetch_ms / 2;
        let fetch = Hidden(fetch);
        self.queue.after(
            delay_ms,
            Event::Read {
                device,
                life,
                fetch,
            },
        );
    }

    pub(super) fn read(&mut self, number: usize, fetch: &Fetch) {
        let Some(seat) = self.seats.get_mut(&number) else {
            return;
        };
        let bytes_max = seat
            .spec
            .fetch_bytes
            .map_or(fetch.bytes_max, |bytes| bytes.min(fetch.bytes_max));
        let Some(device) = &seat.device else {
            return;
        };
        let result = device.read(fetch, bytes_max);
        if let Err(why) = &result
            && !seat.is_troubled()
            && !seat.doubts_again()
        {
            let detail = format!("device {number} cannot read its entries: {why}");
            return self.break_oracle(Oracle::NoLostWrite, detail);
        }
        let seat_fetch_ms = seat.spec.fetch_ms;
        let life = seat.life;
        self.queue.after(
            seat_fetch_ms - seat_fetch_ms / 2,
            Event::Fetched {
                device: number,
                life,
                session: fetch.session,
                result: Hidden(result),
            },
        );
    }

    pub(super) fn fetched(
        &mut self,
        number: usize,
        session: SessionId,
        result: Result<Fetched, String>,
    ) {
        if let Some(seat) = self.seats.get_mut(&number) {
            seat.reads = seat.reads.saturating_sub(1);
        }
        self.feed(number, Input::Fetched { session, result });
    }
}
