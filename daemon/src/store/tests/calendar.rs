//! The schema's flags on local writes. The devices' clock stands in September 2026.

use super::*;

const FLAGGED: &str = r#"
schema = "clinic"
version = 1

[collections.patient.fields]
name = { type = "text" }
later = { type = "text", required = true, default = "none", since = "2027-01-01" }
past = { type = "text", until = "2026-01-31" }
tried = { type = "text", rollout = 1 }
"#;

fn device() -> Device {
    Device::with_schema(&Disk::default(), 1, FLAGGED)
}

fn codes(result: Result<CommitOutcome, Rejection>) -> Vec<String> {
    match result {
        Err(Rejection::Invalid { errors, .. }) => {
            errors.into_iter().map(|error| error.code).collect()
        }
        other => panic!("the write is refused as invalid, not {other:?}"),
    }
}

#[test]
fn a_field_of_tomorrow_is_neither_asked_for_nor_taken_nor_given_its_default() {
    let mut device = device();

    device
        .write(vec![upsert("1", vec![set("name", "Amina")])])
        .expect("`later` is not required yet");

    let record = device.get("1").expect("the record");
    assert_eq!(record.view.fields.get("later"), None);
    for field in ["later", "tried"] {
        let refused = device.write(vec![upsert("1", vec![set(field, "x")])]);
        assert_eq!(codes(refused), ["not_yet"], "{field}");
    }
}

#[test]
fn a_field_of_tomorrow_is_taken_and_asked_for_tomorrow() {
    let mut device = device();
    device.clock_ms = 1_800_000_000_000; // January 2027

    device
        .write(vec![upsert("1", vec![set("name", "Amina")])])
        .expect("a good write");

    let record = device.get("1").expect("the record");
    assert_eq!(record.view.fields["later"], "none");
    let refused = device.write(vec![upsert(
        "1",
        vec![Op::Set {
            key: "later".to_owned(),
            value: Value::Null,
        }],
    )]);
    assert_eq!(codes(refused), ["missing_required"]);
}

#[test]
fn a_field_of_yesterday_is_taken_with_a_warning_also_on_a_retry() {
    let mut device = device();
    let edits = vec![upsert("1", vec![set("past", "x")])];

    let first = device
        .write_once("k", edits.clone())
        .expect("it is still taken");
    let retried = device.write_once("k", edits).expect("a retry");

    for outcome in [&first, &retried] {
        let warnings = &outcome.records[0].warnings;
        assert_eq!(warnings.len(), 1);
        assert_eq!(warnings[0].code, "deprecated");
        assert!(warnings[0].message.contains("2026-01-31"));
    }
    let record = device.get("1").expect("the record");
    assert_eq!(record.view.fields["past"], "x");
}
