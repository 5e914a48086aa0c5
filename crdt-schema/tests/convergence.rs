//! Policies against an independent model, over random histories of two to five devices.
//!
//! The model knows no documents: it keeps every edit with the set of edits its author had seen, and
//! reads the rules of each policy straight from that. Deliveries come in random causal order, grouped at
//! random and repeated at random.

use std::collections::{BTreeMap, BTreeSet};

use crdt_schema::document::Document;
use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::{Dot, LogId};
use crdt_schema::op::{Edit, Op};
use crdt_schema::resolution::{Life, ReviewSubject};
use crdt_schema::schema::{Collection, DeletePolicy, Field, FieldType, MergePolicy};
use crdt_schema::value::Value;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

/// What a step of a history does.
#[derive(Clone, Debug)]
enum Step {
    /// A device edits.
    Edit { device: usize, clock: u64, act: Act },
    /// A device gets what another has, in an order drawn from `shuffle`, some of it twice.
    Meet {
        from: usize,
        to: usize,
        shuffle: u64,
        saved: bool,
    },
}

#[derive(Clone, Debug)]
enum Act {
    Set { key: usize, value: u8 },
    Add { delta: i64 },
    Mark { element: u8, insert: bool },
    Delete,
    Restore,
    Resolve { value: u8 },
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..2usize, 0..4u8).prop_map(|(key, value)| Act::Set { key, value }),
        2 => (-9..9i64).prop_map(|delta| Act::Add { delta }),
        2 => (0..3u8, any::<bool>()).prop_map(|(element, insert)| Act::Mark { element, insert }),
        1 => Just(Act::Delete),
        1 => Just(Act::Restore),
        1 => (0..4u8).prop_map(|value| Act::Resolve { value }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..5usize, 0..50u64, act())
            .prop_map(|(device, clock, act)| Step::Edit { device, clock, act }),
        2 => (0..5usize, 0..5usize, any::<u64>(), any::<bool>())
            .prop_map(|(from, to, shuffle, saved)| Step::Meet { from, to, shuffle, saved }),
    ]
}

/// One edit, as the model keeps it.
#[derive(Clone, Debug)]
struct Event {
    hlc: Timestamp,
    edit: Edit,
    /// Every edit that the author had seen.
    past: BTreeSet<Dot>,
}

type History = BTreeMap<Dot, Event>;

struct Device {
    log: LogId,
    seq: u64,
    clock: u64,
    doc: Document,
    seen: BTreeSet<Dot>,
}

impl Device {
    fn new(number: usize) -> Self {
        // Log ids in another order than the devices, so that ties break either way.
        let log = LogId([(number * 37 % 11) as u8 + 1; 16]);
        Self {
            log,
            seq: 0,
            clock: 0,
            doc: Document::new(),
            seen: BTreeSet::new(),
        }
    }

    fn edit(&mut self, history: &mut History, clock: u64, act: &Act) {
        self.seq += 1;
        self.clock = (self.clock + 1).max(clock);
        let dot = Dot::new(self.log, self.seq);
        let deps = self
            .doc
            .heads()
            .into_iter()
            .filter(|head| head.log != self.log)
            .collect();
        let edit = Edit {
            collection: "r".into(),
            id: "1".into(),
            deps,
            ops: vec![op(act)],
        };
        let hlc = Timestamp::from_ms(self.clock);
        self.doc.apply(dot, hlc, &edit).expect("own edits apply");
        history.insert(
            dot,
            Event {
                hlc,
                edit,
                past: self.seen.clone(),
            },
        );
        self.seen.insert(dot);
    }

    fn meet(&mut self, history: &History, theirs: &BTreeSet<Dot>, mut shuffle: u64) {
        let mut waiting: Vec<Dot> = theirs.iter().copied().collect();
        while !waiting.is_empty() {
            shuffle = shuffle
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let ready: Vec<usize> = (0..waiting.len())
                .filter(|&at| history[&waiting[at]].past.is_subset(&self.seen))
                .collect();
            let dot = waiting.swap_remove(ready[(shuffle >> 33) as usize % ready.len()]);
            let event = &history[&dot];
            for _ in 0..1 + (shuffle >> 20) % 2 {
                self.doc
                    .apply(dot, event.hlc, &event.edit)
                    .expect("complete edits apply");
            }
            self.seen.insert(dot);
        }
    }
}

