//! What an import says at its end, to people and to programs.

use serde_json::json;

use super::ImportArgs;
use super::check::{Bad, Checked};
use crate::cli::failure::Failure;
use crate::cli::output::{Output, count, header};

/// Most bad cells shown to people; `--json` gives all.
const BAD_SHOWN_MAX: usize = 20;

/// What an import came to.
#[derive(Debug, Default)]
pub(super) struct Summary {
    /// Rows in the file.
    pub(super) rows: u64,
    /// Rows written now.
    pub(super) written: u64,
    /// Rows that an earlier run had written.
    pub(super) before: u64,
    /// Rows that the daemon refused.
    pub(super) refused: Vec<Bad>,
}

impl Summary {
    pub(super) fn report(
        &self,
        checked: &Checked,
        args: &ImportArgs,
        out: Output,
    ) -> Result<(), Failure> {
        if out.json {
            return out.json(&json!({
                "schema": "fieldmesh.import/1",
                "rows": self.rows,
                "good": checked.good,
                "bad_rows": checked.bad_rows,
                "written": self.written,
                "written_before": self.before,
                "dry_run": args.dry_run,
                "bad": checked.bad,
            }));
        }
        if args.dry_run && checked.bad_rows == 0 {
            out.talk(&format!(
                "{} good; nothing was written",
                count(self.rows, "row")
            ));
        } else if self.written + self.before > 0 {
            let mut text = format!("{} in {}", count(self.written, "row"), args.collection);
            if self.before > 0 {
                text += &format!(
                    "; {} written by an earlier run, --again writes them anew",
                    self.before
                );
            }
            if checked.bad_rows > 0 {
                text += &format!("; {} left out", checked.bad_rows);
            }
            out.talk(&text);
        }
        Ok(())
    }
}

/// The bad rows as a table, the first of them.
pub(super) fn show_bad(bad: &[Bad], out: Output) -> Result<(), Failure> {
    let rows: Vec<Vec<String>> = bad.iter().take(BAD_SHOWN_MAX).map(cells).collect();
    out.table(
        &header(&["line", "column", "name", "value", "reason"]),
        &rows,
    )?;
    if bad.len() > rows.len() {
        out.talk(&format!(
            "… and {} more; --json shows all",
            bad.len() - rows.len()
        ));
    }
    Ok(())
}

fn cells(bad: &Bad) -> Vec<String> {
    vec![
        bad.line.to_string(),
        bad.column
            .map(|column| column.to_string())
            .unwrap_or_default(),
        bad.name.clone().unwrap_or_default(),
        bad.value.clone(),
        bad.reason.clone(),
    ]
}
