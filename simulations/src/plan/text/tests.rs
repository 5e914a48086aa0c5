use super::*;
use crate::link::{LinkClass, LinkFaults};
use crate::plan::{Act, EditSpec, FaultKind, Role, schema};

const HEADER: &str = r#"{"plan":1,"seed":7,"profile":"by hand","horizon_ms":1000,"settle_ms":500}"#;

fn read(lines: &[&str]) -> Result<Plan, PlanError> {
    let text = format!("{HEADER}\n{}", lines.join("\n"));
    Plan::from_text(&text, &schema().unwrap())
}

fn complaint(lines: &[&str]) -> String {
    read(lines).unwrap_err().to_string()
}

#[test]
fn a_plan_reads_back_as_it_was_written() {
    let spec = |device, role| DeviceSpec {
        device,
        role,
        commit_ms: 5,
        fetch_ms: 2,
        ..DeviceSpec::default()
    };
    let op = |ops| EditSpec {
        collection: "patient".to_owned(),
        id: "p1".to_owned(),
        ops,
    };
    let name = OpSpec::Set("name".to_owned(), "Awa".into());
    let plan = Plan {
        header: serde_json::from_str(HEADER).unwrap(),
        devices: vec![spec(0, Role::Hub), spec(3, Role::Field)],
        contacts: vec![Contact {
            at_ms: 1,
            end_ms: 9,
            a: 0,
            b: 3,
            class: LinkClass::Cell2g,
            faults: LinkFaults {
                cut_at_bytes: Some(100),
                ..LinkFaults::default()
            },
        }],
        operations: vec![
            Operation {
                at_ms: 4,
                device: 3,
                act: Act::Write {
                    edits: vec![op(vec![name, OpSpec::Add("visits".to_owned(), -2)])],
                    key: Some("k".to_owned()),
                },
            },
            Operation {
                at_ms: 5,
                device: 3,
                act: Act::Review {
                    place: 1,
                    choice: 2,
                },
            },
        ],
        faults: vec![Fault {
            at_ms: 6,
            device: 0,
            kind: FaultKind::Wipe {},
        }],
    };

    let read = Plan::from_text(&plan.to_text(), &schema().unwrap());

    assert_eq!(read, Ok(plan));
}

