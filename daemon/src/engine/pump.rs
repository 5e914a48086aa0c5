//! Entries on their way: out to peers that lack them, in from peers that have them, and what is said about
//! both.

use std::sync::Arc;

use crdt_schema::ident::{DeviceId, LogId};
use rand_chacha::rand_core::RngCore;

use super::batch::{Batch, Fetched, FrontierRow, Held, Run, SessionId};
use super::effect::{CloseReason, Effect};
use super::ingest::{Verdict, verify};
use super::input::Now;
use super::limits::{STAGED_BYTES_MAX, WANT_JITTER_MS, WANT_MS, WANT_MS_MAX, WINDOW_BYTES};
use super::session::Phase;
use super::{Engine, Staged};
use crate::wire::limits::{ACK_ROWS_MAX, DATA_BYTES_MAX, DATA_BYTES_TARGET};
use crate::wire::message::Message;

impl Engine {
    /// Asks the store for the next entries of a session, if it may have them.
    pub(super) fn pump(&mut self, session: SessionId) {
        let Some(open) = self.sessions.get_mut(&session) else {
            return;
        };
        let pump = &mut open.pump;
        let may = matches!(open.phase, Phase::Live) && pump.running && !pump.fetching;
        if !may || pump.in_flight_bytes >= WINDOW_BYTES {
            return;
        }
        pump.fetching = true;
        self.effects.push_back(Effect::Fetch {
            session,
            after: pump.cursor,
            known: pump.sent.clone(),
            bytes_max: DATA_BYTES_TARGET,
        });
    }

    pub(super) fn pump_all(&mut self) {
        let sessions: Vec<SessionId> = self.sessions.keys().copied().collect();
        for session in sessions {
            self.pump(session);
        }
    }

    pub(super) fn on_fetched(&mut self, session: SessionId, result: Result<Fetched, String>) {
        let Some(open) = self.sessions.get_mut(&session) else {
            return;
        };
        open.pump.fetching = false;
        let fetched = match result {
            Ok(fetched) => fetched,
            Err(why) => return self.close(session, CloseReason::Store(why)),
        };
        open.pump.cursor = fetched.arrival.max(open.pump.cursor);
        if fetched.end {
            open.pump.running = std::mem::take(&mut open.pump.again);
        }
        let sent = open.pump.sent.clone();
        // The peer may have acknowledged some of it while the store was being read.
        let lacks = |run: &Run| {
            sent.get(&run.header.log)
                .is_none_or(|&seq| seq < run.last())
        };
        for runs in into_frames(fetched.runs.into_iter().filter(lacks).collect()) {
            self.send_data(session, runs);
        }
        self.pump(session);
    }

    fn send_data(&mut self, session: SessionId, runs: Vec<Run>) {
        let ends = runs
            .iter()
            .map(|run| (run.header.log, run.last()))
            .collect();
        let bytes = runs.iter().map(entry_bytes).sum();
        if let Some(open) = self.sessions.get_mut(&session) {
            open.pump.sending(ends, bytes);
        }
        self.send(session, &Message::Data(runs));
    }

    /// Says what is newly durable here: to the peer that sent it, this acknowledges; to the others it is news.
    /// Own entries need no words where they are about to be pushed.
    pub(super) fn announce(&mut self, rows: &[FrontierRow]) {
        let own = rows.iter().any(|row| self.is_own(row.header.log));
        let news: Vec<(LogId, u64)> = rows
            .iter()
            .filter(|row| !self.is_own(row.header.log))
            .map(|row| (row.header.log, row.seq))
            .collect();
        let accepted: Vec<SessionId> = self
            .sessions
            .iter()
            .filter(|(_, open)| open.is_accepted())
            .map(|(&id, _)| id)
            .collect();
        for session in accepted {
            if own && let Some(open) = self.sessions.get_mut(&session) {
                open.pump.run();
            }
            for rows in news.chunks(ACK_ROWS_MAX) {
                self.send(session, &Message::Ack(rows.to_vec()));
            }
        }
    }

    pub(super) fn on_ack(&mut self, now: Now, session: SessionId, rows: &[(LogId, u64)]) {
        let Some(device) = self.sessions.get(&session).map(|open| open.device) else {
            return;
        };
        for &(log, seq) in rows {
            if !self.note_held(now, session, device, log, seq) {
                return;
            }
        }
        self.fleet_changed = true;
        let held = self.held_by(device);
        if let Some(open) = self.sessions.get_mut(&session) {
            open.pump.acknowledged(&held);
        }
        let announced: Held = rows.iter().copied().collect();
        self.expect_announced(now, session, &announced);
        self.pump(session);
    }

    fn held_by(&self, device: DeviceId) -> Arc<Held> {
        self.peers
            .get(device)
            .map(|peer| peer.held.clone())
            .unwrap_or_default()
    }

