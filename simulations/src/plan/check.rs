//! What a plan may not say: what names something that is not there, has no bound, or would have no effect.
//!
//! Invariant: a line that is taken does something, or could, so a plan never tests less than it seems to. Each answer
//! says what is wrong and what would be right; [`super::text`] adds the line.

use std::collections::BTreeMap;
use std::sync::Arc;

use crdt_schema::schema::Schema;

use super::text::HORIZON_MS_MAX;
use super::{
    Act, Contact, DeviceSpec, EditSpec, Fault, FaultKind, Header, OpSpec, Operation, Plan,
};
use crate::family::Family;
use crate::time::HOUR_MS;

/// Greatest number of a device.
const DEVICE_MAX: usize = 4096;
/// The longest that a store takes for a transaction or a read: an hour, in milliseconds.
const STORE_MS_MAX: u64 = HOUR_MS;
/// Most bits of a store that flip at once.
const ROT_BITS_MAX: u64 = 100_000;
/// Most pages of a store that cannot be read at once.
const WEAR_PAGES_MAX: u64 = 100_000;
/// How fast and how slow a clock runs at most, in millionths: it stands still, or runs at double speed.
const DRIFT_PPM_MAX: u64 = 1_000_000;
/// How many times slower a link becomes at most.
const SLOWER_MAX: u64 = 1_000_000;

/// A plan that is being read, as far as it has been checked.
pub(super) struct Checked {
    plan: Plan,
    family: Family,
    /// When each pair is in contact: from when until when.
    met: BTreeMap<(usize, usize), BTreeMap<u64, u64>>,
}

impl Checked {
    pub(super) fn new(header: Header, family: Family) -> Self {
        Self {
            plan: Plan {
                header,
                devices: Vec::new(),
                contacts: Vec::new(),
                operations: Vec::new(),
                faults: Vec::new(),
            },
            family,
            met: BTreeMap::new(),
        }
    }

    pub(super) fn into_plan(self) -> Plan {
        self.plan
    }

    pub(super) fn device(&mut self, spec: DeviceSpec) -> Result<(), String> {
        let number = spec.device;
        if number > DEVICE_MAX {
            return Err(format!("device {number} is above {DEVICE_MAX}"));
        }
        if self.plan.device(number).is_some() {
            return Err(format!("there are two devices {number}"));
        }
        if spec.group == Some(0) || spec.fetch_bytes == Some(0) {
            return Err("group and fetch_bytes are at least 1".to_owned());
        }
        at_most("commit_ms", spec.commit_ms, STORE_MS_MAX)?;
        at_most("fetch_ms", spec.fetch_ms, STORE_MS_MAX)?;
        let clock = spec.clock;
        at_most("drift_ppm", clock.drift_ppm.unsigned_abs(), DRIFT_PPM_MAX)?;
        at_most("offset_ms", clock.offset_ms.unsigned_abs(), HORIZON_MS_MAX)?;
        self.before_the_end("born_ms", spec.born_ms)?;
        if let Some(gone_ms) = spec.gone_ms {
            self.before_the_end("gone_ms", gone_ms)?;
            if gone_ms <= spec.born_ms {
                return Err(format!(
                    "device {number} is gone before it is switched on; take the line out"
                ));
            }
        }
        if spec.schema != 0 {
            self.knows_version(spec.schema)?;
        }
        self.duty(&spec)?;
        self.twin(&spec)?;
        self.plan.devices.push(spec);
        Ok(())
    }

