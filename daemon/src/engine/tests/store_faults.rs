//! What happens when the store cannot write.

use super::puppet::{Author, Puppet};
use super::world::{Node, START, World, set_name};
use crate::engine::batch::{Rejection, Run, StoreFault};
use crate::engine::effect::CloseReason;
use crate::engine::input::{Input, Now};
use crate::engine::limits::STORE_RETRY_MS;
use crate::wire::message::Message;

fn full() -> StoreFault {
    StoreFault::DiskFull("no space left".to_owned())
}

#[test]
fn a_failed_batch_ends_the_sessions_and_is_sent_again_later() {
    let mut world = World::new(2);
    for n in 0..20 {
        world.write(0, &format!("p{n}"), "Achieng");
    }
    world.nodes[1].fault = Some(full());
    let (at_a, at_b) = world.meet(0, 1);
    assert!(matches!(
        world.nodes[1].end_of(at_b),
        Some(CloseReason::Store(_))
    ));
    assert!(matches!(
        world.nodes[0].end_of(at_a),
        Some(CloseReason::Peer(_))
    ));
    assert_eq!(world.nodes[1].entries(), 0);

    let (_, at_b) = world.meet(0, 1);
    assert!(
        matches!(world.nodes[1].end_of(at_b), Some(CloseReason::Store(_))),
        "it is too soon"
    );
    world.pass(STORE_RETRY_MS);
    world.meet(0, 1);

    world.assert_converged();
    assert_eq!(world.nodes[1].entries(), 20);
}

#[test]
fn what_the_store_said_is_not_told_to_peers() {
    let mut node = Node::new(1);
    let mut puppet = Puppet::meet(&mut node, 2, 1);
    node.fault = Some(StoreFault::Failed(
        "/home/amina/fieldmesh/store: broken".to_owned(),
    ));

    puppet.say(&mut node, &Message::Data(vec![Author::new(2, 2).run(1)]));

    let heard = puppet.hear(&mut node);
    assert!(matches!(heard.last(), Some(Message::Bye { text, .. }) if !text.contains("amina")));
}

#[test]
fn a_failed_local_write_is_answered_and_ends_no_session() {
    let mut node = Node::new(1);
    let mut puppet = Puppet::meet(&mut node, 2, 1);
    puppet.hear(&mut node);
    node.fault = Some(full());

    let request = node.write(START, "p1", vec![set_name("Achieng")]);

    assert_eq!(node.replies[&request], Err(Rejection::Store(full())));
    puppet.assert_open(&node);
    assert!(puppet.hear(&mut node).is_empty());
    assert_eq!(node.published, 0);
    let request = node.write(START, "p1", vec![set_name("Achieng")]);
    assert!(node.replies[&request].is_ok());
}

#[test]
fn no_session_begins_while_batches_from_before_a_failure_are_on_their_way() {
    let mut same = Author::new(2, 2);
    let same_log = [same.run(1), same.run(1)];
    let other_log = [Author::new(2, 2).run(1), Author::new(2, 3).run(1)];
    // The second batch fails with the first if it continues the same log, and only then.
    for (runs, written) in [(same_log, 0), (other_log, 1)] {
        let mut node = Node::new(1);
        let mut puppet = Puppet::meet(&mut node, 2, 1);
        node.holds_commits = true;
        puppet.say(&mut node, &Message::Data(vec![runs[0].clone()]));
        let first = std::mem::take(&mut node.pending);
        puppet.say(&mut node, &Message::Data(vec![runs[1].clone()]));
        let second = std::mem::take(&mut node.pending);

        node.pending = first;
        node.fault = Some(full());
        node.commit(START);
        assert!(matches!(node.end_of(1), Some(CloseReason::Store(_))));
        let (session, device) = (2, puppet.device);
        let later = Now {
            mono_ms: START.mono_ms + 2 * STORE_RETRY_MS,
            ..START
        };
        node.handle(later, Input::SessionOpened { session, device });
        assert!(
            node.end_of(2).is_some(),
            "the second batch has no outcome yet"
        );

        node.pending = second;
        node.holds_commits = false;
        node.commit(START);
        assert_eq!(node.entries(), written);
        node.handle(later, Input::SessionOpened { session: 3, device });
        assert_eq!(node.end_of(3), None);

        let mut puppet = Puppet::meet(&mut node, 2, 4);
        puppet.say(&mut node, &Message::Data(runs.to_vec()));
        assert_eq!(node.entries(), 2);
    }
}

#[test]
fn entries_that_were_read_before_their_commit_was_reported_wait_for_the_report() {
    let mut node = Node::new(1);
    let text = "x".repeat(3 << 10);
    for n in 0..300 {
        node.write(START, &format!("p{n}"), vec![set_name(&text)]);
    }
    let mut puppet = Puppet::meet(&mut node, 2, 1);
    let mut sent = last_sent(&puppet.hear(&mut node));
    node.holds_commits = true;
    let request = node.write(START, "last", vec![set_name("Achieng")]);
    let batches = std::mem::take(&mut node.pending);
    let report = node.store.commit(batches);
    let log = *node.held().keys().next().expect("one log");

    loop {
        puppet.say(&mut node, &Message::Ack(vec![(log, sent)]));
        match last_sent(&puppet.hear(&mut node)) {
            0 => break,
            last => sent = last,
        }
    }
    assert!(sent > 200 && sent <= 300, "{sent} were sent");

    node.trace.clear();
    node.handle(START, Input::Committed(report));
    assert!(node.replies[&request].is_ok());
    assert!(node.trace[0].starts_with("Reply") && node.trace[1].starts_with("Publish"));
    assert_eq!(last_sent(&puppet.hear(&mut node)), 301);
}

fn last_sent(messages: &[Message]) -> u64 {
    let runs = messages.iter().filter_map(|message| match message {
        Message::Data(runs) => Some(runs),
        _ => None,
    });
    runs.flatten().map(Run::last).max().unwrap_or(0)
}
