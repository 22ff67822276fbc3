//! What this member wants to change, on its way to the stream: batched, numbered, sent again until it comes back.
//!
//! A message is done when it was read back, whatever was acknowledged. What does not come back is sent again, and with it
//! all that came after it: numbers without a gap are what counts ([`super::order`]). While nothing comes back nothing more
//! is taken, so that whoever asks waits, and sources hold back.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::shape::{self, Body, Frame, Part, PolicyShape};
use crate::identity::Batch;
use crate::net::nats::{NatsError, Stream};
use crate::runtime::clock;
use crate::writer::{Asked, Delivery, Done};

/// Messages on their way; more is gathered meanwhile, so that under load messages grow instead of waiting.
const MAX_UNHEARD: usize = 32;

/// Bytes on their way.
const MAX_UNHEARD_BYTES: usize = 16 << 20;

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
    /// The last number that counts.
    pub(super) number: u64,
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
}

/// Who waits for a part to be applied.
#[derive(Debug)]
pub(super) enum Waits {
    /// For what became of a batch.
    Done(Done),
    /// For nothing but that.
    Told(oneshot::Sender<()>),
}

/// A message's number, and who waits for each of its parts.
type Awaited = (u64, Vec<Option<Waits>>);

/// Who waits, by rising numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting(Arc<Mutex<VecDeque<Awaited>>>);

impl Waiting {
    fn add(&self, number: u64, waits: Vec<Option<Waits>>) {
        self.0.lock().push_back((number, waits));
    }

    /// Who waits for the parts of a message.
    pub(super) fn take(&self, number: u64) -> Vec<Option<Waits>> {
        let mut waiting = self.0.lock();
        while let Some((first, _)) = waiting.front() {
            if *first > number {
                break;
            }
            let taken = waiting.pop_front();
            if let Some((_, waits)) = taken.filter(|(first, _)| *first == number) {
                return waits;
            }
        }
        Vec::new()
    }

    /// The numbers have changed: by what is added to each.
    fn renumber(&self, new: impl Fn(u64) -> u64) {
        for (number, _) in self.0.lock().iter_mut() {
            *number = new(*number);
        }
    }
}

/// What the cluster itself says; answered when it is applied, and not at all if it does not count.
#[derive(Debug)]
pub(super) struct Say {
    pub(super) part: Part,
    pub(super) done: oneshot::Sender<()>,
}

/// A piece on its way.
#[derive(Debug)]
struct Unheard {
    number: u64,
    piece: u32,
    of: u32,
    bytes: Bytes,
}

type Answering = Pin<Box<dyn Future<Output = Result<(), NatsError>> + Send>>;

