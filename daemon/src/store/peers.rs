//! What is known of peers. Many transactions write nothing else: they open no log and no record.

use redb::WriteTransaction;

use crate::engine::batch::{Batch, CommitReport, PeerRow};

use super::commit::{Committed, Facts};
use super::database::Ending;
use super::kept::Kept;
use super::rows::encode_peer;
use super::trouble::Trouble;
use super::{meta, tables};

/// Writes the peers among the batches, which are all there is to write.
pub(super) fn commit(
    tx: &WriteTransaction,
    facts: Facts<'_>,
    batches: &[Batch],
    kept: Kept,
) -> Result<Ending<Committed>, Trouble> {
    let mut has_writes = false;
    for batch in batches {
        if let Batch::Peer(peer) = batch {
            put(tx, peer)?;
            has_writes = true;
        }
    }
    let committed = Committed {
        report: CommitReport {
            arrival: facts.arrival,
            ..CommitReport::default()
        },
        has_published: false,
        kept,
    };
    if !has_writes {
        return Ok(Ending::Abort(committed));
    }
    meta::count_commit(tx)?;
    Ok(Ending::Commit(committed))
}

pub(super) fn put(tx: &WriteTransaction, peer: &PeerRow) -> Result<(), Trouble> {
    tx.open_table(tables::PEERS)?
        .insert(peer.device.0, encode_peer(peer).as_slice())?;
    Ok(())
}
