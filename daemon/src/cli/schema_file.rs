//! `fieldmesh schema`: schema files on this computer. Needs no daemon.

use std::path::{Path, PathBuf};

use crdt_schema::schema::Schema;
use serde_json::json;

use super::failure::{Exit, Failure};
use super::output::{Output, count};
use super::schema_live::LiveCommand;

#[derive(clap::Subcommand, Debug)]
pub(crate) enum SchemaCommand {
    /// Check a schema file and show every error with its line
    Check {
        /// The file
        file: PathBuf,
    },
    #[command(flatten)]
    Live(LiveCommand),
}

pub(crate) fn schema(command: &SchemaCommand, output: Output) -> Result<Exit, Failure> {
    let file = match command {
        SchemaCommand::Check { file } => file,
        SchemaCommand::Live(_) => {
            return Err(Failure::usage("this command talks to a daemon"));
        }
    };
    let schema = read(file)?;
    let fields: usize = schema.collections.values().map(|c| c.fields.len()).sum();
    if output.json {
        output.json(&json!({
            "schema": "fieldmesh.schema-check/1",
            "name": schema.name,
            "version": schema.version,
            "collections": schema.collections.len(),
            "fields": fields,
        }))?;
    } else {
        output.line(&format!(
            "{} is good: {} version {}, {}, {}",
            file.display(),
            schema.name,
            schema.version,
            count(schema.collections.len() as u64, "collection"),
            count(fields as u64, "field"),
        ))?;
    }
    Ok(Exit::Done)
}

/// Reads and parses a schema file.
pub(crate) fn read(path: &Path) -> Result<Schema, Failure> {
    let text = std::fs::read_to_string(path).map_err(|e| Failure::io(path.display(), &e))?;
    parse(&path.display().to_string(), &text)
}

/// Parses a schema; the failure shows every error in its line.
pub(crate) fn parse(name: &str, text: &str) -> Result<Schema, Failure> {
    Schema::parse(text).map_err(|errors| {
        let message = format!("the schema cannot be used\n{}", errors.named(name));
        Failure::new(Exit::Invalid, message.trim_end()).next("correct the schema and try again")
    })
}
