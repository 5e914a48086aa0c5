//! Policies against an independent model, over random histories of two to six devices.
//!
//! The model knows no documents: it keeps every edit with the set of edits its author had seen, and
//! reads the rules of each policy straight from that. Deliveries come in random causal order, grouped at
//! random and repeated at random.

use std::collections::{BTreeMap, BTreeSet};

use crdt_schema::document::Document;
use crdt_schema::history::{Concurrent, History as Told};
use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::{Dot, LogId};
use crdt_schema::op::{Edit, Op};
use crdt_schema::resolution::{Fate, Life, ReviewId, ReviewSubject};
use crdt_schema::schema::{Collection, DeletePolicy, Schema};
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

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..6usize, 0..50u64, act())
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

/// When the histories begin: clocks that were never set open reviews of their own.
const START_MS: u64 = 1_790_000_000_000;

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
        let hlc = Timestamp::from_ms(START_MS + self.clock);
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

// ---- the model ----

/// What the model says a device shows: fields, life, and for each review the dots that conflict.
#[derive(Debug, PartialEq)]
struct Shown {
    fields: BTreeMap<String, Json>,
    life: Life,
    reviews: BTreeMap<String, BTreeSet<Dot>>,
}

/// The one thing that an op writes, as text; no two additions write the same.
fn thing(op: &Op) -> Option<String> {
    match op {
        Op::Set { key, .. } | Op::Resolve { key, .. } => Some(key.clone()),
        Op::Insert { key, element } | Op::Remove { key, element } => {
            Some(format!("{key}/{element}"))
        }
        Op::Delete { .. } | Op::Restore { .. } => Some("!".to_owned()),
        Op::Add { .. } | Op::Accept { .. } => None,
    }
}

type Write<'a> = (Dot, &'a Event);

impl Event {
    fn op(&self) -> &Op {
        &self.edit.ops[0]
    }

    fn value(&self) -> Json {
        match self.op() {
            Op::Set { value, .. } | Op::Resolve { value, .. } => value.to_json(),
            op => json!(matches!(op, Op::Insert { .. } | Op::Delete { .. })),
        }
    }
}

/// The events that write a thing and that no other such event had seen.
fn standing<'a>(seen: &'a History, what: &str) -> Vec<Write<'a>> {
    let writes: Vec<Write<'a>> = seen
        .iter()
        .filter(|(_, event)| thing(event.op()).as_deref() == Some(what))
        .map(|(dot, event)| (*dot, event))
        .collect();
    let covered = |dot: Dot| writes.iter().any(|(_, other)| other.past.contains(&dot));
    writes
        .iter()
        .filter(|(dot, _)| !covered(*dot))
        .copied()
        .collect()
}

fn latest<'a>(writes: &[Write<'a>]) -> Option<Write<'a>> {
    writes
        .iter()
        .max_by_key(|(dot, event)| (event.hlc, *dot))
        .copied()
}

/// How a value fares against concurrent ones, before clocks are asked; and whether the field takes it.
fn weight(key: &str, value: &Json) -> (u64, bool) {
    match (key, value) {
        ("top", Json::Number(number)) => {
            let number = number.as_u64().expect("acts write no negative numbers");
            (1 + number, number <= 6)
        }
        ("low", Json::String(date)) => match date.strip_prefix("2026-11-0") {
            Some(day) => (
                100 - day.parse::<u64>().expect("acts write good dates"),
                true,
            ),
            None => (0, false),
        },
        ("step", Json::String(word)) => match word.as_str() {
            "open" => (1, true),
            "half" => (2, true),
            "done" => (3, true),
            _ => (0, false),
        },
        (_, Json::Null) => (0, true),
        (key, _) => (0, key != "top"),
    }
}

/// What the model makes of one register.
struct Settled<'a> {
    candidates: Vec<Write<'a>>,
    shown: Write<'a>,
    /// The subject of the review that is open on it.
    review: Option<String>,
}

