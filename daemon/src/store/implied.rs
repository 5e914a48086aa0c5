//! Of which records an entry's edits are, where its bytes do not say so but point to an earlier edit (see
//! [`Implied`](crdt_schema::op::Implied)). This is where the store reads a change set out of its log, and no other place is.
//!
//! The names are looked up once, before the entry is committed, and kept in a row beside it, so that nobody who
//! reads it has to look further. These rows are derived: one that does not read back is passed over, and the
//! pointers are followed instead, from edit to edit, to one that names the record. Pointers lead from effects to
//! causes, so the way ends.

use std::collections::BTreeMap;

use crdt_schema::ident::{Dot, KEY_BYTES_MAX, RECORD_ID_BYTES_MAX};
use crdt_schema::op::{ChangeSet, Edit};
use redb::ReadableTable;

use crate::wire::WireError;
use crate::wire::changeset::decode_kept_change_set;
use crate::wire::codec::{Reader, Writer};
use crate::wire::limits::EDITS_MAX;

use super::branches::{Names, Rows};
use super::feed::number_of;
use super::lazy::Source;
use super::pack::{Packer, Place, Unpacker};
use super::rows::LogRow;
use super::trouble::Trouble;

/// Most names that are kept at hand while logs are read: some 5 MB of the longest ones.
const NAMES_KEPT_MAX: usize = 16_384;

/// Collection and id of a record.
pub(super) type RecordName = (String, String);

/// The names of the records of an entry's edits, as far as they are known, by the edits' places.
type Known = BTreeMap<usize, RecordName>;

/// An edit of an entry.
type EditPlace = (Dot, usize);

/// Reads entries, and keeps at hand what it has learnt of them: many edits may point into one entry.
#[derive(Default)]
pub(super) struct EntryReader {
    unpacker: Unpacker,
    known: BTreeMap<Dot, Known>,
    kept: usize,
}

/// What an edit says of its record.
enum Told {
    Name(RecordName),
    Earlier(EditPlace),
}

impl EntryReader {
    fn learn(&mut self, dot: Dot, names: Known) {
        if self.kept > NAMES_KEPT_MAX {
            self.known.clear();
            self.kept = 0;
        }
        // A place costs as much as a name does.
        self.kept += 1 + names.len();
        self.known.entry(dot).or_default().extend(names);
    }

    fn name(&self, dot: Dot, place: usize) -> Option<RecordName> {
        self.known.get(&dot)?.get(&place).cloned()
    }
}

