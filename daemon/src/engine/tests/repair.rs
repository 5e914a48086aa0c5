//! Damaged and forked logs between devices with real stores: mended, settled, and never a way to do harm.

use std::path::Path;

use crdt_schema::ident::{Dot, LogId};
use redb::ReadableTable;

use super::puppet::{Author, Puppet};
use super::world::{Node, START, World, options, set_name};
use crate::engine::input::{Input, Now};
use crate::engine::limits::ANSWERS_MAX;
use crate::store::Store;
use crate::wire::message::Message;

/// Damages the entry `seq` of the first log in a store file.
pub(super) fn damage_entry(path: &Path, seq: u64) {
    let table: redb::TableDefinition<'_, (u32, u64), &[u8]> = redb::TableDefinition::new("entries");
    let database = redb::Database::open(path).expect("it opens");
    let tx = database.begin_write().expect("a transaction");
    {
        let mut rows = tx.open_table(table).expect("the table");
        let row = rows.get((0, seq)).expect("a read").expect("the row");
        let mut bad = row.value().to_vec();
        drop(row);
        bad[9] ^= 1;
        rows.insert((0, seq), bad.as_slice()).expect("a write");
    }
    tx.commit().expect("a commit");
}

pub(super) fn open(path: &Path, number: u8, start: u8) -> Node {
    let store = Store::open_file(path, options(number)).expect("the store opens");
    Node::on(store, number, start)
}

/// What all devices show of the records, by id.
fn assert_same_records(world: &World) {
    let shown = |node: &Node| {
        let query = crate::store::ListQuery {
            space: Default::default(),
            collection: "patient".to_owned(),
            after: None,
            limit: usize::MAX,
            deleted: true,
        };
        let page = node.store.reader().list(&query, &|_| true).expect("a list");
        let show = |r: crate::store::StoredRecord| format!("{} {} {:?}", r.key, r.etag, r.view);
        page.records.into_iter().map(show).collect::<Vec<_>>()
    };
    let first = shown(&world.nodes[0]);
    for node in &world.nodes[1..] {
        assert_eq!(shown(node), first);
    }
}

fn names(node: &Node) -> Vec<String> {
    let query = crate::store::ListQuery {
        space: Default::default(),
        collection: "patient".to_owned(),
        after: None,
        limit: usize::MAX,
        deleted: true,
    };
    let page = node.store.reader().list(&query, &|_| true).expect("a list");
    let name = |r: crate::store::StoredRecord| r.view.fields["name"].to_string();
    page.records.into_iter().map(name).collect()
}

/// Device 1 (in a file, then damaged) and device 2 have met; device 3 has not met anybody.
fn world_with_damage(dir: &Path, seqs: &[u64]) -> World {
    let path = dir.join("store");
    let mut world = World::new(3);
    world.nodes[0] = open(&path, 1, 0);
    for n in 0..6 {
        world.write(0, &format!("p{n}"), "Achieng");
    }
    let (session, _) = world.meet(0, 1);
    world.write(1, "p0", "Baraka");
    world.settle();
    world.cut(session);
    world.nodes[0] = Node::new(1);
    seqs.iter().for_each(|seq| damage_entry(&path, *seq));
    world.nodes[0] = open(&path, 1, 1);
    world
}

#[test]
fn a_damaged_entry_holds_back_its_own_log_only_until_a_peer_mends_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut world = world_with_damage(dir.path(), &[3]);
    let mut free = Author::new(5, 5);
    let mut giver = Puppet::meet(&mut world.nodes[0], 5, 50);
    giver.say(&mut world.nodes[0], &Message::Data(vec![free.run(2)]));
    world.nodes[0].outbox.clear();
    let own = LogId(
        *world.nodes[1]
            .held()
            .keys()
            .find(|log| **log != free.log())
            .map(|l| &l.0)
            .expect("a log"),
    );

    // Device 3 gets what can be read, and what does not depend on the rest.
    world.meet(0, 2);
    assert_eq!(world.nodes[2].held().get(&free.log()), Some(&2));
    assert_eq!(world.nodes[0].fleet.repairs.damaged.len(), 1, "{own}");

    // Device 2 holds the log, and mends it.
    world.meet(0, 1);
    assert_eq!(world.nodes[0].fleet.repairs.damaged.len(), 0);
    assert!(world.nodes[0].fleet.repairs.mended > 0);
    world.meet(0, 1);
    world.meet(0, 2);
    world.meet(1, 2);
    world.assert_converged();
    assert_same_records(&world);
}

