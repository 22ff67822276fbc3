//! The history on disk: every session that ended, so that one can ask who was somewhere at an earlier time.
//!
//! One record a session, written when it ends, by the order of ends. Whoever was at an address at an instant is then
//! the session that had begun by then and ended later, or the one that is there still; the table knows the latter.
//! So what covers an instant is found by reading on from there, and nothing is indexed. Who wins an address is decided
//! in `identity/`, and what is asked and shown in `control/` and `cli/`; here is only what is kept, and for how long.
//!
//! The table never waits for the disk: the writer's queue is bounded, what does not fit is counted, and the count is
//! written in its place. Neither does a question: what is not written yet is searched as well.
//!
//! Nobody was there only where that is known. Sessions are written in the order in which they end, each block is safe on
//! the disk before the next, and each start says how old the table was with which it began: what may be missing follows
//! from that (`search.rs`), and every end of the process that was not in order leaves a hole.
//!
//! # The files
//!
//! `STATE_DIR/history/YYYYMMDDTHHMMSSmmmZ.jh` (0600, in a folder of 0700): segments, named by the UTC instant at which each was
//! begun, so that names sort by time. Where the clock went back, so that one is begun no later than another or than
//! something ended that is in another, it is `ORDER-BEGUN.jh`: both written as above, ORDER later than all of that, and
//! BEGUN by the clock; its age counts from that. A segment is appended to and never changed; a new one is begun at each
//! start, at the first record of a UTC day, after 16 MiB, and after a write that failed. All numbers outside of payloads
//! are little endian.
//!
//! ```text
//! segment = "JIMSHIST"  version: u32 = 1  block*
//! block   = length: u32  crc: u32  payload            length and CRC-32 (IEEE 802.3) of the payload
//! ```
//!
//! A segment that ends within a block was cut off by a crash; what is before is whole. A block whose CRC is wrong, or whose
//! length is over 64 MiB, ends what can be read of its segment, because later blocks use its texts. So does one that no
//! version 1 writes: behind 16 MiB, of more than 4160 marks and sessions, of more than 8 texts a session, or with a text
//! of over 1024 bytes.
//!
//! The payload is [postcard](https://postcard.jamesmunns.com/wire-format): integers are variable-length (signed ones zigzag), texts and lists
//! have their length before them, an option is a byte 0 or 1 before its value, and a choice is its number.
//!
//! ```text
//! payload = at: i64                                   what times of sessions count back from, UTC milliseconds
//!           texts: [text]                             numbered on through the segment, from 0
//!           marks: [mark]
//!           sessions: [session]                       in the order in which they ended
//! mark    = 0 start  at: i64  table_of: option i64    the table began as it was then; none: empty
//!         | 1 stop   at: i64                          the process ended in order, with a table to be trusted
//!         | 2 off    at: i64                          the history was switched off
//!         | 3 gap    from: i64  until: i64  lost: u64 so many that ended then were not kept
//! session = address                                   0 and 4 bytes, or 1 and 16 bytes
//!           device_session: bool                      a device's own session; else a user's
//!           domain: u32  name: u32                    numbers of texts
//!           device: option u32                        the device that was at the user's address, `domain\device$`
//!           ended: i64                                at - ended: when it was decided that it was over
//!           lasted: i64                               ended - since
//!           known_after: i64                          ended - until: it was over at `until` by the evidence
//!           reason: u32                               a word: logoff, expired, displaced, directory, operator, filter,
//!                                                     probe-nobody, probe-other-user, probe-refused, probe-unreachable, unconfirmed
//!           by: u32  by_record: text                  whose word ended it; of one displaced, what the next stands on
//!           next: option u32                          who had the address from then on
//!           producer: u32  record: text               the last evidence that held it
//!           evidence_age: i64                         ended - when that happened
//!           evidence_late: i64                        from when it happened to when it was heard
//!           strong: bool
//! ```
//!
//! After a crash, a session may be recorded twice with the same beginning: the later record is right. A start without a
//! stop or off before it follows a crash: sessions that began after `table_of` may be missing, and if that is not before
//! the end of the last session that was written, so may sessions that ended from then on. After a stop, a `table_of`
//! before it says that the last table was not saved.

mod format;
mod keeper;
mod log;
mod search;
#[cfg(test)]
mod tests;
mod unwritten;

pub use self::format::{Item, Mark};
pub use self::keeper::{Fault, History};
pub use self::log::Limits;
pub use self::search::{Bounds, Found, Hole, HoleKind, Whom};

/// Items of one block.
const MAX_BLOCK_ITEMS: usize = 4096;

/// Bytes after which a segment is full; its last block may go beyond.
const MAX_SEGMENT_BYTES: u64 = 16 << 20;
