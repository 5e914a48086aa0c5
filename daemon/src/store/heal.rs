//! Rebuilds what is derived: documents from the log, and views from documents.
//!
//! The log is the truth. A document that does not read back is replayed from it; views are derived
//! anew when the schema has changed, or when this program derives them differently.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crdt_schema::document::Document;
use crdt_schema::ident::{Dot, RecordKey};
use crdt_schema::schema::Schema;
use redb::{ReadableTable, WriteTransaction};

use crate::wire::changeset::decode_change_set;

use super::database::{Ending, Handle};
use super::log::Stretch;
use super::pack::{Place, Unpacker};
use super::record::RecordWriter;
use super::rows::LogRow;
use super::trouble::Trouble;
use super::{meta, tables};

/// Raised when the same documents and schema give other views than before.
const VIEW_FORMAT: u32 = 1;

/// How many views one transaction rebuilds: bounds what it keeps in memory.
const VIEWS_PER_COMMIT: usize = 2000;

/// Replays the given records from the log. Reads the whole log, so it is for damage only.
pub(super) fn rebuild_records(
    tx: &WriteTransaction,
    schema: &Schema,
    keys: &BTreeSet<RecordKey>,
) -> Result<(), Trouble> {
    let (stretches, entries, logs) = (
        tx.open_table(tables::STRETCHES)?,
        tx.open_table(tables::ENTRIES)?,
        tx.open_table(tables::LOGS)?,
    );
    let docs = match replay(&stretches, &entries, &logs, keys) {
        Ok(docs) => docs,
        Err(Trouble::Damaged(why)) => {
            tracing::error!(why, "the log is damaged too: records stay unreadable");
            return Ok(());
        }
        Err(trouble) => return Err(trouble),
    };
    drop((stretches, entries, logs));
    let mut records = RecordWriter::new(tx, schema)?;
    for (key, doc) in docs {
        records.restore(&key, doc)?;
    }
    records.flush()
}

/// The documents of the given records, from the log alone.
pub(super) fn replay(
    stretches: &impl ReadableTable<u64, (u32, u64, u64)>,
    entries: &impl ReadableTable<(u32, u64), &'static [u8]>,
    logs: &impl ReadableTable<u32, &'static [u8]>,
    keys: &BTreeSet<RecordKey>,
) -> Result<BTreeMap<RecordKey, Document>, Trouble> {
    let mut unpacker = Unpacker::default();
    let mut docs: BTreeMap<RecordKey, Document> = BTreeMap::new();
    for stretch in stretches.iter()? {
        let (first, row) = stretch?;
        let stretch = Stretch::of_row(first.value(), row.value());
        if stretch.is_void() {
            continue;
        }
        let header = read_log(logs, stretch.log)?.header;
        if keys.iter().all(|key| key.space != header.space) {
            continue;
        }
        for seq in stretch.from..stretch.from + stretch.count {
            let dot = Dot::new(header.log, seq);
            let damaged = |why: &str| Trouble::Damaged(format!("entry {dot}: {why}"));
            let row = entries
                .get((stretch.log, seq))?
                .ok_or_else(|| damaged("it is missing"))?;
            let place = Place::Entry(stretch.log, seq);
            let entry = unpacker.unpack(place, row.value()).map_err(damaged)?;
            let set = decode_change_set(&entry).map_err(|error| damaged(&error.to_string()))?;
            for edit in &set.edits {
                let key = RecordKey {
                    space: header.space.clone(),
                    collection: edit.collection.clone(),
                    id: edit.id.clone(),
                };
                if keys.contains(&key) {
                    let doc = docs.entry(key).or_default();
                    // What could not be applied when it came is no damage of the log.
                    if let Err(error) = doc.apply(dot, set.hlc, edit) {
                        tracing::error!(%dot, %error, "an entry was kept but not applied");
                    }
                }
            }
        }
    }
    Ok(docs)
}

fn read_log(logs: &impl ReadableTable<u32, &'static [u8]>, number: u32) -> Result<LogRow, Trouble> {
    let row = logs.get(number)?;
    row.and_then(|row| LogRow::decode(row.value()).ok())
        .ok_or_else(|| Trouble::Damaged(format!("the row of log number {number} cannot be read")))
}

/// Derives all views anew if they were derived under another schema. Safe to interrupt: it begins
/// again at the next start.
pub(super) fn refresh_views(handle: &Handle, schema: &Schema) -> Result<(), Trouble> {
    let digest = digest(schema);
    let mut after: Option<Vec<u8>> = None;
    loop {
        let step = handle.write(|tx| {
            if after.is_none() {
                if meta::schema_digest(tx)? == Some(digest) {
                    return Ok(Ending::Abort(None));
                }
                tx.delete_table(tables::VIEWS)?;
                tx.delete_table(tables::REVIEWS)?;
                tx.delete_table(tables::TALLIES)?;
            }
            let last = refresh_some(tx, schema, after.as_deref())?;
            if last.is_none() {
                meta::put_schema_digest(tx, digest)?;
            }
            Ok(Ending::Commit(last))
        })?;
        match step {
            Some(last) => after = Some(last),
            None => return Ok(()),
        }
    }
}

/// Refreshes the views of the records after `after`. Returns the last of them if there may be more.
fn refresh_some(
    tx: &WriteTransaction,
    schema: &Schema,
    after: Option<&[u8]>,
) -> Result<Option<Vec<u8>>, Trouble> {
    let some: Vec<(Vec<u8>, u64)> = {
        let index = tx.open_table(tables::INDEX)?;
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rows = index
            .range::<&[u8]>((start, Bound::Unbounded))?
            .take(VIEWS_PER_COMMIT);
        rows.map(|row| row.map(|(key, number)| (key.value().to_vec(), number.value())))
            .collect::<Result<_, _>>()?
    };
    let mut records = RecordWriter::new(tx, schema)?;
    for (bytes, number) in &some {
        let Some(key) = tables::parse_record_key(bytes) else {
            continue;
        };
        match records.refresh_view(&key, *number) {
            Err(Trouble::Damaged(why)) => tracing::error!(why, "a record cannot be shown"),
            other => other?,
        }
    }
    let last = some.len() == VIEWS_PER_COMMIT;
    Ok(some
        .into_iter()
        .next_back()
        .filter(|_| last)
        .map(|(key, _)| key))
}

fn digest(schema: &Schema) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&VIEW_FORMAT.to_le_bytes());
    hasher.update(schema.source.as_bytes());
    *hasher.finalize().as_bytes()
}
