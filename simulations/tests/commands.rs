//! The commands by their own program: what they end with, what they print where, and what can be done about a failure.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{fs, str};

use serde_json::Value;

/// Nobody has time to tell the other anything.
const NEVER_SETTLES: &str = r#"{"plan":1,"seed":1,"profile":"no time","horizon_ms":60000,"settle_ms":0}
{"device":{"device":0}}
{"op":{"at_ms":1000,"device":0,"write":{"edits":[{"collection":"patient","id":"p1","ops":[{"set":["name","Awa"]}]}]}}}
{"device":{"device":2}}
{"device":{"device":20}}
{"contact":{"at_ms":2000,"end_ms":9000,"a":0,"b":20,"class":"wifi"}}
{"op":{"at_ms":12000,"device":2,"update":{"edits":[{"collection":"patient","id":"p1","ops":[{"set":["name","Binta"]}]}]}}}
"#;

/// Two people who share a few records under a schema of their own, and a third whom nobody meets.
const TEAMS: &str = r#"
days = 1
together_h = 1
seed = 3
who = [{ name = "a", count = 2 }, { name = "b" }]
where.near = [{ group = "a" }]
collections.camp = { start = 2, edits = 4 }
collections.household = { start = 2 }
collections.person = { start = 2 }
collections.case = { start = 2 }
collections.ration = { start = 2 }
"#;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self, name: &str) -> String {
        let path: PathBuf = self.0.path().join(name);
        path.to_str().expect("a plain path").to_owned()
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).expect("room on the disk");
        path
    }
}

fn sim(arguments: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_simulations");
    let output = Command::new(program).args(arguments).output();
    output.expect("the program runs")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("no signal")
}

fn told(output: &Output) -> &str {
    str::from_utf8(&output.stdout).expect("words")
}

fn complaint(output: &Output) -> &str {
    str::from_utf8(&output.stderr).expect("words")
}

/// The objects on standard output, on which there must be nothing else.
fn objects(arguments: &[&str]) -> Vec<Value> {
    let output = sim(arguments);
    let lines = told(&output).lines();
    let objects = lines.map(serde_json::from_str);
    let objects: Result<Vec<Value>, _> = objects.collect();
    let objects = objects.unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
    assert!(objects.iter().all(Value::is_object), "{arguments:?}");
    assert!(!objects.is_empty(), "{arguments:?}: {}", complaint(&output));
    objects
}

fn relief() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/relief.toml");
    file.to_str().expect("a plain path").to_owned()
}

#[test]
fn what_cannot_be_understood_or_read_ends_with_5_and_what_is_asked_for_with_0() {
    for arguments in [
        &["run", "--sed", "1"][..],
        &["dance"],
        &[],
        &["run", "--plan", "nowhere.plan"],
        &["run", "--schema", "nowhere.toml"],
        &["run", "--plan", "nowhere.plan", "--profile", "quick"],
        &["campaign", "--failures-max", "0"],
        &["campaign", "--count", "0"],
        &["plot", "--trace", "nowhere.trace", "-o", "nowhere.svg"],
        &["run", "--fidelity", "scale", "--trace", "nowhere.trace"],
    ] {
        let output = sim(arguments);
        assert_eq!(code(&output), 5, "{arguments:?}: {}", complaint(&output));
        assert!(!complaint(&output).is_empty(), "{arguments:?}");
    }
    for arguments in [&["--help"][..], &["--version"], &["help", "run"]] {
        assert_eq!(code(&sim(arguments)), 0, "{arguments:?}");
    }
}

#[test]
fn with_json_there_are_only_json_lines_on_standard_output() {
    let folder = Folder::new();
    let plan = folder.file("a.plan", NEVER_SETTLES);
    let (small, picture) = (folder.path("small.plan"), folder.path("a.svg"));

    for arguments in [
        &["run", "--plan", &plan][..],
        &["replay", &plan],
        &["explain", "--plan", &plan],
        &["shrink", "--plan", &plan, "--out", &small, "--runs", "9"],
        &["plot", "--plan", &plan, "--out", &picture],
        &["compare", "--plan", &plan, "--right", "link=ble"],
        &["run", "--plan", &plan, "--fidelity", "scale"],
        &["campaign", "--profile", "quick", "--count", "1"],
        &["scale", "--devices", "4", "--days", "1"],
    ] {
        objects(&[arguments, &["--json"]].concat());
    }

    let run = &objects(&["run", "--plan", &plan, "--json"])[0];
    assert_eq!(run["verdict"], "liveness");
    assert!(
        run["settled_ms"].is_null() && run["took_s"].is_f64(),
        "{run}"
    );
    let campaign = objects(&["campaign", "--profile", "quick", "--count", "1", "--json"]);
    assert!(campaign[0]["took_s"].is_null() && campaign[0]["differs"].is_null());
    assert_eq!(campaign[1]["campaign"]["runs"], 1);
}

