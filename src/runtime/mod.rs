//! What every running task needs: the clock, supervision, shutdown, state files, reports about itself.
//!
//! Tokio is used here and in `net/`; nothing here knows what an identity is.

pub mod as_owner;
pub mod backoff;
pub mod clock;
pub mod log_file;
pub mod preflight;
pub mod probing;
pub mod rate;
pub mod readiness;
pub mod report;
pub mod service;
pub mod shutdown;
pub mod state_dir;
pub mod strangers;
pub mod supervisor;
pub mod telemetry;
