//! Plays one plan under two configurations and shows what differs: the same contacts and the same human acts
//! in both, as far as both configurations have the devices, the collections and the fields for them.
//!
//! A configuration is a list of settings `key=value`; see [`Setting`].

use std::fmt::{self, Write};
use std::str::FromStr;

use serde::Serialize;
use toml::{Table, Value};

use crate::family::Family;
use crate::link::LinkClass;
use crate::measure::{FieldCount, Meter, Report, verdict};
use crate::outcome::Verdict;
use crate::plan::{Plan, Role};
use crate::trace::Watched;
use crate::workload::Prices;
use crate::world::World;

/// One thing that a configuration changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// `hub=none`: the fleet has no hub; `hub=yes` leaves it.
    Hub(bool),
    /// `schema=FILE`: another schema.
    Schema(String),
    /// `workload=FILE`: another workload, which is another plan.
    Workload(String),
    /// `link=ble`: all contacts are carried by that.
    Link(LinkClass),
    /// `merge.patient.name=lww`: a field has another policy.
    Merge {
        /// The collection.
        collection: String,
        /// The field.
        field: String,
        /// The policy, as in a schema file.
        policy: String,
    },
    /// `delete.patient=edit-wins`: a collection has another policy for raced deletions.
    Delete {
        /// The collection.
        collection: String,
        /// The policy, as in a schema file.
        policy: String,
    },
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hub(true) => f.write_str("hub=yes"),
            Self::Hub(false) => f.write_str("hub=none"),
            Self::Schema(path) => write!(f, "schema={path}"),
            Self::Workload(path) => write!(f, "workload={path}"),
            Self::Link(class) => write!(f, "link={}", class.name()),
            Self::Merge {
                collection,
                field,
                policy,
            } => write!(f, "merge.{collection}.{field}={policy}"),
            Self::Delete { collection, policy } => write!(f, "delete.{collection}={policy}"),
        }
    }
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text
            .split_once('=')
            .ok_or_else(|| format!("{text:?} is no setting; write key=value"))?;
        let path: Vec<&str> = key.split('.').collect();
        let value = value.to_owned();
        match path[..] {
            ["hub"] => match value.as_str() {
                "none" => Ok(Self::Hub(false)),
                "yes" => Ok(Self::Hub(true)),
                _ => Err(format!("hub={value}: write hub=none or hub=yes")),
            },
            ["schema"] => Ok(Self::Schema(value)),
            ["workload"] => Ok(Self::Workload(value)),
            ["link"] => {
                let mut classes = LinkClass::ALL.into_iter();
                let class = classes.find(|class| class.name() == value);
                let names = LinkClass::ALL.map(LinkClass::name).join(", ");
                let class = class
                    .ok_or_else(|| format!("there is no link {value:?}; use one of {names}"))?;
                Ok(Self::Link(class))
            }
            ["merge", collection, field] => Ok(Self::Merge {
                collection: collection.to_owned(),
                field: field.to_owned(),
                policy: value,
            }),
            ["delete", collection] => Ok(Self::Delete {
                collection: collection.to_owned(),
                policy: value,
            }),
            _ => Err(format!(
                "there is no setting {key:?}; there are hub, schema, workload, link, merge.COLLECTION.FIELD and delete.COLLECTION"
            )),
        }
    }
}

/// What is played: a plan under some versions of a schema, at a price.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The plan.
    pub plan: Plan,
    /// The versions.
    pub family: Family,
    /// What a megabyte costs.
    pub prices: Prices,
    /// When counting begins, in virtual milliseconds.
    pub from_ms: u64,
}

impl Scene {
    /// The scene with a setting changed. [`Setting::Schema`] and [`Setting::Workload`] are for whoever reads
    /// files and change nothing here.
    ///
    /// # Errors
    /// What the schema has against it.
    pub fn with(mut self, setting: &Setting) -> Result<Self, String> {
        match setting {
            Setting::Hub(true) | Setting::Schema(_) | Setting::Workload(_) => {}
            Setting::Hub(false) => {
                let devices = self.plan.devices.iter();
                let hubs = devices.filter(|spec| spec.role == Role::Hub);
                let hubs: Vec<usize> = hubs.map(|spec| spec.device).collect();
                for hub in hubs {
                    self.plan = self.plan.without_device(hub);
                }
            }
            Setting::Link(class) => {
                for contact in &mut self.plan.contacts {
                    contact.class = *class;
                }
            }
            Setting::Merge {
                collection,
                field,
                policy,
            } => {
                let path = ["collections", collection, "fields", field];
                self.family = self.changed(&path, "merge", policy)?;
            }
            Setting::Delete { collection, policy } => {
                let path = ["collections", collection];
                self.family = self.changed(&path, "delete", policy)?;
            }
        }
        Ok(self)
    }

