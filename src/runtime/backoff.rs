//! Growing pauses between attempts, jittered so that many do not try at once.

use std::time::Duration;

/// Pauses that double from a first one up to a limit, each shortened at random by up to a half.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    limit: Duration,
    next: Duration,
}

impl Backoff {
    /// Pauses from `first` up to `limit`.
    #[must_use]
    pub fn new(first: Duration, limit: Duration) -> Self {
        let limit = limit.max(first);
        Self {
            first,
            limit,
            next: first,
        }
    }

    /// How long to wait before the next attempt: between half and all of the current pause.
    pub fn next_pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = pause.saturating_mul(2).min(self.limit);
        pause.mul_f64(rand::random_range(0.5..=1.0))
    }

    /// An attempt worked: the next pause is the first one again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pauses_stay_within_their_bounds(first in 1_u64..5_000, limit in 1_u64..600_000, steps in 1_usize..40) {
            let (first, limit) = (Duration::from_millis(first), Duration::from_millis(limit));
            let mut backoff = Backoff::new(first, limit);
            for step in 0..steps {
                let pause = backoff.next_pause();
                prop_assert!(pause >= first.mul_f64(0.5).min(limit));
                prop_assert!(pause <= limit.max(first));
                if step == 0 {
                    prop_assert!(pause <= first);
                }
            }
            backoff.reset();
            prop_assert!(backoff.next_pause() <= first);
        }
    }
}
