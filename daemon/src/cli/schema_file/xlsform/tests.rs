use std::io::Write as _;

use rust_xlsxwriter::Workbook as Written;
use zip::write::SimpleFileOptions;

use super::*;
use crdt_schema::schema::{FieldType, lint};

const SURVEY: &[&[&str]] = &[
    &[
        "type",
        "name",
        "label::English (en)",
        "required",
        "constraint",
        "relevant",
        "calculation",
        "default",
    ],
    &["start", "start", "", "", "", "", "", ""],
    &[
        "text",
        "Full Name",
        "Who is \"it\"?\n[x]",
        "yes",
        "string-length(.) <= 80",
        "",
        "",
        "",
    ],
    &[
        "integer",
        "age",
        "Age",
        "true()",
        ". >= 0 and . <= 120",
        "",
        "",
        "30",
    ],
    &["decimal", "weight", "", "", ". > 0", "", "", "now()"],
    &["select_one sex", "sex", "Sex", "", "", "", "", "f"],
    &["select_multiple sym", "symptoms", "", "yes", "", "", "", ""],
    &["note", "hello", "Thank you", "", "", "", "", ""],
    &["calculate", "bmi", "", "", "", "", "${weight} * 2", ""],
    &["geopoint", "home", "Home", "", "", "", "", ""],
    &["image", "photo", "Photo", "", "", "", "", ""],
    &["begin group", "more", "More", "", "", "${age} > 5", "", ""],
    &["date", "age", "A date", "yes", "", "", "", ""],
    &["end group", "", "", "", "", "", "", ""],
    &["begin_repeat", "child", "Children", "", "", "", "", ""],
    &["text", "name", "", "", "", "", "", ""],
    &["begin repeat", "dose", "", "", "", "", "", ""],
    &["dateTime", "at", "", "", "", "", "", ""],
    &["end repeat", "", "", "", "", "", "", ""],
    &["end_repeat", "", "", "", "", "", "", ""],
];
const CHOICES: &[&[&str]] = &[
    &["list name", "name", "label"],
    &["sex", "f", "Female"],
    &["sex", "m", "Male"],
    &["sex", "m", "Again"],
    &["sym", "fever", ""],
    &["sym", "a \"cough\" \\", ""],
];

fn book(sheets: &[(&str, &[&[&str]])]) -> Vec<u8> {
    let mut book = Written::new();
    for (name, rows) in sheets {
        let sheet = book.add_worksheet();
        sheet.set_name(*name).unwrap();
        for (row, cells) in rows.iter().enumerate() {
            for (column, text) in cells.iter().enumerate() {
                let (row, column) = (row as u32, column as u16);
                match text.parse::<f64>() {
                    Ok(number) => sheet.write_number(row, column, number).unwrap(),
                    Err(_) => sheet.write_string(row, column, *text).unwrap(),
                };
            }
        }
    }
    book.save_to_buffer().unwrap()
}

fn drafted(sheets: &[(&str, &[&[&str]])]) -> (Schema, String, Vec<String>) {
    let draft = form::draft(&Workbook::of_bytes(&book(sheets)).unwrap(), "file name");
    let text = write::schema(&draft, "form.xlsx");
    let schema = Schema::parse(&text).unwrap_or_else(|errors| panic!("{text}\n{errors}"));
    (
        schema,
        text,
        draft.notes.iter().map(Note::to_string).collect(),
    )
}

fn clinic_form() -> (Schema, String, Vec<String>) {
    let settings: &[&[&str]] = &[&["form_title", "form_id"], &["A visit", "Visit-2"]];
    drafted(&[
        ("survey", SURVEY),
        ("choices", CHOICES),
        ("settings", settings),
    ])
}

