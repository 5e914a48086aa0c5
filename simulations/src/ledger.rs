//! What people did and what they were told, kept outside the devices: the truth that runs are judged by.

use std::collections::{BTreeMap, BTreeSet};

use crdt_schema::ident::Dot;

/// The acknowledged writes of a run.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Every acknowledged change set.
    pub saved: BTreeSet<Dot>,
    /// The sum of acknowledged additions to each record's counter.
    pub added: BTreeMap<String, i64>,
    /// How many writes were refused, for one reason or another.
    pub refused: u64,
}
