//! Reads `[[migrations]]`: each step's shape and words. Whether its names fit is [`super::chain`]'s.

use std::ops::Range;

use indexmap::IndexMap;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::field;
use super::keys::{Keys, check_name, integer, json, quoted, wrong_type};
use super::migration::Step;
use super::report::Report;
use crate::lens::{Function, Joint, PARAMETRIC, function_names};
use crate::nearest::{advice, listed};

/// Most migrations in a schema.
pub const MIGRATIONS_MAX: usize = 1000;

/// Most steps of one migration.
pub const STEPS_MAX: usize = 1000;

const VERBS: [&str; 7] = [
    "rename", "add", "remove", "convert", "remap", "split", "merge",
];

/// A step with its place in the file.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub(super) to: u32,
    pub(super) place: Range<usize>,
    pub(super) step: Step,
}

/// All steps, ascending by the versions that they lead to.
pub(super) fn read(
    keys: Keys<'_>,
    version: Option<u32>,
    collections: &[&str],
    report: &mut Report<'_>,
) -> Vec<Placed> {
    let Some((_, value)) = keys.get("migrations") else {
        return Vec::new();
    };
    let Some(tables) = value.get_ref().as_array() else {
        wrong_type("migrations", "tables `[[migrations]]`", value, report);
        return Vec::new();
    };
    if tables.len() > MIGRATIONS_MAX {
        let message = format!(
            "{} migrations, at most {MIGRATIONS_MAX} can be",
            tables.len()
        );
        report.error(value.span(), message);
        return Vec::new();
    }
    let mut steps: Vec<Placed> = Vec::new();
    let mut seen: Vec<u32> = Vec::new();
    for table in tables {
        let Some(inner) = table.get_ref().as_table() else {
            wrong_type("migrations", "tables `[[migrations]]`", table, report);
            continue;
        };
        let migration = Keys::read(inner, &["to", "steps"], report);
        let Some(to) = read_target(migration, table.span(), version, report) else {
            continue;
        };
        if seen.contains(&to) {
            let place = migration
                .get("to")
                .map_or_else(|| table.span(), |(_, v)| v.span());
            let message = format!("there is a migration to version {to} already");
            report.error_with_hint(
                place,
                message,
                "put all steps to one version into one migration",
            );
        }
        seen.push(to);
        steps.extend(read_steps(migration, to, collections, report));
    }
    // The sort is stable: the steps of one version stay in the file's order.
    steps.sort_by_key(|placed| placed.to);
    steps
}

fn read_target(
    keys: Keys<'_>,
    place: Range<usize>,
    version: Option<u32>,
    report: &mut Report<'_>,
) -> Option<u32> {
    let Some((_, value)) = keys.get("to") else {
        report.error_with_hint(
            place,
            "the migration does not say to which version it leads",
            "add `to = 2`",
        );
        return None;
    };
    if !value.get_ref().is_integer() {
        wrong_type("to", "a version from 2", value, report);
        return None;
    }
    let last = version?;
    let to = integer(value.get_ref()).and_then(|to| u32::try_from(to).ok());
    let to = to.filter(|to| (2..=last).contains(to));
    if to.is_none() {
        let hint = "raise `version` to the version that the last migration leads to";
        let message = format!("`to` must lie between 2 and `version`, which is {last}");
        report.error_with_hint(value.span(), message, hint);
    }
    to
}

fn read_steps(
    keys: Keys<'_>,
    to: u32,
    collections: &[&str],
    report: &mut Report<'_>,
) -> Vec<Placed> {
    let Some((_, value)) = keys.get("steps") else {
        return Vec::new();
    };
    let Some(items) = value.get_ref().as_array() else {
        wrong_type("steps", "a list of steps", value, report);
        return Vec::new();
    };
    if items.len() > STEPS_MAX {
        let message = format!("{} steps, at most {STEPS_MAX} can be", items.len());
        report.error(value.span(), message);
        return Vec::new();
    }
    let steps = items.iter().filter_map(|item| {
        let Some(table) = item.get_ref().as_table() else {
            wrong_type(
                "steps",
                "steps such as `{ add = \"patient.phone\" }`",
                item,
                report,
            );
            return None;
        };
        let step = Reader {
            place: item.span(),
            collections,
            report,
        }
        .read(table)?;
        let place = item.span();
        Some(Placed { to, place, step })
    });
    steps.collect()
}

/// Reads one step.
struct Reader<'r, 't, 's> {
    place: Range<usize>,
    collections: &'r [&'t str],
    report: &'r mut Report<'s>,
}

