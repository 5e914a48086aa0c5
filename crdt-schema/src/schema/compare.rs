//! What becomes of data, and of devices that have not upgraded yet, when one schema follows another.
//!
//! Fields are compared by their stored keys, so a rename is no loss. An error would lose or garble
//! data, or let devices differ; a warning changes what people see of data that is there.

mod around;

use super::{Collection, Field, FieldType, Schema};
use crate::lens::How;
use crate::nearest::listed;

/// One thing that the new schema changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// How bad it is.
    pub severity: Severity,
    /// The collection; `None` for the schema as a whole.
    pub collection: Option<String>,
    /// The field's name, the new one if it has one; `None` for the collection as a whole.
    pub field: Option<String>,
    /// What happens to the data, in plain words.
    pub data: String,
    /// What happens on devices with the old schema; may be empty.
    pub older: String,
}

/// How bad a change is. The worst comes first in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The new schema must not be used.
    Error,
    /// People should know before they use it.
    Warning,
    /// Nothing is lost and nothing surprises.
    Note,
}

impl Severity {
    /// Its name in messages and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// What changes from the old schema to the new one, the worst first, otherwise in the file's order.
/// Empty if nothing does.
pub fn compare(old: &Schema, new: &Schema) -> Vec<Change> {
    let mut changes = Changes::default();
    if old.name != new.name {
        let data = format!("`{}` is another data set than `{}`", new.name, old.name);
        changes.push(Severity::Error, data, "");
    }
    if let Some(to) = old.differs_from(new) {
        let data = format!(
            "the migration to version {to} is not the one that the old schema has; add a new migration instead"
        );
        changes.push(
            Severity::Error,
            data,
            "they would read the same data otherwise",
        );
    }
    for (name, before) in &old.collections {
        changes.collection = Some(name.clone());
        match new.collection(name) {
            None => changes.push(
                Severity::Error,
                "the collection is dropped and its records would not be shown any more; keep it",
                "they go on writing it",
            ),
            Some(after) => changes.of_collection(before, after, old.version),
        }
    }
    for name in new.collections.keys() {
        if !old.collections.contains_key(name) {
            changes.collection = Some(name.clone());
            changes.push(
                Severity::Note,
                "a new collection",
                "they keep and pass on its records, and do not show them",
            );
        }
    }
    changes.collection = None;
    changes.of_roles(old, new);
    let differs = !changes.found.is_empty();
    if new.version < old.version || (differs && new.version == old.version) {
        let data = format!(
            "the version is {} and must be raised to {}",
            new.version,
            old.version.saturating_add(1)
        );
        changes.push(Severity::Error, data, "they could not tell the two apart");
    }
    // The sort is stable.
    changes.found.sort_by_key(|change| change.severity);
    changes.found
}

/// What was found so far, and what it is about.
#[derive(Default)]
struct Changes {
    found: Vec<Change>,
    collection: Option<String>,
    field: Option<String>,
}

impl Changes {
    fn push(&mut self, severity: Severity, data: impl Into<String>, older: &str) {
        self.found.push(Change {
            severity,
            collection: self.collection.clone(),
            field: self.field.clone(),
            data: data.into(),
            older: older.to_owned(),
        });
    }

    fn of_collection(&mut self, old: &Collection, new: &Collection, version: u32) {
        if old.delete != new.delete {
            let data = format!(
                "deletes that race edits are judged by `{}` and no longer by `{}`, also those of the past",
                new.delete.name(),
                old.delete.name()
            );
            self.push(Severity::Warning, data, "they judge by the old policy");
        }
        self.of_clocks(old, new);
        self.of_rules(old, new);
        for before in old.fields.values() {
            match new.field_by_key(&before.key) {
                Some(after) => {
                    self.field = Some(after.name.clone());
                    self.of_field(before, after, (new, version));
                }
                None => {
                    self.field = Some(before.name.clone());
                    self.of_lost(before, new);
                }
            }
        }
        for field in new.fields.values() {
            if old.field_by_key(&field.key).is_none() {
                self.field = Some(field.name.clone());
                self.of_added(field, new);
            }
        }
        self.field = None;
    }

