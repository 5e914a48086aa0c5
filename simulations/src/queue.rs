//! The event queue: what happens next in virtual time.
//!
//! Events at one moment come out in the order in which they were put in, so a run has one order only.

use std::collections::BTreeMap;

/// Events by (virtual milliseconds, order of scheduling).
#[derive(Debug)]
pub struct Queue<E> {
    now_ms: u64,
    scheduled: u64,
    events: BTreeMap<(u64, u64), E>,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self {
            now_ms: 0,
            scheduled: 0,
            events: BTreeMap::new(),
        }
    }
}

impl<E> Queue<E> {
    /// The time of the event that came out last.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Puts an event in. One that should have happened already happens next.
    pub fn at(&mut self, at_ms: u64, event: E) {
        self.scheduled += 1;
        let key = (at_ms.max(self.now_ms), self.scheduled);
        self.events.insert(key, event);
    }

    /// Puts an event in that happens so many milliseconds from now.
    pub fn after(&mut self, delay_ms: u64, event: E) {
        self.at(self.now_ms.saturating_add(delay_ms), event);
    }

    /// The next event, if it is due by `end_ms`. Time moves to it, or to `end_ms`.
    pub fn pop_until(&mut self, end_ms: u64) -> Option<E> {
        match self.events.first_entry() {
            Some(entry) if entry.key().0 <= end_ms => {
                self.now_ms = entry.key().0;
                Some(entry.remove())
            }
            _ => {
                self.now_ms = self.now_ms.max(end_ms);
                None
            }
        }
    }

    /// The first moment, of those that lie whole steps from now, at which something more has happened, or that is
    /// not before `end_ms`. Looking in between shows nothing new.
    pub fn next_look(&self, step_ms: u64, end_ms: u64) -> u64 {
        let next_ms = self.events.first_key_value().map(|(key, _)| key.0);
        let next_ms = next_ms.unwrap_or(end_ms).min(end_ms);
        let steps = next_ms.saturating_sub(self.now_ms).div_ceil(step_ms).max(1);
        self.now_ms.saturating_add(steps.saturating_mul(step_ms))
    }

    /// Drops the events that `keep` does not want.
    pub fn retain(&mut self, mut keep: impl FnMut(&E) -> bool) {
        self.events.retain(|_, event| keep(event));
    }

    /// What waits, in order.
    pub fn iter(&self) -> impl Iterator<Item = &E> {
        self.events.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_out_by_time_and_then_in_the_order_they_went_in() {
        let mut queue = Queue::default();
        queue.at(5, "b");
        queue.at(3, "a");
        queue.at(5, "c");
        queue.at(9, "late");

        let out: Vec<_> = std::iter::from_fn(|| queue.pop_until(6)).collect();

        assert_eq!(out, ["a", "b", "c"]);
        assert_eq!(queue.now_ms(), 6);
        queue.at(1, "overdue");
        assert_eq!(queue.pop_until(100), Some("overdue"));
        assert_eq!(queue.now_ms(), 6);
    }

    #[test]
    fn looks_skip_the_time_in_which_nothing_happens() {
        let mut queue = Queue::default();
        assert_eq!(queue.pop_until(500), None);
        // Ten years in which nothing happens are one look.
        assert_eq!(queue.next_look(1_000, 316_224_000_000), 316_224_000_500);

        queue.at(7_700, "late");

        assert_eq!(queue.next_look(1_000, 60_000), 8_500);
        assert_eq!(queue.next_look(1_000, 3_000), 3_500);
        queue.at(500, "now");
        assert_eq!(queue.next_look(1_000, 60_000), 1_500);
    }
}
