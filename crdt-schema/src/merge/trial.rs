//! Which policy holds for a field that tries another one.
//!
//! The newest write that stands decides, by hybrid clock and then by dot: if the trial admits its time
//! and its log, the trial's policy merges all of them. Both are signed, so every device judges alike.

use super::{elements, register};
use crate::document::State;
use crate::resolution::Candidate;
use crate::schema::{Field, MergePolicy};

pub(super) fn policy(state: &State, field: &Field) -> MergePolicy {
    let Some(trial) = &field.trial else {
        return field.merge;
    };
    let marks = elements(state, field).iter().flat_map(|e| &e.marks);
    let writes = register(state, field).iter().chain(marks);
    let newest: Option<&Candidate> = writes.max_by_key(|write| (write.hlc, write.dot));
    match newest {
        Some(write) if trial.admits(write.hlc, write.dot.log, &field.key) => trial.merge,
        _ => field.merge,
    }
}
