//! The records that every contender is given: twelve fields, about 540 bytes as JSON.

use serde_json::{Map, Value as Json, json};

/// The schema that describes them to fieldmesh.
pub const SCHEMA: &str = r#"
schema = "versus"
version = 1
[collections.item.fields]
kind     = { type = "text" }
title    = { type = "text" }
status   = { type = "text" }
priority = { type = "integer" }
assignee = { type = "text" }
lat      = { type = "number" }
lon      = { type = "number" }
quantity = { type = "integer" }
at       = { type = "datetime" }
tags     = { type = "text" }
notes    = { type = "text" }
checked  = { type = "bool" }
"#;

/// The field that updates change.
pub const UPDATED: &str = "quantity";

/// One record.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its name.
    pub id: String,
    /// Its fields.
    pub fields: Map<String, Json>,
}

impl Record {
    /// The record as JSON with its id, as an API would send it.
    pub fn to_json(&self) -> Vec<u8> {
        let mut all = Map::new();
        all.insert("id".to_owned(), self.id.as_str().into());
        all.extend(self.fields.clone());
        Json::Object(all).to_string().into_bytes()
    }

    /// Changes [`UPDATED`].
    pub fn update(&mut self, value: i64) {
        self.fields.insert(UPDATED.to_owned(), value.into());
    }
}

/// Words that compress about as well as short field notes do.
const WORDS: [&str; 96] = [
    "water",
    "pump",
    "broken",
    "near",
    "school",
    "road",
    "closed",
    "after",
    "rain",
    "need",
    "parts",
    "visited",
    "family",
    "child",
    "fever",
    "given",
    "tablets",
    "return",
    "monday",
    "stock",
    "low",
    "maize",
    "beans",
    "seed",
    "delivered",
    "truck",
    "late",
    "bridge",
    "out",
    "clinic",
    "full",
    "nurse",
    "away",
    "meeting",
    "market",
    "day",
    "price",
    "down",
    "harvest",
    "good",
    "rust",
    "on",
    "leaves",
    "sprayed",
    "twice",
    "borehole",
    "dry",
    "tank",
    "cleaned",
    "chlorine",
    "added",
    "test",
    "negative",
    "positive",
    "referred",
    "district",
    "hospital",
    "mother",
    "well",
    "baby",
    "weight",
    "gaining",
    "measles",
    "vaccine",
    "finished",
    "cold",
    "box",
    "ice",
    "fuel",
    "empty",
    "driver",
    "waiting",
    "permit",
    "signed",
    "load",
    "checked",
    "seal",
    "intact",
    "bag",
    "torn",
    "count",
    "again",
    "tomorrow",
    "chief",
    "informed",
    "land",
    "plot",
    "boundary",
    "dispute",
    "settled",
    "loan",
    "paid",
    "group",
    "savings",
    "absent",
    "sick",
];

/// The name of a record.
pub fn name(number: usize) -> String {
    format!("i{number:07}")
}

/// When something is written, in milliseconds since 1970: people do not write every millisecond, nor at a
/// fixed rate.
pub fn pause_ms(draw: u64) -> u64 {
    3_000 + (draw.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 51)
}

/// Whether two records hold the same values. Numbers are compared as numbers, because 5 and 5.0 are one.
pub fn is_same(one: &Map<String, Json>, other: &Map<String, Json>) -> bool {
    let is_equal = |one: &Json, other: &Json| match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    };
    one.len() == other.len()
        && one
            .iter()
            .all(|(name, value)| other.get(name).is_some_and(|other| is_equal(value, other)))
}

/// The record of a number.
pub fn record(number: usize) -> Record {
    let mut draws = Draws::new(number as u64);
    let (title, notes, tags) = (draws.text(20, 40), draws.text(170, 410), draws.text(10, 25));
    let fields = json!({
        "kind": draws.one_of(["visit", "delivery", "survey", "repair"]),
        "title": title,
        "status": draws.one_of(["open", "assigned", "done", "closed"]),
        "priority": draws.below(5),
        "assignee": format!("worker-{:04}", draws.below(300)),
        "lat": (draws.below(10_000_000) as f64 - 5_000_000.0) / 1e6,
        "lon": (33_000_000 + draws.below(9_000_000)) as f64 / 1e6,
        "quantity": draws.below(500),
        "at": format!("2026-{:02}-{:02}T{:02}:{:02}:00Z", 1 + draws.below(12), 1 + draws.below(28), draws.below(24), draws.below(60)),
        "tags": tags,
        "notes": notes,
        "checked": draws.below(2) == 1,
    });
    let Json::Object(fields) = fields else {
        unreachable!("the literal above is an object");
    };
    Record {
        id: name(number),
        fields,
    }
}

/// One update: a record's number and the new value of [`UPDATED`].
#[derive(Clone, Copy, Debug)]
pub struct Update {
    /// Which record.
    pub record: usize,
    /// The new value, which no record had before.
    pub value: i64,
}

/// `count` updates of different records, spread over all of them. `round` makes their values new.
pub fn updates(records: usize, count: usize, round: usize) -> Vec<Update> {
    let stride = records / count.min(records);
    (0..count.min(records))
        .map(|n| Update {
            record: n * stride + round % stride.max(1),
            value: (1_000 * (round + 1) + n % 1_000) as i64,
        })
        .collect()
}

/// A small generator (xorshift64*), so that every contender is given the same bytes.
struct Draws(u64);

impl Draws {
    fn new(number: u64) -> Self {
        Self(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }

    fn one_of(&mut self, words: [&'static str; 4]) -> &'static str {
        words[self.below(4) as usize]
    }

    fn text(&mut self, least: u64, most: u64) -> String {
        let length = (least + self.below(most - least)) as usize;
        let mut text = String::new();
        while text.len() < length {
            text.push_str(WORDS[self.below(WORDS.len() as u64) as usize]);
            text.push(' ');
        }
        text.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_differ_and_are_about_540_bytes_long() {
        let texts: Vec<Vec<u8>> = (0..500).map(|number| record(number).to_json()).collect();
        let mean = texts.iter().map(Vec::len).sum::<usize>() / texts.len();

        assert!((500..580).contains(&mean), "{mean}");
        assert!(texts.windows(2).all(|two| two[0] != two[1]));
    }

    #[test]
    fn updates_are_of_different_records_and_give_them_values_that_they_did_not_have() {
        let updates = updates(10_000, 1_000, 1);
        let mut numbers: Vec<usize> = updates.iter().map(|update| update.record).collect();
        numbers.dedup();

        assert_eq!(numbers.len(), 1_000);
        assert!(updates.iter().all(|update| update.value >= 1_000));
    }

    #[test]
    fn a_record_is_the_same_as_itself_and_not_as_an_updated_one() {
        let mut other = record(1);
        assert!(is_same(&record(1).fields, &other.fields));

        other.update(-1);
        assert!(!is_same(&record(1).fields, &other.fields));
    }
}
