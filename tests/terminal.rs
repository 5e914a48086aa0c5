//! The command line as a person at a terminal sees it.

use std::fs;

use serde_json::Value as Json;

use crate::support::{Daemon, fieldmesh, output, stderr, stdout};

#[tokio::test]
async fn records_can_be_written_read_explained_deleted_and_restored() {
    let a = Daemon::found("a").start().await;

    assert!(
        a.cli(&["put", "patient", "p1", "name=Amina", "born=1990-02-03"])
            .status
            .success()
    );
    assert!(
        a.cli(&["add", "patient", "p1", "visits", "3"])
            .status
            .success()
    );
    assert!(
        a.cli(&["add", "patient", "p1", "visits", "-1"])
            .status
            .success()
    );

    let got: Json =
        serde_json::from_str(&stdout(&a.cli(&["--json", "get", "patient", "p1"]))).unwrap();
    assert_eq!(got["fields"]["visits"], 2);
    let why = stdout(&a.cli(&["get", "patient", "p1", "--why"]));
    assert!(
        why.contains("Amina") && why.contains("lww") && why.contains("review"),
        "{why}"
    );
    assert!(stdout(&a.cli(&["list", "patient"])).contains("Amina"));
    assert!(a.cli(&["delete", "patient", "p1"]).status.success());
    assert!(!stdout(&a.cli(&["list", "patient"])).contains("Amina"));
    assert!(a.cli(&["restore", "patient", "p1"]).status.success());
    assert!(stdout(&a.cli(&["list", "patient"])).contains("Amina"));
    assert!(a.cli(&["status"]).status.success());
}

#[tokio::test]
async fn exit_codes_and_errors_say_what_happened_and_what_to_do() {
    let a = Daemon::found("a").start().await;
    for (args, code, words) in [
        (vec!["get", "patient", "none"], 4, "does not exist"),
        (vec!["get", "pateint", "none"], 4, "patient"),
        (vec!["put", "patient", "p", "nmae=x"], 7, "nmae"),
        (vec!["put", "patient", "p", "phone=1"], 7, "name"),
        (vec!["nonsense"], 2, "nonsense"),
    ] {
        let said = a.cli(&args);
        assert_eq!(
            said.status.code(),
            Some(code),
            "{args:?}: {}",
            stderr(&said)
        );
        assert!(stderr(&said).contains(words), "{args:?}: {}", stderr(&said));
    }
    let nobody = output(fieldmesh().args(["status", "--dir", "/nonexistent"]));
    assert_eq!(nobody.status.code(), Some(3), "{}", stderr(&nobody));
}

#[tokio::test]
async fn an_import_is_checked_whole_before_anything_is_written() {
    let a = Daemon::found("a").start().await;
    let file = a.dir().join("people.csv");
    fs::write(
        &file,
        "id,name,born\np1,Amina,1990-02-03\np2,Baraka,yesterday\np3,,2000-01-01\n",
    )
    .unwrap();
    let path = file.to_str().unwrap();

    let bad = a.cli(&["import", "patient", path, "--id", "id"]);

    assert_eq!(bad.status.code(), Some(7));
    let said = stderr(&bad) + &stdout(&bad);
    for (line, column) in [("3 ", "born"), ("4 ", "name")] {
        let named = |row: &str| row.starts_with(line) && row.contains(column);
        assert!(said.lines().any(named), "{said}");
    }
    assert_eq!(a.count("patient").await, 0);

    fs::write(&file, "id,name,visits\np1,Amina,2\np2,Baraka,0\n").unwrap();
    assert!(
        a.cli(&["import", "patient", path, "--id", "id", "--dry-run"])
            .status
            .success()
    );
    assert_eq!(a.count("patient").await, 0);
    for _ in 0..2 {
        let good = a.cli(&["import", "patient", path, "--id", "id"]);
        assert!(good.status.success(), "{}", stderr(&good));
    }
    assert_eq!(a.count("patient").await, 2);
    assert_eq!(
        a.record("patient", "p1").await["fields"]["visits"],
        2,
        "a second import changes nothing"
    );
}

#[tokio::test]
async fn what_is_exported_can_be_imported_again() {
    let a = Daemon::found("a").start().await;
    let b = Daemon::found("b").start().await;
    for (id, fields) in [("p1", "name=Amina \"A\", Hassan"), ("p2", "name==cmd()")] {
        assert!(
            a.cli(&["put", "patient", id, fields, "born=2001-01-01"])
                .status
                .success()
        );
    }
    for format in ["csv", "jsonl"] {
        let file = a.dir().join(format!("out.{format}"));
        let path = file.to_str().unwrap();
        assert!(
            a.cli(&["export", "patient", "--format", format, "--output", path])
                .status
                .success()
        );
        let said = b.cli(&["import", "patient", path, "--id", "id"]);
        assert!(said.status.success(), "{}", stderr(&said));
        for id in ["p1", "p2"] {
            assert_eq!(
                a.record("patient", id).await["fields"],
                b.record("patient", id).await["fields"]
            );
        }
    }
}

#[test]
fn a_bad_schema_is_shown_with_line_and_caret_and_nothing_is_made() {
    let home = tempfile::tempdir().unwrap();
    let schema = home.path().join("s.toml");
    fs::write(
        &schema,
        "schema = \"x\"\nversion = 1\n[collections.a.fields]\nn = { type = \"text\", merge = \"lvw\" }\nm = { type = \"txt\" }\n",
    )
    .unwrap();
    let dir = home.path().join("d");

    let said = output(
        fieldmesh()
            .arg("init")
            .arg("--schema")
            .arg(&schema)
            .arg("--dir")
            .arg(&dir),
    );

    assert!(!said.status.success());
    let text = stderr(&said);
    assert!(
        text.contains("s.toml:4:") && text.contains("s.toml:5:") && text.contains("^^^"),
        "{text}"
    );
    assert!(text.contains("lww") && text.contains("text"), "{text}");
    assert!(!dir.join("config.toml").exists());
}
