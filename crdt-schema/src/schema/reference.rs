//! References between collections: which orders them, and which would judge in circles.
//!
//! What a reference's `on_delete` decides flows in one direction: with `cascade` a parent's life decides
//! its child's, with `restrict` a child's life decides its parent's. Judging ends, and ends alike
//! everywhere, because no collection is reached from itself that way. Required references in a circle are
//! refused too: no record of it could be the first.

use std::collections::BTreeSet;

use indexmap::IndexMap;

use super::report::Report;
use super::{Collection, Field, FieldType, OnDelete, Schema};

impl Field {
    /// The collection that it refers to, if it is a reference.
    pub fn refers_to(&self) -> Option<&str> {
        match &self.kind {
            FieldType::Ref { to } => Some(to),
            _ => None,
        }
    }
}

impl Collection {
    /// Its fields that are references.
    pub fn references(&self) -> impl Iterator<Item = &Field> {
        self.fields
            .values()
            .filter(|field| field.refers_to().is_some())
    }
}

impl Schema {
    /// Whether any record can refer to another.
    pub fn has_references(&self) -> bool {
        let mut collections = self.collections.values();
        collections.any(|collection| collection.references().next().is_some())
    }

    /// The references that keep records of `collection` from being deleted, with their collections.
    pub fn restricting(&self, collection: &str) -> impl Iterator<Item = (&Collection, &Field)> {
        let all = self.collections.values();
        let all = all.flat_map(|child| child.references().map(move |field| (child, field)));
        all.filter(move |(_, field)| {
            field.on_delete == OnDelete::Restrict && field.refers_to() == Some(collection)
        })
    }
}

/// Refuses what would judge in circles, and gives each collection its places.
pub(super) fn check(
    collections: &mut IndexMap<String, Collection>,
    places: &[(String, std::ops::Range<usize>)],
    report: &mut Report<'_>,
) {
    let decides = edges(collections, |child, field, parent| match field.on_delete {
        OnDelete::Cascade => Some((parent, child)),
        OnDelete::Restrict => Some((child, parent)),
        OnDelete::Review | OnDelete::Detach => None,
    });
    let needs = edges(collections, |child, field, parent| {
        field.required.then_some((child, parent))
    });
    for (graph, what, hint) in [
        (
            &decides,
            "`cascade` and `restrict` go in a circle",
            "use `review` or `detach` for one of these references",
        ),
        (
            &needs,
            "required references go in a circle, so no record could be the first",
            "leave out `required` for one of these references",
        ),
    ] {
        if let Some(circle) = circle(graph, collections.len()) {
            let names: Vec<&str> = circle
                .iter()
                .filter_map(|&at| Some(collections.get_index(at)?.0.as_str()))
                .collect();
            let first = names.first().copied().unwrap_or_default();
            let place = places.iter().find(|(name, _)| name == first);
            let place = place.map_or(0..0, |(_, place)| place.clone());
            let message = format!("{what}: {}", names.join(" → "));
            report.error_with_hint(place, message, hint);
        }
    }
    let refers = edges(collections, |child, _, parent| Some((child, parent)));
    for (rank, at) in in_order(&refers, collections.len()).into_iter().enumerate() {
        if let Some((_, collection)) = collections.get_index_mut(at) {
            collection.rank = rank;
        }
    }
    let deciders = decides.iter().map(|&(decider, decided)| (decided, decider));
    let order = in_order(&deciders.collect(), collections.len());
    for (judged, at) in order.into_iter().enumerate() {
        if let Some((_, collection)) = collections.get_index_mut(at) {
            collection.judged = judged;
        }
    }
}

type Edges = BTreeSet<(usize, usize)>;

/// One edge for each reference that `edge` makes one of, from (child, field, parent).
fn edges(
    collections: &IndexMap<String, Collection>,
    edge: impl Fn(usize, &Field, usize) -> Option<(usize, usize)>,
) -> Edges {
    let mut edges = Edges::new();
    for (child, collection) in collections.values().enumerate() {
        for field in collection.references() {
            let parent = field
                .refers_to()
                .and_then(|to| collections.get_index_of(to));
            edges.extend(parent.and_then(|parent| edge(child, field, parent)));
        }
    }
    edges
}

fn next(edges: &Edges, from: usize) -> impl DoubleEndedIterator<Item = usize> {
    edges
        .range((from, 0)..=(from, usize::MAX))
        .map(|&(_, to)| to)
}

/// A way from a collection back to itself, with it at both ends.
fn circle(edges: &Edges, count: usize) -> Option<Vec<usize>> {
    let mut done = BTreeSet::new();
    for start in 0..count {
        // The way from `start`, each with the neighbours that have not been tried.
        let mut way: Vec<(usize, Vec<usize>)> = vec![(start, next(edges, start).rev().collect())];
        while let Some((_, left)) = way.last_mut() {
            let Some(to) = left.pop() else {
                done.extend(way.pop().map(|(at, _)| at));
                continue;
            };
            if let Some(from) = way.iter().position(|&(at, _)| at == to) {
                let circle = way.iter().skip(from).map(|&(at, _)| at);
                return Some(circle.chain([to]).collect());
            }
            if !done.contains(&to) {
                way.push((to, next(edges, to).rev().collect()));
            }
        }
    }
    None
}

/// All collections, each after those that it refers to unless they go in a circle.
fn in_order(edges: &Edges, count: usize) -> Vec<usize> {
    let mut order = Vec::with_capacity(count);
    let mut seen = BTreeSet::new();
    for start in 0..count {
        let mut open = vec![(start, false)];
        while let Some((at, is_left)) = open.pop() {
            if is_left {
                order.push(at);
            } else if seen.insert(at) {
                open.push((at, true));
                open.extend(next(edges, at).map(|to| (to, false)));
            }
        }
    }
    order
}
