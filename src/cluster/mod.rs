//! Several processes on one order, which NATS JetStream gives.
//!
//! Every member has the whole table and follows one stream: message by message, in the stream's sequence and at the
//! stream's time, through the same core. So all have the same table, the same journal and the same cookies. What a member
//! wants to change (evidence, directories, answers of computers, an operator's log-off, a reloaded policy, the passing of
//! time) it publishes, and applies when it comes back.
//!
//! ```text
//!  sources ─▶ publish ─▶ stream ─▶ follow ─▶ order (what counts) ─▶ writer ─▶ table
//!                          ▲                                                  │
//!  clock (time passes) ────┤          roster ◀─▶ lease (who reads what)       ▼
//!                                                         tables (whole tables, for those who start)
//! ```
//!
//! * `shape/`: what a message holds. `order`: which messages count. `outbox`: what was not heard. `roster`: who is there.
//!   `trail`: what was applied lately. `ending`: whether the stream lost its end. All pure.
//! * `check`: whether that is what the stream has.
//! * `service`: how a member gets the table that belongs to the stream, and follows. `preflight`: whether NATS would do, for
//!   `jims probe`.
//!
//! While NATS does not answer, tables stay as they are and queries are answered; nothing that changes a table is taken. What
//! is stored in NATS: the stream, a bucket `STREAM_members`, an object store `STREAM_tables`.
//!
//! # A stream that loses its end
//!
//! nats-server 2.9.10, with nodes killed and paused at random, was seen to deliver 160 messages to one member and then to store
//! them again under other sequences; a node of 2.9.25 came back from a kill without the beginning of its copy. So nobody
//! believes for ever what was delivered: members say a digest of all that they have applied (`trail`), and where two differ
//! the stream is read again (`check`). Whoever is wrong starts over from a stored table; a table is stored only when the stream
//! was found to have what it holds. Then a message begins another epoch of cookies, because those that a wrong Server gave mean
//! other places.
//!
//! Nor is anybody wrong at once: after an election whoever leads may end before what others have, and a copy that lags may
//! leave messages out, until they have caught up.
//!
//! Which sources there are, and what starts with a lease, is not known here.

mod check;
mod clock;
mod ending;
mod follow;
mod lease;
pub mod order;
mod outbox;
mod preflight;
mod publish;
pub mod roster;
mod service;
pub mod shape;
mod tables;
mod trail;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::watch;

pub use self::preflight::preflight;

use self::follow::Place;
use self::order::Order;
use self::roster::{Roster, SeenLease};
use self::shape::PolicyShape;
use crate::identity::Core;
use crate::identity::policy::Policy;
use crate::identity::state::{Contradiction, State as TableState};
use crate::identity::time::UtcMillis;
use crate::net::nats::Nats;
use crate::runtime::clock as time;

pub use self::lease::Held;
pub use self::service::ClusterParts;
pub use self::tables::Stored;

/// Leases that the cluster itself needs somebody to hold.
pub const OWN_LEASES: [&str; 2] = [clock::LEASE, tables::LEASE];

/// A handle of this process's member; clones are of the same one.
#[derive(Clone, Debug)]
pub struct Cluster(Arc<Shared>);

/// What the tasks of a member share.
#[derive(Debug)]
struct Shared {
    member: Arc<str>,
    stream: String,
    wanted: watch::Sender<BTreeSet<Arc<str>>>,
    held: watch::Sender<Held>,
    roster: Arc<Mutex<Roster>>,
    place: watch::Receiver<Place>,
    policy: watch::Receiver<Option<PolicyShape>>,
    own_policy: ArcSwap<PolicyShape>,
    state: Mutex<State>,
    publishing: watch::Sender<Option<String>>,
    leasing: watch::Sender<Option<String>>,
    stored: watch::Sender<Option<Stored>>,
    /// Told when this member's table is found not to be the stream's.
    wrong: watch::Sender<()>,
    /// How often it was replaced because it was not.
    replaced: AtomicU64,
    nats: Mutex<Option<Nats>>,
    /// Whether this process keeps a history.
    history: Arc<AtomicBool>,
}

