//! Rebuilds documents from the log, which is the truth: one that does not read back is replayed from it.
//! Views are derived anew in [`super::refresh`].

use std::collections::{BTreeMap, BTreeSet};

use crdt_schema::document::Document;
use crdt_schema::ident::{Dot, RecordKey};
use crdt_schema::schema::Schema;
use redb::{ReadableTable, WriteTransaction};

use crate::wire::changeset::decode_change_set;

use super::log::Stretch;
use super::pack::Unpacker;
use super::reading::Stamp;
use super::record::RecordWriter;
use super::rows::LogRow;
use super::tables;
use super::trouble::Trouble;

/// Replays the given records from the log. Reads the whole log, so it is for damage only.
pub(super) fn rebuild_records(
    tx: &WriteTransaction,
    schema: &Schema,
    stamp: Stamp,
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
    let mut records = RecordWriter::new(tx, schema, stamp)?;
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
            let entry = unpacker.unpack_entry((stretch.log, seq), row.value());
            let entry = entry.map_err(damaged)?;
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
                    if let Err(error) = doc.apply(dot, set.hlc, set.schema_version, edit) {
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
