//! Walks a form's questions and drafts the collections that they make.
//!
//! Groups are dissolved: their questions are fields of the record around them. Each repeat is a
//! collection of its own, whose records refer to the record that they belong to. What a form asks only
//! under a condition cannot be required of a record.

use std::fmt;

use crdt_schema::schema::{COLLECTIONS_MAX, FIELDS_MAX, Schema};

use super::constraint::{self, Measure};
use super::names::{Names, legal};
use super::question::{self, Answer, Kind, Lists};
use super::sheet::{Row, Workbook};
use super::write;

pub(super) const SURVEY: &str = "survey";
pub(super) const CHOICES: &str = "choices";

/// Something that is otherwise in the schema than in the form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) sheet: &'static str,
    pub(super) row: u32,
    pub(super) name: String,
    pub(super) reason: String,
}

impl Note {
    pub(super) fn new(
        sheet: &'static str,
        row: u32,
        name: &str,
        reason: impl Into<String>,
    ) -> Self {
        Self {
            sheet,
            row,
            name: name.to_owned(),
            reason: reason.into(),
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} row {}: {:?} {}",
            self.sheet, self.row, self.name, self.reason
        )
    }
}

/// A field to be.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) comments: Vec<String>,
    pub(super) kind: Kind,
    pub(super) required: bool,
    pub(super) default: Option<toml::Value>,
    pub(super) min: Option<f64>,
    pub(super) max: Option<f64>,
}

/// A collection to be.
#[derive(Debug, Default)]
pub(super) struct Collection {
    pub(super) name: String,
    pub(super) comments: Vec<String>,
    pub(super) fields: Vec<Field>,
    names: Names,
}

/// A schema to be.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) name: String,
    pub(super) title: String,
    pub(super) collections: Vec<Collection>,
    pub(super) notes: Vec<Note>,
}

/// An open group or repeat.
struct Open {
    /// The collection that its questions go to.
    collection: usize,
    is_conditional: bool,
    is_repeat: bool,
}

/// Drafts a schema; `stem` names it if the form does not.
pub(super) fn draft(workbook: &Workbook, stem: &str) -> Draft {
    let settings = workbook.settings.first().cloned().unwrap_or_default();
    let given = [settings.get("form_id"), settings.get("id_string"), stem];
    let given = given.into_iter().find(|name| !name.is_empty());
    let name = legal(given.unwrap_or_default(), "form");
    let mut notes = Vec::new();
    let lists = question::lists(&workbook.choices, &mut notes);
    let mut walk = Walk {
        draft: Draft {
            title: settings.translated("form_title").to_owned(),
            name: name.clone(),
            collections: Vec::new(),
            notes,
        },
        lists: &lists,
        names: Names::default(),
        open: Vec::new(),
    };
    walk.begin_collection(&name, None, String::new());
    for row in &workbook.survey {
        walk.row(row);
    }
    if !walk.open.is_empty() {
        let last = workbook.survey.last().map_or(0, |row| row.number);
        walk.note(last, "", "ends with a group or repeat that is not closed");
    }
    prune(&mut walk.draft.collections);
    walk.draft
}

/// Takes out collections without fields, and the references to them, until there are no more.
fn prune(collections: &mut Vec<Collection>) {
    while let Some(at) = collections
        .iter()
        .position(|collection| collection.fields.is_empty())
    {
        let gone = Kind::Ref(collections.remove(at).name);
        for collection in &mut *collections {
            collection.fields.retain(|field| field.kind != gone);
        }
    }
}

struct Walk<'l> {
    draft: Draft,
    lists: &'l Lists,
    names: Names,
    open: Vec<Open>,
}

