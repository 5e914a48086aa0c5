//! How what was written under one version of a schema is read under another.
//!
//! Nothing is ever rewritten. A document holds every write as it was made, with the version that it was
//! made under; a reader carries each standing write to its own version, forwards or backwards through
//! the steps between, and only then asks the policies. So:
//! - carrying and merging commute: what is carried is each write alone, and a policy is a function of
//!   the set of writes;
//! - reading under the version of a write is exact, and going back to an older version loses nothing;
//! - two devices that upgrade at the same time do nothing that could differ.
//!
//! Steps work on stored keys. A rename, a conversion and a remapping of choices keep the key, so later
//! writes supersede earlier ones across versions as within one. A split and a merge are a [`Join`] of
//! one key with two: `document::carry` says how writes of the three meet.
//!
//! A place in a chain of steps is the number of steps done; a version's place counts those that lead up
//! to it.
//!
//! What a lens does not know: documents, and how concurrent writes merge.

mod function;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use indexmap::IndexMap;

pub use function::{Function, Joint};
pub(crate) use function::{PARAMETRIC, names as function_names};

use crate::schema::Field;
use crate::value::Value;

/// The steps of one collection, by stored key. Filled in by [`crate::schema::Schema::parse`] and
/// [`crate::schema::Schema::reading`].
#[derive(Clone, Debug, PartialEq)]
pub struct Lens {
    /// The version that the collection is read under.
    pub(crate) reads: u32,
    /// The newest version whose steps are known.
    pub(crate) knows: u32,
    /// The version that each step leads to, ascending.
    pub(crate) ends: Vec<u32>,
    /// The steps that change values of a key, ascending by place.
    pub(crate) changes: BTreeMap<String, Vec<Change>>,
    /// Splits and merges, ascending by place. A key is a side of one at most.
    pub(crate) joins: Vec<Join>,
    /// Fields removed up to the version read under.
    pub(crate) removed: Vec<Removed>,
    /// What a record reads as in which nobody has written the key.
    pub(crate) assumed: BTreeMap<String, Assumed>,
    /// Every stored key that any known version has.
    pub(crate) lives: BTreeMap<String, KeyLife>,
}

impl Default for Lens {
    /// A first version, without steps.
    fn default() -> Self {
        Self {
            reads: 1,
            knows: 1,
            ends: Vec::new(),
            changes: BTreeMap::new(),
            joins: Vec::new(),
            removed: Vec::new(),
            assumed: BTreeMap::new(),
            lives: BTreeMap::new(),
        }
    }
}

/// A step that changes the values of one key.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Change {
    /// Its place.
    pub(crate) at: usize,
    pub(crate) how: How,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum How {
    Convert(Function),
    /// Old choice → new choice. Others stay.
    Remap(IndexMap<String, String>),
}

/// A step between one key and two.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Join {
    /// Its place.
    pub(crate) at: usize,
    pub(crate) whole: String,
    pub(crate) parts: [String; 2],
    pub(crate) with: Joint,
    /// Whether it is a split, so that the whole comes before the parts.
    pub(crate) splits: bool,
}

impl Join {
    /// The place next to the step where the whole is a field.
    pub(crate) fn whole_at(&self) -> usize {
        self.at + usize::from(!self.splits)
    }

    /// The place next to the step where the parts are fields.
    pub(crate) fn parts_at(&self) -> usize {
        self.at + usize::from(self.splits)
    }
}

/// A field that is none any more.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Removed {
    /// The step's place.
    pub(crate) at: usize,
    /// The first version that does not show it among the legacy values.
    pub(crate) until: Option<u32>,
    /// As it was.
    pub(crate) field: Field,
}

/// A value in place of none.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Assumed {
    /// The version that gives it.
    pub(crate) since: u32,
    /// In terms of the version read under.
    pub(crate) value: Value,
}

/// Where in the chain a stored key is a field.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct KeyLife {
    /// Its last name.
    pub(crate) name: String,
    /// The first place where it is one.
    pub(crate) born: usize,
    /// The first place after it where it is none.
    pub(crate) gone: Option<usize>,
}

/// A value could not be carried through a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stuck {
    /// The version that the step leads to.
    pub(crate) to: u32,
    /// The name of the function.
    pub(crate) with: &'static str,
}

