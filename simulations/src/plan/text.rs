//! Plan files: a header line, then one JSON object a line, each with its kind as the only key.
//!
//! Unknown keys, unknown devices, fields that the schema does not have and lines without effect are errors that name
//! the line, so a plan never quietly means less than it says; see [`super::check`].

use std::collections::BTreeMap;

use crdt_schema::json_line::complaint;
use crdt_schema::op::Op;
use crdt_schema::schema::{Field, FieldType, Schema, elements_from_text, value_from_json};
use crdt_schema::value::Value;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::check::Checked;
use super::{Contact, DeviceSpec, Fault, Header, OpSpec, Operation, PLAN_FORMAT, Plan};
use crate::family::Family;
use crate::time::DAY_MS;

/// Longest plan file, in bytes.
pub const PLAN_BYTES_MAX: usize = 64 << 20;
/// The longest run: ten years, in milliseconds.
pub const HORIZON_MS_MAX: u64 = 10 * 366 * DAY_MS;
/// The longest time to settle: thirty days, in milliseconds. The fleet is looked at every second of it.
pub const SETTLE_MS_MAX: u64 = 30 * DAY_MS;

/// Why a plan cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// It is too long to be one.
    #[error("the plan has {bytes} bytes, more than {PLAN_BYTES_MAX}; split it")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// A line does not say what a plan may say.
    #[error("line {line}: {why}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong and what would be right.
        why: String,
    },
}

/// One line after the header.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    Device(DeviceSpec),
    Contact(Contact),
    Op(Operation),
    Fault(Fault),
}

impl Plan {
    /// The plan's file.
    pub fn to_text(&self) -> String {
        let mut text = json(&self.header);
        let devices = self.devices.iter().cloned().map(Line::Device);
        let contacts = self.contacts.iter().cloned().map(Line::Contact);
        let operations = self.operations.iter().cloned().map(Line::Op);
        let faults = self.faults.iter().cloned().map(Line::Fault);
        for line in devices.chain(contacts).chain(operations).chain(faults) {
            text.push_str(&json(&line));
        }
        text
    }

    /// Reads a plan's file.
    ///
    /// # Errors
    /// The first line that is wrong, and why.
    pub fn from_text(text: &str, schemas: impl Into<Family>) -> Result<Self, PlanError> {
        let family = schemas.into();
        if text.len() > PLAN_BYTES_MAX {
            return Err(PlanError::TooLong { bytes: text.len() });
        }
        let mut lines = text.lines().enumerate();
        let (_, first) = lines.next().unwrap_or_default();
        let header = read_header(first).map_err(|why| PlanError::Line { line: 1, why })?;
        let mut checked = Checked::new(header, family);
        for (index, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
            let wrong = |why: String| PlanError::Line {
                line: index + 1,
                why,
            };
            let line = serde_json::from_str(line).map_err(|error| wrong(complaint(&error)))?;
            let added = match line {
                Line::Device(spec) => checked.device(spec),
                Line::Contact(contact) => checked.contact(contact),
                Line::Op(operation) => checked.operation(operation),
                Line::Fault(fault) => checked.fault(fault),
            };
            added.map_err(wrong)?;
        }
        Ok(checked.into_plan())
    }
}

/// In which lines of a plan's file its parts stand, counted from 1, each kind in the plan's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// The contacts.
    pub contacts: Vec<usize>,
    /// What people do.
    pub operations: Vec<usize>,
    /// What breaks.
    pub faults: Vec<usize>,
}

impl Lines {
    /// The lines of a file that [`Plan::from_text`] reads.
    pub fn of(text: &str) -> Self {
        let mut lines = Self::default();
        for (index, line) in text.lines().enumerate().skip(1) {
            let keys: Result<BTreeMap<String, IgnoredAny>, _> = serde_json::from_str(line);
            let kind = keys.ok().and_then(|mut keys| keys.pop_first());
            let list = match kind.as_ref().map(|(kind, _)| kind.as_str()) {
                Some("contact") => &mut lines.contacts,
                Some("op") => &mut lines.operations,
                Some("fault") => &mut lines.faults,
                _ => continue,
            };
            list.push(index + 1);
        }
        lines
    }
}

fn json(value: &impl Serialize) -> String {
    let text = serde_json::to_string(value);
    format!("{}\n", text.expect("invariant: plans have text keys only"))
}

fn read_header(line: &str) -> Result<Header, String> {
    let header: Header = serde_json::from_str(line)
        .map_err(|error| format!("a plan begins with its header: {}", complaint(&error)))?;
    if header.plan != PLAN_FORMAT {
        let found = header.plan;
        return Err(format!(
            "plan format {found}; this program reads {PLAN_FORMAT}"
        ));
    }
    if !(1..=HORIZON_MS_MAX).contains(&header.horizon_ms) {
        return Err(format!("horizon_ms is 1 to {HORIZON_MS_MAX}: ten years"));
    }
    if header.settle_ms > SETTLE_MS_MAX {
        return Err(format!("settle_ms is at most {SETTLE_MS_MAX}: thirty days"));
    }
    Ok(header)
}

impl OpSpec {
    /// The op that it stands for.
    ///
    /// # Errors
    /// What the schema has against it.
    pub fn read(&self, collection: &str, schema: &Schema) -> Result<Op, String> {
        let known = schema.collection(collection).ok_or_else(|| {
            let name = &schema.name;
            format!("there is no collection {collection:?} in the schema {name:?}; play the plan under its own")
        })?;
        let field = |name: &String| {
            let field = known.fields.get(name);
            field.ok_or_else(|| format!("{collection} has no field {name:?}"))
        };
        Ok(match self {
            Self::Set(name, json) => {
                let field = field(name)?;
                let value = value_from_json(field, json).map_err(|error| error.message)?;
                let key = field.key.clone();
                Op::Set { key, value }
            }
            Self::Add(name, delta) => match field(name)? {
                field if field.kind == FieldType::Counter => Op::Add {
                    key: field.key.clone(),
                    delta: *delta,
                },
                _ => return Err(format!("{name} is not a counter")),
            },
            Self::Insert(name, element) | Self::Remove(name, element) => {
                let field = field(name)?;
                if !matches!(field.kind, FieldType::Set { .. }) {
                    return Err(format!("{name} is not a set"));
                }
                let (key, element) = (field.key.clone(), element_of(field, element)?);
                match self {
                    Self::Insert(..) => Op::Insert { key, element },
                    _ => Op::Remove { key, element },
                }
            }
            Self::Delete(reason) => Op::Delete {
                reason: reason.clone(),
            },
            Self::Restore(reason) => Op::Restore {
                reason: reason.clone(),
            },
        })
    }
}

/// An element of a set, as a plan writes it: the text itself, or what a table's cell would say.
fn element_of(field: &Field, text: &str) -> Result<Value, String> {
    if matches!(&field.kind, FieldType::Set { of } if **of == FieldType::Text) {
        return Ok(Value::Text(text.to_owned()));
    }
    let elements = elements_from_text(field, text).map_err(|error| error.message)?;
    match &elements[..] {
        [element] => Ok(element.clone()),
        _ => Err(format!("{text:?} is not one element of {}", field.name)),
    }
}

#[cfg(test)]
mod tests;
