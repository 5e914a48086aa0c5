//! Draws what people write into a field: something its type and bounds allow.

use crdt_schema::schema::{Field, FieldType};
use serde_json::{Value as Json, json};

use super::{TEXT_MAX, Work};
use crate::draw::Draw;
use crate::plan::OpSpec;

/// Numbers without bounds lie from 0 to this.
const NUMBER_MAX: f64 = 100.0;
/// How many different elements a set of texts is filled from.
const ELEMENTS: u64 = 6;

const WORDS: [&str; 16] = [
    "fever",
    "cough",
    "mild",
    "severe",
    "since",
    "yesterday",
    "given",
    "tablets",
    "rest",
    "again",
    "monday",
    "mother",
    "child",
    "well",
    "seen",
    "referred",
];

/// What is drawn from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    pub(super) draw: &'a Draw,
    /// Keys the draws.
    pub(super) case: u64,
    pub(super) work: &'a Work,
}

/// The shortest and the longest texts of a field: those of the workload as far as the field's bounds allow.
pub(super) fn lengths(field: &Field, work: &Work) -> [u64; 2] {
    let bound = |bound: f64| (bound.max(0.0) as u64).min(TEXT_MAX);
    let (min, max) = (
        field.min.map_or(1, bound),
        field.max.map_or(TEXT_MAX, bound),
    );
    work.text.get_ref().map(|length| length.max(min).min(max))
}

impl Source<'_> {
    fn number(&self, what: &str, least: u64, most: u64) -> u64 {
        self.draw
            .number(what, self.case, least..most.max(least) + 1)
    }

    /// The intent that writes `field`; `target` gives the id of some record that a reference can name.
    pub(super) fn op(
        &self,
        field: &Field,
        target: impl FnOnce(&str) -> Option<String>,
    ) -> Option<OpSpec> {
        let name = field.name.clone();
        Some(match &field.kind {
            FieldType::Counter => {
                let [least, most] = *self.work.add.get_ref();
                let range = most.abs_diff(least);
                let by = least + self.number("by", 0, range) as i64;
                OpSpec::Add(name, if by == 0 { 1 } else { by })
            }
            FieldType::Set { of } => {
                let element = self.element(of);
                match self.draw.happens("takes out", self.case, 250) {
                    true => OpSpec::Remove(name, element),
                    false => OpSpec::Insert(name, element),
                }
            }
            FieldType::Ref { to } => OpSpec::Set(name, Json::String(target(to)?)),
            kind => OpSpec::Set(name, self.scalar(field, kind)),
        })
    }

    fn element(&self, of: &FieldType) -> String {
        let number = self.number("element", 0, ELEMENTS - 1);
        match of {
            FieldType::Integer => number.to_string(),
            FieldType::Date => format!("2026-03-{:02}", number + 1),
            FieldType::Choice { of } if !of.is_empty() => of[number as usize % of.len()].clone(),
            _ => WORDS[number as usize].to_owned(),
        }
    }

    fn scalar(&self, field: &Field, kind: &FieldType) -> Json {
        let most = field.max;
        // Of a field that has only an upper bound below nothing, numbers lie under it.
        let least = match most {
            Some(most) if most < 0.0 => most - NUMBER_MAX,
            _ => 0.0,
        };
        let least = field.min.unwrap_or(least);
        match kind {
            FieldType::Integer => {
                let (least, most) = (least.ceil(), most.unwrap_or(least + NUMBER_MAX).floor());
                let range = (most - least).clamp(0.0, 1e9) as u64;
                json!(least as i64 + self.number("integer", 0, range) as i64)
            }
            FieldType::Number => {
                let most = most.unwrap_or(least + NUMBER_MAX);
                let share = self.number("number", 0, 1000) as f64 / 1000.0;
                let number = least + (most - least) * share;
                json!(((number * 10.0).round() / 10.0).clamp(least, most.max(least)))
            }
            FieldType::Bool => json!(self.draw.happens("bool", self.case, 500)),
            FieldType::Choice { of } if !of.is_empty() => {
                json!(self.draw.pick("choice", self.case, of))
            }
            FieldType::Date => json!(self.date()),
            FieldType::DateTime => {
                let hour = self.number("hour", 0, 23);
                json!(format!("{}T{hour:02}:30:00Z", self.date()))
            }
            FieldType::Json => json!({ "seen": self.number("json", 0, 99) }),
            _ => json!(self.text(field)),
        }
    }

    fn date(&self) -> String {
        let (month, day) = (self.number("month", 1, 12), self.number("day", 1, 28));
        format!("2026-{month:02}-{day:02}")
    }

    fn text(&self, field: &Field) -> String {
        let [least, most] = lengths(field, self.work);
        let length = self.number("length", least, most) as usize;
        let mut text = String::new();
        let mut place = self.case.wrapping_mul(32);
        while text.len() < length {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(self.draw.pick::<&str>("word", place, &WORDS));
            place = place.wrapping_add(1);
        }
        text.truncate(length.max(1));
        // A text that ends in a space would be refused where texts are trimmed.
        match text.strip_suffix(' ') {
            Some(start) => format!("{start}."),
            None => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use crdt_schema::schema::Schema;

    use super::*;

    #[test]
    fn texts_are_as_long_as_their_field_asks_for_whatever_the_workload_says() {
        let schema = Schema::parse(
            r#"
schema = "texts"
version = 1
[collections.note]
[collections.note.fields]
long  = { type = "text", min = 100 }
short = { type = "text", max = 5 }
any   = { type = "text" }
huge  = { type = "text", min = 1000000000 }
"#,
        )
        .unwrap();
        let work = Work::default();
        let lengths: Vec<[u64; 2]> = schema.collections["note"]
            .fields
            .values()
            .map(|field| lengths(field, &work))
            .collect();
        assert_eq!(lengths, [[100, 100], [5, 5], [8, 60], [TEXT_MAX, TEXT_MAX]]);
    }

    #[test]
    fn numbers_are_within_the_bounds_of_their_field_wherever_those_lie() {
        let schema = Schema::parse(
            r#"
schema = "depths"
version = 1
[collections.well]
[collections.well.fields]
below  = { type = "integer", max = -5 }
deep   = { type = "number", max = -0.5 }
above  = { type = "integer", min = 7 }
within = { type = "number", min = -3, max = -2 }
"#,
        )
        .unwrap();
        let (draw, work) = (Draw::new(1), Work::default());
        for field in schema.collections["well"].fields.values() {
            for case in 0..200 {
                let (draw, work) = (&draw, &work);
                let op = Source { draw, case, work }.op(field, |_| None);
                let Some(OpSpec::Set(name, value)) = op else {
                    panic!("{op:?}");
                };
                let number = value.as_f64().unwrap();
                let is_high = field.max.is_some_and(|max| number > max);
                let is_low = field.min.is_some_and(|min| number < min);
                assert!(!is_high && !is_low, "{name}: {number}");
            }
        }
    }
}
