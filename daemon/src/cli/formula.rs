//! Cells that a spreadsheet would run as a formula, made harmless on export and restored on import.
//!
//! A cell that begins with `=`, `+`, `-`, `@`, a tab or a carriage return, possibly after quotes that
//! are its own, gets one `'` in front; import takes one off. So every text survives the round trip.

use std::borrow::Cow;

use crdt_schema::schema::FieldType;

/// Whether cells of this type hold free text. Numbers may begin with `-` and mean it.
pub(crate) fn applies(kind: &FieldType) -> bool {
    match kind {
        FieldType::Text
        | FieldType::Choice { .. }
        | FieldType::Ref { .. }
        | FieldType::Set { .. }
        | FieldType::Json => true,
        FieldType::Integer
        | FieldType::Number
        | FieldType::Bool
        | FieldType::Date
        | FieldType::DateTime
        | FieldType::Counter => false,
    }
}

/// The text with a `'` in front if a spreadsheet might run it.
pub(crate) fn neutralise(text: &str) -> Cow<'_, str> {
    if dangerous(text) {
        Cow::Owned(format!("'{text}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// The text as it was before [`neutralise`].
pub(crate) fn restore(text: &str) -> Cow<'_, str> {
    match text.strip_prefix('\'') {
        Some(rest) if dangerous(rest) => Cow::Borrowed(rest),
        _ => Cow::Borrowed(text),
    }
}

fn dangerous(text: &str) -> bool {
    text.trim_start_matches('\'')
        .starts_with(['=', '+', '-', '@', '\t', '\r'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn formulas_get_a_quote_and_plain_text_does_not() {
        assert_eq!(neutralise("=HYPERLINK(\"x\")"), "'=HYPERLINK(\"x\")");
        assert_eq!(neutralise("+254 700 000000"), "'+254 700 000000");
        assert_eq!(neutralise("O'Brien"), "O'Brien");
        assert_eq!(neutralise("'quoted'"), "'quoted'");
    }

    proptest! {
        #[test]
        fn every_text_survives_export_and_import(text in "['=+\\-@\t\ra-c]{0,6}") {
            let cell = neutralise(&text).into_owned();
            prop_assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r']));
            prop_assert_eq!(restore(&cell), text);
        }
    }
}
