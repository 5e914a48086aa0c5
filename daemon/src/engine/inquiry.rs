//! A peer shows another history of a log: finds out whether ours is damaged, and where the two part.
//!
//! Our own log is read through first: whoever cannot verify its entries against its author's signatures is
//! the damaged one (see [`super::repair`]). If ours is whole, a sixteen-way search over the chain tags of its
//! beginnings finds the place where the two part, and the peer's signed run there is the proof of the fork.
//!
//! If this device wrote the log and nobody else is known to hold its end, the end is written again in a new log (see
//! [`super::batch::repair`]). Otherwise the log is sealed and both histories go on as branches (see
//! [`super::forks`]). The author of a log decides which: between it and another device, only it asks.
//!
//! A peer may differ for ever, because its disk is broken or because it lies. So a log is inquired about with one
//! peer once in [`INQUIRY_MS`], however often the two meet, unless a repair of it has been made meanwhile. One that
//! a dropped link cut short, or that found no difference, may be repeated after [`INQUIRY_RETRY_MS`].

use std::collections::BTreeMap;

use crdt_schema::ident::{DeviceId, Dot, LogId};

use super::Engine;
use super::batch::repair::{ChainTag, Repair};
use super::batch::{Batch, FrontierRow, Held, Run, SessionId};
use super::effect::{CloseReason, Effect};
use super::limits::{INQUIRIES_MAX, INQUIRY_MS, INQUIRY_RETRY_MS};
use super::repair::Asked;
use super::session::{Session, protocol};
use crate::wire::limits::PROBE_SEQS_MAX;
use crate::wire::message::Message;

type Rows = Vec<(u64, ChainTag)>;

/// A search in progress.
#[derive(Debug)]
pub(super) struct Inquiry {
    log: LogId,
    /// Both sides have the same up to here.
    same: u64,
    /// And not up to here, as far as is known.
    other: u64,
    /// What the present round asks about.
    seqs: Vec<u64>,
    ours: Option<Rows>,
    theirs: Option<Rows>,
}

/// When each log was last inquired about with each peer, while that is less than [`INQUIRY_MS`] ago.
#[derive(Debug, Default)]
pub(super) struct Inquiries {
    begun_ms: BTreeMap<(DeviceId, LogId), u64>,
}

impl Inquiries {
    /// Whether an inquiry may begin; if so, the next one has to wait.
    fn begin(&mut self, peer: DeviceId, log: LogId, now_ms: u64) -> bool {
        self.begun_ms
            .retain(|_, begun_ms| now_ms.saturating_sub(*begun_ms) < INQUIRY_MS);
        let may_begin =
            self.begun_ms.len() < INQUIRIES_MAX && !self.begun_ms.contains_key(&(peer, log));
        if may_begin {
            self.begun_ms.insert((peer, log), now_ms);
        }
        may_begin
    }

    /// Lets an inquiry that has come to nothing be repeated before long.
    fn cut_short(&mut self, peer: DeviceId, log: LogId, now_ms: u64) {
        if let Some(begun_ms) = self.begun_ms.get_mut(&(peer, log)) {
            let earlier_ms = INQUIRY_MS - INQUIRY_RETRY_MS;
            *begun_ms = (*begun_ms).min(now_ms.saturating_sub(earlier_ms));
        }
    }

    /// Lets all logs be inquired about again: a damaged one, which may have kept forks of others from being
    /// settled, is whole.
    pub(super) fn forget_all(&mut self) {
        self.begun_ms.clear();
    }

    /// Lets a log be inquired about again: it has changed.
    pub(super) fn forget(&mut self, log: &LogId) {
        self.begun_ms.retain(|(_, of), _| of != log);
    }
}

/// What a round of the search has found.
#[derive(Debug, PartialEq, Eq)]
enum Finding {
    /// The histories part after `same` and not after `other`.
    Between { same: u64, other: u64 },
    /// One is the beginning of the other.
    None,
}

impl Engine {
    /// Begins to find out why a peer's history of a log is not ours.
    pub(super) fn inquire(&mut self, id: SessionId, log: LogId) {
        let end = self.frontier.durable_seq(&log);
        let base = self
            .frontier
            .get(&log)
            .map_or(0, |known| known.header.base());
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let talk = &mut session.repair;
        if end == 0 || talk.inquiry.is_some() {
            return;
        }
        let (peer, now_ms) = (session.device, self.mono_ms);
        if !self.inquiries.begin(peer, log, now_ms) {
            return;
        }
        talk.inquiry = Some(Inquiry {
            log,
            same: base,
            other: end,
            seqs: Vec::new(),
            ours: None,
            theirs: None,
        });
        self.ask_round(id);
    }

