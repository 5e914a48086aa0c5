//! References on disk: what several stores show after any exchange, against a model that follows the
//! references from record to record, and against views derived from scratch.

use crdt_schema::reference::{Parent, judge};
use crdt_schema::resolution::{Life, RecordView, ReviewSubject, Target};
use crdt_schema::schema::OnDelete;
use proptest::prelude::*;

use super::*;

const COLLECTIONS: usize = 4;
const IDS: usize = 3;

/// A reference of a collection to another, by number, and its mode.
type Edge = (usize, usize, usize);

const MODES: [&str; 4] = ["review", "restrict", "cascade", "detach"];

fn text_of(edges: &[Edge]) -> String {
    let mut text = String::from("schema = \"s\"\nversion = 1\n");
    for at in 0..COLLECTIONS {
        text += &format!(
            "[collections.c{at}]\ndelete = \"delete-wins\"\n[collections.c{at}.fields]\nname = {{ type = \"text\" }}\n"
        );
        for (number, (_, to, mode)) in edges.iter().enumerate().filter(|(_, edge)| edge.0 == at) {
            let mode = MODES[*mode];
            text += &format!(
                "f{number} = {{ type = \"ref\", to = \"c{to}\", on_delete = \"{mode}\" }}\n"
            );
        }
    }
    text
}

fn edges() -> impl Strategy<Value = Vec<Edge>> {
    let edge = (0..COLLECTIONS, 0..COLLECTIONS, 0..MODES.len());
    let edges = prop::collection::vec(edge, 1..7);
    edges.prop_filter("circles are refused", |edges| {
        Schema::parse(&text_of(edges)).is_ok()
    })
}

#[derive(Clone, Debug)]
enum Step {
    Refer {
        device: usize,
        edge: usize,
        id: usize,
        to: Option<usize>,
    },
    Name {
        device: usize,
        collection: usize,
        id: usize,
    },
    Delete {
        device: usize,
        collection: usize,
        id: usize,
    },
    Restore {
        device: usize,
        collection: usize,
        id: usize,
    },
    Accept {
        device: usize,
        at: usize,
    },
    Pull {
        to: usize,
        from: usize,
        bytes: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let record = || (0..3usize, 0..COLLECTIONS, 0..IDS);
    prop_oneof![
        4 => (0..3usize, 0..7usize, 0..IDS, prop::option::weighted(0.9, 0..IDS))
            .prop_map(|(device, edge, id, to)| Step::Refer { device, edge, id, to }),
        2 => record().prop_map(|(device, collection, id)| Step::Name { device, collection, id }),
        3 => record().prop_map(|(device, collection, id)| Step::Delete { device, collection, id }),
        1 => record().prop_map(|(device, collection, id)| Step::Restore { device, collection, id }),
        1 => (0..3usize, 0..9usize).prop_map(|(device, at)| Step::Accept { device, at }),
        4 => (0..3usize, 0..3usize, 1..2000usize)
            .prop_map(|(to, from, bytes)| Step::Pull { to, from, bytes }),
    ]
}

fn key(collection: &str, id: &str) -> RecordKey {
    RecordKey {
        space: SpaceName::default(),
        collection: collection.to_owned(),
        id: id.to_owned(),
    }
}

fn all_keys() -> Vec<RecordKey> {
    let all = (0..COLLECTIONS).flat_map(|c| (0..IDS).map(move |id| (c, id)));
    all.map(|(c, id)| key(&format!("c{c}"), &id.to_string()))
        .collect()
}

fn change(key: &RecordKey, op: Op) -> LocalEdit {
    LocalEdit {
        collection: key.collection.clone(),
        id: key.id.clone(),
        mode: WriteMode::Upsert,
        if_match: None,
        ops: vec![op],
    }
}

fn play(devices: &mut [Device], edges: &[Edge], step: &Step) {
    let place = |collection: usize, id: usize| key(&format!("c{collection}"), &id.to_string());
    let (device, edit) = match step {
        Step::Refer {
            device,
            edge,
            id,
            to,
        } => {
            let number = edge % edges.len();
            let value = to.map_or(Value::Null, |to| Value::Text(to.to_string()));
            let op = Op::Set {
                key: format!("f{number}"),
                value,
            };
            (*device, change(&place(edges[number].0, *id), op))
        }
        Step::Name {
            device,
            collection,
            id,
        } => (*device, change(&place(*collection, *id), set("name", "n"))),
        Step::Delete {
            device,
            collection,
            id,
        } => (*device, change(&place(*collection, *id), delete())),
        Step::Restore {
            device,
            collection,
            id,
        } => (*device, change(&place(*collection, *id), restore())),
        Step::Accept { device, at } => {
            let open = devices[*device]
                .reader()
                .reviews()
                .expect("the reviews read");
            let Some((key, review)) = open.get(*at) else {
                return;
            };
            let (review, note) = (review.id.0.clone(), String::new());
            (*device, change(key, Op::Accept { review, note }))
        }
        Step::Pull { to, from, bytes } => {
            if to != from {
                let other = std::mem::replace(&mut devices[*from], Device::new(99));
                devices[*to].pull(&other, *bytes);
                devices[*from] = other;
            }
            return;
        }
    };
    // A write may be refused; then it changes nothing.
    drop(devices[device].write(vec![edit]));
}

/// The views by themselves, and from them what people see, found by following references.
struct Model<'a> {
    schema: &'a Schema,
    own: std::collections::BTreeMap<RecordKey, RecordView>,
}

