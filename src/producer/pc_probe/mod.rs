//! The PC probe: asks Windows computers who is signed on (WMI over DCOM), so that sessions end when the user is gone, and
//! do not when he is not.
//!
//! `service` schedules (`schedule`, `breaker`, `quiet`, all pure) and hands answers to the table; `probe` asks one computer
//! under its names and with its credentials (`credentials`, pure: order, memory, guard against lock-outs), `wmi` is the
//! conversation, `interpret` says what the answer means, `refusal` what a failure does, `standing` whether failures say
//! anything. Off unless networks are configured; nobody outside them ever sees a credential (rule 29). What an answer does
//! to a session is decided in the table.

mod breaker;
pub mod credentials;
pub mod interpret;
mod preflight;
mod probe;
pub mod quiet;
mod refusal;
pub mod schedule;
mod service;
pub mod standing;
mod steps;
mod subnet;
mod telling;
mod wmi;

pub use self::preflight::preflight;
pub use self::service::{PRODUCER, PcProbes, Surroundings};
