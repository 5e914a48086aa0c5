//! The canonical bytes of a change set: what is chained, signed, stored and sent.
//!
//! Layout: format, time, schema version and person; then the *shape* of every edit (collection, id,
//! dependencies, and each op's kind and key); then the *columns*: what the ops say, key by key in the
//! order of first use, then what ops on the record as a whole say: the reasons of deletes and restores,
//! and the reviews that are accepted. Like values side by side compress
//! far better than records one after the other, and a single edit is no longer for it. Last come the tags
//! of the dependencies, each once, in the order of first mention: they are hashes, and no compression helps.
//!
//! A collection, key or log is written out where it is first used and named by number afterwards. A record that
//! an earlier edit tells is not named at all (see [`Implied`]); reading does not look it up.
//!
//! Equal change sets have equal bytes, and the decoder refuses every other encoding: it encodes what it
//! read and compares.

use std::collections::BTreeMap;
use std::vec::IntoIter;

use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::{Dot, KEY_BYTES_MAX, LogId, RECORD_ID_BYTES_MAX};
use crdt_schema::op::{ChangeSet, DotTag, Edit, Implied, Op};

use super::WireError;
pub use super::check::{check_change_set, check_records};
use super::codec::{Reader, Writer};
use super::limits::{
    DEPS_MAX, EDITS_MAX, ENTRY_BYTES_MAX, NAME_BYTES_MAX, OPS_MAX, REVIEW_ID_BYTES, TEXT_BYTES_MAX,
};
use super::value::{read_value, write_value};

/// The first byte of a change set that names every record.
const FORMAT_NAMED: u8 = 1;
/// The first byte of one in which some record is implied.
const FORMAT_IMPLIED: u8 = 2;

mod op_tag {
    pub(super) const SET: u8 = 0;
    pub(super) const ADD: u8 = 1;
    pub(super) const INSERT: u8 = 2;
    pub(super) const REMOVE: u8 = 3;
    pub(super) const DELETE: u8 = 4;
    pub(super) const RESTORE: u8 = 5;
    pub(super) const RESOLVE: u8 = 6;
    pub(super) const ACCEPT: u8 = 7;
}

/// The canonical bytes. Equal change sets have equal bytes.
pub fn encode_change_set(set: &ChangeSet) -> Vec<u8> {
    let mut encoder = Encoder::of(&set.tags);
    encoder.shape.byte(match set.implied.is_empty() {
        true => FORMAT_NAMED,
        false => FORMAT_IMPLIED,
    });
    encoder.shape.varint(set.hlc.0);
    encoder.shape.varint(u64::from(set.schema_version));
    encoder.shape.text(&set.person);
    encoder.shape.count(set.edits.len());
    for (place, edit) in set.edits.iter().enumerate() {
        if set.implied.is_empty() {
            encoder.name(edit);
            encoder.deps(edit);
        } else {
            encoder.deps(edit);
            match set.implied.get(&place) {
                Some(implied) => encoder.implied(implied),
                None => {
                    encoder.shape.count(0);
                    encoder.name(edit);
                }
            }
        }
        encoder.ops(edit);
    }
    encoder.finish()
}

/// Reads canonical bytes; refuses every other encoding of the same change set, and structure that no
/// honest author writes (see [`super::limits`] and [`check_change_set`]).
pub fn decode_change_set(bytes: &[u8]) -> Result<ChangeSet, WireError> {
    let set = decode_kept_change_set(bytes)?;
    check_change_set(&set)?;
    if encode_change_set(&set) != bytes {
        return Err(WireError::Malformed("change set: not in canonical form"));
    }
    Ok(set)
}

/// Reads bytes that [`decode_change_set`] has accepted before, or that were encoded here, and that are known to be
/// the same still: that nobody else could have meant them is not judged again.
pub fn decode_kept_change_set(bytes: &[u8]) -> Result<ChangeSet, WireError> {
    if bytes.len() > ENTRY_BYTES_MAX {
        let (found, limit) = (bytes.len() as u64, ENTRY_BYTES_MAX as u64);
        return Err(WireError::TooLarge {
            what: "change set",
            found,
            limit,
        });
    }
    read_change_set(bytes)
}