fn settle<'a>(seen: &'a History, key: &str) -> Option<Settled<'a>> {
    let candidates = standing(seen, key);
    let shown = candidates
        .iter()
        .max_by_key(|(dot, event)| (weight(key, &event.value()).0, event.hlc, *dot))
        .copied()?;
    let values: BTreeSet<String> = candidates
        .iter()
        .map(|(_, event)| event.value().to_string())
        .collect();
    let decided = candidates
        .iter()
        .all(|(_, event)| matches!(event.op(), Op::Resolve { .. }));
    if ["ask", "held"].contains(&key) && values.len() > 1 && !decided {
        let before = match key {
            "held" => before(seen, &candidates, key),
            _ => None,
        };
        return Some(Settled {
            shown: before.unwrap_or(shown),
            candidates,
            review: Some(key.to_owned()),
        });
    }
    let review = (!weight(key, &shown.1.value()).1).then(|| format!("{key}!invalid"));
    Some(Settled {
        candidates,
        shown,
        review,
    })
}

/// The last write of the register that all of the candidates had seen.
fn before<'a>(seen: &'a History, candidates: &[Write<'a>], key: &str) -> Option<Write<'a>> {
    let all_saw = |dot: &Dot| candidates.iter().all(|(_, event)| event.past.contains(dot));
    let shared: History = seen
        .iter()
        .filter(|(dot, _)| all_saw(dot))
        .map(|(dot, event)| (*dot, event.clone()))
        .collect();
    let (dot, _) = latest(&standing(&shared, key))?;
    Some((dot, &seen[&dot]))
}

/// The standing marks of an element, and whether it is in the set.
fn mark<'a>(seen: &'a History, set: &str, element: &str) -> (Vec<Write<'a>>, bool) {
    let marks = standing(seen, &format!("{set}/{element}"));
    let mut inserts = marks
        .iter()
        .map(|(_, event)| matches!(event.op(), Op::Insert { .. }));
    let is_in = match set {
        "bag" => inserts.any(|insert| insert),
        _ => !marks.is_empty() && inserts.all(|insert| insert),
    };
    (marks, is_in)
}

