//! Reads of single reviews: open ones, and those that a person has answered.

use crdt_schema::ident::RecordKey;
use crdt_schema::resolution::Answered;

use super::pack::{Place, Unpacker};
use super::record::split_stamp;
use super::rows::ViewRow;
use super::{Reader, StoreError, tables};

impl Reader {
    /// The answers to a review that stand, the latest first, and the record that they are about.
    ///
    /// # Errors
    /// The store's.
    pub fn answers(&self, review: &str) -> Result<Option<(RecordKey, Vec<Answered>)>, StoreError> {
        self.handle.read(|tx| {
            let number = tx.open_table(tables::ANSWERED)?.get(review)?;
            let Some(number) = number.map(|number| number.value()) else {
                return Ok(None);
            };
            let views = tx.open_table(tables::VIEWS)?;
            let Some(row) = views.get(number)? else {
                return Ok(None);
            };
            // A damaged row is repaired by the next write of its record; until then nothing is known.
            let content = Unpacker::default().unpack(Place::View(number), row.value());
            let Some(content) = content.ok() else {
                return Ok(None);
            };
            let view = split_stamp(&content).and_then(|(_, view)| ViewRow::decode(view).ok());
            let Some(view) = view else {
                return Ok(None);
            };
            let mut answers = view.answered;
            answers.retain(|answer| answer.review.0 == review);
            Ok((!answers.is_empty()).then_some((view.key, answers)))
        })
    }
}