    /// Takes note that a session has ended in the middle of an inquiry.
    pub(super) fn end_inquiry(&mut self, session: &Session) {
        let talk = &session.repair;
        let branch = talk.asked.filter(|asked| asked.is_branch);
        let searched = talk.inquiry.as_ref().map(|inquiry| inquiry.log);
        for log in searched.into_iter().chain(branch.map(|asked| asked.log)) {
            self.inquiries.cut_short(session.device, log, self.mono_ms);
        }
    }

    fn ask_round(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let Some(inquiry) = &mut session.repair.inquiry else {
            return;
        };
        let log = inquiry.log;
        inquiry.seqs = positions(inquiry.same, inquiry.other);
        (inquiry.ours, inquiry.theirs) = (None, None);
        let seqs = inquiry.seqs.clone();
        if self.settles(id, &log)
            && let Some(session) = self.sessions.get_mut(&id)
        {
            let seqs = seqs.clone();
            session.send(&Message::Probe { log, seqs }, &mut self.effects);
        }
        self.look(id, log, seqs);
    }

    /// Whether it is for this side to find out where a log forks.
    fn settles(&self, id: SessionId, log: &LogId) -> bool {
        let author = self.frontier.get(log).map(|known| known.header.device);
        let peer = self.sessions.get(&id).map(|session| session.device);
        author == Some(self.config.device) || author != peer
    }

    pub(super) fn on_own_tags(&mut self, id: SessionId, log: LogId, rows: Rows) {
        let settles = self.settles(id, &log);
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let awaited = |inquiry: &&mut Inquiry| inquiry.log == log;
        let Some(inquiry) = session.repair.inquiry.as_mut().filter(awaited) else {
            return;
        };
        if settles {
            inquiry.ours = Some(rows);
            self.end_round(id);
        } else {
            // Ours is whole: the peer wrote the log and settles its fork, or has damaged it.
            session.repair.inquiry = None;
        }
    }

    pub(super) fn on_tags(
        &mut self,
        id: SessionId,
        log: LogId,
        rows: Rows,
    ) -> Result<(), CloseReason> {
        let Some(session) = self.sessions.get_mut(&id) else {
            return Ok(());
        };
        let awaited = |inquiry: &&mut Inquiry| inquiry.log == log && inquiry.theirs.is_none();
        let Some(inquiry) = session.repair.inquiry.as_mut().filter(awaited) else {
            return Err(protocol("TAGS without PROBE"));
        };
        if rows.iter().any(|(seq, _)| !inquiry.seqs.contains(seq)) {
            return Err(protocol("TAGS of entries that were not asked about"));
        }
        inquiry.theirs = Some(rows);
        self.end_round(id);
        Ok(())
    }

    fn end_round(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let talk = &mut session.repair;
        let Some(inquiry) = &mut talk.inquiry else {
            return;
        };
        let (Some(ours), Some(theirs)) = (&inquiry.ours, &inquiry.theirs) else {
            return;
        };
        match compare(inquiry.same, &inquiry.seqs, ours, theirs) {
            Finding::None => {
                let (peer, log) = (session.device, inquiry.log);
                talk.inquiry = None;
                self.inquiries.cut_short(peer, log, self.mono_ms);
            }
            Finding::Between { same, other } if other == same + 1 => {
                let (log, from) = (inquiry.log, other);
                talk.inquiry = None;
                if talk.asked.is_none() {
                    talk.asked = Some(Asked {
                        log,
                        from,
                        is_branch: true,
                    });
                    session.send(&Message::Ask { log, from }, &mut self.effects);
                }
            }
            Finding::Between { same, other } => {
                (inquiry.same, inquiry.other) = (same, other);
                self.ask_round(id);
            }
        }
    }

    /// The peer has given its branch of a log of ours: settles the fork.
    pub(super) fn on_branch(&mut self, id: SessionId, log: LogId, run: Option<Run>) {
        let (Some(run), Some(known)) = (run, self.frontier.get(&log)) else {
            return;
        };
        let header = known.header.clone();
        // What a branch continues is another's to keep, and an end that branches continue is nobody's to move.
        if header.device != self.config.device || self.frontier.forks.is_forked(&header) {
            return self.seal(id, Repair::Branch(run), &header);
        }
        let space = header.space;
        let shared = self.shared();
        // What waits to be written in the old logs is written before the settlement, and moves with it.
        self.own_logs.remove(&space);
        let into = self.own_log(&space);
        let repair = Repair::Settle { run, shared, into };
        self.effects
            .push_back(Effect::Commit(Batch::Repair(id, Box::new(repair))));
    }

    /// How far any other device holds this device's logs, or may hold them by now.
    fn shared(&self) -> Held {
        let mut shared = Held::new();
        let told = self.peers.all_held().map(|(log, seq)| (*log, *seq));
        let sent = self.sessions.values().flat_map(|s| s.pump.unacked_ends());
        for (log, seq) in told.chain(sent) {
            shared.raise(log, seq);
        }
        shared
    }

