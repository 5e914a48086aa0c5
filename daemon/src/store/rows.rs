//! How rows are laid out in bytes, with the wire's codec.
//!
//! Every encoder has its decoder beside it, and decoders refuse what no encoder wrote. A view's
//! fields come last and as JSON, so that what a commit needs of the old view is read without
//! parsing them.

use std::sync::Arc;

use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::{DeviceId, Dot, LogId, RecordKey, SpaceName};
use crdt_schema::resolution::{Answered, Candidate, Life, RecordView, Reference, Review, ReviewId};
use crdt_schema::value::Value;

use crate::engine::batch::{
    Checkpoint, Checkpoints, CommitOutcome, ForkPoint, FrontierRow, Held, LogHeader, PeerRow,
};
use crate::wire::WireError;
use crate::wire::codec::{Reader, Writer};

use super::relations::{self, put_answered, put_reference, put_subject, subject};

/// Longest text or list in a row. Rows are our own and have checksums, so this only keeps a
/// decoder's bug from asking for the whole memory.
pub(super) const LENGTH_MAX: usize = 256 << 20;

/// How far a log is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LogRow {
    pub(super) header: LogHeader,
    /// The last entry held, and the newest signed point.
    pub(super) seq: u64,
    /// The chain value there.
    pub(super) chain: [u8; 32],
    /// Entry bytes between the newest signed point and the one before it.
    pub(super) gap_bytes: u64,
    /// The time of the last entry.
    pub(super) hlc: Timestamp,
}

impl LogRow {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.raw(&self.header.log.0);
        out.text(self.header.space.as_str());
        out.raw(&self.header.device.0);
        out.text(&self.header.name);
        out.varint(self.seq);
        out.raw(&self.chain);
        out.varint(self.gap_bytes);
        out.varint(self.hlc.0);
        out.flag(self.header.branch_of.is_some());
        if let Some(point) = &self.header.branch_of {
            out.raw(&point.log.0);
            out.varint(point.after);
            out.raw(&point.chain);
        }
        out.into_bytes()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut row = Reader::new(bytes);
        let log = LogId(row.array("log")?);
        let space = space(&mut row)?;
        let device = DeviceId(row.array("device")?);
        let name = row.text("name", LENGTH_MAX)?.to_owned();
        let mut this = Self {
            header: LogHeader {
                log,
                space,
                device,
                name,
                branch_of: None,
            },
            seq: row.varint("seq")?,
            chain: row.array("chain")?,
            gap_bytes: row.varint("gap")?,
            hlc: Timestamp(row.varint("hlc")?),
        };
        if row.flag("branch")? {
            this.header.branch_of = Some(ForkPoint {
                log: LogId(row.array("log")?),
                after: row.varint("seq")?,
                chain: row.array("chain")?,
            });
        }
        row.finish("log row")?;
        Ok(this)
    }

    pub(super) fn frontier(&self) -> FrontierRow {
        FrontierRow {
            header: self.header.clone(),
            seq: self.seq,
            chain: self.chain,
            hlc: self.hlc,
        }
    }
}

/// Encodes a record's view. `key` goes with it, so that a row says whose it is.
pub(super) fn encode_view(key: &RecordKey, view: &RecordView) -> Vec<u8> {
    let mut out = Writer::new();
    out.byte(match view.life {
        Life::Live => 0,
        Life::Deleted => 1,
        Life::Contested => 2,
    });
    out.varint(view.updated.0);
    out.count(view.heads.len());
    view.heads.iter().for_each(|&dot| put_dot(&mut out, dot));
    out.text(key.space.as_str());
    out.text(&key.collection);
    out.text(&key.id);
    out.count(view.reviews.len());
    view.reviews
        .iter()
        .for_each(|review| put_review(&mut out, review));
    out.count(view.answered.len());
    view.answered
        .iter()
        .for_each(|answered| put_answered(&mut out, answered));
    out.count(view.refs.len());
    view.refs
        .iter()
        .for_each(|reference| put_reference(&mut out, reference));
    out.count(view.deleted_by.len());
    view.deleted_by
        .iter()
        .for_each(|&dot| put_dot(&mut out, dot));
    out.count(view.partial.len());
    view.partial.iter().for_each(|lack| out.text(lack));
    // Maps of JSON values with text keys always have a JSON form.
    out.bytes(&serde_json::to_vec(&view.legacy).unwrap_or_default());
    out.bytes(&serde_json::to_vec(&view.fields).unwrap_or_default());
    out.into_bytes()
}

