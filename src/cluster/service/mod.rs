//! A member: connects, gets the table that belongs to the stream, follows, and then takes part.

mod begin;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::ending::Ending;
use super::follow::{FollowError, Follower, Place};
use super::lease::Held;
use super::order::Order;
use super::outbox::Waiting;
use super::publish::{Heard, Publisher, PublisherParts, Say, Session};
use super::roster::Roster;
use super::shape::PolicyShape;
use super::tables::{self, TableError};
use super::trail::Trail;
use super::{Cluster, Shared, State};
use crate::config;
use crate::identity::policy::Policy;
use crate::identity::time::UtcMillis;
use crate::net::nats::{Bucket, Following, Nats, NatsError, Objects, Stream, StreamFacts};
use crate::runtime::backoff::Backoff;
use crate::runtime::clock;
use crate::runtime::readiness::Latch;
use crate::runtime::supervisor::Tasks;
use crate::snapshot::Keeper;
use crate::writer::{Asked, Ordered, Reader};

/// Pauses between two tries.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// How often a stream from which nothing comes is asked whether that is right.
const ASK_EVERY: Duration = Duration::from_secs(3);

/// How long a Server that has a table waits for the stream before it answers from what it has.
const ANSWERS_WITHOUT: Duration = Duration::from_secs(10);

/// What a member works with.
pub struct ClusterParts {
    /// The configuration.
    pub config: config::Cluster,
    /// This member's name.
    pub member: String,
    /// What it does.
    pub roles: Vec<String>,
    /// What its own configuration says that tables obey.
    pub policy: Policy,
    /// Whether it keeps a history.
    pub history: bool,
    /// How often the table is stored for others.
    pub store_every: Duration,
    /// The state folder.
    pub state_dir: PathBuf,
    /// What the process asks for.
    pub asked: Asked,
    /// Where the order goes.
    pub orders: mpsc::Sender<Ordered>,
    /// The table.
    pub reader: Reader,
    /// Who keeps it on the disk.
    pub keeper: Keeper,
    /// Opens when the table can be believed.
    pub latch: Latch,
    /// When the process started.
    pub started: UtcMillis,
}

struct Member {
    parts: Settled,
    shared: Arc<Shared>,
    follower: Follower,
    session: watch::Sender<Option<Session>>,
    says: mpsc::Sender<Say>,
    /// The rest of taking part runs.
    begun: bool,
    /// The table is not the stream's.
    is_wrong: bool,
    /// Whether the stream ends before what the table holds.
    ending: Ending,
    /// A life of ours that gave cookies from such a table, which was not said yet.
    doubted: Option<u64>,
    tasks: Tasks,
    /// Cancelled when all that was asked for is published.
    published: CancellationToken,
    stop: CancellationToken,
}

/// What of [`ClusterParts`] stays as it is.
struct Settled {
    config: config::Cluster,
    member: Arc<str>,
    roles: Vec<String>,
    store_every: Duration,
    state_dir: PathBuf,
    reader: Reader,
    keeper: Keeper,
    latch: Latch,
    started: UtcMillis,
}

/// The stores of a cluster.
#[derive(Clone)]
struct Stores {
    stream: Stream,
    bucket: Bucket,
    objects: Objects,
}

/// Why following begins anew.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Nats(#[from] NatsError),
    #[error(transparent)]
    Follow(#[from] FollowError),
    #[error(transparent)]
    Table(#[from] TableError),
    #[error(
        "the stream ends at message {last}, and this table holds message {applied}: the stream lost what it had"
    )]
    Behind { last: u64, applied: u64 },
    #[error("the stream has messages that do not come")]
    Stalled,
    #[error("the stream is another one now")]
    AnotherStream,
}