    /// Sets the time for asking after entries that a peer has and we lack: their author may be sending them.
    pub(super) fn expect_announced(&mut self, now: Now, session: SessionId, announced: &Held) {
        let jitter = self.rng.next_u64() % WANT_JITTER_MS;
        let Some(open) = self.sessions.get_mut(&session) else {
            return;
        };
        let lacking = |(log, &seq): (&LogId, &u64)| {
            !open.refused.contains(log) && self.logs.end_seq(*log) < seq
        };
        if open.want_at.is_none() && announced.iter().any(lacking) {
            open.want_at = Some(now.mono_ms + WANT_MS + jitter);
            open.want_latest = now.mono_ms + WANT_MS_MAX;
        }
    }

    /// Asks the peers that announced what has not come from anybody else.
    pub(super) fn ask_for_missing(&mut self, now: Now) {
        let due: Vec<SessionId> = self
            .sessions
            .iter()
            .filter(|(_, open)| open.want_at.is_some_and(|at| at <= now.mono_ms))
            .map(|(&id, _)| id)
            .collect();
        for session in due {
            let Some(open) = self.sessions.get_mut(&session) else {
                continue;
            };
            open.want_at = None;
            let held = self
                .peers
                .get(open.device)
                .map(|peer| peer.held.clone())
                .unwrap_or_default();
            let missing = held
                .iter()
                .any(|(log, &seq)| !open.refused.contains(log) && self.logs.end_seq(*log) < seq);
            if !missing {
                continue;
            }
            if now.mono_ms < self.last_data + WANT_MS && now.mono_ms < open.want_latest {
                open.want_at = Some((self.last_data + WANT_MS).min(open.want_latest));
            } else {
                self.send(session, &Message::Want);
            }
        }
    }

    pub(super) fn on_want(&mut self, session: SessionId) {
        if let Some(open) = self.sessions.get_mut(&session) {
            open.pump.run();
        }
        self.pump(session);
    }

    pub(super) fn on_data(&mut self, now: Now, session: SessionId, runs: Vec<Run>) {
        self.last_data = now.mono_ms;
        let mut known = Vec::new();
        let mut verified = Vec::new();
        for run in runs {
            let (log, last) = (run.header.log, run.last());
            let Some(open) = self.sessions.get(&session) else {
                return;
            };
            let device = open.device;
            if open.refused.contains(&log) {
                continue;
            }
            // Who sends an entry holds it durably.
            if !self.note_held(now, session, device, log, last) {
                return;
            }
            match verify(&self.config.organisation, &self.logs, run) {
                Verdict::Known => known.push((log, last)),
                Verdict::New(new) => {
                    self.logs.stage(&new.run.header, last, new.chain);
                    self.watch_clock(now, &new);
                    verified.push(new);
                }
                Verdict::Refused(why) => {
                    if !self.refuse_log(session, log, why) {
                        break;
                    }
                }
            }
        }
        self.fleet_changed = true;
        self.stage(session, verified);
        self.acknowledge_known(session, known);
    }

    fn stage(&mut self, session: SessionId, runs: Vec<super::batch::VerifiedRun>) {
        if runs.is_empty() {
            return;
        }
        let bytes = runs.iter().map(|new| entry_bytes(&new.run)).sum();
        let batch = self.next_batch;
        self.next_batch += 1;
        self.staged.insert(batch, Staged { session, bytes });
        self.effects
            .push_back(Effect::Commit(Batch::Remote { batch, runs }));
        let Some(open) = self.sessions.get_mut(&session) else {
            return;
        };
        open.staged_bytes += bytes;
        if open.staged_bytes > STAGED_BYTES_MAX {
            let what = "it sends faster than it is acknowledged".to_owned();
            self.close(session, CloseReason::Protocol(what));
        }
    }

    /// Frees the sender's window for what was already durable here. What is only staged is acknowledged when it
    /// is committed.
    fn acknowledge_known(&mut self, session: SessionId, known: Vec<(LogId, u64)>) {
        let durable: Vec<(LogId, u64)> = known
            .into_iter()
            .filter(|(log, seq)| self.logs.durable_seq(*log) >= *seq)
            .collect();
        for rows in durable.chunks(ACK_ROWS_MAX) {
            self.send(session, &Message::Ack(rows.to_vec()));
        }
    }

    /// Follows the authors' clocks, and notes whose is suspect.
    fn watch_clock(&mut self, now: Now, new: &super::batch::VerifiedRun) {
        let Some(latest) = new.sets.iter().map(|set| set.hlc).max() else {
            return;
        };
        let followed = self.clock.observe(latest, now.unix_ms);
        if let Some(peer) = self.peers.get_mut(new.run.header.device) {
            peer.clock_suspect = !followed;
        }
    }
}

fn entry_bytes(run: &Run) -> usize {
    run.entries.iter().map(Vec::len).sum()
}

/// Groups runs so that no DATA frame comes near its limit.
fn into_frames(runs: Vec<Run>) -> Vec<Vec<Run>> {
    let mut frames: Vec<Vec<Run>> = Vec::new();
    let mut bytes = 0;
    for run in runs {
        let size = entry_bytes(&run);
        match frames.last_mut() {
            Some(frame) if bytes + size <= DATA_BYTES_MAX / 2 => frame.push(run),
            _ => {
                frames.push(vec![run]);
                bytes = 0;
            }
        }
        bytes += size;
    }
    frames
}
