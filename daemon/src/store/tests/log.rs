//! The log: order of arrival, signed points, fetches and the feed.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use redb::ReadableTableMetadata;

use super::*;
use crate::store::{FeedItem, tables};
use crate::wire::limits::POINT_GAP_BYTES;

fn points(device: &Device) -> u64 {
    let count = device
        .store
        .handle
        .read(|tx| Ok(tx.open_table(tables::POINTS)?.len()?));
    count.expect("the table reads")
}

#[test]
fn single_edits_do_not_leave_a_signature_each() {
    let mut device = Device::new(1);
    device
        .write(vec![upsert("1", vec![set("name", "A")])])
        .expect("a write");
    let notes = "n".repeat(1000);
    for _ in 0..200 {
        device
            .write(vec![upsert("1", vec![set("notes", &notes)])])
            .expect("a write");
    }

    // 200 KB of entries, and points no further apart than 4 KiB.
    assert!(
        (50..=70).contains(&points(&device)),
        "{} points",
        points(&device)
    );
    let fetched = device
        .reader()
        .fetch(&Walk::default(), &Held::new(), usize::MAX)
        .expect("a fetch");
    for run in &fetched.runs {
        let bytes: usize = run.entries.iter().map(Vec::len).sum();
        assert!(bytes <= 2 * POINT_GAP_BYTES, "a run of {bytes} bytes");
    }
    let mut other = Device::new(2);
    other.pull(&device, 1);
    assert_eq!(other.shown(), device.shown());
}

#[test]
fn one_transaction_of_many_writes_has_few_points_and_none_too_far_apart() {
    let mut device = Device::new(1);
    let notes = "n".repeat(500);
    let writes: Vec<Batch> = (0..100)
        .map(|n| upsert(&n.to_string(), vec![set("name", "A"), set("notes", &notes)]))
        .map(|edit| Batch::Local(device.local(vec![edit])))
        .collect();

    let report = device.store.commit(writes);

    assert_eq!((report.rows.len(), report.rows[0].seq), (1, 100));
    assert!(
        (12..=20).contains(&points(&device)),
        "{} points",
        points(&device)
    );
}

#[test]
fn a_fetch_skips_what_is_known_and_reaches_a_point() {
    let (mut a, mut b) = (Device::new(1), Device::new(2));
    for n in 0..6 {
        a.write(vec![upsert(&n.to_string(), vec![set("name", "A")])])
            .expect("a write");
        if n == 2 {
            b.write(vec![upsert("b", vec![set("name", "B")])])
                .expect("a write");
            a.pull(&b, usize::MAX);
        }
    }
    let seqs = |after: Arrival, known: &[(u8, u64)]| {
        let known = known
            .iter()
            .map(|&(log, seq)| (LogId([log; 16]), seq))
            .collect();
        let fetched = a
            .reader()
            .fetch(&walk(after), &known, usize::MAX)
            .expect("a fetch");
        assert!(fetched.end);
        let show = |run: &Run| format!("{}:{}-{}", run.header.log.0[0], run.from, run.last());
        fetched.runs.iter().map(show).collect::<Vec<_>>().join(" ")
    };

    assert_eq!(seqs(0, &[]), "1:1-3 2:1-1 1:4-6");
    assert_eq!(seqs(0, &[(1, 2)]), "1:3-3 2:1-1 1:4-6");
    assert_eq!(
        seqs(0, &[(2, 1)]),
        "1:1-6",
        "runs join when what was between them is known"
    );
    assert_eq!(seqs(0, &[(1, 3), (2, 1)]), "1:4-6");
    assert_eq!(seqs(5, &[]), "1:5-6");
    assert_eq!(seqs(7, &[]), "");
    assert_eq!(seqs(700, &[]), "");
    assert_eq!(seqs(0, &[(1, 600), (2, 5)]), "");
}

#[test]
fn the_feed_is_in_arrival_order_and_resumes_anywhere() {
    let (mut a, mut b) = (Device::new(1), Device::new(2));
    for n in 0..3 {
        a.write(vec![upsert(&n.to_string(), vec![set("name", "A")])])
            .expect("a write");
        b.write(vec![upsert("b", vec![set("name", "B")])])
            .expect("a write");
        a.pull(&b, usize::MAX);
    }
    let reader = a.reader();
    let show = |item: FeedItem| (item.arrival, item.header.log.0[0], item.seq);

    let all: Vec<_> = reader
        .feed(0, 100)
        .expect("a feed")
        .into_iter()
        .map(show)
        .collect();

    assert_eq!(
        all,
        [
            (1, 1, 1),
            (2, 2, 1),
            (3, 1, 2),
            (4, 2, 2),
            (5, 1, 3),
            (6, 2, 3)
        ]
    );
    for after in 0..=6 {
        let some = reader.feed(after, 2).expect("a feed");
        let some: Vec<_> = some.into_iter().map(show).collect();
        assert_eq!(
            some,
            all.iter()
                .skip(after as usize)
                .take(2)
                .copied()
                .collect::<Vec<_>>()
        );
    }
}

/// Devices write records that others have written, and pull from each other in pieces of random
/// sizes and from random cursors. [`Device::verify`] checks every piece: chains, signatures, causes
/// before effects.
#[test]
fn interleaved_logs_arrive_with_causes_before_effects_however_they_are_cut() {
    for seed in 0..20 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut pick = |count: u32| (random.next_u32() % count) as usize;
        let mut devices: Vec<Device> = (1..=4).map(Device::new).collect();
        let notes = "n".repeat(30_000);
        for _ in 0..60 {
            let (at, from) = (pick(4), pick(4));
            if at == from || pick(3) == 0 {
                let id = pick(3).to_string();
                let size = [10, 200, 30_000][pick(3)];
                let write = |device: &mut Device| {
                    let ops = vec![set("name", "A"), set("notes", &notes[..size])];
                    Batch::Local(device.local(vec![upsert(&id, ops)]))
                };
                let batches = (0..=pick(3)).map(|_| write(&mut devices[at])).collect();
                devices[at].store.commit(batches);
            } else {
                let pair = devices.get_disjoint_mut([at, from]);
                let [to, from] = pair.expect("two devices");
                let after = if pick(2) == 0 {
                    known_prefix(from, &to.held())
                } else {
                    0
                };
                let bytes_max = [1, 1000, 100_000][pick(3)];
                let fetched = from
                    .reader()
                    .fetch(&walk(after), &to.held(), bytes_max)
                    .expect("a fetch");
                to.take(&fetched);
            }
        }
        for _ in 0..2 {
            for (to, from) in (0..4).flat_map(|to| (0..4).map(move |from| (to, from))) {
                if to != from {
                    let pair = devices.get_disjoint_mut([to, from]);
                    let [to, from] = pair.expect("two devices");
                    to.pull(from, 1 + pick(100_000));
                }
            }
        }
        for device in &devices[1..] {
            assert_eq!(device.shown(), devices[0].shown(), "seed {seed}");
        }
    }
}

/// The last arrival up to which `held` covers everything.
fn known_prefix(device: &Device, held: &Held) -> Arrival {
    let items = device.reader().feed(0, usize::MAX).expect("a feed");
    let known = |item: &FeedItem| {
        held.get(&item.header.log)
            .is_some_and(|&seq| item.seq <= seq)
    };
    items.iter().take_while(|item| known(item)).count() as Arrival
}
