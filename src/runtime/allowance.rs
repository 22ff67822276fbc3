//! How often something may happen: so many at once, so many a second after that (the generic cell rate algorithm).
//!
//! Time is handed in. Who is limited, and what the refused are told, is decided where it is used.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// One limit; shared.
#[derive(Debug)]
pub struct Allowance {
    interval: Duration,
    tolerance: Duration,
    /// When the next one would be due if all came evenly; `None`: none came yet.
    due: Mutex<Option<Instant>>,
}

impl Allowance {
    /// At most `burst` at once, then `per_second`; both at least 1.
    #[must_use]
    pub fn new(per_second: u32, burst: u32) -> Self {
        let interval = Duration::from_secs(1) / per_second.max(1);
        Self {
            interval,
            tolerance: interval * (burst.max(1) - 1),
            due: Mutex::new(None),
        }
    }

    /// Takes one, if there is one.
    #[must_use]
    pub fn take(&self, now: Instant) -> bool {
        let mut due = self.due.lock();
        let next = due.map_or(now, |due| due.max(now));
        if next > now + self.tolerance {
            return false;
        }
        *due = Some(next + self.interval);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::clock;

    #[test]
    fn a_burst_is_allowed_and_then_the_rate() {
        let allowance = Allowance::new(10, 5);
        let start = clock::monotonic_now();
        let taken =
            |at: Duration, tries: u32| (0..tries).filter(|_| allowance.take(start + at)).count();
        assert_eq!(taken(Duration::ZERO, 20), 5);
        assert_eq!(taken(Duration::from_millis(99), 20), 0);
        assert_eq!(taken(Duration::from_millis(100), 20), 1);
        assert_eq!(
            taken(Duration::from_millis(1000), 20),
            5,
            "it does not save up more"
        );
        let second: usize = (1..=10)
            .map(|n| taken(Duration::from_millis(1000 + n * 100), 3))
            .sum();
        assert_eq!(second, 10);
    }
}
