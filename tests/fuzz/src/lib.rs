//! Every decoder of fieldmesh under hostile input.
//!
//! A *target* takes any bytes, hands them to one decoder and asserts what must hold whatever they are: no panic,
//! no more memory than the input's size allows, and that what was accepted says the same when it is written and
//! read again. Targets know nothing of who drives them. There are three drivers:
//!
//! - `cargo test -p fuzz` replays the corpus and a fixed number of inputs that a seeded [`mutate::Mutator`] makes
//!   of it: the same inputs every time, on a stable compiler.
//! - `cargo run --release -p fuzz -- run [TARGET] --inputs N --seed S` does the same for as long as one likes.
//! - `libfuzzer/` is a workspace of its own for `cargo fuzz`, which needs a nightly compiler and is guided by
//!   coverage: `cargo +nightly fuzz run --fuzz-dir tests/fuzz/libfuzzer change_set tests/fuzz/corpus/change_set`.
//!
//! An input that fails is written to `target/fuzz/`. `cargo run -p fuzz -- try TARGET FILE` shows it again; the
//! fault is then fixed under a named test beside the decoder, and the input joins the corpus.
//!
//! `corpus/` holds what real encoders wrote; `cargo run -p fuzz -- corpus` writes it anew after a change of a
//! format.

#![warn(missing_docs)]

mod client;
mod history;
pub mod judge;
pub mod mutate;
mod rows;
pub mod seeds;
mod session;
mod store_file;
mod text;
mod wire;

use std::path::PathBuf;

/// Bytes that a target may allocate in all, added up over its run: a bound on memory, and on work as well.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Whatever the input is.
    pub fixed: usize,
    /// For each byte of the input.
    pub per_byte: usize,
}

impl Budget {
    /// What an input of so many bytes may cost.
    pub fn of(self, input_bytes: usize) -> usize {
        self.fixed + self.per_byte * input_bytes
    }
}

/// One decoder under fire.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Names it: its folder in the corpus and its program in `libfuzzer/`.
    pub name: &'static str,
    /// Panics if something does not hold.
    pub run: fn(&[u8]),
    /// What a run may allocate.
    pub budget: Budget,
    /// How many made-up inputs the test suite gives it: fewer for those that open stores.
    pub inputs: u64,
    /// Words that its format knows, for the mutator.
    pub words: &'static [&'static str],
}

const KB: usize = 1 << 10;
const MB: usize = 1 << 20;

const fn target(name: &'static str, run: fn(&[u8]), fixed: usize, per_byte: usize) -> Target {
    Target {
        name,
        run,
        budget: Budget { fixed, per_byte },
        inputs: 4_000,
        words: &[],
    }
}

const fn textual(target: Target, words: &'static [&'static str]) -> Target {
    Target { words, ..target }
}

const fn slow(target: Target, inputs: u64) -> Target {
    Target { inputs, ..target }
}

/// All targets.
pub const TARGETS: &[Target] = &[
    target("change_set", wire::change_set, 64 * KB, 2_000),
    target("codec", wire::codec, 16 * KB, 100),
    target("frame", wire::frame, 64 * KB, 400),
    target("hello", wire::hello, 64 * KB, 400),
    target("frames", wire::frames, 4 * MB, 200_000),
    target("rows", rows::rows, 64 * KB, 2_000),
    target("document_row", rows::document_row, 64 * KB, 400),
    slow(target("history", history::converges, 64 * MB, 64 * KB), 60),
    textual(
        target("schema", text::schema, MB, 8_000),
        text::SCHEMA_WORDS,
    ),
    textual(
        target("migrations", text::migrations, 4 * MB, 8_000),
        text::SCHEMA_WORDS,
    ),
    textual(target("rule", text::rule, 64 * KB, 2_000), text::RULE_WORDS),
    textual(target("witness", text::witness, 16 * KB, 100), &[]),
    textual(target("plan", text::plan, MB, 4_000), text::JSON_WORDS),
    textual(target("contacts", text::contacts, 64 * KB, 400), &[","]),
    textual(target("csv", client::csv, MB, 8_000), client::CSV_WORDS),
    textual(target("jsonl", client::jsonl, MB, 8_000), text::JSON_WORDS),
    textual(target("list", client::list, MB, 8_000), client::LIST_WORDS),
    textual(
        target("preconditions", client::preconditions, 64 * KB, 400),
        &["W/", "\"", "*"],
    ),
    textual(target("patch", client::patch, MB, 8_000), text::JSON_WORDS),
    textual(target("batch", client::batch, MB, 8_000), text::JSON_WORDS),
    slow(target("xlsform", client::xlsform, 64 * MB, 64 * KB), 1_000),
    slow(target("session", session::session, 64 * MB, MB), 80),
    slow(target("store_file", store_file::damaged, 256 * MB, MB), 40),
];

/// The target of that name.
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Where the committed inputs of a target are.
pub fn corpus_dir(target: &Target) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target.name)
}

/// Where inputs that fail are written.
pub fn failures_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/fuzz")
}

/// Runs a target for a driver that watches panics itself.
///
/// # Panics
/// If the target broke a promise, or there is none of that name.
pub fn run(name: &str, input: &[u8]) {
    let target = find(name).unwrap_or_else(|| panic!("there is no target {name}"));
    if let Err(failure) = judge::judge(target, input) {
        panic!("{}: {}", failure.target, failure.why);
    }
}
