//! Schemas: which collections and fields there are, what their values may be and how they merge.

mod chain;
mod compare;
mod field;
mod flag;
mod json_schema;
mod keys;
mod kind;
mod lint;
mod migration;
mod model;
mod parse;
mod published;
mod reading;
mod reference;
mod report;
mod roles;
mod rules;
mod steps;
#[cfg(test)]
mod tests;
mod typed;

pub use compare::{Change, Severity, compare};
pub use json_schema::json_schema;
pub use lint::lint;
pub use migration::{Migration, Step};
pub use model::{
    Collection, DeletePolicy, Field, FieldError, FieldType, MergePolicy, OnDelete, Priority,
    Provisional, Schema,
};
pub use parse::{COLLECTIONS_MAX, FIELDS_MAX, SOURCE_BYTES_MAX};
pub use published::{
    PUBLISHED, PUBLISHED_VERSION_MAX, Publication, RESERVED_PREFIX, publication_id,
    publication_ops, published_collection,
};
pub use reading::ReadingError;
pub use report::{ERRORS_MAX, SchemaError, SchemaErrors, SchemaWarnings};
pub use roles::{ROLES_MAX, Role};
pub use rules::{RULES_MAX, Rule};
pub use steps::{MIGRATIONS_MAX, STEPS_MAX};
pub use typed::{
    ELEMENT_BYTES_MAX, TEXT_BYTES_MAX, elements_from_text, value_from_json, value_from_text,
};
pub(crate) use typed::{
    check_bounds, check_value, counter_needs_add, element_from_json, integer_from_json, shown,
};

/// The bundled schema of a rural clinic, used when `init` is given no other.
pub const CLINIC: &str = include_str!("../../schemas/clinic.toml");
