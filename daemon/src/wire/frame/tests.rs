use std::collections::BTreeMap;
use std::io::Write;

use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::{DeviceId, LogId, SpaceName};
use crdt_schema::op::{ChangeSet, Edit, Op};
use crdt_schema::schema::Schema;
use crdt_schema::value::Value;
use proptest::prelude::*;

use super::*;
use crate::engine::batch::{LogHeader, Run, SchemaTag};
use crate::wire::changeset::encode_change_set;
use crate::wire::limits::{
    ACK_ROWS_MAX, BYE_BYTES_MAX, DATA_BYTES_TARGET, FRONT_ROWS_MAX, HEADERS_MAX, NAME_BYTES_MAX,
    RANGE_ROWS_MAX, SPACES_MAX,
};
use crate::wire::message::{FrontRow, Hello, PROTOCOL_VERSION, RangeRow, SpaceRoot};

fn header(log: u8) -> LogHeader {
    LogHeader {
        log: LogId([log; 16]),
        space: SpaceName::default(),
        device: DeviceId([9; 32]),
        name: "tablet 4".to_owned(),
        branch_of: None,
    }
}

fn run(log: u8, from: u64, entries: &[&[u8]]) -> Run {
    let entries = entries.iter().map(|entry| entry.to_vec()).collect();
    Run {
        header: header(log),
        from,
        entries,
        signature: [7; 64],
    }
}

fn hello() -> Hello {
    let space = |tag| SpaceRoot {
        tag: [tag; 8],
        root: [3; 16],
        count: 1 << 40,
    };
    Hello {
        version: PROTOCOL_VERSION,
        organisation_tag: [1; 8],
        proof: [2; 32],
        hub: true,
        schema_version: 12,
        dictionary: [4; 8],
        spaces: vec![space(1), space(2)],
        checkpoints: vec![[6; 8], [7; 8]],
        accord: None,
    }
}

fn front(rows: impl Iterator<Item = u32>) -> Message {
    let row = |n: u32| {
        let mut log = [0; 16];
        log[..4].copy_from_slice(&n.to_be_bytes());
        FrontRow {
            log: LogId(log),
            seq: u64::from(n) + 1,
            chain_tag: [5; 8],
        }
    };
    Message::Front {
        space: SpaceName::default(),
        rows: rows.map(row).collect(),
    }
}

fn range_rows(rows: impl Iterator<Item = u32>) -> Vec<RangeRow> {
    let Message::Front { rows, .. } = front(rows) else {
        unreachable!("a front is a front")
    };
    let row = |row: FrontRow| RangeRow {
        log: row.log,
        seq: row.seq,
        tag: [5; 4],
    };
    rows.into_iter().map(row).collect()
}

fn range(rows: impl Iterator<Item = u32>) -> Message {
    Message::Range {
        space: [6; 8],
        ends: true,
        rows: range_rows(rows),
    }
}

fn answer(differs: &[(u64, u64)], rows: impl Iterator<Item = u32>) -> Message {
    Message::Answer {
        more: false,
        differs: differs.to_vec(),
        rows: range_rows(rows),
    }
}

/// A DATA frame whose body is `body`, compressed by a stream of its own.
fn data_frame(body: &[u8]) -> Vec<u8> {
    let mut frame = vec![DATA_TAG];
    Compressor::default().compress(body, &mut frame);
    frame
}

/// The error that a decoder gives for the first frame it sees.
fn refusal(frame: &[u8]) -> WireError {
    FrameDecoder::new()
        .decode(frame)
        .expect_err("the frame was accepted")
}

#[test]
fn every_message_comes_back_as_it_was_sent() {
    let messages = [
        Message::Hello(hello()),
        Message::Name("tablet 4".to_owned()),
        Message::Schema(SchemaTag {
            name: "clinic".to_owned(),
            version: 7,
            digest: [8; 8],
        }),
        front(0..3),
        front(0..0),
        Message::Tell {
            salt: [1; 8],
            base: Some([2; 8]),
        },
        Message::Tell {
            salt: [1; 8],
            base: None,
        },
        range(0..3),
        range(0..RANGE_ROWS_MAX as u32),
        answer(&[(0, 0), (63, u64::MAX)], 0..RANGE_ROWS_MAX as u32),
        answer(&[], 0..0),
        Message::FrontEnd,
        Message::Data(vec![run(1, 1, &[b"one", b"two"]), run(2, 40, &[b"three"])]),
        Message::Data(vec![run(1, 3, &[b"one"])]),
        Message::Ack(vec![(LogId([4; 16]), u64::MAX), (LogId([1; 16]), 1)]),
        Message::Want,
        Message::Mark([8; 8]),
        Message::Hold,
        Message::Bye {
            code: "timeout".to_owned(),
            text: "peer did not answer".to_owned(),
        },
    ];
    let (mut encoder, mut decoder) = (FrameEncoder::new(), FrameDecoder::new());

    for message in messages {
        let frame = encoder.encode(&message);
        assert_eq!(decoder.decode(&frame), Ok(message));
    }
}

