//! From the names in a schema file to stored keys and lenses: walks one collection's steps backwards,
//! from its fields as they are to those of version 1.
//!
//! A stored key is a field's name at its birth: in version 1, or after the step that added, split or
//! merged it. So files need not name keys. A key of its own is needed only by a field that takes the
//! name of one that is gone: `{ add = "patient.tel", key = "tel_2" }`.

use std::collections::BTreeMap;
use std::ops::Range;

use indexmap::IndexMap;

use super::keys::quoted;
use super::migration::Step;
use super::report::Report;
use super::steps::Placed;
use super::{Field, FieldType, check_value, integer_from_json, typed};
use crate::lens::{Assumed, Change, Function, How, Join, Joint, KeyLife, Lens, Removed};
use crate::nearest::advice;
use crate::value::Value;

/// A field on its way back to its birth.
#[derive(Debug)]
struct Trace {
    /// Its last name.
    name: String,
    /// The stored key, once it is known.
    key: Option<String>,
    /// The key that its table names.
    given: Option<(String, Range<usize>)>,
    /// Whether it has had another name.
    renamed: bool,
    set: bool,
    type_name: &'static str,
    /// Its choices, until a step changes them.
    choices: Option<Vec<String>>,
    /// Whether a split or merge ends it.
    joined: bool,
    /// Whether a step changes its values later.
    changed: bool,
    born: usize,
    gone: Option<usize>,
}

/// Where the fields of a collection stand in the file.
pub(super) struct Fields<'a> {
    /// The fields in the file's order, by name; their keys are yet to be found.
    pub(super) fields: &'a mut IndexMap<String, Field>,
    /// The places of their names.
    pub(super) names: &'a BTreeMap<String, Range<usize>>,
    /// The keys that they name, with their places.
    pub(super) keys: &'a BTreeMap<String, (String, Range<usize>)>,
}

/// Gives every field its stored key, and builds the lens of the collection.
pub(super) fn link(
    collection: &str,
    version: u32,
    steps: &[&Placed],
    fields: Fields<'_>,
    report: &mut Report<'_>,
) -> Lens {
    let mut walk = Walk {
        collection,
        traces: Vec::new(),
        live: BTreeMap::new(),
        lens: Lens {
            reads: version,
            knows: version,
            ends: steps.iter().map(|placed| placed.to).collect(),
            ..Lens::default()
        },
        notes: Vec::new(),
        report,
    };
    for (name, field) in fields.fields.iter() {
        let given = fields.keys.get(name).cloned();
        walk.enter(name, field, given, None);
    }
    for (at, placed) in steps.iter().enumerate().rev() {
        walk.step_back(at, placed, fields.fields);
    }
    walk.finish(fields)
}

/// What is known of a step by traces, until the keys are.
enum Note {
    Change(usize, usize, How),
    Join {
        at: usize,
        whole: usize,
        parts: [usize; 2],
        with: Joint,
        splits: bool,
    },
    Remove {
        at: usize,
        trace: usize,
        field: Box<Field>,
        until: Option<u32>,
    },
    Assume(Assumption),
}

/// The default of an `add` step, in terms of the version that it leads to.
struct Assumption {
    at: usize,
    trace: usize,
    to: u32,
    value: Value,
    place: Range<usize>,
}

struct Walk<'w, 's> {
    collection: &'w str,
    traces: Vec<Trace>,
    /// The fields at the present place, by their names there.
    live: BTreeMap<String, usize>,
    lens: Lens,
    notes: Vec<Note>,
    report: &'w mut Report<'s>,
}

impl Walk<'_, '_> {
    fn enter(
        &mut self,
        name: &str,
        field: &Field,
        given: Option<(String, Range<usize>)>,
        gone: Option<usize>,
    ) -> usize {
        let (set, kind) = match &field.kind {
            FieldType::Set { of } => (true, of.as_ref()),
            kind => (false, kind),
        };
        let choices = match kind {
            FieldType::Choice { of } => Some(of.clone()),
            _ => None,
        };
        self.push(Trace {
            name: name.to_owned(),
            key: None,
            given,
            renamed: false,
            set,
            type_name: kind.name(),
            choices,
            joined: false,
            changed: false,
            born: 0,
            gone,
        })
    }

    fn push(&mut self, trace: Trace) -> usize {
        let number = self.traces.len();
        self.live.insert(trace.name.clone(), number);
        self.traces.push(trace);
        number
    }

