//! How much passes through the table and how late, as the last two minutes of readings.

use std::collections::VecDeque;
use std::time::Duration;

use crate::control::protocol::EventTotals;

/// Readings that are kept: one a second, as many as the widest screen shows.
const MAX_READINGS: usize = 120;

/// The readings, the latest last.
#[derive(Clone, Debug, Default)]
pub(super) struct Flow {
    /// Events a second.
    pub(super) rates: VecDeque<u64>,
    /// Lag in milliseconds; 0 without a logon.
    pub(super) lags: VecDeque<u64>,
    last: Option<(u64, Duration)>,
}

impl Flow {
    /// Takes the totals of a status that came at `elapsed`.
    pub(super) fn take(&mut self, events: &EventTotals, elapsed: Duration) {
        if let Some((total, at)) = self.last {
            let millis = elapsed.saturating_sub(at).as_millis();
            // A service that restarted counts from the beginning: no rate can be told.
            if events.total >= total && millis > 0 {
                let rate = u128::from(events.total - total) * 1000 / millis;
                push(&mut self.rates, u64::try_from(rate).unwrap_or(u64::MAX));
            }
        }
        push(&mut self.lags, events.lag_ms.unwrap_or(0));
        self.last = Some((events.total, elapsed));
    }

    /// The latest rate.
    pub(super) fn rate(&self) -> Option<u64> {
        self.rates.back().copied()
    }
}

fn push(readings: &mut VecDeque<u64>, reading: u64) {
    if readings.len() >= MAX_READINGS {
        readings.pop_front();
    }
    readings.push_back(reading);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_time_between_and_a_restart_is_no_rate() {
        let mut flow = Flow::default();
        let mut take = |total, millis| {
            let events = EventTotals {
                total,
                ..EventTotals::default()
            };
            flow.take(&events, Duration::from_millis(millis));
            flow.rate()
        };
        assert_eq!(take(1000, 0), None);
        assert_eq!(take(1500, 500), Some(1000));
        assert_eq!(take(1500, 1500), Some(0));
        assert_eq!(take(20, 2500), Some(0), "it began anew");
        assert_eq!(take(120, 3500), Some(100));
        for second in 0..200 {
            take(120, 10_000 + second * 1000);
        }
        assert_eq!(flow.rates.len(), MAX_READINGS);
    }
}