#[test]
fn a_failing_simulation_is_saved_replayed_shrunk_explained_and_drawn_under_its_own_schema() {
    let folder = Folder::new();
    let (workload, plan) = (folder.file("teams.toml", TEAMS), folder.path("a.plan"));
    let (small, picture, schema) = (folder.path("b.plan"), folder.path("b.svg"), relief());
    let under = ["--schema", &schema];

    let output = sim(&[
        &["simulate", "--workload", &workload, "--save", &plan][..],
        &under,
    ]
    .concat());
    assert_eq!(code(&output), 0, "{}{}", told(&output), complaint(&output));
    let text = fs::read_to_string(&plan).unwrap();
    let hurried = text.replacen("\"settle_ms\":43200000", "\"settle_ms\":0", 1);
    assert_ne!(hurried, text);
    fs::write(&plan, hurried).unwrap();

    let output = sim(&[&["simulate", "--plan", &plan][..], &under].concat());
    assert_eq!(code(&output), 2, "{}", complaint(&output));
    let replay = format!("replay  cargo sim replay {plan} --schema {schema}");
    assert!(told(&output).contains(&replay), "{}", told(&output));
    let bare = sim(&["replay", &plan]);
    assert!(code(&bare) == 5 && complaint(&bare).contains("in the schema \"rounds\""));
    for arguments in [
        &["replay", &plan][..],
        &["shrink", "--plan", &plan, "--out", &small, "--runs", "40"],
        &["explain", "--plan", &small],
        &["plot", "--plan", &small, "--out", &picture],
        &["run", "--plan", &small],
    ] {
        let output = sim(&[arguments, &under].concat());
        assert_eq!(code(&output), 2, "{arguments:?}: {}", complaint(&output));
    }
    assert!(fs::read_to_string(&small).unwrap().len() < text.len());
    let days = sim(&[&["simulate", "--plan", &plan, "--days", "2"][..], &under].concat());
    assert!(code(&days) == 5 && complaint(&days).contains("take --days and --seed out"));
}

#[test]
fn a_saved_trace_gives_the_picture_of_its_run_and_a_wrong_one_is_named() {
    let folder = Folder::new();
    let plan = folder.file("a.plan", NEVER_SETTLES);
    let (trace, one, other) = (
        folder.path("a.trace"),
        folder.path("1.svg"),
        folder.path("2.svg"),
    );

    assert_eq!(code(&sim(&["run", "--plan", &plan, "--trace", &trace])), 2);
    assert_eq!(code(&sim(&["plot", "--trace", &trace, "--out", &one])), 0);
    assert_eq!(code(&sim(&["plot", "--plan", &plan, "--out", &other])), 2);

    assert_eq!(
        fs::read_to_string(one).unwrap(),
        fs::read_to_string(other).unwrap()
    );
    let wrong = sim(&["plot", "--trace", &plan, "--out", &folder.path("3.svg")]);
    assert!(complaint(&wrong).contains(&format!("{plan}: trace, line 1")));
    assert_eq!(code(&wrong), 5);
}

#[test]
fn the_events_of_one_device_are_told_in_words_with_the_others_and_their_lines_of_the_plan() {
    let folder = Folder::new();
    let plan = folder.file("a.plan", NEVER_SETTLES);

    let output = sim(&["explain", "--plan", &plan, "--only", "device 0"]);
    for words in [
        "1.000 s  device 0 writes patient/p1 (name = \"Awa\")  (plan line 3)",
        "2.000 s  device 0 and device 20 meet over wifi  (plan line 6)",
        "device 20 takes in ",
        "device 0 commits",
    ] {
        assert!(told(&output).contains(words), "{words}: {}", told(&output));
    }
    let mut events = told(&output).lines().filter(|line| line.contains(" s  "));
    assert!(
        events.all(|line| line.contains("device 0")),
        "{}",
        told(&output)
    );

    let output = sim(&["explain", "--plan", &plan, "--only", "device 2"]);
    let words = "device 2 updates patient/p1 (name = \"Binta\")  (plan line 7)";
    assert!(told(&output).contains(words), "{}", told(&output));
    let mut events = told(&output).lines().filter(|line| line.contains(" s  "));
    assert!(
        events.all(|line| line.contains("device 2 ")),
        "{}",
        told(&output)
    );
}

#[test]
fn a_comparison_ends_with_the_graver_verdict_and_tells_of_both_sides() {
    let folder = Folder::new();
    let bad = folder.file("a.plan", NEVER_SETTLES);
    let good = NEVER_SETTLES.replace("\"settle_ms\":0", "\"settle_ms\":600000");
    let good = folder.file("b.plan", &good);
    let other = format!("workload={bad}");

    let output = sim(&["compare", "--plan", &good, "--right", &other]);

    assert_eq!(code(&output), 2, "{}", complaint(&output));
    assert!(told(&output).contains("right: oracle 2 delivery"));
    let saved = told(&output)
        .lines()
        .find(|line| line.starts_with("writes saved"));
    assert!(saved.unwrap().contains(" - "), "{}", told(&output));
    let both = sim(&["compare", "--plan", &bad]);
    assert_eq!(code(&both), 2);
    assert!(told(&both).contains("neither side held"), "{}", told(&both));
    assert_eq!(
        code(&sim(&["compare", "--plan", &good, "--right", "link=ble"])),
        0
    );
}