    /// A text that a split or merge has ended.
    fn enter_text(&mut self, name: &str, gone: usize) -> usize {
        self.push(Trace {
            name: name.to_owned(),
            key: None,
            given: None,
            renamed: false,
            set: false,
            type_name: "text",
            choices: None,
            joined: true,
            changed: false,
            born: 0,
            gone: Some(gone),
        })
    }

    fn step_back(&mut self, at: usize, placed: &Placed, fields: &IndexMap<String, Field>) {
        match &placed.step {
            Step::Rename { field, name, .. } => {
                self.rename_back(placed, field, name);
            }
            Step::Add {
                field,
                key,
                default,
                ..
            } => self.unborn(at, placed, (field, key.as_ref()), default.as_ref(), fields),
            Step::Remove {
                field, was, until, ..
            } => self.unremove(at, placed, (field, was), *until),
            Step::Convert {
                field, name, with, ..
            } => self.convert_back(at, placed, (field, name), with),
            Step::Remap { field, values, .. } => self.remap_back(at, placed, field, values),
            Step::Split {
                field, into, with, ..
            } => {
                let parts = into.each_ref().map(|part| self.end_text(at, placed, part));
                if let ([Some(a), Some(b)], true) = (parts, self.is_free(placed, field)) {
                    let whole = self.enter_text(field, at + 1);
                    self.join(at, whole, [a, b], *with, true);
                }
            }
            Step::Merge {
                fields, name, with, ..
            } => {
                let Some(whole) = self.end_text(at, placed, name) else {
                    return;
                };
                if fields.iter().all(|field| self.is_free(placed, field)) {
                    let parts = fields
                        .each_ref()
                        .map(|field| self.enter_text(field, at + 1));
                    self.join(at, whole, parts, *with, false);
                }
            }
        }
    }

    fn unremove(
        &mut self,
        at: usize,
        placed: &Placed,
        (name, was): (&str, &Field),
        until: Option<u32>,
    ) {
        if !self.is_free(placed, name) {
            return;
        }
        // Without a `key` in its table, a field that is read by itself has its name for one.
        let given = (was.key != name).then(|| (was.key.clone(), placed.place.clone()));
        let trace = self.enter(name, was, given, Some(at + 1));
        self.notes.push(Note::Remove {
            at,
            trace,
            field: Box::new(was.clone()),
            until,
        });
    }

    fn convert_back(
        &mut self,
        at: usize,
        placed: &Placed,
        (before, after): (&str, &str),
        with: &Function,
    ) {
        let Some(number) = self.rename_back(placed, before, after) else {
            return;
        };
        let (takes, gives) = with.types();
        let trace = &mut self.traces[number];
        if trace.type_name != gives {
            let message = format!(
                "`{}` gives a {gives}, and {} is a {} in version {}",
                with.name(),
                quoted(after),
                trace.type_name,
                placed.to
            );
            self.report.error(placed.place.clone(), message);
        }
        trace.type_name = takes;
        trace.choices = None;
        trace.changed = true;
        self.notes
            .push(Note::Change(at, number, How::Convert(with.clone())));
    }

    fn join(&mut self, at: usize, whole: usize, parts: [usize; 2], with: Joint, splits: bool) {
        self.notes.push(Note::Join {
            at,
            whole,
            parts,
            with,
            splits,
        });
    }

    /// The field of that name after the step.
    fn find(&mut self, placed: &Placed, name: &str) -> Option<usize> {
        let found = self.live.get(name).copied();
        if found.is_none() {
            let names: Vec<&str> = self.live.keys().map(String::as_str).collect();
            let message = format!(
                "{} has no field {} in version {}",
                self.collection,
                quoted(name),
                placed.to
            );
            let hint = advice(name, &names);
            self.report
                .error_with_hint(placed.place.clone(), message, hint);
        }
        found
    }

    /// Whether no field has that name after the step that ended one of that name.
    fn is_free(&mut self, placed: &Placed, name: &str) -> bool {
        let free = !self.live.contains_key(name);
        if !free {
            let message = format!(
                "{} still has a field {} in version {}",
                self.collection,
                quoted(name),
                placed.to
            );
            let hint =
                "take the field out of the table of fields, or the step out of the migration";
            self.report
                .error_with_hint(placed.place.clone(), message, hint);
        }
        free
    }

