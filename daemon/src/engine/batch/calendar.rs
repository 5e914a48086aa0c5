//! Which fields this device lets people write today: the schema's flags, for local writes only.
//!
//! The day is that of the wall clock at the write, in UTC. What others wrote is never judged here.

use crdt_schema::flags::{Availability, Date, availability, day};
use crdt_schema::hlc::Timestamp;
use crdt_schema::ident::DeviceId;
use crdt_schema::op::Op;
use crdt_schema::schema::{Collection, Field, FieldError};

use super::LocalCommit;

/// A device on a day.
#[derive(Clone, Copy, Debug)]
pub(super) struct Calendar {
    device: DeviceId,
    today: Date,
}

impl Calendar {
    pub(super) fn of(commit: &LocalCommit) -> Self {
        Self {
            device: commit.log.device,
            // A clock beyond all calendars shows the last day of them.
            today: day(Timestamp::from_ms(commit.unix_ms)).unwrap_or(Date::MAX),
        }
    }

    /// Whether people may write the field.
    pub(super) fn is_open(&self, field: &Field) -> bool {
        self.of_field(field).is_open()
    }

    /// Why ops that people asked for may not be made. A review of such a field may be answered: its values
    /// are there already.
    pub(super) fn refusals(&self, collection: &Collection, ops: &[Op]) -> Vec<FieldError> {
        let asked = ops.iter().filter(|op| !matches!(op, Op::Resolve { .. }));
        self.errors(collection, asked, |availability| !availability.is_open())
    }

    /// What people should know about ops that are made.
    pub(super) fn warnings(&self, collection: &Collection, ops: &[Op]) -> Vec<FieldError> {
        self.errors(collection, ops.iter(), Availability::is_open)
    }

    fn errors<'o>(
        &self,
        collection: &Collection,
        ops: impl Iterator<Item = &'o Op>,
        told: impl Fn(Availability) -> bool,
    ) -> Vec<FieldError> {
        let fields = ops.filter_map(|op| collection.field_by_key(op.key()?));
        let mut errors: Vec<FieldError> = fields
            .map(|field| (field, self.of_field(field)))
            .filter(|(_, availability)| told(*availability))
            .filter_map(|(field, availability)| availability.error(&field.name))
            .collect();
        // A set takes one op for each element.
        errors.dedup();
        errors
    }

    fn of_field(&self, field: &Field) -> Availability {
        availability(field, &self.device, self.today)
    }
}
