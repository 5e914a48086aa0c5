//! `name=value` on the command line, typed by the schema.
//!
//! `name=text` sets, `name=` clears, `name:=json` takes JSON as it is, `name+=x` and `name-=x` add to and
//! take from counters and sets.

use crdt_schema::intent::{elements_from_text, value_from_text};
use crdt_schema::schema::{Collection, Field, FieldType};
use serde_json::{Map, Value as Json, json};

use super::failure::{Exit, Failure};

/// One `name=value` of the command line.
#[derive(Debug, PartialEq, Eq)]
struct Assignment<'a> {
    name: &'a str,
    action: Action,
    text: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Set,
    Json,
    More,
    Less,
}

impl<'a> Assignment<'a> {
    /// `None` if the word is no assignment: it has no `=` after a field's name.
    fn parse(word: &'a str) -> Option<Self> {
        let (left, text) = word.split_once('=')?;
        let endings = [
            (":", Action::Json),
            ("+", Action::More),
            ("-", Action::Less),
            ("", Action::Set),
        ];
        let (name, action) = endings
            .into_iter()
            .find_map(|(end, action)| Some((left.strip_suffix(end)?, action)))?;
        crdt_schema::ident::check_key(name).ok()?;
        Some(Self { name, action, text })
    }
}

/// Whether a word is a `name=value`, and not a record's id.
pub(crate) fn is_assignment(word: &str) -> bool {
    Assignment::parse(word).is_some()
}

/// Turns words into a merge patch; says everything that is wrong at once.
pub(crate) fn assign(
    collection: &Collection,
    words: &[String],
    fields: &mut Map<String, Json>,
) -> Result<(), Failure> {
    let mut wrong = Vec::new();
    for word in words {
        let Some(assignment) = Assignment::parse(word) else {
            wrong.push(format!("{word:?} is not name=value"));
            continue;
        };
        let name = assignment.name;
        let value = match collection.fields.get(name) {
            Some(field) => value(field, &assignment),
            None => {
                let names: Vec<&str> = collection.fields.keys().map(String::as_str).collect();
                Err(format!(
                    "{} has no such field, but {}",
                    collection.name,
                    names.join(", ")
                ))
            }
        };
        match value {
            Err(reason) => wrong.push(format!("{name}: {reason}")),
            Ok(value) => put_in(fields, name, value, &mut wrong),
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Failure::new(Exit::Invalid, "the fields cannot be written").details(wrong))
}

/// Adds a field's value to the patch. `+=` and `-=` on one set may stand together.
fn put_in(fields: &mut Map<String, Json>, name: &str, value: Json, wrong: &mut Vec<String>) {
    match (fields.get_mut(name), value) {
        (None, value) => {
            fields.insert(name.to_owned(), value);
        }
        (Some(Json::Object(old)), Json::Object(new))
            if new
                .keys()
                .all(|key| key.starts_with('$') && !old.contains_key(key)) =>
        {
            old.extend(new);
        }
        (Some(_), _) => wrong.push(format!("{name}: is given twice")),
    }
}

fn value(field: &Field, assignment: &Assignment<'_>) -> Result<Json, String> {
    let text = assignment.text;
    let set = matches!(field.kind, FieldType::Set { .. });
    let elements = || {
        let elements = elements_from_text(field, text).map_err(|error| error.message)?;
        Ok::<Json, String>(elements.iter().map(|element| element.to_json()).collect())
    };
    let number = || {
        text.parse::<i64>()
            .map_err(|_| format!("{text:?} is not a whole number"))
    };
    match assignment.action {
        Action::Json => serde_json::from_str(text).map_err(|e| format!("is not JSON: {e}")),
        Action::More if set => Ok(json!({ "$insert": elements()? })),
        Action::Less if set => Ok(json!({ "$remove": elements()? })),
        Action::More if field.kind == FieldType::Counter => Ok(json!({ "$add": number()? })),
        Action::Less if field.kind == FieldType::Counter => {
            Ok(json!({ "$add": number()?.checked_neg().ok_or("the number is too large")? }))
        }
        Action::More | Action::Less => Err("is neither a counter nor a set; use =".to_owned()),
        Action::Set if field.kind == FieldType::Counter => {
            Err("is a counter; use += or -= to change it".to_owned())
        }
        Action::Set if set && text.is_empty() => {
            Err("is a set; use -= to take elements out".to_owned())
        }
        Action::Set if set => Ok(json!({ "$insert": elements()? })),
        Action::Set if text.is_empty() => Ok(Json::Null),
        Action::Set => {
            let value = value_from_text(field, text).map_err(|error| error.message)?;
            Ok(value.map_or(Json::Null, |value| value.to_json()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crdt_schema::schema::Schema;

    fn patch(words: &[&str]) -> Result<Json, String> {
        let schema = Schema::parse(
            "schema = \"s\"\nversion = 1\n[collections.c.fields]\nname = { type = \"text\" }\n\
             age = { type = \"integer\" }\nwell = { type = \"bool\" }\nextra = { type = \"json\" }\n\
             tags = { type = \"set\", of = \"text\" }\nvisits = { type = \"counter\" }\n",
        )
        .unwrap();
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let mut fields = Map::new();
        assign(schema.collection("c").unwrap(), &words, &mut fields).map_err(|f| f.to_string())?;
        Ok(fields.into())
    }

    #[test]
    fn text_is_converted_by_the_fields_type() {
        assert_eq!(
            patch(&["name=12", "age=12", "well=yes", "extra:={\"a\":[1]}"]),
            Ok(json!({"name": "12", "age": 12, "well": true, "extra": {"a": [1]}}))
        );
        assert_eq!(patch(&["name=a=b"]), Ok(json!({"name": "a=b"})));
        assert_eq!(
            patch(&["name=", "age="]),
            Ok(json!({"name": null, "age": null}))
        );
    }

    #[test]
    fn counters_and_sets_take_plus_and_minus() {
        assert_eq!(
            patch(&["visits+=3", "tags+=a;b", "tags-=c"]),
            Ok(json!({"visits": {"$add": 3}, "tags": {"$insert": ["a", "b"], "$remove": ["c"]}}))
        );
        assert_eq!(patch(&["visits-=3"]), Ok(json!({"visits": {"$add": -3}})));
        assert!(patch(&["visits=3"]).unwrap_err().contains("+="));
        assert!(
            patch(&["name+=x"])
                .unwrap_err()
                .contains("neither a counter nor a set")
        );
        assert!(patch(&["visits-=-9223372036854775808"]).is_err());
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        let text =
            patch(&["nam=x", "age=old", "extra:={", "name=a", "name=b", "loose"]).unwrap_err();

        for part in [
            "nam: c has no such field",
            "age: ",
            "extra: is not JSON",
            "name: is given twice",
            "\"loose\"",
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
    }

    #[test]
    fn an_id_is_told_from_an_assignment() {
        for id in ["p1", "KE-178040", "Name=x", "9=x", "=x", "a b=c"] {
            assert_eq!(Assignment::parse(id), None, "{id}");
        }
        let parsed = Assignment::parse("a_1:=2").unwrap();
        assert_eq!(
            (parsed.name, parsed.action, parsed.text),
            ("a_1", Action::Json, "2")
        );
    }
}
