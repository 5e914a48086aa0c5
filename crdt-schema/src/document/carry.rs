//! A document's writes as a version of the schema reads them: every candidate carried through the lens.
//!
//! A key that keeps its values' shape needs each candidate carried and nothing else. Where several stored
//! keys are read as one thing (the three keys of a split or merge; elements of a set that a remapping
//! makes equal) the candidates are those of all of them, each carried, without any that the author of
//! another had seen.
//!
//! Why this commutes with merging: what a write is carried to depends on that write and on what its
//! author had seen, which never change once it is made. So the carried writes of a thing are as if they
//! had been made under the reader's version to begin with, and those that none of the others' authors had
//! seen are what would stand then. Dropping what is superseded at its own key first makes no difference:
//! whoever had seen a write had seen all that its author had seen.
//!
//! - A split reads the whole as its parts: each write of the whole counts as a write of both.
//! - A merge, and a split read backwards, read two parts as the whole: each write of a part counts as a
//!   write of the whole, with the other part as its author saw it then.

use std::collections::BTreeMap;

use automerge::ChangeHash;

use super::ancestry::Ancestry;
use super::state::{self, State};
use super::{Document, SetElement};
use crate::ident::Dot;
use crate::lens::{Assumed, Join, Lens, Stuck};
use crate::resolution::Candidate;
use crate::schema::{Collection, FieldType};
use crate::value::Value;

/// Carries everything that `collection` reads to its version.
pub(super) fn carry(document: &Document, collection: &Collection, state: &mut State) {
    let lens = &collection.lens;
    let mut carrier = Carrier::new(document, lens, &state.registers);
    let (mut registers, mut sets, mut stuck) = (Vec::new(), Vec::new(), Vec::new());
    let here = lens.place(lens.reads);
    let fields = collection.fields.values().map(|field| (field, here));
    let removed = lens.legacy().map(|removed| (&removed.field, removed.at));
    for (field, place) in fields.chain(removed).filter(|(f, _)| lens.touches(&f.key)) {
        let key = &field.key;
        if matches!(field.kind, FieldType::Set { .. }) {
            let stored = state.sets.get(key).map_or(&[][..], Vec::as_slice);
            sets.push((key.clone(), carrier.elements(key, place, stored)));
        } else if field.is_register() {
            let carried = carrier.candidates(key, place, None);
            stuck.extend(carrier.take_stuck(key, &carried));
            registers.push((key.clone(), carried));
        }
    }
    registers.retain(|(_, carried)| !carried.is_empty());
    state.registers.extend(registers);
    state.sets.extend(sets);
    state.stuck.extend(stuck);
    let unwritten = |(key, _): &(&String, &Assumed)| !state.registers.contains_key(*key);
    if !document.is_empty() {
        let assumed = lens.assumed.iter().filter(unwritten);
        state.assumed = assumed.map(|(k, v)| (k.clone(), v.clone())).collect();
    }
}

/// The writes of a register, as the collection reads them, that stood at these changes, and which of
/// them could not be carried.
pub(super) fn standing_at(
    document: &Document,
    lens: &Lens,
    key: &str,
    heads: &[ChangeHash],
) -> (Vec<Candidate>, BTreeMap<(String, Dot), Stuck>) {
    let none = BTreeMap::new();
    let place = lens.place(lens.reads);
    let mut carrier = Carrier::new(document, lens, &none);
    let standing = carrier.candidates(key, place, Some(heads));
    let stuck = carrier.take_stuck(key, &standing);
    (standing, stuck.into_iter().collect())
}

struct Carrier<'a> {
    document: &'a Document,
    lens: &'a Lens,
    /// What stands in the document as it is.
    registers: &'a BTreeMap<String, Vec<Candidate>>,
    ancestry: Option<Ancestry>,
    stuck: BTreeMap<Dot, Stuck>,
}

impl<'a> Carrier<'a> {
    fn new(
        document: &'a Document,
        lens: &'a Lens,
        registers: &'a BTreeMap<String, Vec<Candidate>>,
    ) -> Self {
        Self {
            document,
            lens,
            registers,
            ancestry: None,
            stuck: BTreeMap::new(),
        }
    }

    /// The candidates of a register at a place in the chain, in the order of their dots; as they stood at
    /// `heads`, if given.
    fn candidates(
        &mut self,
        key: &str,
        place: usize,
        heads: Option<&[ChangeHash]>,
    ) -> Vec<Candidate> {
        let own = self.own(key, place, heads);
        let lens = self.lens;
        let Some(join) = lens.join_of(key) else {
            return own;
        };
        let others = if join.whole == key {
            self.joined(join, place, heads)
        } else {
            self.divided(join, key, place, heads)
        };
        let mut found: BTreeMap<Dot, Candidate> = BTreeMap::new();
        for candidate in own.into_iter().chain(others) {
            found.entry(candidate.dot).or_insert(candidate);
        }
        let mut found = found.into_values().collect();
        self.keep_unseen(&mut found);
        found
    }

    /// The writes of the key itself.
    fn own(&mut self, key: &str, place: usize, heads: Option<&[ChangeHash]>) -> Vec<Candidate> {
        let written = match heads {
            None => self.registers.get(key).cloned().unwrap_or_default(),
            Some(heads) => state::register_at(self.document, key, heads),
        };
        let carry = |candidate: Candidate| {
            let from = self.lens.place(candidate.version);
            self.carried(key, candidate, from, place)
        };
        written.into_iter().map(carry).collect()
    }

