//! Chain values, signatures over them, and the keyed hashes of HELLO.
//!
//! Every hash has a purpose of its own, and every field of varying length stands after its length, so no
//! two different things ever hash the same bytes. The chain is over our own canonical encoding: which
//! merge library a device runs is no part of it.
//!
//! Nothing here reads a clock or a frontier; callers say what they chain, sign and compare.

use std::fmt;
use std::sync::LazyLock;

use blake3::Hasher;
use blake3::hazmat::{ContextKey, HasherExt, hash_derive_key_context};
use crdt_schema::ident::{DeviceId, LogId, OrganisationId, SpaceName};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use super::codec::Writer;
use crate::engine::batch::{CheckpointId, LogHeader};

const LOG_PURPOSE: &str = "fieldmesh log v1";
const LOG_ID_PURPOSE: &str = "fieldmesh log id v1";
const ENTRY_PURPOSE: &str = "fieldmesh entry v1";
const LINK_PURPOSE: &str = "fieldmesh link v1";
const BRANCH_PURPOSE: &str = "fieldmesh branch v1";
const POINT_PURPOSE: &str = "fieldmesh point v1";
const PROOF_PURPOSE: &str = "fieldmesh proof v1";
const ORGANISATION_PURPOSE: &str = "fieldmesh organisation v1";
const SPACE_PURPOSE: &str = "fieldmesh space v1";
const ACCORD_PURPOSE: &str = "fieldmesh accord v1";
const ROW_PURPOSE: &str = "fieldmesh row v1";
const CHECKPOINT_PURPOSE: &str = "fieldmesh checkpoint v1";
const ROOT_PURPOSE: &str = "fieldmesh root v1";

// The purposes of what is hashed for every entry, hashed themselves: that would be half of the work.
static LOG_KEY: LazyLock<ContextKey> = LazyLock::new(|| hash_derive_key_context(LOG_PURPOSE));
static LOG_ID_KEY: LazyLock<ContextKey> = LazyLock::new(|| hash_derive_key_context(LOG_ID_PURPOSE));
static ENTRY_KEY: LazyLock<ContextKey> = LazyLock::new(|| hash_derive_key_context(ENTRY_PURPOSE));
static LINK_KEY: LazyLock<ContextKey> = LazyLock::new(|| hash_derive_key_context(LINK_PURPOSE));

/// How much of a frontier is hashed at once: many rows together take a fraction of the time that they take one by
/// one.
const ROOT_BYTES_AT_ONCE: usize = 16 << 10;

/// c_0: binds the log to its organisation, space, device and name. A branch begins with the chain value of the
/// place where it leaves the log.
pub fn chain_start(organisation: &OrganisationId, header: &LogHeader) -> [u8; 32] {
    if let Some(point) = header.branch_of {
        return point.chain;
    }
    let mut fields = Writer::new();
    fields.raw(&organisation.0);
    fields.raw(&header.log.0);
    fields.text(header.space.as_str());
    fields.raw(&header.device.0);
    fields.text(&header.name);
    let mut hasher = Hasher::new_from_context_key(&LOG_KEY);
    hasher.update(&fields.into_bytes());
    hasher.finalize().into()
}

/// c_n from c_{n-1} and the canonical bytes of entry n.
pub fn chain_next(previous: &[u8; 32], entry: &[u8]) -> [u8; 32] {
    chain_link(previous, &entry_digest(entry))
}

/// The digest of an entry, which stands for it where its content is of no matter.
pub fn entry_digest(entry: &[u8]) -> [u8; 32] {
    let mut hasher = Hasher::new_from_context_key(&ENTRY_KEY);
    hasher.update(entry);
    hasher.finalize().into()
}

/// c_n from c_{n-1} and the digest of entry n.
pub fn chain_link(previous: &[u8; 32], digest: &[u8; 32]) -> [u8; 32] {
    let mut hasher = Hasher::new_from_context_key(&LINK_KEY);
    hasher.update(previous);
    hasher.update(digest);
    hasher.finalize().into()
}

