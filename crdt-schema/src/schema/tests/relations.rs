//! References between collections, rules and roles.

use super::*;
use crate::resolution::ReviewSubject;

fn refs(lines: &[(&str, &str, &str)]) -> String {
    let mut text = String::from("schema = \"s\"\nversion = 1\n");
    for name in ["a", "b", "c"] {
        text += &format!("[collections.{name}.fields]\nname = {{ type = \"text\" }}\n");
        for (at, (from, to, more)) in lines.iter().enumerate() {
            if *from == name {
                text += &format!("r{at} = {{ type = \"ref\", to = \"{to}\", {more} }}\n");
            }
        }
    }
    text
}

const CASCADE: &str = "on_delete = \"cascade\"";
const RESTRICT: &str = "on_delete = \"restrict\"";
const REVIEW: &str = "on_delete = \"review\"";

#[test]
fn lives_that_decide_over_each_other_in_a_circle_are_refused() {
    for (lines, circle) in [
        (vec![("a", "a", CASCADE)], "a → a"),
        (vec![("a", "a", RESTRICT)], "a → a"),
        (vec![("a", "b", CASCADE), ("b", "a", CASCADE)], "a → b → a"),
        (vec![("a", "b", CASCADE), ("a", "b", RESTRICT)], "a → b → a"),
        (
            vec![
                ("b", "a", CASCADE),
                ("c", "b", CASCADE),
                ("a", "c", CASCADE),
            ],
            "a → b → c → a",
        ),
    ] {
        let found = errors(&refs(&lines));
        assert_eq!(found.len(), 1, "{found:#?}");
        let message = format!("`cascade` and `restrict` go in a circle: {circle}");
        assert_eq!(found[0].message, message);
    }
    for lines in [
        vec![("a", "a", REVIEW), ("a", "b", REVIEW), ("b", "a", REVIEW)],
        vec![
            ("a", "b", CASCADE),
            ("b", "c", CASCADE),
            ("a", "c", CASCADE),
        ],
        vec![("a", "b", CASCADE), ("b", "a", RESTRICT)],
    ] {
        assert!(Schema::parse(&refs(&lines)).is_ok(), "{lines:?}");
    }
}

#[test]
fn required_references_in_a_circle_are_refused() {
    let found = errors(&refs(&[
        ("a", "b", "required = true"),
        ("b", "a", "required = true"),
    ]));

    assert!(found[0].message.ends_with("a → b → a"), "{found:#?}");
}

#[test]
fn a_required_reference_cannot_be_detached() {
    let found = errors(&refs(&[(
        "a",
        "b",
        "required = true, on_delete = \"detach\"",
    )]));

    assert_eq!(found[0].message, "a required reference cannot be detached");
}

#[test]
fn collections_are_ranked_after_those_that_they_refer_to() {
    let schema = Schema::parse(&refs(&[("a", "b", CASCADE), ("b", "c", RESTRICT)])).unwrap();
    let place =
        |of: fn(&Collection) -> usize| ["a", "b", "c"].map(|name| of(&schema.collections[name]));

    assert_eq!(place(|collection| collection.rank), [2, 1, 0]);
    let judged = place(|collection| collection.judged);
    assert!(judged[1] < judged[0] && judged[1] < judged[2], "{judged:?}");
}

fn with_rules(rest: &str) -> String {
    let stock = "[collections.stock.fields]\non_hand = { type = \"counter\" }\nnote = { type = \"text\" }\n";
    format!("schema = \"s\"\nversion = 1\nclock_bound_days = 30\n{stock}{rest}")
}

#[test]
fn a_rule_is_marked_where_its_condition_is_wrong() {
    let rule = |when: &str| {
        with_rules(&format!(
            "[[review]]\nin = \"stock\"\nwhen = {when}\nreason = \"r\"\n"
        ))
    };

    assert_error(
        &rule("\"on_hnd < 0\""),
        "on_hnd",
        "there is no field `on_hnd`",
        "did you mean `on_hand`?",
    );
    assert_error(
        &rule("'note < 3'"),
        "note < 3",
        "a text cannot be compared with a number",
        "compare values of one type",
    );
    let escaped = errors(&rule("\"on_hnd \\u003C 0\""));
    assert_eq!(escaped[0].message, "there is no field `on_hnd`");
}

