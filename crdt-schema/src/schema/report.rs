//! What is wrong with a schema file: every error at once, each with its place in the text.
//!
//! The text may come from anyone: rendering repeats a bounded part of it, and no control
//! characters.

use std::fmt;
use std::ops::Range;

/// How many errors of one file are reported.
pub const ERRORS_MAX: usize = 100;

/// How much of a line is shown around an error.
const EXCERPT_CHARS_MAX: usize = 120;

/// How much of a long line is shown before the error.
const EXCERPT_CHARS_BEFORE: usize = 40;

/// One error in a schema file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaError {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// The bytes of the text that are wrong.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub hint: Option<String>,
}

/// Everything that is wrong with a schema file, in the file's order. Its `Display` shows each error
/// with its line and a mark under the wrong part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaErrors {
    /// The errors; at least one, at most [`ERRORS_MAX`].
    pub errors: Vec<SchemaError>,
    /// How many more there were.
    pub omitted: usize,
    /// The file's text.
    pub source: String,
    name: String,
}

impl SchemaErrors {
    /// The same errors, shown under the file's name.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }
}

impl std::error::Error for SchemaErrors {}

/// What is allowed in a schema and probably not meant, in the file's order. Its `Display` shows each
/// warning as [`SchemaErrors`] shows errors; it is empty if there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaWarnings {
    /// The warnings; at most [`ERRORS_MAX`].
    pub warnings: Vec<SchemaError>,
    source: String,
    name: String,
}

impl SchemaWarnings {
    /// The same warnings, shown under the file's name.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }
}

impl fmt::Display for SchemaWarnings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut warnings = self.warnings.iter();
        warnings.try_for_each(|warning| show(f, "warning", (&self.name, &self.source), warning))
    }
}

impl fmt::Display for SchemaErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for error in &self.errors {
            show(f, "error", (&self.name, &self.source), error)?;
        }
        match (self.omitted, self.errors.len()) {
            (0, 1) => write!(f, "{} has 1 error", self.name),
            (0, count) => write!(f, "{} has {count} errors", self.name),
            (omitted, shown) => {
                let count = omitted + shown;
                write!(
                    f,
                    "{} has {count} errors; the first {shown} are shown",
                    self.name
                )
            }
        }
    }
}

/// One error or warning with its line and a mark under the part that it is about.
fn show(
    f: &mut fmt::Formatter<'_>,
    word: &str,
    (name, source): (&str, &str),
    error: &SchemaError,
) -> fmt::Result {
    let SchemaError {
        line,
        column,
        span,
        message,
        hint,
    } = error;
    let indent = " ".repeat(line.to_string().len());
    writeln!(f, "{word}: {message}")?;
    writeln!(f, "{indent}--> {name}:{line}:{column}")?;
    let (text, mark) = excerpt(source, span);
    writeln!(f, "{indent} |")?;
    writeln!(f, "{line} | {text}")?;
    writeln!(f, "{indent} | {mark}")?;
    if let Some(hint) = hint {
        writeln!(f, "{indent} = help: {hint}")?;
    }
    writeln!(f)
}

/// The line in which `span` begins, and carets that stand under the span when printed below it.
fn excerpt(source: &str, span: &Range<usize>) -> (String, String) {
    let line_start = source[..span.start].rfind('\n').map_or(0, |at| at + 1);
    let line = source[line_start..].lines().next().unwrap_or("");
    let line_end = line_start + line.len();
    let before = source[line_start..span.start.min(line_end)].chars().count();
    let marked = source[span.start.min(line_end)..span.end.min(line_end)]
        .chars()
        .count();

    let cut = if line.chars().count() > EXCERPT_CHARS_MAX {
        before.saturating_sub(EXCERPT_CHARS_BEFORE)
    } else {
        0
    };
    let shown: String = line
        .chars()
        .skip(cut)
        .take(EXCERPT_CHARS_MAX)
        .map(printable)
        .collect();
    let room = shown.chars().count().saturating_sub(before - cut).max(1);
    let carets = "^".repeat(marked.clamp(1, room));
    (
        shown.trim_end().to_owned(),
        " ".repeat(before - cut) + &carets,
    )
}

/// One printed column for each character, so that the carets stand where they should.
fn printable(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}

