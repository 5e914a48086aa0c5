//! Recorded contacts, in CSV.
//!
//! The first line is `at_s,end_s,a,b,class`; each other line is a contact: whole seconds from the start,
//! device numbers from 0, and a class by its name in plan files. Blank lines and quotes are not allowed, so
//! that a damaged file does not pass for a short one.

use serde::{Deserialize, Serialize};

use super::{Contact, LinkClass};

const COLUMNS: [&str; 5] = ["at_s", "end_s", "a", "b", "class"];

/// Most contacts that a recording may have.
const CONTACTS_MAX: usize = 1_000_000;

/// Latest moment of a recording, in seconds: a hundred years.
const SECONDS_MAX: u64 = 100 * 366 * 86_400;

/// A recording that has been read and found good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Recording {
    contacts: Vec<Contact>,
}

/// What is wrong with a recording. Lines and columns are counted from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("contacts, line {line}, column {column}: {what}")]
pub struct TraceError {
    /// The line.
    pub line: usize,
    /// The column: which of the values.
    pub column: usize,
    /// What is wrong, and what would be right.
    pub what: String,
}

impl Recording {
    /// The contacts, as they were recorded.
    pub fn contacts(&self) -> &[Contact] {
        &self.contacts
    }

    /// Contacts that somebody has worked out: each between two devices and longer than nothing.
    pub(crate) fn of(contacts: Vec<Contact>) -> Self {
        Self { contacts }
    }

    /// Reads a recording.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn parse(text: &str) -> Result<Self, TraceError> {
        let mut lines = text.lines().enumerate();
        let header = lines.next().map_or("", |(_, line)| line);
        let found: Vec<&str> = header.split(',').collect();
        if found != COLUMNS {
            let column = COLUMNS
                .iter()
                .zip(&found)
                .take_while(|(a, b)| a == b)
                .count()
                + 1;
            let what = format!("the first line must be {}", COLUMNS.join(","));
            return Err(error(1, column, what));
        }
        let mut contacts = Vec::new();
        for (number, line) in lines {
            if contacts.len() == CONTACTS_MAX {
                let what = format!("more than {CONTACTS_MAX} contacts; split the recording");
                return Err(error(number + 1, 1, what));
            }
            contacts.push(contact(number + 1, line)?);
        }
        Ok(Self { contacts })
    }
}

impl TryFrom<String> for Recording {
    type Error = TraceError;

    fn try_from(text: String) -> Result<Self, TraceError> {
        Self::parse(&text)
    }
}

impl From<Recording> for String {
    fn from(trace: Recording) -> Self {
        let mut text = COLUMNS.join(",");
        text.push('\n');
        for contact in trace.contacts {
            let (at_s, end_s) = (contact.at_ms / 1000, contact.end_ms / 1000);
            let (a, b, class) = (contact.a, contact.b, name(contact.class));
            text.push_str(&format!("{at_s},{end_s},{a},{b},{class}\n"));
        }
        text
    }
}

fn contact(line: usize, text: &str) -> Result<Contact, TraceError> {
    let cells: Vec<&str> = text.split(',').collect();
    if cells.len() != COLUMNS.len() {
        let column = cells.len().min(COLUMNS.len());
        let what = format!("{} values where {} belong", cells.len(), COLUMNS.len());
        return Err(error(line, column, what));
    }
    let at_s = seconds(line, 1, cells[0])?;
    let end_s = seconds(line, 2, cells[1])?;
    if end_s <= at_s {
        let what = format!("the contact ends at {end_s} s and does not begin before that");
        return Err(error(line, 2, what));
    }
    let a = device(line, 3, cells[2])?;
    let b = device(line, 4, cells[3])?;
    if a == b {
        return Err(error(line, 4, format!("device {b} cannot meet itself")));
    }
    let class = class(cells[4]).ok_or_else(|| {
        let names = CLASSES.map(name).join(", ");
        error(
            line,
            5,
            format!("{:?} is no class; take one of {names}", cells[4]),
        )
    })?;
    Ok(Contact {
        at_ms: at_s * 1000,
        end_ms: end_s * 1000,
        a: a.min(b),
        b: a.max(b),
        class,
    })
}

fn seconds(line: usize, column: usize, text: &str) -> Result<u64, TraceError> {
    let number = whole(text).filter(|seconds| *seconds <= SECONDS_MAX);
    number.ok_or_else(|| {
        let what = format!("{text:?} is no number of whole seconds up to {SECONDS_MAX}");
        error(line, column, what)
    })
}

fn device(line: usize, column: usize, text: &str) -> Result<usize, TraceError> {
    let number = whole(text).and_then(|number| u32::try_from(number).ok());
    number.map(|number| number as usize).ok_or_else(|| {
        let what = format!("{text:?} is no device; devices are numbered from 0");
        error(line, column, what)
    })
}

/// Digits only: neither signs nor blanks.
fn whole(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

const CLASSES: [LinkClass; 4] = [
    LinkClass::Wifi,
    LinkClass::Ble,
    LinkClass::Cell2g,
    LinkClass::Satellite,
];

fn class(text: &str) -> Option<LinkClass> {
    CLASSES.into_iter().find(|class| name(*class) == text)
}

fn name(class: LinkClass) -> &'static str {
    match class {
        LinkClass::Wifi => "wifi",
        LinkClass::Ble => "ble",
        LinkClass::Cell2g => "cell2g",
        LinkClass::Satellite => "satellite",
    }
}

fn error(line: usize, column: usize, what: String) -> TraceError {
    TraceError { line, column, what }
}
