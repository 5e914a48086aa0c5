//! Records made from their edits alone, once for all devices that took the same edits in the same order under the
//! same schema: what is made is a function of these and of nothing else.

use std::collections::BTreeMap;

use crdt_schema::document::Document;
use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::Dot;
use crdt_schema::op::Edit;
use crdt_schema::resolution::RecordView;
use crdt_schema::schema::Collection;

/// An edit of a record, as a log has it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Edited {
    pub(super) dot: Dot,
    pub(super) hlc: Timestamp,
    pub(super) version: u32,
    pub(super) edit: Edit,
}

/// A record that was made.
struct Replay {
    collection: Collection,
    edits: Vec<Edited>,
    view: RecordView,
}

/// The last that was made of each record.
#[derive(Default)]
pub(super) struct Replays {
    made: BTreeMap<(String, String), Replay>,
}

impl Replays {
    /// How the record is shown that these edits make, in this order.
    ///
    /// # Errors
    /// Which of them cannot be applied, in words.
    pub(super) fn view(
        &mut self,
        collection: &Collection,
        id: &str,
        edits: &[Edited],
    ) -> Result<&RecordView, String> {
        let key = (collection.name.clone(), id.to_owned());
        let is_made = self
            .made
            .get(&key)
            .is_some_and(|made| made.edits == edits && made.collection == *collection);
        if !is_made {
            let mut document = Document::new();
            for edited in edits {
                let Edited { dot, hlc, .. } = *edited;
                document
                    .apply(dot, hlc, edited.version, &edited.edit)
                    .map_err(|error| format!("{dot}: {error}"))?;
            }
            let replay = Replay {
                collection: collection.clone(),
                edits: edits.to_vec(),
                view: document.view(collection, id),
            };
            self.made.insert(key.clone(), replay);
        }
        Ok(&self.made[&key].view)
    }
}
