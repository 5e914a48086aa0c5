//! The data that a schema is tried on: a copy of a store, or an export.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use crdt_schema::document::Document;
use crdt_schema::json_line::complaint;
use crdt_schema::schema::{Collection, Schema};
use serde_json::{Map, Value as Json};
use tempfile::TempDir;

use super::{Key, records};
use crate::cli::failure::{Exit, Failure};
use crate::config::STORE_FILE;
use crate::store::survey::Survey;

/// Longest line of an export: several times the largest record that a daemon writes.
const LINE_BYTES_MAX: u64 = 64 << 20;

/// Where the records come from.
#[derive(Debug)]
pub(super) enum Source {
    /// A copy of a store, which goes when this does.
    Store { survey: Survey, _copy: TempDir },
    /// JSON lines of one collection.
    Export { file: PathBuf, collection: String },
}

impl Source {
    pub(super) fn open(path: &Path, collection: Option<&str>) -> Result<Self, Failure> {
        let store = if path.is_dir() {
            path.join(STORE_FILE)
        } else {
            path.to_owned()
        };
        if path.is_dir() || path.extension().is_some_and(|ending| ending == "redb") {
            return copy(&store);
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        Ok(Self::Export {
            file: path.to_owned(),
            collection: collection.unwrap_or(&stem).to_owned(),
        })
    }

    /// The text of the schema that the data is in, if the data says so itself.
    pub(super) fn schema(&self) -> Result<Option<String>, Failure> {
        match self {
            Self::Store { survey, .. } => survey
                .schema()
                .map_err(|error| Failure::new(Exit::Failed, error)),
            Self::Export { .. } => Ok(None),
        }
    }

    /// Refuses an export of a collection that the schema has not.
    pub(super) fn check(&self, old: &Schema) -> Result<(), Failure> {
        let Self::Export { file, collection } = self else {
            return Ok(());
        };
        if old.collection(collection).is_some() {
            return Ok(());
        }
        let known: Vec<&str> = old.collections.keys().map(String::as_str).collect();
        let message = format!(
            "{}: schema {} has no collection {collection:?}",
            file.display(),
            old.name
        );
        Err(Failure::usage(message).next(format!(
            "name the export's collection with --collection: {}",
            known.join(", ")
        )))
    }

    /// How many records there are.
    pub(super) fn records(&self) -> Result<u64, Failure> {
        match self {
            Self::Store { survey, .. } => survey
                .records()
                .map_err(|error| Failure::new(Exit::Failed, error)),
            Self::Export { file, .. } => {
                let mut lines = Lines::open(file)?;
                let mut count = 0;
                while lines.next()?.is_some() {
                    count += 1;
                }
                Ok(count)
            }
        }
    }

    /// Shows every record to `visit`, or the reason why it cannot be read.
    pub(super) fn each(
        &mut self,
        old: &Schema,
        mut visit: impl FnMut(&Key, Result<Document, String>),
    ) -> Result<(), Failure> {
        match self {
            Self::Store { survey, .. } => survey
                .each(|key, document| {
                    let key = Key {
                        collection: key.collection.clone(),
                        id: key.id.clone(),
                    };
                    visit(&key, document);
                })
                .map_err(|error| Failure::new(Exit::Failed, error)),
            Self::Export { file, collection } => {
                let Some(was) = old.collection(collection) else {
                    return Ok(());
                };
                let mut lines = Lines::open(file)?;
                while let Some((number, line)) = lines.next()? {
                    let (id, document) = record(was, old.version, number, &line);
                    let collection = collection.clone();
                    visit(&Key { collection, id }, document);
                }
                Ok(())
            }
        }
    }
}

/// Copies a store that no daemon holds.
fn copy(store: &Path) -> Result<Source, Failure> {
    let failed = |error: &std::io::Error| Failure::io(store.display(), error);
    let original = File::open(store).map_err(|error| failed(&error))?;
    // A daemon that starts meanwhile is told that its store is in use, so the copy is of one moment.
    if original.try_lock_shared().is_err() {
        let message = format!("{}: a daemon has this store open", store.display());
        return Err(Failure::new(Exit::Conflict, message)
            .unchanged("the store was not read")
            .next("stop the daemon, or use an export: fieldmesh export COLLECTION -o COLLECTION.jsonl"));
    }
    let temporary = |error: &std::io::Error| {
        Failure::io("the copy of the store", error).next("name a directory with room in TMPDIR")
    };
    let folder = tempfile::Builder::new()
        .prefix("fieldmesh-simulate-")
        .tempdir()
        .map_err(|error| temporary(&error))?;
    let copy = folder.path().join(STORE_FILE);
    std::fs::copy(store, &copy).map_err(|error| temporary(&error))?;
    drop(original);
    let survey = Survey::open(&copy).map_err(|error| {
        let message = format!(
            "{}: the copy of it cannot be opened: {error}",
            store.display()
        );
        Failure::new(Exit::Failed, message)
    })?;
    Ok(Source::Store {
        survey,
        _copy: folder,
    })
}

/// The record on a line of an export.
fn record(
    was: &Collection,
    version: u32,
    number: u64,
    line: &[u8],
) -> (String, Result<Document, String>) {
    let mut members: Map<String, Json> = match serde_json::from_slice(line) {
        Ok(members) => members,
        Err(error) => {
            let why = format!("it is not a JSON object: {}", complaint(&error));
            return (format!("line {number}"), Err(why));
        }
    };
    let given = if was.fields.contains_key("id") {
        members.get("id").cloned()
    } else {
        members.shift_remove("id")
    };
    let id = match given {
        Some(Json::String(id)) => id,
        _ => format!("line {number}"),
    };
    let unknown = members.keys().find(|name| !was.fields.contains_key(*name));
    if let Some(name) = unknown {
        let why = format!("the present schema has no field {name:?} in {}", was.name);
        return (id, Err(why));
    }
    (id, Ok(records::written(was, version, &members)))
}

/// The lines of a file that are not blank, with their numbers.
struct Lines<'p> {
    path: &'p Path,
    file: BufReader<File>,
    number: u64,
}

