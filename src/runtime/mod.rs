//! What every running task needs: the clock, supervision, shutdown, state files, reports about itself.
//!
//! Tokio is used here and in `net/`; nothing here knows what an identity is.

pub mod clock;
pub mod report;
pub mod strangers;
