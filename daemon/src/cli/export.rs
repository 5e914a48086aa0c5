//! `fieldmesh export`: a whole collection to a CSV file or JSON lines that `import` reads again.
//!
//! A file appears under its name only when it is complete.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crdt_schema::schema::{Collection, Field, FieldType};
use serde_json::{Map, Value as Json};

use super::client::Client;
use super::failure::{Exit, Failure};
use super::formula;
use super::import::Format;
use super::list::PAGE_ROWS_MAX;
use super::output::{Output, count};
use super::pages::Pages;
use super::record;
use crate::api::types::Record;

#[derive(clap::Args, Debug)]
pub(crate) struct ExportArgs {
    /// The collection
    collection: String,
    /// The format [default: by the output's name, else csv]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// The file to write [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) async fn export(
    client: &Client,
    args: &ExportArgs,
    out: Output,
) -> Result<Exit, Failure> {
    let schema = record::schema(client).await?;
    let collection = record::collection(&schema, &args.collection)?;
    let format = args.format.unwrap_or_else(|| match &args.output {
        Some(path) => Format::of(path),
        None if out.json => Format::Jsonl,
        None => Format::Csv,
    });
    let Some(path) = &args.output else {
        let mut stdout = BufWriter::new(io::stdout().lock());
        copy(
            client,
            collection,
            format,
            &mut stdout,
            out,
            &Failure::output,
        )
        .await?;
        return Ok(Exit::Done);
    };
    let draft = draft(path);
    let failed = |error: &io::Error| Failure::io(draft.display(), error);
    let result = async {
        let mut file = BufWriter::new(File::create(&draft).map_err(|e| failed(&e))?);
        let rows = copy(client, collection, format, &mut file, out, &failed).await?;
        file.get_ref().sync_all().map_err(|e| failed(&e))?;
        fs::rename(&draft, path).map_err(|e| failed(&e))?;
        Ok::<u64, Failure>(rows)
    }
    .await;
    match result {
        Ok(rows) => {
            out.talk(&format!("{} in {}", count(rows, "record"), path.display()));
            Ok(Exit::Done)
        }
        Err(failure) => {
            // The failure above counts; a draft that stays behind does no harm.
            let _ = fs::remove_file(&draft);
            Err(failure.unchanged(format!("{} was not changed", path.display())))
        }
    }
}

/// Where a file is written until it is complete: beside it, so that it can be renamed.
fn draft(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".draft-{}", std::process::id()));
    path.with_file_name(name)
}

/// Writes every record and tells how many there were.
async fn copy(
    client: &Client,
    collection: &Collection,
    format: Format,
    to: &mut impl Write,
    out: Output,
    failed: &dyn Fn(&io::Error) -> Failure,
) -> Result<u64, Failure> {
    let call = client.read(&["collections", &collection.name, "records"])?;
    let mut pages = Pages::new(call, PAGE_ROWS_MAX);
    let mut rows = 0;
    let mut ambiguous = 0;
    if format == Format::Csv {
        let header = std::iter::once("id").chain(collection.fields.keys().map(String::as_str));
        write_row(to, header).map_err(|e| failed(&e))?;
    }
    while let Some(records) = pages.next::<Record>(PAGE_ROWS_MAX).await? {
        for record in &records {
            match format {
                Format::Csv => {
                    ambiguous += u64::from(is_ambiguous(collection, record));
                    let cells = cells(collection, record);
                    write_row(to, cells.iter().map(String::as_str))
                }
                Format::Jsonl => writeln!(to, "{}", Json::from(members(record))),
            }
            .map_err(|e| failed(&e))?;
        }
        rows += records.len() as u64;
    }
    to.flush().map_err(|e| failed(&e))?;
    if ambiguous > 0 {
        out.talk(&format!(
            "warning: {} with ';' in an element of a set, which CSV cannot tell apart; use --format jsonl",
            count(ambiguous, "record")
        ));
    }
    Ok(rows)
}

