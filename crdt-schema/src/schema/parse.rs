//! Reads schema files: strictly, and reporting everything that is wrong at once.
//!
//! This file knows the file's frame and its collections; [`super::field`] knows fields. A schema
//! that is returned is consistent: every reference, label, default, bound and policy in it has been
//! checked.

use std::collections::BTreeMap;
use std::ops::Range;

use indexmap::IndexMap;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::chain;
use super::field;
use super::keys::{Keys, check_name, integer, quoted, wrong_type};
use super::published::{PUBLISHED_VERSION_MAX, RESERVED_PREFIX};
use super::report::{Report, SchemaErrors};
use super::steps::{self, Placed};
use super::{Collection, DeletePolicy, Field, Migration, Schema, reference, roles, rules};
use crate::lens::Lens;
use crate::nearest::advice;

/// Longest schema file. Schemas travel to every device, some of them over radio.
pub const SOURCE_BYTES_MAX: usize = 256 << 10;

/// Most collections in a schema.
pub const COLLECTIONS_MAX: usize = 200;

/// Most fields in a collection.
pub const FIELDS_MAX: usize = 200;

/// How far apart the clocks of concurrent writes may lie unless the schema says otherwise.
const CLOCK_BOUND_DAYS: u32 = 180;

pub(super) const SCHEMA_KEYS: [&str; 7] = [
    "schema",
    "version",
    "collections",
    "migrations",
    "roles",
    "review",
    "clock_bound_days",
];
pub(super) const COLLECTION_KEYS: [&str; 3] = ["label", "delete", "fields"];
pub(super) const DELETE_POLICIES: [DeletePolicy; 3] = [
    DeletePolicy::Review,
    DeletePolicy::DeleteWins,
    DeletePolicy::EditWins,
];

type Entry<'t> = (&'t Spanned<DeString<'t>>, &'t Spanned<DeValue<'t>>);

impl Schema {
    /// Reads a schema file.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its place and what would be right.
    pub fn parse(text: &str) -> Result<Self, SchemaErrors> {
        if text.len() > SOURCE_BYTES_MAX {
            let mut report = Report::new("");
            report.error(
                0..0,
                format!("the file is longer than {SOURCE_BYTES_MAX} bytes"),
            );
            return Err(report.finish());
        }
        let mut report = Report::new(text);
        let (root, syntax_errors) = DeTable::parse_recoverable(text);
        for error in &syntax_errors {
            report.error(
                error.span().unwrap_or(0..0),
                format!("not TOML: {}", error.message()),
            );
        }
        // What was recovered from broken syntax would be wrong in ways that nobody wrote.
        let schema = if report.is_empty() {
            read_schema(text, root.get_ref(), &mut report)
        } else {
            None
        };
        match schema {
            Some(schema) if report.is_empty() => Ok(schema),
            _ => Err(report.finish()),
        }
    }
}

fn read_schema(text: &str, root: &DeTable<'_>, report: &mut Report<'_>) -> Option<Schema> {
    let keys = Keys::read(root, &SCHEMA_KEYS, report);
    let name = read_schema_name(keys, report);
    let version = read_version(keys, report);
    let clock_bound_days = read_clock_bound(keys, report);
    let steps = steps::read(keys, version, &collection_names(root), report);
    let mut collections = read_collections(keys, version.unwrap_or(1), &steps, report)?;
    for collection in collections.values_mut() {
        collection.clock_bound_days = clock_bound_days;
    }
    reference::check(&mut collections, &places(keys), report);
    let roles = roles::read(keys, &collections, report);
    rules::read(text, keys, &roles, &mut collections, report);
    Some(Schema {
        name: name?,
        version: version?,
        collections,
        migrations: migrations(steps),
        roles,
        source: text.to_owned(),
    })
}

/// The names of the file's collections, right or wrong in themselves.
fn collection_names<'t>(root: &'t DeTable<'_>) -> Vec<&'t str> {
    let collections = root.iter().find(|(key, _)| key.get_ref() == "collections");
    let table = collections.and_then(|(_, value)| value.get_ref().as_table());
    let names = table.into_iter().flat_map(|table| table.keys());
    names.map(|name| name.get_ref().as_ref()).collect()
}

