//! Reads of records and reviews, each on a snapshot of the last committed state.
//!
//! Records are read from their view rows; a document is loaded only where its history is asked for,
//! or where the view row does not read back or was derived under another schema. If the document does
//! not read back either, the read ends as [`StoreError::Damaged`] naming the record.

use std::ops::Bound;

use crdt_schema::document::Document;
use crdt_schema::ident::{RecordKey, SpaceName};
use crdt_schema::resolution::{Life, RecordView, Review};
use crdt_schema::schema::Schema;
use redb::{ReadOnlyTable, ReadTransaction, ReadableTable, ReadableTableMetadata};

use crate::engine::batch::Arrival;
use crate::engine::batch::planned::etag;

use super::judge::Neighbours;
use super::open::last_arrival;
use super::pack::{Place, Unpacker};
use super::reading::{SchemaState, Stamp};
use super::record::{load_document, split_stamp};
use super::rows::ViewRow;
use super::trouble::Trouble;
use super::{Counts, ListQuery, Page, Reader, StoreError, StoredRecord, tables};

impl Reader {
    /// The record, alive or not, if anybody has written it and the schema knows its collection.
    ///
    /// # Errors
    /// The store's, or that the record is damaged.
    pub fn get(&self, key: &RecordKey) -> Result<Option<StoredRecord>, StoreError> {
        self.handle.read(|tx| {
            let Some(number) = number_of(tx, key)? else {
                return Ok(None);
            };
            let views = tx.open_table(tables::VIEWS)?;
            let row = views.get(number)?;
            let row = row.as_ref().map(|row| row.value());
            let view = Views::new(tx, &self.cell.state()).view(key, number, row)?;
            Ok(view.map(|view| stored(key.clone(), view)))
        })
    }

    /// The records of a collection that `keep` accepts, in the order of their ids. `keep` must not
    /// read from the store.
    ///
    /// # Errors
    /// The store's, or that a record is damaged.
    pub fn list(
        &self,
        query: &ListQuery,
        keep: &dyn Fn(&RecordView) -> bool,
    ) -> Result<Page, StoreError> {
        let state = self.cell.state();
        self.handle.read(|tx| list(tx, &state, query, keep))
    }

    /// The record's document, which knows its history.
    ///
    /// # Errors
    /// The store's, or that the document is damaged.
    pub fn document(&self, key: &RecordKey) -> Result<Option<Document>, StoreError> {
        self.handle.read(|tx| {
            let Some(number) = number_of(tx, key)? else {
                return Ok(None);
            };
            let docs = tx.open_table(tables::DOCS)?;
            load_document(&docs, &mut Unpacker::default(), key, number).map(Some)
        })
    }

    /// All open reviews that can be shown, in the order of their ids. A record that does not read back
    /// hides its own reviews only: it is named in the log, and found by a check of the store.
    ///
    /// # Errors
    /// The store's.
    pub fn reviews(&self) -> Result<Vec<(RecordKey, Review)>, StoreError> {
        let state = self.cell.state();
        self.handle.read(|tx| {
            let mut views = Views::new(tx, &state);
            let rows = tx.open_table(tables::VIEWS)?;
            let mut reviews = Vec::new();
            for row in tx.open_table(tables::REVIEWS)?.iter()? {
                let (id, number) = row?;
                match find_review(&mut views, &rows, number.value(), id.value()) {
                    Ok(review) => reviews.extend(review),
                    Err(Trouble::Damaged(why)) => tracing::error!(why, "a review cannot be shown"),
                    Err(trouble) => return Err(trouble),
                }
            }
            Ok(reviews)
        })
    }

    /// The open review with that id, if there is one.
    ///
    /// # Errors
    /// The store's, or that its record is damaged.
    pub fn review(&self, id: &str) -> Result<Option<(RecordKey, Review)>, StoreError> {
        let state = self.cell.state();
        self.handle.read(|tx| {
            let number = tx.open_table(tables::REVIEWS)?.get(id)?;
            let Some(number) = number.map(|number| number.value()) else {
                return Ok(None);
            };
            let rows = tx.open_table(tables::VIEWS)?;
            find_review(&mut Views::new(tx, &state), &rows, number, id)
        })
    }

