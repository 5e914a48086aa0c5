//! Pictures of made-up runs, and traces that must be refused.

use std::fmt::Write;

use super::axis::{amounts, bytes, duration, moments};
use super::*;
use crate::draw::Draw;
use crate::time::HOUR_MS;

/// A run in which devices meet at random and news spread.
fn sample(devices: usize, hours: u64) -> String {
    let draw = Draw::new(8);
    let horizon_ms = hours * HOUR_MS;
    let names: Vec<String> = (0..devices)
        .map(|n| format!("{{\"name\":\"tablet <{n}> & co\",\"hub\":{}}}", n == 0))
        .collect();
    let mut text = format!(
        "{{\"ev\":\"world\",\"devices\":[{}],\"horizon_ms\":{horizon_ms}}}\n",
        names.join(",")
    );
    let mut entries = vec![0; devices];
    let meetings = hours * 2;
    for n in 0..meetings {
        let t = n * horizon_ms / meetings;
        let a = draw.number("a", n, 0..devices as u64) as usize;
        let b = (a + 1 + draw.number("b", n, 0..devices as u64 - 1) as usize) % devices;
        let class = ["wifi", "ble", "cell2g", "satellite"][draw.number("c", n, 0..4) as usize];
        entries[a] += draw.number("new", n, 0..9);
        let most = entries[a].max(entries[b]);
        let end = t + horizon_ms / meetings / 2;
        let bytes = draw.number("bytes", n, 100..90_000);
        let _ = write!(
            text,
            "{{\"t_ms\":{t},\"ev\":\"contact_start\",\"a\":{a},\"b\":{b},\"class\":\"{class}\"}}\n\
             {{\"t_ms\":{t},\"ev\":\"frame\",\"from\":{a},\"to\":{b},\"bytes\":{bytes}}}\n\
             {{\"t_ms\":{t},\"ev\":\"saved\",\"device\":{a},\"entries\":{most}}}\n\
             {{\"t_ms\":{t},\"ev\":\"saved\",\"device\":{b},\"entries\":{most}}}\n"
        );
        entries[a] = most;
        entries[b] = most;
        if n % 5 == 1 {
            let kind = ["power_cut", "kill", "clock_jump", "disk_full"][n as usize % 4];
            let _ = writeln!(
                text,
                "{{\"t_ms\":{t},\"ev\":\"fault\",\"kind\":\"{kind}\",\"device\":{a}}}"
            );
        }
        let _ = writeln!(
            text,
            "{{\"t_ms\":{end},\"ev\":\"contact_end\",\"a\":{a},\"b\":{b},\"class\":\"{class}\"}}"
        );
    }
    let _ = writeln!(text, "{{\"t_ms\":{horizon_ms},\"ev\":\"settled\"}}");
    text
}

fn picture(text: &str) -> String {
    svg(text.as_bytes()).expect("a good trace")
}

/// The boxes around all texts: left, right, top, bottom.
fn boxes(svg: &str) -> Vec<(String, [f64; 4])> {
    let texts = svg.lines().filter(|line| line.starts_with("<text"));
    let number = |line: &str, name: &str| -> f64 {
        let from = line.find(&format!(" {name}=\"")).expect("the attribute") + name.len() + 3;
        let rest = &line[from..];
        rest[..rest.find('"').expect("its end")]
            .parse()
            .expect("a number")
    };
    texts
        .map(|line| {
            let (x, y) = (number(line, "x"), number(line, "y"));
            let size = number(line, "font-size");
            let inner = &line[line.find('>').expect("an end") + 1..line.len() - 7];
            let inner = inner
                .replace("&lt;", "<")
                .replace("&gt;", ">")
                .replace("&amp;", "&");
            let width = inner.chars().count() as f64 * size * 0.56;
            let left = match line {
                line if line.contains("\"start\"") => x,
                line if line.contains("\"middle\"") => x - width / 2.0,
                _ => x - width,
            };
            (inner, [left, left + width, y - size * 0.75, y + size * 0.2])
        })
        .collect()
}

#[test]
fn no_label_lies_over_another_or_outside_the_picture() {
    for (devices, hours) in [
        (2, 1),
        (5, 48),
        (12, 24 * 7),
        (40, 24),
        (41, 24),
        (600, 24 * 30),
    ] {
        let boxes = boxes(&picture(&sample(devices, hours)));
        assert!(boxes.len() > 10);
        for (number, (text, a)) in boxes.iter().enumerate() {
            assert!(
                a[0] >= 0.0 && a[1] <= WIDTH,
                "{devices} devices: {text:?} at {a:?}"
            );
            for (other, b) in &boxes[number + 1..] {
                let apart = a[1] <= b[0] || b[1] <= a[0] || a[3] <= b[2] || b[3] <= a[2];
                assert!(
                    apart,
                    "{devices} devices: {text:?} over {other:?}: {a:?} {b:?}"
                );
            }
        }
    }
}

