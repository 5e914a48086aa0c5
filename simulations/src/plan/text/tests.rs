use super::*;
use crate::link::{LinkClass, LinkFaults};
use crate::plan::{Role, schema};

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
