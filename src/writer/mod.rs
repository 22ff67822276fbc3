//! The one writer of the identity core, its queue, and the handle of its readers.
//!
//! Producers and directories put [`Delivery`]s into the bounded [`Intake`]; the writer task applies them in order;
//! outputs hold a [`Reader`], which cannot write. What became of each event goes to a lossy broadcast, [`Outcomes`].
//! What an event means is decided in `identity/`, never here.

mod ended;
mod hands;
mod kept;
mod metrics;
mod ordered;
mod pulse;
mod task;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{RwLock, RwLockReadGuard};
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::identity::event::IdentityEvent;
use crate::identity::outcome::{Outcome, Verdict};
use crate::identity::policy::Policy;
use crate::identity::{Applied, Batch, Core};

pub use self::ended::{EndedQueue, Lost, MAX_WAITING};
pub use self::kept::{Durability, Follower, Following, Safe, Taken};
pub use self::ordered::{Ordered, OrderedWriter, Step};
pub use self::pulse::{Pulse, PulseReading};
pub use self::task::{Asked, Panicked, Writer, WriterParts};

/// How many batches may wait; a full queue pushes back on producers.
pub const QUEUE_BATCHES: usize = 1024;

/// How many batches of outcomes a slow listener may fall behind before it misses some.
pub const OUTCOME_BATCHES: usize = 256;

/// One batch on its way to the core, with the place for the answer.
#[derive(Debug)]
pub struct Delivery {
    /// What to apply.
    pub batch: Batch,
    /// Under which lease its author speaks, if he has one.
    pub fence: Option<Fence>,
    /// Who wants to know what became of it.
    pub done: Option<Done>,
}

/// A lease under which somebody speaks: what comes of an earlier holder counts no more. Of a process of its own, nothing
/// needs one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The lease.
    pub lease: Arc<str>,
    /// Rises from holder to holder.
    pub token: u64,
}

/// Where the answer to a [`Delivery`] goes.
#[derive(Debug)]
pub enum Done {
    /// Counts, and the step that has to be safe for all of it to be.
    Counts(oneshot::Sender<(Applied, u64)>),
    /// The verdict on each event, in their order, and the step.
    Verdicts(oneshot::Sender<(Vec<Verdict>, u64)>),
}

/// Where producers put batches.
#[derive(Clone, Debug)]
pub struct Intake {
    queue: mpsc::Sender<Delivery>,
    durability: Durability,
    fence: Option<Fence>,
}

/// The writer is gone: the process is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the table takes no more events: jims is stopping")]
pub struct Stopped;

/// Why a batch was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// The queue is full; the batch is dropped, and its author counts it or has it sent again.
    Full,
    /// The process is stopping.
    Stopped,
}

impl Intake {
    /// The queue's two ends; what is applied is safe when `durability` says so.
    #[must_use]
    pub fn channel(durability: Durability) -> (Self, mpsc::Receiver<Delivery>) {
        let (queue, receiver) = mpsc::channel(QUEUE_BATCHES);
        let intake = Self {
            queue,
            durability,
            fence: None,
        };
        (intake, receiver)
    }

    /// The same queue, for somebody who speaks under a lease.
    #[must_use]
    pub fn under(&self, fence: Fence) -> Self {
        Self {
            fence: Some(fence),
            ..self.clone()
        }
    }

    fn delivery(&self, batch: Batch, done: Option<Done>) -> Delivery {
        Delivery {
            batch,
            fence: self.fence.clone(),
            done,
        }
    }

