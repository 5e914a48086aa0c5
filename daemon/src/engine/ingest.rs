//! What comes in: DATA is verified against what is held, staged, and handed to the store as one batch.
//!
//! A run is judged by its own log and its dependencies alone: where the log stands, whether the chain over
//! the new entries bears the author's signature, whether the entries are well formed, and whether what
//! they depend on is here. What fails is refused log by log; other logs and other sessions go on. Entries
//! that are held or staged already are skipped, so duplicates are harmless.
//!
//! Schemas and rights are not judged here.

use std::collections::BTreeMap;
use std::sync::Arc;

use crdt_schema::ident::{Dot, LogId, SpaceName};
use crdt_schema::op::ChangeSet;

use super::batch::{Batch, BatchId, LeftOut, LogHeader, Run, SessionId, VerifiedRun};
use super::effect::{Breach, CloseReason, Effect};
use super::frontier::{End, Frontier};
use super::input::Now;
use super::limits::{
    BRANCHES_OF_LOG_MAX, FORKS_OF_DEVICE_MAX, LOGS_MAX, PEER_SAVE_MS, SEQ_MAX, STAGED_BYTES_MAX,
    STAGED_TOTAL_BYTES_MAX, STORE_RETRY_MS,
};
use super::pump::run_bytes;
use super::session::{Session, protocol};
use super::{Engine, EntryReader, PointCheck};
use crate::mutation::{Mutation, is_planted};
use crate::wire::limits::{ENTRY_BYTES_MAX, POINT_BYTES_TARGET};
use crate::wire::{WireError, chain};

/// Why a log is not exchanged in a session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// Both sides have the same number of entries, and other ones.
    #[error("fork: the same positions hold other entries there")]
    Forked,
    /// The signature does not fit the chain over what is held here.
    #[error("fork or damaged history")]
    BadSignature,
    /// The log's id is not one that its device could have given it.
    #[error("its id does not belong to the device that signs it")]
    NotItsOwn,
    /// The run is longer than an honest author leaves between two signatures.
    #[error("{0} bytes without a signature")]
    TooLong(usize),
    /// The log is known with another beginning.
    #[error("its beginning differs from the one known here")]
    OtherHeader,
    /// The run begins after what is held.
    #[error("entries before {from} are missing")]
    Gap {
        /// Where the run begins.
        from: u64,
    },
    /// A branch that continues a history which is not here.
    #[error("it continues a history that is not held here")]
    MissingParent,
    /// This incarnation writes the log, and the peer has more of it.
    #[error("it claims entries that this device has not written")]
    OwnLog,
    /// Its author signed an entry that no honest author writes.
    #[error("its author signed a malformed entry: {0}")]
    Malformed(WireError),
    /// The records of an entry cannot be told: there is no such earlier edit in the history that is held here.
    #[error("its author signed a malformed entry: {0}")]
    Unnamed(WireError),
    /// Its author signed an entry that is older than the one before.
    #[error("its author signed entries out of order")]
    TimeWentBack,
    /// An entry depends on one that is not here, such as one of a refused log.
    #[error("it depends on {cause}, which is missing")]
    MissingDependency {
        /// The entry that is not here.
        cause: Dot,
        /// The space that it must be in.
        space: SpaceName,
    },
    /// There are too many logs.
    #[error("more than {LOGS_MAX} logs")]
    TooManyLogs,
    /// A fork of it is known, and it ends before these entries.
    #[error("it is forked; what follows is told as branches")]
    Sealed,
    /// A branch of a fork of this log, or its end at one, that has not been proved yet.
    #[error("it begins or ends at a fork that is not proved yet")]
    UnprovedFork(LogId),
    /// Its author has forked its logs too often.
    #[error("its device has signed more than {FORKS_OF_DEVICE_MAX} forks")]
    TooManyForks,
    /// Its author has signed too many histories of this log.
    #[error("more than {BRANCHES_OF_LOG_MAX} branches of one log")]
    TooManyBranches(LogId),
    /// An entry depends on one of another branch than is held here.
    #[error("it depends on another branch of {0} than is held here")]
    OtherBranch(Dot),
    /// An entry follows one that is damaged here.
    #[error("it follows {0}, which is damaged here and must be mended first")]
    Unread(Dot),
    /// It follows what the store has refused of a log.
    #[error("it follows what was refused of log {0}")]
    LeftOutBefore(LogId),
    /// The peer does not take it.
    #[error("the peer refuses it: fork or damaged history")]
    ByPeer,
}

