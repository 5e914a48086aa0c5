//! Packed rows: bytes with a checksum and, when it pays, compression.
//!
//! The database verifies its pages only when it repairs them, so a flipped bit would be read as
//! data. Every packed row therefore carries a BLAKE3 checksum over its place and its content,
//! verified on every read before anything is decompressed; a row that was written to another place
//! fails too.
//!
//! Layout: checksum (8 bytes) · 0 · content, or checksum · 1 · length before compression (4 bytes,
//! little endian) · zstd frame. An entry's row begins with the entry's [`DotTag`], which is thus read without
//! unpacking and is part of the checksum all the same.

use std::borrow::Cow;
use std::fmt;

use crdt_schema::op::DotTag;
use zstd::bulk::{Compressor, Decompressor};

/// Rows shorter than this are kept as they are: compression would not win a page.
const COMPRESS_BYTES_MIN: usize = 256;

/// Quick, and within a few per cent of the levels that are not.
const LEVEL: i32 = 3;

/// Largest content of a packed row: what a damaged length may make a reader allocate.
const CONTENT_BYTES_MAX: usize = 256 << 20;

/// What is said of a row that ends too early.
const CUT_SHORT: &str = "its row is cut short";

const CHECKSUM_BYTES: usize = 8;
const PLAIN: u8 = 0;
const ZSTD: u8 = 1;

/// Where a row lies: part of its checksum.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Entry(u32, u64, DotTag),
    Doc(u64),
    View(u64),
    Implied(u32, u64),
}

impl Place {
    fn bytes(self) -> [u8; 15] {
        let (kind, high, low, tag) = match self {
            Self::Entry(log, seq, tag) => (b'e', log, seq, tag),
            Self::Doc(record) => (b'd', 0, record, [0; 2]),
            Self::View(record) => (b'v', 0, record, [0; 2]),
            Self::Implied(log, seq) => (b'i', log, seq, [0; 2]),
        };
        let mut bytes = [kind; 15];
        bytes[1..5].copy_from_slice(&high.to_le_bytes());
        bytes[5..13].copy_from_slice(&low.to_le_bytes());
        bytes[13..].copy_from_slice(&tag);
        bytes
    }
}

/// Packs rows. Keeps its compression state, which is dear to make, once a row was long enough to need it.
#[derive(Default)]
pub(super) struct Packer {
    compressor: Option<Compressor<'static>>,
}

impl Packer {
    /// The row for `content`, compressed if that is shorter.
    pub(super) fn pack(&mut self, place: Place, content: &[u8]) -> Vec<u8> {
        match self.compress(content) {
            Some(frame) => {
                let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
                seal(place, ZSTD, &length.to_le_bytes(), &frame)
            }
            None => pack_plain(place, content),
        }
    }

    /// The row for an entry of a log.
    pub(super) fn pack_entry(
        &mut self,
        (log, seq): (u32, u64),
        chain: &[u8; 32],
        entry: &[u8],
    ) -> Vec<u8> {
        let tag = dot_tag(chain);
        let row = self.pack(Place::Entry(log, seq, tag), entry);
        [&tag[..], &row].concat()
    }

    fn compress(&mut self, content: &[u8]) -> Option<Vec<u8>> {
        if !(COMPRESS_BYTES_MIN..=CONTENT_BYTES_MAX).contains(&content.len()) {
            return None;
        }
        if self.compressor.is_none() {
            // Without memory for a compressor rows are stored plain.
            self.compressor = Compressor::new(LEVEL).ok();
        }
        let frame = self.compressor.as_mut()?.compress(content).ok()?;
        (frame.len() + 4 < content.len()).then_some(frame)
    }
}

/// What tells the entry with this chain value from those of other branches.
pub(super) fn dot_tag(chain: &[u8; 32]) -> DotTag {
    [chain[0], chain[1]]
}

/// The tag of an entry, from its row, or in words why the row is not what was written. Nothing is unpacked.
pub(super) fn checked_tag_of((log, seq): (u32, u64), row: &[u8]) -> Result<DotTag, &'static str> {
    let (tag, row) = row.split_first_chunk().ok_or(CUT_SHORT)?;
    verified(Place::Entry(log, seq, *tag), row).map(|_| *tag)
}

/// The tag of an entry, from its row, as it stands there.
pub(super) fn tag_of(row: &[u8]) -> Option<DotTag> {
    row.first_chunk().copied()
}

/// What the checksum of a row is over, or in words why the row is not what was written.
fn verified(place: Place, row: &[u8]) -> Result<&[u8], &'static str> {
    let (stored, sealed) = row.split_first_chunk::<CHECKSUM_BYTES>().ok_or(CUT_SHORT)?;
    match checksum(place, sealed) == *stored {
        true => Ok(sealed),
        false => Err("its checksum is wrong"),
    }
}

