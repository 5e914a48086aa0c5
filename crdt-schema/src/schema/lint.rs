//! What a schema may say and its author probably does not mean.
//!
//! Nothing here makes a schema unusable. Each rule is one that has a plain remedy and is right nearly
//! always; what is a matter of taste is left alone. Rules look at one schema; what a change does to
//! data is another module's affair.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::report::{Report, SchemaWarnings};
use super::{Collection, DeletePolicy, Field, FieldType, MergePolicy, Priority, Schema};
use crate::nearest::listed;

/// Choices that people commonly go back from, or to.
const TWO_WAY: [&str; 14] = [
    "active",
    "inactive",
    "on",
    "off",
    "yes",
    "no",
    "true",
    "false",
    "paused",
    "on_hold",
    "reopened",
    "suspended",
    "enabled",
    "disabled",
];

/// Warns about the schema. It must have been parsed from its own source.
pub fn lint(schema: &Schema) -> SchemaWarnings {
    let mut report = Report::new(&schema.source);
    // The source was parsed before, so this only finds the places again.
    if let Ok(root) = DeTable::parse(&schema.source) {
        for collection in schema.collections.values() {
            let places = Places::of(root.get_ref(), collection);
            check_collection(collection, &places, &mut report);
            for field in collection.fields.values() {
                check_field(field, &places, &mut report);
            }
        }
    }
    report.warnings()
}

fn check_collection(collection: &Collection, places: &Places<'_>, report: &mut Report<'_>) {
    let name = &collection.name;
    let texts: Vec<&str> = collection
        .fields
        .values()
        .filter(|field| field.kind == FieldType::Text)
        .map(|field| field.name.as_str())
        .collect();
    match &collection.label {
        None if !texts.is_empty() => report.error_with_hint(
            places.collection.clone(),
            format!("`{name}` has no label, so lists and reviews show its records by their ids"),
            format!(
                "add `label = \"…\"`; fields that could be it: {}",
                listed(&texts)
            ),
        ),
        Some(label) => check_label(collection, label, places, report),
        None => {}
    }
    let reviewed = collection
        .fields
        .values()
        .find(|field| field.merge == MergePolicy::Review);
    if let Some(field) = reviewed.filter(|_| collection.delete == DeletePolicy::DeleteWins) {
        report.error_with_hint(
            places.key("delete"),
            format!(
                "`{name}` asks a person about two values of `{}`, and drops both when a third device deletes the record",
                field.name
            ),
            "use `delete = \"review\"`, so that a person sees that as well",
        );
    }
}

fn check_label(collection: &Collection, label: &str, places: &Places<'_>, report: &mut Report<'_>) {
    let Some(field) = collection.fields.get(label) else {
        return;
    };
    let tells = !matches!(
        field.kind,
        FieldType::Json
            | FieldType::Bool
            | FieldType::Counter
            | FieldType::Set { .. }
            | FieldType::Ref { .. }
    );
    if !tells {
        report.error_with_hint(
            places.key("label"),
            format!(
                "people cannot tell records apart by `{label}`, which is a {}",
                field.kind.name()
            ),
            "a label is best a text, a number or a date",
        );
    }
}

fn check_field(field: &Field, places: &Places<'_>, report: &mut Report<'_>) {
    let name = &field.name;
    if field.kind == FieldType::Text && field.required && field.min.unwrap_or(0.0) < 1.0 {
        report.error_with_hint(
            places.in_field(name, "required"),
            format!("`{name}` is required and an empty text will do"),
            "add `min = 1`",
        );
    }
    if field.kind == FieldType::Json && field.merge == MergePolicy::Review {
        report.error_with_hint(
            places.in_field(name, "merge"),
            format!("a review of `{name}` shows people whole JSON texts to choose from"),
            "give the parts that people decide on fields of their own",
        );
    }
    if let FieldType::Choice { of } = &field.kind {
        check_choices(field, of, places, report);
    }
    let reviewed = field.merge == MergePolicy::Review || field.min.is_some() || field.max.is_some();
    if field.priority == Priority::Critical && !reviewed {
        report.error_with_hint(
            places.in_field(name, "priority"),
            format!("`{name}` is critical, and concurrent writes of it open no review"),
            "add `merge = \"review\"`, or leave `priority` out",
        );
    }
}

