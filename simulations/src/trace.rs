//! What a run tells while it goes on: lines for plots, measures for reports, and notes for people ([`crate::notes`]).

use std::borrow::Cow;
use std::fmt;
use std::io::Write;

use crdt_schema::ident::{Dot, LogId, RecordKey};
use crdt_schema::op::ChangeSet;
use crdt_schema::resolution::Review;
use fieldmesh::store::Reader;
use serde::{Deserialize, Serialize};

use crate::link::LinkClass;
use crate::notes::Part;
use crate::plan::Plan;

/// One line of a trace file, as it is written and read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ev", rename_all = "snake_case")]
pub enum Line {
    /// The first line.
    World {
        /// The devices, in the order of their numbers in the other lines.
        devices: Vec<TraceDevice>,
        /// When the faults stop.
        horizon_ms: u64,
    },
    /// Two devices can reach each other.
    ContactStart {
        /// Virtual milliseconds.
        t_ms: u64,
        /// One.
        a: usize,
        /// The other.
        b: usize,
        /// What carries it.
        class: LinkClass,
    },
    /// They no longer can.
    ContactEnd {
        /// Virtual milliseconds.
        t_ms: u64,
        /// One.
        a: usize,
        /// The other.
        b: usize,
        /// What carried it.
        class: LinkClass,
    },
    /// A frame is sent.
    Frame {
        /// Virtual milliseconds.
        t_ms: u64,
        /// By whom.
        from: usize,
        /// To whom.
        to: usize,
        /// Its length.
        bytes: u64,
    },
    /// A transaction is durable.
    Saved {
        /// Virtual milliseconds.
        t_ms: u64,
        /// Where.
        device: usize,
        /// How many entries the store then holds.
        entries: u64,
    },
    /// Something breaks.
    Fault {
        /// Virtual milliseconds.
        t_ms: u64,
        /// What.
        kind: Cow<'static, str>,
        /// Where.
        device: usize,
    },
    /// The last line: every device holds the same.
    Settled {
        /// Virtual milliseconds.
        t_ms: u64,
    },
}

impl Line {
    /// When it was, in virtual milliseconds.
    pub fn t_ms(&self) -> u64 {
        match self {
            Self::World { .. } => 0,
            Self::ContactStart { t_ms, .. }
            | Self::ContactEnd { t_ms, .. }
            | Self::Frame { t_ms, .. }
            | Self::Saved { t_ms, .. }
            | Self::Fault { t_ms, .. }
            | Self::Settled { t_ms } => *t_ms,
        }
    }
}

/// One device in the first line of a trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceDevice {
    /// Its name.
    pub name: String,
    /// Whether it counts as a durable copy.
    pub hub: bool,
}

/// Something that is counted and not traced.
#[derive(Debug)]
#[expect(missing_docs, reason = "the fields are named as in `Line`")]
pub enum Measured<'a> {
    /// A frame is sent between honest devices.
    Sent {
        t_ms: u64,
        from: usize,
        to: usize,
        class: LinkClass,
        bytes: u64,
    },
    /// A person's write is durable on its device.
    Written {
        t_ms: u64,
        dot: Dot,
        set: &'a ChangeSet,
    },
    /// A device durably holds a log up to there.
    Held {
        t_ms: u64,
        device: usize,
        log: LogId,
        seq: u64,
    },
    /// The reviews that a device lists: when somebody looks at them, and at each day's end.
    Reviews {
        t_ms: u64,
        device: usize,
        open: &'a [(RecordKey, Review)],
    },
    /// A person's answer to a review is saved.
    Answered {
        t_ms: u64,
        device: usize,
        review: &'a str,
    },
    /// What came of something that a person set out to write.
    Told { t_ms: u64, what: Told },
    /// The faults have stopped: what follows is the settling of the fleet, and no part of people's days.
    Horizon { t_ms: u64 },
    /// Every device holds the same, and this is what one of them stores.
    Settled { reader: &'a Reader },
}

/// What a person who set out to write was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It is saved.
    Saved,
    /// It is not, for this reason.
    Refused(&'static str),
    /// Nothing: the device was off, or its version has none of the fields.
    Missed,
}

/// Somebody who watches a run. Watching changes nothing.
pub trait Observer {
    /// Whether [`Self::measure`] is wanted; reading reviews costs time.
    fn wants_measures(&self) -> bool {
        false
    }

