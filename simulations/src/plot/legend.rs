//! The title, what the colours mean, and which letter stands for which fault.

use std::collections::BTreeMap;

use super::axis::{bytes, duration};
use super::canvas::{Anchor, Canvas, GREY, INK, width_of};
use super::trace::Trace;
use super::{LANES_MAX, LEFT, RIGHT};
use crate::link::LinkClass;

const CLASSES: [(LinkClass, &str); 4] = [
    (LinkClass::Wifi, "wifi"),
    (LinkClass::Ble, "BLE"),
    (LinkClass::Cell2g, "2G"),
    (LinkClass::Satellite, "satellite"),
];

/// Most kinds of faults that get a letter of their own; the others share one.
const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXY";

/// A colour that the colour-blind can tell from the others.
pub(super) fn colour(class: LinkClass) -> &'static str {
    match class {
        LinkClass::Wifi => "#0072b2",
        LinkClass::Ble => "#d55e00",
        LinkClass::Cell2g => "#009e73",
        LinkClass::Satellite => "#cc79a7",
    }
}

/// The row of a class's bars in a lane.
pub(super) fn row(class: LinkClass) -> usize {
    match class {
        LinkClass::Wifi => 0,
        LinkClass::Ble => 1,
        LinkClass::Cell2g => 2,
        LinkClass::Satellite => 3,
    }
}

/// The title, a line of figures and the legend of the upper panel.
pub(super) fn title(canvas: &mut Canvas, trace: &Trace) {
    let bold = format!("fill=\"{INK}\" font-weight=\"bold\"");
    let end = match trace.settled_ms {
        Some(at_ms) => format!("settled after {}", duration(at_ms)),
        None => "not settled".to_owned(),
    };
    let devices = match trace.devices.len() {
        1 => "1 device".to_owned(),
        count => format!("{count} devices"),
    };
    let head = format!("{devices} over {}, {end}", duration(trace.horizon_ms));
    canvas.styled_text((30.0, 38.0), 22.0, Anchor::Start, &head, &bold);
    let total = trace
        .links
        .values()
        .fold(0_u64, |sum, bytes| sum.saturating_add(*bytes));
    let figures = format!(
        "{} contacts · {} faults · {} entries · {} in frames",
        trace.contacts.len(),
        trace.faults.len(),
        if trace.held.iter().any(|held| !held.is_empty()) {
            trace.entries()
        } else {
            0
        },
        bytes(total),
    );
    let grey = format!("fill=\"{GREY}\"");
    canvas.styled_text((30.0, 62.0), 14.0, Anchor::Start, &figures, &grey);
    match trace.devices.len() > LANES_MAX {
        true => super::map::scale(canvas, (LEFT, 84.0)),
        false => lanes(canvas, (LEFT, 84.0)),
    }
}

fn lanes(canvas: &mut Canvas, (left, y): (f64, f64)) {
    let mut x = left;
    canvas.rect(
        (x, y - 10.0),
        (24.0, 12.0),
        "fill=\"#c9d3de\" stroke=\"#5f6368\"",
    );
    x = label(canvas, (x + 30.0, y), "share of all entries held");
    for (class, name) in CLASSES {
        let style = format!("fill=\"{}\"", colour(class));
        canvas.rect((x, y - 10.0 + 2.6 * row(class) as f64), (24.0, 4.0), &style);
        x = label(canvas, (x + 30.0, y), name);
    }
}

/// Writes a label. Returns where the next one may begin.
fn label(canvas: &mut Canvas, (x, y): (f64, f64), text: &str) -> f64 {
    canvas.text((x, y), 13.0, Anchor::Start, text);
    x + width_of(text, 13.0) + 22.0
}

/// A fault's mark, with a letter or a count on it.
pub(super) fn mark(canvas: &mut Canvas, (x, y): (f64, f64), text: &str) {
    let diamond = [(x, y - 10.0), (x + 10.0, y), (x, y + 10.0), (x - 10.0, y)];
    canvas.path(
        &diamond,
        true,
        &format!("fill=\"#ffffff\" stroke=\"{INK}\" stroke-width=\"1.4\""),
    );
    let bold = format!("fill=\"{INK}\" font-weight=\"bold\"");
    canvas.styled_text((x, y + 4.0), 11.0, Anchor::Middle, text, &bold);
}

/// Explains the marks of faults, over as many lines as it takes. Returns where that ends.
pub(super) fn faults(canvas: &mut Canvas, trace: &Trace, top: f64) -> f64 {
    let kinds = Kinds::of(trace);
    if kinds.counts.is_empty() || trace.devices.len() > LANES_MAX {
        return top;
    }
    let mut labels: Vec<(String, String)> = Vec::new();
    for (number, (kind, count)) in kinds.counts.iter().take(LETTERS.len()).enumerate() {
        let letter = char::from(LETTERS[number]).to_string();
        labels.push((letter, format!("{} × {count}", kind.replace('_', " "))));
    }
    let rest: usize = kinds.counts.values().skip(LETTERS.len()).sum();
    if rest > 0 {
        labels.push(("Z".to_owned(), format!("other faults × {rest}")));
    }
    labels.push(("2".to_owned(), "several close together".to_owned()));
    let (mut x, mut y) = (LEFT, top);
    for (sign, text) in labels {
        let width = 20.0 + width_of(&text, 13.0);
        if x + width > RIGHT && x > LEFT {
            (x, y) = (LEFT, y + 26.0);
        }
        mark(canvas, (x + 8.0, y - 4.0), &sign);
        x = label(canvas, (x + 24.0, y), &text);
    }
    y
}

/// The kinds of faults in a trace, each with its count.
#[derive(Debug)]
pub(super) struct Kinds {
    counts: BTreeMap<String, usize>,
}

impl Kinds {
    pub(super) fn of(trace: &Trace) -> Self {
        let mut counts = BTreeMap::new();
        for fault in &trace.faults {
            *counts.entry(fault.kind.clone()).or_default() += 1;
        }
        Self { counts }
    }

    pub(super) fn letter(&self, kind: &str) -> char {
        let number = self.counts.keys().position(|known| known == kind);
        let letter = number.and_then(|number| LETTERS.get(number));
        letter.map_or('Z', |letter| char::from(*letter))
    }
}
