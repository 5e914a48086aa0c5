//! Which changes the author of each change of a record had seen.
//!
//! It keeps every change's own causes and nothing that follows from them, so it grows with the document. Each
//! question is one walk over the changes, causes before effects: what every change had seen would grow with
//! their square, which a member with many short logs could make as large as it liked.
//!
//! A log's changes of a record follow each other, so of each log what a change had seen is a beginning. All of
//! it is read from the document, so it is the same on every device that holds the same changes.

use std::collections::{BTreeMap, BTreeSet};

use automerge::ChangeHash;

use super::Document;
use crate::ident::Dot;

/// How many changes one walk can tell apart: a bit each.
const MARKS: usize = u64::BITS as usize;

/// The changes of a document by their places, causes before effects.
#[derive(Debug)]
pub(super) struct Ancestry {
    dots: Vec<Dot>,
    places: BTreeMap<Dot, usize>,
    /// The places of each change's own causes.
    causes: Vec<Vec<usize>>,
}

impl Ancestry {
    pub(super) fn read(document: &Document) -> Self {
        let mut hashes: BTreeMap<ChangeHash, usize> = BTreeMap::new();
        let mut ancestry = Self {
            dots: Vec::new(),
            places: BTreeMap::new(),
            causes: Vec::new(),
        };
        for (place, change) in document.index.iter().enumerate() {
            let causes = change.deps.iter().filter_map(|dep| hashes.get(dep));
            ancestry.causes.push(causes.copied().collect());
            ancestry.dots.push(change.dot);
            ancestry.places.insert(change.dot, place);
            hashes.insert(change.hash, place);
        }
        ancestry
    }

    /// Those of the changes that the author of another of them had seen.
    pub(super) fn seen_among(&self, dots: &[Dot]) -> BTreeSet<Dot> {
        let places = self.places(dots);
        let first = places.iter().min().copied().unwrap_or_default();
        let marked: Vec<(usize, u64)> = places.iter().map(|&place| (place, 1)).collect();
        let seen = self.seen(&marked, first);
        let seen = places.into_iter().filter(|&place| seen[place] != 0);
        seen.map(|place| self.dots[place]).collect()
    }

    /// What the authors of all these changes had seen, by the changes of it that no other of it follows.
    pub(super) fn shared(&self, dots: &[Dot]) -> BTreeSet<Dot> {
        let places = self.places(dots);
        let mut shared = vec![!places.is_empty(); self.dots.len()];
        for some in places.chunks(MARKS) {
            let marked = some.iter().enumerate().map(|(n, &place)| (place, 1 << n));
            let marked: Vec<(usize, u64)> = marked.collect();
            let all = marked.iter().fold(0, |all, (_, mark)| all | mark);
            let seen = self.seen(&marked, 0);
            let of_all = seen.iter().map(|&by| by == all);
            let of_all = of_all.chain(std::iter::repeat(false));
            for (shared, of_all) in shared.iter_mut().zip(of_all) {
                *shared &= of_all;
            }
        }
        let mut heads: BTreeSet<usize> = BTreeSet::new();
        for place in (0..shared.len()).filter(|&place| shared[place]) {
            for cause in &self.causes[place] {
                heads.remove(cause);
            }
            heads.insert(place);
        }
        heads.into_iter().map(|place| self.dots[place]).collect()
    }

    /// The changes that had not seen this one, nor it them.
    pub(super) fn concurrent(&self, dot: Dot) -> Vec<Dot> {
        let Some(&own) = self.places.get(&dot) else {
            return Vec::new();
        };
        let before = self.seen(&[(own, 1)], 0);
        let mut follows = vec![false; self.dots.len()];
        follows[own] = true;
        let mut concurrent = Vec::new();
        for (place, &other) in self.dots.iter().enumerate() {
            if place > own {
                follows[place] = self.causes[place].iter().any(|&cause| follows[cause]);
            }
            let precedes = before.get(place).is_some_and(|&by| by != 0);
            if !precedes && !follows[place] {
                concurrent.push(other);
            }
        }
        concurrent
    }

    fn places(&self, dots: &[Dot]) -> Vec<usize> {
        let places = dots.iter().filter_map(|dot| self.places.get(dot));
        places.copied().collect()
    }