#[test]
fn the_largest_lists_fit_a_frame() {
    let space = |n: u32| {
        let mut tag = [0xff; 8];
        tag[..4].copy_from_slice(&n.to_be_bytes());
        SpaceRoot {
            tag,
            root: [0xff; 16],
            count: u64::MAX,
        }
    };
    let spaces = (0..SPACES_MAX as u32).map(space).collect();
    let rows = (0..ACK_ROWS_MAX)
        .map(|_| (LogId([0xff; 16]), u64::MAX))
        .collect();
    for message in [
        Message::Hello(Hello { spaces, ..hello() }),
        front(0..FRONT_ROWS_MAX as u32),
        Message::Ack(rows),
    ] {
        let frame = FrameEncoder::new().encode(&message);
        assert!(frame.len() <= FRAME_BYTES_MAX);
        assert_eq!(FrameDecoder::new().decode(&frame), Ok(message));
    }
}

#[test]
fn a_hello_of_another_version_is_read_up_to_its_version() {
    let mut frame = FrameEncoder::new().encode(&Message::Hello(Hello {
        version: 2,
        ..hello()
    }));
    frame.truncate(20);

    let Ok(Message::Hello(read)) = FrameDecoder::new().decode(&frame) else {
        panic!("the frame was refused");
    };
    assert_eq!(
        (read.version, read.proof, read.spaces),
        (2, [0; 32], Vec::new())
    );
}

#[test]
fn lists_out_of_order_or_over_their_limit_are_refused() {
    let mut unordered = hello();
    unordered.spaces.reverse();
    let encode = |message: &Message| FrameEncoder::new().encode(message);

    assert!(matches!(
        refusal(&encode(&Message::Hello(unordered))),
        WireError::Malformed(_)
    ));
    assert!(matches!(
        refusal(&encode(&front([2, 1].into_iter()))),
        WireError::Malformed(_)
    ));
    assert!(matches!(
        refusal(&encode(&front([1, 1].into_iter()))),
        WireError::Malformed(_)
    ));
    assert!(matches!(
        refusal(&encode(&front(0..FRONT_ROWS_MAX as u32 + 1))),
        WireError::TooLarge { .. }
    ));
    let rows = vec![(LogId([0; 16]), 1); ACK_ROWS_MAX + 1];
    assert!(matches!(
        refusal(&encode(&Message::Ack(rows))),
        WireError::TooLarge { .. }
    ));
}

#[test]
fn long_words_are_cut_by_their_sender_between_characters() {
    let text = format!("a{}", "é".repeat(BYE_BYTES_MAX));
    let bye = Message::Bye {
        code: "store".to_owned(),
        text: text.clone(),
    };
    let frames = [bye, Message::Name(text)].map(|message| FrameEncoder::new().encode(&message));

    let Ok(Message::Bye { text, .. }) = FrameDecoder::new().decode(&frames[0]) else {
        panic!("the bye was refused");
    };
    assert_eq!(text.len(), BYE_BYTES_MAX - 1);
    let Ok(Message::Name(name)) = FrameDecoder::new().decode(&frames[1]) else {
        panic!("the name was refused");
    };
    assert_eq!(name.len(), NAME_BYTES_MAX - 1);
}

#[test]
fn empty_oversized_unknown_and_trailing_frames_are_refused() {
    assert_eq!(refusal(&[]), WireError::Truncated("message tag"));
    assert_eq!(refusal(&[99]), WireError::Malformed("message tag"));
    assert!(matches!(
        refusal(&vec![7; FRAME_BYTES_MAX + 1]),
        WireError::TooLarge { .. }
    ));
    let mut want = FrameEncoder::new().encode(&Message::Want);
    want.push(0);
    assert!(matches!(refusal(&want), WireError::Malformed(_)));
}