#[test]
fn an_edit_that_points_to_a_damaged_entry_waits_until_a_peer_mends_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut world = world_with_damage(dir.path(), &[3]);
    world.write(1, "p2", "Chebet");

    world.meet(0, 1);
    let counts = world.nodes[0].fleet.refusals.clone();
    assert_eq!(counts.get("damaged_cause"), Some(&1), "{counts:?}");
    assert!(world.nodes[0].fleet.repairs.mended > 0);
    world.meet(0, 1);
    world.meet(0, 2);
    world.meet(1, 2);

    world.assert_converged();
    assert_same_records(&world);
}

#[test]
fn several_damaged_entries_are_mended_one_after_the_other() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut world = world_with_damage(dir.path(), &[1, 2, 5, 6]);

    world.meet(0, 2);
    world.meet(0, 1);
    world.meet(0, 2);

    assert!(world.nodes[0].fleet.repairs.damaged.is_empty());
    world.meet(1, 2);
    world.assert_converged();
}

#[test]
fn a_frontier_that_disagrees_at_the_same_place_is_found_and_healed_by_the_damaged_side() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("store");
    let mut world = world_with_damage(dir.path(), &[]);
    let row = world.nodes[0].store.opening().expect("it reads").frontier[0].clone();
    world.nodes[0] = Node::new(1);
    let table: redb::TableDefinition<'_, u32, &[u8]> = redb::TableDefinition::new("logs");
    let database = redb::Database::open(&path).expect("it opens");
    let tx = database.begin_write().expect("a transaction");
    {
        let mut rows = tx.open_table(table).expect("the table");
        let mut bytes = rows
            .get(0)
            .expect("a read")
            .expect("the row")
            .value()
            .to_vec();
        let place = bytes.windows(32).position(|part| part == row.chain);
        bytes[place.expect("the chain value is in the row")] ^= 1;
        rows.insert(0, bytes.as_slice()).expect("a write");
    }
    tx.commit().expect("a commit");
    drop(database);
    world.nodes[0] = open(&path, 1, 2);

    world.meet(0, 1);
    world.meet(0, 1);
    world.meet(0, 2);
    world.meet(1, 2);

    assert_eq!(
        world.nodes[0].store.opening().expect("it reads").frontier[0].chain,
        row.chain
    );
    world.assert_converged();
    assert_same_records(&world);
}

#[test]
fn a_damaged_signature_is_found_by_the_peer_that_refuses_it_and_mended() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("store");
    let mut world = world_with_damage(dir.path(), &[]);
    world.nodes[0] = Node::new(1);
    let table: redb::TableDefinition<'_, (u32, u64), &[u8; 64]> =
        redb::TableDefinition::new("points");
    let database = redb::Database::open(&path).expect("it opens");
    let tx = database.begin_write().expect("a transaction");
    let mut points = tx.open_table(table).expect("the table");
    points.insert((0, 6), &[1; 64]).expect("a write");
    drop(points);
    tx.commit().expect("a commit");
    drop(database);
    world.nodes[0] = open(&path, 1, 2);

    world.meet(0, 2);
    for _ in 0..2 {
        world.meet(0, 1);
        world.meet(0, 2);
    }

    assert!(world.nodes[0].fleet.repairs.mended > 0);
    world.assert_converged();
}

#[test]
fn nobody_can_change_a_damaged_log_by_mending_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut world = world_with_damage(dir.path(), &[3]);
    let node = &mut world.nodes[0];
    let header = node.store.opening().expect("it reads").own_logs[0].clone();
    let mut puppet = Puppet::meet(node, 2, 7);
    let place = loop {
        let asked = puppet
            .hear(node)
            .into_iter()
            .find_map(|message| match message {
                Message::Ask { from, .. } => Some(from),
                _ => None,
            });
        if let Some(from) = asked {
            break from;
        }
    };

    // Signed by the device itself, as on another branch of its log.
    let mut forger = Author::begin(super::world::key(1), header.clone());
    forger.run(place as usize - 1);
    let run = Some(forger.run(1));
    puppet.say(
        node,
        &Message::Given {
            log: header.log,
            run,
        },
    );

    assert_eq!(node.fleet.repairs.mended, 0);
    assert_eq!(node.fleet.repairs.damaged.get(&header.log), Some(&place));
    puppet.assert_open(node);
}

