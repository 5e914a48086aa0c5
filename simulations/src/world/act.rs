//! What people do, and what they are told.

use crdt_schema::ident::{Dot, RecordKey, SpaceName};
use crdt_schema::op::Op;
use crdt_schema::resolution::{Review, ReviewSubject};
use crdt_schema::schema::PUBLISHED;
use crdt_schema::value::Value;
use fieldmesh::engine::batch::rights::Answering;
use fieldmesh::engine::batch::{
    CommitOutcome, Idempotency, LocalEdit, Rejection, StoreFault, WriteMode,
};
use fieldmesh::engine::input::{Input, LocalResult, LocalWrite};

use super::World;
use crate::ledger::Asked;
use crate::oracle::Oracle;
use crate::plan::{Act, EditSpec};
use crate::sometimes::Sometimes;
use crate::trace::Told;

impl World<'_> {
    pub(super) fn operate(&mut self, number: usize) {
        let operation = self.plan.operations[number].clone();
        let device = operation.device;
        if self.device(device).is_none() {
            self.note_missed();
            return;
        }
        match operation.act {
            Act::Write { edits, key } => self.write_edits(device, &edits, key, WriteMode::Upsert),
            Act::Update { edits } => self.write_edits(device, &edits, None, WriteMode::Update),
            Act::Publish { version } => self.publish(device, version),
            Act::UseSchema { version } => self.use_schema(device, version),
            Act::Install { version } => self.install(device, version),
            Act::Review { place, choice } => {
                self.measure_reviews(device);
                if let Some(asked) = self.answer_review(device, place, choice) {
                    self.ask(device, asked);
                }
            }
            Act::Network { online } => self.feed(device, Input::Network { online }),
        }
    }

    /// People write what the version in use on their device has; the rest of an edit is not done.
    fn write_edits(
        &mut self,
        number: usize,
        edits: &[EditSpec],
        key: Option<String>,
        mode: WriteMode,
    ) {
        let schema = self.schema_of(number);
        let edits = edits.iter();
        let edits: Vec<LocalEdit> = edits
            .filter_map(|edit| edit.local_edit(&schema, mode))
            .collect();
        if edits.is_empty() {
            self.note_missed();
            return;
        }
        let asked = Asked {
            device: number,
            edits,
            key,
            answering: None,
            version: schema.version,
        };
        self.ask(number, asked);
    }

    /// A person's answer to one of the reviews that the device lists.
    fn answer_review(&mut self, number: usize, place: u64, choice: u64) -> Option<Asked> {
        let seat = self.seats.get(&number)?;
        let reader = seat.device.as_ref()?.reader();
        let reviews = reader.reviews().ok()?;
        if reviews.is_empty() {
            return None;
        }
        let (key, review) = &reviews[(place % reviews.len() as u64) as usize];
        let (schema, id) = (self.schema_of(number), review.id.0.clone());
        let (spec, subject) = (&seat.spec, &review.subject);
        let role = spec.role_for(&schema, &key.collection, subject);
        if !spec.may_answer(&schema, &key.collection, subject) {
            self.ledger.forbidden_answers.insert((number, id.clone()));
        }
        if let ReviewSubject::Rule { name } = &review.subject {
            self.ledger.flags.insert(id, name.clone());
        }
        let stored = reader.get(key).ok()??;
        let edit = LocalEdit {
            collection: key.collection.clone(),
            id: key.id.clone(),
            mode: WriteMode::Update,
            if_match: Some(stored.etag),
            ops: vec![answer(review, choice)?],
        };
        Some(Asked {
            device: number,
            edits: vec![edit],
            key: None,
            answering: Some(Answering {
                review: review.id.clone(),
                role,
            }),
            version: schema.version,
        })
    }

    pub(super) fn ask(&mut self, number: usize, asked: Asked) {
        let request = self.next_request;
        self.next_request += 1;
        let idempotency = asked.key.as_ref().map(|key| Idempotency {
            key: key.clone(),
            fingerprint: *blake3::hash(format!("{:?}", asked.edits).as_bytes()).as_bytes(),
        });
        let write = LocalWrite {
            request,
            space: SpaceName::default(),
            person: String::new(),
            schema_version: asked.version,
            edits: asked.edits.clone(),
            idempotency,
            answering: asked.answering.clone().map(Box::new),
        };
        self.ledger.asked.insert(request, asked);
        self.note_asked(number, request);
        self.feed(number, Input::Local(write));
    }

    pub(super) fn answered(&mut self, number: usize, request: u64, result: LocalResult) {
        match result {
            Ok(outcome) => self.told_saved(number, request, &outcome),
            Err(rejection) => {
                self.note_rejection(number, &rejection);
                self.note_refused(reason(&rejection));
            }
        }
    }

    fn note_refused(&mut self, reason: &'static str) {
        *self.ledger.refused.entry(reason).or_default() += 1;
        self.measure_told(Told::Refused(reason));
    }

    /// Nobody could do what the plan says.
    pub(super) fn note_missed(&mut self) {
        self.counts.missed += 1;
        self.measure_told(Told::Missed);
    }

    fn note_rejection(&mut self, number: usize, rejection: &Rejection) {
        match rejection {
            Rejection::Store(fault) => {
                if let StoreFault::DiskFull(_) = fault {
                    self.reach(Sometimes::DiskFullRefusedAWrite);
                }
                if let Some(seat) = self.seats.get_mut(&number) {
                    seat.has_failed = true;
                    let is_full = matches!(fault, StoreFault::DiskFull(_))
                        && seat.disk.faults().bytes_max.is_some();
                    let is_failure = matches!(fault, StoreFault::Failed(_));
                    let is_explained =
                        is_full || seat.is_troubled() || is_failure && seat.doubts_again();
                    if !is_explained {
                        let detail = format!("device {number} refused a write: {rejection}");
                        self.break_oracle(Oracle::NoLostWrite, detail);
                    }
                }
            }
            Rejection::Invalid { .. } => self.reach(Sometimes::WriteRefusedBySchema),
            Rejection::NotAllowed { .. } => self.reach(Sometimes::AnswerNotAllowed),
            Rejection::Deleted { .. } | Rejection::DeletedWith { .. } => {
                self.reach(Sometimes::WriteToDeletedRefused)
            }
            Rejection::Referenced { .. }
            | Rejection::SchemaMoved { .. }
            | Rejection::NotFound { .. }
            | Rejection::Exists { .. }
            | Rejection::Changed { .. }
            | Rejection::KeyReused { .. }
            | Rejection::TooLarge { .. } => {}
        }
    }

    fn told_saved(&mut self, number: usize, request: u64, outcome: &CommitOutcome) {
        self.ledger.saved += 1;
        self.measure_told(Told::Saved);
        let Some(asked) = self.ledger.asked.get(&request).cloned() else {
            return;
        };
        self.ledger.told(outcome.dot, number, &asked.edits);
        if outcome.replayed {
            self.reach(Sometimes::RetryAnsweredOnce);
            self.judge_key(number, request, outcome.dot);
        }
        if asked
            .edits
            .iter()
            .any(|edit| edit.ops.iter().any(|op| matches!(op, Op::Restore { .. })))
        {
            self.reach(Sometimes::RecordRestored);
        }
        if let Some(Answering { review, .. }) = asked.answering {
            let review = review.0;
            self.reach(Sometimes::ReviewAnswered);
            self.judge_right(number, &review, outcome.dot);
            if self.ledger.flags.contains_key(&review) {
                self.reach(Sometimes::FlagAccepted);
            }
            self.measure_answer(number, &review);
            self.note_open_elsewhere(number, &review);
            self.ledger.answered.insert(review, outcome.dot);
        }
        self.read_own_write(number, outcome);
    }

    /// An answer that its author's role may not give is not taken.
    fn judge_right(&mut self, number: usize, review: &str, dot: Dot) {
        self.counts.checks.note(Oracle::Rights, 1);
        let answer = (number, review.to_owned());
        if self.ledger.forbidden_answers.contains(&answer) {
            let duty = &self.seats[&number].spec.duty;
            let detail =
                format!("device {number}, whose people are {duty:?}, answered {review} in {dot}");
            self.break_oracle(Oracle::Rights, detail);
        }
    }

    /// Notes the record whose review has been answered if others still have it open.
    fn note_open_elsewhere(&mut self, number: usize, review: &str) {
        let others = self.seats.iter().filter(|(other, _)| **other != number);
        let readers = others.filter_map(|(_, seat)| Some(seat.device.as_ref()?.reader()));
        let mut open = readers.flat_map(|reader| reader.reviews().unwrap_or_default());
        if let Some((key, _)) = open.find(|(_, open)| open.id.0 == review) {
            let place = format!("{}/{}", key.collection, key.id);
            self.ledger.open_elsewhere.insert(place);
        }
    }

    /// What a person was told is saved is in what they see when they look.
    fn read_own_write(&mut self, number: usize, outcome: &CommitOutcome) {
        let Some(seat) = self.seats.get(&number) else {
            return;
        };
        let Some(device) = seat.device.as_ref().filter(|_| !seat.is_troubled()) else {
            return;
        };
        self.counts.checks.note(Oracle::Session, 1);
        let reader = device.reader();
        // A published schema is no record that people look at.
        let mut records = outcome.records.iter();
        let is_there = records.all(|record| {
            if record.collection == PUBLISHED {
                return true;
            }
            let key = RecordKey {
                space: SpaceName::default(),
                collection: record.collection.clone(),
                id: record.id.clone(),
            };
            let (shown, document) = (reader.get(&key), reader.document(&key));
            match (shown, document) {
                (Ok(Some(shown)), Ok(Some(document))) => {
                    let mut names = self.ledger.names(outcome.dot);
                    shown.view.heads == document.heads() && names.any(|it| document.contains(it))
                }
                _ => false,
            }
        });
        if !is_there || !matches!(reader.entry(outcome.dot), Ok(Some(_))) {
            let detail = format!(
                "device {number} acknowledged {} and does not show it",
                outcome.dot
            );
            self.break_oracle(Oracle::Session, detail);
        }
    }
}

