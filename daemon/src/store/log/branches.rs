//! Seals a log at a fork point: what follows it moves to a branch, a log of its own.
//!
//! The moved entries keep their bytes, their sequence numbers, their signatures and their arrivals.

use redb::{ReadableTable, Table, TableDefinition, WriteTransaction};

use crdt_schema::ident::{Dot, LogId};
use crdt_schema::op::{ChangeSet, DotTag};

use crate::engine::batch::fork::Side;
use crate::engine::batch::{ForkPoint, FrontierRow, LogHeader};
use crate::wire::chain::{SEALED, branch_id, chain_next, entry_digest};
use crate::wire::limits::{FORK_DIGESTS_MAX, POINT_BYTES_TARGET};

use super::super::branches::Names;
use super::super::feed::number_of;
use super::super::lazy::Lazy;
use super::super::pack::Unpacker;
use super::super::rows::LogRow;
use super::super::tables;
use super::super::trouble::Trouble;
use super::{Branches, LogWriter, Stretch};

/// A log that was sealed.
pub(in crate::store) struct Split {
    /// Where the log ends now, and the branch.
    pub(in crate::store) ends: [FrontierRow; 2],
    /// What has moved.
    pub(in crate::store) sets: Vec<ChangeSet>,
}

/// The tables of a write transaction that know which logs and entries there are.
type OpenNames<'t, 'txn> = Names<
    't,
    Table<'txn, [u8; 16], u32>,
    Table<'txn, (u32, u64), &'static [u8]>,
    Lazy<'txn, Branches>,
    Lazy<'txn, TableDefinition<'static, (u32, u64), &'static [u8]>>,
>;

impl<'txn> LogWriter<'txn> {
    pub(super) fn names(&self) -> OpenNames<'_, 'txn> {
        Names {
            numbers: &self.numbers,
            entries: &self.entries,
            branches: &self.branches,
            implied: &self.implied,
        }
    }

    /// A log's row as this transaction has it.
    pub(super) fn row_of(&self, log: LogId) -> Result<Option<LogRow>, Trouble> {
        if let Some(open) = self.open.get(&log) {
            return Ok(Some(open.row.clone()));
        }
        let Some(number) = number_of(&self.numbers, log)? else {
            return Ok(None);
        };
        let row = self.logs.get(number)?;
        Ok(row.and_then(|row| LogRow::decode(row.value()).ok()))
    }

    /// The entry that is meant by a dependency, see [`Names::resolve`].
    pub(in crate::store) fn resolve(
        &mut self,
        dot: Dot,
        tag: DotTag,
    ) -> Result<Option<Dot>, Trouble> {
        let rows = &mut |log| self.row_of(log);
        self.names().resolve(rows, dot, tag)
    }

