//! A check of the whole store: every log against its signatures, every document against its log, every view
//! and index against the documents.
//!
//! It reads one snapshot, changes nothing and keeps few records in memory, at the price of reading the logs
//! once for every [`RECORDS_AT_ONCE`] records.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crdt_schema::document::Document;
use crdt_schema::ident::RecordKey;
use crdt_schema::resolution::Life;
use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata};

use crate::engine::batch::repair::Found;

use super::branches::Names;
use super::feed::{log_rows, read_log};
use super::implied::EntryReader;
use super::judge::Neighbours;
use super::pack::{Place, Unpacker};
use super::reading::SchemaState;
use super::record::load_document;
use super::rows::{LogRow, encode_view};
use super::trouble::Trouble;
use super::{Reader, StoreError, heal, inspect, tables};

/// How many records are rebuilt in memory at once: some 64 MB of usual ones.
pub(super) const RECORDS_AT_ONCE: usize = 4096;

/// Most problems that are told one by one.
const PROBLEMS_TOLD_MAX: usize = 100;

/// What a check has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkup {
    /// How many logs were read.
    pub logs: u64,
    /// How many entries they hold.
    pub entries: u64,
    /// How many records were compared.
    pub records: u64,
    /// How many problems there are.
    pub problems: u64,
    /// The first of them.
    pub told: Vec<Problem>,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What kind of thing is wrong: `log`, `names`, `document`, `view`, `review`, `tally` or `index`.
    pub what: &'static str,
    /// Which one, and how.
    pub detail: String,
}

impl Checkup {
    fn tell(&mut self, what: &'static str, detail: String) {
        self.problems += 1;
        if self.told.len() < PROBLEMS_TOLD_MAX {
            self.told.push(Problem { what, detail });
        }
    }
}

/// How far a long job is.
pub trait Progress {
    /// `done` of `of` of what is called `what`.
    fn at(&mut self, what: &'static str, done: u64, of: u64);
}

/// What the records say of the tables that are derived from them.
#[derive(Default)]
struct Derived {
    tallies: BTreeMap<Vec<u8>, (u64, u64)>,
    reviews: BTreeMap<String, u64>,
}

/// The part of a check that goes through the records.
struct Check<'c> {
    tx: &'c ReadTransaction,
    schema: &'c SchemaState,
    /// Whether documents can be compared with the logs.
    is_log_whole: bool,
    derived: Derived,
    checkup: Checkup,
}

impl Reader {
    /// Checks the whole store.
    ///
    /// # Errors
    /// The store's, if it cannot be read at all.
    pub fn check(&self, progress: &mut dyn Progress) -> Result<Checkup, StoreError> {
        let state = self.cell.state();
        self.handle.read(|tx| {
            let mut checkup = Checkup::default();
            check_logs(tx, &mut checkup, progress)?;
            let is_log_whole = checkup.problems == 0;
            check_names(tx, &mut checkup)?;
            if !is_log_whole {
                let why = "not compared with the logs, which are damaged".to_owned();
                checkup.tell("document", why);
            }
            let mut check = Check {
                tx,
                schema: &state,
                is_log_whole,
                derived: Derived::default(),
                checkup,
            };
            let of = tx.open_table(tables::INDEX)?.len()?;
            let mut after: Option<Vec<u8>> = None;
            loop {
                let some = records(tx, after.as_deref())?;
                let Some((last, _)) = some.last() else { break };
                after = Some(last.clone());
                check.check_records(&some)?;
                progress.at("records", check.checkup.records, of);
            }
            check.check_derived()?;
            Ok(check.checkup)
        })
    }
}

