//! Questions about one log: its entries from some place on, and the chain tags of its beginnings.

use crdt_schema::ident::{LogId, OrganisationId};
use redb::ReadTransaction;

use crate::engine::batch::Run;
use crate::engine::batch::repair::{ChainTag, Found, Look};
use crate::wire::chain::{SEALED, chain_next, chain_start, verify_point};

use super::branches::family;
use super::feed::LogReader;
use super::rows::LogRow;
use super::trouble::Trouble;
use super::{Reader, StoreError, meta, tables};

impl Reader {
    /// The answer to a question about a log. What cannot be read is left out of it.
    ///
    /// # Errors
    /// The store's.
    pub fn look(&self, look: &Look) -> Result<Found, StoreError> {
        self.handle.read(|tx| match look {
            Look::Run { log, from } => match run(tx, *log, *from) {
                Err(Trouble::Damaged(_)) => Ok(Found::Run {
                    log: *log,
                    run: None,
                }),
                other => Ok(Found::Run {
                    log: *log,
                    run: other?,
                }),
            },
            Look::Tags { log, seqs } => tags(tx, *log, seqs),
        })
    }
}

fn run(tx: &ReadTransaction, log: LogId, from: u64) -> Result<Option<Run>, Trouble> {
    let mut reader = LogReader::new(tx)?;
    let Some(number) = reader.number_of(log)? else {
        return Ok(None);
    };
    let row = reader.row(number)?.clone();
    if from == 0 || from > row.seq {
        return Ok(None);
    }
    let mut entries = Vec::new();
    let (mut number, mut end, mut next) = (number, row.clone(), from);
    loop {
        let (point, signature) = reader.point_from(number, next, end.seq + 1)?;
        for seq in next..=point {
            entries.push(reader.entry(number, seq)?);
        }
        if signature != SEALED {
            let header = row.header;
            return Ok(Some(Run {
                header,
                from,
                entries,
                signature,
            }));
        }
        // It is sealed here, and the next signature is over one of its branches.
        let Some(branch) = branch_after(tx, &mut reader, &end)? else {
            return Ok(None);
        };
        (number, next) = (branch, point + 1);
        end = reader.row(number)?.clone();
    }
}

/// The number of a branch that begins where a log ends.
fn branch_after(
    tx: &ReadTransaction,
    reader: &mut LogReader<'_>,
    end: &LogRow,
) -> Result<Option<u32>, Trouble> {
    let branches = tx.open_table(tables::BRANCHES)?;
    for (_, number) in family(&branches, end.header.signed_as())? {
        let point = reader.row(number)?.header.branch_of;
        if point.is_some_and(|at| (at.after, at.chain) == (end.seq, end.chain)) {
            return Ok(Some(number));
        }
    }
    Ok(None)
}

/// A walk along a log that follows its chain.
struct Walk {
    organisation: OrganisationId,
    /// The number of the log.
    number: u32,
    chain: [u8; 32],
    /// The last signed point that held.
    good: u64,
    rows: Vec<(u64, ChainTag)>,
}

/// The chain tags of a log's beginnings, and whether it reads back as it was signed.
pub(super) fn tags(tx: &ReadTransaction, log: LogId, seqs: &[u64]) -> Result<Found, Trouble> {
    let nothing = Found::Tags {
        log,
        rows: Vec::new(),
        damaged: None,
    };
    let mut reader = LogReader::new(tx)?;
    let (Some(number), Some(&last)) = (reader.number_of(log)?, seqs.last()) else {
        return Ok(nothing);
    };
    let organisation = meta::organisation(tx)?;
    let row = reader.row(number)?.clone();
    let mut walk = Walk {
        organisation,
        number,
        chain: chain_start(&organisation, &row.header),
        good: row.header.base(),
        rows: Vec::new(),
    };
    let damaged = match follow(tx, &mut reader, &mut walk, last, seqs) {
        Ok(true) => None,
        Ok(false) => Some(walk.good + 1),
        Err(Trouble::Damaged(why)) => {
            tracing::error!(why, "a log does not read back");
            Some(walk.good + 1)
        }
        Err(trouble) => return Err(trouble),
    };
    let is_end = last >= row.seq;
    let damaged = damaged.or_else(|| (is_end && walk.chain != row.chain).then_some(row.seq));
    let rows = walk.rows;
    Ok(Found::Tags { log, rows, damaged })
}

/// Follows the chain to `last` or the log's end. Returns whether every signature on the way holds.
fn follow(
    tx: &ReadTransaction,
    reader: &mut LogReader<'_>,
    walk: &mut Walk,
    last: u64,
    seqs: &[u64],
) -> Result<bool, Trouble> {
    let number = walk.number;
    let row = reader.row(number)?.clone();
    let points = tx.open_table(tables::POINTS)?;
    for seq in row.header.base() + 1..=last.min(row.seq) {
        walk.chain = chain_next(&walk.chain, &reader.entry(number, seq)?);
        // Where a log is sealed nobody need have signed; the row says the chain value there.
        let signature = points.get((number, seq))?;
        if let Some(signature) = signature.filter(|it| *it.value() != SEALED) {
            if !verify_point(
                &walk.organisation,
                &row.header,
                seq,
                &walk.chain,
                signature.value(),
            ) {
                walk.rows.retain(|(seq, _)| *seq <= walk.good);
                return Ok(false);
            }
            walk.good = seq;
        }
        if seqs.binary_search(&seq).is_ok() {
            walk.rows
                .push((seq, std::array::from_fn(|at| walk.chain[at])));
        }
    }
    Ok(true)
}