    /// The change set with its dependencies under the names that they have here.
    pub(in crate::store) fn renamed<'s>(
        &mut self,
        set: &'s ChangeSet,
    ) -> Result<std::borrow::Cow<'s, ChangeSet>, Trouble> {
        let rows = &mut |log| self.row_of(log);
        self.names().renamed(rows, set)
    }

    /// What a branch continues, nearest first; nothing of a log that its device began.
    pub(in crate::store) fn ancestors(
        &mut self,
        header: &LogHeader,
    ) -> Result<Vec<LogId>, Trouble> {
        let row = self.start_of(header);
        let rows = &mut |log| self.row_of(log);
        self.names().ancestors(rows, &row)
    }

    /// Whether a log or one of its branches is held as far as `dot`.
    pub(in crate::store) fn covers(&mut self, dot: Dot) -> Result<bool, Trouble> {
        let row = self.find(dot.log)?;
        if row.is_some_and(|row| dot.seq <= row.seq) {
            return Ok(true);
        }
        let whole = row.map_or(dot.log, |row| row.header.signed_as());
        for (branch, _) in self.names().family(whole)? {
            if self.find(branch)?.is_some_and(|row| dot.seq <= row.seq) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The held log of the family that goes on after the point.
    pub(in crate::store) fn beyond(&mut self, point: &ForkPoint) -> Result<Option<LogId>, Trouble> {
        let mut family = vec![point.log];
        let branches = self.names().family(point.log)?;
        family.extend(branches.into_iter().map(|(log, _)| log));
        for log in family {
            let Some(row) = self.find(log)?.cloned() else {
                continue;
            };
            if !(row.header.base()..row.seq).contains(&point.after) {
                continue;
            }
            let number = self.number_of(log)?;
            let chain = self.chain_before(number, &row, point.after + 1)?;
            if chain.map_err(Trouble::Damaged)? == point.chain {
                return Ok(Some(log));
            }
        }
        Ok(None)
    }

    /// The signed history that is held from `from` on, which is in `log`.
    pub(in crate::store) fn side(
        &mut self,
        log: LogId,
        from: u64,
    ) -> Result<Result<Side, String>, Trouble> {
        let mut unpacker = Unpacker::default();
        let mut digests = Vec::new();
        let (mut log, mut seq) = (log, from);
        loop {
            let number = self.number_of(log)?;
            let Some(row) = self.find(log)?.cloned() else {
                return Ok(Err("its log is not held".to_owned()));
            };
            while seq <= row.seq {
                match self.read(&mut unpacker, number, seq)? {
                    Ok(entry) => digests.push(entry_digest(&entry)),
                    Err(why) => return Ok(Err(format!("entry {seq}: {why}"))),
                }
                let point = self.points.get((number, seq))?;
                if let Some(signature) =
                    point.map(|point| *point.value()).filter(|it| *it != SEALED)
                {
                    return Ok(Ok(Side { digests, signature }));
                }
                if digests.len() >= FORK_DIGESTS_MAX {
                    return Ok(Err("its device has signed too little".to_owned()));
                }
                seq += 1;
            }
            // It is sealed here: a branch goes on.
            let family = self.names().family(row.header.signed_as())?;
            let mut next = None;
            for (branch, _) in family {
                let header = self.find(branch)?.and_then(|row| row.header.branch_of);
                let continues =
                    header.is_some_and(|at| (at.after, at.chain) == (row.seq, row.chain));
                if continues && next.is_none() {
                    next = Some(branch);
                }
            }
            match next {
                Some(branch) => log = branch,
                None => return Ok(Err("no signature follows".to_owned())),
            }
        }
    }

    /// Moves what `log` has after the point to a branch.
    pub(in crate::store) fn split(
        &mut self,
        tx: &WriteTransaction,
        log: LogId,
        point: ForkPoint,
    ) -> Result<Split, Trouble> {
        self.end_stretch()?;
        let old = self.number_of(log)?;
        let missing = || Trouble::Damaged(format!("log {log} is not held"));
        let mut row = self.find(log)?.cloned().ok_or_else(missing)?;
        let new = self.logs.last()?.map_or(0, |(last, _)| last.value() + 1);
        let (mut chain, mut first) = (point.chain, None);
        let moving = point.after + 1..=row.seq;
        let sets = moving.clone().map(|seq| self.change_set(old, &row, seq));
        let sets = sets.collect::<Result<Vec<_>, _>>()?;
        let mut unpacker = Unpacker::default();
        for (seq, set) in moving.zip(&sets) {
            let entry = self.read(&mut unpacker, old, seq)?;
            let entry = entry.map_err(|why| Trouble::Unread(Dot::new(log, seq), why))?;
            chain = chain_next(&chain, &entry);
            first = first.or(Some(chain));
            let packed = self.packer.pack_entry((new, seq), &chain, &entry);
            self.entries.insert((new, seq), packed.as_slice())?;
            self.entries.remove((old, seq))?;
            self.implied.get_mut()?.remove((old, seq))?;
            self.keep_names((new, seq), set)?;
            let signature = self.points.remove((old, seq))?.map(|point| *point.value());
            if let Some(signature) = signature {
                self.points.insert((new, seq), &signature)?;
            }
        }
        let first = first.filter(|_| chain == row.chain);
        let first = first.ok_or_else(|| Trouble::Damaged(format!("log {log} does not add up")))?;
        let branch = LogRow {
            header: row.header.whole().branch(point, branch_id(&first)),
            gap_bytes: POINT_BYTES_TARGET as u64,
            ..row.clone()
        };
        row.hlc = match self.change_set(old, &row, point.after) {
            Ok(set) if point.after > row.header.base() => set.hlc,
            _ => Default::default(),
        };
        (row.seq, row.chain) = (point.after, point.chain);
        row.gap_bytes = POINT_BYTES_TARGET as u64;
        self.disown(&row.header)?;
        self.put_split(old, &row, new, &branch)?;
        self.move_stretches(&branch.header, old, new, point.after)?;
        rename_publications(tx, log, point.after, branch.header.log)?;
        Ok(Split {
            ends: [row.frontier(), branch.frontier()],
            sets,
        })
    }

    /// Writes the rows of a log that was cut and of its branch. Both are read again when they are next needed.
    fn put_split(
        &mut self,
        old: u32,
        row: &LogRow,
        new: u32,
        branch: &LogRow,
    ) -> Result<(), Trouble> {
        let (log, id) = (row.header.log, branch.header.log);
        self.open.remove(&log);
        self.numbers.insert(id.0, new)?;
        self.branches
            .get_mut()?
            .insert((branch.header.signed_as().0, id.0), new)?;
        self.logs.insert(new, branch.encode().as_slice())?;
        if row.seq == row.header.base() {
            self.logs.remove(old)?;
            self.numbers.remove(log.0)?;
            return Ok(());
        }
        if self.points.get((old, row.seq))?.is_none() {
            self.points.insert((old, row.seq), &SEALED)?;
        }
        self.logs.insert(old, row.encode().as_slice())?;
        Ok(())
    }

    /// Gives the arrivals of the log's entries after `after` to the branch.
    fn move_stretches(
        &mut self,
        branch: &LogHeader,
        old: u32,
        new: u32,
        after: u64,
    ) -> Result<(), Trouble> {
        let mut affected = Vec::new();
        for row in self.stretches.iter()? {
            let (first, row) = row?;
            let stretch = Stretch::of_row(first.value(), row.value());
            if stretch.log == old && stretch.from + stretch.count > after + 1 {
                affected.push(stretch);
            }
        }
        for stretch in affected {
            let kept = (after + 1).saturating_sub(stretch.from);
            if kept > 0 {
                self.stretches
                    .insert(stretch.first, (old, stretch.from, kept))?;
            }
            let gone = (new, stretch.from + kept, stretch.count - kept);
            self.stretches.insert(stretch.first + kept, gone)?;
            let listed = (branch.space.as_str(), stretch.first + kept);
            self.arrived_in.get_mut()?.insert(listed, ())?;
        }
        let last = self.stretches.last()?;
        self.stretch = last.map(|(first, row)| Stretch::of_row(first.value(), row.value()));
        Ok(())
    }

    /// The number of a log; of one that is not held, one that no log has.
    fn number_of(&mut self, log: LogId) -> Result<u32, Trouble> {
        self.find(log)?;
        Ok(self.open.get(&log).map_or(u32::MAX, |open| open.number))
    }
}

/// Tells by its new name where a schema was first published.
fn rename_publications(
    tx: &WriteTransaction,
    log: LogId,
    after: u64,
    branch: LogId,
) -> Result<(), Trouble> {
    let mut rows = tx.open_table(tables::SCHEMAS)?;
    let mut renamed = Vec::new();
    for row in rows.iter()? {
        let (key, moment) = row?;
        let (time, of, seq) = moment.value();
        if of == log.0 && seq > after {
            renamed.push((key.value(), (time, branch.0, seq)));
        }
    }
    for (key, moment) in renamed {
        rows.insert(key, moment)?;
    }
    Ok(())
}
