//! Faults do what they say: devices die in the middle of commits, what did nothing is not counted, and no line of a
//! plan changes what another one draws.

use simulations::family::Family;
use simulations::outcome::Outcome;
use simulations::plan::Plan;
use simulations::regressions;
use simulations::sometimes::Sometimes;
use simulations::trace::{Line, Observer};
use simulations::world::World;

/// A plan of three devices with a header of this seed.
fn plan(seed: u64, lines: &str) -> Plan {
    let header = format!(
        r#"{{"plan":1,"seed":{seed},"profile":"a test","horizon_ms":600000,"settle_ms":600000}}"#
    );
    let devices: String = (0..4)
        .map(|device| format!("{{\"device\":{{\"device\":{device}}}}}\n"))
        .collect();
    let family = Family::bundled().expect("it is in the tree");
    Plan::from_text(&format!("{header}\n{devices}{lines}"), family).expect("a good plan")
}

/// A device's people write one record after the other.
fn writes(device: usize, from_ms: u64, count: u64) -> String {
    let line = |number| {
        let at_ms = from_ms + number * 1_000;
        format!(
            r#"{{"op":{{"at_ms":{at_ms},"device":{device},"write":{{"edits":[{{"collection":"patient","id":"p{device}{number}","ops":[{{"set":["name","Awa"]}}]}},{{"collection":"patient","id":"q","ops":[{{"set":["name","n{number}"]}}]}}]}}}}}}
"#
        )
    };
    (0..count).map(line).collect()
}

/// How many of these runs, all of which must hold, reached each of the states.
fn count(outcomes: &[Outcome], states: [Sometimes; 3]) -> [usize; 3] {
    for outcome in outcomes {
        assert!(outcome.verdict.is_held(), "{:?}", outcome.verdict);
    }
    states.map(|state| {
        let has = outcomes.iter().filter(|outcome| outcome.reached.has(state));
        has.count()
    })
}

