//! Derives views anew after a switch of the schema, a few at a time.
//!
//! Invariants:
//! - A read is right at any time: a view row with an old stamp is not shown, its document is asked instead.
//!   Only what is listed from rows as a whole, the open reviews and the tallies, waits for the end.
//! - Each step is one bounded transaction, so writes get in between, and an interrupted refresh begins again
//!   and passes over what it has done.
//!
//! It does not know why the schema was switched.

use std::collections::BTreeSet;
use std::ops::Bound;

use crdt_schema::ident::RecordKey;
use redb::{ReadableTable, ReadableTableMetadata, WriteTransaction};

use super::database::Ending;
use super::kept::Kept;
use super::reading::{Refreshing, SchemaState};
use super::record::RecordWriter;
use super::trouble::Trouble;
use super::{Store, StoreError, heal, meta, tables};

/// How many views one transaction derives when nobody waits for the store.
const VIEWS_AT_ONCE: usize = 2000;

/// How many rows are looked at for each view that may be derived: looking is that much cheaper.
const LOOKS_PER_VIEW: usize = 32;

/// Where a refresh is.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    /// The index key of the last record that was looked at.
    after: Option<Vec<u8>>,
    done: u64,
    derived: u64,
}

/// One step's account.
struct Step {
    last: Option<Vec<u8>>,
    looked: u64,
    derived: u64,
    total: u64,
    kept: Kept,
}

impl Store {
    /// Whether views remain to be derived anew.
    pub fn needs_refresh(&self) -> bool {
        self.refresh.is_some()
    }

    /// Derives all views anew that are to be.
    ///
    /// # Errors
    /// The store's.
    pub fn refresh_all(&mut self) -> Result<(), StoreError> {
        while self.refresh(VIEWS_AT_ONCE)? {}
        Ok(())
    }

    /// Derives up to `limit` views anew, in one transaction. Returns whether more remain.
    ///
    /// # Errors
    /// The store's; the same step can be tried again.
    pub fn refresh(&mut self, limit: usize) -> Result<bool, StoreError> {
        let Some(cursor) = &mut self.refresh else {
            return Ok(false);
        };
        let kept = std::mem::take(&mut self.kept);
        let state = self.cell.state();
        let result = self.handle.write(|tx| {
            let step = step(tx, &state, cursor.after.as_deref(), limit, kept)?;
            if step.last.is_none() {
                meta::put_schema_digest(tx, state.digest)?;
            }
            Ok(Ending::Commit(step))
        });
        let step = result.map_err(|trouble| self.handle.explain(trouble))?;
        self.kept = step.kept;
        cursor.done += step.looked;
        cursor.derived += step.derived;
        let (done, derived) = (cursor.done, cursor.derived);
        let progress = Refreshing {
            done,
            total: step.total.max(done),
        };
        if step.last.is_some() {
            cursor.after = step.last;
            self.cell.set_progress(Some(progress));
            return Ok(true);
        }
        self.refresh = None;
        self.cell.set_progress(None);
        let version = state.active.version;
        tracing::info!(version, derived, "every record is shown under the schema");
        Ok(false)
    }

    /// Begins a refresh if the views were derived under another stamp than the one in use.
    pub(super) fn begin_refresh(&mut self) -> Result<(), StoreError> {
        let digest = self.cell.state().digest;
        let (is_done, total) = self.handle.read(|tx| {
            let done = meta::schema_digest(tx)? == Some(digest);
            Ok((done, tx.open_table(tables::INDEX)?.len()?))
        })?;
        self.refresh = (!is_done).then(Cursor::default);
        self.cell
            .set_progress((!is_done).then_some(Refreshing { done: 0, total }));
        Ok(())
    }
}

fn step(
    tx: &WriteTransaction,
    state: &SchemaState,
    after: Option<&[u8]>,
    limit: usize,
    kept: Kept,
) -> Result<Step, Trouble> {
    let looks_max = limit.saturating_mul(LOOKS_PER_VIEW);
    let (some, total): (Vec<(Vec<u8>, u64)>, u64) = {
        let index = tx.open_table(tables::INDEX)?;
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let rows = index
            .range::<&[u8]>((start, Bound::Unbounded))?
            .take(looks_max);
        let some = rows.map(|row| row.map(|(key, number)| (key.value().to_vec(), number.value())));
        (some.collect::<Result<_, _>>()?, index.len()?)
    };
    let mut step = Step {
        last: None,
        looked: 0,
        derived: 0,
        total,
        kept: Kept::default(),
    };
    let is_last = some.len() < looks_max;
    let mut damaged: BTreeSet<RecordKey> = BTreeSet::new();
    let mut records = RecordWriter::new(tx, &state.active, state.stamp(), kept)?;
    let mut some = some.into_iter();
    for (bytes, number) in some.by_ref() {
        step.looked += 1;
        if let Some(key) = tables::parse_record_key(&bytes) {
            match records.refresh_view(&key, number) {
                Ok(derived) => step.derived += u64::from(derived),
                Err(Trouble::Damaged(why)) => {
                    tracing::error!(why, "a damaged record is rebuilt from the log");
                    damaged.insert(key);
                }
                Err(trouble) => return Err(trouble),
            }
        }
        step.last = Some(bytes);
        if step.derived as usize + damaged.len() >= limit {
            break;
        }
    }
    if is_last && some.next().is_none() {
        step.last = None;
    }
    records.flush()?;
    step.kept = records.into_kept();
    if !damaged.is_empty() {
        // Their documents are others from here on.
        step.kept = Kept::default();
        let healed = heal::rebuild_records(tx, &state.active, state.stamp(), &damaged)?;
        if let Err(trouble) = healed {
            let why = trouble.fault();
            tracing::error!(%why, "the log is damaged too: records stay unreadable");
        }
    }
    Ok(step)
}
