//! Whether the corpus and the programs for the nightly fuzzer are what the targets are.

use std::fs;
use std::path::Path;

use fuzz::judge::corpus;
use fuzz::{TARGETS, corpus_dir};

/// Largest corpus of all targets together, in bytes: it is part of every checkout.
const CORPUS_BYTES_MAX: usize = 300_000;

#[test]
fn every_target_has_a_corpus_and_a_program_for_the_nightly_fuzzer() {
    let mut bytes = 0;
    for target in TARGETS {
        let inputs = corpus(target).unwrap_or_else(|error| panic!("{}: {error}", target.name));
        assert!(!inputs.is_empty(), "{} has no corpus", target.name);
        bytes += inputs.iter().map(Vec::len).sum::<usize>();

        let program = format!("../libfuzzer/fuzz_targets/{}.rs", target.name);
        let program = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests")
            .join(program);
        let text = fs::read_to_string(&program).unwrap_or_default();
        assert!(
            text.contains(&format!("fuzz::run(\"{}\"", target.name)),
            "{}",
            program.display()
        );
    }
    assert!(bytes <= CORPUS_BYTES_MAX, "the corpus has {bytes} bytes");
    let folders = fs::read_dir(corpus_dir(&TARGETS[0]).join("..")).expect("the corpus");
    assert_eq!(folders.count(), TARGETS.len(), "a folder without a target");
}
