//! Schemas: which collections and fields there are, what their values may be and how they merge.

mod field;
mod keys;
mod kind;
mod model;
mod parse;
mod reference;
mod report;
mod roles;
mod rules;
#[cfg(test)]
mod tests;
mod typed;

pub use model::{
    Collection, DeletePolicy, Field, FieldError, FieldType, MergePolicy, OnDelete, Priority,
    Provisional, Schema,
};
pub use parse::{COLLECTIONS_MAX, FIELDS_MAX, SOURCE_BYTES_MAX};
pub use report::{ERRORS_MAX, SchemaError, SchemaErrors};
pub use roles::{ROLES_MAX, Role};
pub use rules::{RULES_MAX, Rule};
pub use typed::{
    ELEMENT_BYTES_MAX, TEXT_BYTES_MAX, elements_from_text, value_from_json, value_from_text,
};
pub(crate) use typed::{
    check_bounds, check_value, counter_needs_add, element_from_json, integer_from_json, shown,
};

/// The bundled schema of a rural clinic, used when `init` is given no other.
pub const CLINIC: &str = include_str!("../../schemas/clinic.toml");
