//! The only reader of clocks.
//!
//! UTC for what happened, monotonic time for waiting. Pure code is handed values; tests hand it their own.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::identity::time::UtcMillis;

/// The wall clock, in UTC milliseconds.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the wall clock"
)]
pub fn utc_now() -> UtcMillis {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    UtcMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The monotonic clock, for I/O timeouts and durations.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the monotonic clock"
)]
pub fn monotonic_now() -> Instant {
    Instant::now()
}
