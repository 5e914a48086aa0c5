//! Schemas that have been read once in this thread.
//!
//! Every device of a fleet reads the same few texts at every start. What is remembered is the whole text, so another
//! one is read as it should be, and one that cannot be used is refused each time.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use crdt_schema::schema::{Schema, SchemaErrors};

/// Most texts that are remembered.
const TEXTS_MAX: usize = 64;

thread_local! {
    static READ: RefCell<HashMap<Box<str>, Arc<Schema>>> = RefCell::default();
}

/// The answer of [`Schema::parse`].
pub(crate) fn read(text: &str) -> Result<Arc<Schema>, SchemaErrors> {
    if let Some(schema) = READ.with_borrow(|known| known.get(text).cloned()) {
        return Ok(schema);
    }
    let schema = Arc::new(Schema::parse(text)?);
    READ.with_borrow_mut(|known| {
        if known.len() >= TEXTS_MAX {
            known.clear();
        }
        known.insert(text.into(), Arc::clone(&schema));
    });
    Ok(schema)
}

#[cfg(test)]
mod tests {
    use crdt_schema::schema::CLINIC;

    use super::*;

    #[test]
    fn a_text_that_was_read_does_not_stand_for_another() {
        let other = CLINIC.replace("version = 1", "version = 2");
        for _ in 0..2 {
            let schema = read(CLINIC).expect("a good schema");
            assert_eq!(Ok(&*schema), Schema::parse(CLINIC).as_ref());
            assert_eq!(read(&other).map(|schema| schema.version), Ok(2));
            assert!(read("version = ").is_err());
        }
    }

    #[test]
    fn no_more_texts_are_remembered_than_that() {
        for n in 0..2 * TEXTS_MAX {
            read(&format!("{CLINIC}\n# {n}\n")).expect("a good schema");
        }
        assert!(READ.with_borrow(HashMap::len) <= TEXTS_MAX);
    }
}
