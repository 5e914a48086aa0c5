//! The records that every contender is given: twelve fields with the id, about 520 bytes as JSON.

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
"#;

/// One record.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its id: a UUID of version 7, as text.
    pub id: String,
    /// Its other fields.
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
}

/// Words that compress about as well as short field notes do.
const WORDS: &str = "water pump broken near school road closed after rain need parts visited family child fever \
    given tablets return monday stock low maize beans seed delivered truck late bridge out \
    clinic full nurse away meeting market day price down harvest good rust on leaves sprayed \
    twice borehole dry tank cleaned chlorine added test negative positive referred district \
    hospital mother well baby weight gaining measles vaccine finished cold box ice fuel empty \
    driver waiting permit signed load checked seal intact bag torn count again tomorrow chief \
    informed land plot boundary dispute settled loan paid group savings absent sick";

/// The states of a record; an update goes on to the next.
const STATES: [&str; 4] = ["open", "assigned", "done", "closed"];

/// The id of a record: ascending, as ids that begin with the time are, and otherwise random.
pub fn id(number: usize) -> String {
    let mut draws = Draws::new(number as u64 ^ 0x1d);
    let ms = 1_780_000_000_000 + number as u64 * 6_000 + draws.below(6_000);
    let (a, b, c) = (
        draws.below(0x1000),
        draws.below(0x4000) + 0x8000,
        draws.below(1 << 48),
    );
    format!(
        "{:08x}-{:04x}-7{a:03x}-{b:04x}-{c:012x}",
        ms >> 16,
        ms & 0xffff
    )
}

/// The sixteen bytes of an id.
pub fn raw_id(id: &str) -> [u8; 16] {
    let number = u128::from_str_radix(&id.replace('-', ""), 16);
    number.expect("ids are UUIDs").to_be_bytes()
}

/// How long somebody takes before the next entry, in milliseconds: people do not write at a fixed rate.
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
    let (title, notes, tags) = (draws.text(20, 40), draws.text(120, 360), draws.text(10, 25));
    let fields = json!({
        "kind": draws.one_of(["visit", "delivery", "survey", "repair"]),
        "title": title,
        "status": draws.one_of(STATES),
        "priority": draws.below(5),
        "assignee": format!("worker-{:04}", draws.below(300)),
        "lat": draws.latitude(),
        "lon": (33_000_000 + draws.below(9_000_000)) as f64 / 1e6,
        "quantity": draws.below(500),
        "at": draws.moment(),
        "tags": tags,
        "notes": notes,
    });
    let Json::Object(fields) = fields else {
        unreachable!("the literal above is an object");
    };
    Record {
        id: id(number),
        fields,
    }
}

/// One field of one record gets a value that it does not have.
#[derive(Clone, Debug)]
pub struct Update {
    /// Which record, by its number.
    pub record: usize,
    /// Which field.
    pub field: &'static str,
    /// The new value.
    pub value: Json,
}

/// `count` updates of different records, drawn from all of them: 40 % status, 25 % quantity, 20 % latitude,
/// 10 % title, 5 % a new note of about 240 characters. Each `round` updates other records in other ways.
pub fn updates(records: usize, count: usize, round: u64) -> Vec<Update> {
    let mut draws = Draws::new(round ^ 0x5eed);
    let mut numbers: Vec<usize> = (0..records).collect();
    let count = count.min(records);
    for place in 0..count {
        let other = place + draws.below((records - place) as u64) as usize;
        numbers.swap(place, other);
    }
    numbers.truncate(count);
    numbers
        .into_iter()
        .map(|number| update(&mut draws, number, round))
        .collect()
}

fn update(draws: &mut Draws, number: usize, round: u64) -> Update {
    let (field, value) = match draws.below(100) {
        0..40 => {
            let before = record(number).fields["status"].clone();
            let place = STATES
                .iter()
                .position(|state| before == *state)
                .unwrap_or_default();
            // Rounds go on by one and by two, so that a record that both of them update changes each time.
            (
                "status",
                STATES[(place + 1 + round as usize) % STATES.len()].into(),
            )
        }
        40..65 => ("quantity", (500 + 500 * round + draws.below(500)).into()),
        65..85 => ("lat", (draws.latitude() + 10.0 * (round + 1) as f64).into()),
        85..95 => ("title", draws.text(20, 40).into()),
        _ => ("notes", draws.text(220, 260).into()),
    };
    Update {
        record: number,
        field,
        value,
    }
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

    fn latitude(&mut self) -> f64 {
        (self.below(10_000_000) as f64 - 5_000_000.0) / 1e6
    }

    fn moment(&mut self) -> String {
        let (month, day) = (1 + self.below(12), 1 + self.below(28));
        let (hour, minute) = (self.below(24), self.below(60));
        format!("2026-{month:02}-{day:02}T{hour:02}:{minute:02}:00Z")
    }

    fn text(&mut self, least: u64, most: u64) -> String {
        let words: Vec<&str> = WORDS.split(' ').collect();
        let length = (least + self.below(most - least)) as usize;
        let mut text = String::new();
        while text.len() < length {
            text.push_str(words[self.below(words.len() as u64) as usize]);
            text.push(' ');
        }
        text.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_differ_and_are_about_520_bytes_long() {
        let texts: Vec<Vec<u8>> = (0..500).map(|number| record(number).to_json()).collect();
        let mean = texts.iter().map(Vec::len).sum::<usize>() / texts.len();

        assert!((500..540).contains(&mean), "{mean}");
        assert!(texts.windows(2).all(|two| two[0] != two[1]));
    }

    #[test]
    fn ids_ascend() {
        let ids: Vec<String> = (0..1_000).map(id).collect();

        assert!(ids.is_sorted());
        assert!(ids.iter().all(|id| id.len() == 36));
    }

    #[test]
    fn updates_are_of_different_records_and_give_them_values_that_they_did_not_have() {
        for round in 0..2 {
            let updates = updates(2_000, 1_000, round);
            let mut numbers: Vec<usize> = updates.iter().map(|update| update.record).collect();
            numbers.sort_unstable();
            numbers.dedup();

            assert_eq!(numbers.len(), 1_000);
            assert!(
                updates
                    .iter()
                    .all(|update| record(update.record).fields[update.field] != update.value)
            );
        }
    }

    #[test]
    fn a_record_is_the_same_as_itself_and_not_as_an_updated_one() {
        let mut other = record(1);
        assert!(is_same(&record(1).fields, &other.fields));

        other.fields.insert("quantity".to_owned(), 500.into());
        assert!(!is_same(&record(1).fields, &other.fields));
    }
}
