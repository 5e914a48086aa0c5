//! `fieldmesh import`: a CSV file or JSON lines into a collection.
//!
//! Two passes over the file's bytes, which are read once: the first checks every row, so that a bad row
//! means that nothing is written; the second writes in batches. Both see the same rows, because both
//! start from the same bytes.

mod batch;
mod check;
mod csv;
mod jsonl;
pub(super) mod probe;
mod report;
mod send;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use crdt_schema::resolution::Life;
use crdt_schema::schema::Collection;

use self::batch::{next_batch, seed};
use self::check::{Bad, Checked, Ready, Rules};
use self::report::{Summary, show_bad};
use self::send::Sender;
use super::client::Client;
use super::failure::{Exit, Failure};
use super::output::{Output, count};
use super::progress::Progress;
use super::record;

/// Largest file, in bytes: it is held in memory.
const FILE_BYTES_MAX: u64 = 512 << 20;

#[derive(clap::Args, Debug)]
pub(crate) struct ImportArgs {
    /// The collection to import into
    collection: String,
    /// A CSV file with a header, or JSON lines
    file: PathBuf,
    /// The file's format [default: by the file's name, else csv]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// The column that holds the record ids [default: `id` if there is one]
    ///
    /// Rows of a file without ids get ids made from the file's content, the same in every run.
    #[arg(long, value_name = "COLUMN")]
    id: Option<String>,
    /// Which field a column is for; `COLUMN=` leaves the column out; may be repeated
    #[arg(long, value_name = "COLUMN=FIELD", value_parser = rename)]
    map: Vec<(String, String)>,
    /// Check every row and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Leave bad rows out and write the others
    #[arg(long)]
    skip_bad: bool,
    /// Write again what an earlier run of the same import has written
    #[arg(long)]
    again: bool,
}

/// A file format for records.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Comma-separated values with a header
    Csv,
    /// One JSON object a line
    Jsonl,
}

impl Format {
    /// The format that a file's name suggests.
    pub(crate) fn of(path: &Path) -> Self {
        let extension = path
            .extension()
            .and_then(|e| e.to_str())
            .unwrap_or_default();
        match extension.to_ascii_lowercase().as_str() {
            "jsonl" | "ndjson" | "json" => Self::Jsonl,
            _ => Self::Csv,
        }
    }
}

fn rename(text: &str) -> Result<(String, String), String> {
    let pair = text
        .rsplit_once('=')
        .ok_or("expected COLUMN=FIELD, or COLUMN= to leave it out")?;
    Ok((pair.0.to_owned(), pair.1.to_owned()))
}

pub(crate) async fn import(
    client: &Client,
    args: ImportArgs,
    out: Output,
) -> Result<Exit, Failure> {
    let nothing = |failure: Failure| failure.unchanged("nothing was written");
    let bytes = read(&args.file).map_err(nothing)?;
    let schema = record::schema(client).await.map_err(nothing)?;
    let collection = record::collection(&schema, &args.collection).map_err(nothing)?;
    let file = Source::new(&bytes, collection, &args).map_err(nothing)?;
    let sender = file.sender(client).map_err(nothing)?;

    let mut checked = check::check(file.rows(), file.id_name());
    if checked.lacks {
        leave_out_incomplete(&sender, &file, &mut checked)
            .await
            .map_err(nothing)?;
    }
    if !out.json {
        show_bad(&checked.bad, out)?;
    }
    let mut summary = Summary {
        rows: checked.good + checked.bad_rows,
        ..Summary::default()
    };
    if checked.bad_rows > 0 && !args.skip_bad {
        summary.report(&checked, &args, out)?;
        let message = format!(
            "{} of {} cannot be imported",
            checked.bad_rows,
            count(summary.rows, "row")
        );
        return Err(nothing(Failure::new(Exit::Invalid, message))
            .next("correct the rows, or give --skip-bad to import the others"));
    }
    if !args.dry_run {
        let left_out = &checked.left_out;
        let rows = file
            .rows()
            .flatten()
            .filter(|row| !left_out.contains(&row.line));
        let written = write(
            &sender,
            rows,
            Progress::new(out, "rows", checked.good),
            &mut summary,
        )
        .await;
        written.map_err(|failure| interrupted(failure, &summary, &checked, &args))?;
    }
    let refused = std::mem::take(&mut summary.refused);
    if !out.json {
        show_bad(&refused, out)?;
    }
    refused.into_iter().for_each(|bad| checked.leave_out(bad));
    summary.report(&checked, &args, out)?;
    Ok(Exit::Done)
}

/// The file, opened as what it is.
struct Source<'a> {
    rules: Rules<'a>,
    args: &'a ImportArgs,
    format: Format,
    rows: Rows<'a>,
}

