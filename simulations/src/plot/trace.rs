//! Reads a trace: JSON lines, the first of which tells the world.
//!
//! Only what the picture needs is kept, so a trace may be longer than memory: frames are summed into steps of
//! the time axis and entries held are kept per step.

use std::collections::BTreeMap;
use std::io::{BufRead, Read};

use crdt_schema::json_line::complaint;

use crate::link::LinkClass;
use crate::time::DAY_MS;
use crate::trace::{Line, TraceDevice};

/// Longest line, in bytes. The first one names every device.
const LINE_BYTES_MAX: usize = 4 << 20;
/// Most devices of a world.
const DEVICES_MAX: usize = 10_000;
/// Longest name of a device, in bytes.
const NAME_BYTES_MAX: usize = 256;
/// Most contacts and faults that are kept.
const MARKS_MAX: usize = 2_000_000;
/// Longest run: a hundred years.
const HORIZON_MS_MAX: u64 = 100 * 366 * DAY_MS;
/// Into how many steps the time axis is divided.
pub(super) const STEPS: usize = 480;

/// Why a trace cannot be drawn. Lines are counted from 1.
#[derive(Debug, thiserror::Error)]
pub enum PlotError {
    /// It could not be read.
    #[error("trace, line {line}: it cannot be read; check the file and the disk")]
    Unreadable {
        /// The line.
        line: usize,
        /// Why.
        source: std::io::Error,
    },
    /// A line is not what a trace says.
    #[error("trace, line {line}: {what}")]
    Damaged {
        /// The line.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
}

/// Two devices that could talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Contact {
    pub(super) at_ms: u64,
    pub(super) end_ms: u64,
    pub(super) a: usize,
    pub(super) b: usize,
    pub(super) class: LinkClass,
}

/// Something that went wrong with a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) at_ms: u64,
    pub(super) kind: String,
    pub(super) device: usize,
}

/// What the picture needs to know of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Trace {
    pub(super) devices: Vec<TraceDevice>,
    pub(super) horizon_ms: u64,
    pub(super) contacts: Vec<Contact>,
    pub(super) faults: Vec<Fault>,
    /// (device, step) → entries held at the end of the step, where that changed.
    pub(super) held: Vec<BTreeMap<usize, u64>>,
    /// (smaller device, greater device) → frame bytes, both ways.
    pub(super) links: BTreeMap<(usize, usize), u64>,
    /// Frame bytes in each step.
    pub(super) bytes: Vec<u64>,
    pub(super) settled_ms: Option<u64>,
    /// The contacts that have begun, with how many of a pair and class are open at once: they are drawn as one.
    open: BTreeMap<(usize, usize, LinkClass), (u64, usize)>,
    last_ms: u64,
}

impl Trace {
    /// Reads a whole trace.
    pub(super) fn read(mut lines: impl BufRead) -> Result<Self, PlotError> {
        let mut trace = Self::default();
        let mut text = Vec::new();
        for line in 1.. {
            text.clear();
            let mut limited = (&mut lines).take(LINE_BYTES_MAX as u64 + 1);
            let read = limited.read_until(b'\n', &mut text);
            if read.map_err(|source| PlotError::Unreadable { line, source })? == 0 {
                break;
            }
            let damaged = |what: String| PlotError::Damaged { line, what };
            if text.len() > LINE_BYTES_MAX {
                return Err(damaged(format!("it is longer than {LINE_BYTES_MAX} bytes")));
            }
            let parsed = serde_json::from_slice(&text).map_err(|error| {
                damaged(format!("it is no event of a trace: {}", complaint(&error)))
            })?;
            trace.take(parsed).map_err(damaged)?;
        }
        trace.ended()
    }

    /// The trace, when its last line has been taken.
    pub(super) fn ended(mut self) -> Result<Self, PlotError> {
        if self.devices.is_empty() {
            let what = "the trace is empty; its first line must be the world".to_owned();
            return Err(PlotError::Damaged { line: 1, what });
        }
        self.close_contacts();
        Ok(self)
    }

    /// Takes the next line.
    pub(super) fn take(&mut self, line: Line) -> Result<(), String> {
        if let Line::World {
            devices,
            horizon_ms,
        } = line
        {
            return self.take_world(devices, horizon_ms);
        }
        if self.devices.is_empty() {
            return Err("the first line must be the world".to_owned());
        }
        match line {
            Line::World { .. } => Ok(()),
            Line::ContactStart { t_ms, a, b, class } => {
                self.check(t_ms, &[a, b])?;
                self.begin_contact(t_ms, (a.min(b), a.max(b)), class)
            }
            Line::ContactEnd { t_ms, a, b, class } => {
                self.check(t_ms, &[a, b])?;
                self.end_contact(t_ms, (a.min(b), a.max(b)), class)
            }
            Line::Frame {
                t_ms,
                from,
                to,
                bytes,
            } => {
                self.check(t_ms, &[from, to])?;
                let step = self.step(t_ms);
                add(&mut self.bytes[step], bytes)?;
                add(
                    self.links.entry((from.min(to), from.max(to))).or_default(),
                    bytes,
                )
            }
            Line::Saved {
                t_ms,
                device,
                entries,
            } => {
                self.check(t_ms, &[device])?;
                let step = self.step(t_ms);
                self.held[device].insert(step, entries);
                Ok(())
            }
            Line::Fault { t_ms, kind, device } => {
                self.check(t_ms, &[device])?;
                self.take_fault(t_ms, kind.into_owned(), device)
            }
            Line::Settled { t_ms } => {
                self.check(t_ms, &[])?;
                self.settled_ms = Some(t_ms);
                Ok(())
            }
        }
    }

