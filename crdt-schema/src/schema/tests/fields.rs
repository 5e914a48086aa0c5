//! What a field may say, and what is said of one that may not.

use super::*;

#[test]
fn fields_are_tables_with_known_keys_and_a_known_type() {
    assert_field_error(
        "a = \"text\"",
        "\"text\"",
        "field `a` is not a table",
        "write a = { type = \"text\" }",
    );
    assert_field_error(
        "a = { type = \"text\", requird = true }",
        "requird",
        "unknown key `requird`",
        "did you mean `required`?",
    );
    assert_field_error(
        "a = { type = \"text\", required = \"yes\" }",
        "\"yes\"",
        "`required` takes `true` or `false`, found a string",
        "",
    );
    assert_field_error(
        "a = { required = true }",
        "a",
        "field `a` has no type",
        "add `type = \"text\"` or another type",
    );
    assert_field_error(
        "a = { type = \"txet\" }",
        "\"txet\"",
        "unknown type `txet`",
        "did you mean `text`?",
    );
    assert_field_error(
        "a = { type = \"string\" }",
        "\"string\"",
        "unknown type `string`",
        "did you mean `text`?",
    );
    assert_field_error(
        "a = { type = \"blob\" }",
        "\"blob\"",
        "unknown type `blob`",
        "known: `text`, `integer`, `number`, `bool`, `choice`, `date`, `datetime`, `ref`, \
         `counter`, `set` and `json`",
    );
    assert_field_error(
        "a = { type = 1 }",
        "1",
        "`type` takes a string, found an integer",
        "",
    );
}

#[test]
fn policies_must_suit_the_type() {
    assert_field_error(
        "a = { type = \"text\", merge = \"reveiw\" }",
        "\"reveiw\"",
        "unknown merge policy `reveiw`",
        "did you mean `review`?",
    );
    assert_field_error(
        "a = { type = \"integer\", merge = \"newest\" }",
        "\"newest\"",
        "unknown merge policy `newest`",
        "known: `lww`, `review`, `max` and `min`",
    );
    assert_field_error(
        "a = { type = \"counter\", merge = \"lww\" }",
        "\"lww\"",
        "a `counter` field cannot merge by `lww`",
        "it can by `counter`",
    );
    assert_field_error(
        "a = { type = \"set\", of = \"text\", merge = \"review\" }",
        "\"review\"",
        "a `set` field cannot merge by `review`",
        "it can by `set` and `remove-wins`",
    );
    assert_field_error(
        "a = { type = \"json\", merge = \"set\" }",
        "\"set\"",
        "a `json` field cannot merge by `set`",
        "it can by `lww` and `review`",
    );
}

#[test]
fn every_policy_is_read_for_the_types_that_it_suits() {
    let text = with_fields(
        "a = { type = \"integer\", merge = \"max\" }\n\
         b = { type = \"datetime\", merge = \"min\", priority = \"critical\" }\n\
         c = { type = \"choice\", of = [\"x\"], merge = \"rank\" }\n\
         d = { type = \"set\", of = \"text\", merge = \"remove-wins\" }\n\
         e = { type = \"text\", merge = \"review\", provisional = \"previous\" }\n\
         f = { type = \"text\", merge = \"review\", provisional = \"lww\", priority = \"normal\" }",
    );

    let schema = Schema::parse(&text).unwrap_or_else(|errors| panic!("{errors}"));

    let fields = &schema.collections["c"].fields;
    let policies: Vec<&str> = fields.values().map(|field| field.merge.name()).collect();
    assert_eq!(
        policies,
        ["max", "min", "rank", "remove-wins", "review", "review"]
    );
    assert_eq!(fields["e"].provisional, Provisional::Previous);
    assert_eq!(fields["f"].provisional, Provisional::Lww);
    assert_eq!(fields["b"].priority, Priority::Critical);
    assert_eq!(fields["a"].priority, Priority::Normal);
}

