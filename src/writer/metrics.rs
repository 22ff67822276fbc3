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
    outcomes: HashMap<&'static str, Counter>,
}

impl EventMetrics {
    /// Counts a batch of outcomes that became visible at `now`.
    pub(super) fn count(&mut self, outcomes: &[Outcome], now: UtcMillis) {
        for outcome in outcomes {
            let word = word(&outcome.verdict);
            if !self.0.contains_key(&outcome.producer) {
                let lag = histogram!("jims_event_lag_seconds", "producer" => outcome.producer.to_string());
                self.0.insert(
                    outcome.producer.clone(),
                    ProducerMetrics {
                        lag,
                        outcomes: HashMap::new(),
                    },
                );
            }
            let Some(producer) = self.0.get_mut(&outcome.producer) else {
                continue;
            };
            let counter = producer.outcomes.entry(word).or_insert_with(
                || counter!("jims_events_total", "producer" => outcome.producer.to_string(), "outcome" => word),
            );
            counter.increment(1);
            if matches!(outcome.verdict, Verdict::LoggedOn { .. } | Verdict::Renewed) {
                producer
                    .lag
                    .record(now.since(outcome.occurred_at).as_secs_f64());
            }
        }
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
