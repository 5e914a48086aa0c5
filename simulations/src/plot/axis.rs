//! Axes: moments and amounts at round numbers.

use super::canvas::{Anchor, Canvas, FAINT, GREY, INK, width_of};
use super::trace::Trace;
use super::{LEFT, RIGHT, x_of};
use crate::time::{DAY_MS, HOUR_MS, MINUTE_MS};

const SECOND_MS: u64 = 1000;

/// Distances between two marks that people count in.
const STRIDES_MS: [u64; 21] = [
    1,
    10,
    100,
    SECOND_MS,
    5 * SECOND_MS,
    15 * SECOND_MS,
    MINUTE_MS,
    5 * MINUTE_MS,
    15 * MINUTE_MS,
    HOUR_MS,
    3 * HOUR_MS,
    6 * HOUR_MS,
    12 * HOUR_MS,
    DAY_MS,
    2 * DAY_MS,
    7 * DAY_MS,
    28 * DAY_MS,
    91 * DAY_MS,
    365 * DAY_MS,
    3650 * DAY_MS,
    36_500 * DAY_MS,
];

/// Most marks on the time axis.
const MARKS: u64 = 15;

/// Draws the time axis below a panel, with lines through it.
pub(super) fn time(canvas: &mut Canvas, horizon_ms: u64, top: f64, bottom: f64) {
    canvas.line((LEFT, bottom), (RIGHT, bottom), &stroke(INK, 1.0));
    for at_ms in moments(horizon_ms) {
        let x = x_of(at_ms, horizon_ms);
        canvas.line((x, top), (x, bottom), &stroke(FAINT, 0.8));
        canvas.line((x, bottom), (x, bottom + 5.0), &stroke(INK, 1.0));
        canvas.text((x, bottom + 20.0), 13.0, Anchor::Middle, &duration(at_ms));
    }
}

/// Marks the moment of convergence.
pub(super) fn settled(canvas: &mut Canvas, trace: &Trace, top: f64, bottom: f64) {
    let Some(at_ms) = trace.settled_ms else {
        return;
    };
    let x = x_of(at_ms, trace.horizon_ms);
    let style = format!("stroke=\"{INK}\" stroke-width=\"2\" stroke-dasharray=\"7 4\"");
    canvas.line((x, top - 8.0), (x, bottom), &style);
    let text = format!("settled after {}", duration(at_ms));
    let half = width_of(&text, 14.0) / 2.0;
    let x = x.clamp(LEFT + half, RIGHT - half);
    let bold = format!("fill=\"{INK}\" font-weight=\"bold\"");
    canvas.styled_text((x, top - 13.0), 14.0, Anchor::Middle, &text, &bold);
}

/// Round moments from 0 to the horizon, few enough to be labelled.
pub(super) fn moments(horizon_ms: u64) -> impl Iterator<Item = u64> {
    let fits = |stride: &&u64| horizon_ms / **stride <= MARKS;
    let stride = STRIDES_MS.iter().find(fits).copied().unwrap_or(horizon_ms);
    (0..=horizon_ms / stride).map(move |number| number * stride)
}

/// Round amounts from 0 to at least `most`, about four.
pub(super) fn amounts(most: u64) -> Vec<u64> {
    let powers = (0..=19).map(|power| 10_u64.saturating_pow(power));
    let strides = powers.flat_map(|power| [1, 2, 5].map(|lead| power.saturating_mul(lead)));
    let mut fitting = strides.skip_while(|stride| most / stride > 4);
    let stride = fitting.next().unwrap_or(u64::MAX);
    (0..=most.div_ceil(stride))
        .map(|n| n.saturating_mul(stride))
        .collect()
}

/// A duration in the two largest units that people use.
pub(super) fn duration(ms: u64) -> String {
    let units = [
        (DAY_MS, "d"),
        (HOUR_MS, "h"),
        (MINUTE_MS, "min"),
        (SECOND_MS, "s"),
        (1, "ms"),
    ];
    let first = units.iter().position(|(unit, _)| ms >= *unit);
    let Some(first) = first else {
        return "0".to_owned();
    };
    let (unit, name) = units[first];
    let whole = format!("{} {name}", ms / unit);
    match units.get(first + 1) {
        Some((next, small)) if ms % unit >= *next => {
            format!("{whole} {} {small}", ms % unit / next)
        }
        _ => whole,
    }
}

/// An amount of bytes.
pub(super) fn bytes(count: u64) -> String {
    let units = [
        (1_000_000_000_000_000_000, "EB"),
        (1_000_000_000_000_000, "PB"),
        (1_000_000_000_000, "TB"),
        (1_000_000_000, "GB"),
        (1_000_000, "MB"),
        (1000, "kB"),
    ];
    match units.iter().find(|(unit, _)| count >= *unit) {
        None => format!("{count} B"),
        Some((unit, name)) => {
            let tenths = count / (unit / 10);
            match tenths % 10 {
                0 => format!("{} {name}", tenths / 10),
                rest => format!("{}.{rest} {name}", tenths / 10),
            }
        }
    }
}

pub(super) fn stroke(colour: &str, width: f64) -> String {
    format!("stroke=\"{colour}\" stroke-width=\"{width}\"")
}

/// Names an axis.
pub(super) fn caption(canvas: &mut Canvas, at: (f64, f64), text: &str) {
    let style = format!("fill=\"{GREY}\"");
    canvas.styled_text(at, 13.0, Anchor::Start, text, &style);
}
