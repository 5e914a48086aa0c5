//! `fieldmesh schema simulate`: reads a copy of real data under a new schema and says what would happen.
//!
//! Invariants: the data itself is only read, and a store is copied first; every record is a document,
//! also one that came from an export, so that all of them take the way that they take in a daemon.
//! What the schemas say is known in [`crdt_schema::lens`] and below; what is counted, in [`tally`].

mod records;
mod show;
mod source;
mod tally;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crdt_schema::document::Document;
use crdt_schema::resolution::RecordView;
use crdt_schema::schema::Schema;

use self::source::Source;
use self::tally::{Reading, Tally};
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::config::SCHEMA_FILE;

/// Most samples that can be asked for: they are held in memory and are for people.
const SAMPLES_MAX: u16 = 1000;

#[derive(clap::Args, Debug)]
pub(crate) struct SimulateArgs {
    /// The new schema
    new: PathBuf,
    /// The data: a device's directory or its store file while its daemon is stopped, or JSON lines
    /// that `fieldmesh export --format jsonl` wrote
    #[arg(long, value_name = "DIR|EXPORT.jsonl")]
    against: PathBuf,
    /// The schema that the data is in now [default: the version that the store's device uses; of an
    /// export, schema.toml beside it, else the device's]
    #[arg(long, value_name = "OLD")]
    from: Option<PathBuf>,
    /// Of an export: its collection [default: the file's name, as in patient.jsonl]
    #[arg(long, value_name = "NAME")]
    collection: Option<String>,
    /// How many changed records to show before and after
    #[arg(long, value_name = "N", default_value_t = 5,
        value_parser = clap::value_parser!(u16).range(..=i64::from(SAMPLES_MAX)))]
    sample: u16,
}

pub(crate) fn simulate(args: &SimulateArgs, dir: &Path, output: Output) -> Result<Exit, Failure> {
    let mut source = Source::open(&args.against, args.collection.as_deref())?;
    let schemas = Schemas::read(args, dir, &source)?;
    source.check(&schemas.old)?;
    let mut tally = Tally::new(usize::from(args.sample));
    let mut progress = Progress::new(output, "records", source.records()?);
    source.each(&schemas.old, |key, document| {
        progress.add(1);
        let read = document.and_then(|document| schemas.read_both(key, &document));
        match read {
            Ok(reading) => tally.add(key, &reading),
            Err(why) => tally.add_unreadable(key, why),
        }
    })?;
    drop(progress);
    show::show(&schemas.old, &schemas.new, &tally, output)?;
    Ok(if tally.failed() == 0 {
        Exit::Done
    } else {
        Exit::Failed
    })
}

/// Which record: its collection and its id, or its line in an export.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    collection: String,
    id: String,
}

/// The schemas that every record is read under.
#[derive(Debug)]
struct Schemas {
    old: Schema,
    new: Schema,
    /// The old one, as a device reads with it that has met data of the new one.
    back: Schema,
}

impl Schemas {
    fn read(args: &SimulateArgs, dir: &Path, source: &Source) -> Result<Self, Failure> {
        let new = super::read(&args.new)?;
        let stored = match args.from {
            None => source.schema()?,
            Some(_) => None,
        };
        let stored = stored.and_then(|text| Schema::parse(&text).ok());
        let old = match stored {
            Some(old) => old,
            None => super::read(&old_schema(args, dir)?)?,
        };
        let back = old.clone().reading(&new).map_err(|error| {
            let place = args.new.display();
            Failure::new(
                Exit::Invalid,
                format!(
                    "{place} cannot follow {} version {}: {error}",
                    old.name, old.version
                ),
            )
            .next("fieldmesh schema diff OLD NEW")
        })?;
        Ok(Self { old, new, back })
    }

    /// Reads the record under both schemas, and what the new one shows under the old one again.
    fn read_both<'s>(&'s self, key: &Key, document: &Document) -> Result<Reading<'s>, String> {
        let known = |schema: &'s Schema| {
            let found = schema.collection(&key.collection);
            found.ok_or_else(|| format!("{} has no collection {}", schema.version, key.collection))
        };
        let was = known(&self.old)
            .map_err(|_| "the present schema does not know its collection".to_owned())?;
        let is = known(&self.new)
            .map_err(|_| "the new schema does not know its collection".to_owned())?;
        // A first, unmeasured reading brings the document into the processor's caches for both.
        let before = document.view(was, &key.id);
        let (after, after_time) = timed(|| document.view(is, &key.id));
        let (_, before_time) = timed(|| document.view(was, &key.id));
        let newer = records::written(is, self.new.version, &after.fields);
        let back = self.back.collection(&key.collection).unwrap_or(was);
        Ok(Reading {
            was,
            is,
            partial: after.partial.clone(),
            back: newer.view(back, &key.id).fields,
            before: before.fields,
            after: after.fields,
            before_time,
            after_time,
        })
    }
}

fn timed(view: impl FnOnce() -> RecordView) -> (RecordView, Duration) {
    let begun = Instant::now();
    let view = view();
    (view, begun.elapsed())
}

/// The file of the schema that the data is in.
fn old_schema(args: &SimulateArgs, dir: &Path) -> Result<PathBuf, Failure> {
    if let Some(path) = &args.from {
        return Ok(path.clone());
    }
    let beside = if args.against.is_dir() {
        args.against.join(SCHEMA_FILE)
    } else {
        args.against.with_file_name(SCHEMA_FILE)
    };
    let places = [beside, dir.join(SCHEMA_FILE)];
    let found = places.into_iter().find(|path| path.exists());
    found.ok_or_else(|| {
        Failure::usage(format!(
            "{}: which schema is it in?",
            args.against.display()
        ))
        .next("give the present schema's file with --from")
    })
}
