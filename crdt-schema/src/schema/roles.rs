//! Roles: what the devices of an organisation may decide.
//!
//! A schema without `[roles]` lets every device do everything. Who has which role is not known here.

use indexmap::IndexMap;
use toml::Spanned;
use toml::de::{DeString, DeValue};

use super::keys::{Keys, check_name, quoted, wrong_type};
use super::report::Report;
use super::{Collection, Schema};
use crate::nearest::advice;
use crate::resolution::ReviewSubject;

/// Most roles in a schema.
pub const ROLES_MAX: usize = 50;

const ROLE_KEYS: [&str; 2] = ["review", "schema"];

/// What the devices of one role may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Role {
    /// The reviews that they may answer.
    review: Vec<Scope>,
    /// Whether they may publish a schema.
    schema: bool,
}

/// Some of a schema's reviews.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Scope {
    Everything,
    Collection(String),
    Field(String, String),
}

impl Schema {
    /// Whether a device with that role, or with none, may publish a schema.
    pub fn may_publish(&self, role: Option<&str>) -> bool {
        let known = role.and_then(|role| self.roles.get(role));
        self.roles.is_empty() || known.is_some_and(|role| role.schema)
    }

    /// Whether a device with that role, or with none, may answer such a review.
    pub fn may_resolve(
        &self,
        role: Option<&str>,
        collection: &str,
        subject: &ReviewSubject,
    ) -> bool {
        let may = |role| self.reviewers(collection, subject).contains(&role);
        self.roles.is_empty() || role.is_some_and(may)
    }

    /// The roles that may answer such a review. Means nothing in a schema without roles.
    pub fn reviewers(&self, collection: &str, subject: &ReviewSubject) -> Vec<&str> {
        let known = self.collection(collection);
        let rule_role = known.and_then(|known| known.rule_role(subject));
        let key = subject.key();
        let field = key.and_then(|key| known?.field_by_key(key));
        let covers = |scope: &Scope| match scope {
            Scope::Everything => true,
            Scope::Collection(name) => name == collection && rule_role.is_none(),
            Scope::Field(name, asked) => {
                name == collection && field.is_some_and(|field| field.name == *asked)
            }
        };
        let roles = self.roles.iter().filter(|(name, role)| {
            rule_role == Some(name.as_str()) || role.review.iter().any(covers)
        });
        roles.map(|(name, _)| name.as_str()).collect()
    }
}

impl Collection {
    /// The role that the rule, if the review is about one, is left to.
    fn rule_role(&self, subject: &ReviewSubject) -> Option<&str> {
        let ReviewSubject::Rule { name } = subject else {
            return None;
        };
        let rule = self.rules.iter().find(|rule| rule.name == *name)?;
        rule.role.as_deref()
    }
}

/// Reads `[roles]`.
pub(super) fn read(
    keys: Keys<'_>,
    collections: &IndexMap<String, Collection>,
    report: &mut Report<'_>,
) -> IndexMap<String, Role> {
    let mut roles = IndexMap::new();
    let Some(table) = keys.table("roles", report) else {
        return roles;
    };
    if let (Some((key, _)), true) = (keys.get("roles"), table.len() > ROLES_MAX) {
        report.error(key, format!("more than {ROLES_MAX} roles"));
        return roles;
    }
    for (name, value) in table {
        check_name("role", name, report);
        let Some(table) = value.get_ref().as_table() else {
            wrong_type(name.get_ref(), "a table", value, report);
            continue;
        };
        let keys = Keys::read(table, &ROLE_KEYS, report);
        let role = Role {
            review: read_scopes(keys, collections, report),
            schema: keys.flag("schema", report),
        };
        roles.insert(name.to_string(), role);
    }
    roles
}

fn read_scopes(
    keys: Keys<'_>,
    collections: &IndexMap<String, Collection>,
    report: &mut Report<'_>,
) -> Vec<Scope> {
    const TAKES: &str = "a list such as [\"*\"] or [\"visit\", \"patient.notes\"]";
    let Some((_, value)) = keys.get("review") else {
        return Vec::new();
    };
    let Some(items) = value.get_ref().as_array() else {
        wrong_type("review", TAKES, value, report);
        return Vec::new();
    };
    let scopes = items.iter().filter_map(|item| match item.get_ref() {
        DeValue::String(text) => read_scope(item, text, collections, report),
        _ => {
            wrong_type("review", TAKES, item, report);
            None
        }
    });
    scopes.collect()
}

fn read_scope(
    item: &Spanned<DeValue<'_>>,
    text: &DeString<'_>,
    collections: &IndexMap<String, Collection>,
    report: &mut Report<'_>,
) -> Option<Scope> {
    if text == "*" {
        return Some(Scope::Everything);
    }
    let (name, field) = match text.split_once('.') {
        Some((name, field)) => (name, Some(field)),
        None => (text.as_ref(), None),
    };
    let Some(collection) = collections.get(name) else {
        let names: Vec<&str> = collections.keys().map(String::as_str).collect();
        let message = format!("there is no collection {}", quoted(name));
        report.error_with_hint(item.span(), message, advice(name, &names));
        return None;
    };
    let Some(field) = field else {
        return Some(Scope::Collection(name.to_owned()));
    };
    if !collection.fields.contains_key(field) {
        let names: Vec<&str> = collection.fields.keys().map(String::as_str).collect();
        let message = format!("{} has no field {}", quoted(name), quoted(field));
        report.error_with_hint(item.span(), message, advice(field, &names));
        return None;
    }
    Some(Scope::Field(name.to_owned(), field.to_owned()))
}
