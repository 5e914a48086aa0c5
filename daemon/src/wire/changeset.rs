//! CONTRACT (in progress): the canonical bytes of a change set.
#![allow(unused_variables, clippy::todo)]

use crdt_schema::op::ChangeSet;

use super::WireError;

/// The canonical bytes. Equal change sets have equal bytes.
pub fn encode_change_set(set: &ChangeSet) -> Vec<u8> { todo!() }

/// Reads canonical bytes; refuses every other encoding of the same change set, and structure that no
/// honest author writes (see [`super::limits`]).
pub fn decode_change_set(bytes: &[u8]) -> Result<ChangeSet, WireError> { todo!() }