/// What following is at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// There is no connection yet.
    Connecting,
    /// The cluster's table is read: bytes so far, and of how many.
    Resynchronising(usize, usize),
    /// So many messages are left.
    CatchingUp(u64),
    /// Every message is applied as it comes.
    Following,
}

/// What hinders following.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What.
    pub what: String,
    /// What can be tried.
    pub remedy: String,
    /// Since when.
    pub since: UtcMillis,
}

#[derive(Debug)]
struct State {
    life: u64,
    stage: Stage,
    trouble: Option<Trouble>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            life: 0,
            stage: Stage::Connecting,
            trouble: None,
        }
    }
}

impl State {
    fn follows(&mut self) {
        if self.trouble.take().is_some() || self.stage != Stage::Following {
            tracing::info!("the table follows the cluster's stream");
        }
        self.stage = Stage::Following;
    }

    fn catches_up(&mut self, left: u64) {
        self.stage = Stage::CatchingUp(left);
    }

    fn resynchronises(&mut self, bytes: usize, of: usize) {
        self.stage = Stage::Resynchronising(bytes, of);
    }

    /// Whether it is news.
    fn trouble(&mut self, what: &str, remedy: String) -> bool {
        let is_news = self.trouble.as_ref().is_none_or(|told| told.what != what);
        let since = self.trouble.as_ref().map(|told| told.since);
        self.trouble = Some(Trouble {
            what: what.to_owned(),
            remedy,
            since: since.unwrap_or_else(time::utc_now),
        });
        is_news
    }

    fn word(&self) -> &'static str {
        match (&self.trouble, &self.stage) {
            (Some(_), Stage::Following) => "cut-off",
            (_, Stage::Connecting) => "connecting",
            (_, Stage::Resynchronising(..)) => "resynchronising",
            (_, Stage::CatchingUp(_)) => "catching-up",
            (None, Stage::Following) => "following",
        }
    }
}

/// How the cluster is, as this member sees it.
#[derive(Clone, Debug)]
pub struct Reading {
    /// This member's name.
    pub member: String,
    /// The stream's name.
    pub stream: String,
    /// The server that this member is connected to; `None`: to none.
    pub server: Option<String>,
    /// What following is at.
    pub stage: Stage,
    /// `connecting`, `resynchronising`, `catching-up`, `following` or `cut-off`.
    pub state: &'static str,
    /// What hinders it.
    pub trouble: Option<Trouble>,
    /// Since when there is no connection, if there was one.
    pub lost_since: Option<UtcMillis>,
    /// What NATS refuses, beside following.
    pub refused: Vec<String>,
    /// The last message that was applied.
    pub applied: u64,
    /// When the stream took it.
    pub applied_at: Option<UtcMillis>,
    /// Messages behind it, when it came.
    pub behind: u64,
    /// Whether this process's configuration says otherwise than what the tables obey.
    pub policy_differs: bool,
    /// How often since the start this member's table was found not to be the stream's, and replaced.
    pub wrong: u64,
    /// The table that this member stored last for others.
    pub stored: Option<Stored>,
    /// Leases that this member would hold.
    pub wanted: BTreeSet<Arc<str>>,
    /// How many leases it holds.
    pub held: usize,
    /// Leases that it would hold and nobody does, and for how long.
    pub vacant: Vec<(Arc<str>, Duration)>,
    /// All members that ever were and were not forgotten.
    pub members: Vec<MemberReading>,
    /// All leases that ever were.
    pub leases: Vec<SeenLease>,
}

/// A member, as it is seen here.
#[derive(Clone, Debug)]
pub struct MemberReading {
    /// What it said last.
    pub value: roster::MemberValue,
    /// How long ago.
    pub heard_ago: Duration,
    /// Whether it counts as there.
    pub is_alive: bool,
}

