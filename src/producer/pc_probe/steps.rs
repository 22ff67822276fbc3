//! The steps of one probe, with their times, and which one is under way when time runs out.

use super::refusal::{Step, Trouble};
use crate::runtime::preflight::Preflight;

/// What was tried of one computer so far.
#[derive(Debug)]
pub(super) struct Steps {
    preflight: Preflight,
    doing: Step,
}

impl Steps {
    pub(super) fn new(preflight: Preflight) -> Self {
        Self {
            preflight,
            doing: Step::Name,
        }
    }

    /// A step begins.
    pub(super) fn begin(&mut self, step: Step) {
        self.doing = step;
    }

    /// The step that is under way.
    pub(super) fn doing(&self) -> Step {
        self.doing
    }

    /// The step under way went well.
    pub(super) fn pass(&mut self, detail: impl Into<String>) {
        self.preflight.pass(self.doing.as_str(), detail);
    }

    /// A step failed, and something else is tried after it.
    pub(super) fn advise_after(&mut self, trouble: &Trouble) {
        let detail = format!("{}; trying on", trouble.message);
        self.preflight
            .advise(trouble.step.as_str(), detail, trouble.remedy.clone());
    }

    /// A step failed.
    pub(super) fn fail(&mut self, trouble: &Trouble) {
        let step = trouble.step.as_str();
        self.preflight
            .fail(step, trouble.message.clone(), trouble.remedy.clone());
    }

    /// What was tried, in order.
    pub(super) fn into_preflight(self) -> Preflight {
        self.preflight
    }
}
