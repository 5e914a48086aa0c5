//! Feature flags: when, and on which devices, people may write a field.
//!
//! A field's own flags steer local writes only: before `since`, and on a device outside the `rollout`,
//! the field is not asked for and not taken; what others wrote is shown, and merges, as ever. After
//! `until` a write is taken and answered with a warning. So flags never make replicas differ.
//!
//! A `trial` is another policy for some writes. Which policy holds must be the same on every device, so
//! it is judged by signed data alone: by the time and the log of the newest write that stands.

pub use jiff::civil::Date;

use crate::hlc::Timestamp;
use crate::ident::{DeviceId, LogId};
use crate::schema::{Field, FieldError, MergePolicy};

/// The flags of a field or of a trial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// The first day.
    pub since: Option<Date>,
    /// The last day.
    pub until: Option<Date>,
    /// How many percent of the devices take part; all if absent.
    pub rollout: Option<u8>,
}

/// Another policy for writes that its flags admit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trial {
    /// The policy.
    pub merge: MergePolicy,
    /// When and where.
    pub flags: Flags,
}

/// Whether a device lets people write a field today.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    /// It does.
    Open,
    /// Not before that day.
    NotYet {
        /// The first day.
        since: Date,
    },
    /// The device is not among the first to get it.
    NotInRollout {
        /// How many percent of the devices are.
        percent: u8,
    },
    /// It does, with a warning: people were to stop after that day.
    Deprecated {
        /// The last day.
        until: Date,
    },
}

/// Whether that device lets people write the field on that day.
pub fn availability(field: &Field, device: &DeviceId, today: Date) -> Availability {
    let flags = &field.flags;
    if let Some(since) = flags.since.filter(|&since| today < since) {
        return Availability::NotYet { since };
    }
    if let Some(percent) = flags.rollout
        && !is_among(percent, &device.0, &field.key)
    {
        return Availability::NotInRollout { percent };
    }
    match flags.until.filter(|&until| today > until) {
        Some(until) => Availability::Deprecated { until },
        None => Availability::Open,
    }
}

impl Availability {
    /// Whether the field may be written.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Open | Self::Deprecated { .. })
    }

    /// Why the field may not be written, or should not be.
    pub fn error(self, field: &str) -> Option<FieldError> {
        let (code, message) = match self {
            Self::Open => return None,
            Self::NotYet { since } => (
                "not_yet",
                format!("{field} is in use from {since}; leave it out until then"),
            ),
            Self::NotInRollout { percent } => (
                "not_yet",
                format!(
                    "{field} is tried on {percent} % of the devices and this is not one of them; leave it out"
                ),
            ),
            Self::Deprecated { until } => (
                "deprecated",
                format!(
                    "{field} was in use until {until}; it is taken, but use what has replaced it"
                ),
            ),
        };
        Some(FieldError::new(field, code, message))
    }
}

impl Trial {
    /// Whether a write of that time and log falls under the trial.
    pub(crate) fn admits(&self, hlc: Timestamp, log: LogId, key: &str) -> bool {
        let Some(day) = day(hlc) else {
            return false;
        };
        let Flags {
            since,
            until,
            rollout,
        } = self.flags;
        since.is_none_or(|since| day >= since)
            && until.is_none_or(|until| day <= until)
            && rollout.is_none_or(|percent| is_among(percent, &log.0, key))
    }
}

/// The day in UTC.
pub fn day(hlc: Timestamp) -> Option<Date> {
    let ms = i64::try_from(hlc.ms()).ok()?;
    let moment = jiff::Timestamp::from_millisecond(ms).ok()?;
    Some(jiff::tz::Offset::UTC.to_datetime(moment).date())
}

/// Whether that one is among the percent that take part. It is drawn anew for each stored key, so that
/// it is not always the same devices that try what is new.
fn is_among(percent: u8, who: &[u8], key: &str) -> bool {
    let mut hasher = blake3::Hasher::new_derive_key("fieldmesh rollout v1");
    hasher.update(&(who.len() as u64).to_le_bytes());
    hasher.update(who);
    hasher.update(key.as_bytes());
    let mut drawn = [0; 8];
    drawn.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    u64::from_le_bytes(drawn) % 100 < u64::from(percent)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Schema;

    fn field(flags: &str) -> Field {
        let text = format!(
            "schema = \"s\"\nversion = 1\n[collections.c.fields]\na = {{ type = \"text\"{flags} }}"
        );
        let schema = Schema::parse(&text).unwrap_or_else(|errors| panic!("{errors}"));
        schema.collections["c"].fields["a"].clone()
    }

    fn on(flags: &str, today: &str) -> Availability {
        availability(&field(flags), &DeviceId([1; 32]), today.parse().unwrap())
    }

    #[test]
    fn a_field_opens_on_its_first_day_and_is_deprecated_after_its_last() {
        const FLAGS: &str = ", since = \"2027-01-01\", until = \"2027-06-30\"";
        assert!(!on(FLAGS, "2026-12-31").is_open());
        assert_eq!(on(FLAGS, "2027-01-01"), Availability::Open);
        assert_eq!(on(FLAGS, "2027-06-30"), Availability::Open);
        let until = "2027-06-30".parse().unwrap();
        assert_eq!(on(FLAGS, "2027-07-01"), Availability::Deprecated { until });
        assert_eq!(on("", "2027-07-01"), Availability::Open);
    }

    #[test]
    fn a_rollout_takes_in_about_its_share_of_devices_and_never_gives_one_up() {
        let today = "2027-01-01".parse().unwrap();
        let share = |percent: u8| -> Vec<u8> {
            let field = field(&format!(", rollout = {percent}"));
            let devices = (0..=255)
                .filter(|&number| availability(&field, &DeviceId([number; 32]), today).is_open());
            devices.collect()
        };
        let (ten, half) = (share(10), share(50));
        assert!((10..50).contains(&ten.len()), "{}", ten.len());
        assert!((90..170).contains(&half.len()), "{}", half.len());
        assert!(ten.iter().all(|device| half.contains(device)));
        assert_eq!(share(100).len(), 256);
    }
}