fn write_row<'a>(to: &mut impl Write, cells: impl Iterator<Item = &'a str>) -> io::Result<()> {
    let mut writer = csv::WriterBuilder::new().from_writer(to);
    writer.write_record(cells)?;
    writer.flush()
}

/// A record as an object that `import` reads: the id and the fields.
fn members(record: &Record) -> Map<String, Json> {
    let mut members = Map::new();
    members.insert("id".to_owned(), record.id.as_str().into());
    for (name, value) in &record.fields {
        // A field called `id` cannot stand beside the id.
        if name != "id" {
            members.insert(name.clone(), value.clone());
        }
    }
    members
}

fn cells(collection: &Collection, record: &Record) -> Vec<String> {
    let mut cells = vec![formula::neutralise(&record.id).into_owned()];
    for field in collection.fields.values() {
        cells.push(
            record
                .fields
                .get(&field.name)
                .map(|v| cell(field, v))
                .unwrap_or_default(),
        );
    }
    cells
}

fn cell(field: &Field, value: &Json) -> String {
    let text = match (&field.kind, value) {
        (FieldType::Json, value) => value.to_string(),
        (_, Json::Null) => String::new(),
        (_, Json::String(text)) => text.clone(),
        (FieldType::Set { .. }, Json::Array(items)) => {
            let items = items.iter().map(|item| {
                item.as_str()
                    .map_or_else(|| item.to_string(), str::to_owned)
            });
            items.collect::<Vec<_>>().join(";")
        }
        (_, value) => value.to_string(),
    };
    if formula::applies(&field.kind) {
        formula::neutralise(&text).into_owned()
    } else {
        text
    }
}

fn is_ambiguous(collection: &Collection, record: &Record) -> bool {
    let sets = collection
        .fields
        .values()
        .filter(|f| matches!(f.kind, FieldType::Set { .. }));
    let mut elements = sets
        .filter_map(|f| record.fields.get(&f.name))
        .filter_map(Json::as_array)
        .flatten();
    elements.any(|element| element.as_str().is_some_and(|text| text.contains(';')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crdt_schema::schema::Schema;
    use serde_json::json;

    fn row(fields: Json) -> Vec<String> {
        let schema = Schema::parse(
            "schema = \"s\"\nversion = 1\n[collections.c.fields]\nname = { type = \"text\" }\n\
             n = { type = \"integer\" }\ntags = { type = \"set\", of = \"text\" }\n\
             extra = { type = \"json\" }\n",
        )
        .unwrap();
        let record = serde_json::from_value(json!({
            "id": "-r1", "collection": "c", "space": "main", "fields": fields, "life": "live",
            "status": "local", "shared": 0, "reviews": [], "etag": "e", "updated": "2026-01-01T00:00:00Z",
            "heads": [],
        }))
        .unwrap();
        cells(schema.collection("c").unwrap(), &record)
    }

    #[test]
    fn text_that_a_spreadsheet_would_run_is_quoted_and_numbers_are_not() {
        assert_eq!(
            row(json!({"name": "=1+1", "n": -5, "tags": ["a", "b"], "extra": {"x": 1}})),
            ["'-r1", "'=1+1", "-5", "a;b", "{\"x\":1}"]
        );
        assert_eq!(row(json!({})), ["'-r1", "", "", "", ""]);
    }

    #[test]
    fn cells_with_separators_and_breaks_are_quoted() {
        let mut bytes = Vec::new();

        write_row(&mut bytes, ["a,b", "c\n\"d\"", ""].into_iter()).unwrap();

        assert_eq!(
            String::from_utf8(bytes).unwrap(),
            "\"a,b\",\"c\n\"\"d\"\"\",\n"
        );
    }

    #[test]
    fn a_draft_lies_beside_its_file() {
        let draft = draft(Path::new("/data/out.csv"));

        assert_eq!(draft.parent(), Some(Path::new("/data")));
        assert!(
            draft
                .file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with("out.csv.draft-")
        );
    }
}
