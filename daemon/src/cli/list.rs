//! `fieldmesh list`: the records of a collection, as a table or as JSON lines.

use serde_json::Value as Json;

use super::client::Client;
use super::failure::{Exit, Failure};
use super::output::{Output, human};
use super::pages::Pages;
use super::record;
use super::show;
use crate::api::types::Record;

/// Most records that the API gives in a page.
pub(crate) const PAGE_ROWS_MAX: usize = 1000;
/// Most fields shown in a table; `--json` gives all.
const TABLE_FIELDS_MAX: usize = 8;

#[derive(clap::Args, Debug)]
pub(crate) struct ListArgs {
    /// The collection
    collection: String,
    /// Only records with FIELD:OP:VALUE, such as temp_c:gt:38; may be repeated
    ///
    /// The ops are eq, ne, lt, le, gt, ge, contains and has. `status` and `review` can be asked for like
    /// fields.
    #[arg(long, value_name = "FIELD:OP:VALUE")]
    filter: Vec<String>,
    /// Most records to show
    #[arg(long, default_value_t = 100, conflicts_with = "all")]
    limit: usize,
    /// Show every record
    #[arg(long)]
    all: bool,
    /// Show deleted records as well
    #[arg(long)]
    deleted: bool,
}

pub(crate) async fn list(client: &Client, args: &ListArgs, out: Output) -> Result<Exit, Failure> {
    let mut call = client.read(&["collections", &args.collection, "records"])?;
    for filter in &args.filter {
        call = call.query("filter", filter);
    }
    if args.deleted {
        call = call.query("deleted", true);
    }
    let mut pages = Pages::new(call, PAGE_ROWS_MAX);
    let schema = if out.json {
        None
    } else {
        Some(record::schema(client).await?)
    };
    let columns: Vec<&str> = match &schema {
        Some(schema) => {
            let collection = record::collection(schema, &args.collection)?;
            collection
                .fields
                .keys()
                .map(String::as_str)
                .take(TABLE_FIELDS_MAX)
                .collect()
        }
        None => Vec::new(),
    };
    let mut left = if args.all { usize::MAX } else { args.limit };
    let mut shown = 0;
    while let Some(records) = pages.next::<Record>(left).await? {
        left = left.saturating_sub(records.len());
        shown += records.len();
        if out.json {
            records.iter().try_for_each(|record| out.json(record))?;
        } else {
            let header = [&["id"], columns.as_slice(), &["status"]].concat();
            let rows: Vec<_> = records.iter().map(|record| row(record, &columns)).collect();
            out.table(&super::output::header(&header), &rows)?;
        }
    }
    if shown == 0 {
        out.talk("no records");
    } else if pages.has_more() {
        out.talk("there are more; give --all, or a higher --limit");
    }
    Ok(Exit::Done)
}

fn row(record: &Record, columns: &[&str]) -> Vec<String> {
    let mut cells = vec![record.id.clone()];
    cells.extend(
        columns
            .iter()
            .map(|name| human(record.fields.get(*name).unwrap_or(&Json::Null))),
    );
    let mut status = show::status(record);
    if !record.reviews.is_empty() {
        status += ", decision open";
    }
    if record.life == crdt_schema::resolution::Life::Deleted {
        status += ", deleted";
    }
    cells.push(status);
    cells
}
