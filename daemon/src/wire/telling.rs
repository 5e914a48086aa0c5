//! The bytes of the messages in which one side tells its frontier range by range and the other answers.
//!
//! Their meaning is the engine's affair; here they are only bounded, and ascending where a receiver relies on it.

use crdt_schema::ident::LogId;

use super::WireError;
use super::codec::{Reader, Writer};
use super::limits::RANGE_ROWS_MAX;
use super::message::{ANSWER_TAG, Message, RANGE_TAG, RangeRow, TELL_TAG};
use crate::engine::batch::CheckpointId;

pub(super) fn write_tell(writer: &mut Writer, salt: &[u8; 8], base: Option<&CheckpointId>) {
    writer.byte(TELL_TAG);
    writer.raw(salt);
    write_id(writer, base);
}

pub(super) fn write_range(writer: &mut Writer, space: &[u8; 8], ends: bool, rows: &[RangeRow]) {
    writer.byte(RANGE_TAG);
    writer.raw(space);
    writer.flag(ends);
    write_rows(writer, rows);
}

pub(super) fn write_answer(
    writer: &mut Writer,
    more: bool,
    differs: &[(u64, u64)],
    rows: &[RangeRow],
) {
    writer.byte(ANSWER_TAG);
    writer.flag(more);
    writer.count(differs.len());
    for (index, seq) in differs {
        writer.varint(*index);
        writer.varint(*seq);
    }
    write_rows(writer, rows);
}

/// An id that may be absent.
pub(super) fn write_id(writer: &mut Writer, id: Option<&CheckpointId>) {
    writer.flag(id.is_some());
    if let Some(id) = id {
        writer.raw(id);
    }
}

fn write_rows(writer: &mut Writer, rows: &[RangeRow]) {
    writer.count(rows.len());
    for row in rows {
        writer.raw(&row.log.0);
        writer.varint(row.seq);
        writer.raw(&row.tag);
    }
}

pub(super) fn read_tell(reader: &mut Reader<'_>) -> Result<Message, WireError> {
    Ok(Message::Tell {
        salt: reader.array("salt")?,
        base: read_id(reader)?,
    })
}

pub(super) fn read_range(reader: &mut Reader<'_>) -> Result<Message, WireError> {
    Ok(Message::Range {
        space: reader.array("space tag")?,
        ends: reader.flag("end of the space")?,
        rows: read_rows(reader)?,
    })
}

pub(super) fn read_answer(reader: &mut Reader<'_>) -> Result<Message, WireError> {
    let more = reader.flag("more of the answer")?;
    let mut differs = Vec::new();
    for _ in 0..reader.count("number of rows that differ", RANGE_ROWS_MAX)? {
        differs.push((
            reader.varint("index of a row")?,
            reader.varint("sequence number")?,
        ));
    }
    if !differs.is_sorted_by(|a: &(u64, u64), b| a.0 < b.0) {
        return Err(WireError::Malformed("answer: rows not in ascending order"));
    }
    Ok(Message::Answer {
        more,
        differs,
        rows: read_rows(reader)?,
    })
}

pub(super) fn read_id(reader: &mut Reader<'_>) -> Result<Option<CheckpointId>, WireError> {
    let is_there = reader.flag("whether an id follows")?;
    is_there.then(|| reader.array("id")).transpose()
}

fn read_rows(reader: &mut Reader<'_>) -> Result<Vec<RangeRow>, WireError> {
    let mut rows: Vec<RangeRow> = Vec::new();
    for _ in 0..reader.count("number of rows", RANGE_ROWS_MAX)? {
        rows.push(RangeRow {
            log: LogId(reader.array("log")?),
            seq: reader.varint("sequence number")?,
            tag: reader.array("tag")?,
        });
    }
    if !rows.is_sorted_by(|a, b| a.log < b.log) {
        return Err(WireError::Malformed("rows not in ascending order"));
    }
    if rows.iter().any(|row| row.seq == 0) {
        return Err(WireError::Malformed("row with sequence number 0"));
    }
    Ok(rows)
}