#[test]
fn after_an_error_everything_is_refused() {
    let mut decoder = FrameDecoder::new();
    let want = FrameEncoder::new().encode(&Message::Want);

    assert!(decoder.decode(&want).is_ok());
    assert!(decoder.decode(&[99]).is_err());
    assert!(decoder.decode(&want).is_err());
}

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
fn a_thorough_sender_is_read_like_any_other() {
    let words = [
        "pump", "broken", "school", "closed", "maize", "late", "nurse", "away", "seed",
    ];
    let note = |n: usize| {
        (0..40)
            .map(|w| words[(n * 31 + w * w * 7 + n * w) % 9])
            .collect::<String>()
    };
    let entries: Vec<Vec<u8>> = (0..200).map(|n| note(n).into_bytes()).collect();
    let entries: Vec<&[u8]> = entries.iter().map(Vec::as_slice).collect();
    let message = Message::Data(vec![run(1, 1, &entries)]);

    let frame = FrameEncoder::metered().encode(&message);

    assert_eq!(FrameDecoder::new().decode(&frame), Ok(message.clone()));
    assert!(frame.len() < FrameEncoder::new().encode(&message).len());
}

#[test]
fn a_sender_that_expected_little_may_send_much_and_is_read_like_any_other() {
    // What does not repeat within a small window: noise, and then the same noise again.
    let noise = |n: u64| *blake3::hash(&n.to_le_bytes()).as_bytes();
    let entries: Vec<[u8; 32]> = (0..4_000).map(noise).collect();
    let entries: Vec<&[u8]> = entries.iter().map(<[u8; 32]>::as_slice).collect();
    let messages = [1, 4_001].map(|from| Message::Data(vec![run(1, from, &entries)]));
    let (mut little, mut usual) = (FrameEncoder::new(), FrameEncoder::new());
    little.expect_little();
    let mut decoder = FrameDecoder::new();

    for message in &messages {
        assert_eq!(decoder.decode(&little.encode(message)), Ok(message.clone()));
    }

    let [first, again] = messages.map(|message| usual.encode(&message).len());
    assert!(again < first / 10, "the usual window reaches back: {again}");
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

#[test]
fn a_decompression_bomb_fails_at_the_cap() {
    let frame = data_frame(&vec![0; 64 << 20]);
    assert!(frame.len() < 16 << 10);

    let WireError::TooLarge { found, limit, .. } = refusal(&frame) else {
        panic!("the bomb failed in another way");
    };
    assert_eq!(limit, DATA_BYTES_MAX as u64);
    assert!(found <= (DATA_BYTES_MAX + (128 << 10)) as u64);
}

#[test]
fn streams_that_end_ask_for_a_wide_window_or_are_of_another_format_are_refused() {
    let data = |stream: &[u8]| refusal(&[&[DATA_TAG, 0], &stream[4..]].concat());

    let ended = zstd::bulk::compress(b"body", 3).expect("compresses");
    assert_eq!(
        data(&ended),
        WireError::Malformed("compressed stream: it ended")
    );

    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 3).expect("begins");
    encoder.window_log(24).expect("is valid");
    encoder.write_all(b"body").expect("compresses");
    encoder.flush().expect("flushes");
    assert!(matches!(data(encoder.get_ref()), WireError::Compression(_)));

    let beginning = WireError::Malformed("compressed stream's beginning");
    let whole_stream = [&[DATA_TAG], &ended[..]].concat();
    assert_eq!(refusal(&whole_stream), beginning);
    assert!(matches!(refusal(&[DATA_TAG]), WireError::Truncated(_)));
}

fn clinic() -> Dictionary {
    let text = "schema = \"clinic\"\nversion = 1\n[collections.patient.fields]\nname = { type = \"text\" }\n\
                status = { type = \"choice\", of = [\"waiting\", \"treated\", \"referred\"] }";
    Dictionary::of(&Schema::parse(text).expect("a good schema"))
}

/// A change of one field of a patient.
fn update() -> Message {
    let set = ChangeSet {
        implied: BTreeMap::new(),
        hlc: Timestamp::from_ms(1_790_000_000_000),
        schema_version: 1,
        person: "amina".to_owned(),
        edits: vec![Edit {
            collection: "patient".to_owned(),
            id: "KE-77".to_owned(),
            deps: Vec::new(),
            ops: vec![Op::Set {
                key: "status".to_owned(),
                value: Value::Text("referred".to_owned()),
            }],
        }],
        tags: BTreeMap::new(),
    };
    Message::Data(vec![run(1, 1, &[&encode_change_set(&set)])])
}

