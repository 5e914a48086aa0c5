//! Rebuilds documents from the log, which is the truth: one that does not read back is replayed from it.
//! Views are derived anew in [`super::refresh`].

use std::collections::{BTreeMap, BTreeSet};

use crdt_schema::document::Document;
use crdt_schema::ident::{Dot, LogId, RecordKey};
use crdt_schema::schema::Schema;
use redb::{ReadableTable, WriteTransaction};

use crate::wire::changeset::decode_change_set;

use super::branches::{Names, continued};
use super::kept::Kept;
use super::log::Stretch;
use super::pack::Unpacker;
use super::reading::Stamp;
use super::record::RecordWriter;
use super::rows::LogRow;
use super::tables;
use super::trouble::Trouble;

/// Replays the given records from the log, or says what of it does not read back: then they are as they were. Reads the whole log, so it is for damage and forks only.
pub(super) fn rebuild_records(
    tx: &WriteTransaction,
    schema: &Schema,
    stamp: Stamp,
    keys: &BTreeSet<RecordKey>,
) -> Result<Result<(), Trouble>, Trouble> {
    let (stretches, entries, logs) = (
        tx.open_table(tables::STRETCHES)?,
        tx.open_table(tables::ENTRIES)?,
        tx.open_table(tables::LOGS)?,
    );
    let (numbers, branches) = (
        tx.open_table(tables::LOG_NUMBERS)?,
        tx.open_table(tables::BRANCHES)?,
    );
    let names = Names {
        numbers: &numbers,
        entries: &entries,
        branches: &branches,
    };
    let docs = match replay(&stretches, &entries, &logs, &names, keys) {
        Ok(docs) => docs,
        Err(trouble @ (Trouble::Damaged(_) | Trouble::Unread(..))) => return Ok(Err(trouble)),
        Err(trouble) => return Err(trouble),
    };
    drop((stretches, entries, logs, numbers, branches));
    let mut records = RecordWriter::new(tx, schema, stamp, Kept::default())?;
    for (key, doc) in docs {
        records.restore(&key, doc)?;
    }
    records.flush()?;
    Ok(Ok(()))
}

/// The documents of the given records, from the log alone.
pub(super) fn replay<N, E, B>(
    stretches: &impl ReadableTable<u64, (u32, u64, u64)>,
    entries: &impl ReadableTable<(u32, u64), &'static [u8]>,
    logs: &impl ReadableTable<u32, &'static [u8]>,
    names: &Names<'_, N, E, B>,
    keys: &BTreeSet<RecordKey>,
) -> Result<BTreeMap<RecordKey, Document>, Trouble>
where
    N: ReadableTable<[u8; 16], u32>,
    E: ReadableTable<(u32, u64), &'static [u8]>,
    B: ReadableTable<([u8; 16], [u8; 16]), u32>,
{
    let mut rows = |log: LogId| {
        let number = names.numbers.get(log.0)?.map(|number| number.value());
        number.map(|number| read_log(logs, number)).transpose()
    };
    let mut unpacker = Unpacker::default();
    let mut docs: BTreeMap<RecordKey, Document> = BTreeMap::new();
    for stretch in stretches.iter()? {
        let (first, row) = stretch?;
        let stretch = Stretch::of_row(first.value(), row.value());
        if stretch.is_void() {
            continue;
        }
        let row = read_log(logs, stretch.log)?;
        let ancestors = names.ancestors(&mut rows, &row)?;
        let header = row.header;
        if keys.iter().all(|key| key.space != header.space) {
            continue;
        }
        for seq in stretch.from..stretch.from + stretch.count {
            let dot = Dot::new(header.log, seq);
            let damaged = |why: &str| Trouble::Damaged(format!("entry {dot}: {why}"));
            let unread = |why| Trouble::Unread(dot, why);
            let row = entries
                .get((stretch.log, seq))?
                .ok_or_else(|| unread("it is missing"))?;
            let entry = unpacker.unpack_entry((stretch.log, seq), row.value());
            let entry = entry.map_err(unread)?;
            let set = decode_change_set(&entry).map_err(|error| damaged(&error.to_string()))?;
            let set = names.renamed(&mut rows, &set)?;
            for edit in &set.edits {
                let key = RecordKey {
                    space: header.space.clone(),
                    collection: edit.collection.clone(),
                    id: edit.id.clone(),
                };
                if keys.contains(&key) {
                    let doc = docs.entry(key).or_default();
                    // What could not be applied when it came is no damage of the log.
                    let edit = continued(doc, dot, edit, &ancestors);
                    if let Err(error) = doc.apply(dot, set.hlc, set.schema_version, &edit) {
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
