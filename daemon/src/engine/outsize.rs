//! What goes out in parts: a run whose entry is larger than what is sent at a time.
//!
//! The pump stands still until the whole has been sent, so that what depends on it comes after it. The parts are
//! paced like DATA: as many are under way as the window has room for, and each is acknowledged by HAVE.
//!
//! A peer has told in its opening what it has of which wholes (see [`super::parts`]), and the first part begins
//! there. That is known once its FRONT END has come; until then nothing is sent in parts.

use std::collections::{BTreeMap, VecDeque};

use crdt_schema::ident::LogId;

use super::Engine;
use super::batch::{Held, Run, SessionId};
use super::effect::{Breach, CloseReason};
use super::input::Now;
use super::limits::PARTIALS_MAX;
use crate::wire::limits::WHOLE_BYTES_MAX;
use crate::wire::message::Message;
use crate::wire::part::{Part, WholeId, encode_whole};

/// The outgoing side of one session, as far as it sends parts.
#[derive(Debug, Default)]
pub(super) struct Outsize {
    whole: Option<Whole>,
    /// What the peer had of which wholes when the session opened.
    told: BTreeMap<WholeId, usize>,
}

/// A run that is being sent in parts.
#[derive(Debug)]
struct Whole {
    id: WholeId,
    bytes: Vec<u8>,
    /// How many bytes the peer has or has been sent.
    sent: usize,
    /// How many bytes the peer has said that it has.
    had: usize,
    /// Where each part under way ends, and when it was sent; oldest first.
    under_way: VecDeque<(usize, u64)>,
}

impl Outsize {
    /// Sends a run next.
    pub(super) fn begin(&mut self, run: Option<Run>) {
        self.whole = run.map(|run| {
            let (id, bytes) = encode_whole(&run);
            let told = self.told.get(&id).copied().unwrap_or(0);
            let had = if told < bytes.len() { told } else { 0 };
            Whole {
                id,
                bytes,
                sent: had,
                had,
                under_way: VecDeque::new(),
            }
        });
    }

    /// Whether a whole of this log is being sent.
    pub(super) fn is_of(&self, log: &LogId) -> bool {
        self.whole
            .as_ref()
            .is_some_and(|whole| whole.id.log == *log)
    }

    /// Whether a whole is being sent that the peer lacks. One that it has got in another way, or does not take, is
    /// forgotten.
    pub(super) fn is_under_way(&mut self, known: &Held) -> bool {
        let is_lacking = |whole: &Whole| {
            let known = known.get(&whole.id.log);
            known.is_none_or(|known| *known < whole.id.last)
        };
        self.whole = self.whole.take().filter(is_lacking);
        self.whole.is_some()
    }
}

impl Whole {
    /// The next part, of at most `bytes_max` bytes.
    fn next(&mut self, now: Now, bytes_max: usize) -> Part {
        let end = self.bytes.len().min(self.sent + bytes_max);
        let part = Part {
            whole: self.id,
            total: self.bytes.len(),
            offset: self.sent,
            bytes: self.bytes[self.sent..end].to_vec(),
        };
        self.sent = end;
        self.under_way.push_back((end, now.mono_ms));
        part
    }

    /// Takes note of how much the peer has. Returns how many bytes of that are news, and when the last of them was
    /// sent.
    fn acknowledge(&mut self, had: usize) -> Option<(usize, u64)> {
        let had = had.min(self.sent);
        let bytes = had.checked_sub(self.had).filter(|bytes| *bytes > 0)?;
        self.had = had;
        let mut sent_ms = 0;
        while let Some((end, at_ms)) = self.under_way.front().copied()
            && end <= had
        {
            self.under_way.pop_front();
            sent_ms = at_ms;
        }
        Some((bytes, sent_ms))
    }
}

impl Engine {
    /// Sends as many parts as there is room for.
    pub(super) fn send_parts(&mut self, now: Now, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        let is_waiting = !session.is_live() || session.pump.is_held;
        let pump = &mut session.pump;
        if is_waiting || !pump.outsize.is_under_way(&pump.known) {
            return;
        }
        let (window, part_bytes) = (pump.pace.window_bytes(), pump.pace.frame_bytes());
        let mut parts = Vec::new();
        let mut is_sent = None;
        if let Some(whole) = &mut pump.outsize.whole {
            while whole.sent < whole.bytes.len()
                && pump.unacked_bytes + whole.sent - whole.had < window
            {
                parts.push(whole.next(now, part_bytes));
            }
            if whole.sent == whole.bytes.len() {
                is_sent = Some((whole.id, whole.sent - whole.had));
            }
        }
        for part in parts {
            session.send(&Message::Part(part), &mut self.effects);
        }
        if let Some((whole, bytes)) = is_sent {
            session.pump.outsize.whole = None;
            session.pump.note_sent(now, whole.log, whole.last, bytes);
            session.note_told(whole.log, whole.last);
        }
    }

    /// A peer says how much it has of a whole.
    pub(super) fn on_have(
        &mut self,
        now: Now,
        id: SessionId,
        whole: WholeId,
        bytes: usize,
    ) -> Result<(), CloseReason> {
        let Some(session) = self.sessions.get_mut(&id) else {
            return Ok(());
        };
        let is_opening = !session.is_live();
        let pump = &mut session.pump;
        if is_opening {
            pump.outsize.told.insert(whole, bytes.min(WHOLE_BYTES_MAX));
            if pump.outsize.told.len() > PARTIALS_MAX {
                return Err(Breach::Flood.of("HAVE of more wholes than may be kept"));
            }
            return Ok(());
        }
        let sent = pump.outsize.whole.as_mut();
        let news = sent
            .filter(|sent| sent.id == whole)
            .and_then(|sent| sent.acknowledge(bytes));
        if let Some((bytes, sent_ms)) = news {
            pump.pace.acknowledged(now.mono_ms, sent_ms, bytes);
            self.send_parts(now, id);
            self.pump(id);
        }
        Ok(())
    }
}
