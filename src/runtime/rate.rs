//! How many a second, lately: a count in coarse steps that costs an addition and fades by itself.
//!
//! For people and screens; nothing is decided from it. Time is handed in.

use std::time::Duration;

use crate::identity::time::UtcMillis;

/// One step.
const STEP: Duration = Duration::from_secs(5);
/// Steps that count: a minute.
const STEPS: usize = 12;

/// Counts of the last minute.
#[derive(Clone, Debug, Default)]
pub struct Rate {
    counts: [u64; STEPS],
    /// Number of the newest step since the epoch of the clock.
    newest: i64,
    /// Number of the step in which counting began.
    first: i64,
}

impl Rate {
    /// Counts at an instant.
    pub fn add(&mut self, count: u64, now: UtcMillis) {
        let step = step(now);
        if self.newest == 0 {
            (self.newest, self.first) = (step, step);
        }
        self.turn(step);
        if let Some(slot) = self.counts.get_mut(place(step)) {
            *slot += count;
        }
    }

    /// How many a second, over the last minute or since counting began if that is shorter.
    #[must_use]
    pub fn per_second(&self, now: UtcMillis) -> f64 {
        if self.newest == 0 {
            return 0.0;
        }
        let mut faded = self.clone();
        let step = step(now).max(self.newest);
        faded.turn(step);
        let whole = i64::try_from(STEPS).unwrap_or(i64::MAX);
        let steps = (step - self.first + 1).clamp(1, whole);
        #[expect(
            clippy::cast_precision_loss,
            reason = "counts of a minute stay far below 2^52"
        )]
        let (sum, steps) = (faded.counts.iter().sum::<u64>() as f64, steps as f64);
        sum / (steps * STEP.as_secs_f64())
    }

    /// Forgets what is older than a minute before the step.
    fn turn(&mut self, step: i64) {
        let passed = step.saturating_sub(self.newest);
        // A clock that went back counts into the newest step.
        if passed <= 0 {
            return;
        }
        for gone in 0..usize::try_from(passed).unwrap_or(STEPS).min(STEPS) {
            let gone = i64::try_from(gone).unwrap_or(0);
            if let Some(slot) = self.counts.get_mut(place(step - gone)) {
                *slot = 0;
            }
        }
        self.newest = step;
    }
}

fn step(now: UtcMillis) -> i64 {
    now.0
        .div_euclid(i64::try_from(STEP.as_millis()).unwrap_or(i64::MAX))
}

fn place(step: i64) -> usize {
    usize::try_from(step.rem_euclid(i64::try_from(STEPS).unwrap_or(1))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> UtcMillis {
        UtcMillis((1_764_000_000 + seconds) * 1000)
    }

    #[test]
    fn a_rate_is_of_the_last_minute_and_fades() {
        let mut rate = Rate::default();
        assert!(rate.per_second(at(0)).abs() < 1e-9);
        for second in 0..120 {
            rate.add(50, at(second));
        }
        assert!((rate.per_second(at(119)) - 50.0).abs() < 1.0);
        assert!(rate.per_second(at(150)) < 30.0);
        assert!(rate.per_second(at(600)).abs() < 1e-9);
    }

    #[test]
    fn a_short_life_is_not_divided_by_a_minute() {
        let mut rate = Rate::default();
        rate.add(100, at(0));
        assert!((rate.per_second(at(1)) - 20.0).abs() < 1e-9);
    }
}
