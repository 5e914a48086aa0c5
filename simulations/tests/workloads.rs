//! What people who write schemas see: workloads under several schemas, comparisons, and versions side by side.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use simulations::compare::{Scene, Setting, rows};
use simulations::family::Family;
use simulations::measure::{Meter, Report};
use simulations::outcome::Outcome;
use simulations::plan::Plan;
use simulations::sometimes::Sometimes;
use simulations::workload::{Prices, Workload, plan};
use simulations::world::World;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(file(name)).expect("the file is there")
}

fn sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_simulations"))
        .args(arguments)
        .output()
        .expect("the program runs")
}

fn scene(schema: &str, workload: &str) -> Scene {
    let family = Family::parse(&[schema]).expect("a schema");
    let workload =
        Workload::read(workload, family.first()).unwrap_or_else(|error| panic!("{error}"));
    Scene {
        plan: plan(&workload, family.first()).expect("a plan"),
        family,
        prices: workload.prices.clone(),
        from_ms: workload.apart_ms(),
    }
}

fn held(report: &Report) {
    assert_eq!(report.verdict, "held");
}

/// Three phones that edit the same few records, and somebody who answers.
const BUSY: &str = r#"
days = 2
who = [{ name = "hub", hub = true }, { name = "team", count = 3 }]
supervisors = [{ group = "team", per_day = 2 }]
where.market = [{ every_days = 1, from_h = 18, to_h = 20, by = "ble" }]
where.hub = [{ hub = "hub", from_h = 6, to_h = 8, days_per_cent = 100 }]
[collections.patient]
start = 4
edits = 4.0
deletes = 0.0
fields = ["name"]
same_record_percent = 100
[collections.visit]
start = 0
creates = 0.0
[collections.stock]
start = 2
edits = 1.0
deletes = 0.0
add = [1, 5]
"#;

#[test]
fn the_example_of_the_clinic_holds_and_gives_the_same_report_each_time() {
    let workload = Workload::read(
        &read("examples/clinic.toml"),
        &simulations::plan::schema().unwrap(),
    );
    let workload = workload.unwrap().with_days(2).unwrap();
    let family = Family::parse(&[simulations::plan::SCHEMA]).unwrap();
    let plan = plan(&workload, family.first()).unwrap();
    let play = || {
        let mut meter = Meter::new(&plan, workload.apart_ms(), false);
        let outcome = World::run_under(&plan, &family, &mut meter);
        meter.report(&plan, &outcome, &workload.prices)
    };

    let report = play();

    held(&report);
    assert_eq!(report.json(), play().json());
    assert!(report.saved > 100, "{}", report.text());
    let visits = report
        .conflicts
        .fields
        .iter()
        .find(|it| it.field == "on_hand");
    assert!(visits.unwrap().writes > 20);
    assert!(report.spread.reach[0].half_of_writes_h.is_some());
}

/// Few records that refer to each other, and many deletions.
const RELIEF: &str = r#"
days = 2
together_h = 1
seed = 3
who = [{ name = "a", count = 2 }, { name = "b", count = 2 }]
supervisors = [{ group = "a", per_day = 20 }]
where.market = [{ every_days = 1, from_h = 18, to_h = 20 }]
where.near = [{ group = "a" }, { group = "b", by = "ble" }]
collections.camp = { start = 6, edits = 1, deletes = 1 }
collections.household = { start = 6, deletes = 1 }
collections.person = { start = 12, deletes = 1 }
collections.case = { start = 6, deletes = 0.5 }
collections.ration = { start = 4, add = [-9, 2] }
"#;

#[test]
fn a_schema_with_references_of_every_kind_and_rules_holds() {
    let report = scene(&read("schemas/relief.toml"), RELIEF).play();

    held(&report);
    let deleted: u64 = report.conflicts.deletions.iter().map(|it| it.deleted).sum();
    assert!(deleted > 2 && report.saved > 50, "{}", report.text());
}

#[test]
fn reviews_are_opened_answered_and_left_where_a_policy_asks() {
    let asks = scene(simulations::plan::SCHEMA, BUSY);
    let decides: Setting = "merge.patient.name=lww".parse().unwrap();

    let (left, right) = (asks.play(), asks.with(&decides).unwrap().play());

    held(&left);
    held(&right);
    let reviews = left.reviews;
    assert!(
        reviews.opened > 0 && reviews.answered > 0,
        "{}",
        left.text()
    );
    assert_eq!((right.reviews.opened, left.saved > 0), (0, true));
    let rows = rows(&left, &right);
    let row = rows.iter().find(|row| row.what == "asked of a person");
    let row = row.unwrap();
    assert!(row.left > Some(0.0) && row.right == Some(0.0), "{row:?}");
}

#[test]
fn money_follows_from_bytes_and_prices() {
    let mut scene = scene(simulations::plan::SCHEMA, BUSY);
    scene.prices = Prices {
        cell2g: 100.0,
        ..Prices::default()
    };
    let report = scene.play();
    let months = report.days / 30.0;
    for device in &report.devices {
        let megabytes = device.bytes.get("cell2g").copied().unwrap_or(0) as f64 / 1e6;
        let money = megabytes * 100.0 / months;
        assert!((device.month_money - money).abs() < 1e-9, "{device:?}");
    }
    assert!(report.devices[0].month_money > 0.0);
}

