//! Draws a run: who met whom, what went wrong, how far each device was behind, and what it cost in bytes.
//!
//! [`svg`] reads a trace, the JSON lines that a run writes, and gives one self-contained SVG; a [`Picture`] takes the
//! same lines while a run is played. Up to [`LANES_MAX`] devices get a lane each; more share a heat map of how far
//! each is behind.
//!
//! Invariants: a trace that is damaged, out of order or beyond its bounds is refused by line, never drawn in
//! part; the same trace gives the same bytes; text is escaped and labels are thinned out rather than laid
//! over each other; colours are told apart by the colour-blind, and in print by their place in the lane.
//!
//! Two contacts of one pair and class that overlap or touch are drawn as one. It does not know engines, stores or how
//! a run comes about.

mod axis;
mod canvas;
mod lanes;
mod legend;
mod map;
mod trace;
mod traffic;

#[cfg(test)]
mod tests;

use std::io::BufRead;

use canvas::Canvas;
use trace::Trace;

use crate::trace::{Line, Observer};

pub use trace::PlotError;

/// Most devices that get a lane of their own.
pub const LANES_MAX: usize = 40;

/// Width of the picture, in pixels: a projector's, at which text of 13 pixels is read in the last row.
const WIDTH: f64 = 1600.0;
/// Where the time axis begins: names stand left of it.
const LEFT: f64 = 190.0;
/// Where it ends.
const RIGHT: f64 = WIDTH - 40.0;
const TOP: f64 = 128.0;

/// Draws the trace.
///
/// # Errors
/// What is wrong with the trace, by line.
pub fn svg(lines: impl BufRead) -> Result<String, PlotError> {
    Ok(draw(&Trace::read(lines)?))
}

/// A picture of a run that is being played.
#[derive(Debug, Default)]
pub struct Picture {
    trace: Trace,
    lines: usize,
    /// What was wrong with the first line that could not be taken; nothing is taken after it.
    error: Option<PlotError>,
}

impl Picture {
    /// Draws what has been taken.
    ///
    /// # Errors
    /// As for [`svg`].
    pub fn svg(self) -> Result<String, PlotError> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(draw(&self.trace.ended()?)),
        }
    }
}

impl Observer for Picture {
    fn trace(&mut self, line: &Line) {
        if self.error.is_some() {
            return;
        }
        self.lines += 1;
        if let Err(what) = self.trace.take(line.clone()) {
            let line = self.lines;
            self.error = Some(PlotError::Damaged { line, what });
        }
    }
}

fn draw(trace: &Trace) -> String {
    let mut canvas = Canvas::default();
    legend::title(&mut canvas, trace);
    let bottom = match trace.devices.len() > LANES_MAX {
        true => map::draw(&mut canvas, trace, TOP),
        false => lanes::draw(&mut canvas, trace, TOP),
    };
    axis::time(&mut canvas, trace.horizon_ms, TOP, bottom);
    axis::settled(&mut canvas, trace, TOP, bottom);
    let bottom = legend::faults(&mut canvas, trace, bottom + 46.0);
    let bottom = traffic::draw(&mut canvas, trace, bottom + 40.0);
    canvas.finish(WIDTH, bottom + 24.0)
}

/// Where a moment lies on the time axis.
fn x_of(at_ms: u64, horizon_ms: u64) -> f64 {
    let share = at_ms.min(horizon_ms) as f64 / horizon_ms as f64;
    LEFT + share * (RIGHT - LEFT)
}
