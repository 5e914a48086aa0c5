//! Signatures that have been verified once in this thread.
//!
//! In a fleet every device verifies every entry; here one of them does it for all, in either fidelity, and for the
//! audit at the end. What is remembered is the whole of what was verified, so a damaged or invented signature is
//! judged each time, as it should be.

use std::cell::RefCell;
use std::collections::HashMap;

use crdt_schema::ident::{LogId, OrganisationId};
use fieldmesh::engine::batch::LogHeader;
use fieldmesh::wire::chain::verify_point;

/// What was signed, and the signature.
type Good = (LogHeader, [u8; 32], [u8; 64]);

thread_local! {
    static VERIFIED: RefCell<HashMap<(LogId, u64), Good>> = RefCell::default();
}

/// Forgets all of it: a run ends.
pub(crate) fn forget() {
    VERIFIED.with_borrow_mut(HashMap::clear);
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

#[cfg(test)]
mod tests {
    use crdt_schema::ident::SpaceName;
    use fieldmesh::wire::chain::sign_point;

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
}