    fn take_world(&mut self, devices: Vec<TraceDevice>, horizon_ms: u64) -> Result<(), String> {
        if !self.devices.is_empty() {
            return Err("the world is told twice".to_owned());
        }
        if !(1..=DEVICES_MAX).contains(&devices.len()) {
            let count = devices.len();
            return Err(format!("{count} devices; there must be 1 to {DEVICES_MAX}"));
        }
        if !(1..=HORIZON_MS_MAX).contains(&horizon_ms) {
            return Err(format!("horizon_ms must be 1 to {HORIZON_MS_MAX}"));
        }
        if let Some(long) = devices.iter().find(|d| d.name.len() > NAME_BYTES_MAX) {
            let bytes = long.name.len();
            return Err(format!("a name of {bytes} bytes; at most {NAME_BYTES_MAX}"));
        }
        self.held = vec![BTreeMap::new(); devices.len()];
        self.bytes = vec![0; STEPS];
        self.devices = devices;
        self.horizon_ms = horizon_ms;
        Ok(())
    }

    /// Whether the event is in order and about devices of this world.
    fn check(&mut self, t_ms: u64, devices: &[usize]) -> Result<(), String> {
        if self.settled_ms.is_some() {
            return Err("an event after the run has settled".to_owned());
        }
        if t_ms < self.last_ms {
            return Err(format!("time goes back from {} to {t_ms} ms", self.last_ms));
        }
        if t_ms > HORIZON_MS_MAX {
            return Err(format!("t_ms must be at most {HORIZON_MS_MAX}"));
        }
        self.last_ms = t_ms;
        let count = self.devices.len();
        match devices {
            [a, b] if a == b => Err(format!("device {a} cannot meet itself")),
            devices => match devices.iter().find(|device| **device >= count) {
                Some(device) => Err(format!("device {device} of {count}")),
                None => Ok(()),
            },
        }
    }

    fn begin_contact(
        &mut self,
        at_ms: u64,
        (a, b): (usize, usize),
        class: LinkClass,
    ) -> Result<(), String> {
        if self.open.len() == MARKS_MAX {
            return Err(format!("more than {MARKS_MAX} contacts"));
        }
        self.open.entry((a, b, class)).or_insert((at_ms, 0)).1 += 1;
        Ok(())
    }

    fn end_contact(
        &mut self,
        end_ms: u64,
        (a, b): (usize, usize),
        class: LinkClass,
    ) -> Result<(), String> {
        let Some((at_ms, count)) = self.open.get_mut(&(a, b, class)) else {
            return Err("a contact ends that has not begun".to_owned());
        };
        let at_ms = *at_ms;
        *count -= 1;
        if *count > 0 {
            return Ok(());
        }
        self.open.remove(&(a, b, class));
        if self.contacts.len() == MARKS_MAX {
            return Err(format!("more than {MARKS_MAX} contacts"));
        }
        self.contacts.push(Contact {
            at_ms,
            end_ms,
            a,
            b,
            class,
        });
        Ok(())
    }

    fn take_fault(&mut self, at_ms: u64, kind: String, device: usize) -> Result<(), String> {
        if self.faults.len() == MARKS_MAX {
            return Err(format!("more than {MARKS_MAX} faults"));
        }
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if kind.is_empty() || kind.len() > 40 || !kind.chars().all(is_word) {
            return Err("the kind of a fault must be a short word".to_owned());
        }
        self.faults.push(Fault {
            at_ms,
            kind,
            device,
        });
        Ok(())
    }

    /// A run may end during contacts.
    fn close_contacts(&mut self) {
        let end_ms = self.last_ms;
        for ((a, b, class), (at_ms, _)) in std::mem::take(&mut self.open) {
            self.contacts.push(Contact {
                at_ms,
                end_ms,
                a,
                b,
                class,
            });
        }
    }

    /// The step of the time axis in which a moment lies; later moments count to the last one.
    pub(super) fn step(&self, t_ms: u64) -> usize {
        let step = t_ms as u128 * STEPS as u128 / self.horizon_ms as u128;
        (step as usize).min(STEPS - 1)
    }

    /// The most entries that any device ever held; at least 1.
    pub(super) fn entries(&self) -> u64 {
        let held = self.held.iter().flat_map(BTreeMap::values);
        held.copied().max().unwrap_or(0).max(1)
    }
}

fn add(sum: &mut u64, bytes: u64) -> Result<(), String> {
    *sum = sum
        .checked_add(bytes)
        .ok_or_else(|| "more bytes than can be counted".to_owned())?;
    Ok(())
}
