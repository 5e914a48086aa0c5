//! Takes the end of a log of ours out of the store, so that it can be written again in another log.
//!
//! The arrivals of what is taken out stay and mean nothing: subscribers and sessions count on arrivals that
//! never change their place.

use redb::{ReadableTable, WriteTransaction};

use crdt_schema::ident::{LogId, SpaceName};
use crdt_schema::op::ChangeSet;

use crate::engine::batch::{FrontierRow, LogHeader};
use crate::wire::chain::sign_point;
use crate::wire::limits::POINT_BYTES_TARGET;

use super::super::meta;
use super::super::pack::Unpacker;
use super::super::rows::LogRow;
use super::super::trouble::Trouble;
use super::{LogWriter, Stretch, VOID};

impl LogWriter<'_> {
    /// The change sets of a log from `from` on.
    pub(in crate::store) fn tail(
        &mut self,
        log: LogId,
        from: u64,
    ) -> Result<Vec<ChangeSet>, Trouble> {
        let Some((number, row)) = self.held(log)? else {
            return Ok(Vec::new());
        };
        let seqs = from..=row.seq;
        seqs.map(|seq| self.change_set(number, &row, seq)).collect()
    }

    /// The first entry of a log that `is` says yes to.
    pub(in crate::store) fn first(
        &mut self,
        log: LogId,
        is: impl Fn(&ChangeSet) -> bool,
    ) -> Result<Option<u64>, Trouble> {
        let Some((number, row)) = self.held(log)? else {
            return Ok(None);
        };
        for seq in row.header.base() + 1..=row.seq {
            if is(&self.change_set(number, &row, seq)?) {
                return Ok(Some(seq));
            }
        }
        Ok(None)
    }

    /// The chain value before the entry `from` of a log, and that entry, or why they cannot be read.
    #[allow(clippy::type_complexity, reason = "two answers of one walk")]
    pub(in crate::store) fn fork_point(
        &mut self,
        log: LogId,
        from: u64,
    ) -> Result<Result<([u8; 32], Vec<u8>), String>, Trouble> {
        let Some((number, row)) = self.held(log)? else {
            return Ok(Err("the log is not held".to_owned()));
        };
        let chain = match self.chain_before(number, &row, from)? {
            Ok(chain) => chain,
            Err(why) => return Ok(Err(why)),
        };
        let entry = self.read(&mut Unpacker::default(), number, from)?;
        Ok(entry.map(|entry| (chain, entry)).map_err(str::to_owned))
    }

    /// How every log of a space begins.
    pub(in crate::store) fn in_space(&self, space: &SpaceName) -> Result<Vec<LogHeader>, Trouble> {
        let mut found = Vec::new();
        for row in self.logs.iter()? {
            let Ok(row) = LogRow::decode(row?.1.value()) else {
                continue;
            };
            if row.header.space == *space {
                found.push(row.header);
            }
        }
        Ok(found)
    }

    /// Takes the entries from `from` on out of a log of ours, and signs its new end. Returns where it ends.
    pub(in crate::store) fn cut(
        &mut self,
        tx: &WriteTransaction,
        log: LogId,
        from: u64,
    ) -> Result<Option<FrontierRow>, Trouble> {
        self.end_stretch()?;
        let Some((number, mut row)) = self.held(log)? else {
            return Ok(None);
        };
        let last = row.seq;
        let chain = self.chain_before(number, &row, from)?;
        row.chain = chain.map_err(Trouble::Damaged)?;
        row.seq = from - 1;
        row.gap_bytes = POINT_BYTES_TARGET as u64;
        row.hlc = match row.seq {
            0 => Default::default(),
            seq => self.change_set(number, &row, seq)?.hlc,
        };
        for seq in from..=last {
            self.entries.remove((number, seq))?;
        }
        let gone = (number, from)..=(number, u64::MAX);
        self.implied
            .get_mut()?
            .retain_in(gone.clone(), |_, _| false)?;
        self.points.retain_in(gone, |_, _| false)?;
        self.void(number, from)?;
        meta::add_void(tx, last + 1 - from)?;
        self.disown(&row.header)?;
        let end = row.frontier();
        if row.seq == 0 {
            self.logs.remove(number)?;
            self.numbers.remove(log.0)?;
            self.open.remove(&log);
            return Ok(Some(end));
        }
        let (organisation, header) = (&self.organisation, &row.header);
        let signature = sign_point(self.signer, organisation, header, row.seq, &row.chain);
        self.points.insert((number, row.seq), &signature)?;
        self.logs.insert(number, row.encode().as_slice())?;
        // Read again when it is next needed.
        self.open.remove(&log);
        Ok(Some(end))
    }

    /// Marks the arrivals of the log's entries from `from` on as void.
    fn void(&mut self, number: u32, from: u64) -> Result<(), Trouble> {
        let mut affected = Vec::new();
        for row in self.stretches.iter()? {
            let (first, row) = row?;
            let stretch = Stretch::of_row(first.value(), row.value());
            if stretch.log == number && stretch.from + stretch.count > from {
                affected.push(stretch);
            }
        }
        for stretch in affected {
            let kept = from.saturating_sub(stretch.from);
            if kept > 0 {
                self.stretches
                    .insert(stretch.first, (number, stretch.from, kept))?;
            }
            let gone = (VOID, 0, stretch.count - kept);
            self.stretches.insert(stretch.first + kept, gone)?;
        }
        let last = self.stretches.last()?;
        self.stretch = last.map(|(first, row)| Stretch::of_row(first.value(), row.value()));
        Ok(())
    }

    /// The number of a log and how far it is held, if it is.
    fn held(&mut self, log: LogId) -> Result<Option<(u32, LogRow)>, Trouble> {
        self.find(log)?;
        let open = self.open.get(&log);
        Ok(open.map(|open| (open.number, open.row.clone())))
    }
}