struct Encoder<'a> {
    shape: Writer,
    collections: BTreeMap<&'a str, usize>,
    keys: BTreeMap<&'a str, usize>,
    logs: BTreeMap<LogId, usize>,
    /// The tags of the dependencies that have not been mentioned yet.
    tags: BTreeMap<Dot, DotTag>,
    columns: Vec<Writer>,
    reasons: Writer,
    mentioned: Writer,
}

impl<'a> Encoder<'a> {
    fn of(tags: &BTreeMap<Dot, DotTag>) -> Self {
        Self {
            shape: Writer::new(),
            collections: BTreeMap::new(),
            keys: BTreeMap::new(),
            logs: BTreeMap::new(),
            tags: tags.clone(),
            columns: Vec::new(),
            reasons: Writer::new(),
            mentioned: Writer::new(),
        }
    }

    fn name(&mut self, edit: &'a Edit) {
        refer(&mut self.shape, &mut self.collections, &edit.collection);
        self.shape.text(&edit.id);
    }

    fn implied(&mut self, implied: &Implied) {
        self.shape.count(implied.edit.saturating_add(1));
        if implied.back > 0 {
            self.shape.varint(implied.back);
        }
    }

    fn deps(&mut self, edit: &'a Edit) {
        self.shape.count(edit.deps.len());
        for dep in &edit.deps {
            self.dep(dep);
        }
    }

    fn ops(&mut self, edit: &'a Edit) {
        self.shape.count(edit.ops.len());
        for op in &edit.ops {
            self.op(op);
        }
    }

    fn dep(&mut self, dep: &Dot) {
        let next = self.logs.len();
        let index = *self.logs.entry(dep.log).or_insert(next);
        self.shape.count(index);
        if index == next {
            self.shape.raw(&dep.log.0);
        }
        self.shape.varint(dep.seq);
        if let Some(tag) = self.tags.remove(dep) {
            self.mentioned.raw(&tag);
        }
    }

    fn op(&mut self, op: &'a Op) {
        match op {
            Op::Set { key, value } => write_value(self.column(op_tag::SET, key), value),
            Op::Add { key, delta } => self.column(op_tag::ADD, key).signed(*delta),
            Op::Insert { key, element } => write_value(self.column(op_tag::INSERT, key), element),
            Op::Remove { key, element } => write_value(self.column(op_tag::REMOVE, key), element),
            Op::Resolve { key, value, note } => {
                let column = self.column(op_tag::RESOLVE, key);
                write_value(column, value);
                column.text(note);
            }
            Op::Delete { reason } => {
                self.shape.byte(op_tag::DELETE);
                self.reasons.text(reason);
            }
            Op::Restore { reason } => {
                self.shape.byte(op_tag::RESTORE);
                self.reasons.text(reason);
            }
            Op::Accept { review, note } => {
                self.shape.byte(op_tag::ACCEPT);
                self.reasons.text(review);
                self.reasons.text(note);
            }
        }
    }

    /// Notes an op's kind and key in the shape; the rest of it goes into the column returned.
    fn column(&mut self, tag: u8, key: &'a str) -> &mut Writer {
        self.shape.byte(tag);
        let index = refer(&mut self.shape, &mut self.keys, key);
        self.columns.resize_with(self.keys.len(), Writer::new);
        &mut self.columns[index]
    }

    fn finish(self) -> Vec<u8> {
        let mut bytes = self.shape.into_bytes();
        for column in self
            .columns
            .into_iter()
            .chain([self.reasons, self.mentioned])
        {
            bytes.extend(column.into_bytes());
        }
        bytes
    }
}

/// Writes a name's number, and the name itself the first time.
fn refer<'a>(shape: &mut Writer, names: &mut BTreeMap<&'a str, usize>, name: &'a str) -> usize {
    let next = names.len();
    let index = *names.entry(name).or_insert(next);
    shape.count(index);
    if index == next {
        shape.text(name);
    }
    index
}

/// An edit whose ops are still in the columns: for each op the number of its key, or `None` for an
/// op on the record as a whole.
struct Shape<'a> {
    record: Record<'a>,
    deps: Vec<Dot>,
    ops: Vec<Option<usize>>,
}

/// How a shape tells its record.
enum Record<'a> {
    Named { collection: &'a str, id: &'a str },
    Implied(Implied),
}