impl Cluster {
    /// Which leases this member would hold, beside [`OWN_LEASES`].
    pub fn want(&self, leases: impl IntoIterator<Item = Arc<str>>) {
        let own = OWN_LEASES.into_iter().map(Arc::from);
        let wanted: BTreeSet<Arc<str>> = leases.into_iter().chain(own).collect();
        self.0.wanted.send_if_modified(|before| {
            let differs = *before != wanted;
            *before = wanted;
            differs
        });
    }

    /// Which leases this member holds.
    #[must_use]
    pub fn held(&self) -> watch::Receiver<Held> {
        self.0.held.subscribe()
    }

    /// What this process's configuration says that tables obey, after a reload.
    pub fn set_own_policy(&self, policy: &Policy) {
        self.0.history.store(policy.history, Ordering::Relaxed);
        self.0.own_policy.store(Arc::new(policy.into()));
    }

    /// How the cluster is.
    #[must_use]
    pub fn read(&self) -> Reading {
        let shared = &self.0;
        let (now, place) = (time::monotonic_now(), *shared.place.borrow());
        let nats = shared.nats.lock().clone();
        let lost_since = nats.as_ref().and_then(Nats::lost_since);
        let server = nats.filter(Nats::is_connected).map(|nats| nats.server());
        let (stage, state, trouble) = {
            let state = shared.state.lock();
            (state.stage.clone(), state.word(), state.trouble.clone())
        };
        let refused = [
            ("publishing", &shared.publishing),
            ("members and leases", &shared.leasing),
        ];
        let refused = refused.iter().filter_map(|(doing, told)| {
            let what = told.borrow();
            what.as_ref().map(|what| format!("{doing}: {what}"))
        });
        let policy_differs = {
            let published = shared.policy.borrow();
            let own = shared.own_policy.load();
            published
                .as_ref()
                .is_some_and(|policy| !policy.is_like(&own))
        };
        let roster = shared.roster.lock();
        let members = roster.members().map(|seen| {
            let is_alive = roster.is_alive(&seen.value.name, now);
            let mut heard_ago = now.saturating_duration_since(seen.heard);
            if !is_alive && seen.value.said > 0 {
                // It may have fallen silent before this process began to listen.
                let said = UtcMillis(seen.value.said);
                heard_ago = heard_ago.max(time::utc_now().since(said));
            }
            MemberReading {
                value: seen.value.clone(),
                heard_ago,
                is_alive,
            }
        });
        let vacant = roster.vacant().map(|(lease, since)| {
            let length = now.saturating_duration_since(since);
            (Arc::clone(lease), length)
        });
        Reading {
            member: shared.member.to_string(),
            stream: shared.stream.clone(),
            server,
            stage,
            state,
            trouble,
            lost_since,
            refused: refused.collect(),
            applied: place.applied,
            applied_at: place.at,
            behind: place.behind,
            policy_differs,
            wrong: shared.replaced.load(Ordering::Relaxed),
            stored: *shared.stored.borrow(),
            wanted: shared.wanted.borrow().clone(),
            held: shared.held.borrow().len(),
            vacant: vacant.collect(),
            members: members.collect(),
            leases: roster.leases().cloned().collect(),
        }
    }
}

/// Name of a stream's bucket of members and leases.
#[must_use]
pub fn bucket(stream: &str) -> String {
    format!("{stream}_members")
}

/// The table of a member that stopped, as it was: nothing has changed since, because only the stream changes it.
///
/// # Errors
/// [`Contradiction`] if no table can have been written like this.
pub fn resume(state: TableState, history: bool) -> Result<Core, Contradiction> {
    let policy = Order::policy_in(&state).and_then(|policy| policy.policy(history).ok());
    let policy = policy.unwrap_or_else(|| Policy {
        history,
        ..Policy::default()
    });
    Core::resume(state, policy)
}

/// Whether a table is, or was, that of a cluster's member.
#[must_use]
pub fn is_of_cluster(state: &TableState) -> bool {
    Order::is_in(state)
}
