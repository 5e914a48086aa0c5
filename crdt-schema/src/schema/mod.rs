//! Schemas: which collections and fields there are, what their values may be and how they merge.

mod model;

pub use model::{Collection, DeletePolicy, Field, FieldError, FieldType, MergePolicy, Schema};
