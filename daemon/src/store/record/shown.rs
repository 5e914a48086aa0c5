//! What a view row says that other tables repeat: so that these are changed where it changes, and only there.

use std::collections::BTreeSet;

use crdt_schema::ident::Dot;
use crdt_schema::resolution::{Answered, Life, RecordView, Reference, Review};

use super::super::rows::ViewRow;

/// What the other tables derive from a view row.
#[derive(Clone, Debug, Default)]
pub(super) struct Shown {
    pub(super) is_deleted: bool,
    pub(super) deleted_by: Vec<Dot>,
    pub(super) reviews: BTreeSet<String>,
    pub(super) answered: BTreeSet<String>,
    pub(super) refs: Vec<Reference>,
}

impl Shown {
    pub(super) fn of_row(row: &ViewRow<'_>) -> Self {
        Self::of(
            row.life,
            &row.deleted_by,
            &row.reviews,
            &row.answered,
            &row.refs,
        )
    }

    pub(super) fn of_view(view: &RecordView) -> Self {
        Self::of(
            view.life,
            &view.deleted_by,
            &view.reviews,
            &view.answered,
            &view.refs,
        )
    }

    fn of(
        life: Life,
        deleted_by: &[Dot],
        reviews: &[Review],
        answered: &[Answered],
        refs: &[Reference],
    ) -> Self {
        let answered = answered.iter().map(|answer| answer.review.0.clone());
        Self {
            is_deleted: life == Life::Deleted,
            deleted_by: deleted_by.to_vec(),
            reviews: reviews.iter().map(|review| review.id.0.clone()).collect(),
            answered: answered.collect(),
            refs: refs.to_vec(),
        }
    }
}
