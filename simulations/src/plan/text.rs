//! Plan files: a header line, then one JSON object a line, each with its kind as the only key.
//!
//! Unknown keys, unknown devices and fields that the schema does not have are errors that name the line,
//! so a plan never quietly means less than it says.

use std::sync::Arc;

use crdt_schema::json_line::complaint;
use crdt_schema::op::Op;
use crdt_schema::schema::{Field, FieldType, Schema, elements_from_text, value_from_json};
use crdt_schema::value::Value;
use serde::{Deserialize, Serialize};

use super::{
    Act, Contact, DeviceSpec, EditSpec, Fault, FaultKind, Header, OpSpec, Operation, PLAN_FORMAT,
    Plan,
};
use crate::family::Family;

/// Longest plan file, in bytes.
pub const PLAN_BYTES_MAX: usize = 64 << 20;
/// Greatest number of a device.
pub const DEVICE_MAX: usize = 4096;
/// The longest run: ten years, in milliseconds.
pub const HORIZON_MS_MAX: u64 = 10 * 366 * 24 * 3_600_000;

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
        let mut plan = Self {
            header: read_header(first).map_err(|why| PlanError::Line { line: 1, why })?,
            devices: Vec::new(),
            contacts: Vec::new(),
            operations: Vec::new(),
            faults: Vec::new(),
        };
        for (index, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
            let wrong = |why: String| PlanError::Line {
                line: index + 1,
                why,
            };
            let line = serde_json::from_str(line).map_err(|error| wrong(complaint(&error)))?;
            plan.add(line, &family).map_err(wrong)?;
        }
        Ok(plan)
    }

    fn add(&mut self, line: Line, family: &Family) -> Result<(), String> {
        match line {
            Line::Device(spec) => {
                check_device(self, &spec)?;
                check_duty(&spec, family)?;
                self.devices.push(spec);
            }
            Line::Contact(contact) => {
                self.check_names(contact.a)?;
                self.check_names(contact.b)?;
                if contact.a == contact.b {
                    return Err("a contact needs two different devices".to_owned());
                }
                if contact.end_ms <= contact.at_ms {
                    return Err("a contact must end after it begins".to_owned());
                }
                self.contacts.push(contact);
            }
            Line::Op(operation) => {
                self.check_names(operation.device)?;
                check_act(&operation.act, family)?;
                self.operations.push(operation);
            }
            Line::Fault(fault) => {
                self.check_names(fault.device)?;
                match fault.kind {
                    FaultKind::Restore { taken_ms, .. }
                    | FaultKind::RestoreUnnoticed { taken_ms }
                        if taken_ms >= fault.at_ms =>
                    {
                        return Err("a backup is taken before it is restored".to_owned());
                    }
                    _ => self.faults.push(fault),
                }
            }
        }
        Ok(())
    }

    fn check_names(&self, device: usize) -> Result<(), String> {
        match self.device(device) {
            Some(_) => Ok(()),
            None => Err(format!("there is no device {device} above this line")),
        }
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
    if header.horizon_ms > HORIZON_MS_MAX || header.settle_ms > HORIZON_MS_MAX {
        return Err(format!("no run is longer than {HORIZON_MS_MAX} ms"));
    }
    Ok(header)
}

fn check_device(plan: &Plan, spec: &DeviceSpec) -> Result<(), String> {
    let number = spec.device;
    if number > DEVICE_MAX {
        return Err(format!("device {number} is above {DEVICE_MAX}"));
    }
    if plan.device(number).is_some() {
        return Err(format!("there are two devices {number}"));
    }
    if spec.group == Some(0) || spec.fetch_bytes == Some(0) {
        return Err("group and fetch_bytes are at least 1".to_owned());
    }
    match spec.twin_of.map(|other| (other, plan.device(other))) {
        None => Ok(()),
        Some((_, Some(other))) if other.role.is_honest() && spec.role == other.role => Ok(()),
        Some((other, _)) => Err(format!(
            "a twin needs an honest device {other} of its own role above this line"
        )),
    }
}

/// Every version must have the role: a device may come to use any.
fn check_duty(spec: &DeviceSpec, family: &Family) -> Result<(), String> {
    let Some(duty) = &spec.duty else {
        return Ok(());
    };
    match family
        .iter()
        .find(|schema| !schema.roles.contains_key(duty))
    {
        None => Ok(()),
        Some(schema) => Err(format!(
            "version {} of the schema has no role {duty:?}",
            schema.version
        )),
    }
}

fn check_act(act: &Act, family: &Family) -> Result<(), String> {
    match act {
        Act::Write { edits, .. } | Act::Update { edits } => check_edits(edits, family),
        Act::Publish { version } | Act::UseSchema { version } | Act::Install { version } => {
            match family.get(*version) {
                Some(_) => Ok(()),
                None => Err(format!("there is no version {version} of the schema")),
            }
        }
        Act::Review { .. } | Act::Network { .. } => Ok(()),
    }
}

/// Some version must have what an edit names.
fn check_edits(edits: &[EditSpec], family: &Family) -> Result<(), String> {
    if edits.is_empty() {
        return Err("a write needs at least one edit".to_owned());
    }
    for edit in edits {
        crdt_schema::ident::check_record_id(&edit.id).map_err(|error| error.to_string())?;
        for op in &edit.ops {
            let read = |schema: &Arc<Schema>| op.read(&edit.collection, schema);
            if family.iter().all(|schema| read(schema).is_err()) {
                read(family.first())?;
            }
        }
    }
    Ok(())
}

impl OpSpec {
    /// The op that it stands for.
    ///
    /// # Errors
    /// What the schema has against it.
    pub fn read(&self, collection: &str, schema: &Schema) -> Result<Op, String> {
        let known = schema
            .collection(collection)
            .ok_or_else(|| format!("there is no collection {collection:?}"))?;
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
