//! CONTRACT (in progress): chain values, signatures, and the keyed hashes of HELLO.
#![allow(unused_variables, missing_docs, clippy::todo)]

use crdt_schema::ident::{DeviceId, LogId, OrganisationId, SpaceName};
use ed25519_dalek::SigningKey;

use crate::engine::batch::LogHeader;

/// c_0: binds the log to its organisation, space, device and name.
pub fn chain_start(organisation: &OrganisationId, header: &LogHeader) -> [u8; 32] { todo!() }
/// c_n from c_{n-1} and the canonical bytes of entry n.
pub fn chain_next(previous: &[u8; 32], entry: &[u8]) -> [u8; 32] { todo!() }
/// The author's signature over (organisation, space, log, seq, chain).
pub fn sign_point(key: &SigningKey, organisation: &OrganisationId, header: &LogHeader, seq: u64, chain: &[u8; 32]) -> [u8; 64] { todo!() }
/// Whether `signature` is `header.device`'s over that point (strict verification).
pub fn verify_point(organisation: &OrganisationId, header: &LogHeader, seq: u64, chain: &[u8; 32], signature: &[u8; 64]) -> bool { todo!() }

/// What every member of the organisation shares until membership is built.
#[derive(Clone, Debug)]
pub struct JoinSecret(pub [u8; 32]);

impl JoinSecret {
    /// `from` proves to `to` that it knows the secret.
    pub fn proof(&self, organisation: &OrganisationId, from: &DeviceId, to: &DeviceId) -> [u8; 32] { todo!() }
    pub fn organisation_tag(&self, organisation: &OrganisationId) -> [u8; 8] { todo!() }
    pub fn space_tag(&self, organisation: &OrganisationId, space: &SpaceName) -> [u8; 8] { todo!() }
    /// Digest of a space's frontier; `rows` ascending by log.
    pub fn space_root<'a>(&self, organisation: &OrganisationId, space: &SpaceName, rows: impl Iterator<Item = (&'a LogId, u64, &'a [u8; 32])>) -> [u8; 16] { todo!() }
}