    pub(super) fn contact(&mut self, contact: Contact) -> Result<(), String> {
        let Contact {
            at_ms,
            end_ms,
            a,
            b,
            faults,
            ..
        } = contact;
        self.named(a)?;
        self.named(b)?;
        if a == b {
            return Err("a contact needs two different devices".to_owned());
        }
        if end_ms <= at_ms {
            return Err("a contact must end after it begins".to_owned());
        }
        self.before_the_end("at_ms", at_ms)?;
        at_most("end_ms", end_ms, HORIZON_MS_MAX)?;
        if let Some(mute) = faults.mute
            && mute != a
            && mute != b
        {
            return Err(format!(
                "device {mute} is no end of this contact; mute {a} or {b}"
            ));
        }
        if faults.burst.is_some_and(|it| !(1..=1000).contains(&it)) {
            return Err("burst is 1 to 1000 frames of a thousand".to_owned());
        }
        if faults.cut_at_bytes == Some(0) {
            return Err("cut_at_bytes is at least 1".to_owned());
        }
        if faults
            .slower
            .is_some_and(|it| !(2..=SLOWER_MAX).contains(&it))
        {
            return Err(format!("slower is 2 to {SLOWER_MAX} times"));
        }
        if let Some(until_ms) = faults.clogged_until_ms {
            at_most("clogged_until_ms", until_ms, HORIZON_MS_MAX)?;
            if until_ms <= at_ms {
                return Err("clogged_until_ms must be after the contact begins".to_owned());
            }
        }
        self.meet((a.min(b), a.max(b)), at_ms, end_ms)?;
        self.plan.contacts.push(contact);
        Ok(())
    }

    pub(super) fn operation(&mut self, operation: Operation) -> Result<(), String> {
        self.people(operation.device)?;
        self.before_the_end("at_ms", operation.at_ms)?;
        match &operation.act {
            Act::Write { edits, .. } | Act::Update { edits } => self.edits(edits)?,
            Act::Publish { version } | Act::UseSchema { version } | Act::Install { version } => {
                self.knows_version(*version)?;
            }
            Act::Review { .. } | Act::Network { .. } => {}
        }
        self.plan.operations.push(operation);
        Ok(())
    }

    pub(super) fn fault(&mut self, fault: Fault) -> Result<(), String> {
        self.people(fault.device)?;
        self.before_the_end("at_ms", fault.at_ms)?;
        match fault.kind {
            FaultKind::Restore { taken_ms, .. } | FaultKind::RestoreUnnoticed { taken_ms }
                if taken_ms >= fault.at_ms =>
            {
                return Err("a backup is taken before it is restored".to_owned());
            }
            FaultKind::Kill { down_ms, .. } | FaultKind::PowerCut { down_ms, .. } => {
                at_most("down_ms", down_ms, HORIZON_MS_MAX)?;
            }
            FaultKind::IgnoredSync { for_ms, .. } | FaultKind::DiskFull { for_ms } => {
                at_most("for_ms", for_ms, HORIZON_MS_MAX)?;
            }
            FaultKind::Rot { bits } => {
                at_most("bits", bits, ROT_BITS_MAX)?;
                if bits == 0 {
                    return Err("bits is at least 1".to_owned());
                }
            }
            FaultKind::Wear { pages: 0 } => return Err("pages is at least 1".to_owned()),
            FaultKind::Wear { pages } => at_most("pages", pages, WEAR_PAGES_MAX)?,
            FaultKind::ClockJump { by_ms } => {
                at_most("by_ms", by_ms.unsigned_abs(), HORIZON_MS_MAX)?;
            }
            FaultKind::RotEntry { .. }
            | FaultKind::Restore { .. }
            | FaultKind::RestoreUnnoticed { .. }
            | FaultKind::Wipe {} => {}
        }
        self.plan.faults.push(fault);
        Ok(())
    }

    fn named(&self, device: usize) -> Result<&DeviceSpec, String> {
        let named = self.plan.device(device);
        named.ok_or_else(|| format!("there is no device {device} above this line"))
    }

    /// People use honest devices only, and only those have a store that breaks.
    fn people(&self, device: usize) -> Result<(), String> {
        match self.named(device)?.role.is_honest() {
            true => Ok(()),
            false => Err(format!(
                "device {device} is a stranger or a liar, which has neither people nor a store; name a field device or a hub"
            )),
        }
    }

