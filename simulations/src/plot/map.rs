//! Many devices: a heat map of how far each is behind the one that holds most, over time.

use super::canvas::{Anchor, Canvas, GREY, width_of};
use super::trace::{STEPS, Trace};
use super::{LEFT, RIGHT};

const HEIGHT: f64 = 620.0;

/// Columns of the map: wide enough to be seen and few enough for a file that opens.
const COLUMNS: usize = 160;
/// Rows of the map; more devices share them, and the one that is furthest behind is shown.
const ROWS_MAX: usize = 310;

/// How far behind, up to these shares; the last colour is for more. From light to dark, so it prints.
const LEVELS: [(f64, &str, &str); 6] = [
    (0.0, "#edf8e9", "holds all there is"),
    (0.02, "#c7dff0", "up to 2 % behind"),
    (0.10, "#8fb8de", "10 %"),
    (0.30, "#4f86c0", "30 %"),
    (0.60, "#2b5797", "60 %"),
    (1.00, "#14284f", "more"),
];

/// Draws the map. Returns where it ends.
pub(super) fn draw(canvas: &mut Canvas, trace: &Trace, top: f64) -> f64 {
    let levels = levels(trace);
    let count = trace.devices.len();
    let rows = count.min(ROWS_MAX);
    let height = HEIGHT / rows as f64;
    let width = (RIGHT - LEFT) / COLUMNS as f64;
    for row in 0..rows {
        let devices = row * count / rows..(row + 1) * count / rows;
        let of_column = |column: usize| {
            let worst = devices.clone().map(|device| levels[column][device]).max();
            worst.unwrap_or(0)
        };
        let y = top + height * row as f64;
        let mut column = 0;
        while column < COLUMNS {
            let level = of_column(column);
            let end = (column..COLUMNS).find(|next| of_column(*next) != level);
            let end = end.unwrap_or(COLUMNS);
            let x = LEFT + width * column as f64;
            let size = (width * (end - column) as f64 + 0.1, height + 0.1);
            canvas.rect((x, y), size, &format!("fill=\"{}\"", LEVELS[level].1));
            column = end;
        }
    }
    names(canvas, trace, top, HEIGHT / count as f64);
    top + HEIGHT
}

/// The level of each device, for each column.
fn levels(trace: &Trace) -> Vec<Vec<usize>> {
    let mut held = vec![0_u64; trace.devices.len()];
    let mut levels = Vec::with_capacity(COLUMNS);
    for column in 0..COLUMNS {
        let steps = column * STEPS / COLUMNS..(column + 1) * STEPS / COLUMNS;
        for (held, changes) in held.iter_mut().zip(&trace.held) {
            if let Some((_, newest)) = changes.range(steps.clone()).next_back() {
                *held = *newest;
            }
        }
        let most = held.iter().copied().max().unwrap_or(0);
        levels.push(held.iter().map(|held| level(*held, most)).collect());
    }
    levels
}

fn level(held: u64, most: u64) -> usize {
    if held == most {
        return 0;
    }
    let behind = 1.0 - held as f64 / most as f64;
    let found = LEVELS.iter().skip(1).position(|level| behind <= level.0);
    found.map_or(LEVELS.len() - 1, |at| at + 1)
}

/// As many names as fit beside the map.
fn names(canvas: &mut Canvas, trace: &Trace, top: f64, height: f64) {
    let every = (16.0 / height).ceil().max(1.0) as usize;
    for device in (0..trace.devices.len()).step_by(every) {
        let y = top + height * (device as f64 + 0.5) + 4.0;
        let name = super::canvas::cut(&trace.devices[device].name, 20);
        canvas.text((LEFT - 12.0, y), 12.0, Anchor::End, &name);
    }
}

/// What the colours mean.
pub(super) fn scale(canvas: &mut Canvas, (left, y): (f64, f64)) {
    let mut x = left;
    for (_, colour, text) in LEVELS {
        let style = format!("fill=\"{colour}\" stroke=\"{GREY}\" stroke-width=\"0.6\"");
        canvas.rect((x, y - 11.0), (24.0, 14.0), &style);
        canvas.text((x + 30.0, y), 13.0, Anchor::Start, text);
        x += 30.0 + width_of(text, 13.0) + 20.0;
    }
}
