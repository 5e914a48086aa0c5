//! The tools for schema files, as the person who writes one uses them.

use std::fs;
use std::path::Path;

use serde_json::{Value as Json, json};

use crate::support::{Daemon, fieldmesh, output, stderr, stdout};

/// A clinic whose next version renames a field, adds one, tightens a bound and drops a field.
const OLD: &str = "schema = \"s\"\nversion = 1\n[collections.patient]\nlabel = \"name\"\n\
    [collections.patient.fields]\nname = { type = \"text\", required = true, min = 1 }\n\
    tel = { type = \"text\" }\nage = { type = \"integer\" }\nnote = { type = \"text\" }\n\
    visits = { type = \"counter\" }\n";
const NEW: &str = "schema = \"s\"\nversion = 2\n[collections.patient]\nlabel = \"name\"\n\
    [collections.patient.fields]\nname = { type = \"text\", required = true, min = 1 }\n\
    tel = { type = \"text\", merge = \"review\" }\nage = { type = \"integer\", max = 120 }\n\
    visits = { type = \"counter\" }\nvillage = { type = \"text\" }\n";

fn tool(args: &[&str]) -> (i32, String, String) {
    let said = output(fieldmesh().args(args));
    (
        said.status.code().expect("it ends by itself"),
        stdout(&said),
        stderr(&said),
    )
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).expect("a file is written");
    path.to_str().expect("a plain path").to_owned()
}

#[test]
fn check_shows_errors_warnings_and_the_change_with_exit_codes() {
    let home = tempfile::tempdir().unwrap();
    let old = write(home.path(), "old.toml", OLD);
    let new = write(home.path(), "new.toml", NEW);
    let bad = write(home.path(), "bad.toml", &OLD.replace("counter", "cuonter"));
    let odd = write(home.path(), "odd.toml", &OLD.replace(", min = 1", ""));

    let (code, said, _) = tool(&["schema", "check", &old]);
    assert_eq!((code, said.lines().count()), (0, 1), "{said}");
    let (code, _, said) = tool(&["schema", "check", &bad]);
    assert!(
        code == 7 && said.contains("bad.toml:10:") && said.contains("^^^"),
        "{said}"
    );
    let (code, said, _) = tool(&["schema", "check", &bad, "--json"]);
    let said: Json = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (code, &said["ok"], &said["errors"][0]["line"]),
        (7, &json!(false), &json!(10))
    );
    let (code, said, _) = tool(&["schema", "check", &odd]);
    assert!(
        code == 0 && said.contains("warning:") && said.contains("odd.toml:6:"),
        "{said}"
    );
    let (code, _, _) = tool(&["schema", "check", &odd, "--deny-warnings"]);
    assert_eq!(code, 8);
    let (code, said, _) = tool(&["schema", "check", &new, "--from", &old]);
    assert!(code == 7 && said.contains("cannot follow"), "{said}");
}

