//! From what a client sends to checked ops, and from a merged record to what is wrong with it.
//!
//! A patch is a JSON object of field names. For a register its value is the new value and `null`
//! clears it, as in a JSON merge patch (RFC 7396). A counter takes `{"$add": 3}`. A set takes
//! `{"$insert": x}`, `{"$remove": x}` or both, each with one element or a list; a plain list
//! inserts its elements. A `json` field takes any JSON as it stands. A patch is taken whole or not
//! at all.
//!
//! What is not known here: the record before the patch, and whether references lead anywhere.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json};

use crate::nearest::{advice, advice_or, listed};
use crate::op::Op;
use crate::schema::{
    Collection, Field, FieldError, FieldType, MergePolicy, check_bounds, counter_needs_add,
    element_from_json, integer_from_json, shown,
};
use crate::value::Value;

pub use crate::schema::{elements_from_text, value_from_json, value_from_text};

/// How many errors of one patch are reported.
pub const FIELD_ERRORS_MAX: usize = 100;

/// Greatest absolute sum of a counter, and greatest single addition to one: up to here every JSON
/// reader keeps integers exact, and sums stay far from the end of 64 bits.
pub const COUNTER_MAX: i64 = 1 << 53;

const ADD: &str = "$add";
const INSERT: &str = "$insert";
const REMOVE: &str = "$remove";

/// Reads a patch. An addition of zero and an empty list are no ops.
///
/// # Errors
/// Everything that is wrong with it, up to [`FIELD_ERRORS_MAX`].
pub fn ops_from_patch(
    collection: &Collection,
    patch: &Map<String, Json>,
) -> Result<Vec<Op>, Vec<FieldError>> {
    let mut ops = Vec::new();
    let mut errors = Vec::new();
    for (name, json) in patch {
        let read = match collection.fields.get(name) {
            None => Err(unknown_field(collection, name)),
            Some(field) => match &field.kind {
                FieldType::Counter => add(field, json).map(|op| ops.extend(op)),
                FieldType::Set { of } => set_ops(field, of, json).map(|more| ops.extend(more)),
                _ => register(field, json).map(|op| ops.push(op)),
            },
        };
        errors.extend(read.err());
        if errors.len() >= FIELD_ERRORS_MAX {
            break;
        }
    }
    if errors.is_empty() {
        Ok(ops)
    } else {
        Err(errors)
    }
}

/// The ops that give a *new* record the defaults of the fields that `given` does not name.
pub fn default_ops(collection: &Collection, given: &[Op]) -> Vec<Op> {
    unnamed_registers(collection, given)
        .filter_map(|field| {
            let value = field.default.clone()?;
            Some(Op::Set {
                key: field.key.clone(),
                value,
            })
        })
        .collect()
}

/// The stored keys of the registers that `given` does not name: those that a write which replaces
/// the whole record clears.
pub fn register_keys_to_clear(collection: &Collection, given: &[Op]) -> Vec<String> {
    unnamed_registers(collection, given)
        .map(|field| field.key.clone())
        .collect()
}

/// What a local write may not do, from the record before it and after it: leave it with what
/// [`check_record`] finds, or move a `rank` back. A counter that a merge has carried out of its
/// bounds may be brought nearer to them, and in no other way be changed.
pub fn check_change(
    collection: &Collection,
    before: &Map<String, Json>,
    after: &Map<String, Json>,
) -> Vec<FieldError> {
    let mut errors = check_record(collection, after);
    errors.retain(|error| {
        let counter = collection.fields.values().find(|field| {
            field.kind == FieldType::Counter && error.pointer.strip_prefix('/') == Some(&field.name)
        });
        counter.is_none_or(|field| excess(field, after) >= excess(field, before))
    });
    let ranks = collection.fields.values();
    errors.extend(ranks.filter_map(|field| step_back(field, before, after)));
    errors
}

