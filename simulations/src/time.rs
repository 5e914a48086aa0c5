//! Spans of virtual time, in milliseconds.

/// A minute.
pub const MINUTE_MS: u64 = 60_000;
/// An hour.
pub const HOUR_MS: u64 = 60 * MINUTE_MS;
/// A day.
pub const DAY_MS: u64 = 24 * HOUR_MS;

/// A span in hours.
pub fn hours(ms: u64) -> f64 {
    ms as f64 / HOUR_MS as f64
}
