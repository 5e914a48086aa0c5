//! The world: a queue of events in virtual time, devices, links and people.

use std::collections::BTreeMap;
use std::fmt;

use crdt_schema::ident::SpaceName;
use crdt_schema::op::Op;
use crdt_schema::value::Value;
use fieldmesh::engine::batch::{LocalEdit, SessionId, WriteMode};
use fieldmesh::engine::input::{Input, LocalWrite, Now};

use crate::check;
use crate::device::{Ask, Device, device_id};
use crate::disk::Disk;
use crate::draw::Draw;
use crate::ledger::Ledger;

/// The collection of the clinic schema that people write to.
pub const COLLECTION: &str = "patient";

/// Virtual milliseconds that a durable write takes.
const COMMIT_MS: u64 = 5;
/// Virtual bytes a link carries in a millisecond: 64 kbit/s.
const LINK_BYTES_PER_MS: u64 = 8;
/// One-way delay of a link, in virtual milliseconds.
const LINK_DELAY_MS: u64 = 50;
/// How long a fleet may take to settle once faults have stopped: an hour.
const SETTLE_MS: u64 = 3_600_000;
/// People share this many records, so that they collide.
const RECORDS: u64 = 6;

/// What a run is made of.
#[derive(Clone, Debug)]
pub struct Options {
    /// Everything random about the run follows from it.
    pub seed: u64,
    /// How many devices.
    pub devices: usize,
    /// How many writes people try.
    pub writes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 1,
            devices: 3,
            writes: 60,
        }
    }
}

/// What a run that held amounted to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Acknowledged writes.
    pub saved: usize,
    /// Refused writes.
    pub refused: u64,
    /// Kills of a device.
    pub kills: u64,
    /// Links cut while a session was open.
    pub cuts: u64,
    /// Reviews open at the end.
    pub reviews: usize,
    /// Frame bytes sent.
    pub bytes: u64,
    /// Virtual milliseconds from the end of the faults until the fleet had settled.
    pub settled_ms: u64,
    /// Digest of every event: equal for equal seeds.
    pub digest: String,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "saved {} refused {} kills {} cuts {} reviews {} bytes {} settled {} ms digest {}",
            self.saved,
            self.refused,
            self.kills,
            self.cuts,
            self.reviews,
            self.bytes,
            self.settled_ms,
            &self.digest[..16]
        )
    }
}

#[derive(Clone, Debug)]
enum Event {
    Write(u64),
    Toggle {
        link: usize,
    },
    Kill {
        device: usize,
    },
    Frame {
        device: usize,
        session: SessionId,
        bytes: Vec<u8>,
    },
    Stored {
        device: usize,
        life: u64,
    },
    Wake {
        device: usize,
        life: u64,
    },
}

struct Link {
    ends: [usize; 2],
    /// The session's names at both ends while the link is up.
    sessions: Option<[SessionId; 2]>,
    /// When each direction is free again.
    free_at: [u64; 2],
}

struct World {
    draw: Draw,
    now: u64,
    sequence: u64,
    queue: BTreeMap<(u64, u64), Event>,
    devices: Vec<Device>,
    disks: Vec<Disk>,
    lives: Vec<u64>,
    links: Vec<Link>,
    next_session: SessionId,
    ledger: Ledger,
    pending: BTreeMap<u64, (usize, Option<(String, i64)>)>,
    digest: blake3::Hasher,
    outcome: Outcome,
}

/// Plays one run.
///
/// # Errors
/// What did not hold, in words.
pub fn run(options: &Options) -> Result<Outcome, String> {
    let mut world = World::new(options)?;
    let faults_end = world.plan(options);
    while world.now < faults_end && world.step()? {}
    world.heal();
    let healed_at = world.now;
    while !world.settled() {
        if world.now > healed_at + SETTLE_MS || !world.step()? {
            check::convergence(&world.devices).map_err(|why| format!("did not settle: {why}"))?;
            break;
        }
    }
    check::convergence(&world.devices)?;
    check::nothing_lost(&world.devices, &world.ledger)?;
    check::nothing_refused(&world.devices)?;
    check::counters(&world.devices, &world.ledger)?;
    world.outcome.reviews = check::reviews(&world.devices)?;
    world.outcome.settled_ms = world.now - healed_at;
    world.outcome.saved = world.ledger.saved.len();
    world.outcome.refused = world.ledger.refused;
    world.outcome.digest = world.digest.finalize().to_hex().to_string();
    Ok(world.outcome)
}

