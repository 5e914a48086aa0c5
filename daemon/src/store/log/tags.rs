//! The tags of entries: what tells an entry from one of another branch of its log.

use std::collections::BTreeMap;

use crdt_schema::ident::Dot;
use crdt_schema::op::{DotTag, Edit};
use redb::ReadableTable;

use super::super::pack::tag_of;
use super::super::trouble::Trouble;
use super::LogWriter;

impl LogWriter<'_> {
    /// The tag of an entry, if it is held.
    pub(in crate::store) fn tag(&mut self, dot: Dot) -> Result<Option<DotTag>, Trouble> {
        self.find(dot.log)?;
        let Some(open) = self.open.get(&dot.log) else {
            return Ok(None);
        };
        let row = self.entries.get((open.number, dot.seq))?;
        Ok(row.and_then(|row| tag_of(row.value())))
    }

    /// The tags of everything that some edits depend on.
    pub(in crate::store) fn tags_of(
        &mut self,
        edits: &[Edit],
    ) -> Result<BTreeMap<Dot, DotTag>, Trouble> {
        let mut tags = BTreeMap::new();
        for dep in edits.iter().flat_map(|edit| &edit.deps) {
            if !tags.contains_key(dep) {
                let tag = self.tag(*dep)?;
                let missing = || Trouble::Damaged(format!("entry {dep}: it is missing"));
                tags.insert(*dep, tag.ok_or_else(missing)?);
            }
        }
        Ok(tags)
    }
}
