//! What runs with every `cargo test`: a handful of seeds, every plan that once failed, and that runs repeat.

use std::fs;
use std::path::Path;
use std::process::Command;

use simulations::generate::{PROFILES, generate, profile};
use simulations::oracle::Oracle;
use simulations::outcome::Outcome;
use simulations::plan::Plan;
use simulations::regressions;
use simulations::report;
use simulations::sometimes::Sometimes;
use simulations::world::World;

fn play(seed: u64) -> (Plan, Outcome) {
    let plan = generate(seed, &profile("quick").expect("it is in the list"));
    let outcome = World::run(&plan, &mut ());
    (plan, outcome)
}

#[test]
fn every_plan_that_once_failed_holds() {
    let kept = regressions::all().unwrap();
    assert!(!kept.is_empty(), "there are no regressions");
    for (name, plan) in kept {
        let outcome = World::run(&plan, &mut ());
        let told = report::closing(&outcome, None);
        assert!(outcome.verdict.is_held(), "{name}:\n{told}");
    }
}

fn kept(name: &str) -> Outcome {
    let plan = regressions::named(name).expect("it is kept");
    World::run(&plan, &mut ())
}

#[test]
fn an_entry_that_does_not_read_back_is_missed_by_one_peer_and_given_back_by_another() {
    let outcome = kept("one-entry-does-not-read-back");

    assert!(outcome.reached.has(Sometimes::DamageMended));
    assert!(!outcome.reached.has(Sometimes::StoreFoundDamaged));
}

#[test]
fn an_answer_that_was_lost_with_its_process_is_given_again() {
    let outcome = kept("a-retry-after-an-answer-that-was-lost");

    assert!(outcome.verdict.is_held());
    assert!(outcome.reached.has(Sometimes::KilledBeforeReport));
    assert!(outcome.reached.has(Sometimes::RetryAnsweredOnce));
}

#[test]
fn an_oracle_that_was_asked_of_nothing_has_not_held() {
    let told = report::closing(&kept("a-retry-after-an-answer-that-was-lost"), None);

    assert!(told.contains("not asked: "), "{told}");
    for name in ["rights", "schema versions"] {
        let asked_not = told.lines().find(|line| line.contains("not asked: "));
        assert!(asked_not.is_some_and(|line| line.contains(name)), "{told}");
    }
}

#[test]
fn both_histories_of_a_log_live_on_where_its_author_is_not_there_to_settle_it() {
    let outcome = kept("both-branches-have-spread");

    assert!(outcome.verdict.is_held());
    assert!(outcome.reached.has(Sometimes::ForkSealed));
}

#[test]
fn an_entry_that_does_not_read_back_is_mended_by_those_who_hold_its_branch_and_by_nobody_else() {
    let outcome = kept("a-damaged-entry-is-not-mended-with-another-branch");

    assert!(outcome.reached.has(Sometimes::DamageMended));
    assert!(!outcome.reached.has(Sometimes::StoreFoundDamaged));
    assert!(outcome.reached.has(Sometimes::ForkSealed));
}

#[test]
fn a_handful_of_fleets_hold() {
    for seed in 1..=6 {
        let (_, outcome) = play(seed);
        let told = report::closing(&outcome, None);
        assert!(outcome.verdict.is_held(), "seed {seed}:\n{told}");
        assert!(outcome.counts.saved > 0, "seed {seed} wrote nothing");
    }
}

#[test]
fn a_seed_gives_the_same_run_in_two_processes() {
    let digest = || {
        let output = Command::new(env!("CARGO_BIN_EXE_simulations"))
            .args(["run", "--profile", "quick", "--seed", "2", "--json"])
            .output()
            .unwrap();
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        told["digest"].as_str().unwrap().to_owned()
    };

    let one = digest();

    assert_eq!(one.len(), 64);
    assert_eq!(digest(), one);
    assert_ne!(play(3).1.digest, one);
}

/// Nobody has time to tell the other anything.
const NEVER_SETTLES: &str = r#"{"plan":1,"seed":1,"profile":"no time","horizon_ms":60000,"settle_ms":0}
{"device":{"device":0}}
{"device":{"device":1}}
{"device":{"device":2}}
{"op":{"at_ms":1000,"device":0,"write":{"edits":[{"collection":"patient","id":"p1","ops":[{"set":["name","Awa"]}]}]}}}
{"op":{"at_ms":2000,"device":0,"write":{"edits":[{"collection":"patient","id":"p2","ops":[{"set":["name","Binta"]}]}]}}}
"#;

#[test]
fn a_failing_plan_is_told_with_what_it_takes_to_see_it_fail_again() {
    let folder = tempfile::tempdir().unwrap();
    let (plan, small) = (
        folder.path().join("all.plan"),
        folder.path().join("small.plan"),
    );
    fs::write(&plan, NEVER_SETTLES).unwrap();
    let sim = |args: &[&str]| {
        let program = env!("CARGO_BIN_EXE_simulations");
        let output = Command::new(program).args(args).output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    let (plan, small) = (plan.to_str().unwrap(), small.to_str().unwrap());

    let (code, told) = sim(&["run", "--plan", plan]);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("must hold: once faults stop"), "{told}");
    assert!(
        told.contains(&format!("replay  cargo sim replay {plan}\n")),
        "{told}"
    );

    let (code, told) = sim(&["shrink", "--plan", plan, "--out", small, "--runs", "20"]);
    assert_eq!(code, Some(2), "{told}");
    assert!(told.contains("1 operations"), "{told}");
    assert!(told.contains("found   oracle 2 delivery"), "{told}");
    assert!(
        told.contains(&format!("replay  cargo sim replay {small}\n")),
        "{told}"
    );
    assert_eq!(sim(&["replay", small]).0, Some(2));
}

#[test]
fn a_picture_is_drawn_of_a_run_whatever_the_numbers_of_its_devices() {
    let seeds = (1..40).filter(|seed| {
        let plan = generate(*seed, &profile("quick").expect("it is in the list"));
        plan.device(60).is_some()
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.svg");

    for seed in seeds.take(1) {
        let output = Command::new(env!("CARGO_BIN_EXE_simulations"))
            .args(["plot", "--profile", "quick", "--seed", &seed.to_string()])
            .arg("--out")
            .arg(&file)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    let svg = fs::read_to_string(&file).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("device 60"));
}

#[test]
fn the_read_me_has_the_sentence_of_every_oracle_state_and_profile() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = fs::read_to_string(file).unwrap();

    for oracle in Oracle::ALL {
        let row = format!(
            "| {} | {} | {} |",
            oracle.number(),
            oracle.name(),
            oracle.sentence()
        );
        assert!(text.contains(&row), "{row}");
    }
    for state in Sometimes::ALL {
        assert!(
            text.contains(&format!("- {}\n", state.sentence())),
            "{state:?}"
        );
    }
    for profile in PROFILES {
        assert!(text.contains(&format!("| `{}` |", profile.name)));
    }
}
