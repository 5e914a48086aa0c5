//! The tags of entries: what tells an entry from one of another branch of its log.

use std::collections::BTreeMap;

use crdt_schema::ident::Dot;
use crdt_schema::op::{DotTag, Edit};
use redb::ReadableTable;

use super::super::pack::checked_tag_of;
use super::super::trouble::Trouble;
use super::LogWriter;

impl LogWriter<'_> {
    /// The tag of an entry. It will be signed, so it is taken only from an entry that reads back.
    fn tag(&mut self, dot: Dot) -> Result<DotTag, Trouble> {
        let missing = || Trouble::Unread(dot, "it is missing");
        self.find(dot.log)?;
        let open = self.open.get(&dot.log).ok_or_else(missing)?;
        let place = (open.number, dot.seq);
        let row = self.entries.get(place)?.ok_or_else(missing)?;
        checked_tag_of(place, row.value()).map_err(|why| Trouble::Unread(dot, why))
    }

    /// Leaves out of some edits the causes that do not read back here, and returns those. An edit that does not name
    /// a cause counts as not having seen it, which loses nothing, while a person cannot wait until it is mended.
    pub(in crate::store) fn leave_out_unread(
        &mut self,
        edits: &mut [Edit],
    ) -> Result<Vec<Dot>, Trouble> {
        let mut unread = Vec::new();
        for edit in edits {
            let mut deps = std::mem::take(&mut edit.deps);
            for dep in deps.drain(..) {
                match self.tag(dep) {
                    Ok(_) => edit.deps.push(dep),
                    Err(Trouble::Unread(place, why)) => {
                        tracing::error!(%place, why, "a damaged entry is not named by what follows it");
                        unread.push(place);
                    }
                    Err(trouble) => return Err(trouble),
                }
            }
        }
        Ok(unread)
    }

    /// The tags of everything that some edits depend on.
    pub(in crate::store) fn tags_of(
        &mut self,
        edits: &[Edit],
    ) -> Result<BTreeMap<Dot, DotTag>, Trouble> {
        let mut tags = BTreeMap::new();
        for dep in edits.iter().flat_map(|edit| &edit.deps) {
            if !tags.contains_key(dep) {
                tags.insert(*dep, self.tag(*dep)?);
            }
        }
        Ok(tags)
    }
}
