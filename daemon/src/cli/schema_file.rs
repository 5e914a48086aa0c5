//! `fieldmesh schema`: schema files on this computer. Needs no daemon.

mod check;
mod diff;
mod simulate;
pub(super) mod xlsform;

use std::path::{Path, PathBuf};

use crdt_schema::schema::{Schema, json_schema};

use super::failure::{Exit, Failure};
use super::output::Output;
use super::schema_live::LiveCommand;

#[derive(clap::Subcommand, Debug)]
pub(crate) enum SchemaCommand {
    /// Check a schema file: every error with its line, and what is probably not meant
    ///
    /// With --from also what the change from the older file does to data and to older devices. Ends
    /// with 7 if the file is wrong or the change is not allowed.
    Check(check::CheckArgs),
    /// Show what a change of the schema does to data and on devices that still run the older one
    Diff {
        /// The older file
        old: PathBuf,
        /// The newer file
        new: PathBuf,
    },
    /// Try a new schema on a copy of real data, and change nothing
    ///
    /// Reads every record under the present schema and under the new one; shows how many change, which
    /// values do not fit and why, how much time reading takes, and what does not come back when an
    /// older device reads it. Ends with 1 if a record does not fit.
    Simulate(simulate::SimulateArgs),
    /// Print the JSON Schema of schema files, for editors
    ///
    /// Save it as `fieldmesh.schema.json` and begin a schema file with `#:schema ./fieldmesh.schema.json`:
    /// editors that know TOML then complete keys and underline mistakes.
    JsonSchema,
    /// Make a schema to start from out of an XLSForm, as ODK and Kobo use
    ///
    /// What cannot be carried over is listed with its sheet and row.
    Import(xlsform::ImportArgs),
    #[command(flatten)]
    Live(LiveCommand),
}

pub(crate) fn schema(command: &SchemaCommand, dir: &Path, output: Output) -> Result<Exit, Failure> {
    match command {
        SchemaCommand::Check(args) => check::check(args, output),
        SchemaCommand::Diff { old, new } => diff::diff(old, new, output),
        SchemaCommand::Simulate(args) => simulate::simulate(args, dir, output),
        SchemaCommand::JsonSchema => {
            let text = serde_json::to_string_pretty(&json_schema())
                .map_err(|error| Failure::new(Exit::Failed, error))?;
            output.line(&text).map(|()| Exit::Done)
        }
        SchemaCommand::Import(args) => xlsform::import(args, output),
        SchemaCommand::Live(_) => Err(Failure::usage("this command talks to a daemon")),
    }
}

/// Reads and parses a schema file.
pub(crate) fn read(path: &Path) -> Result<Schema, Failure> {
    let text = text(path)?;
    parse(&path.display().to_string(), &text)
}

fn text(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|e| Failure::io(path.display(), &e))
}

/// Parses a schema; the failure shows every error in its line.
pub(crate) fn parse(name: &str, text: &str) -> Result<Schema, Failure> {
    Schema::parse(text).map_err(|errors| {
        let message = format!("the schema cannot be used\n{}", errors.named(name));
        Failure::new(Exit::Invalid, message.trim_end()).next("correct the schema and try again")
    })
}
