//! A lane for each device: what it holds as a rising area, its contacts as bars below, its faults as marks.
//!
//! Each class of links has a row of its own in the lane, so bars are told apart without colours.

use std::collections::BTreeMap;

use super::axis::stroke;
use super::canvas::{Anchor, Canvas, FAINT, GREY, INK, cut};
use super::legend::{Kinds, colour, row};
use super::trace::{Contact, STEPS, Trace};
use super::{LEFT, RIGHT, x_of};

/// Height of all lanes together, if they are not too few or too many for that.
const LANES_HEIGHT: f64 = 640.0;
const LANE_MIN: f64 = 30.0;
const LANE_MAX: f64 = 84.0;
const GAP: f64 = 5.0;
/// Height of a class's row of bars.
const BAR: f64 = 3.4;
const BARS: f64 = 4.0 * BAR + 1.0;
/// With more contacts the lines that join their ends would hide the picture.
const JOINED_MAX: usize = 150;
/// How far those lines lean: little, since time runs to the right.
const LEAN_MAX: f64 = 9.0;
/// Marks closer together than this become one.
const MARK_WIDTH: f64 = 18.0;

/// Draws the lanes. Returns where they end.
pub(super) fn draw(canvas: &mut Canvas, trace: &Trace, top: f64) -> f64 {
    let count = trace.devices.len() as f64;
    let height = (LANES_HEIGHT / count).clamp(LANE_MIN, LANE_MAX);
    let lanes = Lanes { top, height };
    for device in 0..trace.devices.len() {
        lanes.background(canvas, trace, device);
        lanes.held(canvas, trace, device);
    }
    if trace.contacts.len() <= JOINED_MAX {
        for contact in &trace.contacts {
            lanes.join(canvas, trace, contact);
        }
    }
    for contact in &trace.contacts {
        for device in [contact.a, contact.b] {
            lanes.bar(canvas, trace, contact, device);
        }
    }
    let kinds = Kinds::of(trace);
    for (device, faults) in by_device(trace) {
        lanes.faults(canvas, trace, device, &faults, &kinds);
    }
    top + height * count
}

#[derive(Clone, Copy, Debug)]
struct Lanes {
    top: f64,
    height: f64,
}

impl Lanes {
    fn top_of(&self, device: usize) -> f64 {
        self.top + self.height * device as f64
    }

    /// Where the area of a lane ends and its bars begin.
    fn base_of(&self, device: usize) -> f64 {
        self.top_of(device) + self.height - GAP - BARS
    }

    fn background(&self, canvas: &mut Canvas, trace: &Trace, device: usize) {
        let top = self.top_of(device);
        let size = (RIGHT - LEFT, self.height - GAP);
        canvas.rect((LEFT, top), size, "fill=\"#f4f5f7\"");
        let name = match (&trace.devices[device].name, trace.devices[device].hub) {
            (name, true) => format!("{} (hub)", cut(name, 14)),
            (name, false) => cut(name, 20),
        };
        let at = (LEFT - 12.0, top + (self.height - GAP) / 2.0 + 4.0);
        let weight = if trace.devices[device].hub {
            "bold"
        } else {
            "normal"
        };
        let style = format!("fill=\"{INK}\" font-weight=\"{weight}\"");
        canvas.styled_text(at, 13.0, Anchor::End, &name, &style);
    }

    /// The share of all entries that the device holds, as an area with a line on top.
    fn held(&self, canvas: &mut Canvas, trace: &Trace, device: usize) {
        let (top, base) = (self.top_of(device) + 1.0, self.base_of(device));
        let all = trace.entries() as f64;
        let mut points = vec![(LEFT, base)];
        for (step, entries) in &trace.held[device] {
            let x = LEFT + (RIGHT - LEFT) * *step as f64 / STEPS as f64;
            let y = base - (base - top) * *entries as f64 / all;
            let before = points.last().map_or(base, |last| last.1);
            points.push((x, before));
            points.push((x, y));
        }
        let last = points.last().map_or(base, |last| last.1);
        points.push((RIGHT, last));
        let mut area = points.clone();
        area.push((RIGHT, base));
        canvas.path(&area, true, "fill=\"#c9d3de\"");
        canvas.path(
            &points,
            false,
            &format!("fill=\"none\" {}", stroke(GREY, 1.2)),
        );
        canvas.line((LEFT, base), (RIGHT, base), &stroke(FAINT, 0.8));
    }

    fn bar(&self, canvas: &mut Canvas, trace: &Trace, contact: &Contact, device: usize) {
        let from = x_of(contact.at_ms, trace.horizon_ms);
        let to = x_of(contact.end_ms, trace.horizon_ms);
        let y = self.base_of(device) + 1.0 + BAR * row(contact.class) as f64;
        let style = format!("fill=\"{}\"", colour(contact.class));
        // A contact of no length on this scale is still there to see.
        canvas.rect((from, y), ((to - from).max(1.2), BAR - 0.4), &style);
    }

    fn join(&self, canvas: &mut Canvas, trace: &Trace, contact: &Contact) {
        let x = x_of(contact.at_ms, trace.horizon_ms);
        let y = |device| self.base_of(device) + 1.0 + BAR * (row(contact.class) as f64 + 0.5);
        let (a, b) = (y(contact.a), y(contact.b));
        // An arc that leans forward in time, so that contacts that begin together stay apart.
        let lean = (3.0 + 1.5 * (contact.b - contact.a) as f64)
            .min(LEAN_MAX)
            .min(RIGHT - x);
        let arc = [
            (x, a),
            (x + lean, a + (b - a) * 0.15),
            (x + lean, a + (b - a) * 0.85),
            (x, b),
        ];
        let colour = colour(contact.class);
        let style = format!(
            "fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.1\" stroke-opacity=\"0.55\""
        );
        canvas.path(&arc, false, &style);
    }

    fn faults(
        &self,
        canvas: &mut Canvas,
        trace: &Trace,
        device: usize,
        faults: &[(u64, &str)],
        kinds: &Kinds,
    ) {
        // (place, what is written on it)
        let mut marks: Vec<(f64, Vec<char>)> = Vec::new();
        for (at_ms, kind) in faults {
            let x = x_of(*at_ms, trace.horizon_ms);
            let letter = kinds.letter(kind);
            match marks.last_mut() {
                Some((last, letters)) if x < *last + MARK_WIDTH => letters.push(letter),
                _ => marks.push((x, vec![letter])),
            }
        }
        // In a low lane a mark covers the bars rather than the lane above.
        let y = self.top_of(device) + ((self.height - GAP - BARS) / 2.0).max(10.0);
        for (x, letters) in marks {
            let text = match letters.as_slice() {
                [one] => one.to_string(),
                several if several.len() > 9 => "9+".to_owned(),
                several => several.len().to_string(),
            };
            super::legend::mark(canvas, (x.clamp(LEFT + 8.0, RIGHT - 8.0), y), &text);
        }
    }
}

fn by_device(trace: &Trace) -> BTreeMap<usize, Vec<(u64, &str)>> {
    let mut devices: BTreeMap<usize, Vec<(u64, &str)>> = BTreeMap::new();
    for fault in &trace.faults {
        let of_device = devices.entry(fault.device).or_default();
        of_device.push((fault.at_ms, fault.kind.as_str()));
    }
    devices
}
