use super::*;

const NOBODY: fn(&PeerId) -> bool = |_| false;

fn address(port: u16) -> Multiaddr {
    format!("/ip4/10.0.0.1/tcp/{port}").parse().unwrap()
}

fn peers() -> (PeerId, PeerId) {
    let (a, b) = (PeerId::random(), PeerId::random());
    (a.min(b), a.max(b))
}

/// A book of the lesser peer with the greater one configured.
fn book() -> (AddressBook, PeerId, Instant) {
    let ((me, peer), now) = (peers(), Instant::now());
    let mut book = AddressBook::new(me, 1);
    book.configure(Some(peer), address(1), now);
    (book, peer, now)
}

fn dial_one(book: &mut AddressBook, now: Instant) -> Dial {
    let mut dials = book.due(now, 8, NOBODY);
    assert_eq!(dials.len(), 1, "{dials:?}");
    dials.remove(0)
}

#[test]
fn waits_double_with_jitter_up_to_a_minute() {
    let (mut book, _, mut now) = book();
    for expected in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
        let dial = dial_one(&mut book, now);
        book.failed(dial.target, now);

        let wait = book.next_due(NOBODY).unwrap() - now;

        let longest = Duration::from_secs(expected);
        assert!(
            wait >= longest / 2 && wait <= longest,
            "{wait:?} is not near {longest:?}"
        );
        assert!(book.due(now, 8, NOBODY).is_empty());
        now += wait;
    }
}

#[test]
fn an_announcement_or_a_new_listener_ends_the_wait() {
    let (mut book, peer, now) = book();
    for _ in 0..5 {
        let dial = dial_one(&mut book, now + RETRY_MAX);
        book.failed(dial.target, now);
    }

    book.announced(peer, address(2), now);
    let dial = dial_one(&mut book, now);
    assert_eq!(dial.addresses, [address(1), address(2)]);

    book.failed(dial.target, now);
    book.retry_all(false, now);
    dial_one(&mut book, now);
}

#[test]
fn nobody_is_dialled_twice_at_once_nor_while_connected() {
    let (mut book, peer, now) = book();

    assert!(book.due(now, 8, |known| *known == peer).is_empty());
    assert_eq!(book.next_due(|known| *known == peer), None);

    let dial = dial_one(&mut book, now);
    assert_eq!(dial.peer, Some(peer));
    assert!(book.due(now, 8, NOBODY).is_empty());
    assert_eq!(book.next_due(NOBODY), None);
}

#[test]
fn only_as_many_dials_are_given_as_are_free() {
    let (mut book, _, now) = book();
    for port in 2..10 {
        book.configure(Some(PeerId::random()), address(port), now);
    }
    assert_eq!(book.due(now, 3, NOBODY).len(), 3);
    assert_eq!(book.due(now, 0, NOBODY).len(), 0);
    assert_eq!(book.due(now, 8, NOBODY).len(), 6);
}

#[test]
fn we_do_not_dial_ourselves() {
    let ((me, _), now) = (peers(), Instant::now());
    let mut book = AddressBook::new(me, 1);
    book.configure(Some(me), address(1), now);
    book.announced(me, address(2), now);
    assert!(book.due(now, 8, NOBODY).is_empty());

    book.configure(None, address(3), now);
    let dial = dial_one(&mut book, now);
    book.reached_ourselves(dial.target, now);
    book.retry_all(false, now);
    assert!(book.due(now + RETRY_MAX, 8, NOBODY).is_empty());
}

#[test]
fn an_address_without_a_peer_is_not_dialled_while_whoever_answers_there_is_connected() {
    let ((me, peer), now) = (peers(), Instant::now());
    let mut book = AddressBook::new(me, 1);
    book.configure(None, address(1), now);

    let dial = dial_one(&mut book, now);
    assert_eq!(dial.peer, None);
    book.reached(dial.target, peer);
    assert!(book.due(now, 8, |known| *known == peer).is_empty());

    // Whoever listens there after a reinstallation is welcome too.
    book.lost(&peer, Duration::ZERO, now);
    assert_eq!(dial_one(&mut book, now + RETRY_MAX).peer, None);
}

