//! Runs of entries: a header travels once a session, and what cannot be a run is refused.

use super::*;
use crate::wire::limits::HEADERS_MAX;

#[test]
fn a_header_travels_once_a_session() {
    let mut writer = RunWriter::default();
    let first = writer.write(&[run(1, 1, &[b"entry"])]);
    let second = writer.write(&[run(1, 2, &[b"entry"])]);

    let texts = header(1).space.as_str().len() + header(1).name.len();
    // Two lengths, the device, and that it is no branch.
    assert_eq!(first.len() - second.len(), 2 + texts + 32 + 1);
}

#[test]
fn a_run_without_a_header_or_with_another_one_is_refused() {
    let mut writer = RunWriter::default();
    writer.write(&[run(1, 1, &[b"entry"])]);
    let headless = writer.write(&[run(1, 2, &[b"entry"])]);
    let mut renamed = run(1, 2, &[b"entry"]);
    renamed.header.name = "tablet 5".to_owned();
    let first = RunWriter::default().write(&[run(1, 1, &[b"entry"])]);
    let second = RunWriter::default().write(&[renamed]);

    assert!(RunReader::default().read(&headless, &|_| None).is_err());
    assert!(RunReader::default().read(&first, &|_| None).is_ok());
    assert!(
        RunReader::default()
            .read(&[first, second].concat(), &|_| None)
            .is_err()
    );
}

#[test]
fn the_header_of_a_log_that_the_receiver_holds_does_not_travel() {
    let runs = vec![run(1, 5, &[b"entry"])];
    let mut writer = RunWriter::default();
    writer.note_held(header(1).log);

    let body = writer.write(&runs);

    let held = |log: &LogId| (*log == header(1).log).then(|| header(1));
    assert_eq!(RunReader::default().read(&body, &held), Ok(runs.clone()));
    assert!(RunReader::default().read(&body, &|_| None).is_err());
    let mut reader = RunReader::default();
    let other = |_: &LogId| Some(header(2));
    let whole = RunWriter::default().write(&runs);
    assert!(reader.read(&whole, &other).is_ok());
    assert!(
        reader.read(&body, &other).is_err(),
        "a second header of one log"
    );
    assert!(body.len() < RunWriter::default().write(&[run(1, 5, &[b"entry"])]).len() - 40);
}

#[test]
fn both_sides_forget_headers_at_the_same_point() {
    let (mut writer, mut reader) = (RunWriter::default(), RunReader::default());
    let numbered = |n: usize| {
        let mut run = run(0, 1, &[b"entry"]);
        run.header.log.0[..8].copy_from_slice(&n.to_be_bytes());
        run
    };
    for n in (0..=HEADERS_MAX).chain([0, HEADERS_MAX, 5]) {
        let runs = vec![numbered(n)];
        let body = writer.write(&runs);
        assert_eq!(reader.read(&body, &|_| None), Ok(runs));
    }
}

#[test]
fn data_without_runs_or_entries_and_impossible_positions_are_refused() {
    let bodies = [
        vec![run(1, 1, &[])],
        vec![run(1, 0, &[b"entry"])],
        vec![run(1, u64::MAX, &[b"one", b"two"])],
        Vec::new(),
    ]
    .map(|runs| RunWriter::default().write(&runs));

    for body in bodies {
        assert!(matches!(
            refusal(&data_frame(&body)),
            WireError::Malformed(_) | WireError::Truncated(_)
        ));
    }
}
