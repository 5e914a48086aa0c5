//! Links that drop again and again, and sessions that are killed.

use proptest::prelude::*;

use super::world::{Node, START, World, set_name};
use crate::engine::batch::{Held, Walk};

/// What a link carries between two drops, in bytes of frames.
const CUT_BYTES: usize = 4_000;

/// Text that hardly compresses.
fn noise(seed: usize, bytes: usize) -> String {
    let hashes =
        (0..).map(|n: u64| blake3::hash(&[&seed.to_le_bytes()[..], &n.to_le_bytes()].concat()));
    let text: String = hashes
        .take(bytes / 64 + 1)
        .map(|hash| hash.to_hex().to_string())
        .collect();
    text[..bytes].to_owned()
}

#[test]
fn a_link_that_drops_every_four_kilobytes_brings_everything_across_once() {
    let mut world = World::new(2);
    for n in 0..400 {
        world.write(n % 2, &format!("p{n}"), &noise(n, 300));
    }
    let mut meetings = 0;
    loop {
        let before = world.nodes[0].entries() + world.nodes[1].entries();
        let (session, _) = world.join(0, 1);
        let is_done = world.settle_bytes(CUT_BYTES);
        world.cut(session);
        for node in &mut world.nodes {
            node.outbox.clear();
        }
        meetings += 1;
        if is_done {
            break;
        }
        let after = world.nodes[0].entries() + world.nodes[1].entries();
        assert!(after > before, "meeting {meetings} brought nothing across");
    }

    world.assert_converged();
    assert_eq!(
        world.entries_sent(),
        400,
        "what has arrived is not sent again"
    );
    let bytes: usize = world.bytes.iter().sum();
    assert!(
        meetings <= 2 * bytes / CUT_BYTES,
        "{meetings} meetings for {bytes} bytes"
    );
}

#[test]
fn what_was_received_in_one_piece_can_be_sent_on_in_small_ones() {
    let mut world = World::new(3);
    for n in 0..200 {
        world.write(0, &format!("p{n}"), &noise(n, 300));
    }
    world.meet(0, 1);

    let known = Held::new();
    let fetched = world.nodes[1]
        .store
        .reader()
        .fetch(&Walk::default(), &known, 1)
        .expect("a read");

    let bytes: usize = fetched.runs[0].entries.iter().map(Vec::len).sum();
    assert!(bytes < 10_000, "{bytes} bytes at the least");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_device_killed_at_any_frame_goes_on_where_its_store_is(
        kills in prop::collection::vec((0..40usize, any::<bool>(), 0..2usize), 1..12),
    ) {
        let mut world = World::new(2);
        for n in 0..60 {
            world.write(n % 2, &format!("p{}", n % 50), &noise(n, 200));
        }
        for (life, (frames, loses_pending, killed)) in kills.into_iter().enumerate() {
            let (session, _) = world.join(0, 1);
            world.nodes[killed].holds_commits = loses_pending;
            world.settle_some(frames);
            world.cut(session);
            for node in &mut world.nodes {
                node.outbox.clear();
            }
            // Whatever its store had not written is gone, and so is all that the engine knew.
            let node = world.nodes.remove(killed);
            let again = Node::on(node.store, killed as u8 + 1, life as u8 + 1);
            world.nodes.insert(killed, again);
        }
        world.meet(0, 1);
        world.assert_converged();
        prop_assert_eq!(world.nodes[0].entries(), 60);
        let request = world.nodes[0].write(START, "after", vec![set_name("still writes")]);
        prop_assert!(world.nodes[0].replies[&request].is_ok());
    }
}
