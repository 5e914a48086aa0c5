//! Makes everything that is derived anew from the logs: the names of records that entries imply, documents,
//! then views, reviews and tallies.
//!
//! It may be interrupted at any time: documents are whole one by one, and the views are derived again at the
//! next start until they have all been.

use std::collections::BTreeSet;
use std::ops::Bound;

use crdt_schema::ident::RecordKey;
use crdt_schema::op::ChangeSet;
use redb::{ReadableTable, Table, WriteTransaction};

use super::branches::Names;
use super::checkup::{Progress, RECORDS_AT_ONCE};
use super::database::Ending;
use super::feed::{log_rows, read_log};
use super::implied::{self, EntryReader};
use super::kept::Kept;
use super::log::Stretch;
use super::pack::Packer;
use super::record::RecordWriter;
use super::rows::LogRow;
use super::trouble::Trouble;
use super::{Store, StoreError, adopt, heal, meta, tables};

impl Store {
    /// Rebuilds all documents and views from the logs. Returns how many records there are.
    ///
    /// # Errors
    /// The store's, or that a log is damaged: then the documents that were not rebuilt are as they were.
    pub fn rebuild(&mut self, progress: &mut dyn Progress) -> Result<u64, StoreError> {
        let done = self
            .rebuild_all(progress)
            .map_err(|trouble| self.handle.explain(trouble))?;
        // The views are as they should be; this makes sure, and notes it for the next start.
        self.begin_refresh()?;
        self.refresh_all()?;
        Ok(done)
    }

    fn rebuild_all(&mut self, progress: &mut dyn Progress) -> Result<u64, Trouble> {
        self.kept = Kept::default();
        let state = self.cell.state();
        self.handle.write(|tx| {
            meta::forget_schema_digest(tx)?;
            adopt::drop_views(tx)?;
            keep_names_anew(tx)?;
            Ok(Ending::Commit(()))
        })?;
        let mut after: Option<RecordKey> = None;
        let mut done = 0;
        loop {
            let some = self.handle.write(|tx| {
                let keys = next_records(tx, after.as_ref())?;
                remove_others(tx, after.as_ref(), &keys)?;
                let docs = heal::replay_within(tx, &keys)?;
                let mut records =
                    RecordWriter::new(tx, &state.active, state.stamp(), Kept::default())?;
                for (key, doc) in docs {
                    records.restore(&key, doc)?;
                    records.relieve()?;
                }
                records.flush()?;
                Ok(Ending::Commit(keys))
            })?;
            done += some.len() as u64;
            progress.at("records", done, done);
            match some.into_iter().next_back() {
                Some(last) => after = Some(last),
                None => break,
            }
        }
        Ok(done)
    }
}

/// The records after `after` that the logs know, the first of them.
fn next_records(
    tx: &WriteTransaction,
    after: Option<&RecordKey>,
) -> Result<BTreeSet<RecordKey>, Trouble> {
    let mut keys = BTreeSet::new();
    each_change_set(tx, |log, _, set, _| {
        for edit in set.edits {
            let key = RecordKey {
                space: log.header.space.clone(),
                collection: edit.collection,
                id: edit.id,
            };
            if after.is_none_or(|after| key > *after) {
                keys.insert(key);
            }
            if keys.len() > RECORDS_AT_ONCE {
                keys.pop_last();
            }
        }
        Ok(())
    })?;
    Ok(keys)
}

/// Looks up anew which records the entries are of that do not name them.
fn keep_names_anew(tx: &WriteTransaction) -> Result<(), Trouble> {
    tx.delete_table(tables::IMPLIED)?;
    let mut packer = Packer::default();
    each_change_set(tx, |_, place, set, implied| {
        if let Some(row) = implied::row_of(&mut packer, place, &set) {
            implied.insert(place, row.as_slice())?;
        }
        Ok(())
    })
}

/// Shows every change set to `visit`, in order of arrival: how far its log is held, its place there, and the table
/// of what is kept beside entries.
fn each_change_set(
    tx: &WriteTransaction,
    mut visit: impl FnMut(
        &LogRow,
        (u32, u64),
        ChangeSet,
        &mut Table<'_, (u32, u64), &'static [u8]>,
    ) -> Result<(), Trouble>,
) -> Result<(), Trouble> {
    let (entries, logs) = (
        tx.open_table(tables::ENTRIES)?,
        tx.open_table(tables::LOGS)?,
    );
    let (numbers, branches) = (
        tx.open_table(tables::LOG_NUMBERS)?,
        tx.open_table(tables::BRANCHES)?,
    );
    let mut implied = tx.open_table(tables::IMPLIED)?;
    let mut rows = log_rows(&numbers, &logs);
    let mut reader = EntryReader::default();
    for stretch in tx.open_table(tables::STRETCHES)?.iter()? {
        let (first, row) = stretch?;
        let stretch = Stretch::of_row(first.value(), row.value());
        if stretch.is_void() {
            continue;
        }
        let log = read_log(&logs, stretch.log)?;
        for seq in stretch.from..stretch.from + stretch.count {
            let names = Names {
                numbers: &numbers,
                entries: &entries,
                branches: &branches,
                implied: &implied,
            };
            let set = names.change_set(&mut rows, &mut reader, (stretch.log, &log), seq)?;
            visit(&log, (stretch.log, seq), set, &mut implied)?;
        }
    }
    Ok(())
}

/// Removes the records between `after` and the last of `keys` that no log knows. Without keys, all of them.
fn remove_others(
    tx: &WriteTransaction,
    after: Option<&RecordKey>,
    keys: &BTreeSet<RecordKey>,
) -> Result<(), Trouble> {
    let mut index = tx.open_table(tables::INDEX)?;
    let start = after.map(tables::record_key);
    let end = keys.last().map(tables::record_key);
    let range = (
        start.as_deref().map_or(Bound::Unbounded, Bound::Excluded),
        end.as_deref().map_or(Bound::Unbounded, Bound::Included),
    );
    let mut others = Vec::new();
    for row in index.range::<&[u8]>(range)? {
        let (key, number) = row?;
        let known = tables::parse_record_key(key.value()).is_some_and(|key| keys.contains(&key));
        if !known {
            others.push((key.value().to_vec(), number.value()));
        }
    }
    let (mut docs, mut views) = (tx.open_table(tables::DOCS)?, tx.open_table(tables::VIEWS)?);
    for (key, number) in others {
        index.remove(key.as_slice())?;
        docs.remove(number)?;
        views.remove(number)?;
    }
    Ok(())
}