    /// The marks of the changes that had seen it, for each change from the place `first` to the last marked.
    fn seen(&self, marked: &[(usize, u64)], first: usize) -> Vec<u64> {
        let end = marked.iter().map(|&(place, _)| place + 1).max();
        let end = end.unwrap_or_default();
        let mut own = vec![0; end];
        for &(place, mark) in marked {
            own[place] |= mark;
        }
        let mut seen = vec![0; end];
        for place in (first..end).rev() {
            let marks = seen[place] | own[place];
            // Most changes lie beside the walk, or before it.
            if marks == 0 {
                continue;
            }
            for &cause in &self.causes[place] {
                seen[cause] |= marks;
            }
        }
        seen
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hlc::Timestamp;
    use crate::ident::LogId;
    use crate::op::Edit;

    fn dot(log: u8, seq: u64) -> Dot {
        Dot::new(LogId([log; 16]), seq)
    }

    /// A record with these changes, each with what it names as its causes.
    fn record(changes: &[(Dot, Vec<Dot>)]) -> Document {
        let mut document = Document::new();
        for (dot, deps) in changes {
            let edit = Edit {
                collection: "c".to_owned(),
                id: "1".to_owned(),
                deps: deps.clone(),
                ops: Vec::new(),
            };
            let applied = document.apply(*dot, Timestamp::from_ms(1), 1, &edit);
            applied.expect("its causes are there");
        }
        document
    }

    /// Everything that each change had seen, spelt out.
    fn pasts(changes: &[(Dot, Vec<Dot>)]) -> BTreeMap<Dot, BTreeSet<Dot>> {
        let mut pasts: BTreeMap<Dot, BTreeSet<Dot>> = BTreeMap::new();
        for (dot, deps) in changes {
            let before = Dot::new(dot.log, dot.seq - 1);
            let mut past = BTreeSet::new();
            for cause in deps.iter().chain(Some(&before)) {
                if let Some(seen) = pasts.get(cause) {
                    past.extend(seen.iter().copied().chain([*cause]));
                }
            }
            pasts.insert(*dot, past);
        }
        pasts
    }

    /// Changes of up to four logs, each with some of those before it as its causes.
    fn changes() -> impl Strategy<Value = Vec<(Dot, Vec<Dot>)>> {
        let steps =
            prop::collection::vec((0_u8..4, prop::collection::vec(0_usize..8, 0..3)), 1..24);
        steps.prop_map(|steps| {
            let mut changes: Vec<(Dot, Vec<Dot>)> = Vec::new();
            for (log, back) in steps {
                let seq = 1 + changes
                    .iter()
                    .filter(|(d, _)| *d == dot(log, d.seq))
                    .count();
                let causes = back.into_iter().filter_map(|back| {
                    let at = changes.len().checked_sub(back + 1)?;
                    Some(changes[at].0)
                });
                let causes = causes.collect();
                changes.push((dot(log, seq as u64), causes));
            }
            changes
        })
    }

    proptest! {
        #[test]
        fn the_walks_find_what_spelling_everything_out_finds(
            changes in changes(),
            picks in prop::collection::vec(0_usize..24, 1..5),
        ) {
            let ancestry = Ancestry::read(&record(&changes));
            let pasts = pasts(&changes);
            let picked: Vec<Dot> = picks.iter().map(|n| changes[n % changes.len()].0).collect();

            let seen = picked.iter().filter(|&a| picked.iter().any(|b| pasts[b].contains(a)));
            prop_assert_eq!(ancestry.seen_among(&picked), seen.copied().collect());

            let mut shared = pasts[&picked[0]].clone();
            shared.retain(|a| picked.iter().all(|b| pasts[b].contains(a)));
            let last = |a: &Dot| !shared.iter().any(|b| pasts[b].contains(a));
            let heads: BTreeSet<Dot> = shared.iter().copied().filter(last).collect();
            prop_assert_eq!(ancestry.shared(&picked), heads);

            for one in picked {
                let apart = |other: &Dot| {
                    *other != one && !pasts[&one].contains(other) && !pasts[other].contains(&one)
                };
                let others: Vec<Dot> = changes.iter().map(|c| c.0).filter(apart).collect();
                prop_assert_eq!(ancestry.concurrent(one), others);
            }
        }
    }

    #[test]
    fn all_of_more_changes_than_one_walk_tells_apart_count() {
        let mut changes = vec![(dot(0, 1), vec![]), (dot(0, 2), vec![])];
        let late = (1..=MARKS as u8 + 6).map(|log| (dot(log, 1), vec![dot(0, 2)]));
        changes.extend(late);
        let mut picked: Vec<Dot> = changes[2..].iter().map(|change| change.0).collect();
        let shared = Ancestry::read(&record(&changes)).shared(&picked);
        assert_eq!(shared, BTreeSet::from([dot(0, 2)]));

        changes.push((dot(200, 1), vec![dot(0, 1)]));
        picked.push(dot(200, 1));
        let shared = Ancestry::read(&record(&changes)).shared(&picked);
        assert_eq!(shared, BTreeSet::from([dot(0, 1)]));

        changes.push((dot(201, 1), vec![]));
        picked.push(dot(201, 1));
        let shared = Ancestry::read(&record(&changes)).shared(&picked);
        assert_eq!(shared, BTreeSet::new());
    }

    #[test]
    fn what_is_kept_grows_with_the_causes_that_changes_name() {
        let chain: Vec<(Dot, Vec<Dot>)> = (1..=200)
            .map(|log| {
                (
                    dot(log, 1),
                    (log > 1).then(|| dot(log - 1, 1)).into_iter().collect(),
                )
            })
            .collect();

        let ancestry = Ancestry::read(&record(&chain));

        let kept: usize = ancestry.causes.iter().map(Vec::len).sum();
        assert_eq!(kept, 199);
        assert_eq!(ancestry.concurrent(dot(100, 1)), []);
    }
}
