//! Counting queries: handles that are looked up once, for a look-up by name is a good part of what a short answer costs.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Counter, Histogram, counter, histogram};

use super::reading::{Kind, Outcome};

/// `jims_queries_total` and `jims_query_seconds`.
#[derive(Default)]
pub(super) struct QueryMetrics {
    answered: [[OnceLock<Counter>; Outcome::COUNT]; Kind::COUNT],
    seconds: [OnceLock<Histogram>; Kind::COUNT],
}

impl QueryMetrics {
    /// Counts a request.
    pub(super) fn count(&self, kind: Kind, outcome: Outcome) {
        let new = || counter!("jims_queries_total", "kind" => kind.as_str(), "outcome" => outcome.as_str());
        let counter = &self.answered[kind as usize][outcome as usize];
        counter.get_or_init(new).increment(1);
    }

    /// Counts how long an answer took.
    pub(super) fn took(&self, kind: Kind, took: Duration) {
        let new = || histogram!("jims_query_seconds", "kind" => kind.as_str());
        let seconds = self.seconds[kind as usize].get_or_init(new);
        seconds.record(took.as_secs_f64());
    }
}

impl std::fmt::Debug for QueryMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("QueryMetrics")
    }
}