const KEYS: [&str; 2] = ["last", "ask"];

fn op(act: &Act) -> Op {
    let text = |value: &u8| Value::Text(value.to_string());
    match act {
        Act::Set { key, value } => Op::Set {
            key: KEYS[*key].into(),
            value: text(value),
        },
        Act::Add { delta } => Op::Add {
            key: "sum".into(),
            delta: *delta,
        },
        Act::Mark {
            element,
            insert: true,
        } => Op::Insert {
            key: "bag".into(),
            element: text(element),
        },
        Act::Mark {
            element,
            insert: false,
        } => Op::Remove {
            key: "bag".into(),
            element: text(element),
        },
        Act::Delete => Op::Delete {
            reason: String::new(),
        },
        Act::Restore => Op::Restore {
            reason: String::new(),
        },
        Act::Resolve { value } => Op::Resolve {
            key: "ask".into(),
            value: text(value),
            note: String::new(),
        },
    }
}

fn collection(delete: DeletePolicy) -> Collection {
    let field = |name: &str, kind: FieldType, merge: MergePolicy| {
        let (key, required, default, min, max) = (name.to_owned(), false, None, None, None);
        (
            name.to_owned(),
            Field {
                name: name.to_owned(),
                key,
                kind,
                required,
                default,
                min,
                max,
                merge,
            },
        )
    };
    let fields = [
        field("last", FieldType::Text, MergePolicy::Lww),
        field("ask", FieldType::Text, MergePolicy::Review),
        field("sum", FieldType::Counter, MergePolicy::Counter),
        field(
            "bag",
            FieldType::Set {
                of: Box::new(FieldType::Text),
            },
            MergePolicy::Set,
        ),
    ];
    Collection {
        name: "r".into(),
        label: None,
        delete,
        fields: fields.into_iter().collect(),
    }
}

// ---- the model ----

/// What the model says a device shows: fields, life, and for each review the dots that conflict.
#[derive(Debug, PartialEq)]
struct Shown {
    fields: BTreeMap<String, Json>,
    life: Life,
    reviews: BTreeMap<String, BTreeSet<Dot>>,
}

/// The events that touch something and that no other such event had seen.
fn standing(seen: &History, touches: impl Fn(&Op) -> bool) -> Vec<(Dot, &Event)> {
    let touching: Vec<(Dot, &Event)> = seen
        .iter()
        .filter(|(_, event)| touches(&event.edit.ops[0]))
        .map(|(dot, e)| (*dot, e))
        .collect();
    let covered = |dot: Dot| touching.iter().any(|(_, other)| other.past.contains(&dot));
    touching
        .iter()
        .filter(|(dot, _)| !covered(*dot))
        .copied()
        .collect()
}

fn written(op: &Op) -> Json {
    match op {
        Op::Set { value, .. } | Op::Resolve { value, .. } => value.to_json(),
        _ => Json::Null,
    }
}

fn model(seen: &History, delete: DeletePolicy) -> Shown {
    let mut fields = BTreeMap::new();
    let mut reviews = BTreeMap::new();
    for key in KEYS {
        let candidates = standing(seen, |op| op.key() == Some(key));
        let winner = candidates
            .iter()
            .max_by_key(|(dot, event)| (event.hlc, *dot));
        let Some((_, winner)) = winner else { continue };
        fields.insert(key.to_owned(), written(&winner.edit.ops[0]));
        let values: BTreeSet<String> = candidates
            .iter()
            .map(|(_, event)| written(&event.edit.ops[0]).to_string())
            .collect();
        let decided = candidates
            .iter()
            .all(|(_, event)| matches!(event.edit.ops[0], Op::Resolve { .. }));
        if key == "ask" && values.len() > 1 && !decided {
            reviews.insert(
                key.to_owned(),
                candidates.iter().map(|(dot, _)| *dot).collect(),
            );
        }
    }
    let sum: i64 = seen
        .values()
        .map(|event| {
            if let Op::Add { delta, .. } = event.edit.ops[0] {
                delta
            } else {
                0
            }
        })
        .sum();
    fields.insert("sum".to_owned(), json!(sum));
    let elements: Vec<String> = (0..3u8)
        .map(|element| element.to_string())
        .filter(|element| {
            let of = |op: &Op| match op {
                Op::Insert { element: e, .. } | Op::Remove { element: e, .. } => {
                    *e == Value::Text(element.clone())
                }
                _ => false,
            };
            standing(seen, of)
                .iter()
                .any(|(_, event)| matches!(event.edit.ops[0], Op::Insert { .. }))
        })
        .collect();
    if !elements.is_empty() {
        fields.insert("bag".to_owned(), json!(elements));
    }
    let (life, contested) = model_life(seen, delete);
    if let Some(dots) = contested {
        reviews.insert("!".to_owned(), dots);
    }
    Shown {
        fields,
        life,
        reviews,
    }
}

