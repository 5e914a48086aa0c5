//! How an import's rows are cut into batches, and the names by which each is written once. Pure.
//!
//! A batch's idempotency key is made from the file, the options and the batch's number, so a run after
//! an interruption repeats nothing. Batches are cut by rows and bytes alone, the same way in every run.

use std::iter::Peekable;

use super::check::Ready;

/// Most rows in a batch.
const BATCH_ROWS_MAX: usize = 200;
/// How many bytes of rows a batch may have: well below the largest change set.
const BATCH_BYTES_MAX: usize = 256 << 10;

/// Rows that are written together or not at all.
#[derive(Debug, PartialEq)]
pub(super) struct Batch {
    /// The batch's number in the file, from 1.
    pub(super) number: u64,
    pub(super) rows: Vec<Ready>,
}

/// Takes the next batch off the rows.
pub(super) fn next_batch(
    rows: &mut Peekable<impl Iterator<Item = Ready>>,
    number: u64,
) -> Option<Batch> {
    let mut batch = Batch {
        number,
        rows: vec![rows.next()?],
    };
    let mut bytes = size(&batch.rows[0]);
    while batch.rows.len() < BATCH_ROWS_MAX {
        let fits = |row: &Ready| bytes + size(row) <= BATCH_BYTES_MAX;
        let Some(row) = rows.next_if(fits) else { break };
        bytes += size(&row);
        batch.rows.push(row);
    }
    Some(batch)
}

fn size(row: &Ready) -> usize {
    let patch: usize = row
        .patch
        .iter()
        .map(|(name, v)| name.len() + v.to_string().len())
        .sum();
    row.id.len() + patch + 32 * row.counters.len()
}

/// The digest that a whole import's keys are made from.
pub(super) fn seed(file: &[u8; 32], options: &[&str]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("fieldmesh import v1");
    hasher.update(file);
    for option in options {
        hasher
            .update(&(option.len() as u64).to_be_bytes())
            .update(option.as_bytes());
    }
    *hasher.finalize().as_bytes()
}

/// The idempotency key of a batch.
pub(super) fn key(seed: &[u8; 32], number: u64) -> String {
    let mut hasher = blake3::Hasher::new_keyed(seed);
    hasher.update(&number.to_be_bytes());
    format!("import-{}", hasher.finalize().to_hex())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Map, Value as Json};

    fn row(line: u64, text: usize) -> Ready {
        let patch = Map::from_iter([("name".to_owned(), Json::from("x".repeat(text)))]);
        Ready {
            line,
            id: format!("r{line}"),
            patch,
            counters: Vec::new(),
            lacks: None,
        }
    }

    fn batches(rows: impl Iterator<Item = Ready>) -> Vec<usize> {
        let mut rows = rows.peekable();
        (1..)
            .map_while(|number| next_batch(&mut rows, number))
            .map(|b| b.rows.len())
            .collect()
    }

    #[test]
    fn batches_are_cut_by_rows_and_by_bytes() {
        assert_eq!(batches((0..450).map(|n| row(n, 1))), [200, 200, 50]);
        assert_eq!(batches((0..5).map(|n| row(n, 100_000))), [2, 2, 1]);
        assert_eq!(batches((0..2).map(|n| row(n, 900_000))), [1, 1]);
        assert_eq!(batches(std::iter::empty()), [0; 0]);
    }

    #[test]
    fn keys_are_the_same_in_every_run_and_differ_with_file_options_and_number() {
        let one = seed(&[1; 32], &["patient", "ab", "c"]);

        assert_eq!(
            key(&one, 1),
            key(&seed(&[1; 32], &["patient", "ab", "c"]), 1)
        );
        assert_ne!(key(&one, 1), key(&one, 2));
        assert_ne!(one, seed(&[2; 32], &["patient", "ab", "c"]));
        assert_ne!(one, seed(&[1; 32], &["patient", "a", "bc"]));
        // A change here would make an interrupted import of the version before write twice.
        assert_eq!(&key(&one, 1)[..23], "import-ffae5a1bdf08d9e0");
        assert!(key(&one, u64::MAX).len() <= 128);
    }
}
