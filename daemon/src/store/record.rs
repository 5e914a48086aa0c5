//! The records that one write transaction touches: loaded once, changed in memory, written back
//! together.
//!
//! Invariants:
//! - A record's document, its view, its reviews and its collection's tally are written in one
//!   transaction.
//! - A collection that the schema does not know has documents and no views.
//! - A view row begins with the stamp of the schema that it was derived under.
//! - A record is judged among its neighbours when it is written, and again in the same transaction when
//!   one of those that it refers to, or that refer to it, comes or changes its life. This ends: a schema
//!   allows no circles in which lives decide over lives.
//! - Only [`OPEN_RECORDS_MAX`] documents are in memory at once, however large the transaction is, and those
//!   that the transaction before left at hand, see [`super::kept`].
//!
//! It does not know logs, nor whether a change is allowed.

use std::collections::{BTreeMap, BTreeSet};

use crdt_schema::document::Document;
use crdt_schema::ident::RecordKey;
use crdt_schema::resolution::RecordView;
use crdt_schema::schema::Schema;
use redb::{
    MultimapTable, MultimapTableDefinition, ReadableTable, Table, TableDefinition, WriteTransaction,
};

use crate::mutation::{Mutation, is_planted};

use super::judge::Neighbours;
use super::kept::Kept;
use super::lazy::Lazy;
use super::pack::{Place, Unpacker, pack_plain};
use super::reading::Stamp;
use super::rows::{ViewRow, encode_view};
use super::tables;
use super::trouble::Trouble;

mod relate;
mod shown;

use shown::Shown;

/// Most documents in memory at once: some 16 MB of usual ones.
const OPEN_RECORDS_MAX: usize = 1024;

/// A record as this transaction has it.
struct OpenRecord {
    /// `None` until it is first written.
    number: Option<u64>,
    doc: Document,
    /// What the document was saved as when it was read.
    saved_bytes: usize,
    /// The view of `doc` by itself, if somebody has asked for it.
    view: Option<RecordView>,
    /// What its view row says.
    shown: Option<Shown>,
    is_changed: bool,
}

/// The neighbours of a record, as this transaction has them.
type OwnNeighbours<'w, 'txn> = Neighbours<
    'w,
    Table<'txn, &'static [u8], u64>,
    Table<'txn, u64, &'static [u8]>,
    MultimapTable<'txn, &'static [u8], u64>,
>;

/// The records in one write transaction.
pub(super) struct RecordWriter<'txn> {
    schema: &'txn Schema,
    stamp: Stamp,
    index: Table<'txn, &'static [u8], u64>,
    docs: Table<'txn, u64, &'static [u8]>,
    views: Table<'txn, u64, &'static [u8]>,
    reviews: Lazy<'txn, TableDefinition<'static, &'static str, u64>>,
    answered: Lazy<'txn, TableDefinition<'static, &'static str, u64>>,
    refs: Lazy<'txn, MultimapTableDefinition<'static, &'static [u8], u64>>,
    tallies: Lazy<'txn, TableDefinition<'static, &'static [u8], (u64, u64)>>,
    open: BTreeMap<RecordKey, OpenRecord>,
    /// The records that must be judged again, those that decide over others first.
    unsettled: BTreeSet<(usize, u64)>,
    has_references: bool,
    next_number: u64,
    kept: Kept,
}

impl<'txn> RecordWriter<'txn> {
    pub(super) fn new(
        tx: &'txn WriteTransaction,
        schema: &'txn Schema,
        stamp: Stamp,
        kept: Kept,
    ) -> Result<Self, Trouble> {
        let docs = tx.open_table(tables::DOCS)?;
        let next_number = docs.last()?.map_or(0, |(last, _)| last.value() + 1);
        Ok(Self {
            schema,
            stamp,
            index: tx.open_table(tables::INDEX)?,
            docs,
            views: tx.open_table(tables::VIEWS)?,
            reviews: Lazy::new(tx, tables::REVIEWS),
            answered: Lazy::new(tx, tables::ANSWERED),
            refs: Lazy::new(tx, tables::REFS),
            tallies: Lazy::new(tx, tables::TALLIES),
            open: BTreeMap::new(),
            unsettled: BTreeSet::new(),
            has_references: schema.has_references(),
            next_number,
            kept,
        })
    }

