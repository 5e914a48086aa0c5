//! The second pass of an import: batches to the daemon, and what its refusals mean in the file.
//!
//! A counter gets the difference between the file's value and the record's, under the record's entity
//! tag, so a rerun adds nothing even when the daemon has forgotten the batch's key.

use std::collections::{BTreeMap, BTreeSet};

use crdt_schema::resolution::Life;
use futures::{StreamExt, TryStreamExt, stream};
use reqwest::Method;
use serde_json::{Value as Json, json};

use super::batch::{Batch, key};
use super::check::{Bad, Ready};
use crate::api::types::{BatchEdit, BatchOp, BatchRequest, BatchResponse, Record};
use crate::cli::client::Client;
use crate::cli::failure::{Exit, Failure};

/// How many records are looked up at once.
const LOOKUPS_MAX: usize = 8;
/// How often a batch is built anew because its records changed while it was on its way.
const RACES_MAX: usize = 10;

/// What became of a batch.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// Rows that are in now.
    pub(super) rows: u64,
    /// Whether an earlier run had written them.
    pub(super) before: bool,
    /// Rows that the daemon refused, when bad rows are to be skipped.
    pub(super) refused: Vec<Bad>,
}

/// Writes batches.
#[derive(Debug)]
pub(super) struct Sender<'a> {
    pub(super) client: &'a Client,
    pub(super) collection: &'a str,
    pub(super) seed: [u8; 32],
    pub(super) skip_bad: bool,
}

impl Sender<'_> {
    pub(super) async fn send(&self, batch: Batch) -> Result<Sent, Failure> {
        let mut rows = batch.rows;
        let mut sent = Sent::default();
        let mut races = 0;
        loop {
            let current = self
                .current(rows.iter().filter(|row| !row.counters.is_empty()))
                .await?;
            let (edits, lines) = self.edits(&rows, &current)?;
            if edits.is_empty() {
                sent.rows = rows.len() as u64;
                return Ok(sent);
            }
            let call = self.client.write(Method::POST, &["batch"])?;
            let request = BatchRequest { edits, space: None };
            let call = call.key(&key(&self.seed, batch.number))?.body(&request)?;
            let failure = match call.fetch::<BatchResponse>().await {
                Ok(reply) => {
                    sent.rows = rows.len() as u64;
                    sent.before = reply.replayed;
                    return Ok(sent);
                }
                Err(failure) => failure,
            };
            // Keys are remembered for writes that succeeded, so this batch is in. It looks different
            // because counters have the file's values by now.
            if failure.has_code("idempotency_key_reused") {
                sent.rows = rows.len() as u64;
                sent.before = true;
                return Ok(sent);
            }
            let raced = failure.has_code("changed") || failure.has_code("already_exists");
            if raced && races < RACES_MAX {
                races += 1;
                continue;
            }
            let refused = refused(&failure, &lines);
            if !self.skip_bad || refused.is_empty() {
                return Err(with_lines(failure, &lines));
            }
            let gone: BTreeSet<u64> = refused.iter().map(|bad| bad.line).collect();
            rows.retain(|row| !gone.contains(&row.line));
            sent.refused.extend(refused);
        }
    }

    /// The records of these rows that exist, by id.
    pub(super) async fn current<'r>(
        &self,
        rows: impl Iterator<Item = &'r Ready>,
    ) -> Result<BTreeMap<String, Record>, Failure> {
        let ids: Vec<String> = rows.map(|row| row.id.clone()).collect();
        let look_up = |id: String| async move {
            let call = self
                .client
                .read(&["collections", self.collection, "records", &id])?;
            match call.fetch::<Record>().await {
                Ok(record) => Ok(Some((id, record))),
                Err(failure) if failure.exit == Exit::NotFound => Ok(None),
                Err(failure) => Err(failure),
            }
        };
        let found = stream::iter(ids.into_iter().map(look_up)).buffered(LOOKUPS_MAX);
        let found: Vec<Option<(String, Record)>> = found.try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// The edits of a batch, and for each the line that it came from.
    fn edits(
        &self,
        rows: &[Ready],
        current: &BTreeMap<String, Record>,
    ) -> Result<(Vec<BatchEdit>, Vec<u64>), Failure> {
        let mut edits = Vec::with_capacity(rows.len());
        let mut lines = Vec::with_capacity(rows.len());
        for row in rows {
            let edit = edit(self.collection, row, current.get(&row.id)).map_err(|reason| {
                let message = format!("line {}: {}: {reason}", row.line, row.id);
                Failure::new(Exit::Conflict, message)
            })?;
            if let Some(edit) = edit {
                edits.push(edit);
                lines.push(row.line);
            }
        }
        Ok((edits, lines))
    }
}

