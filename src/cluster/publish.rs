//! What this member wants to change, on its way to the stream: batched, numbered, sent again until it comes back.
//!
//! A message is done when it was read back, whatever was acknowledged. What does not come back is sent again, and with it
//! all that came after it: numbers without a gap are what counts ([`super::order`]). While nothing comes back nothing more
//! is taken, so that whoever asks waits, and sources hold back.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::outbox::{Outbox, Waiting, Waits};
use super::shape::{self, Body, Frame, Part, PolicyShape};
use crate::identity::Batch;
use crate::net::nats::{NatsError, Stream};
use crate::runtime::clock;
use crate::writer::{Asked, Delivery};

/// Events after which a message is full: one hold of the table's lock.
const FULL_EVENTS: usize = 256;

/// Parts after which a message is full.
const FULL_PARTS: usize = 256;

/// After so long without any of ours coming back, all of it is sent again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Between two times that a loss has everything sent again.
const AGAIN_AT_MOST: Duration = Duration::from_millis(100);

/// How long what was asked for may still come back at the end.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// How far this member's own messages were heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// The life that is meant.
    pub(super) life: u64,
    /// The last number that counts.
    pub(super) number: u64,
    /// That of the life before.
    pub(super) before: u64,
    /// Messages of ours that came after a loss.
    pub(super) gaps: u64,
    /// Another process has our name and began after us.
    pub(super) superseded: bool,
}

/// Where to publish, and as whom.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) stream: Stream,
    pub(super) subject: String,
    pub(super) member: Arc<str>,
    pub(super) life: u64,
    /// To be published before anything else, where there is none.
    pub(super) policy: Option<PolicyShape>,
    /// A life of ours whose table was not the stream's.
    pub(super) doubted: Option<u64>,
}

/// What the cluster itself says; answered when it is applied, and not at all if it does not count.
#[derive(Debug)]
pub(super) struct Say {
    pub(super) part: Part,
    pub(super) done: oneshot::Sender<()>,
}

type Answering = Pin<Box<dyn Future<Output = Result<(), NatsError>> + Send>>;

/// The task.
pub(super) struct Publisher {
    asked: Asked,
    says: mpsc::Receiver<Say>,
    session: watch::Receiver<Option<Session>>,
    heard: watch::Receiver<Heard>,
    /// What NATS said last of what does not come back; `None`: it comes back.
    trouble: watch::Sender<Option<String>>,
    outbox: Outbox,
    /// The first message of this life, until it came back: before that nothing else is said.
    hello: Option<Bytes>,
    /// What did not go together with what was gathered before it.
    held_over: Option<Delivery>,
    /// When something of ours came back, or was sent while nothing was on its way.
    progress: Instant,
    again: Instant,
    answering: Option<Answering>,
}

/// What a publisher works with.
pub(super) struct PublisherParts {
    pub(super) asked: Asked,
    pub(super) says: mpsc::Receiver<Say>,
    pub(super) session: watch::Receiver<Option<Session>>,
    pub(super) heard: watch::Receiver<Heard>,
    pub(super) waiting: Waiting,
    pub(super) trouble: watch::Sender<Option<String>>,
}

/// What happens next.
enum Next {
    Stop,
    Session,
    Heard,
    Answered(Result<(), NatsError>),
    Again,
    Say(Say),
    Policy(Box<PolicyShape>, oneshot::Sender<()>),
    Delivery(Delivery),
}

impl Publisher {
    pub(super) fn new(parts: PublisherParts) -> Self {
        let now = clock::monotonic_now();
        Self {
            asked: parts.asked,
            says: parts.says,
            session: parts.session,
            heard: parts.heard,
            trouble: parts.trouble,
            outbox: Outbox::new(parts.waiting),
            hello: None,
            held_over: None,
            progress: now,
            again: now,
            answering: None,
        }
    }

