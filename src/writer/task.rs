//! The writer task: takes batches in order, applies them in short slices, wakes for deadlines.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::kept::{self, Handover};
use super::metrics::{EventMetrics, set_totals};
use super::{
    Delivery, Done, EndedQueue, Following, Intake, OUTCOME_BATCHES, Outcomes, PolicyGate, Pulse,
    Reader,
};
use crate::identity::collector::CollectorBatch;
use crate::identity::event::Bookmark;
use crate::identity::outcome::{Outcome, Verdict};
use crate::identity::policy::Policy;
use crate::identity::{Applied, Batch, Core};
use crate::runtime::clock;
use crate::runtime::report::Reports;

/// Events applied in one hold of the lock: some hundred microseconds.
const SLICE_EVENTS: usize = 256;

/// Deadlines and tombstones ended in one hold of the lock.
const SLICE_DEADLINES: usize = 1024;

/// The longest the writer sleeps: it sees a jump of the clock this late at most, and feeds the gauges.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// How soon changes are handed over for which there was no room.
const RETRY: Duration = Duration::from_millis(2);

/// The task that owns the core.
pub struct Writer {
    core: Arc<RwLock<Core>>,
    deliveries: mpsc::Receiver<Delivery>,
    policies: mpsc::Receiver<(Policy, oneshot::Sender<()>)>,
    outcomes: broadcast::Sender<Arc<[Outcome]>>,
    /// Holds of the lock so far.
    step: u64,
    /// Changes are left that could not be handed over.
    left: bool,
    /// More is due than was ended so far.
    ending: bool,
    /// The last step that changed something: once it is safe, all that was applied is.
    changed_at: u64,
    handover: Handover,
    changes: watch::Sender<()>,
    metrics: EventMetrics,
    pulse: Pulse,
    ended: EndedQueue,
    reports: Reports,
    written: Vec<Outcome>,
}

/// What the rest of the process holds of the writer.
#[derive(Clone, Debug)]
pub struct WriterParts {
    /// Where producers put batches.
    pub intake: Intake,
    /// How outputs read.
    pub reader: Reader,
    /// Where producers report, and the writer for them.
    pub reports: Reports,
    /// What became of events.
    pub outcomes: Outcomes,
    /// How much passes, and how late.
    pub pulse: Pulse,
    /// Sessions that ended, if the policy wants a history.
    pub ended: EndedQueue,
    /// How a reload changes the policy.
    pub policy: PolicyGate,
    /// Where whoever keeps the table on the disk hears what changed; without him nothing is ever safe there.
    pub following: Following,
    /// Wakes whoever follows the journal whenever the table may have changed; closed when the writer ends.
    pub changes: watch::Receiver<()>,
}

/// A batch made the core panic: its table cannot be trusted any more.
#[derive(Debug)]
pub struct Panicked {
    /// What was being applied, for the file that is written aside.
    pub what: String,
}

impl Writer {
    /// A writer over a core, and the handles for everybody else; `reports` hear what the table ignored of whom.
    #[must_use]
    pub fn new(core: Core, reports: Reports) -> (Self, WriterParts) {
        let core = Arc::new(RwLock::new(core));
        let (handover, following, durability) = kept::channel();
        let (intake, deliveries) = Intake::channel(durability);
        let (policy, policies) = mpsc::channel(1);
        let (outcomes, _) = broadcast::channel(OUTCOME_BATCHES);
        let (wake, changes) = watch::channel(());
        let parts = WriterParts {
            intake,
            reader: Reader::new(Arc::clone(&core)),
            reports: reports.clone(),
            outcomes: Outcomes(outcomes.clone()),
            pulse: Pulse::default(),
            ended: EndedQueue::default(),
            policy: PolicyGate(policy),
            following,
            changes,
        };
        let (metrics, pulse) = (EventMetrics::default(), parts.pulse.clone());
        let ended = parts.ended.clone();
        // What ended because the table was restored.
        ended.push(core.write().take_ended());
        (
            Self {
                core,
                deliveries,
                policies,
                outcomes,
                step: 0,
                left: false,
                ending: false,
                changed_at: 0,
                handover,
                changes: wake,
                metrics,
                pulse,
                ended,
                reports,
                written: Vec::new(),
            },
            parts,
        )
    }

