//! Compressed streams: every sender is read alike, and bombs, cuts and damage are refused.

use std::io::Write;

use proptest::prelude::*;

use super::*;

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
    let first = Message::Data(vec![run(1, 1, &[b"a little"])]);
    let noisy = [2, 4_002].map(|from| Message::Data(vec![run(1, from, &entries)]));
    let lengths = |mut sender: FrameEncoder| {
        let mut receiver = FrameDecoder::new();
        let mut length = |message: &Message| {
            let frame = sender.encode(message);
            assert_eq!(receiver.decode(&frame), Ok(message.clone()));
            frame.len()
        };
        length(&first);
        [length(&noisy[0]), length(&noisy[1])]
    };
    let mut little = FrameEncoder::new();
    little.expect_entries(1);

    let [once, again] = lengths(little);
    assert!(again > once * 9 / 10, "the small window forgets: {again}");
    let [once, again] = lengths(FrameEncoder::new());
    assert!(again < once / 10, "the usual window reaches back: {again}");
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
