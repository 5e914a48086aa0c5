//! Reads of records and reviews, each on a snapshot of the last committed state.
//!
//! Records are read from their view rows; a document is loaded only where its history is asked for,
//! or where the view row does not read back. If the document does not either, the read ends as
//! [`StoreError::Damaged`] naming the record.

use std::ops::Bound;

use crdt_schema::document::Document;
use crdt_schema::ident::{RecordKey, SpaceName};
use crdt_schema::resolution::{Life, RecordView, Review};
use crdt_schema::schema::Schema;
use redb::{ReadOnlyTable, ReadTransaction, ReadableTable, ReadableTableMetadata};

use crate::engine::batch::Arrival;

use super::open::last_arrival;
use super::pack::{Place, Unpacker};
use super::record::load_document;
use super::rows::ViewRow;
use super::trouble::Trouble;
use super::{Counts, ListQuery, Page, Reader, StoreError, StoredRecord, etag, tables};

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
            let Some(row) = views.get(number)? else {
                return Ok(None);
            };
            let (key, view) = match read_view(number, row.value()) {
                Ok(read) => read,
                Err(why) => derive_view(tx, &self.schema, key.clone(), number, &why)?,
            };
            Ok(Some(stored(key, view)))
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
        self.handle.read(|tx| list(tx, &self.schema, query, keep))
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
        self.handle.read(|tx| {
            let views = tx.open_table(tables::VIEWS)?;
            let mut reviews = Vec::new();
            for row in tx.open_table(tables::REVIEWS)?.iter()? {
                let (id, number) = row?;
                match find_review(tx, &self.schema, &views, number.value(), id.value()) {
                    Ok(review) => reviews.push(review),
                    Err(Trouble::Damaged(why)) => tracing::error!(why, "a review cannot be shown"),
                    Err(trouble) => return Err(trouble),
                }
            }
            Ok(reviews)
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
    schema: &Schema,
    query: &ListQuery,
    keep: &dyn Fn(&RecordView) -> bool,
) -> Result<Page, Trouble> {
    let mut page = Page::default();
    if query.limit == 0 {
        return Ok(page);
    }
    let index = tx.open_table(tables::INDEX)?;
    let views = tx.open_table(tables::VIEWS)?;
    let (start, end) = bounds(&query.space, &query.collection, query.after.as_deref());
    let range = (
        Bound::Excluded(start.as_slice()),
        Bound::Excluded(end.as_slice()),
    );
    for row in index.range::<&[u8]>(range)? {
        let (index_key, number) = row?;
        let number = number.value();
        let Some(row) = views.get(number)? else {
            continue;
        };
        let (key, view) = match read_view(number, row.value()) {
            Ok(read) => read,
            Err(why) => {
                let key = tables::parse_record_key(index_key.value()).ok_or_else(|| {
                    let name = String::from_utf8_lossy(index_key.value());
                    Trouble::Damaged(format!("record {name:?}: its key is malformed"))
                })?;
                derive_view(tx, schema, key, number, &why)?
            }
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

/// Reads a view row, or says in words why it does not read back.
fn read_view(number: u64, row: &[u8]) -> Result<(RecordKey, RecordView), String> {
    let content = Unpacker::default().unpack(Place::View(number), row)?;
    let row = ViewRow::decode(&content).and_then(ViewRow::into_view);
    row.map_err(|error| error.to_string())
}

/// Derives from the document the view that does not read back, for the reason `why`. The next write
/// of the record repairs its row.
fn derive_view(
    tx: &ReadTransaction,
    schema: &Schema,
    key: RecordKey,
    number: u64,
    why: &str,
) -> Result<(RecordKey, RecordView), Trouble> {
    tracing::error!(%key, why, "a damaged view is derived from its document");
    let collection = schema
        .collection(&key.collection)
        .ok_or_else(|| Trouble::Damaged(format!("record {key}: its view: {why}")))?;
    let docs = tx.open_table(tables::DOCS)?;
    let doc = load_document(&docs, &mut Unpacker::default(), &key, number)?;
    let view = doc.view(collection, &key.id);
    Ok((key, view))
}

/// Finds a review in its record's view, or in the document if the view does not read back.
fn find_review(
    tx: &ReadTransaction,
    schema: &Schema,
    views: &ReadOnlyTable<u64, &'static [u8]>,
    number: u64,
    id: &str,
) -> Result<(RecordKey, Review), Trouble> {
    let damaged = |why: &str| Trouble::Damaged(format!("review {id}: its record's view: {why}"));
    let row = views.get(number)?;
    let read = match &row {
        Some(row) => read_reviews(number, row.value()),
        None => Err("it is missing".to_owned()),
    };
    let (key, reviews) = match read {
        Ok(read) => read,
        Err(why) => {
            let key = key_of(tx, number)?.ok_or_else(|| damaged(&why))?;
            let (key, view) = derive_view(tx, schema, key, number, &why)?;
            (key, view.reviews)
        }
    };
    let review = reviews.into_iter().find(|review| review.id.0 == id);
    Ok((key, review.ok_or_else(|| damaged("it has no such review"))?))
}

/// The part of a view row that tells its reviews, or in words why it does not read back.
fn read_reviews(number: u64, row: &[u8]) -> Result<(RecordKey, Vec<Review>), String> {
    let content = Unpacker::default().unpack(Place::View(number), row)?;
    let row = ViewRow::decode(&content).map_err(|error| error.to_string())?;
    Ok((row.key, row.reviews))
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
