//! Reads workload files: strictly, and pointing at what is wrong.

use std::fmt;
use std::ops::Range;

use crdt_schema::schema::Schema;
use toml::Spanned;

use super::{VILLAGE, Workload, places};

/// Longest workload file, in bytes.
pub const WORKLOAD_BYTES_MAX: usize = 1 << 20;
/// Most devices of a workload.
pub const DEVICES_MAX: u64 = 500;
/// Most days of a workload.
pub const DAYS_MAX: u64 = 366;
/// Most of anything that one device does in one collection in a day.
pub const RATE_MAX: f64 = 500.0;
/// Most records of a collection at the start.
pub const START_MAX: u64 = 20_000;
/// Highest price of a megabyte.
pub const PRICE_MAX: f64 = 1e6;
/// Longest drawn text, in characters.
pub const TEXT_MAX: u64 = 20_000;

/// What is wrong with a workload, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadError {
    /// What, and what would be right.
    pub what: String,
    /// Its line and column, from 1, and the line with what is wrong in it; `None` if it has no place.
    place: Option<Place>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    line: usize,
    column: usize,
    text: String,
    width: usize,
}

impl std::error::Error for WorkloadError {}

impl fmt::Display for WorkloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(place) = &self.place else {
            return f.write_str(&self.what);
        };
        let (line, column) = (place.line, place.column);
        let margin = " ".repeat(line.to_string().len());
        writeln!(f, "line {line}, column {column}: {}", self.what)?;
        writeln!(f, "{margin} |")?;
        writeln!(f, "{line} | {}", place.text)?;
        let (skip, carets) = (" ".repeat(column - 1), "^".repeat(place.width));
        write!(f, "{margin} | {skip}{carets}")
    }
}

impl WorkloadError {
    pub(super) fn unplaced(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            place: None,
        }
    }

    fn at(source: &str, span: Range<usize>, what: impl Into<String>) -> Self {
        let is_placed = span.start < span.end && span.end <= source.len();
        if !is_placed || !source.is_char_boundary(span.start) {
            return Self::unplaced(what);
        }
        let before = &source[..span.start];
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let text = source[start..].lines().next().unwrap_or_default();
        let column = source[start..span.start].chars().count() + 1;
        let left = text.chars().count() + 1 - column.min(text.chars().count() + 1);
        Self {
            what: what.into(),
            place: Some(Place {
                line: before.matches('\n').count() + 1,
                column,
                text: text.to_owned(),
                width: (span.end - span.start).clamp(1, left.max(1)),
            }),
        }
    }
}

/// Reads a text without asking what a schema has.
pub(super) fn text(source: &str) -> Result<Workload, WorkloadError> {
    let workload: Workload = toml::from_str(source).map_err(|error| {
        let span = error.span().unwrap_or_default();
        WorkloadError::at(source, span, error.message())
    })?;
    Ok(Workload {
        source: source.to_owned(),
        ..workload
    })
}

impl Workload {
    /// Something is wrong at that place of the text.
    pub(super) fn wrong(&self, place: Range<usize>, what: impl Into<String>) -> WorkloadError {
        WorkloadError::at(&self.source, place, what)
    }

    /// The workload for so many days.
    ///
    /// # Errors
    /// That it cannot be for so many.
    pub fn with_days(mut self, days: u64) -> Result<Self, WorkloadError> {
        let together = *self.together_h.get_ref();
        if !(1..=DAYS_MAX).contains(&days) || together >= days * 24 {
            let what = format!(
                "{days} days: a workload has 1 to {DAYS_MAX}, and all go apart before the end"
            );
            return Err(WorkloadError::unplaced(what));
        }
        self.days = Spanned::new(0..0, days);
        Ok(self)
    }

    /// Reads a workload file for a schema. Without groups it is that of the village.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn read(source: &str, schema: &Schema) -> Result<Self, WorkloadError> {
        if source.len() > WORKLOAD_BYTES_MAX {
            let what = format!(
                "the workload has {} bytes, more than {WORKLOAD_BYTES_MAX}",
                source.len()
            );
            return Err(WorkloadError::unplaced(what));
        }
        let mut workload = text(source)?;
        if workload.who.is_empty() {
            let village = text(VILLAGE)?;
            workload.who = village.who;
            if is_nowhere(&workload) {
                workload.places = village.places;
            }
            if workload.supervisors.is_empty() {
                workload.supervisors = village.supervisors;
            }
        }
        let check = Check {
            workload: &workload,
            schema,
        };
        check.all()?;
        Ok(workload)
    }
}

