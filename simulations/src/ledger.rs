//! What people did, what was committed and what they were told, kept outside the devices: the truth that
//! runs are judged by.

use std::collections::{BTreeMap, BTreeSet};

use crdt_schema::ident::{DeviceId, Dot, LogId};
use crdt_schema::op::{ChangeSet, Op};
use fieldmesh::engine::batch::{LocalEdit, LogHeader};

/// A change set that an honest device committed.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Who.
    pub device: DeviceId,
    /// What.
    pub set: ChangeSet,
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
    /// The review that it answers.
    pub review: Option<String>,
}

/// The truth about a run.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Everything asked for, by request.
    pub asked: BTreeMap<u64, Asked>,
    /// Every change set that an honest store has made durable.
    pub entries: BTreeMap<Dot, Entry>,
    /// The logs that they are in.
    pub logs: BTreeSet<LogId>,
    /// Those that their author was told of, and on which device.
    pub acknowledged: BTreeMap<Dot, usize>,
    /// Acknowledged ones that may be lost: the device broke before anybody else was certain to hold them.
    pub excused: BTreeSet<Dot>,
    /// What each idempotency key of each device has given.
    pub keys: BTreeMap<(usize, String), Dot>,
    /// The reviews that have been answered, and the change set that did it.
    pub answered: BTreeMap<String, Dot>,
    /// The headers of the logs that honest devices hold.
    pub headers: BTreeMap<LogId, LogHeader>,
    /// The chains of the logs up to the entries that their authors made durable last, of plans that mix
    /// versions of the schema.
    pub chains: BTreeMap<Dot, [u8; 32]>,
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

    /// A device broke in a way that may lose what it alone holds: what it was told of and no longer
    /// holds, judged by `holds`, may be gone.
    pub fn excuse(&mut self, device: usize, holds: impl Fn(&Dot) -> bool) {
        for (dot, at) in &self.acknowledged {
            if *at == device && !holds(dot) {
                self.excused.insert(*dot);
            }
        }
        self.keys.retain(|(at, _), _| *at != device);
    }

    /// Whether somebody asked the device for what a change set says. Committing may add defaults, so what
    /// was asked for must be a part of it.
    pub fn was_asked(&self, devices: &[usize], set: &ChangeSet) -> bool {
        self.asked
            .values()
            .any(|asked| devices.contains(&asked.device) && covers(set, &asked.edits))
    }
}

fn covers(set: &ChangeSet, edits: &[LocalEdit]) -> bool {
    set.edits.iter().all(|edit| {
        edits.iter().any(|asked| {
            asked.collection == edit.collection
                && asked.id == edit.id
                && asked.ops.iter().all(|op: &Op| edit.ops.contains(op))
        })
    })
}

#[cfg(test)]
mod tests {
    use crdt_schema::hlc::Timestamp;
    use crdt_schema::ident::LogId;

    use super::*;

    #[test]
    fn one_position_has_one_content() {
        let set = |ms| ChangeSet {
            hlc: Timestamp::from_ms(ms),
            schema_version: 1,
            person: String::new(),
            edits: Vec::new(),
        };
        let dot = Dot::new(LogId([1; 16]), 1);
        let mut ledger = Ledger::default();

        assert_eq!(ledger.commit(dot, DeviceId([0; 32]), set(1)), Ok(()));
        assert_eq!(ledger.commit(dot, DeviceId([0; 32]), set(1)), Ok(()));
        assert!(ledger.commit(dot, DeviceId([0; 32]), set(2)).is_err());
    }
}
