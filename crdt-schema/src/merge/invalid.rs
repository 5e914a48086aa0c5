//! Values that break the schema: kept, shown, and put before a person.
//!
//! Another device may have written under another version of the schema. Refusing its value would make
//! devices differ, so the value that won is shown as it is and a review opens on it. Its name comes from
//! that write alone: it stays the same while other writes lose to it, and it closes when any valid value
//! wins. Where a review of the field is open already, that one is enough.

use std::collections::BTreeMap;

use super::{Merged, Record, lww, review};
use crate::ident::Dot;
use crate::lens::Stuck;
use crate::resolution::{Review, ReviewSubject};
use crate::schema::{Field, check_value};

/// Opens a review if the value that won breaks the schema, or if no migration could carry it.
pub(super) fn check(
    mut merged: Merged,
    field: &Field,
    record: &Record<'_>,
    stuck: &BTreeMap<(String, Dot), Stuck>,
) -> Merged {
    let Some(winner) = merged.winner.as_ref().filter(|_| merged.review.is_none()) else {
        return merged;
    };
    let reason = match stuck.get(&(field.key.clone(), winner.dot)) {
        Some(Stuck { to, with }) => format!(
            "the migration to version {to} ({with}) cannot carry what was written under version {}",
            winner.version
        ),
        None => match check_value(field, &winner.value) {
            Ok(()) => return merged,
            Err(error) => format!("it breaks the schema ({})", error.message),
        },
    };
    let subject = format!("{}!invalid", field.key);
    let mut candidates = vec![winner.clone()];
    candidates.extend(lww::ranked(&merged.others));
    merged.review = Some(Review {
        id: review::name(record, &subject, std::iter::once(winner.dot)),
        subject: ReviewSubject::Invalid {
            key: field.key.clone(),
        },
        provisional: winner.dot,
        candidates,
    });
    merged.why = format!("{}; {reason}, so it waits for a person", merged.why);
    merged
}