#[test]
fn policies_and_their_settings_are_refused_where_they_mean_nothing() {
    assert_field_error(
        "a = { type = \"text\", merge = \"max\" }",
        "\"max\"",
        "a `text` field cannot merge by `max`",
        "it can by `lww` and `review`",
    );
    assert_field_error(
        "a = { type = \"integer\", merge = \"rank\" }",
        "\"rank\"",
        "a `integer` field cannot merge by `rank`",
        "it can by `lww`, `review`, `max` and `min`",
    );
    assert_field_error(
        "a = { type = \"choice\", of = [\"x\"], merge = \"rnak\" }",
        "\"rnak\"",
        "unknown merge policy `rnak`",
        "did you mean `rank`?",
    );
    assert_field_error(
        "a = { type = \"text\", provisional = \"previous\" }",
        "provisional",
        "`provisional` does not apply to fields that merge by `lww`",
        "add `merge = \"review\"` or leave it out",
    );
    assert_field_error(
        "a = { type = \"text\", merge = \"review\", provisional = \"prevoius\" }",
        "\"prevoius\"",
        "`provisional` cannot be `prevoius`",
        "did you mean `previous`?",
    );
    assert_field_error(
        "a = { type = \"text\", priority = \"high\" }",
        "\"high\"",
        "`priority` cannot be `high`",
        "known: `critical` and `normal`",
    );
}

#[test]
fn choices_sets_and_references_say_of_what() {
    let list = "list them: `of = [\"open\", \"closed\"]`";

    assert_field_error(
        "a = { type = \"choice\" }",
        "a",
        "field `a` has no choices",
        list,
    );
    assert_field_error(
        "a = { type = \"choice\", of = [] }",
        "[]",
        "the list of choices is empty",
        list,
    );
    assert_field_error(
        "a = { type = \"choice\", of = \"open\" }",
        "\"open\"",
        "`of` takes a list of choices, found a string",
        "",
    );
    assert_field_error(
        "a = { type = \"choice\", of = [\"x\", 3] }",
        "3",
        "`of` takes a list of strings, found an integer",
        "",
    );
    assert_field_error(
        "a = { type = \"set\", of = [\"x\", \"y\", 'x'] }",
        "'x'",
        "the choice `x` is listed twice",
        "",
    );
    assert_field_error(
        "a = { type = \"choice\", of = [\"x \", \"y\"] }",
        "\"x \"",
        "`x ` cannot be a choice",
        "a choice is visible text without white space around it",
    );
    assert_field_error(
        "a = { type = \"set\" }",
        "a",
        "field `a` does not say what it is a set of",
        "add `of = \"text\"` or a list of choices",
    );
    assert_field_error(
        "a = { type = \"set\", of = \"integr\" }",
        "\"integr\"",
        "a set cannot be of `integr`",
        "did you mean `integer`?",
    );
    assert_field_error(
        "a = { type = \"set\", of = \"blob\" }",
        "\"blob\"",
        "a set cannot be of `blob`",
        "a set is of `text`, `integer`, `date` or a list of choices",
    );
    assert_field_error(
        "a = { type = \"set\", of = true }",
        "true",
        "`of` takes `text`, `integer`, `date` or a list of choices, found a boolean",
        "",
    );
    assert_field_error(
        "a = { type = \"ref\" }",
        "a",
        "field `a` does not say what it refers to",
        "add `to = \"…\"` with a collection's name",
    );
    assert_field_error(
        "a = { type = \"ref\", to = \"d\" }",
        "\"d\"",
        "there is no collection `d`",
        "known: `c`",
    );
}

