//! What a session does not send because an entry here does not read back.
//!
//! A log that is damaged ends, for the peer, before the damage (see [`super::repair`]). Whoever lacks a cause
//! refuses its effects, and with them their logs, so what depends on an entry that is held back is held back
//! too, and what depends on that. It stays so until the damage is mended and the session begins anew. Entries are
//! looked into only once something is held back.
//!
//! Branches go by the id that their device signs: what is held back of one of them is held back of all.

use std::collections::BTreeMap;

use crdt_schema::ident::{Dot, LogId};

use super::batch::{Held, Run};
use super::frontier::Frontier;
use crate::wire::changeset::decode_change_set;

/// From where on each log is held back, by the id that its device signs.
#[derive(Debug, Default)]
pub(super) struct HeldBack {
    from: BTreeMap<LogId, u64>,
}

impl HeldBack {
    /// Notes that a log is held back from an entry on.
    pub(super) fn note(&mut self, frontier: &Frontier, place: Dot) {
        let from = self.from.entry(family(frontier, &place.log));
        let from = from.or_insert(place.seq);
        *from = place.seq.min(*from);
    }

    /// Takes out the runs that continue or depend on what is held back and is not with the peer, causes before
    /// effects. Returns where the logs of these runs end now.
    pub(super) fn take_out(
        &mut self,
        frontier: &Frontier,
        theirs: Option<&Held>,
        runs: &mut Vec<Run>,
    ) -> Vec<Dot> {
        let mut places = Vec::new();
        if self.from.is_empty() {
            return places;
        }
        let is_theirs = |dot: &Dot| theirs.is_some_and(|held| dot.seq <= held.seq(&dot.log));
        runs.retain(|run| {
            let end = Dot::new(run.header.log, run.last());
            let is_held_back = self.holds(frontier, &end)
                || deps(run).any(|dep| self.holds(frontier, &dep) && !is_theirs(&dep));
            if is_held_back {
                let place = Dot::new(run.header.log, run.from);
                self.note(frontier, place);
                places.push(place);
            }
            !is_held_back
        });
        places
    }

    fn holds(&self, frontier: &Frontier, dot: &Dot) -> bool {
        let from = self.from.get(&family(frontier, &dot.log));
        from.is_some_and(|from| *from <= dot.seq)
    }
}

fn family(frontier: &Frontier, log: &LogId) -> LogId {
    let known = frontier.get(log);
    known.map_or(*log, |known| known.header.signed_as())
}

/// What the entries of a run depend on.
fn deps(run: &Run) -> impl Iterator<Item = Dot> {
    let sets = run
        .entries
        .iter()
        .flat_map(|entry| decode_change_set(entry));
    sets.flat_map(|set| set.edits).flat_map(|edit| edit.deps)
}
