//! A consistent copy of the store, made while it is in use: every row of one snapshot, in a new file.

use std::borrow::Borrow;
use std::path::Path;

use redb::{
    Builder, Key, ReadTransaction, ReadableMultimapTable, ReadableTable, TableDefinition, Value,
    WriteTransaction,
};

use super::open::last_arrival;
use super::trouble::Trouble;
use super::{Reader, StoreError, StoreIdentity, meta, tables};

/// The page cache while copying, in bytes.
const COPY_CACHE_BYTES: usize = 16 << 20;

/// What a copy holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Which store it is of, and when in its life.
    pub identity: StoreIdentity,
    /// How many entries it holds.
    pub entries: u64,
}

impl Reader {
    /// Writes a copy of the last committed state to a file, which must not exist. It is durable when this
    /// returns.
    ///
    /// # Errors
    /// The store's, or that the file exists or cannot be written.
    pub fn copy_to(&self, path: &Path) -> Result<Copied, StoreError> {
        let failed = |why: String| StoreError::Failed(format!("{}: {why}", path.display()));
        let file = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)
            .map_err(|error| failed(error.to_string()))?;
        let copied = self.handle.read(|from| {
            let mut builder = Builder::new();
            builder.set_cache_size(COPY_CACHE_BYTES);
            let mut database = builder.create_file(file)?;
            let into = database.begin_write()?;
            copy_all(from, &into)?;
            into.commit()?;
            // A copy that stays larger than need be is a good copy all the same.
            if let Err(error) = database.compact() {
                tracing::warn!(%error, "a copy of the store was not made smaller");
            }
            Ok(Copied {
                identity: meta::identity(from)?,
                entries: last_arrival(from)? - meta::void(from)?,
            })
        });
        if copied.is_err() {
            // What was half written is of no use; the error that matters is told.
            let _ = std::fs::remove_file(path);
        }
        copied
    }
}

fn copy_all(from: &ReadTransaction, into: &WriteTransaction) -> Result<(), Trouble> {
    copy(from, into, tables::META)?;
    copy(from, into, tables::LOGS)?;
    copy(from, into, tables::LOG_NUMBERS)?;
    copy(from, into, tables::ENTRIES)?;
    copy(from, into, tables::POINTS)?;
    copy(from, into, tables::STRETCHES)?;
    copy(from, into, tables::ARRIVED_IN)?;
    copy(from, into, tables::INDEX)?;
    copy(from, into, tables::DOCS)?;
    copy(from, into, tables::VIEWS)?;
    copy(from, into, tables::REVIEWS)?;
    copy(from, into, tables::TALLIES)?;
    copy(from, into, tables::PEERS)?;
    copy(from, into, tables::OWN_LOGS)?;
    copy(from, into, tables::RETRIES)?;
    copy(from, into, tables::RETRY_ORDER)?;
    copy(from, into, tables::ANSWERED)?;
    copy(from, into, tables::SCHEMAS)?;
    copy(from, into, tables::OWN_SCHEMAS)?;
    copy(from, into, tables::SCHEMA_TEXTS)?;
    copy(from, into, tables::FORKS)?;
    copy(from, into, tables::BRANCHES)?;
    copy(from, into, tables::IMPLIED)?;
    copy_references(from, into)?;
    let copied = into.list_tables()?.count() + into.list_multimap_tables()?.count();
    let held = from.list_tables()?.count() + from.list_multimap_tables()?.count();
    match copied == held {
        true => Ok(()),
        false => Err(Trouble::Damaged(format!(
            "{held} tables are held and {copied} are known"
        ))),
    }
}

fn copy_references(from: &ReadTransaction, into: &WriteTransaction) -> Result<(), Trouble> {
    let mut copy = into.open_multimap_table(tables::REFS)?;
    for row in from.open_multimap_table(tables::REFS)?.iter()? {
        let (key, numbers) = row?;
        for number in numbers {
            copy.insert(key.value(), number?.value())?;
        }
    }
    Ok(())
}

fn copy<K: Key + 'static, V: Value + 'static>(
    from: &ReadTransaction,
    into: &WriteTransaction,
    table: TableDefinition<'_, K, V>,
) -> Result<(), Trouble> {
    let mut copy = into.open_table(table)?;
    for row in from.open_table(table)?.iter()? {
        let (key, value) = row?;
        copy.insert(key.value().borrow(), value.value().borrow())?;
    }
    Ok(())
}
