//! Pushing to firewalls that do not ask: `POST /api/userfw/v1/post-entry` of the Web API of Junos.
//!
//! One task a firewall follows the journal with a cursor in memory. It tells everything (a full pass: endings as
//! `logoff`, the rest as `logon`) when it starts, after a connection could not be made, when filters change, every
//! `refresh_interval` and when an operator asks; between, what changed. What is told of an address is decided in
//! [`super::entries`], as for firewalls that ask.
//!
//! | to find | look in |
//! | --- | --- |
//! | what a document holds, and where it may be parted | `document` |
//! | what an answer of the firewall means | `answer` |
//! | how a document is sent, and what becomes of entries that are refused | `sending` |
//! | when everything is told again, how a failure is waited out | `pushing` |
//! | what an operator sees | `reading` |
//! | starting, changing and stopping | `service` |
//!
//! # What is known of the other side
//!
//! Juniper documents the vocabulary, HTTP Basic, 200 for success and at most 200 roles. Not public, and therefore
//! treated with care: what the body of an answer says (any that speaks of an error is none of success), whether one
//! wrong entry spoils its document (it is parted until the wrong one is found, which is left out), how many bytes a
//! document may have (1 MiB at most, and half of it after a 413), and whether entries survive a restart of the firewall
//! (they are told again).

mod answer;
mod document;
mod pushing;
mod reading;
mod sending;
mod service;

pub use self::reading::{State, WebApiReading};
pub use self::service::{LOOK_EVERY, Prepared, Surroundings, WebApiError, WebApis};
