//! One configuration file while it is read: values from it or from the environment, and errors that show
//! the line.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::str::FromStr;

use libp2p::Multiaddr;
use toml::Spanned;

use super::{ConfigError, setting};

/// A file that was read, for errors that show the line.
pub(super) struct File<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
}

impl File<'_> {
    /// The error at `span`: the file, line and column, the line itself and a caret below.
    pub(super) fn error(&self, span: Range<usize>, problem: &str) -> ConfigError {
        let at = |offset: usize| {
            let mut offset = offset.min(self.text.len());
            while !self.text.is_char_boundary(offset) {
                offset -= 1;
            }
            offset
        };
        let (start, end) = (at(span.start), at(span.end.max(span.start)));
        let line_start = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line = self.text[line_start..].lines().next().unwrap_or_default();
        let number = self.text[..line_start].matches('\n').count() + 1;
        let column = self.text[line_start..start].chars().count() + 1;
        let left = line.chars().count() + 1 - column.min(line.chars().count() + 1);
        let width = self.text[start..end].chars().count().clamp(1, left.max(1));
        let gutter = " ".repeat(number.to_string().len());
        ConfigError::File(format!(
            "{problem}\n{gutter}--> {path}:{number}:{column}\n{gutter} |\n{number} | {line}\n{gutter} | {space}{caret}",
            path = self.path.display(),
            space = " ".repeat(column - 1),
            caret = "^".repeat(width),
        ))
    }

    /// A value from the environment, or else from the file.
    pub(super) fn value<T>(
        &self,
        variable: &str,
        raw: Option<Spanned<String>>,
        env: &impl Fn(&str) -> Option<String>,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        if let Some(text) = env(variable) {
            return read(&text)
                .map(Some)
                .map_err(|problem| setting(variable, problem));
        }
        raw.map(|raw| read(raw.get_ref()).map_err(|problem| self.error(raw.span(), &problem)))
            .transpose()
    }

    /// Addresses from the environment (divided by commas), or else from the file.
    pub(super) fn list(
        &self,
        variable: &str,
        raw: Option<Vec<Spanned<String>>>,
        env: &impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Vec<Multiaddr>>, ConfigError> {
        if let Some(text) = env(variable) {
            let parts = text
                .split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty());
            let list: Result<_, _> = parts.map(read).collect();
            return list.map(Some).map_err(|problem| setting(variable, problem));
        }
        let Some(raw) = raw else { return Ok(None) };
        let address = |item: &Spanned<String>| {
            read(item.get_ref()).map_err(|problem| self.error(item.span(), &problem))
        };
        raw.iter().map(address).collect::<Result<_, _>>().map(Some)
    }
}

/// Reads an address or an id; the problem names the text and, for an address, shows a good one.
pub(super) fn read<T: FromStr<Err: fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error| {
        let example = if text.starts_with('/') || text.contains([':', '.']) {
            "; an address looks like /ip4/192.168.1.20/tcp/7172"
        } else {
            ""
        };
        format!("{text:?} cannot be read: {error}{example}")
    })
}
