//! The parts of a view row that say what a record has to do with others and with people: references,
//! answers and the subjects of reviews.

use crdt_schema::hlc::Timestamp;
use crdt_schema::resolution::{Answered, Reference, ReviewId, ReviewSubject, Target};

use super::rows::{LENGTH_MAX, dot, put_dot, put_value, value};
use crate::wire::WireError;
use crate::wire::codec::{Reader, Writer};

pub(super) fn put_subject(out: &mut Writer, subject: &ReviewSubject) {
    out.byte(match subject {
        ReviewSubject::Deletion => 0,
        ReviewSubject::Field { .. } => 1,
        ReviewSubject::Bounds { .. } => 2,
        ReviewSubject::Invalid { .. } => 3,
        ReviewSubject::Rule { .. } => 4,
        ReviewSubject::Clock { .. } => 5,
        ReviewSubject::Reference { .. } => 6,
        ReviewSubject::Restricted => 7,
    });
    out.text(match subject {
        ReviewSubject::Rule { name } => name,
        other => other.key().unwrap_or_default(),
    });
}

pub(super) fn subject(row: &mut Reader<'_>) -> Result<ReviewSubject, WireError> {
    let kind = row.byte("subject")?;
    let key = row.text("field", LENGTH_MAX)?.to_owned();
    Ok(match kind {
        0 => ReviewSubject::Deletion,
        1 => ReviewSubject::Field { key },
        2 => ReviewSubject::Bounds { key },
        3 => ReviewSubject::Invalid { key },
        4 => ReviewSubject::Rule { name: key },
        5 => ReviewSubject::Clock { key },
        6 => ReviewSubject::Reference { key },
        7 => ReviewSubject::Restricted,
        _ => return Err(WireError::Malformed("subject")),
    })
}

pub(super) fn put_answered(out: &mut Writer, answered: &Answered) {
    out.text(&answered.review.0);
    out.flag(answered.subject.is_some());
    if let Some(subject) = &answered.subject {
        put_subject(out, subject);
    }
    out.flag(answered.value.is_some());
    if let Some(value) = &answered.value {
        put_value(out, value);
    }
    put_dot(out, answered.dot);
    out.varint(answered.hlc.0);
    out.text(&answered.note);
}

pub(super) fn answered(row: &mut Reader<'_>) -> Result<Answered, WireError> {
    let review = ReviewId(row.text("review", LENGTH_MAX)?.to_owned());
    let has_subject = row.flag("subject")?;
    let subject = has_subject.then(|| subject(row)).transpose()?;
    let has_value = row.flag("value")?;
    let value = has_value.then(|| value(row)).transpose()?;
    Ok(Answered {
        review,
        subject,
        value,
        dot: dot(row)?,
        hlc: Timestamp(row.varint("hlc")?),
        note: row.text("note", LENGTH_MAX)?.to_owned(),
    })
}

pub(super) fn put_reference(out: &mut Writer, reference: &Reference) {
    out.text(&reference.key);
    out.text(&reference.collection);
    out.text(&reference.id);
    put_dot(out, reference.dot);
    out.varint(reference.hlc.0);
    out.varint(u64::from(reference.version));
    out.byte(match reference.target {
        Target::Here => 0,
        Target::Unknown => 1,
        Target::Deleted => 2,
    });
}

pub(super) fn reference(row: &mut Reader<'_>) -> Result<Reference, WireError> {
    Ok(Reference {
        key: row.text("field", LENGTH_MAX)?.to_owned(),
        collection: row.text("collection", LENGTH_MAX)?.to_owned(),
        id: row.text("id", LENGTH_MAX)?.to_owned(),
        dot: dot(row)?,
        hlc: Timestamp(row.varint("hlc")?),
        version: row.varint_u32("version")?,
        target: match row.byte("target")? {
            0 => Target::Here,
            1 => Target::Unknown,
            2 => Target::Deleted,
            _ => return Err(WireError::Malformed("target")),
        },
    })
}
