//! `cargo bench -p fieldmesh --bench bytes`: what the protocol says, in bytes and round trips.
//!
//! Real engines over real stores, joined by links without a network below them: the frames are counted, each
//! with its kind. A round trip is counted as two deliveries of everything that is under way. Times are not
//! measured here; `daemons` does that. `-- --quick` leaves the large size out.
//!
//! Where the bytes of one changed field go, before compression: signature 64, log 16, the rest of the run's header 4,
//! time 9, record 2, name of the field 8, person 6, value 8, and 12 of counts and tags. The dictionary of the schema
//! and of the logs that both know takes the name and the log: 131 B in a frame become 109 B. The record costs as
//! much whatever its id is: it is that of an earlier edit.

mod mesh;
mod records;

use mesh::{Mesh, Tally};

const TARGET_NONE: u64 = u64::MAX;

/// One line of the table.
fn row(what: &str, size: u64, tally: &Tally, total: u64, target: u64) {
    let verdict = match target {
        TARGET_NONE => String::new(),
        _ if total <= target => format!("≤ {target} B"),
        _ => format!("≤ {target} B  MISSED"),
    };
    println!(
        "{what:<34} {size:>7} {:>8} {:>9} {:>7} {:>9} {:>5}  {verdict}",
        tally.search,
        tally.data,
        tally.acks,
        total,
        tally.round_trips(),
    );
}

fn two_devices(size: u64) {
    let mut mesh = Mesh::new(2);
    let json_bytes = mesh.load(0, size);
    let tally = mesh.meet(0, 1);
    let share = tally.data * 1000 / json_bytes;
    row("first sync", size, &tally, tally.total(), json_bytes / 4);
    println!("    {}.{} % of {json_bytes} B JSON", share / 10, share % 10);

    let tally = mesh.meet(0, 1);
    row("equal stores", size, &tally, tally.total(), 250);

    mesh.update(0, 42);
    let tally = mesh.meet(0, 1);
    row(
        "one field changed",
        size,
        &tally,
        tally.search + tally.data,
        400,
    );

    for number in 0..1_000 {
        mesh.update(0, number);
    }
    let tally = mesh.meet(0, 1);
    row(
        "1,000 one-field updates",
        size,
        &tally,
        tally.search + tally.data,
        15_000,
    );
}

/// Updates of records whose ids no compression shortens: first by the device that made the records, then by
/// another one.
fn random_ids(size: u64) {
    let mut mesh = Mesh::with_random_ids(2);
    mesh.load(0, size);
    mesh.meet(0, 1);
    for (author, what) in [
        (0, "1,000 updates, random ids"),
        (1, "    the same, by another device"),
    ] {
        for number in 0..1_000 {
            mesh.update(author, number);
        }
        let tally = mesh.meet(0, 1);
        row(what, size, &tally, tally.search + tally.data, 15_000);
    }
}

/// So many devices have met device 0 in turn; then ten of them write a hundred changes each. How much search two
/// may take that have never met is set for a hundred only.
fn fleet(devices: usize, target: u64) {
    let mut mesh = Mesh::new(devices + 1);
    for device in 1..=devices {
        mesh.load(device, 1);
        mesh.meet(0, device);
    }
    for device in [1, 2, 3] {
        mesh.meet(0, device);
    }
    for device in 11..=20 {
        for number in 0..100 {
            mesh.update(device, number);
        }
        mesh.meet(0, device);
    }
    let tally = mesh.meet(0, 1);
    row(
        &format!("1,000 changes, 10 of {devices} logs"),
        1_000 + devices as u64,
        &tally,
        tally.search,
        500,
    );
    let tally = mesh.meet(1, 2);
    row(
        "    the same, never met before",
        1_000 + devices as u64,
        &tally,
        tally.search,
        target,
    );
}

/// The first sync over a link whose bytes are dear.
fn metered(size: u64) {
    let mut mesh = Mesh::metered(2);
    let json_bytes = mesh.load(0, size);
    let tally = mesh.meet(0, 1);
    let share = tally.data * 1000 / json_bytes;
    row(
        "first sync, metered",
        size,
        &tally,
        tally.total(),
        json_bytes / 5,
    );
    println!("    {}.{} % of the JSON", share / 10, share % 10);
}

/// A new device meets two at once that both hold everything.
fn two_givers(size: u64) {
    let mut mesh = Mesh::new(3);
    mesh.load(0, size);
    let once = mesh.meet(0, 1).data;
    let tally = mesh.meet_all(&[(0, 2), (1, 2)]);
    row(
        "two full devices met at once",
        size,
        &tally,
        tally.data,
        once * 11 / 10,
    );
}

fn main() {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let sizes: &[u64] = if quick {
        &[1_000, 10_000]
    } else {
        &[1_000, 10_000, 100_000]
    };
    println!(
        "{:<34} {:>7} {:>8} {:>9} {:>7} {:>9} {:>5}  target",
        "what", "records", "search B", "data B", "acks B", "counted B", "trips"
    );
    for &size in sizes {
        two_devices(size);
    }
    random_ids(sizes[0]);
    metered(sizes[1]);
    two_givers(sizes[1]);
    fleet(100, 2_500);
    if !quick {
        fleet(1_000, TARGET_NONE);
    }
}