impl Check<'_> {
    fn check_records(&mut self, some: &[(Vec<u8>, u64)]) -> Result<(), Trouble> {
        let tx = self.tx;
        let keys = some
            .iter()
            .filter_map(|(key, _)| tables::parse_record_key(key));
        let keys: BTreeSet<RecordKey> = keys.collect();
        let mut rebuilt = match self.is_log_whole {
            true => heal::replay(
                &tx.open_table(tables::STRETCHES)?,
                &tx.open_table(tables::LOGS)?,
                &Names {
                    numbers: &tx.open_table(tables::LOG_NUMBERS)?,
                    entries: &tx.open_table(tables::ENTRIES)?,
                    branches: &tx.open_table(tables::BRANCHES)?,
                    implied: &tx.open_table(tables::IMPLIED)?,
                },
                &keys,
            )?,
            false => BTreeMap::new(),
        };
        let docs = tx.open_table(tables::DOCS)?;
        for (bytes, number) in some {
            self.checkup.records += 1;
            let Some(key) = tables::parse_record_key(bytes) else {
                let name = String::from_utf8_lossy(bytes);
                self.checkup
                    .tell("index", format!("record {name:?}: its key is malformed"));
                continue;
            };
            let doc = match load_document(&docs, &mut Unpacker::default(), &key, *number) {
                Ok(doc) => doc,
                Err(Trouble::Damaged(why)) => {
                    self.checkup.tell("document", why);
                    continue;
                }
                Err(trouble) => return Err(trouble),
            };
            let from_log = rebuilt.remove(&key);
            if self.is_log_whole && !from_log.is_some_and(|other| other.is_same(&doc)) {
                self.checkup
                    .tell("document", format!("{key} is not what its log says"));
            }
            self.check_view(&key, *number, &doc)?;
        }
        Ok(())
    }

    fn check_view(&mut self, key: &RecordKey, number: u64, doc: &Document) -> Result<(), Trouble> {
        let (tx, schema) = (self.tx, self.schema);
        let Some(collection) = schema.active.collection(&key.collection) else {
            return Ok(());
        };
        let views = tx.open_table(tables::VIEWS)?;
        let neighbours = Neighbours {
            schema: &schema.active,
            index: &tx.open_table(tables::INDEX)?,
            views: &views,
            refs: &tx.open_multimap_table(tables::REFS)?,
        };
        let view = neighbours.judge(key, doc.view(collection, &key.id))?;
        let tally = tables::collection_key(&key.space, &key.collection);
        let (alive, deleted) = self.derived.tallies.entry(tally).or_default();
        match view.life {
            Life::Deleted => *deleted += 1,
            Life::Live | Life::Contested => *alive += 1,
        }
        for review in &view.reviews {
            self.derived.reviews.insert(review.id.0.clone(), number);
        }
        let mut unpacker = Unpacker::default();
        let row = views.get(number)?;
        let shown = match &row {
            Some(row) => unpacker.unpack(Place::View(number), row.value()),
            None => Err("it is missing"),
        };
        match shown {
            Ok(shown) if *shown == [&schema.stamp()[..], &encode_view(key, &view)].concat() => {}
            Ok(_) => self
                .checkup
                .tell("view", format!("{key} is not shown as its document says")),
            Err(why) => self.checkup.tell("view", format!("{key}: {why}")),
        }
        Ok(())
    }

    /// Compares the derived tables with what all records say of them.
    fn check_derived(&mut self) -> Result<(), Trouble> {
        let (tx, derived) = (self.tx, &self.derived);
        let mut tallies = BTreeMap::new();
        for row in tx.open_table(tables::TALLIES)?.iter()? {
            let (key, tally) = row?;
            if tally.value() != (0, 0) {
                tallies.insert(key.value().to_vec(), tally.value());
            }
        }
        let names = tallies.keys().chain(derived.tallies.keys());
        for key in names.collect::<BTreeSet<_>>() {
            let (kept, counted) = (tallies.get(key), derived.tallies.get(key));
            if kept != counted {
                let name = String::from_utf8_lossy(key).replace('\0', " ");
                let words = |tally: Option<&(u64, u64)>| tally.copied().unwrap_or_default();
                let detail = format!(
                    "{name}: (alive, deleted) is kept as {:?} and is {:?}",
                    words(kept),
                    words(counted)
                );
                self.checkup.tell("tally", detail);
            }
        }
        let mut reviews = BTreeMap::new();
        for row in tx.open_table(tables::REVIEWS)?.iter()? {
            let (id, number) = row?;
            reviews.insert(id.value().to_owned(), number.value());
        }
        let ids = reviews.keys().chain(derived.reviews.keys());
        for id in ids.collect::<BTreeSet<_>>() {
            if reviews.get(id) != derived.reviews.get(id) {
                self.checkup.tell(
                    "review",
                    format!("review {id} is not listed as its record says"),
                );
            }
        }
        let (documents, indexed) = (
            tx.open_table(tables::DOCS)?.len()?,
            tx.open_table(tables::INDEX)?.len()?,
        );
        if documents != indexed {
            let detail = format!("{indexed} records are indexed and {documents} have documents");
            self.checkup.tell("index", detail);
        }
        Ok(())
    }
}