#[test]
fn a_picture_tells_who_when_and_how_much_and_repeats_itself() {
    let trace = sample(5, 48);

    let drawn = picture(&trace);

    assert_eq!(drawn, picture(&trace));
    for words in [
        "5 devices over 2 d, settled after 2 d",
        "power cut × ",
        "wifi",
        "(hub)",
        " kB",
    ] {
        assert!(drawn.contains(words), "{words}");
    }
    assert!(drawn.contains("&lt;0&gt; &amp;") && !drawn.contains("<0>"));
    assert_eq!(drawn.matches("<svg").count(), 1);
    assert!(!drawn.contains("NaN") && !drawn.contains("href"));
}

#[test]
fn more_devices_than_lanes_make_a_map() {
    let (lanes, map) = (picture(&sample(40, 24)), picture(&sample(41, 24)));

    assert!(lanes.contains("share of all entries held") && !lanes.contains("% behind"));
    assert!(map.contains("% behind") && !map.contains("share of all entries held"));
}

#[test]
fn a_run_in_which_nothing_happened_is_drawn_too() {
    let world = "{\"ev\":\"world\",\"devices\":[{\"name\":\"\",\"hub\":false}],\"horizon_ms\":1}\n";

    let drawn = picture(world);

    assert!(drawn.contains("not settled") && drawn.contains("no frames"));
    assert!(!drawn.contains("NaN") && !drawn.contains("inf"));
}

#[test]
fn events_at_and_after_the_horizon_stay_on_the_axis() {
    let world = "{\"ev\":\"world\",\"devices\":[{\"name\":\"a\",\"hub\":true},{\"name\":\"b\",\"hub\":false}],\"horizon_ms\":1000}\n";
    let events = "{\"t_ms\":900,\"ev\":\"contact_start\",\"a\":1,\"b\":0,\"class\":\"wifi\"}\n\
        {\"t_ms\":5000,\"ev\":\"frame\",\"from\":1,\"to\":0,\"bytes\":18446744073709551615}\n\
        {\"t_ms\":5000,\"ev\":\"saved\",\"device\":1,\"entries\":18446744073709551615}\n\
        {\"t_ms\":6000,\"ev\":\"settled\"}\n";

    let drawn = picture(&format!("{world}{events}"));

    assert!(boxes(&drawn).iter().all(|(_, b)| b[1] <= WIDTH));
    assert!(drawn.contains("settled after 6 s"));
}

#[test]
fn a_damaged_trace_is_refused_by_line() {
    let world = "{\"ev\":\"world\",\"devices\":[{\"name\":\"a\",\"hub\":true},{\"name\":\"b\",\"hub\":false}],\"horizon_ms\":1000}\n";
    let cases = [
        ("", 1, "empty"),
        ("{\"t_ms\":1,\"ev\":\"settled\"}\n", 1, "first line"),
        (
            "{\"ev\":\"world\",\"devices\":[],\"horizon_ms\":5}\n",
            1,
            "0 devices",
        ),
        (
            "{\"ev\":\"world\",\"devices\":[{\"name\":\"a\",\"hub\":true}],\"horizon_ms\":0}\n",
            1,
            "horizon_ms",
        ),
        (
            "W{\"ev\":\"world\",\"devices\":[{\"name\":\"a\",\"hub\":true}],\"horizon_ms\":9}\n",
            2,
            "twice",
        ),
        ("Wnot json\n", 2, "no event"),
        (
            "W{\"t_ms\":1,\"ev\":\"saved\",\"device\":2,\"entries\":1}\n",
            2,
            "device 2 of 2",
        ),
        (
            "W{\"t_ms\":1,\"ev\":\"saved\",\"device\":-1,\"entries\":1}\n",
            2,
            "no event",
        ),
        (
            "W{\"t_ms\":1,\"ev\":\"dance\",\"device\":1}\n",
            2,
            "no event",
        ),
        (
            "W{\"t_ms\":1,\"ev\":\"contact_start\",\"a\":1,\"b\":1,\"class\":\"wifi\"}\n",
            2,
            "itself",
        ),
        (
            "W{\"t_ms\":1,\"ev\":\"contact_end\",\"a\":0,\"b\":1,\"class\":\"wifi\"}\n",
            2,
            "not begun",
        ),
        (
            "W{\"t_ms\":1,\"ev\":\"fault\",\"kind\":\"<b>\",\"device\":1}\n",
            2,
            "short word",
        ),
        (
            "W{\"t_ms\":9,\"ev\":\"settled\"}\n{\"t_ms\":9,\"ev\":\"settled\"}\n",
            3,
            "after the run",
        ),
        (
            "W{\"t_ms\":9,\"ev\":\"saved\",\"device\":0,\"entries\":1}\n{\"t_ms\":8,\"ev\":\"settled\"}\n",
            3,
            "goes back",
        ),
        (
            "W{\"t_ms\":9,\"ev\":\"saved\",\"device\":0,\"entries\":1}\n{\"t_ms\":10,\"ev\":\"sav",
            3,
            "no event",
        ),
    ];
    for (text, line, words) in cases {
        let text = text.replace('W', world);
        let error = svg(text.as_bytes()).expect_err(words).to_string();
        assert!(
            error.contains(&format!("line {line}:")) && error.contains(words),
            "{error}"
        );
    }
    let long = "x".repeat(5 << 20);
    let error = svg(long.as_bytes()).expect_err("too long").to_string();
    assert!(error.contains("longer than"), "{error}");
}

