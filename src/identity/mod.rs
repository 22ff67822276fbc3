//! The identity core: who is behind every address, decided in one place.
//!
//! Evidence goes in as batches, in order and with `now`; one table changes; the journal says what changed. Nothing here
//! does I/O, reads a clock, spawns, serialises, or knows of firewalls, syslog or LDAP. One writer calls [`Core`]'s
//! `&mut` methods; readers borrow views.

#![warn(clippy::wildcard_enum_match_arm, clippy::iter_over_hash_type)]

pub mod address;
mod arena;
mod check;
mod conflict;
pub mod core;
mod deadline;
pub mod directory;
mod domain;
pub mod event;
mod evidence;
mod export;
mod filter;
mod journal;
pub mod name;
mod names;
mod objects;
pub mod outcome;
pub mod policy;
mod producer;
mod read;
mod session;
mod settle;
pub mod state;
mod subject;
mod sync;
mod table;
#[cfg(test)]
mod tests;
pub mod time;
pub mod view;

pub use self::core::{Applied, Batch, Core, Wake};
