//! What people did, what was committed and what they were told, kept outside the devices: the truth that
//! runs are judged by.

use std::collections::{BTreeMap, BTreeSet};

use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::{DeviceId, Dot, LogId};
use crdt_schema::op::{ChangeSet, Edit, Op};
use fieldmesh::engine::batch::rights::Answering;
use fieldmesh::engine::batch::{LocalEdit, LogHeader};

/// A change set that an honest device committed.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Who.
    pub device: DeviceId,
    /// What.
    pub set: ChangeSet,
}

/// A change set that a person was told is saved.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// On which device.
    pub device: usize,
    /// What.
    pub set: ChangeSet,
    /// It may be lost: the device broke before anybody else was certain to hold it.
    pub is_excused: bool,
}

/// A write that a person asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    /// On which device.
    pub device: usize,
    /// What.
    pub edits: Vec<LocalEdit>,
    /// The idempotency key.
    pub key: Option<String>,
    /// The review that it answers, and in which role.
    pub answering: Option<Answering>,
    /// The version of the schema that the person saw.
    pub version: u32,
}

impl Asked {
    /// Whether it answers that review.
    fn answers(&self, review: &str) -> bool {
        let answering = self.answering.as_ref();
        answering.is_some_and(|answering| answering.review.0 == review)
    }
}

/// The truth about a run.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Everything asked for, by request.
    pub asked: BTreeMap<u64, Asked>,
    /// Requests whose change sets may be durable, though nobody could read them back: their devices were in trouble, or
    /// died in the commit.
    pub unread: BTreeSet<u64>,
    /// What a request's change set must be later than: the latest time that its device had taken in when it was asked.
    pub asked_after: BTreeMap<u64, Timestamp>,
    /// Every change set that an honest store has made durable.
    pub entries: BTreeMap<Dot, Entry>,
    /// Logs of stores that went back in time unnoticed: one position may be signed twice there.
    pub went_back: BTreeSet<LogId>,
    /// The second contents of such positions.
    pub branches: BTreeMap<Dot, Vec<Entry>>,
    /// The branches that forked logs have gone on in.
    pub families: BTreeMap<LogId, BTreeSet<LogId>>,
    /// The logs that honest devices have written.
    pub logs: BTreeSet<LogId>,
    /// How every log begins that any store holds, those of liars too.
    pub headers: BTreeMap<LogId, LogHeader>,
    /// The change sets that people were told are saved. A log that went back may have several at one position.
    pub acknowledged: BTreeMap<Dot, Vec<Told>>,
    /// The positions of acknowledged change sets that may be lost.
    pub excused: BTreeSet<Dot>,
    /// The change set that each idempotency key of each device has given, whether anybody was told of it or not.
    pub keys: BTreeMap<(usize, String), Dot>,
    /// The reviews that have been answered, and the change set that did it.
    pub answered: BTreeMap<String, Dot>,
    /// The answers that people set out to give and may not give in their role: device and review.
    pub forbidden_answers: BTreeSet<(usize, String)>,
    /// The reviews that rules of the schema opened and somebody set out to accept, and the name of the rule.
    pub flags: BTreeMap<String, String>,
    /// The chains of the logs up to the entries that their authors made durable last, of plans that mix
    /// versions of the schema.
    pub chains: BTreeMap<Dot, [u8; 32]>,
    /// Records with a review that was open on other devices when it was answered.
    pub open_elsewhere: BTreeSet<String>,
    /// How many writes were acknowledged, retries included.
    pub saved: u64,
    /// How many writes were refused, by reason.
    pub refused: BTreeMap<&'static str, u64>,
}

impl Ledger {
    /// Notes a change set that has become durable.
    ///
    /// # Errors
    /// That an honest device has given one position to two change sets.
    pub fn commit(&mut self, dot: Dot, device: DeviceId, set: ChangeSet) -> Result<(), String> {
        let entry = Entry { device, set };
        match self.entries.get(&dot) {
            Some(known) if *known != entry && self.went_back.contains(&dot.log) => {
                self.branches.entry(dot).or_default().push(entry);
                Ok(())
            }
            Some(known) if *known != entry => Err(format!(
                "{dot} was signed for two contents: {:?} and {:?}",
                known.set.edits, entry.set.edits
            )),
            Some(_) => Ok(()),
            None => {
                self.logs.insert(dot.log);
                self.entries.insert(dot, entry);
                Ok(())
            }
        }
    }

    /// Notes a log that a store holds.
    pub fn note_log(&mut self, header: &LogHeader) {
        self.headers
            .entry(header.log)
            .or_insert_with(|| header.clone());
        if header.branch_of.is_some() {
            let whole = header.signed_as();
            self.families.entry(whole).or_default().insert(header.log);
            self.went_back.extend([whole, header.log]);
            if self.logs.contains(&whole) {
                self.logs.insert(header.log);
            }
        }
    }