#[test]
fn what_the_schema_says_and_logs_that_both_know_do_not_travel() {
    let plain = FrameEncoder::new().encode(&update());
    let dictionary = clinic().with_logs([header(1).log].iter());
    let (mut encoder, mut decoder) = (FrameEncoder::new(), FrameDecoder::new());
    encoder.use_dictionary(dictionary.clone());
    decoder.use_dictionary(dictionary);

    let frame = encoder.encode(&update());

    assert_eq!(decoder.decode(&frame), Ok(update()));
    assert!(
        frame.len() + 20 < plain.len(),
        "{} and {} bytes",
        frame.len(),
        plain.len()
    );
}

#[test]
fn a_dictionary_that_was_not_agreed_on_is_refused_and_another_one_gives_nothing_false() {
    let mut encoder = FrameEncoder::new();
    encoder.use_dictionary(clinic());
    let frame = encoder.encode(&update());

    assert_eq!(refusal(&frame), WireError::Dictionary);
    let mut decoder = FrameDecoder::new();
    decoder.use_dictionary(Dictionary::default());
    assert!(decoder.decode(&frame).is_err());
}

#[test]
fn a_dictionary_that_comes_too_late_is_not_used() {
    let (mut encoder, mut decoder) = (FrameEncoder::new(), FrameDecoder::new());
    for _ in 0..2 {
        let frame = encoder.encode(&update());
        assert_eq!(decoder.decode(&frame), Ok(update()));
        encoder.use_dictionary(clinic());
    }
}

#[test]
fn a_cut_data_frame_is_refused_wherever_it_is_cut() {
    let frame = FrameEncoder::new().encode(&Message::Data(vec![run(1, 1, &[b"one", b"two"])]));
    for end in 0..frame.len() {
        assert!(
            FrameDecoder::new().decode(&frame[..end]).is_err(),
            "cut at {end}"
        );
    }
}

#[test]
fn a_first_sync_takes_less_than_a_third_of_its_json() {
    let mut random = Generator(7);
    let records: Vec<Vec<(&str, Value)>> = (0..10_000).map(|n| record(&mut random, n)).collect();
    let json: usize = records.iter().map(|fields| json_bytes(fields)).sum();
    let entries: Vec<Vec<u8>> = records
        .chunks(100)
        .zip(0..)
        .map(|(records, n)| encode_change_set(&creations(records, n)))
        .collect();

    let mut encoder = FrameEncoder::new();
    let (mut wire, mut batch, mut from) = (0, Vec::new(), 1);
    for (index, entry) in entries.iter().enumerate() {
        batch.push(entry.as_slice());
        let gathered: usize = batch.iter().map(|entry| entry.len()).sum();
        if gathered >= DATA_BYTES_TARGET || index + 1 == entries.len() {
            wire += encoder
                .encode(&Message::Data(vec![run(1, from, &batch)]))
                .len();
            from += batch.len() as u64;
            batch.clear();
        }
    }

    let ratio = wire as f64 / json as f64;
    println!(
        "{json} bytes of JSON, {wire} on the wire: {:.1} %",
        100.0 * ratio
    );
    assert!(
        (500..600).contains(&(json / records.len())),
        "the records are not of the size meant"
    );
    assert!(ratio < 0.33, "{ratio}");
}

fn creations(records: &[Vec<(&'static str, Value)>], n: u64) -> ChangeSet {
    let edit = |fields: &Vec<(&str, Value)>| Edit {
        collection: "visit".to_owned(),
        id: fields[0].1.to_string(),
        deps: Vec::new(),
        ops: fields[1..]
            .iter()
            .map(|(key, value)| Op::Set {
                key: (*key).to_owned(),
                value: value.clone(),
            })
            .collect(),
    };
    ChangeSet {
        implied: BTreeMap::new(),
        hlc: Timestamp::from_ms(1_760_000_000_000 + 60_000 * n),
        schema_version: 1,
        person: "amina".to_owned(),
        tags: Default::default(),
        edits: records.iter().map(edit).collect(),
    }
}

fn json_bytes(fields: &[(&str, Value)]) -> usize {
    let object: serde_json::Map<_, _> = fields
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.to_json()))
        .collect();
    serde_json::Value::Object(object).to_string().len()
}