/// The task.
pub(super) struct Publisher {
    asked: Asked,
    says: mpsc::Receiver<Say>,
    session: watch::Receiver<Option<Session>>,
    heard: watch::Receiver<Heard>,
    waiting: Waiting,
    /// What NATS said last of what does not come back; `None`: it comes back.
    trouble: watch::Sender<Option<String>>,
    unheard: VecDeque<Unheard>,
    bytes: usize,
    next: u64,
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
            waiting: parts.waiting,
            trouble: parts.trouble,
            unheard: VecDeque::new(),
            bytes: 0,
            next: 1,
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
            while let Some(delivery) = self.asked.deliveries.recv().await {
                self.deliver(delivery).await;
            }
            while !self.unheard.is_empty() {
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
        let has_room = self.session.borrow().is_some()
            && self.unheard.len() < MAX_UNHEARD
            && self.bytes < MAX_UNHEARD_BYTES;
        let again = (self.progress + AGAIN_AFTER).max(self.again + AGAIN_AFTER);
        let is_waiting = !self.unheard.is_empty();
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

    /// A new session: we introduce ourselves, and what was not heard gets the numbers after that.
    async fn begin(&mut self) {
        let Some(session) = self.session.borrow_and_update().clone() else {
            return;
        };
        let mut first = vec![unfenced(Body::Hello(env!("CARGO_PKG_VERSION").to_owned()))];
        first.extend(
            session
                .policy
                .map(|policy| unfenced(Body::Policy(Box::new(policy)))),
        );
        let old = self.unheard.front().map_or(self.next, |first| first.number);
        let hello = Unheard {
            number: 1,
            piece: 0,
            of: 1,
            bytes: shape::encode(&first).into(),
        };
        let new = move |number: u64| number - old + 2;
        for unheard in &mut self.unheard {
            unheard.number = new(unheard.number);
        }
        self.waiting.renumber(new);
        self.next = new(self.next);
        self.bytes += hello.bytes.len();
        self.unheard.push_front(hello);
        self.send_again().await;
    }

    /// Forgets what came back.
    async fn heard(&mut self) {
        let heard = *self.heard.borrow_and_update();
        if heard.superseded {
            self.tell(Some(
                "another process is a member of this name, and began later".to_owned(),
            ));
            return;
        }
        let before = self.unheard.len();
        while let Some(first) = self.unheard.front()
            && first.number <= heard.number
        {
            self.bytes = self.bytes.saturating_sub(first.bytes.len());
            self.unheard.pop_front();
        }
        if self.unheard.len() < before {
            self.progress = clock::monotonic_now();
            self.tell(None);
        } else if self.again.elapsed() >= AGAIN_AT_MOST {
            // Something of ours came that did not count: what is before it was lost.
            self.send_again().await;
        }
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
        if self.answering.is_none()
            && let Some(first) = self.unheard.front()
        {
            let payload = frame(&session, first).into();
            match session
                .stream
                .publish(session.subject.clone(), payload)
                .await
            {
                Ok(publishing) => self.answering = Some(Box::pin(publishing.answered())),
                Err(error) => {
                    self.tell(Some(error.to_string()));
                    return;
                }
            }
        }
        let skip = usize::from(self.answering.is_some());
        for unheard in self.unheard.iter().skip(skip) {
            let payload = frame(&session, unheard).into();
            if let Err(error) = session.stream.send(session.subject.clone(), payload).await {
                self.tell(Some(error.to_string()));
                return;
            }
        }
    }

    /// Publishes a batch, with those that are there already as far as they fit.
    async fn deliver(&mut self, first: Delivery) {
        let (mut parts, mut waits, mut events) = (Vec::new(), Vec::new(), 0);
        let mut next = Some(first);
        while let Some(delivery) = next {
            events += weight(&delivery.batch);
            match Body::of(&delivery.batch) {
                Some(body) => {
                    let fence = delivery.fence.as_ref().map(Into::into);
                    parts.push(Part { fence, body });
                    waits.push(delivery.done.map(Waits::Done));
                }
                None => tracing::error!("what Collectors push over HTTPS is not for a cluster"),
            }
            let is_full = events >= FULL_EVENTS || parts.len() >= FULL_PARTS;
            next = (!is_full)
                .then(|| self.asked.deliveries.try_recv().ok())
                .flatten();
        }
        self.publish(&parts, waits).await;
    }

    async fn publish(&mut self, parts: &[Part], waits: Vec<Option<Waits>>) {
        if parts.is_empty() {
            return;
        }
        let pieces = shape::cut(shape::encode(parts));
        let of = u32::try_from(pieces.len()).unwrap_or(u32::MAX);
        if self.unheard.is_empty() {
            self.progress = clock::monotonic_now();
        }
        let last = self.next + u64::from(of) - 1;
        // Before it is sent: it may come back at once.
        self.waiting.add(last, waits);
        let session = self.session.borrow().clone();
        for (piece, bytes) in (0..).zip(pieces) {
            let unheard = Unheard {
                number: self.next,
                piece,
                of,
                bytes,
            };
            self.next += 1;
            self.bytes += unheard.bytes.len();
            if let Some(session) = &session {
                let payload = frame(session, &unheard).into();
                let sent = session.stream.send(session.subject.clone(), payload).await;
                if let Err(error) = sent {
                    self.tell(Some(error.to_string()));
                }
            }
            self.unheard.push_back(unheard);
        }
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

fn frame(session: &Session, unheard: &Unheard) -> Vec<u8> {
    Frame {
        member: session.member.to_string(),
        life: session.life,
        number: unheard.number,
        piece: unheard.piece,
        of: unheard.of,
        bytes: unheard.bytes.clone(),
    }
    .encode()
}

/// How much work a batch is, in events.
fn weight(batch: &Batch) -> usize {
    match batch {
        Batch::Events { events, .. } => events.len(),
        Batch::Directory(batch) => batch.upserts.len() + batch.removed.len(),
        _ => 1,
    }
}