fn is_nowhere(workload: &Workload) -> bool {
    let places = &workload.places;
    places.shuttle.is_empty()
        && places.depot.is_empty()
        && places.market.is_empty()
        && places.hub.is_empty()
        && places.near.is_empty()
        && places.waypoint.is_empty()
        && places.recorded.is_none()
}

struct Check<'a> {
    workload: &'a Workload,
    schema: &'a Schema,
}

impl Check<'_> {
    fn wrong<T>(&self, at: &Spanned<T>, what: impl Into<String>) -> WorkloadError {
        self.workload.wrong(at.span(), what)
    }

    fn that<T>(&self, holds: bool, at: &Spanned<T>, what: &str) -> Result<(), WorkloadError> {
        match holds {
            true => Ok(()),
            false => Err(self.wrong(at, what)),
        }
    }

    fn all(&self) -> Result<(), WorkloadError> {
        let workload = self.workload;
        let days = *workload.days.get_ref();
        let fits = (1..=DAYS_MAX).contains(&days);
        self.that(fits, &workload.days, "a workload has 1 to 366 days")?;
        let together = *workload.together_h.get_ref();
        let fits = together < days.saturating_mul(24);
        self.that(fits, &workload.together_h, "all go apart before the end")?;
        self.groups()?;
        self.places()?;
        for supervisor in &workload.supervisors {
            self.group(&supervisor.group)?;
            let fits = *supervisor.per_day.get_ref() as f64 <= RATE_MAX;
            self.that(fits, &supervisor.per_day, "at most 500 a day")?;
        }
        self.collections()
    }

    fn groups(&self) -> Result<(), WorkloadError> {
        let groups = &self.workload.who;
        let mut devices = 0_u64;
        for (index, group) in groups.iter().enumerate() {
            let is_new = groups[..index]
                .iter()
                .all(|known| known.name.get_ref() != group.name.get_ref());
            self.that(is_new, &group.name, "there is a group of this name already")?;
            devices = devices.saturating_add(*group.count.get_ref());
            let fits = *group.count.get_ref() > 0 && devices <= DEVICES_MAX;
            self.that(fits, &group.count, "a fleet has 1 to 500 devices")?;
            let [from, to] = *group.shift.get_ref();
            let what = "a shift is two hours of the day, the first before the second";
            self.that(from < to && to <= 24, &group.shift, what)?;
        }
        if groups.iter().all(|group| group.hub) {
            let what = "all groups are hubs; somebody must use a device: add a group without hub";
            return Err(self.wrong(&groups[0].name, what));
        }
        Ok(())
    }

    fn group(&self, name: &Spanned<String>) -> Result<(), WorkloadError> {
        let mut groups = self.workload.who.iter();
        let names: Vec<&str> = groups
            .by_ref()
            .map(|group| group.name.get_ref().as_str())
            .collect();
        match names.contains(&name.get_ref().as_str()) {
            true => Ok(()),
            false => {
                let what = format!(
                    "there is no group {:?}; there are {}",
                    name.get_ref(),
                    names.join(", ")
                );
                Err(self.wrong(name, what))
            }
        }
    }

    fn places(&self) -> Result<(), WorkloadError> {
        if is_nowhere(self.workload) {
            let what = "nobody ever meets; say how under [where], such as market = [{}]";
            return Err(self.wrong(&self.workload.who[0].name, what));
        }
        let places = &self.workload.places;
        for shuttle in places.shuttle.iter().map(Spanned::get_ref) {
            self.group(&shuttle.clinic)?;
            for village in &shuttle.villages {
                self.group(village)?;
            }
        }
        for depot in places.depot.iter().map(Spanned::get_ref) {
            self.one_device(&depot.depot)?;
        }
        for hub in places.hub.iter().map(Spanned::get_ref) {
            self.one_device(&hub.hub)?;
        }
        for near in &places.near {
            self.group(&near.group)?;
        }
        for (place, part) in places::parts(self.workload) {
            let checked = part.check(self.workload.devices());
            checked.map_err(|error| self.workload.wrong(place, format!("[where] {error}")))?;
        }
        Ok(())
    }

    /// That a group is one device, to which the others go.
    fn one_device(&self, name: &Spanned<String>) -> Result<(), WorkloadError> {
        self.group(name)?;
        let count = self.workload.members(name.get_ref()).len();
        let what = format!(
            "{:?} has {count} devices, and people go to one; make groups of one device, with an entry for each",
            name.get_ref()
        );
        self.that(count == 1, name, &what)
    }

    fn collections(&self) -> Result<(), WorkloadError> {
        for (name, work) in &self.workload.collections {
            let Some(collection) = self.schema.collection(name.get_ref()) else {
                let known: Vec<&str> = self.schema.collections.keys().map(String::as_str).collect();
                let what = format!(
                    "the schema has no collection {:?}; it has {}",
                    name.get_ref(),
                    known.join(", ")
                );
                return Err(self.wrong(name, what));
            };
            for field in &work.fields {
                let is_known = collection.fields.contains_key(field.get_ref());
                self.that(is_known, field, "the collection has no such field")?;
            }
            for group in &work.by {
                self.group(group)?;
            }
            for rate in [&work.creates, &work.edits, &work.deletes] {
                let fits = (0.0..=RATE_MAX).contains(rate.get_ref());
                self.that(fits, rate, "a rate is 0 to 500 a day")?;
            }
            let fits = *work.start.get_ref() <= START_MAX;
            self.that(fits, &work.start, "at most 20000 records at the start")?;
            let count = &work.fields_per_edit;
            self.that(
                *count.get_ref() > 0,
                count,
                "an edit changes a field at least",
            )?;
            let percent = &work.same_record_percent;
            self.that(*percent.get_ref() <= 100, percent, "a share is 0 to 100")?;
            let [least, most] = *work.text.get_ref();
            let what = "two lengths, the first not above the second, at most 20000";
            self.that(least <= most && most <= TEXT_MAX, &work.text, what)?;
            let [least, most] = *work.add.get_ref();
            let what = "two numbers, the first not above the second, within a million";
            let fits = least <= most && least >= -1_000_000 && most <= 1_000_000;
            self.that(fits, &work.add, what)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Schema {
        crate::plan::schema().unwrap()
    }

    #[test]
    fn a_workload_that_says_nothing_is_the_village() {
        let workload = Workload::read("", &schema()).unwrap();
        assert_eq!(workload.devices(), 9);
        assert_eq!(*workload.days.get_ref(), 14);
        assert_eq!(workload.members("south"), [6, 7, 8]);
        assert!(workload.group_of(0).hub);
    }

    #[test]
    fn what_is_wrong_is_pointed_at() {
        for (source, words, line) in [
            ("days = 9\nedit = 3\n", "unknown field `edit`", "line 2"),
            ("days = 0\n", "1 to 366 days", "line 1, column 8"),
            (
                "[collections.patients]\nedits = 2.0\n",
                "no collection \"patients\"; it has patient, visit, stock",
                "line 1, column 14",
            ),
            (
                "[collections.patient]\nfields = [\"name\", \"nmae\"]\n",
                "no such field",
                "line 2, column 19",
            ),
            (
                "[collections.patient]\nby = [\"east\"]\n",
                "there is no group \"east\"; there are hub, clinic",
                "line 2",
            ),
            (
                "[collections.patient]\nedits = 1e9\n",
                "0 to 500 a day",
                "^^^",
            ),
            ("who = [{ name = \"a\" }]\n", "nobody ever meets", "line 1"),
            (
                "who = [{ name = \"a\", shift = [9, 8] }]\n[where]\nmarket = [{}]",
                "the first before the second",
                "line 1",
            ),
            (
                "[where]\nmarket = [{ from_h = 30 }]\n",
                "[where] market",
                "line 2, column 11",
            ),
            (
                "[[where.market]]\n[[where.shuttle]]\nclinic = \"clinic\"\nvillages = []\nevery_h = 0\n",
                "[where] shuttle: every_h",
                "line 2",
            ),
            (
                "[where]\nwaypoint = [{ area_m = 0, range_m = 1, speed_min_mm_s = 1, speed_max_mm_s = 1, pause_max_min = 0, class = \"ble\" }]\n",
                "[where] waypoint: area_m",
                "line 2",
            ),
            (
                "[where]\nrecorded = \"\"\"at_s,end_s,a,b,class\n0,9,0,77,wifi\n\"\"\"\n",
                "there is no device 77",
                "line 2",
            ),
            (
                "[where]\nhub = [{ hub = \"north\" }]\n",
                "\"north\" has 3 devices",
                "line 2, column 16",
            ),
            (
                "[where]\ndepot = [{ depot = \"clinic\" }]\n",
                "make groups of one device",
                "line 2",
            ),
            ("[prices]\nble = -0.5\n", "a price is", "line 2, column 7"),
            ("[prices]\nwifi = nan\n", "a price is", "line 2, column 8"),
            ("prices = { satellite = inf }\n", "a price is", "line 1"),
            (
                "[collections.patient]\nfields_per_edit = 0\n",
                "a field at least",
                "line 2, column 19",
            ),
            (
                "who = [{ name = \"a\", hub = true }]\n",
                "somebody must use",
                "line 1",
            ),
        ] {
            let error = Workload::read(source, &schema()).unwrap_err().to_string();
            assert!(error.contains(words), "{source}: {error}");
            assert!(error.contains(line), "{source}: {error}");
        }
    }
}
