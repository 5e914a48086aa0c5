//! Bytes in and out: varints, length-prefixed text and fixed-size fields.
//!
//! Whatever [`Writer`] writes, [`Reader`] reads back, and no other bytes mean the same: varints must be
//! in their shortest form, flags are 0 or 1, and [`Reader::finish`] refuses what is left over. No method
//! takes memory in proportion to a length that it has not compared with what is really there.

use super::WireError;

/// Longest LEB128 form of a `u64`.
const VARINT_BYTES_MAX: u32 = 10;

/// Appends fields to a buffer.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty buffer with room for so many bytes.
    pub fn with_room(bytes: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(bytes),
        }
    }

    /// The bytes written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// One byte.
    pub fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    /// A flag, as 0 or 1.
    pub fn flag(&mut self, flag: bool) {
        self.byte(u8::from(flag));
    }

    /// Bytes as they are; the reader must know how many.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// An unsigned LEB128 varint in its shortest form.
    pub fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.byte((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.byte(value as u8);
    }

    /// A length or count, as a varint.
    pub fn count(&mut self, count: usize) {
        self.varint(count as u64);
    }

    /// A signed varint: zigzag, so that numbers near zero are short.
    pub fn signed(&mut self, value: i64) {
        self.varint(((value << 1) ^ (value >> 63)).cast_unsigned());
    }

    /// Eight bytes, least significant first.
    pub fn float(&mut self, value: f64) {
        self.raw(&value.to_bits().to_le_bytes());
    }

    /// Bytes after their length.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.raw(bytes);
    }

    /// Text after its length in bytes.
    pub fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }
}

