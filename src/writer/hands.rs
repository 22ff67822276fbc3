//! One hold of the lock: work on the core, then count and tell what came of it.
//!
//! What is done in it, and in which order, is decided by whoever holds these hands: [`super::Writer`] by the queue and the
//! clock, [`super::OrderedWriter`] by an order from elsewhere.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parking_lot::{RwLock, RwLockWriteGuard};
use tokio::sync::{broadcast, watch};

use super::kept::Handover;
use super::metrics::{EventMetrics, set_totals};
use super::{EndedQueue, Panicked, Pulse, WriterParts};
use crate::identity::Core;
use crate::identity::outcome::{Outcome, Verdict};
use crate::runtime::clock;
use crate::runtime::report::Reports;

/// The core, and everybody who is told.
pub(super) struct Hands {
    pub(super) core: Arc<RwLock<Core>>,
    outcomes: broadcast::Sender<Arc<[Outcome]>>,
    /// Holds of the lock so far.
    step: u64,
    /// Changes are left that could not be handed over.
    pub(super) left: bool,
    /// A batch was begun and goes on in the next hold, before anything else.
    pub(super) begun: bool,
    /// The last step that changed something: once it is safe, all that was applied is.
    pub(super) changed_at: u64,
    pub(super) handover: Handover,
    changes: watch::Sender<()>,
    metrics: EventMetrics,
    pulse: Pulse,
    pub(super) ended: EndedQueue,
    reports: Reports,
    /// What came of the last hold.
    pub(super) written: Arc<[Outcome]>,
}

impl Hands {
    pub(super) fn new(
        core: Arc<RwLock<Core>>,
        (handover, reports): (Handover, Reports),
        (outcomes, changes): (broadcast::Sender<Arc<[Outcome]>>, watch::Sender<()>),
        parts: &WriterParts,
    ) -> Self {
        // What ended because the table was restored.
        parts.ended.push(core.write().take_ended());
        Self {
            core,
            outcomes,
            step: 0,
            left: false,
            begun: false,
            changed_at: 0,
            handover,
            changes,
            metrics: EventMetrics::default(),
            pulse: parts.pulse.clone(),
            ended: parts.ended.clone(),
            reports,
            written: Arc::from([]),
        }
    }

    /// Followers have something to look for.
    pub(super) fn changed(&self) {
        self.changes.send_replace(());
    }

    /// One hold of the lock; then counts and tells what came of it.
    pub(super) fn write<T>(
        &mut self,
        what: impl FnOnce() -> String,
        work: impl FnOnce(&mut Core, &mut Vec<Outcome>) -> T,
    ) -> Result<T, Panicked> {
        // As many as came of the last is a good guess.
        let mut outcomes = Vec::with_capacity(self.written.len());
        self.step += 1;
        let (core, ended) = (&self.core, &self.ended);
        let (handover, step) = (&mut self.handover, self.step);
        let result = catch_unwind(AssertUnwindSafe(|| {
            let mut core = core.write();
            let value = work(&mut core, &mut outcomes);
            // In the same hold: whoever does not find a session in the table finds it there.
            ended.push(core.take_ended());
            let changed = core.has_changes();
            let left = handover.hand_over(&mut core, step);
            let begun = !core.is_whole();
            let rest = core.take_rest();
            if begun {
                // Whoever waits to read comes before the next hold, which follows at once.
                RwLockWriteGuard::unlock_fair(core);
            } else {
                drop(core);
            }
            // Not in the hold: it may take longer than everything else in it.
            drop(rest);
            (value, changed, left, begun)
        }));
        let (value, changed, left, begun) = result.map_err(|_| Panicked { what: what() })?;
        self.written = Arc::from(outcomes);
        self.left = left;
        self.begun = begun;
        if changed {
            self.changed_at = step;
        }
        let now = clock::utc_now();
        self.metrics.count(&self.written, now);
        self.pulse.count(&self.written, now);
        self.report_ignored();
        if !self.written.is_empty() && self.outcomes.receiver_count() > 0 {
            let _nobody = self.outcomes.send(Arc::clone(&self.written));
        }
        Ok(value)
    }

    /// Adds what the table ignored to its producers' reports.
    fn report_ignored(&self) {
        let mut counts: BTreeMap<(&str, &'static str), u64> = BTreeMap::new();
        for outcome in &*self.written {
            if let Verdict::Ignored(reason) = outcome.verdict {
                *counts
                    .entry((&outcome.producer, reason.as_str()))
                    .or_default() += 1;
            }
        }
        for ((producer, reason), records) in counts {
            self.reports.count_ignored(producer, reason, records);
        }
    }

    /// The gauges.
    pub(super) fn show_totals(&self) {
        set_totals(&self.core.read().totals());
    }

    /// Hands over what is left at the end.
    pub(super) async fn finish(self) {
        self.handover.finish(&self.core, self.step).await;
    }
}
