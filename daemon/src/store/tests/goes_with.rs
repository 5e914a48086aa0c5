//! Records that are deleted because others are, and what people are told who want them back.

use super::*;

const CLINIC: &str = r#"
schema = "s"
version = 1
[collections.patient.fields]
name = { type = "text" }
[collections.visit.fields]
patient = { type = "ref", to = "patient", on_delete = "cascade" }
outcome = { type = "text" }
[[review]]
in = "visit"
when = "outcome is empty"
reason = "the outcome is missing"
"#;

fn change(collection: &str, op: Op) -> LocalEdit {
    LocalEdit {
        collection: collection.to_owned(),
        ..upsert("1", vec![op])
    }
}

fn clinic() -> Device {
    let mut device = Device::with_schema(&Disk::default(), 1, CLINIC);
    let both = vec![
        change("patient", set("name", "Amina")),
        change("visit", set("patient", "1")),
    ];
    device.write(both).expect("a write");
    device
}

#[test]
fn a_record_that_is_deleted_with_another_is_not_restored_without_it() {
    let mut device = clinic();
    device
        .write(vec![change("patient", delete())])
        .expect("a delete");

    for op in [restore(), set("outcome", "cured"), delete()] {
        let refused = device.write(vec![change("visit", op)]);
        let Err(Rejection::DeletedWith { with, .. }) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(with, ["patient/1"]);
    }

    device
        .write(vec![change("patient", restore())])
        .expect("a restore");
    let after = device.write(vec![change("visit", set("outcome", "cured"))]);
    assert!(after.is_ok(), "{after:?}");
}

#[test]
fn records_of_one_id_in_two_spaces_are_asked_about_apart() {
    let mut device = clinic();
    let first = device.reader().reviews().expect("the reviews read");
    let mut commit = device.local(vec![change("visit", set("patient", "1"))]);
    commit.log.space = SpaceName::new("clinic/kisumu").expect("a space");
    commit.log.log = LogId([77; 16]);
    device.commit(commit).expect("a write");

    let both = device.reader().reviews().expect("the reviews read");

    assert_eq!((first.len(), both.len()), (1, 2));
}
