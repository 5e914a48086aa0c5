//! Every bound and delay of the engine, with its unit in its name.
//!
//! Limits of single frames and messages are in [`crate::wire::limits`].

/// How long a peer may take between two steps of the opening: HELLO; TELL, each RANGE and each
/// ANSWER, or each FRONT; FRONT END.
pub(super) const HANDSHAKE_MS: u64 = 30_000;

/// How many entry bytes the first frames of a session gather: with compression about a kilobyte.
pub(super) const FRAME_BYTES_FIRST: usize = 2 << 10;

/// How much time of the link and of the other side's disk a frame should take.
pub(super) const FRAME_MS: u64 = 500;

/// How many frames may be under way: enough to keep a link busy whose answer takes a few frames' time.
pub(super) const WINDOW_FRAMES: usize = 16;

/// How many entry bytes may be on their way to a peer at most: bounds what a receiver must stage.
pub(super) const WINDOW_BYTES: usize = 1 << 20;

/// How many entry bytes may go beyond the window, of what was written just now: a person's few edits.
pub(super) const FRESH_BYTES_MAX: usize = 16 << 10;

/// How many entries of a log may go out of turn. A longer rest is bulk itself.
pub(super) const SHORT_ENTRIES_MAX: u64 = 32;

/// How many entries a peer must lack for short logs to go out of turn: fewer are sent in no time.
pub(super) const BULK_ENTRIES_MIN: u64 = 1_024;

/// How many logs one fetch walks out of turn.
pub(super) const SHORT_LOGS_MAX: usize = 64;

/// Every so many turns are for the space that has waited longest; the others are for the one that is soonest
/// done.
pub(super) const TURNS_PER_WAIT: u64 = 4;

/// How many entry bytes of one session may wait for the store. An honest sender's window, even with the
/// last message overshooting, is far below it.
pub(super) const STAGED_BYTES_MAX: usize = 4 << 20;

/// How many entry bytes of all sessions, ended ones included, may wait for the store.
pub(super) const STAGED_TOTAL_BYTES_MAX: usize = 64 << 20;

/// Largest frame of a peer that has not proved to be a member.
pub(super) const STRANGER_FRAME_BYTES_MAX: usize = 16 << 10;

/// How many entry bytes one DATA message gathers from several runs. A quarter of what a frame may
/// decompress to, and half of what it may weigh even if nothing in it can be compressed.
pub(super) const MESSAGE_BYTES_MAX: usize = 512 << 10;

/// What a run weighs besides its entries: header and signature.
pub(super) const RUN_OVERHEAD_BYTES: usize = 128;

/// Most logs that are held, that a peer may claim to hold, or that a session may refuse.
pub(super) const LOGS_MAX: usize = 65_536;

/// Greatest sequence number. Sums over all logs stay far from overflow.
pub(super) const SEQ_MAX: u64 = 1 << 40;

/// Most wholes of which parts are kept, each from another peer: about 9 MB. The one that waits longest for its
/// next part makes room.
pub(super) const PARTIALS_MAX: usize = 16;

/// How many logs that no honest device has taken a peer may offer in one session: a few are a fault somewhere in
/// the fleet, more are an attack.
pub(super) const FAULTS_MAX: usize = 64;

/// Most damaged logs that are mended at once. The others are found again when they are next read.
pub(super) const DAMAGED_LOGS_MAX: usize = 1024;

/// Most bytes of proofs of forks that are remembered: about two thousand of the longest, or a hundred thousand of the
/// usual ones. To use them up a member must have signed, and sent, as much.
pub(super) const FORKS_BYTES_MAX: usize = 64 << 20;

/// How many bytes of proofs go ahead of everything else in a session: the longest one at least.
pub(super) const FORK_BYTES_FIRST: usize = 64 << 10;

/// Most bytes of proofs that one session tells, or takes: far less than may wait to be sent.
pub(super) const FORK_BYTES_TOLD_MAX: usize = 1 << 20;

