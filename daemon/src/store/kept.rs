//! What one write transaction leaves for the next: documents at hand, our own logs, and the state of compression.
//!
//! Invariants:
//! - A document here is the one that is stored: it is taken out to be changed and comes back when it has been
//!   written. What a transaction was given is lost with it, so a failed one leaves nothing behind.
//! - At most [`DOCUMENTS_MAX`] documents, and [`SAVED_BYTES_MAX`] of what they are saved as.
//!
//! To read a document back takes longer than to change it, and people change one record several times.

use std::collections::BTreeMap;

use crdt_schema::document::Document;
use crdt_schema::ident::{LogId, SpaceName};

use super::pack::{Packer, Unpacker};

/// Most documents at hand: some 2 MB of usual ones.
const DOCUMENTS_MAX: usize = 128;

/// Most bytes that they are saved as, all together: a document takes many times that in memory.
const SAVED_BYTES_MAX: usize = 512 << 10;

/// What a transaction begins with and leaves.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) documents: Documents,
    pub(super) packer: Packer,
    pub(super) entry_packer: Packer,
    pub(super) unpacker: Unpacker,
    /// The own logs of spaces that the transactions before have found to be noted as such.
    pub(super) adopted: BTreeMap<SpaceName, LogId>,
}

/// Documents by the numbers of their records, the most recently used.
#[derive(Debug, Default)]
pub(super) struct Documents {
    held: BTreeMap<u64, Held>,
    /// Which was put in when.
    order: BTreeMap<u64, u64>,
    next: u64,
    saved_bytes: usize,
}

#[derive(Debug)]
struct Held {
    document: Document,
    saved_bytes: usize,
    place: u64,
}

impl Documents {
    /// Takes the record's document, if it is at hand, with the length that it is saved as.
    pub(super) fn take(&mut self, number: u64) -> Option<(Document, usize)> {
        let held = self.held.remove(&number)?;
        self.order.remove(&held.place);
        self.saved_bytes -= held.saved_bytes;
        Some((held.document, held.saved_bytes))
    }

    /// Keeps the record's document as it is stored now. Lets those go that have not been used for longest.
    pub(super) fn put(&mut self, number: u64, document: Document, saved_bytes: usize) {
        self.take(number);
        let place = self.next;
        self.next += 1;
        self.saved_bytes += saved_bytes;
        self.order.insert(place, number);
        let held = Held {
            document,
            saved_bytes,
            place,
        };
        self.held.insert(number, held);
        while self.held.len() > DOCUMENTS_MAX || self.saved_bytes > SAVED_BYTES_MAX {
            let Some((_, oldest)) = self.order.pop_first() else {
                break;
            };
            self.take(oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_recently_used_documents_stay_within_the_bounds() {
        let mut documents = Documents::default();
        for number in 0..DOCUMENTS_MAX as u64 {
            documents.put(number, Document::new(), 1);
        }
        let (first, _) = documents.take(0).expect("at hand");
        documents.put(0, first, 1);

        documents.put(1000, Document::new(), 1);
        assert!(documents.take(1).is_none());
        assert!(documents.take(0).is_some() && documents.take(1000).is_some());

        documents.put(2000, Document::new(), SAVED_BYTES_MAX);
        assert!(documents.take(2).is_none() && documents.take(2000).is_some());
        assert_eq!((documents.saved_bytes, documents.order.len()), (0, 0));

        documents.put(3000, Document::new(), SAVED_BYTES_MAX + 1);
        assert!(documents.take(3000).is_none());
    }

    #[test]
    fn a_document_that_is_put_again_counts_once() {
        let mut documents = Documents::default();

        documents.put(7, Document::new(), 300);
        documents.put(7, Document::new(), 200);

        assert_eq!(documents.saved_bytes, 200);
        assert_eq!(documents.order.len(), 1);
        assert!(documents.take(7).is_some() && documents.take(7).is_none());
    }
}