#[test]
fn the_programs_simulate_and_compare_say_what_came_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let (svg, workload) = (folder.path().join("run.svg"), folder.path().join("w.toml"));
    fs::write(&workload, BUSY).unwrap();
    let schema = file("schemas/rounds.toml");
    let (schema, workload) = (schema.to_str().unwrap(), workload.to_str().unwrap());

    let alone = sim(&[
        "simulate",
        "--schema",
        schema,
        "--days",
        "1",
        "--svg",
        svg.to_str().unwrap(),
    ]);
    let told = String::from_utf8(alone.stdout).unwrap();
    assert!(alone.status.success(), "{told}");
    for words in [
        "patient.diagnosis",
        "MB a month",
        "USD a month",
        "95 %",
        "Checks: held",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert!(fs::read_to_string(svg).unwrap().starts_with("<svg"));

    let compared = sim(&[
        "compare", "--plan", workload, "--schema", schema, "--right", "hub=none",
    ]);
    let told = String::from_utf8(compared.stdout).unwrap();
    assert!(compared.status.success(), "{told}");
    assert!(told.contains("MB a month, all devices"), "{told}");

    fs::write(workload, "days = 3\n[collections.pateint]\n").unwrap();
    let wrong = sim(&["simulate", "--schema", schema, "--workload", workload]);
    let told = String::from_utf8(wrong.stderr).unwrap();
    assert_eq!(wrong.status.code(), Some(5));
    assert!(
        told.contains("line 2, column 14") && told.contains("^^^"),
        "{told}"
    );
}

/// Devices 0 to 2 begin with versions 1 to 3; device 0 is upgraded in mid-run, device 2 goes back.
const MIXED: &str = r#"{"plan":1,"seed":11,"profile":"by hand","horizon_ms":7200000,"settle_ms":7200000}
{"device":{"device":0}}
{"device":{"device":1,"schema":2}}
{"device":{"device":2,"schema":3}}
{"contact":{"at_ms":1800000,"end_ms":2400000,"a":0,"b":1,"class":"wifi"}}
{"contact":{"at_ms":2700000,"end_ms":3300000,"a":1,"b":2,"class":"wifi"}}
{"contact":{"at_ms":3600000,"end_ms":4200000,"a":0,"b":2,"class":"wifi"}}
{"op":{"at_ms":1000,"device":0,"write":{"edits":[{"collection":"patient","id":"p","ops":[{"set":["name","Awa Diop"]},{"set":["notes","tall"]}]},{"collection":"visit","id":"v","ops":[{"set":["notes","first"]},{"set":["temp_c",37]}]},{"collection":"stock","id":"s","ops":[{"set":["item","gloves"]},{"set":["unit","box"]}]}]}}}
{"op":{"at_ms":1500,"device":0,"publish":{"version":1}}}
{"op":{"at_ms":2000,"device":1,"write":{"edits":[{"collection":"patient","id":"q","ops":[{"set":["name","Binta Fall"]},{"set":["phone","0700"]}]}]}}}
{"op":{"at_ms":3000,"device":2,"write":{"edits":[{"collection":"patient","id":"r","ops":[{"set":["given","Chidi"]},{"set":["family","Obi"]}]},{"collection":"visit","id":"w","ops":[{"set":["notes","other"]},{"set":["temp_f",104]}]}]}}}
{"op":{"at_ms":4500000,"device":2,"use_schema":{"version":1}}}
{"op":{"at_ms":4600000,"device":2,"write":{"edits":[{"collection":"visit","id":"v","ops":[{"set":["notes","again"]},{"set":["temp_c",39]}]}]}}}
{"op":{"at_ms":4600000,"device":1,"write":{"edits":[{"collection":"visit","id":"v","ops":[{"set":["notes","too"]},{"set":["temp_f",101]}]}]}}}
{"op":{"at_ms":4700000,"device":0,"install":{"version":3}}}
{"op":{"at_ms":5000000,"device":0,"write":{"edits":[{"collection":"patient","id":"q","ops":[{"set":["family","Ba"]}]}]}}}
"#;

#[test]
fn three_versions_live_side_by_side_with_an_upgrade_and_a_way_back() {
    let family = Family::bundled().unwrap();
    let plan = Plan::from_text(MIXED, &family).unwrap();
    assert_eq!(plan.classes(), ["F27"]);

    let outcome: Outcome = World::run(&plan, &mut ());

    assert!(outcome.verdict.is_held(), "{:?}", outcome.verdict);
    assert!(outcome.counts.refused.is_empty(), "{:?}", outcome.counts);
    assert!(outcome.reached.has(Sometimes::SchemaAdopted));
    assert!(outcome.reached.has(Sometimes::SchemaWentBack));
}

#[test]
fn a_plan_cannot_name_versions_that_there_are_not() {
    let family = Family::bundled().unwrap();
    let wrong = MIXED.replace("\"install\":{\"version\":3}", "\"install\":{\"version\":9}");
    let error = Plan::from_text(&wrong, &family).unwrap_err().to_string();
    assert!(error.contains("there is no version 9"), "{error}");
}