#[test]
fn a_form_becomes_a_schema_with_its_types_bounds_and_comments() {
    let (schema, text, _) = clinic_form();

    let visit = schema.collection("visit_2").unwrap();
    let names: Vec<&str> = visit.fields.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "start",
            "full_name",
            "age",
            "weight",
            "sex",
            "symptoms",
            "bmi",
            "home_lat",
            "home_lon",
            "age_2"
        ]
    );
    let field = |name: &str| &visit.fields[name];
    assert_eq!(
        (field("full_name").min, field("full_name").max),
        (Some(1.0), Some(80.0))
    );
    assert_eq!(
        (field("age").min, field("age").max, field("age").required),
        (Some(0.0), Some(120.0), true)
    );
    assert_eq!(
        field("age").default,
        Some(crdt_schema::value::Value::Integer(30))
    );
    assert_eq!(field("home_lat").max, Some(90.0));
    let of = vec!["f".to_owned(), "m".to_owned()];
    assert_eq!(field("sex").kind, FieldType::Choice { of });
    assert_eq!(field("start").kind, FieldType::DateTime);
    assert_eq!(visit.label.as_deref(), Some("full_name"));
    assert!(
        text.contains("# Who is \"it\"? [x]\nfull_name = {"),
        "{text}"
    );
    assert!(text.contains("# f = Female, m = Male\n"), "{text}");
    assert_eq!(lint(&schema).to_string(), "");
}

#[test]
fn repeats_are_collections_that_refer_to_what_they_are_part_of() {
    let (schema, _, _) = clinic_form();

    for (collection, parent) in [("child", "visit_2"), ("dose", "child")] {
        let field = &schema.collection(collection).unwrap().fields[parent];
        let to = parent.to_owned();
        assert_eq!(
            (&field.kind, field.required),
            (&FieldType::Ref { to }, true)
        );
    }
}

#[test]
fn what_is_not_carried_over_is_named_with_its_sheet_and_row() {
    let (schema, _, notes) = clinic_form();

    for (place, words) in [
        ("survey row 3:", "is the field `full_name`"),
        ("survey row 5:", "its constraint . > 0"),
        ("survey row 5:", "its default \"now()\""),
        ("survey row 7:", "a set never is"),
        ("survey row 9:", "nothing is calculated"),
        ("survey row 10:", "is two numbers"),
        ("survey row 11:", "hold no files"),
        ("survey row 13:", "is the field `age_2`"),
        ("survey row 13:", "not required, because"),
        ("choices row 4:", "has this choice already"),
    ] {
        let found = notes
            .iter()
            .any(|note| note.starts_with(place) && note.contains(words));
        assert!(found, "{place} {words} in {notes:#?}");
    }
    assert!(!schema.collection("visit_2").unwrap().fields["age_2"].required);
}

#[test]
fn text_of_a_form_cannot_add_to_the_schema() {
    let survey: &[&[&str]] = &[
        &["type", "name", "label", "default"],
        &[
            "text",
            "a",
            "x\n[collections.evil.fields]\r\nb = 1",
            "\"} # \u{7f}\u{1b}",
        ],
        &["select_one l", "b\"]\n", "", ""],
    ];
    let choices: &[&[&str]] = &[
        &["list_name", "name"],
        &["l", "\", \"z"],
        &["l", "é\u{202e}"],
    ];

    let (schema, text, _) = drafted(&[("survey", survey), ("choices", choices)]);

    assert_eq!(schema.name, "file_name");
    assert_eq!(
        (schema.collections.len(), schema.collections[0].fields.len()),
        (1, 2),
        "{text}"
    );
}

#[test]
fn a_form_that_is_not_closed_or_has_unknown_types_is_drafted_all_the_same() {
    let survey: &[&[&str]] = &[
        &["type", "name"],
        &["end repeat", ""],
        &["telepathy", "x"],
        &["begin group", "g"],
        &["text", "1"],
        &["select_one nothing", "y"],
    ];

    let (schema, _, notes) = drafted(&[("survey", survey)]);

    assert_eq!(
        schema.collections[0].fields.keys().collect::<Vec<_>>(),
        ["n1", "y"]
    );
    for words in [
        "does not close",
        "no such type",
        "not closed",
        "so it is a text",
    ] {
        assert!(
            notes.iter().any(|note| note.contains(words)),
            "{words}: {notes:#?}"
        );
    }
}

