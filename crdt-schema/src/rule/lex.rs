//! From the text of a condition to its words.

use std::ops::Range;

use super::ConditionError;

/// A word with its place in the text.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token<'t> {
    pub(super) word: Word<'t>,
    pub(super) span: Range<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Word<'t> {
    /// A field or a keyword.
    Name(&'t str),
    /// A number without its sign.
    Number(&'t str),
    /// What stands between quotes.
    Text(&'t str),
    /// An operator or a parenthesis.
    Symbol(&'t str),
}

/// Longer symbols before those that they begin with.
const SYMBOLS: [&str; 10] = ["<=", ">=", "!=", "<", ">", "=", "(", ")", "+", "-"];

pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, ConditionError> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let (word, length) = if first.is_ascii_alphabetic() || first == '_' {
            let name = leading(rest, |c| c.is_ascii_alphanumeric() || c == '_');
            (Word::Name(name), name.len())
        } else if first.is_ascii_digit() {
            let number = leading(rest, |c| c.is_ascii_digit() || c == '.');
            (Word::Number(number), number.len())
        } else if let '"' | '\'' = first {
            let body = &rest[1..];
            let Some(end) = body.find(first) else {
                return Err(error(
                    at..text.len(),
                    "the text has no end",
                    "close its quotes",
                ));
            };
            (Word::Text(&body[..end]), end + 2)
        } else if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            (Word::Symbol(symbol), symbol.len())
        } else {
            let message = format!("{first:?} means nothing here");
            let hint =
                "conditions are made of fields, values, `< <= = != >= >`, `and`, `or`, `not`";
            return Err(error(at..at + first.len_utf8(), &message, hint));
        };
        tokens.push(Token {
            word,
            span: at..at + length,
        });
        at += length;
    }
    Ok(tokens)
}

fn leading(text: &str, is_part: impl Fn(char) -> bool) -> &str {
    let end = text.find(|c| !is_part(c)).unwrap_or(text.len());
    &text[..end]
}

pub(super) fn error(span: Range<usize>, message: &str, hint: &str) -> ConditionError {
    ConditionError {
        span,
        message: message.to_owned(),
        hint: hint.to_owned(),
    }
}