    /// What honest devices have made durable at a position.
    pub fn contents(&self, dot: Dot) -> impl Iterator<Item = &Entry> {
        let others = self.branches.get(&dot).into_iter().flatten();
        self.entries.get(&dot).into_iter().chain(others)
    }

    /// Whether a position may have several contents.
    pub fn is_forked(&self, dot: &Dot) -> bool {
        self.families.contains_key(&dot.log) || self.branches.contains_key(dot)
    }

    /// All names that the change set at a position may have: its log may have forked before it.
    pub fn names(&self, dot: Dot) -> impl Iterator<Item = Dot> {
        let branches = self.families.get(&dot.log).into_iter().flatten();
        let branches = branches.map(move |branch| Dot::new(*branch, dot.seq));
        std::iter::once(dot).chain(branches)
    }

    /// A device's store went back unnoticed: it may sign positions of its logs again.
    pub fn went_back(&mut self, device: DeviceId) {
        let own = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.device == device);
        self.went_back.extend(own.map(|(dot, _)| dot.log));
    }

    /// A device has written a change set again at another position, because the first was taken by another
    /// branch of its log.
    ///
    /// # Errors
    /// That it says something else there, or says it twice.
    pub fn moved(
        &mut self,
        was: Dot,
        is: Dot,
        device: DeviceId,
        set: ChangeSet,
    ) -> Result<(), String> {
        let says = |set: &ChangeSet| {
            let parts = set.edits.iter();
            let parts =
                parts.map(|edit| (edit.collection.clone(), edit.id.clone(), edit.ops.clone()));
            parts.collect::<Vec<_>>()
        };
        let is_known = self.contents(was).next().is_some();
        if is_known
            && self
                .contents(was)
                .all(|entry| says(&entry.set) != says(&set))
        {
            return Err(format!("{was} was written again as {is} with other edits"));
        }
        self.commit(is, device, set.clone())?;
        // What another history has there still stands at the old position.
        let told = self.acknowledged.remove(&was).unwrap_or_default();
        for told in told {
            let has_moved = says(&told.set) == says(&set);
            let (dot, set) = match has_moved {
                true => (is, set.clone()),
                false => (was, told.set),
            };
            let own = self.keys.iter_mut().filter(|_| has_moved);
            let own = own.filter(|((at, _), dot)| *at == told.device && **dot == was);
            own.for_each(|(_, dot)| *dot = is);
            let told = Told { set, ..told };
            self.acknowledged.entry(dot).or_default().push(told);
        }
        for dot in self.answered.values_mut().filter(|dot| **dot == was) {
            *dot = is;
        }
        Ok(())
    }

    /// A person on a device was told that the change set at a position is saved: the one there that says what was
    /// asked for, or else the last.
    pub fn told(&mut self, dot: Dot, device: usize, edits: &[LocalEdit]) {
        let others = self.branches.get(&dot).into_iter().flatten().rev();
        let mut here = others.chain(self.entries.get(&dot)).peekable();
        let last = here.peek().copied();
        let Some(entry) = here.find(|entry| says(&entry.set, edits)).or(last) else {
            return;
        };
        let all = self.acknowledged.entry(dot).or_default();
        if all.iter().all(|told| told.set != entry.set) {
            all.push(Told {
                device,
                set: entry.set.clone(),
                is_excused: false,
            });
        }
    }

    /// A device broke in a way that may lose what it alone holds: what it was told of and no longer
    /// holds, judged by `holds`, may be gone. The change set is given where a position has several.
    pub fn excuse(&mut self, device: usize, holds: impl Fn(&Dot, Option<&ChangeSet>) -> bool) {
        for (dot, all) in &mut self.acknowledged {
            let own = all.iter_mut().filter(|told| told.device == device);
            for told in own {
                let set = self.branches.contains_key(dot).then_some(&told.set);
                if !holds(dot, set) {
                    told.is_excused = true;
                    self.excused.insert(*dot);
                }
            }
        }
    }

    /// A device has lost entries, and with them what it knew of requests.
    pub fn forget_keys(&mut self, device: usize) {
        self.keys.retain(|(at, _), _| *at != device);
    }

    /// Whether a change set is what somebody answered a review with. Its position may have several contents.
    pub fn is_answer(&self, review: &str, set: &ChangeSet) -> bool {
        let mut asked = self.asked.values();
        asked.any(|asked| asked.answers(review) && says(set, &asked.edits))
    }

    /// Whether a change set is what one of the devices committed when nobody could read it back.
    pub fn is_unread(&self, devices: &[usize], set: &ChangeSet) -> bool {
        let mut asked = self.unread.iter().filter_map(|it| self.asked.get(it));
        asked.any(|asked| devices.contains(&asked.device) && says(set, &asked.edits))
    }
}

