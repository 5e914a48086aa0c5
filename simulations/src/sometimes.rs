//! Interesting states: a campaign that never reaches one of them has not tested what it seems to test.

use std::collections::BTreeMap;

/// A state that a campaign must reach at least once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each has its sentence in `sentence`")]
pub enum Sometimes {
    KilledBeforeReport,
    KilledDuringSession,
    PowerCut,
    PowerCutWhileRecovering,
    DiedAmidOwn,
    DiedAmidPeers,
    DiedAmidRepair,
    SectorsLostAmid,
    CutShortAndWhole,
    ReadFailed,
    DiskFullRefusedAWrite,
    StoreRecoveredWithoutRestart,
    StoreFoundDamaged,
    RollbackSeenByWitness,
    RollbackSeenByPeer,
    WipedDeviceFilledAgain,
    TwinGotItsOwnLog,
    RetryAnsweredOnce,
    WriteRefusedBySchema,
    WriteToDeletedRefused,
    ReviewOpened,
    ReviewAnswered,
    AnswerNotAllowed,
    FlagAccepted,
    DeletionContested,
    RecordRestored,
    ReviewClosed,
    BatchOverSeveralRecords,
    GroupCommit,
    CommitDuringRead,
    CutInsideFrame,
    StallBrokeConnection,
    OneWayLink,
    HalfOpenSessionReplaced,
    PeerRelayedOthersEntries,
    NewsAskedFor,
    StrangerTurnedAway,
    LiarsLogRefused,
    LiarsEntriesTaken,
    FutureClockSuspected,
    ClockWentBack,
    EqualRootsSaidNothing,
    HubGoneForEver,
    SchemaAdopted,
    SchemaWentBack,
    ForkSettled,
    ForkSealed,
    DamageMended,
}

impl Sometimes {
    /// All of them.
    pub const ALL: [Self; 48] = [
        Self::KilledBeforeReport,
        Self::KilledDuringSession,
        Self::PowerCut,
        Self::PowerCutWhileRecovering,
        Self::DiedAmidOwn,
        Self::DiedAmidPeers,
        Self::DiedAmidRepair,
        Self::SectorsLostAmid,
        Self::CutShortAndWhole,
        Self::ReadFailed,
        Self::DiskFullRefusedAWrite,
        Self::StoreRecoveredWithoutRestart,
        Self::StoreFoundDamaged,
        Self::RollbackSeenByWitness,
        Self::RollbackSeenByPeer,
        Self::WipedDeviceFilledAgain,
        Self::TwinGotItsOwnLog,
        Self::RetryAnsweredOnce,
        Self::WriteRefusedBySchema,
        Self::WriteToDeletedRefused,
        Self::ReviewOpened,
        Self::ReviewAnswered,
        Self::AnswerNotAllowed,
        Self::FlagAccepted,
        Self::DeletionContested,
        Self::RecordRestored,
        Self::ReviewClosed,
        Self::BatchOverSeveralRecords,
        Self::GroupCommit,
        Self::CommitDuringRead,
        Self::CutInsideFrame,
        Self::StallBrokeConnection,
        Self::OneWayLink,
        Self::HalfOpenSessionReplaced,
        Self::PeerRelayedOthersEntries,
        Self::NewsAskedFor,
        Self::StrangerTurnedAway,
        Self::LiarsLogRefused,
        Self::LiarsEntriesTaken,
        Self::FutureClockSuspected,
        Self::ClockWentBack,
        Self::EqualRootsSaidNothing,
        Self::HubGoneForEver,
        Self::SchemaAdopted,
        Self::SchemaWentBack,
        Self::ForkSettled,
        Self::ForkSealed,
        Self::DamageMended,
    ];

