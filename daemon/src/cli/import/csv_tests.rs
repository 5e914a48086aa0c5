use super::*;
use crdt_schema::schema::Schema;

const SCHEMA: &str = r#"
schema = "s"
version = 1
[collections.visit.fields]
name = { type = "text", required = true }
temp_c = { type = "number", min = 30, max = 45 }
at = { type = "date" }
outcome = { type = "choice", of = ["well", "ill"] }
visits = { type = "counter" }
tags = { type = "set", of = "text" }
"#;

fn with_table<T>(
    text: &[u8],
    id: Option<&str>,
    renames: &[(&str, &str)],
    look: impl FnOnce(Result<Table<'_>, Failure>) -> T,
) -> T {
    let schema = Schema::parse(SCHEMA).unwrap();
    let rules = Rules {
        collection: schema.collection("visit").unwrap(),
        file: [0; 32],
    };
    let renames: Vec<_> = renames
        .iter()
        .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
        .collect();
    look(Table::new(rules, text, id, &renames))
}

fn rows(text: &str) -> Vec<Result<Ready, Vec<Bad>>> {
    with_table(text.as_bytes(), None, &[], |table| {
        table.unwrap().rows().collect()
    })
}

fn header_problem(text: &str, id: Option<&str>, renames: &[(&str, &str)]) -> String {
    with_table(text.as_bytes(), id, renames, |table| {
        table.unwrap_err().to_string()
    })
}

#[test]
fn cells_become_values_by_their_fields_types() {
    let rows = rows("id,name,temp_c,at,visits,tags\nv1,Ann,37.5,2026-01-02,4,a;b\nv2,Ben,,,,\n");

    let first = rows[0].as_ref().unwrap();
    assert_eq!(first.id, "v1");
    assert_eq!(first.counters, [("visits".to_owned(), 4)]);
    assert_eq!(
        Json::from(first.patch.clone()),
        json!({"name": "Ann", "temp_c": 37.5, "at": "2026-01-02", "tags": {"$insert": ["a", "b"]}})
    );
    let second = rows[1].as_ref().unwrap();
    assert_eq!(Json::from(second.patch.clone()), json!({"name": "Ben"}));
    assert!(second.counters.is_empty());
}

#[test]
fn bad_cells_are_reported_with_line_column_name_and_value() {
    let rows = rows("id,name,temp_c,outcome\nv1,Ann,37,well\nv2,,99,dead\n");

    assert!(rows[0].is_ok());
    let bad = rows[1].as_ref().unwrap_err();
    let places: Vec<_> = bad
        .iter()
        .map(|b| (b.line, b.column, b.name.as_deref(), b.value.as_str()))
        .collect();
    assert_eq!(
        places,
        [
            (3, Some(2), Some("name"), ""),
            (3, Some(3), Some("temp_c"), "99"),
            (3, Some(4), Some("outcome"), "dead"),
        ]
    );
}

#[test]
fn lines_are_counted_over_quoted_line_breaks_and_blank_lines() {
    let rows = rows("id,name\nv1,\"two\nlines\"\n\n\nv2,\n\r\nv3,\n");

    let lines: Vec<u64> = rows
        .iter()
        .map(|row| {
            row.as_ref()
                .map_or_else(|bad| bad[0].line, |ready| ready.line)
        })
        .collect();
    assert_eq!(lines, [2, 6, 8]);
}

#[test]
fn a_row_with_too_few_or_too_many_cells_is_bad() {
    let rows = rows("id,name\nv1\nv2,Ann,x\nv3,Ben\n");

    assert!(
        rows[0].as_ref().unwrap_err()[0]
            .reason
            .contains("1 columns, the header has 2")
    );
    assert!(rows[1].is_err() && rows[2].is_ok());
}

#[test]
fn text_that_is_not_utf_8_is_reported_in_its_cell() {
    let bad = with_table(b"id,name\nv1,Ren\xe9\n", None, &[], |table| {
        table.unwrap().rows().next().unwrap().unwrap_err()
    });

    assert_eq!((bad[0].line, bad[0].column), (2, Some(2)));
    assert!(bad[0].reason.contains("UTF-8"));
}

#[test]
fn semicolons_and_tabs_are_recognised() {
    assert_eq!(delimiter(b"id;name;a,b\n,,,,\n"), b';');
    assert_eq!(delimiter(b"id\tname\n"), b'\t');
    assert_eq!(delimiter(b"\"a;b;c\",name\n"), b',');
    assert_eq!(delimiter(b""), b',');
}

#[test]
fn a_header_that_does_not_fit_is_refused_with_advice() {
    let text = header_problem("id,name,temp,name\n", None, &[("colour", "name")]);

    assert!(
        text.contains("column 3 \"temp\": visit has no field \"temp\""),
        "{text}"
    );
    assert!(text.contains("--map temp=FIELD"), "{text}");
    assert!(
        text.contains("column 4 \"name\": another column has the same name"),
        "{text}"
    );
    assert!(text.contains("no column is named \"colour\""), "{text}");
    assert!(header_problem("", None, &[]).contains("empty"));
    assert!(header_problem("name\n", Some("code"), &[]).contains("no column is named \"code\""));
}

#[test]
fn columns_can_be_renamed_and_left_out() {
    let row = with_table(
        b"code,who,junk\nv1,Ann,x\n",
        Some("code"),
        &[("who", "name"), ("junk", "")],
        |table| table.unwrap().rows().next().unwrap().unwrap(),
    );

    assert_eq!(row.id, "v1");
    assert_eq!(Json::from(row.patch), json!({"name": "Ann"}));
}

#[test]
fn a_missing_required_column_is_remembered_for_new_records() {
    assert_eq!(
        rows("id,temp_c\nv1,37\n")[0]
            .as_ref()
            .unwrap()
            .lacks
            .as_deref(),
        Some("name")
    );
    assert_eq!(rows("id,name\nv1,Ann\n")[0].as_ref().unwrap().lacks, None);
}

#[test]
fn formulas_lose_the_quote_that_the_export_gave_them() {
    let rows = rows("id,name\nv1,'=1+1\n'-v2,'quoted'\n");

    assert_eq!(rows[0].as_ref().unwrap().patch["name"], "=1+1");
    assert_eq!(rows[1].as_ref().unwrap().id, "-v2");
    assert_eq!(rows[1].as_ref().unwrap().patch["name"], "'quoted'");
}

#[test]
fn garbage_never_panics() {
    for text in [
        "\"",
        "id,\"name\nx",
        "id,name\n\"\"\"\n",
        "\n\n\n",
        "id\n\u{0}\n",
        ",,,\n,,,",
    ] {
        with_table(text.as_bytes(), None, &[], |table| {
            if let Ok(table) = table {
                assert!(table.rows().count() < 10);
            }
        });
    }
}
