//! What changes around the values: what deletions mean, which questions are asked, and who answers them.
//!
//! All of it is derived on read, so a change of it holds for the past as well, and devices on the old
//! schema go on by the old one.

use super::{Changes, Severity};
use crate::schema::{Collection, Field, Schema};

impl Changes {
    /// What the deletion of the record referred to means.
    pub(super) fn of_reference(&mut self, old: &Field, new: &Field) {
        if new.refers_to().is_none() || old.on_delete == new.on_delete {
            return;
        }
        let data = format!(
            "deletions of what it refers to mean `{}` and no longer `{}`, also those of the past",
            new.on_delete.name(),
            old.on_delete.name()
        );
        let older = "they go on by the old one and may show another record as deleted";
        self.push(Severity::Warning, data, older);
    }

    pub(super) fn of_clocks(&mut self, old: &Collection, new: &Collection) {
        let (before, after) = (old.clock_bound_days, new.clock_bound_days);
        if before != after {
            let data = format!(
                "clocks may lie {after} days apart without a review and no longer {before}, also those of the past"
            );
            self.push(Severity::Note, data, "they ask by the old bound");
        }
    }

    pub(super) fn of_rules(&mut self, old: &Collection, new: &Collection) {
        let named = |of: &Collection, name: &str| of.rules.iter().any(|rule| rule.name == name);
        for rule in &new.rules {
            let before = old.rules.iter().find(|before| before.name == rule.name);
            let Some(before) = before else {
                let data = format!(
                    "a new rule; records that fulfil `{}` open a review",
                    rule.name
                );
                self.push(Severity::Note, data, "they do not ask");
                continue;
            };
            if before.condition != rule.condition {
                let data = format!(
                    "the rule `{}` has another condition; what people let stand under the old one stays so",
                    rule.name
                );
                self.push(Severity::Note, data, "they ask by the old one");
            }
            if before.role != rule.role {
                let data = format!("another role answers the rule `{}`", rule.name);
                self.push(Severity::Note, data, "they let the old one answer");
            }
        }
        for rule in old.rules.iter().filter(|rule| !named(new, &rule.name)) {
            let data = format!(
                "the rule `{}` is gone, and its open reviews with it",
                rule.name
            );
            self.push(Severity::Note, data, "they go on asking");
        }
    }

    pub(super) fn of_roles(&mut self, old: &Schema, new: &Schema) {
        if old.roles == new.roles {
            return;
        }
        let older = "they go by the old roles";
        let nobody = |schema: &Schema| {
            let mut roles = schema.roles.keys();
            !schema.may_publish(None) && !roles.any(|role| schema.may_publish(Some(role)))
        };
        if nobody(new) && !nobody(old) {
            let data = "no role may publish a schema any more, so nobody can undo this; give one `schema = true`";
            self.push(Severity::Warning, data, older);
        }
        let gone = old
            .roles
            .keys()
            .filter(|role| !new.roles.contains_key(*role));
        let gone: Vec<String> = gone.map(|role| format!("`{role}`")).collect();
        match (gone.as_slice(), new.roles.is_empty(), old.roles.is_empty()) {
            (_, true, _) => {
                let data = "there are no roles any more, so every device may answer and publish";
                self.push(Severity::Warning, data, older);
            }
            (_, _, true) => {
                let data =
                    "there are roles now, so a device without one may neither answer nor publish";
                self.push(Severity::Warning, data, older);
            }
            ([], ..) => self.push(Severity::Note, "the roles may do other things", older),
            (gone, ..) => {
                let data = format!(
                    "devices with the role {} may neither answer nor publish any more",
                    gone.join(" or ")
                );
                self.push(Severity::Warning, data, older);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::schema::{Schema, Severity, compare};

    const BASE: &str = "[collections.place.fields]\nname = { type = \"text\" }\n\
        [collections.visit.fields]\nn = { type = \"integer\" }\n\
        at = { type = \"ref\", to = \"place\" }\n";

    fn schema(version: u32, top: &str, rest: &str) -> Schema {
        let text = format!("schema = \"s\"\nversion = {version}\n{top}\n{rest}");
        Schema::parse(&text).unwrap_or_else(|errors| panic!("{errors}"))
    }

    /// The severities and words of what changes.
    fn changes(old: (&str, &str), new: (&str, &str)) -> Vec<(Severity, String)> {
        let found = compare(&schema(1, old.0, old.1), &schema(2, new.0, new.1));
        found
            .into_iter()
            .map(|change| (change.severity, change.data))
            .collect()
    }

    fn assert_told(new: (&str, &str), old: (&str, &str), severity: Severity, words: &str) {
        let found = changes(old, new);
        assert!(
            found
                .iter()
                .any(|(told, data)| *told == severity && data.contains(words)),
            "{words}: {found:?}"
        );
    }

    fn with(more: &str) -> String {
        format!("{BASE}{more}")
    }

    #[test]
    fn what_a_deletion_means_is_told_when_it_changes() {
        let cascade = BASE.replace("to = \"place\"", "to = \"place\", on_delete = \"cascade\"");
        assert_told(
            ("", &cascade),
            ("", BASE),
            Severity::Warning,
            "`cascade` and no longer `review`",
        );
        assert_eq!(changes(("", &cascade), ("", &cascade)), []);
    }

    #[test]
    fn rules_that_come_change_or_go_are_told() {
        let rule = |when: &str| {
            with(&format!(
                "[[review]]\nin = \"visit\"\nname = \"low\"\nwhen = \"{when}\"\nreason = \"it is low\""
            ))
        };
        let (one, two) = (rule("n < 1"), rule("n < 2"));
        assert_told(("", &one), ("", BASE), Severity::Note, "a new rule");
        assert_told(("", BASE), ("", &one), Severity::Note, "`low` is gone");
        assert_told(("", &two), ("", &one), Severity::Note, "another condition");
        assert_eq!(changes(("", &one), ("", &one)), []);
    }

    #[test]
    fn roles_that_nobody_has_any_more_and_a_schema_that_nobody_may_replace_are_warned_of() {
        let (none, lead) = (BASE.to_owned(), with("[roles.lead]\nschema = true\n"));
        let (nurse, both) = (
            with("[roles.nurse]\nreview = [\"*\"]\n"),
            with("[roles.lead]\nschema = true\n[roles.nurse]\nreview = [\"*\"]\n"),
        );
        assert_told(
            ("", &lead),
            ("", &none),
            Severity::Warning,
            "there are roles now",
        );
        assert_told(
            ("", &none),
            ("", &lead),
            Severity::Warning,
            "no roles any more",
        );
        assert_told(
            ("", &nurse),
            ("", &lead),
            Severity::Warning,
            "nobody can undo this",
        );
        assert_told(
            ("", &lead),
            ("", &both),
            Severity::Warning,
            "the role `nurse`",
        );
        assert_told(("", &both), ("", &lead), Severity::Note, "other things");
    }

    #[test]
    fn another_bound_for_clocks_and_other_choices_are_told() {
        let bound = "clock_bound_days = 7";
        assert_told((bound, BASE), ("", BASE), Severity::Note, "7 days apart");
    }

    #[test]
    fn what_changes_without_a_new_version_is_an_error() {
        let rule = with("[[review]]\nin = \"visit\"\nwhen = \"n < 1\"\nreason = \"it is low\"");
        let found = compare(&schema(1, "", BASE), &schema(1, "", &rule));
        assert_eq!(found[0].severity, Severity::Error, "{found:?}");
    }
}