    /// What has happened then.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::KilledBeforeReport => "a process died between a commit and its report",
            Self::KilledDuringSession => "a process died with a session open",
            Self::PowerCut => "the power failed",
            Self::PowerCutWhileRecovering => "the power failed while a store recovered",
            Self::DiedAmidOwn => "a device died in the middle of committing a person's write",
            Self::DiedAmidPeers => "a device died in the middle of committing what a peer sent",
            Self::DiedAmidRepair => "a device died in the middle of putting a log right",
            Self::SectorsLostAmid => {
                "a power cut in the middle of a commit lost sectors of an honest disk"
            }
            Self::CutShortAndWhole => "a commit that its device died in was whole afterwards",
            Self::ReadFailed => "a page of a disk could not be read",
            Self::DiskFullRefusedAWrite => "a write was refused because the disk was full",
            Self::StoreRecoveredWithoutRestart => "a store wrote again after a failed write",
            Self::StoreFoundDamaged => "a store said that it was damaged and was started anew",
            Self::RollbackSeenByWitness => "a store that went back was told by its witness",
            Self::RollbackSeenByPeer => "a peer showed a device more of its log than it held",
            Self::WipedDeviceFilledAgain => "a wiped device got its entries back from others",
            Self::TwinGotItsOwnLog => "a copied store began a log of its own",
            Self::RetryAnsweredOnce => "a repeated request was answered with the first outcome",
            Self::WriteRefusedBySchema => "a write was refused for breaking the schema",
            Self::WriteToDeletedRefused => "a write to a deleted record was refused",
            Self::ReviewOpened => "a review was open",
            Self::ReviewAnswered => "a person answered a review",
            Self::AnswerNotAllowed => "a person was refused an answer for their role",
            Self::FlagAccepted => "a person accepted what a rule of the schema had flagged",
            Self::DeletionContested => "a deletion met an edit it had not seen",
            Self::RecordRestored => "a deleted record was restored",
            Self::ReviewClosed => "a review was closed on another device than it was answered on",
            Self::BatchOverSeveralRecords => "one change set edited several records",
            Self::GroupCommit => "one transaction held several batches",
            Self::CommitDuringRead => "a commit happened during a read for a peer",
            Self::CutInsideFrame => "a connection was cut inside a frame",
            Self::StallBrokeConnection => "a burst of losses broke a connection",
            Self::OneWayLink => "frames were lost in one direction only",
            Self::HalfOpenSessionReplaced => {
                "a new session replaced one whose end had not been noticed"
            }
            Self::PeerRelayedOthersEntries => "a device passed on entries of a third",
            Self::NewsAskedFor => "a device asked for what was announced",
            Self::StrangerTurnedAway => "a stranger was turned away",
            Self::LiarsLogRefused => "a log of a liar was refused",
            Self::LiarsEntriesTaken => "well-formed entries of a liar were taken",
            Self::FutureClockSuspected => "a clock far ahead was suspected",
            Self::ClockWentBack => "a wall clock went back while its device ran",
            Self::EqualRootsSaidNothing => "two devices that held the same met",
            Self::HubGoneForEver => "the hub was gone for ever",
            Self::SchemaAdopted => "a device took up another version of the schema",
            Self::SchemaWentBack => "a person chose an older version of the schema",
            Self::DamageMended => "entries that no longer read back came again from a peer",
            Self::ForkSealed => "both branches of a log had spread and were kept as branches",
            Self::ForkSettled => {
                "a device wrote again what stood on a branch that nobody else held"
            }
        }
    }
}

/// How often each state was reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reached(BTreeMap<Sometimes, u64>);

impl Reached {
    /// Notes that a state has been reached.
    pub fn note(&mut self, state: Sometimes) {
        *self.0.entry(state).or_default() += 1;
    }

    /// Adds what another run has reached.
    pub fn add(&mut self, other: &Self) {
        for (state, count) in &other.0 {
            *self.0.entry(*state).or_default() += count;
        }
    }

    /// How many states were reached.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Whether a state was reached.
    pub fn has(&self, state: Sometimes) -> bool {
        self.0.contains_key(&state)
    }

    /// The states that were not reached.
    pub fn missing(&self) -> impl Iterator<Item = Sometimes> {
        Sometimes::ALL.into_iter().filter(|state| !self.has(*state))
    }

    /// The states that were reached, and how often.
    pub fn iter(&self) -> impl Iterator<Item = (Sometimes, u64)> {
        self.0.iter().map(|(state, count)| (*state, *count))
    }
}
