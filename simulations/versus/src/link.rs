//! A link between two ends, in virtual time: rate, delay and loss, and a count of what went over it.
//!
//! Loss is what a reliable transport makes of it: a lost packet comes one round trip later, and everything
//! behind it waits. The transport's own headers and acknowledgements are not counted here, for anybody.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::watch;

/// Payload of one packet.
const PACKET_BYTES: usize = 1200;

/// There and back on the links that have a delay, in seconds.
const ROUND_TRIP: f64 = 0.6;

/// How long a meeting lasts after all has been said, in seconds: the delays of protocols pass in it.
const QUIET: f64 = 10.0;

/// The links that every system is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Link {
    /// Takes no time.
    Instant,
    /// Takes time and has no rate: what passes on it is counted in round trips.
    Distant,
    /// 64 kbit/s each way, 600 ms there and back, one packet in twenty lost.
    Rural,
}

impl Link {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Instant => "instant",
            Self::Distant => "distant",
            Self::Rural => "rural",
        }
    }

    fn bytes_per_second(self) -> f64 {
        match self {
            Self::Instant | Self::Distant => f64::INFINITY,
            Self::Rural => 8_000.0,
        }
    }

    /// There and back, in seconds.
    pub fn round_trip(self) -> f64 {
        match self {
            Self::Instant => 0.0,
            Self::Distant | Self::Rural => ROUND_TRIP,
        }
    }

    /// The share of packets that are lost.
    fn loss(self) -> f64 {
        match self {
            Self::Instant | Self::Distant => 0.0,
            Self::Rural => 0.05,
        }
    }
}

/// What has gone over a link.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traffic {
    /// Bytes from the end that has the news to the other, and back.
    pub bytes: [u64; 2],
    /// Messages in all.
    pub messages: u64,
    /// Virtual seconds until the news had arrived, or, if there was none, the last message.
    pub seconds: f64,
}

impl Traffic {
    /// Counts a message sent by `from`.
    pub fn count(&mut self, from: usize, bytes: usize) {
        self.bytes[from] += bytes as u64;
        self.messages += 1;
        watch::said(bytes);
    }
}

/// When the messages of one direction arrive.
#[derive(Clone, Debug)]
pub struct Lane {
    link: Link,
    free_at: f64,
    state: u64,
}

impl Lane {
    /// An idle lane from this end.
    pub fn new(link: Link, from: usize) -> Self {
        Self {
            link,
            free_at: 0.0,
            state: 11 + from as u64,
        }
    }

    /// When a message that is sent now arrives.
    pub fn arrival(&mut self, now: f64, bytes: usize) -> f64 {
        let mut at = self.free_at.max(now) + bytes as f64 / self.link.bytes_per_second();
        for _ in 0..bytes.div_ceil(PACKET_BYTES) {
            if self.draw() < self.link.loss() {
                at += self.link.round_trip();
            }
        }
        self.free_at = at;
        at + self.link.round_trip() / 2.0
    }