    /// What is left for the next transaction, if this one is committed. Call it after [`Self::flush`].
    pub(super) fn into_kept(self) -> Kept {
        self.kept
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
            self.write_back()
        } else {
            Ok(())
        }
    }

    /// Makes what is known of neighbours that of all the records so far, if the schema has references.
    pub(super) fn settle(&mut self) -> Result<(), Trouble> {
        if self.has_references {
            self.flush()?;
        }
        Ok(())
    }

    /// The view as people see it, from the record's own. What is known of its neighbours is what
    /// [`Self::settle`] left.
    pub(super) fn judge(&self, key: &RecordKey, own: RecordView) -> Result<RecordView, Trouble> {
        self.neighbours()?.judge(key, own)
    }

    /// See [`Neighbours::holders`].
    pub(super) fn holders(
        &self,
        key: &RecordKey,
        limit: usize,
    ) -> Result<BTreeSet<(RecordKey, String)>, Trouble> {
        self.neighbours()?.holders(key, limit)
    }

    fn neighbours(&self) -> Result<OwnNeighbours<'_, 'txn>, Trouble> {
        Ok(Neighbours {
            schema: self.schema,
            index: &self.index,
            views: &self.views,
            refs: self.refs.get()?,
        })
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
        let (doc, saved_bytes) = self.stored(key, number)?;
        let before = self.shown(key, Some(number), &doc)?;
        let view = doc.view(collection, &key.id);
        self.kept.documents.put(number, doc, saved_bytes);
        self.write_view(key, number, view, before.as_ref())?;
        Ok(true)
    }

    /// Takes the view away of a record whose collection the schema does not have.
    fn hide(&mut self, key: &RecordKey, number: u64) -> Result<(), Trouble> {
        let before = self.shown(key, Some(number), &Document::new())?;
        self.views.remove(number)?;
        let Some(before) = before else {
            return Ok(());
        };
        let after = Shown::default();
        replace(&mut self.reviews, number, &before.reviews, &after.reviews)?;
        replace(
            &mut self.answered,
            number,
            &before.answered,
            &after.answered,
        )?;
        self.relate(key, number, Some(&before), &after)?;
        self.unsettle_dependants(key)?;
        self.tally(key, Some(&before), None)
    }

    /// Writes back what has changed, judges again whom it concerns, and lets all records go.
    pub(super) fn flush(&mut self) -> Result<(), Trouble> {
        self.write_back()?;
        while let Some((_, number)) = self.unsettled.pop_first() {
            match self.judge_again(number) {
                // Whoever writes the record next finds out, too.
                Err(Trouble::Damaged(why)) => tracing::error!(why, "a record cannot be judged"),
                other => other?,
            }
        }
        Ok(())
    }

    fn judge_again(&mut self, number: u64) -> Result<(), Trouble> {
        let (key, before) = match self.views.get(number)? {
            None => return Ok(()),
            Some(row) => {
                let damaged = |why: String| Trouble::Damaged(format!("view {number}: {why}"));
                let content = self.kept.unpacker.unpack(Place::View(number), row.value());
                let content = content.map_err(|why| damaged(why.to_owned()))?;
                let (_, content) =
                    split_stamp(&content).ok_or_else(|| damaged("it is cut short".to_owned()))?;
                let row = ViewRow::decode(content).map_err(|error| damaged(error.to_string()))?;
                let before = Shown::of_row(&row);
                (row.key, before)
            }
        };
        let Some(collection) = self.schema.collection(&key.collection) else {
            return Ok(());
        };
        let (doc, saved_bytes) = self.stored(&key, number)?;
        let own = doc.view(collection, &key.id);
        self.kept.documents.put(number, doc, saved_bytes);
        self.write_view(&key, number, own, Some(&before))
    }

    fn write_back(&mut self) -> Result<(), Trouble> {
        let mut open: Vec<_> = std::mem::take(&mut self.open).into_iter().collect();
        // Those that are referred to first, so that few are judged twice.
        let schema = self.schema;
        open.sort_by_key(|(key, _)| schema.collection(&key.collection).map(|known| known.rank));
        for (key, record) in open {
            self.write_record(&key, record)?;
        }
        Ok(())
    }

    fn write_record(&mut self, key: &RecordKey, record: OpenRecord) -> Result<(), Trouble> {
        let OpenRecord { number, doc, .. } = record;
        if !record.is_changed {
            if let Some(number) = number {
                self.kept.documents.put(number, doc, record.saved_bytes);
            }
            return Ok(());
        }
        let number = match number {
            Some(number) => number,
            None => self.number_new(key)?,
        };
        let saved = doc.save();
        let row = self.kept.packer.pack(Place::Doc(number), &saved);
        self.docs.insert(number, row.as_slice())?;
        let is_stale = record.view.is_none() && record.shown.is_some();
        let collection = self.schema.collection(&key.collection);
        if let Some(collection) = collection
            && !(is_stale && is_planted(Mutation::ViewStale))
        {
            let view = record.view.unwrap_or_else(|| doc.view(collection, &key.id));
            self.write_view(key, number, view, record.shown.as_ref())?;
        }
        self.kept.documents.put(number, doc, saved.len());
        Ok(())
    }

    /// The document as it is stored, and what it is saved as.
    fn stored(&mut self, key: &RecordKey, number: u64) -> Result<(Document, usize), Trouble> {
        match self.kept.documents.take(number) {
            Some(kept) => Ok(kept),
            None => read_document(&self.docs, &mut self.kept.unpacker, key, number),
        }
    }

    /// Puts a rebuilt document in the place of one that does not read back.
    pub(super) fn restore(&mut self, key: &RecordKey, doc: Document) -> Result<(), Trouble> {
        let number = self.number_of(key)?;
        let shown = self.shown(key, number, &doc)?;
        let record = OpenRecord {
            number,
            doc,
            saved_bytes: 0,
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
            let (doc, saved_bytes) = match number {
                None => (Document::new(), 0),
                Some(number) => self.stored(key, number)?,
            };
            let shown = self.shown(key, number, &doc)?;
            let record = OpenRecord {
                number,
                doc,
                saved_bytes,
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
        let content = self.kept.unpacker.unpack(Place::View(number), row.value());
        let read = content.ok().and_then(|content| {
            let row = ViewRow::decode(split_stamp(&content)?.1).ok()?;
            Some(Shown::of_row(&row))
        });
        if read.is_some() {
            return Ok(read);
        }
        let Some(collection) = self.schema.collection(&key.collection) else {
            return Ok(None);
        };
        let view = self.judge(key, doc.view(collection, &key.id))?;
        Ok(Some(Shown::of_view(&view)))
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
        own: RecordView,
        before: Option<&Shown>,
    ) -> Result<(), Trouble> {
        let view = self.judge(key, own)?;
        // Views are read in bulk by lists, so they are not compressed.
        let content = [&self.stamp, encode_view(key, &view).as_slice()].concat();
        let row = pack_plain(Place::View(number), &content);
        self.views.insert(number, row.as_slice())?;

        let after = Shown::of_view(&view);
        let nothing = Shown::default();
        let was = before.unwrap_or(&nothing);
        let open = match !was.reviews.is_empty() && is_planted(Mutation::ReviewClosed) {
            true => &nothing.reviews,
            false => &after.reviews,
        };
        replace(&mut self.reviews, number, &was.reviews, open)?;
        replace(&mut self.answered, number, &was.answered, &after.answered)?;
        if before.is_some() && is_planted(Mutation::TallyStale) {
            return Ok(());
        }
        if before.map(|before| before.is_deleted) != Some(after.is_deleted) {
            self.tally(key, before, Some(&after))?;
        }
        // Under the schema before this one it may have referred to others.
        if self.has_references || !was.refs.is_empty() {
            self.relate(key, number, before, &after)?;
        }
        Ok(())
    }

    /// Counts the record as it is shown after, if it is, and no longer as it was shown before.
    fn tally(
        &mut self,
        key: &RecordKey,
        before: Option<&Shown>,
        after: Option<&Shown>,
    ) -> Result<(), Trouble> {
        let collection = tables::collection_key(&key.space, &key.collection);
        let tallies = self.tallies.get_mut()?;
        let tally = tallies.get(collection.as_slice())?;
        let (mut alive, mut deleted) = tally.map_or((0, 0), |tally| tally.value());
        match before.map(|before| before.is_deleted) {
            Some(true) => deleted = deleted.saturating_sub(1),
            Some(false) => alive = alive.saturating_sub(1),
            None => {}
        }
        match after.map(|after| after.is_deleted) {
            Some(true) => deleted += 1,
            Some(false) => alive += 1,
            None => {}
        }
        if (alive, deleted) == (0, 0) {
            tallies.remove(collection.as_slice())?;
        } else {
            tallies.insert(collection.as_slice(), (alive, deleted))?;
        }
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

/// Replaces the ids that lead to the record.
fn replace(
    table: &mut Lazy<'_, TableDefinition<'static, &'static str, u64>>,
    number: u64,
    before: &BTreeSet<String>,
    after: &BTreeSet<String>,
) -> Result<(), Trouble> {
    for id in before.difference(after) {
        table.get_mut()?.remove(id.as_str())?;
    }
    for id in after.difference(before) {
        table.get_mut()?.insert(id.as_str(), number)?;
    }
    Ok(())
}

/// Reads a stored document.
pub(super) fn load_document(
    docs: &impl ReadableTable<u64, &'static [u8]>,
    unpacker: &mut Unpacker,
    key: &RecordKey,
    number: u64,
) -> Result<Document, Trouble> {
    read_document(docs, unpacker, key, number).map(|(document, _)| document)
}

/// Reads a stored document, and says what it is saved as.
fn read_document(
    docs: &impl ReadableTable<u64, &'static [u8]>,
    unpacker: &mut Unpacker,
    key: &RecordKey,
    number: u64,
) -> Result<(Document, usize), Trouble> {
    let damaged = |why: &str| Trouble::Damaged(format!("record {key}: its document: {why}"));
    let row = docs.get(number)?.ok_or_else(|| damaged("it is missing"))?;
    let saved = unpacker
        .unpack(Place::Doc(number), row.value())
        .map_err(damaged)?;
    let document = Document::load(&saved).map_err(|error| damaged(&error.to_string()))?;
    Ok((document, saved.len()))
}
