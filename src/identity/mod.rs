//! The identity core: who is behind every address, decided in one place.
//!
//! Evidence goes in as batches, in order and with `now`; one table changes; the journal says what changed. Nothing here
//! does I/O, reads a clock, spawns, serialises, or knows of firewalls, syslog or LDAP. One writer calls [`Core`]'s
//! `&mut` methods; readers borrow views.
//!
//! The core is a function of what it was told, in its order: whoever applies the same has the same table, sequences and
//! outcomes, also if it was exported and resumed in between ([`Core::resume`]). So whatever of the core does not follow from
//! [`state::State`] and the policy (stale places, places of domains, the order in a hash table) decides nothing.
//!
//! ```text
//!  event ─▶ evidence ─▶ names (who is meant) ─▶ session (a slot's facts, folded by conflict) ─┐
//!  directory ─▶ sync ─▶ objects (memberships) ─▶ regroup (whose groups differ) ────────────┤
//!  policy ─▶ filter ──────────────────────────────────────────────────────────────────────┤
//!  time ─▶ deadline ──────────────────────────────────────────────────────────────────────┤
//!  Collectors ─▶ told ────────────────────────────────────────────────────────────────────┤
//!  lines that several heard ─▶ heard (which copies are evidence)                           │
//!                                settle: subjects, counts, deadlines, tombstones, journal ◀┘
//!  readers ◀─ read, browse, explain     Servers elsewhere ◀─ feed     snapshot ◀─▶ changes, state    history ◀─ ended
//! ```
//!
//! # Where each rule is tested
//!
//! Tests bear the number of the rule they hold.
//!
//! | rule | what | where |
//! | --- | --- | --- |
//! | 1 | addresses that may hold a session | `address.rs` |
//! | 2 | one user under all his names | `tests/` |
//! | 3 | one constructor of names | `name.rs` |
//! | 4 | jumps of the clock | `tests/` |
//! | 6 | conflict: the table, late evidence, interleavings | `worth.rs`, `conflict.rs`, `tests/`, `tests/sim` |
//! | 7 | logoffs | `tests/`, `tests/sim` |
//! | 10, 11 | probes, doubts, grace | `probe.rs`, `tests/sim` |
//! | 9 | a device carries its user only if told to | `tests/` |
//! | 11 | shared addresses | `tests/` |
//! | 12, 13 | scopes, roles | `tests/` |
//! | | groups of many, in slices | `tests/slices.rs`, `tests/sim/twin` |
//! | 14 | who the directory lost; removals said twice | `tests/` |
//! | 16 | journal and cursors | `tests/`, `tests/sim` |
//! | 17 | a user gone | `tests/` |
//! | 22 | restart | `tests/`, `snapshot/`, `app/state.rs` |
//! | | the same everywhere, also after a resume | `tests/sim/twin` |
//! | 24 | filters and removed directories | `tests/` |
//! | 27 | Collectors apart | `told.rs`, `feed.rs`, `tests/apart.rs` |
//! | | lines that several Collectors heard | `heard.rs`, `tests/heard.rs` |
//! | 25 | invariants | `check.rs`, after every step of every test |

#![warn(clippy::wildcard_enum_match_arm, clippy::iter_over_hash_type)]

pub mod address;
mod arena;
mod bits;
pub mod browse;
pub mod changes;
mod check;
pub mod collector;
mod conflict;
pub mod core;
mod deadline;
pub mod directory;
mod domain;
pub mod ended;
pub mod event;
mod evidence;
pub mod explain;
mod export;
mod facts;
mod feed;
mod filter;
pub mod group_names;
pub mod habit;
pub mod heard;
mod index;
mod journal;
mod map;
pub mod name;
mod names;
mod objects;
mod order;
pub mod outcome;
pub mod policy;
pub mod probe;
mod producer;
mod read;
mod regroup;
mod restore;
mod session;
mod settle;
mod spans;
pub mod state;
mod subject;
mod sync;
mod table;
#[cfg(test)]
mod tests;
pub mod time;
mod told;
pub mod view;
pub mod worth;

pub use self::core::{Applied, Batch, Core, Wake};