impl Cluster {
    /// Starts a member. After `stop` it publishes what was asked for before, gives back its leases, and ends.
    #[must_use]
    pub fn start(parts: ClusterParts, tasks: &Tasks, stop: CancellationToken) -> Self {
        let order = Order::of(&parts.reader.read());
        let place = Place {
            applied: order.applied(),
            at: parts.reader.read().now(),
            behind: 0,
        };
        let (session, sessions) = watch::channel(None);
        let (says, said) = mpsc::channel(64);
        let waiting = Waiting::default();
        let trail = Arc::new(Mutex::new(Trail::default()));
        trail.lock().begin_anew(order.stream(), order.mark());
        let follower = Follower {
            policy: watch::Sender::new(order.policy().cloned()),
            place: watch::Sender::new(place),
            heard: watch::Sender::new(Heard::default()),
            order,
            orders: parts.orders,
            waiting: waiting.clone(),
            member: parts.member.as_str().into(),
            life: 0,
            life_before: 0,
            speaks: false,
            trail,
            history: Arc::new(AtomicBool::new(parts.history)),
        };
        let shared = Arc::new(shared(&follower, &parts.config.stream, &parts.policy));
        let publisher = Publisher::new(PublisherParts {
            asked: parts.asked,
            says: said,
            session: sessions,
            heard: follower.heard.subscribe(),
            waiting,
            trouble: shared.publishing.clone(),
        });
        let published = CancellationToken::new();
        let (asking, is_published) = (stop.clone(), published.clone());
        tasks.spawn_vital("cluster publisher", async move {
            publisher.run(asking).await;
            is_published.cancel();
        });
        let member = Member {
            parts: Settled {
                config: parts.config,
                member: Arc::clone(&follower.member),
                roles: parts.roles,
                store_every: parts.store_every,
                state_dir: parts.state_dir,
                reader: parts.reader,
                keeper: parts.keeper,
                latch: parts.latch,
                started: parts.started,
            },
            shared: Arc::clone(&shared),
            follower,
            session,
            says,
            tasks: tasks.clone(),
            published,
            stop,
            begun: false,
            is_wrong: false,
            ending: Ending::default(),
            doubted: None,
        };
        tasks.spawn_vital("cluster", member.run());
        Self(shared)
    }
}

fn shared(follower: &Follower, stream: &str, policy: &Policy) -> Shared {
    Shared {
        member: Arc::clone(&follower.member),
        stream: stream.to_owned(),
        wanted: watch::Sender::new(BTreeSet::new()),
        held: watch::Sender::new(Held::new()),
        roster: Arc::new(Mutex::new(Roster::default())),
        place: follower.place.subscribe(),
        policy: follower.policy.subscribe(),
        own_policy: ArcSwap::from_pointee(PolicyShape::from(policy)),
        state: Mutex::new(State::default()),
        publishing: watch::Sender::new(None),
        leasing: watch::Sender::new(None),
        wrong: watch::Sender::new(()),
        replaced: AtomicU64::new(0),
        stored: watch::Sender::new(None),
        nats: Mutex::new(None),
        history: Arc::clone(&follower.history),
    }
}

impl Member {
    /// Takes part until what was asked for is published.
    async fn run(mut self) {
        let published = self.published.clone();
        let _stopped = published.run_until_cancelled(self.take_part()).await;
    }

    async fn take_part(&mut self) {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let answering = tokio::time::sleep(ANSWERS_WITHOUT);
        let stores = {
            let open = self.open(&mut backoff);
            tokio::pin!(open, answering);
            tokio::select! {
                stores = &mut open => stores,
                () = &mut answering => {
                    self.answer_without();
                    open.await
                }
            }
        };
        loop {
            let answering = tokio::time::sleep(ANSWERS_WITHOUT);
            let broken = {
                let latch = self.parts.latch.clone();
                let has_table = self.has_table();
                let following = self.follow(&stores, &mut backoff);
                tokio::pin!(following, answering);
                tokio::select! {
                    broken = &mut following => broken,
                    () = &mut answering, if has_table => {
                        latch.open();
                        following.await
                    }
                }
            };
            match broken {
                Broken::Follow(FollowError::Stopping) => return,
                broken => {
                    self.is_wrong |= matches!(
                        broken,
                        Broken::Follow(FollowError::Rewritten(_) | FollowError::Wrong)
                    );
                    self.tell(&broken);
                }
            }
            tokio::time::sleep(backoff.next_pause()).await;
        }
    }

