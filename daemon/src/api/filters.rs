//! Filters of a list: `field:op:value`, typed by the schema. A record must pass all of them.
//!
//! `@status` (`local`, `shared`, `synced`) and `@review` (`true`, `false`) can be asked for like fields; the
//! `@` may be left out when the collection has no field of that name. An empty value stands for a field that
//! nobody has set: `born:eq:` finds the records without it. Otherwise a record without the field passes `ne`
//! only.

use std::cmp::Ordering;

use crdt_schema::intent::{elements_from_text, value_from_text};
use crdt_schema::resolution::RecordView;
use crdt_schema::schema::{Collection, Field, FieldType};
use crdt_schema::value::Value;
use serde_json::Value as Json;

use super::error::{ApiError, Code};
use super::meant;
use super::render;
use super::request::shortened;
use super::types::RecordStatus;
use crate::engine::fleet::Fleet;

/// Most filters of one list.
const FILTERS_MAX: usize = 16;

const STATUS: &str = "@status";
const REVIEW: &str = "@review";

/// The filters of one list.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Filters(Vec<Filter>);

#[derive(Clone, Debug, PartialEq)]
enum Filter {
    Field { name: String, test: Test },
    Status { is: bool, status: RecordStatus },
    Review { open: bool },
}

/// What is asked of a field's value.
#[derive(Clone, Debug, PartialEq)]
enum Test {
    Unset,
    IsSet,
    Compare(Comparison, Value),
    /// The text in lower case.
    Contains(String),
    Has(Json),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

impl Filters {
    pub(super) fn read(collection: &Collection, texts: &[String]) -> Result<Self, ApiError> {
        if texts.len() > FILTERS_MAX {
            return Err(bad(format!("a list takes at most {FILTERS_MAX} filters")));
        }
        texts
            .iter()
            .map(|text| Filter::read(collection, text))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether the record passes.
    pub(super) fn keep(&self, view: &RecordView, fleet: &Fleet) -> bool {
        self.0.iter().all(|filter| match filter {
            Filter::Field { name, test } => test.passes(view.fields.get(name)),
            Filter::Status { is, status } => {
                (render::status(fleet.spread(&view.heads)) == *status) == *is
            }
            Filter::Review { open } => view.reviews.is_empty() != *open,
        })
    }
}

impl Filter {
    fn read(collection: &Collection, text: &str) -> Result<Self, ApiError> {
        let mut parts = text.splitn(3, ':');
        let (Some(name), Some(op), Some(value)) = (parts.next(), parts.next(), parts.next()) else {
            let text = shortened(text);
            return Err(bad(format!(
                "{text:?} is not field:op:value, such as temp_c:gt:38"
            )));
        };
        if let Some(field) = collection.fields.get(name) {
            let test = Test::read(field, op, value)?;
            return Ok(Self::Field {
                name: name.to_owned(),
                test,
            });
        }
        match name.trim_start_matches('@') {
            "status" => Self::status(op, value),
            "review" => Self::review(op, value),
            _ => Err(unknown_field(collection, name)),
        }
    }

    fn status(op: &str, value: &str) -> Result<Self, ApiError> {
        let all = [
            RecordStatus::Local,
            RecordStatus::Shared,
            RecordStatus::Synced,
        ];
        let status = all
            .into_iter()
            .find(|status| status.name() == value)
            .ok_or_else(|| {
                bad(format!(
                    "{STATUS} is local, shared or synced, not {:?}",
                    shortened(value)
                ))
            })?;
        Ok(Self::Status {
            is: equality(STATUS, op)?,
            status,
        })
    }

    fn review(op: &str, value: &str) -> Result<Self, ApiError> {
        let value = value.parse::<bool>().map_err(|_| {
            bad(format!(
                "{REVIEW} is true or false, not {:?}",
                shortened(value)
            ))
        })?;
        Ok(Self::Review {
            open: equality(REVIEW, op)? == value,
        })
    }
}

impl Test {
    fn read(field: &Field, op: &str, value: &str) -> Result<Self, ApiError> {
        match (op, &field.kind) {
            ("eq", _) if value.is_empty() => Ok(Self::Unset),
            ("ne", _) if value.is_empty() => Ok(Self::IsSet),
            ("has", FieldType::Set { .. }) => Self::has(field, value),
            ("contains", FieldType::Text | FieldType::Choice { .. } | FieldType::Ref { .. }) => {
                Ok(Self::Contains(value.to_lowercase()))
            }
            ("eq" | "ne" | "lt" | "le" | "gt" | "ge", kind) => {
                let comparison = Comparison::read(op).filter(|c| c.suits(kind));
                let comparison = comparison.ok_or_else(|| unsuited(field, op))?;
                Ok(Self::Compare(comparison, typed(field, value)?))
            }
            _ => Err(unsuited(field, op)),
        }
    }

    fn has(field: &Field, value: &str) -> Result<Self, ApiError> {
        let elements = elements_from_text(field, value).map_err(|error| bad(error.message))?;
        match elements.as_slice() {
            [element] => Ok(Self::Has(element.to_json())),
            _ => Err(bad(format!("{}:has: takes one element", field.name))),
        }
    }