fn check_choices(field: &Field, of: &[String], places: &Places<'_>, report: &mut Report<'_>) {
    let name = &field.name;
    if let [only] = of {
        report.error_with_hint(
            places.in_field(name, "of"),
            format!("`{name}` has one choice, `{only}`, so it says nothing"),
            "use a `bool`, or list the others",
        );
    }
    let back = of
        .iter()
        .find(|choice| TWO_WAY.contains(&choice.to_lowercase().replace([' ', '-'], "_").as_str()));
    if let Some(choice) = back.filter(|_| field.merge == MergePolicy::Rank) {
        report.error_with_hint(
            places.in_field(name, "merge"),
            format!("a rank only moves forward, and `{choice}` of `{name}` sounds like a state that people come back to or leave again"),
            "use `merge = \"lww\"` or `merge = \"review\"` if they do",
        );
    }
}

/// Where the parts of a collection stand in the file.
struct Places<'t> {
    collection: Range<usize>,
    table: Option<&'t DeTable<'t>>,
}

impl<'t> Places<'t> {
    fn of(root: &'t DeTable<'t>, collection: &Collection) -> Self {
        let found = value(root, "collections")
            .and_then(|(_, all)| value(all.get_ref().as_table()?, &collection.name));
        Self {
            collection: found.as_ref().map_or(0..0, |(place, _)| place.clone()),
            table: found.and_then(|(_, table)| table.get_ref().as_table()),
        }
    }

    /// The value of a key of the collection, or the collection's name without it.
    fn key(&self, key: &str) -> Range<usize> {
        let found = self.table.and_then(|table| value(table, key));
        found.map_or_else(|| self.collection.clone(), |(_, value)| value.span())
    }

    /// The value of a key of a field, or the field's name without it.
    fn in_field(&self, field: &str, key: &str) -> Range<usize> {
        let found = self
            .table
            .and_then(|table| value(table, "fields"))
            .and_then(|(_, fields)| value(fields.get_ref().as_table()?, field));
        let Some((name, table)) = found else {
            return self.collection.clone();
        };
        let inside = table
            .get_ref()
            .as_table()
            .and_then(|table| value(table, key));
        inside.map_or(name, |(_, value)| value.span())
    }
}

fn value<'t>(
    table: &'t DeTable<'t>,
    key: &str,
) -> Option<(Range<usize>, &'t Spanned<DeValue<'t>>)> {
    let (name, value) = table.iter().find(|(name, _)| name.get_ref() == key)?;
    Some((name.span(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warned(collection: &str) -> String {
        let text = format!("schema = \"s\"\nversion = 1\n[collections.c]\n{collection}\n");
        lint(&Schema::parse(&text).unwrap())
            .named("s.toml")
            .to_string()
    }

    #[test]
    fn the_bundled_schema_has_nothing_to_warn_of() {
        let clinic = Schema::parse(crate::schema::CLINIC).unwrap();

        assert_eq!(lint(&clinic).to_string(), "");
    }

    #[test]
    fn a_warning_shows_its_line_and_a_mark_under_the_part() {
        let shown = warned("label = \"n\"\nfields.n = { type = \"text\", required = true }");

        assert_eq!(
            shown,
            "warning: `n` is required and an empty text will do\n --> s.toml:5:40\n  |\n\
             5 | fields.n = { type = \"text\", required = true }\n  | \
             \u{20}                                      ^^^^\n  = help: add `min = 1`\n\n"
        );
    }

    #[test]
    fn each_rule_finds_its_case_and_leaves_its_neighbour_alone() {
        for (bad, words, good) in [
            (
                "fields.n = { type = \"text\" }",
                "no label",
                "fields.n = { type = \"date\" }",
            ),
            (
                "label = \"n\"\nfields.n = { type = \"bool\" }",
                "which is a bool",
                "label = \"n\"\nfields.n = { type = \"date\" }",
            ),
            (
                "fields.n = { type = \"json\", merge = \"review\" }",
                "whole JSON",
                "fields.n = { type = \"json\" }",
            ),
            (
                "fields.n = { type = \"choice\", of = [\"a\"] }",
                "one choice",
                "fields.n = { type = \"choice\", of = [\"a\", \"b\"] }",
            ),
            (
                "fields.n = { type = \"choice\", of = [\"open\", \"On hold\", \"done\"], merge = \"rank\" }",
                "only moves forward",
                "fields.n = { type = \"choice\", of = [\"open\", \"done\"], merge = \"rank\" }",
            ),
            (
                "fields.n = { type = \"date\", priority = \"critical\" }",
                "is critical",
                "fields.n = { type = \"counter\", min = 0, priority = \"critical\" }",
            ),
            (
                "delete = \"delete-wins\"\nfields.n = { type = \"date\", merge = \"review\" }",
                "drops both",
                "delete = \"delete-wins\"\nfields.n = { type = \"date\" }",
            ),
        ] {
            assert!(warned(bad).contains(words), "{}", warned(bad));
            assert_eq!(warned(good), "");
        }
    }
}