/// How far the counter's sum lies out of its bounds.
fn excess(field: &Field, fields: &Map<String, Json>) -> i128 {
    let sum = i128::from(fields.get(&field.name).and_then(Json::as_i64).unwrap_or(0));
    let limit = i128::from(COUNTER_MAX);
    // Bounds of counters are integers within 53 bits, so the casts lose nothing.
    let min = field.min.map_or(-limit, |min| min as i128);
    let max = field.max.map_or(limit, |max| max as i128);
    (min - sum).max(sum - max).max(0)
}

/// What is wrong if a `rank` comes before the choice that it had.
fn step_back(
    field: &Field,
    before: &Map<String, Json>,
    after: &Map<String, Json>,
) -> Option<FieldError> {
    let FieldType::Choice { of } = &field.kind else {
        return None;
    };
    let value = |fields: &Map<String, Json>| fields.get(&field.name).cloned().unwrap_or(Json::Null);
    let place = |value: &Json| of.iter().position(|choice| value.as_str() == Some(choice));
    let (had, has) = (value(before), value(after));
    if field.merge != MergePolicy::Rank || place(&has) >= place(&had) {
        return None;
    }
    let message = match has {
        Json::Null => format!(
            "{} only moves forward: it is {} and cannot be cleared",
            field.name,
            shown(&had)
        ),
        _ => format!(
            "{} only moves forward: it is {}, and {} comes before that",
            field.name,
            shown(&had),
            shown(&has)
        ),
    };
    Some(FieldError::new(&field.name, "moves_back", message))
}

/// What is wrong with a merged record, its fields by name: required fields that have no value, and
/// counters whose sum is out of bounds.
pub fn check_record(collection: &Collection, fields: &Map<String, Json>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for field in collection.fields.values() {
        match fields.get(&field.name).filter(|json| !json.is_null()) {
            None if field.required => {
                let message = format!("{} is required", field.name);
                errors.push(FieldError::new(&field.name, "missing_required", message));
            }
            Some(sum) if field.kind == FieldType::Counter => {
                errors.extend(check_sum(field, sum).err());
            }
            _ => {}
        }
    }
    errors
}

fn unnamed_registers<'a>(
    collection: &'a Collection,
    given: &'a [Op],
) -> impl Iterator<Item = &'a Field> {
    let named: BTreeSet<&str> = given.iter().filter_map(Op::key).collect();
    let registers = collection
        .fields
        .values()
        .filter(|field| field.is_register());
    registers.filter(move |field| !named.contains(field.key.as_str()))
}

/// Checks a counter's sum against its bounds, and against what any counter can hold.
///
/// # Errors
/// What is wrong with it.
pub fn check_sum(field: &Field, json: &Json) -> Result<(), FieldError> {
    let Some(sum) = json.as_i64() else {
        let message = format!(
            "{} must be a whole number, found {}",
            field.name,
            shown(json)
        );
        return Err(FieldError::new(&field.name, "wrong_type", message));
    };
    if sum.unsigned_abs() <= COUNTER_MAX.unsigned_abs() {
        return check_bounds(field, &Value::Integer(sum));
    }
    let (code, side) = if sum < 0 {
        ("below_min", "least")
    } else {
        ("above_max", "greatest")
    };
    let message = format!(
        "{} would pass the {side} sum that a counter can hold",
        field.name
    );
    Err(FieldError::new(&field.name, code, message))
}

fn unknown_field(collection: &Collection, name: &str) -> FieldError {
    let names: Vec<&str> = collection.fields.keys().map(String::as_str).collect();
    let shown: String = name.chars().take(40).collect();
    let message = format!(
        "{} has no field {shown:?}; {}",
        collection.name,
        advice(name, &names)
    );
    FieldError::new(name, "unknown_field", message)
}

fn register(field: &Field, json: &Json) -> Result<Op, FieldError> {
    if let (Some(intent), false) = (intent_key(json), field.kind == FieldType::Json) {
        let shown: String = intent.chars().take(40).collect();
        let message = format!(
            "{} is a {} field and takes its new value itself, not {shown:?}",
            field.name,
            field.kind.name()
        );
        return Err(FieldError::new(&field.name, "bad_intent", message));
    }
    let value = value_from_json(field, json)?;
    Ok(Op::Set {
        key: field.key.clone(),
        value,
    })
}

