//! The bytes of a change set: what they are, that there is one form only, and that they promise no more than
//! there is.

use super::*;
use crate::wire::value::{DECIMAL, FLOAT, NULL};

#[test]
fn the_bytes_of_a_change_set_stay_what_they_are() {
    let mut first = edit(
        "KE-1",
        vec![
            set("status", text("open")),
            Op::Add {
                key: "stock".to_owned(),
                delta: -3,
            },
        ],
    );
    first.deps = vec![Dot::new(log(0xaa), 7), Dot::new(log(0xbb), 300)];
    let mut second = edit(
        "KE-2",
        vec![
            set("status", Value::Number(-1.2921)),
            Op::Delete {
                reason: "double".to_owned(),
            },
        ],
    );
    second.deps = vec![Dot::new(log(0xbb), 301)];

    let bytes = encode_change_set(&change_set(vec![first, second]));

    let expected = [
        "01",                                     // format
        "80808080cc85f2cc01",                     // time
        "03",                                     // schema version
        "05616d696e61",                           // person
        "02",                                     // edits
        "00057669736974",                         // collection 0, new: visit
        "044b452d31",                             // id
        "02",                                     // dependencies
        "00aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa07",   // log 0, new; 7
        "01bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbac02", // log 1, new; 300
        "02",                                     // ops
        "0000067374617475730101",                 // set key 0, new: status; add to key 1, new
        "0573746f636b",                           // stock
        "00044b452d3201",                         // collection 0; id; one dependency
        "01ad02",                                 // log 1; 301
        "02000004",                               // two ops: set key 0; delete
        "06046f70656e",                           // column 0: text "open"
        "0404f1c901",                             // column 0: 4 places, -12921
        "05",                                     // column 1: -3
        "06646f75626c65",                         // reasons: "double"
        "aa07bb2cbb2d",                           // tags of the three dependencies
    ];
    assert_eq!(hex::encode(bytes), expected.concat());
}

#[test]
fn the_bytes_of_a_change_set_that_implies_records_stay_what_they_are() {
    let back = |back, edit| Implied { back, edit };
    let dep = Dot::new(log(0xaa), 7);
    let mut all = implying(vec![(vec![dep], back(0, 0)), (Vec::new(), back(300, 199))]);
    all.edits
        .push(edit("KE-1", vec![set("status", Value::Null)]));

    let bytes = encode_change_set(&all);

    let expected = [
        "02",                                   // format
        "80808080cc85f2cc01",                   // time
        "03",                                   // schema version
        "05616d696e61",                         // person
        "03",                                   // edits
        "01",                                   // one dependency
        "00aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa07", // log 0, new; 7
        "01",                                   // the record of the first edit there
        "01000006737461747573",                 // one op: set key 0, new: status
        "00",                                   // no dependencies
        "c801",                                 // the record of the edit 199
        "ac02",                                 // 300 entries back
        "010000",                               // one op: set key 0
        "00",                                   // no dependencies
        "00",                                   // named
        "00057669736974",                       // collection 0, new: visit
        "044b452d31",                           // id
        "010000",                               // one op: set key 0
        "06046f70656e06046f70656e00",           // column 0: text "open", twice; null
        "aa07",                                 // tag of the dependency
    ];
    assert_eq!(hex::encode(&bytes), expected.concat());
    assert_eq!(decode_change_set(&bytes), Ok(all));
}

#[test]
fn a_change_set_that_implies_no_record_has_the_format_that_names_all() {
    let bytes = encode_change_set(&single(set("status", text("open"))));
    // Behind the format, the time, the version, the person and the number of edits come the name and the number
    // of dependencies.
    let (head, rest) = bytes.split_at(18);
    let (name, ops) = rest.split_at(12);
    assert_eq!(name, b"\x00\x05visit\x04KE-1");
    let other = [&[FORMAT_IMPLIED], &head[1..], &[0, 0], name, &ops[1..]].concat();

    assert_eq!(bytes[0], FORMAT_NAMED);
    assert_eq!(
        decode_change_set(&other),
        Err(WireError::Malformed("change set: not in canonical form"))
    );
}

#[test]
fn names_that_are_known_change_nothing_in_the_bytes() {
    let implied = implying(vec![(Vec::new(), Implied { back: 1, edit: 0 })]);
    let mut known = implied.clone();
    (known.edits[0].collection, known.edits[0].id) = ("visit".to_owned(), "KE-1".to_owned());

    assert_eq!(encode_change_set(&known), encode_change_set(&implied));
    assert_eq!(check_change_set(&known), Ok(()));
    let mut twice = known.clone();
    twice.edits.push(known.edits[0].clone());
    twice.implied.insert(1, Implied { back: 2, edit: 0 });
    assert_eq!(
        check_change_set(&twice),
        Err(WireError::Malformed("change set: two edits of one record"))
    );
}

#[test]
fn another_format_is_refused() {
    let mut bytes = encode_change_set(&single(set("status", text("open"))));
    bytes[0] = FORMAT_IMPLIED + 1;
    assert_eq!(
        decode_change_set(&bytes),
        Err(WireError::Malformed("change set format"))
    );
}

#[test]
fn a_name_or_log_written_out_twice_is_refused() {
    let twice = change_set(vec![
        edit("a", vec![set("k", Value::Null)]),
        edit("b", vec![set("k", Value::Null)]),
    ]);
    let bytes = encode_change_set(&twice);
    let named_again: Vec<u8> = {
        let second = bytes.len() - 9;
        let (before, after) = bytes.split_at(second);
        assert_eq!(after, [0, 1, b'b', 0, 1, op_tag::SET, 0, NULL, NULL]);
        [before, b"\x01\x05visit", &after[1..]].concat()
    };
    assert_eq!(
        decode_change_set(&named_again),
        Err(WireError::Malformed("change set: not in canonical form"))
    );
}

#[test]
fn a_number_in_a_longer_form_than_needed_is_refused() {
    let bytes = encode_change_set(&single(set("lat", Value::Number(1.5))));
    let short = [DECIMAL, 1, 30];
    assert!(bytes.ends_with(&short));
    let before = &bytes[..bytes.len() - short.len()];

    let as_float = [before, &[FLOAT], &1.5_f64.to_le_bytes()].concat();
    let more_places = [before, &[DECIMAL, 2, 0xac, 2]].concat();
    let too_many_places = [before, &[DECIMAL, 10, 30]].concat();
    for other in [as_float, more_places, too_many_places] {
        assert!(matches!(
            decode_change_set(&other),
            Err(WireError::Malformed(_))
        ));
    }
}

#[test]
fn an_entry_beyond_the_limit_is_refused_unread() {
    let bytes = vec![FORMAT_NAMED; ENTRY_BYTES_MAX + 1];
    assert!(matches!(
        decode_change_set(&bytes),
        Err(WireError::TooLarge { .. })
    ));
}

#[test]
fn lengths_that_promise_more_than_there_is_take_no_memory() {
    let mut writer = Writer::new();
    writer.byte(FORMAT_NAMED);
    writer.varint(1);
    writer.varint(1);
    writer.text("");
    let start = writer.into_bytes();
    for length in [u64::MAX, 1_000] {
        let mut writer = Writer::new();
        writer.raw(&start);
        writer.varint(length);
        assert!(decode_change_set(&writer.into_bytes()).is_err());
    }
}

#[test]
fn one_small_edit_is_a_few_dozen_bytes() {
    let bytes = encode_change_set(&single(set("status", text("done"))));
    assert!(bytes.len() <= 48, "{} bytes", bytes.len());
}
