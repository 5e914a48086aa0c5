//! Peers of which the node knows nothing: they connect, prove a key that anybody can draw, and wait.

use super::super::behaviour::ESTABLISHED_INCOMING_MAX;
use super::*;

#[tokio::test]
async fn strangers_who_say_nothing_give_way_to_a_newcomer_and_no_member_does() {
    let mut hub = Node::start(1, any_port(), &[]).await;
    let mut member = Node::start(2, any_port(), &[&hub.address]).await;
    let ((of_member, _), _) = tokio::join!(hub.opened(), member.opened());
    // The node greets whoever comes. Only a member is told more.
    for frame in [b"greeting", b"entries."] {
        hub.send(of_member, frame).await;
        assert_eq!(member.frame().await.1, frame);
    }

    let mut strangers = Vec::new();
    for seed in (3..).take(ESTABLISHED_INCOMING_MAX as usize) {
        let stranger = Node::start(seed, any_port(), &[&hub.address]).await;
        while hub.opened().await.1 != stranger.device {}
        strangers.push(stranger);
    }
    let newcomer = Node::start(0, any_port(), &[&hub.address]).await;
    while hub.opened().await.1 != newcomer.device {}

    assert_eq!(hub.open.get(&of_member), Some(&member.device));
}