fn model_life(seen: &History, policy: DeletePolicy) -> (Life, Option<BTreeSet<Dot>>) {
    let marks = standing(seen, |op| op.key().is_none());
    let deletes: Vec<_> = marks
        .iter()
        .filter(|(_, event)| matches!(event.edit.ops[0], Op::Delete { .. }))
        .collect();
    if deletes.is_empty() {
        return (Life::Live, None);
    }
    let racing: BTreeSet<Dot> = seen
        .iter()
        .filter(|(_, event)| event.edit.ops[0].key().is_some())
        .filter(|(dot, event)| {
            deletes
                .iter()
                .all(|(delete, d)| !d.past.contains(dot) && !event.past.contains(delete))
        })
        .map(|(dot, _)| *dot)
        .collect();
    if racing.is_empty() && deletes.len() == marks.len() {
        return (Life::Deleted, None);
    }
    match policy {
        DeletePolicy::DeleteWins => (Life::Deleted, None),
        DeletePolicy::EditWins => (Life::Live, None),
        DeletePolicy::Review => {
            let dots = marks.iter().map(|(dot, _)| *dot).chain(racing).collect();
            (Life::Contested, Some(dots))
        }
    }
}

fn shown(doc: &Document, delete: DeletePolicy) -> Shown {
    let view = doc.view(&collection(delete), "1");
    let reviews = view
        .reviews
        .iter()
        .map(|review| {
            let subject = match &review.subject {
                ReviewSubject::Field { key } => key.clone(),
                ReviewSubject::Deletion => "!".to_owned(),
            };
            (
                subject,
                review
                    .candidates
                    .iter()
                    .map(|candidate| candidate.dot)
                    .collect(),
            )
        })
        .collect();
    Shown {
        fields: view.fields.into_iter().collect(),
        life: view.life,
        reviews,
    }
}

fn play(devices: &mut [Device], steps: &[Step]) -> History {
    let mut history = History::new();
    let count = devices.len();
    for step in steps {
        match step {
            Step::Edit { device, clock, act } => {
                devices[device % count].edit(&mut history, *clock, act)
            }
            Step::Meet {
                from,
                to,
                shuffle,
                saved,
            } => {
                let theirs = devices[from % count].seen.clone();
                let device = &mut devices[to % count];
                device.meet(&history, &theirs, *shuffle);
                if *saved {
                    device.doc = Document::load(&device.doc.save()).expect("own bytes load");
                }
            }
        }
    }
    history
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_device_shows_what_the_model_says_at_every_moment(
        count in 2..6usize,
        steps in prop::collection::vec(step(), 1..40),
        ends in prop::collection::vec(any::<u64>(), 5),
    ) {
        let mut devices: Vec<Device> = (0..count).map(Device::new).collect();
        let history = play(&mut devices, &steps);
        for policy in [DeletePolicy::Review, DeletePolicy::DeleteWins, DeletePolicy::EditWins] {
            for device in &devices {
                let seen: History =
                    history.iter().filter(|(dot, _)| device.seen.contains(dot))
                        .map(|(dot, event)| (*dot, event.clone())).collect();
                prop_assert_eq!(shown(&device.doc, policy), model(&seen, policy));
            }
        }

        let all: BTreeSet<Dot> = history.keys().copied().collect();
        for (device, shuffle) in devices.iter_mut().zip(ends) {
            device.meet(&history, &all, shuffle);
        }

        let first = devices[0].doc.view(&collection(DeletePolicy::Review), "1");
        let why = devices[0].doc.resolve(&collection(DeletePolicy::Review), "1");
        for device in &devices {
            prop_assert_eq!(&device.doc.view(&collection(DeletePolicy::Review), "1"), &first);
            prop_assert_eq!(&device.doc.resolve(&collection(DeletePolicy::Review), "1"), &why);
            prop_assert_eq!(device.doc.heads(), devices[0].doc.heads());
        }
    }
}