/// A view row, all but its fields parsed.
#[derive(Debug)]
pub(super) struct ViewRow<'a> {
    pub(super) key: RecordKey,
    pub(super) life: Life,
    pub(super) reviews: Vec<Review>,
    pub(super) answered: Vec<Answered>,
    pub(super) refs: Vec<Reference>,
    pub(super) deleted_by: Vec<Dot>,
    heads: Vec<Dot>,
    updated: Timestamp,
    partial: Vec<String>,
    legacy: &'a [u8],
    fields: &'a [u8],
}

impl<'a> ViewRow<'a> {
    pub(super) fn decode(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut row = Reader::new(bytes);
        let life = match row.byte("life")? {
            0 => Life::Live,
            1 => Life::Deleted,
            2 => Life::Contested,
            _ => return Err(WireError::Malformed("life")),
        };
        let updated = Timestamp(row.varint("updated")?);
        let heads = list(&mut row, "heads", dot)?;
        let key = RecordKey {
            space: space(&mut row)?,
            collection: row.text("collection", LENGTH_MAX)?.to_owned(),
            id: row.text("id", LENGTH_MAX)?.to_owned(),
        };
        let reviews = list(&mut row, "reviews", review)?;
        let answered = list(&mut row, "answers", relations::answered)?;
        let refs = list(&mut row, "references", relations::reference)?;
        let deleted_by = list(&mut row, "deletes", dot)?;
        let partial = list(&mut row, "partial", |row| {
            Ok(row.text("partial", LENGTH_MAX)?.to_owned())
        })?;
        let legacy = row.bytes("legacy", LENGTH_MAX)?;
        let fields = row.bytes("fields", LENGTH_MAX)?;
        row.finish("view row")?;
        Ok(Self {
            key,
            life,
            reviews,
            answered,
            refs,
            deleted_by,
            heads,
            updated,
            partial,
            legacy,
            fields,
        })
    }

    pub(super) fn into_view(self) -> Result<(RecordKey, RecordView), WireError> {
        let fields =
            serde_json::from_slice(self.fields).map_err(|_| WireError::Malformed("fields"))?;
        let legacy =
            serde_json::from_slice(self.legacy).map_err(|_| WireError::Malformed("legacy"))?;
        let view = RecordView {
            fields,
            life: self.life,
            reviews: self.reviews,
            heads: self.heads,
            updated: self.updated,
            answered: self.answered,
            refs: self.refs,
            deleted_by: self.deleted_by,
            partial: self.partial,
            legacy,
        };
        Ok((self.key, view))
    }
}

/// Encodes a peer, without its device, which is the row's key.
pub(super) fn encode_peer(peer: &PeerRow) -> Vec<u8> {
    let mut out = Writer::new();
    out.text(&peer.name);
    out.flag(peer.hub);
    out.varint(peer.last_seen_ms);
    out.count(peer.held.len());
    for (&log, &seq) in peer.held.iter() {
        put_dot(&mut out, Dot::new(log, seq));
    }
    put_checkpoint(&mut out, peer.checkpoints.agreed.as_ref());
    put_checkpoint(&mut out, peer.checkpoints.tentative.as_ref());
    out.into_bytes()
}

fn put_checkpoint(out: &mut Writer, checkpoint: Option<&Checkpoint>) {
    out.flag(checkpoint.is_some());
    if let Some(checkpoint) = checkpoint {
        out.raw(&checkpoint.id);
        out.varint(checkpoint.arrival);
        out.count(checkpoint.rows.len());
        for &(log, seq) in checkpoint.rows.iter() {
            put_dot(out, Dot::new(log, seq));
        }
    }
}

fn checkpoint(row: &mut Reader<'_>) -> Result<Option<Checkpoint>, WireError> {
    if !row.flag("checkpoint")? {
        return Ok(None);
    }
    let (id, arrival) = (row.array("checkpoint")?, row.varint("arrival")?);
    let rows = list(row, "checkpoint", dot)?;
    if !rows.is_sorted_by(|a, b| a.log < b.log) {
        return Err(WireError::Malformed("checkpoint"));
    }
    Ok(Some(Checkpoint {
        id,
        arrival,
        rows: rows.into_iter().map(|dot| (dot.log, dot.seq)).collect(),
    }))
}

pub(super) fn decode_peer(device: DeviceId, bytes: &[u8]) -> Result<PeerRow, WireError> {
    let mut row = Reader::new(bytes);
    let name = row.text("name", LENGTH_MAX)?.to_owned();
    let hub = row.flag("hub")?;
    let last_seen_ms = row.varint("last seen")?;
    let held: Held = list(&mut row, "held", dot)?
        .into_iter()
        .map(|dot| (dot.log, dot.seq))
        .collect();
    // Rows of the first version end here.
    let checkpoints = match row.is_empty() {
        true => Checkpoints::default(),
        false => Checkpoints {
            agreed: checkpoint(&mut row)?,
            tentative: checkpoint(&mut row)?,
        },
    };
    row.finish("peer row")?;
    Ok(PeerRow {
        device,
        name,
        hub,
        last_seen_ms,
        held: Arc::new(held),
        checkpoints,
    })
}

