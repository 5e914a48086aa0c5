//! What devices hold and show at some moment, in a form in which two runs can be compared.

use std::collections::BTreeMap;

use crdt_schema::resolution::RecordView;
use fieldmesh::engine::batch::Held;

/// What one device holds and shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Holding {
    /// How far it holds each log.
    pub held: Held,
    /// Its records by collection and id, deleted ones too: every field with the value that won, who else
    /// there was, and the reviews.
    pub shown: BTreeMap<(String, String), RecordView>,
}

/// What the devices that are on hold, by number.
pub type Holdings = BTreeMap<usize, Holding>;

/// One digest of all of it.
pub fn digest(holdings: &Holdings) -> String {
    let mut hasher = blake3::Hasher::new();
    for (number, holding) in holdings {
        hasher.update(format!("{number} {:?}\n", holding.held).as_bytes());
        for (name, view) in &holding.shown {
            hasher.update(format!("{name:?} {view:?}\n").as_bytes());
        }
    }
    hasher.finalize().to_hex().to_string()
}