    /// The writes of the parts of a join as writes of its whole.
    fn joined(
        &mut self,
        join: &Join,
        place: usize,
        heads: Option<&[ChangeHash]>,
    ) -> Vec<Candidate> {
        let mut writes: BTreeMap<Dot, Candidate> = BTreeMap::new();
        for part in &join.parts {
            for write in self.own(part, join.parts_at(), heads) {
                writes.entry(write.dot).or_insert(write);
            }
        }
        let mut carried = Vec::with_capacity(writes.len());
        for mut write in writes.into_values() {
            let parts = [0, 1].map(|at| self.as_seen_by(write.dot, join, &join.parts[at]));
            match join.with.join(&parts) {
                Some(text) => write.value = text,
                None => self.mark(write.dot, self.stuck_in(join)),
            }
            carried.push(self.carried(&join.whole, write, join.whole_at(), place));
        }
        carried
    }

    /// The writes of the whole of a join as writes of one of its parts.
    fn divided(
        &mut self,
        join: &Join,
        key: &str,
        place: usize,
        heads: Option<&[ChangeHash]>,
    ) -> Vec<Candidate> {
        let index = usize::from(join.parts[1] == key);
        let writes = self.own(&join.whole, join.whole_at(), heads);
        let mut carried = Vec::with_capacity(writes.len());
        for mut write in writes {
            match join.with.part(index, &write.value) {
                Some(text) => write.value = text,
                None => self.mark(write.dot, self.stuck_in(join)),
            }
            carried.push(self.carried(key, write, join.parts_at(), place));
        }
        carried
    }

    /// What the author of a change saw of a part once the change was made: its own write, or the latest
    /// of those that stood.
    fn as_seen_by(&mut self, dot: Dot, join: &Join, part: &str) -> Value {
        let head = self.document.index.find(dot).map(|change| change.hash);
        let heads: Vec<ChangeHash> = head.into_iter().collect();
        let standing = self.candidates(part, join.parts_at(), Some(&heads));
        let seen = standing
            .into_iter()
            .max_by_key(|candidate| (candidate.dot == dot, candidate.hlc, candidate.dot));
        seen.map_or(Value::Null, |candidate| candidate.value)
    }

    /// The elements of a set. Elements that are carried to the same one are united.
    fn elements(&mut self, key: &str, place: usize, stored: &[SetElement]) -> Vec<SetElement> {
        let mut united: BTreeMap<Vec<u8>, (Value, usize, Vec<Candidate>)> = BTreeMap::new();
        for SetElement { element, marks } in stored {
            let mut targets = Vec::new();
            for mark in marks {
                let written = self.lens.place(mark.version);
                // An element that cannot be carried is shown as it is.
                let carried = self.lens.carry(key, element, written, place);
                let carried = carried.unwrap_or_else(|_| element.clone());
                let bytes = carried.canonical_bytes();
                let entry = united.entry(bytes.clone());
                let (_, sources, all) = entry.or_insert_with(|| (carried, 0, Vec::new()));
                if !targets.contains(&bytes) {
                    *sources += 1;
                    targets.push(bytes);
                }
                all.push(mark.clone());
            }
        }
        let united = united.into_values().map(|(element, sources, mut marks)| {
            marks.sort_by_key(|mark| mark.dot);
            if sources > 1 {
                self.keep_unseen(&mut marks);
            }
            SetElement { element, marks }
        });
        united.collect()
    }

    /// Drops every candidate that the author of another had seen.
    fn keep_unseen(&mut self, candidates: &mut Vec<Candidate>) {
        if candidates.len() < 2 {
            return;
        }
        let document = self.document;
        let ancestry = self
            .ancestry
            .get_or_insert_with(|| Ancestry::read(document));
        let dots: Vec<Dot> = candidates.iter().map(|candidate| candidate.dot).collect();
        let seen = ancestry.seen_among(&dots);
        candidates.retain(|candidate| !seen.contains(&candidate.dot));
    }

    fn carried(
        &mut self,
        key: &str,
        mut candidate: Candidate,
        from: usize,
        to: usize,
    ) -> Candidate {
        match self.lens.carry(key, &candidate.value, from, to) {
            Ok(value) => candidate.value = value,
            Err(stuck) => self.mark(candidate.dot, stuck),
        }
        candidate
    }

    fn mark(&mut self, dot: Dot, stuck: Stuck) {
        self.stuck.entry(dot).or_insert(stuck);
    }

    fn stuck_in(&self, join: &Join) -> Stuck {
        let (split, merge) = join.with.names();
        Stuck {
            to: self.lens.end(join.at),
            with: if join.splits { split } else { merge },
        }
    }

    /// Which of these candidates of the key could not be carried.
    fn take_stuck(&mut self, key: &str, of: &[Candidate]) -> Vec<((String, Dot), Stuck)> {
        let stuck = std::mem::take(&mut self.stuck);
        let dots: Vec<Dot> = of.iter().map(|candidate| candidate.dot).collect();
        let stuck = stuck.into_iter().filter(|(dot, _)| dots.contains(dot));
        stuck
            .map(|(dot, why)| ((key.to_owned(), dot), why))
            .collect()
    }
}