/// The op that gives an answer.
pub(crate) fn answer(review: &Review, choice: u64) -> Option<Op> {
    let note = format!("answer {choice}");
    Some(match &review.subject {
        ReviewSubject::Field { key } | ReviewSubject::Invalid { key } => {
            let place = choice.checked_rem(review.candidates.len() as u64)?;
            let chosen = review.candidates.get(place as usize)?;
            if chosen.value == Value::Null {
                return None;
            }
            Op::Resolve {
                key: key.clone(),
                value: chosen.value.clone(),
                note,
            }
        }
        ReviewSubject::Deletion if choice % 2 == 1 => Op::Delete { reason: note },
        ReviewSubject::Deletion => Op::Restore { reason: note },
        ReviewSubject::Bounds { .. }
        | ReviewSubject::Rule { .. }
        | ReviewSubject::Clock { .. }
        | ReviewSubject::Reference { .. }
        | ReviewSubject::Restricted => Op::Accept {
            review: review.id.0.clone(),
            note,
        },
    })
}

fn reason(rejection: &Rejection) -> &'static str {
    match rejection {
        Rejection::NotFound { .. } => "not found",
        Rejection::Exists { .. } => "exists",
        Rejection::Deleted { .. } => "deleted",
        Rejection::DeletedWith { .. } => "deleted with another",
        Rejection::Changed { .. } => "changed",
        Rejection::Invalid { .. } => "invalid",
        Rejection::Referenced { .. } => "referenced",
        Rejection::SchemaMoved { .. } => "schema moved",
        Rejection::NotAllowed { .. } => "not allowed",
        Rejection::KeyReused { .. } => "key reused",
        Rejection::TooLarge { .. } => "too large",
        Rejection::Store(StoreFault::DiskFull(_)) => "disk full",
        Rejection::Store(StoreFault::Failed(_)) => "store failed",
    }
}
