//! Keyed randomness: every draw names its concern and number, so leaving one fault out of a run does not
//! change any other draw.

use std::ops::Range;
use std::sync::LazyLock;

use blake3::hazmat::{ContextKey, HasherExt, hash_derive_key_context};

/// The purpose of all draws, hashed once: that would be half of the work.
static DRAW_KEY: LazyLock<ContextKey> =
    LazyLock::new(|| hash_derive_key_context("fieldmesh simulation draw v1"));

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
        let mut hasher = blake3::Hasher::new_from_context_key(&DRAW_KEY);
        self.hashed(&mut hasher, concern, number)
    }

    /// The bytes for `concern` and each of `numbers`, one after the other.
    pub fn stream(&self, concern: &str, numbers: Range<u64>) -> Vec<u8> {
        // A hasher is many times as large as what is hashed, so it is made once.
        let mut hasher = blake3::Hasher::new_from_context_key(&DRAW_KEY);
        let mut bytes = Vec::with_capacity((numbers.end - numbers.start) as usize * 32);
        for number in numbers {
            bytes.extend_from_slice(&self.hashed(&mut hasher, concern, number));
            hasher.reset();
        }
        bytes
    }

    fn hashed(&self, hasher: &mut blake3::Hasher, concern: &str, number: u64) -> [u8; 32] {
        hasher.update(&self.seed.to_le_bytes());
        hasher.update(&number.to_le_bytes());
        hasher.update(concern.as_bytes());
        *hasher.finalize().as_bytes()
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
    fn a_stream_is_the_draws_one_after_the_other() {
        let draw = Draw::new(7);
        let stream = draw.stream("noise", 40..43);
        let draws: Vec<u8> = (40..43).flat_map(|n| draw.bytes("noise", n)).collect();
        assert_eq!(stream, draws);
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