impl Lens {
    /// The place of a version.
    pub(crate) fn place(&self, version: u32) -> usize {
        self.ends.partition_point(|&end| end <= version)
    }

    /// The version that the step at that place leads to.
    pub(crate) fn end(&self, at: usize) -> u32 {
        self.ends.get(at).copied().unwrap_or(self.reads)
    }

    /// Whether values of that key may read otherwise than they were written.
    pub(crate) fn touches(&self, key: &str) -> bool {
        self.changes.contains_key(key) || self.join_of(key).is_some()
    }

    /// The split or merge that the key is a side of.
    pub(crate) fn join_of(&self, key: &str) -> Option<&Join> {
        let of_this = |join: &&Join| join.whole == key || join.parts.iter().any(|part| part == key);
        self.joins.iter().find(of_this)
    }

    /// Carries a value of the key from one place to another.
    ///
    /// # Errors
    /// The first step that cannot carry it.
    pub(crate) fn carry(
        &self,
        key: &str,
        value: &Value,
        from: usize,
        to: usize,
    ) -> Result<Value, Stuck> {
        let changes = self.changes.get(key).map_or(&[][..], Vec::as_slice);
        let mut value = value.clone();
        if from <= to {
            for change in changes.iter().filter(|c| (from..to).contains(&c.at)) {
                value = change
                    .how
                    .forwards(&value)
                    .ok_or_else(|| self.stuck(change))?;
            }
        } else {
            let back = changes.iter().rev();
            for change in back.filter(|c| (to..from).contains(&c.at)) {
                value = change
                    .how
                    .backwards(&value)
                    .ok_or_else(|| self.stuck(change))?;
            }
        }
        Ok(value)
    }

    fn stuck(&self, change: &Change) -> Stuck {
        Stuck {
            to: self.end(change.at),
            with: match &change.how {
                How::Convert(function) => function.name(),
                How::Remap(_) => "remap",
            },
        }
    }

    /// The fields removed that the version read under still shows.
    pub(crate) fn legacy(&self) -> impl Iterator<Item = &Removed> {
        let shown = |removed: &&Removed| removed.until.is_none_or(|until| self.reads < until);
        self.removed.iter().filter(shown)
    }

    /// What the version read under lacks of a key that is not one of its fields, in plain words. `None`
    /// if it lacks nothing: the field is a thing of the past, or is read as other fields.
    pub(crate) fn lacks(&self, key: &str, written: u32) -> Option<String> {
        let Some(life) = self.lives.get(key) else {
            return Some(format!("{key} (written under version {written})"));
        };
        let here = self.place(self.reads);
        if life.gone.is_some_and(|gone| gone <= here) {
            return None;
        }
        if life.born <= here {
            return Some(format!("{} (of version {})", life.name, self.knows));
        }
        self.unborn(key, here)
    }

    /// The field, not yet one at that place, that the key is read as; `None` if it is read as fields that
    /// are there already.
    fn unborn(&self, key: &str, here: usize) -> Option<String> {
        let life = self.lives.get(key).filter(|life| life.born > here)?;
        let step = life.born - 1;
        let of_this = |join: &&Join| {
            let after = if join.splits {
                &join.parts[..]
            } else {
                std::slice::from_ref(&join.whole)
            };
            join.at == step && after.iter().any(|born| born == key)
        };
        match self.joins.iter().find(of_this) {
            None => Some(format!("{} (since version {})", life.name, self.end(step))),
            Some(join) if join.splits => self.unborn(&join.whole, here),
            Some(join) => join.parts.iter().find_map(|part| self.unborn(part, here)),
        }
    }
}

impl How {
    fn forwards(&self, value: &Value) -> Option<Value> {
        match self {
            Self::Convert(function) => function.forwards(value),
            Self::Remap(choices) => Some(match value {
                Value::Text(old) => Value::Text(choices.get(old).unwrap_or(old).clone()),
                other => other.clone(),
            }),
        }
    }

    fn backwards(&self, value: &Value) -> Option<Value> {
        match self {
            Self::Convert(function) => function.backwards(value),
            Self::Remap(choices) => Some(match value {
                Value::Text(new) => {
                    let first = choices.iter().find(|(_, to)| *to == new);
                    Value::Text(first.map_or(new, |(old, _)| old).clone())
                }
                other => other.clone(),
            }),
        }
    }
}