/// The steps by the versions that they lead to.
fn migrations(steps: Vec<Placed>) -> Vec<Migration> {
    let mut migrations: Vec<Migration> = Vec::new();
    for Placed { to, step, .. } in steps {
        match migrations.last_mut().filter(|last| last.to == to) {
            Some(migration) => migration.steps.push(step),
            None => migrations.push(Migration {
                to,
                steps: vec![step],
            }),
        }
    }
    migrations
}

fn read_clock_bound(keys: Keys<'_>, report: &mut Report<'_>) -> u32 {
    let Some((_, value)) = keys.get("clock_bound_days") else {
        return CLOCK_BOUND_DAYS;
    };
    let days = integer(value.get_ref()).and_then(|days| u32::try_from(days).ok());
    if days.is_none_or(|days| days == 0) {
        let takes = "a whole number of days from 1";
        report.error(value.span(), format!("`clock_bound_days` takes {takes}"));
    }
    days.unwrap_or(CLOCK_BOUND_DAYS)
}

/// Where each collection stands in the file.
fn places(keys: Keys<'_>) -> Vec<(String, Range<usize>)> {
    let table = keys.get("collections");
    let table = table.and_then(|(_, value)| value.get_ref().as_table());
    let names = table.into_iter().flat_map(|table| table.keys());
    names.map(|name| (name.to_string(), name.span())).collect()
}

fn read_schema_name(keys: Keys<'_>, report: &mut Report<'_>) -> Option<String> {
    if keys.get("schema").is_none() {
        report.error_with_hint(0..0, "the schema has no name", "add `schema = \"clinic\"`");
    }
    let name = keys.text("schema", report)?;
    let name = Spanned::new(name.span(), DeString::from(*name.get_ref()));
    check_name("schema name", &name, report).then(|| name.to_string())
}

fn read_version(keys: Keys<'_>, report: &mut Report<'_>) -> Option<u32> {
    let Some((_, value)) = keys.get("version") else {
        report.error_with_hint(0..0, "the schema has no version", "add `version = 1`");
        return None;
    };
    if !value.get_ref().is_integer() {
        wrong_type("version", "an integer from 1", value, report);
        return None;
    }
    let number = integer(value.get_ref()).and_then(|number| u32::try_from(number).ok());
    // Nobody else could ever be given a later one.
    let version = number.filter(|version| (1..=PUBLISHED_VERSION_MAX).contains(version));
    if version.is_none() {
        report.error(
            value.span(),
            format!("`version` must lie between 1 and {PUBLISHED_VERSION_MAX}"),
        );
    }
    version
}

fn read_collections(
    keys: Keys<'_>,
    version: u32,
    steps: &[Placed],
    report: &mut Report<'_>,
) -> Option<IndexMap<String, Collection>> {
    const HINT: &str = "add a table such as `[collections.patient]`";
    let Some((key, _)) = keys.get("collections") else {
        report.error_with_hint(0..0, "the schema has no collections", HINT);
        return None;
    };
    let table = keys.table("collections", report)?;
    if table.is_empty() {
        report.error_with_hint(key.clone(), "the schema has no collections", HINT);
    }
    if table.len() > COLLECTIONS_MAX {
        let message = format!(
            "{} collections, at most {COLLECTIONS_MAX} can be",
            table.len()
        );
        report.error(key, message);
        return None;
    }
    let names: Vec<&str> = table.keys().map(|name| name.get_ref().as_ref()).collect();
    let mut collections = IndexMap::new();
    for entry in table {
        if let Some(collection) = read_collection(entry, (version, steps), &names, report) {
            collections.insert(collection.name.clone(), collection);
        }
    }
    Some(collections)
}

fn read_collection(
    (name, value): Entry<'_>,
    (version, steps): (u32, &[Placed]),
    collections: &[&str],
    report: &mut Report<'_>,
) -> Option<Collection> {
    let named = check_name("collection name", name, report);
    if name.get_ref().starts_with(RESERVED_PREFIX) {
        report.error_with_hint(
            name.span(),
            format!("the collection name {} is reserved", quoted(name.get_ref())),
            format!("use a name that does not begin with `{RESERVED_PREFIX}`"),
        );
    }
    let Some(table) = value.get_ref().as_table() else {
        wrong_type(name.get_ref(), "a table", value, report);
        return None;
    };
    let keys = Keys::read(table, &COLLECTION_KEYS, report);
    let delete = read_delete_policy(keys, report);
    let mut fields = read_fields(name, keys, collections, report);
    let lens = link(
        name.get_ref(),
        version,
        steps,
        keys,
        fields.as_mut(),
        report,
    );
    let label = read_label(keys, report);
    named.then_some(())?;
    Some(Collection {
        name: name.to_string(),
        label,
        delete: delete?,
        fields: fields?,
        lens: lens?,
        rules: Vec::new(),
        clock_bound_days: CLOCK_BOUND_DAYS,
        rank: 0,
        judged: 0,
    })
}