impl Refusal {
    /// A stable name for metrics and JSON; none where the other side counts it.
    pub(super) fn code(&self) -> Option<&'static str> {
        match self {
            Self::Forked => Some("fork"),
            Self::BadSignature => Some("bad_signature"),
            Self::NotItsOwn | Self::OtherHeader => Some("forged_log"),
            Self::TooLong(_) => Some("unsigned_length"),
            Self::Gap { .. } | Self::MissingParent => Some("gap"),
            Self::OwnLog => Some("own_log"),
            Self::Malformed(_) | Self::Unnamed(_) => Some("malformed_entry"),
            Self::TimeWentBack => Some("time_went_back"),
            Self::MissingDependency { .. } => Some("missing_cause"),
            Self::TooManyLogs => Some("too_many_logs"),
            Self::Sealed => Some("sealed"),
            Self::UnprovedFork(_) => Some("unproved_fork"),
            Self::TooManyForks | Self::TooManyBranches(_) => Some("too_many_forks"),
            Self::OtherBranch(_) => Some("other_branch"),
            Self::Unread(_) => Some("damaged_cause"),
            Self::LeftOutBefore(_) => Some("refused_cause"),
            Self::ByPeer => None,
        }
    }

    /// Whether the peer is at fault, as far as this side can tell; `is_held` says whether the log is durable here.
    pub(super) fn is_fault(&self, is_held: bool) -> bool {
        match self {
            // Its author may have signed two histories, and told this device one and the peer the other. There can
            // be no more of these than logs are held here.
            Self::BadSignature | Self::OtherHeader => !is_held,
            Self::NotItsOwn
            | Self::TooLong(_)
            | Self::Gap { .. }
            | Self::OwnLog
            | Self::Malformed(_)
            | Self::TimeWentBack => true,
            // A fork between two logs that are both signed is their author's doing as well, and so are two histories
            // of which only one has the edit that an entry points to.
            Self::Forked
            | Self::Unnamed(_)
            | Self::MissingParent
            | Self::MissingDependency { .. }
            | Self::TooManyLogs
            | Self::Sealed
            | Self::UnprovedFork(_)
            | Self::TooManyForks
            | Self::TooManyBranches(_)
            | Self::OtherBranch(_)
            | Self::Unread(_)
            | Self::LeftOutBefore(_)
            | Self::ByPeer => false,
        }
    }

    /// Whether the peer's log is another one under the same name: what it holds says nothing of ours.
    pub(super) fn is_other_history(&self) -> bool {
        match self {
            Self::Forked
            | Self::BadSignature
            | Self::OtherHeader
            | Self::NotItsOwn
            | Self::ByPeer => true,
            Self::TooLong(_)
            | Self::Gap { .. }
            | Self::MissingParent
            | Self::OwnLog
            | Self::Malformed(_)
            | Self::Unnamed(_)
            | Self::TimeWentBack
            | Self::MissingDependency { .. }
            | Self::Sealed
            | Self::UnprovedFork(_)
            | Self::TooManyForks
            | Self::TooManyBranches(_)
            | Self::OtherBranch(_)
            | Self::Unread(_)
            | Self::LeftOutBefore(_)
            | Self::TooManyLogs => false,
        }
    }
}

/// The batches that the store has been given and has not answered for.
#[derive(Debug, Default)]
pub(super) struct Staging {
    last_batch: BatchId,
    /// The session and the bytes of each batch.
    in_flight: BTreeMap<BatchId, (SessionId, usize)>,
    /// Set after a batch has failed: when sessions may begin again.
    retry_ms: Option<u64>,
}

impl Staging {
    fn begin(&mut self, session: SessionId, bytes: usize) -> BatchId {
        self.last_batch += 1;
        self.in_flight.insert(self.last_batch, (session, bytes));
        self.last_batch
    }

