//! The parts of a schema file that have modules of their own: migrations, roles, rules and flags.
//!
//! A part is in the JSON Schema as soon as its key is in the parser's tables.

use serde_json::{Map, Value as Json, json};

use super::name;

/// A day, as a string or as TOML's own date.
const DAY: &str = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$";

/// What a key of the file itself takes; `None` if nothing is known of it.
pub(super) fn of_schema(key: &str) -> Option<Json> {
    Some(match key {
        "migrations" => json!({
            "type": "array",
            "description": "How values come from one version to the next and back.",
            "items": closed(&[
                ("to", json!({ "type": "integer", "minimum": 2, "description": "The version they lead to." })),
                ("steps", json!({ "type": "array", "items": { "oneOf": steps() } })),
            ], &["to", "steps"]),
        }),
        "roles" => json!({
            "type": "object",
            "description": "What devices of a role may do. Without this table everybody may.",
            "additionalProperties": closed(&[
                ("review", json!({
                    "type": "array",
                    "items": { "type": "string" },
                    "description": "What they may answer reviews of: \"*\", a collection, or collection.field.",
                })),
                ("schema", json!({ "type": "boolean", "description": "Whether they may publish a schema." })),
            ], &[]),
        }),
        "review" => json!({
            "type": "array",
            "description": "Conditions over a record that open a review as long as they hold.",
            "items": closed(&[
                ("in", name("The collection.")),
                ("when", json!({ "type": "string", "description": "The condition: on_hand < 0" })),
                ("reason", json!({ "type": "string", "minLength": 1, "description": "Why, for people." })),
                ("role", name("The role that may answer.")),
                ("name", name("The rule's name, so that its condition can be reworded.")),
            ], &["in", "when", "reason"]),
        }),
        "clock_bound_days" => json!({
            "type": "integer",
            "minimum": 1,
            "description": "How far apart the clocks of concurrent writes may lie without a review.",
        }),
        _ => return None,
    })
}

/// What a key of a field takes.
pub(super) fn of_field(key: &str) -> Option<Json> {
    Some(match key {
        "since" => day("The first day on which it can be written."),
        "until" => day("The last day on which it is written without a warning."),
        "rollout" => percent(),
        "trial" => {
            let flags = ["since", "until", "rollout"];
            let flags = flags.iter().filter_map(|key| Some((*key, of_field(key)?)));
            let merge = json!({ "type": "string", "description": "The policy that is tried." });
            let keys: Vec<(&str, Json)> = std::iter::once(("merge", merge)).chain(flags).collect();
            closed(&keys, &["merge"])
        }
        "on_delete" => json!({
            "enum": ["review", "restrict", "cascade", "detach"],
            "default": "review",
            "description": "What becomes of it when the record that it refers to is deleted.",
        }),
        _ => return None,
    })
}

fn day(words: &str) -> Json {
    json!({ "type": "string", "pattern": DAY, "description": words })
}

fn percent() -> Json {
    json!({
        "type": "integer",
        "minimum": 1,
        "maximum": 100,
        "description": "On how many of a hundred devices.",
    })
}

/// Every form of a step.
fn steps() -> Vec<Json> {
    let path = || json!({ "type": "string", "pattern": "^[a-z0-9_]+\\.[a-z0-9_]+$" });
    let new = || name("The field's new name.");
    let with =
        || json!({ "type": "string", "description": "The function that carries the values." });
    let two = |of: Json| json!({ "type": "array", "items": of, "minItems": 2, "maxItems": 2 });
    let values = || {
        json!({
            "type": "object",
            "additionalProperties": { "type": "string" },
            "description": "What each old choice becomes.",
        })
    };
    let version = json!({ "type": "integer", "minimum": 1 });
    vec![
        closed(&[("rename", path()), ("as", new())], &["rename", "as"]),
        closed(
            &[
                ("add", path()),
                ("key", name("Its stored key.")),
                ("default", json!({})),
            ],
            &["add"],
        ),
        closed(
            &[
                ("remove", path()),
                ("was", json!({ "$ref": "#/definitions/field" })),
                ("until", version),
            ],
            &["remove", "was"],
        ),
        closed(
            &[
                ("convert", path()),
                ("as", new()),
                ("with", with()),
                ("values", values()),
            ],
            &["convert", "with"],
        ),
        closed(
            &[("remap", path()), ("values", values())],
            &["remap", "values"],
        ),
        closed(
            &[("split", path()), ("into", two(new())), ("with", with())],
            &["split", "into", "with"],
        ),
        closed(
            &[("merge", two(path())), ("as", new()), ("with", with())],
            &["merge", "as", "with"],
        ),
    ]
}

/// A table with these keys and no others.
fn closed(keys: &[(&str, Json)], required: &[&str]) -> Json {
    let keys = keys
        .iter()
        .map(|(key, takes)| ((*key).to_owned(), takes.clone()));
    json!({
        "type": "object",
        "properties": keys.collect::<Map<_, _>>(),
        "required": required,
        "additionalProperties": false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn validates(part: Option<Json>, value: &Json) -> bool {
        let mut schema = part.unwrap();
        schema["definitions"] = json!({ "field": { "type": "object" } });
        jsonschema::draft7::new(&schema).unwrap().is_valid(value)
    }

    #[test]
    fn every_form_of_a_step_validates_and_mixtures_do_not() {
        let migration = |step: Json| json!([{ "to": 2, "steps": [step] }]);
        for step in [
            json!({ "rename": "c.old", "as": "new" }),
            json!({ "add": "c.f", "default": 3 }),
            json!({ "remove": "c.f", "was": { "type": "text" }, "until": 5 }),
            json!({ "convert": "c.f", "as": "g", "with": "f_to_c" }),
            json!({ "remap": "c.f", "values": { "open": "new" } }),
            json!({ "split": "c.name", "into": ["given", "family"], "with": "first_space" }),
            json!({ "merge": ["c.given", "c.family"], "as": "name", "with": "space" }),
        ] {
            assert!(
                validates(of_schema("migrations"), &migration(step.clone())),
                "{step}"
            );
        }
        for step in [
            json!({ "rename": "c.old" }),
            json!({ "rename": "old", "as": "new" }),
            json!({ "rename": "c.old", "as": "new", "add": "c.f" }),
            json!({ "remove": "c.f" }),
            json!({ "split": "c.name", "into": ["given"] }),
        ] {
            assert!(
                !validates(of_schema("migrations"), &migration(step.clone())),
                "{step}"
            );
        }
    }

    #[test]
    fn flags_roles_and_rules_validate() {
        assert!(validates(of_field("since"), &json!("2027-01-01")));
        assert!(!validates(of_field("rollout"), &json!(101)));
        assert!(validates(
            of_field("trial"),
            &json!({ "merge": "review", "rollout": 10 })
        ));
        assert!(!validates(of_field("trial"), &json!({ "rollout": 10 })));
        assert!(!validates(of_field("on_delete"), &json!("ignore")));
        let roles = json!({ "supervisor": { "review": ["*"], "schema": true } });
        assert!(validates(of_schema("roles"), &roles));
        let rule = json!([{ "in": "stock", "when": "on_hand < 0", "reason": "it went negative" }]);
        assert!(validates(of_schema("review"), &rule));
        assert!(!validates(of_schema("review"), &json!([{ "in": "stock" }])));
        assert!(validates(of_schema("clock_bound_days"), &json!(180)));
    }
}