    fn rename_back(&mut self, placed: &Placed, before: &str, after: &str) -> Option<usize> {
        let number = self.find(placed, after)?;
        if before != after {
            if !self.is_free(placed, before) {
                return None;
            }
            self.live.remove(after);
            self.live.insert(before.to_owned(), number);
            self.traces[number].renamed = true;
        }
        Some(number)
    }

    fn unborn(
        &mut self,
        at: usize,
        placed: &Placed,
        (name, key): (&String, Option<&String>),
        default: Option<&serde_json::Value>,
        fields: &IndexMap<String, Field>,
    ) {
        let Some(number) = self.find(placed, name) else {
            return;
        };
        self.live.remove(name);
        self.traces[number].born = at + 1;
        self.settle(number, key.unwrap_or(name), key.is_some());
        let Some(default) = default else {
            return;
        };
        let trace = &self.traces[number];
        let field = fields.get(&trace.name).filter(|_| trace.gone.is_none());
        let value = match field {
            _ if trace.set || trace.type_name == "counter" => Err(format!(
                "a {} that nobody has written is empty",
                if trace.set { "set" } else { "counter" }
            )),
            Some(field) if !trace.changed => {
                typed::value_from_json(field, default).map_err(|error| error.message)
            }
            _ => loose(trace.type_name, default)
                .ok_or_else(|| format!("a {} is needed", trace.type_name)),
        };
        match value {
            Ok(value) => self.notes.push(Note::Assume(Assumption {
                at,
                trace: number,
                to: placed.to,
                value,
                place: placed.place.clone(),
            })),
            Err(message) => self
                .report
                .error(placed.place.clone(), format!("bad default: {message}")),
        }
    }

    fn remap_back(
        &mut self,
        at: usize,
        placed: &Placed,
        field: &str,
        values: &IndexMap<String, String>,
    ) {
        let Some(number) = self.find(placed, field) else {
            return;
        };
        let trace = &mut self.traces[number];
        if trace.type_name != "choice" {
            let message = format!(
                "{} is a {}; only choices and sets of choices can be remapped",
                quoted(field),
                trace.type_name
            );
            self.report.error(placed.place.clone(), message);
            return;
        }
        if let Some(choices) = trace.choices.take() {
            let stray = values.values().find(|new| !choices.contains(new));
            if let Some(stray) = stray {
                let names: Vec<&str> = choices.iter().map(String::as_str).collect();
                let message = format!("{} is not a choice of {}", quoted(stray), quoted(field));
                let hint = advice(stray, &names);
                self.report
                    .error_with_hint(placed.place.clone(), message, hint);
            }
        }
        trace.changed = true;
        self.notes
            .push(Note::Change(at, number, How::Remap(values.clone())));
    }

    /// A text that a split or merge gives, which is none before it.
    fn end_text(&mut self, at: usize, placed: &Placed, name: &str) -> Option<usize> {
        let number = self.find(placed, name)?;
        let trace = &mut self.traces[number];
        if trace.type_name != "text" || trace.set {
            let message = format!("{} must be a text to be split or merged", quoted(name));
            self.report.error(placed.place.clone(), message);
            return None;
        }
        if trace.joined {
            let message = format!("{} is split or merged a second time", quoted(name));
            let hint = "a field can be split or merged once; remove it and add a new one";
            self.report
                .error_with_hint(placed.place.clone(), message, hint);
            return None;
        }
        trace.born = at + 1;
        self.live.remove(name);
        self.settle(number, name, false);
        Some(number)
    }

    /// Decides on a stored key: the one that the step or the table names, or the name at birth.
    fn settle(&mut self, number: usize, birth: &str, by_step: bool) {
        let trace = &mut self.traces[number];
        let mut key = birth.to_owned();
        if let Some((given, place)) = trace.given.take() {
            if given == key || !(trace.renamed || by_step) {
                key = given;
            } else {
                let message = format!(
                    "{} has the stored key `{key}` from its steps, not {}",
                    quoted(&trace.name),
                    quoted(&given)
                );
                let hint =
                    "leave `key` out; to choose one for a new field, write it in its `add` step";
                self.report.error_with_hint(place, message, hint);
            }
        }
        trace.key = Some(key);
    }

