//! One record at a time: `put`, `add`, `get`, `delete`, `restore`.

use crdt_schema::schema::{Collection, Schema};
use reqwest::Method;
use serde_json::{Map, Value as Json, json};

use super::assign::{assign, is_assignment};
use super::backup::RestoreOptions;
use super::call::Call;
use super::client::Client;
use super::failure::{Exit, Failure};
use super::output::{Output, plain};
use super::{said, schema_file, show};
use crate::api::types::{Record, SchemaSummary};

/// Largest `--data`, in bytes: the API takes no larger body.
const DATA_BYTES_MAX: u64 = 4 << 20;

/// Options of every write.
#[derive(clap::Args, Debug, Default)]
pub(crate) struct WriteArgs {
    /// A name for this write: with the same name it takes effect once, however often it is sent
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Write only if the record still has this entity tag
    #[arg(long, value_name = "ETAG")]
    if_match: Option<String>,
}

impl WriteArgs {
    pub(crate) fn apply<'c>(&self, mut call: Call<'c>) -> Result<Call<'c>, Failure> {
        if let Some(key) = &self.key {
            call = call.key(key)?;
        }
        match &self.if_match {
            Some(etag) => call.header("if-match", &quoted(etag)),
            None => Ok(call),
        }
    }
}

/// An entity tag as HTTP writes it.
fn quoted(etag: &str) -> String {
    if etag.starts_with('"') || etag == "*" {
        etag.to_owned()
    } else {
        format!("\"{etag}\"")
    }
}

#[derive(clap::Args, Debug)]
pub(crate) struct PutArgs {
    /// The record's collection
    collection: String,
    /// [ID] and fields: name=text, name= to clear, name:=json, name+=x and name-=x for counters and sets
    #[arg(value_name = "ID|FIELD=VALUE")]
    words: Vec<String>,
    /// The fields as a JSON object, or `-` to read it from standard input
    #[arg(long, value_name = "JSON")]
    data: Option<String>,
    #[command(flatten)]
    write: WriteArgs,
}

pub(crate) async fn put(client: &Client, args: &PutArgs, out: Output) -> Result<Exit, Failure> {
    let nothing = |failure: Failure| failure.unchanged("nothing was written");
    let (id, words) = match args.words.split_first() {
        Some((first, rest)) if !is_assignment(first) => (Some(first.clone()), rest),
        _ => (None, args.words.as_slice()),
    };
    let mut fields = match &args.data {
        Some(data) => read_data(data).map_err(nothing)?,
        None => Map::new(),
    };
    let id = match (id, fields.shift_remove("id")) {
        (Some(id), _) => Some(id),
        (None, Some(Json::String(id))) => Some(id),
        (None, None) => None,
        (None, Some(other)) => {
            return Err(nothing(Failure::usage(format!(
                "--data: the id {other} is not a text"
            ))));
        }
    };
    if !words.is_empty() {
        let schema = schema(client).await.map_err(nothing)?;
        let collection = collection(&schema, &args.collection).map_err(nothing)?;
        assign(collection, words, &mut fields).map_err(nothing)?;
    }
    if fields.is_empty() && id.is_none() {
        return Err(nothing(Failure::usage("there is nothing to write"))
            .next(format!("fieldmesh put {} ID name=value", args.collection)));
    }
    let call = match &id {
        Some(id) => {
            let path = ["collections", &args.collection, "records", id];
            client.write(Method::PATCH, &path)?.query("upsert", true)
        }
        None => client.write(Method::POST, &["collections", &args.collection, "records"])?,
    };
    written(args.write.apply(call.body(&fields)?)?, out).await
}

#[derive(clap::Args, Debug)]
pub(crate) struct AddArgs {
    /// The record's collection
    collection: String,
    /// The record's id
    id: String,
    /// A counter
    field: String,
    /// What to add; may be negative
    #[arg(value_name = "N", allow_hyphen_values = true)]
    number: i64,
    #[command(flatten)]
    write: WriteArgs,
}

pub(crate) async fn add(client: &Client, args: &AddArgs, out: Output) -> Result<Exit, Failure> {
    let path = ["collections", &args.collection, "records", &args.id];
    let fields = Map::from_iter([(args.field.clone(), json!({ "$add": args.number }))]);
    let call = client.write(Method::PATCH, &path)?.body(&fields)?;
    written(args.write.apply(call)?, out).await
}

#[derive(clap::Args, Debug)]
pub(crate) struct DeleteArgs {
    /// The record's collection
    collection: String,
    /// The record's id
    id: String,
    /// Why, for the others
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    write: WriteArgs,
}