impl<'a> Model<'a> {
    fn of(device: &Device, schema: &'a Schema) -> Self {
        let own = all_keys().into_iter().filter_map(|key| {
            let document = device.reader().document(&key).expect("the record reads")?;
            let view = document.view(&schema.collections[&key.collection], &key.id);
            Some((key, view))
        });
        let own = own.collect();
        Self { schema, own }
    }

    /// With `deciding`, only what decides over the record's life is followed: that has no circles.
    fn view(&self, at: &RecordKey, deciding: bool) -> RecordView {
        let own = self.own[at].clone();
        let collection = &self.schema.collections[&at.collection];
        let parents: Vec<Parent> = own
            .refs
            .iter()
            .map(|reference| {
                let to = key(&reference.collection, &reference.id);
                let mode = collection
                    .field_by_key(&reference.key)
                    .map(|field| field.on_delete);
                if deciding && mode != Some(OnDelete::Cascade) {
                    return Parent::Here;
                }
                if !self.own.contains_key(&to) {
                    return Parent::Unknown;
                }
                let parent = self.view(&to, true);
                match parent.life {
                    Life::Deleted => Parent::Deleted(parent.deleted_by),
                    Life::Live | Life::Contested => Parent::Here,
                }
            })
            .collect();
        let held = || Ok::<_, std::convert::Infallible>(self.is_held(at));
        judge(own, collection, &at.id, &parents, held).expect("nothing fails")
    }

    fn is_held(&self, at: &RecordKey) -> bool {
        self.own.iter().any(|(child, view)| {
            let fields = &self.schema.collections[&child.collection];
            let holds = view.refs.iter().any(|reference| {
                let field = fields.field_by_key(&reference.key);
                field.is_some_and(|field| field.on_delete == OnDelete::Restrict)
                    && key(&reference.collection, &reference.id) == *at
            });
            holds && self.view(child, true).life != Life::Deleted
        })
    }
}

fn shown(device: &Device) -> Vec<(RecordKey, RecordView)> {
    let shown = all_keys().into_iter().filter_map(|key| {
        let stored = device.reader().get(&key).expect("the record reads")?;
        Some((key, stored.view))
    });
    shown.collect()
}

fn assert_as_modelled(device: &Device, schema: &Schema) {
    let model = Model::of(device, schema);
    let mut reviews = Vec::new();
    let stored = shown(device);
    assert_eq!(stored.len(), model.own.len());
    for (key, view) in stored {
        assert_eq!(view, model.view(&key, false), "{key}");
        reviews.extend(view.reviews.into_iter().map(|review| review.id));
    }
    let open = device.reader().reviews().expect("the reviews read");
    let mut open: Vec<_> = open.into_iter().map(|(_, review)| review.id).collect();
    open.sort();
    reviews.sort();
    assert_eq!(open, reviews);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn every_store_shows_what_following_the_references_says(
        edges in edges(),
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let text = text_of(&edges);
        let schema = schema(&text);
        let disks = [Disk::default(), Disk::default(), Disk::default()];
        let mut devices: Vec<Device> = disks.iter().zip(1..)
            .map(|(disk, number)| Device::with_schema(disk, number, &text))
            .collect();
        for step in &steps {
            play(&mut devices, &edges, step);
        }
        for device in &devices {
            assert_as_modelled(device, &schema);
        }

        for (to, from) in [(0, 1), (0, 2), (1, 0), (2, 0)] {
            play(&mut devices, &edges, &Step::Pull { to, from, bytes: 500 });
        }

        let first = shown(&devices[0]);
        let counts = devices[0].reader().counts().expect("counts").records;
        for device in &devices {
            prop_assert_eq!(&shown(device), &first);
            prop_assert_eq!(&device.reader().counts().expect("counts").records, &counts);
            assert_as_modelled(device, &schema);
        }
        drop(devices);
        let anew = Device::with_schema(&disks[0], 1, &format!("{text}\n# anew"));
        prop_assert_eq!(&shown(&anew), &first);
        prop_assert_eq!(&anew.reader().counts().expect("counts").records, &counts);
    }
}