fn check_logs(
    tx: &ReadTransaction,
    checkup: &mut Checkup,
    progress: &mut dyn Progress,
) -> Result<(), Trouble> {
    let logs = tx.open_table(tables::LOGS)?;
    let of = logs.len()?;
    for row in logs.iter()? {
        let (number, row) = row?;
        checkup.logs += 1;
        progress.at("logs", checkup.logs, of);
        let row = match LogRow::decode(row.value()) {
            Ok(row) => row,
            Err(error) => {
                let detail = format!("the row of log number {}: {error}", number.value());
                checkup.tell("log", detail);
                continue;
            }
        };
        checkup.entries += row.seq - row.header.base();
        let log = row.header.log;
        match inspect::tags(tx, log, &[row.seq])? {
            Found::Tags { damaged: None, .. } => {}
            Found::Tags { damaged, .. } => {
                let from = damaged.unwrap_or_default();
                let name = &row.header.name;
                let detail =
                    format!("log {log} of {name:?} does not read back from entry {from} on");
                checkup.tell("log", detail);
            }
            Found::Run { .. } => {}
        }
    }
    Ok(())
}

/// Whether the names that are kept beside entries are those that the entries point to.
fn check_names(tx: &ReadTransaction, checkup: &mut Checkup) -> Result<(), Trouble> {
    let (implied, logs) = (
        tx.open_table(tables::IMPLIED)?,
        tx.open_table(tables::LOGS)?,
    );
    let names = Names {
        numbers: &tx.open_table(tables::LOG_NUMBERS)?,
        entries: &tx.open_table(tables::ENTRIES)?,
        branches: &tx.open_table(tables::BRANCHES)?,
        implied: &implied,
    };
    let mut rows = log_rows(names.numbers, &logs);
    let mut reader = EntryReader::default();
    for row in implied.iter()? {
        let (number, seq) = row?.0.value();
        let right = read_log(&logs, number)
            .and_then(|log| names.is_kept_rightly(&mut rows, &mut reader, (number, &log), seq));
        match right {
            // What is damaged has been told of its log.
            Ok(true) | Err(Trouble::Unread(..)) => {}
            Ok(false) | Err(Trouble::Damaged(_)) => {
                let entry = format!("entry {seq} of log number {number}");
                let detail = format!("{entry}: its records are not kept as it points to them");
                checkup.tell("names", detail);
            }
            Err(trouble) => return Err(trouble),
        }
    }
    Ok(())
}

/// The next records after a key, with their numbers.
pub(super) fn records(
    tx: &ReadTransaction,
    after: Option<&[u8]>,
) -> Result<Vec<(Vec<u8>, u64)>, Trouble> {
    let index = tx.open_table(tables::INDEX)?;
    let start = after.map_or(Bound::Unbounded, Bound::Excluded);
    let rows = index
        .range::<&[u8]>((start, Bound::Unbounded))?
        .take(RECORDS_AT_ONCE);
    let rows = rows.map(|row| row.map(|(key, number)| (key.value().to_vec(), number.value())));
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    // In a damaged tree the next page may be one that has passed: a walk over all would not end.
    let is_next = |(key, _): &(Vec<u8>, u64)| after.is_none_or(|after| &key[..] > after);
    match rows.iter().all(is_next) && rows.is_sorted_by(|(one, _), (next, _)| one < next) {
        true => Ok(rows),
        false => Err(Trouble::Damaged(
            "the list of records is out of order".to_owned(),
        )),
    }
}