/// The id of the branch whose first entry has this chain value: the same on every device, whoever finds the
/// branch, and whatever other branches are known.
pub fn branch_id(first: &[u8; 32]) -> LogId {
    let mut hasher = Hasher::new_derive_key(BRANCH_PURPOSE);
    hasher.update(first);
    LogId(start_of(&hasher.finalize()))
}

/// The author's signature over (organisation, space, log, seq, chain).
pub fn sign_point(
    key: &SigningKey,
    organisation: &OrganisationId,
    header: &LogHeader,
    seq: u64,
    chain: &[u8; 32],
) -> [u8; 64] {
    key.sign(&point(organisation, header, seq, chain))
        .to_bytes()
}

/// Whether `signature` is `header.device`'s over that point. Strict: no weak keys, no second form of a
/// signature. A device id that is no public key has signed nothing.
pub fn verify_point(
    organisation: &OrganisationId,
    header: &LogHeader,
    seq: u64,
    chain: &[u8; 32],
    signature: &[u8; 64],
) -> bool {
    let Ok(key) = VerifyingKey::from_bytes(&header.device.0) else {
        return false;
    };
    let message = point(organisation, header, seq, chain);
    key.verify_strict(&message, &Signature::from_bytes(signature))
        .is_ok()
}

fn point(organisation: &OrganisationId, header: &LogHeader, seq: u64, chain: &[u8; 32]) -> Vec<u8> {
    let mut fields = Writer::new();
    fields.text(POINT_PURPOSE);
    fields.raw(&organisation.0);
    fields.text(header.space.as_str());
    fields.raw(&header.signed_as().0);
    fields.raw(&seq.to_le_bytes());
    fields.raw(chain);
    fields.into_bytes()
}

/// The id of a log that `device` begins in `space`: eight random bytes, which make it new in every
/// incarnation of a store, and eight of a digest, which make it nobody else's. Without the digest a member
/// could begin a log under another's id and so keep the true one out.
pub fn log_id(nonce: [u8; 8], space: &SpaceName, device: &DeviceId, name: &str) -> LogId {
    let mut fields = Writer::new();
    fields.raw(&nonce);
    fields.text(space.as_str());
    fields.raw(&device.0);
    fields.text(name);
    let mut hasher = Hasher::new_from_context_key(&LOG_ID_KEY);
    hasher.update(&fields.into_bytes());
    let digest: [u8; 8] = start_of(&hasher.finalize());
    let mut id = [0; 16];
    id[..8].copy_from_slice(&nonce);
    id[8..].copy_from_slice(&digest);
    LogId(id)
}

/// Whether a log's id is the one that its device gave it. Of a branch it is the id of the log that it leaves;
/// its own id is told by its first entry, see [`branch_id`].
pub fn is_genuine(header: &LogHeader) -> bool {
    let id = header.signed_as();
    let nonce = std::array::from_fn(|index| id.0[index]);
    id == log_id(nonce, &header.space, &header.device, &header.name)
}

/// Stands for the signature at the end of a sealed log: the chain value in the proof of the fork is enough there,
/// and nobody need have signed that very entry.
pub const SEALED: [u8; 64] = [0; 64];

/// Names the organisation in HELLO. Not keyed by the secret, so that a device with a mistyped secret can be
/// told so; whoever does not know the organisation's random id learns nothing from it.
pub fn organisation_tag(organisation: &OrganisationId) -> [u8; 8] {
    let key = blake3::derive_key(ORGANISATION_PURPOSE, &organisation.0);
    std::array::from_fn(|index| key[index])
}

/// What every member of the organisation shares until membership is built.
#[derive(Clone)]
pub struct JoinSecret(pub [u8; 32]);

impl fmt::Debug for JoinSecret {
    /// Never shows the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinSecret(..)")
    }
}

impl JoinSecret {
    /// `from` proves to `to` that it knows the secret.
    pub fn proof(&self, organisation: &OrganisationId, from: &DeviceId, to: &DeviceId) -> [u8; 32] {
        self.proof_hash(organisation, from, to).into()
    }

