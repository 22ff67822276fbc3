//! Whether the stream lost its end, or whoever leads it has not yet applied what it holds: pure.

use std::time::{Duration, Instant};

/// How long a stream may end before what a table holds: after an election its leader may say so while it still applies what it
/// has. After that it lost its end.
const CATCHES_UP_WITHIN: Duration = Duration::from_secs(20);

/// Where the stream was seen to end, beside what the table holds.
#[derive(Debug, Default)]
pub(super) struct Ending {
    /// Since when it ends before that.
    short_since: Option<Instant>,
}

impl Ending {
    /// Whether a stream that ends at `last` will not have again what was applied.
    pub(super) fn is_lost(&mut self, applied: u64, last: u64, now: Instant) -> bool {
        if applied <= last {
            self.short_since = None;
            return false;
        }
        let since = *self.short_since.get_or_insert(now);
        now.saturating_duration_since(since) > CATCHES_UP_WITHIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::clock::monotonic_now;

    #[test]
    fn a_leader_has_time_to_catch_up_and_each_has_it_anew() {
        let mut ending = Ending::default();
        let begun = monotonic_now();
        let after = |seconds| begun + Duration::from_secs(seconds);
        assert!(!ending.is_lost(10, 10, after(0)));
        assert!(!ending.is_lost(10, 7, after(1)));
        assert!(!ending.is_lost(10, 9, after(21)));
        assert!(!ending.is_lost(10, 10, after(22)), "it has caught up");
        assert!(!ending.is_lost(12, 11, after(60)), "another one");
        assert!(!ending.is_lost(12, 11, after(80)));
        assert!(ending.is_lost(12, 11, after(81)));
    }
}