    /// The last arrival in the store; 0 if it is empty.
    ///
    /// # Errors
    /// The store's.
    pub fn arrival(&self) -> Result<Arrival, StoreError> {
        self.handle.read(last_arrival)
    }

    /// How much there is of everything.
    ///
    /// # Errors
    /// The store's.
    pub fn counts(&self) -> Result<Counts, StoreError> {
        self.handle.read(|tx| {
            let mut records = Vec::new();
            for row in tx.open_table(tables::TALLIES)?.iter()? {
                let (key, tally) = row?;
                let (alive, deleted) = tally.value();
                if let Some(key) = tables::parse_record_key(key.value()) {
                    records.push((key.space, key.collection, alive, deleted));
                }
            }
            Ok(Counts {
                records,
                reviews: tx.open_table(tables::REVIEWS)?.len()?,
                entries: last_arrival(tx)?,
                bytes: self.handle.file_bytes(),
            })
        })
    }
}

fn list(
    tx: &ReadTransaction,
    state: &SchemaState,
    query: &ListQuery,
    keep: &dyn Fn(&RecordView) -> bool,
) -> Result<Page, Trouble> {
    let mut page = Page::default();
    let mut derived = Views::new(tx, state);
    if query.limit == 0 {
        return Ok(page);
    }
    let index = tx.open_table(tables::INDEX)?;
    let views = tx.open_table(tables::VIEWS)?;
    let (start, end) = bounds(&query.space, &query.collection, query.after.as_deref());
    // Keys have no checksum of their own, and a damaged one may look like the next collection's. So the walk ends
    // at a row that was read as well, not at a key.
    let range = (Bound::Excluded(start.as_slice()), Bound::Unbounded);
    for row in index.range::<&[u8]>(range)? {
        let (index_key, number) = row?;
        let number = number.value();
        let Some(key) = tables::parse_record_key(index_key.value()) else {
            let name = String::from_utf8_lossy(index_key.value());
            let why = format!("record {name:?}: its key is malformed");
            return Err(Trouble::Damaged(why));
        };
        let row = views.get(number)?;
        let row = row.as_ref().map(|row| row.value());
        let view = derived.view(&key, number, row)?;
        if index_key.value() >= end.as_slice() {
            break;
        }
        let Some(view) = view else {
            continue;
        };
        if (view.life == Life::Deleted && !query.deleted) || !keep(&view) {
            continue;
        }
        if page.records.len() == query.limit {
            // One more than asked for: there is a next page.
            page.next = page.records.last().map(|last| last.key.id.clone());
            break;
        }
        page.records.push(stored(key, view));
    }
    Ok(page)
}

/// The index keys that lie before and after the collection's records with ids above `after`.
fn bounds(space: &SpaceName, collection: &str, after: Option<&str>) -> (Vec<u8>, Vec<u8>) {
    let mut start = tables::collection_key(space, collection);
    let mut end = start.clone();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    // Ids are not empty, so no record has the bare prefix as its key.
    start.extend_from_slice(after.unwrap_or_default().as_bytes());
    (start, end)
}

fn number_of(tx: &ReadTransaction, key: &RecordKey) -> Result<Option<u64>, Trouble> {
    let number = tx
        .open_table(tables::INDEX)?
        .get(tables::record_key(key).as_slice())?;
    Ok(number.map(|number| number.value()))
}

/// Views as they are under one schema: from their rows, or from their documents where a row does not read back
/// or was derived under another schema.
struct Views<'t> {
    tx: &'t ReadTransaction,
    schema: &'t Schema,
    stamp: Stamp,
    unpacker: Unpacker,
}

impl<'t> Views<'t> {
    fn new(tx: &'t ReadTransaction, state: &'t SchemaState) -> Self {
        Self {
            tx,
            schema: &state.active,
            stamp: state.stamp(),
            unpacker: Unpacker::default(),
        }
    }

