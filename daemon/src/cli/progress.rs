//! How far an import is: a bar on a terminal, a line every tenth elsewhere.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::output::Output;

/// Says how many of `total` rows are done.
#[derive(Debug)]
pub(in crate::cli) struct Progress {
    output: Output,
    bar: Option<ProgressBar>,
    total: u64,
    done: u64,
}

impl Progress {
    pub(in crate::cli) fn new(output: Output, total: u64) -> Self {
        let silent = output.quiet || output.json;
        let bar = (!silent && io::stderr().is_terminal()).then(|| ProgressBar::new(total));
        let style = ProgressStyle::with_template("{bar:40} {pos}/{len} rows, {eta} left");
        let bar = match style {
            Ok(style) => bar.map(|bar| bar.with_style(style)),
            Err(_) => bar,
        };
        Self {
            output,
            bar,
            total,
            done: 0,
        }
    }

    pub(in crate::cli) fn add(&mut self, rows: u64) {
        let before = tenths(self.done, self.total);
        self.done += rows;
        let now = tenths(self.done, self.total);
        match &self.bar {
            Some(bar) => bar.set_position(self.done),
            None if now > before && !self.output.json => {
                self.output
                    .talk(&format!("{}0 %: {} of {} rows", now, self.done, self.total));
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
