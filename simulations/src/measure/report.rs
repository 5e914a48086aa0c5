//! The report of a run, as data and as text.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use super::{Conflicts, ReviewCount, Spread, Supervision};
use crate::link::LinkClass;
use crate::outcome::Verdict;
use crate::workload::Prices;

/// Days of a month, for what a month costs.
const MONTH_DAYS: f64 = 30.0;

/// What one device sent and received.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeviceCost {
    /// Its number.
    pub device: usize,
    /// Whether it is a hub.
    pub hub: bool,
    /// Bytes by what carried them.
    pub bytes: BTreeMap<&'static str, u64>,
    /// Bytes in a month, at this rate.
    pub month_bytes: f64,
    /// Money in a month, at this rate.
    pub month_money: f64,
}

impl DeviceCost {
    pub(super) fn new(
        device: usize,
        hub: bool,
        by_class: impl Iterator<Item = (LinkClass, u64)>,
        days: f64,
        prices: &Prices,
    ) -> Self {
        let (mut bytes, mut total, mut money) = (BTreeMap::new(), 0.0, 0.0);
        for (class, sum) in by_class {
            bytes.insert(class.name(), sum);
            total += sum as f64;
            money += sum as f64 / 1e6 * prices.of(class);
        }
        // Of a run that ended before counting began there is nothing to reckon with.
        let per_month = match days > 0.0 {
            true => MONTH_DAYS / days,
            false => 0.0,
        };
        Self {
            device,
            hub,
            bytes,
            month_bytes: total * per_month,
            month_money: money * per_month,
        }
    }
}

/// What came of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// How many days were counted: from when all went apart until the last day was over, or until something did
    /// not hold.
    pub days: f64,
    /// What met what.
    pub conflicts: Conflicts,
    /// Reviews, by supervisor.
    pub supervisors: Vec<Supervision>,
    /// Reviews of all supervisors together, each once.
    pub reviews: ReviewCount,
    /// Bytes and money, by device.
    pub devices: Vec<DeviceCost>,
    /// What money is in.
    pub currency: String,
    /// How soon writes were elsewhere.
    pub spread: Spread,
    /// Writes that were saved.
    pub saved: u64,
    /// Writes that were refused, by reason.
    pub refused: BTreeMap<&'static str, u64>,
    /// Deeds that nobody could do: the device was off, or its version does not have the field.
    pub missed: u64,
    /// Seconds until all held the same, once all were joined after the last day; `None` if something did not hold.
    pub settled_s: Option<f64>,
    /// Whether everything held that must, and what did not.
    pub verdict: String,
    /// The run's digest.
    pub digest: String,
}

/// How a run ended, in words.
pub fn verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Held => "held".to_owned(),
        Verdict::Broken(failure) => format!(
            "oracle {} {}: {}",
            failure.oracle.number(),
            failure.oracle.name(),
            failure.detail
        ),
        Verdict::Unsettled(why) => format!("the fleet did not settle: {why}"),
        Verdict::Crashed(why) => format!("crash: {why}"),
    }
}

