//! The versions of one schema that a simulated fleet may come to use.
//!
//! A run is under a family: each device begins with one version as its own file, and plans publish, install
//! and choose others. The invariant is that a family has at least one version and that all are of one name.
//! It does not know who uses which version when.

use std::collections::BTreeMap;
use std::sync::Arc;

use crdt_schema::schema::{Schema, Step};

use crate::plan::SCHEMA;

const SECOND: &str = include_str!("../schemas/rounds-2.toml");
const THIRD: &str = include_str!("../schemas/rounds-3.toml");

/// The versions of one schema, ascending; never empty.
#[derive(Clone, Debug)]
pub struct Family {
    first: Arc<Schema>,
    later: BTreeMap<u32, Arc<Schema>>,
}

impl From<&Schema> for Family {
    /// The family of one version.
    fn from(schema: &Schema) -> Self {
        Self {
            first: Arc::new(schema.clone()),
            later: BTreeMap::new(),
        }
    }
}

impl From<&Self> for Family {
    fn from(family: &Self) -> Self {
        family.clone()
    }
}

impl Family {
    /// The versions that come with the simulator: those of the rounds of health workers.
    ///
    /// # Errors
    /// What is wrong with a text, in words.
    pub fn bundled() -> Result<Self, String> {
        Self::parse(&[SCHEMA, SECOND, THIRD])
    }

    /// The family of these texts, in any order.
    ///
    /// # Errors
    /// What is wrong with a text or with all of them together, in words.
    pub fn parse(texts: &[&str]) -> Result<Self, String> {
        let mut versions: BTreeMap<u32, Arc<Schema>> = BTreeMap::new();
        for text in texts {
            let schema = Schema::parse(text).map_err(|errors| errors.to_string())?;
            let (name, version) = (schema.name.clone(), schema.version);
            if versions.values().any(|known| known.name != name) {
                return Err(format!("{name} is another schema; give versions of one"));
            }
            if versions.insert(version, Arc::new(schema)).is_some() {
                return Err(format!("there are two texts of version {version}"));
            }
        }
        match versions.pop_first() {
            Some((_, first)) => Ok(Self {
                first,
                later: versions,
            }),
            None => Err("there is no schema".to_owned()),
        }
    }

    /// The oldest version: what devices begin with unless the plan says otherwise.
    pub fn first(&self) -> &Arc<Schema> {
        &self.first
    }

    /// The newest version.
    pub fn newest(&self) -> &Arc<Schema> {
        self.later.values().next_back().unwrap_or(&self.first)
    }

    /// A version.
    pub fn get(&self, version: u32) -> Option<&Arc<Schema>> {
        self.iter().find(|schema| schema.version == version)
    }

    /// A device's own file: that version, or the oldest for 0 and for versions that there are not.
    pub fn own(&self, version: u32) -> &Arc<Schema> {
        self.get(version).unwrap_or(&self.first)
    }

    /// All versions, ascending.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Schema>> {
        std::iter::once(&self.first).chain(self.later.values())
    }

    /// Whether a migration between two of the versions reads writes of the field in another way than they
    /// were made, so that they cannot be compared as they stand.
    pub fn is_migrated(&self, collection: &str, field: &str) -> bool {
        let migrations = &self.newest().migrations;
        let in_use = migrations
            .iter()
            .filter(|migration| migration.to > self.first.version);
        in_use
            .flat_map(|migration| &migration.steps)
            .any(|step| step.collection() == collection && names(step).contains(&field))
    }
}

/// The fields whose values a step changes. A rename or an addition changes none.
fn names(step: &Step) -> Vec<&str> {
    match step {
        Step::Rename { .. } | Step::Add { .. } => Vec::new(),
        Step::Remove { field, .. } | Step::Remap { field, .. } => vec![field],
        Step::Convert { field, name, .. } => vec![field, name],
        Step::Split { field, into, .. } => vec![field, &into[0], &into[1]],
        Step::Merge { fields, name, .. } => vec![&fields[0], &fields[1], name],
    }
}

#[cfg(test)]
mod tests {
    use crdt_schema::schema::{Severity, compare};

    use super::*;

    #[test]
    fn each_bundled_version_follows_the_one_before_without_breaking_data() {
        let family = Family::bundled().unwrap();
        let versions: Vec<&Arc<Schema>> = family.iter().collect();
        assert_eq!(versions.len(), 3);
        for pair in versions.windows(2) {
            let errors: Vec<_> = compare(pair[0], pair[1])
                .into_iter()
                .filter(|change| change.severity == Severity::Error)
                .collect();
            assert!(errors.is_empty(), "{errors:?}");
        }
        for schema in versions {
            let read = Schema::clone(schema).reading(family.newest());
            assert!(read.is_ok(), "version {}: {read:?}", schema.version);
        }
    }

    #[test]
    fn renamed_and_new_fields_read_as_they_were_written_and_others_do_not() {
        let family = Family::bundled().unwrap();
        for plain in ["remarks", "notes", "phone", "diagnosis"] {
            assert!(!family.is_migrated("patient", plain), "{plain}");
        }
        for (collection, field) in [
            ("patient", "name"),
            ("patient", "given"),
            ("visit", "temp_f"),
        ] {
            assert!(family.is_migrated(collection, field), "{field}");
        }
    }

    #[test]
    fn texts_of_two_schemas_are_no_family() {
        let other = SECOND.replace("schema = \"rounds\"", "schema = \"farm\"");
        assert!(Family::parse(&[SCHEMA, &other]).is_err());
        assert!(Family::parse(&[SCHEMA, SCHEMA]).is_err());
        assert!(Family::parse(&[]).is_err());
    }
}
