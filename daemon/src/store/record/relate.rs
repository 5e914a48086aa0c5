//! References between records: what is noted of them, and who is judged again because of them.

use std::collections::BTreeSet;
use std::ops::Bound;

use crdt_schema::ident::RecordKey;
use crdt_schema::resolution::Reference;
use crdt_schema::schema::OnDelete;
use redb::ReadableMultimapTable;

use super::super::judge::parent_key;
use super::super::tables;
use super::super::trouble::Trouble;
use super::{RecordWriter, Shown};

impl RecordWriter<'_> {
    /// Notes what the record refers to, and whom the change of it concerns.
    pub(super) fn relate(
        &mut self,
        key: &RecordKey,
        number: u64,
        before: Option<&Shown>,
        after: &Shown,
    ) -> Result<(), Trouble> {
        let nothing = Shown::default();
        let was = before.unwrap_or(&nothing);
        let rows = |shown: &Shown| {
            let row = |reference: &Reference| {
                let parent = parent_key(key, reference);
                let is_alive = !shown.is_deleted;
                tables::reference_key(&parent, &key.collection, &reference.key, is_alive)
            };
            shown.refs.iter().map(row).collect::<BTreeSet<_>>()
        };
        let (old, new) = (rows(was), rows(after));
        for row in old.difference(&new) {
            self.refs.get_mut()?.remove(row.as_slice(), number)?;
        }
        for row in new.difference(&old) {
            self.refs.get_mut()?.insert(row.as_slice(), number)?;
        }
        let lives = |shown: &Shown| (shown.is_deleted, shown.deleted_by.clone());
        let is_other = before.map(lives) != Some(lives(after));
        if is_other {
            self.unsettle_dependants(key)?;
        }
        if is_other || old != new {
            self.unsettle_restricted(key, was.refs.iter().chain(&after.refs))?;
        }
        Ok(())
    }

    /// The records that refer to this one are judged again.
    pub(super) fn unsettle_dependants(&mut self, key: &RecordKey) -> Result<(), Trouble> {
        let prefix = tables::references_to(key);
        let start = Bound::Included(prefix.as_slice());
        let refs = self.refs.get()?;
        for row in refs.range::<&[u8]>((start, Bound::Unbounded))? {
            let (row, numbers) = row?;
            let Some(child) = tables::referring_collection(row.value(), &prefix) else {
                break;
            };
            let Some(child) = self.schema.collection(child) else {
                continue;
            };
            for number in numbers {
                self.unsettled.insert((child.judged, number?.value()));
            }
        }
        Ok(())
    }

    /// The records whose deletion these references restrict are judged again.
    fn unsettle_restricted<'r>(
        &mut self,
        key: &RecordKey,
        refs: impl Iterator<Item = &'r Reference>,
    ) -> Result<(), Trouble> {
        let own = self.schema.collection(&key.collection);
        for reference in refs {
            let field = own.and_then(|own| own.field_by_key(&reference.key));
            if field.is_none_or(|field| field.on_delete != OnDelete::Restrict) {
                continue;
            }
            let parent = self.number_of(&parent_key(key, reference))?;
            let known = self.schema.collection(&reference.collection);
            self.unsettled
                .extend(known.map(|known| known.judged).zip(parent));
        }
        Ok(())
    }
}
