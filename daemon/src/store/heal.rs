//! Rebuilds documents from the log, which is the truth: one that does not read back is replayed from it.
//! Views are derived anew in [`super::refresh`].

use std::collections::{BTreeMap, BTreeSet};

use crdt_schema::document::Document;
use crdt_schema::ident::{Dot, RecordKey};
use crdt_schema::schema::Schema;
use redb::{ReadableTable, WriteTransaction};

use super::branches::{Names, continued};
use super::feed::{log_rows, read_log};
use super::implied::EntryReader;
use super::kept::Kept;
use super::lazy::Source;
use super::log::Stretch;
use super::reading::Stamp;
use super::record::RecordWriter;
use super::tables;
use super::trouble::Trouble;

/// Replays the given records from the log, or says what of it does not read back: then they are as they
/// were. Reads the whole log, so it is for damage and forks only.
pub(super) fn rebuild_records(
    tx: &WriteTransaction,
    schema: &Schema,
    stamp: Stamp,
    keys: &BTreeSet<RecordKey>,
) -> Result<Result<(), Trouble>, Trouble> {
    let docs = match replay_within(tx, keys) {
        Ok(docs) => docs,
        Err(trouble @ (Trouble::Damaged(_) | Trouble::Unread(..))) => return Ok(Err(trouble)),
        Err(trouble) => return Err(trouble),
    };
    let mut records = RecordWriter::new(tx, schema, stamp, Kept::default())?;
    for (key, doc) in docs {
        records.restore(&key, doc)?;
    }
    records.flush()?;
    Ok(Ok(()))
}

/// The documents of the given records, from the log as a transaction that writes has it.
pub(super) fn replay_within(
    tx: &WriteTransaction,
    keys: &BTreeSet<RecordKey>,
) -> Result<BTreeMap<RecordKey, Document>, Trouble> {
    replay(
        &tx.open_table(tables::STRETCHES)?,
        &tx.open_table(tables::LOGS)?,
        &Names {
            numbers: &tx.open_table(tables::LOG_NUMBERS)?,
            entries: &tx.open_table(tables::ENTRIES)?,
            branches: &tx.open_table(tables::BRANCHES)?,
            implied: &tx.open_table(tables::IMPLIED)?,
        },
        keys,
    )
}

/// The documents of the given records, from the log alone.
pub(super) fn replay<N, E, B, I>(
    stretches: &impl ReadableTable<u64, (u32, u64, u64)>,
    logs: &impl ReadableTable<u32, &'static [u8]>,
    names: &Names<'_, N, E, B, I>,
    keys: &BTreeSet<RecordKey>,
) -> Result<BTreeMap<RecordKey, Document>, Trouble>
where
    N: ReadableTable<[u8; 16], u32>,
    E: ReadableTable<(u32, u64), &'static [u8]>,
    B: Source<Table: ReadableTable<([u8; 16], [u8; 16]), u32>>,
    I: Source<Table: ReadableTable<(u32, u64), &'static [u8]>>,
{
    let mut rows = log_rows(names.numbers, logs);
    let mut reader = EntryReader::default();
    let mut docs: BTreeMap<RecordKey, Document> = BTreeMap::new();
    for stretch in stretches.iter()? {
        let (first, row) = stretch?;
        let stretch = Stretch::of_row(first.value(), row.value());
        if stretch.is_void() {
            continue;
        }
        let row = read_log(logs, stretch.log)?;
        let ancestors = names.ancestors(&mut rows, &row)?;
        let header = &row.header;
        if keys.iter().all(|key| key.space != header.space) {
            continue;
        }
        for seq in stretch.from..stretch.from + stretch.count {
            let dot = Dot::new(header.log, seq);
            let set = names.change_set(&mut rows, &mut reader, (stretch.log, &row), seq)?;
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