#[test]
fn answers_without_questions_and_questions_without_end_end_the_session() {
    let mut node = Node::new(1);
    let log = Author::new(5, 5).log();
    let mut puppet = Puppet::meet(&mut node, 2, 1);
    puppet.say(&mut node, &Message::Given { log, run: None });
    puppet.assert_breach(&node, "GIVEN without ASK");
    let mut puppet = Puppet::meet(&mut node, 2, 2);
    puppet.say(
        &mut node,
        &Message::Tags {
            log,
            rows: Vec::new(),
        },
    );
    puppet.assert_breach(&node, "TAGS without PROBE");
    let mut puppet = Puppet::meet(&mut node, 2, 3);
    for _ in 0..ANSWERS_MAX {
        puppet.say(
            &mut node,
            &Message::Ask {
                log,
                from: u64::MAX,
            },
        );
    }
    puppet.assert_open(&node);
    puppet.say(
        &mut node,
        &Message::Probe {
            log,
            seqs: vec![0, u64::MAX],
        },
    );
    puppet.assert_breach(&node, "more questions");
}

/// Device 1 writes, shares, goes back in time unnoticed, and writes on in the same log.
fn forked_world(dir: &Path, before: usize, first: usize, second: usize) -> World {
    let (path, copy) = (dir.join("store"), dir.join("copy"));
    let mut world = World::new(3);
    world.nodes[0] = open(&path, 1, 0);
    for n in 0..before {
        world.write(0, &format!("p{n}"), "before");
    }
    world.nodes[0] = Node::new(1);
    std::fs::copy(&path, &copy).expect("a copy");
    world.nodes[0] = open(&path, 1, 1);
    for n in 0..first {
        world.write(0, &format!("p{n}"), &format!("first {n}"));
    }
    let (session, _) = world.meet(0, 1);
    world.cut(session);
    world.nodes[0] = Node::new(1);
    std::fs::copy(&copy, &path).expect("back in time");
    world.nodes[0] = open(&path, 1, 2);
    for n in 0..second {
        world.write(0, &format!("p{}", n + 1), &format!("second {n}"));
    }
    world
}

#[test]
fn what_a_restored_device_wrote_on_its_dead_branch_reaches_everybody_and_nothing_is_lost() {
    for (before, first, second) in [(4, 2, 2), (4, 3, 1), (4, 1, 3), (3, 40, 30), (0, 2, 1)] {
        let dir = tempfile::tempdir().expect("a directory");
        let mut world = forked_world(dir.path(), before, first, second);

        for _ in 0..2 {
            world.meet(0, 1);
            world.pass(5_000);
        }
        world.write(0, "later", "after all");
        world.meet(0, 1);
        world.meet(1, 2);
        world.meet(0, 2);
        world.pass(5_000);

        let case = format!("{before} {first} {second}");
        world.assert_converged();
        assert_same_records(&world);
        assert_eq!(
            world.nodes[2].entries(),
            (before + first + second + 1) as u64,
            "{case}"
        );
        assert!(names(&world.nodes[2]).contains(&"\"after all\"".to_owned()));
        if before > 0 {
            assert_eq!(
                world.nodes[0].fleet.repairs.rewritten, second as u64,
                "{case}"
            );
        }
        let refused = |node: &Node| node.fleet.peers.values().all(|p| p.refused_logs.is_empty());
        assert!(world.nodes.iter().all(refused), "{case}");
    }
}

#[test]
fn what_is_written_again_still_follows_what_it_followed() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut world = forked_world(dir.path(), 4, 1, 3);

    world.meet(0, 1);
    world.meet(0, 1);

    // One record was edited on the lone branch only, after an edit that both branches have.
    let key = crdt_schema::ident::RecordKey {
        space: Default::default(),
        collection: "patient".to_owned(),
        id: "p3".to_owned(),
    };
    for node in &world.nodes[..2] {
        let doc = node.store.reader().document(&key).expect("it reads");
        let doc = doc.expect("the record");
        assert_eq!((doc.changes().len(), doc.heads().len()), (2, 1));
    }
}

