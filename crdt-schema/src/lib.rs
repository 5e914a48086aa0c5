//! Schemas, values, mergeable documents and merge policies of fieldmesh.
//!
//! Everything here is a pure function over data: no clock, no randomness, no input or output. A record is
//! one [`document::Document`]; devices exchange [`op::ChangeSet`]s and rebuild the same documents from
//! them; what people see is a [`resolution::RecordView`] derived from the document under a
//! [`schema::Schema`]. The same change sets give the same documents, views and reviews on every device,
//! in whatever order, grouping or number of copies they arrive, as long as causes come before effects.
//!
//! Nothing that was written is ever rewritten. Every write keeps the version of the schema that it was
//! made under, and a [`lens::Lens`] carries it to the version of the reader, before any policy looks.

#![warn(missing_docs)]

pub mod document;
pub mod flags;
pub mod history;
pub mod hlc;
pub mod ident;
pub mod intent;
pub mod json_line;
pub mod lens;
mod merge;
pub mod mutation;
pub mod nearest;
pub mod op;
pub mod reference;
pub mod resolution;
pub mod rule;
pub mod schema;
pub mod value;
