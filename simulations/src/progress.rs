//! How far a long run is, on standard error: a bar on a terminal, and elsewhere a line at each tenth of the way.
//!
//! What is over within [`QUIET`] says nothing: nobody waits for it.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How long nothing is said.
const QUIET: Duration = Duration::from_secs(2);
/// How often a run says how far it is where there is no terminal to draw a bar in.
const STEPS: u64 = 10;

/// What is under way, and how far it is.
#[derive(Debug)]
pub struct Progress {
    what: String,
    bar: ProgressBar,
    total: u64,
    /// How many thousandths of the way have been looked at.
    thousandths: u64,
    /// How many steps have been said.
    steps: u64,
    begun: Instant,
}

impl Progress {
    /// Begins `what`, which is over at `total`.
    pub fn new(what: impl Into<String>, total: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden());
        if let Ok(style) = ProgressStyle::with_template("{msg} {percent}% {wide_bar} {eta}") {
            bar.set_style(style);
        }
        Self {
            what: what.into(),
            bar,
            total: total.max(1),
            thousandths: 0,
            steps: 0,
            begun: Instant::now(),
        }
    }

    /// It has come so far.
    pub fn at(&mut self, done: u64) {
        let done = done.min(self.total);
        let thousandths = (u128::from(done) * 1000 / u128::from(self.total)) as u64;
        if thousandths <= self.thousandths {
            return;
        }
        self.thousandths = thousandths;
        if self.begun.elapsed() < QUIET {
            return;
        }
        if stderr().is_terminal() {
            if self.bar.is_hidden() {
                self.bar.set_message(self.what.clone());
                self.bar.set_draw_target(ProgressDrawTarget::stderr());
            }
            self.bar.set_position(done);
        } else if let Some(line) = self.line() {
            eprintln!("{line}");
        }
    }

    /// Does something that prints, and draws the bar below it again.
    pub fn suspend(&self, print: impl FnOnce()) {
        self.bar.suspend(print);
    }

    /// What is said at this step, if it has not been said.
    fn line(&mut self) -> Option<String> {
        let steps = self.thousandths * STEPS / 1000;
        if steps <= self.steps {
            return None;
        }
        self.steps = steps;
        let (what, percent) = (&self.what, steps * 100 / STEPS);
        let seconds = self.begun.elapsed().as_secs();
        Some(format!("{what}: {percent} % after {seconds} s"))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tenth_of_the_way_is_said_once() {
        let mut progress = Progress::new("a run", 250);
        let mut lines = Vec::new();
        for done in 1..=250 {
            progress.at(done);
            lines.extend(progress.line());
        }

        assert_eq!(lines.len(), 10, "{lines:?}");
        assert_eq!(lines[0], "a run: 10 % after 0 s");
        progress.at(u64::MAX);
        assert_eq!(progress.line(), None);
        Progress::new("nothing", 0).at(5);
    }
}
