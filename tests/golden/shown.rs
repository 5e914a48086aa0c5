//! Everything that people and peers can be told of a store, as JSON: the meaning that must not change.

use std::collections::BTreeSet;

use crdt_schema::resolution::{Answered, Candidate, Life, Reference, Review, Target};
use crdt_schema::value::Value;
use fieldmesh::store::{ListQuery, Store, StoredRecord};
use serde_json::{Value as Json, json};

/// The whole store's meaning, a line for each thing.
pub(super) fn text(store: &Store) -> String {
    let mut shown = vec![state(store)];
    let counts = store.reader().counts().expect("counts");
    let places = counts.records.iter();
    let places: BTreeSet<_> = places
        .map(|(space, collection, ..)| (space, collection))
        .collect();
    for (space, collection) in places {
        let query = ListQuery {
            space: space.clone(),
            collection: collection.clone(),
            after: None,
            limit: usize::MAX,
            deleted: true,
        };
        let page = store.reader().list(&query, &|_| true).expect("a list");
        shown.extend(page.records.iter().map(record));
    }
    let reviews = store.reader().reviews().expect("the reviews");
    shown.extend(
        reviews
            .iter()
            .map(|(key, of)| json!({"open": key.to_string(), "review": review(of)})),
    );
    let lines = shown.iter().map(|line| format!("{line}\n"));
    lines.collect()
}

fn state(store: &Store) -> Json {
    let (reader, opening) = (store.reader(), store.opening().expect("a read"));
    let counts = reader.counts().expect("counts");
    let state = reader.schemas();
    let frontier = opening.frontier.iter().map(|row| {
        json!({
            "log": row.header.log.to_string(), "space": row.header.space.as_str(), "name": row.header.name,
            "device": hex::encode(row.header.device.0), "seq": row.seq, "chain": hex::encode(row.chain),
            "hlc": row.hlc.0,
        })
    });
    let peers = opening.peers.iter().map(|peer| {
        let held = peer.held.iter().map(|(log, seq)| json!([log.to_string(), seq]));
        let checkpoints = peer.checkpoints.iter();
        let checkpoints = checkpoints.map(|known| json!([hex::encode(known.id), known.arrival, known.rows.len()]));
        json!({
            "name": peer.name, "hub": peer.hub, "seen": peer.last_seen_ms, "held": held.collect::<Vec<_>>(),
            "checkpoints": checkpoints.collect::<Vec<_>>(),
        })
    });
    let tallies = counts.records.iter();
    let tallies = tallies.map(|(space, collection, live, deleted)| {
        json!([space.as_str(), collection, live, deleted])
    });
    json!({
        "schema": [state.active.version, state.newest.version], "held_back": state.held_back,
        "arrival": opening.arrival, "last_hlc": opening.last_hlc.0,
        "records": tallies.collect::<Vec<_>>(), "reviews": counts.reviews, "entries": counts.entries,
        "frontier": frontier.collect::<Vec<_>>(),
        "own_logs": opening.own_logs.iter().map(|own| own.log.to_string()).collect::<Vec<_>>(),
        "peers": peers.collect::<Vec<_>>(),
    })
}

fn record(record: &StoredRecord) -> Json {
    let view = &record.view;
    json!({
        "record": record.key.to_string(),
        "etag": record.etag,
        "life": match view.life {
            Life::Live => "live",
            Life::Deleted => "deleted",
            Life::Contested => "contested",
        },
        "fields": view.fields,
        "partial": view.partial,
        "legacy": view.legacy,
        "heads": view.heads.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "updated": view.updated.0,
        "reviews": view.reviews.iter().map(review).collect::<Vec<_>>(),
        "answered": view.answered.iter().map(answered).collect::<Vec<_>>(),
        "refs": view.refs.iter().map(reference).collect::<Vec<_>>(),
        "deleted_by": view.deleted_by.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn value(value: &Value) -> Json {
    value.to_json()
}

fn review(review: &Review) -> Json {
    json!({
        "id": review.id.0, "about": review.subject.key(),
        "candidates": review.candidates.iter().map(candidate).collect::<Vec<_>>(),
        "provisional": review.provisional.to_string(),
    })
}

fn candidate(candidate: &Candidate) -> Json {
    json!([
        value(&candidate.value),
        candidate.dot.to_string(),
        candidate.hlc.0,
        candidate.version,
        candidate.answer,
    ])
}

fn answered(answered: &Answered) -> Json {
    json!({
        "review": answered.review.0, "value": answered.value.as_ref().map(value), "dot": answered.dot.to_string(),
        "hlc": answered.hlc.0, "note": answered.note,
    })
}

fn reference(reference: &Reference) -> Json {
    let target = match &reference.target {
        Target::Here => "here",
        Target::Unknown => "unknown",
        Target::Deleted => "deleted",
    };
    json!([
        reference.key,
        reference.collection,
        reference.id,
        reference.dot.to_string(),
        target
    ])
}
