//! Keyed randomness: every draw names its concern and number, so leaving one fault out of a run does not
//! change any other draw.

use std::ops::Range;
use std::sync::LazyLock;

use blake3::hazmat::{ContextKey, HasherExt, hash_derive_key_context};

/// The purpose of all draws, hashed once: that would be half of the work.
static DRAW_KEY: LazyLock<ContextKey> =
    LazyLock::new(|| hash_derive_key_context("fieldmesh simulation draw v1"));

/// One number that stands for several: names a draw by all that a line of a plan says of it.
pub const fn key(parts: &[u64]) -> u64 {
    let mut key = parts.len() as u64;
    let mut at = 0;
    while at < parts.len() {
        // Each part is stirred in as splitmix64 does, so that no two lists are likely to share a number.
        key = (key ^ parts[at]).wrapping_add(0x9e37_79b9_7f4a_7c15);
        key = (key ^ (key >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        key = (key ^ (key >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        key ^= key >> 31;
        at += 1;
    }
    key
}

/// A source of draws for one seed.
#[derive(Clone, Copy, Debug)]
pub struct Draw {
    seed: u64,
}

impl Draw {
    /// The draws of `seed`.
    pub const fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// 32 bytes for (`concern`, `number`).
    pub fn bytes(&self, concern: &str, number: u64) -> [u8; 32] {
        *self.hasher(concern, number).finalize().as_bytes()
    }

    /// As many bytes for (`concern`, `number`); the first are those of [`Self::bytes`].
    pub fn stream(&self, concern: &str, number: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let mut stream = self.hasher(concern, number).finalize_xof();
        stream.fill(&mut bytes);
        bytes
    }

    fn hasher(&self, concern: &str, number: u64) -> blake3::Hasher {
        let mut hasher = blake3::Hasher::new_from_context_key(&DRAW_KEY);
        hasher.update(&self.seed.to_le_bytes());
        hasher.update(&number.to_le_bytes());
        hasher.update(concern.as_bytes());
        hasher
    }

    /// A number of `range` for (`concern`, `number`).
    pub fn number(&self, concern: &str, number: u64, range: Range<u64>) -> u64 {
        let bytes = self.bytes(concern, number);
        let mut word = [0; 8];
        word.copy_from_slice(&bytes[..8]);
        range.start + u64::from_le_bytes(word) % (range.end - range.start)
    }

    /// Whether something happens that does so in `per_mille` of a thousand cases.
    pub fn happens(&self, concern: &str, number: u64, per_mille: u64) -> bool {
        self.number(concern, number, 0..1000) < per_mille
    }

    /// One of `choices`, which are not empty.
    pub fn pick<'a, T>(&self, concern: &str, number: u64, choices: &'a [T]) -> &'a T {
        &choices[self.number(concern, number, 0..choices.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_depend_on_seed_concern_and_number_only() {
        let draw = Draw::new(7);
        assert_eq!(
            draw.number("cut", 3, 0..1000),
            Draw::new(7).number("cut", 3, 0..1000)
        );
        assert_ne!(draw.bytes("cut", 3), draw.bytes("cut", 4));
        assert_ne!(draw.bytes("cut", 3), draw.bytes("kill", 3));
        assert_ne!(draw.bytes("cut", 3), Draw::new(8).bytes("cut", 3));
        assert!((0..500).all(|n| (5..9).contains(&draw.number("x", n, 5..9))));
    }

    #[test]
    fn a_key_tells_lists_of_numbers_apart_by_their_order_and_length() {
        let lists: [&[u64]; 7] = [&[], &[0], &[0, 0], &[1, 2], &[2, 1], &[1, 2, 0], &[3]];
        let keys: std::collections::BTreeSet<u64> = lists.iter().map(|list| key(list)).collect();
        assert_eq!(keys.len(), lists.len());
        assert_eq!(key(&[1, 2]), key(&[1, 2]));
    }

    #[test]
    fn a_stream_goes_on_from_the_draw_that_it_begins_with() {
        let draw = Draw::new(7);
        let stream = draw.stream("noise", 40, 100_000);

        assert_eq!(stream.len(), 100_000);
        assert_eq!(stream[..32], draw.bytes("noise", 40));
        assert_eq!(stream[..500], draw.stream("noise", 40, 500));
        assert_ne!(stream[32..64], stream[64..96]);
        assert_ne!(stream[..500], draw.stream("noise", 41, 500));
        assert!(draw.stream("noise", 40, 0).is_empty());
    }

    #[test]
    fn chances_come_true_about_as_often_as_they_say() {
        let draw = Draw::new(7);
        let count = (0..10_000)
            .filter(|n| draw.happens("rain", *n, 300))
            .count();
        assert!((2700..3300).contains(&count), "{count} of 10000");
        assert!(!draw.happens("never", 1, 0) && draw.happens("always", 1, 1000));
    }
}
