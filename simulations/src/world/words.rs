//! What happens in a world, in words: each event names its device, the other one if there is one, and what is done.

use super::World;
use super::event::Event;
use super::wire::end_of;
use crate::plan::{Act, Amid, EditSpec, FaultKind, OpSpec};

impl World<'_> {
    /// The event in words.
    pub(super) fn words(&self, event: &Event) -> String {
        match event {
            Event::ContactStart(number) => self.of_contact(*number, "and", " meet"),
            Event::ContactEnd(number) => self.of_contact(*number, "and", " part"),
            Event::Dial(number) => self.of_contact(*number, "dials", ""),
            Event::Arrive { wire, end, frame } => {
                let (to, from) = self.ends(*wire, *end);
                let bytes = frame.0.len();
                format!("{to} takes in {bytes} bytes of {from} on connection {wire}")
            }
            Event::Hangup { wire, end } => {
                let (device, other) = self.ends(*wire, *end);
                format!("{device} notices the end of connection {wire} with {other}")
            }
            Event::Operation(number) => match self.plan.operations.get(*number) {
                Some(operation) => {
                    format!("device {} {}", operation.device, deed(&operation.act))
                }
                None => format!("operation {number}"),
            },
            Event::Backup(number) => self.of_fault(*number, "is backed up for"),
            Event::Fault(number) => self.of_fault(*number, "suffers"),
            Event::FaultEnd(number) => self.of_fault(*number, "is over with"),
            Event::Gone(device) => format!("device {device} is gone for ever"),
            Event::Boot { device, again } => match again {
                true => format!("device {device} starts, and its power fails again"),
                false => format!("device {device} starts"),
            },
            Event::Write { device, .. } => format!("device {device} begins to write"),
            Event::Commit { device, .. } => format!("device {device} commits"),
            Event::Report { device, .. } => format!("device {device} learns of its commit"),
            Event::Read { device, fetch, .. } => {
                let other = self.peer(fetch.0.session);
                format!("device {device} reads for {other}")
            }
            Event::Fetched {
                device, session, ..
            } => format!("device {device} has read for {}", self.peer(*session)),
            Event::Wake { device, .. } => format!("device {device} wakes"),
            Event::Refresh { device, .. } => format!("device {device} derives views anew"),
        }
    }

    fn of_contact(&self, number: usize, verb: &str, what: &str) -> String {
        let Some(state) = self.contacts.get(number) else {
            return format!("contact {number}");
        };
        let contact = &state.contact;
        let (a, b, class) = (contact.a, contact.b, contact.class.name());
        format!("device {a} {verb} device {b}{what} over {class}")
    }

    fn of_fault(&self, number: usize, verb: &str) -> String {
        let Some(fault) = self.plan.faults.get(number) else {
            return format!("fault {number}");
        };
        let (device, kind) = (fault.device, fault_words(&fault.kind));
        format!("device {device} {verb} {kind}")
    }

    /// The device at this end of a connection, and the one at the other.
    pub(super) fn ends(&self, wire: u64, end: usize) -> (String, String) {
        match self.wires.get(&wire) {
            Some(wire) => (
                format!("device {}", wire.ends[end]),
                format!("device {}", wire.ends[1 - end]),
            ),
            None => ("somebody".to_owned(), "somebody".to_owned()),
        }
    }

    /// Who is at the other end of a session.
    fn peer(&self, session: u64) -> String {
        let (wire, end) = end_of(session);
        self.ends(wire, end).1
    }
}

fn fault_words(kind: &FaultKind) -> String {
    let name = kind.name().replace('_', " ");
    match kind {
        FaultKind::Kill { down_ms, amid } | FaultKind::PowerCut { down_ms, amid, .. } => {
            let amid = match amid {
                None => "",
                Some(Amid::Own) => ", in the middle of its next own write",
                Some(Amid::Peers) => ", in the middle of its next write from a peer",
                Some(Amid::Repair) => ", in the middle of its next repair",
            };
            format!("{name} for {down_ms} ms{amid}")
        }
        FaultKind::IgnoredSync { for_ms, .. } | FaultKind::DiskFull { for_ms } => {
            format!("{name} for {for_ms} ms")
        }
        FaultKind::Restore { taken_ms, .. } | FaultKind::RestoreUnnoticed { taken_ms } => {
            format!("{name} of {taken_ms} ms")
        }
        FaultKind::ClockJump { by_ms } => format!("{name} by {by_ms} ms"),
        _ => name,
    }
}

fn deed(act: &Act) -> String {
    match act {
        Act::Write { edits, key } => match key {
            Some(key) => format!("writes under key {key:?}: {}", edits_words(edits)),
            None => format!("writes {}", edits_words(edits)),
        },
        Act::Update { edits } => format!("updates {}", edits_words(edits)),
        Act::Publish { version } => format!("publishes version {version} of the schema"),
        Act::UseSchema { version } => format!("uses version {version} of the schema"),
        Act::Install { version } => format!("has version {version} of the schema installed"),
        Act::Review { place, choice } => {
            format!("answers review {place} of its list with choice {choice}")
        }
        Act::Network { online: true } => "goes online".to_owned(),
        Act::Network { online: false } => "goes offline".to_owned(),
    }
}

fn edits_words(edits: &[EditSpec]) -> String {
    let words = |edit: &EditSpec| {
        let ops: Vec<String> = edit.ops.iter().map(op_words).collect();
        format!("{}/{} ({})", edit.collection, edit.id, ops.join(", "))
    };
    let words: Vec<String> = edits.iter().map(words).collect();
    words.join(", ")
}

fn op_words(op: &OpSpec) -> String {
    match op {
        OpSpec::Set(field, value) => format!("{field} = {value}"),
        OpSpec::Add(field, delta) => format!("{field} {delta:+}"),
        OpSpec::Insert(field, element) => format!("{field} with {element:?}"),
        OpSpec::Remove(field, element) => format!("{field} without {element:?}"),
        OpSpec::Delete(reason) => format!("delete: {reason}"),
        OpSpec::Restore(reason) => format!("restore: {reason}"),
    }
}
