//! The writer of a table that has its order and its time from elsewhere.
//!
//! What the process asks for is not applied but handed on ([`Asked`]); what comes back in the order is, each piece in one
//! hold of the lock with what the order has to remember. Nothing else changes the table: no clock is read for it.

use std::time::Duration;

use compact_str::CompactString;
use tokio::sync::{mpsc, oneshot};

use super::hands::Hands;
use super::task::{self, Asked, Panicked, SLICE_GROUPS, WriterParts};
use super::{Done, Durability};
use crate::identity::outcome::{Outcome, Verdict};
use crate::identity::policy::Policy;
use crate::identity::time::UtcMillis;
use crate::identity::view::Epoch;
use crate::identity::{Applied, Batch, Core};
use crate::runtime::report::Reports;

/// Deadlines and tombstones ended by one [`Step::Advance`]; part of what makes tables equal, so never to be changed alone.
const ADVANCE_LIMIT: usize = 1024;

/// How often the gauges are fed.
const SHOW_EVERY: Duration = Duration::from_secs(1);

/// How soon changes are handed over for which there was no room.
const RETRY: Duration = Duration::from_millis(2);

/// What the order says next.
#[derive(Debug)]
pub enum Ordered {
    /// Steps of one instant.
    Steps {
        /// The table's time for all of them.
        now: UtcMillis,
        /// In this order, in one hold of the lock, but for groups that a directory's batch leaves to further ones.
        steps: Vec<Step>,
        /// Bookmarks to be kept in the last of these holds: until then nothing is a table of one instant.
        keep: Vec<(CompactString, Box<[u8]>)>,
    },
    /// Another table in place of this one.
    Replace(Box<Core>),
}

/// One step.
#[derive(Debug)]
pub enum Step {
    /// A batch, and who wants to know what became of it.
    Batch(Box<Batch>, Option<Done>),
    /// Ends what is due, at most 1,024 sessions and tombstones.
    Advance,
    /// Another policy.
    Policy(Box<Policy>),
    /// Another epoch: whoever shows a cookie of before is told everything.
    Renew(Epoch),
    /// Somebody wants to know when the steps are applied.
    Tell(oneshot::Sender<()>),
}

/// The task that owns the core.
pub struct OrderedWriter {
    hands: Hands,
}

/// An answer that is ready.
enum Answer {
    Counts(oneshot::Sender<(Applied, u64)>, Applied),
    Verdicts(oneshot::Sender<(Vec<Verdict>, u64)>, Vec<Verdict>),
    Told(oneshot::Sender<()>),
}

impl OrderedWriter {
    /// A writer over a core, the handles for everybody else, and what the process asks for. What was applied counts as
    /// safe: whoever gives the order keeps it.
    #[must_use]
    pub fn new(core: Core, reports: Reports) -> (Self, WriterParts, Asked) {
        let (hands, asked, parts) = task::prepare(core, reports, |_disk| Durability::never());
        (Self { hands }, parts, asked)
    }

    /// Applies what comes until nothing can come any more.
    ///
    /// # Errors
    /// [`Panicked`] as soon as the core panics; nothing is applied after that.
    pub async fn run(mut self, mut orders: mpsc::Receiver<Ordered>) -> Result<(), Panicked> {
        let mut show = tokio::time::interval(SHOW_EVERY);
        loop {
            tokio::select! {
                biased;
                _tick = show.tick() => self.hands.show_totals(),
                order = orders.recv() => match order {
                    Some(order) => self.apply(order).await?,
                    None => break,
                },
                () = tokio::time::sleep(RETRY), if self.hands.left => self.hand_over()?,
            }
        }
        self.hands.finish().await;
        Ok(())
    }

    async fn apply(&mut self, order: Ordered) -> Result<(), Panicked> {
        match order {
            Ordered::Steps { now, steps, keep } => self.steps(now, steps, keep).await,
            Ordered::Replace(core) => self.replace(*core),
        }
    }

