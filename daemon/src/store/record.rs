//! The records that one write transaction touches: loaded once, changed in memory, written back
//! together.
//!
//! Invariants:
//! - A record's document, its view, its reviews and its collection's tally are written in one
//!   transaction.
//! - A collection that the schema does not know has documents and no views.
//! - A view row begins with the stamp of the schema that it was derived under.
//! - Only [`OPEN_RECORDS_MAX`] documents are in memory at once, however large the transaction is.
//!
//! It does not know logs, nor whether a change is allowed.

use std::collections::BTreeMap;

use crdt_schema::document::Document;
use crdt_schema::ident::RecordKey;
use crdt_schema::resolution::{Life, RecordView, Review};
use crdt_schema::schema::Schema;
use redb::{ReadableTable, Table, WriteTransaction};

use crate::mutation::{Mutation, is_planted};

use super::pack::{Packer, Place, Unpacker, pack_plain};
use super::reading::Stamp;
use super::rows::{ViewRow, encode_view};
use super::tables;
use super::trouble::Trouble;

/// Most documents in memory at once: some 16 MB of usual ones.
const OPEN_RECORDS_MAX: usize = 1024;

/// A record as this transaction has it.
struct OpenRecord {
    /// `None` until it is first written.
    number: Option<u64>,
    doc: Document,
    /// The view of `doc`, if somebody has asked for it.
    view: Option<RecordView>,
    /// What its view row says.
    shown: Option<Shown>,
    is_changed: bool,
}

/// What the other tables derive from a view row.
#[derive(Clone, Debug, Default)]
struct Shown {
    is_deleted: bool,
    reviews: Vec<String>,
}

impl Shown {
    fn of(life: Life, reviews: &[Review]) -> Self {
        Self {
            is_deleted: life == Life::Deleted,
            reviews: reviews.iter().map(|review| review.id.0.clone()).collect(),
        }
    }
}

/// The records in one write transaction.
pub(super) struct RecordWriter<'txn> {
    schema: &'txn Schema,
    stamp: Stamp,
    index: Table<'txn, &'static [u8], u64>,
    docs: Table<'txn, u64, &'static [u8]>,
    views: Table<'txn, u64, &'static [u8]>,
    reviews: Table<'txn, &'static str, u64>,
    tallies: Table<'txn, &'static [u8], (u64, u64)>,
    open: BTreeMap<RecordKey, OpenRecord>,
    next_number: u64,
    packer: Packer,
    unpacker: Unpacker,
}

impl<'txn> RecordWriter<'txn> {
    pub(super) fn new(
        tx: &'txn WriteTransaction,
        schema: &'txn Schema,
        stamp: Stamp,
    ) -> Result<Self, Trouble> {
        let docs = tx.open_table(tables::DOCS)?;
        let next_number = docs.last()?.map_or(0, |(last, _)| last.value() + 1);
        Ok(Self {
            schema,
            stamp,
            index: tx.open_table(tables::INDEX)?,
            docs,
            views: tx.open_table(tables::VIEWS)?,
            reviews: tx.open_table(tables::REVIEWS)?,
            tallies: tx.open_table(tables::TALLIES)?,
            open: BTreeMap::new(),
            next_number,
            packer: Packer::new(),
            unpacker: Unpacker::default(),
        })
    }

    /// The record's document; empty if nobody has written it. To be changed with [`Self::put`]
    /// only.
    pub(super) fn document(&mut self, key: &RecordKey) -> Result<&Document, Trouble> {
        Ok(&self.open(key)?.doc)
    }

    /// Changes the record's document in place. `change` must leave it as it was when it fails.
    pub(super) fn change<E>(
        &mut self,
        key: &RecordKey,
        change: impl FnOnce(&mut Document) -> Result<(), E>,
    ) -> Result<Result<(), E>, Trouble> {
        let record = self.open(key)?;
        let result = change(&mut record.doc);
        if result.is_ok() {
            record.view = None;
            record.is_changed = true;
        }
        Ok(result)
    }

    /// Replaces the record's document by one that continues it, whose view the caller has at hand.
    pub(super) fn put(
        &mut self,
        key: &RecordKey,
        doc: Document,
        view: RecordView,
    ) -> Result<(), Trouble> {
        let record = self.open(key)?;
        record.doc = doc;
        record.view = Some(view);
        record.is_changed = true;
        Ok(())
    }