    /// Something to be counted.
    fn measure(&mut self, _what: &Measured<'_>) {}

    /// A line of the trace.
    fn trace(&mut self, _line: &Line) {}

    /// Whether [`Self::note`] is wanted; notes cost time.
    fn wants_notes(&self) -> bool {
        false
    }

    /// Something that a person who looks for a cause may want to know, and the part of the plan that it comes from.
    fn note(&mut self, _t_ms: u64, _text: &str, _part: Option<Part>) {}
}

/// Nobody watches.
impl Observer for () {}

/// Watches a run for somebody else and tells how far it is.
pub struct Watched<'t, O> {
    inner: O,
    told: &'t mut dyn FnMut(u64),
}

impl<O: fmt::Debug> fmt::Debug for Watched<'_, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl<'t, O> Watched<'t, O> {
    /// Hands everything to `inner`, and the virtual time of each line of the trace to `told`.
    pub fn new(inner: O, told: &'t mut dyn FnMut(u64)) -> Self {
        Self { inner, told }
    }

    /// Who was handed everything.
    pub fn into_inner(self) -> O {
        self.inner
    }
}

impl<O: Observer> Observer for Watched<'_, O> {
    fn wants_measures(&self) -> bool {
        self.inner.wants_measures()
    }

    fn measure(&mut self, what: &Measured<'_>) {
        self.inner.measure(what);
    }

    fn trace(&mut self, line: &Line) {
        (self.told)(line.t_ms());
        self.inner.trace(line);
    }

    fn wants_notes(&self) -> bool {
        self.inner.wants_notes()
    }

    fn note(&mut self, t_ms: u64, text: &str, part: Option<Part>) {
        self.inner.note(t_ms, text, part);
    }
}

/// Makes a trace what its readers expect: devices are numbered by their place in the plan, which leaves numbers
/// out, and the fleet's settling is the last line.
#[derive(Debug)]
pub struct Renumbered<O> {
    numbers: Vec<usize>,
    is_over: bool,
    inner: O,
}

impl<O> Renumbered<O> {
    /// Hands the lines of a run of `plan` to `inner`.
    pub fn new(plan: &Plan, inner: O) -> Self {
        let mut numbers: Vec<usize> = plan.devices.iter().map(|spec| spec.device).collect();
        numbers.sort_unstable();
        Self {
            numbers,
            is_over: false,
            inner,
        }
    }

    /// Who was handed the lines.
    pub fn into_inner(self) -> O {
        self.inner
    }
}

impl<O: Observer> Observer for Renumbered<O> {
    fn trace(&mut self, line: &Line) {
        let place = |number: &mut usize| {
            if let Ok(place) = self.numbers.binary_search(number) {
                *number = place;
            }
        };
        if self.is_over {
            return;
        }
        let mut line = line.clone();
        match &mut line {
            Line::ContactStart { a, b, .. } | Line::ContactEnd { a, b, .. } => {
                place(a);
                place(b);
            }
            Line::Frame { from, to, .. } => {
                place(from);
                place(to);
            }
            Line::Saved { device, .. } | Line::Fault { device, .. } => place(device),
            Line::World { .. } => {}
            Line::Settled { .. } => self.is_over = true,
        }
        self.inner.trace(&line);
    }
}

/// Writes a trace file.
#[derive(Debug)]
pub struct Writer<W: Write> {
    out: W,
    /// The first error; nothing is written after it.
    error: Option<std::io::Error>,
    /// The last line has been written: what a run does after it to judge itself is no part of it.
    is_over: bool,
}

impl<W: Write> Writer<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self {
            out,
            error: None,
            is_over: false,
        }
    }

    /// What has been written.
    pub fn into_inner(self) -> W {
        self.out
    }

    /// Ends the file.
    ///
    /// # Errors
    /// The first that occurred.
    pub fn finish(mut self) -> std::io::Result<()> {
        match self.error {
            Some(error) => Err(error),
            None => self.out.flush(),
        }
    }
}

impl<W: Write> Observer for Writer<W> {
    fn trace(&mut self, line: &Line) {
        if self.error.is_some() || self.is_over {
            return;
        }
        self.is_over = matches!(line, Line::Settled { .. });
        let written = serde_json::to_writer(&mut self.out, line)
            .map_err(std::io::Error::from)
            .and_then(|()| self.out.write_all(b"\n"));
        self.error = written.err();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_has_one_json_object_a_line() {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out);
        writer.trace(&Line::Fault {
            t_ms: 5,
            kind: "power_cut".into(),
            device: 2,
        });
        writer.trace(&Line::Settled { t_ms: 9 });
        writer.trace(&Line::Settled { t_ms: 10 });
        writer.finish().unwrap();

        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "{\"ev\":\"fault\",\"t_ms\":5,\"kind\":\"power_cut\",\"device\":2}\n{\"ev\":\"settled\",\"t_ms\":9}\n"
        );
    }
}