/// One row as an edit; `None` if the record is already as the row wants it. `current` is known for rows
/// with counters only.
fn edit(
    collection: &str,
    row: &Ready,
    current: Option<&Record>,
) -> Result<Option<BatchEdit>, String> {
    let mut fields = row.patch.clone();
    let live = current.filter(|record| record.life != Life::Deleted);
    for (name, target) in &row.counters {
        let held = live
            .and_then(|record| record.fields.get(name))
            .and_then(Json::as_i64);
        let add = target
            .checked_sub(held.unwrap_or(0))
            .ok_or("the counter is out of range")?;
        if add != 0 {
            fields.insert(name.clone(), json!({ "$add": add }));
        }
    }
    let (op, if_match) = match (row.counters.is_empty(), current, live) {
        (false, _, Some(_)) if fields.is_empty() => return Ok(None),
        (false, _, Some(record)) => (BatchOp::Patch, Some(record.etag.clone())),
        (false, None, None) => (BatchOp::Create, None),
        // A deleted record is refused by the daemon, which says so.
        (false, Some(_), None) | (true, _, _) => (BatchOp::Upsert, None),
    };
    Ok(Some(BatchEdit {
        op,
        collection: collection.to_owned(),
        id: Some(row.id.clone()),
        fields: Some(fields),
        reason: None,
        if_match,
    }))
}

/// The rows that a refusal names, with the reasons.
fn refused(failure: &Failure, lines: &[u64]) -> Vec<Bad> {
    let named = failure.problems.iter();
    named
        .filter_map(|(pointer, problem)| {
            let (index, field) = place(pointer)?;
            let bad = Bad::new(*lines.get(index)?, "", problem.as_str());
            Some(if field.is_empty() {
                bad
            } else {
                bad.at(None, field)
            })
        })
        .collect()
}

/// The same failure in terms of the file.
fn with_lines(mut failure: Failure, lines: &[u64]) -> Failure {
    for (pointer, _) in &mut failure.problems {
        let Some((index, field)) = place(pointer) else {
            continue;
        };
        let Some(line) = lines.get(index) else {
            continue;
        };
        *pointer = if field.is_empty() {
            format!("line {line}")
        } else {
            format!("line {line}: {field}")
        };
    }
    failure
}

/// `/edits/3/fields/temp_c` as the edit's index and the field's name.
fn place(pointer: &str) -> Option<(usize, &str)> {
    let rest = pointer.strip_prefix("/edits/")?;
    let (index, field) = rest.split_once('/').unwrap_or((rest, ""));
    Some((
        index.parse().ok()?,
        field.strip_prefix("fields/").unwrap_or(field),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Map;

    fn record(on_hand: i64, life: Life) -> Record {
        serde_json::from_value(json!({
            "id": "s1", "collection": "stock", "space": "main", "fields": {"on_hand": on_hand},
            "life": life, "status": "local", "shared": 0, "reviews": [], "etag": "e1",
            "updated": "2026-01-01T00:00:00Z", "heads": [],
        }))
        .unwrap()
    }

    fn counted(target: i64) -> Ready {
        let counters = vec![("on_hand".to_owned(), target)];
        Ready {
            line: 2,
            id: "s1".to_owned(),
            patch: Map::new(),
            counters,
            lacks: None,
        }
    }

    #[test]
    fn a_counter_gets_the_difference_to_the_files_value() {
        let new = edit("stock", &counted(12), None).unwrap().unwrap();
        let changed = edit("stock", &counted(12), Some(&record(20, Life::Live)))
            .unwrap()
            .unwrap();

        assert_eq!(
            (new.op, new.fields.unwrap()["on_hand"]["$add"].as_i64()),
            (BatchOp::Create, Some(12))
        );
        assert_eq!(
            (changed.op, changed.if_match.as_deref()),
            (BatchOp::Patch, Some("e1"))
        );
        assert_eq!(changed.fields.unwrap()["on_hand"]["$add"], json!(-8));
    }

    #[test]
    fn a_row_whose_counter_is_right_is_not_written() {
        assert_eq!(
            edit("stock", &counted(20), Some(&record(20, Life::Live))),
            Ok(None)
        );
    }

    #[test]
    fn a_deleted_record_is_left_to_the_daemon_to_refuse() {
        let edit = edit("stock", &counted(1), Some(&record(1, Life::Deleted)))
            .unwrap()
            .unwrap();

        assert_eq!(edit.op, BatchOp::Upsert);
    }

    #[test]
    fn a_refusal_is_told_in_lines_of_the_file() {
        let mut failure = Failure::new(Exit::Invalid, "invalid");
        failure.problems = vec![
            ("/edits/1/fields/temp_c".to_owned(), "at most 45".to_owned()),
            ("/edits/0".to_owned(), "is deleted".to_owned()),
        ];

        let lines: Vec<_> = refused(&failure, &[2, 5])
            .iter()
            .map(|bad| bad.line)
            .collect();

        assert_eq!(lines, [5, 2]);
        let text = with_lines(failure, &[2, 5]).to_string();
        assert!(
            text.contains("line 5: temp_c: at most 45\n  line 2: is deleted"),
            "{text}"
        );
    }

    #[test]
    fn a_pointer_of_any_shape_is_read_or_left_alone() {
        assert_eq!(place("/edits/3"), Some((3, "")));
        for odd in [
            "",
            "/",
            "/edits/",
            "/edits/x/fields/a",
            "/fields/a",
            "/edits/99999999999999999999",
        ] {
            assert_eq!(place(odd), None, "{odd}");
        }
    }
}
