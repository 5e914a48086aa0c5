//! From what the store holds to what clients are shown.
//!
//! Everything here reads the store, so it runs on a blocking thread.

use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::{Dot, RecordKey};
use crdt_schema::op::{ChangeSet, Op};
use crdt_schema::reference;
use crdt_schema::resolution::{self, Resolution};
use crdt_schema::schema::Collection;

use super::error::ApiError;
use super::types::{Candidate, FieldWhy, LifeAction, LifeWhy, Origin, Record, RecordStatus};
use crate::engine::batch::LogHeader;
use crate::engine::fleet::{Fleet, Spread};
use crate::store::{Reader, StoredRecord};

/// How many of a record's newest change sets are searched for deletes and restores.
const LIFE_CHANGES_MAX: usize = 1000;

/// A record, without its reasons.
pub(super) fn record(stored: StoredRecord, fleet: &Fleet) -> Record {
    let StoredRecord { key, view, etag } = stored;
    let spread = fleet.spread(&view.heads);
    let waiting = view.waiting();
    Record {
        id: key.id,
        collection: key.collection,
        space: key.space.into(),
        fields: view.fields,
        partial: view.partial,
        legacy: view.legacy,
        life: view.life,
        status: status(spread),
        shared: spread.shared,
        reviews: view.reviews.into_iter().map(|review| review.id.0).collect(),
        etag,
        updated: view.updated.to_string(),
        heads: view.heads.iter().map(Dot::to_string).collect(),
        waiting,
        warnings: Vec::new(),
        why: None,
        why_life: None,
    }
}

pub(super) fn status(spread: Spread) -> RecordStatus {
    match (spread.synced, spread.shared) {
        (true, _) => RecordStatus::Synced,
        (false, 0) => RecordStatus::Local,
        (false, _) => RecordStatus::Shared,
    }
}

/// Adds to `record` how it came to be as it is.
pub(super) fn explain(
    reader: &Reader,
    collection: &Collection,
    key: &RecordKey,
    record: &mut Record,
) -> Result<(), ApiError> {
    let Some(document) = reader.document(key).map_err(ApiError::of_store)? else {
        return Ok(());
    };
    let mut resolutions = document.resolve(collection, &key.id);
    if let Some(stored) = reader.get(key).map_err(ApiError::of_store)? {
        reference::explain(&stored.view, collection, &mut resolutions);
    }
    let why = resolutions
        .into_iter()
        .map(|resolution| field_why(reader, resolution));
    record.why = Some(why.collect::<Result<_, _>>()?);
    let mut life = Vec::new();
    for (dot, _) in document.changes().into_iter().rev().take(LIFE_CHANGES_MAX) {
        if let Some((header, set)) = reader.entry(dot).map_err(ApiError::of_store)? {
            life.extend(life_why(key, dot, &header, set));
        }
    }
    record.why_life = Some(life);
    Ok(())
}

fn field_why(reader: &Reader, resolution: Resolution) -> Result<FieldWhy, ApiError> {
    let winner = resolution
        .winner
        .map(|write| candidate(reader, write))
        .transpose()?;
    let others = resolution
        .others
        .into_iter()
        .map(|write| candidate(reader, write));
    Ok(FieldWhy {
        field: resolution.field,
        policy: resolution.policy,
        value: resolution.value,
        winner,
        others: others.collect::<Result<_, _>>()?,
        review: resolution.review.map(|id| id.0),
        why: resolution.why,
    })
}

/// What a change set did to the record's life, the last first.
fn life_why(key: &RecordKey, dot: Dot, header: &LogHeader, set: ChangeSet) -> Vec<LifeWhy> {
    let origin = origin(header, &set.person, set.hlc, dot);
    let edits = set
        .edits
        .into_iter()
        .filter(|edit| edit.collection == key.collection && edit.id == key.id);
    let ops = edits.flat_map(|edit| edit.ops).rev();
    ops.filter_map(|op| match op {
        Op::Delete { reason } => Some((LifeAction::Delete, reason)),
        Op::Restore { reason } => Some((LifeAction::Restore, reason)),
        Op::Set { .. }
        | Op::Add { .. }
        | Op::Insert { .. }
        | Op::Remove { .. }
        | Op::Resolve { .. }
        | Op::Accept { .. } => None,
    })
    .map(|(action, reason)| LifeWhy {
        action,
        reason,
        origin: origin.clone(),
    })
    .collect()
}

/// A write, with who made it.
pub(super) fn candidate(
    reader: &Reader,
    write: resolution::Candidate,
) -> Result<Candidate, ApiError> {
    let entry = reader.entry(write.dot).map_err(ApiError::of_store)?;
    let origin = match entry {
        Some((header, set)) => origin(&header, &set.person, write.hlc, write.dot),
        // The document and the entry are read one after the other; a write between them only adds entries, so
        // this means damage. What the document itself says is still shown.
        None => unknown_origin(write.dot, write.hlc),
    };
    Ok(Candidate {
        value: write.value.to_json(),
        origin,
        note: write.answer,
    })
}

/// What a document alone says of who wrote a change set.
pub(super) fn unknown_origin(dot: Dot, hlc: Timestamp) -> Origin {
    Origin {
        device: String::new(),
        device_name: String::new(),
        person: String::new(),
        time: hlc.to_string(),
        dot: dot.to_string(),
    }
}

/// Who wrote a change set.
pub(super) fn origin(header: &LogHeader, person: &str, hlc: Timestamp, dot: Dot) -> Origin {
    Origin {
        device: header.device.to_string(),
        device_name: header.name.clone(),
        person: person.to_owned(),
        time: hlc.to_string(),
        dot: dot.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use crdt_schema::ident::{DeviceId, LogId, SpaceName};
    use crdt_schema::op::Edit;

    use super::*;

    #[test]
    fn the_status_words_follow_the_spread() {
        let word = |shared, synced| status(Spread { shared, synced }).name();

        assert_eq!(word(0, false), "local");
        assert_eq!(word(2, false), "shared");
        assert_eq!(word(1, true), "synced");
    }

    #[test]
    fn only_the_lives_of_the_record_itself_are_told() {
        let key = RecordKey {
            space: SpaceName::default(),
            collection: "visit".into(),
            id: "v1".into(),
        };
        let delete = |id: &str, reason: &str| Edit {
            collection: "visit".into(),
            id: id.into(),
            deps: Vec::new(),
            ops: vec![Op::Delete {
                reason: reason.into(),
            }],
        };
        let header = LogHeader {
            log: LogId([1; 16]),
            space: SpaceName::default(),
            device: DeviceId([2; 32]),
            name: "tablet-3".into(),
            branch_of: None,
        };
        let set = ChangeSet {
            implied: Default::default(),
            hlc: Timestamp::from_ms(1_000),
            schema_version: 1,
            person: "Achieng".into(),
            tags: Default::default(),
            edits: vec![delete("v2", "other"), delete("v1", "twice")],
        };

        let why = life_why(&key, Dot::new(header.log, 3), &header, set);

        assert_eq!(why.len(), 1);
        assert_eq!(
            (why[0].action, why[0].reason.as_str()),
            (LifeAction::Delete, "twice")
        );
        assert_eq!(why[0].origin.time, "1970-01-01T00:00:01Z");
    }
}