/// What the shapes have named so far, and which kinds of op each column holds.
#[derive(Default)]
struct Tables<'a> {
    collections: Vec<&'a str>,
    keys: Vec<&'a str>,
    logs: Vec<LogId>,
    columns: Vec<Vec<u8>>,
    reasons: Vec<u8>,
}

fn read_change_set(bytes: &[u8]) -> Result<ChangeSet, WireError> {
    let mut reader = Reader::new(bytes);
    let is_implying = match reader.byte("change set format")? {
        FORMAT_NAMED => false,
        FORMAT_IMPLIED => true,
        _ => return Err(WireError::Malformed("change set format")),
    };
    let hlc = Timestamp(reader.varint("time")?);
    let schema_version = reader.varint_u32("schema version")?;
    let person = reader.text("person", NAME_BYTES_MAX)?.to_owned();

    let mut tables = Tables::default();
    let count = reader.count("number of edits", EDITS_MAX)?;
    let shapes = (0..count)
        .map(|_| read_shape(&mut reader, &mut tables, is_implying))
        .collect::<Result<Vec<_>, _>>()?;

    let mut columns = Vec::with_capacity(tables.keys.len());
    for (key, tags) in tables.keys.iter().zip(&tables.columns) {
        columns.push(read_column(&mut reader, key, tags)?);
    }
    let mut reasons = read_column(&mut reader, "", &tables.reasons)?;
    let tags = read_tags(&mut reader, &shapes)?;
    reader.finish("change set: bytes after its end")?;

    let mut edits = Vec::with_capacity(shapes.len());
    let mut implied = BTreeMap::new();
    for (place, shape) in shapes.into_iter().enumerate() {
        let next = |column: Option<usize>| match column {
            Some(index) => columns.get_mut(index).and_then(Iterator::next),
            None => reasons.next(),
        };
        let ops = shape.ops.into_iter().map(next).collect::<Option<Vec<_>>>();
        let (collection, id) = match shape.record {
            Record::Named { collection, id } => (collection, id),
            Record::Implied(earlier) => {
                implied.insert(place, earlier);
                ("", "")
            }
        };
        edits.push(Edit {
            collection: collection.to_owned(),
            id: id.to_owned(),
            deps: shape.deps,
            ops: ops.ok_or(WireError::Malformed("change set: columns"))?,
        });
    }
    Ok(ChangeSet {
        hlc,
        schema_version,
        person,
        edits,
        tags,
        implied,
    })
}

/// The tags of all dependencies, each where its dot is first mentioned.
fn read_tags(
    reader: &mut Reader<'_>,
    shapes: &[Shape<'_>],
) -> Result<BTreeMap<Dot, DotTag>, WireError> {
    let mut tags = BTreeMap::new();
    for dep in shapes.iter().flat_map(|shape| &shape.deps) {
        if !tags.contains_key(dep) {
            tags.insert(*dep, reader.array("tag of a dependency")?);
        }
    }
    Ok(tags)
}

fn read_shape<'a>(
    reader: &mut Reader<'a>,
    tables: &mut Tables<'a>,
    is_implying: bool,
) -> Result<Shape<'a>, WireError> {
    let (record, deps);
    if is_implying {
        deps = read_deps(reader, tables)?;
        record = match read_implied(reader, deps.is_empty())? {
            Some(implied) => Record::Implied(implied),
            None => read_record(reader, &mut tables.collections)?,
        };
    } else {
        record = read_record(reader, &mut tables.collections)?;
        deps = read_deps(reader, tables)?;
    }
    let ops = (0..reader.count("number of ops", OPS_MAX)?)
        .map(|_| read_slot(reader, tables))
        .collect::<Result<_, _>>()?;
    Ok(Shape { record, deps, ops })
}

fn read_deps(reader: &mut Reader<'_>, tables: &mut Tables<'_>) -> Result<Vec<Dot>, WireError> {
    (0..reader.count("number of dependencies", DEPS_MAX)?)
        .map(|_| read_dep(reader, &mut tables.logs))
        .collect()
}