enum Rows<'a> {
    Csv(csv::Table<'a>),
    Jsonl(jsonl::Lines<'a>),
}

impl<'a> Source<'a> {
    fn new(
        bytes: &'a [u8],
        collection: &'a Collection,
        args: &'a ImportArgs,
    ) -> Result<Self, Failure> {
        if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
            return Err(
                Failure::new(Exit::Invalid, format!("{} is UTF-16", args.file.display()))
                    .next("save the file as CSV with UTF-8 encoding"),
            );
        }
        let rules = Rules {
            collection,
            file: *blake3::hash(bytes).as_bytes(),
        };
        let text = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
        let format = args.format.unwrap_or_else(|| Format::of(&args.file));
        let id = args.id.as_deref();
        let rows = match format {
            Format::Csv => Rows::Csv(csv::Table::new(rules, text, id, &args.map)?),
            Format::Jsonl => Rows::Jsonl(jsonl::Lines::new(rules, text, id, &args.map)),
        };
        Ok(Self {
            rules,
            args,
            format,
            rows,
        })
    }

    fn rows(&self) -> Box<dyn Iterator<Item = Result<Ready, Vec<Bad>>> + '_> {
        match &self.rows {
            Rows::Csv(table) => Box::new(table.rows()),
            Rows::Jsonl(lines) => Box::new(lines.rows()),
        }
    }

    fn id_name(&self) -> &str {
        match &self.rows {
            Rows::Csv(table) => table.id_name(),
            Rows::Jsonl(lines) => lines.id_name(),
        }
    }

    fn sender(&self, client: &'a Client) -> Result<Sender<'a>, Failure> {
        let args = self.args;
        let mut random = [0; 16];
        if args.again {
            getrandom::fill(&mut random).map_err(|e| Failure::new(Exit::Failed, e))?;
        }
        let again = if args.again {
            hex::encode(random)
        } else {
            String::new()
        };
        let map: Vec<String> = args
            .map
            .iter()
            .map(|(from, to)| format!("{from}={to}"))
            .collect();
        let options = [
            client.space(),
            &args.collection,
            if self.format == Format::Csv {
                "csv"
            } else {
                "jsonl"
            },
            args.id.as_deref().unwrap_or_default(),
            &map.join("\n"),
            if args.skip_bad { "skip-bad" } else { "" },
            &again,
        ];
        Ok(Sender {
            client,
            collection: &args.collection,
            seed: seed(&self.rules.file, &options),
            skip_bad: args.skip_bad,
        })
    }
}

/// Rows that lack a required field are good only if their record exists.
async fn leave_out_incomplete(
    sender: &Sender<'_>,
    file: &Source<'_>,
    checked: &mut Checked,
) -> Result<(), Failure> {
    let left_out = checked.left_out.clone();
    let rows = file.rows().flatten();
    let mut rows = rows
        .filter(|row| row.lacks.is_some() && !left_out.contains(&row.line))
        .peekable();
    let mut number = 0;
    while let Some(batch) = next_batch(&mut rows, number) {
        number += 1;
        let current = sender.current(batch.rows.iter()).await?;
        for row in batch.rows {
            let lives = current
                .get(&row.id)
                .is_some_and(|record| record.life != Life::Deleted);
            let (false, Some(field)) = (lives, row.lacks) else {
                continue;
            };
            let reason = format!("a new record needs {field:?}, which the row does not have");
            checked.leave_out(Bad::new(row.line, &row.id, reason).at(None, file.id_name()));
        }
    }
    Ok(())
}

async fn write(
    sender: &Sender<'_>,
    rows: impl Iterator<Item = Ready>,
    mut progress: Progress,
    summary: &mut Summary,
) -> Result<(), Failure> {
    let mut rows = rows.peekable();
    let mut number = 0;
    loop {
        number += 1;
        let Some(batch) = next_batch(&mut rows, number) else {
            return Ok(());
        };
        let sent = tokio::select! {
            sent = sender.send(batch) => sent?,
            _ = tokio::signal::ctrl_c() => return Err(Failure::new(Exit::Failed, "stopped")),
        };
        if sent.before {
            summary.before += sent.rows;
        } else {
            summary.written += sent.rows;
        }
        progress.add(sent.rows + sent.refused.len() as u64);
        summary.refused.extend(sent.refused);
    }
}

fn interrupted(
    failure: Failure,
    summary: &Summary,
    checked: &Checked,
    args: &ImportArgs,
) -> Failure {
    let done = summary.written + summary.before;
    let state = if done == 0 {
        "nothing was written".to_owned()
    } else {
        format!("{done} of {} are in", count(checked.good, "row"))
    };
    let advice = match failure.next.as_deref() {
        Some(advice) if failure.exit != Exit::Failed => format!("{advice}; then run"),
        _ => "run".to_owned(),
    };
    let file = args.file.display();
    let collection = &args.collection;
    failure.unchanged(state).next(format!(
        "{advice} the same command again (import {collection} {file}): it goes on where this one stopped"
    ))
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error| Failure::io(path.display(), &error);
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(failed)?;
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let message = format!("{} is larger than {FILE_BYTES_MAX} bytes", path.display());
        return Err(
            Failure::new(Exit::Invalid, message).next("split the file and import its parts")
        );
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