    /// Applies batches until `stop`, then what is queued, then ends.
    ///
    /// # Errors
    /// [`Panicked`] as soon as the core panics; nothing is applied after that.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), Panicked> {
        loop {
            let sleep = self.sleep_for();
            if sleep.is_zero() {
                self.advance()?;
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some((policy, done)) = self.policies.recv() => {
                    self.replace_policy(policy)?;
                    let _gone = done.send(());
                }
                delivery = self.deliveries.recv() => match delivery {
                    Some(delivery) => self.deliver(delivery).await?,
                    None => break,
                },
                () = tokio::time::sleep(sleep) => self.advance()?,
            }
        }
        self.deliveries.close();
        while let Some(delivery) = self.deliveries.recv().await {
            self.deliver(delivery).await?;
        }
        self.handover.finish(&self.core, self.step).await;
        Ok(())
    }

    async fn deliver(&mut self, delivery: Delivery) -> Result<(), Panicked> {
        let Delivery { batch, done } = delivery;
        let mut total = Applied::default();
        let mut verdicts = Vec::new();
        for slice in slices(batch) {
            let applied = self.apply(slice)?;
            total.applied += applied.applied;
            total.ignored += applied.ignored;
            total.full_read_wanted |= applied.full_read_wanted;
            if let Some(Done::Verdicts(_)) = done {
                // An event has exactly one outcome.
                verdicts.extend(self.written.iter().map(|outcome| outcome.verdict.clone()));
            }
            tokio::task::yield_now().await;
        }
        match done {
            Some(Done::Counts(done)) => {
                let _gone = done.send((total, self.changed_at));
            }
            Some(Done::Verdicts(done)) => {
                let _gone = done.send((verdicts, self.changed_at));
            }
            None => {}
        }
        Ok(())
    }

    fn apply(&mut self, batch: Batch) -> Result<Applied, Panicked> {
        let what = describe(&batch);
        let applied = self.write(what, |core, outcomes| {
            core.apply(batch, clock::utc_now(), outcomes)
        })?;
        self.changed();
        Ok(applied)
    }

    fn advance(&mut self) -> Result<(), Panicked> {
        let what = || "deadlines".to_owned();
        let (now, ending) = (clock::utc_now(), self.ending);
        self.ending = self.write(what, |core, outcomes| {
            // Whoever is in the middle of ending what is due has prepared for it.
            let begins = !ending && core.prepare(now, SLICE_DEADLINES);
            !begins && core.advance(now, SLICE_DEADLINES, outcomes)
        })?;
        // Most wake-ups end nothing; tombstones that go are let go at a restart as well.
        if !self.written.is_empty() {
            self.changed();
        }
        set_totals(&self.core.read().totals());
        Ok(())
    }

    fn replace_policy(&mut self, policy: Policy) -> Result<(), Panicked> {
        let what = || "a new policy".to_owned();
        self.write(what, |core, outcomes| {
            core.set_policy(policy, clock::utc_now(), outcomes)
        })?;
        self.changed();
        Ok(())
    }

    /// Followers have something to look for.
    fn changed(&self) {
        self.changes.send_replace(());
    }

    /// One hold of the lock; then counts and tells what came of it.
    fn write<T>(
        &mut self,
        what: impl FnOnce() -> String,
        work: impl FnOnce(&mut Core, &mut Vec<Outcome>) -> T,
    ) -> Result<T, Panicked> {
        self.written.clear();
        let outcomes = &mut self.written;
        self.step += 1;
        let (core, ended) = (&self.core, &self.ended);
        let (handover, step) = (&mut self.handover, self.step);
        let result = catch_unwind(AssertUnwindSafe(|| {
            let mut core = core.write();
            let value = work(&mut core, outcomes);
            // In the same hold: whoever does not find a session in the table finds it there.
            ended.push(core.take_ended());
            let changed = core.has_changes();
            let left = handover.hand_over(&mut core, step);
            (value, changed, left)
        }));
        let (value, changed, left) = result.map_err(|_| Panicked { what: what() })?;
        self.left = left;
        if changed {
            self.changed_at = step;
        }
        let now = clock::utc_now();
        self.metrics.count(&self.written, now);
        self.pulse.count(&self.written, now);
        self.report_ignored();
        if !self.written.is_empty() && self.outcomes.receiver_count() > 0 {
            let _nobody = self.outcomes.send(Arc::from(self.written.as_slice()));
        }
        Ok(value)
    }

    /// Adds what the table ignored to its producers' reports.
    fn report_ignored(&self) {
        let mut counts: BTreeMap<(&str, &'static str), u64> = BTreeMap::new();
        for outcome in &self.written {
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

    fn sleep_for(&self) -> Duration {
        let longest = if self.left { RETRY } else { LONGEST_SLEEP };
        let due = self.core.read().poll_timeout();
        due.map_or(longest, |(at, _)| at.since(clock::utc_now()).min(longest))
    }
}

/// The batch in pieces that each take one short hold of the lock; the bookmark goes with the last.
fn slices(batch: Batch) -> Vec<Batch> {
    match batch {
        Batch::Events { events, bookmark } => cut(events, bookmark, SLICE_EVENTS, |slice| {
            let (events, bookmark) = slice;
            Batch::Events { events, bookmark }
        }),
        Batch::Collector(CollectorBatch {
            collector,
            reports,
            bookmark,
        }) => cut(reports, bookmark, SLICE_EVENTS, |(reports, bookmark)| {
            Batch::Collector(CollectorBatch {
                collector: collector.clone(),
                reports,
                bookmark,
            })
        }),
        whole => vec![whole],
    }
}

/// Pieces of at most so many; one at least.
fn cut<T>(
    items: Vec<T>,
    bookmark: Option<Bookmark>,
    most: usize,
    make: impl Fn((Vec<T>, Option<Bookmark>)) -> Batch,
) -> Vec<Batch> {
    if items.len() <= most {
        return vec![make((items, bookmark))];
    }
    let mut pieces = Vec::with_capacity(items.len().div_ceil(most));
    let mut items = items.into_iter();
    while items.len() > most {
        pieces.push(make((items.by_ref().take(most).collect(), None)));
    }
    pieces.push(make((items.collect(), bookmark)));
    pieces
}

/// What a batch is, in a few words that are cheap to keep until it is applied.
fn describe(batch: &Batch) -> impl FnOnce() -> String + use<> {
    let (kind, first) = match batch {
        Batch::Events { events, .. } => (
            "events",
            events
                .first()
                .map(|e| (e.producer.clone(), e.record.clone(), e.occurred_at)),
        ),
        Batch::Directory(_) => ("directory", None),
        Batch::LogOff(_) => ("log-off", None),
        Batch::Collector(batch) => (
            "a Collector's reports",
            batch.reports.first().and_then(|report| {
                let fact = report.user.first().or(report.device.first())?;
                Some((batch.collector.clone(), fact.record.clone(), fact.at))
            }),
        ),
        Batch::CollectorStanding { .. } => ("a Collector's standing", None),
        Batch::DropDirectory { .. } => ("the end of a directory", None),
        Batch::Probe(report) => (
            "a probe",
            Some((
                report.producer.clone(),
                report.record.clone(),
                report.asked_at,
            )),
        ),
    };
    move || format!("{kind}, first {first:?}")
}
