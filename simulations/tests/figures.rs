//! Every figure of a report is what its label says, over the span it says.

use simulations::compare::{Scene, Setting};
use simulations::family::Family;
use simulations::measure::{FieldCount, Report};
use simulations::plan::SCHEMA;
use simulations::workload::{Workload, plan};

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