/// A request that may be retried, and what came of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RetryRow {
    pub(super) fingerprint: [u8; 32],
    /// Its position among all such rows ever written.
    pub(super) order: u64,
    pub(super) unix_ms: u64,
    pub(super) outcome: CommitOutcome,
}

impl RetryRow {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.raw(&self.fingerprint);
        out.varint(self.order);
        out.varint(self.unix_ms);
        // Plain data with text keys always has a JSON form.
        out.bytes(&serde_json::to_vec(&self.outcome).unwrap_or_default());
        out.into_bytes()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut row = Reader::new(bytes);
        let fingerprint = row.array("fingerprint")?;
        let order = row.varint("order")?;
        let unix_ms = row.varint("time")?;
        let outcome = serde_json::from_slice(row.bytes("outcome", LENGTH_MAX)?)
            .map_err(|_| WireError::Malformed("outcome"))?;
        row.finish("retry row")?;
        Ok(Self {
            fingerprint,
            order,
            unix_ms,
            outcome,
        })
    }
}

pub(super) fn put_dot(out: &mut Writer, dot: Dot) {
    out.raw(&dot.log.0);
    out.varint(dot.seq);
}

pub(super) fn dot(row: &mut Reader<'_>) -> Result<Dot, WireError> {
    Ok(Dot::new(LogId(row.array("log")?), row.varint("seq")?))
}

fn put_review(out: &mut Writer, review: &Review) {
    out.text(&review.id.0);
    put_subject(out, &review.subject);
    out.count(review.candidates.len());
    for candidate in &review.candidates {
        put_value(out, &candidate.value);
        put_dot(out, candidate.dot);
        out.varint(candidate.hlc.0);
        out.varint(candidate.version.into());
        out.flag(candidate.answer.is_some());
        out.text(candidate.answer.as_deref().unwrap_or_default());
    }
    put_dot(out, review.provisional);
}

fn review(row: &mut Reader<'_>) -> Result<Review, WireError> {
    let id = ReviewId(row.text("review", LENGTH_MAX)?.to_owned());
    let subject = subject(row)?;
    let candidates = list(row, "candidates", candidate)?;
    let provisional = dot(row)?;
    Ok(Review {
        id,
        subject,
        candidates,
        provisional,
    })
}

fn candidate(row: &mut Reader<'_>) -> Result<Candidate, WireError> {
    let value = value(row)?;
    let dot = dot(row)?;
    let hlc = Timestamp(row.varint("hlc")?);
    let version = row.varint_u32("schema version")?;
    let answered = row.flag("answered")?;
    let note = row.text("answer", LENGTH_MAX)?;
    Ok(Candidate {
        value,
        dot,
        hlc,
        version,
        answer: answered.then(|| note.to_owned()),
    })
}

pub(super) fn put_value(out: &mut Writer, value: &Value) {
    match value {
        Value::Null => out.byte(0),
        Value::Bool(b) => {
            out.byte(1);
            out.flag(*b);
        }
        Value::Integer(i) => {
            out.byte(2);
            out.signed(*i);
        }
        Value::Number(n) => {
            out.byte(3);
            out.float(*n);
        }
        Value::Text(t) => {
            out.byte(4);
            out.text(t);
        }
        Value::Json(t) => {
            out.byte(5);
            out.text(t);
        }
    }
}

pub(super) fn value(row: &mut Reader<'_>) -> Result<Value, WireError> {
    Ok(match row.byte("value")? {
        0 => Value::Null,
        1 => Value::Bool(row.flag("bool")?),
        2 => Value::Integer(row.signed("integer")?),
        3 => Value::Number(row.float("number")?),
        4 => Value::Text(row.text("text", LENGTH_MAX)?.to_owned()),
        5 => Value::Json(row.text("json", LENGTH_MAX)?.to_owned()),
        _ => return Err(WireError::Malformed("value")),
    })
}

fn space(row: &mut Reader<'_>) -> Result<SpaceName, WireError> {
    SpaceName::new(row.text("space", SpaceName::BYTES_MAX)?)
        .map_err(|_| WireError::Malformed("space"))
}