impl<'p> Lines<'p> {
    fn open(path: &'p Path) -> Result<Self, Failure> {
        let file = File::open(path).map_err(|error| Failure::io(path.display(), &error))?;
        Ok(Self {
            path,
            file: BufReader::new(file),
            number: 0,
        })
    }

    fn next(&mut self) -> Result<Option<(u64, Vec<u8>)>, Failure> {
        loop {
            let mut line = Vec::new();
            let read = (&mut self.file)
                .take(LINE_BYTES_MAX)
                .read_until(b'\n', &mut line)
                .map_err(|error| Failure::io(self.path.display(), &error))?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            if read as u64 == LINE_BYTES_MAX {
                let message = format!(
                    "{}:{}: the line is longer than {LINE_BYTES_MAX} bytes",
                    self.path.display(),
                    self.number
                );
                return Err(Failure::new(Exit::Invalid, message)
                    .next("give a file that `fieldmesh export --format jsonl` wrote"));
            }
            if !line.trim_ascii().is_empty() {
                return Ok(Some((self.number, line)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Schema {
        Schema::parse(
            "schema = \"s\"\nversion = 1\n[collections.c.fields]\nn = { type = \"integer\" }\n",
        )
        .unwrap()
    }

    #[test]
    fn every_line_of_an_export_is_a_record_or_says_why_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("c.jsonl");
        std::fs::write(
            &file,
            "{\"id\":\"a\",\"n\":1}\n\n{\"n\":2}\n{\"id\":\"b\",\"m\":1}\nnonsense",
        )
        .unwrap();
        let old = schema();
        let mut source = Source::open(&file, None).unwrap();
        let mut seen = Vec::new();

        source
            .each(&old, |key, document| {
                seen.push((key.id.clone(), document.is_ok()))
            })
            .unwrap();

        let seen: Vec<(&str, bool)> = seen.iter().map(|(id, ok)| (id.as_str(), *ok)).collect();
        assert_eq!(
            seen,
            [
                ("a", true),
                ("line 3", true),
                ("b", false),
                ("line 5", false)
            ]
        );
        assert_eq!(source.records().unwrap(), 4);
    }

    #[test]
    fn a_store_that_is_held_is_refused_and_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let held = File::create(folder.path().join(STORE_FILE)).unwrap();
        held.lock().unwrap();

        let failure = Source::open(folder.path(), None).unwrap_err();

        assert_eq!(failure.exit, Exit::Conflict);
        assert!(failure.to_string().contains("stop the daemon"), "{failure}");
    }

    #[test]
    fn an_export_of_an_unknown_collection_is_refused() {
        let source = Source::open(Path::new("/x/d.jsonl"), None).unwrap();
        let failure = source.check(&schema()).unwrap_err();

        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.to_string().contains("--collection: c"), "{failure}");
    }
}