/// Twelve flat fields as a field team would enter them; the first is the record's id.
fn record(random: &mut Generator, n: u64) -> Vec<(&'static str, Value)> {
    let text = |text: String| Value::Text(text);
    let id = format!(
        "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
        random.below(1 << 32),
        random.below(1 << 16),
        random.below(1 << 12),
        random.below(1 << 12),
        random.below(1 << 48),
    );
    let tags: Vec<String> = (0..1 + random.below(3)).map(|_| word(random)).collect();
    vec![
        ("id", text(id)),
        (
            "kind",
            text(random.one_of(&["visit", "delivery", "inspection", "survey"])),
        ),
        ("title", text(words(random, 24))),
        (
            "status",
            text(random.one_of(&["open", "in progress", "done", "blocked"])),
        ),
        ("priority", Value::Integer(random.below(5) as i64)),
        ("assignee", text(format!("worker-{:02}", random.below(40)))),
        (
            "lat",
            Value::Number(-(random.below(5_000_000) as f64) / 1e6),
        ),
        (
            "lon",
            Value::Number(34.0 + random.below(7_000_000) as f64 / 1e6),
        ),
        ("quantity", Value::Integer(random.below(1000) as i64)),
        (
            "recorded_at",
            text(Timestamp::from_ms(1_760_000_000_000 + n * 97_003).to_string()),
        ),
        ("tags", text(tags.join(","))),
        ("notes", {
            let length = 120 + random.below(240) as usize;
            text(words(random, length))
        }),
    ]
}

fn words(random: &mut Generator, bytes: usize) -> String {
    let mut text = word(random);
    while text.len() < bytes {
        text.push(' ');
        text.push_str(&word(random));
    }
    text
}

/// One of 170 made-up words of two to four syllables.
fn word(random: &mut Generator) -> String {
    const SYLLABLES: [&str; 17] = [
        "ka", "ri", "mo", "ten", "su", "la", "ber", "ni", "do", "wa", "pe", "chi", "go", "ma",
        "tu", "sha", "len",
    ];
    let mut chosen = Generator(1_000 + random.below(170));
    (0..2 + chosen.below(3))
        .map(|_| chosen.one_of(&SYLLABLES))
        .collect()
}

/// A small generator (splitmix64), so that the set is the same everywhere.
struct Generator(u64);

impl Generator {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn one_of(&mut self, options: &[&str]) -> String {
        options[self.below(options.len() as u64) as usize].to_owned()
    }
}

proptest! {
    #[test]
    fn no_frame_makes_the_decoder_panic(
        tag in 0_u8..10, body in prop::collection::vec(any::<u8>(), 0..300)
    ) {
        let frame = [vec![tag], body.clone()].concat();
        let plain = FrameDecoder::new().decode(&frame);
        if let Ok(message) = plain && !matches!(message, Message::Hello(_)) {
            prop_assert_eq!(FrameEncoder::new().encode(&message), frame);
        }
        // The same bytes as the body of a sound compressed stream, to reach the reader of runs.
        if let Ok(message) = FrameDecoder::new().decode(&data_frame(&body)) {
            prop_assert!(matches!(message, Message::Data(_)));
        }
    }

    #[test]
    fn a_damaged_data_frame_never_panics(at in 0_usize..400, flip in 1_u8..) {
        let entry = vec![0x55; 100];
        let mut frame = FrameEncoder::new().encode(&Message::Data(vec![run(1, 1, &[&entry, b"two"])]));
        let at = at % frame.len();
        frame[at] ^= flip;
        // Whatever it gives, entries stay within their limits.
        if let Ok(Message::Data(runs)) = FrameDecoder::new().decode(&frame) {
            prop_assert!(runs.iter().all(|run| !run.entries.is_empty()));
        }
    }
}

#[test]
fn rows_of_a_telling_out_of_order_or_over_their_limit_are_refused() {
    let encode = |message: &Message| FrameEncoder::new().encode(message);

    assert_eq!(
        refusal(&encode(&range([2, 1].into_iter()))),
        WireError::Malformed("rows not in ascending order")
    );
    assert_eq!(
        refusal(&encode(&answer(&[], [1, 1].into_iter()))),
        WireError::Malformed("rows not in ascending order")
    );
    assert_eq!(
        refusal(&encode(&answer(&[(1, 4), (1, 5)], 0..0))),
        WireError::Malformed("answer: rows not in ascending order")
    );
    assert!(matches!(
        refusal(&encode(&range(0..RANGE_ROWS_MAX as u32 + 1))),
        WireError::TooLarge { .. }
    ));
}