fn list<T>(
    row: &mut Reader<'_>,
    what: &'static str,
    item: fn(&mut Reader<'_>) -> Result<T, WireError>,
) -> Result<Vec<T>, WireError> {
    let count = row.count(what, LENGTH_MAX)?;
    (0..count).map(|_| item(row)).collect()
}

#[cfg(test)]
mod tests {
    use crdt_schema::resolution::{ReviewSubject, Target};

    use super::*;

    fn some_dot(byte: u8) -> Dot {
        Dot::new(LogId([byte; 16]), u64::from(byte) << 20)
    }

    #[test]
    fn log_rows_round_trip() {
        let row = LogRow {
            header: LogHeader {
                log: LogId([1; 16]),
                space: SpaceName::default(),
                device: DeviceId([2; 32]),
                name: "tablet 7".to_owned(),
                branch_of: None,
            },
            seq: 300,
            chain: [3; 32],
            gap_bytes: 70_000,
            hlc: Timestamp::from_ms(1_790_000_000_000),
        };

        assert_eq!(LogRow::decode(&row.encode()).as_ref(), Ok(&row));
        assert!(LogRow::decode(&row.encode()[1..]).is_err());
    }

    #[test]
    fn views_round_trip_with_their_reviews() {
        let candidate = |value: Value, answer: Option<&str>| Candidate {
            value,
            dot: some_dot(4),
            hlc: Timestamp(9),
            version: 3,
            answer: answer.map(str::to_owned),
        };
        let review = |id: &str, subject: ReviewSubject| Review {
            id: ReviewId(id.to_owned()),
            subject,
            candidates: vec![
                candidate(Value::Null, None),
                candidate(Value::Bool(true), Some("")),
                candidate(Value::Integer(-5), Some("seen the card")),
                candidate(Value::Number(0.5), None),
                candidate(Value::Text("Amina".to_owned()), None),
                candidate(Value::Json("{}".to_owned()), None),
            ],
            provisional: some_dot(5),
        };
        let key = RecordKey {
            space: SpaceName::default(),
            collection: "patient".to_owned(),
            id: "KE-1".to_owned(),
        };
        let fields = serde_json::json!({"name": "Amina", "born": "1990-01-02", "tags": ["a", "b"]});
        let view = RecordView {
            fields: fields.as_object().cloned().unwrap_or_default(),
            life: Life::Contested,
            reviews: vec![
                review(
                    "r1",
                    ReviewSubject::Field {
                        key: "name".to_owned(),
                    },
                ),
                review("r2", ReviewSubject::Deletion),
                review(
                    "r3",
                    ReviewSubject::Bounds {
                        key: "visits".to_owned(),
                    },
                ),
                review(
                    "r4",
                    ReviewSubject::Invalid {
                        key: "name".to_owned(),
                    },
                ),
            ],
            heads: vec![some_dot(1), some_dot(2)],
            updated: Timestamp(77),
            partial: vec!["outcome (since version 3)".to_owned()],
            legacy: serde_json::Map::from_iter([("old".to_owned(), 7.into())]),
            answered: vec![Answered {
                review: ReviewId("r5".to_owned()),
                subject: Some(ReviewSubject::Rule {
                    name: "a < 0".to_owned(),
                }),
                value: Some(Value::Integer(3)),
                dot: some_dot(6),
                hlc: Timestamp(8),
                note: "counted".to_owned(),
            }],
            refs: vec![Reference {
                key: "village".to_owned(),
                collection: "place".to_owned(),
                id: "p1".to_owned(),
                dot: some_dot(7),
                hlc: Timestamp(9),
                version: 2,
                target: Target::Unknown,
            }],
            deleted_by: vec![some_dot(8)],
        };

        let bytes = encode_view(&key, &view);

        let read = ViewRow::decode(&bytes).and_then(ViewRow::into_view);
        assert_eq!(read, Ok((key, view)));
    }

    #[test]
    fn peers_round_trip() {
        let peer = PeerRow {
            device: DeviceId([9; 32]),
            name: "hub".to_owned(),
            hub: true,
            last_seen_ms: 12,
            held: Arc::new([(LogId([1; 16]), 5), (LogId([2; 16]), 1 << 40)].into()),
            checkpoints: Checkpoints {
                agreed: None,
                tentative: Some(Checkpoint {
                    id: [3; 8],
                    arrival: 77,
                    rows: [(LogId([1; 16]), 4)].into(),
                }),
            },
        };

        let row = encode_peer(&peer);
        assert_eq!(decode_peer(peer.device, &row), Ok(peer.clone()));
        let before_checkpoints = &row[..row.len() - 29];
        let read = decode_peer(peer.device, before_checkpoints).expect("an old row");
        assert_eq!(read.checkpoints, Checkpoints::default());
        assert_eq!(read.held, peer.held);
    }
}
