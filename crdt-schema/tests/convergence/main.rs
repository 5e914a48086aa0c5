//! Policies against an independent model, over random histories of two to six devices.
//!
//! The model knows no documents: it keeps every edit with the set of edits its author had seen, and
//! reads the rules of each policy straight from that. Deliveries come in random causal order, grouped at
//! random and repeated at random.

mod fate;
mod model;

use std::collections::{BTreeMap, BTreeSet};

use crdt_schema::document::Document;
use crdt_schema::history::History as Told;
use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::{Dot, LogId};
use crdt_schema::op::{Edit, Op};
use crdt_schema::resolution::{Fate, ReviewSubject};
use crdt_schema::schema::{Collection, DeletePolicy, Schema};
use crdt_schema::value::Value;
use proptest::prelude::*;

use fate::{WAITS, model_concurrent, model_fate};
use model::{Shown, model};

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
    /// Writes a register: `value` stands for one that the field's type takes, or not; see [`value`].
    Set {
        key: usize,
        value: u8,
    },
    Add {
        delta: i64,
    },
    Mark {
        key: usize,
        element: u8,
        insert: bool,
    },
    Delete,
    Restore,
    Resolve {
        key: usize,
        value: u8,
    },
}

fn act() -> impl Strategy<Value = Act> {
    let register = || 0..REGISTERS.len();
    prop_oneof![
        8 => (register(), 0..10u8).prop_map(|(key, value)| Act::Set { key, value }),
        2 => (-9..9i64).prop_map(|delta| Act::Add { delta }),
        3 => (0..2usize, 0..3u8, any::<bool>())
            .prop_map(|(key, element, insert)| Act::Mark { key, element, insert }),
        1 => Just(Act::Delete),
        1 => Just(Act::Restore),
        2 => (register(), 0..10u8).prop_map(|(key, value)| Act::Resolve { key, value }),
    ]
}

/// Milliseconds after the device's first day: seldom so many that clocks are suspect.
fn clock() -> impl Strategy<Value = u64> {
    prop_oneof![12 => 0..50u64, 1 => Just(400 * DAY_MS)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..6usize, clock(), act())
            .prop_map(|(device, clock, act)| Step::Edit { device, clock, act }),
        2 => (0..6usize, 0..6usize, any::<u64>(), any::<bool>())
            .prop_map(|(from, to, shuffle, saved)| Step::Meet { from, to, shuffle, saved }),
    ]
}

const REGISTERS: [&str; 7] = ["last", "ask", "held", "blob", "top", "low", "step"];
const SETS: [&str; 2] = ["bag", "strict"];

fn collection(delete: DeletePolicy) -> Collection {
    let text = format!(
        r#"
schema = "s"
version = 1
[collections.r]
delete = "{}"
[collections.r.fields]
last = {{ type = "text" }}
ask = {{ type = "text", merge = "review" }}
held = {{ type = "text", merge = "review", provisional = "previous" }}
blob = {{ type = "json" }}
top = {{ type = "integer", merge = "max", max = 6 }}
low = {{ type = "date", merge = "min" }}
step = {{ type = "choice", of = ["open", "half", "done"], merge = "rank" }}
sum = {{ type = "counter", min = -12, max = 12 }}
bag = {{ type = "set", of = "text" }}
strict = {{ type = "set", of = "text", merge = "remove-wins" }}
"#,
        delete.name()
    );
    let schema = Schema::parse(&text).unwrap_or_else(|errors| panic!("{errors}"));
    schema.collections["r"].clone()
}

/// The value that the number stands for in that register.
fn value(key: &str, number: u8) -> Value {
    let text = |text: &str| Value::Text(text.to_owned());
    match (key, number) {
        (_, 9) => Value::Null,
        ("top", 8) => text("many"),
        ("low", 8) => text("soon"),
        ("step", 6..) => text("lost"),
        ("top", number) => Value::Integer(number.into()),
        ("low", number) => text(&format!("2026-11-0{}", number + 1)),
        ("step", number) => text(["open", "half", "done"][usize::from(number % 3)]),
        ("blob", number) => Value::Json(format!("[{number}]")),
        (_, number) => text(&(number % 4).to_string()),
    }
}

/// When the histories begin on devices whose clock was set.
const START_MS: u64 = 1_790_000_000_000;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

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
    /// When the device was first used, by its own clock.
    first_ms: u64,
    clock: u64,
    doc: Document,
    seen: BTreeSet<Dot>,
}