impl Reader<'_, '_, '_> {
    fn read(&mut self, table: &DeTable<'_>) -> Option<Step> {
        let mut verbs = VERBS
            .into_iter()
            .filter(|verb| table.keys().any(|key| key.get_ref().as_ref() == *verb));
        let (verb, other) = (verbs.next(), verbs.next());
        let Some(verb) = verb.filter(|_| other.is_none()) else {
            let message = "a step does one thing";
            let hint = format!("give it one of {}", listed(&VERBS));
            self.report
                .error_with_hint(self.place.clone(), message, hint);
            return None;
        };
        let known: &[&str] = match verb {
            "rename" => &["rename", "as"],
            "add" => &["add", "key", "default"],
            "remove" => &["remove", "was", "until"],
            "convert" => &["convert", "as", "with", "values"],
            "remap" => &["remap", "values"],
            "split" => &["split", "into", "with"],
            _ => &["merge", "as", "with"],
        };
        let keys = Keys::read(table, known, self.report);
        match verb {
            "rename" => self.rename(keys),
            "add" => self.add(keys),
            "remove" => self.remove(keys),
            "convert" => self.convert(keys),
            "remap" => self.remap(keys),
            "split" => self.split(keys),
            _ => self.merge(keys),
        }
    }

    fn rename(&mut self, keys: Keys<'_>) -> Option<Step> {
        let (collection, field) = self.path(keys, "rename")?;
        let name = self.name(keys, "as")?;
        Some(Step::Rename {
            collection,
            field,
            name,
        })
    }

    fn add(&mut self, keys: Keys<'_>) -> Option<Step> {
        let (collection, field) = self.path(keys, "add")?;
        let key = match keys.get("key") {
            None => None,
            Some(_) => Some(self.name(keys, "key")?),
        };
        let default = match keys.get("default").map(|(_, value)| json(value)) {
            None => None,
            Some(Ok(default)) => Some(default),
            Some(Err((place, reason))) => {
                self.report.error(place, format!("bad default: {reason}"));
                return None;
            }
        };
        Some(Step::Add {
            collection,
            field,
            key,
            default,
        })
    }

    fn remove(&mut self, keys: Keys<'_>) -> Option<Step> {
        let (collection, name) = self.path(keys, "remove")?;
        let Some((place, was)) = keys.get("was") else {
            let hint = "add `was = { type = \"text\" }` with all that the field's table said, so that its \
                        last value can be shown";
            return self.refuse("the step does not say what the field was", hint);
        };
        let spanned = Spanned::new(place, DeString::from(name.as_str()));
        let was = field::read(&spanned, was, self.collections, self.report)?;
        let until = match keys.get("until") {
            None => None,
            Some((_, value)) => {
                let until = integer(value.get_ref()).and_then(|until| u32::try_from(until).ok());
                if until.is_none() {
                    wrong_type("until", "a version of the schema", value, self.report);
                }
                Some(until?)
            }
        };
        Some(Step::Remove {
            collection,
            field: name,
            was: Box::new(was),
            until,
        })
    }

    fn convert(&mut self, keys: Keys<'_>) -> Option<Step> {
        let (collection, field) = self.path(keys, "convert")?;
        let name = match keys.get("as") {
            None => field.clone(),
            Some(_) => self.name(keys, "as")?,
        };
        let with = self.function(keys)?;
        Some(Step::Convert {
            collection,
            field,
            name,
            with,
        })
    }

    fn function(&mut self, keys: Keys<'_>) -> Option<Function> {
        let given = self.text(keys, "with", "f_to_c")?;
        let name = *given.get_ref();
        let values = keys.get("values");
        if let Some(function) = Function::plain(name) {
            if let Some((place, _)) = values {
                let message = format!("`values` does not apply to {}", quoted(name));
                self.report.error_with_hint(
                    place,
                    message,
                    format!("`values` is for {}", listed(&PARAMETRIC)),
                );
                return None;
            }
            return Some(function);
        }
        if !PARAMETRIC.contains(&name) {
            let message = format!("unknown function {}", quoted(name));
            self.report
                .error_with_hint(given.span(), message, advice(name, &function_names()));
            return None;
        }
        const HINT: &str = "add `values = { true = \"yes\", false = \"no\" }`";
        let values = self.pairs(keys, HINT)?;
        let (Some(yes), Some(no), 2) = (values.get("true"), values.get("false"), values.len())
        else {
            return self.refuse(
                "`values` names a choice for `true` and one for `false`",
                HINT,
            );
        };
        let (yes, no) = (yes.clone(), no.clone());
        Some(match name == PARAMETRIC[0] {
            true => Function::BoolToChoice { yes, no },
            false => Function::ChoiceToBool { yes, no },
        })
    }

    fn remap(&mut self, keys: Keys<'_>) -> Option<Step> {
        let (collection, field) = self.path(keys, "remap")?;
        let values = self.pairs(keys, "add `values = { open = \"new\" }`")?;
        Some(Step::Remap {
            collection,
            field,
            values,
        })
    }

    fn split(&mut self, keys: Keys<'_>) -> Option<Step> {
        const HINT: &str = "add `into = [\"given\", \"family\"]`";
        let (collection, field) = self.path(keys, "split")?;
        let into = self.two(keys, "into", HINT)?;
        let into = [self.checked(&into[0])?, self.checked(&into[1])?];
        let with = self.joint(keys, true)?;
        Some(Step::Split {
            collection,
            field,
            into,
            with,
        })
    }

    fn merge(&mut self, keys: Keys<'_>) -> Option<Step> {
        const HINT: &str = "write `merge = [\"patient.given\", \"patient.family\"]`";
        let fields = self.two(keys, "merge", HINT)?;
        let (collection, first) = self.divided(&fields[0])?;
        let (other, second) = self.divided(&fields[1])?;
        if collection != other {
            return self.refuse("the fields of two collections cannot be merged", HINT);
        }
        let name = self.name(keys, "as")?;
        let with = self.joint(keys, false)?;
        Some(Step::Merge {
            collection,
            fields: [first, second],
            name,
            with,
        })
    }

    fn joint(&mut self, keys: Keys<'_>, splits: bool) -> Option<Joint> {
        let name_of = |joint: Joint| {
            let (split, merge) = joint.names();
            if splits { split } else { merge }
        };
        let given = self.text(keys, "with", name_of(Joint::FirstSpace))?;
        let found = Joint::ALL
            .into_iter()
            .find(|&j| name_of(j) == *given.get_ref());
        if found.is_none() {
            let names = Joint::ALL.map(name_of);
            let message = format!("unknown function {}", quoted(given.get_ref()));
            self.report
                .error_with_hint(given.span(), message, advice(given.get_ref(), &names));
        }
        found
    }

    fn refuse<T>(&mut self, message: &str, hint: &str) -> Option<T> {
        self.report
            .error_with_hint(self.place.clone(), message, hint);
        None
    }

    fn text<'t>(&mut self, keys: Keys<'t>, key: &str, example: &str) -> Option<Spanned<&'t str>> {
        if keys.get(key).is_none() {
            let message = format!("the step has no `{key}`");
            return self.refuse(&message, &format!("add `{key} = \"{example}\"`"));
        }
        keys.text(key, self.report)
    }

    /// A name of a field or key.
    fn name(&mut self, keys: Keys<'_>, key: &str) -> Option<String> {
        let name = self.text(keys, key, "phone")?;
        self.checked(&name)
    }

    fn checked(&mut self, name: &Spanned<&str>) -> Option<String> {
        let name = Spanned::new(name.span(), DeString::from(*name.get_ref()));
        check_name("field name", &name, self.report).then(|| name.to_string())
    }

    /// `collection.field`
    fn path(&mut self, keys: Keys<'_>, key: &str) -> Option<(String, String)> {
        let path = self.text(keys, key, "patient.phone")?;
        self.divided(&path)
    }

    fn divided(&mut self, path: &Spanned<&str>) -> Option<(String, String)> {
        let Some((collection, field)) = path.get_ref().split_once('.') else {
            let message = format!("{} names no field", quoted(path.get_ref()));
            let hint = "write collection and field: `patient.phone`";
            self.report.error_with_hint(path.span(), message, hint);
            return None;
        };
        if !self.collections.contains(&collection) {
            let message = format!("there is no collection {}", quoted(collection));
            let hint = advice(collection, self.collections);
            self.report.error_with_hint(path.span(), message, hint);
            return None;
        }
        let field = self.checked(&Spanned::new(path.span(), field))?;
        Some((collection.to_owned(), field))
    }

    /// A list of two different strings.
    fn two<'t>(&mut self, keys: Keys<'t>, key: &str, hint: &str) -> Option<[Spanned<&'t str>; 2]> {
        let items = keys
            .get(key)
            .and_then(|(_, value)| value.get_ref().as_array());
        let texts: Option<Vec<Spanned<&str>>> = items.and_then(|items| {
            let text = |item: &'t Spanned<DeValue<'t>>| {
                Some(Spanned::new(item.span(), item.get_ref().as_str()?))
            };
            items.iter().map(text).collect()
        });
        let two: Option<[Spanned<&str>; 2]> = texts.and_then(|texts| texts.try_into().ok());
        match two {
            Some(two) if two[0].get_ref() != two[1].get_ref() => Some(two),
            _ => self.refuse(&format!("`{key}` names two fields"), hint),
        }
    }

    /// A table of strings.
    fn pairs(&mut self, keys: Keys<'_>, hint: &str) -> Option<IndexMap<String, String>> {
        let Some((_, value)) = keys.get("values") else {
            return self.refuse("the step has no `values`", hint);
        };
        let table = keys.table("values", self.report)?;
        if table.is_empty() || table.len() > VALUES_MAX {
            let message = format!("`values` takes between 1 and {VALUES_MAX} pairs");
            self.report.error_with_hint(value.span(), message, hint);
            return None;
        }
        let mut pairs = IndexMap::new();
        for (old, new) in table {
            let Some(text) = new.get_ref().as_str() else {
                wrong_type("values", "choices", new, self.report);
                return None;
            };
            pairs.insert(old.to_string(), text.to_owned());
        }
        Some(pairs)
    }
}

/// Most pairs of a remapping: as many as a field can have choices.
const VALUES_MAX: usize = 1000;
