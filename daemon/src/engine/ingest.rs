//! From a run of entries that a peer sent to one that the store may write.
//!
//! The order is cheap first: header, position, chain, signature, and only then the entries are decoded. A
//! verdict depends on signed data and on what this device holds, never on its clock.

use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::{Dot, OrganisationId, SpaceName};
use crdt_schema::op::ChangeSet;

use super::batch::{LogHeader, Run, VerifiedRun};
use super::logs::Logs;
use crate::wire::chain::{chain_next, verify_point};
use crate::wire::changeset::decode_change_set;

/// What came of looking at a run.
#[derive(Debug)]
pub(super) enum Verdict {
    /// All of it is held or staged already.
    Known,
    /// The part that is new, verified.
    New(VerifiedRun),
    /// This log cannot be continued from this peer, and why.
    Refused(&'static str),
}

pub(super) fn verify(organisation: &OrganisationId, logs: &Logs, run: Run) -> Verdict {
    let (end, chain) = logs.end(&run.header);
    if logs
        .get(run.header.log)
        .is_some_and(|log| log.header != run.header)
    {
        return Verdict::Refused("it begins differently here");
    }
    if run.last() <= end {
        return Verdict::Known;
    }
    if run.from > end + 1 {
        return Verdict::Refused("entries before it are missing");
    }
    let last = run.last();
    let known = (end + 1 - run.from) as usize;
    let Run {
        header,
        entries,
        signature,
        ..
    } = run;
    let entries: Vec<Vec<u8>> = entries.into_iter().skip(known).collect();
    let chain = entries
        .iter()
        .fold(chain, |chain, entry| chain_next(&chain, entry));
    if !verify_point(organisation, &header, last, &chain, &signature) {
        return Verdict::Refused(
            "fork or damaged history: its signature does not fit what is held here",
        );
    }
    let run = Run {
        header,
        from: end + 1,
        entries,
        signature,
    };
    match decode(logs, &run) {
        Ok(sets) => Verdict::New(VerifiedRun { run, sets, chain }),
        Err(why) => Verdict::Refused(why),
    }
}

/// Decodes entries whose author has signed them. What is wrong here is the author's fault, not the peer's.
fn decode(logs: &Logs, run: &Run) -> Result<Vec<ChangeSet>, &'static str> {
    let mut sets = Vec::with_capacity(run.entries.len());
    let mut last = Timestamp::default();
    for entry in &run.entries {
        let set = decode_change_set(entry)
            .map_err(|_| "its author wrote an entry that cannot be read")?;
        if set.hlc <= last {
            return Err("its author's clock does not grow");
        }
        last = set.hlc;
        for dep in set.edits.iter().flat_map(|edit| &edit.deps) {
            check_dependency(logs, &run.header, *dep)?;
        }
        sets.push(set);
    }
    Ok(sets)
}

fn check_dependency(logs: &Logs, header: &LogHeader, dep: Dot) -> Result<(), &'static str> {
    if dep.log == header.log {
        return Err("its author names itself as a dependency");
    }
    let same_space = |space: &SpaceName| *space == header.space;
    match logs.get(dep.log) {
        Some(log) if !same_space(&log.header.space) => Err("it depends on another space"),
        Some(log) if log.end().0 >= dep.seq => Ok(()),
        _ => Err("it depends on entries that are missing here"),
    }
}