impl World {
    fn new(options: &Options) -> Result<Self, String> {
        let draw = Draw::new(options.seed);
        let disks: Vec<Disk> = (0..options.devices).map(|_| Disk::default()).collect();
        let devices = disks
            .iter()
            .enumerate()
            .map(|(number, disk)| Device::start(number, 0, disk, &draw))
            .collect::<Result<_, _>>()?;
        let pairs =
            (0..options.devices).flat_map(|a| (a + 1..options.devices).map(move |b| [a, b]));
        let links = pairs
            .map(|ends| Link {
                ends,
                sessions: None,
                free_at: [0; 2],
            })
            .collect();
        let empty = Outcome {
            saved: 0,
            refused: 0,
            kills: 0,
            cuts: 0,
            reviews: 0,
            bytes: 0,
            settled_ms: 0,
            digest: String::new(),
        };
        Ok(Self {
            draw,
            now: 1,
            sequence: 0,
            queue: BTreeMap::new(),
            devices,
            lives: vec![0; disks.len()],
            disks,
            links,
            next_session: 1,
            ledger: Ledger::default(),
            pending: BTreeMap::new(),
            digest: blake3::Hasher::new(),
            outcome: empty,
        })
    }

    /// Puts people's writes and the faults into the queue. Returns when the last of them happens.
    fn plan(&mut self, options: &Options) -> u64 {
        let end = options.writes * 2_000 + 10_000;
        for number in 0..options.writes {
            let at = self.draw.number("write at", number, 1..end);
            self.schedule(at, Event::Write(number));
        }
        for number in 0..options.writes {
            let link = self
                .draw
                .number("toggled link", number, 0..self.links.len() as u64)
                as usize;
            let at = self.draw.number("toggle at", number, 1..end);
            self.schedule(at, Event::Toggle { link });
        }
        for number in 0..options.writes / 10 {
            let device = self
                .draw
                .number("killed device", number, 0..self.devices.len() as u64)
                as usize;
            let at = self.draw.number("kill at", number, 1..end);
            self.schedule(at, Event::Kill { device });
        }
        end
    }

    fn schedule(&mut self, at: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((at.max(self.now), self.sequence), event);
    }

    /// Carries out the next event. `false` if there is none.
    fn step(&mut self) -> Result<bool, String> {
        let Some(((at, _), event)) = self.queue.pop_first() else {
            return Ok(false);
        };
        self.now = at;
        self.digest.update(format!("{at} {event:?}\n").as_bytes());
        match event {
            Event::Write(number) => self.write(number),
            Event::Toggle { link } => self.toggle(link),
            Event::Kill { device } => self.kill(device)?,
            Event::Frame {
                device,
                session,
                bytes,
            } => {
                if self.session_is_open(device, session) {
                    self.feed(device, Input::Frame { session, bytes });
                }
            }
            Event::Stored { device, life } if self.lives[device] == life => {
                let report = self.devices[device].write();
                self.feed(device, Input::Committed(report));
            }
            Event::Wake { device, life } if self.lives[device] == life => {
                let due = self.devices[device]
                    .deadline()
                    .is_some_and(|deadline| deadline <= self.now);
                if due {
                    self.feed(device, Input::Timeout);
                }
            }
            // A device that was killed meanwhile has forgotten what it waited for.
            Event::Stored { .. } | Event::Wake { .. } => {}
        }
        Ok(true)
    }

    fn feed(&mut self, device: usize, input: Input) {
        // Wall clocks disagree by up to an hour; only their order within a device is kept.
        let skew = self.draw.number("skew", device as u64, 0..3_600_000);
        let now = Now {
            mono_ms: self.now,
            unix_ms: 1_700_000_000_000 + skew + self.now,
        };
        let asks = self.devices[device].feed(now, input);
        for ask in asks {
            match ask {
                Ask::Send(session, bytes) => self.send(device, session, bytes),
                Ask::Close(session) => self.close(device, session),
                Ask::Answer(request, result) => self.answered(request, result),
                Ask::Store => {
                    let life = self.lives[device];
                    self.schedule(self.now + COMMIT_MS, Event::Stored { device, life });
                }
            }
        }
        if let Some(deadline) = self.devices[device].deadline() {
            let life = self.lives[device];
            self.schedule(deadline, Event::Wake { device, life });
        }
    }

    fn write(&mut self, number: u64) {
        let device = self
            .draw
            .number("writer", number, 0..self.devices.len() as u64) as usize;
        let id = format!("p{}", self.draw.number("record", number, 0..RECORDS));
        let kind = self.draw.number("kind", number, 0..10);
        let word = format!("w{number}");
        let text = |key: &str| Op::Set {
            key: key.to_owned(),
            value: Value::Text(word.clone()),
        };
        let delta = self.draw.number("delta", number, 0..9) as i64 - 2;
        let ops = match kind {
            0..=2 => vec![text("name"), text("notes")],
            3..=4 => vec![text("name"), text("diagnosis")],
            5..=7 => vec![
                text("name"),
                Op::Add {
                    key: "visits".to_owned(),
                    delta,
                },
            ],
            8 => vec![Op::Delete {
                reason: word.clone(),
            }],
            _ => vec![Op::Restore {
                reason: word.clone(),
            }],
        };
        let added = matches!(kind, 5..=7).then(|| (id.clone(), delta));
        self.pending.insert(number, (device, added));
        let edit = LocalEdit {
            collection: COLLECTION.to_owned(),
            id,
            mode: WriteMode::Upsert,
            if_match: None,
            ops,
        };
        let write = LocalWrite {
            request: number,
            space: SpaceName::default(),
            person: String::new(),
            schema_version: 1,
            edits: vec![edit],
            idempotency: None,
        };
        self.feed(device, Input::Local(write));
    }

