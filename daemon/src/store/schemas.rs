//! What readers ask about schemas: the versions, their texts, and who writes under which version.
//!
//! Who writes what is read from the newest entries of each log, so it tells what devices do lately and is
//! bounded however long the logs are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::DeviceId;
use crdt_schema::op::Op;
use crdt_schema::schema::{PUBLISHED, Schema};
use redb::ReadableTable;

use crate::engine::batch::LogHeader;

use super::catalogue::{Catalogue, Known};
use super::feed::LogReader;
use super::reading::{Refreshing, SchemaState};
use super::rows::LogRow;
use super::trouble::Trouble;
use super::{Reader, StoreError, tables};

/// How many entries at the end of each log are looked at.
const ENTRIES_PER_LOG: u64 = 200;

/// How many entries are looked at in all.
const ENTRIES_MAX: u64 = 20_000;

/// The last data in one log.
#[derive(Clone, Debug)]
pub struct LogEnd {
    /// How the log begins.
    pub header: LogHeader,
    /// The version of the schema that the last change set was written under.
    pub schema_version: u32,
    /// When it was written.
    pub hlc: Timestamp,
}

/// Who wrote what lately.
#[derive(Clone, Debug, Default)]
pub struct Writes {
    /// Where each log ends that has data.
    pub ends: Vec<LogEnd>,
    /// (collection, stored key) → the devices that wrote it, and when last; of those asked for.
    pub writers: BTreeMap<(String, String), BTreeMap<DeviceId, Timestamp>>,
}

impl Reader {
    /// The schema that records are shown under at this moment.
    pub fn schema(&self) -> Arc<Schema> {
        Arc::clone(&self.cell.state().active)
    }

    /// The versions of the schema as they are at this moment.
    pub fn schemas(&self) -> Arc<SchemaState> {
        self.cell.state()
    }

    /// How far the views have been derived anew; `None` if all have been.
    pub fn refreshing(&self) -> Option<Refreshing> {
        self.cell.progress()
    }

    /// The text that counts for a version, if it is known.
    ///
    /// # Errors
    /// The store's, or that the text is damaged.
    pub fn schema_text(&self, version: u32) -> Result<Option<String>, StoreError> {
        let state = self.cell.state();
        let digest = state.versions.get(&version).and_then(Known::digest);
        let Some(digest) = digest else {
            return Ok(None);
        };
        self.handle
            .read(|tx| Catalogue::text(tx, &digest).map(Some))
    }

    /// Who wrote under which version, and who wrote the given (collection, stored key) lately.
    ///
    /// # Errors
    /// The store's, or that an entry is damaged.
    pub fn writes(&self, fields: &BTreeSet<(String, String)>) -> Result<Writes, StoreError> {
        self.handle.read(|tx| {
            let mut log = LogReader::new(tx)?;
            let mut writes = Writes::default();
            let mut left = ENTRIES_MAX;
            for row in tx.open_table(tables::LOGS)?.iter()? {
                let (number, row) = row?;
                let row = LogRow::decode(row.value())
                    .map_err(|error| Trouble::Damaged(format!("a log's row: {error}")))?;
                // A branch has only what follows its base.
                let looks = (row.seq - row.header.base()).min(ENTRIES_PER_LOG).min(left);
                left -= looks;
                writes.look(&mut log, number.value(), &row, looks, fields)?;
            }
            Ok(writes)
        })
    }
}

impl Writes {
    /// Looks at the last entries of one log, the newest first.
    fn look(
        &mut self,
        log: &mut LogReader<'_>,
        number: u32,
        row: &LogRow,
        looks: u64,
        fields: &BTreeSet<(String, String)>,
    ) -> Result<(), Trouble> {
        let mut is_ended = false;
        for seq in (row.seq - looks + 1..=row.seq).rev() {
            let set = log.change_set(number, seq)?;
            // A published schema is no data: its version is that of whoever published it.
            let data = set.edits.iter().filter(|edit| edit.collection != PUBLISHED);
            let mut data = data.peekable();
            if data.peek().is_some() && !is_ended {
                is_ended = true;
                self.ends.push(LogEnd {
                    header: row.header.clone(),
                    schema_version: set.schema_version,
                    hlc: set.hlc,
                });
            }
            for edit in data {
                for key in edit.ops.iter().filter_map(Op::key) {
                    let field = (edit.collection.clone(), key.to_owned());
                    if fields.contains(&field) {
                        let writers = self.writers.entry(field).or_default();
                        let last = writers.entry(row.header.device).or_default();
                        *last = set.hlc.max(*last);
                    }
                }
            }
        }
        Ok(())
    }
}
