//! What the types of a form's questions are in a schema.

use std::collections::BTreeMap;

use super::form::{CHOICES, Note};
use super::sheet::Row;

/// Most choices that a field may have; the parser's own limit.
const CHOICES_MAX: usize = 1000;
/// Longest choice, in bytes; the parser's own limit.
const CHOICE_BYTES_MAX: usize = 1024;

/// A type of a schema.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// A type without parts, by its name.
    Plain(&'static str),
    /// One of these.
    Choice(Vec<String>),
    /// Some of these.
    Set(Vec<String>),
    /// A record of that collection.
    Ref(String),
}

/// What becomes of a question.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    /// A field, and what about it is worth a word.
    Field(Kind, Option<&'static str>),
    /// Two numbers: latitude and longitude.
    Place,
    /// Words in the form, and no field.
    Words,
    /// Nothing, for this reason.
    LeftOut(&'static str),
}

/// The lists of choices, by name: each choice with its label.
pub(super) type Lists = BTreeMap<String, Vec<(String, String)>>;

/// Reads the sheet of choices. A choice that no schema takes is left out.
pub(super) fn lists(rows: &[Row], notes: &mut Vec<Note>) -> Lists {
    let mut lists = Lists::new();
    for row in rows {
        let (list, choice) = (row.get("list_name"), row.get("name"));
        if list.is_empty() {
            continue;
        }
        let choices = lists.entry(list.to_owned()).or_default();
        let reason = if choice.is_empty() || choice.contains(char::is_control) {
            "left out: a choice is visible text"
        } else if choice.len() > CHOICE_BYTES_MAX {
            "left out: it is too long for a choice"
        } else if choices.iter().any(|(known, _)| known == choice) {
            "left out: its list has this choice already"
        } else {
            choices.push((choice.to_owned(), row.translated("label").to_owned()));
            continue;
        };
        notes.push(Note::new(CHOICES, row.number, choice, reason));
    }
    lists
}

/// What becomes of a question of that type, with the name of its list of choices if it has one.
pub(super) fn answer(type_text: &str, lists: &Lists) -> (Answer, Option<String>) {
    let mut words = type_text.split_whitespace();
    let first = words.next().unwrap_or_default().to_lowercase();
    let list = words.next().unwrap_or_default().to_owned();
    let other = words
        .next()
        .is_some_and(|word| word.eq_ignore_ascii_case("or_other"));
    let field = |kind| Answer::Field(Kind::Plain(kind), None);
    let noted = |kind, why| Answer::Field(Kind::Plain(kind), Some(why));
    let answer = match first.as_str() {
        "text" | "string" | "barcode" | "hidden" => field("text"),
        "integer" | "int" => field("integer"),
        "decimal" | "range" => field("number"),
        "date" | "today" => field("date"),
        "datetime" | "start" | "end" => field("datetime"),
        "acknowledge" | "trigger" => field("bool"),
        "time" => noted("text", "a time of day is kept as text"),
        "calculate" => noted(
            "text",
            "nothing is calculated: an app writes it, or it can go",
        ),
        "geopoint" => Answer::Place,
        "geotrace" | "geoshape" => noted("json", "a line or an area is kept as JSON"),
        "rank" => noted("json", "an order of choices is kept as JSON"),
        "note" => Answer::Words,
        "select_one" | "select_multiple" => {
            return (select(&first, &list, other, lists), Some(list));
        }
        "select_one_from_file" => noted("text", "its choices are in a file that is not read"),
        "select_multiple_from_file" => {
            Answer::LeftOut("left out: its choices are in a file that is not read")
        }
        "image" | "photo" | "audio" | "video" | "file" | "signature" | "background-audio" => {
            Answer::LeftOut("left out: records hold no files")
        }
        "username" | "email" | "phonenumber" | "deviceid" | "subscriberid" | "simserial"
        | "audit" => Answer::LeftOut("left out: who wrote what, when and where is kept anyway"),
        "xml-external" | "csv-external" => Answer::LeftOut("left out: files are not read"),
        _ => Answer::LeftOut("left out: no such type is known"),
    };
    (answer, None)
}

fn select(first: &str, list: &str, other: bool, lists: &Lists) -> Answer {
    let choices: Vec<String> = lists
        .get(list)
        .map(|choices| choices.iter().map(|(name, _)| name.clone()).collect())
        .unwrap_or_default();
    let text = |why| Answer::Field(Kind::Plain("text"), Some(why));
    let several = first == "select_multiple";
    match choices.len() {
        0 if several => Answer::LeftOut("left out: its list of choices is empty or missing"),
        0 => text("its list of choices is empty or missing, so it is a text"),
        1..=CHOICES_MAX if several && other => {
            Answer::Field(Kind::Set(choices), Some("`or_other` is not carried over"))
        }
        1..=CHOICES_MAX if several => Answer::Field(Kind::Set(choices), None),
        1..=CHOICES_MAX if other => text("`or_other` takes any answer, so it is a text"),
        1..=CHOICES_MAX => Answer::Field(Kind::Choice(choices), None),
        _ if several => Answer::LeftOut("left out: it has more than 1,000 choices"),
        _ => text("it has more than 1,000 choices, so it is a text"),
    }
}

/// What the choices mean, for a comment.
pub(super) fn legend(list: &str, lists: &Lists) -> Option<String> {
    let choices = lists.get(list)?;
    let labelled: Vec<String> = choices
        .iter()
        .filter(|(name, label)| !label.is_empty() && label != name)
        .map(|(name, label)| format!("{name} = {label}"))
        .collect();
    (!labelled.is_empty()).then(|| labelled.join(", "))
}