/// Gathers errors while a file is read.
#[derive(Debug)]
pub(super) struct Report<'s> {
    source: &'s str,
    line_starts: Vec<usize>,
    errors: Vec<SchemaError>,
    omitted: usize,
}

impl<'s> Report<'s> {
    pub(super) fn new(source: &'s str) -> Self {
        let after_breaks = source.match_indices('\n').map(|(at, _)| at + 1);
        let line_starts = std::iter::once(0).chain(after_breaks).collect();
        Self {
            source,
            line_starts,
            errors: Vec::new(),
            omitted: 0,
        }
    }

    pub(super) fn error(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.push(span, message.into(), None);
    }

    pub(super) fn error_with_hint(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.push(span, message.into(), Some(hint.into()));
    }

    fn push(&mut self, span: Range<usize>, message: String, hint: Option<String>) {
        if self.errors.len() >= ERRORS_MAX {
            self.omitted += 1;
            return;
        }
        let start = floor_boundary(self.source, span.start);
        let end = floor_boundary(self.source, span.end).max(start);
        let line = self.line_starts.partition_point(|&at| at <= start).max(1);
        let column = self.source[self.line_starts[line - 1]..start]
            .chars()
            .count()
            + 1;
        self.errors.push(SchemaError {
            line,
            column,
            span: start..end,
            message,
            hint,
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    /// What was gathered, if none of it makes the file unusable.
    pub(super) fn warnings(self) -> SchemaWarnings {
        let SchemaErrors {
            errors: warnings,
            source,
            name,
            ..
        } = self.finish();
        SchemaWarnings {
            warnings,
            source,
            name,
        }
    }

    pub(super) fn finish(mut self) -> SchemaErrors {
        self.errors.sort_by_key(|error| error.span.start);
        SchemaErrors {
            errors: self.errors,
            omitted: self.omitted,
            source: self.source.to_owned(),
            name: "schema".to_owned(),
        }
    }
}

/// The greatest character boundary that is not after `at`.
fn floor_boundary(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at)
        .rev()
        .find(|&at| text.is_char_boundary(at))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(source: &str, span: Range<usize>) -> String {
        let mut report = Report::new(source);
        report.error_with_hint(span, "that is wrong", "do this");
        report.finish().named("x.toml").to_string()
    }

    #[test]
    fn an_error_is_shown_with_its_line_a_mark_and_a_hint() {
        let text = "a = 1\n\tbé = 22\nc = 3\n";

        let shown = rendered(text, text.find("22").unwrap()..text.find("\nc").unwrap());

        assert_eq!(
            shown,
            "error: that is wrong\n --> x.toml:2:7\n  |\n2 |  bé = 22\n  |       ^^\n  = help: do this\n\n\
             x.toml has 1 error"
        );
    }

    #[test]
    fn spans_at_the_end_over_lines_and_beyond_the_text_are_shown_within_it() {
        assert!(rendered("", 0..0).contains("1:1\n  |\n1 | \n  | ^\n"));
        assert!(rendered("a = [\n1,\n]", 4..11).contains("1 | a = [\n  |     ^\n"));
        assert!(rendered("a\r\nb\r\n", 3..9).contains("2 | b\n  | ^\n"));
        assert!(rendered("a\n", 2..2).contains("x.toml:2:1"));
        assert!(rendered("é", 1..900).contains("x.toml:1:1"));
    }

    #[test]
    fn long_lines_are_cut_around_the_error_and_control_characters_are_not_printed() {
        let text = format!("{}\u{1b}[31m!{}", "x".repeat(5_000), "y".repeat(5_000));

        let shown = rendered(&text, 5_000..5_006);

        assert!(shown.len() < 1_000 && !shown.contains('\u{1b}'), "{shown}");
        let at = shown.lines().find_map(|line| line.find('^')).unwrap();
        let line = shown
            .lines()
            .find(|line| line.contains('x') && line.contains('y'))
            .unwrap();
        assert_eq!(line.chars().nth(at), Some('\u{fffd}'));
    }

    #[test]
    fn endless_errors_are_counted_and_not_kept() {
        let mut report = Report::new("a");
        for _ in 0..ERRORS_MAX + 7 {
            report.error(0..1, "wrong");
        }

        let errors = report.finish();

        assert_eq!((errors.errors.len(), errors.omitted), (ERRORS_MAX, 7));
        assert!(
            errors
                .to_string()
                .ends_with("has 107 errors; the first 100 are shown")
        );
    }
}
