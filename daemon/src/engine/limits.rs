//! Every bound and period of the engine, with its unit in its name.

/// How long a peer may take from the opened stream to the end of its FRONT: generous, because the worst links
/// carry 2 kB a second and may have thousands of rows to carry.
pub const OPENING_MS: u64 = 60_000;

/// How many entry bytes may be on their way to a peer unacknowledged. Covers a fast link's delay; on a slow
/// one it bounds what is sent again after a cut to what the stream's own buffers held.
pub const WINDOW_BYTES: usize = 1 << 20;

/// How many of a peer's entry bytes may wait for the store: four times what an honest peer may send.
pub const STAGED_BYTES_MAX: usize = 4 * WINDOW_BYTES;

/// How long to wait for announced entries to come from their author before asking the announcer.
pub const WANT_MS: u64 = 300;

/// Spread of that wait, so that several devices do not ask at once.
pub const WANT_JITTER_MS: u64 = 200;

/// How long that wait may be prolonged while entries keep arriving from others.
pub const WANT_MS_MAX: u64 = 3_000;

/// How long after a failed write no session is accepted.
pub const STORE_PAUSE_MS: u64 = 5_000;

/// How long what is known of a peer may stay unsaved: a crash forgets at most that much of who holds what.
pub const PEER_SAVE_MS: u64 = 30_000;

/// How many logs may be refused in one session before the peer itself is refused.
pub const REFUSED_LOGS_MAX: usize = 64;

/// How many logs a peer may claim to hold: bounds memory against a peer that makes them up.
pub const HELD_LOGS_MAX: usize = 65_536;
