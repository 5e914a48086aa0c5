//! How far long work is: on standard error, a bar on a terminal, elsewhere a line every tenth or nothing.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressStyle};

use super::output::Output;
use crate::node::offline;

/// Says how many of `total` are done; `what` they are.
#[derive(Debug)]
pub(crate) struct Progress {
    output: Output,
    what: &'static str,
    bar: Option<ProgressBar>,
    total: u64,
    done: u64,
}

impl Progress {
    pub(crate) fn new(output: Output, what: &'static str, total: u64) -> Self {
        let silent = output.quiet || output.json;
        let bar = (!silent && io::stderr().is_terminal()).then(|| ProgressBar::new(total));
        let template = format!("{{bar:40}} {{pos}}/{{len}} {what}, {{eta}} left");
        let style = ProgressStyle::with_template(&template);
        let bar = match style {
            Ok(style) => bar.map(|bar| bar.with_style(style)),
            Err(_) => bar,
        };
        Self {
            output,
            what,
            bar,
            total,
            done: 0,
        }
    }

    pub(crate) fn add(&mut self, some: u64) {
        let before = tenths(self.done, self.total);
        self.done += some;
        let now = tenths(self.done, self.total);
        match &self.bar {
            Some(bar) => bar.set_position(self.done),
            None if now > before && !self.output.json => {
                let Self {
                    done, total, what, ..
                } = self;
                self.output
                    .talk(&format!("{now}0 %: {done} of {total} {what}"));
            }
            None => {}
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A bar on a terminal, for work that says itself what it is at.
#[derive(Debug)]
pub(crate) struct Bar(ProgressBar);

impl Bar {
    pub(crate) fn new(output: Output) -> Self {
        if output.quiet || output.json {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new(0);
        if let Ok(style) = ProgressStyle::with_template("{msg} {pos} of {len}") {
            bar.set_style(style);
        }
        Self(bar)
    }

    pub(crate) fn clear(&self) {
        self.0.finish_and_clear();
    }
}

impl offline::Progress for Bar {
    fn at(&mut self, what: &'static str, done: u64, of: u64) {
        self.0.set_message(what);
        self.0.set_length(of);
        self.0.set_position(done);
    }
}

fn tenths(done: u64, total: u64) -> u64 {
    (done.saturating_mul(10)).checked_div(total).unwrap_or(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenths_run_from_none_to_ten() {
        assert_eq!(
            [tenths(0, 7), tenths(4, 7), tenths(7, 7), tenths(0, 0)],
            [0, 5, 10, 10]
        );
    }
}
