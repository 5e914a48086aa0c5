//! The lower panel: the bytes of each link as sorted bars, and all bytes over time as a rising line.

use super::axis::{amounts, bytes, caption, duration, moments, stroke};
use super::canvas::{Anchor, Canvas, FAINT, INK, cut};
use super::trace::{STEPS, Trace};
use super::{LEFT, RIGHT};

const HEIGHT: f64 = 260.0;
/// Links with a line of their own; the last line is for all others if there are more.
const LINKS_MAX: usize = 12;
const BAR: f64 = 20.0;
/// Where the bars end: the rest is for the line.
const MIDDLE: f64 = 760.0;
const NAMES: f64 = 270.0;
/// Where the line's axis stands.
const LINE_LEFT: f64 = MIDDLE + 120.0;

/// Draws the panel. Returns where it ends.
pub(super) fn draw(canvas: &mut Canvas, trace: &Trace, top: f64) -> f64 {
    let left = LEFT - 160.0;
    caption(canvas, (left, top), "bytes per link, both ways");
    caption(canvas, (LINE_LEFT, top), "all bytes over time");
    if trace.links.is_empty() {
        canvas.text((left, top + 30.0), 13.0, Anchor::Start, "no frames");
        return top + 40.0;
    }
    links(canvas, trace, (left, top + 16.0));
    line(canvas, trace, top + 16.0);
    top + 16.0 + HEIGHT + 26.0
}

fn links(canvas: &mut Canvas, trace: &Trace, (left, top): (f64, f64)) {
    let name = |device: usize| cut(&trace.devices[device].name, 15);
    let mut links: Vec<(String, u64)> = trace
        .links
        .iter()
        .map(|((a, b), bytes)| (format!("{} – {}", name(*a), name(*b)), *bytes))
        .collect();
    // Stable, so equal links stay in the order of their devices.
    links.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    if links.len() > LINKS_MAX {
        let rest = links.split_off(LINKS_MAX - 1);
        let sum = rest
            .iter()
            .fold(0_u64, |sum, (_, bytes)| sum.saturating_add(*bytes));
        // Words only: a bar for many would dwarf those for one.
        let text = format!("{} other links: {} together", rest.len(), bytes(sum));
        let y = top + BAR * links.len() as f64 + 14.0;
        canvas.text((left + NAMES, y), 13.0, Anchor::Start, &text);
    }
    let most = links.first().map_or(1, |(_, bytes)| (*bytes).max(1));
    let room = MIDDLE - left - NAMES - 80.0;
    for (number, (name, count)) in links.iter().enumerate() {
        let y = top + BAR * number as f64;
        canvas.text((left + NAMES - 8.0, y + 14.0), 13.0, Anchor::End, name);
        let width = room * *count as f64 / most as f64;
        canvas.rect(
            (left + NAMES, y + 3.0),
            (width.max(1.0), BAR - 6.0),
            "fill=\"#56789a\"",
        );
        let at = (left + NAMES + width + 7.0, y + 14.0);
        canvas.text(at, 13.0, Anchor::Start, &bytes(*count));
    }
}

fn line(canvas: &mut Canvas, trace: &Trace, top: f64) {
    let mut sum = 0_u64;
    let sums = trace.bytes.iter().map(|bytes| {
        sum = sum.saturating_add(*bytes);
        sum
    });
    let sums: Vec<u64> = sums.collect();
    let marks = amounts(sum.max(1));
    let most = marks.last().copied().unwrap_or(1).max(1) as f64;
    let bottom = top + HEIGHT;
    let y_of = |amount: u64| bottom - HEIGHT * amount as f64 / most;
    for mark in &marks {
        let y = y_of(*mark);
        canvas.line((LINE_LEFT, y), (RIGHT, y), &stroke(FAINT, 0.8));
        canvas.text((LINE_LEFT - 8.0, y + 4.0), 13.0, Anchor::End, &bytes(*mark));
    }
    let x_of = |share: f64| LINE_LEFT + (RIGHT - LINE_LEFT) * share;
    // Half the width of the upper panel, so every second mark.
    for at_ms in moments(trace.horizon_ms).step_by(2) {
        let x = x_of(at_ms as f64 / trace.horizon_ms as f64);
        canvas.line((x, bottom), (x, bottom + 5.0), &stroke(INK, 1.0));
        canvas.text((x, bottom + 20.0), 13.0, Anchor::Middle, &duration(at_ms));
    }
    let mut points = vec![(LINE_LEFT, bottom)];
    let steps = sums.iter().enumerate();
    points.extend(steps.map(|(step, sum)| (x_of((step + 1) as f64 / STEPS as f64), y_of(*sum))));
    canvas.path(
        &points,
        false,
        &format!("fill=\"none\" {}", stroke("#0072b2", 2.2)),
    );
    canvas.line((LINE_LEFT, bottom), (RIGHT, bottom), &stroke(INK, 1.0));
}
