//! The house rules that a reviewer would otherwise have to remember, checked by reading the source.

use std::fs;
use std::path::{Path, PathBuf};

/// Which of our own modules each module may use. A new edge is a change of this table.
const MAY_USE: &[(&str, &[&str])] = &[
    (
        "daemon/src/engine",
        &["crdt_schema", "engine", "mutation", "wire"],
    ),
    ("daemon/src/wire", &["crdt_schema", "engine::batch", "wire"]),
    (
        "daemon/src/store",
        &["crdt_schema", "engine::batch", "mutation", "wire", "store"],
    ),
    ("daemon/src/net", &["crdt_schema", "wire::limits", "net"]),
    (
        "daemon/src/node",
        &[
            "crdt_schema",
            "engine",
            "store",
            "net",
            "wire::chain",
            "config",
            "node",
        ],
    ),
    (
        "daemon/src/api",
        &[
            "crdt_schema",
            "engine::batch",
            "engine::fleet",
            "store",
            "wire::limits",
            "node::handle",
            "api",
        ],
    ),
    (
        "daemon/src/cli",
        &[
            "crdt_schema",
            "api",
            "config",
            "node",
            "net",
            "store::survey",
            "wire::limits",
            "cli",
        ],
    ),
    ("daemon/src/config.rs", &["crdt_schema", "wire::limits"]),
    (
        "daemon/src/config",
        &["crdt_schema", "config", "wire::limits"],
    ),
    (
        "simulations/src",
        &[
            "crdt_schema",
            "fieldmesh::engine",
            "fieldmesh::mutation",
            "fieldmesh::store",
            "fieldmesh::wire",
            "alike",
            "campaign",
            "checks",
            "clock",
            "device",
            "disk",
            "draw",
            "family",
            "generate",
            "holding",
            "hostile",
            "keep",
            "ledger",
            "likeness",
            "link",
            "measure",
            "mobility",
            "mutants",
            "notes",
            "oracle",
            "outcome",
            "panics",
            "plan",
            "plot",
            "progress",
            "queue",
            "report",
            "scale",
            "shrink",
            "sometimes",
            "spread",
            "time",
            "trace",
            "verified",
            "workload",
            "world",
        ],
    ),
];

/// Outside crates that the pure parts must not reach for.
const IMPURE: &[&str] = &[
    "tokio",
    "libp2p",
    "axum",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::fs",
    "std::net",
    "getrandom",
    "HashMap",
    "HashSet",
];
const PURE: &[&str] = &["crdt-schema/src", "daemon/src/engine", "daemon/src/wire"];

/// Longest file, in lines; tests are lists and may be longer.
const LINES_MAX: usize = 600;
const TEST_LINES_MAX: usize = 800;

fn is_test(file: &str) -> bool {
    file.contains("/tests/") || file.ends_with("tests.rs") || file.starts_with("tests/")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn sources(folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open = vec![root().join(folder)];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(
                fs::read_dir(&path)
                    .expect("a readable folder")
                    .map(|entry| entry.expect("a readable folder").path()),
            );
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let name = path
                .strip_prefix(root())
                .expect("a path below the root")
                .display()
                .to_string();
            found.push((name, fs::read_to_string(&path).expect("a readable file")));
        }
    }
    assert!(!found.is_empty(), "{folder} has no source");
    found.sort();
    found
}

/// The part of a file before its tests, which may use what they like.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or(text)
}

/// Our own modules that a file names, as `module::item`.
fn ours(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in without_tests(text).lines().map(str::trim) {
        if line.starts_with("//") {
            continue;
        }
        for (mark, keep) in [
            ("crate::", ""),
            ("crdt_schema::", "crdt_schema::"),
            ("fieldmesh::", "fieldmesh::"),
        ] {
            for (at, _) in line.match_indices(mark) {
                let path: String = line[at + mark.len()..]
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || matches!(c, '_' | ':'))
                    .collect();
                found.push(format!("{keep}{path}"));
            }
        }
    }
    found
}

#[test]
fn modules_use_only_what_the_table_allows() {
    let mut wrong = Vec::new();
    for (folder, allowed) in MAY_USE {
        for (file, text) in sources(folder)
            .into_iter()
            .filter(|(file, _)| !is_test(file))
        {
            for path in ours(&text) {
                if !allowed.iter().any(|allowed| path.starts_with(allowed)) {
                    wrong.push(format!("{file} uses {path}"));
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "edges that the table does not have:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn pure_modules_reach_for_nothing_impure() {
    let mut wrong = Vec::new();
    for folder in PURE {
        for (file, text) in sources(folder)
            .into_iter()
            .filter(|(file, _)| !is_test(file))
        {
            for (number, line) in without_tests(&text).lines().enumerate() {
                let code = line.split("//").next().unwrap_or(line);
                for word in IMPURE.iter().filter(|word| code.contains(*word)) {
                    wrong.push(format!("{file}:{}: {word}", number + 1));
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "impure words in pure modules:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn no_file_is_too_long() {
    for folder in ["crdt-schema", "daemon/src", "simulations/src", "tests"] {
        for (file, text) in sources(folder) {
            let lines = text.lines().count();
            let most = if is_test(&file) {
                TEST_LINES_MAX
            } else {
                LINES_MAX
            };
            assert!(lines <= most, "{file} has {lines} lines, more than {most}");
        }
    }
}

#[test]
fn nothing_is_left_unfinished() {
    let marks = [
        concat!("todo", "!("),
        concat!("unimpl", "emented!("),
        concat!("FIX", "ME"),
        concat!("#[ig", "nore"),
        concat!("XX", "X"),
    ];
    for folder in ["crdt-schema", "daemon/src", "simulations/src", "tests"] {
        for (file, text) in sources(folder) {
            for mark in marks {
                assert!(!text.contains(mark), "{file} contains {mark}");
            }
        }
    }
}