impl Report {
    /// The report for people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text)
            .expect("invariant: writing to a string cannot fail");
        text
    }

    /// The report as one JSON object.
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("invariant: the keys of its maps are texts")
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let refused: Vec<String> = self
            .refused
            .iter()
            .map(|(why, count)| format!("{count} {why}"))
            .collect();
        let refused = match refused.is_empty() {
            true => "none".to_owned(),
            false => refused.join(", "),
        };
        writeln!(
            out,
            "{:.1} days, {} devices; {} writes saved; refused: {refused}; not possible: {}",
            self.days,
            self.devices.len(),
            self.saved,
            self.missed
        )?;
        self.write_conflicts(out)?;
        self.write_reviews(out)?;
        self.write_devices(out)?;
        self.write_spread(out)?;
        writeln!(out, "\nChecks: {}", self.verdict)
    }

    fn write_conflicts(&self, out: &mut String) -> std::fmt::Result {
        if !self.conflicts.is_counted() {
            return writeln!(
                out,
                "\nConflicts\n  not counted: devices do not hold the same"
            );
        }
        writeln!(
            out,
            "\nConflicts\n  {:<28} {:<12} {:>7} {:>7} {:>8} {:>8} {:>6} {:>5}",
            "field", "policy", "writes", "met", "differed", "decided", "asked", "open"
        )?;
        for it in &self.conflicts.fields {
            let name = format!("{}.{}", it.collection, it.field);
            writeln!(
                out,
                "  {name:<28} {:<12} {:>7} {:>7} {:>8} {:>8} {:>6} {:>5}",
                it.policy, it.writes, it.met, it.differed, it.decided, it.asked, it.open
            )?;
        }
        for it in &self.conflicts.deletions {
            writeln!(
                out,
                "  {:<28} {:<12} {:>7} {:>7} {:>8} {:>8} {:>6} {:>5}",
                format!("{} deleted", it.collection),
                it.policy,
                it.deleted,
                it.raced,
                "",
                "",
                "",
                it.open
            )?;
        }
        if !self.conflicts.examples.is_empty() {
            writeln!(out, "\nWhat the policies decided, for example")?;
        }
        for it in &self.conflicts.examples {
            writeln!(out, "  {:<8} {} = {}", it.policy, it.place, it.value)?;
            writeln!(out, "           {}", it.why)?;
        }
        Ok(())
    }

    fn write_reviews(&self, out: &mut String) -> std::fmt::Result {
        if self.supervisors.is_empty() {
            return writeln!(out, "\nReviews\n  nobody answers reviews");
        }
        writeln!(
            out,
            "\nReviews, a day\n  {:<12} {:>8} {:>10} {:>12}  left day by day",
            "supervisor", "new", "answered", "left at end"
        )?;
        for supervision in &self.supervisors {
            let sum = |of: fn(&ReviewCount) -> u64| supervision.days.iter().map(of).sum::<u64>();
            let a_day = |sum: u64| match self.days > 0.0 {
                true => sum as f64 / self.days,
                false => 0.0,
            };
            let left: Vec<String> = supervision
                .days
                .iter()
                .map(|day| day.left.to_string())
                .collect();
            writeln!(
                out,
                "  {:<12} {:>8.1} {:>10.1} {:>12}  {}",
                format!("device {}", supervision.device),
                a_day(sum(|day| day.opened)),
                a_day(sum(|day| day.answered)),
                supervision.days.last().map_or(0, |day| day.left),
                left.join(" ")
            )?;
        }
        Ok(())
    }

    fn write_devices(&self, out: &mut String) -> std::fmt::Result {
        let month = format!("{} a month", self.currency);
        writeln!(
            out,
            "\nBytes and money\n  {:<12} {:>12} {month:>14}  by",
            "device", "MB a month"
        )?;
        for it in &self.devices {
            let name = match it.hub {
                true => format!("device {} hub", it.device),
                false => format!("device {}", it.device),
            };
            let by: Vec<String> = it
                .bytes
                .iter()
                .map(|(class, bytes)| format!("{class} {:.2} MB", *bytes as f64 / 1e6))
                .collect();
            writeln!(
                out,
                "  {name:<12} {:>12.2} {:>14.2}  {}",
                it.month_bytes / 1e6,
                it.month_money,
                by.join(", ")
            )?;
        }
        Ok(())
    }

    fn write_spread(&self, out: &mut String) -> std::fmt::Result {
        let hours = |h: Option<f64>| h.map_or_else(|| "-".to_owned(), |h| format!("{h:.1} h"));
        writeln!(
            out,
            "\nUntil devices hold a write ({} writes)\n  {:<16} {:>14} {:>14} {:>10}",
            self.spread.writes, "of the devices", "half of writes", "95 in 100", "never"
        )?;
        for reach in &self.spread.reach {
            writeln!(
                out,
                "  {:<16} {:>14} {:>14} {:>10}",
                format!("{} %", reach.percent),
                hours(reach.half_of_writes_h),
                hours(reach.most_writes_h),
                reach.never
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_costs_thirty_days_of_what_the_counted_days_cost() {
        // 3 MB over mobile data and 1 MB over a free link in two days: fifteen times as much in a month.
        let bytes = [(LinkClass::Cell2g, 3_000_000), (LinkClass::Wifi, 1_000_000)];
        let cost = |days| DeviceCost::new(4, false, bytes.into_iter(), days, &Prices::default());

        let two = cost(2.0);
        assert!((two.month_bytes - 60e6).abs() < 1.0, "{two:?}");
        assert!((two.month_money - 2.25).abs() < 1e-9, "{two:?}");
        let none = cost(0.0);
        assert_eq!((none.month_bytes, none.month_money), (0.0, 0.0));
    }

    #[test]
    fn reviews_a_day_are_those_of_the_days_that_were_counted() {
        // A week of which six days are training: what comes on the seventh is a day's work.
        let day = ReviewCount {
            opened: 7,
            answered: 3,
            left: 4,
        };
        let report = Report {
            days: 1.0,
            supervisors: vec![Supervision {
                device: 2,
                days: vec![day],
            }],
            ..Report::default()
        };

        let text = report.text();
        let line = text.lines().find(|line| line.contains("device 2"));
        let cells: Vec<&str> = line.unwrap_or_default().split_whitespace().collect();
        assert_eq!(cells, ["device", "2", "7.0", "3.0", "4", "4"], "{text}");
    }
}