#[test]
fn a_settled_store_opens_again_and_goes_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut world = forked_world(dir.path(), 4, 3, 3);
    world.meet(0, 1);
    world.meet(0, 1);
    let before = names(&world.nodes[0]);
    world.nodes[0] = Node::new(1);

    world.nodes[0] = open(&dir.path().join("store"), 1, 3);

    assert_eq!(names(&world.nodes[0]), before);
    world.write(0, "more", "more");
    world.meet(0, 1);
    world.meet(0, 2);
    world.meet(1, 2);
    world.assert_converged();
    assert_same_records(&world);
}

#[test]
fn a_branch_that_another_device_holds_is_not_taken_out_and_both_stay() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut world = forked_world(dir.path(), 4, 2, 2);
    let old = *world.nodes[0].held().keys().next().expect("a log");
    let (session, _) = world.meet(0, 2);
    world.cut(session);
    assert_eq!(world.nodes[2].held()[&old], 6);

    for _ in 0..3 {
        world.meet(0, 1);
        world.meet(1, 2);
        world.meet(0, 2);
    }

    assert_eq!(world.nodes[0].held()[&old], 4);
    let repairs = &world.nodes[0].fleet.repairs;
    assert_eq!((repairs.rewritten, repairs.forks), (0, 1));
    world.assert_converged();
    assert_same_records(&world);
}

#[test]
fn a_peer_that_only_claims_a_fork_takes_nothing_out() {
    let mut node = Node::new(1);
    for n in 0..3 {
        node.write(START, &format!("p{n}"), vec![set_name("Achieng")]);
    }
    let header = node.store.opening().expect("it reads").own_logs[0].clone();
    let log = header.log;
    let mut liar = Puppet::meet(&mut node, 2, 1);
    liar.say(&mut node, &Message::Ack(vec![(log, 0)]));
    let probe = liar
        .hear(&mut node)
        .into_iter()
        .find_map(|message| match message {
            Message::Probe { seqs, .. } => Some(seqs),
            _ => None,
        });
    let rows = probe.expect("a probe").into_iter().map(|seq| (seq, [7; 8]));
    liar.say(
        &mut node,
        &Message::Tags {
            log,
            rows: rows.collect(),
        },
    );
    let forged = Author::begin(super::world::key(2), header).run(1);
    liar.say(
        &mut node,
        &Message::Given {
            log,
            run: Some(forged),
        },
    );

    assert_eq!(node.held()[&log], 3);
    assert_eq!(node.fleet.repairs.rewritten, 0);
    assert!(
        node.store
            .reader()
            .entry(Dot::new(log, 1))
            .expect("a read")
            .is_some()
    );
}

#[test]
fn a_peer_that_always_differs_is_asked_about_it_once_an_hour() {
    let mut node = Node::new(1);
    for n in 0..5 {
        node.write(START, &format!("p{n}"), vec![set_name("Achieng")]);
    }
    let own = *node.held().keys().next().expect("a log");
    let other = crate::wire::message::FrontRow {
        log: own,
        seq: 5,
        chain_tag: [9; 8],
    };

    let mut probes = Vec::new();
    for minute in 0..130 {
        let now = Now {
            mono_ms: START.mono_ms + minute * 60_000,
            ..START
        };
        node.handle(now, Input::Timeout);
        let mut peer = Puppet::meet_at(&mut node, now, 2, 10 + minute, vec![other.clone()]);
        let heard = peer.hear(&mut node);
        if heard.iter().any(|m| matches!(m, Message::Probe { .. })) {
            probes.push(minute);
            // It holds nothing of what it is asked for: the search ends, and the next one is due in an hour.
            let rows = (1..=5).map(|seq| (seq, [9; 8])).collect();
            peer.say_at(&mut node, now, &Message::Tags { log: own, rows });
            peer.say_at(
                &mut node,
                now,
                &Message::Given {
                    log: own,
                    run: None,
                },
            );
        }
        let session = peer.session;
        node.handle(now, Input::SessionClosed { session });
    }

    assert_eq!(probes, [0, 60, 120]);
}