#[test]
fn axes_count_in_round_numbers() {
    assert_eq!(moments(48 * HOUR_MS).nth(1), Some(6 * HOUR_MS));
    for horizon_ms in [
        1,
        7,
        1000,
        90_000,
        HOUR_MS,
        24 * 365 * HOUR_MS,
        36_600 * 24 * HOUR_MS,
    ] {
        assert!(
            (1..=16).contains(&moments(horizon_ms).count()),
            "{horizon_ms}"
        );
    }
    assert_eq!(amounts(7), [0, 2, 4, 6, 8]);
    assert_eq!(
        amounts(1_900_000),
        [0, 500_000, 1_000_000, 1_500_000, 2_000_000]
    );
    for most in [1, 9, 10, 4_999, u64::MAX] {
        let marks = amounts(most);
        assert!(
            (2..=6).contains(&marks.len()) && marks.last() >= Some(&most),
            "{marks:?}"
        );
    }
    assert_eq!(duration(0), "0");
    assert_eq!(duration(26 * HOUR_MS), "1 d 2 h");
    assert_eq!(duration(61_000), "1 min 1 s");
    assert_eq!(bytes(999), "999 B");
    assert_eq!(bytes(1_250_000), "1.2 MB");
}

#[test]
fn contacts_of_a_pair_that_overlap_or_touch_are_drawn_as_one_and_others_apart() {
    let event = |t_ms: u64, kind: &str, class: &str| {
        format!(
            "{{\"t_ms\":{t_ms},\"ev\":\"contact_{kind}\",\"a\":1,\"b\":0,\"class\":\"{class}\"}}\n"
        )
    };
    let world = "{\"ev\":\"world\",\"devices\":[{\"name\":\"a\",\"hub\":true},{\"name\":\"b\",\"hub\":false}],\"horizon_ms\":1000}\n";
    let touching = [
        event(10, "start", "ble"),
        event(20, "start", "ble"),
        event(20, "end", "ble"),
        event(30, "start", "wifi"),
        event(40, "end", "ble"),
        event(50, "end", "wifi"),
    ];

    let text = format!("{world}{}", touching.concat());
    let trace = Trace::read(text.as_bytes()).unwrap();

    let times: Vec<_> = trace
        .contacts
        .iter()
        .map(|it| (it.at_ms, it.end_ms))
        .collect();
    assert_eq!(times, [(10, 40), (30, 50)]);
    let twice = format!("{text}{}", event(60, "end", "ble"));
    let error = svg(twice.as_bytes()).unwrap_err().to_string();
    assert!(
        error.contains("line 8: a contact ends that has not begun"),
        "{error}"
    );
}

#[test]
fn a_picture_of_a_run_is_the_one_that_its_trace_gives() {
    use crate::generate::{generate, profile};
    use crate::trace::{Renumbered, Writer};
    use crate::world::World;

    let plan = generate(3, &profile("quick").unwrap());
    let (mut lines, mut picture) = (Vec::new(), Renumbered::new(&plan, Picture::default()));
    World::run(&plan, &mut Renumbered::new(&plan, Writer::new(&mut lines)));
    World::run(&plan, &mut picture);

    assert_eq!(
        picture.into_inner().svg().unwrap(),
        svg(&lines[..]).unwrap()
    );
}