    fn of_lost(&mut self, before: &Field, new: &Collection) {
        let lens = &new.lens;
        if let Some(join) = lens.joins.iter().find(|join| {
            let ended = if join.splits {
                std::slice::from_ref(&join.whole)
            } else {
                &join.parts
            };
            ended.contains(&before.key)
        }) {
            let name = |key: &String| {
                lens.lives
                    .get(key)
                    .map_or_else(|| key.clone(), |l| l.name.clone())
            };
            let become_of = match join.splits {
                true => format!(
                    "is split into {} and {}",
                    name(&join.parts[0]),
                    name(&join.parts[1])
                ),
                false => format!("is merged into {}", name(&join.whole)),
            };
            self.push(
                Severity::Note,
                format!("{} {become_of}; what was written stays", before.name),
                "they go on with it and read what newer devices write",
            );
            return;
        }
        match lens.removed.iter().find(|r| r.field.key == before.key) {
            Some(removed) => {
                let end = removed.until.map_or_else(|| "for ever".to_owned(), |until| {
                    format!("until version {until}")
                });
                self.push(
                    Severity::Note,
                    format!("the field is removed; its last value is shown under `legacy` {end}"),
                    "they go on writing it",
                );
            }
            None => self.push(
                Severity::Error,
                format!(
                    "the field is dropped without a migration; add `{{ remove = \"{}.{}\", was = {{ … }} }}`, or \
                     rename it with a step",
                    new.name, before.name
                ),
                "they go on writing it",
            ),
        }
    }

    fn of_added(&mut self, field: &Field, new: &Collection) {
        const OLDER: &str =
            "they keep what is written, do not show it, and mark the record `partial`";
        let lens = &new.lens;
        let joined = lens.joins.iter().any(|join| match join.splits {
            true => join.parts.contains(&field.key),
            false => join.whole == field.key,
        });
        if joined {
            self.push(Severity::Note, "it takes over what was split or merged", "");
        } else if let Some(assumed) = lens.assumed.get(&field.key) {
            let data = format!("records without it read as {}", assumed.value);
            self.push(Severity::Note, data, OLDER);
        } else if field.required {
            self.push(
                Severity::Warning,
                "the new field is required and has no default, so old records lack it until somebody enters it",
                OLDER,
            );
        } else {
            self.push(
                Severity::Note,
                "a new field; old records do not have it",
                OLDER,
            );
        }
    }

    fn of_field(&mut self, old: &Field, new: &Field, (of, version): (&Collection, u32)) {
        if old.name != new.name {
            let data = format!("{} is renamed to {}; its values stay", old.name, new.name);
            self.push(Severity::Note, data, "they go on with the old name");
        }
        let place = of.lens.place(version);
        let steps = of.lens.changes.get(&old.key).map_or(&[][..], Vec::as_slice);
        let steps: Vec<&How> = steps
            .iter()
            .filter(|change| change.at >= place)
            .map(|change| &change.how)
            .collect();
        if self.of_type(&old.kind, &new.kind, &steps) {
            self.of_choices(&old.kind, &new.kind, &steps);
        }
        if old.merge != new.merge && old.kind.name() == new.kind.name() {
            let data = format!(
                "concurrent writes merge by `{}` and no longer by `{}`, also those of the past",
                new.merge.name(),
                old.merge.name()
            );
            self.push(
                Severity::Warning,
                data,
                "they merge by the old policy and may show another value",
            );
        }
        self.of_bounds(old, new, steps.is_empty());
        self.of_reference(old, new);
        if new.required && !old.required && !of.lens.assumed.contains_key(&new.key) {
            self.push(
                Severity::Warning,
                "the field is required now, so records that lack it need it at their next change",
                "they may leave it out",
            );
        }
        if (old.flags, old.trial) != (new.flags, new.trial) {
            self.push(
                Severity::Note,
                "its flags or its trial change",
                "they follow the old ones",
            );
        }
        if (old.provisional, old.priority) != (new.provisional, new.priority) {
            self.push(Severity::Note, "its reviews are shown otherwise", "");
        }
    }

    /// Returns whether the types fit, by themselves or through the steps.
    fn of_type(&mut self, old: &FieldType, new: &FieldType, steps: &[&How]) -> bool {
        let (was_set, was) = shape(old);
        let (is_set, is) = shape(new);
        let conversion = steps.iter().find_map(|how| match how {
            How::Convert(function) => Some(function),
            How::Remap(_) => None,
        });
        if let (FieldType::Ref { to: before }, FieldType::Ref { to: after }) = (old, new)
            && before != after
        {
            let data =
                format!("it refers to {after} and no longer to {before}; old ids may lead nowhere");
            self.push(
                Severity::Warning,
                data,
                "they look for the ids in the old collection",
            );
        }
        match conversion {
            None if (was_set, was) == (is_set, is) => true,
            Some(function) if was_set == is_set && function.types().0 == was => {
                self.push(
                    Severity::Note,
                    format!(
                        "values are converted with {}; what was written stays",
                        function.name()
                    ),
                    "they read new values converted back",
                );
                true
            }
            Some(function) => {
                let data = format!(
                    "`{}` takes a {}, and the field is a {was}",
                    function.name(),
                    function.types().0
                );
                self.push(Severity::Error, data, "");
                false
            }
            None => {
                let data = format!(
                    "the type changes from {} to {} without a `convert` step, so old values could not be read",
                    described(old),
                    described(new)
                );
                self.push(Severity::Error, data, "they could not read new values");
                false
            }
        }
    }

