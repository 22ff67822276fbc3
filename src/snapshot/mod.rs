//! The table on the disk: a log of what changed, folded from time to time, read at the start.
//!
//! The writer hands over what changed ([`crate::writer::Follower`]); the [`Keeper`]'s thread writes it at the end of a
//! segment every 20 ms and has the disk take it meanwhile, so that a crash loses what came in that time. When the
//! log has grown to half of what it belongs to, another thread folds it. The table is never held for any of this.
//!
//! # What a crash loses
//!
//! What somebody waited for ([`crate::writer::Durability`]) is never lost: the disk has it. What nobody answers, syslog, is
//! lost with the process if it came after the last write, and with the machine if the disk had not taken it. The next write
//! begins 20 ms after the one before, whatever the disk does meanwhile: at 10,000 logons a second over TCP the oldest line that
//! kill -9 lost had been sent 13 ms before (median), 20 ms at most. What was sent before it was there, always.
//!
//! # Files
//!
//! `snapshot/NNNNNNNNNN.rows` in the state folder, numbered from 1. Numbers are little-endian.
//!
//! ```text
//! segment: "JIMSTABL", version (u16) = 5, fresh (u8), 0 (u8), mark (u64), block*
//! block:   bytes of the payload (u32), CRC-32 of the payload (u32), payload = row*
//! row:     kind (u8), has a value (u8), bytes of the key (u16), key, bytes of the value (u32), value
//! ```
//!
//! A row says what its key holds from now on; without a value, that it holds nothing. Values are postcard, of the types in
//! `rows`.
//!
//! | kind | key | value |
//! | --- | --- | --- |
//! | 1 instant | | where the table stands; everything up to here is the table of one instant |
//! | 2 site | | domains, names of producers, Collectors: all that is small |
//! | 3 subject, 4 object, 5 address | place (u32) | a user or device, an object of a directory, an address |
//! | 6 bookmark | its name | how far a producer or directory is |
//! | 7 mark | UTC milliseconds (i64) | the journal's position then |
//! | 8 gone | place in the feed (u64) | an object that is gone and still told of |
//! | 9 tokens | | access tokens in force, hashed |
//! | 10 line | UTC milliseconds when it was first heard (i64), its hash (u64) | how often each Collector heard it |
//!
//! A line counts for a minute ([`crate::identity::heard`]): rows of lines that are older than the table's last instant allows
//! are left out when it is read or folded, and no row says that they are gone.
//!
//! An instant is the last row of its block. Rows behind the last instant of a segment do not count. A fresh segment with
//! an instant begins a table: nothing before it counts. Any other goes on from the table of the segment before, whose end
//! its mark names; a folded segment (fresh) has as its mark the end of the segment that it stands for. Whatever does not
//! fit is refused as a whole, never half loaded; what a crash left behind the last instant is dropped.
//!
//! Nothing here knows what rows mean to anybody but the table's plain data ([`crate::identity::state`]).

mod fold;
mod gather;
mod keeper;
mod load;
mod row;
mod rows;
mod segment;
mod store;
#[cfg(test)]
mod tests;

use std::io;

use thiserror::Error;

use crate::access::TokenRecord;
use crate::identity::state::State;

pub use self::keeper::{Keeper, KeeperParts};
pub use self::load::Dropped;
pub use self::store::{Exporting, Folded, Folding, Opened, Store, Synced, Syncing};

/// The version that is written and read.
pub const VERSION: u16 = 5;

/// What is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The table.
    pub state: State,
    /// Access tokens in force.
    pub tokens: Vec<TokenRecord>,
    /// Written last by a clean stop: nothing was lost since, so the epoch may be kept.
    pub clean: bool,
}

/// Why there is no table to be had of the files.
#[derive(Debug, Error)]
pub enum SnapshotError {
    /// A file does not begin like one.
    #[error("reading the snapshot: this is not a snapshot of jims")]
    NotASnapshot,
    /// It was written by a newer `jims`.
    #[error(
        "reading the snapshot: it has version {found}, this jims knows up to {VERSION}; start the newer jims again"
    )]
    Newer {
        /// Its version.
        found: u16,
    },
    /// A file was begun and nothing of it written.
    #[error("reading the snapshot: it holds nothing")]
    Begun,
    /// A segment does not go on where the one before ends.
    #[error("reading the snapshot: something is missing before segment {number}")]
    Gap {
        /// Its number.
        number: u64,
    },
    /// The content cannot be what was written.
    #[error("reading the snapshot: {what} cannot be read")]
    Content {
        /// Which part.
        what: &'static str,
    },
    /// The system refuses.
    #[error("the snapshot's files: {0}")]
    Io(#[from] io::Error),
}
