//! The bytes of the messages that find and mend what is damaged or forked in one log.
//!
//! Their meaning is the engine's affair; here they are only bounded.

use crdt_schema::ident::LogId;

use super::WireError;
use super::codec::{Reader, Writer};
use super::limits::PROBE_SEQS_MAX;
use super::message::{ASK_TAG, GIVEN_TAG, Message, PROBE_TAG, TAGS_TAG};
use super::part::{read_run, write_run};
use crate::engine::batch::Run;

pub(super) fn write_ask(writer: &mut Writer, log: LogId, from: u64) {
    writer.byte(ASK_TAG);
    writer.raw(&log.0);
    writer.varint(from);
}

pub(super) fn write_given(writer: &mut Writer, log: LogId, run: Option<&Run>) {
    writer.byte(GIVEN_TAG);
    writer.raw(&log.0);
    writer.flag(run.is_some());
    let Some(run) = run else { return };
    write_run(writer, run);
}

pub(super) fn write_probe(writer: &mut Writer, log: LogId, seqs: &[u64]) {
    writer.byte(PROBE_TAG);
    writer.raw(&log.0);
    writer.count(seqs.len());
    seqs.iter().for_each(|seq| writer.varint(*seq));
}

pub(super) fn write_tags(writer: &mut Writer, log: LogId, rows: &[(u64, [u8; 8])]) {
    writer.byte(TAGS_TAG);
    writer.raw(&log.0);
    writer.count(rows.len());
    for (seq, tag) in rows {
        writer.varint(*seq);
        writer.raw(tag);
    }
}

pub(super) fn read_ask(reader: &mut Reader<'_>) -> Result<Message, WireError> {
    Ok(Message::Ask {
        log: LogId(reader.array("log")?),
        from: reader.varint("sequence number")?,
    })
}

pub(super) fn read_given(reader: &mut Reader<'_>) -> Result<Message, WireError> {
    let log = LogId(reader.array("log")?);
    if !reader.flag("run flag")? {
        return Ok(Message::Given { log, run: None });
    }
    let run = Some(read_run(reader, log)?);
    Ok(Message::Given { log, run })
}

pub(super) fn read_probe(reader: &mut Reader<'_>) -> Result<Message, WireError> {
    let log = LogId(reader.array("log")?);
    let count = reader.count("number of positions", PROBE_SEQS_MAX)?;
    let seqs: Vec<u64> = (0..count)
        .map(|_| reader.varint("sequence number"))
        .collect::<Result<_, _>>()?;
    if !seqs.is_sorted_by(|a, b| a < b) {
        return Err(WireError::Malformed("probe: positions not ascending"));
    }
    Ok(Message::Probe { log, seqs })
}

pub(super) fn read_tags(reader: &mut Reader<'_>) -> Result<Message, WireError> {
    let log = LogId(reader.array("log")?);
    let mut rows = Vec::new();
    for _ in 0..reader.count("number of chain tags", PROBE_SEQS_MAX)? {
        rows.push((
            reader.varint("sequence number")?,
            reader.array("chain tag")?,
        ));
    }
    if !rows.is_sorted_by(|a, b| a.0 < b.0) {
        return Err(WireError::Malformed("tags: positions not ascending"));
    }
    Ok(Message::Tags { log, rows })
}

#[cfg(test)]
mod tests {
    use crdt_schema::ident::{DeviceId, SpaceName};

    use super::*;
    use crate::engine::batch::{ForkPoint, LogHeader};
    use crate::wire::message::{FrameDecoder, FrameEncoder};

    fn round_trip(message: &Message) -> Message {
        let frame = FrameEncoder::new().encode(message);
        FrameDecoder::new().decode(&frame).expect("an honest frame")
    }

    #[test]
    fn repair_messages_round_trip() {
        let log = LogId([1; 16]);
        let run = Run {
            header: LogHeader {
                log,
                space: SpaceName::default(),
                device: DeviceId([2; 32]),
                name: "tablet".to_owned(),
                branch_of: Some(ForkPoint {
                    log: LogId([9; 16]),
                    after: 6,
                    chain: [8; 32],
                }),
            },
            from: 7,
            entries: vec![vec![1, 2], vec![3]],
            signature: [4; 64],
        };
        let messages = [
            Message::Ask { log, from: 1 << 40 },
            Message::Given { log, run: None },
            Message::Given {
                log,
                run: Some(run),
            },
            Message::Probe {
                log,
                seqs: vec![1, 9],
            },
            Message::Tags {
                log,
                rows: vec![(1, [5; 8]), (9, [6; 8])],
            },
        ];
        for message in messages {
            assert_eq!(round_trip(&message), message);
        }
    }

    #[test]
    fn positions_that_are_too_many_or_not_ascending_are_refused() {
        let refused = |seqs: Vec<u64>| {
            let frame = FrameEncoder::new().encode(&Message::Probe {
                log: LogId([1; 16]),
                seqs,
            });
            FrameDecoder::new().decode(&frame).is_err()
        };
        assert!(refused(vec![2, 1]));
        assert!(refused((0..=PROBE_SEQS_MAX as u64).collect()));
        assert!(!refused((0..PROBE_SEQS_MAX as u64).collect()));
    }
}
