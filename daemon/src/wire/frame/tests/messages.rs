//! Messages come back as they were sent; lists out of order or over their limits, and frames that are none, are
//! refused.

use super::*;
use crate::engine::batch::SchemaTag;
use crate::wire::limits::{
    ACK_ROWS_MAX, BYE_BYTES_MAX, FRONT_ROWS_MAX, NAME_BYTES_MAX, RANGE_ROWS_MAX, SPACES_MAX,
};

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
