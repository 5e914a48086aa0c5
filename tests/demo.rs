//! `fieldmesh demo`: what a new user runs first.

use std::time::Instant;

use serde_json::Value as Json;

use crate::support::{fieldmesh, output, stderr, stdout};

#[test]
fn the_demo_keeps_all_its_promises_within_a_minute() {
    let started = Instant::now();

    let said = output(fieldmesh().args(["demo", "--json"]));

    assert!(
        said.status.success(),
        "{}\n{}",
        stdout(&said),
        stderr(&said)
    );
    assert!(started.elapsed().as_secs() < 60);
    let report: Json = serde_json::from_str(stdout(&said).trim()).expect("one JSON object");
    let checks = report["checks"].as_array().expect("checks");
    assert!(checks.len() >= 12, "only {} checks", checks.len());
    assert!(checks.iter().all(|check| check["held"] == true));
    assert_eq!(report["held"], true);
}