    pub(super) fn on_settled(&mut self, log: LogId, ends: Vec<FrontierRow>, moved: &[(Dot, Dot)]) {
        let count = moved.len() as u64;
        self.inquiries.forget(&log);
        tracing::warn!(
            %log, entries = count,
            "another history of this device's log is held elsewhere; what only this device had was written again in a new log"
        );
        for row in ends {
            let (log, after) = (row.header.log, row.seq);
            self.frontier.rewind(row);
            self.peers.our_log_moved(log, after);
        }
        self.peers.count_rewritten(count);
        self.close_all(&CloseReason::Repaired);
    }
}

/// At most [`PROBE_SEQS_MAX`] positions after `same` and up to `other`, the last among them.
fn positions(same: u64, other: u64) -> Vec<u64> {
    let span = other - same;
    let parts = span.min(PROBE_SEQS_MAX as u64);
    (1..=parts).map(|part| same + span * part / parts).collect()
}

fn compare(same: u64, seqs: &[u64], ours: &Rows, theirs: &Rows) -> Finding {
    let theirs: BTreeMap<u64, ChainTag> = theirs.iter().copied().collect();
    let ours: BTreeMap<u64, ChainTag> = ours.iter().copied().collect();
    let mut same = same;
    for &seq in seqs {
        match (ours.get(&seq), theirs.get(&seq)) {
            (Some(a), Some(b)) if a == b => same = seq,
            (Some(_), Some(_)) => return Finding::Between { same, other: seq },
            // The peer's log ends before this position: it may part from ours before its end.
            (Some(_), None) if seq > same + 1 => return Finding::Between { same, other: seq },
            (_, None) | (None, _) => return Finding::None,
        }
    }
    Finding::None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches as two sides would, and returns the first entry that differs.
    fn search(ours: u64, theirs: u64, fork: u64) -> Option<u64> {
        let tag = |side: u8, seq: u64| match seq < fork {
            true => [0; 8],
            false => [side; 8],
        };
        let (mut same, mut other) = (0, ours);
        for _ in 0..64 {
            let seqs = positions(same, other);
            let rows = |side, end: u64| -> Rows {
                let held = seqs.iter().filter(|seq| **seq <= end);
                held.map(|&seq| (seq, tag(side, seq))).collect()
            };
            match compare(same, &seqs, &rows(1, ours), &rows(2, theirs)) {
                Finding::None => return None,
                Finding::Between { same: a, other: b } if b == a + 1 => return Some(b),
                Finding::Between { same: a, other: b } => (same, other) = (a, b),
            }
        }
        panic!("the search does not end");
    }

    #[test]
    fn the_search_finds_the_first_entry_that_differs_wherever_it_is() {
        for (ours, theirs) in [
            (1, 1),
            (5, 9),
            (9, 5),
            (1000, 3),
            (70_000, 70_000),
            (17, 16),
        ] {
            for fork in [1, 2, 3, 4, 5, 16, 17, 500, 65_000] {
                let expected = (fork <= ours.min(theirs)).then_some(fork);
                assert_eq!(
                    search(ours, theirs, fork),
                    expected,
                    "{ours} {theirs} {fork}"
                );
            }
        }
    }

    #[test]
    fn a_log_is_inquired_about_once_an_hour_with_each_peer() {
        let (mut inquiries, log) = (Inquiries::default(), LogId([1; 16]));
        let [one, two] = [1, 2].map(|number| DeviceId([number; 32]));
        let minutes: Vec<u64> = (0..180)
            .filter(|minute| inquiries.begin(one, log, minute * 60_000))
            .collect();

        assert_eq!(minutes, [0, 60, 120]);
        assert!(inquiries.begin(two, log, 180 * 60_000 - 1));
        assert!(!inquiries.begin(two, log, 180 * 60_000));
        inquiries.forget(&log);
        assert!(inquiries.begin(two, log, 180 * 60_000));
        inquiries.cut_short(two, log, 180 * 60_000);
        assert!(!inquiries.begin(two, log, 180 * 60_000 + INQUIRY_RETRY_MS - 1));
        assert!(inquiries.begin(two, log, 180 * 60_000 + INQUIRY_RETRY_MS));
    }

    #[test]
    fn what_is_remembered_of_inquiries_is_bounded() {
        let (mut inquiries, peer) = (Inquiries::default(), DeviceId([1; 32]));
        let log = |number: usize| LogId((number as u128).to_be_bytes());
        let begun = (0..2 * INQUIRIES_MAX).filter(|n| inquiries.begin(peer, log(*n), 5));

        assert_eq!(begun.count(), INQUIRIES_MAX);
        assert!(inquiries.begin(peer, log(0), 5 + INQUIRY_MS));
    }
}
