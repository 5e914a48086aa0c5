//! `fieldmesh schema import`: a schema to start from, out of an XLSForm workbook.
//!
//! Nothing is dropped in silence: what the schema cannot say is listed with its sheet and row. The text
//! that is written has been read by the schema parser before.

mod constraint;
mod form;
mod names;
pub(in crate::cli) mod probe;
mod question;
mod sheet;
mod write;

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use crdt_schema::schema::Schema;
use serde_json::{Value as Json, json};

use self::form::{Draft, Note};
use self::sheet::Workbook;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::{Output, count, plain};

/// Most notes that are printed for people; `--json` has all of them.
const NOTES_SHOWN_MAX: usize = 200;

#[derive(clap::Args, Debug)]
pub(crate) struct ImportArgs {
    /// The XLSForm workbook
    form: PathBuf,
    /// The file to write; it must not exist [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn import(args: &ImportArgs, output: Output) -> Result<Exit, Failure> {
    let place = args.form.display().to_string();
    let workbook = Workbook::read(&args.form)?;
    let stem = args.form.file_stem().unwrap_or_default().to_string_lossy();
    let draft = form::draft(&workbook, &stem);
    if draft
        .collections
        .iter()
        .all(|collection| collection.fields.is_empty())
    {
        return Err(Failure::new(
            Exit::Invalid,
            format!("{place}: nothing in its sheet `survey` is a field"),
        )
        .details(
            draft
                .notes
                .iter()
                .take(NOTES_SHOWN_MAX)
                .map(Note::to_string)
                .collect(),
        )
        .next("give a form with questions such as `text` or `integer`"));
    }
    let text = write::schema(&draft, &file_name(args));
    let schema = Schema::parse(&text).map_err(|errors| {
        Failure::new(
            Exit::Failed,
            format!(
                "{place}: the schema that came out cannot be used\n{}",
                errors.named("schema")
            ),
        )
        .unchanged("nothing was written")
    })?;
    if let Some(path) = &args.output {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(path)
            .map_err(|error| {
                Failure::io(path.display(), &error).unchanged("nothing was written")
            })?;
        file.write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(|error| Failure::io(path.display(), &error))?;
    }
    report(args, &draft, &schema, output)?;
    Ok(Exit::Done)
}

fn file_name(args: &ImportArgs) -> String {
    let name = args.form.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn report(
    args: &ImportArgs,
    draft: &Draft,
    schema: &Schema,
    output: Output,
) -> Result<(), Failure> {
    let fields: usize = schema.collections.values().map(|c| c.fields.len()).sum();
    if output.json {
        return output.json(&json!({
            "schema": "fieldmesh.schema-import/1",
            "name": schema.name,
            "collections": schema.collections.len(),
            "fields": fields,
            "output": args.output.as_ref().map(|path| path.display().to_string()),
            "text": args.output.is_none().then_some(schema.source.as_str()),
            "notes": draft.notes.iter().map(note_json).collect::<Vec<_>>(),
        }));
    }
    if args.output.is_none() {
        output.line(schema.source.trim_end())?;
    }
    for note in draft.notes.iter().take(NOTES_SHOWN_MAX) {
        output.talk(&plain(&note.to_string()));
    }
    if let Some(more) = draft
        .notes
        .len()
        .checked_sub(NOTES_SHOWN_MAX)
        .filter(|&more| more > 0)
    {
        output.talk(&format!("… and {more} more; --json has them all"));
    }
    let place = args
        .output
        .as_ref()
        .map(|path| format!(" in {}", path.display()));
    output.talk(&format!(
        "{}, {}, {} to look at{}",
        count(schema.collections.len() as u64, "collection"),
        count(fields as u64, "field"),
        count(draft.notes.len() as u64, "note"),
        place.unwrap_or_default(),
    ));
    output.talk("next: read it, choose how fields merge, then `fieldmesh schema check`");
    Ok(())
}

fn note_json(note: &Note) -> Json {
    json!({
        "sheet": note.sheet,
        "row": note.row,
        "name": note.name,
        "reason": note.reason,
    })
}

#[cfg(test)]
mod tests;