#[test]
fn a_device_dies_in_the_middle_of_committing_a_write_and_has_all_of_it_or_nothing() {
    let ends = [
        r#""power_cut":{"down_ms":2000,"again":false,"amid":"own"}"#,
        r#""kill":{"down_ms":2000,"amid":"own"}"#,
    ];
    let outcomes: Vec<Outcome> = (0..32)
        .map(|seed| {
            let end = ends[seed as usize % 2];
            let fault = format!(r#"{{"fault":{{"at_ms":3500,"device":0,{end}}}}}"#);
            let plan = plan(seed, &(writes(0, 1_000, 12) + &fault));
            World::run(&plan, &mut ())
        })
        .collect();

    let [died, lost, whole] = count(
        &outcomes,
        [
            Sometimes::DiedAmidOwn,
            Sometimes::SectorsLostAmid,
            Sometimes::CutShortAndWhole,
        ],
    );
    assert_eq!(died, 32);
    assert!(lost > 6, "{lost} lost sectors");
    assert!((1..32).contains(&whole), "{whole} were whole");
    for outcome in &outcomes {
        assert_eq!(outcome.counts.faults.values().sum::<u64>(), 1);
    }
}

#[test]
fn a_device_dies_in_the_middle_of_committing_what_a_peer_sent_and_is_sent_it_again() {
    let outcomes: Vec<Outcome> = (1..=24)
        .map(|seed| {
            let lines = [
                r#"{"contact":{"at_ms":20000,"end_ms":500000,"a":0,"b":1,"class":"wifi"}}"#,
                r#"{"fault":{"at_ms":19000,"device":1,"power_cut":{"down_ms":2000,"again":true,"amid":"peers"}}}"#,
                r#"{"fault":{"at_ms":19500,"device":1,"kill":{"down_ms":2000,"amid":"peers"}}}"#,
            ];
            let plan = plan(seed, &(writes(0, 1_000, 12) + &lines.join("\n")));
            World::run(&plan, &mut ())
        })
        .collect();

    let [died, lost, whole] = count(
        &outcomes,
        [
            Sometimes::DiedAmidPeers,
            Sometimes::SectorsLostAmid,
            Sometimes::CutShortAndWhole,
        ],
    );
    assert_eq!(died, 24);
    assert!(lost > 6, "{lost} lost sectors");
    assert!((1..24).contains(&whole), "{whole} were whole");
    let twice = outcomes
        .iter()
        .filter(|outcome| outcome.counts.faults.get("kill") == Some(&1));
    assert!(twice.count() > 6, "the second death comes after the first");
}

#[test]
fn a_fault_that_does_nothing_is_not_counted() {
    let lines = [
        r#"{"fault":{"at_ms":20000,"device":0,"kill":{"down_ms":400000,"amid":null}}}"#,
        r#"{"fault":{"at_ms":30000,"device":0,"kill":{"down_ms":1000}}}"#,
        r#"{"fault":{"at_ms":31000,"device":0,"wipe":{}}}"#,
        r#"{"fault":{"at_ms":32000,"device":0,"power_cut":{"down_ms":1000,"again":false}}}"#,
        r#"{"fault":{"at_ms":33000,"device":0,"rot":{"bits":3}}}"#,
        r#"{"fault":{"at_ms":34000,"device":3,"rot_entry":{"place":0}}}"#,
        r#"{"fault":{"at_ms":35000,"device":3,"disk_full":{"for_ms":1000}}}"#,
        r#"{"fault":{"at_ms":36000,"device":3,"kill":{"down_ms":1000,"amid":"peers"}}}"#,
        r#"{"fault":{"at_ms":37000,"device":3,"clock_jump":{"by_ms":0}}}"#,
    ];
    let outcome = World::run(
        &plan(1, &(writes(0, 1_000, 3) + &lines.join("\n"))),
        &mut (),
    );

    assert!(outcome.verdict.is_held(), "{:?}", outcome.verdict);
    let counted: Vec<_> = outcome.counts.faults.into_iter().collect();
    assert_eq!(counted, [("kill", 1)]);
}

#[test]
fn a_power_cut_while_syncs_are_ignored_takes_what_a_dead_process_has_written() {
    let lines = [
        r#"{"fault":{"at_ms":500,"device":0,"ignored_sync":{"for_ms":20000}}}"#,
        r#"{"fault":{"at_ms":19000,"device":0,"kill":{"down_ms":10000}}}"#,
    ];
    let plan = plan(1, &(writes(0, 1_000, 10) + &lines.join("\n")));
    let outcome = World::run(&plan, &mut ());

    assert!(outcome.verdict.is_held(), "{:?}", outcome.verdict);
    assert!(outcome.reached.has(Sometimes::PowerCut));
    let counted: Vec<_> = outcome.counts.faults.into_iter().collect();
    assert_eq!(counted, [("ignored_sync", 1), ("kill", 1)]);
}

/// The frames between devices 2 and 3, and when they were sent.
#[derive(Default)]
struct Frames(Vec<(u64, usize, u64)>);

impl Observer for Frames {
    fn trace(&mut self, line: &Line) {
        match line {
            Line::Frame {
                t_ms, from, bytes, ..
            } if [2, 3].contains(from) && *t_ms < 600_000 => {
                self.0.push((*t_ms, *from, *bytes));
            }
            _ => {}
        }
    }
}

#[test]
fn without_a_contact_and_a_fault_all_others_are_as_they_were() {
    let contact = |a: usize, b: usize, at_ms: u64| {
        let end_ms = at_ms + 100_000;
        format!(
            r#"{{"contact":{{"at_ms":{at_ms},"end_ms":{end_ms},"a":{a},"b":{b},"class":"cell2g","faults":{{"burst":300}}}}}}
"#
        )
    };
    let kill = |device: usize, at_ms: u64| {
        format!(
            r#"{{"fault":{{"at_ms":{at_ms},"device":{device},"power_cut":{{"down_ms":2000,"again":true}}}}}}
"#
        )
    };
    let rest = writes(0, 1_000, 5)
        + &writes(2, 1_000, 30)
        + &contact(2, 3, 40_000)
        + &contact(2, 3, 300_000)
        + &kill(2, 60_000)
        + &kill(3, 350_000);
    let frames = |lines: &str| {
        let mut frames = Frames::default();
        let outcome = World::run(&plan(7, lines), &mut frames);
        assert!(outcome.verdict.is_held(), "{:?}", outcome.verdict);
        frames.0
    };

    let all = frames(&(contact(0, 1, 5_000) + &kill(0, 20_000) + &rest));

    assert!(all.len() > 40, "{} frames", all.len());
    assert_eq!(frames(&(contact(0, 1, 5_000) + &rest)), all);
    assert_eq!(frames(&rest), all);
}

#[test]
fn a_device_dies_in_the_middle_of_settling_a_fork_and_settles_it_all_the_same() {
    let ends = [
        r#""power_cut":{"down_ms":2000,"again":true,"amid":"repair"}"#,
        r#""kill":{"down_ms":2000,"amid":"repair"}"#,
    ];
    let outcomes: Vec<Outcome> = (0..16)
        .map(|seed| {
            let end = ends[seed as usize % 2];
            let fault = format!(r#"{{"fault":{{"at_ms":61000,"device":0,{end}}}}}"#);
            let mut put_back = regressions::named("two-branches-are-one-again").unwrap();
            put_back.header.seed = seed;
            let text = put_back.to_text() + &fault;
            let plan = Plan::from_text(&text, Family::bundled().unwrap()).unwrap();
            World::run(&plan, &mut ())
        })
        .collect();

    let [died, lost, settled] = count(
        &outcomes,
        [
            Sometimes::DiedAmidRepair,
            Sometimes::SectorsLostAmid,
            Sometimes::ForkSettled,
        ],
    );
    assert_eq!((died, settled), (16, 16));
    assert!(lost > 2, "{lost} lost sectors");
}