fn read_delete_policy(keys: Keys<'_>, report: &mut Report<'_>) -> Option<DeletePolicy> {
    if keys.get("delete").is_none() {
        return Some(DeletePolicy::Review);
    }
    let name = keys.text("delete", report)?;
    let policy = DELETE_POLICIES
        .into_iter()
        .find(|policy| policy.name() == *name.get_ref());
    if policy.is_none() {
        let message = format!("unknown delete policy {}", quoted(name.get_ref()));
        let hint = advice(name.get_ref(), &DELETE_POLICIES.map(DeletePolicy::name));
        report.error_with_hint(name.span(), message, hint);
    }
    policy
}

fn read_fields(
    collection: &Spanned<DeString<'_>>,
    keys: Keys<'_>,
    collections: &[&str],
    report: &mut Report<'_>,
) -> Option<IndexMap<String, Field>> {
    let Some((key, _)) = keys.get("fields") else {
        no_fields(collection, collection, report);
        return None;
    };
    let table = keys.table("fields", report)?;
    if table.is_empty() {
        no_fields(collection, &Spanned::new(key.clone(), "".into()), report);
    }
    if table.len() > FIELDS_MAX {
        let message = format!(
            "collection {} has {} fields, at most {FIELDS_MAX} can be",
            quoted(collection.get_ref()),
            table.len()
        );
        report.error(key, message);
        return None;
    }
    let mut fields = IndexMap::new();
    for (name, value) in table {
        if let Some(field) = field::read(name, value, collections, report) {
            fields.insert(field.name.clone(), field);
        }
    }
    // A field that could not be read would make the steps that name it look wrong.
    (fields.len() == table.len()).then_some(fields)
}

/// Finds the stored keys of the fields and the lens of their collection.
fn link(
    collection: &str,
    version: u32,
    steps: &[Placed],
    keys: Keys<'_>,
    fields: Option<&mut IndexMap<String, Field>>,
    report: &mut Report<'_>,
) -> Option<Lens> {
    let fields = fields?;
    let (_, value) = keys.get("fields")?;
    let mut names = BTreeMap::new();
    let mut given = BTreeMap::new();
    for (name, value) in value.get_ref().as_table()? {
        names.insert(name.get_ref().to_string(), name.span());
        if let Some(key) = value.get_ref().get("key") {
            let text = key.get_ref().as_str()?.to_owned();
            given.insert(name.get_ref().to_string(), (text, key.span()));
        }
    }
    let of_this = |placed: &&Placed| placed.step.collection() == collection;
    let steps: Vec<&Placed> = steps.iter().filter(of_this).collect();
    let fields = chain::Fields {
        fields,
        names: &names,
        keys: &given,
    };
    Some(chain::link(collection, version, &steps, fields, report))
}

fn no_fields(
    collection: &Spanned<DeString<'_>>,
    place: &Spanned<DeString<'_>>,
    report: &mut Report<'_>,
) {
    report.error_with_hint(
        place.span(),
        format!("collection {} has no fields", quoted(collection.get_ref())),
        "add a field such as `fields.name = { type = \"text\" }`",
    );
}

fn read_label(keys: Keys<'_>, report: &mut Report<'_>) -> Option<String> {
    let label = keys.text("label", report)?;
    let (_, fields) = keys.get("fields")?;
    let table = fields.get_ref().as_table()?;
    let names: Vec<&str> = table.keys().map(|name| name.get_ref().as_ref()).collect();
    if !names.contains(label.get_ref()) {
        report.error_with_hint(
            label.span(),
            format!("the label {} is not a field", quoted(label.get_ref())),
            advice(label.get_ref(), &names),
        );
    }
    Some((*label.get_ref()).to_owned())
}
