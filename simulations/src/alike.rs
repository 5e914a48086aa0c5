//! What both fidelities draw and wait alike, so that a plan gives the same frames at the same moments in both.
//!
//! All draws are keyed by what a line of the plan says, never by its place or by how often something has happened
//! before: without another line they are the same.

use crate::device::case_of;
use crate::draw::{Draw, key};
use crate::link::Lane;
use crate::plan::Contact;

/// Longest time until one side notices that the other is out of reach.
pub(crate) const NOTICE_MS_MAX: u64 = 20_000;
/// Longest time until one side notices that a connection was cut.
pub(crate) const CUT_NOTICE_MS: u64 = 200;
/// How long until others notice that a process or a device is gone.
pub(crate) const KILL_NOTICE_MS: u64 = 50;
pub(crate) const POWER_NOTICE_MS: u64 = 60_000;
/// How long until a device that has started dials those around it.
pub(crate) const STARTED_DIAL_MS: u64 = 500;
/// How often one contact is dialled at most: bounds what those who turn each other away cost.
pub(crate) const DIALS_MAX: u32 = 60;
/// Most batches in one transaction, as in the daemon.
pub(crate) const GROUP_MAX: usize = 512;

/// First and longest wait before dialling again.
const REDIAL_MS: u64 = 1_000;
const REDIAL_MS_MAX: u64 = 60_000;
/// Longest time between a commit and the report of it.
const REPORT_MS_MAX: u64 = 3;

/// Keys the draws of the connection that a contact's `dial`-th dial makes.
pub(crate) fn wire_key(contact: &Contact, dial: u32) -> u64 {
    let Contact { a, b, at_ms, .. } = *contact;
    key(&[a as u64, b as u64, at_ms, u64::from(dial)])
}

/// The two directions of a connection.
pub(crate) fn lanes(contact: &Contact, dial: u32) -> [Lane; 2] {
    let Contact { class, faults, .. } = *contact;
    let wire = wire_key(contact, dial);
    [contact.a, contact.b].map(|sender| {
        let lane = key(&[wire, sender as u64]);
        Lane::new(class, faults, sender, lane)
    })
}

/// How long until one end notices that its connection is dead, within `notice_ms`.
pub(crate) fn notice_ms(draw: &Draw, wire: u64, end: usize, notice_ms: u64) -> u64 {
    let case = key(&[wire, end as u64]);
    draw.number("notice", case, 0..notice_ms.max(1))
}

/// How long until a contact is dialled again after its `dial`-th connection.
pub(crate) fn redial_ms(draw: &Draw, contact: &Contact, dial: u32) -> u64 {
    let wait_ms = (REDIAL_MS << dial.min(6)).min(REDIAL_MS_MAX);
    wait_ms + draw.number("redial", wire_key(contact, dial), 0..REDIAL_MS)
}

/// How long until a device's engine is told of the commit that ends now.
pub(crate) fn report_ms(draw: &Draw, device: usize, now_ms: u64) -> u64 {
    draw.number("report", case_of(device, now_ms), 0..REPORT_MS_MAX)
}
