//! References between records: from a record's own view, and what is known of its neighbours, to the view
//! that people see.
//!
//! Nothing is written by the machine. What a deletion means for others is derived from the documents each
//! time one of them changes, so it is the same on every device that holds the same change sets, and a
//! restore undoes all of it. Lives flow from parents to children with `cascade` and from children to
//! parents with `restrict`; a schema allows no circle of them.
//!
//! Who the neighbours are, and when they must be asked again, is the store's affair.

use crate::ident::Dot;
use crate::merge::name_of_review;
use crate::mutation::{Flaw, is_planted};
use crate::resolution::{
    Candidate, Life, RecordView, Reference, Resolution, Review, ReviewSubject, Target,
};
use crate::schema::{Collection, Field, OnDelete};
use crate::value::Value;

/// What is known of the record that a reference leads to: how it is shown, judged itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parent {
    /// Nobody has told this device of it.
    Unknown,
    /// Alive or contested.
    Here,
    /// Deleted, by these deletes.
    Deleted(Vec<Dot>),
}

/// The view of a record among its neighbours. `parents` are those of `own.refs`, in their order.
/// `is_held` says whether a record that lives refers to this one in a way that restricts its deletion;
/// it is asked only if this one would be deleted.
///
/// # Errors
/// Those of `is_held`.
pub fn judge<E>(
    own: RecordView,
    collection: &Collection,
    id: &str,
    parents: &[Parent],
    is_held: impl FnOnce() -> Result<bool, E>,
) -> Result<RecordView, E> {
    let mut view = own;
    for (reference, parent) in view.refs.iter_mut().zip(parents) {
        reference.target = match parent {
            Parent::Unknown => Target::Unknown,
            Parent::Here => Target::Here,
            Parent::Deleted(_) => Target::Deleted,
        };
    }
    cascade(&mut view, collection, parents);
    if view.life == Life::Deleted && is_held()? {
        restrain(&mut view, collection, id);
    }
    if view.life == Life::Deleted {
        // Rules speak of records that are in use.
        view.reviews
            .retain(|review| !matches!(review.subject, ReviewSubject::Rule { .. }));
    } else {
        ask(&mut view, collection, id, parents);
    }
    detach(&mut view, collection);
    Ok(view)
}

fn on_delete(collection: &Collection, reference: &Reference) -> Option<OnDelete> {
    let field = collection.field_by_key(&reference.key);
    field.map(|field| field.on_delete)
}

/// Deletes the record if one that it goes with is deleted.
fn cascade(view: &mut RecordView, collection: &Collection, parents: &[Parent]) {
    for (reference, parent) in view.refs.iter().zip(parents) {
        if let (Some(OnDelete::Cascade), Parent::Deleted(deletes)) =
            (on_delete(collection, reference), parent)
            && !is_planted(Flaw::CascadeIgnored)
        {
            view.life = Life::Deleted;
            view.deleted_by.extend(deletes);
        }
    }
    view.deleted_by.sort_unstable();
    view.deleted_by.dedup();
}

/// Keeps a deletion from taking effect until the records that refer to it are gone, or a person lets it.
fn restrain(view: &mut RecordView, collection: &Collection, id: &str) {
    let review = Review {
        id: name_of_review(collection, id, "!restricted", &view.deleted_by),
        subject: ReviewSubject::Restricted,
        candidates: Vec::new(),
        // It is deleted, so somebody deleted it.
        provisional: match view.deleted_by.first() {
            Some(&dot) => dot,
            None => return,
        },
    };
    if settle(view, &review) {
        return;
    }
    view.life = Life::Contested;
    view.deleted_by.clear();
    view.reviews.push(review);
}

/// Opens a review on each reference to a record that is deleted and that this one outlives.
fn ask(view: &mut RecordView, collection: &Collection, id: &str, parents: &[Parent]) {
    let mut asked = Vec::new();
    for (reference, parent) in view.refs.iter().zip(parents) {
        let mode = on_delete(collection, reference);
        // A restricted deletion takes effect only if a person has let it, or it came with another.
        let stays = matches!(mode, Some(OnDelete::Review | OnDelete::Restrict));
        let Parent::Deleted(deletes) = parent else {
            continue;
        };
        if !stays {
            continue;
        }
        let mut dots = deletes.clone();
        dots.push(reference.dot);
        let subject = format!("{}!reference", reference.key);
        asked.push(Review {
            id: name_of_review(collection, id, &subject, &dots),
            subject: ReviewSubject::Reference {
                key: reference.key.clone(),
            },
            candidates: vec![Candidate {
                value: Value::Text(reference.id.clone()),
                dot: reference.dot,
                hlc: reference.hlc,
                version: reference.version,
                answer: None,
            }],
            provisional: reference.dot,
        });
    }
    for review in asked {
        if !settle(view, &review) {
            view.reviews.push(review);
        }
    }
}

/// Whether a person has let stand what the review is about; if so, notes what that was.
fn settle(view: &mut RecordView, review: &Review) -> bool {
    if !view.has_accepted(&review.id) {
        return false;
    }
    let answers = view.answered.iter_mut();
    for answer in answers.filter(|answer| answer.review == review.id) {
        answer.subject = Some(review.subject.clone());
    }
    true
}

/// Shows no references to records that are deleted where the schema says so.
fn detach(view: &mut RecordView, collection: &Collection) {
    for field in detached(view, collection) {
        view.fields.shift_remove(&field.name);
    }
}

fn detached<'c>(view: &RecordView, collection: &'c Collection) -> Vec<&'c Field> {
    let gone = view
        .refs
        .iter()
        .filter(|reference| reference.target == Target::Deleted);
    gone.filter_map(|reference| collection.field_by_key(&reference.key))
        .filter(|field| field.on_delete == OnDelete::Detach)
        .collect()
}

/// Adds to the reasons for a record's own values what its neighbours make of them. `view` is judged.
pub fn explain(view: &RecordView, collection: &Collection, resolutions: &mut [Resolution]) {
    for reference in &view.refs {
        let Some(field) = collection.field_by_key(&reference.key) else {
            continue;
        };
        let Reference {
            collection: to, id, ..
        } = reference;
        let said = match (reference.target, field.on_delete) {
            (Target::Here, _) => continue,
            (Target::Unknown, _) => format!("waiting for {to}/{id}, which is not here yet"),
            (Target::Deleted, OnDelete::Cascade) => {
                format!("{to}/{id} is deleted, and this record with it as long as it is")
            }
            (Target::Deleted, OnDelete::Detach) => {
                format!("it refers to {to}/{id}, and reads as empty as long as that is deleted")
            }
            (Target::Deleted, OnDelete::Review | OnDelete::Restrict) => {
                format!("{to}/{id} is deleted")
            }
        };
        let resolution = resolutions
            .iter_mut()
            .find(|resolution| resolution.field == field.name);
        let Some(resolution) = resolution else {
            continue;
        };
        resolution.why = format!("{}; {said}", resolution.why);
        resolution.value = view.fields.get(&field.name).cloned().unwrap_or_default();
        let review = view.reviews.iter().find(|review| {
            matches!(&review.subject, ReviewSubject::Reference { key } if *key == field.key)
        });
        if resolution.review.is_none() {
            resolution.review = review.map(|review| review.id.clone());
        }
    }
}

#[cfg(test)]
mod tests;