    fn passes(&self, json: Option<&Json>) -> bool {
        let json = json.filter(|json| !json.is_null());
        match (self, json) {
            (Self::Unset, json) => json.is_none(),
            (Self::IsSet, json) => json.is_some(),
            (Self::Compare(comparison, _), None) => *comparison == Comparison::Ne,
            (Self::Compare(comparison, value), Some(json)) => match order(json, value) {
                Some(order) => comparison.passes(order),
                None => *comparison == Comparison::Ne,
            },
            (Self::Contains(text), Some(Json::String(found))) => {
                found.to_lowercase().contains(text)
            }
            (Self::Has(element), Some(Json::Array(elements))) => elements.contains(element),
            (Self::Contains(_) | Self::Has(_), _) => false,
        }
    }
}

impl Comparison {
    fn read(op: &str) -> Option<Self> {
        Some(match op {
            "eq" => Self::Eq,
            "ne" => Self::Ne,
            "lt" => Self::Lt,
            "le" => Self::Le,
            "gt" => Self::Gt,
            "ge" => Self::Ge,
            _ => return None,
        })
    }

    /// Whether values of the type can be compared so.
    fn suits(self, kind: &FieldType) -> bool {
        match kind {
            FieldType::Set { .. } | FieldType::Json => false,
            FieldType::Bool => matches!(self, Self::Eq | Self::Ne),
            FieldType::Text
            | FieldType::Integer
            | FieldType::Number
            | FieldType::Choice { .. }
            | FieldType::Date
            | FieldType::DateTime
            | FieldType::Ref { .. }
            | FieldType::Counter => true,
        }
    }

    fn passes(self, order: Ordering) -> bool {
        match self {
            Self::Eq => order.is_eq(),
            Self::Ne => order.is_ne(),
            Self::Lt => order.is_lt(),
            Self::Le => order.is_le(),
            Self::Gt => order.is_gt(),
            Self::Ge => order.is_ge(),
        }
    }
}

/// How a record's value stands to the filter's; `None` if they are not of one type.
fn order(json: &Json, value: &Value) -> Option<Ordering> {
    match value {
        Value::Integer(integer) => match json.as_i64() {
            Some(found) => Some(found.cmp(integer)),
            None => json.as_f64()?.partial_cmp(&(*integer as f64)),
        },
        Value::Number(number) => json.as_f64()?.partial_cmp(number),
        Value::Bool(flag) => Some(json.as_bool()?.cmp(flag)),
        // Moments are kept in UTC, and a fraction of a second comes where others have the `Z`.
        Value::Text(text) => Some(
            json.as_str()?
                .trim_end_matches('Z')
                .cmp(text.trim_end_matches('Z')),
        ),
        Value::Null | Value::Json(_) => None,
    }
}

/// The filter's value as one of the field's type. Bounds and choices are for records, not for questions.
fn typed(field: &Field, text: &str) -> Result<Value, ApiError> {
    let kind = match &field.kind {
        FieldType::Choice { .. } => FieldType::Text,
        FieldType::Counter => FieldType::Integer,
        kind => kind.clone(),
    };
    let unbound = Field {
        kind,
        min: None,
        max: None,
        ..field.clone()
    };
    let value = value_from_text(&unbound, text).map_err(|error| bad(error.message))?;
    value.ok_or_else(|| bad(format!("{}: the value is blank", field.name)))
}

/// Whether `op` asks for equality rather than its absence.
fn equality(name: &str, op: &str) -> Result<bool, ApiError> {
    match op {
        "eq" => Ok(true),
        "ne" => Ok(false),
        _ => Err(bad(format!(
            "{name} takes eq and ne, not {:?}",
            shortened(op)
        ))),
    }
}

fn unsuited(field: &Field, op: &str) -> ApiError {
    let ops = match &field.kind {
        FieldType::Set { .. } => "has",
        FieldType::Json => "eq and ne with an empty value",
        FieldType::Bool => "eq and ne",
        FieldType::Text | FieldType::Choice { .. } | FieldType::Ref { .. } => {
            "eq, ne, lt, le, gt, ge and contains"
        }
        FieldType::Integer
        | FieldType::Number
        | FieldType::Date
        | FieldType::DateTime
        | FieldType::Counter => "eq, ne, lt, le, gt and ge",
    };
    let (name, kind) = (&field.name, field.kind.name());
    bad(format!(
        "{name} is a {kind} and takes {ops}, not {:?}",
        shortened(op)
    ))
}

fn unknown_field(collection: &Collection, name: &str) -> ApiError {
    let names = collection
        .fields
        .keys()
        .map(String::as_str)
        .chain([STATUS, REVIEW]);
    let (of, shown) = (&collection.name, shortened(name));
    bad(format!("{of} has no field {shown:?}") + &meant(name, names))
}

fn bad(detail: String) -> ApiError {
    ApiError::new(Code::BadRequest, format!("filter: {detail}"))
}

#[cfg(test)]
mod tests {
    use crdt_schema::hlc::Timestamp;
    use crdt_schema::resolution::Life;
    use crdt_schema::schema::Schema;
    use serde_json::json;

