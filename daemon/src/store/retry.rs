//! Idempotency: what came of the requests that their clients may repeat.
//!
//! A clock may jump by years, back or forth, between a request and its repetition. So rows have an
//! order of their own, and only those beyond the newest [`RETRIES_KEPT`] are judged by their age.
//! Keys are stored as digests, so their length does not matter.

use crdt_schema::ident::Dot;
use redb::{ReadableTable, TableDefinition, WriteTransaction};

use crate::engine::batch::{CommitOutcome, Idempotency};

use super::lazy::Lazy;
use super::rows::RetryRow;
use super::tables;
use super::trouble::Trouble;

/// How many of the newest requests may be repeated whatever the clock says.
const RETRIES_KEPT: u64 = 10_000;

/// How long an older request may be repeated: one day.
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
    rows: Lazy<'txn, TableDefinition<'static, [u8; 32], &'static [u8]>>,
    order: Lazy<'txn, TableDefinition<'static, (u64, [u8; 32]), ()>>,
}

impl<'txn> RetryWriter<'txn> {
    pub(super) fn new(tx: &'txn WriteTransaction) -> Self {
        Self {
            rows: Lazy::new(tx, tables::RETRIES),
            order: Lazy::new(tx, tables::RETRY_ORDER),
        }
    }

    pub(super) fn find(&self, request: &Idempotency, unix_ms: u64) -> Result<Retry, Trouble> {
        let Some(row) = self.row(&digest(&request.key))? else {
            return Ok(Retry::Unknown);
        };
        if is_stale(&row, self.newest()?, unix_ms) {
            return Ok(Retry::Unknown);
        }
        if row.fingerprint != request.fingerprint {
            return Ok(Retry::Other);
        }
        Ok(Retry::Succeeded(CommitOutcome {
            replayed: true,
            ..row.outcome
        }))
    }

    pub(super) fn remember(
        &mut self,
        request: &Idempotency,
        unix_ms: u64,
        outcome: &CommitOutcome,
    ) -> Result<(), Trouble> {
        let key = digest(&request.key);
        if let Some(stale) = self.row(&key)? {
            self.order.get_mut()?.remove((stale.order, key))?;
        }
        let row = RetryRow {
            fingerprint: request.fingerprint,
            order: self.newest()?.saturating_add(1),
            unix_ms,
            outcome: outcome.clone(),
        };
        self.rows.get_mut()?.insert(key, row.encode().as_slice())?;
        self.order.get_mut()?.insert((row.order, key), ())?;
        self.forget(row.order, unix_ms)
    }

    /// Gives what came of requests the name that its change set has now, where `name` knows one: a repeated
    /// request is not answered with a position at which something else stands.
    pub(super) fn rename(&mut self, name: impl Fn(Dot) -> Option<Dot>) -> Result<(), Trouble> {
        let mut renamed = Vec::new();
        for row in self.rows.get()?.iter()? {
            let (key, row) = row?;
            let Ok(mut row) = RetryRow::decode(row.value()) else {
                continue;
            };
            if let Some(dot) = name(row.outcome.dot) {
                row.outcome.dot = dot;
                renamed.push((key.value(), row.encode()));
            }
        }
        let rows = self.rows.get_mut()?;
        for (key, row) in renamed {
            rows.insert(key, row.as_slice())?;
        }
        Ok(())
    }

    fn forget(&mut self, newest: u64, unix_ms: u64) -> Result<(), Trouble> {
        for _ in 0..FORGOTTEN_MAX {
            let oldest = self.order.get()?.first()?.map(|(oldest, _)| oldest.value());
            let Some((order, key)) = oldest.filter(|(order, _)| is_beyond(*order, newest)) else {
                break;
            };
            match self.row(&key)? {
                // A row that could not be read has been replaced since.
                Some(row) if row.order != order => {}
                Some(row) if !is_stale(&row, newest, unix_ms) => break,
                Some(_) | None => {
                    self.rows.get_mut()?.remove(key)?;
                }
            }
            self.order.get_mut()?.remove((order, key))?;
        }
        Ok(())
    }