    /// Whether the table is one of a stream.
    fn has_table(&self) -> bool {
        self.follower.order.applied() > 0
    }

    /// Answers from the table of the last run, if there is one.
    fn answer_without(&self) {
        if self.has_table() {
            tracing::warn!(
                "NATS does not answer: queries are answered from the table of the last run"
            );
            self.parts.latch.open();
        }
    }

    fn tell(&self, broken: &Broken) {
        let remedy = match broken {
            Broken::Nats(error) => error.remedy(),
            Broken::Table(TableError::Nats(error)) => error.remedy(),
            Broken::Table(_) => {
                "start a member that has the table; if there is none, delete the stream and restart all members".into()
            }
            Broken::Behind { .. } => {
                "if the stream was restored from a backup, delete it and restart all members: the tables fill from their sources".into()
            }
            Broken::Follow(FollowError::Shape(_)) => "update jims on this machine".into(),
            Broken::Follow(FollowError::Stopping | FollowError::Rewritten(_) | FollowError::Wrong) | Broken::Stalled | Broken::AnotherStream => {
                String::new()
            }
        };
        let text = broken.to_string();
        if self.shared.state.lock().trouble(&text, remedy) {
            tracing::warn!("following the cluster's stream: {text}");
        }
    }

    /// Connects and opens the stores, for as long as it takes.
    async fn open(&self, backoff: &mut Backoff) -> Stores {
        loop {
            match self.open_once().await {
                Ok(stores) => {
                    backoff.reset();
                    return stores;
                }
                Err(error) => self.tell(&error.into()),
            }
            tokio::time::sleep(backoff.next_pause()).await;
        }
    }

    async fn open_once(&self) -> Result<Stores, NatsError> {
        let config = &self.parts.config;
        let known = self.shared.nats.lock().clone();
        let nats = match known {
            Some(nats) => nats,
            None => {
                let nats = Nats::connect(config, &self.parts.member).await?;
                *self.shared.nats.lock() = Some(nats.clone());
                nats
            }
        };
        let (name, replicas) = (&config.stream, config.replicas);
        let logoff_time = Duration::from_millis(self.shared.own_policy.load().logoff_ms());
        let keep = (replicas, tables::kept_for(logoff_time));
        let (subject, members) = (subject(name), super::bucket(name));
        let tables = format!("{name}_tables");
        // At once: while NATS elects leaders, each of them may take as long as it may.
        let (stream, bucket, objects) = tokio::try_join!(
            nats.stream(name, &subject, keep),
            nats.bucket(&members, replicas),
            nats.objects(&tables, replicas),
        )?;
        Ok(Stores {
            stream,
            bucket,
            objects,
        })
    }

    /// Follows until something breaks.
    async fn follow(&mut self, stores: &Stores, backoff: &mut Backoff) -> Broken {
        let mut wrong = self.shared.wrong.subscribe();
        tokio::select! {
            biased;
            Ok(()) = wrong.changed() => Broken::Follow(FollowError::Wrong),
            Err(broken) = self.follow_on(stores, backoff) => broken,
        }
    }

    async fn follow_on(
        &mut self,
        stores: &Stores,
        backoff: &mut Backoff,
    ) -> Result<std::convert::Infallible, Broken> {
        let facts = stores.stream.facts().await?;
        let of = identity_of(&self.parts.config.stream, &facts);
        let is_own = self.follower.order.stream() == of;
        let reaches = self.follower.order.needs() >= facts.first;
        let applied = self.follower.order.applied();
        let is_lost = (self.ending).is_lost(applied, facts.last, clock::monotonic_now());
        self.is_wrong = is_own && (self.is_wrong || is_lost);
        if !is_own || !reaches || self.is_wrong {
            self.start_over(stores, (of, facts.first)).await?;
        }
        let applied = self.follower.order.applied();
        if applied > facts.last {
            let last = facts.last;
            return Err(Broken::Behind { last, applied });
        }
        let from = self.follower.order.from().max(facts.first);
        let mut following = stores.stream.follow(from).await?;
        self.catch_up(stores, &mut following, (from, facts)).await?;
        backoff.reset();
        self.shared.state.lock().follows();
        self.parts.latch.open();
        if !std::mem::replace(&mut self.follower.speaks, true) {
            self.begin(stores);
        }
        let mut next = self.follower.order.applied() + 1;
        loop {
            next = self.next(stores, &mut following, next, &facts).await?;
        }
    }