#[test]
fn rules_have_names_that_do_not_depend_on_their_place() {
    let text = with_rules(
        "[[review]]\nin = \"stock\"\nwhen = \"on_hand  < 0\"\nreason = \"negative\"\n\
         [[review]]\nin = \"stock\"\nname = \"many\"\nwhen = \"on_hand > 9\"\nreason = \"many\"\n",
    );
    let schema = Schema::parse(&text).unwrap_or_else(|errors| panic!("{errors}"));
    let stock = &schema.collections["stock"];

    let names: Vec<&str> = stock.rules.iter().map(|rule| rule.name.as_str()).collect();

    assert_eq!(names, ["on_hand < 0", "many"]);
    assert_eq!(stock.clock_bound_days, 30);
    let twice = text.replace("\"many\"\nwhen", "\"x\"\nwhen").replace(
        "[[review]]\nin = \"stock\"\nwhen",
        "[[review]]\nname = \"x\"\nin = \"stock\"\nwhen",
    );
    assert!(errors(&twice)[0].message.contains("a rule `x` already"));
}

#[test]
fn what_a_rule_or_a_role_names_must_be_there() {
    for (rest, message) in [
        (
            "[[review]]\nin = \"shelf\"\nwhen = \"x\"\nreason = \"r\"\n",
            "there is no collection `shelf`",
        ),
        (
            "[[review]]\nin = \"stock\"\nreason = \"r\"\n",
            "the rule has no `when`",
        ),
        (
            "[[review]]\nin = \"stock\"\nwhen = \"on_hand < 0\"\nreason = \"r\"\nrole = \"chief\"\n",
            "there is no role `chief`",
        ),
        (
            "[roles]\nchw = { review = [\"shelf\"] }\n",
            "there is no collection `shelf`",
        ),
        (
            "[roles]\nchw = { review = [\"stock.shelf\"] }\n",
            "`stock` has no field `shelf`",
        ),
        (
            "[roles]\nchw = { review = \"stock\" }\n",
            "`review` takes a list such as [\"*\"] or [\"visit\", \"patient.notes\"], found a string",
        ),
    ] {
        assert_eq!(errors(&with_rules(rest))[0].message, message);
    }
}

#[test]
fn roles_say_who_may_answer_what() {
    let text = with_rules(
        "[[review]]\nin = \"stock\"\nname = \"low\"\nwhen = \"on_hand < 0\"\nreason = \"r\"\nrole = \"keeper\"\n\
         [roles]\nchief = { review = [\"*\"], schema = true }\nclerk = { review = [\"stock\"] }\n\
         keeper = {}\nscribe = { review = [\"stock.note\"] }\n",
    );
    let schema = Schema::parse(&text).unwrap_or_else(|errors| panic!("{errors}"));
    let key = |key: &str| ReviewSubject::Clock {
        key: key.to_owned(),
    };
    let rule = ReviewSubject::Rule {
        name: "low".to_owned(),
    };

    assert_eq!(
        schema.reviewers("stock", &key("note")),
        ["chief", "clerk", "scribe"]
    );
    assert_eq!(
        schema.reviewers("stock", &ReviewSubject::Deletion),
        ["chief", "clerk"]
    );
    assert_eq!(schema.reviewers("stock", &rule), ["chief", "keeper"]);
    assert!(schema.may_resolve(Some("keeper"), "stock", &rule));
    for role in [None, Some("clerk"), Some("stranger")] {
        assert!(!schema.may_resolve(role, "stock", &rule), "{role:?}");
    }
    assert!(schema.may_publish(Some("chief")) && !schema.may_publish(Some("clerk")));
    assert!(!schema.may_publish(None));
    let open = Schema::parse(&with_rules("")).unwrap();
    assert!(open.may_publish(None) && open.may_resolve(None, "stock", &rule));
}
