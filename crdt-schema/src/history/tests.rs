use super::*;
use crate::merge::tests::{Device, collection, pair, text};
use crate::resolution::Fate;
use crate::value::Value;

fn set(key: &str, value: Value) -> Op {
    let key = key.to_owned();
    Op::Set { key, value }
}

fn fate(device: &Device, dot: Dot, op: &Op) -> Fate {
    History::new(&device.doc, &collection(), "1").fate(dot, op)
}

fn concurrent(device: &Device, dot: Dot) -> Concurrent {
    History::new(&device.doc, &collection(), "1").concurrent(dot)
}

#[test]
fn every_edit_is_kept_newest_first_whichever_way_it_came() {
    let (mut a, mut b) = pair();
    let first = a.set(1, "name", text("A"));
    let third = a.set(3, "name", text("B"));
    let second = b.set(2, "name", text("C"));
    a.meet(&mut b);

    for device in [&a, &b] {
        let known = collection();
        let history = History::new(&device.doc, &known, "1");
        let dots: Vec<Dot> = history.edits().iter().map(|&(dot, _)| dot).collect();
        assert_eq!(dots, [third, second, first]);
    }
}

#[test]
fn an_edit_says_who_replaced_it_or_won_over_it() {
    let (mut a, mut b) = pair();
    let name = |value: &str| set("name", text(value));
    let first = a.write(1, name("A"));
    let second = a.write(3, name("B"));
    let other = b.write(2, name("C"));
    a.meet(&mut b);

    assert_eq!(fate(&a, first, &name("A")), Fate::Superseded { by: second });
    assert_eq!(fate(&a, second, &name("B")), Fate::Stands);
    assert_eq!(fate(&a, other, &name("C")), Fate::Lost { to: second });

    let last = b.write(4, name("D"));
    assert_eq!(fate(&b, other, &name("C")), Fate::Superseded { by: last });
    assert_eq!(fate(&b, first, &name("A")), Fate::Superseded { by: second });
}

#[test]
fn additions_stand_and_candidates_of_an_open_review_wait() {
    let (mut a, mut b) = pair();
    let add = Op::Add {
        key: "stock".into(),
        delta: 1,
    };
    let one = a.write(1, add.clone());
    let two = a.write(2, add.clone());
    let blood = |value: &str| set("blood", text(value));
    let three = a.write(3, blood("A"));
    let four = b.write(3, blood("B"));
    a.meet(&mut b);

    assert_eq!(fate(&b, one, &add), Fate::Stands);
    assert_eq!(fate(&b, two, &add), Fate::Stands);
    let review = b.doc.view(&collection(), "1").reviews[0].id.clone();
    for (dot, value) in [(three, "A"), (four, "B")] {
        let review = review.clone();
        assert_eq!(fate(&b, dot, &blood(value)), Fate::Waits { review });
    }
}

#[test]
fn edits_that_met_are_parallel_or_in_conflict_by_what_they_wrote() {
    let (mut a, mut b) = pair();
    let before = a.set(1, "name", text("A"));
    a.meet(&mut b);
    let name = a.set(2, "name", text("B"));
    let stage = b.set(3, "stage", text("open"));
    a.meet(&mut b);
    let parallel = |dot| Concurrent {
        parallel: vec![dot],
        conflicts: Vec::new(),
    };
    assert_eq!(concurrent(&a, name), parallel(stage));
    assert_eq!(concurrent(&a, stage), parallel(name));
    assert_eq!(concurrent(&a, before), Concurrent::default());

    let (mut a, mut b) = pair();
    let (one, two) = (a.set(1, "name", text("A")), b.set(1, "name", text("B")));
    a.meet(&mut b);
    assert_eq!(concurrent(&a, one).conflicts, [two]);

    let (mut a, mut b) = pair();
    let edit = a.set(1, "name", text("A"));
    let delete = b.write(
        1,
        Op::Delete {
            reason: String::new(),
        },
    );
    a.meet(&mut b);
    assert_eq!(concurrent(&a, edit).conflicts, [delete]);
    assert_eq!(concurrent(&a, delete).conflicts, [edit]);
}
