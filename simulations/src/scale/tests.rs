//! Both fidelities play the same plans, and must agree to the byte.

use std::sync::Arc;

use super::fleet::{LargeFleet, Movement};
use super::{ScaleError, plain, run_and_settle};
use crate::generate::{Profile, generate, profile};
use crate::holding::digest;
use crate::link::{LinkClass, LinkFaults};
use crate::plan::{Act, Contact, Plan, schema};
use crate::world::World;

/// Four devices over a very busy hour, with every fault of links, clocks and processes.
fn plan(seed: u64) -> Plan {
    let quick = profile("quick").expect("it is in the list");
    let four = Profile {
        devices: (4, 4),
        hours: 1,
        edits_in_10_h: 300,
        contacts_in_10_h: 300,
        ..quick
    };
    plain(&generate(seed, &four))
}

fn assert_same(plan: &Plan) {
    let seed = plan.header.seed;
    let (full, looks) = World::run_and_look(plan).unwrap();
    assert!(full.verdict.is_held(), "seed {seed}: {:?}", full.verdict);

    let schema = Arc::new(schema().unwrap());
    let scale = run_and_settle(plan, &schema, &mut |_| {}).unwrap();

    let places = ["at the horizon", "in the end"];
    for ((place, one), other) in places.iter().zip(&looks).zip(&scale.holdings) {
        for (number, holding) in one {
            assert_eq!(
                Some(holding),
                other.get(number),
                "seed {seed}: device {number} {place}"
            );
        }
        assert_eq!(digest(one), digest(other), "seed {seed} {place}");
    }
    let counts = &scale.counts;
    assert_eq!(
        (full.counts.frames, full.counts.bytes, full.counts.saved),
        (counts.frames, counts.bytes, counts.saved),
        "seed {seed}: frames, bytes, writes"
    );
    assert_eq!(
        (full.counts.connections, full.counts.cuts, full.settled_ms),
        (counts.connections, counts.cuts, scale.settled_ms),
        "seed {seed}: connections, cuts, settling"
    );
}

#[test]
fn both_fidelities_send_the_same_bytes_and_end_with_the_same_values() {
    for seed in 1..=20 {
        assert_same(&plan(seed));
    }
}

/// A device that writes alone for long, another that fetches it all over a slow link, and a third.
fn long_log() -> Plan {
    let fleet = LargeFleet {
        devices: 3,
        days: 1,
        movement: Movement::Depot,
        writes_in_10_days: 4_000,
        village: 1,
        awake_min: 1,
        every_h: 1,
        seed: 5,
    };
    let mut plan = fleet.plan().unwrap();
    for operation in &mut plan.operations {
        operation.device = 1 + operation.device % 2;
    }
    let meet = |at_h: u64, a: usize, b: usize| Contact {
        at_ms: at_h * 3_600_000,
        end_ms: (at_h + 2) * 3_600_000,
        a,
        b,
        class: LinkClass::Wifi,
        faults: LinkFaults::default(),
    };
    plan.contacts = vec![
        meet(10, 0, 1),
        meet(13, 1, 2),
        meet(16, 0, 2),
        meet(21, 0, 1),
    ];
    plan
}

#[test]
fn long_logs_travel_in_the_same_runs() {
    assert_same(&long_log());
}

/// The plan with every second write made an edit of a record that has to be there.
fn with_updates(mut plan: Plan) -> Plan {
    for operation in plan.operations.iter_mut().step_by(2) {
        if let Act::Write { edits, key: None } = &operation.act {
            let edits = edits.clone();
            operation.act = Act::Update { edits };
        }
    }
    plan
}

#[test]
fn edits_of_records_that_are_there_are_the_same_in_both_fidelities() {
    for seed in 1..=4 {
        let plan = with_updates(plan(seed));
        let updates = plan.operations.iter();
        let updates = updates.filter(|it| matches!(it.act, Act::Update { .. }));
        assert!(updates.count() > 10, "seed {seed}");
        assert_same(&plan);
    }
}

#[test]
fn a_schema_with_references_and_a_fleet_that_does_not_settle_are_told_apart() {
    let relief = include_str!("../../schemas/relief.toml");
    let relief = Arc::new(crdt_schema::schema::Schema::parse(relief).unwrap());
    let mut plan = plan(1);
    let refused = run_and_settle(&plan, &relief, &mut |_| {});
    assert!(matches!(refused, Err(ScaleError::Refused(why)) if why.contains("references")));

    plan.header.settle_ms = 0;
    let schema = Arc::new(schema().unwrap());
    let unsettled = run_and_settle(&plan, &schema, &mut |_| {});
    assert!(matches!(unsettled, Err(ScaleError::Unsettled(_))));
}