impl Walk<'_> {
    fn note(&mut self, row: u32, name: &str, reason: impl Into<String>) {
        self.draft.notes.push(Note::new(SURVEY, row, name, reason));
    }

    /// The collection that questions go to at this point.
    fn here(&self) -> usize {
        self.open.last().map_or(0, |open| open.collection)
    }

    fn row(&mut self, row: &Row) {
        let type_text = row.get("type").to_lowercase();
        let words: Vec<&str> = type_text
            .split([' ', '_'])
            .filter(|word| !word.is_empty())
            .collect();
        match words.as_slice() {
            [] => {}
            ["begin", "group"] => self.begin_group(row),
            ["begin", "repeat"] => self.begin_repeat(row),
            ["end", what @ ("group" | "repeat")] => {
                let is_repeat = *what == "repeat";
                if self
                    .open
                    .pop()
                    .is_none_or(|open| open.is_repeat != is_repeat)
                {
                    self.note(
                        row.number,
                        &type_text,
                        "does not close what was opened last",
                    );
                }
            }
            _ => self.question(row),
        }
    }

    fn begin_group(&mut self, row: &Row) {
        let label = row.translated("label");
        let collection = self.here();
        if !label.is_empty() && self.draft.collections[collection].fields.is_empty() {
            self.draft.collections[collection]
                .comments
                .push(label.to_owned());
        }
        self.open.push(Open {
            collection,
            is_conditional: !row.get("relevant").is_empty(),
            is_repeat: false,
        });
    }

    fn begin_repeat(&mut self, row: &Row) {
        let parent = self.here();
        let label = row.translated("label").to_owned();
        let collection = if self.draft.collections.len() < COLLECTIONS_MAX {
            let wanted = row.get("name");
            self.begin_collection(wanted, Some(parent), label);
            let given = self.draft.collections[self.draft.collections.len() - 1]
                .name
                .clone();
            if given != wanted {
                self.note(row.number, wanted, format!("is the collection `{given}`"));
            }
            self.draft.collections.len() - 1
        } else {
            let reason =
                "is not a collection: there are too many; its questions join the record around it";
            self.note(row.number, row.get("name"), reason);
            parent
        };
        if !row.get("repeat_count").is_empty() {
            self.note(
                row.number,
                row.get("name"),
                "`repeat_count` is not carried over",
            );
        }
        self.open.push(Open {
            collection,
            is_conditional: false,
            is_repeat: true,
        });
    }

    /// Begins a collection; one that belongs to a parent refers to it.
    fn begin_collection(&mut self, wanted: &str, parent: Option<usize>, label: String) {
        let mut collection = Collection {
            name: self.names.take(wanted, "repeat"),
            comments: if label.is_empty() {
                Vec::new()
            } else {
                vec![label]
            },
            ..Collection::default()
        };
        if let Some(parent) = parent {
            let parent = self.draft.collections[parent].name.clone();
            collection.fields.push(Field {
                name: collection.names.take(&parent, "parent"),
                comments: vec![format!("The {parent} that it belongs to.")],
                kind: Kind::Ref(parent),
                required: true,
                default: None,
                min: None,
                max: None,
            });
        }
        self.draft.collections.push(collection);
    }

    fn question(&mut self, row: &Row) {
        let (name, label) = (row.get("name"), row.translated("label"));
        let (answer, list) = question::answer(row.get("type"), self.lists);
        let (kind, note) = match answer {
            Answer::LeftOut(reason) => return self.note(row.number, name, reason),
            Answer::Words => {
                let collection = self.here();
                if let Some(field) = self.draft.collections[collection].fields.last_mut()
                    && !label.is_empty()
                {
                    field
                        .comments
                        .push(format!("After it the form says: {label}"));
                }
                return;
            }
            Answer::Place => return self.place(row),
            Answer::Field(kind, note) => (kind, note),
        };
        let mut comments = Vec::new();
        comments.extend((!label.is_empty()).then(|| label.to_owned()));
        comments.extend(list.and_then(|list| question::legend(&list, self.lists)));
        let calculation = row.get("calculation");
        comments.extend((!calculation.is_empty()).then(|| format!("Calculated: {calculation}")));
        let mut field = self.field(row, name, kind, comments);
        if let Some(reason) = note {
            self.note(row.number, name, reason);
        }
        self.conditions(row, &mut field);
        self.bounds(row, &mut field);
        self.default(row, &mut field);
        self.push(row, field);
    }

    /// A field with a name of its own.
    fn field(&mut self, row: &Row, wanted: &str, kind: Kind, comments: Vec<String>) -> Field {
        let collection = self.here();
        let name = self.draft.collections[collection]
            .names
            .take(wanted, "field");
        if name != wanted {
            self.note(row.number, wanted, format!("is the field `{name}`"));
        }
        Field {
            name,
            comments,
            kind,
            required: false,
            default: None,
            min: None,
            max: None,
        }
    }

    fn push(&mut self, row: &Row, field: Field) {
        let collection = self.here();
        let fields = &mut self.draft.collections[collection].fields;
        if fields.len() < FIELDS_MAX {
            fields.push(field);
        } else {
            let reason = format!("left out: a collection has at most {FIELDS_MAX} fields");
            self.note(row.number, &field.name, reason);
        }
    }

    /// A point on the map is two numbers.
    fn place(&mut self, row: &Row) {
        let name = row.get("name");
        for (suffix, most) in [("lat", 90.0), ("lon", 180.0)] {
            let comments = vec![row.translated("label").to_owned()];
            let wanted = format!("{}_{suffix}", legal(name, "place"));
            let mut field = self.field(row, &wanted, Kind::Plain("number"), comments);
            (field.min, field.max) = (Some(-most), Some(most));
            self.conditions(row, &mut field);
            self.push(row, field);
        }
        self.note(
            row.number,
            name,
            "is two numbers; height and accuracy are not carried over",
        );
    }

    /// Whether a record must have it.
    fn conditions(&mut self, row: &Row, field: &mut Field) {
        let name = row.get("name");
        let condition = row.get("relevant");
        let is_conditional =
            !condition.is_empty() || self.open.iter().any(|open| open.is_conditional);
        if !condition.is_empty() {
            self.note(
                row.number,
                name,
                format!("is asked only if {condition}; a schema knows no conditions"),
            );
        }
        let text = row.get("required").to_lowercase();
        if !matches!(text.as_str(), "yes" | "true" | "true()" | "1") {
            if !matches!(text.as_str(), "" | "no" | "false" | "false()" | "0") {
                self.note(
                    row.number,
                    name,
                    "is required under a condition; here it never is",
                );
            }
        } else if matches!(field.kind, Kind::Set(_)) {
            self.note(row.number, name, "is required in the form; a set never is");
        } else if is_conditional {
            self.note(
                row.number,
                name,
                "is not required, because it is asked under a condition",
            );
        } else {
            field.required = true;
            if field.kind == Kind::Plain("text") {
                field.min = Some(1.0);
            }
        }
    }

    fn bounds(&mut self, row: &Row, field: &mut Field) {
        let measure = match field.kind {
            Kind::Plain("integer") => Some(Measure::Whole),
            Kind::Plain("number") => Some(Measure::Decimal),
            Kind::Plain("text") => Some(Measure::Length),
            _ => None,
        };
        let text = row.get("constraint");
        let rest = match measure {
            Some(measure) => {
                let bounds = constraint::read(text, measure);
                field.min = bounds.min.or(field.min);
                field.max = bounds.max;
                bounds.rest
            }
            None if text.is_empty() => Vec::new(),
            None => vec![text.to_owned()],
        };
        if field.min.zip(field.max).is_some_and(|(min, max)| min > max) {
            (field.min, field.max) = (None, None);
            self.note(
                row.number,
                row.get("name"),
                "has bounds that no value keeps; they are left out",
            );
        }
        for part in rest {
            self.note(
                row.number,
                row.get("name"),
                format!("its constraint {part} is not carried over"),
            );
        }
    }

    /// The default, if the field takes it as it stands.
    fn default(&mut self, row: &Row, field: &mut Field) {
        let text = row.get("default");
        if text.is_empty() {
            return;
        }
        let value = match field.kind {
            Kind::Plain("integer") => text.parse().ok().map(toml::Value::Integer),
            Kind::Plain("number") => text.parse().ok().map(toml::Value::Float),
            Kind::Plain("bool") => text.parse().ok().map(toml::Value::Boolean),
            Kind::Set(_) => None,
            _ if text.contains("${") || text.contains("()") => None,
            _ => Some(toml::Value::String(text.to_owned())),
        };
        let trial = Field {
            default: value,
            ..field.clone()
        };
        if trial.default.is_some() && Schema::parse(&write::alone(&trial)).is_ok() {
            *field = trial;
        } else {
            self.note(
                row.number,
                row.get("name"),
                format!("its default {text:?} is not carried over"),
            );
        }
    }
}