    fn finish(mut self, fields: Fields<'_>) -> Lens {
        for (name, number) in std::mem::take(&mut self.live) {
            self.settle(number, &name, false);
        }
        let mut owners: BTreeMap<String, usize> = BTreeMap::new();
        let keys: Vec<String> = self
            .traces
            .iter_mut()
            .map(|trace| trace.key.take().unwrap_or_default())
            .collect();
        for (number, key) in keys.iter().enumerate() {
            let trace = &self.traces[number];
            let life = KeyLife {
                name: trace.name.clone(),
                born: trace.born,
                gone: trace.gone,
            };
            self.lens.lives.insert(key.clone(), life);
            if let Some(other) = owners.insert(key.clone(), number) {
                self.clash(other, number, key, &fields);
            }
        }
        for (field, key) in fields.fields.values_mut().zip(&keys) {
            field.key.clone_from(key);
        }
        let mut assumptions = Vec::new();
        for note in std::mem::take(&mut self.notes).into_iter().rev() {
            match note {
                Note::Assume(assumption) => assumptions.push(assumption),
                other => self.write_down(other, &keys),
            }
        }
        for assumption in assumptions {
            let key = &keys[assumption.trace];
            let field = fields.fields.values().find(|field| field.key == *key);
            if let Some(field) = field {
                self.assume(assumption, field);
            }
        }
        self.lens
    }

    /// Current fields come first among the traces, in the file's order, so the later of two that clash
    /// is a current one only if both are.
    fn clash(&mut self, first: usize, second: usize, key: &str, fields: &Fields<'_>) {
        let both = self.traces[second].gone.is_none();
        let at = if both { second } else { first };
        let (name, other) = (
            &self.traces[at].name,
            &self.traces[first + second - at].name,
        );
        let given = fields.keys.get(name).map(|(_, place)| place.clone());
        let place = given.or_else(|| fields.names.get(name).cloned());
        let (message, hint) = match both {
            true => (
                format!("field `{other}` has the stored key `{key}` already"),
                "give every field of a collection a `key` of its own".to_owned(),
            ),
            false => (
                format!("a field that is gone has the stored key `{key}` for ever"),
                format!(
                    "give the new one another: `{{ add = \"{}.…\", key = \"{key}_2\" }}`",
                    self.collection
                ),
            ),
        };
        self.report
            .error_with_hint(place.unwrap_or(0..0), message, hint);
    }

    fn write_down(&mut self, note: Note, keys: &[String]) {
        match note {
            Note::Change(at, trace, how) => {
                let changes = self.lens.changes.entry(keys[trace].clone()).or_default();
                changes.push(Change { at, how });
            }
            Note::Join {
                at,
                whole,
                parts,
                with,
                splits,
            } => self.lens.joins.push(Join {
                at,
                whole: keys[whole].clone(),
                parts: parts.map(|part| keys[part].clone()),
                with,
                splits,
            }),
            Note::Remove {
                at,
                trace,
                field,
                until,
            } => {
                let key = keys[trace].clone();
                self.lens.removed.push(Removed {
                    at,
                    until,
                    field: Field { key, ..*field },
                });
            }
            Note::Assume(_) => {}
        }
    }

    /// Keeps what a record reads as in which nobody has written the field, in today's terms.
    fn assume(&mut self, assumption: Assumption, field: &Field) {
        let Assumption {
            at,
            to,
            value,
            place,
            ..
        } = assumption;
        let carried = self
            .lens
            .carry(&field.key, &value, at + 1, self.lens.ends.len());
        let wrong = match &carried {
            Ok(value) => check_value(field, value).err().map(|error| error.message),
            Err(stuck) => Some(format!(
                "the migration to version {} cannot carry it",
                stuck.to
            )),
        };
        if let Some(wrong) = wrong {
            self.report.error(place, format!("bad default: {wrong}"));
        }
        if let Ok(value) = carried {
            let assumed = Assumed { since: to, value };
            self.lens.assumed.insert(field.key.clone(), assumed);
        }
    }
}

/// A default in terms of a version whose field is not in the file.
fn loose(type_name: &str, json: &serde_json::Value) -> Option<Value> {
    match type_name {
        "integer" => integer_from_json(json).map(Value::Integer),
        "number" => json.as_f64().and_then(Value::number),
        "bool" => json.as_bool().map(Value::Bool),
        "json" => Some(Value::Json(json.to_string())),
        _ => json.as_str().map(|text| Value::Text(text.to_owned())),
    }
}
