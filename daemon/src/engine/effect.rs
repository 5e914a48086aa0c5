//! The closed list of things the engine may ask for, in one ordered queue.

use std::fmt;

use super::batch::repair::Look;
use super::batch::{Arrival, Batch, Held, RequestId, SessionId, Walk};
use super::input::LocalResult;

/// Something to be done. Effects are carried out in the order they are polled.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Hand a batch to the store.
    Commit(Batch),
    /// Answer a local client.
    Reply {
        /// Who waits.
        request: RequestId,
        /// The outcome.
        result: LocalResult,
    },
    /// Tell local subscribers that the store's arrival order has grown to here.
    Publish {
        /// The last arrival.
        arrival: Arrival,
    },
    /// Send a frame to a peer.
    Send {
        /// The session.
        session: SessionId,
        /// The frame, without its length prefix.
        frame: Vec<u8>,
    },
    /// Read entries for a peer: those on the walk that `known` lacks.
    Fetch {
        /// The session they are for.
        session: SessionId,
        /// What to read.
        walk: Walk,
        /// What the peer holds or has been sent.
        known: Held,
        /// Stop once this many bytes of entries have been gathered.
        bytes_max: usize,
    },
    /// Read what there is of one log.
    Look {
        /// The session that it is about; it may be gone when the answer comes.
        session: SessionId,
        /// Whether the peer has asked.
        for_peer: bool,
        /// What to read.
        look: Look,
    },
    /// End a session.
    Close {
        /// The session.
        session: SessionId,
        /// Why.
        reason: CloseReason,
    },
}

/// Why the engine ended a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The peer speaks another version of the protocol.
    Version {
        /// What it speaks.
        theirs: u32,
    },
    /// The peer belongs to another organisation.
    OtherOrganisation,
    /// The peer did not prove the join secret.
    WrongSecret,
    /// The peer broke the protocol: in which way, and the words for it.
    Breach(Breach, String),
    /// The peer did not answer in time.
    Timeout,
    /// A newer session with the same peer took over.
    Replaced,
    /// The device was taken off the network.
    Offline,
    /// A log was repaired, and what was held back or refused because of it may go now.
    Repaired,
    /// What was kept of an entry that comes in parts is gone, or was not what it was said to be.
    PartsLost,
    /// The peer tells its frontier on top of something that this device has forgotten since it named it.
    GroundLost,
    /// The store could not take or give entries.
    Store(String),
    /// The peer said goodbye, with its reason.
    Peer(String),
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version { theirs } => write!(f, "peer speaks protocol version {theirs}"),
            Self::OtherOrganisation => f.write_str("peer belongs to another organisation"),
            Self::WrongSecret => f.write_str("peer did not prove the join secret"),
            Self::Breach(_, what) => write!(f, "peer broke the protocol: {what}"),
            Self::Timeout => f.write_str("peer did not answer in time"),
            Self::Replaced => f.write_str("a newer session with the same peer took over"),
            Self::Offline => f.write_str("this device was taken off the network"),
            Self::Repaired => f.write_str("a log was repaired; the session begins anew"),
            Self::PartsLost => f.write_str("parts of an entry were lost; the session begins anew"),
            Self::GroundLost => {
                f.write_str("what the telling builds on is forgotten; the session begins anew")
            }
            Self::Store(why) => write!(f, "store unavailable: {why}"),
            Self::Peer(why) => write!(f, "peer closed the session: {why}"),
        }
    }
}

impl CloseReason {
    /// A stable name for metrics and JSON.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Version { .. } => "version",
            Self::OtherOrganisation => "other_organisation",
            Self::WrongSecret => "wrong_secret",
            Self::Breach(breach, _) => breach.code(),
            Self::Timeout => "timeout",
            Self::Replaced => "replaced",
            Self::Offline => "offline",
            Self::Repaired => "repaired",
            Self::PartsLost => "parts_lost",
            Self::GroundLost => "ground_lost",
            Self::Store(_) => "store",
            Self::Peer(_) => "peer",
        }
    }

    /// The code of a refusal that a peer names, if it is one that we know.
    pub fn refusal_code(code: &str) -> Option<&'static str> {
        let breaches = Breach::ALL.iter().map(|breach| breach.code());
        ["version", "other_organisation", "wrong_secret"]
            .into_iter()
            .chain(breaches)
            .find(|known| *known == code)
    }

    /// Whether dialling the same peer again soon is pointless.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Version { .. } | Self::OtherOrganisation | Self::WrongSecret | Self::Breach(..)
        )
    }
}

/// A way to break the protocol, told apart where somebody in charge would act differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breach {
    /// A frame that cannot be read: damaged on the way, or of another program.
    MalformedFrame,
    /// Something beyond its limit: a frame, what it decompresses to, a list.
    TooLarge,
    /// More at once than any device sends.
    Flood,
    /// Entries compressed with a dictionary that was not agreed on.
    UnknownDictionary,
    /// What it says that it holds contradicts itself, or what it has said before.
    LyingFrontier,
    /// More damaged or forged logs than a fault somewhere in the fleet explains.
    ForgedLogs,
    /// A message where it does not belong, or one that means nothing there.
    Protocol,
}

impl Breach {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::MalformedFrame,
        Self::TooLarge,
        Self::Flood,
        Self::UnknownDictionary,
        Self::LyingFrontier,
        Self::ForgedLogs,
        Self::Protocol,
    ];

    /// A stable name for metrics, JSON and BYE.
    pub fn code(self) -> &'static str {
        match self {
            Self::MalformedFrame => "malformed_frame",
            Self::TooLarge => "too_large",
            Self::Flood => "flood",
            Self::UnknownDictionary => "unknown_dictionary",
            Self::LyingFrontier => "lying_frontier",
            Self::ForgedLogs => "forged_logs",
            Self::Protocol => "protocol",
        }
    }

    /// With the words for it.
    pub(super) fn of(self, what: impl Into<String>) -> CloseReason {
        CloseReason::Breach(self, what.into())
    }
}
