//! What is kept of sessions that have ended: `[history]`, with everything read that it names.

use std::time::Duration;

/// `[history]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// Whether sessions that end are kept.
    pub enabled: bool,
    /// How long, 1 h to 3650 d.
    pub max_age: Duration,
    /// All of it, 32 MiB to 1 TiB.
    pub max_size: u64,
}
