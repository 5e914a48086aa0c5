//! The corpus and a fixed number of inputs made of it, on every run of the test suite.

use fuzz::TARGETS;
use fuzz::judge::{bombard, corpus};

/// The made-up inputs are the same on every run.
const SEED: u64 = 20_261_121;

/// The only test of its program, because memory is counted for the whole process.
#[test]
fn no_decoder_panics_or_takes_more_memory_than_its_input_allows() {
    std::panic::set_hook(Box::new(|_| {}));
    let mut failures = Vec::new();
    for target in TARGETS {
        let corpus = corpus(target).unwrap_or_default();
        if let Err(failure) = bombard(target, &corpus, (SEED, target.inputs), |_, _| {}) {
            let kept = failure.keep().map(|path| path.display().to_string());
            failures.push(format!("{}: {} ({kept:?})", failure.target, failure.why));
        }
    }
    let _ = std::panic::take_hook();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