    /// The scene with the schema's texts written as [`Self::with`] writes them, without comments, so that
    /// both sides publish texts of about one length.
    ///
    /// # Errors
    /// What is wrong with a text.
    pub fn plainly(mut self) -> Result<Self, String> {
        self.family = self.rewritten(|_| {})?;
        Ok(self)
    }

    /// The family with `key = value` in a table of every version that has it.
    fn changed(&self, path: &[&str], key: &str, value: &str) -> Result<Family, String> {
        let mut is_there = false;
        let family = self.rewritten(|file| {
            let mut place = Some(file);
            for name in path {
                let inner = place.and_then(|table| table.get_mut(*name));
                place = inner.and_then(Value::as_table_mut);
            }
            if let Some(table) = place {
                table.insert(key.to_owned(), Value::String(value.to_owned()));
                is_there = true;
            }
        })?;
        match is_there {
            true => Ok(family),
            false => Err(format!("the schema has no {}", path[1..].join("."))),
        }
    }

    fn rewritten(&self, mut change: impl FnMut(&mut Table)) -> Result<Family, String> {
        let mut texts = Vec::new();
        for schema in self.family.iter() {
            let mut file: Table = toml::from_str(&schema.source).map_err(|it| it.to_string())?;
            change(&mut file);
            texts.push(toml::to_string(&file).map_err(|error| error.to_string())?);
        }
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        Family::parse(&texts)
    }

    /// Plays it and measures.
    pub fn play(&self) -> Report {
        self.play_and_tell(&mut |_| {}).0
    }

    /// As [`Self::play`], and says how the run ended. `told` is told the virtual time as it goes on.
    pub fn play_and_tell(&self, told: &mut dyn FnMut(u64)) -> (Report, Verdict) {
        let meter = Meter::new(&self.plan, self.from_ms, false);
        let mut watched = Watched::new(meter, told);
        let outcome = World::run_under(&self.plan, &self.family, &mut watched);
        let meter = watched.into_inner();
        let report = meter.report(&self.plan, &outcome, &self.prices);
        (report, outcome.verdict)
    }
}

/// One figure of both reports.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// What it is.
    pub what: String,
    /// On the left, if there is such a thing.
    pub left: Option<f64>,
    /// On the right.
    pub right: Option<f64>,
}