/// Whether a change set says what was asked for and edits no other record. Its author may have given new records
/// their defaults besides.
pub(crate) fn says(set: &ChangeSet, edits: &[LocalEdit]) -> bool {
    let is_said = |asked| set.edits.iter().any(|edit| beyond(edit, asked).is_some());
    set.edits.len() == edits.len() && edits.iter().all(is_said)
}

/// What an edit does besides what was asked for; `None` if it is of another record or does not do that.
pub(crate) fn beyond<'e>(edit: &'e Edit, asked: &LocalEdit) -> Option<&'e [Op]> {
    let is_of_it = edit.collection == asked.collection && edit.id == asked.id;
    let beyond = edit.ops.strip_prefix(asked.ops.as_slice());
    beyond.filter(|_| is_of_it)
}

#[cfg(test)]
mod tests {
    use crdt_schema::hlc::Timestamp;
    use crdt_schema::ident::LogId;
    use crdt_schema::resolution::ReviewId;
    use fieldmesh::engine::batch::WriteMode;

    use super::*;

    fn set(ms: u64) -> ChangeSet {
        ChangeSet {
            implied: BTreeMap::new(),
            hlc: Timestamp::from_ms(ms),
            schema_version: 1,
            person: String::new(),
            tags: Default::default(),
            edits: Vec::new(),
        }
    }

    fn delete(ms: u64, reason: &str) -> ChangeSet {
        let edit = Edit {
            collection: "patient".to_owned(),
            id: "p1".to_owned(),
            deps: Vec::new(),
            ops: vec![Op::Delete {
                reason: reason.to_owned(),
            }],
        };
        ChangeSet {
            implied: BTreeMap::new(),
            edits: vec![edit],
            ..set(ms)
        }
    }

    #[test]
    fn only_a_log_that_went_back_has_branches_and_what_was_acknowledged_moves_with_its_branch() {
        let (log, new) = (LogId([1; 16]), LogId([2; 16]));
        let (was, is) = (Dot::new(log, 1), Dot::new(new, 1));
        let device = DeviceId([0; 32]);
        let mut ledger = Ledger::default();
        ledger.commit(was, device, delete(1, "first")).unwrap();
        ledger.went_back.insert(log);
        ledger.commit(was, device, delete(2, "second")).unwrap();
        ledger.told(was, 7, &[]);

        assert!(ledger.moved(was, is, device, delete(3, "third")).is_err());
        assert_eq!(ledger.moved(was, is, device, delete(3, "second")), Ok(()));

        assert_eq!(ledger.entries[&was].set, delete(1, "first"));
        assert_eq!(ledger.branches[&was][0].set, delete(2, "second"));
        assert_eq!(ledger.acknowledged[&is][0].set, delete(3, "second"));
        assert_eq!(
            ledger.acknowledged.get(&was),
            None,
            "of the first nobody was told"
        );
    }

    #[test]
    fn a_change_set_answers_a_review_by_what_it_says_and_not_by_where_it_stands() {
        let edits = |reason| LocalEdit {
            collection: "patient".to_owned(),
            id: "p1".to_owned(),
            mode: WriteMode::Upsert,
            if_match: None,
            ops: delete(1, reason).edits[0].ops.clone(),
        };
        let asked = |reason, review: Option<&str>| Asked {
            device: 0,
            edits: vec![edits(reason)],
            key: None,
            answering: review.map(|review| Answering {
                review: ReviewId(review.to_owned()),
                role: None,
            }),
            version: 1,
        };
        let mut ledger = Ledger::default();
        ledger.asked.insert(1, asked("first", None));
        ledger.asked.insert(2, asked("second", Some("r")));

        assert!(ledger.is_answer("r", &delete(9, "second")));
        assert!(!ledger.is_answer("r", &delete(9, "first")));
        assert!(!ledger.is_answer("other", &delete(9, "second")));
        assert!(!ledger.is_answer("r", &set(9)), "it leaves the edit out");
    }

    #[test]
    fn one_position_has_one_content() {
        let dot = Dot::new(LogId([1; 16]), 1);
        let mut ledger = Ledger::default();

        assert_eq!(ledger.commit(dot, DeviceId([0; 32]), set(1)), Ok(()));
        assert_eq!(ledger.commit(dot, DeviceId([0; 32]), set(1)), Ok(()));
        assert!(ledger.commit(dot, DeviceId([0; 32]), set(2)).is_err());
    }
}
