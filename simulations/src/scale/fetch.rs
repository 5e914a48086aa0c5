//! What a session sends: the same runs as the real store's, out of the pool.

use crdt_schema::ident::{Dot, LogId};
use fieldmesh::engine::batch::{Arrival, Fetched, Held, Run, Walk};
use fieldmesh::wire::limits::POINT_GAP_BYTES;

use super::pool::Pool;
use super::store::{MemoryStore, Stretch};

/// Runs are joined up to this many entry bytes, as in the real store.
const RUN_BYTES_TARGET: usize = 2 * POINT_GAP_BYTES;

/// A fetch in progress.
struct Fetch<'s> {
    store: &'s MemoryStore,
    pool: &'s Pool,
    after: Arrival,
    bytes_max: usize,
    runs: Vec<Run>,
    /// The log of the last run.
    run_log: Option<u32>,
    run_bytes: usize,
    bytes: usize,
    arrival: Arrival,
}

/// What lies on the walk and is not `known`. There is one space.
pub(super) fn fetch(
    store: &MemoryStore,
    walk: &Walk,
    known: &Held,
    bytes_max: usize,
) -> Result<Fetched, String> {
    let pool = &*store.pool.borrow();
    let after = match walk {
        Walk::Space { after, .. } => *after,
        Walk::Logs(_) => 0,
    };
    let mut fetch = Fetch {
        store,
        pool,
        after,
        bytes_max,
        runs: Vec::new(),
        run_log: None,
        run_bytes: 0,
        bytes: 0,
        arrival: after,
    };
    let end = match walk {
        Walk::Space { .. } => fetch.walk_space(known)?,
        Walk::Logs(logs) => fetch.walk_logs(logs, known.clone())?,
    };
    Ok(Fetched {
        arrival: if end { store.arrival } else { fetch.arrival },
        runs: fetch.runs,
        end,
        damaged: Vec::new(),
    })
}

impl Fetch<'_> {
    fn walk_space(&mut self, known: &Held) -> Result<bool, String> {
        let store = self.store;
        let first = store
            .stretches
            .partition_point(|stretch| stretch.last() <= self.after);
        for stretch in &store.stretches[first..] {
            if !self.take(stretch, known.seq(&self.pool.log(stretch.log).header.log))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn walk_logs(&mut self, logs: &[LogId], mut known: Held) -> Result<bool, String> {
        for log in logs {
            let Some(number) = self.pool.number(log) else {
                continue;
            };
            let end = self.store.seq(number) + 1;
            let mut from = known.seq(log).saturating_add(1);
            while from < end {
                if self.bytes >= self.bytes_max && !self.runs.is_empty() {
                    return Ok(false);
                }
                let point = self.point_from(number, from, end)?;
                if !self.is_ready(number, from, point, &known) {
                    break;
                }
                self.push(number, from, point)?;
                known.insert(*log, point);
                from = point + 1;
            }
        }
        Ok(true)
    }

    /// Whether whoever holds what is `known` has everything that these entries depend on.
    fn is_ready(&self, number: u32, from: u64, to: u64, known: &Held) -> bool {
        let is_held = |dep: &Dot| dep.seq <= known.seq(&dep.log);
        let log = self.pool.log(number);
        (from..=to).all(|seq| log.deps(seq).iter().all(is_held))
    }

    /// The first point at or after `from` and before `end`.
    fn point_from(&self, number: u32, from: u64, end: u64) -> Result<u64, String> {
        let points = &self.store.logs[number as usize].points;
        let place = points.partition_point(|point| u64::from(*point) < from);
        let point = points.get(place).map(|point| u64::from(*point));
        point
            .filter(|point| *point < end)
            .ok_or_else(|| format!("entries from {from} on end without a signature"))
    }

    /// Takes what is unknown of a stretch. Returns whether all of it fitted.
    fn take(&mut self, stretch: &Stretch, held: u64) -> Result<bool, String> {
        let (first, start) = (u64::from(stretch.first), u64::from(stretch.from));
        let arrived = start + (self.after + 1).saturating_sub(first);
        let mut from = arrived.max(held.saturating_add(1));
        let end = start + u64::from(stretch.count);
        while from < end {
            if self.bytes >= self.bytes_max && !self.runs.is_empty() {
                return Ok(false);
            }
            let point = self.point_from(stretch.log, from, end)?;
            self.push(stretch.log, from, point)?;
            self.arrival = first + (point - start);
            from = point + 1;
        }
        self.arrival = stretch.last();
        Ok(true)
    }

    /// Adds entries that end at a point, to the last run if they continue it.
    fn push(&mut self, number: u32, from: u64, to: u64) -> Result<(), String> {
        let log = self.pool.log(number);
        let signature = log
            .signature(to)
            .ok_or_else(|| format!("entry {to} of log {} has no signature", log.header.log))?;
        let entries: Vec<Vec<u8>> = (from..=to).map(|seq| log.bytes(seq).to_vec()).collect();
        let bytes: usize = entries.iter().map(Vec::len).sum();
        self.bytes += bytes;
        let continues = self.run_log == Some(number) && self.run_bytes + bytes <= RUN_BYTES_TARGET;
        match self.runs.last_mut() {
            Some(run) if continues && run.last() + 1 == from => {
                run.entries.extend(entries);
                run.signature = signature;
                self.run_bytes += bytes;
            }
            _ => {
                self.runs.push(Run {
                    header: log.header.clone(),
                    from,
                    entries,
                    signature,
                });
                (self.run_log, self.run_bytes) = (Some(number), bytes);
            }
        }
        Ok(())
    }
}