    async fn steps(
        &mut self,
        now: UtcMillis,
        steps: Vec<Step>,
        mut keep: Vec<(CompactString, Box<[u8]>)>,
    ) -> Result<(), Panicked> {
        if steps.iter().any(|step| matches!(step, Step::Advance)) {
            // In holds of its own, so that each is short; only the time passes by it.
            while self.hands.write(
                || "deadlines".to_owned(),
                |core, _outcomes| core.prepare(now, ADVANCE_LIMIT),
            )? {}
        }
        let mut answers = Vec::new();
        let mut steps = steps.into_iter();
        loop {
            let what = describe(steps.as_slice(), self.hands.begun);
            self.hands.write(what, |core, outcomes| {
                if core.go_on(SLICE_GROUPS) {
                    return;
                }
                for step in steps.by_ref() {
                    answers.extend(apply(core, step, now, outcomes));
                    if !core.is_whole() {
                        return;
                    }
                }
                for (key, value) in keep.drain(..) {
                    core.keep(key, value);
                }
            })?;
            if !self.hands.begun {
                break;
            }
            self.hands.changed();
            tokio::task::yield_now().await;
        }
        let step = self.hands.changed_at;
        for answer in answers {
            // Whoever asked may have gone.
            match answer {
                Answer::Counts(done, applied) => drop(done.send((applied, step))),
                Answer::Verdicts(done, verdicts) => drop(done.send((verdicts, step))),
                Answer::Told(done) => drop(done.send(())),
            }
        }
        self.hands.changed();
        Ok(())
    }

    /// What ended meanwhile is not known: the history is told of a hole.
    fn replace(&mut self, new: Core) -> Result<(), Panicked> {
        self.hands.handover.begin_anew();
        let ended = self.hands.ended.clone();
        let what = || "another table".to_owned();
        self.hands.write(what, |core, _outcomes| {
            if let (Some(from), Some(until)) = (core.now(), new.now()) {
                ended.lose(from.min(until), until);
            }
            *core = new;
            core.note_all_changed();
        })?;
        self.hands.changed();
        Ok(())
    }

    fn hand_over(&mut self) -> Result<(), Panicked> {
        self.hands
            .write(|| "nothing".to_owned(), |_core, _outcomes| ())
    }
}

fn apply(
    core: &mut Core,
    step: Step,
    now: UtcMillis,
    outcomes: &mut Vec<Outcome>,
) -> Option<Answer> {
    let before = outcomes.len();
    match step {
        Step::Batch(batch, done) => {
            let applied = core.begin(*batch, now, outcomes);
            core.go_on(SLICE_GROUPS);
            let verdicts = outcomes.iter().skip(before).map(|o| o.verdict.clone());
            done.map(|done| match done {
                Done::Counts(done) => Answer::Counts(done, applied),
                Done::Verdicts(done) => Answer::Verdicts(done, verdicts.collect()),
            })
        }
        Step::Advance => {
            let _more = core.advance(now, ADVANCE_LIMIT, outcomes);
            None
        }
        Step::Policy(policy) => {
            core.set_policy(*policy, now, outcomes);
            None
        }
        Step::Renew(epoch) => {
            core.begin_epoch(epoch);
            None
        }
        Step::Tell(done) => Some(Answer::Told(done)),
    }
}

/// What the steps are, in a few words.
fn describe(steps: &[Step], begun: bool) -> impl FnOnce() -> String + use<> {
    let first = steps.first().map(|step| match step {
        Step::Batch(batch, _) => task::describe(batch)(),
        Step::Advance => "deadlines".to_owned(),
        Step::Policy(_) => "a new policy".to_owned(),
        Step::Renew(_) => "a new epoch".to_owned(),
        Step::Tell(_) => "nothing".to_owned(),
    });
    let count = steps.len();
    let before = if begun {
        "groups, after a directory's batch, then "
    } else {
        ""
    };
    move || format!("{before}{count} steps of the order, first {first:?}")
}
