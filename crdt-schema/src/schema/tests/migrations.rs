//! What is wrong with migrations and flags, and the stored keys that steps give.

use super::*;

fn text(fields: &str, migrations: &str) -> String {
    format!("schema = \"s\"\nversion = 3\n[collections.c.fields]\n{fields}\n{migrations}")
}

fn steps(steps: &str) -> String {
    format!("[[migrations]]\nto = 2\nsteps = [{steps}]\n")
}

/// The messages about a file with these fields and steps.
fn wrong(fields: &str, given: &str) -> String {
    match Schema::parse(&text(fields, &steps(given))) {
        Ok(_) => panic!("{given} is refused"),
        Err(errors) => errors.to_string(),
    }
}

fn key_of(fields: &str, migrations: &str, field: &str) -> String {
    let schema = Schema::parse(&text(fields, migrations)).unwrap_or_else(|e| panic!("{e}"));
    schema.collections["c"].fields[field].key.clone()
}

const A: &str = "a = { type = \"text\" }";

#[test]
fn a_stored_key_is_the_name_at_birth() {
    let renamed_twice = "[[migrations]]\nto = 2\nsteps = [{ rename = \"c.x\", as = \"y\" }]\n\
        [[migrations]]\nto = 3\nsteps = [{ rename = \"c.y\", as = \"a\" }]\n";
    assert_eq!(key_of(A, renamed_twice, "a"), "x");
    assert_eq!(
        key_of(A, &steps("{ add = \"c.a\", key = \"a_2\" }"), "a"),
        "a_2"
    );
    assert_eq!(key_of("a = { type = \"text\", key = \"k\" }", "", "a"), "k");
    let born_and_renamed = "{ add = \"c.x\", key = \"k\" }, { rename = \"c.x\", as = \"a\" }";
    assert_eq!(key_of(A, &steps(born_and_renamed), "a"), "k");
}

#[test]
fn swapped_names_keep_their_keys_apart() {
    let swap = "{ rename = \"c.a\", as = \"t\" }, { rename = \"c.b\", as = \"a\" }, \
                { rename = \"c.t\", as = \"b\" }";
    let fields = "a = { type = \"text\" }\nb = { type = \"text\" }";
    assert_eq!(key_of(fields, &steps(swap), "a"), "b");
    assert_eq!(key_of(fields, &steps(swap), "b"), "a");
}

#[test]
fn the_key_of_a_field_that_is_gone_is_not_given_again() {
    let again = "{ remove = \"c.a\", was = { type = \"text\" } }, { add = \"c.a\" }";
    let shown = wrong(A, again);
    assert!(shown.contains("has the stored key `a` for ever"), "{shown}");

    let own = again.replace("add = \"c.a\"", "add = \"c.a\", key = \"a_2\"");
    assert_eq!(key_of(A, &steps(&own), "a"), "a_2");
}

#[test]
fn each_bad_step_is_shown_with_what_would_be_right() {
    let number = "a = { type = \"number\" }";
    let choice = "a = { type = \"choice\", of = [\"x\"] }";
    for (fields, given, message) in [
        (A, "{ rename = \"c.a\" }", "the step has no `as`"),
        (
            A,
            "{ rename = \"c.x\", as = \"y\" }",
            "c has no field `y` in version 2",
        ),
        (
            A,
            "{ rename = \"c.x\", as = \"a\", add = \"c.a\" }",
            "a step does one thing",
        ),
        (A, "{ rename = \"a\", as = \"b\" }", "`a` names no field"),
        (
            A,
            "{ rename = \"d.x\", as = \"a\" }",
            "there is no collection `d`",
        ),
        (
            A,
            "{ rename = \"c.X\", as = \"a\" }",
            "`X` cannot be a field name",
        ),
        (A, "{ remove = \"c.x\" }", "does not say what the field was"),
        (
            A,
            "{ remove = \"c.a\", was = { type = \"text\" } }",
            "still has a field `a`",
        ),
        (
            A,
            "{ remove = \"c.x\", was = { type = \"txt\" } }",
            "unknown type `txt`",
        ),
        (A, "{ add = \"c.a\", default = 5 }", "bad default"),
        (number, "{ add = \"c.a\", default = \"x\" }", "bad default"),
        (
            "a = { type = \"number\", max = 4 }",
            "{ add = \"c.a\", default = 5 }",
            "at most 4",
        ),
        (
            "a = { type = \"counter\" }",
            "{ add = \"c.a\", default = 5 }",
            "is empty",
        ),
        (
            A,
            "{ convert = \"c.a\", with = \"f_to_c\" }",
            "gives a number",
        ),
        (
            number,
            "{ convert = \"c.a\", with = \"f_to_k\" }",
            "unknown function `f_to_k`",
        ),
        (
            number,
            "{ convert = \"c.a\", with = \"bool_to_choice\" }",
            "has no `values`",
        ),
        (
            number,
            "{ convert = \"c.a\", with = \"f_to_c\", values = { a = \"b\" } }",
            "does not apply",
        ),
        (
            A,
            "{ remap = \"c.a\", values = { a = \"b\" } }",
            "only choices",
        ),
        (
            choice,
            "{ remap = \"c.a\", values = { y = \"z\" } }",
            "`z` is not a choice",
        ),
        (
            number,
            "{ split = \"c.x\", into = [\"a\", \"b\"], with = \"first_space\" }",
            "must be a text",
        ),
        (
            A,
            "{ split = \"c.x\", into = [\"a\", \"a\"], with = \"first_space\" }",
            "names two fields",
        ),
        (
            A,
            "{ merge = [\"c.x\", \"d.y\"], as = \"a\", with = \"space\" }",
            "no collection `d`",
        ),
        (
            A,
            "{ merge = [\"c.x\", \"c.y\"], as = \"a\", with = \"glue\" }",
            "unknown function `glue`",
        ),
        (
            "a = { type = \"text\", key = \"k\" }",
            "{ rename = \"c.x\", as = \"a\" }",
            "from its steps",
        ),
    ] {
        let shown = wrong(fields, given);
        assert!(shown.contains(message), "{given}: {shown}");
    }
}

