//! A preflight: one thing after the other is tried, and each step keeps its time, what was seen and what to do about it.
//!
//! Whoever tries things fills it; whether all is well follows from the steps. Nothing is tried here.

use std::time::{Duration, Instant};

use super::clock::monotonic_now;

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What was tried, one or two words.
    pub name: String,
    /// Whether it may go on like this.
    pub ok: bool,
    /// How long it took.
    pub took: Duration,
    /// What was seen: one sentence without full stop.
    pub detail: String,
    /// What to do; empty: nothing. A step that is well may still carry advice.
    pub remedy: String,
}

/// What was tried of one target so far.
#[derive(Debug)]
pub struct Preflight {
    steps: Vec<Step>,
    begun: Instant,
}

impl Default for Preflight {
    fn default() -> Self {
        Self {
            steps: Vec::new(),
            begun: monotonic_now(),
        }
    }
}

impl Preflight {
    /// The step since the last one went well.
    pub fn pass(&mut self, name: impl Into<String>, detail: impl Into<String>) {
        self.end(name.into(), true, detail.into(), String::new());
    }

    /// The step went well, and something could be better.
    pub fn advise(
        &mut self,
        name: impl Into<String>,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.end(name.into(), true, detail.into(), remedy.into());
    }

    /// The step failed.
    pub fn fail(
        &mut self,
        name: impl Into<String>,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.end(name.into(), false, detail.into(), remedy.into());
    }

    /// Whether every step went well.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.steps.iter().all(|step| step.ok)
    }

    /// The steps, in order.
    #[must_use]
    pub fn into_steps(self) -> Vec<Step> {
        self.steps
    }

    fn end(&mut self, name: String, ok: bool, detail: String, remedy: String) {
        let now = monotonic_now();
        self.steps.push(Step {
            name,
            ok,
            took: now.saturating_duration_since(self.begun),
            detail,
            remedy,
        });
        self.begun = now;
    }
}
