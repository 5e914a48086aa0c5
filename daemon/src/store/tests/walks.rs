//! What a fetch reads: one space without the others, and logs ahead of the order.

use super::*;

fn space(name: &str) -> SpaceName {
    SpaceName::new(name).expect("a space name")
}

/// Goes on writing in another log, of another space or of the same.
fn in_log(device: &mut Device, number: u8, name: &str) {
    device.log.log = LogId([number; 16]);
    device.log.space = space(name);
}

fn write(device: &mut Device, id: &str) {
    let written = device.write(vec![upsert(id, vec![set("name", "A")])]);
    written.expect("a write");
}

/// The runs of a fetch: the log's number, first and last entry.
fn fetched(device: &Device, walk: &Walk, known: &Held, bytes_max: usize) -> (String, Fetched) {
    let fetched = device.reader().fetch(walk, known, bytes_max);
    let fetched = fetched.expect("a fetch");
    let show = |run: &Run| format!("{}:{}-{}", run.header.log.0[0], run.from, run.last());
    let runs: Vec<String> = fetched.runs.iter().map(show).collect();
    (runs.join(" "), fetched)
}

fn of(name: &str, after: Arrival) -> Walk {
    let space = space(name);
    Walk::Space { space, after }
}

/// Two spaces by turns: arrivals 1, 2 and 5 in one, 3, 4 and 6 in the other.
fn two_spaces() -> Device {
    let mut device = Device::new(1);
    for (log, name, id) in [
        (1, "ward", "a"),
        (1, "ward", "b"),
        (2, "store", "c"),
        (2, "store", "d"),
        (1, "ward", "e"),
        (2, "store", "f"),
    ] {
        in_log(&mut device, log, name);
        write(&mut device, id);
    }
    device
}

#[test]
fn a_walk_over_a_space_reads_that_space_from_any_arrival_on() {
    let device = two_spaces();
    let none = Held::new();
    let runs = |name: &str, after| {
        let (runs, fetched) = fetched(&device, &of(name, after), &none, usize::MAX);
        assert_eq!((fetched.arrival, fetched.end), (6, true));
        runs
    };

    assert_eq!(runs("ward", 0), "1:1-3");
    assert_eq!(runs("store", 0), "2:1-3");
    assert_eq!(runs("ward", 1), "1:2-3", "from the middle of a stretch");
    assert_eq!(
        runs("ward", 3),
        "1:3-3",
        "from the middle of the other space's"
    );
    assert_eq!(runs("store", 5), "2:3-3");
    assert_eq!(runs("ward", 6), "");
    assert_eq!(runs("wards", 0), "", "no space begins another");
}

#[test]
fn a_walk_goes_on_where_it_was_cut() {
    let device = two_spaces();
    let none = Held::new();
    let (mut after, mut seen) = (0, Vec::new());
    loop {
        let (runs, fetched) = fetched(&device, &of("store", after), &none, 1);
        seen.push(runs);
        assert!(fetched.end || fetched.arrival > after);
        after = fetched.arrival;
        if fetched.end {
            break;
        }
    }

    assert_eq!(seen.join(" ").trim(), "2:1-2 2:3-3");
}

#[test]
fn a_log_goes_ahead_as_far_as_its_causes_are_known() {
    let (mut device, mut other) = (Device::new(1), Device::new(2));
    other.log.log = LogId([2; 16]);
    for id in ["a", "b", "c"] {
        write(&mut other, id);
    }
    device.pull(&other, usize::MAX);
    write(&mut device, "mine");
    // An effect of the last entry of log 2, and one that waits behind it.
    write(&mut device, "c");
    write(&mut device, "mine");
    let (log, cause) = (LogId([1; 16]), LogId([2; 16]));
    let runs = |logs: &[LogId], known: Held, bytes_max| {
        let walk = Walk::Logs(logs.to_vec());
        let (runs, fetched) = fetched(&device, &walk, &known, bytes_max);
        (runs, fetched.end)
    };
    let ahead = |known| runs(&[log], known, usize::MAX);

    // One signature covers all three, so they go together or not at all.
    assert_eq!(ahead(Held::new()), (String::new(), true));
    assert_eq!(ahead(Held::from_iter([(cause, 2)])), (String::new(), true));
    let all = ("1:1-3".to_owned(), true);
    assert_eq!(ahead(Held::from_iter([(cause, 3)])), all);
    assert_eq!(
        ahead(Held::from_iter([(cause, 3), (log, 3)])),
        (String::new(), true)
    );
    let both = ("2:1-3 1:1-3".to_owned(), true);
    assert_eq!(runs(&[cause, log], Held::new(), usize::MAX), both);
    let (some, end) = runs(&[cause, log], Held::new(), 1);
    assert_eq!(
        (some.as_str(), end),
        ("2:1-3", false),
        "what does not fit is left"
    );
    let unknown = LogId([77; 16]);
    assert_eq!(
        runs(&[unknown], Held::new(), usize::MAX),
        (String::new(), true)
    );
}
