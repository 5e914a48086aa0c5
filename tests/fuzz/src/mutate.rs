//! Makes new inputs of known ones, the same ones for the same seed.
//!
//! It knows nothing of what the bytes mean but a few words of the format. Most inputs differ in one or two places
//! from a good one, so that they get past the first checks.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// Longest input that is made. Every limit of a format is met below it, or by a named test.
const INPUT_BYTES_MAX: usize = 64 << 10;

/// Most changes of one input.
const CHANGES_MAX: u64 = 6;

/// Longest stretch that is copied, moved or cut out.
const STRETCH_BYTES_MAX: usize = 256;

/// Numbers and bytes at which decoders are most often wrong: the ends of the integers, as varints and as digits.
const EDGES: &[&[u8]] = &[
    &[0],
    &[1],
    &[0x7f],
    &[0x80],
    &[0xff],
    &[0x80, 0x01],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    &[0, 0, 0, 0, 0, 0, 0xf8, 0x7f],
    b"-1",
    b"0",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"18446744073709551616",
    b"1e999",
    b"NaN",
    "\u{feff}".as_bytes(),
    "\u{1f9a0}\u{301}".as_bytes(),
    "İ".as_bytes(),
    b"\r\n",
    b"\"",
    b"\\u0000",
    b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
];

/// Makes inputs of a corpus.
#[derive(Clone, Debug)]
pub struct Mutator<'c> {
    rng: ChaCha8Rng,
    corpus: &'c [Vec<u8>],
    words: &'static [&'static str],
}

impl<'c> Mutator<'c> {
    /// A mutator of these inputs, for a format with these words.
    pub fn new(seed: u64, corpus: &'c [Vec<u8>], words: &'static [&'static str]) -> Self {
        let rng = ChaCha8Rng::seed_from_u64(seed);
        Self { rng, corpus, words }
    }

    /// The next input.
    pub fn next_input(&mut self) -> Vec<u8> {
        let mut input = self.some_input().to_owned();
        for _ in 0..=self.below(CHANGES_MAX) {
            self.change(&mut input);
        }
        input.truncate(INPUT_BYTES_MAX);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.place(input.len());
        match self.below(9) {
            0 | 1 if !input.is_empty() => {
                let byte = self.rng.next_u32() as u8;
                let last = input.len() - 1;
                let changed = &mut input[at.min(last)];
                *changed = match byte & 0x80 {
                    0 => *changed ^ (1 << (byte & 7)),
                    _ => byte.rotate_left(1),
                };
            }
            2 => {
                let stretch = self.stretch(input, at);
                input.drain(at..at + stretch);
            }
            3 => {
                let stretch = self.stretch(input, at);
                let copied = input[at..at + stretch].to_owned();
                let to = self.place(input.len());
                splice(input, to, 0, &copied);
            }
            4 => {
                let edge = EDGES[self.below(EDGES.len() as u64) as usize];
                let over = edge.len() * self.below(2) as usize;
                splice(input, at, over, edge);
            }
            5 if !self.words.is_empty() => {
                let word = self.words[self.below(self.words.len() as u64) as usize];
                let over = self.below(4) as usize;
                splice(input, at, over, word.as_bytes());
            }
            6 => input.truncate(at),
            7 => {
                let other = self.some_input();
                let from = self.place(other.len());
                let length = self.stretch(other, from);
                splice(input, at, length, &other[from..from + length]);
            }
            _ => {
                let length = 1 + self.below(8) as usize;
                let noise: Vec<u8> = (0..length).map(|_| self.rng.next_u32() as u8).collect();
                splice(input, at, 0, &noise);
            }
        }
    }

    fn some_input(&mut self) -> &'c [u8] {
        match self.corpus.len() {
            0 => &[],
            count => &self.corpus[self.below(count as u64) as usize],
        }
    }

    /// A place in so many bytes, the end included.
    fn place(&mut self, length: usize) -> usize {
        self.below(length as u64 + 1) as usize
    }

    /// How long a stretch from `at` is taken.
    fn stretch(&mut self, input: &[u8], at: usize) -> usize {
        let most = (input.len() - at).min(STRETCH_BYTES_MAX);
        self.place(most)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.rng.next_u64() % limit
    }
}

/// Puts bytes in the place of the `over` bytes from `at` on.
fn splice(input: &mut Vec<u8>, at: usize, over: usize, bytes: &[u8]) {
    let end = (at + over).min(input.len());
    input.splice(at..end, bytes.iter().copied());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_inputs_and_another_seed_others() {
        let corpus = [b"some words".to_vec(), b"others".to_vec()];
        let made = |seed| {
            let mut mutator = Mutator::new(seed, &corpus, &["word"]);
            (0..200).map(|_| mutator.next_input()).collect::<Vec<_>>()
        };

        assert_eq!(made(1), made(1));
        assert_ne!(made(1), made(2));
    }

    #[test]
    fn no_input_is_longer_than_the_limit_and_an_empty_corpus_will_do() {
        let long = [vec![b'x'; INPUT_BYTES_MAX]];
        for corpus in [&long[..], &[]] {
            let mut mutator = Mutator::new(7, corpus, &[]);
            assert!((0..200).all(|_| mutator.next_input().len() <= INPUT_BYTES_MAX));
        }
    }
}