#[test]
fn a_form_of_repeats_alone_has_no_empty_collection() {
    let survey: &[&[&str]] = &[
        &["type", "name"],
        &["begin repeat", "a"],
        &["begin repeat", "b"],
        &["date", "d"],
        &["end repeat", ""],
        &["end repeat", ""],
        &["begin repeat", "empty"],
        &["end repeat", ""],
    ];

    let (schema, _, _) = drafted(&[("survey", survey)]);

    assert_eq!(schema.collections.keys().collect::<Vec<_>>(), ["b"]);
}

#[test]
fn too_many_questions_and_repeats_are_left_out_and_named() {
    let mut rows: Vec<Vec<String>> = vec![vec!["type".to_owned(), "name".to_owned()]];
    for number in 0..250 {
        rows.push(vec!["text".to_owned(), format!("q{number}")]);
    }
    for number in 0..250 {
        for (type_text, name) in [
            ("begin repeat", format!("r{number}")),
            ("date", "d".to_owned()),
            ("end repeat", String::new()),
        ] {
            rows.push(vec![type_text.to_owned(), name]);
        }
    }
    let rows: Vec<Vec<&str>> = rows
        .iter()
        .map(|row| row.iter().map(String::as_str).collect())
        .collect();
    let rows: Vec<&[&str]> = rows.iter().map(Vec::as_slice).collect();

    let (schema, _, notes) = drafted(&[("survey", &rows)]);

    assert_eq!(
        (schema.collections.len(), schema.collections[0].fields.len()),
        (200, 200)
    );
    assert!(notes.iter().any(|note| note.contains("at most 200 fields")));
    assert!(notes.iter().any(|note| note.contains("there are too many")));
}

fn refusal(bytes: &[u8]) -> String {
    Workbook::of_bytes(bytes).unwrap_err()
}

fn zipped(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in parts {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[test]
fn files_that_are_no_workbooks_are_refused() {
    assert!(refusal(b"nonsense").contains("not a workbook"));
    assert!(refusal(&zipped(&[("a.txt", b"x")])).contains("not a workbook"));
    assert!(refusal(&book(&[("other", SURVEY)])).contains("no sheet `survey`"));
    let whole = book(&[("survey", SURVEY)]);
    for cut in (0..whole.len()).step_by(97) {
        assert!(!refusal(&whole[..cut]).is_empty());
    }
}

#[test]
fn damaged_workbooks_never_panic() {
    let whole = book(&[("survey", SURVEY), ("choices", CHOICES)]);
    for at in (0..whole.len()).step_by(61) {
        let mut bad = whole.clone();
        bad[at] ^= 0x55;
        if let Ok(workbook) = Workbook::of_bytes(&bad) {
            let _ = write::schema(&form::draft(&workbook, "x"), "x");
        }
    }
}

#[test]
fn a_zip_bomb_is_refused_before_it_is_read() {
    let zeros = vec![b' '; 40 << 20];
    let bomb = zipped(&[("xl/sharedStrings.xml", &zeros)]);
    assert!(bomb.len() < 100_000, "{}", bomb.len());

    assert!(
        refusal(&bomb).contains("unpacks to more than"),
        "{}",
        refusal(&bomb)
    );
    let many: Vec<(String, &[u8])> = (0..1001).map(|n| (n.to_string(), b"".as_slice())).collect();
    let many: Vec<(&str, &[u8])> = many
        .iter()
        .map(|(name, text)| (name.as_str(), *text))
        .collect();
    assert!(refusal(&zipped(&many)).contains("more than 1000 parts"));
}

#[test]
fn a_cell_far_out_is_refused_and_makes_no_grid() {
    for (row, column) in [(1_048_575, 0), (0, 16_383)] {
        let mut book = Written::new();
        let sheet = book.add_worksheet();
        sheet.set_name("survey").unwrap();
        sheet.write_string(row, column, "x").unwrap();
        let bytes = book.save_to_buffer().unwrap();

        assert!(
            refusal(&bytes).contains("beyond row"),
            "{}",
            refusal(&bytes)
        );
    }
}