fn intent_key(json: &Json) -> Option<&str> {
    json.as_object()?
        .keys()
        .map(String::as_str)
        .find(|key| key.starts_with('$'))
}

/// Refuses an object with keys that are not intents of the field's type.
fn check_intents(
    field: &Field,
    intents: &Map<String, Json>,
    known: &[&str],
) -> Result<(), FieldError> {
    let Some(unknown) = intents.keys().find(|key| !known.contains(&key.as_str())) else {
        return Ok(());
    };
    let shown: String = unknown.chars().take(40).collect();
    let advice = advice_or(unknown, known, || {
        format!("a {} takes {}", field.kind.name(), listed(known))
    });
    let message = format!("{} cannot take {shown:?}; {advice}", field.name);
    Err(FieldError::new(&field.name, "bad_intent", message))
}

fn add(field: &Field, json: &Json) -> Result<Option<Op>, FieldError> {
    let intents = json.as_object().ok_or_else(|| counter_needs_add(field))?;
    check_intents(field, intents, &[ADD])?;
    let amount = intents.get(ADD).ok_or_else(|| counter_needs_add(field))?;
    let delta = integer_from_json(amount);
    let too_large = match delta {
        Some(delta) => delta.unsigned_abs() > COUNTER_MAX.unsigned_abs(),
        None => amount
            .as_f64()
            .is_some_and(|amount| amount.abs() > COUNTER_MAX as f64),
    };
    if too_large {
        let message = format!("{} takes at most {COUNTER_MAX} at once", field.name);
        return Err(FieldError::new(&field.name, "counter_overflow", message));
    }
    let delta = delta.ok_or_else(|| {
        let message = format!(
            "{} counts in whole numbers: `$add` takes one such as 3 or -1, found {}",
            field.name,
            shown(amount)
        );
        FieldError::new(&field.name, "wrong_type", message)
    })?;
    Ok((delta != 0).then(|| Op::Add {
        key: field.key.clone(),
        delta,
    }))
}

fn set_ops(field: &Field, of: &FieldType, json: &Json) -> Result<Vec<Op>, FieldError> {
    let (inserts, removes) = match json {
        Json::Array(_) => (Some(json), None),
        Json::Object(intents) if !intents.is_empty() => {
            check_intents(field, intents, &[INSERT, REMOVE])?;
            (intents.get(INSERT), intents.get(REMOVE))
        }
        _ => {
            let message = format!(
                "{0} is a set: write {{\"{0}\": {{\"$insert\": […], \"$remove\": […]}}}}",
                field.name
            );
            return Err(FieldError::new(&field.name, "bad_intent", message));
        }
    };
    let inserts = elements(field, of, inserts)?;
    let removes = elements(field, of, removes)?;
    if let Some(both) = inserts
        .iter()
        .find_map(|(bytes, e)| removes.contains_key(bytes).then_some(e))
    {
        let element = shown(&both.to_json());
        let message = format!("{} cannot both insert and remove {element}", field.name);
        return Err(FieldError::new(&field.name, "bad_intent", message));
    }
    let key = || field.key.clone();
    let inserts = inserts.into_values().map(|element| Op::Insert {
        key: key(),
        element,
    });
    let removes = removes.into_values().map(|element| Op::Remove {
        key: key(),
        element,
    });
    Ok(inserts.chain(removes).collect())
}

/// The distinct elements in one element or a list, by their canonical bytes.
fn elements(
    field: &Field,
    of: &FieldType,
    json: Option<&Json>,
) -> Result<BTreeMap<Vec<u8>, Value>, FieldError> {
    let list = match json {
        None => &[],
        Some(Json::Array(list)) => list.as_slice(),
        Some(one) => std::slice::from_ref(one),
    };
    let elements = list.iter().map(|json| element_from_json(field, of, json));
    elements
        .map(|element| element.map(|element| (element.canonical_bytes(), element)))
        .collect()
}

#[cfg(test)]
mod tests;
