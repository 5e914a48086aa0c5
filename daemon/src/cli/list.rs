//! `fieldmesh list`: the records of a collection, as a table or as JSON lines.

use serde_json::Value as Json;

use super::client::Client;
use super::failure::{Exit, Failure};
use super::output::{Output, human};
use super::record;
use super::show;
use crate::api::types::{Record, RecordPage};

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

/// The records of a collection, page by page.
#[derive(Debug)]
pub(crate) struct Pages<'a> {
    client: &'a Client,
    collection: &'a str,
    filters: &'a [String],
    deleted: bool,
    cursor: Option<String>,
    ended: bool,
}

impl<'a> Pages<'a> {
    pub(crate) fn new(client: &'a Client, collection: &'a str) -> Self {
        Self {
            client,
            collection,
            filters: &[],
            deleted: false,
            cursor: None,
            ended: false,
        }
    }

    /// The next page of at most `limit` records; `None` after the last.
    pub(crate) async fn next(&mut self, limit: usize) -> Result<Option<Vec<Record>>, Failure> {
        if self.ended || limit == 0 {
            return Ok(None);
        }
        let mut call = self
            .client
            .read(&["collections", self.collection, "records"])?;
        call = call.query("limit", limit.min(PAGE_ROWS_MAX));
        for filter in self.filters {
            call = call.query("filter", filter);
        }
        if self.deleted {
            call = call.query("deleted", true);
        }
        if let Some(cursor) = &self.cursor {
            call = call.query("cursor", cursor);
        }
        let page: RecordPage = call.fetch().await?;
        self.ended = page.next.is_none();
        self.cursor = page.next;
        Ok(Some(page.items))
    }

    fn more(&self) -> bool {
        !self.ended
    }
}

pub(crate) async fn list(client: &Client, args: &ListArgs, out: Output) -> Result<Exit, Failure> {
    let mut pages = Pages::new(client, &args.collection);
    pages.filters = &args.filter;
    pages.deleted = args.deleted;
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
    while let Some(records) = pages.next(left).await? {
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
    } else if pages.more() {
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