    /// Whether `proof` is what [`Self::proof`] gives, compared in constant time.
    pub fn verify_proof(
        &self,
        organisation: &OrganisationId,
        from: &DeviceId,
        to: &DeviceId,
        proof: &[u8; 32],
    ) -> bool {
        self.proof_hash(organisation, from, to) == *proof
    }

    /// Names a space to the members, and tells others nothing.
    pub fn space_tag(&self, organisation: &OrganisationId, space: &SpaceName) -> [u8; 8] {
        let mut hasher = self.hasher(SPACE_PURPOSE, organisation);
        hasher.update(space.as_str().as_bytes());
        start_of(&hasher.finalize())
    }

    /// Digest of a space's frontier; `rows` (log, seq, chain) ascending by log. Keyed, so that an
    /// onlooker cannot tell whether two spaces hold the same.
    pub fn space_root<'a>(
        &self,
        organisation: &OrganisationId,
        space: &SpaceName,
        rows: impl Iterator<Item = (&'a LogId, u64, &'a [u8; 32])>,
    ) -> [u8; 16] {
        let mut hasher = self.hasher(ROOT_PURPOSE, organisation);
        let mut name = Writer::new();
        name.text(space.as_str());
        hasher.update(&name.into_bytes());
        let mut some = Vec::with_capacity(ROOT_BYTES_AT_ONCE);
        for (log, seq, chain) in rows {
            some.extend_from_slice(&log.0);
            some.extend_from_slice(&seq.to_le_bytes());
            some.extend_from_slice(chain);
            if some.len() >= ROOT_BYTES_AT_ONCE {
                hasher.update(&some);
                some.clear();
            }
        }
        hasher.update(&some);
        start_of(&hasher.finalize())
    }

    /// Names the frontier whose spaces have these tags and roots, ascending by tag.
    pub fn checkpoint_id<'a>(
        &self,
        organisation: &OrganisationId,
        roots: impl Iterator<Item = (&'a [u8; 8], &'a [u8; 16])>,
    ) -> CheckpointId {
        let mut hasher = self.hasher(CHECKPOINT_PURPOSE, organisation);
        for (tag, root) in roots {
            hasher.update(tag);
            hasher.update(root);
        }
        start_of(&hasher.finalize())
    }

    /// Names what two devices have told each other after so many answers of the telling with this salt.
    pub fn accord_id(
        &self,
        organisation: &OrganisationId,
        salt: &[u8; 8],
        answers: u64,
    ) -> CheckpointId {
        let mut hasher = self.hasher(ACCORD_PURPOSE, organisation);
        hasher.update(salt);
        hasher.update(&answers.to_le_bytes());
        start_of(&hasher.finalize())
    }

    /// Tells apart, in one telling, two histories of a log that are equally long. Nobody can write two that have
    /// the same tag in the next telling as well: the salt is drawn when it begins. So four bytes miss a fork in
    /// one of 2^32 tellings by chance, and never twice by anybody's design.
    pub fn row_tag(
        &self,
        organisation: &OrganisationId,
        salt: &[u8; 8],
        chain: &[u8; 32],
    ) -> [u8; 4] {
        let mut hasher = self.hasher(ROW_PURPOSE, organisation);
        hasher.update(salt);
        hasher.update(chain);
        start_of(&hasher.finalize())
    }

    fn proof_hash(
        &self,
        organisation: &OrganisationId,
        from: &DeviceId,
        to: &DeviceId,
    ) -> blake3::Hash {
        let mut hasher = self.hasher(PROOF_PURPOSE, organisation);
        hasher.update(&from.0);
        hasher.update(&to.0);
        hasher.finalize()
    }

    /// A hash keyed by the secret, begun with its purpose and the organisation.
    fn hasher(&self, purpose: &str, organisation: &OrganisationId) -> Hasher {
        let mut fields = Writer::new();
        fields.text(purpose);
        fields.raw(&organisation.0);
        let mut hasher = Hasher::new_keyed(&self.0);
        hasher.update(&fields.into_bytes());
        hasher
    }
}