    /// How many batches wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        let room = self.queue.capacity();
        self.queue.max_capacity().saturating_sub(room)
    }

    /// Waits for room, then queues the batch.
    ///
    /// # Errors
    /// [`Stopped`] when the process is stopping.
    pub async fn send(&self, batch: Batch) -> Result<(), Stopped> {
        self.queue
            .send(self.delivery(batch, None))
            .await
            .map_err(|_| Stopped)
    }

    /// Queues the batch if there is room within a time.
    ///
    /// # Errors
    /// The queue stayed full, or the process is stopping.
    pub async fn send_within(&self, batch: Batch, within: Duration) -> Result<(), NotTaken> {
        let room = tokio::time::timeout(within, self.queue.reserve()).await;
        let room = room.map_err(|_late| NotTaken::Full)?;
        let room = room.map_err(|_closed| NotTaken::Stopped)?;
        room.send(self.delivery(batch, None));
        Ok(())
    }

    /// Queues the batch if there is room now.
    ///
    /// # Errors
    /// The queue is full, or the process is stopping.
    pub fn try_send(&self, batch: Batch) -> Result<(), NotTaken> {
        self.queue
            .try_send(self.delivery(batch, None))
            .map_err(|refused| match refused {
                mpsc::error::TrySendError::Full(_) => NotTaken::Full,
                mpsc::error::TrySendError::Closed(_) => NotTaken::Stopped,
            })
    }

    /// Queues the batch and waits until it is applied.
    ///
    /// # Errors
    /// [`Stopped`] when the process is stopping.
    pub async fn apply(&self, batch: Batch) -> Result<Applied, Stopped> {
        Ok(self.applied(batch).await?.0)
    }

    /// Queues the batch and waits until it is applied and safe on the disk, as far as the disk takes it.
    ///
    /// # Errors
    /// [`Stopped`] when the process is stopping.
    pub async fn apply_durably(&self, batch: Batch) -> Result<Applied, Stopped> {
        let (applied, step) = self.applied(batch).await?;
        self.durability.reached(step).await;
        Ok(applied)
    }

    async fn applied(&self, batch: Batch) -> Result<(Applied, u64), Stopped> {
        let (done, answer) = oneshot::channel();
        self.queue
            .send(self.delivery(batch, Some(Done::Counts(done))))
            .await
            .map_err(|_| Stopped)?;
        answer.await.map_err(|_| Stopped)
    }

    /// Queues events if there is room within the time, and waits for the verdict on each, in their order, and until they
    /// are safe on the disk, as far as the disk takes them.
    ///
    /// # Errors
    /// There was no room, and nothing is queued; or the process is stopping.
    pub async fn judge(
        &self,
        events: Vec<IdentityEvent>,
        within: Duration,
    ) -> Result<Vec<Verdict>, NotTaken> {
        let room = tokio::time::timeout(within, self.queue.reserve()).await;
        let room = room.map_err(|_late| NotTaken::Full)?;
        let room = room.map_err(|_closed| NotTaken::Stopped)?;
        let (done, answer) = oneshot::channel();
        let batch = Batch::Events {
            events,
            bookmark: None,
        };
        room.send(self.delivery(batch, Some(Done::Verdicts(done))));
        let (verdicts, step) = answer.await.map_err(|_| NotTaken::Stopped)?;
        self.durability.reached(step).await;
        Ok(verdicts)
    }
}

/// A reader's handle of the core.
#[derive(Clone, Debug)]
pub struct Reader(Arc<RwLock<Core>>);

impl Reader {
    /// A handle of the core; the writer keeps the other.
    #[must_use]
    pub fn new(core: Arc<RwLock<Core>>) -> Self {
        Self(core)
    }

    /// The core, for as short as can be: the writer waits meanwhile. Never hold it across an `await`.
    pub fn read(&self) -> RwLockReadGuard<'_, Core> {
        self.0.read()
    }

    /// Whether the core can be read at this moment, without waiting: for a watchdog that asks now and then.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.0.try_read().is_some()
    }
}

/// Where listeners hear what became of events; one that falls behind is told how many batches it missed.
#[derive(Clone, Debug)]
pub struct Outcomes(broadcast::Sender<Arc<[Outcome]>>);

impl Outcomes {
    /// Hears everything from now on.
    #[must_use]
    pub fn listen(&self) -> broadcast::Receiver<Arc<[Outcome]>> {
        self.0.subscribe()
    }
}

/// Hands a new policy to the writer.
#[derive(Clone, Debug)]
pub struct PolicyGate(mpsc::Sender<(Policy, oneshot::Sender<()>)>);

impl PolicyGate {
    /// Replaces the policy; returns when the whole table obeys it.
    ///
    /// # Errors
    /// [`Stopped`] when the process is stopping.
    pub async fn replace(&self, policy: Policy) -> Result<(), Stopped> {
        let (done, answer) = oneshot::channel();
        self.0.send((policy, done)).await.map_err(|_| Stopped)?;
        answer.await.map_err(|_| Stopped)
    }
}

#[cfg(test)]
mod tests {
    mod slices;

    use super::*;

    const SOON: Duration = Duration::from_millis(10);

    fn nothing() -> Batch {
        Batch::Events {
            events: Vec::new(),
            bookmark: None,
        }
    }

    #[tokio::test]
    async fn without_room_nothing_is_queued_to_be_judged() {
        let (intake, mut queue) = Intake::channel(Durability::never());
        while intake.try_send(nothing()).is_ok() {}
        assert_eq!(intake.judge(Vec::new(), SOON).await, Err(NotTaken::Full));
        for _ in 0..QUEUE_BATCHES {
            let delivery = queue.try_recv().expect("a batch");
            assert!(delivery.done.is_none(), "nobody waits for a verdict");
        }
        assert!(queue.try_recv().is_err());
    }

    #[tokio::test]
    async fn what_the_writer_did_not_judge_has_no_verdict() {
        let (intake, mut queue) = Intake::channel(Durability::never());
        let (verdicts, ()) = tokio::join!(intake.judge(Vec::new(), SOON), async {
            drop(queue.recv().await);
            queue.close();
        });
        assert_eq!(verdicts, Err(NotTaken::Stopped));
        assert_eq!(intake.judge(Vec::new(), SOON).await, Err(NotTaken::Stopped));
    }
}
