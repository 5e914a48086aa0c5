//! What has come of runs that arrive in parts, kept over the end of a session so that the next one goes on there.
//!
//! Parts are kept in memory and are no part of what this device holds: nothing is acknowledged, announced or
//! written before the whole run has been verified like any other.
//!
//! Invariants:
//! - One whole is kept for each peer, and of [`PARTIALS_MAX`] peers: a peer that sends parts without end, or of
//!   another whole each time, only replaces its own.
//! - Any peer may go on where another one has stopped, until parts of two peers have once made something else than
//!   the whole. It cannot be told which of them lied, so from then on each goes on only where it has stopped
//!   itself: whoever sends the truth gets it across.

use std::collections::BTreeMap;

use crdt_schema::ident::DeviceId;

use super::Engine;
use super::batch::SessionId;
use super::effect::{Breach, CloseReason};
use super::frontier::Frontier;
use super::input::Now;
use super::limits::{PARTIALS_MAX, SEQ_MAX};
use super::session::protocol;
use crate::wire::message::Message;
use crate::wire::part::{Part, WholeId, decode_whole, is_whole};

/// The beginning of a whole.
#[derive(Debug)]
struct Partial {
    whole: WholeId,
    total: usize,
    bytes: Vec<u8>,
    /// Whether another peer has sent the first of the bytes.
    is_mixed: bool,
    /// When the last part came, counted in parts.
    touched: u64,
}

/// The beginnings of wholes, by the peer that sent them last.
#[derive(Debug, Default)]
pub(super) struct Parts {
    partials: BTreeMap<DeviceId, Partial>,
    /// Set once parts of two peers did not fit together.
    is_mixing_over: bool,
    count: u64,
}

/// What has come of a part.
#[derive(Debug, PartialEq, Eq)]
enum Taken {
    /// More are lacking.
    More,
    /// It was the last one: the bytes of the whole.
    All(Vec<u8>),
}

impl Parts {
    /// How much there is of each whole that `device` may go on with. Forgets what has arrived in another way.
    fn told_to(&mut self, device: &DeviceId, frontier: &Frontier) -> BTreeMap<WholeId, usize> {
        self.partials
            .retain(|_, partial| frontier.staged_seq(&partial.whole.log) < partial.whole.last);
        let mut told = BTreeMap::new();
        for (of, partial) in &self.partials {
            if of == device || !self.is_mixing_over {
                let bytes: &mut usize = told.entry(partial.whole).or_default();
                *bytes = partial.bytes.len().max(*bytes);
            }
        }
        told
    }

    /// Adds a part from a peer to what there is of its whole.
    ///
    /// # Errors
    /// Why the session must end.
    fn take(&mut self, device: DeviceId, part: Part) -> Result<Taken, CloseReason> {
        self.count += 1;
        let mut partial = self.before(&device, &part)?;
        partial.bytes.extend(&part.bytes);
        if partial.bytes.len() < partial.total {
            self.partials.insert(device, partial);
            self.make_room();
            return Ok(Taken::More);
        }
        if is_whole(&partial.whole, &partial.bytes) {
            self.partials
                .retain(|_, other| other.whole != partial.whole);
            return Ok(Taken::All(partial.bytes));
        }
        if !partial.is_mixed {
            return Err(Breach::ForgedLogs.of("parts that do not make the whole they name"));
        }
        self.is_mixing_over = true;
        self.partials.retain(|_, other| !other.is_mixed);
        Err(CloseReason::PartsLost)
    }

    /// What there is of a whole before a part. What the peer has sent of another whole is forgotten.
    fn before(&mut self, device: &DeviceId, part: &Part) -> Result<Partial, CloseReason> {
        let fits = |partial: &Partial| {
            (partial.whole, partial.total) == (part.whole, part.total)
                && partial.bytes.len() >= part.offset
        };
        let own = self.partials.remove(device).filter(fits);
        if let Some(mut own) = own {
            own.bytes.truncate(part.offset);
            own.touched = self.count;
            own.is_mixed &= part.offset > 0;
            return Ok(own);
        }
        let mut others = self.partials.values().filter(|other| fits(other));
        let bytes = match others.next() {
            _ if part.offset == 0 => Vec::new(),
            Some(other) if !self.is_mixing_over => other.bytes[..part.offset].to_vec(),
            Some(_) | None => return Err(CloseReason::PartsLost),
        };
        Ok(Partial {
            whole: part.whole,
            total: part.total,
            bytes,
            is_mixed: part.offset > 0,
            touched: self.count,
        })
    }

    /// Forgets the whole that has waited longest for a part, if there are too many.
    fn make_room(&mut self) {
        if self.partials.len() > PARTIALS_MAX {
            let oldest = self.partials.iter().min_by_key(|(_, kept)| kept.touched);
            if let Some(device) = oldest.map(|(device, _)| *device) {
                self.partials.remove(&device);
            }
        }
    }
}

impl Engine {
    /// Tells a peer how much there is of each whole, so that it goes on there.
    pub(super) fn tell_parts(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        for (whole, bytes) in self.parts.told_to(&session.device, &self.frontier) {
            session.send(&Message::Have { whole, bytes }, &mut self.effects);
        }
    }