    fn draw(&mut self) -> f64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// One end of a talk, driven by its messages. Times are virtual seconds since the talk began.
pub trait Side {
    /// The link is up: what to say first.
    fn open(&mut self, now: f64) -> Vec<Vec<u8>>;
    /// A message has arrived: what to say to it.
    fn receive(&mut self, now: f64, message: Vec<u8>) -> Vec<Vec<u8>>;
    /// A number that grows with all news that this end takes in.
    fn taken(&self) -> u64;
    /// When this end wants to be woken.
    fn due(&self) -> Option<f64> {
        None
    }
    /// It is due.
    fn wake(&mut self, _now: f64) -> Vec<Vec<u8>> {
        Vec::new()
    }
}

/// Lets two ends talk until both are silent.
pub fn talk(link: Link, a: &mut impl Side, b: &mut impl Side) -> Traffic {
    let mut talk = Talk::new(link);
    let taken_at_first = a.taken() + b.taken();
    let mut taken = taken_at_first;
    let mut last_word = 0.0;
    let said = [a.open(0.0), b.open(0.0)];
    for (from, messages) in said.into_iter().enumerate() {
        talk.send(from, messages, false);
    }
    while let Some(event) = talk.next(a.due(), b.due()) {
        let (from, messages, is_late) = match event {
            Event::Arrived {
                to: 0,
                message,
                is_late,
            } => (0, a.receive(talk.now, message), is_late),
            Event::Arrived {
                message, is_late, ..
            } => (1, b.receive(talk.now, message), is_late),
            Event::Due(0) => (0, a.wake(talk.now), true),
            Event::Due(_) => (1, b.wake(talk.now), true),
        };
        if !is_late {
            last_word = talk.now;
        }
        if a.taken() + b.taken() > taken {
            taken = a.taken() + b.taken();
            talk.traffic.seconds = talk.now;
        }
        talk.send(from, messages, is_late);
    }
    if taken == taken_at_first {
        talk.traffic.seconds = last_word;
    }
    talk.traffic
}

enum Event {
    /// `is_late`: it goes back to something that an end said when it was woken, such as book-keeping.
    Arrived {
        to: usize,
        message: Vec<u8>,
        is_late: bool,
    },
    Due(usize),
}

struct Talk {
    now: f64,
    lanes: [Lane; 2],
    /// By time and number. Times order as their bits do, because none is negative.
    under_way: BTreeMap<(u64, u64), (usize, Vec<u8>, bool)>,
    number: u64,
    last_arrival: f64,
    traffic: Traffic,
}

impl Talk {
    fn new(link: Link) -> Self {
        Self {
            now: 0.0,
            lanes: [0, 1].map(|from| Lane::new(link, from)),
            under_way: BTreeMap::new(),
            number: 0,
            last_arrival: 0.0,
            traffic: Traffic::default(),
        }
    }

    fn send(&mut self, from: usize, messages: Vec<Vec<u8>>, is_late: bool) {
        for message in messages {
            self.traffic.count(from, message.len());
            let at = self.lanes[from].arrival(self.now, message.len());
            self.number += 1;
            let key = (at.to_bits(), self.number);
            self.under_way.insert(key, (1 - from, message, is_late));
        }
    }

    /// What happens next, unless both ends have been silent for long.
    fn next(&mut self, due_a: Option<f64>, due_b: Option<f64>) -> Option<Event> {
        let dues = [(due_a, 0), (due_b, 1)];
        let dues = dues.into_iter().filter_map(|(due, end)| Some((due?, end)));
        let due = dues.min_by(|one, other| one.0.total_cmp(&other.0));
        let arrives = self
            .under_way
            .keys()
            .next()
            .map(|(at, _)| f64::from_bits(*at));
        if let Some((due, end)) = due
            && arrives.is_none_or(|at| due < at)
            && due <= self.last_arrival + QUIET
        {
            self.now = self.now.max(due);
            return Some(Event::Due(end));
        }
        let ((at, _), (to, message, is_late)) = self.under_way.pop_first()?;
        self.now = self.now.max(f64::from_bits(at));
        self.last_arrival = self.now;
        Some(Event::Arrived {
            to,
            message,
            is_late,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends messages of these sizes, and counts what arrives.
    struct End(Vec<usize>, u64);

    impl Side for End {
        fn open(&mut self, _: f64) -> Vec<Vec<u8>> {
            self.0.iter().map(|&bytes| vec![0; bytes]).collect()
        }

        fn receive(&mut self, _: f64, _: Vec<u8>) -> Vec<Vec<u8>> {
            self.1 += 1;
            Vec::new()
        }

        fn taken(&self) -> u64 {
            self.1
        }
    }

    #[test]
    fn a_message_takes_half_a_round_trip_and_no_time_by_its_size_on_the_distant_link() {
        let traffic = talk(
            Link::Distant,
            &mut End(vec![9_000, 9], 0),
            &mut End(vec![], 0),
        );

        assert_eq!(traffic.bytes, [9_009, 0]);
        assert_eq!(traffic.seconds, ROUND_TRIP / 2.0);
    }

    #[test]
    fn the_rural_link_carries_less_than_its_rate_because_packets_are_lost() {
        let traffic = talk(
            Link::Rural,
            &mut End(vec![1_200; 1_000], 0),
            &mut End(vec![], 0),
        );

        let loss_free = 1_200.0 * 1_000.0 / 8_000.0;
        assert!(
            (loss_free * 1.1..loss_free * 1.4).contains(&traffic.seconds),
            "{}",
            traffic.seconds
        );
    }
}
