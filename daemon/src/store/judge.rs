//! A record among its neighbours: what the view rows of others say of those that it refers to, and of
//! those that refer to it.
//!
//! The rules are in `crdt_schema::reference`; when a record must be judged again, in [`super::record`].

use std::collections::BTreeSet;

use crdt_schema::ident::{Dot, RecordKey};
use crdt_schema::reference::{self, Parent};
use crdt_schema::resolution::{Life, RecordView, Reference};
use crdt_schema::schema::Schema;
use redb::{ReadableMultimapTable, ReadableTable};

use super::pack::{Place, Unpacker};
use super::record::split_stamp;
use super::rows::ViewRow;
use super::tables;
use super::trouble::Trouble;

/// The tables that know a record's neighbours, of a reading or of a writing transaction.
pub(super) struct Neighbours<'t, I, V, R> {
    pub(super) schema: &'t Schema,
    pub(super) index: &'t I,
    pub(super) views: &'t V,
    pub(super) refs: &'t R,
}

impl<I, V, R> Neighbours<'_, I, V, R>
where
    I: ReadableTable<&'static [u8], u64>,
    V: ReadableTable<u64, &'static [u8]>,
    R: ReadableMultimapTable<&'static [u8], u64>,
{
    /// The record's view as people see it, from its own.
    pub(super) fn judge(&self, key: &RecordKey, own: RecordView) -> Result<RecordView, Trouble> {
        let Some(collection) = self.schema.collection(&key.collection) else {
            return Ok(own);
        };
        let mut parents = Vec::with_capacity(own.refs.len());
        for reference in &own.refs {
            parents.push(self.parent(&parent_key(key, reference))?);
        }
        reference::judge(own, collection, &key.id, &parents, || {
            Ok(!self.holders(key, 1)?.is_empty())
        })
    }

    fn parent(&self, key: &RecordKey) -> Result<Parent, Trouble> {
        let number = self.index.get(tables::record_key(key).as_slice())?;
        let Some(number) = number.map(|number| number.value()) else {
            return Ok(Parent::Unknown);
        };
        Ok(match self.life(number)? {
            None => Parent::Unknown,
            Some((_, Life::Deleted, deletes)) => Parent::Deleted(deletes),
            Some((_, Life::Live | Life::Contested, _)) => Parent::Here,
        })
    }

    /// Up to `limit` of the living records that keep the record from being deleted, with the stored keys
    /// of the fields that refer to it.
    pub(super) fn holders(
        &self,
        key: &RecordKey,
        limit: usize,
    ) -> Result<BTreeSet<(RecordKey, String)>, Trouble> {
        let mut holders = BTreeSet::new();
        for (child, field) in self.schema.restricting(&key.collection) {
            let row = tables::reference_key(key, &child.name, &field.key, true);
            for number in self.refs.get(row.as_slice())? {
                if holders.len() >= limit {
                    return Ok(holders);
                }
                if let Some((child, Life::Live | Life::Contested, _)) =
                    self.life(number?.value())?
                {
                    holders.insert((child, field.key.clone()));
                }
            }
        }
        Ok(holders)
    }

    /// Whose view row it is, whether that record is shown as alive, and its deletes. A row that does not
    /// read back counts as none: the next write of its record repairs it.
    fn life(&self, number: u64) -> Result<Option<(RecordKey, Life, Vec<Dot>)>, Trouble> {
        let Some(row) = self.views.get(number)? else {
            return Ok(None);
        };
        let content = Unpacker::default().unpack(Place::View(number), row.value());
        let content = match content {
            Ok(content) => content,
            Err(why) => {
                tracing::error!(number, why, "a damaged view is left out of account");
                return Ok(None);
            }
        };
        let row = split_stamp(&content).and_then(|(_, view)| ViewRow::decode(view).ok());
        Ok(row.map(|row| (row.key, row.life, row.deleted_by)))
    }
}

/// The record that a reference of `child` leads to.
pub(super) fn parent_key(child: &RecordKey, reference: &Reference) -> RecordKey {
    RecordKey {
        space: child.space.clone(),
        collection: reference.collection.clone(),
        id: reference.id.clone(),
    }
}