/// The row for `content`, for rows that are read in bulk.
pub(super) fn pack_plain(place: Place, content: &[u8]) -> Vec<u8> {
    seal(place, PLAIN, &[], content)
}

fn seal(place: Place, kind: u8, prefix: &[u8], body: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(CHECKSUM_BYTES + 1 + prefix.len() + body.len());
    row.extend_from_slice(&[0; CHECKSUM_BYTES]);
    row.push(kind);
    row.extend_from_slice(prefix);
    row.extend_from_slice(body);
    let checksum = checksum(place, &row[CHECKSUM_BYTES..]);
    row[..CHECKSUM_BYTES].copy_from_slice(&checksum);
    row
}

fn checksum(place: Place, sealed: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let hash = *blake3::Hasher::new()
        .update(&place.bytes())
        .update(sealed)
        .finalize()
        .as_bytes();
    std::array::from_fn(|at| hash[at])
}

impl fmt::Debug for Packer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packer").finish_non_exhaustive()
    }
}

/// Unpacks rows. Keeps its decompression state.
#[derive(Default)]
pub(super) struct Unpacker {
    decompressor: Option<Decompressor<'static>>,
}

impl fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unpacker").finish_non_exhaustive()
    }
}

impl Unpacker {
    /// The content of a row, or in words why it is not what was written.
    pub(super) fn unpack<'r>(
        &mut self,
        place: Place,
        row: &'r [u8],
    ) -> Result<Cow<'r, [u8]>, &'static str> {
        match verified(place, row)?.split_first() {
            Some((&PLAIN, content)) => Ok(Cow::Borrowed(content)),
            Some((&ZSTD, rest)) => self.decompress(rest).map(Cow::Owned),
            _ => Err("its row has an unknown form"),
        }
    }

    /// The entry of a row, or in words why it is not what was written.
    pub(super) fn unpack_entry<'r>(
        &mut self,
        (log, seq): (u32, u64),
        row: &'r [u8],
    ) -> Result<Cow<'r, [u8]>, &'static str> {
        let (tag, row) = row.split_first_chunk().ok_or(CUT_SHORT)?;
        self.unpack(Place::Entry(log, seq, *tag), row)
    }

    fn decompress(&mut self, rest: &[u8]) -> Result<Vec<u8>, &'static str> {
        let (length, frame) = rest.split_first_chunk::<4>().ok_or(CUT_SHORT)?;
        let length = u32::from_le_bytes(*length) as usize;
        if length > CONTENT_BYTES_MAX {
            return Err("its row claims to be too large");
        }
        let decompressor = match &mut self.decompressor {
            Some(decompressor) => decompressor,
            none => none.insert(Decompressor::new().map_err(|_| "no memory to decompress it")?),
        };
        let content = decompressor
            .decompress(frame, length)
            .map_err(|_| "its compression is damaged")?;
        (content.len() == length)
            .then_some(content)
            .ok_or("its length is wrong")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_round_trip_and_long_ones_shrink() {
        let mut packer = Packer::default();
        let long = b"the same words again and again ".repeat(40);

        for content in [b"".as_slice(), b"short", &long] {
            let row = packer.pack(Place::Doc(7), content);
            let read = Unpacker::default()
                .unpack(Place::Doc(7), &row)
                .map(Cow::into_owned);
            assert_eq!(read.as_deref(), Ok(content));
        }
        assert!(packer.pack(Place::Doc(7), &long).len() < long.len() / 4);
    }

    #[test]
    fn no_flipped_bit_goes_unseen() {
        let row = Packer::default().pack(Place::View(1), &b"some words ".repeat(40));

        for bit in 0..row.len() * 8 {
            let mut bad = row.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(
                Unpacker::default().unpack(Place::View(1), &bad).is_err(),
                "bit {bit}"
            );
        }
        for end in 0..row.len() {
            assert!(
                Unpacker::default()
                    .unpack(Place::View(1), &row[..end])
                    .is_err()
            );
        }
    }

    #[test]
    fn a_row_in_another_place_is_refused() {
        let row = Packer::default().pack(Place::Doc(1), b"mine");

        assert!(Unpacker::default().unpack(Place::Doc(2), &row).is_err());
        assert!(Unpacker::default().unpack(Place::View(1), &row).is_err());
        assert!(
            Unpacker::default()
                .unpack(Place::Entry(0, 1, [0; 2]), &row)
                .is_err()
        );

        let row = Packer::default().pack_entry((0, 1), &[7; 32], b"an entry");
        assert_eq!(tag_of(&row), Some([7; 2]));
        assert!(Unpacker::default().unpack_entry((0, 1), &row).is_ok());
        assert!(Unpacker::default().unpack_entry((0, 2), &row).is_err());
        let other = [&[8, 8], &row[2..]].concat();
        assert!(Unpacker::default().unpack_entry((0, 1), &other).is_err());
    }
}