impl Device {
    fn new(number: usize, is_set: bool) -> Self {
        // Log ids in another order than the devices, so that ties break either way.
        let log = LogId([(number * 37 % 11) as u8 + 1; 16]);
        Self {
            log,
            seq: 0,
            first_ms: if is_set { START_MS } else { 0 },
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
        let hlc = Timestamp::from_ms(self.first_ms + self.clock);
        self.doc.apply(dot, hlc, 1, &edit).expect("own edits apply");
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
                    .apply(dot, event.hlc, 1, &event.edit)
                    .expect("complete edits apply");
            }
            self.seen.insert(dot);
        }
    }
}

fn op(act: &Act) -> Op {
    match act {
        Act::Set { key, value: number } => Op::Set {
            key: REGISTERS[*key].into(),
            value: value(REGISTERS[*key], *number),
        },
        Act::Add { delta } => Op::Add {
            key: "sum".into(),
            delta: *delta,
        },
        Act::Mark {
            key,
            element,
            insert,
        } => {
            let (key, element) = (SETS[*key].into(), Value::Text(element.to_string()));
            match insert {
                true => Op::Insert { key, element },
                false => Op::Remove { key, element },
            }
        }
        Act::Delete => Op::Delete {
            reason: String::new(),
        },
        Act::Restore => Op::Restore {
            reason: String::new(),
        },
        Act::Resolve { key, value: number } => Op::Resolve {
            key: REGISTERS[*key].into(),
            value: value(REGISTERS[*key], *number),
            note: String::new(),
        },
    }
}

/// The fate and the company of every event, as the device tells them.
fn assert_history(doc: &Document, seen: &History, delete: DeletePolicy) {
    let known = collection(delete);
    let told = Told::new(doc, &known, "1");
    assert_eq!(told.edits().len(), seen.len(), "an edit is missing");
    for (&dot, event) in seen {
        let fate = match told.fate(dot, event.op()) {
            Fate::Waits { review } => {
                assert!(
                    doc.view(&known, "1")
                        .reviews
                        .iter()
                        .any(|open| open.id == review)
                );
                WAITS
            }
            fate => fate,
        };
        assert_eq!(fate, model_fate(seen, dot, delete), "the fate of {dot}");
        assert_eq!(
            told.concurrent(dot),
            model_concurrent(seen, dot),
            "beside {dot}"
        );
    }
}

fn shown(doc: &Document, delete: DeletePolicy) -> Shown {
    let view = doc.view(&collection(delete), "1");
    let reviews = view.reviews.iter().map(|review| {
        let subject = match &review.subject {
            ReviewSubject::Field { key } => key.clone(),
            ReviewSubject::Bounds { key } => format!("{key}!bounds"),
            ReviewSubject::Invalid { key } => format!("{key}!invalid"),
            ReviewSubject::Clock { key } => format!("{key}!clock"),
            ReviewSubject::Deletion => "!".to_owned(),
            other => panic!("nothing here asks about {other:?}"),
        };
        let dots = review.candidates.iter().map(|candidate| candidate.dot);
        (subject, dots.collect())
    });
    Shown {
        reviews: reviews.collect(),
        fields: view.fields.into_iter().collect(),
        life: view.life,
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

const POLICIES: [DeletePolicy; 3] = [
    DeletePolicy::Review,
    DeletePolicy::DeleteWins,
    DeletePolicy::EditWins,
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_device_shows_what_the_model_says_at_every_moment(
        count in 2..=6usize,
        unset in 0..12usize,
        steps in prop::collection::vec(step(), 1..60),
        ends in prop::collection::vec(any::<u64>(), 6),
    ) {
        let mut devices: Vec<Device> = (0..count).map(|number| Device::new(number, number != unset)).collect();
        let history = play(&mut devices, &steps);
        for (number, device) in devices.iter().enumerate() {
            let seen: History = history
                .iter()
                .filter(|(dot, _)| device.seen.contains(dot))
                .map(|(dot, event)| (*dot, event.clone()))
                .collect();
            for policy in POLICIES {
                prop_assert_eq!(shown(&device.doc, policy), model(&seen, policy));
            }
            assert_history(&device.doc, &seen, POLICIES[number % 3]);
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