#[test]
fn diff_lists_what_changes_by_collection() {
    let home = tempfile::tempdir().unwrap();
    let old = write(home.path(), "old.toml", OLD);
    let new = write(home.path(), "new.toml", NEW);

    let (code, said, _) = tool(&["schema", "diff", &old, &new]);
    assert_eq!(code, 0);
    for words in [
        "version 1 → 2",
        "patient",
        "error",
        "note: ",
        "tel: ",
        "older devices",
        "to do: ",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let (_, said, _) = tool(&["schema", "diff", &old, &new, "--json"]);
    let said: Json = serde_json::from_str(&said).unwrap();
    assert_eq!(said["schema"], "fieldmesh.schema-diff/1");
    assert!(
        said["changes"]
            .as_array()
            .unwrap()
            .iter()
            .any(|change| change["severity"] == "error")
    );
    let (_, said, _) = tool(&["schema", "diff", &old, &old]);
    assert!(said.contains("nothing changes"), "{said}");
}

#[tokio::test]
async fn a_simulation_reads_a_copy_of_a_store_or_an_export_and_changes_neither() {
    let mut a = Daemon::with_schema("a", None, OLD).start().await;
    for (id, fields) in [
        (
            "p1",
            json!({ "name": "Amina", "tel": "071", "age": 30, "note": "x" }),
        ),
        (
            "p2",
            json!({ "name": "Baraka", "age": 130, "visits": { "$add": 2 } }),
        ),
        ("p3", json!({ "name": "Chao" })),
    ] {
        a.put("patient", id, fields).await;
    }
    let new = write(&a.dir(), "new.toml", NEW);
    let dir = a.dir().to_str().unwrap().to_owned();
    let export = a.dir().join("patient.jsonl").to_str().unwrap().to_owned();
    assert!(
        a.cli(&["export", "patient", "-o", &export])
            .status
            .success()
    );
    let simulate = |against: &str, more: &[&str]| {
        let args = ["schema", "simulate", &new, "--against", against];
        tool(&[&args, more].concat())
    };

    let (code, _, said) = simulate(&dir, &[]);
    assert!(code == 5 && said.contains("stop the daemon"), "{said}");
    a.terminate();
    let store = a.dir().join("store.redb");
    let before = (fs::read(&store).unwrap(), fs::read(&export).unwrap());

    for against in [&dir, &export] {
        let (code, said, errors) = simulate(against, &["--json"]);
        assert_eq!(code, 1, "{errors}");
        let said: Json = serde_json::from_str(&said).unwrap();
        let records = json!({
            "read": 3, "changed": 1, "partial": 1, "unfit": 1, "unreadable": 0, "lossy": 2,
            "unfit_before": 0,
        });
        assert_eq!(said["records"], records, "{said}");
        assert_eq!(said["failures"][0]["field"], "age");
        assert_eq!(said["failures"][0]["examples"], json!(["p2"]));
        assert_eq!(
            said["samples"][0]["fields"][0]["before"],
            json!({ "name": "note", "value": "x" })
        );
        assert!(said["ms_per_1000"]["ratio"].as_f64().unwrap() > 0.0);
    }
    let (code, said, _) = simulate(&dir, &["--sample", "1"]);
    assert_eq!(code, 1);
    for words in [
        "3 records read",
        "patient/age",
        "p2",
        "BEFORE",
        "patient/p1",
        "wait for a person",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let (code, said, _) = simulate(&dir, &["--from", &new]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(
        (fs::read(&store).unwrap(), fs::read(&export).unwrap()),
        before
    );
}

#[tokio::test]
async fn a_simulation_begins_from_the_version_in_use_and_leaves_published_schemas_aside() {
    let mut a = Daemon::with_schema("a", None, OLD).start().await;
    a.put("patient", "p1", json!({ "name": "Amina" })).await;
    let more = |version: u32, more: &str| {
        let text = OLD.replace("version = 1", &format!("version = {version}"));
        let text = text + more;
        write(&a.dir(), &format!("{version}.toml"), &text)
    };
    let two = more(2, "village = { type = \"text\" }\n");
    let three = more(
        3,
        "village = { type = \"text\" }\nroad = { type = \"text\" }\n",
    );
    let said = a.cli(&["schema", "publish", &two]);
    assert!(said.status.success(), "{}", stderr(&said));
    a.put("patient", "p1", json!({ "village": "Kibos" })).await;
    let dir = a.dir().to_str().unwrap().to_owned();
    a.terminate();

    let (code, said, errors) = tool(&["schema", "simulate", &three, "--against", &dir]);

    assert_eq!(code, 0, "{said}{errors}");
    assert!(said.contains("version 2 → 3: 1 record read"), "{said}");
}

#[test]
fn editors_get_a_json_schema_and_a_form_becomes_a_schema_that_checks() {
    let home = tempfile::tempdir().unwrap();
    let mut book = rust_xlsxwriter::Workbook::new();
    let sheet = book.add_worksheet();
    sheet.set_name("survey").unwrap();
    let rows = [
        ["type", "name", "label"],
        ["text", "Name", "Who?"],
        ["image", "face", ""],
    ];
    for (row, cells) in rows.iter().enumerate() {
        for (column, text) in cells.iter().enumerate() {
            sheet
                .write_string(row as u32, column as u16, *text)
                .unwrap();
        }
    }
    let form = home.path().join("Visit form.xlsx");
    book.save(&form).unwrap();
    let (form, made) = (form.to_str().unwrap(), home.path().join("s.toml"));
    let made = made.to_str().unwrap();

    let (code, said, _) = tool(&["schema", "json-schema"]);
    let said: Json = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &said["title"]), (0, &json!("fieldmesh schema")));

    let (code, _, said) = tool(&["schema", "import", form, "-o", made]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("survey row 3: \"face\" left out"), "{said}");
    let (code, said, _) = tool(&["schema", "check", made, "--deny-warnings"]);
    assert!(code == 0 && said.contains("visit_form version 1"), "{said}");
    let before = fs::read(made).unwrap();
    let (code, _, said) = tool(&["schema", "import", form, "-o", made]);
    assert!(code != 0 && said.contains("nothing was written"), "{said}");
    assert_eq!(fs::read(made).unwrap(), before);
    let (code, _, said) = tool(&["schema", "import", made]);
    assert!(code == 7 && said.contains("not a workbook"), "{said}");
}