    /// The position of the newest row; 0 if there is none.
    fn newest(&self) -> Result<u64, Trouble> {
        Ok(self
            .order
            .get()?
            .last()?
            .map_or(0, |(newest, _)| newest.value().0))
    }

    /// A row that cannot be read counts as forgotten: it promises nothing that could be kept.
    fn row(&self, key: &[u8; 32]) -> Result<Option<RetryRow>, Trouble> {
        Ok(self
            .rows
            .get()?
            .get(key)?
            .and_then(|row| RetryRow::decode(row.value()).ok()))
    }
}

fn digest(key: &str) -> [u8; 32] {
    *blake3::hash(key.as_bytes()).as_bytes()
}

/// Whether a row is older than the newest ones, which are kept whatever the clock says.
fn is_beyond(order: u64, newest: u64) -> bool {
    newest.saturating_sub(order) >= RETRIES_KEPT
}

fn is_stale(row: &RetryRow, newest: u64, unix_ms: u64) -> bool {
    // A row from the future counts as old too: the clock was wrong, and would keep it for years.
    is_beyond(row.order, newest) && row.unix_ms.abs_diff(unix_ms) > RETRY_MS_MAX
}

#[cfg(test)]
mod tests {
    use crdt_schema::hlc::Timestamp;
    use crdt_schema::ident::LogId;
    use redb::ReadableTableMetadata;

    use super::*;

    const NOW: u64 = 1_790_000_000_000;

    fn request(key: &str) -> Idempotency {
        let fingerprint = [7; 32];
        let key = key.to_owned();
        Idempotency { key, fingerprint }
    }

    fn with_retries(test: impl FnOnce(&mut RetryWriter<'_>) -> Result<(), Trouble>) {
        let backend = redb::backends::InMemoryBackend::new();
        let database = redb::Builder::new().create_with_backend(backend);
        let tx = database
            .expect("it opens")
            .begin_write()
            .expect("a transaction");
        let mut retries = RetryWriter::new(&tx);
        test(&mut retries).expect("the rows are read and written");
    }

    fn outcome() -> CommitOutcome {
        CommitOutcome {
            dot: Dot::new(LogId([1; 16]), 1),
            hlc: Timestamp::from_ms(NOW),
            records: Vec::new(),
            replayed: false,
        }
    }

    #[test]
    fn requests_are_forgotten_when_they_are_both_old_and_many_requests_ago() {
        let next_day = NOW + RETRY_MS_MAX + 1;
        with_retries(|retries| {
            retries.remember(&request("a"), NOW, &outcome())?;
            retries.remember(&request("future"), 2 * NOW, &outcome())?;
            let is_known = |retries: &RetryWriter<'_>, key: &str, unix_ms| {
                Ok::<_, Trouble>(retries.find(&request(key), unix_ms)? != Retry::Unknown)
            };
            for n in 0..RETRIES_KEPT - 2 {
                retries.remember(&request(&n.to_string()), next_day, &outcome())?;
            }
            assert!(is_known(retries, "a", next_day)?, "among the newest");

            retries.remember(&request("one more"), NOW, &outcome())?;
            assert!(is_known(retries, "a", NOW)?, "not a day old");
            assert!(!is_known(retries, "a", next_day)?);
            assert_eq!(retries.rows.get()?.len()?, RETRIES_KEPT + 1);

            retries.remember(&request("and another"), next_day, &outcome())?;
            assert!(!is_known(retries, "future", next_day)?);
            assert_eq!(retries.rows.get()?.len()?, RETRIES_KEPT);
            assert_eq!(retries.order.get()?.len()?, RETRIES_KEPT);

            retries.remember(&request("a"), next_day, &outcome())?;
            assert!(is_known(retries, "a", 0)?, "the key is used again");
            assert_eq!(retries.rows.get()?.len()?, retries.order.get()?.len()?);
            Ok(())
        });
    }
}
