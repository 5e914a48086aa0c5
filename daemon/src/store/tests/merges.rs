//! What the policies of a schema make of records that two devices have written apart, once for each kind.

use crdt_schema::resolution::Life;

use super::*;

const VISITS: &str = r#"
schema = "visits"
version = 1

[collections.patient]
delete = "delete-wins"
[collections.patient.fields]
name = { type = "text", merge = "review" }
stage = { type = "choice", of = ["new", "treated", "closed"], merge = "rank" }
visits = { type = "counter" }
temp_c = { type = "number" }
"#;

/// Two devices that hold the same record.
fn two() -> [Device; 2] {
    let mut devices = [1, 2].map(|number| Device::with_schema(&Disk::default(), number, VISITS));
    let [a, b] = &mut devices;
    let ops = vec![set("name", "A"), set("stage", "new")];
    a.write(vec![upsert("1", ops)]).expect("a write");
    b.pull(a, usize::MAX);
    devices
}

/// Each writes without knowing of the other; then both hold both.
fn apart([a, b]: &mut [Device; 2], here: Vec<Op>, there: Vec<Op>) {
    a.write(vec![upsert("1", here)]).expect("a write");
    b.write(vec![upsert("1", there)]).expect("a write");
    a.pull(b, usize::MAX);
    b.pull(a, usize::MAX);
}

#[test]
fn equal_additions_of_two_devices_are_both_counted() {
    let mut devices = two();

    apart(&mut devices, vec![add("visits", 2)], vec![add("visits", 2)]);

    assert!(devices.iter().all(|it| it.field("1", "visits") == 4));
}

#[test]
fn of_concurrent_choices_the_one_that_is_furthest_along_is_shown() {
    let mut devices = two();
    let [here, there] = ["closed", "treated"].map(|stage| vec![set("stage", stage)]);

    apart(&mut devices, here, there);

    assert!(devices.iter().all(|it| it.field("1", "stage") == "closed"));
}

#[test]
fn where_deletions_win_a_raced_one_stands() {
    let mut devices = two();

    apart(&mut devices, vec![set("name", "B")], vec![delete()]);

    let life = |device: &Device| device.get("1").expect("the record").view.life;
    assert!(devices.iter().all(|device| life(device) == Life::Deleted));
}

#[test]
fn an_answer_does_not_speak_for_a_value_that_it_had_not_seen() {
    let mut devices = two();
    apart(&mut devices, vec![set("name", "B")], vec![set("name", "C")]);
    let answer = Op::Resolve {
        key: "name".to_owned(),
        value: Value::Text("B".to_owned()),
        note: String::new(),
    };

    apart(&mut devices, vec![answer], vec![set("name", "D")]);

    let reviews = |device: &Device| device.get("1").expect("the record").view.reviews.len();
    assert!(devices.iter().all(|device| reviews(device) == 1));
}

#[test]
fn a_temperature_is_read_in_the_unit_of_the_version_in_use() {
    let [mut device, _] = two();
    let temperature = Op::Set {
        key: "temp_c".to_owned(),
        value: Value::number(37.0).expect("a number"),
    };
    let written = device.write(vec![upsert("1", vec![temperature])]);
    let second = VISITS.replace("version = 1", "version = 2");
    let second = second.replace("temp_c", "temp_f")
        + "[[migrations]]\nto = 2\nsteps = [{ convert = \"patient.temp_c\", as = \"temp_f\", with = \"c_to_f\" }]\n";

    let read = schema(&second);
    let document = device.reader().document(&patient("1"));
    let document = document.expect("the store reads").expect("the record");
    let view = document.view(read.collection("patient").expect("patients"), "1");

    assert!(written.is_ok());
    let shown = view.fields.get("temp_f").and_then(|it| it.as_f64());
    assert!(
        shown.is_some_and(|shown| (shown - 98.6).abs() < 1e-6),
        "{shown:?}"
    );
}
