//! Runs a target on one input and says whether what must hold held: no panic, and no more memory than its budget.
//!
//! Memory is what Rust code asked the allocator for, added up from the first byte to the last. It counts the whole
//! process, so only one target may run at a time. What zstd's C code takes for itself is not in it.

use std::alloc::System;
use std::any::Any;
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use cap::Cap;

use crate::mutate::Mutator;
use crate::{Target, corpus_dir, failures_dir};

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// An input that broke a promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The target.
    pub target: &'static str,
    /// What happened.
    pub why: String,
    /// The input.
    pub input: Vec<u8>,
}

impl Failure {
    /// Writes the input below `target/fuzz/` and tells where.
    ///
    /// # Errors
    /// The disk's.
    pub fn keep(&self) -> io::Result<PathBuf> {
        let dir = failures_dir();
        fs::create_dir_all(&dir)?;
        let digest = blake3::hash(&self.input).to_hex();
        let path = dir.join(format!("{}-{}", self.target, &digest[..12]));
        fs::write(&path, &self.input)?;
        Ok(path)
    }
}

/// Runs the target; how many bytes it allocated.
///
/// # Errors
/// What it broke.
pub fn judge(target: &Target, input: &[u8]) -> Result<usize, Failure> {
    let failed = |why| Failure {
        target: target.name,
        why,
        input: input.to_owned(),
    };
    let before = ALLOCATOR.total_allocated();
    // Targets share nothing that a panic could leave half done.
    catch_unwind(AssertUnwindSafe(|| (target.run)(input)))
        .map_err(|panic| failed(format!("it panicked: {}", message(panic.as_ref()))))?;
    let allocated = ALLOCATOR.total_allocated() - before;
    let budget = target.budget.of(input.len());
    if allocated > budget {
        return Err(failed(format!(
            "it allocated {allocated} bytes for {} bytes of input, more than the {budget} allowed",
            input.len()
        )));
    }
    Ok(allocated)
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a message")
}

/// The committed inputs of a target, by name.
///
/// # Errors
/// The disk's.
pub fn corpus(target: &Target) -> io::Result<Vec<Vec<u8>>> {
    let mut paths = fs::read_dir(corpus_dir(target))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()?;
    paths.sort();
    paths.iter().map(|path| fs::read(Path::new(path))).collect()
}

/// Gives a target its corpus, and then so many inputs made of it. `watch` sees every input with its cost.
///
/// # Errors
/// The first failure.
pub fn bombard(
    target: &Target,
    corpus: &[Vec<u8>],
    (seed, inputs): (u64, u64),
    mut watch: impl FnMut(&[u8], usize),
) -> Result<(), Failure> {
    for input in corpus {
        watch(input, judge(target, input)?);
    }
    let mut mutator = Mutator::new(seed, corpus, target.words);
    for _ in 0..inputs {
        let input = mutator.next_input();
        watch(&input, judge(target, &input)?);
    }
    Ok(())
}
