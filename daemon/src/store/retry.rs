//! Idempotency: what came of the requests that their clients may repeat.
//!
//! Rows are kept for [`RETRY_MS_MAX`] by the clock of the writes themselves. Keys are stored as
//! digests, so their length does not matter.

use redb::{ReadableTable, Table, WriteTransaction};

use crate::engine::batch::{CommitOutcome, Idempotency};

use super::rows::RetryRow;
use super::tables;
use super::trouble::Trouble;

/// How long a request may be repeated: one day.
const RETRY_MS_MAX: u64 = 24 * 60 * 60 * 1000;

/// Most rows that one write forgets, so that none pays for a busy day long past.
const FORGOTTEN_MAX: usize = 64;

/// What is known of an idempotency key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Retry {
    /// The request is new.
    Unknown,
    /// It has succeeded before.
    Succeeded(CommitOutcome),
    /// The key belongs to another request.
    Other,
}

/// The idempotency rows in one write transaction.
pub(super) struct RetryWriter<'txn> {
    rows: Table<'txn, [u8; 32], &'static [u8]>,
    times: Table<'txn, (u64, [u8; 32]), ()>,
}

impl<'txn> RetryWriter<'txn> {
    pub(super) fn new(tx: &'txn WriteTransaction) -> Result<Self, Trouble> {
        Ok(Self {
            rows: tx.open_table(tables::RETRIES)?,
            times: tx.open_table(tables::RETRY_TIMES)?,
        })
    }

    pub(super) fn find(&self, request: &Idempotency, unix_ms: u64) -> Result<Retry, Trouble> {
        match self.row(&digest(&request.key))? {
            Some(row) if is_stale(row.unix_ms, unix_ms) => Ok(Retry::Unknown),
            Some(row) if row.fingerprint != request.fingerprint => Ok(Retry::Other),
            Some(row) => Ok(Retry::Succeeded(CommitOutcome {
                replayed: true,
                ..row.outcome
            })),
            None => Ok(Retry::Unknown),
        }
    }

    pub(super) fn remember(
        &mut self,
        request: &Idempotency,
        unix_ms: u64,
        outcome: &CommitOutcome,
    ) -> Result<(), Trouble> {
        let key = digest(&request.key);
        if let Some(stale) = self.row(&key)? {
            self.times.remove((stale.unix_ms, key))?;
        }
        let row = RetryRow {
            fingerprint: request.fingerprint,
            unix_ms,
            outcome: outcome.clone(),
        };
        self.rows.insert(key, row.encode().as_slice())?;
        self.times.insert((unix_ms, key), ())?;
        self.forget(unix_ms)
    }

    fn forget(&mut self, unix_ms: u64) -> Result<(), Trouble> {
        for _ in 0..FORGOTTEN_MAX {
            let oldest = self.times.first()?.map(|(key, _)| key.value());
            match oldest {
                Some((written_ms, key)) if is_stale(written_ms, unix_ms) => {
                    self.times.remove((written_ms, key))?;
                    self.rows.remove(key)?;
                }
                _ => break,
            }
        }
        Ok(())
    }

    /// A row that cannot be read counts as forgotten: it promises nothing that could be kept.
    fn row(&self, key: &[u8; 32]) -> Result<Option<RetryRow>, Trouble> {
        Ok(self
            .rows
            .get(key)?
            .and_then(|row| RetryRow::decode(row.value()).ok()))
    }
}

fn digest(key: &str) -> [u8; 32] {
    *blake3::hash(key.as_bytes()).as_bytes()
}

fn is_stale(written_ms: u64, unix_ms: u64) -> bool {
    written_ms.saturating_add(RETRY_MS_MAX) < unix_ms
}