    use super::*;

    const SCHEMA: &str = r#"
        schema = "test"
        version = 1
        [collections.visit.fields]
        note = { type = "text" }
        temp_c = { type = "number", min = 30, max = 45 }
        dose = { type = "integer" }
        seen = { type = "bool" }
        at = { type = "datetime" }
        outcome = { type = "choice", of = ["well", "ill"] }
        tags = { type = "set", of = "text" }
        calls = { type = "counter" }
        extra = { type = "json" }
        [collections.task.fields]
        status = { type = "choice", of = ["open", "closed"] }
    "#;

    fn view(fields: &Json) -> RecordView {
        RecordView {
            fields: fields.as_object().unwrap().clone(),
            life: Life::Live,
            reviews: Vec::new(),
            partial: Vec::new(),
            legacy: serde_json::Map::new(),
            heads: Vec::new(),
            updated: Timestamp::default(),
            answered: Vec::new(),
            refs: Vec::new(),
            deleted_by: Vec::new(),
        }
    }

    fn read(collection: &str, filter: &str) -> Result<Filters, ApiError> {
        let schema = Schema::parse(SCHEMA).unwrap();
        Filters::read(&schema.collections[collection], &[filter.to_owned()])
    }

    fn keeps(filter: &str, fields: &Json) -> bool {
        let filters = read("visit", filter).unwrap_or_else(|error| panic!("{filter}: {error}"));
        filters.keep(&view(fields), &Fleet::default())
    }

    #[test]
    fn comparisons_go_by_the_fields_type_and_not_by_text() {
        let fields = json!({
            "temp_c": 39.5, "dose": 10, "seen": true, "at": "2026-11-21T07:00:00.5Z",
            "outcome": "ill", "calls": 12, "note": "Fever since Monday",
        });
        for filter in [
            "temp_c:gt:38",
            "temp_c:le:39.50",
            "temp_c:lt:50",
            "dose:gt:9",
            "dose:eq:10.0",
            "seen:eq:yes",
            "at:gt:2026-11-21T07:00:00Z",
            "at:lt:2026-11-21T10:00:01+03:00",
            "outcome:eq:ill",
            "outcome:ne:well",
            "calls:ge:12",
            "note:contains:MONDAY",
            "note:gt:Cough",
            "dose:ne:",
        ] {
            assert!(keeps(filter, &fields), "{filter} lost the record");
        }
        for filter in [
            "temp_c:gt:39.5",
            "dose:lt:9",
            "seen:ne:true",
            "outcome:eq:well",
            "dose:eq:",
        ] {
            assert!(!keeps(filter, &fields), "{filter} kept the record");
        }
    }

    #[test]
    fn a_record_without_the_field_passes_ne_only() {
        let fields = json!({"note": null});

        assert!(
            keeps("temp_c:ne:38", &fields)
                && keeps("note:eq:", &fields)
                && keeps("tags:eq:", &fields)
        );
        assert!(!keeps("temp_c:lt:38", &fields) && !keeps("note:contains:a", &fields));
    }

    #[test]
    fn sets_are_asked_for_elements() {
        let fields = json!({"tags": ["asthma", "penicillin"]});

        assert!(keeps("tags:has:penicillin", &fields));
        assert!(!keeps("tags:has:penicil", &fields));
    }

    #[test]
    fn a_value_may_hold_colons() {
        assert!(keeps("note:eq:a:b", &json!({"note": "a:b"})));
    }

    #[test]
    fn status_and_review_give_way_to_fields_of_their_name() {
        let fleet = Fleet::default();
        let open = view(&json!({"status": "open"}));
        let passes = |filter| read("task", filter).unwrap().keep(&open, &fleet);

        assert!(passes("status:eq:open") && !passes("status:eq:closed"));
        assert!(passes("@status:eq:local") && !passes("@status:eq:synced"));
        assert_eq!(
            read("task", "review:eq:true").ok(),
            read("task", "@review:ne:false").ok()
        );
        assert!(read("visit", "status:eq:shared").is_ok());
        assert!(read("visit", "status:eq:open").is_err());
        assert!(passes("review:eq:false") && !passes("review:eq:true"));
    }

    #[test]
    fn what_is_not_understood_is_refused_with_advice() {
        let message = |filter| read("visit", filter).unwrap_err().detail;

        assert!(message("temp_c").contains("field:op:value"));
        assert!(message("temp:gt:38").contains("has no field"));
        assert!(message("tempc:gt:38").contains("did you mean temp_c?"));
        assert!(message("temp_c:gt:hot").contains("temp_c"));
        assert!(message("temp_c:like:3").contains("takes eq, ne, lt"));
        assert!(message("seen:lt:true").contains("takes eq and ne"));
        assert!(message("tags:eq:a").contains("takes has"));
        assert!(message("extra:eq:1").contains("empty value"));
        assert!(message("tags:has:a;b").contains("one element"));
    }
}
