//! What is wrong with one line of a file of JSON lines.

/// What the parser says of a line, with the column only: it counts each line as the first of a text, and the
/// caller knows the line's number in the file.
pub fn complaint(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    match text.strip_suffix(&place) {
        Some(what) => format!("{what} at column {}", error.column()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::complaint;

    #[test]
    fn the_place_in_a_line_is_its_column_alone() {
        let error = serde_json::from_str::<Vec<u8>>("[1, -2]").unwrap_err();

        assert_eq!(
            complaint(&error),
            "invalid value: integer `-2`, expected u8 at column 6"
        );
    }
}
