//! Where a process stops in the middle of its work on a disk.
//!
//! How many steps it takes is known only when it is done. So each step is taken for the last with the chance that
//! makes all that have come equally likely, and the last of those that were taken counts.

use crate::draw::{Draw, key};

/// One of the next steps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stop {
    draw: Draw,
    case: u64,
    /// How many steps have come.
    steps: u64,
}

impl Stop {
    /// A stop whose draws are keyed by `case`.
    pub(super) fn new(draw: Draw, case: u64) -> Self {
        let steps = 0;
        Self { draw, case, steps }
    }

    /// Another step comes: whether the process stops before it, unless it stops before a later one.
    pub(super) fn is_here(&mut self) -> bool {
        self.steps += 1;
        let case = key(&[self.case, self.steps]);
        self.draw.number("disk stop", case, 0..self.steps) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_the_last_about_as_often_as_the_others() {
        let mut counts = [0; 10];
        for case in 0..5_000 {
            let mut stop = Stop::new(Draw::new(3), case);
            let taken = (0..counts.len()).filter(|_| stop.is_here());
            counts[taken.last().expect("the first always is")] += 1;
        }

        assert!(
            counts.iter().all(|count| (400..600).contains(count)),
            "{counts:?}"
        );
    }
}
