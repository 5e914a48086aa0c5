//! What the fuzz targets reach of this module; see [`crate::cli::probe`].

use crdt_schema::schema::Collection;

use super::check::{Rules, check};
use super::{csv, jsonl};

pub(in crate::cli) fn csv(collection: &Collection, file: &[u8]) -> Option<(u64, u64)> {
    let table = csv::Table::new(rules(collection), file, None, &[]).ok()?;
    let checked = check(table.rows(), table.id_name());
    Some((checked.good, checked.bad_rows))
}

pub(in crate::cli) fn jsonl(collection: &Collection, file: &[u8]) -> (u64, u64) {
    let lines = jsonl::Lines::new(rules(collection), file, None, &[]);
    let checked = check(lines.rows(), lines.id_name());
    (checked.good, checked.bad_rows)
}

fn rules(collection: &Collection) -> Rules<'_> {
    Rules {
        collection,
        file: [0; 32],
    }
}