    /// Writes the records back if too many are in memory.
    pub(super) fn relieve(&mut self) -> Result<(), Trouble> {
        if self.open.len() > OPEN_RECORDS_MAX {
            self.flush()
        } else {
            Ok(())
        }
    }

    /// Derives the record's view anew from its stored document, unless it was derived under the schema.
    /// Returns whether that was to be done.
    pub(super) fn refresh_view(&mut self, key: &RecordKey, number: u64) -> Result<bool, Trouble> {
        let row = self.views.get(number)?;
        let stamp = row.as_ref().and_then(|row| stamp_of(number, row.value()));
        let is_shown = row.is_some();
        drop(row);
        let Some(collection) = self.schema.collection(&key.collection) else {
            if is_shown {
                self.hide(key, number)?;
            }
            return Ok(is_shown);
        };
        if stamp == Some(self.stamp) {
            return Ok(false);
        }
        let doc = load_document(&self.docs, &mut self.unpacker, key, number)?;
        let before = self.shown(key, Some(number), &doc)?;
        let view = doc.view(collection, &key.id);
        self.write_view(key, number, &view, before.as_ref())?;
        Ok(true)
    }

    /// Takes the view away of a record whose collection the schema does not have.
    fn hide(&mut self, key: &RecordKey, number: u64) -> Result<(), Trouble> {
        let before = self.shown(key, Some(number), &Document::new())?;
        self.views.remove(number)?;
        let Some(before) = before else {
            return Ok(());
        };
        for id in &before.reviews {
            self.reviews.remove(id.as_str())?;
        }
        let collection = tables::collection_key(&key.space, &key.collection);
        let tally = self.tallies.get(collection.as_slice())?;
        let (alive, deleted) = tally.map_or((0, 0), |tally| tally.value());
        let left = match before.is_deleted {
            true => (alive, deleted.saturating_sub(1)),
            false => (alive.saturating_sub(1), deleted),
        };
        if left == (0, 0) {
            self.tallies.remove(collection.as_slice())?;
        } else {
            self.tallies.insert(collection.as_slice(), left)?;
        }
        Ok(())
    }

    /// Writes back what has changed, and lets all records go.
    pub(super) fn flush(&mut self) -> Result<(), Trouble> {
        for (key, record) in std::mem::take(&mut self.open) {
            if !record.is_changed {
                continue;
            }
            let number = match record.number {
                Some(number) => number,
                None => self.number_new(&key)?,
            };
            let row = self.packer.pack(Place::Doc(number), &record.doc.save());
            self.docs.insert(number, row.as_slice())?;
            if record.view.is_none() && record.shown.is_some() && is_planted(Mutation::ViewStale) {
                continue;
            }
            if let Some(collection) = self.schema.collection(&key.collection) {
                let view = record
                    .view
                    .unwrap_or_else(|| record.doc.view(collection, &key.id));
                self.write_view(&key, number, &view, record.shown.as_ref())?;
            }
        }
        Ok(())
    }

    /// Puts a rebuilt document in the place of one that does not read back.
    pub(super) fn restore(&mut self, key: &RecordKey, doc: Document) -> Result<(), Trouble> {
        let number = self.number_of(key)?;
        let shown = self.shown(key, number, &doc)?;
        let record = OpenRecord {
            number,
            doc,
            view: None,
            shown,
            is_changed: true,
        };
        self.open.insert(key.clone(), record);
        Ok(())
    }

    fn open(&mut self, key: &RecordKey) -> Result<&mut OpenRecord, Trouble> {
        if !self.open.contains_key(key) {
            let number = self.number_of(key)?;
            let doc = match number {
                None => Document::new(),
                Some(number) => load_document(&self.docs, &mut self.unpacker, key, number)?,
            };
            let shown = self.shown(key, number, &doc)?;
            let record = OpenRecord {
                number,
                doc,
                view: None,
                shown,
                is_changed: false,
            };
            self.open.insert(key.clone(), record);
        }
        Ok(self
            .open
            .get_mut(key)
            .expect("invariant: inserted above if it was missing"))
    }

    fn number_of(&self, key: &RecordKey) -> Result<Option<u64>, Trouble> {
        let number = self.index.get(tables::record_key(key).as_slice())?;
        Ok(number.map(|number| number.value()))
    }

