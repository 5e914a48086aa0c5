//! `fieldmesh schema check`: whether a schema file can be used, and can follow an older one.

use std::path::PathBuf;

use crdt_schema::schema::{Change, Schema, SchemaError, SchemaErrors, Severity, compare, lint};
use serde_json::{Value as Json, json};

use super::diff;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::{Output, count};

#[derive(clap::Args, Debug)]
pub(crate) struct CheckArgs {
    /// The file
    file: PathBuf,
    /// The schema that devices run now: also check the change from it
    #[arg(long, value_name = "OLD")]
    from: Option<PathBuf>,
    /// End with 8 if there is a warning
    #[arg(long)]
    deny_warnings: bool,
}

pub(crate) fn check(args: &CheckArgs, output: Output) -> Result<Exit, Failure> {
    let old = args.from.as_deref().map(super::read).transpose()?;
    let text = super::text(&args.file)?;
    let name = args.file.display().to_string();
    let schema = match Schema::parse(&text) {
        Ok(schema) => schema,
        Err(errors) if output.json => {
            output.json(&refused(&errors))?;
            return Ok(Exit::Invalid);
        }
        Err(_) => super::parse(&name, &text)?,
    };
    let warnings = lint(&schema).named(name.as_str());
    let changes = old
        .as_ref()
        .map_or_else(Vec::new, |old| compare(old, &schema));
    let exit = verdict(warnings.warnings.len(), &changes, args.deny_warnings);

    if output.json {
        let warnings = &warnings.warnings;
        let report = json!({
            "schema": "fieldmesh.schema-check/1",
            "ok": exit == Exit::Done,
            "name": schema.name,
            "version": schema.version,
            "collections": schema.collections.len(),
            "fields": fields(&schema),
            "errors": [],
            "warnings": warnings.iter().map(place).collect::<Vec<_>>(),
            "changes": changes.iter().map(diff::as_json).collect::<Vec<_>>(),
        });
        output.json(&report)?;
        return Ok(exit);
    }
    let shown = warnings.to_string();
    if !shown.is_empty() {
        output.line(shown.trim_end())?;
    }
    if let Some(old) = &old {
        diff::show(old, &schema, &changes, output)?;
    }
    let verdict = match (exit, warnings.warnings.len()) {
        (Exit::Invalid, _) => "cannot follow the older one".to_owned(),
        (_, 0) => "is good".to_owned(),
        (_, number) => format!("can be used, with {}", count(number as u64, "warning")),
    };
    output.line(&format!(
        "{name} {verdict}: {} version {}, {}, {}",
        schema.name,
        schema.version,
        count(schema.collections.len() as u64, "collection"),
        count(fields(&schema), "field"),
    ))?;
    Ok(exit)
}

fn fields(schema: &Schema) -> u64 {
    let collections = schema.collections.values();
    collections
        .map(|collection| collection.fields.len() as u64)
        .sum()
}

fn verdict(warnings: usize, changes: &[Change], deny_warnings: bool) -> Exit {
    let has = |severity| changes.iter().any(|change| change.severity == severity);
    if has(Severity::Error) {
        Exit::Invalid
    } else if deny_warnings && (warnings > 0 || has(Severity::Warning)) {
        Exit::Attention
    } else {
        Exit::Done
    }
}

fn refused(errors: &SchemaErrors) -> Json {
    json!({
        "schema": "fieldmesh.schema-check/1",
        "ok": false,
        "errors": errors.errors.iter().map(place).collect::<Vec<_>>(),
        "omitted": errors.omitted,
        "warnings": [],
        "changes": [],
    })
}

fn place(error: &SchemaError) -> Json {
    json!({
        "line": error.line,
        "column": error.column,
        "message": error.message,
        "hint": error.hint,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_decide_and_warnings_only_when_they_are_denied() {
        let change = |severity| Change {
            severity,
            collection: None,
            field: None,
            data: String::new(),
            older: String::new(),
        };

        for (warnings, severity, deny, exit) in [
            (0, Severity::Note, true, Exit::Done),
            (1, Severity::Note, false, Exit::Done),
            (1, Severity::Note, true, Exit::Attention),
            (0, Severity::Warning, false, Exit::Done),
            (0, Severity::Warning, true, Exit::Attention),
            (0, Severity::Error, false, Exit::Invalid),
        ] {
            assert_eq!(verdict(warnings, &[change(severity)], deny), exit);
        }
    }
}
