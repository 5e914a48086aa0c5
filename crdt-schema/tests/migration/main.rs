//! Schema evolution against random schemas, edits, upgrades, rollbacks and deliveries.
//!
//! Each case draws a [`chain`] of four versions. [`devices`] write under the version that they run, which is
//! raised and lowered at any time. The [`model`] knows no lens.

mod chain;
mod devices;
mod model;

use std::collections::{BTreeMap, BTreeSet};

use crdt_schema::document::Document;
use crdt_schema::ident::Dot;
use crdt_schema::op::Op;
use crdt_schema::resolution::RecordView;
use crdt_schema::schema::Schema;
use proptest::prelude::*;

use chain::{VERSIONS, chain};
use devices::{Device, Event, History, event, op};
use model::{Model, replay};

/// What both ways of reading must agree on: all but the texts that are split or merged.
fn plain(view: &RecordView) -> BTreeMap<&String, &serde_json::Value> {
    const JOINED: [&str; 6] = ["name", "first", "last", "given", "family", "full"];
    let fields = view.fields.iter();
    fields
        .filter(|(name, _)| !JOINED.contains(&name.as_str()))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]

    #[test]
    fn migrating_and_merging_commute(
        drawn in prop::collection::vec(prop::collection::vec(0..8usize, 0..5), 3),
        review in any::<bool>(),
        events in prop::collection::vec(event(), 1..40),
    ) {
        let schemas = chain(&drawn, review);
        let newest = &schemas[VERSIONS as usize - 1];
        let readers: Vec<Schema> = schemas
            .iter()
            .map(|schema| schema.clone().reading(newest).expect("one chain"))
            .collect();
        let mut devices: Vec<Device> = (0..4).map(|n| Device::new(n, 1 + n as u32)).collect();
        let mut history = History::new();
        for event in events {
            match event {
                Event::Edit { device, clock, ops } => {
                    let device = &mut devices[device];
                    let collection = &schemas[device.version as usize - 1].collections["r"];
                    let mut seen = BTreeSet::new();
                    let ops = ops.iter().map(|&(field, value)| op(collection, field, value));
                    let ops: Vec<Op> = ops
                        .filter(|op| seen.insert(op.key().map(str::to_owned)))
                        .collect();
                    device.edit(&mut history, &readers, clock, ops);
                }
                Event::Version { device, version } => devices[device].version = version,
                Event::Meet { from, to, shuffle } => {
                    let theirs = devices[from].seen.clone();
                    devices[to].meet(&history, &theirs, shuffle);
                }
            }
        }
        let all: BTreeSet<Dot> = history.keys().copied().collect();
        let model = Model { history: &history, schemas: &schemas };
        for device in &mut devices {
            device.meet(&history, &all, device.clock);
        }
        for reader in &readers {
            let collection = &reader.collections["r"];
            let views: Vec<RecordView> = devices
                .iter()
                .map(|device| device.doc.view(collection, "1"))
                .collect();
            prop_assert!(views.windows(2).all(|pair| pair[0] == pair[1]));
            if history.is_empty() {
                continue;
            }
            let replayed = replay(&model, reader.version).view(collection, "1");
            prop_assert_eq!(plain(&views[0]), plain(&replayed));
            prop_assert_eq!(&views[0].legacy, &replayed.legacy);
            if !review {
                for (name, text) in model.shown(&all, reader.version) {
                    let shown = views[0].fields.get(&name).and_then(|value| value.as_str());
                    prop_assert_eq!(shown, text.as_deref(), "{} in {}", name, reader.version);
                }
            }
        }
        for device in &devices {
            let saved = Document::load(&device.doc.save()).expect("it was saved");
            for reader in &readers {
                let collection = &reader.collections["r"];
                prop_assert_eq!(saved.view(collection, "1"), device.doc.view(collection, "1"));
            }
            prop_assert_eq!(saved.versions(), device.doc.versions());
        }
    }

    #[test]
    fn nothing_is_hidden_without_being_named(
        drawn in prop::collection::vec(prop::collection::vec(0..8usize, 0..5), 3),
        edits in prop::collection::vec((1..=VERSIONS, 0..12usize, any::<u8>()), 1..12),
        reads in 1..=VERSIONS,
        knows in 1..=VERSIONS,
    ) {
        let schemas = chain(&drawn, false);
        let knows = knows.max(reads);
        let reader = schemas[reads as usize - 1].clone();
        let reader = reader.reading(&schemas[knows as usize - 1]).expect("one chain");
        let collection = &reader.collections["r"];
        let mut device = Device::new(0, 1);
        let mut history = History::new();
        let mut lacking = 0;
        for (version, field, value) in edits {
            device.version = version;
            let op = op(&schemas[version as usize - 1].collections["r"], field, value);
            let key = op.key().unwrap_or_default().to_owned();
            lacking += usize::from(version > knows || (
                collection.field_by_key(&key).is_none() && key == "outcome"
            ));
            device.edit(&mut history, &schemas, 0, vec![op]);
        }

        let view = device.doc.view(collection, "1");

        if lacking == 0 {
            prop_assert_eq!(&view.partial, &Vec::<String>::new());
        }
        let outcome = history.values().any(|written| {
            written.edit.ops.iter().any(|op| op.key() == Some("outcome"))
        });
        if outcome && collection.field_by_key("outcome").is_none() {
            let named = view.partial.iter().any(|lack| lack.starts_with("outcome ("));
            prop_assert!(named, "{:?}", view.partial);
        }
    }
}