    /// What the view row says. If the row does not read back, what it said follows from the
    /// document.
    fn shown(
        &mut self,
        key: &RecordKey,
        number: Option<u64>,
        doc: &Document,
    ) -> Result<Option<Shown>, Trouble> {
        let Some(number) = number else {
            return Ok(None);
        };
        let Some(row) = self.views.get(number)? else {
            return Ok(None);
        };
        let content = self.unpacker.unpack(Place::View(number), row.value());
        let read = content.ok().and_then(|content| {
            let view = ViewRow::decode(split_stamp(&content)?.1).ok()?;
            Some(Shown::of(view.life, &view.reviews))
        });
        Ok(read.or_else(|| {
            let view = doc.view(self.schema.collection(&key.collection)?, &key.id);
            Some(Shown::of(view.life, &view.reviews))
        }))
    }

    fn number_new(&mut self, key: &RecordKey) -> Result<u64, Trouble> {
        let number = self.next_number;
        self.next_number += 1;
        self.index
            .insert(tables::record_key(key).as_slice(), number)?;
        Ok(number)
    }

    fn write_view(
        &mut self,
        key: &RecordKey,
        number: u64,
        view: &RecordView,
        before: Option<&Shown>,
    ) -> Result<(), Trouble> {
        // Views are read in bulk by lists, so they are not compressed.
        let content = [&self.stamp, encode_view(key, view).as_slice()].concat();
        let row = pack_plain(Place::View(number), &content);
        self.views.insert(number, row.as_slice())?;

        let after = Shown::of(view.life, &view.reviews);
        let no_reviews = Vec::new();
        let reviews_before = before.map_or(&no_reviews, |before| &before.reviews);
        for id in reviews_before
            .iter()
            .filter(|id| !after.reviews.contains(id))
        {
            self.reviews.remove(id.as_str())?;
        }
        for id in after
            .reviews
            .iter()
            .filter(|id| !reviews_before.contains(id))
        {
            if !reviews_before.is_empty() && is_planted(Mutation::ReviewClosed) {
                continue;
            }
            self.reviews.insert(id.as_str(), number)?;
        }
        if before.is_some() && is_planted(Mutation::TallyStale) {
            return Ok(());
        }
        if before.map(|before| before.is_deleted) != Some(after.is_deleted) {
            self.tally(key, before, &after)?;
        }
        Ok(())
    }

    fn tally(
        &mut self,
        key: &RecordKey,
        before: Option<&Shown>,
        after: &Shown,
    ) -> Result<(), Trouble> {
        let collection = tables::collection_key(&key.space, &key.collection);
        let (mut alive, mut deleted) = self
            .tallies
            .get(collection.as_slice())?
            .map_or((0, 0), |tally| tally.value());
        match before {
            Some(before) if before.is_deleted => deleted = u64::saturating_sub(deleted, 1),
            Some(_) => alive = u64::saturating_sub(alive, 1),
            None => {}
        }
        if after.is_deleted {
            deleted += 1
        } else {
            alive += 1
        }
        self.tallies
            .insert(collection.as_slice(), (alive, deleted))?;
        Ok(())
    }
}

/// The stamp of a view row and the view behind it.
pub(super) fn split_stamp(content: &[u8]) -> Option<(Stamp, &[u8])> {
    let (stamp, view) = content.split_first_chunk()?;
    Some((*stamp, view))
}

fn stamp_of(number: u64, row: &[u8]) -> Option<Stamp> {
    let content = Unpacker::default().unpack(Place::View(number), row).ok()?;
    split_stamp(&content).map(|(stamp, _)| stamp)
}

/// Reads a stored document.
pub(super) fn load_document(
    docs: &impl ReadableTable<u64, &'static [u8]>,
    unpacker: &mut Unpacker,
    key: &RecordKey,
    number: u64,
) -> Result<Document, Trouble> {
    let damaged = |why: &str| Trouble::Damaged(format!("record {key}: its document: {why}"));
    let row = docs.get(number)?.ok_or_else(|| damaged("it is missing"))?;
    let saved = unpacker
        .unpack(Place::Doc(number), row.value())
        .map_err(damaged)?;
    Document::load(&saved).map_err(|error| damaged(&error.to_string()))
}