    pub(super) fn on_part(
        &mut self,
        now: Now,
        id: SessionId,
        part: Part,
    ) -> Result<(), CloseReason> {
        let Some(session) = self.sessions.get_mut(&id) else {
            return Ok(());
        };
        let (whole, end) = (part.whole, part.end());
        if whole.last > SEQ_MAX {
            return Err(protocol("PART with a sequence number out of bounds"));
        }
        if session.refused.contains_key(&whole.log) {
            self.repeat_refusal(id, whole.log);
            return Ok(());
        }
        let have = Message::Have { whole, bytes: end };
        if self.frontier.staged_seq(&whole.log) >= whole.last {
            // It has come in another way meanwhile; the acknowledgement of that stops the sender.
            session.send(&have, &mut self.effects);
            if end == part.total {
                self.note_shown(id, whole.log, whole.last);
                self.answer(id, &[whole.log]);
            }
            return Ok(());
        }
        let taken = self.parts.take(session.device, part)?;
        session.send(&have, &mut self.effects);
        match taken {
            Taken::More => {
                self.put_off_wants(now);
                Ok(())
            }
            Taken::All(bytes) => {
                let run = decode_whole(&whole, &bytes)
                    .map_err(|e| Breach::MalformedFrame.of(e.to_string()))?;
                self.on_data(now, id, vec![run])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crdt_schema::ident::LogId;

    use super::*;

    /// Some bytes, and what names them.
    fn whole(seed: u8) -> (WholeId, Vec<u8>) {
        let bytes: Vec<u8> = (0..10_000_u32).map(|n| (n * n) as u8 ^ seed).collect();
        let digest = blake3::derive_key("fieldmesh run in parts v1", &bytes);
        let id = WholeId {
            log: LogId([seed; 16]),
            last: 1,
            digest: std::array::from_fn(|index| digest[index]),
        };
        (id, bytes)
    }

    fn part(seed: u8, from: usize, to: usize) -> Part {
        let (whole, bytes) = whole(seed);
        Part {
            whole,
            total: bytes.len(),
            offset: from,
            bytes: bytes[from..to].to_vec(),
        }
    }

    /// A part of the same whole with other bytes.
    fn false_part(seed: u8, from: usize, to: usize) -> Part {
        Part {
            bytes: vec![0xee; to - from],
            ..part(seed, from, to)
        }
    }

    fn peer(number: u8) -> DeviceId {
        DeviceId([number; 32])
    }

    #[test]
    fn another_peer_goes_on_where_the_first_has_stopped() {
        let mut parts = Parts::default();

        assert_eq!(parts.take(peer(1), part(7, 0, 6_000)), Ok(Taken::More));
        assert_eq!(parts.take(peer(2), part(7, 6_000, 9_000)), Ok(Taken::More));
        let all = parts.take(peer(1), part(7, 6_000, 10_000));

        assert_eq!(all, Ok(Taken::All(whole(7).1)));
        assert!(parts.partials.is_empty());
    }

    #[test]
    fn parts_that_overlap_or_leave_a_gap_make_nothing_false() {
        let mut parts = Parts::default();
        assert_eq!(parts.take(peer(1), part(7, 0, 6_000)), Ok(Taken::More));
        assert_eq!(parts.take(peer(1), part(7, 5_000, 7_000)), Ok(Taken::More));

        let gap = parts.take(peer(1), part(7, 8_000, 9_000));

        assert_eq!(gap, Err(CloseReason::PartsLost));
        assert_eq!(
            parts.take(peer(1), part(7, 0, 10_000)),
            Ok(Taken::All(whole(7).1))
        );
    }

    #[test]
    fn a_peer_whose_own_parts_make_something_else_breaks_the_protocol() {
        let mut parts = Parts::default();
        assert_eq!(
            parts.take(peer(1), false_part(7, 0, 6_000)),
            Ok(Taken::More)
        );

        let taken = parts.take(peer(1), part(7, 6_000, 10_000));

        assert!(
            matches!(taken, Err(CloseReason::Breach(Breach::ForgedLogs, _))),
            "{taken:?}"
        );
        assert!(!parts.is_mixing_over);
    }

    #[test]
    fn a_liar_cannot_keep_others_from_sending_the_truth() {
        let mut parts = Parts::default();
        assert_eq!(
            parts.take(peer(1), false_part(7, 0, 6_000)),
            Ok(Taken::More)
        );
        let mixed = parts.take(peer(2), part(7, 6_000, 10_000));
        assert_eq!(mixed, Err(CloseReason::PartsLost));

        assert_eq!(
            parts.take(peer(1), false_part(7, 0, 6_000)),
            Ok(Taken::More)
        );
        let frontier = Frontier::new(
            crdt_schema::ident::OrganisationId([9; 16]),
            Vec::new(),
            Vec::new(),
        );
        assert!(parts.told_to(&peer(2), &frontier).is_empty());
        assert_eq!(parts.take(peer(2), part(7, 0, 6_000)), Ok(Taken::More));
        let all = parts.take(peer(2), part(7, 6_000, 10_000));

        assert_eq!(all, Ok(Taken::All(whole(7).1)));
    }

    #[test]
    fn parts_without_end_take_the_memory_of_one_whole_for_each_of_a_few_peers() {
        let mut parts = Parts::default();
        for round in 0..50 {
            for number in 0..2 * PARTIALS_MAX as u8 {
                let taken = parts.take(peer(number), part(round, 0, 9_000));
                assert_eq!(taken, Ok(Taken::More));
                assert!(parts.partials.len() <= PARTIALS_MAX);
            }
        }
        assert_eq!(parts.partials.len(), PARTIALS_MAX);
    }
}
