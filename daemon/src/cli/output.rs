//! What the commands print: data on standard output, talk on standard error.
//!
//! Text that came from a record, a peer or the daemon passes [`plain`] on its way to a terminal, so that
//! no device can move another user's cursor or hide a line with control characters.

use std::io::{self, IsTerminal, Write};

use comfy_table::{Table, presets};
use serde::Serialize;
use serde_json::Value as Json;

use super::failure::Failure;

/// Longest cell of a table, in characters; more is cut with `…`.
const CELL_CHARS_MAX: usize = 60;

/// How and where to print.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    /// JSON instead of text.
    pub(crate) json: bool,
    /// No talk.
    pub(crate) quiet: bool,
    colour: bool,
}

impl Output {
    pub(crate) fn new(json: bool, quiet: bool) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let colour = io::stdout().is_terminal() && !refused && !dumb && !json;
        Self {
            json,
            quiet,
            colour,
        }
    }

    /// One line (or block) of data.
    pub(crate) fn line(self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        writeln!(out, "{text}")
            .and_then(|()| out.flush())
            .map_err(|e| Failure::output(&e))
    }

    /// One line of JSON.
    pub(crate) fn json(self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value)
            .map_err(|e| Failure::new(super::failure::Exit::Failed, e))?;
        self.line(&text)
    }

    /// A line of talk, unless the user wants none.
    pub(crate) fn talk(self, text: &str) {
        if !self.quiet {
            // Losing talk is no reason to stop the work.
            let _ = writeln!(io::stderr().lock(), "{text}");
        }
    }

    /// Rows under a header. Without rows nothing is printed.
    pub(crate) fn table(self, header: &[String], rows: &[Vec<String>]) -> Result<(), Failure> {
        if rows.is_empty() {
            return Ok(());
        }
        self.line(&table(header, rows))
    }

    pub(crate) fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    pub(crate) fn bad(self, text: &str) -> String {
        self.paint("1;33", text)
    }

    pub(crate) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// A table without lines, columns two spaces apart.
fn table(header: &[String], rows: &[Vec<String>]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header.iter().map(|cell| short(cell)));
    for row in rows {
        table.add_row(row.iter().map(|cell| short(cell)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// The header of a table from words.
pub(crate) fn header(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| name.to_uppercase()).collect()
}

/// A text that fits a table's cell.
fn short(text: &str) -> String {
    let text = plain(text);
    if text.chars().count() <= CELL_CHARS_MAX {
        return text;
    }
    let mut cut: String = text.chars().take(CELL_CHARS_MAX - 1).collect();
    cut.push('…');
    cut
}

/// The text with every control character shown as `\u{…}` instead of sent to the terminal.
pub(crate) fn plain(text: &str) -> String {
    // Direction overrides are not control characters and can make text read as something else.
    let bad =
        |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if !text.contains(bad) {
        return text.to_owned();
    }
    text.chars()
        .map(|c| {
            if bad(c) {
                c.escape_default().to_string()
            } else {
                c.to_string()
            }
        })
        .collect()
}

/// A JSON value as people read it: texts without quotes, nothing for null.
pub(crate) fn human(value: &Json) -> String {
    match value {
        Json::Null => String::new(),
        Json::String(text) => plain(text),
        Json::Array(items)
            if items
                .iter()
                .all(|item| !item.is_object() && !item.is_array()) =>
        {
            items.iter().map(human).collect::<Vec<_>>().join("; ")
        }
        other => plain(&other.to_string()),
    }
}

/// `1 record`, `2 records`.
pub(crate) fn count(number: u64, one: &str) -> String {
    if number == 1 {
        format!("1 {one}")
    } else {
        format!("{number} {one}s")
    }
}

/// A size for people.
pub(crate) fn bytes(number: u64) -> String {
    match number {
        0..1_000 => format!("{number} B"),
        1_000..1_000_000 => format!("{:.1} kB", number as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", number as f64 / 1e6),
        _ => format!("{:.1} GB", number as f64 / 1e9),
    }
}

/// A span of time for people, in its greatest unit.
pub(crate) fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn control_characters_of_a_record_do_not_reach_the_terminal() {
        assert_eq!(plain("a\x1b[2Jb"), "a\\u{1b}[2Jb");
        assert_eq!(plain("Wanjikũ, Mary"), "Wanjikũ, Mary");
        assert_eq!(plain("abc\u{202e}txt"), "abc\\u{202e}txt");
    }

    #[test]
    fn tables_align_columns_and_cut_long_cells() {
        let rows = vec![
            vec!["a".to_owned(), "x".repeat(100)],
            vec!["bcd".to_owned(), "y".to_owned()],
        ];

        let text = table(&header(&["id", "note"]), &rows);

        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "ID   NOTE");
        assert_eq!(lines[1], format!("a    {}…", "x".repeat(59)));
        assert_eq!(lines[2], "bcd  y");
    }

    #[test]
    fn values_read_like_text() {
        assert_eq!(human(&json!(["a", 1])), "a; 1");
        assert_eq!(human(&json!({"a": 1})), "{\"a\":1}");
        assert_eq!(human(&Json::Null), "");
    }

    #[test]
    fn numbers_have_units() {
        assert_eq!(count(1, "peer"), "1 peer");
        assert_eq!(count(0, "peer"), "0 peers");
        assert_eq!(bytes(1_234_567), "1.2 MB");
        assert_eq!(span(125_000), "2 min");
    }
}