    /// What would happen once the faults have ended never happens.
    fn before_the_end(&self, what: &str, at_ms: u64) -> Result<(), String> {
        let horizon_ms = self.plan.header.horizon_ms;
        match at_ms <= horizon_ms {
            true => Ok(()),
            false => Err(format!(
                "{what} {at_ms} is after the horizon, {horizon_ms}: it would never happen; move the horizon or take it out"
            )),
        }
    }

    fn knows_version(&self, version: u32) -> Result<(), String> {
        match self.family.get(version) {
            Some(_) => Ok(()),
            None => {
                let known = self.family.iter().map(|schema| schema.version.to_string());
                let known: Vec<String> = known.collect();
                Err(format!(
                    "there is no version {version} of the schema; there is {}",
                    known.join(", ")
                ))
            }
        }
    }

    /// Every version must have the role: a device may come to use any.
    fn duty(&self, spec: &DeviceSpec) -> Result<(), String> {
        let Some(duty) = &spec.duty else {
            return Ok(());
        };
        let lacks = |schema: &&Arc<Schema>| !schema.roles.contains_key(duty);
        match self.family.iter().find(lacks) {
            None => Ok(()),
            Some(schema) => Err(format!(
                "version {} of the schema has no role {duty:?}",
                schema.version
            )),
        }
    }

    /// A twin goes by the key of its original, and so by its role and duty.
    fn twin(&self, spec: &DeviceSpec) -> Result<(), String> {
        let Some(number) = spec.twin_of else {
            return Ok(());
        };
        let Some(original) = self.plan.device(number).filter(|it| it.role.is_honest()) else {
            return Err(format!(
                "a twin needs an honest device {number} above this line"
            ));
        };
        if let Some(first) = original.twin_of {
            return Err(format!(
                "device {number} is a twin itself; make this one a twin of {first}"
            ));
        }
        if (spec.role, &spec.duty) != (original.role, &original.duty) {
            return Err(format!(
                "a twin has the role and the duty of its original, device {number}"
            ));
        }
        Ok(())
    }

    /// Two devices have one link at a time.
    fn meet(&mut self, pair: (usize, usize), at_ms: u64, end_ms: u64) -> Result<(), String> {
        let met = self.met.entry(pair).or_default();
        let before = met.range(..end_ms).next_back();
        if let Some((other_ms, until_ms)) = before.filter(|(_, until_ms)| **until_ms > at_ms) {
            return Err(format!(
                "devices {} and {} are in contact from {other_ms} to {until_ms} already; join the two contacts or move one",
                pair.0, pair.1
            ));
        }
        met.insert(at_ms, end_ms);
        Ok(())
    }

    /// Some version must have what an edit names.
    fn edits(&self, edits: &[EditSpec]) -> Result<(), String> {
        if edits.is_empty() {
            return Err("a write needs at least one edit".to_owned());
        }
        for edit in edits {
            crdt_schema::ident::check_record_id(&edit.id).map_err(|error| error.to_string())?;
            if edit.ops.is_empty() {
                let (collection, id) = (&edit.collection, &edit.id);
                return Err(format!(
                    "the edit of {collection}/{id} needs at least one op"
                ));
            }
            for op in &edit.ops {
                self.op(&edit.collection, op)?;
            }
        }
        Ok(())
    }

    fn op(&self, collection: &str, op: &OpSpec) -> Result<(), String> {
        let mut versions = self.family.iter();
        match versions.any(|schema| op.read(collection, schema).is_ok()) {
            true => Ok(()),
            false => op.read(collection, self.family.first()).map(|_| ()),
        }
    }
}

fn at_most(what: &str, number: u64, most: u64) -> Result<(), String> {
    match number <= most {
        true => Ok(()),
        false => Err(format!("{what} {number} is out of bounds; at most {most}")),
    }
}