pub(crate) async fn delete(
    client: &Client,
    args: &DeleteArgs,
    out: Output,
) -> Result<Exit, Failure> {
    let path = ["collections", &args.collection, "records", &args.id];
    let mut call = client.write(Method::DELETE, &path)?;
    if let Some(reason) = &args.reason {
        call = call.query("reason", reason);
    }
    args.write.apply(call)?.done().await?;
    if out.json {
        out.json(&json!({ "collection": args.collection, "id": args.id, "deleted": true }))?;
    } else {
        out.talk(&format!(
            "deleted; `fieldmesh restore {} {}` brings it back",
            args.collection, args.id
        ));
    }
    Ok(Exit::Done)
}

#[derive(clap::Args, Debug)]
pub(crate) struct RestoreArgs {
    /// The record's collection, or alone: the backup file
    #[arg(value_name = "COLLECTION|FILE")]
    what: String,
    /// The record's id
    id: Option<String>,
    /// Of a backup: move the device that is in the directory aside
    #[arg(long, conflicts_with = "id")]
    replace: bool,
    /// Of a backup: ask nothing
    #[arg(long, conflicts_with = "id")]
    yes: bool,
    #[command(flatten)]
    write: WriteArgs,
}

impl RestoreArgs {
    /// Whether a device is to be restored rather than a record.
    pub(crate) fn is_of_backup(&self) -> bool {
        self.id.is_none()
    }

    pub(crate) fn of_backup(&self) -> RestoreOptions {
        RestoreOptions {
            file: self.what.clone().into(),
            replace: self.replace,
            yes: self.yes,
        }
    }
}

pub(crate) async fn restore(
    client: &Client,
    args: &RestoreArgs,
    out: Output,
) -> Result<Exit, Failure> {
    let path = [
        "collections",
        &args.what,
        "records",
        args.id.as_deref().unwrap_or_default(),
        "restore",
    ];
    written(args.write.apply(client.write(Method::POST, &path)?)?, out).await
}

/// Sends a write and prints the record that came of it.
async fn written(call: Call<'_>, out: Output) -> Result<Exit, Failure> {
    let record: Record = call.fetch().await?;
    if out.json {
        out.json(&record)?;
    } else {
        out.line(&plain(&record.id))?;
        for warning in &record.warnings {
            out.talk(&format!("warning: {}", plain(&warning.message)));
        }
        for review in &record.reviews {
            out.talk(&format!(
                "a decision is open: fieldmesh review show {}",
                plain(review)
            ));
        }
    }
    Ok(Exit::Done)
}

#[derive(clap::Args, Debug)]
pub(crate) struct GetArgs {
    /// The record's collection
    collection: String,
    /// The record's id
    id: String,
    /// Say for each field who wrote it, when, and why this value won
    #[arg(long)]
    why: bool,
}

pub(crate) async fn get(client: &Client, args: &GetArgs, out: Output) -> Result<Exit, Failure> {
    let mut call = client.read(&["collections", &args.collection, "records", &args.id])?;
    if args.why {
        call = call.query("why", true);
    }
    let record: Record = call.fetch().await?;
    if out.json {
        out.json(&record)?;
        return Ok(Exit::Done);
    }
    out.line(&show::record(&record, out))?;
    for resolution in record.why.iter().flatten() {
        out.line(&show::why(resolution, out))?;
    }
    for life in record.why_life.iter().flatten() {
        out.line(&show::why_life(life))?;
    }
    Ok(Exit::Done)
}

/// The schema that the daemon reads and writes under.
pub(crate) async fn schema(client: &Client) -> Result<Schema, Failure> {
    let reply: SchemaSummary = client.read(&["schema"])?.fetch().await?;
    schema_file::parse("the daemon's schema", &reply.source)
}

/// The collection of that name, or advice on which there are.
pub(crate) fn collection<'s>(schema: &'s Schema, name: &str) -> Result<&'s Collection, Failure> {
    schema.collection(name).ok_or_else(|| {
        let names: Vec<&str> = schema.collections.keys().map(String::as_str).collect();
        Failure::new(Exit::NotFound, format!("there is no collection {name:?}"))
            .next(format!("the collections are {}", names.join(", ")))
    })
}

fn read_data(data: &str) -> Result<Map<String, Json>, Failure> {
    let text = said(data, DATA_BYTES_MAX)?;
    serde_json::from_str(&text)
        .map_err(|error| Failure::usage(format!("--data is not a JSON object: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entity_tags_are_quoted_once() {
        assert_eq!(quoted("abc"), "\"abc\"");
        assert_eq!(quoted("\"abc\""), "\"abc\"");
        assert_eq!(quoted("*"), "*");
    }
}
