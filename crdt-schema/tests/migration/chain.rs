//! Draws chains of four versions of a schema.

use std::collections::BTreeMap;

use crdt_schema::schema::Schema;

/// What may happen to the fields from one version to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Rename,
    Add,
    Remove,
    Convert,
    Remap,
    RemapSet,
    Split,
    Merge,
}

pub(super) const CHANGES: [Change; 8] = [
    Change::Rename,
    Change::Add,
    Change::Remove,
    Change::Convert,
    Change::Remap,
    Change::RemapSet,
    Change::Split,
    Change::Merge,
];

pub(super) const VERSIONS: u32 = 4;

/// The fields of a schema in the making: name → the rest of its table.
pub(super) type Fields = BTreeMap<String, String>;

/// Draws the texts of versions 1 to 4. Every kind of change can happen once, and one step may follow
/// another within a version.
pub(super) fn chain(drawn: &[Vec<usize>], review: bool) -> Vec<Schema> {
    let merge = if review { ", merge = \"review\"" } else { "" };
    let text = format!("type = \"text\"{merge}");
    let mut fields: Fields = [
        ("tel", text.clone()),
        ("name", text.clone()),
        ("given", text.clone()),
        ("family", text.clone()),
        ("fee", "type = \"integer\", merge = \"max\"".to_owned()),
        ("temp", "type = \"number\"".to_owned()),
        (
            "state",
            "type = \"choice\", of = [\"a\", \"b\", \"c\"], merge = \"rank\"".to_owned(),
        ),
        (
            "tags",
            "type = \"set\", of = [\"a\", \"b\", \"c\"]".to_owned(),
        ),
        ("sum", "type = \"counter\"".to_owned()),
    ]
    .map(|(name, table)| (name.to_owned(), table))
    .into();
    let mut migrations = String::new();
    let mut done = Vec::new();
    let mut schemas = vec![parse(1, &fields, &migrations)];
    for (to, picks) in (2..=VERSIONS).zip(drawn) {
        let mut steps = Vec::new();
        for &pick in picks {
            let change = CHANGES[pick % CHANGES.len()];
            if !done.contains(&change) {
                done.push(change);
                steps.push(take(change, &mut fields, &text));
            }
        }
        let steps = steps.join(", ");
        migrations += &format!("[[migrations]]\nto = {to}\nsteps = [{steps}]\n");
        schemas.push(parse(to, &fields, &migrations));
    }
    schemas
}

pub(super) fn take(change: Change, fields: &mut Fields, text: &str) -> String {
    let mut put = |name: &str, table: &str| {
        fields.insert(name.to_owned(), table.to_owned());
    };
    match change {
        Change::Rename => {
            put("phone", text);
            put("total", "type = \"counter\"");
            fields.remove("tel");
            fields.remove("sum");
            r#"{ rename = "r.tel", as = "phone" }, { rename = "r.sum", as = "total" }"#.to_owned()
        }
        Change::Add => {
            put("outcome", "type = \"text\"");
            r#"{ add = "r.outcome", default = "none yet" }"#.to_owned()
        }
        Change::Remove => {
            fields.remove("fee");
            r#"{ remove = "r.fee", was = { type = "integer", merge = "max" } }"#.to_owned()
        }
        Change::Convert => {
            put("temp_c", "type = \"number\"");
            fields.remove("temp");
            r#"{ convert = "r.temp", as = "temp_c", with = "f_to_c" }"#.to_owned()
        }
        Change::Remap => {
            put(
                "state",
                "type = \"choice\", of = [\"x\", \"y\", \"b\"], merge = \"rank\"",
            );
            r#"{ remap = "r.state", values = { a = "x", c = "x" } }"#.to_owned()
        }
        Change::RemapSet => {
            put("tags", "type = \"set\", of = [\"x\", \"y\", \"b\"]");
            r#"{ remap = "r.tags", values = { a = "x", c = "x" } }"#.to_owned()
        }
        Change::Split => {
            put("first", text);
            put("last", text);
            fields.remove("name");
            r#"{ split = "r.name", into = ["first", "last"], with = "first_space" }"#.to_owned()
        }
        Change::Merge => {
            put("full", text);
            fields.remove("given");
            fields.remove("family");
            r#"{ merge = ["r.given", "r.family"], as = "full", with = "space" }"#.to_owned()
        }
    }
}

pub(super) fn parse(version: u32, fields: &Fields, migrations: &str) -> Schema {
    let tables = fields
        .iter()
        .map(|(name, table)| format!("{name} = {{ {table} }}\n"));
    let fields: String = tables.collect();
    let text = format!(
        "schema = \"s\"\nversion = {version}\n[collections.r.fields]\n{fields}\n{migrations}"
    );
    Schema::parse(&text).unwrap_or_else(|errors| panic!("{errors}"))
}
