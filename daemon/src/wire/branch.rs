//! The bytes of a log's header, which says of a branch where it leaves its log.

use crdt_schema::ident::{DeviceId, LogId, SpaceName};

use super::WireError;
use super::codec::{Reader, Writer};
use super::limits::NAME_BYTES_MAX;
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
