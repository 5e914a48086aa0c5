//! Writes a draft as the text of a schema file.
//!
//! Everything that came from the form passes through the TOML library's quoting, or through
//! [`comment`], so that nothing in a form can add keys to the schema.

use super::form::{Collection, Draft, Field};
use super::question::Kind;

/// Longest comment, in characters.
const COMMENT_CHARS_MAX: usize = 240;

/// The text of the schema. `form` is the workbook's name.
pub(super) fn schema(draft: &Draft, form: &str) -> String {
    let mut text = String::new();
    let title = if draft.title.is_empty() {
        &draft.name
    } else {
        &draft.title
    };
    comment(
        &mut text,
        &format!("{title}: made from {form}. Choose for each field how concurrent writes merge."),
    );
    text.push_str(&format!("schema = {}\nversion = 1\n", quoted(&draft.name)));
    for of in &draft.collections {
        text.push('\n');
        collection(&mut text, of);
    }
    text
}

/// A schema with that field alone, to see whether it can be.
pub(super) fn alone(of: &Field) -> String {
    let mut text = "schema = \"s\"\nversion = 1\n[collections.c.fields]\n".to_owned();
    field(&mut text, of, of.name.len());
    text
}

fn collection(text: &mut String, of: &Collection) {
    for words in &of.comments {
        comment(text, words);
    }
    text.push_str(&format!("[collections.{}]\n", of.name));
    if let Some(label) = label(of) {
        text.push_str(&format!("label = {}\n", quoted(label)));
    }
    text.push_str(&format!(
        "delete = \"review\"\n\n[collections.{}.fields]\n",
        of.name
    ));
    let width = of
        .fields
        .iter()
        .map(|field| field.name.len())
        .max()
        .unwrap_or(0);
    for one in &of.fields {
        field(text, one, width);
    }
}

/// What people will know a record by: the first text that it must have, or else the first text.
fn label(of: &Collection) -> Option<&str> {
    let mut texts = of
        .fields
        .iter()
        .filter(|field| field.kind == Kind::Plain("text"));
    let first = texts.clone().next();
    texts
        .find(|field| field.required)
        .or(first)
        .map(|field| field.name.as_str())
}

fn field(text: &mut String, of: &Field, width: usize) {
    for words in &of.comments {
        comment(text, words);
    }
    let mut parts = match &of.kind {
        Kind::Plain(name) => vec![format!("type = \"{name}\"")],
        Kind::Choice(choices) => vec!["type = \"choice\"".to_owned(), list(choices)],
        Kind::Set(choices) => vec!["type = \"set\"".to_owned(), list(choices)],
        Kind::Ref(to) => vec!["type = \"ref\"".to_owned(), format!("to = {}", quoted(to))],
    };
    parts.extend(of.required.then(|| "required = true".to_owned()));
    parts.extend(
        of.default
            .as_ref()
            .map(|default| format!("default = {default}")),
    );
    parts.extend(of.min.map(|min| format!("min = {min}")));
    parts.extend(of.max.map(|max| format!("max = {max}")));
    text.push_str(&format!(
        "{:<width$} = {{ {} }}\n",
        of.name,
        parts.join(", ")
    ));
}

fn list(choices: &[String]) -> String {
    let choices: Vec<String> = choices.iter().map(|choice| quoted(choice)).collect();
    format!("of = [{}]", choices.join(", "))
}

/// A basic string on one line.
fn quoted(text: &str) -> String {
    // JSON's escapes are among those of TOML, but for DEL, which TOML wants escaped.
    serde_json::Value::from(text)
        .to_string()
        .replace('\u{7f}', "\\u007f")
}

/// A comment on one line, cut if it is endless.
fn comment(text: &mut String, words: &str) {
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    let line: String = words
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(COMMENT_CHARS_MAX)
        .collect();
    let rest = if line.chars().count() < words.chars().count() {
        "…"
    } else {
        ""
    };
    if !line.is_empty() {
        text.push_str(&format!("# {line}{rest}\n"));
    }
}
