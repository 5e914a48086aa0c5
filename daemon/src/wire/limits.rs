//! Every bound on what peers may send, with its unit in its name.

/// Longest frame on a stream, without its length prefix. A larger prefix ends the session before any
/// memory is taken.
pub const FRAME_BYTES_MAX: usize = 1 << 20;

/// Most bytes that one DATA frame may decompress to: bounds memory against decompression bombs.
pub const DATA_BYTES_MAX: usize = 2 << 20;

/// Largest entry (canonical change set). Local writes beyond it are refused with the advice to split.
pub const ENTRY_BYTES_MAX: usize = 512 << 10;

/// How many entry bytes a sender gathers into one DATA frame: small enough that a dropped link costs
/// little, large enough that headers and signatures vanish.
pub const DATA_BYTES_TARGET: usize = 128 << 10;

/// How many entry bytes lie between two signed points of a log, entries larger than that aside: the least that
/// can be sent at a time, and so what a link must carry between two drops.
pub const POINT_GAP_BYTES: usize = 4 << 10;

/// How many entry bytes may lie between two signed points of a log, so that a run always fits a frame.
pub const POINT_BYTES_TARGET: usize = 64 << 10;

/// Most bytes of a whole in one PART.
pub const PART_BYTES_MAX: usize = DATA_BYTES_TARGET;

/// Largest run that travels in parts, with its header and signature and the lengths of its entries.
pub const WHOLE_BYTES_MAX: usize = ENTRY_BYTES_MAX + POINT_BYTES_TARGET + (16 << 10);

/// Most rows in one FRONT message: 13 kB or so, a few seconds on the slowest link.
pub const FRONT_ROWS_MAX: usize = 512;

/// Most rows in one RANGE and in one ANSWER message: about 1.3 kB, what a link must carry between two drops for
/// a telling to get on.
pub const RANGE_ROWS_MAX: usize = 64;

/// Most rows in one ACK message.
pub const ACK_ROWS_MAX: usize = 4096;

/// Most positions of a log that one PROBE asks about: a sixteen-way search finds any place in a log of a
/// million entries in five rounds.
pub const PROBE_SEQS_MAX: usize = 16;

/// Most entries between a fork point and the next signature of one side of its proof: an honest author leaves at
/// most [`POINT_GAP_BYTES`] of them and one more.
pub const FORK_DIGESTS_MAX: usize = 512;

/// Most spaces in HELLO.
pub const SPACES_MAX: usize = 256;

/// Most checkpoints in HELLO: the agreed and the tentative one.
pub const CHECKPOINTS_MAX: usize = 2;

/// Most edits in a change set.
pub const EDITS_MAX: usize = 1000;

/// Most ops in one edit.
pub const OPS_MAX: usize = 1000;

/// Most dependencies of one edit: an honest document rarely has more heads than writers at once.
pub const DEPS_MAX: usize = 256;

/// Longest text value, note or reason, in bytes: what a schema lets anybody write.
pub use crdt_schema::schema::TEXT_BYTES_MAX;

/// Longest name of a person or device, in bytes.
pub const NAME_BYTES_MAX: usize = 128;

/// Most logs whose headers one direction of a session remembers: about 5 MB of the longest ones. Both
/// sides forget all of them when one more comes.
pub const HEADERS_MAX: usize = 16_384;

/// Longest dictionary of a schema, in bytes. What is beyond that is left out.
pub const DICTIONARY_BYTES_MAX: usize = 16 << 10;

/// Most logs whose names a session adds to its dictionary: another 8 KiB.
pub const DICTIONARY_LOGS_MAX: usize = 512;

/// Longest code or text in BYE, in bytes. Longer ones are cut by their sender.
pub const BYE_BYTES_MAX: usize = 512;

/// Length of a review's id: 16 lower-case hexadecimal digits.
pub const REVIEW_ID_BYTES: usize = 16;
