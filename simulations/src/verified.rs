//! Signatures that have been verified and entries that have been read once in this thread.
//!
//! In a fleet every device verifies and reads every entry; here one of them does it for all, in either fidelity, and
//! for the audit at the end. What is remembered is the whole of what was judged, so a damaged or invented signature
//! or entry is judged each time, as it should be.

pub(crate) mod texts;

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use crdt_schema::ident::{LogId, OrganisationId};
use crdt_schema::op::ChangeSet;
use fieldmesh::engine::batch::LogHeader;
use fieldmesh::wire::WireError;
use fieldmesh::wire::chain::verify_point;
use fieldmesh::wire::changeset::decode_change_set;

/// What was signed, and the signature.
type Good = (LogHeader, [u8; 32], [u8; 64]);

thread_local! {
    static VERIFIED: RefCell<HashMap<(LogId, u64), Good>> = RefCell::default();
    /// By the bytes.
    static READ: RefCell<HashMap<Box<[u8]>, Arc<ChangeSet>>> = RefCell::default();
}

/// Forgets all of it: a run ends.
pub(crate) fn forget() {
    VERIFIED.with_borrow_mut(HashMap::clear);
    READ.with_borrow_mut(HashMap::clear);
}

/// The answer of [`verify_point`], for one organisation.
pub(crate) fn check(
    organisation: &OrganisationId,
    header: &LogHeader,
    seq: u64,
    chain: &[u8; 32],
    signature: &[u8; 64],
) -> bool {
    let is_known = VERIFIED.with_borrow(|known| {
        known
            .get(&(header.log, seq))
            .is_some_and(|good| good.0 == *header && good.1 == *chain && good.2 == *signature)
    });
    let is_good = is_known || verify_point(organisation, header, seq, chain, signature);
    if is_good && !is_known {
        let good = (header.clone(), *chain, *signature);
        VERIFIED.with_borrow_mut(|known| known.insert((header.log, seq), good));
    }
    is_good
}

/// The answer of [`decode_change_set`].
pub(super) fn read(bytes: &[u8]) -> Result<Arc<ChangeSet>, WireError> {
    if let Some(set) = READ.with_borrow(|known| known.get(bytes).cloned()) {
        return Ok(set);
    }
    let set = Arc::new(decode_change_set(bytes)?);
    READ.with_borrow_mut(|known| known.insert(bytes.into(), Arc::clone(&set)));
    Ok(set)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crdt_schema::hlc::Timestamp;
    use crdt_schema::ident::SpaceName;
    use crdt_schema::op::{Edit, Op};
    use fieldmesh::wire::chain::sign_point;
    use fieldmesh::wire::changeset::encode_change_set;

    use super::*;
    use crate::device::{ORGANISATION, device_id, signing_key};

    #[test]
    fn what_was_verified_does_not_vouch_for_anything_else() {
        let header = LogHeader {
            log: LogId([1; 16]),
            space: SpaceName::default(),
            device: device_id(1),
            name: "device 1".to_owned(),
            branch_of: None,
        };
        let signature = sign_point(&signing_key(1), &ORGANISATION, &header, 3, &[5; 32]);
        let check = |seq, chain, signature| check(&ORGANISATION, &header, seq, chain, signature);

        assert!(check(3, &[5; 32], &signature));
        assert!(check(3, &[5; 32], &signature));
        let mut damaged = signature;
        damaged[9] ^= 1;
        assert!(!check(3, &[5; 32], &damaged));
        assert!(!check(3, &[6; 32], &signature));
        assert!(!check(4, &[5; 32], &signature));
        forget();
        assert!(!check(3, &[5; 32], &damaged));
    }

    #[test]
    fn an_entry_that_was_read_does_not_stand_for_another() {
        let set = ChangeSet {
            hlc: Timestamp(7),
            schema_version: 1,
            person: "p".to_owned(),
            edits: vec![Edit {
                collection: "patient".to_owned(),
                id: "1".to_owned(),
                deps: Vec::new(),
                ops: vec![Op::Add {
                    key: "k".to_owned(),
                    delta: 1,
                }],
            }],
            tags: BTreeMap::new(),
            implied: BTreeMap::new(),
        };
        let bytes = encode_change_set(&set);
        let mut later = bytes.clone();
        later[1] += 1;
        let mut damaged = bytes.clone();
        damaged[0] = 99;

        for _ in 0..2 {
            assert_eq!(read(&bytes).as_deref(), Ok(&set));
            assert!(read(&damaged).is_err());
            assert_eq!(read(&later).map(|set| set.hlc), Ok(Timestamp(8)));
        }
    }
}
