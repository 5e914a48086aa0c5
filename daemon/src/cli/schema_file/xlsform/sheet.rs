//! Reads the sheets of a workbook that anyone may have made, within bounds.
//!
//! A workbook is a zip of XML: small files can unpack to anything, and a cell can say that it lies in
//! the millionth row. So the whole zip is unpacked once into nothing, counting, before its reader sees
//! it; cells are taken one by one and never laid out as a grid; and a panic of the reader is an error.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Cursor, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use calamine::{DataRef, Reader, Xlsx};
use zip::ZipArchive;

use crate::cli::failure::{Exit, Failure};

/// Largest workbook, in bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Most that it may unpack to, in bytes: strings in memory are several times their text.
const UNPACKED_BYTES_MAX: u64 = 32 << 20;
/// Most files in the zip.
const ENTRIES_MAX: usize = 1000;
/// Last row that is read of a sheet.
const ROWS_MAX: u32 = 20_000;
/// Last column that is read of a sheet; forms in many languages are wide.
const COLUMNS_MAX: u32 = 500;
/// Most text that is kept of one sheet, in bytes: many cells can share one long string.
const SHEET_BYTES_MAX: usize = 8 << 20;

/// A row below a sheet's header: what stands under each heading, by the heading in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    /// The row's number in the sheet, from 1.
    pub(super) number: u32,
    cells: BTreeMap<String, String>,
}

impl Row {
    /// The trimmed text under a heading; empty without one.
    pub(super) fn get(&self, heading: &str) -> &str {
        self.cells.get(heading).map_or("", String::as_str)
    }

    /// The text under a heading that may be followed by a language: `label::English (en)`. The plain
    /// heading is preferred, then the first in the alphabet.
    pub(super) fn translated(&self, heading: &str) -> &str {
        let plain = self.get(heading);
        if !plain.is_empty() {
            return plain;
        }
        let language = |name: &String| {
            let rest = name.strip_prefix(heading);
            rest.is_some_and(|rest| rest.starts_with(':'))
        };
        let mut found = self.cells.iter().filter(|(name, _)| language(name));
        found.next().map_or("", |(_, text)| text)
    }

    /// Whether nothing stands in it.
    pub(super) fn is_blank(&self) -> bool {
        self.cells.values().all(String::is_empty)
    }
}

/// The sheets of a form.
#[derive(Clone, Debug, Default)]
pub(super) struct Workbook {
    pub(super) survey: Vec<Row>,
    pub(super) choices: Vec<Row>,
    pub(super) settings: Vec<Row>,
}

impl Workbook {
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let failed = |error: &io::Error| Failure::io(path.display(), error);
        let file = File::open(path).map_err(|error| failed(&error))?;
        let mut bytes = Vec::new();
        file.take(FILE_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| failed(&error))?;
        Self::of_bytes(&bytes).map_err(|why| {
            Failure::new(Exit::Invalid, format!("{}: {why}", path.display()))
                .unchanged("nothing was written")
                .next("give an XLSForm that a spreadsheet program saved as .xlsx")
        })
    }

    /// Reads a workbook, or says in words why it cannot be.
    pub(super) fn of_bytes(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(format!("it is larger than {FILE_BYTES_MAX} bytes"));
        }
        // Nothing of what a panic leaves half done is used again.
        let read = catch_unwind(AssertUnwindSafe(|| {
            check_size(bytes)?;
            Self::of_checked(bytes)
        }));
        read.unwrap_or_else(|_| Err("it is damaged".to_owned()))
    }

    fn of_checked(bytes: &[u8]) -> Result<Self, String> {
        let mut book = Xlsx::new(Cursor::new(bytes))
            .map_err(|error| format!("it is not a workbook: {error}"))?;
        let names = book.sheet_names();
        let mut sheet = |wanted: &str| {
            let name = names
                .iter()
                .find(|name| name.trim().eq_ignore_ascii_case(wanted));
            name.map(|name| rows(&mut book, name)).transpose()
        };
        Ok(Self {
            survey: sheet("survey")?.ok_or("it has no sheet `survey`")?,
            choices: sheet("choices")?.unwrap_or_default(),
            settings: sheet("settings")?.unwrap_or_default(),
        })
    }
}

/// Unpacks everything into nothing, so that no later reader meets more than the bound.
fn check_size(bytes: &[u8]) -> Result<(), String> {
    let bad = |error: &dyn std::fmt::Display| format!("it is not a workbook: {error}");
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|error| bad(&error))?;
    if archive.len() > ENTRIES_MAX {
        return Err(format!("it has more than {ENTRIES_MAX} parts"));
    }
    let mut left = UNPACKED_BYTES_MAX;
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(|error| bad(&error))?;
        let unpacked = io::copy(&mut entry.take(left + 1), &mut io::sink());
        left = unpacked
            .map_err(|error| bad(&error))
            .map(|unpacked| left.checked_sub(unpacked))?
            .ok_or_else(|| format!("it unpacks to more than {UNPACKED_BYTES_MAX} bytes"))?;
    }
    Ok(())
}

/// The rows below the first that is not empty, which is the header.
fn rows(book: &mut Xlsx<Cursor<&[u8]>>, name: &str) -> Result<Vec<Row>, String> {
    let broken = |error: calamine::XlsxError| format!("its sheet `{name}` is damaged: {error}");
    let mut cells = book.worksheet_cells_reader(name).map_err(broken)?;
    let mut grid: BTreeMap<u32, BTreeMap<u32, String>> = BTreeMap::new();
    let mut kept = 0;
    while let Some(cell) = cells.next_cell().map_err(broken)? {
        let (row, column) = cell.get_position();
        let text = text(cell.get_value());
        if text.is_empty() {
            continue;
        }
        if row >= ROWS_MAX || column >= COLUMNS_MAX {
            return Err(format!(
                "its sheet `{name}` has a cell beyond row {ROWS_MAX} or column {COLUMNS_MAX}"
            ));
        }
        kept += text.len();
        if kept > SHEET_BYTES_MAX {
            return Err(format!(
                "its sheet `{name}` has more than {SHEET_BYTES_MAX} bytes of text"
            ));
        }
        grid.entry(row).or_default().insert(column, text);
    }
    let Some((_, header)) = grid.pop_first() else {
        return Ok(Vec::new());
    };
    let header: BTreeMap<u32, String> = header
        .into_iter()
        .map(|(column, text)| {
            (
                column,
                text.to_lowercase().replace("list name", "list_name"),
            )
        })
        .collect();
    let rows = grid.into_iter().map(|(number, cells)| Row {
        number: number + 1,
        cells: cells
            .into_iter()
            .filter_map(|(column, text)| Some((header.get(&column)?.clone(), text)))
            .collect(),
    });
    Ok(rows.filter(|row| !row.is_blank()).collect())
}

/// A cell as its author typed it.
fn text(value: &DataRef<'_>) -> String {
    match value {
        DataRef::Int(number) => number.to_string(),
        // `Display` writes whole floats without a point.
        DataRef::Float(number) => number.to_string(),
        DataRef::String(text) | DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => {
            text.trim().to_owned()
        }
        DataRef::SharedString(text) => text.trim().to_owned(),
        DataRef::Bool(flag) => flag.to_string(),
        DataRef::DateTime(time) => time.as_f64().to_string(),
        DataRef::Error(_) | DataRef::Empty => String::new(),
    }
}