/// Takes fields off the front of untrusted bytes. `what` names the field in errors.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads `bytes` from their start.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether everything has been read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Refuses bytes that nothing has read.
    pub fn finish(self, what: &'static str) -> Result<(), WireError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(WireError::Malformed(what))
        }
    }

    /// The next `length` bytes.
    pub fn raw(&mut self, length: usize, what: &'static str) -> Result<&'a [u8], WireError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(WireError::Truncated(what))?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], WireError> {
        let (taken, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(WireError::Truncated(what))?;
        self.rest = rest;
        Ok(*taken)
    }

    /// One byte.
    pub fn byte(&mut self, what: &'static str) -> Result<u8, WireError> {
        let [byte] = self.array(what)?;
        Ok(byte)
    }

    /// A flag; refuses anything but 0 and 1.
    pub fn flag(&mut self, what: &'static str) -> Result<bool, WireError> {
        match self.byte(what)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(WireError::Malformed(what)),
        }
    }

    /// An unsigned varint; refuses all but its shortest form.
    pub fn varint(&mut self, what: &'static str) -> Result<u64, WireError> {
        let mut value = 0_u64;
        for index in 0..VARINT_BYTES_MAX {
            let byte = self.byte(what)?;
            let (bits, shift) = (u64::from(byte & 0x7f), 7 * index);
            // The tenth byte has room for one bit, and a last byte of zero could have been left out.
            let overflows = index == VARINT_BYTES_MAX - 1 && byte > 1;
            if overflows || (byte == 0 && index > 0) {
                return Err(WireError::Malformed(what));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(WireError::Malformed(what))
    }

    /// A varint of at most 32 bits.
    pub fn varint_u32(&mut self, what: &'static str) -> Result<u32, WireError> {
        u32::try_from(self.varint(what)?).map_err(|_| WireError::Malformed(what))
    }

    /// A count of things that take at least one byte each: at most `limit`, and never more than the
    /// bytes that are left, so it may be used to reserve memory.
    pub fn count(&mut self, what: &'static str, limit: usize) -> Result<usize, WireError> {
        let found = self.varint(what)?;
        if found > limit as u64 {
            return Err(WireError::TooLarge {
                what,
                found,
                limit: limit as u64,
            });
        }
        if found > self.rest.len() as u64 {
            return Err(WireError::Truncated(what));
        }
        Ok(found as usize)
    }

    /// A signed varint.
    pub fn signed(&mut self, what: &'static str) -> Result<i64, WireError> {
        let zigzag = self.varint(what)?;
        Ok((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed())
    }

    /// Eight bytes as a float, whatever they are.
    pub fn float(&mut self, what: &'static str) -> Result<f64, WireError> {
        Ok(f64::from_bits(u64::from_le_bytes(self.array(what)?)))
    }

    /// Length-prefixed bytes, at most `limit` of them.
    pub fn bytes(&mut self, what: &'static str, limit: usize) -> Result<&'a [u8], WireError> {
        let length = self.count(what, limit)?;
        self.raw(length, what)
    }

    /// Length-prefixed text of at most `limit` bytes; refuses anything but UTF-8.
    pub fn text(&mut self, what: &'static str, limit: usize) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.bytes(what, limit)?).map_err(|_| WireError::Malformed(what))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let mut writer = Writer::new();
        write(&mut writer);
        writer.into_bytes()
    }

    #[test]
    fn varints_have_their_textbook_bytes() {
        assert_eq!(written(|w| w.varint(0)), [0]);
        assert_eq!(written(|w| w.varint(127)), [0x7f]);
        assert_eq!(written(|w| w.varint(128)), [0x80, 1]);
        assert_eq!(written(|w| w.varint(624_485)), [0xe5, 0x8e, 0x26]);
        assert_eq!(written(|w| w.varint(u64::MAX)).len(), 10);
        assert_eq!(written(|w| w.signed(-1)), [1]);
        assert_eq!(written(|w| w.signed(1)), [2]);
    }

    #[test]
    fn longer_forms_and_overflowing_varints_are_refused() {
        let longest = [0xff; 9];
        for bad in [
            vec![0x80, 0],
            vec![0xff, 0x80, 0],
            [longest.as_slice(), &[2]].concat(),
            [longest.as_slice(), &[0xff, 1]].concat(),
        ] {
            assert_eq!(
                Reader::new(&bad).varint("n"),
                Err(WireError::Malformed("n")),
                "{bad:?}"
            );
        }
        assert_eq!(
            Reader::new(&[0x80]).varint("n"),
            Err(WireError::Truncated("n"))
        );
    }

    #[test]
    fn lengths_are_compared_with_the_limit_and_with_what_is_there() {
        let huge = written(|w| w.varint(u64::MAX));
        assert_eq!(
            Reader::new(&huge).bytes("b", 8),
            Err(WireError::TooLarge {
                what: "b",
                found: u64::MAX,
                limit: 8
            })
        );
        assert_eq!(
            Reader::new(&[3, 1, 2]).bytes("b", 8),
            Err(WireError::Truncated("b"))
        );
        assert_eq!(
            Reader::new(&[2, 0xc3, 0x28]).text("t", 8),
            Err(WireError::Malformed("t"))
        );
    }

    #[test]
    fn left_over_bytes_and_other_flags_are_refused() {
        assert_eq!(
            Reader::new(&[0]).finish("end"),
            Err(WireError::Malformed("end"))
        );
        assert_eq!(Reader::new(&[]).finish("end"), Ok(()));
        assert_eq!(Reader::new(&[2]).flag("f"), Err(WireError::Malformed("f")));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            n in any::<u64>(), i in any::<i64>(), f in any::<f64>(), text in ".{0,40}", flag in any::<bool>()
        ) {
            let bytes = written(|w| {
                w.varint(n);
                w.signed(i);
                w.float(f);
                w.text(&text);
                w.flag(flag);
            });

            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.varint("n"), Ok(n));
            prop_assert_eq!(reader.signed("i"), Ok(i));
            prop_assert_eq!(reader.float("f").map(f64::to_bits), Ok(f.to_bits()));
            prop_assert_eq!(reader.text("t", 200), Ok(text.as_str()));
            prop_assert_eq!(reader.flag("f"), Ok(flag));
            prop_assert_eq!(reader.finish("end"), Ok(()));
        }

        #[test]
        fn a_varint_that_is_read_is_the_one_that_would_be_written(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            let mut reader = Reader::new(&bytes);
            if let Ok(value) = reader.varint("n") {
                let used = bytes.len() - reader.rest.len();
                prop_assert_eq!(&written(|w| w.varint(value))[..], &bytes[..used]);
            }
        }
    }
}