/// The first `N` bytes of a hash; `N` is at most 32.
fn start_of<const N: usize>(hash: &blake3::Hash) -> [u8; N] {
    std::array::from_fn(|index| hash.as_bytes()[index])
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORGANISATION: OrganisationId = OrganisationId([1; 16]);

    fn signer() -> SigningKey {
        SigningKey::from_bytes(&[7; 32])
    }

    fn header() -> LogHeader {
        LogHeader {
            log: LogId([2; 16]),
            space: SpaceName::default(),
            device: DeviceId(signer().verifying_key().to_bytes()),
            name: "tablet 4".to_owned(),
            branch_of: None,
        }
    }

    fn space(name: &str) -> SpaceName {
        SpaceName::new(name).expect("is a space name")
    }

    #[test]
    fn hashes_and_signatures_stay_what_they_are() {
        let secret = JoinSecret([3; 32]);
        let start = chain_start(&ORGANISATION, &header());
        let next = chain_next(&start, b"entry");
        let signature = sign_point(&signer(), &ORGANISATION, &header(), 1, &next);
        let (from, to) = (DeviceId([4; 32]), DeviceId([5; 32]));
        let rows = [(LogId([2; 16]), 1, next)];
        let root = secret.space_root(
            &ORGANISATION,
            &SpaceName::default(),
            rows.iter().map(|(log, seq, chain)| (log, *seq, chain)),
        );

        assert_eq!(
            hex::encode(start),
            "57ac30b9160b57e424c614eb77e4cabf7a617f9dbb760cbb70a7b475e84ea9f8"
        );
        assert_eq!(
            hex::encode(next),
            "24145e9d651d9b00f8b48b6bd28687040a83b0a5034fc1a45d03242276577b7f"
        );
        assert_eq!(
            hex::encode(&signature[..32]),
            "d07a04a9dfd4278dffb08a9adf401877908adee7e24717daf22187160d9982f8"
        );
        assert_eq!(
            hex::encode(secret.proof(&ORGANISATION, &from, &to)),
            "7a851ff305927097c172343141dcad93bb0b8bdf099ca2645cae197bd85eee1d"
        );
        assert_eq!(
            hex::encode(organisation_tag(&ORGANISATION)),
            "6fd55f5d1c136077"
        );
        assert_eq!(
            hex::encode(secret.space_tag(&ORGANISATION, &SpaceName::default())),
            "8383bda508032b2e"
        );
        assert_eq!(hex::encode(root), "d45b69cac8ff79bc0de4646ad4c04905");
    }

    #[test]
    fn a_chain_is_bound_to_all_of_its_beginning_and_to_every_entry() {
        let start = chain_start(&ORGANISATION, &header());
        let others = [
            LogHeader {
                log: LogId([9; 16]),
                ..header()
            },
            LogHeader {
                space: space("other"),
                ..header()
            },
            LogHeader {
                device: DeviceId([9; 32]),
                ..header()
            },
            LogHeader {
                name: "tablet 5".to_owned(),
                ..header()
            },
        ];

        for other in others {
            assert_ne!(chain_start(&ORGANISATION, &other), start);
        }
        assert_ne!(chain_start(&OrganisationId([9; 16]), &header()), start);
        assert_ne!(chain_next(&start, b"a"), chain_next(&start, b"b"));
        assert_ne!(chain_next(&start, b"a"), chain_next(&[0; 32], b"a"));
    }

    #[test]
    fn a_signature_holds_for_its_point_only() {
        let (key, header, chain) = (signer(), header(), [6; 32]);
        let signature = sign_point(&key, &ORGANISATION, &header, 5, &chain);
        let verify = |organisation: &OrganisationId, header: &LogHeader, seq, chain: &[u8; 32]| {
            verify_point(organisation, header, seq, chain, &signature)
        };

        assert!(verify(&ORGANISATION, &header, 5, &chain));
        assert!(!verify(&OrganisationId([9; 16]), &header, 5, &chain));
        assert!(!verify(&ORGANISATION, &header, 6, &chain));
        assert!(!verify(&ORGANISATION, &header, 5, &[7; 32]));
        for other in [
            LogHeader {
                log: LogId([9; 16]),
                ..header.clone()
            },
            LogHeader {
                space: space("other"),
                ..header.clone()
            },
            LogHeader {
                device: DeviceId([9; 32]),
                ..header.clone()
            },
        ] {
            assert!(!verify(&ORGANISATION, &other, 5, &chain));
        }
        let mut damaged = signature;
        damaged[40] ^= 1;
        assert!(!verify_point(&ORGANISATION, &header, 5, &chain, &damaged));
    }

    #[test]
    fn keys_that_are_weak_or_no_keys_have_signed_nothing() {
        // The neutral point: with the all-zero scalar it "signs" every message unless weak keys are refused.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1;
        for device in [neutral, [0xff; 32], [0; 32]] {
            let header = LogHeader {
                device: DeviceId(device),
                ..header()
            };
            assert!(!verify_point(
                &ORGANISATION,
                &header,
                1,
                &[6; 32],
                &signature
            ));
        }
    }

    #[test]
    fn a_proof_holds_for_its_secret_organisation_and_direction_only() {
        let secret = JoinSecret([3; 32]);
        let (from, to) = (DeviceId([4; 32]), DeviceId([5; 32]));
        let proof = secret.proof(&ORGANISATION, &from, &to);

        assert!(secret.verify_proof(&ORGANISATION, &from, &to, &proof));
        assert!(!secret.verify_proof(&ORGANISATION, &to, &from, &proof));
        assert!(!secret.verify_proof(&OrganisationId([9; 16]), &from, &to, &proof));
        assert!(!JoinSecret([9; 32]).verify_proof(&ORGANISATION, &from, &to, &proof));
    }

    #[test]
    fn tags_and_roots_differ_by_secret_and_space_and_content() {
        let (one, two) = (JoinSecret([3; 32]), JoinSecret([4; 32]));
        let (main, other) = (SpaceName::default(), space("other"));
        let (log, chain) = (LogId([2; 16]), [6; 32]);
        let root = |secret: &JoinSecret, space, seq| {
            secret.space_root(&ORGANISATION, space, [(&log, seq, &chain)].into_iter())
        };

        assert_ne!(
            organisation_tag(&ORGANISATION),
            organisation_tag(&OrganisationId([8; 16]))
        );
        assert_ne!(
            one.space_tag(&ORGANISATION, &main),
            two.space_tag(&ORGANISATION, &main)
        );
        assert_ne!(
            one.space_tag(&ORGANISATION, &main),
            one.space_tag(&ORGANISATION, &other)
        );
        assert_ne!(root(&one, &main, 1), root(&two, &main, 1));
        assert_ne!(root(&one, &main, 1), root(&one, &other, 1));
        assert_ne!(root(&one, &main, 1), root(&one, &main, 2));
        assert_ne!(
            root(&one, &main, 1),
            one.space_root(&ORGANISATION, &main, std::iter::empty())
        );
    }

    #[test]
    fn a_long_frontier_has_the_root_of_its_rows_one_by_one() {
        let secret = JoinSecret([3; 32]);
        let rows: Vec<_> = (0..1_000_u64)
            .map(|n| (LogId([(n % 251) as u8; 16]), n, [n as u8; 32]))
            .collect();

        let root = secret.space_root(
            &ORGANISATION,
            &SpaceName::default(),
            rows.iter().map(|(log, seq, chain)| (log, *seq, chain)),
        );

        let mut hasher = secret.hasher(ROOT_PURPOSE, &ORGANISATION);
        hasher.update(b"\x04main");
        for (log, seq, chain) in &rows {
            hasher.update(&log.0);
            hasher.update(&seq.to_le_bytes());
            hasher.update(chain);
        }
        assert_eq!(root, start_of(&hasher.finalize()));
    }

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", JoinSecret([3; 32])), "JoinSecret(..)");
    }
}