/// Most forked logs that are remembered to be settled because refused entries depend on them.
pub(super) const FORKS_NEEDED_MAX: usize = 4_096;

/// Most forks of the logs of one device that are remembered, unless entries depend on more. Each costs every device a rebuilding of records; an
/// honest device has one for every time that its store was copied or restored unnoticed.
pub(super) const FORKS_OF_DEVICE_MAX: usize = 32;

/// Most branches of one log, unless entries depend on more.
pub(super) const BRANCHES_OF_LOG_MAX: usize = 64;

/// Most mended places that are remembered, to tell a disk that does not keep what is written to it.
pub(super) const MENDED_PLACES_MAX: usize = 65_536;

/// How many questions about damaged or forked logs a peer may ask in one session. Each makes the store walk
/// a log. A session begins anew after every repair.
pub(super) const ANSWERS_MAX: usize = 4096;

/// How long after an inquiry into a log the same peer is not asked about it again.
pub(super) const INQUIRY_MS: u64 = 3_600_000;

/// The same after one that a dropped link cut short, or that found nothing.
pub(super) const INQUIRY_RETRY_MS: u64 = 60_000;

/// Most inquiries that are remembered; beyond, none begins until one is forgotten.
pub(super) const INQUIRIES_MAX: usize = 4_096;

/// Most peers that are remembered.
pub(super) const PEERS_MAX: usize = 4096;

/// Most refused logs that are shown for a peer.
pub(super) const REFUSED_SHOWN_MAX: usize = 64;

/// Most missing causes that one session remembers: each is looked for whenever something becomes durable.
pub(super) const CAUSES_AWAITED_MAX: usize = 256;

/// How long a peer's announcement waits for the entries to come from whoever wrote them.
pub(super) const WANT_DELAY_MS: u64 = 300;

/// Spread of [`WANT_DELAY_MS`], so that not all peers ask at once.
pub(super) const WANT_JITTER_MS: u64 = 100;

/// How long arriving entries may put off the asking.
pub(super) const WANT_DELAY_MAX_MS: u64 = 3_000;

/// How many entries a peer must hold more than we do to be worth a HOLD: fewer cost less than the waiting.
pub(super) const HOLD_ENTRIES_MIN: u64 = 32;

/// How long those that send may be silent before one that waits is asked.
pub(super) const HOLD_STALL_MS: u64 = 3_000;

/// How long a peer waits at most while another sends.
pub(super) const HOLD_MAX_MS: u64 = 30_000;

/// How long news of what a peer holds may stay unwritten.
pub(super) const PEER_SAVE_MS: u64 = 30_000;

/// How long after the first entries of a session both sides may agree on a checkpoint: long enough that what
/// comes together is counted together.
pub(super) const MARK_DELAY_MS: u64 = 1_000;

/// Most logs in a checkpoint: about 200 kB for each peer.
pub(super) const CHECKPOINT_LOGS_MAX: usize = 8_192;

/// How many rows may have moved since a checkpoint for both sides to tell them at once, in FRONT: about 3 kB,
/// what a link that drops again and again still carries. More are told in ranges.
pub(super) const FRONT_MOVED_MAX: usize = 128;

/// Most rows in the accords with all peers: about 50 MB. Those that were used longest ago go first.
pub(super) const ACCORD_ROWS_MAX: usize = 1 << 20;

/// Most ranges in a telling: all but the last of each space have as many rows as fit.
pub(super) const RANGES_MAX: usize = LOGS_MAX;

/// Most rows in the checkpoints of all peers: about 25 MB. Those of the peers that were seen longest ago go first.
pub(super) const CHECKPOINT_ROWS_MAX: usize = 1 << 20;

/// How long sessions are refused after the store could not write.
pub(super) const STORE_RETRY_MS: u64 = 5_000;

/// How often a talking peer's last-seen time is renewed.
pub(super) const SEEN_MS: u64 = 1_000;
