//! Published schemas: how a schema's text travels among the records it describes.
//!
//! A published schema is an ordinary record of a collection that no schema file may name. Its id tells the
//! schema and the version, so devices that publish the same text write the same record with equal values,
//! and each change set that publishes holds the whole text, so a publication can be read from its change
//! set alone. Which of two different texts of one version counts is not decided here.

use std::sync::LazyLock;

use super::parse::SOURCE_BYTES_MAX;
use super::typed::TEXT_BYTES_MAX;
use super::{Collection, Schema};
use crate::op::Op;
use crate::value::Value;

/// What the names of collections begin with that are not for schema files.
pub const RESERVED_PREFIX: &str = "fieldmesh_";

/// The collection whose records are published schemas.
pub const PUBLISHED: &str = "fieldmesh_schema";

/// Greatest version that can be published: bounds what a device keeps in mind of versions.
pub const PUBLISHED_VERSION_MAX: u32 = 10_000;

/// The text is cut where it fits the values of a record; a cut may come up to three bytes early, between
/// characters.
const PART_BYTES_MAX: usize = TEXT_BYTES_MAX;
const PARTS: [&str; 5] = ["part_1", "part_2", "part_3", "part_4", "part_5"];
const _: () = assert!(PARTS.len() * (PART_BYTES_MAX - 3) >= SOURCE_BYTES_MAX);

static COLLECTION: LazyLock<Collection> = LazyLock::new(|| {
    let fields = PARTS.map(|part| format!("{part} = {{ type = \"text\" }}\n"));
    let text = format!(
        "schema = \"fieldmesh\"\nversion = 1\n[collections.published.fields]\n{}",
        fields.concat()
    );
    let mut schema = Schema::parse(&text).expect("invariant: the text above is a schema");
    let mut collection = schema
        .collections
        .shift_remove("published")
        .expect("invariant: the text above has the collection");
    collection.name = PUBLISHED.to_owned();
    collection
});

/// The collection of published schemas, as every device has it.
pub fn published_collection() -> &'static Collection {
    &COLLECTION
}

/// The id of the record that holds a version of a schema.
pub fn publication_id(name: &str, version: u32) -> String {
    format!("{name}-{version}")
}

/// The ops that write a schema's text. Text beyond [`SOURCE_BYTES_MAX`] is left out.
pub fn publication_ops(source: &str) -> Vec<Op> {
    let mut rest = source;
    let part = |key: &str| {
        let end = (0..=PART_BYTES_MAX.min(rest.len()))
            .rev()
            .find(|&end| rest.is_char_boundary(end))
            .unwrap_or(0);
        let (text, after) = rest.split_at(end);
        rest = after;
        let value = match text {
            "" => Value::Null,
            text => Value::Text(text.to_owned()),
        };
        Op::Set {
            key: key.to_owned(),
            value,
        }
    };
    PARTS.map(part).into()
}

/// A schema's text as a change set published it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// The schema's name.
    pub name: String,
    /// The version.
    pub version: u32,
    /// The text.
    pub source: String,
}

impl Publication {
    /// Reads the edit of a record of [`PUBLISHED`]. `None` if it publishes nothing: the text is not TOML, or
    /// does not say the name and the version that the id does. Whether the text can be used as a schema may
    /// depend on the program that reads it, and is not asked.
    pub fn read(id: &str, ops: &[Op]) -> Option<Self> {
        let part = |key: &&str| {
            ops.iter().find_map(|op| match op {
                Op::Set {
                    key: found,
                    value: Value::Text(text),
                } if found == key => Some(text.as_str()),
                _ => None,
            })
        };
        let source: String = PARTS.iter().filter_map(part).collect();
        let (name, version) = heading(&source)?;
        let is_good = publication_id(&name, version) == id && version <= PUBLISHED_VERSION_MAX;
        is_good.then_some(Self {
            name,
            version,
            source,
        })
    }
}

/// The name and the version that a schema's text says, if it is TOML.
fn heading(source: &str) -> Option<(String, u32)> {
    if source.len() > SOURCE_BYTES_MAX {
        return None;
    }
    let (root, errors) = toml::de::DeTable::parse_recoverable(source);
    if !errors.is_empty() {
        return None;
    }
    let root = root.get_ref();
    let name = root.get("schema")?.get_ref().as_str()?;
    let version = super::keys::integer(root.get("version")?.get_ref())?;
    Some((name.to_owned(), u32::try_from(version).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "schema = \"clinic\"\nversion = 2\n# Zażółć\n";

    #[test]
    fn a_text_of_any_length_is_read_back_as_it_was_published() {
        let long = format!("{TEXT}# {}", "é".repeat((SOURCE_BYTES_MAX - 100) / 2));
        for source in [TEXT, &long] {
            let ops = publication_ops(source);
            let read = Publication::read("clinic-2", &ops).unwrap();
            assert_eq!((read.version, read.source.as_str()), (2, source));
            assert_eq!(ops.len(), PARTS.len());
        }
    }

    #[test]
    fn an_edit_that_does_not_say_what_its_id_says_publishes_nothing() {
        let read = |id: &str, text: &str| Publication::read(id, &publication_ops(text));

        assert!(read("clinic-3", TEXT).is_none());
        assert!(read("farm-2", TEXT).is_none());
        assert!(read("clinic-2", "version = [").is_none());
        assert!(Publication::read("clinic-2", &[]).is_none());
        let deep = format!("{TEXT}deep = {}", "[".repeat(SOURCE_BYTES_MAX - 100));
        assert!(read("clinic-2", &deep).is_none());
        let endless = format!("schema = \"c\"\nversion = {}\n", PUBLISHED_VERSION_MAX + 1);
        assert!(read(&publication_id("c", PUBLISHED_VERSION_MAX + 1), &endless).is_none());
    }

    #[test]
    fn no_schema_file_may_name_a_reserved_collection() {
        let text = format!(
            "schema = \"c\"\nversion = 1\n[collections.{PUBLISHED}.fields]\na = {{ type = \"text\" }}\n"
        );

        let errors = Schema::parse(&text).unwrap_err().to_string();

        assert!(errors.contains("is reserved"), "{errors}");
        assert_eq!(published_collection().fields.len(), PARTS.len());
    }
}
