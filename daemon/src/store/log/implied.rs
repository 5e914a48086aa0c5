//! The records of entries that are about to be appended: looked up before anything of them is written.

use std::borrow::Cow;

use crdt_schema::ident::Dot;
use crdt_schema::op::{ChangeSet, Edit};

use crate::engine::batch::LogHeader;
use crate::wire::WireError;
use crate::wire::changeset::check_records;

use super::super::implied::{EntryReader, RecordName, give_name};
use super::super::rows::LogRow;
use super::super::trouble::Trouble;
use super::LogWriter;

/// What is said of a change set that points to an edit that its author did not make.
const NO_EARLIER_EDIT: WireError =
    WireError::Malformed("edit: it is of the record of no earlier edit");

impl LogWriter<'_> {
    /// The change sets of entries that follow each other in a log, the first of them at `from`, with the names of
    /// all records; or what no honest author writes.
    pub(in crate::store) fn named<'s>(
        &mut self,
        header: &LogHeader,
        from: u64,
        sets: impl Iterator<Item = &'s ChangeSet>,
    ) -> Result<Result<Vec<Cow<'s, ChangeSet>>, WireError>, Trouble> {
        let log = match self.find(header.log)? {
            Some(row) => row.clone(),
            None => self.start_of(header),
        };
        let mut reader = std::mem::take(&mut self.reader);
        let mut named = Vec::new();
        for (seq, set) in (from..).zip(sets) {
            match self.with_names(&mut reader, &log, seq, set, &named) {
                Ok(Ok(set)) => named.push(set),
                Ok(Err(error)) => return Ok(Err(error)),
                Err(trouble) => return Err(trouble),
            }
        }
        self.reader = reader;
        Ok(Ok(named))
    }

    /// `before` are the change sets right before this one that come with it.
    fn with_names<'s>(
        &self,
        reader: &mut EntryReader,
        log: &LogRow,
        seq: u64,
        set: &'s ChangeSet,
        before: &[Cow<'s, ChangeSet>],
    ) -> Result<Result<Cow<'s, ChangeSet>, WireError>, Trouble> {
        let mut named = Cow::Borrowed(set);
        for (&place, implied) in &set.implied {
            let back = usize::try_from(implied.back).ok().filter(|back| *back > 0);
            let in_run = back.and_then(|back| before.get(before.len().checked_sub(back)?));
            let name = match in_run {
                Some(earlier) => earlier.edits.get(implied.edit).map(name_of),
                None => self.name_before(reader, log, seq, (set, place))?,
            };
            match name {
                Some(name) => give_name(named.to_mut(), place, name),
                None => return Ok(Err(NO_EARLIER_EDIT)),
            }
        }
        Ok(check_records(&named).map(|()| named))
    }

    fn name_before(
        &self,
        reader: &mut EntryReader,
        log: &LogRow,
        seq: u64,
        edit: (&ChangeSet, usize),
    ) -> Result<Option<RecordName>, Trouble> {
        let (names, rows) = (self.names(), &mut |log| self.row_of(log));
        match names.earlier(rows, log, seq, edit)? {
            Some(earlier) => names.name_of(rows, reader, earlier),
            None => Ok(None),
        }
    }

    /// Which edit of an entry is of the same record as `edit`; `None` if that cannot be read.
    pub(in crate::store) fn place_of(
        &mut self,
        dot: Dot,
        edit: &Edit,
    ) -> Result<Option<usize>, Trouble> {
        let mut reader = std::mem::take(&mut self.reader);
        let rows = &mut |log| self.row_of(log);
        let place = self.names().place_of(rows, &mut reader, dot, edit);
        self.reader = reader;
        match place {
            Err(Trouble::Unread(..) | Trouble::Damaged(_)) => Ok(None),
            place => place,
        }
    }

    /// The change set at a place in a log, with the names of all records.
    pub(in crate::store) fn change_set(
        &mut self,
        number: u32,
        log: &LogRow,
        seq: u64,
    ) -> Result<ChangeSet, Trouble> {
        let mut reader = std::mem::take(&mut self.reader);
        let rows = &mut |log| self.row_of(log);
        let set = self
            .names()
            .change_set(rows, &mut reader, (number, log), seq);
        self.reader = reader;
        set
    }
}

fn name_of(edit: &Edit) -> RecordName {
    (edit.collection.clone(), edit.id.clone())
}
