//! What must hold of a fleet that has settled.

use std::collections::BTreeMap;

use crdt_schema::ident::SpaceName;
use crdt_schema::resolution::RecordView;
use fieldmesh::store::{ListQuery, Reader};

use crate::device::Device;
use crate::ledger::Ledger;
use crate::world::COLLECTION;

/// What one device shows: every record of the simulated collection, deleted ones too.
pub type Shown = BTreeMap<String, RecordView>;

/// Reads what a device shows.
///
/// # Errors
/// The store's reason in words.
pub fn shown(reader: &Reader) -> Result<Shown, String> {
    let query = ListQuery {
        space: SpaceName::default(),
        collection: COLLECTION.to_owned(),
        after: None,
        limit: usize::MAX,
        deleted: true,
    };
    let page = reader
        .list(&query, &|_| true)
        .map_err(|error| error.to_string())?;
    Ok(page
        .records
        .into_iter()
        .map(|record| (record.key.id, record.view))
        .collect())
}

/// Convergence: devices that hold the same entries show the same records and reviews.
pub fn convergence(devices: &[Device]) -> Result<(), String> {
    let first = shown(&devices[0].reader())?;
    for (number, device) in devices.iter().enumerate().skip(1) {
        if device.fleet().held != devices[0].fleet().held {
            return Err(format!(
                "device {number} holds {:?}, device 0 holds {:?}",
                device.fleet().held,
                devices[0].fleet().held
            ));
        }
        let other = shown(&device.reader())?;
        for (id, view) in &first {
            if other.get(id) != Some(view) {
                return Err(format!(
                    "record {id}: device 0 shows {view:?}, device {number} shows {:?}",
                    other.get(id)
                ));
            }
        }
        if other.len() != first.len() {
            return Err(format!(
                "device {number} shows records that device 0 does not"
            ));
        }
    }
    Ok(())
}

/// No lost acknowledged write: every change set that was answered with success is on every device.
pub fn nothing_lost(devices: &[Device], ledger: &Ledger) -> Result<(), String> {
    for (number, device) in devices.iter().enumerate() {
        for dot in &ledger.saved {
            if device
                .fleet()
                .held
                .get(&dot.log)
                .is_none_or(|&seq| seq < dot.seq)
            {
                return Err(format!(
                    "device {number} lacks the acknowledged change set {dot}"
                ));
            }
        }
    }
    Ok(())
}

/// Counters are exact: the sum shown is the sum of the acknowledged additions.
pub fn counters(devices: &[Device], ledger: &Ledger) -> Result<(), String> {
    let shown = shown(&devices[0].reader())?;
    for (id, &sum) in &ledger.added {
        let found = shown
            .get(id)
            .and_then(|view| view.fields.get("visits"))
            .and_then(|v| v.as_i64());
        if found != Some(sum) {
            return Err(format!(
                "record {id} shows {found:?} visits, {sum} were acknowledged"
            ));
        }
    }
    Ok(())
}

/// Containment: among honest devices no log is ever left out of a session.
pub fn nothing_refused(devices: &[Device]) -> Result<(), String> {
    for (number, device) in devices.iter().enumerate() {
        for peer in device.fleet().peers.values() {
            if let Some((log, why)) = peer.refused_logs.first_key_value() {
                return Err(format!(
                    "device {number} and {} leave out log {log}: {why}",
                    peer.name
                ));
            }
        }
    }
    Ok(())
}

/// The review list is the union of the records' reviews.
pub fn reviews(devices: &[Device]) -> Result<usize, String> {
    let mut count = 0;
    for (number, device) in devices.iter().enumerate() {
        let reader = device.reader();
        let listed = reader.reviews().map_err(|error| error.to_string())?;
        let of_records: usize = shown(&reader)?
            .values()
            .map(|view| view.reviews.len())
            .sum();
        if listed.len() != of_records {
            return Err(format!(
                "device {number} lists {} reviews, its records have {of_records}",
                listed.len()
            ));
        }
        count = listed.len();
    }
    Ok(count)
}