fn model(seen: &History, delete: DeletePolicy) -> Shown {
    let mut fields = BTreeMap::new();
    let mut reviews = BTreeMap::new();
    let dots = |writes: &[Write<'_>]| writes.iter().map(|(dot, _)| *dot).collect();
    for key in REGISTERS {
        let Some(settled) = settle(seen, key) else {
            continue;
        };
        fields.insert(key.to_owned(), settled.shown.1.value());
        if let Some(subject) = settled.review {
            reviews.insert(subject, dots(&settled.candidates));
        }
    }
    fields.retain(|_, value| !value.is_null());
    model_sum(seen, &mut fields, &mut reviews);
    for set in SETS {
        let elements = (0..3u8).map(|element| element.to_string());
        let present: Vec<String> = elements
            .filter(|element| mark(seen, set, element).1)
            .collect();
        if !present.is_empty() {
            fields.insert(set.to_owned(), json!(present));
        }
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

fn model_sum(
    seen: &History,
    fields: &mut BTreeMap<String, Json>,
    reviews: &mut BTreeMap<String, BTreeSet<Dot>>,
) {
    let mut sum = 0;
    let mut last = BTreeMap::new();
    for (dot, event) in seen {
        if let Op::Add { delta, .. } = event.op() {
            sum += delta;
            last.insert(dot.log, *dot);
        }
    }
    fields.insert("sum".to_owned(), json!(sum));
    if !(-12..=12).contains(&sum) {
        reviews.insert("sum!bounds".to_owned(), last.into_values().collect());
    }
}

fn model_life(seen: &History, policy: DeletePolicy) -> (Life, Option<BTreeSet<Dot>>) {
    let marks = standing(seen, "!");
    let deletes: Vec<_> = marks
        .iter()
        .filter(|(_, event)| matches!(event.op(), Op::Delete { .. }))
        .collect();
    if deletes.is_empty() {
        return (Life::Live, None);
    }
    let racing: BTreeSet<Dot> = seen
        .iter()
        .filter(|(_, event)| event.op().key().is_some())
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

/// What has become of an event, by the model.
fn model_fate(seen: &History, dot: Dot, delete: DeletePolicy) -> Fate {
    let event = &seen[&dot];
    let Some(what) = thing(event.op()) else {
        return Fate::Stands;
    };
    let later: Vec<Write<'_>> = seen
        .iter()
        .filter(|(_, other)| thing(other.op()).as_ref() == Some(&what) && other.past.contains(&dot))
        .map(|(dot, other)| (*dot, other))
        .collect();
    // Of those that had seen it, the ones that were the first to do so on their branch.
    let first = later
        .iter()
        .filter(|(_, event)| later.iter().all(|(other, _)| !event.past.contains(other)))
        .min_by_key(|(dot, event)| (event.hlc, *dot));
    if let Some(&(by, _)) = first {
        return Fate::Superseded { by };
    }
    match event.op() {
        Op::Delete { .. } | Op::Restore { .. } => life_fate(seen, event, delete),
        Op::Insert { key, element } | Op::Remove { key, element } => {
            let (marks, is_in) = mark(seen, key, &element.to_string());
            let winners: Vec<Write<'_>> = marks
                .into_iter()
                .filter(|(_, mark)| matches!(mark.op(), Op::Insert { .. }) == is_in)
                .collect();
            stands_or_lost(dot, &winners)
        }
        _ => {
            let settled = settle(seen, &what).expect("the event itself writes it");
            let waits = match &settled.review {
                None => false,
                Some(subject) => *subject == what || settled.shown.0 == dot,
            };
            match waits {
                true => WAITS,
                false => stands_or_lost(dot, &[settled.shown]),
            }
        }
    }
}

/// A fate that waits for some review: the model knows no names of reviews.
const WAITS: Fate = Fate::Waits {
    review: ReviewId(String::new()),
};

fn stands_or_lost(dot: Dot, winners: &[Write<'_>]) -> Fate {
    match latest(winners) {
        Some((to, _)) if winners.iter().all(|(winner, _)| *winner != dot) => Fate::Lost { to },
        _ => Fate::Stands,
    }
}

fn life_fate(seen: &History, event: &Event, delete: DeletePolicy) -> Fate {
    let (life, contested) = model_life(seen, delete);
    let deletes = matches!(event.op(), Op::Delete { .. });
    if contested.is_some() {
        return WAITS;
    }
    if deletes == (life == Life::Deleted) {
        return Fate::Stands;
    }
    let (_, sides) = model_life(seen, DeletePolicy::Review);
    let winners: Vec<Write<'_>> = sides
        .into_iter()
        .flatten()
        .map(|dot| (dot, &seen[&dot]))
        .filter(|(_, side)| matches!(side.op(), Op::Delete { .. }) != deletes)
        .collect();
    latest(&winners).map_or(Fate::Stands, |(to, _)| Fate::Lost { to })
}

/// The events concurrent with one, the newest first.
fn model_concurrent(seen: &History, dot: Dot) -> Concurrent {
    let event = &seen[&dot];
    let mut others: Vec<Write<'_>> = seen
        .iter()
        .filter(|(other, e)| {
            **other != dot && !event.past.contains(other) && !e.past.contains(&dot)
        })
        .map(|(dot, event)| (*dot, event))
        .collect();
    others.sort_by_key(|(dot, event)| std::cmp::Reverse((event.hlc, *dot)));
    let deletes = |event: &Event| matches!(event.op(), Op::Delete { .. });
    let conflict = |other: &Event| match (thing(event.op()), thing(other.op())) {
        (Some(a), Some(b)) if a == b => event.value() != other.value(),
        _ => {
            deletes(event) != deletes(other)
                && (event.op().key().is_some() || other.op().key().is_some())
        }
    };
    let (conflicts, parallel) = others.into_iter().partition(|(_, other)| conflict(other));
    let dots = |writes: Vec<Write<'_>>| writes.into_iter().map(|(dot, _)| dot).collect();
    Concurrent {
        parallel: dots(parallel),
        conflicts: dots(conflicts),
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
        steps in prop::collection::vec(step(), 1..60),
        ends in prop::collection::vec(any::<u64>(), 6),
    ) {
        let mut devices: Vec<Device> = (0..count).map(Device::new).collect();
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