#[test]
fn a_field_is_split_or_merged_once() {
    let twice = "{ split = \"c.x\", into = [\"y\", \"z\"], with = \"first_space\" }, \
                 { merge = [\"c.y\", \"c.z\"], as = \"a\", with = \"space\" }";
    let shown = wrong(A, twice);
    assert!(shown.contains("a second time"), "{shown}");
}

#[test]
fn a_default_is_checked_in_terms_of_the_present_version() {
    let two = |default: &str| {
        let migrations = format!(
            "[[migrations]]\nto = 2\nsteps = [{{ add = \"c.f\", default = {default} }}]\n\
             [[migrations]]\nto = 3\nsteps = [{{ convert = \"c.f\", as = \"a\", with = \"f_to_c\" }}]\n"
        );
        Schema::parse(&text("a = { type = \"number\", max = 45 }", &migrations))
    };
    assert!(two("98.6").is_ok());
    assert!(two("212").unwrap_err().to_string().contains("at most 45"));
}

#[test]
fn migrations_lead_to_different_versions_up_to_the_present_one() {
    let migrations = "[[migrations]]\nto = 2\n[[migrations]]\nto = 2\n[[migrations]]\nto = 4\n\
        [[migrations]]\nto = 1\n[[migrations]]\n";
    let shown = Schema::parse(&text(A, migrations)).unwrap_err().to_string();

    for message in [
        "there is a migration to version 2 already",
        "`to` must lie between 2 and `version`, which is 3",
        "does not say to which version it leads",
    ] {
        assert!(shown.contains(message), "{shown}");
    }
}

#[test]
fn flags_and_trials_are_read_strictly() {
    let good = "a = { type = \"text\", since = \"2027-01-01\", until = 2027-06-30, rollout = 10, \
                trial = { merge = \"review\", rollout = 5 } }";
    let schema = Schema::parse(&text(good, "")).unwrap_or_else(|e| panic!("{e}"));
    let field = &schema.collections["c"].fields["a"];
    assert_eq!(field.flags.rollout, Some(10));
    assert_eq!(
        field.flags.until.map(|day| day.to_string()).as_deref(),
        Some("2027-06-30")
    );
    assert_eq!(
        field.trial.map(|trial| trial.merge),
        Some(MergePolicy::Review)
    );

    for (flag, message) in [
        ("since = \"soon\"", "a day such as"),
        ("since = \"2027-02-30\"", "a day such as"),
        (
            "since = \"2027-02-01\", until = \"2027-01-01\"",
            "before `since`",
        ),
        ("rollout = 0", "whole percents"),
        ("rollout = 101", "whole percents"),
        ("trial = { rollout = 5 }", "does not say which policy"),
        ("trial = { merge = \"max\" }", "cannot merge by `max`"),
    ] {
        let fields = format!("a = {{ type = \"text\", {flag} }}");
        let shown = Schema::parse(&text(&fields, "")).unwrap_err().to_string();
        assert!(shown.contains(message), "{flag}: {shown}");
    }
}
