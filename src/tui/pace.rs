//! When the screen may be drawn: at most four times in any second, a key's effect at once within that.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Draws in any second.
const PER_SECOND: usize = 4;

/// The least time between two draws of what nobody waits for.
const CALM: Duration = Duration::from_millis(250);

/// The latest draws.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace {
    drawn: VecDeque<Instant>,
}

impl Pace {
    /// When the next draw may be; in the past: now. `urgent`: an operator pressed a key and waits.
    pub(super) fn next(&self, urgent: bool, now: Instant) -> Instant {
        let window = match self.drawn.front() {
            Some(oldest) if self.drawn.len() >= PER_SECOND => *oldest + Duration::from_secs(1),
            _ => now,
        };
        let calm = match self.drawn.back() {
            Some(latest) if !urgent => *latest + CALM,
            _ => now,
        };
        window.max(calm)
    }

    /// A draw was made.
    pub(super) fn drew(&mut self, now: Instant) {
        if self.drawn.len() >= PER_SECOND {
            self.drawn.pop_front();
        }
        self.drawn.push_back(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::clock;

    #[test]
    fn never_more_than_four_in_any_second_and_a_key_at_once() {
        let start = clock::monotonic_now();
        let mut pace = Pace::default();
        let mut now = start;
        let mut drawn = Vec::new();
        for step in 0..200_u64 {
            // Keys and data in turn, as fast as they can come.
            now = pace.next(step % 3 != 0, now).max(now);
            pace.drew(now);
            drawn.push(now);
        }
        for five in drawn.windows(5) {
            assert!(five[4] - five[0] >= Duration::from_secs(1));
        }
        let mut pace = Pace::default();
        pace.drew(start);
        let soon = start + Duration::from_millis(10);
        assert_eq!(pace.next(true, soon), soon);
        assert_eq!(pace.next(false, soon), start + CALM);
    }
}