    /// Strikes out a batch that has an outcome.
    pub(super) fn settle(&mut self, batch: BatchId) -> Option<(SessionId, usize)> {
        self.in_flight.remove(&batch)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// The bytes of all batches.
    fn bytes(&self) -> usize {
        self.in_flight.values().map(|(_, bytes)| bytes).sum()
    }

    pub(super) fn has_failed(&self) -> bool {
        self.retry_ms.is_some()
    }

    pub(super) fn fail(&mut self, mono_ms: u64) {
        self.retry_ms = Some(mono_ms + STORE_RETRY_MS);
    }

    /// Whether sessions may begin, after a failure that is long enough ago.
    pub(super) fn accepts(&mut self, mono_ms: u64) -> bool {
        if self.is_empty() && self.retry_ms.is_some_and(|retry| retry <= mono_ms) {
            self.retry_ms = None;
        }
        self.retry_ms.is_none()
    }
}

impl Engine {
    pub(super) fn on_data(
        &mut self,
        now: Now,
        id: SessionId,
        runs: Vec<Run>,
    ) -> Result<(), CloseReason> {
        let Some(session) = self.sessions.get_mut(&id) else {
            return Ok(());
        };
        check_bounds(session, &self.staging, &runs)?;
        session
            .save_due_ms
            .get_or_insert(now.mono_ms + PEER_SAVE_MS);
        Self::expect_mark(session, now);

        let mut fresh = Vec::new();
        let mut repeated = Vec::new();
        for run in runs {
            let (log, last) = (run.header.log, run.last());
            let family = run.header.signed_as();
            if self
                .sessions
                .get(&id)
                .is_none_or(|session| session.refused.contains_key(&log))
            {
                self.repeat_refusal(id, log);
                continue;
            }
            if self.is_put_off(id, &log) {
                continue;
            }
            match self.judge(run) {
                Ok(None) => repeated.push(log),
                Ok(Some(verified)) => {
                    self.stage(now, &verified);
                    fresh.push(verified);
                }
                Err(refusal) if self.puts_off(id, log, &refusal) => continue,
                Err(refusal) => {
                    if refusal == Refusal::Sealed {
                        self.tell_forks_of(id, family);
                    }
                    self.refuse(id, log, refusal);
                    if is_planted(Mutation::RefusalDropsRest) {
                        break;
                    }
                    // No more of the frame is looked at; what was good in it is kept.
                    if self
                        .sessions
                        .get(&id)
                        .is_some_and(|session| session.check_faults().is_err())
                    {
                        break;
                    }
                    continue;
                }
            }
            self.note_shown(id, log, last);
        }
        if is_planted(Mutation::AckBeforeCommit) {
            let staged = fresh.iter().map(|verified| &verified.run);
            let rows: Vec<_> = staged.map(|run| (run.header.log, run.last())).collect();
            self.tell_held(id, &rows);
        }
        self.commit_runs(id, fresh);
        self.answer(id, &repeated);
        self.put_off_wants(now);
        self.send_parts(now, id);
        self.pump(id);
        self.sessions
            .get(&id)
            .map_or(Ok(()), |session| session.check_faults())
    }

    /// What the store has left out was not refused when it came: which branch an author meant is seen there.
    /// Nor is which records an entry is of. Where a log was sealed meanwhile, the session has ended.
    pub(super) fn on_left_out(&mut self, id: SessionId, left_out: Vec<(LogId, LeftOut)>) {
        for (log, why) in left_out {
            let family = self.frontier.whole(&log);
            self.frontier.unstage_log(&log);
            match why {
                LeftOut::OtherBranch(dep) => {
                    self.refuse(id, log, Refusal::OtherBranch(dep));
                    self.inquire(id, dep.log);
                }
                LeftOut::Sealed(_) => {
                    self.tell_forks_of(id, family);
                    self.refuse(id, log, Refusal::Sealed);
                }
                LeftOut::Unread(place) => self.refuse(id, log, Refusal::Unread(place)),
                LeftOut::Malformed(error) => self.refuse(id, log, Refusal::Unnamed(error)),
                LeftOut::LeftOutBefore(cause) => {
                    self.refuse(id, log, Refusal::LeftOutBefore(cause));
                }
            }
        }
    }

