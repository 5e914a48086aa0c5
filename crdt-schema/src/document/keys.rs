//! The root keys of a document, so that no two kinds of data share one.
//!
//! | key | holds |
//! |---|---|
//! | `name` | a register |
//! | `?name` | the note of the review's answer that set the register, in the same change |
//! | `name#<log>` | that log's running sum of a counter |
//! | `name/<element>` | whether a set has the element |
//! | `!life` | `d<reason>` when deleted, `r<reason>` when restored |
//! | `!ok/<review>` | the note of the person who lets stand what that review is about |

use crate::ident::LogId;
use crate::value::Value;

pub(super) const LIFE: &str = "!life";

/// What the keys of accepted reviews begin with.
const ACCEPT: &str = "!ok/";

/// What a root key names.
#[derive(Debug, PartialEq)]
pub(super) enum Key<'a> {
    Register(&'a str),
    Answer(&'a str),
    Counter(&'a str, LogId),
    Element(&'a str, Value),
    Life,
    Accept(&'a str),
}

pub(super) fn answer(key: &str) -> String {
    format!("?{key}")
}

pub(super) fn accept(review: &str) -> String {
    format!("{ACCEPT}{review}")
}

/// Whether the key holds what a field's does, and not something about the record as a whole.
pub(super) fn is_of_field(text: &str) -> bool {
    !text.starts_with('!')
}

pub(super) fn counter(key: &str, log: LogId) -> String {
    format!("{key}#{log}")
}

pub(super) fn element(key: &str, element: &Value) -> String {
    match element {
        Value::Null => format!("{key}/0"),
        Value::Bool(b) => format!("{key}/b{b}"),
        Value::Integer(i) => format!("{key}/i{i}"),
        Value::Number(n) => format!("{key}/n{:016x}", n.to_bits()),
        Value::Text(t) => format!("{key}/t{t}"),
        Value::Json(t) => format!("{key}/j{t}"),
    }
}

/// Reads a root key back; `None` for a key that no [`super::rebuild`] writes.
pub(super) fn parse(text: &str) -> Option<Key<'_>> {
    if text == LIFE {
        return Some(Key::Life);
    }
    if let Some(review) = text.strip_prefix(ACCEPT) {
        return Some(Key::Accept(review));
    }
    if let Some(key) = text.strip_prefix('?') {
        return Some(Key::Answer(key));
    }
    // Field keys have neither '#' nor '/', so the first of either ends the key.
    match text.find(['#', '/']) {
        None => Some(Key::Register(text)),
        Some(at) if text.as_bytes()[at] == b'#' => {
            Some(Key::Counter(&text[..at], text[at + 1..].parse().ok()?))
        }
        Some(at) => Some(Key::Element(&text[..at], parse_element(&text[at + 1..])?)),
    }
}

fn parse_element(text: &str) -> Option<Value> {
    let body = text.get(1..)?;
    match text.as_bytes()[0] {
        b'0' => Some(Value::Null),
        b'b' => body.parse().ok().map(Value::Bool),
        b'i' => body.parse().ok().map(Value::Integer),
        b'n' => u64::from_str_radix(body, 16)
            .ok()
            .map(|bits| Value::Number(f64::from_bits(bits))),
        b't' => Some(Value::Text(body.to_owned())),
        b'j' => Some(Value::Json(body.to_owned())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_back_as_what_they_name() {
        let log = LogId([7; 16]);
        assert_eq!(parse("name"), Some(Key::Register("name")));
        assert_eq!(parse(&answer("name")), Some(Key::Answer("name")));
        assert_eq!(
            parse(&counter("visits", log)),
            Some(Key::Counter("visits", log))
        );
        assert_eq!(parse(LIFE), Some(Key::Life));
        assert_eq!(parse(&accept("00ff")), Some(Key::Accept("00ff")));
        for value in [
            Value::Null,
            Value::Bool(true),
            Value::Integer(-3),
            Value::Number(0.5),
            Value::Text("a/b#c".to_owned()),
            Value::Text(String::new()),
        ] {
            assert_eq!(
                parse(&element("tags", &value)),
                Some(Key::Element("tags", value))
            );
        }
    }

    #[test]
    fn damaged_keys_are_not_read() {
        for bad in ["visits#zz", "tags/", "tags/x1", "tags/iabc", "tags/\u{e9}"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
