//! Counting what became of events: one set of cached handles for each producer, so that the writer looks up no name
//! for an event.

use std::collections::HashMap;

use metrics::{Counter, Histogram, counter, histogram};

use crate::identity::event::ProducerName;
use crate::identity::outcome::{Outcome, Verdict};
use crate::identity::time::UtcMillis;
use crate::identity::view::Totals;

/// `jims_events_total` and `jims_event_lag_seconds` of all producers.
#[derive(Default)]
pub(super) struct EventMetrics(HashMap<ProducerName, ProducerMetrics>);

struct ProducerMetrics {
    lag: Histogram,
    /// A handful of words at most.
    outcomes: Vec<(&'static str, Counter)>,
}

impl EventMetrics {
    /// Counts a batch of outcomes that became visible at `now`.
    pub(super) fn count(&mut self, outcomes: &[Outcome], now: UtcMillis) {
        // A batch is nearly always of one producer.
        for of_one in outcomes.chunk_by(|one, next| one.producer == next.producer) {
            let Some(first) = of_one.first() else {
                continue;
            };
            if !self.0.contains_key(&first.producer) {
                let metrics = ProducerMetrics::new(&first.producer);
                self.0.insert(first.producer.clone(), metrics);
            }
            if let Some(producer) = self.0.get_mut(&first.producer) {
                producer.count(&first.producer, of_one, now);
            }
        }
    }
}

impl ProducerMetrics {
    fn new(name: &ProducerName) -> Self {
        Self {
            lag: histogram!("jims_event_lag_seconds", "producer" => name.to_string()),
            outcomes: Vec::new(),
        }
    }

    fn count(&mut self, name: &ProducerName, outcomes: &[Outcome], now: UtcMillis) {
        for outcome in outcomes {
            self.counter(name, word(&outcome.verdict)).increment(1);
            if matches!(outcome.verdict, Verdict::LoggedOn { .. } | Verdict::Renewed) {
                self.lag
                    .record(now.since(outcome.occurred_at).as_secs_f64());
            }
        }
    }

    fn counter(&mut self, name: &ProducerName, word: &'static str) -> &Counter {
        let place = match self.outcomes.iter().position(|(known, _)| *known == word) {
            Some(place) => place,
            None => {
                let counter = counter!("jims_events_total", "producer" => name.to_string(), "outcome" => word);
                self.outcomes.push((word, counter));
                self.outcomes.len() - 1
            }
        };
        &self.outcomes[place].1
    }
}

/// Sets the gauges of what the table holds.
pub(super) fn set_totals(totals: &Totals) {
    let set = |name: &'static str, value: usize| {
        #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
        metrics::gauge!(name).set(value as f64);
    };
    set("jims_sessions", totals.sessions);
    set("jims_users", totals.users);
    set("jims_devices", totals.devices);
    set("jims_groups", totals.groups);
    set("jims_domains", totals.domains);
}

fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::LoggedOn { .. } => "logged-on",
        Verdict::Renewed => "renewed",
        Verdict::LoggedOff(reason) => reason.as_str(),
        Verdict::Ignored(reason) => reason.as_str(),
    }
}