    /// Publishes until `stop`, then what was asked for before, within a bounded time.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            let next = tokio::select! {
                biased;
                () = stop.cancelled() => Next::Stop,
                next = self.next() => next,
            };
            if matches!(next, Next::Stop) {
                break;
            }
            self.handle(next).await;
        }
        self.asked.deliveries.close();
        let last = async {
            loop {
                let delivery = match self.held_over.take() {
                    Some(delivery) => Some(delivery),
                    None => self.asked.deliveries.recv().await,
                };
                let Some(delivery) = delivery else {
                    break;
                };
                self.deliver(delivery).await;
            }
            while !self.outbox.is_empty() {
                let next = self.next().await;
                self.handle(next).await;
            }
        };
        if tokio::time::timeout(LAST_WORDS, last).await.is_err() {
            tracing::warn!("not everything was published before the stop");
        }
    }

    /// Waits for what happens next; safe to be dropped.
    async fn next(&mut self) -> Next {
        let speaks = self.session.borrow().is_some() && self.hello.is_none();
        let has_room = speaks && self.outbox.has_room();
        let again = (self.progress + AGAIN_AFTER).max(self.again + AGAIN_AFTER);
        let is_waiting = !self.outbox.is_empty() || self.hello.is_some();
        if has_room && let Some(delivery) = self.held_over.take() {
            return Next::Delivery(delivery);
        }
        tokio::select! {
            biased;
            Ok(()) = self.session.changed() => Next::Session,
            Ok(()) = self.heard.changed() => Next::Heard,
            answer = answered(&mut self.answering) => Next::Answered(answer),
            () = tokio::time::sleep_until(again.into()), if is_waiting => Next::Again,
            Some(say) = self.says.recv(), if has_room => Next::Say(say),
            Some((policy, done)) = self.asked.policies.recv(), if has_room => {
                Next::Policy(Box::new(PolicyShape::from(&policy)), done)
            }
            Some(delivery) = self.asked.deliveries.recv(), if has_room => Next::Delivery(delivery),
            else => std::future::pending().await,
        }
    }

    async fn handle(&mut self, next: Next) {
        match next {
            Next::Stop => {}
            Next::Session => self.begin().await,
            Next::Heard => self.heard().await,
            Next::Answered(answer) => {
                self.answering = None;
                if let Err(error) = answer {
                    self.tell(Some(error.to_string()));
                }
            }
            Next::Again => self.send_again().await,
            Next::Say(say) => {
                let waits = Some(Waits::Told(say.done));
                self.publish(&[say.part], vec![waits]).await;
            }
            Next::Policy(policy, done) => {
                let part = unfenced(Body::Policy(policy));
                self.publish(&[part], vec![Some(Waits::Told(done))]).await;
            }
            Next::Delivery(delivery) => self.deliver(delivery).await,
        }
    }

    /// A new session: we introduce ourselves.
    async fn begin(&mut self) {
        let Some(session) = self.session.borrow_and_update().clone() else {
            return;
        };
        let mut first = vec![unfenced(Body::Hello(env!("CARGO_PKG_VERSION").to_owned()))];
        let policy = session.policy.map(|policy| Body::Policy(Box::new(policy)));
        let member = session.member.as_ref();
        let doubt = session.doubted.map(|life| Body::Doubt {
            member: member.into(),
            life,
        });
        first.extend(policy.into_iter().chain(doubt).map(unfenced));
        let frame = Frame {
            member: session.member.to_string(),
            life: session.life,
            number: 1,
            piece: 0,
            of: 1,
            bytes: shape::encode(&first).into(),
        };
        self.hello = Some(frame.encode().into());
        self.send_again().await;
    }

    /// Forgets what came back.
    async fn heard(&mut self) {
        let heard = *self.heard.borrow_and_update();
        let life = self.session.borrow().as_ref().map(|session| session.life);
        if life != Some(heard.life) {
            return;
        }
        if heard.superseded {
            self.tell(Some(
                "another process is a member of this name, and began later".to_owned(),
            ));
            return;
        }
        if heard.number > 0 && self.hello.take().is_some() {
            self.outbox.begin_anew(heard.before, clock::monotonic_now());
            self.came_back();
            self.send_again().await;
        } else if self.outbox.heard(heard.number, clock::monotonic_now()) {
            self.came_back();
        } else if self.again.elapsed() >= AGAIN_AT_MOST {
            // Something of ours came that did not count: what is before it was lost.
            self.send_again().await;
        }
    }

    fn came_back(&mut self) {
        self.progress = clock::monotonic_now();
        self.tell(None);
    }

    fn tell(&self, trouble: Option<String>) {
        self.trouble.send_if_modified(|told| {
            let differs = *told != trouble;
            *told = trouble;
            differs
        });
    }

    /// Sends everything that was not heard, and asks why the first was not.
    async fn send_again(&mut self) {
        self.again = clock::monotonic_now();
        let Some(session) = self.session.borrow().clone() else {
            return;
        };
        if !session.stream.is_connected() {
            self.tell(Some("there is no connection to NATS".to_owned()));
            return;
        }
        let mut messages = match &self.hello {
            Some(hello) => vec![hello.clone()],
            None => self.messages(&session, 0),
        }
        .into_iter();
        if self.answering.is_none()
            && let Some(first) = messages.next()
        {
            match session.stream.publish(session.subject.clone(), first).await {
                Ok(publishing) => self.answering = Some(Box::pin(publishing.answered())),
                Err(error) => {
                    self.tell(Some(error.to_string()));
                    return;
                }
            }
        }
        self.send(&session, messages).await;
    }

    /// What was not heard, without the first so many.
    fn messages(&self, session: &Session, skip: usize) -> Vec<Bytes> {
        let messages = self.outbox.messages(&session.member, session.life, skip);
        messages.into_iter().map(Bytes::from).collect()
    }

    async fn send(&mut self, session: &Session, messages: impl IntoIterator<Item = Bytes>) {
        for message in messages {
            let sent = session.stream.send(session.subject.clone(), message).await;
            if let Err(error) = sent {
                self.tell(Some(error.to_string()));
                return;
            }
        }
    }

    /// Publishes a batch, with those that are there already as far as they go together: some speak under a lease, and may have
    /// to be read again.
    async fn deliver(&mut self, first: Delivery) {
        let (mut parts, mut waits, mut events) = (Vec::new(), Vec::new(), 0);
        let is_fenced = first.fence.is_some();
        let mut next = Some(first);
        while let Some(delivery) = next.take() {
            events += weight(&delivery.batch);
            match Body::of(&delivery.batch) {
                Some(body) => {
                    let fence = delivery.fence.as_ref().map(Into::into);
                    parts.push(Part { fence, body });
                    waits.push(delivery.done.map(Waits::Done));
                }
                None => tracing::error!("what Collectors push over HTTPS is not for a cluster"),
            }
            if events >= FULL_EVENTS || parts.len() >= FULL_PARTS {
                break;
            }
            match self.asked.deliveries.try_recv() {
                Ok(delivery) if delivery.fence.is_some() == is_fenced => next = Some(delivery),
                other => {
                    self.held_over = other.ok();
                    break;
                }
            }
        }
        self.publish(&parts, waits).await;
    }

    async fn publish(&mut self, parts: &[Part], waits: Vec<Option<Waits>>) {
        if parts.is_empty() {
            return;
        }
        if self.outbox.is_empty() {
            self.progress = clock::monotonic_now();
        }
        let pieces = self.outbox.add(parts, waits);
        let Some(session) = self.session.borrow().clone() else {
            return;
        };
        let new = self.messages(&session, self.outbox.len().saturating_sub(pieces));
        self.send(&session, new).await;
    }
}

async fn answered(answering: &mut Option<Answering>) -> Result<(), NatsError> {
    match answering {
        Some(answering) => answering.await,
        None => std::future::pending().await,
    }
}

fn unfenced(body: Body) -> Part {
    Part { fence: None, body }
}

/// How much work a batch is, in events.
fn weight(batch: &Batch) -> usize {
    match batch {
        Batch::Events { events, .. } => events.len(),
        Batch::Directory(batch) => batch.upserts.len() + batch.removed.len(),
        _ => 1,
    }
}
