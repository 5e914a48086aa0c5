//! Puts entries back that do not read back, from a run that a peer holds.
//!
//! A run is written only if the author's signature proves it on top of what is held before it, only if each
//! of its entries is well formed, only if it says the same as every entry held in its place that still reads
//! back, and only if what is left of those that do not read back is of this history: a peer can mend a log
//! and cannot change it, nor mix another branch of it in. No signature is written that was not verified.

use redb::{ReadableTable, WriteTransaction};

use crate::engine::batch::{ForkPoint, Run};
use crate::wire::chain::{SEALED, chain_next, chain_start, verify_point};
use crate::wire::changeset::decode_change_set;

use super::super::fork;
use super::super::pack::{Unpacker, dot_tag, tag_of};
use super::super::rows::LogRow;
use super::super::trouble::Trouble;
use super::LogWriter;

impl LogWriter<'_> {
    /// Writes the entries of `run` over those held. Returns how many it wrote, or in words why none.
    pub(in crate::store) fn mend(
        &mut self,
        tx: &WriteTransaction,
        run: &Run,
    ) -> Result<Result<u64, String>, Trouble> {
        let Some((number, row)) = self.numbered(run)? else {
            return Ok(Err("the log is not held".to_owned()));
        };
        if row.header != run.header
            || run.from <= row.header.base()
            || run.from > row.seq
            || run.entries.is_empty()
        {
            return Ok(Err("the run is not of what is held".to_owned()));
        }
        let before = match self.chain_before(number, &row, run.from)? {
            Ok(chain) => chain,
            Err(why) => return Ok(Err(why)),
        };
        let end = run.last().min(row.seq);
        let mut chain = before;
        let mut chains = Vec::with_capacity(run.entries.len());
        for entry in &run.entries {
            chain = chain_next(&chain, entry);
            chains.push(chain);
        }
        let header = &run.header;
        // The end of a log need not be signed anew: its row says the chain value there.
        let is_end = run.last() == row.seq && chain == row.chain;
        let is_signed = verify_point(
            &self.organisation,
            header,
            run.last(),
            &chain,
            &run.signature,
        );
        if !is_end && !is_signed {
            return Ok(Err("the run does not continue what is held".to_owned()));
        }
        // A signature proves who wrote it, and not that it is one. What is kept was judged before.
        if let Some(wrong) = run
            .entries
            .iter()
            .find_map(|entry| decode_change_set(entry).err())
        {
            return Ok(Err(format!("its author signed a malformed entry: {wrong}")));
        }
        let mut unpacker = Unpacker::default();
        for (seq, entry) in (run.from..=end).zip(&run.entries) {
            let held = self.read(&mut unpacker, number, seq)?;
            if held.is_ok_and(|held| held != *entry) {
                return Ok(Err("the run is of another branch".to_owned()));
            }
        }
        if !self.was_held(number, &row, run, &chains)? {
            return Ok(Err(
                "what does not read back was of another branch".to_owned()
            ));
        }
        let point = match is_signed && run.last() <= row.seq {
            true => Some((run.last(), run.signature)),
            false => self.end_point(tx, number, &row, (run.from, &chains))?,
        };
        if !is_signed && point.is_none() {
            return Ok(Err("nothing is signed at its end".to_owned()));
        }
        let places = (run.from..=end).zip(&run.entries).zip(&chains);
        for ((seq, entry), chain) in places.clone() {
            let packed = self.packer.pack_entry((number, seq), chain, entry);
            self.entries.insert((number, seq), packed.as_slice())?;
        }
        if let Some((seq, signature)) = point {
            self.points.insert((number, seq), &signature)?;
        }
        if let Some(open) = self.open.get_mut(&header.log) {
            open.is_moved = true;
            if let Some((_, chain)) = places.last().filter(|_| end == row.seq) {
                open.row.chain = *chain;
            }
        }
        Ok(Ok(end - run.from + 1))
    }

    /// Whether the run is what was held in its place, as far as anything tells of those entries of it that do not
    /// read back: the tags in their rows, the signatures that are held over them, the chain value at the log's end
    /// and the tag of the entry that follows. Any of these may be damaged too, so one that fits is enough, and
    /// where nothing is legible the run is taken.
    fn was_held(
        &self,
        number: u32,
        row: &LogRow,
        run: &Run,
        chains: &[[u8; 32]],
    ) -> Result<bool, Trouble> {
        let mut unpacker = Unpacker::default();
        let (mut is_other, mut is_whole) = (false, true);
        for ((seq, chain), entry) in (run.from..=row.seq).zip(chains).zip(&run.entries) {
            if self.read(&mut unpacker, number, seq)?.as_ref() != Ok(entry) {
                is_whole = false;
                let held = self.entries.get((number, seq))?;
                if held.and_then(|row| tag_of(row.value())) == Some(dot_tag(chain)) {
                    return Ok(true);
                }
            }
            let point = self.points.get((number, seq))?.map(|point| *point.value());
            let point = point.filter(|signature| *signature != SEALED);
            let is_signed = point
                .map(|point| verify_point(&self.organisation, &run.header, seq, chain, &point));
            let is_end = (seq == row.seq).then_some(*chain == row.chain);
            if !is_whole && (is_signed == Some(true) || is_end == Some(true)) {
                return Ok(true);
            }
            is_other |= is_signed == Some(false) || is_end == Some(false);
        }
        let after = run.last() + 1;
        if let (true, Some(last)) = (after <= row.seq, chains.last())
            && let Ok(entry) = self.read(&mut unpacker, number, after)?
        {
            let tag = self.entries.get((number, after))?;
            let tag = tag.and_then(|row| tag_of(row.value()));
            let follows = tag == Some(dot_tag(&chain_next(last, &entry)));
            if follows {
                return Ok(true);
            }
            is_other = true;
        }
        Ok(is_whole || !is_other)
    }

    /// What proves the log's end when a run says nothing of it that is signed: the signature that is held, or the fork
    /// at which the log was sealed. `None` if nothing does, or if the run with these chain values ends before.
    fn end_point(
        &self,
        tx: &WriteTransaction,
        number: u32,
        row: &LogRow,
        (from, chains): (u64, &[[u8; 32]]),
    ) -> Result<Option<(u64, [u8; 64])>, Trouble> {
        let end = usize::try_from(row.seq - from).ok();
        let Some(chain) = end.and_then(|end| chains.get(end)) else {
            return Ok(None);
        };
        let held = self.points.get((number, row.seq))?;
        let held = held.map(|signature| *signature.value());
        let (organisation, header) = (&self.organisation, &row.header);
        let held = held.filter(|it| verify_point(organisation, header, row.seq, chain, it));
        if let Some(signature) = held {
            return Ok(Some((row.seq, signature)));
        }
        let point = ForkPoint {
            log: header.signed_as(),
            after: row.seq,
            chain: *chain,
        };
        Ok(fork::is_seal(tx, &point)?.then_some((row.seq, SEALED)))
    }

    fn numbered(&mut self, run: &Run) -> Result<Option<(u32, LogRow)>, Trouble> {
        let log = run.header.log;
        self.find(log)?;
        Ok(self
            .open
            .get(&log)
            .map(|open| (open.number, open.row.clone())))
    }

    /// The chain value before the entry `from`, from the entries themselves, or why there is none.
    pub(super) fn chain_before(
        &self,
        number: u32,
        row: &LogRow,
        from: u64,
    ) -> Result<Result<[u8; 32], String>, Trouble> {
        let mut unpacker = Unpacker::default();
        let mut chain = chain_start(&self.organisation, &row.header);
        for seq in row.header.base() + 1..from {
            match self.read(&mut unpacker, number, seq)? {
                Ok(entry) => chain = chain_next(&chain, &entry),
                Err(why) => return Ok(Err(format!("entry {seq}: {why}"))),
            }
        }
        Ok(Ok(chain))
    }

    /// The bytes of an entry, or why it does not read back.
    pub(super) fn read(
        &self,
        unpacker: &mut Unpacker,
        number: u32,
        seq: u64,
    ) -> Result<Result<Vec<u8>, &'static str>, Trouble> {
        Ok(match self.entries.get((number, seq))? {
            Some(row) => unpacker
                .unpack_entry((number, seq), row.value())
                .map(|entry| entry.into_owned()),
            None => Err("it is missing"),
        })
    }
}
