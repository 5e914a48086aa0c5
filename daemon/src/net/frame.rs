//! Frames on a stream: a length as a variable-length integer, then that many bytes.
//!
//! Invariants: a length beyond the limit ends the stream before any memory is taken for it, and
//! memory grows only with the bytes that have arrived. Knows nothing of what frames mean.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::wire::limits::FRAME_BYTES_MAX;

/// Longest length prefix: 28 bits, more than any length within `FRAME_BYTES_MAX` needs.
const PREFIX_BYTES_MAX: usize = 4;

/// How much memory a frame takes at first; more only as it fills.
const FIRST_BYTES: usize = 16 << 10;

const _: () = assert!(FRAME_BYTES_MAX < 1 << (7 * PREFIX_BYTES_MAX));

/// Why no further frame can be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    #[error("the peer announced a frame of {bytes} bytes; at most {FRAME_BYTES_MAX} are allowed")]
    TooLong { bytes: usize },
    #[error("the peer sent a malformed frame length")]
    BadPrefix,
    #[error("the stream broke: {0}")]
    Io(#[from] io::Error),
}

/// How many bytes a session has moved. A connection that moves bytes is alive.
#[derive(Debug, Default)]
pub(super) struct Meter {
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

impl Meter {
    /// Bytes received and sent.
    pub(super) fn read(&self) -> (u64, u64) {
        (
            self.bytes_in.load(Ordering::Relaxed),
            self.bytes_out.load(Ordering::Relaxed),
        )
    }
}

/// Reads one frame. `None` if the peer ended the stream between two frames.
pub(super) async fn read<R>(reader: &mut R, meter: &Meter) -> Result<Option<Vec<u8>>, FrameError>
where
    R: AsyncRead + Unpin,
{
    let Some(length) = read_prefix(reader).await? else {
        return Ok(None);
    };
    if length > FRAME_BYTES_MAX {
        return Err(FrameError::TooLong { bytes: length });
    }
    let mut frame = vec![0; length.min(FIRST_BYTES)];
    let mut filled = 0;
    while filled < length {
        if filled == frame.len() {
            frame.resize(length.min(2 * filled), 0);
        }
        let read = reader.read(&mut frame[filled..]).await?;
        if read == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        filled += read;
        meter.bytes_in.fetch_add(read as u64, Ordering::Relaxed);
    }
    Ok(Some(frame))
}

async fn read_prefix<R>(reader: &mut R) -> Result<Option<usize>, FrameError>
where
    R: AsyncRead + Unpin,
{
    let mut length = 0;
    for at in 0..PREFIX_BYTES_MAX {
        let mut byte = [0];
        if reader.read(&mut byte).await? == 0 {
            return if at == 0 {
                Ok(None)
            } else {
                Err(FrameError::BadPrefix)
            };
        }
        let byte = byte[0];
        length |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            // A last byte of zero would be a second spelling of a shorter prefix.
            let canonical = at == 0 || byte != 0;
            return if canonical {
                Ok(Some(length))
            } else {
                Err(FrameError::BadPrefix)
            };
        }
    }
    Err(FrameError::BadPrefix)
}

/// Writes one frame, which may be no longer than `FRAME_BYTES_MAX`. The writer should be buffered.
pub(super) async fn write<W>(writer: &mut W, frame: &[u8], meter: &Meter) -> io::Result<()>
where
    W: AsyncWrite + Unpin,
{
    let (prefix, used) = encode_prefix(frame.len());
    writer.write_all(&prefix[..used]).await?;
    let mut rest = frame;
    while !rest.is_empty() {
        let written = writer.write(rest).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        rest = &rest[written..];
        meter.bytes_out.fetch_add(written as u64, Ordering::Relaxed);
    }
    Ok(())
}

fn encode_prefix(mut length: usize) -> ([u8; PREFIX_BYTES_MAX], usize) {
    let mut prefix = [0; PREFIX_BYTES_MAX];
    for (at, byte) in prefix.iter_mut().enumerate() {
        *byte = (length & 0x7f) as u8;
        length >>= 7;
        if length == 0 {
            return (prefix, at + 1);
        }
        *byte |= 0x80;
    }
    unreachable!("invariant: a frame is no longer than FRAME_BYTES_MAX")
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use futures::io::Cursor;

    use super::*;

    fn read_all(bytes: &[u8]) -> (Vec<Vec<u8>>, Option<FrameError>) {
        let mut reader = Cursor::new(bytes);
        let mut frames = Vec::new();
        loop {
            match block_on(read(&mut reader, &Meter::default())) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => return (frames, None),
                Err(error) => return (frames, Some(error)),
            }
        }
    }

    #[test]
    fn frames_of_any_size_round_trip() {
        let sizes = [0, 1, 127, 128, 16_383, 16_384, 70_000, FRAME_BYTES_MAX];
        let mut bytes = Cursor::new(Vec::new());
        let meter = Meter::default();
        for size in sizes {
            block_on(write(&mut bytes, &vec![size as u8; size], &meter)).unwrap();
        }

        let (frames, error) = read_all(bytes.get_ref());

        assert!(error.is_none(), "{error:?}");
        assert_eq!(frames.iter().map(Vec::len).collect::<Vec<_>>(), sizes);
        assert_eq!(meter.read(), (0, sizes.iter().sum::<usize>() as u64));
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_its_bytes() {
        let (prefix, used) = encode_prefix(FRAME_BYTES_MAX + 1);

        let (_, error) = read_all(&prefix[..used]);

        assert!(
            matches!(error, Some(FrameError::TooLong { .. })),
            "{error:?}"
        );
    }

    #[test]
    fn malformed_and_cut_lengths_are_refused() {
        for bad in [&[0x80, 0x00][..], &[0xff, 0xff, 0xff, 0xff, 0x01], &[0x80]] {
            let (_, error) = read_all(bad);
            assert!(
                matches!(error, Some(FrameError::BadPrefix)),
                "{bad:?}: {error:?}"
            );
        }
    }

    #[test]
    fn a_cut_frame_is_an_error_after_the_whole_ones() {
        let (frames, error) = read_all(&[1, 7, 3, 8, 8]);

        assert_eq!(frames, [vec![7]]);
        assert!(matches!(error, Some(FrameError::Io(_))), "{error:?}");
    }
}
