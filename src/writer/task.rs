//! The writer task: takes batches in order, applies them in short slices, wakes for deadlines.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::hands::Hands;
use super::kept;
use super::{
    Delivery, Done, Durability, EndedQueue, Following, Intake, OUTCOME_BATCHES, Outcomes,
    PolicyGate, Pulse, Reader,
};
use crate::identity::collector::CollectorBatch;
use crate::identity::event::Bookmark;
use crate::identity::policy::Policy;
use crate::identity::{Applied, Batch, Core};
use crate::runtime::clock;
use crate::runtime::report::Reports;

/// Events applied in one hold of the lock: some hundred microseconds.
const SLICE_EVENTS: usize = 256;

/// Users and devices whose groups are read anew in one hold of the lock: a millisecond or two.
pub(super) const SLICE_GROUPS: usize = 256;

/// Deadlines and tombstones ended in one hold of the lock.
const SLICE_DEADLINES: usize = 1024;

/// The longest the writer sleeps: it sees a jump of the clock this late at most, and feeds the gauges.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// How soon changes are handed over for which there was no room.
const RETRY: Duration = Duration::from_millis(2);

/// The task that owns the core.
pub struct Writer {
    hands: Hands,
    asked: Asked,
    /// More is due than was ended so far.
    ending: bool,
}

/// What the process wants of the table.
#[derive(Debug)]
pub struct Asked {
    /// Batches.
    pub deliveries: mpsc::Receiver<Delivery>,
    /// Policies; each is answered when the table obeys it.
    pub policies: mpsc::Receiver<(Policy, oneshot::Sender<()>)>,
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

/// What every writer works with, and the handles of everybody else; `durability` as the intake waits for it.
pub(super) fn prepare(
    core: Core,
    reports: Reports,
    durability: impl FnOnce(Durability) -> Durability,
) -> (Hands, Asked, WriterParts) {
    let core = Arc::new(RwLock::new(core));
    let (handover, following, on_disk) = kept::channel();
    let (intake, deliveries) = Intake::channel(durability(on_disk));
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
    let hands = Hands::new(core, (handover, reports), (outcomes, wake), &parts);
    let asked = Asked {
        deliveries,
        policies,
    };
    (hands, asked, parts)
}

impl Writer {
    /// A writer over a core, and the handles for everybody else; `reports` hear what the table ignored of whom.
    #[must_use]
    pub fn new(core: Core, reports: Reports) -> (Self, WriterParts) {
        let (hands, asked, parts) = prepare(core, reports, |durability| durability);
        let writer = Self {
            hands,
            asked,
            ending: false,
        };
        (writer, parts)
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
                Some((policy, done)) = self.asked.policies.recv() => {
                    self.replace_policy(policy)?;
                    let _gone = done.send(());
                }
                delivery = self.asked.deliveries.recv() => match delivery {
                    Some(delivery) => self.deliver(delivery).await?,
                    None => break,
                },
                () = tokio::time::sleep(sleep) => self.advance()?,
            }
        }
        self.asked.deliveries.close();
        while let Some(delivery) = self.asked.deliveries.recv().await {
            self.deliver(delivery).await?;
        }
        self.hands.finish().await;
        Ok(())
    }

    async fn deliver(&mut self, delivery: Delivery) -> Result<(), Panicked> {
        let Delivery { batch, done, .. } = delivery;
        let mut total = Applied::default();
        let mut verdicts = Vec::new();
        for slice in slices(batch) {
            let applied = self.apply(slice)?;
            total.applied += applied.applied;
            total.ignored += applied.ignored;
            total.full_read_wanted |= applied.full_read_wanted;
            if let Some(Done::Verdicts(_)) = done {
                // An event has exactly one outcome.
                verdicts.extend(
                    self.hands
                        .written
                        .iter()
                        .map(|outcome| outcome.verdict.clone()),
                );
            }
            tokio::task::yield_now().await;
            while self.hands.begun {
                self.go_on()?;
                tokio::task::yield_now().await;
            }
        }
        match done {
            Some(Done::Counts(done)) => {
                let _gone = done.send((total, self.hands.changed_at));
            }
            Some(Done::Verdicts(done)) => {
                let _gone = done.send((verdicts, self.hands.changed_at));
            }
            None => {}
        }
        Ok(())
    }

    fn apply(&mut self, batch: Batch) -> Result<Applied, Panicked> {
        let what = describe(&batch);
        let applied = self.hands.write(what, |core, outcomes| {
            let applied = core.begin(batch, clock::utc_now(), outcomes);
            core.go_on(SLICE_GROUPS);
            applied
        })?;
        self.hands.changed();
        Ok(applied)
    }

    /// Goes on with the batch that was begun.
    fn go_on(&mut self) -> Result<(), Panicked> {
        let what = || "groups, after a directory's batch".to_owned();
        self.hands
            .write(what, |core, _outcomes| core.go_on(SLICE_GROUPS))?;
        self.hands.changed();
        Ok(())
    }

    fn advance(&mut self) -> Result<(), Panicked> {
        let what = || "deadlines".to_owned();
        let (now, ending) = (clock::utc_now(), self.ending);
        self.ending = self.hands.write(what, |core, outcomes| {
            // Whoever is in the middle of ending what is due has prepared for it.
            let begins = !ending && core.prepare(now, SLICE_DEADLINES);
            !begins && core.advance(now, SLICE_DEADLINES, outcomes)
        })?;
        // Most wake-ups end nothing; tombstones that go are let go at a restart as well.
        if !self.hands.written.is_empty() {
            self.hands.changed();
        }
        self.hands.show_totals();
        Ok(())
    }

    fn replace_policy(&mut self, policy: Policy) -> Result<(), Panicked> {
        let what = || "a new policy".to_owned();
        self.hands.write(what, |core, outcomes| {
            core.set_policy(policy, clock::utc_now(), outcomes)
        })?;
        self.hands.changed();
        Ok(())
    }

    fn sleep_for(&self) -> Duration {
        let longest = if self.hands.left {
            RETRY
        } else {
            LONGEST_SLEEP
        };
        let due = self.hands.core.read().poll_timeout();
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
pub(super) fn describe(batch: &Batch) -> impl FnOnce() -> String + use<> {
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
