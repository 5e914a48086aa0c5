//! Every figure of a report is what its label says, over the span it says.

use simulations::compare::{Scene, Setting, rows};
use simulations::family::Family;
use simulations::measure::{FieldCount, Report};
use simulations::plan::{Plan, SCHEMA};
use simulations::report;
use simulations::workload::{Workload, plan};
use simulations::world::World;

fn scene(workload: &str) -> Scene {
    let family = Family::parse(&[SCHEMA]).expect("a schema");
    let workload =
        Workload::read(workload, family.first()).unwrap_or_else(|error| panic!("{error}"));
    Scene {
        plan: plan(&workload, family.first()).expect("a plan"),
        family,
        prices: workload.prices.clone(),
        from_ms: workload.apart_ms(),
    }
}

/// Three phones that are trained together with a hub, and never meet afterwards but online.
const TRAINED: &str = r#"
days = 1
together_h = 1
who = [{ name = "hub", hub = true }, { name = "team", count = 3 }]
where.hub = [{ hub = "hub", from_h = 20, to_h = 22, days_per_cent = 100 }]
[collections.patient]
start = 12
creates = 0
edits = 4
deletes = 0
[collections.visit]
start = 0
creates = 0
edits = 0
deletes = 0
[collections.stock]
start = 0
creates = 0
edits = 0
deletes = 0
"#;

fn held(report: &Report) {
    assert_eq!(report.verdict, "held");
}

#[test]
fn a_fleet_without_its_hub_is_trained_like_the_one_with_it() {
    let without: Setting = "hub=none".parse().unwrap();

    let with_hub = scene(TRAINED).play();
    let alone = scene(TRAINED).with(&without).unwrap().play();

    held(&with_hub);
    held(&alone);
    for report in [&with_hub, &alone] {
        assert!(report.refused.is_empty(), "{:?}", report.refused);
    }
    assert!(with_hub.saved > 0 && with_hub.saved == alone.saved);
}

#[test]
fn what_is_written_while_all_are_together_is_not_counted() {
    // 12 records are made together; each of three people edits one field of 4 of them.
    let report = scene(TRAINED).play();

    held(&report);
    let writes: u64 = report.conflicts.fields.iter().map(|it| it.writes).sum();
    let edits = report.saved;
    assert!((12..=24).contains(&edits), "{}", report.text());
    assert_eq!(writes, edits, "{}", report.text());
    assert_eq!(report.spread.writes, edits, "{}", report.text());
    assert!((report.days - 23.0 / 24.0).abs() < 1e-9, "{}", report.days);
    let of = |field: &str| {
        let is_it = |it: &&FieldCount| it.collection == "patient" && it.field == field;
        report.conflicts.fields.iter().find(is_it).unwrap().writes
    };
    assert!(of("name") < 12, "{}", report.text());
}

#[test]
fn device_hours_are_those_of_honest_devices() {
    let text = [
        r#"{"plan":1,"seed":1,"profile":"by hand","horizon_ms":36000000,"settle_ms":600000}"#,
        r#"{"device":{"device":0}}"#,
        r#"{"device":{"device":1,"role":"stranger"}}"#,
        r#"{"device":{"device":2,"role":"liar"}}"#,
    ];
    let plan = Plan::from_text(&text.join("\n"), Family::bundled().unwrap()).unwrap();

    let outcome = World::run(&plan, &mut ());

    assert!(outcome.verdict.is_held(), "{:?}", outcome.verdict);
    // Ten hours, and less than one more to settle and be listened to.
    let device_h = outcome.counts.device_ms as f64 / 3_600_000.0;
    assert!((10.0..11.0).contains(&device_h), "{device_h} hours");
}

#[test]
fn what_is_sent_is_not_held_against_entries_that_nobody_has_counted() {
    let text = r#"{"plan":1,"seed":1,"profile":"by hand","horizon_ms":1000,"settle_ms":1000}
{"device":{"device":0}}"#;
    let plan = Plan::from_text(text, Family::bundled().unwrap()).unwrap();
    let held = World::run(&plan, &mut ());
    assert!(report::closing(&held, None).contains("(0.00 × entries held)"));

    let failed = World::run_within(&plan, 0, &mut ());

    assert!(!failed.verdict.is_held());
    let told = report::closing(&failed, None);
    assert!(told.contains("(- × entries held)"), "{told}");
}

#[test]
fn a_side_that_does_not_settle_has_no_figures_of_what_only_a_settled_fleet_can_tell() {
    let left = scene(TRAINED);
    let mut right = left.clone();
    // There is no time to settle, and nobody has met since the training.
    right.plan.header.settle_ms = 0;
    right.plan.contacts.retain(|contact| contact.at_ms == 0);

    let rows = rows(&left.play(), &right.play());

    for what in [
        "seconds to settle",
        "writes that differed",
        "asked of a person",
    ] {
        let row = rows.iter().find(|row| row.what == what).unwrap();
        assert!(row.left.is_some() && row.right.is_none(), "{row:?}");
    }
}
