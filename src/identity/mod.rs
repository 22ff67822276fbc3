//! The identity core: who is behind every address, decided in one place.
//!
//! Evidence goes in as batches, in order and with `now`; one table changes; the journal says what changed. Nothing here
//! does I/O, reads a clock, spawns, serialises, or knows of firewalls, syslog or LDAP. One writer calls [`Core`]'s
//! `&mut` methods; readers borrow views.

pub mod address;
pub mod core;
pub mod directory;
pub mod event;
pub mod name;
pub mod outcome;
pub mod policy;
pub mod time;
pub mod view;

pub use self::core::{Applied, Batch, Core, Wake};