    /// The record's view; `None` if the schema does not have its collection.
    fn view(
        &mut self,
        key: &RecordKey,
        number: u64,
        row: Option<&[u8]>,
    ) -> Result<Option<RecordView>, Trouble> {
        let old = match row.map(|row| read_view(number, row)) {
            Some(Ok((_, of, _))) if of != *key => {
                let why = format!("record {key}: the index has it where {of} is");
                return Err(Trouble::Damaged(why));
            }
            Some(Ok((stamp, _, view))) if stamp == self.stamp => return Ok(Some(view)),
            Some(Ok((_, _, view))) => Some(view),
            // The next write of the record repairs its row.
            Some(Err(why)) => {
                tracing::error!(%key, why, "a damaged view is derived from its document");
                None
            }
            None => None,
        };
        let Some(collection) = self.schema.collection(&key.collection) else {
            return Ok(None);
        };
        let docs = self.tx.open_table(tables::DOCS)?;
        match load_document(&docs, &mut self.unpacker, key, number) {
            Ok(doc) => self.judged(key, doc.view(collection, &key.id)).map(Some),
            // What it was before the switch is better than nothing.
            Err(Trouble::Damaged(why)) if old.is_some() => {
                tracing::error!(why, "a record is shown as it was under another schema");
                Ok(old)
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// The view as people see it, from the record's own, by what the rows of its neighbours say.
    fn judged(&self, key: &RecordKey, own: RecordView) -> Result<RecordView, Trouble> {
        let neighbours = Neighbours {
            schema: self.schema,
            index: &self.tx.open_table(tables::INDEX)?,
            views: &self.tx.open_table(tables::VIEWS)?,
            refs: &self.tx.open_multimap_table(tables::REFS)?,
        };
        neighbours.judge(key, own)
    }
}

/// Reads a view row, whose it is and its stamp, or says in words why it does not read back.
fn read_view(number: u64, row: &[u8]) -> Result<(Stamp, RecordKey, RecordView), String> {
    let content = Unpacker::default().unpack(Place::View(number), row)?;
    let (stamp, view) = split_stamp(&content).ok_or("its row is cut short")?;
    let row = ViewRow::decode(view).and_then(ViewRow::into_view);
    let (key, view) = row.map_err(|error| error.to_string())?;
    Ok((stamp, key, view))
}

/// Finds a review in its record's view, or in the document if the view does not read back; `None` if the record
/// is shown under another schema by now and has no such review there.
fn find_review(
    views: &mut Views<'_>,
    rows: &ReadOnlyTable<u64, &'static [u8]>,
    number: u64,
    id: &str,
) -> Result<Option<(RecordKey, Review)>, Trouble> {
    let damaged = |why: &str| Trouble::Damaged(format!("review {id}: its record's view: {why}"));
    let row = rows.get(number)?;
    let row = row.as_ref().map(|row| row.value());
    let (key, reviews, is_shown) = match row.map(|row| read_reviews(number, row)) {
        Some(Ok((stamp, key, reviews))) if stamp == views.stamp => (key, reviews, true),
        Some(Ok((_, key, _))) => {
            let view = views.view(&key, number, row)?;
            (
                key,
                view.map(|view| view.reviews).unwrap_or_default(),
                false,
            )
        }
        Some(Err(_)) | None => {
            let key = key_of(views.tx, number)?.ok_or_else(|| damaged("it is missing"))?;
            let view = views.view(&key, number, row)?;
            (key, view.map(|view| view.reviews).unwrap_or_default(), true)
        }
    };
    match reviews.into_iter().find(|review| review.id.0 == id) {
        Some(review) => Ok(Some((key, review))),
        None if is_shown => Err(damaged("it has no such review")),
        None => Ok(None),
    }
}

/// The part of a view row that tells its reviews, or in words why it does not read back.
fn read_reviews(number: u64, row: &[u8]) -> Result<(Stamp, RecordKey, Vec<Review>), String> {
    let content = Unpacker::default().unpack(Place::View(number), row)?;
    let (stamp, view) = split_stamp(&content).ok_or("its row is cut short")?;
    let row = ViewRow::decode(view).map_err(|error| error.to_string())?;
    Ok((stamp, row.key, row.reviews))
}

/// The record of that number. Walks the whole index, so it is for damage only.
fn key_of(tx: &ReadTransaction, number: u64) -> Result<Option<RecordKey>, Trouble> {
    for row in tx.open_table(tables::INDEX)?.iter()? {
        let (key, found) = row?;
        if found.value() == number {
            return Ok(tables::parse_record_key(key.value()));
        }
    }
    Ok(None)
}

fn stored(key: RecordKey, view: RecordView) -> StoredRecord {
    let etag = etag(&view.heads);
    StoredRecord { key, view, etag }
}
