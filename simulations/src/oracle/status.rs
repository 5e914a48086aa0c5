//! What devices say of each other: who holds what (15), and which logs are not exchanged (22).

use crdt_schema::ident::Dot;
use fieldmesh::engine::batch::Held;

use super::shown::{reader, shown};
use super::{Judged, Oracle};
use crate::device::Device;
use crate::plan::Role;
use crate::sometimes::Sometimes;
use crate::world::{Seat, World};

/// What a device believes of others is true: they hold at least what it says they hold. Those who have lost
/// their store are left out until they have met again, and so are copies: two devices go by one name.
pub(super) fn beliefs_are_true(world: &mut World<'_>, number: usize) -> Judged {
    judge_beliefs(world, number, false)
}

fn judge_beliefs(world: &mut World<'_>, number: usize, is_settled: bool) -> Judged {
    let Some(device) = world
        .seats
        .get(&number)
        .and_then(|seat| seat.device.as_ref())
    else {
        return Ok(());
    };
    let (fleet, mut judged) = (device.fleet(), 0);
    for other in world.seats.values().filter(|seat| seat.is_honest()) {
        let Some(peer) = fleet.peers.get(&other.id()) else {
            continue;
        };
        let is_copied = world.is_copied(other.identity);
        let is_left_out = is_copied || (other.has_lost && !(is_settled && peer.connected));
        if other.spec.device == number || is_left_out {
            continue;
        }
        judged += 1;
        // What a peer has moved to a branch it still holds, under a name that this device need not know yet.
        let holds = |name: Dot| {
            let held = other.durable.get(&name.log);
            held.is_some_and(|seq| *seq >= name.seq)
        };
        let mut told = peer.held.iter();
        let too_much = told.find(|(log, seq)| {
            let mut names = world.ledger.names(Dot::new(**log, **seq));
            !names.any(holds)
        });
        if let Some((log, seq)) = too_much {
            let detail = format!(
                "device {number} says that device {} holds {seq} entries of log {log}; it holds {:?}",
                other.spec.device,
                other.durable.get(log)
            );
            return Err((Oracle::Status, detail));
        }
        let (behind, ahead) = (
            excess(&peer.held, &fleet.held),
            excess(&fleet.held, &peer.held),
        );
        if (peer.behind, peer.ahead) != (behind, ahead) {
            let detail = format!(
                "device {number} says {} behind and {} ahead of device {}; it is {behind} and {ahead}",
                peer.behind, peer.ahead, other.spec.device
            );
            return Err((Oracle::Status, detail));
        }
    }
    world.counts.checks.note(Oracle::Status, judged);
    Ok(())
}

/// How many entries `one` has that `other` has not.
fn excess(one: &Held, other: &Held) -> u64 {
    one.iter()
        .map(|(log, seq)| seq.saturating_sub(other.get(log).copied().unwrap_or(0)))
        .sum()
}

pub(super) fn judge(world: &mut World<'_>) -> Judged {
    for number in world.living() {
        judge_beliefs(world, number, true)?;
        synced_is_at_a_hub(world, number)?;
        nothing_refused(world, number)?;
    }
    Ok(())
}

/// A record that is shown as synced is held by somebody who is a hub, or says so.
fn synced_is_at_a_hub(world: &mut World<'_>, number: usize) -> Judged {
    let Some(reader) = reader(world, number) else {
        return Ok(());
    };
    let shown = shown(&reader).map_err(|why| (Oracle::Status, why))?;
    let seat = &world.seats[&number];
    let Some(fleet) = seat.device.as_ref().map(Device::fleet) else {
        return Ok(());
    };
    let may_be_hub = |seat: &&Seat| seat.spec.role == Role::Hub || !seat.is_honest();
    let hubs: Vec<_> = world
        .seats
        .values()
        .filter(may_be_hub)
        .filter_map(|seat| fleet.peers.get(&seat.id()))
        .collect();
    for (key, view) in &shown {
        let is_at = |held: &Held| {
            let mut heads = view.heads.iter();
            heads.all(|dot| held.get(&dot.log).is_some_and(|seq| *seq >= dot.seq))
        };
        if fleet.spread(&view.heads).synced && !hubs.iter().any(|peer| is_at(&peer.held)) {
            let detail = format!(
                "device {number} shows {}/{} as synced, and no hub holds it",
                key.0, key.1
            );
            return Err((Oracle::Status, detail));
        }
    }
    world.counts.checks.note(Oracle::Status, shown.len() as u64);
    Ok(())
}

/// Among honest devices every honest log is exchanged.
fn nothing_refused(world: &mut World<'_>, number: usize) -> Judged {
    let Some(device) = world
        .seats
        .get(&number)
        .and_then(|seat| seat.device.as_ref())
    else {
        return Ok(());
    };
    let fleet = device.fleet().clone();
    for seat in world.seats.values() {
        let Some(peer) = fleet.peers.get(&seat.id()) else {
            continue;
        };
        if !seat.is_honest() && !peer.refused_logs.is_empty() {
            world.reached.note(Sometimes::LiarsLogRefused);
        }
        if peer.clock_suspect {
            world.reached.note(Sometimes::FutureClockSuspected);
        }
        let honest = peer
            .refused_logs
            .iter()
            .find(|(log, _)| world.is_honest_log(log));
        world.counts.checks.note(Oracle::Containment, 1);
        // Of a peer that is not connected the last meeting is shown: what has become of it since is not known.
        if let Some((log, why)) = honest.filter(|_| seat.is_honest() && peer.connected) {
            let detail = format!(
                "device {number} and device {} leave out the honest log {log}: {why}",
                seat.spec.device
            );
            return Err((Oracle::Containment, detail));
        }
    }
    Ok(())
}