/// The figures of two reports, those of the left first. A side that did not hold ended early, and has none.
pub fn rows(left: &Report, right: &Report) -> Vec<Row> {
    let told = |report: &Report| {
        let mut figures = figures(report);
        if report.verdict != verdict(&Verdict::Held) {
            figures.iter_mut().for_each(|(_, figure)| *figure = None);
        }
        figures
    };
    let (left, right) = (told(left), told(right));
    let value = |of: &[(String, Option<f64>)], what: &str| {
        let found = of.iter().find(|(name, _)| name == what);
        found.and_then(|(_, value)| *value)
    };
    let mut names: Vec<&String> = left.iter().map(|(name, _)| name).collect();
    for (name, _) in &right {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let row = |what: &String| Row {
        what: what.clone(),
        left: value(&left, what),
        right: value(&right, what),
    };
    names.into_iter().map(row).collect()
}

fn figures(report: &Report) -> Vec<(String, Option<f64>)> {
    let fields = &report.conflicts.fields;
    // Of a fleet that did not come to hold the same, nobody can say what met what.
    let sum = |of: fn(&FieldCount) -> u64| {
        let is_counted = report.conflicts.is_counted();
        is_counted.then(|| fields.iter().map(of).sum::<u64>() as f64)
    };
    let reviews = report.reviews;
    let refused: u64 = report.refused.values().sum();
    let bytes = report.devices.iter().map(|it| it.month_bytes).sum::<f64>();
    let money = report.devices.iter().map(|it| it.month_money).sum::<f64>();
    let count = |number: u64| Some(number as f64);
    let mut figures = vec![
        ("writes saved".to_owned(), count(report.saved)),
        ("writes refused".to_owned(), count(refused)),
        ("writes that differed".to_owned(), sum(|it| it.differed)),
        ("decided by policy".to_owned(), sum(|it| it.decided)),
        ("asked of a person".to_owned(), sum(|it| it.asked)),
        ("reviews seen".to_owned(), count(reviews.opened)),
        ("reviews answered".to_owned(), count(reviews.answered)),
        ("reviews left".to_owned(), count(reviews.left)),
        ("MB a month, all devices".to_owned(), Some(bytes / 1e6)),
        (
            format!("{} a month, all devices", report.currency),
            Some(money),
        ),
        ("seconds to settle".to_owned(), report.settled_s),
    ];
    for reach in &report.spread.reach {
        let percent = reach.percent;
        let what = format!("hours until {percent} % hold half of writes");
        figures.push((what, reach.half_of_writes_h));
        let what = format!("writes that never reached {percent} %");
        figures.push((what, count(reach.never)));
    }
    for it in fields {
        let place = format!("{}.{}", it.collection, it.field);
        figures.push((format!("{place} differed"), count(it.differed)));
        figures.push((format!("{place} asked"), count(it.asked)));
    }
    for it in &report.conflicts.deletions {
        figures.push((
            format!("{} deletions raced", it.collection),
            count(it.raced),
        ));
    }
    figures
}

/// The rows that differ, as a table.
pub fn table(left: &str, right: &str, rows: &[Row]) -> String {
    let mut text = String::new();
    let number = |value: Option<f64>| match value {
        Some(value) if value.fract() == 0.0 => format!("{value:.0}"),
        Some(value) => format!("{value:.2}"),
        None => "-".to_owned(),
    };
    let different: Vec<&Row> = rows.iter().filter(|row| row.left != row.right).collect();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "left:  {left}\nright: {right}\n");
    let has_figures = |row: &Row| row.left.is_some() || row.right.is_some();
    if different.is_empty() {
        text.push_str(match rows.iter().any(has_figures) {
            true => "nothing differs\n",
            false => "neither side held, so there is nothing to compare\n",
        });
        return text;
    }
    let _ = writeln!(
        text,
        "{:<44} {:>12} {:>12} {:>12}",
        "", "left", "right", "change"
    );
    for row in different {
        let change = row.left.zip(row.right).map(|(left, right)| right - left);
        let _ = writeln!(
            text,
            "{:<44} {:>12} {:>12} {:>12}",
            row.what,
            number(row.left),
            number(row.right),
            number(change)
        );
    }
    let same = rows.len() - rows.iter().filter(|row| row.left != row.right).count();
    let _ = writeln!(text, "{same} other figures are the same");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(text: &str) -> Setting {
        text.parse().unwrap()
    }

    #[test]
    fn settings_are_read_and_wrong_ones_say_what_there_is() {
        assert_eq!(setting("hub=none"), Setting::Hub(false));
        assert_eq!(setting("link=ble"), Setting::Link(LinkClass::Ble));
        for (text, words) in [
            ("hub", "key=value"),
            ("hub=maybe", "hub=none or hub=yes"),
            ("link=rope", "ble, wifi"),
            ("merge.patient=lww", "merge.COLLECTION.FIELD"),
        ] {
            let error = Setting::from_str(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn a_policy_is_changed_in_every_version_that_has_the_field() {
        let scene = Scene {
            plan: crate::generate::generate(1, &crate::generate::PROFILES[1]),
            family: Family::bundled().unwrap(),
            prices: Prices::default(),
            from_ms: 0,
        };
        let changed = scene
            .clone()
            .with(&setting("merge.patient.name=lww"))
            .unwrap();
        let policies: Vec<_> = changed
            .family
            .iter()
            .filter_map(|schema| {
                Some(
                    schema
                        .collection("patient")?
                        .fields
                        .get("name")?
                        .merge
                        .name(),
                )
            })
            .collect();
        assert_eq!(policies, ["lww", "lww"]);
        let error = scene
            .clone()
            .with(&setting("merge.patient.nam=lww"))
            .unwrap_err();
        assert!(error.contains("no patient.fields.nam"), "{error}");
        assert!(scene.with(&setting("delete.patient=never")).is_err());
    }

    #[test]
    fn a_side_that_did_not_hold_has_no_figures() {
        let mut scene = Scene {
            plan: crate::generate::generate(1, &crate::generate::PROFILES[1]),
            family: Family::bundled().unwrap(),
            prices: Prices::default(),
            from_ms: 0,
        };
        let (held, good) = scene.play_and_tell(&mut |_| {});
        scene.plan.header.settle_ms = 0;
        let (unsettled, bad) = scene.play_and_tell(&mut |_| {});

        assert_eq!((good.exit_code(), bad.exit_code()), (0, 2));
        let rows = rows(&held, &unsettled);
        assert!(rows.iter().all(|row| row.right.is_none()), "{rows:?}");
        let settled = rows.iter().find(|row| row.what == "seconds to settle");
        assert!(settled.unwrap().left.is_some_and(|seconds| seconds > 0.0));
        assert!(table("one", "other", &rows).contains(" - "));
    }
}
