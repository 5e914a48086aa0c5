//! Rows of the store: those that a decoder of ours reads, and documents behind their checksum.

use fieldmesh::store::probe::{RowKind, document, document_row as packed, rewrite};

const KINDS: [RowKind; 4] = [RowKind::Log, RowKind::View, RowKind::Peer, RowKind::Retry];

/// The first byte says what kind of row the rest is. What is accepted says the same when it is written again.
pub(crate) fn rows(input: &[u8]) {
    let Some((&kind, row)) = input.split_first() else {
        return;
    };
    let kind = KINDS[usize::from(kind) % KINDS.len()];
    if let Ok(written) = rewrite(kind, row) {
        assert_eq!(rewrite(kind, &written).as_ref(), Ok(&written), "{kind:?}");
    }
}

/// Automerge panics on bytes that it did not write: nothing may come to it that has not our checksum, and nothing
/// has it but what we packed.
pub(crate) fn document_row(row: &[u8]) {
    if let Ok(read) = document(row) {
        let again = document(&packed(&read)).expect("what was packed is read");
        assert!(again.is_same(&read));
    }
}
