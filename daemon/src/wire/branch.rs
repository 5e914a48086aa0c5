//! The bytes of a log's header, which says of a branch where it leaves its log, and of the proof that a log is
//! forked.

use crdt_schema::ident::{DeviceId, LogId, SpaceName};

use super::WireError;
use super::chain::{chain_link, is_genuine};
use super::codec::{Reader, Writer};
use super::limits::{FORK_DIGESTS_MAX, NAME_BYTES_MAX};
use crate::engine::batch::fork::{ForkProof, Side};
use crate::engine::batch::{ForkPoint, LogHeader};

/// Writes a header but for the log's id.
pub(super) fn write_header(writer: &mut Writer, header: &LogHeader) {
    writer.text(header.space.as_str());
    writer.raw(&header.device.0);
    writer.text(&header.name);
    writer.flag(header.branch_of.is_some());
    if let Some(point) = &header.branch_of {
        write_point(writer, point);
    }
}

/// Reads the header of `log`.
pub(super) fn read_header(reader: &mut Reader<'_>, log: LogId) -> Result<LogHeader, WireError> {
    let space = reader.text("space name", SpaceName::BYTES_MAX)?;
    let header = LogHeader {
        log,
        space: SpaceName::new(space).map_err(|_| WireError::Malformed("space name"))?,
        device: DeviceId(reader.array("device")?),
        name: reader.text("device name", NAME_BYTES_MAX)?.to_owned(),
        branch_of: match reader.flag("branch flag")? {
            true => Some(read_point(reader)?),
            false => None,
        },
    };
    Ok(header)
}

pub(super) fn write_point(writer: &mut Writer, point: &ForkPoint) {
    writer.raw(&point.log.0);
    writer.varint(point.after);
    writer.raw(&point.chain);
}

pub(super) fn read_point(reader: &mut Reader<'_>) -> Result<ForkPoint, WireError> {
    Ok(ForkPoint {
        log: LogId(reader.array("log")?),
        after: reader.varint("sequence number")?,
        chain: reader.array("chain value")?,
    })
}

/// Whether the device of the log has signed both histories, as `is_signed` judges signatures.
pub fn is_proved(
    proof: &ForkProof,
    is_signed: impl Fn(&LogHeader, u64, &[u8; 32], &[u8; 64]) -> bool,
) -> bool {
    let [one, other] = &proof.sides;
    let is_apart = one.digests.first() < other.digests.first();
    let has_end = |side: &Side| !side.digests.is_empty() && side.digests.len() <= FORK_DIGESTS_MAX;
    is_apart
        && proof.header.branch_of.is_none()
        && is_genuine(&proof.header)
        && proof.sides.iter().all(|side| {
            let chain = side
                .digests
                .iter()
                .fold(proof.chain, |c, d| chain_link(&c, d));
            let last = proof.after.checked_add(side.digests.len() as u64);
            let is_good = |last| is_signed(&proof.header, last, &chain, &side.signature);
            has_end(side) && last.is_some_and(is_good)
        })
}

/// The bytes of a proof, as they are stored and sent.
pub fn encode_fork(proof: &ForkProof) -> Vec<u8> {
    let mut writer = Writer::new();
    write_fork(&mut writer, proof);
    writer.into_bytes()
}

/// Reads what [`encode_fork`] wrote.
pub fn decode_fork(bytes: &[u8]) -> Result<ForkProof, WireError> {
    let mut reader = Reader::new(bytes);
    let proof = read_fork(&mut reader)?;
    reader.finish("fork: bytes after its end")?;
    Ok(proof)
}

pub(super) fn write_fork(writer: &mut Writer, proof: &ForkProof) {
    writer.raw(&proof.header.log.0);
    write_header(writer, &proof.header);
    writer.varint(proof.after);
    writer.raw(&proof.chain);
    for side in &proof.sides {
        writer.count(side.digests.len());
        side.digests.iter().for_each(|digest| writer.raw(digest));
        writer.raw(&side.signature);
    }
}

pub(super) fn read_fork(reader: &mut Reader<'_>) -> Result<ForkProof, WireError> {
    let log = LogId(reader.array("log")?);
    Ok(ForkProof {
        header: read_header(reader, log)?,
        after: reader.varint("sequence number")?,
        chain: reader.array("chain value")?,
        sides: [read_side(reader)?, read_side(reader)?],
    })
}

fn read_side(reader: &mut Reader<'_>) -> Result<Side, WireError> {
    let count = reader.count("number of digests", FORK_DIGESTS_MAX)?;
    let digests = (0..count).map(|_| reader.array("digest"));
    Ok(Side {
        digests: digests.collect::<Result<_, _>>()?,
        signature: reader.array("signature")?,
    })
}