    /// Takes the messages up to the last one there was when following began.
    async fn catch_up(
        &mut self,
        stores: &Stores,
        following: &mut Following,
        (from, facts): (u64, StreamFacts),
    ) -> Result<(), Broken> {
        let mut next = from;
        while next <= facts.last {
            let left = facts.last.saturating_sub(next);
            if left % 1024 == 0 {
                self.shared.state.lock().catches_up(left);
            }
            next = self.next(stores, following, next, &facts).await?;
        }
        Ok(())
    }

    /// Takes the next message, which is to be that of sequence `expected`; returns which comes after it.
    async fn next(
        &mut self,
        stores: &Stores,
        following: &mut Following,
        expected: u64,
        facts: &StreamFacts,
    ) -> Result<u64, Broken> {
        let message = loop {
            match tokio::time::timeout(ASK_EVERY, following.next()).await {
                Ok(message) => break message?,
                Err(_quiet) => {
                    let now = stores.stream.facts().await?;
                    if now.created != facts.created {
                        return Err(Broken::AnotherStream);
                    }
                    if now.last >= expected {
                        return Err(Broken::Stalled);
                    }
                }
            }
        };
        if message.seq < expected {
            return Ok(expected);
        }
        if message.seq > expected {
            stores.stream.lacks(expected, message.seq).await?;
            tracing::warn!(
                from = expected,
                to = message.seq,
                "the stream has no such messages"
            );
        }
        let next = message.seq + 1;
        self.follower.take(message).await?;
        Ok(next)
    }

    /// Gets the table that belongs to the stream.
    async fn start_over(&mut self, stores: &Stores, (of, first): (u64, u64)) -> Result<(), Broken> {
        match self.is_wrong {
            true => tracing::warn!("the table is not the stream's: the cluster's is read"),
            false => {
                tracing::info!("the table does not reach up to the stream: the cluster's is read")
            }
        }
        // Whose cookies came from this table: ours, or those of the process before that left it.
        let before = self.follower.order.life(&self.parts.member).life;
        let life = self.follower.life.max(before);
        // What was said may be lost with the table that it was said to.
        self.follower.speaks = false;
        let shared = Arc::clone(&self.shared);
        shared.state.lock().resynchronises(0, 0);
        let core = tables::fetch(
            &stores.objects,
            &self.parts.state_dir,
            (of, first),
            self.shared.history.load(Ordering::Relaxed),
            |bytes, of| shared.state.lock().resynchronises(bytes, of),
        )
        .await?;
        let order = Order::of(&core);
        tracing::info!(
            sessions = core.totals().sessions,
            seq = order.applied(),
            "the cluster's table is here"
        );
        self.follower.policy.send_replace(order.policy().cloned());
        {
            let mut trail = self.follower.trail.lock();
            trail.begin_anew(order.stream(), order.mark());
        }
        self.follower.order = order;
        let replaced = self.follower.orders.send(Ordered::Replace(Box::new(core)));
        replaced.await.map_err(|_gone| FollowError::Stopping)?;
        self.ending = Ending::default();
        if std::mem::take(&mut self.is_wrong) {
            self.shared.replaced.fetch_add(1, Ordering::Relaxed);
            self.doubted = (life > 0).then_some(life);
        }
        Ok(())
    }
}

/// All of a stream's subjects are below this.
fn subject(stream: &str) -> String {
    format!("jims.{stream}")
}

/// What tells a stream from another of the same name; never 0.
fn identity_of(name: &str, facts: &StreamFacts) -> u64 {
    let mut hash = Sha256::new();
    hash.update(name.as_bytes());
    hash.update(facts.created.to_be_bytes());
    let digest: [u8; 32] = hash.finalize().into();
    let first = digest.first_chunk().copied().unwrap_or_default();
    u64::from_be_bytes(first).max(1)
}
