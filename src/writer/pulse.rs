//! How much passes through the table, and how late: two counters and the slowest event of each of the last seconds.
//!
//! For people and screens; metrics have the whole distribution. Time is handed in.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::identity::outcome::{Outcome, Verdict};
use crate::identity::time::UtcMillis;

/// Seconds that are looked back.
const SECONDS: usize = 10;

/// What passed; shared by the writer and whoever shows it.
#[derive(Clone, Debug, Default)]
pub struct Pulse(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    total: AtomicU64,
    ignored: AtomicU64,
    /// (second since 1970, slowest event seen then in milliseconds), each second in its place.
    slowest: Mutex<[(i64, u64); SECONDS]>,
}

/// What passed until a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PulseReading {
    /// Outcomes since the start.
    pub total: u64,
    /// Of those, events that changed nothing.
    pub ignored: u64,
    /// From an event's own time to when queries see it, the longest of the last ten seconds; `None` without a logon.
    pub slowest: Option<Duration>,
}

impl Pulse {
    /// Counts outcomes that became visible at `now`.
    pub(super) fn count(&self, outcomes: &[Outcome], now: UtcMillis) {
        if outcomes.is_empty() {
            return;
        }
        let is_ignored = |outcome: &&Outcome| matches!(outcome.verdict, Verdict::Ignored(_));
        let ignored = outcomes.iter().filter(is_ignored).count();
        self.0
            .total
            .fetch_add(outcomes.len() as u64, Ordering::Relaxed);
        self.0.ignored.fetch_add(ignored as u64, Ordering::Relaxed);
        let late = outcomes.iter().filter(|outcome| is_seen(outcome));
        let late = late.map(|outcome| now.since(outcome.occurred_at)).max();
        let Some(late) = late else { return };
        let millis = u64::try_from(late.as_millis()).unwrap_or(u64::MAX);
        let (second, place) = second(now);
        let mut slowest = self.0.slowest.lock();
        if let Some(kept) = slowest.get_mut(place) {
            *kept = if kept.0 == second {
                (second, kept.1.max(millis))
            } else {
                (second, millis)
            };
        }
    }

    /// What passed until now.
    #[must_use]
    pub fn read(&self, now: UtcMillis) -> PulseReading {
        let (second, _) = second(now);
        let oldest = second - i64::try_from(SECONDS).unwrap_or(i64::MAX);
        let slowest = self.0.slowest.lock();
        let of_late = slowest.iter().filter(|kept| kept.0 > oldest && kept.0 > 0);
        PulseReading {
            total: self.0.total.load(Ordering::Relaxed),
            ignored: self.0.ignored.load(Ordering::Relaxed),
            slowest: of_late.map(|kept| kept.1).max().map(Duration::from_millis),
        }
    }
}

/// Whether the outcome is one that queries see.
fn is_seen(outcome: &Outcome) -> bool {
    matches!(outcome.verdict, Verdict::LoggedOn { .. } | Verdict::Renewed)
}

/// The second, and its place.
fn second(now: UtcMillis) -> (i64, usize) {
    let second = now.0.div_euclid(1000);
    let place = second.rem_euclid(i64::try_from(SECONDS).unwrap_or(i64::MAX));
    (second, usize::try_from(place).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::outcome::IgnoreReason;

    fn outcome(at: i64, verdict: Verdict) -> Outcome {
        Outcome {
            producer: "dc1".into(),
            record: "4768 #1".into(),
            occurred_at: UtcMillis(at),
            address: None,
            subject: "corp.example.com\\alice".into(),
            verdict,
        }
    }

    #[test]
    fn the_slowest_logon_of_the_last_ten_seconds_is_shown() {
        let pulse = Pulse::default();
        let now = UtcMillis(1_800_000_000_000);
        assert_eq!(pulse.read(now), PulseReading::default());
        let ignored = Verdict::Ignored(IgnoreReason::Older);
        let logon = || Verdict::LoggedOn { displaced: None };
        let late = [
            outcome(now.0 - 250, logon()),
            outcome(now.0 - 90_000, ignored),
            outcome(now.0 - 40, Verdict::Renewed),
        ];
        pulse.count(&late, now);
        let read = |seconds| pulse.read(now.after(Duration::from_secs(seconds)));
        let slowest = Some(Duration::from_millis(250));
        assert_eq!(
            read(9),
            PulseReading {
                total: 3,
                ignored: 1,
                slowest
            }
        );
        assert_eq!(read(10).slowest, None);
        pulse.count(
            &[outcome(now.0 + 9_990, logon())],
            now.after(Duration::from_secs(10)),
        );
        assert_eq!(read(10).slowest, Some(Duration::from_millis(10)));
    }
}