    /// The part of a run that continues its log, or `None` if all of it is held or staged already.
    fn judge(&self, run: Run) -> Result<Option<VerifiedRun>, Refusal> {
        let header = &run.header;
        let is_own = self
            .own_logs
            .get(&header.space)
            .is_some_and(|own| own.log == header.log);
        let is_written = self.writing.values().any(|log| *log == header.log);
        if (is_own || is_written) && run.last() > self.frontier.durable_seq(&header.log) {
            return Err(Refusal::OwnLog);
        }
        verify(&self.frontier, self.check_point, self.read_entry, run)
    }

    fn stage(&mut self, now: Now, verified: &VerifiedRun) {
        self.frontier.stage(verified);
        let mut trusted = true;
        for set in &verified.sets {
            if is_planted(Mutation::HlcUnobserved) {
                break;
            }
            trusted = self.hlc.observe(set.hlc, now.unix_ms);
        }
        self.peers
            .set_clock_suspect(&verified.run.header.device, !trusted);
    }

    /// A peer sends only what it holds durably.
    pub(super) fn note_shown(&mut self, id: SessionId, log: LogId, last: u64) {
        if let Some(session) = self.sessions.get_mut(&id) {
            self.peers.their_log_moved(&session.device, log, last);
            session.pump.acknowledge(log, last);
        }
    }

    fn commit_runs(&mut self, id: SessionId, runs: Vec<VerifiedRun>) {
        if runs.is_empty() {
            return;
        }
        let bytes = runs.iter().map(|verified| run_bytes(&verified.run)).sum();
        let batch = self.staging.begin(id, bytes);
        if let Some(session) = self.sessions.get_mut(&id) {
            session.staged_bytes += bytes;
        }
        self.effects
            .push_back(Effect::Commit(Batch::Remote { batch, runs }));
    }