/// The earlier edit that tells the record, or `None` if its name follows.
fn read_implied(reader: &mut Reader<'_>, is_own: bool) -> Result<Option<Implied>, WireError> {
    let number = reader.varint("number of an earlier edit")?;
    let number = usize::try_from(number).unwrap_or(usize::MAX);
    let Some(edit) = number.checked_sub(1) else {
        return Ok(None);
    };
    let back = match is_own {
        true => reader.varint("distance of an earlier entry")?,
        false => 0,
    };
    Ok(Some(Implied { back, edit }))
}

fn read_record<'a>(
    reader: &mut Reader<'a>,
    collections: &mut Vec<&'a str>,
) -> Result<Record<'a>, WireError> {
    let collection = read_name(reader, collections, "collection name")?;
    Ok(Record::Named {
        collection: collections[collection],
        id: reader.text("record id", RECORD_ID_BYTES_MAX)?,
    })
}

/// Reads an op's kind and key, and notes in its column that it will be there.
fn read_slot<'a>(
    reader: &mut Reader<'a>,
    tables: &mut Tables<'a>,
) -> Result<Option<usize>, WireError> {
    let tag = reader.byte("op")?;
    if matches!(tag, op_tag::DELETE | op_tag::RESTORE | op_tag::ACCEPT) {
        tables.reasons.push(tag);
        return Ok(None);
    }
    let key = read_name(reader, &mut tables.keys, "field key")?;
    tables.columns.resize_with(tables.keys.len(), Vec::new);
    tables.columns[key].push(tag);
    Ok(Some(key))
}

/// The number of a name; a new one is added to `names`.
fn read_name<'a>(
    reader: &mut Reader<'a>,
    names: &mut Vec<&'a str>,
    what: &'static str,
) -> Result<usize, WireError> {
    let index = read_index(reader, names.len(), what)?;
    if index == names.len() {
        names.push(reader.text(what, KEY_BYTES_MAX)?);
    }
    Ok(index)
}

fn read_dep(reader: &mut Reader<'_>, logs: &mut Vec<LogId>) -> Result<Dot, WireError> {
    let index = read_index(reader, logs.len(), "dependency's log")?;
    if index == logs.len() {
        logs.push(LogId(reader.array("dependency's log")?));
    }
    Ok(Dot::new(
        logs[index],
        reader.varint("dependency's sequence number")?,
    ))
}

/// A number up to and including `known`, which stands for something new.
fn read_index(
    reader: &mut Reader<'_>,
    known: usize,
    what: &'static str,
) -> Result<usize, WireError> {
    let index = usize::try_from(reader.varint(what)?).map_err(|_| WireError::Malformed(what))?;
    if index > known {
        Err(WireError::Malformed(what))
    } else {
        Ok(index)
    }
}

fn read_column(reader: &mut Reader<'_>, key: &str, tags: &[u8]) -> Result<IntoIter<Op>, WireError> {
    let ops = tags
        .iter()
        .map(|&tag| read_op(reader, key, tag))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(ops.into_iter())
}

fn read_op(reader: &mut Reader<'_>, key: &str, tag: u8) -> Result<Op, WireError> {
    let key = key.to_owned();
    match tag {
        op_tag::SET => Ok(Op::Set {
            key,
            value: read_value(reader)?,
        }),
        op_tag::ADD => Ok(Op::Add {
            key,
            delta: reader.signed("counter delta")?,
        }),
        op_tag::INSERT => Ok(Op::Insert {
            key,
            element: read_value(reader)?,
        }),
        op_tag::REMOVE => Ok(Op::Remove {
            key,
            element: read_value(reader)?,
        }),
        op_tag::RESOLVE => {
            let value = read_value(reader)?;
            let note = reader.text("note", TEXT_BYTES_MAX)?.to_owned();
            Ok(Op::Resolve { key, value, note })
        }
        op_tag::DELETE => Ok(Op::Delete {
            reason: reader.text("reason", TEXT_BYTES_MAX)?.to_owned(),
        }),
        op_tag::RESTORE => Ok(Op::Restore {
            reason: reader.text("reason", TEXT_BYTES_MAX)?.to_owned(),
        }),
        op_tag::ACCEPT => Ok(Op::Accept {
            review: reader.text("review", REVIEW_ID_BYTES)?.to_owned(),
            note: reader.text("note", TEXT_BYTES_MAX)?.to_owned(),
        }),
        _ => Err(WireError::Malformed("op")),
    }
}

#[cfg(test)]
mod tests;