    fn answered(&mut self, request: u64, result: fieldmesh::engine::input::LocalResult) {
        let Some((_, added)) = self.pending.remove(&request) else {
            return;
        };
        match result {
            Ok(outcome) => {
                self.ledger.saved.insert(outcome.dot);
                if let Some((id, delta)) = added {
                    *self.ledger.added.entry(id).or_default() += delta;
                }
            }
            Err(_) => self.ledger.refused += 1,
        }
    }

    fn send(&mut self, device: usize, session: SessionId, bytes: Vec<u8>) {
        let Some((link, end)) = self.find(device, session) else {
            return;
        };
        self.outcome.bytes += bytes.len() as u64;
        let link = &mut self.links[link];
        let start = link.free_at[end].max(self.now);
        link.free_at[end] = start + bytes.len() as u64 / LINK_BYTES_PER_MS;
        let arrives = link.free_at[end] + LINK_DELAY_MS;
        let Some(sessions) = link.sessions else {
            return;
        };
        let (device, session) = (link.ends[1 - end], sessions[1 - end]);
        self.schedule(
            arrives,
            Event::Frame {
                device,
                session,
                bytes,
            },
        );
    }

    fn find(&self, device: usize, session: SessionId) -> Option<(usize, usize)> {
        self.links.iter().enumerate().find_map(|(number, link)| {
            let end = link.ends.iter().position(|&end| end == device)?;
            (link.sessions?[end] == session).then_some((number, end))
        })
    }

    fn session_is_open(&self, device: usize, session: SessionId) -> bool {
        self.find(device, session).is_some()
    }

    fn close(&mut self, device: usize, session: SessionId) {
        if let Some((link, _)) = self.find(device, session) {
            self.take_down(link);
        }
    }

    fn toggle(&mut self, link: usize) {
        if self.links[link].sessions.is_some() {
            self.outcome.cuts += 1;
            self.take_down(link);
        } else {
            self.bring_up(link);
        }
    }

    fn bring_up(&mut self, link: usize) {
        let sessions = [self.next_session, self.next_session + 1];
        self.next_session += 2;
        let ends = self.links[link].ends;
        self.links[link].sessions = Some(sessions);
        self.links[link].free_at = [self.now; 2];
        for end in 0..2 {
            let device = device_id(ends[1 - end]);
            self.feed(
                ends[end],
                Input::SessionOpened {
                    session: sessions[end],
                    device,
                },
            );
        }
    }

    fn take_down(&mut self, link: usize) {
        let ends = self.links[link].ends;
        let Some(sessions) = self.links[link].sessions.take() else {
            return;
        };
        for end in 0..2 {
            self.feed(
                ends[end],
                Input::SessionClosed {
                    session: sessions[end],
                },
            );
        }
    }

    /// Kills a device without warning: what it had not committed is gone, and so are its sessions.
    fn kill(&mut self, device: usize) -> Result<(), String> {
        self.outcome.kills += 1;
        self.lives[device] += 1;
        // The dead process may not tidy up: what its store does while it is dropped goes to another disk.
        self.disks[device] = self.disks[device].image();
        self.devices[device] =
            Device::start(device, self.lives[device], &self.disks[device], &self.draw)?;
        self.pending.retain(|_, (writer, _)| *writer != device);
        for link in 0..self.links.len() {
            if !self.links[link].ends.contains(&device) {
                continue;
            }
            let Some(sessions) = self.links[link].sessions.take() else {
                continue;
            };
            let end = usize::from(self.links[link].ends[0] == device);
            let other = self.links[link].ends[end];
            self.feed(
                other,
                Input::SessionClosed {
                    session: sessions[end],
                },
            );
        }
        Ok(())
    }

    /// Ends the faults: every link is up from here on.
    fn heal(&mut self) {
        self.queue
            .retain(|_, event| !matches!(event, Event::Toggle { .. } | Event::Kill { .. }));
        for link in 0..self.links.len() {
            if self.links[link].sessions.is_none() {
                self.bring_up(link);
            }
        }
    }

    /// Whether nothing is on its way and every device holds the same.
    fn settled(&self) -> bool {
        let quiet = self
            .queue
            .values()
            .all(|event| matches!(event, Event::Wake { .. }));
        let held = &self.devices[0].fleet().held;
        quiet
            && self
                .devices
                .iter()
                .all(|device| device.fleet().held == *held)
    }
}