const FARM: &str = r#"
schema = "farm"
version = 1
[collections.animal.fields]
herd = { type = "ref", to = "herd", on_delete = "restrict" }
name = { type = "text" }
[collections.herd.fields]
name = { type = "text" }
"#;

fn farm() -> Device {
    let mut device = Device::with_schema(&Disk::default(), 1, FARM);
    let herd = change(&key("herd", "h"), set("name", "Kibos"));
    let animal = |id| change(&key("animal", id), set("herd", "h"));
    device
        .write(vec![animal("a"), animal("b"), herd])
        .expect("a write");
    device
}

#[test]
fn a_record_that_others_hold_is_not_deleted_without_them() {
    let mut device = farm();
    let herd = || change(&key("herd", "h"), delete());
    let animal = |id, op| change(&key("animal", id), op);

    let alone = device.write(vec![herd()]);
    let with_one = device.write(vec![herd(), animal("a", delete())]);
    let moved = Op::Set {
        key: "herd".to_owned(),
        value: Value::Null,
    };
    let with_all = device.write(vec![herd(), animal("a", delete()), animal("b", moved)]);

    let Err(Rejection::Referenced { count, by, .. }) = alone else {
        panic!("{alone:?}");
    };
    assert_eq!(
        (count.as_str(), by),
        (
            "2 records refer",
            vec!["animal/a".to_owned(), "animal/b".to_owned()]
        )
    );
    assert!(
        matches!(with_one, Err(Rejection::Referenced { .. })),
        "{with_one:?}"
    );
    assert!(with_all.is_ok(), "{with_all:?}");
}

#[test]
fn a_change_set_has_records_before_those_that_refer_to_them_and_deletions_last() {
    let mut device = farm();
    let both = ["herd", "animal"]
        .map(|name| change(&key(name, if name == "herd" { "h" } else { "a" }), delete()));
    let spare = change(
        &key("animal", "b"),
        Op::Set {
            key: "herd".to_owned(),
            value: Value::Null,
        },
    );
    let outcome = device
        .write(both.into_iter().chain([spare]).collect())
        .expect("a write");

    let order = |dot: Dot| {
        let (_, set) = device
            .reader()
            .entry(dot)
            .expect("it reads")
            .expect("it is there");
        set.edits
            .iter()
            .map(|edit| format!("{}/{}", edit.collection, edit.id))
            .collect::<Vec<_>>()
    };
    let first = Dot::new(outcome.dot.log, 1);
    assert_eq!(order(first), ["herd/h", "animal/a", "animal/b"]);
    assert_eq!(order(outcome.dot), ["animal/b", "animal/a", "herd/h"]);
    let replied: Vec<_> = outcome
        .records
        .iter()
        .map(|record| record.id.as_str())
        .collect();
    assert_eq!(replied, ["h", "a", "b"]);
}

#[test]
fn a_child_waits_for_its_parent_and_a_merge_holds_a_deletion_back() {
    let mut device = farm();
    let mut other = Device::with_schema(&Disk::default(), 2, FARM);
    other
        .write(vec![change(&key("animal", "c"), set("herd", "h"))])
        .expect("a write");
    let waits = other
        .reader()
        .get(&key("animal", "c"))
        .expect("it reads")
        .expect("it is there");
    assert_eq!(waits.view.waiting(), ["herd/h"]);
    let clear = || Op::Set {
        key: "herd".to_owned(),
        value: Value::Null,
    };
    device
        .write(vec![
            change(&key("herd", "h"), delete()),
            change(&key("animal", "a"), clear()),
            change(&key("animal", "b"), clear()),
        ])
        .expect("a delete");

    other.pull(&device, usize::MAX);

    let herd = other
        .reader()
        .get(&key("herd", "h"))
        .expect("it reads")
        .expect("it is there");
    assert_eq!(herd.view.life, Life::Contested);
    assert_eq!(herd.view.reviews[0].subject, ReviewSubject::Restricted);
    let child = other
        .reader()
        .get(&key("animal", "c"))
        .expect("it reads")
        .expect("it is there");
    assert_eq!(child.view.refs[0].target, Target::Here);
    other
        .write(vec![change(&key("animal", "c"), delete())])
        .expect("a delete");
    let herd = other
        .reader()
        .get(&key("herd", "h"))
        .expect("it reads")
        .expect("it is there");
    assert_eq!(
        (herd.view.life, herd.view.reviews.len()),
        (Life::Deleted, 0)
    );
}