#[test]
fn what_a_plan_may_not_say_is_refused_with_its_line() {
    let device = r#"{"device":{"device":0}}"#;
    let other = r#"{"device":{"device":1}}"#;
    for (lines, words) in [
        (vec!["{}"], "line 2"),
        (
            vec![r#"{"device":{"device":0,"colour":"red"}}"#],
            "line 2: unknown field `colour`",
        ),
        (vec![r#"{"device":{"device":-1}}"#], "at column 22"),
        (vec![device, device], "line 3: there are two devices 0"),
        (
            vec![device, r#"{"fault":{"at_ms":1,"device":9,"wipe":{}}}"#],
            "no device 9",
        ),
        (
            vec![
                device,
                other,
                r#"{"contact":{"at_ms":5,"end_ms":5,"a":0,"b":1,"class":"ble"}}"#,
            ],
            "end after it begins",
        ),
        (
            vec![
                device,
                other,
                r#"{"contact":{"at_ms":5,"end_ms":6,"a":0,"b":1,"class":"smoke"}}"#,
            ],
            "smoke",
        ),
        (
            vec![
                device,
                r#"{"op":{"at_ms":1,"device":0,"write":{"edits":[{"collection":"patient","id":"p","ops":[{"set":["shoe",1]}]}]}}}"#,
            ],
            "no field \"shoe\"",
        ),
        (
            vec![
                device,
                r#"{"fault":{"at_ms":1,"device":0,"restore":{"taken_ms":2,"witness_kept":true}}}"#,
            ],
            "before it is restored",
        ),
        (
            vec![r#"{"device":{"device":0,"duty":"queen"}}"#],
            "has no role \"queen\"",
        ),
    ] {
        let found = complaint(&lines);
        assert!(found.contains(words), "{lines:?}: {found}");
    }
    let newer = HEADER.replace("\"plan\":1", "\"plan\":2");
    let error = Plan::from_text(&newer, &schema().unwrap()).unwrap_err();
    assert!(error.to_string().contains("plan format 2"));
}

/// Two devices and the line, which must be refused with all of these words.
fn assert_refused(line: &str, words: &[&str]) {
    let devices = [
        r#"{"device":{"device":0}}"#,
        r#"{"device":{"device":1,"duty":"nurse"}}"#,
        r#"{"device":{"device":2,"role":"stranger"}}"#,
        r#"{"device":{"device":3,"twin_of":0}}"#,
        r#"{"contact":{"at_ms":100,"end_ms":200,"a":0,"b":1,"class":"wifi"}}"#,
    ];
    let found = complaint(&[&devices[..], &[line]].concat());
    assert!(found.starts_with("line 7: "), "{line}: {found}");
    for word in words {
        assert!(found.contains(word), "{line}: {found}");
    }
}

#[test]
fn keys_that_nobody_knows_are_refused_wherever_they_stand() {
    let edits = r#""edits":[{"collection":"patient","id":"p","ops":[{"delete":"x"}]}]"#;
    for (line, word) in [
        (
            format!(r#"{{"op":{{"at_ms":1,"device":0,"write":{{{edits},"kye":"k"}}}}}}"#),
            "`kye`",
        ),
        (
            format!(r#"{{"op":{{"at_ms":1,"device":0,"update":{{{edits},"key":"k"}}}}}}"#),
            "`key`",
        ),
        (
            format!(r#"{{"op":{{"at_ms":1,"device":0,"why":"x","write":{{{edits}}}}}}}"#),
            "`why`",
        ),
        (
            r#"{"op":{"at_ms":1,"device":0,"review":{"place":1,"choice":1,"note":""}}}"#.to_owned(),
            "`note`",
        ),
        (
            r#"{"fault":{"at_ms":1,"device":0,"kill":{"down_ms":1,"again":true}}}"#.to_owned(),
            "`again`",
        ),
        (
            r#"{"fault":{"at_ms":1,"device":0,"wipe":{"all":true}}}"#.to_owned(),
            "`all`",
        ),
        (
            r#"{"fault":{"at_ms":1,"device":0,"kil":{"down_ms":1}}}"#.to_owned(),
            "`kil`",
        ),
        (
            r#"{"contact":{"at_ms":1,"end_ms":2,"a":0,"b":1,"class":"ble","faults":{"mut":0}}}"#
                .to_owned(),
            "`mut`",
        ),
        (
            r#"{"device":{"device":9,"clock":{"drift":0}}}"#.to_owned(),
            "`drift`",
        ),
        (
            r#"{"fault":{"at_ms":1,"device":0,"wipe":{},"kill":{"down_ms":1}}}"#.to_owned(),
            "too much",
        ),
        (
            r#"{"fault":{"at_ms":1,"at_ms":2,"device":0,"wipe":{}}}"#.to_owned(),
            "too much",
        ),
        (
            r#"{"fault":{"at_ms":1,"device":0}}"#.to_owned(),
            "nothing happens",
        ),
        (r#"{"fault":{"device":0,"wipe":{}}}"#.to_owned(), "`at_ms`"),
        (
            r#"{"op":{"at_ms":1,"network":{"online":true}}}"#.to_owned(),
            "`device`",
        ),
    ] {
        assert_refused(&line, &[word]);
    }
}

#[test]
fn lines_without_an_effect_are_refused_and_say_what_would_have_one() {
    let op = |at_ms: u64, device: usize| {
        format!(r#"{{"op":{{"at_ms":{at_ms},"device":{device},"network":{{"online":true}}}}}}"#)
    };
    assert!(read(&[r#"{"device":{"device":0}}"#, &op(1000, 0)]).is_ok());
    assert_refused(
        &op(1001, 0),
        &["after the horizon, 1000", "move the horizon"],
    );
    assert_refused(&op(1, 2), &["stranger", "name a field device"]);
    let contact = |rest: &str| format!(r#"{{"contact":{{"class":"ble",{rest}}}}}"#);
    for (line, words) in [
        (contact(r#""at_ms":1001,"end_ms":1002,"a":0,"b":1"#), "after the horizon"),
        (contact(r#""at_ms":199,"end_ms":300,"a":1,"b":0"#), "from 100 to 200 already; join"),
        (contact(r#""at_ms":50,"end_ms":101,"a":1,"b":0"#), "from 100 to 200 already"),
        (contact(r#""at_ms":1,"end_ms":999,"a":1,"b":0"#), "from 100 to 200 already"),
        (contact(r#""at_ms":1,"end_ms":9,"a":0,"b":1,"faults":{"mute":2}"#), "mute 0 or 1"),
        (contact(r#""at_ms":1,"end_ms":9,"a":0,"b":1,"faults":{"burst":0}"#), "1 to 1000"),
        (contact(r#""at_ms":1,"end_ms":9,"a":0,"b":1,"faults":{"burst":1001}"#), "1 to 1000"),
        (contact(r#""at_ms":1,"end_ms":9,"a":0,"b":1,"faults":{"cut_at_bytes":0}"#), "at least 1"),
        (contact(r#""at_ms":1,"end_ms":9,"a":0,"b":1,"faults":{"slower":1}"#), "2 to 1000000"),
        (contact(r#""at_ms":5,"end_ms":9,"a":0,"b":1,"faults":{"clogged_until_ms":5}"#), "after the contact begins"),
        (r#"{"fault":{"at_ms":1001,"device":0,"wipe":{}}}"#.to_owned(), "after the horizon"),
        (r#"{"fault":{"at_ms":1,"device":2,"wipe":{}}}"#.to_owned(), "stranger"),
        (r#"{"fault":{"at_ms":1,"device":0,"rot":{"bits":0}}}"#.to_owned(), "at least 1"),
        (r#"{"fault":{"at_ms":1,"device":0,"wear":{"pages":0}}}"#.to_owned(), "at least 1"),
        (r#"{"device":{"device":9,"schema":9}}"#.to_owned(), "no version 9"),
        (r#"{"device":{"device":9,"gone_ms":1001}}"#.to_owned(), "after the horizon"),
        (r#"{"device":{"device":9,"born_ms":1001}}"#.to_owned(), "after the horizon"),
        (r#"{"device":{"device":9,"born_ms":7,"gone_ms":7}}"#.to_owned(), "before it is switched on"),
        (r#"{"device":{"device":9,"twin_of":3}}"#.to_owned(), "a twin of 0"),
        (r#"{"device":{"device":9,"twin_of":1}}"#.to_owned(), "role and the duty"),
        (r#"{"device":{"device":9,"twin_of":2,"role":"stranger"}}"#.to_owned(), "honest device 2"),
        (r#"{"op":{"at_ms":1,"device":0,"write":{"edits":[{"collection":"patient","id":"p","ops":[]}]}}}"#.to_owned(), "patient/p needs at least one op"),
    ] {
        assert_refused(&line, &[words]);
    }
}

#[test]
fn contacts_of_a_pair_that_touch_are_two() {
    let device = |number: usize| format!(r#"{{"device":{{"device":{number}}}}}"#);
    let contact = |at_ms: u64, end_ms: u64| {
        format!(r#"{{"contact":{{"at_ms":{at_ms},"end_ms":{end_ms},"a":0,"b":1,"class":"ble"}}}}"#)
    };
    let lines = [
        device(0),
        device(1),
        contact(20, 30),
        contact(10, 20),
        contact(30, 40),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();

    assert_eq!(read(&lines).map(|plan| plan.contacts.len()), Ok(3));
}

#[test]
fn every_time_and_number_has_a_bound() {
    let most = u64::MAX;
    for line in [
        format!(r#"{{"device":{{"device":9,"commit_ms":{most}}}}}"#),
        format!(r#"{{"device":{{"device":9,"fetch_ms":{most}}}}}"#),
        format!(r#"{{"device":{{"device":9,"born_ms":{most}}}}}"#),
        format!(r#"{{"device":{{"device":9,"gone_ms":{most}}}}}"#),
        format!(
            r#"{{"device":{{"device":9,"clock":{{"offset_ms":{}}}}}}}"#,
            i64::MIN
        ),
        format!(
            r#"{{"device":{{"device":9,"clock":{{"drift_ppm":{}}}}}}}"#,
            i64::MIN
        ),
        format!(r#"{{"contact":{{"at_ms":{most},"end_ms":{most},"a":0,"b":1,"class":"ble"}}}}"#),
        format!(r#"{{"contact":{{"at_ms":1,"end_ms":{most},"a":0,"b":1,"class":"ble"}}}}"#),
        format!(
            r#"{{"contact":{{"at_ms":1,"end_ms":2,"a":0,"b":1,"class":"ble","faults":{{"clogged_until_ms":{most}}}}}}}"#
        ),
        format!(r#"{{"op":{{"at_ms":{most},"device":0,"network":{{"online":true}}}}}}"#),
        format!(r#"{{"fault":{{"at_ms":{most},"device":0,"wipe":{{}}}}}}"#),
        format!(r#"{{"fault":{{"at_ms":1,"device":0,"kill":{{"down_ms":{most}}}}}}}"#),
        format!(r#"{{"fault":{{"at_ms":1,"device":0,"disk_full":{{"for_ms":{most}}}}}}}"#),
        format!(r#"{{"fault":{{"at_ms":1,"device":0,"rot":{{"bits":{most}}}}}}}"#),
        format!(
            r#"{{"fault":{{"at_ms":1,"device":0,"clock_jump":{{"by_ms":{}}}}}}}"#,
            i64::MIN
        ),
    ] {
        assert_refused(&line, &[]);
    }
    for (name, value) in [
        ("horizon_ms\":1000", "horizon_ms\":0"),
        ("settle_ms\":500", "settle_ms\":316224000000"),
    ] {
        let header = HEADER.replace(name, value);
        let error = Plan::from_text(&header, &schema().unwrap()).unwrap_err();
        assert!(error.to_string().starts_with("line 1: "), "{error}");
    }
}

#[test]
fn the_lines_of_a_file_are_found_in_whatever_order_they_stand() {
    let text = format!(
        "{HEADER}\n\n{{\"op\":1}}\n {{ \"contact\" : 2}}\nwhat\n{{\"fault\":{{}}}}\n{{\"op\":{{}}}}\n"
    );

    let lines = Lines::of(&text);

    assert_eq!(lines.operations, [3, 7]);
    assert_eq!((lines.contacts, lines.faults), (vec![4], vec![6]));
}
