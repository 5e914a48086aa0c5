//! What a view row says that other tables repeat: so that these are changed where it changes, and only there.

use std::collections::BTreeSet;

use crdt_schema::ident::Dot;
use crdt_schema::resolution::{Answered, Life, RecordView, Reference, Review};

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
    pub(super) fn of(life: Life, deleted_by: &[Dot], reviews: &[Review]) -> Self {
        Self {
            is_deleted: life == Life::Deleted,
            deleted_by: deleted_by.to_vec(),
            reviews: reviews.iter().map(|review| review.id.0.clone()).collect(),
            ..Self::default()
        }
    }

    pub(super) fn with(self, answered: &[Answered], refs: &[Reference]) -> Self {
        Self {
            answered: answered
                .iter()
                .map(|answer| answer.review.0.clone())
                .collect(),
            refs: refs.to_vec(),
            ..self
        }
    }

    pub(super) fn of_view(view: &RecordView) -> Self {
        Self::of(view.life, &view.deleted_by, &view.reviews).with(&view.answered, &view.refs)
    }
}
