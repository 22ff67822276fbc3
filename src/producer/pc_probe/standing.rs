//! Whether probing is healthy (rule 10): whether no answer means that nobody is there, or that we cannot ask.
//!
//! Counts of the last five minutes in buckets of ten seconds. Only probes that were tried count: neither those without a
//! name or credential, nor those left out because their network is silent. No verdict on sessions here.

use std::time::Duration;

use crate::identity::time::UtcMillis;

/// How far back it looks.
pub const WINDOW: Duration = Duration::from_secs(300);
/// With fewer probes than this in the window nothing is concluded from failures.
pub const ENOUGH: u64 = 20;

const BUCKET_MILLIS: i64 = 10_000;
const BUCKETS: usize = 30;

/// How a probe failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// The host answered, and refused every credential or the question.
    Refused,
    /// The host did not answer in time.
    Unreachable,
}

/// Probes of the last five minutes by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Those that were answered.
    pub answered: u64,
    /// Those that were refused.
    pub refused: u64,
    /// Those without an answer.
    pub unreachable: u64,
}

impl Counts {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.answered + self.failed()
    }

    /// Those that failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.refused + self.unreachable
    }

    /// Whether there are enough, and over 80 % failed.
    fn too_many_failed(&self) -> bool {
        self.total() >= ENOUGH && self.failed() * 5 > self.total() * 4
    }
}

/// What probes came to lately. Takes the same memory always.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// Each with the number of its ten seconds since 1970.
    buckets: [(i64, Counts); BUCKETS],
    /// The latest ten seconds; a clock set back does not bring old ones into view.
    latest: i64,
}

impl Standing {
    /// A probe was answered.
    pub fn answered(&mut self, now: UtcMillis) {
        self.bucket(now).answered += 1;
    }

    /// A probe failed.
    pub fn failed(&mut self, how: Failed, now: UtcMillis) {
        let bucket = self.bucket(now);
        match how {
            Failed::Refused => bucket.refused += 1,
            Failed::Unreachable => bucket.unreachable += 1,
        }
    }

    /// How the probes of the last five minutes ended.
    #[must_use]
    pub fn counts(&self, now: UtcMillis) -> Counts {
        let newest = number(now).max(self.latest);
        let oldest = newest - BUCKETS as i64;
        let mut sum = Counts::default();
        for (number, counts) in &self.buckets {
            if *number > oldest {
                sum.answered += counts.answered;
                sum.refused += counts.refused;
                sum.unreachable += counts.unreachable;
            }
        }
        sum
    }

    /// Whether a probe that fails says something about the host: not while every credential is suspended, nor when of
    /// at least [`ENOUGH`] probes over 80 % failed.
    #[must_use]
    pub fn healthy(&self, all_suspended: bool, now: UtcMillis) -> bool {
        !all_suspended && !self.counts(now).too_many_failed()
    }

    /// Why probing is not healthy, in one sentence; `None` while it is.
    #[must_use]
    pub fn reason(&self, all_suspended: bool, now: UtcMillis) -> Option<String> {
        if all_suspended {
            return Some("every credential is suspended".to_owned());
        }
        let counts = self.counts(now);
        counts.too_many_failed().then(|| {
            format!(
                "{} of {} probes failed in the last 5 minutes ({} refused, {} without answer)",
                counts.failed(),
                counts.total(),
                counts.refused,
                counts.unreachable
            )
        })
    }

    fn bucket(&mut self, now: UtcMillis) -> &mut Counts {
        self.latest = self.latest.max(number(now));
        let place = usize::try_from(self.latest.rem_euclid(BUCKETS as i64)).unwrap_or(0);
        let bucket = &mut self.buckets[place];
        if bucket.0 != self.latest {
            *bucket = (self.latest, Counts::default());
        }
        &mut bucket.1
    }
}

fn number(now: UtcMillis) -> i64 {
    now.0.div_euclid(BUCKET_MILLIS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: UtcMillis = UtcMillis(1_770_000_000_000);

    fn after(seconds: u64) -> UtcMillis {
        NOW.after(Duration::from_secs(seconds))
    }

    #[test]
    fn rule_10_over_80_percent_of_at_least_20_is_unhealthy() {
        let mut standing = Standing::default();
        for _ in 0..19 {
            standing.failed(Failed::Unreachable, NOW);
        }
        assert!(standing.healthy(false, NOW), "too few to tell");
        standing.failed(Failed::Refused, NOW);
        assert!(!standing.healthy(false, NOW));
        assert_eq!(
            standing.reason(false, NOW).unwrap(),
            "20 of 20 probes failed in the last 5 minutes (1 refused, 19 without answer)"
        );
        for _ in 0..5 {
            standing.answered(NOW);
        }
        assert!(
            standing.healthy(false, NOW),
            "20 of 25 are 80 %, not over it"
        );
        assert_eq!(standing.reason(false, NOW), None);
        assert!(!standing.healthy(true, NOW));
        assert_eq!(
            standing.reason(true, NOW).unwrap(),
            "every credential is suspended"
        );
    }

    #[test]
    fn what_is_older_than_five_minutes_no_longer_counts() {
        let mut standing = Standing::default();
        for _ in 0..30 {
            standing.failed(Failed::Unreachable, NOW);
        }
        assert!(!standing.healthy(false, after(290)));
        assert!(standing.healthy(false, after(300)));
        assert_eq!(standing.counts(after(300)).total(), 0);
        standing.answered(after(300));
        assert_eq!(standing.counts(after(300)).total(), 1);
        // A clock that steps back does not bring them again.
        assert_eq!(standing.counts(NOW).total(), 1);
        standing.answered(NOW);
        assert_eq!(standing.counts(after(300)).answered, 2);
    }

    proptest! {
        #[test]
        fn it_counts_like_a_list(steps in prop::collection::vec((0_u64..40_000, 0_u8..3), 0..400)) {
            let (mut standing, mut list, mut now) = (Standing::default(), Vec::new(), NOW);
            for (pause, kind) in steps {
                now = now.after(Duration::from_millis(pause));
                match kind {
                    0 => standing.answered(now),
                    1 => standing.failed(Failed::Refused, now),
                    _ => standing.failed(Failed::Unreachable, now),
                }
                list.push((number(now), kind));
                list.retain(|(number_then, _)| number(now) - number_then < BUCKETS as i64);
                let count = |wanted| list.iter().filter(|(_, kind)| *kind == wanted).count() as u64;
                let counts = standing.counts(now);
                prop_assert_eq!(counts, Counts { answered: count(0), refused: count(1), unreachable: count(2) });
                let failed = list.iter().filter(|(_, kind)| *kind != 0).count();
                let unhealthy = list.len() >= 20 && failed as f64 > 0.8 * list.len() as f64 + 1e-9;
                prop_assert_eq!(standing.healthy(false, now), !unhealthy);
                prop_assert_eq!(standing.reason(false, now).is_some(), unhealthy);
            }
        }
    }
}