#[test]
fn keys_that_mean_nothing_for_the_type_are_refused() {
    let empty = |kind: &str, key: &str| {
        format!("a {kind} that nobody has written is empty; leave `{key}` out")
    };
    let bounded = "`text`, `integer`, `number` and `counter`";
    for (field, key, kind, hint) in [
        (
            "type = \"text\", of = [\"x\"]",
            "of",
            "text",
            "`of` is for `choice` and `set`".to_owned(),
        ),
        (
            "type = \"text\", to = \"c\"",
            "to",
            "text",
            "`to` is for `ref`".to_owned(),
        ),
        (
            "type = \"date\", min = 1",
            "min",
            "date",
            format!("`min` is for {bounded}"),
        ),
        (
            "type = \"bool\", max = 1",
            "max",
            "bool",
            format!("`max` is for {bounded}"),
        ),
        (
            "type = \"counter\", required = true",
            "required",
            "counter",
            empty("counter", "required"),
        ),
        (
            "type = \"counter\", default = 1",
            "default",
            "counter",
            empty("counter", "default"),
        ),
        (
            "type = \"set\", of = \"text\", default = []",
            "default",
            "set",
            empty("set", "default"),
        ),
    ] {
        let message = format!("`{key}` does not apply to `{kind}` fields");
        assert_field_error(&format!("a = {{ {field} }}"), key, &message, &hint);
    }
}

#[test]
fn bounds_are_checked() {
    assert_field_error(
        "a = { type = \"integer\", min = 5, max = 3 }",
        "3",
        "`max` is 3, less than `min`, which is 5",
        "",
    );
    assert_field_error(
        "a = { type = \"integer\", min = 1.5 }",
        "1.5",
        "`min` takes an integer, found a decimal number",
        "",
    );
    assert_field_error(
        "a = { type = \"number\", max = \"9\" }",
        "\"9\"",
        "`max` takes a number, found a string",
        "",
    );
    assert_field_error(
        "a = { type = \"text\", min = -1 }",
        "-1",
        "`min` of a text is its length, which is never negative",
        "",
    );
    let range = "must lie between -9007199254740992 and 9007199254740992";
    for bad in ["inf", "nan", "9007199254740993", "99999999999999999999"] {
        let field = format!("a = {{ type = \"number\", max = {bad} }}");
        assert_field_error(&field, bad, &format!("`max` {range}"), "");
    }
}

#[test]
fn defaults_must_be_values_that_the_field_takes() {
    for (field, marked, message) in [
        (
            "type = \"text\", default = 1",
            "1",
            "a takes a text, found 1",
        ),
        (
            "type = \"integer\", default = 1.5",
            "1.5",
            "a takes a whole number such as 12, found 1.5",
        ),
        (
            "type = \"number\", default = nan",
            "nan",
            "the number is not finite",
        ),
        (
            "type = \"integer\", default = 9223372036854775808",
            "9223372036854775808",
            "the number is too large",
        ),
        (
            "type = \"integer\", max = 10, default = 11",
            "11",
            "a must be at most 10, found 11",
        ),
        (
            "type = \"text\", min = 2, default = \"x\"",
            "\"x\"",
            "a must be at least 2 characters long, found 1",
        ),
        (
            "type = \"choice\", of = [\"open\"], default = \"opne\"",
            "\"opne\"",
            "a cannot be \"opne\"; did you mean `open`?",
        ),
        (
            "type = \"date\", default = \"21.11.2026\"",
            "\"21.11.2026\"",
            "a takes a date such as 2026-11-21, found \"21.11.2026\"",
        ),
        (
            "type = \"json\", default = [1, [inf]]",
            "inf",
            "the number is not finite",
        ),
    ] {
        let field = format!("a = {{ {field} }}");
        assert_field_error(&field, marked, &format!("bad default: {message}"), "");
    }
}

#[test]
fn stored_keys_are_unique_in_a_collection() {
    let hint = "give every field of a collection a `key` of its own";
    assert_error(
        &with_fields("tel = { type = \"text\", key = \"phone\" }\nphone = { type = \"text\" }"),
        "phone",
        "field `tel` has the stored key `phone` already",
        hint,
    );
}
