//! What a session sends: the same runs as the real store's, out of the pool.

use fieldmesh::engine::batch::{Arrival, Fetched, Held, Run};
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

/// What came after `after` and is not `known`.
pub(super) fn fetch(
    store: &MemoryStore,
    after: Arrival,
    known: &Held,
    bytes_max: usize,
) -> Result<Fetched, String> {
    let pool = &*store.pool.borrow();
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
    let first = store
        .stretches
        .partition_point(|stretch| stretch.last() <= after);
    let mut end = true;
    for stretch in &store.stretches[first..] {
        if !fetch.take(stretch, known.seq(&pool.log(stretch.log).header.log))? {
            end = false;
            break;
        }
    }
    Ok(Fetched {
        arrival: if end { store.arrival } else { fetch.arrival },
        runs: fetch.runs,
        end,
        damaged: Vec::new(),
    })
}

impl Fetch<'_> {
    /// Takes what is unknown of a stretch. Returns whether all of it fitted.
    fn take(&mut self, stretch: &Stretch, held: u64) -> Result<bool, String> {
        let (first, start) = (u64::from(stretch.first), u64::from(stretch.from));
        let arrived = start + (self.after + 1).saturating_sub(first);
        let mut from = arrived.max(held.saturating_add(1));
        let end = start + u64::from(stretch.count);
        let points = &self.store.logs[stretch.log as usize].points;
        while from < end {
            if self.bytes >= self.bytes_max && !self.runs.is_empty() {
                return Ok(false);
            }
            let place = points.partition_point(|point| u64::from(*point) < from);
            let point = points.get(place).map(|point| u64::from(*point));
            let point = point
                .filter(|point| *point < end)
                .ok_or_else(|| format!("entries from {from} on end without a signature"))?;
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