impl<N, E, B, I> Names<'_, N, E, B, I>
where
    N: ReadableTable<[u8; 16], u32>,
    E: ReadableTable<(u32, u64), &'static [u8]>,
    B: Source<Table: ReadableTable<([u8; 16], [u8; 16]), u32>>,
    I: Source<Table: ReadableTable<(u32, u64), &'static [u8]>>,
{
    /// The change set at a place in a log, with the names of all records.
    pub(super) fn change_set(
        &self,
        rows: &mut Rows<'_>,
        reader: &mut EntryReader,
        (number, log): (u32, &LogRow),
        seq: u64,
    ) -> Result<ChangeSet, Trouble> {
        let set = self.decoded(reader, number, Dot::new(log.header.log, seq))?;
        if set.implied.is_empty() {
            return Ok(set);
        }
        let known = self.kept_names(reader, (number, seq))?;
        self.with_names(rows, reader, (log, seq), (set, known))
    }

    /// Whether what is kept beside an entry is what the entry points to.
    pub(super) fn is_kept_rightly(
        &self,
        rows: &mut Rows<'_>,
        reader: &mut EntryReader,
        (number, log): (u32, &LogRow),
        seq: u64,
    ) -> Result<bool, Trouble> {
        let kept = self.kept_names(reader, (number, seq))?;
        let set = self.decoded(reader, number, Dot::new(log.header.log, seq))?;
        let set = self.with_names(rows, reader, (log, seq), (set, Known::new()))?;
        Ok(kept == names(&set, |place| set.implied.contains_key(&place)))
    }

    /// The change set with the names that are `known`, and all others as it points to them.
    fn with_names(
        &self,
        rows: &mut Rows<'_>,
        reader: &mut EntryReader,
        (log, seq): (&LogRow, u64),
        (mut set, mut known): (ChangeSet, Known),
    ) -> Result<ChangeSet, Trouble> {
        let dot = Dot::new(log.header.log, seq);
        for place in set.implied.keys().copied().collect::<Vec<_>>() {
            let name = match known.remove(&place) {
                Some(name) => Some(name),
                None => match self.earlier(rows, log, seq, (&set, place))? {
                    Some(earlier) => self.name_of(rows, reader, earlier)?,
                    None => None,
                },
            };
            let unknown = || Trouble::Damaged(format!("entry {dot}: a record is not known"));
            give_name(&mut set, place, name.ok_or_else(unknown)?);
        }
        Ok(set)
    }

    /// The record of an edit, or `None` if its entry has no such edit.
    pub(super) fn name_of(
        &self,
        rows: &mut Rows<'_>,
        reader: &mut EntryReader,
        edit: EditPlace,
    ) -> Result<Option<RecordName>, Trouble> {
        let mut next = Some(edit);
        // No way is longer than there are entries.
        for _ in 0..=self.entries.len()? {
            let Some(edit) = next else { break };
            match self.told(rows, reader, edit)? {
                Some(Told::Name(name)) => return Ok(Some(name)),
                Some(Told::Earlier(earlier)) => next = Some(earlier),
                None => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Which edit of an entry is of the same record as `edit`.
    pub(super) fn place_of(
        &self,
        rows: &mut Rows<'_>,
        reader: &mut EntryReader,
        dot: Dot,
        edit: &Edit,
    ) -> Result<Option<usize>, Trouble> {
        let is_it = |name: &RecordName| name.0 == edit.collection && name.1 == edit.id;
        let find = |reader: &EntryReader| {
            let mut names = reader.known.get(&dot)?.iter();
            names.find(|(_, name)| is_it(name)).map(|(place, _)| *place)
        };
        if let Some(place) = find(reader) {
            return Ok(Some(place));
        }
        let Some(log) = rows(dot.log)? else {
            return Ok(None);
        };
        let Some(number) = number_of(self.numbers, dot.log)? else {
            return Ok(None);
        };
        let set = self.change_set(rows, reader, (number, &log), dot.seq)?;
        reader.learn(dot, names(&set, |_| true));
        Ok(find(reader))
    }

    /// The edit that an implied one points to, or `None` if that is before the log's beginning.
    pub(super) fn earlier(
        &self,
        rows: &mut Rows<'_>,
        log: &LogRow,
        seq: u64,
        (set, place): (&ChangeSet, usize),
    ) -> Result<Option<EditPlace>, Trouble> {
        let (Some(edit), Some(implied)) = (set.edits.get(place), set.implied.get(&place)) else {
            return Ok(None);
        };
        if let Some(dep) = edit.deps.first() {
            let tag = set.tags.get(dep).copied().unwrap_or_default();
            let here = self.resolve(rows, *dep, tag)?;
            let here = here.ok_or(Trouble::Unread(*dep, "it is missing"))?;
            return Ok(Some((here, implied.edit)));
        }
        let Some(seq) = seq.checked_sub(implied.back).filter(|seq| *seq > 0) else {
            return Ok(None);
        };
        let mut at = log.header.log;
        if seq <= log.header.base() {
            let mut before = None;
            for ancestor in self.ancestors(rows, log)? {
                let row = rows(ancestor)?;
                if before.is_none() && row.is_some_and(|row| seq > row.header.base()) {
                    before = Some(ancestor);
                }
            }
            let missing = Trouble::Unread(Dot::new(at, seq), "what it continues is missing");
            at = before.ok_or(missing)?;
        }
        Ok(Some((Dot::new(at, seq), implied.edit)))
    }

    fn told(
        &self,
        rows: &mut Rows<'_>,
        reader: &mut EntryReader,
        (dot, place): EditPlace,
    ) -> Result<Option<Told>, Trouble> {
        if let Some(name) = reader.name(dot, place) {
            return Ok(Some(Told::Name(name)));
        }
        let missing = || Trouble::Unread(dot, "it is missing");
        let number = number_of(self.numbers, dot.log)?.ok_or_else(missing)?;
        if !reader.known.contains_key(&dot) {
            let kept = self.kept_names(reader, (number, dot.seq))?;
            reader.learn(dot, kept);
            if let Some(name) = reader.name(dot, place) {
                return Ok(Some(Told::Name(name)));
            }
        }
        let set = self.decoded(reader, number, dot)?;
        reader.learn(dot, names(&set, |place| !set.implied.contains_key(&place)));
        if let Some(name) = reader.name(dot, place) {
            return Ok(Some(Told::Name(name)));
        }
        let log = rows(dot.log)?.ok_or_else(missing)?;
        let earlier = self.earlier(rows, &log, dot.seq, (&set, place))?;
        Ok(earlier.map(Told::Earlier))
    }

    /// What the bytes of an entry say by themselves.
    fn decoded(
        &self,
        reader: &mut EntryReader,
        number: u32,
        dot: Dot,
    ) -> Result<ChangeSet, Trouble> {
        let place = (number, dot.seq);
        let row = self.entries.get(place)?;
        let row = row.ok_or(Trouble::Unread(dot, "it is missing"))?;
        let entry = reader.unpacker.unpack_entry(place, row.value());
        let entry = entry.map_err(|why| Trouble::Unread(dot, why))?;
        decode_kept_change_set(&entry).map_err(|error| {
            tracing::error!(%dot, %error, "an entry is no change set");
            Trouble::Unread(dot, "it is no change set")
        })
    }

    /// The names that were kept beside an entry; none if they do not read back.
    fn kept_names(
        &self,
        reader: &mut EntryReader,
        (number, seq): (u32, u64),
    ) -> Result<Known, Trouble> {
        let Some(row) = self.implied.table()?.get((number, seq))? else {
            return Ok(Known::new());
        };
        let names = reader
            .unpacker
            .unpack(Place::Implied(number, seq), row.value());
        let names = names.map_err(str::to_owned);
        let names = names.and_then(|names| decode(&names).map_err(|error| error.to_string()));
        Ok(names.unwrap_or_else(|why| {
            tracing::error!(
                number,
                seq,
                why,
                "the records of an entry are looked up again"
            );
            Known::new()
        }))
    }
}

/// Says which record an implied edit is of.
pub(super) fn give_name(set: &mut ChangeSet, place: usize, name: RecordName) {
    if let Some(edit) = set.edits.get_mut(place) {
        (edit.collection, edit.id) = name;
    }
}

/// The row that is kept beside the entry of a change set whose records are known, unless its bytes name them all.
pub(super) fn row_of(
    packer: &mut Packer,
    (number, seq): (u32, u64),
    set: &ChangeSet,
) -> Option<Vec<u8>> {
    let names = names(set, |place| set.implied.contains_key(&place));
    (!names.is_empty()).then(|| packer.pack(Place::Implied(number, seq), &encode(&names)))
}

fn names(set: &ChangeSet, is_wanted: impl Fn(usize) -> bool) -> Known {
    let edits = set.edits.iter().enumerate();
    edits
        .filter(|(place, _)| is_wanted(*place))
        .map(|(place, edit)| (place, (edit.collection.clone(), edit.id.clone())))
        .collect()
}

fn encode(names: &Known) -> Vec<u8> {
    let mut out = Writer::new();
    out.count(names.len());
    for (place, (collection, id)) in names {
        out.count(*place);
        out.text(collection);
        out.text(id);
    }
    out.into_bytes()
}

fn decode(bytes: &[u8]) -> Result<Known, WireError> {
    let mut row = Reader::new(bytes);
    let mut names = Known::new();
    for _ in 0..row.count("names", EDITS_MAX)? {
        let place = row.varint_u32("edit")? as usize;
        let collection = row.text("collection", KEY_BYTES_MAX)?.to_owned();
        let id = row.text("id", RECORD_ID_BYTES_MAX)?.to_owned();
        names.insert(place, (collection, id));
    }
    row.finish("names")?;
    Ok(names)
}