#[test]
fn an_address_without_a_peer_waits_for_the_dial_of_the_peer_that_announces_it() {
    let ((me, peer), now) = (peers(), Instant::now());
    let mut book = AddressBook::new(me, 1);
    book.configure(None, address(1), now);
    book.announced(peer, address(1), now);

    let mut dials = book.due(now, 1, NOBODY);
    book.failed(dials.remove(0).target, now);
    let dial = dial_one(&mut book, now);

    assert_eq!(dial.peer, Some(peer));
    assert!(book.due(now + RETRY_MAX, 8, NOBODY).is_empty());
}

#[test]
fn a_refused_peer_is_left_alone_for_a_minute_whatever_is_announced() {
    let (mut book, peer, now) = book();
    let other = PeerId::random();
    book.configure(Some(other), address(9), now);

    book.refuse(&peer, now);
    book.announced(peer, address(1), now);
    book.retry_all(false, now);

    assert_eq!(dial_one(&mut book, now).peer, Some(other));
    assert_eq!(dial_one(&mut book, now + REFUSED_FOR).peer, Some(peer));
}

#[test]
fn going_online_pardons_refused_peers() {
    let (mut book, peer, now) = book();
    book.refuse(&peer, now);
    book.retry_all(true, now);
    assert_eq!(dial_one(&mut book, now).peer, Some(peer));
}

#[test]
fn a_lasting_connection_starts_the_waits_over_and_a_short_one_does_not() {
    let (mut book, peer, now) = book();
    for _ in 0..6 {
        let dial = dial_one(&mut book, now + RETRY_MAX);
        book.failed(dial.target, now);
    }
    let wait = |book: &AddressBook| book.next_due(NOBODY).unwrap() - now;

    book.lost(&peer, STABLE_AFTER / 2, now);
    assert!(wait(&book) >= RETRY_MAX / 2);

    book.lost(&peer, STABLE_AFTER, now);
    assert!(wait(&book) <= RETRY_FIRST);
}

#[test]
fn a_found_peer_is_kept_an_hour_after_its_last_announcement_and_a_configured_one_for_ever() {
    let (mut book, configured, now) = book();
    let found = PeerId::random();
    book.announced(found, address(5), now);

    book.forget(now + 10 * FORGET_AFTER, NOBODY);
    assert_eq!(book.targets.len(), 2, "an announced peer was forgotten");

    book.expired(&found, &address(5), now);
    book.forget(now + FORGET_AFTER / 2, NOBODY);
    assert_eq!(
        book.targets.len(),
        2,
        "an expired peer was forgotten at once"
    );

    book.forget(now + FORGET_AFTER, |peer| *peer == found);
    assert_eq!(book.targets.len(), 2, "a connected peer was forgotten");

    book.forget(now + 3 * FORGET_AFTER, NOBODY);
    let left: Vec<_> = book.targets.values().map(|target| target.peer).collect();
    assert_eq!(left, [Some(configured)]);
}

#[test]
fn what_the_network_announces_is_bounded_and_the_hopeless_make_room() {
    let now = Instant::now();
    let mut book = AddressBook::new(PeerId::random(), 1);
    for _ in 0..FOUND_PEERS_MAX + 10 {
        book.announced(PeerId::random(), address(1), now);
    }
    assert_eq!(book.targets.len(), FOUND_PEERS_MAX);

    let first = *book.targets.keys().next().unwrap();
    for _ in 0..HOPELESS_ATTEMPTS {
        book.failed(first, now);
    }
    let newcomer = PeerId::random();
    book.announced(newcomer, address(1), now);
    assert_eq!(book.targets.len(), FOUND_PEERS_MAX);
    assert!(book.named(&newcomer).is_some());

    for port in 1..100 {
        book.announced(newcomer, address(port), now);
    }
    let id = book.named(&newcomer).unwrap();
    assert_eq!(book.targets[&id].addresses.len(), FOUND_ADDRESSES_MAX);
    assert!(
        book.targets[&id].holds(&address(99)),
        "the newest address was dropped"
    );
}

#[test]
fn of_two_that_find_each_other_the_lesser_dials_first() {
    let ((lesser, greater), now) = (peers(), Instant::now());

    let mut book = AddressBook::new(lesser, 1);
    book.announced(greater, address(1), now);
    assert_eq!(book.due(now, 8, NOBODY).len(), 1);

    let mut book = AddressBook::new(greater, 1);
    book.announced(lesser, address(1), now);
    assert_eq!(book.due(now, 8, NOBODY).len(), 0);
    assert_eq!(book.due(now + YIELD, 8, NOBODY).len(), 1);
}
