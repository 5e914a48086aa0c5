//! Which entry a dependency means, and what came before a branch, in a store that holds branches of forked logs.
//!
//! An author who had seen one branch under the forked log's id named its entries by that id. The tag that goes with
//! a dependency tells which branch was meant. The answer is the same on every device that holds that branch, unless
//! two branches of one log have entries of one tag at one place; then the branch with the smaller id is taken.

use std::borrow::Cow;

use crdt_schema::document::Document;
use crdt_schema::ident::{Dot, LogId};
use crdt_schema::op::{ChangeSet, DotTag, Edit};
use redb::{ReadableTable, ReadableTableMetadata};

use super::feed::number_of;
use super::lazy::Source;
use super::pack::tag_of;
use super::rows::LogRow;
use super::trouble::Trouble;

/// Reads a log's row.
pub(super) type Rows<'r> = dyn FnMut(LogId) -> Result<Option<LogRow>, Trouble> + 'r;

/// The tables that know which logs and entries there are. The last two are asked for seldom.
pub(super) struct Names<'t, N, E, B, I> {
    pub(super) numbers: &'t N,
    pub(super) entries: &'t E,
    pub(super) branches: &'t B,
    pub(super) implied: &'t I,
}

impl<N, E, B, I> Names<'_, N, E, B, I>
where
    N: ReadableTable<[u8; 16], u32>,
    E: ReadableTable<(u32, u64), &'static [u8]>,
    B: Source<Table: ReadableTable<([u8; 16], [u8; 16]), u32>>,
    I: Source<Table: ReadableTable<(u32, u64), &'static [u8]>>,
{
    /// Whether any branch is held.
    pub(super) fn has_branches(&self) -> Result<bool, Trouble> {
        Ok(!self.branches.table()?.is_empty()?)
    }

    /// The branches of a log that its device began, see [`family`].
    pub(super) fn family(&self, whole: LogId) -> Result<Vec<(LogId, u32)>, Trouble> {
        family(self.branches.table()?, whole)
    }

    /// The entry that is meant by `dot` with this tag, under the name that it has here; `None` if it is not held.
    pub(super) fn resolve(
        &self,
        rows: &mut Rows<'_>,
        dot: Dot,
        tag: DotTag,
    ) -> Result<Option<Dot>, Trouble> {
        if let Some(number) = number_of(self.numbers, dot.log)?
            && self.tag_at(number, dot.seq)? == Some(tag)
        {
            return Ok(Some(dot));
        }
        if !self.has_branches()? {
            return Ok(None);
        }
        let whole = rows(dot.log)?.map_or(dot.log, |row| row.header.signed_as());
        for (branch, number) in self.family(whole)? {
            if self.tag_at(number, dot.seq)? == Some(tag) {
                return Ok(Some(Dot::new(branch, dot.seq)));
            }
        }
        Ok(None)
    }

    fn tag_at(&self, number: u32, seq: u64) -> Result<Option<DotTag>, Trouble> {
        let row = self.entries.get((number, seq))?;
        Ok(row.and_then(|row| tag_of(row.value())))
    }

    /// The change set with its dependencies under the names that they have here.
    pub(super) fn renamed<'s>(
        &self,
        rows: &mut Rows<'_>,
        set: &'s ChangeSet,
    ) -> Result<Cow<'s, ChangeSet>, Trouble> {
        if set.tags.is_empty() || !self.has_branches()? {
            return Ok(Cow::Borrowed(set));
        }
        let mut set = Cow::Borrowed(set);
        let tags = set.tags.clone();
        for (dot, tag) in tags {
            match self.resolve(rows, dot, tag)? {
                Some(here) if here != dot => {
                    let edits = &mut set.to_mut().edits;
                    let deps = edits.iter_mut().flat_map(|edit| &mut edit.deps);
                    deps.filter(|dep| **dep == dot).for_each(|dep| *dep = here);
                }
                Some(_) | None => {}
            }
        }
        Ok(set)
    }

    /// What a branch continues: the log that ends where it begins, and what that one continues, nearest first.
    pub(super) fn ancestors(
        &self,
        rows: &mut Rows<'_>,
        branch: &LogRow,
    ) -> Result<Vec<LogId>, Trouble> {
        let mut ancestors = Vec::new();
        let mut point = branch.header.branch_of;
        while let Some(at) = point {
            let mut family: Vec<LogId> = vec![at.log];
            family.extend(self.family(at.log)?.into_iter().map(|(log, _)| log));
            let mut parent = None;
            for log in family {
                let row = rows(log)?;
                let is_parent = |row: &LogRow| (row.seq, row.chain) == (at.after, at.chain);
                if parent.is_none() {
                    parent = row.filter(is_parent);
                }
            }
            let Some(row) = parent.filter(|row| !ancestors.contains(&row.header.log)) else {
                break;
            };
            ancestors.push(row.header.log);
            point = row.header.branch_of;
        }
        Ok(ancestors)
    }
}

/// The branches of a log that its device began, ascending, with their numbers.
pub(super) fn family(
    branches: &impl ReadableTable<([u8; 16], [u8; 16]), u32>,
    whole: LogId,
) -> Result<Vec<(LogId, u32)>, Trouble> {
    let rows = branches.range((whole.0, [0; 16])..=(whole.0, [u8::MAX; 16]))?;
    let family = rows.map(|row| {
        let (key, number) = row?;
        Ok((LogId(key.value().1), number.value()))
    });
    family.collect()
}

/// The edit with what its author's previous one is, if the author made that before the log forked: within one log
/// it needs no mention.
pub(super) fn continued<'e>(
    doc: &Document,
    dot: Dot,
    edit: &'e Edit,
    ancestors: &[LogId],
) -> Cow<'e, Edit> {
    if ancestors.is_empty() {
        return Cow::Borrowed(edit);
    }
    let changes = doc.changes();
    let last_of = |log: LogId| {
        let of_log = changes.iter().filter(|(change, _)| change.log == log);
        of_log.map(|(change, _)| *change).max()
    };
    if last_of(dot.log).is_some() {
        return Cow::Borrowed(edit);
    }
    let Some(previous) = ancestors.iter().find_map(|log| last_of(*log)) else {
        return Cow::Borrowed(edit);
    };
    let mut edit = edit.clone();
    edit.deps.push(previous);
    Cow::Owned(edit)
}