    fn of_choices(&mut self, old: &FieldType, new: &FieldType, steps: &[&How]) {
        let (Some(before), Some(after)) = (choices(old), choices(new)) else {
            return;
        };
        if steps.iter().any(|how| matches!(how, How::Remap(_))) {
            self.push(
                Severity::Note,
                "choices become others; what was written stays",
                "they read new choices as the old ones",
            );
        }
        let carried = |choice: &&String| {
            let start = Some((*choice).clone());
            let end = steps.iter().fold(start, |choice, how| match how {
                How::Remap(values) => choice.map(|c| values.get(&c).cloned().unwrap_or(c)),
                How::Convert(_) => None,
            });
            end.is_none_or(|choice| after.contains(&choice))
        };
        let lost: Vec<&str> = before
            .iter()
            .filter(|choice| !carried(choice))
            .map(String::as_str)
            .collect();
        if !lost.is_empty() {
            let data = format!(
                "{} no choice any more; records that have it open a review, unless a `remap` step says what it becomes",
                match lost.as_slice() {
                    [one] => format!("`{one}` is"),
                    many => format!("{} are", listed(many)),
                }
            );
            self.push(Severity::Warning, data, "they go on writing it");
        }
        let is_new = |choice: &&String| !before.contains(choice);
        if steps.is_empty() && after.iter().any(|choice| is_new(&choice)) {
            self.push(
                Severity::Note,
                "there are new choices",
                "they show them, and open a review on them",
            );
        }
    }

