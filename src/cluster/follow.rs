//! From the stream to the table: every message in its turn, once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};

use super::order::{Author, Order, Refused, Said, Taken};
use super::outbox::{Waiting, Waits};
use super::publish::Heard;
use super::shape::{Body, PolicyShape, ShapeError};
use super::trail::Trail;
use crate::identity::time::UtcMillis;
use crate::net::nats::Message;
use crate::writer::{Ordered, Step};

/// Why following cannot go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum FollowError {
    /// A message cannot be understood.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// The stream lost its end, and what came after it has the numbers of what was lost.
    #[error(
        "message {0} of the stream is not the one that this table holds: the stream lost its end"
    )]
    Rewritten(u64),
    /// A message before came otherwise than the stream keeps it.
    #[error(
        "this table is not the stream's any more: it was given a message that the stream does not have"
    )]
    Wrong,
    /// The table takes nothing more.
    #[error("the table takes no more: jims is stopping")]
    Stopping,
}

/// How far this member is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// The last message that was handed to the table.
    pub(super) applied: u64,
    /// When the stream took it.
    pub(super) at: Option<UtcMillis>,
    /// Messages behind it, when it came.
    pub(super) behind: u64,
}

/// Applies messages.
pub(super) struct Follower {
    pub(super) order: Order,
    pub(super) orders: mpsc::Sender<Ordered>,
    pub(super) waiting: Waiting,
    pub(super) heard: watch::Sender<Heard>,
    pub(super) place: watch::Sender<Place>,
    /// The policy that all obey, as it was published last.
    pub(super) policy: watch::Sender<Option<PolicyShape>>,
    pub(super) member: Arc<str>,
    /// Of this process; 0: it has not begun to speak.
    pub(super) life: u64,
    /// The life before, whose last words may still come.
    pub(super) life_before: u64,
    /// This life is of the table that is there.
    pub(super) speaks: bool,
    pub(super) trail: Arc<Mutex<Trail>>,
    /// Whether this process keeps a history.
    pub(super) history: Arc<AtomicBool>,
}

impl Follower {
    /// Takes the next message and has it applied.
    pub(super) async fn take(&mut self, message: Message) -> Result<(), FollowError> {
        if !self.order.is_as_applied(message.seq, message.stamp) {
            return Err(FollowError::Rewritten(message.seq));
        }
        let taken = (self.order).take(message.seq, message.stamp, &message.payload)?;
        if self.speaks && self.order.doubted(&self.member) >= self.life {
            return Err(FollowError::Wrong);
        }
        let waits = taken
            .author
            .as_ref()
            .map_or_else(Vec::new, |author| self.note_own(author));
        let Taken { bodies, keep, .. } = taken;
        if keep.is_empty() {
            return Ok(());
        }
        let steps = self.steps(bodies, waits);
        self.trail.lock().push(self.order.mark());
        let order = Ordered::Steps {
            now: message.at,
            steps,
            keep,
        };
        let sent = self.orders.send(order).await;
        sent.map_err(|_gone| FollowError::Stopping)?;
        self.place.send_replace(Place {
            applied: message.seq,
            at: Some(message.at),
            behind: message.behind,
        });
        Ok(())
    }

    /// If the message is ours: how far we were heard, and who waits for it.
    fn note_own(&self, author: &Author) -> Vec<Option<Waits>> {
        if *author.member != *self.member || self.life == 0 {
            return Vec::new();
        }
        if author.life > self.life {
            self.heard.send_modify(|heard| heard.superseded = true);
        }
        let (is_now, is_before) = (author.life == self.life, author.life == self.life_before);
        match author.refused {
            None if is_now || is_before => {
                self.heard.send_modify(|heard| {
                    let told = if is_now {
                        &mut heard.number
                    } else {
                        &mut heard.before
                    };
                    *told = author.number;
                });
                self.waiting.take(author.number)
            }
            Some(Refused::Gap) if is_now => {
                self.heard.send_modify(|heard| heard.gaps += 1);
                Vec::new()
            }
            Some(Refused::Superseded) if is_now => {
                self.heard.send_modify(|heard| heard.superseded = true);
                Vec::new()
            }
            None | Some(_) => Vec::new(),
        }
    }

    fn steps(&self, bodies: Vec<Said>, waits: Vec<Option<Waits>>) -> Vec<Step> {
        let mut steps = Vec::with_capacity(bodies.len());
        let mut waits = waits.into_iter();
        for said in bodies {
            let waits = waits.next().flatten();
            match said {
                Said::Body(body) => self.step(*body, waits, &mut steps),
                // Whoever waits hears that it came to nothing.
                Said::Void => drop(waits),
                Said::Renew(epoch) => {
                    steps.push(Step::Renew(epoch));
                    if let Some(Waits::Told(told)) = waits {
                        steps.push(Step::Tell(told));
                    }
                }
            }
        }
        steps
    }

    fn step(&self, body: Body, waits: Option<Waits>, steps: &mut Vec<Step>) {
        let done = match waits {
            Some(Waits::Done(done)) => Some(done),
            Some(Waits::Told(told)) => {
                self.step(body, None, steps);
                steps.push(Step::Tell(told));
                return;
            }
            None => None,
        };
        match body {
            // What doubts say, the order has made of them.
            Body::Hello(_) | Body::Claim | Body::Doubt { .. } => {}
            Body::Advance => steps.push(Step::Advance),
            Body::Policy(shape) => match shape.policy(self.history.load(Ordering::Relaxed)) {
                Ok(policy) => {
                    self.policy.send_replace(Some(*shape));
                    steps.push(Step::Policy(Box::new(policy)));
                }
                Err(error) => tracing::error!("a policy counts for nothing: {error}"),
            },
            other => match other.into_batch() {
                Ok(batch) => steps.extend(batch.map(|batch| Step::Batch(Box::new(batch), done))),
                Err(error) => tracing::error!("a batch counts for nothing: {error}"),
            },
        }
    }
}