    /// Acknowledges at once what no commit will acknowledge, so that the sender's window opens. What is
    /// staged by way of another session is acknowledged when it is durable.
    pub(super) fn answer(&mut self, id: SessionId, repeated: &[LogId]) {
        let Some(session) = self.sessions.get(&id) else {
            return;
        };
        let rows = repeated
            .iter()
            .map(|log| (*log, self.frontier.durable_seq(log)));
        let news: BTreeMap<_, _> = rows
            .filter(|(log, durable)| *durable > session.told_seq(log))
            .collect();
        self.tell_held(id, &news.into_iter().collect::<Vec<_>>());
    }
}

/// Whether there is room for what a peer sent, and its sequence numbers are ones that logs may have.
fn check_bounds(session: &Session, staging: &Staging, runs: &[Run]) -> Result<(), CloseReason> {
    let bytes: usize = runs.iter().map(run_bytes).sum();
    if session.staged_bytes + bytes > STAGED_BYTES_MAX {
        return Err(Breach::Flood.of("DATA beyond the window"));
    }
    if staging.bytes() > STAGED_TOTAL_BYTES_MAX {
        let why = "too much waits to be written".to_owned();
        return Err(CloseReason::Store(why));
    }
    if !runs.iter().all(is_in_bounds) {
        return Err(protocol("DATA with a sequence number out of bounds"));
    }
    Ok(())
}

/// Whether every sequence number of a run is one that a log may have.
fn is_in_bounds(run: &Run) -> bool {
    let count = run.entries.len() as u64;
    count > 0
        && run.from > 0
        && run
            .from
            .checked_add(count)
            .is_some_and(|end| end <= SEQ_MAX)
}

/// Judges a run of which nothing is new by its number of entries. Where two histories of one length come at once,
/// from those who have not met, nobody else tells that they differ.
fn repeats(
    frontier: &Frontier,
    check_point: PointCheck,
    run: &Run,
    end: &End,
) -> Result<(), Refusal> {
    let (header, organisation) = (&run.header, frontier.organisation());
    let is_same = run.last() < end.seq
        || frontier.forks.is_sealed(header, end)
        || check_point(organisation, header, end.seq, &end.chain, &run.signature);
    match is_same || is_planted(Mutation::ForkUnseen) || is_planted(Mutation::SignatureUnchecked) {
        true => Ok(()),
        false => Err(Refusal::Forked),
    }
}

/// Judges a run by what is held and staged.
fn verify(
    frontier: &Frontier,
    check_point: PointCheck,
    read_entry: EntryReader,
    mut run: Run,
) -> Result<Option<VerifiedRun>, Refusal> {
    match frontier.get(&run.header.log) {
        Some(known) if known.header != run.header => return Err(Refusal::OtherHeader),
        // Its id was judged when its first run came.
        Some(_) => {}
        None if frontier.len() >= LOGS_MAX => return Err(Refusal::TooManyLogs),
        None if !chain::is_genuine(&run.header) && !is_planted(Mutation::AuthorUnchecked) => {
            return Err(Refusal::NotItsOwn);
        }
        None => {}
    }
    let bytes = run.entries.iter().map(Vec::len).sum();
    if bytes > ENTRY_BYTES_MAX + POINT_BYTES_TARGET {
        return Err(Refusal::TooLong(bytes));
    }
    let parent = frontier.parent_of(&run.header)?;
    let mut end = frontier.end_of(&run.header);
    if let Some(parent) = parent.filter(|_| end.seq == run.header.base()) {
        end.hlc = parent.hlc;
    }
    if run.last() <= end.seq {
        if is_planted(Mutation::DuplicateRefused) {
            return Err(Refusal::Gap { from: run.from });
        }
        return repeats(frontier, check_point, &run, &end).map(|()| None);
    }
    if run.from > end.seq + 1 {
        return Err(Refusal::Gap { from: run.from });
    }
    let skipped = end.seq + 1 - run.from;
    run.entries.drain(..skipped as usize);
    run.from += skipped;

    let value = follow(frontier, &run, end)?;
    let organisation = frontier.organisation();
    let last = End {
        seq: run.last(),
        chain: value,
        hlc: end.hlc,
    };
    let mut is_signed = check_point(
        organisation,
        &run.header,
        run.last(),
        &value,
        &run.signature,
    );
    if !is_signed && frontier.forks.is_sealed(&run.header, &last) {
        run.signature = chain::SEALED;
        is_signed = true;
    }
    if !is_signed && run.signature == chain::SEALED {
        return Err(Refusal::UnprovedFork(run.header.signed_as()));
    }
    if !is_signed && !is_planted(Mutation::SignatureUnchecked) {
        return Err(Refusal::BadSignature);
    }
    let sets = decode(read_entry, &run, end)?;
    for set in &sets {
        check_deps(frontier, &run.header, set)?;
    }
    Ok(Some(VerifiedRun {
        run,
        sets,
        chain: value,
    }))
}

/// The chain value at the run's end, if the log does not end before and a branch begins as its id says.
fn follow(frontier: &Frontier, run: &Run, mut end: End) -> Result<[u8; 32], Refusal> {
    for entry in &run.entries {
        let is_first = end.seq == run.header.base();
        let is_branch = run.header.branch_of.is_some();
        // A branch begins at the fork point that seals what it continues.
        if frontier.forks.is_sealed(&run.header, &end) && !(is_branch && is_first) {
            return Err(Refusal::Sealed);
        }
        end.chain = chain::chain_next(&end.chain, entry);
        end.seq += 1;
        if is_branch && is_first && chain::branch_id(&end.chain) != run.header.log {
            return Err(Refusal::NotItsOwn);
        }
    }
    Ok(end.chain)
}

/// Decodes the entries of a run whose signature holds: what is wrong now is the author's fault.
fn decode(read: EntryReader, run: &Run, end: End) -> Result<Vec<Arc<ChangeSet>>, Refusal> {
    let mut sets = Vec::with_capacity(run.entries.len());
    let mut last = end.hlc;
    for entry in &run.entries {
        let set = read(entry).map_err(Refusal::Malformed)?;
        if set.hlc <= last {
            return Err(Refusal::TimeWentBack);
        }
        last = set.hlc;
        sets.push(set);
    }
    Ok(sets)
}

/// Whether everything that an entry depends on is here, in the same space and in other logs.
fn check_deps(frontier: &Frontier, header: &LogHeader, set: &ChangeSet) -> Result<(), Refusal> {
    for dep in set.edits.iter().flat_map(|edit| &edit.deps) {
        if dep.log == header.signed_as() {
            return Err(Refusal::Malformed(WireError::Malformed(
                "dependency on its own log",
            )));
        }
        if !frontier.covers(&header.space, dep) {
            let (cause, space) = (*dep, header.space.clone());
            return Err(Refusal::MissingDependency { cause, space });
        }
    }
    Ok(())
}