    /// Bounds of converted values are in other units and are not compared.
    fn of_bounds(&mut self, old: &Field, new: &Field, comparable: bool) {
        let least = |field: &Field| field.min.unwrap_or(f64::NEG_INFINITY);
        let greatest = |field: &Field| field.max.unwrap_or(f64::INFINITY);
        let tighter = least(new) > least(old) || greatest(new) < greatest(old);
        let wider = least(new) < least(old) || greatest(new) > greatest(old);
        if !comparable || !(tighter || wider) {
            return;
        }
        if tighter {
            self.push(
                Severity::Warning,
                "its bounds are tighter; records that lie outside open a review",
                "they go on taking values outside them",
            );
        } else {
            self.push(
                Severity::Note,
                "its bounds are wider",
                "they open a review on values outside the old ones",
            );
        }
    }
}

/// Whether it is a set, and the name of the type of its values.
fn shape(kind: &FieldType) -> (bool, &'static str) {
    match kind {
        FieldType::Set { of } => (true, of.name()),
        kind => (false, kind.name()),
    }
}

fn described(kind: &FieldType) -> String {
    match shape(kind) {
        (true, of) => format!("a set of {of}"),
        (false, name) => name.to_owned(),
    }
}

fn choices(kind: &FieldType) -> Option<&[String]> {
    match kind {
        FieldType::Choice { of } => Some(of),
        FieldType::Set { of } => choices(of),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(version: u32, fields: &str, migrations: &str) -> Schema {
        let text = format!(
            "schema = \"s\"\nversion = {version}\n[collections.c.fields]\n{fields}\n{migrations}"
        );
        Schema::parse(&text).unwrap_or_else(|errors| panic!("{errors}"))
    }

    /// What becomes of the fields under the next version.
    fn changes(old: &str, new: &str, steps: &str) -> Vec<(Severity, String)> {
        let migrations = format!("[[migrations]]\nto = 2\nsteps = [{steps}]");
        let found = compare(&schema(1, old, ""), &schema(2, new, &migrations));
        found
            .into_iter()
            .map(|change| (change.severity, change.data))
            .collect()
    }

    fn worst(old: &str, new: &str, steps: &str) -> Option<Severity> {
        changes(old, new, steps)
            .first()
            .map(|(severity, _)| *severity)
    }

    const TEXT: &str = "a = { type = \"text\" }";

    #[test]
    fn equal_schemas_have_no_changes_and_a_change_needs_a_new_version() {
        assert_eq!(compare(&schema(1, TEXT, ""), &schema(1, TEXT, "")), []);
        let more = format!("{TEXT}\nb = {{ type = \"text\" }}");

        let found = compare(&schema(1, TEXT, ""), &schema(1, &more, ""));

        assert_eq!(found[0].severity, Severity::Error);
        assert!(found[0].data.contains("must be raised to 2"), "{found:?}");
        assert_eq!(found[1].severity, Severity::Note);
    }

    #[test]
    fn a_field_dropped_or_retyped_without_a_migration_is_an_error() {
        let other = "b = { type = \"text\" }";
        assert_eq!(worst(TEXT, other, ""), Some(Severity::Error));
        assert_eq!(
            worst(TEXT, "a = { type = \"integer\" }", ""),
            Some(Severity::Error)
        );
        let wrong = "{ convert = \"c.a\", with = \"f_to_c\" }";
        assert_eq!(
            worst(TEXT, "a = { type = \"number\" }", wrong),
            Some(Severity::Error)
        );
        let counter = "a = { type = \"counter\" }";
        assert_eq!(
            worst(counter, "a = { type = \"integer\" }", ""),
            Some(Severity::Error)
        );
    }

    #[test]
    fn the_same_changes_with_a_migration_are_notes() {
        for (new, step) in [
            (
                "b = { type = \"text\" }",
                "{ rename = \"c.a\", as = \"b\" }",
            ),
            (
                "b = { type = \"text\" }",
                "{ remove = \"c.a\", was = { type = \"text\" } }, { add = \"c.b\" }",
            ),
            (
                "a = { type = \"integer\" }",
                "{ convert = \"c.a\", with = \"text_to_integer\" }",
            ),
            (
                "x = { type = \"text\" }\ny = { type = \"text\" }",
                "{ split = \"c.a\", into = [\"x\", \"y\"], with = \"first_space\" }",
            ),
        ] {
            assert_eq!(worst(TEXT, new, step), Some(Severity::Note), "{step}");
        }
    }

    #[test]
    fn what_people_will_see_otherwise_is_a_warning() {
        let choice = "a = { type = \"choice\", of = [\"x\", \"y\"] }";
        let fewer = "a = { type = \"choice\", of = [\"x\"] }";
        for (old, new) in [
            (TEXT, "a = { type = \"text\", merge = \"review\" }"),
            (TEXT, "a = { type = \"text\", max = 5 }"),
            (TEXT, "a = { type = \"text\", required = true }"),
            (
                TEXT,
                "a = { type = \"text\" }\nb = { type = \"text\", required = true }",
            ),
            (choice, fewer),
            (
                "a = { type = \"set\", of = \"text\" }",
                "a = { type = \"set\", of = \"text\", merge = \"remove-wins\" }",
            ),
        ] {
            assert_eq!(worst(old, new, ""), Some(Severity::Warning), "{new}");
        }
        let remap = "{ remap = \"c.a\", values = { y = \"x\" } }";
        assert_eq!(worst(choice, fewer, remap), Some(Severity::Note));
    }

    #[test]
    fn a_migration_that_was_in_use_may_not_change() {
        let step = |to: u32, name: &str| {
            format!("[[migrations]]\nto = {to}\nsteps = [{{ rename = \"c.{name}\", as = \"a\" }}]")
        };
        let old = schema(2, TEXT, &step(2, "x"));

        let changed = compare(&old, &schema(3, TEXT, &step(2, "y")));
        let gone = compare(&old, &schema(3, TEXT, ""));
        let inserted = compare(&schema(2, TEXT, ""), &schema(3, TEXT, &step(2, "x")));

        for found in [changed, gone, inserted] {
            assert_eq!(found[0].severity, Severity::Error, "{found:?}");
            assert!(
                found
                    .iter()
                    .any(|change| change.data.contains("migration to version 2")),
                "{found:?}"
            );
        }
    }

    #[test]
    fn another_data_set_and_a_dropped_collection_are_errors() {
        let mut other = schema(2, TEXT, "");
        other.name = "t".to_owned();
        assert_eq!(
            compare(&schema(1, TEXT, ""), &other)[0].severity,
            Severity::Error
        );
        let mut empty = schema(2, TEXT, "");
        empty.collections.clear();
        assert_eq!(
            compare(&schema(1, TEXT, ""), &empty)[0].severity,
            Severity::Error
        );
    }
}
