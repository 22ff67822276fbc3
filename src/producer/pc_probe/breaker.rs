//! A circuit breaker for one network: while nobody there answers, one trial at a time instead of all at once.
//!
//! It *opens* when the last 16 probes all ended without answer, nothing there answered in the last five minutes, and so
//! many wait that trying all of them would take longer than two trials. (Where few wait, trying them costs less than
//! guessing.) Then one trial runs at once, the next 30 seconds after it failed, then 60, up to 10 minutes. An answer or a
//! refusal *closes* it. After two failed trials it is *sure*: until the next trial is due, nobody has to wait for one.

use std::time::Duration;

use crate::identity::time::UtcMillis;

/// Probes without answer in a row that open it.
pub(super) const IN_A_ROW: u32 = 16;
/// An answer this recent keeps it closed.
pub(super) const HEARD_LATELY: Duration = Duration::from_secs(300);
const FIRST_SPACING: Duration = Duration::from_secs(30);
const LONGEST_SPACING: Duration = Duration::from_secs(600);
/// Failed trials that make it sure.
const SURE: u32 = 2;

/// What probes in one network came to.
#[derive(Clone, Debug, Default)]
pub(super) struct Breaker {
    without_answer: u32,
    heard: Option<UtcMillis>,
    open: Option<Open>,
}

#[derive(Clone, Debug)]
struct Open {
    since: UtcMillis,
    next_trial: UtcMillis,
    spacing: Duration,
    failed: u32,
}

/// How many may wait in a network before it pays to open: as many as are tried in the time of two trials.
pub(super) fn worth(per_subnet: usize, timeout: Duration) -> usize {
    let timeout = timeout.as_millis().max(1);
    let rounds = (2 * timeout + FIRST_SPACING.as_millis()).div_ceil(timeout);
    usize::try_from(rounds)
        .unwrap_or(usize::MAX)
        .saturating_mul(per_subnet)
}

impl Breaker {
    /// Somebody answered or refused.
    pub(super) fn heard(&mut self, now: UtcMillis) {
        *self = Self {
            without_answer: 0,
            heard: Some(now),
            open: None,
        };
    }

    /// A probe ended without answer; `trial` if it began while the breaker was open, `worth` if enough wait.
    pub(super) fn unheard(&mut self, trial: bool, worth: bool, now: UtcMillis) {
        if let Some(open) = &mut self.open {
            if trial {
                open.failed = open.failed.saturating_add(1);
                open.next_trial = now.after(open.spacing);
                open.spacing = open.spacing.saturating_mul(2).min(LONGEST_SPACING);
            }
            return;
        }
        self.without_answer = self.without_answer.saturating_add(1);
        if self.without_answer >= IN_A_ROW && worth && !self.heard_lately(now) {
            self.open = Some(Open {
                since: now,
                next_trial: now,
                spacing: FIRST_SPACING,
                failed: 0,
            });
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Since when it is open, and when the next trial is due.
    pub(super) fn opened(&self) -> Option<(UtcMillis, UtcMillis)> {
        let open = self.open.as_ref()?;
        Some((open.since, open.next_trial))
    }

    /// Whether a trial would have to wait for its time.
    pub(super) fn between_trials(&self, now: UtcMillis) -> bool {
        self.open.as_ref().is_some_and(|o| now < o.next_trial)
    }

    /// Whether those who wait need not wait for the next trial.
    pub(super) fn is_sure(&self, now: UtcMillis) -> bool {
        let open = self.open.as_ref();
        open.is_some_and(|o| o.failed >= SURE && now < o.next_trial)
    }

    /// Whether there is nothing to remember.
    pub(super) fn is_blank(&self, now: UtcMillis) -> bool {
        self.open.is_none() && self.without_answer == 0 && !self.heard_lately(now)
    }

    fn heard_lately(&self, now: UtcMillis) -> bool {
        self.heard.is_some_and(|at| now.since(at) < HEARD_LATELY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UtcMillis = UtcMillis(1_770_000_000_000);

    fn after(seconds: u64) -> UtcMillis {
        NOW.after(Duration::from_secs(seconds))
    }

    fn fail(breaker: &mut Breaker, times: u32, now: UtcMillis) {
        for _ in 0..times {
            breaker.unheard(false, true, now);
        }
    }

    #[test]
    fn it_opens_after_16_in_a_row_if_that_saves_time_and_nobody_answered_lately() {
        let mut breaker = Breaker::default();
        fail(&mut breaker, IN_A_ROW - 1, NOW);
        assert!(!breaker.is_open());
        breaker.unheard(false, false, NOW);
        assert!(!breaker.is_open(), "few wait");
        breaker.unheard(false, true, NOW);
        assert!(breaker.is_open());
        breaker.heard(NOW);
        fail(&mut breaker, 100, after(299));
        assert!(!breaker.is_open(), "somebody answered lately");
        fail(&mut breaker, 1, after(300));
        assert!(breaker.is_open());
    }

    #[test]
    fn trials_are_spaced_from_30_seconds_to_10_minutes_and_two_make_sure() {
        let mut breaker = Breaker::default();
        fail(&mut breaker, IN_A_ROW, NOW);
        assert!(!breaker.between_trials(NOW), "the first at once");
        fail(&mut breaker, 7, after(1));
        assert!(
            !breaker.between_trials(after(1)),
            "those that began before it opened are no trials"
        );
        let (mut now, mut pauses) = (after(10), Vec::new());
        for trial in 1..=7 {
            breaker.unheard(true, true, now);
            assert_eq!(breaker.is_sure(now), trial >= SURE);
            let (since, next) = breaker.opened().unwrap();
            assert_eq!(since, NOW);
            pauses.push(next.since(now).as_secs());
            assert!(!breaker.is_sure(next) && !breaker.between_trials(next));
            now = next;
        }
        assert_eq!(pauses, [30, 60, 120, 240, 480, 600, 600]);
        breaker.heard(now);
        assert!(!breaker.is_open() && !breaker.is_sure(now));
        assert!(!breaker.is_blank(now) && breaker.is_blank(now.after(HEARD_LATELY)));
    }

    #[test]
    fn it_pays_when_two_trials_are_shorter_than_trying_all() {
        assert_eq!(worth(8, Duration::from_secs(10)), 40);
        assert_eq!(worth(8, Duration::from_secs(1)), 256);
        assert!(worth(1, Duration::ZERO) > 10_000);
    }
}
