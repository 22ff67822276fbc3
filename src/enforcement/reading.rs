//! What each enforcement point did of late, for status: one bounded record a point, read as plain values.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use super::point::Points;
use super::query::BatchAnswer;
use crate::access::{Access, Role};
use crate::config::show_network;
use crate::identity::time::UtcMillis;
use crate::identity::view::Seq;

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A token.
    Token,
    /// A batch query.
    Batch,
    /// An IP query.
    Ip,
    /// A user query.
    User,
    /// A question to the validator.
    Validate,
    /// Something that is not understood.
    Unknown,
}

/// What a request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// Answered.
    Ok,
    /// No valid credential or token (401).
    Unauthorized,
    /// From an address that is no enforcement point (403).
    Stranger,
    /// The connection showed no client certificate, or one of another name, where one is configured (403).
    Uncertified,
    /// Too many failed logins (429).
    Delayed,
    /// More requests than its clients can need (429).
    RateLimited,
    /// Not understood (400).
    Invalid,
    /// Not ready yet (503).
    NotReady,
}

impl Kind {
    /// How many there are.
    pub(super) const COUNT: usize = Self::Unknown as usize + 1;

    /// The word for metrics, JSON and screens.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Batch => "batch",
            Self::Ip => "ip",
            Self::User => "user",
            Self::Validate => "validate",
            Self::Unknown => "unknown",
        }
    }
}

impl Outcome {
    /// How many there are.
    pub(super) const COUNT: usize = Self::NotReady as usize + 1;

    /// The word for metrics, JSON and screens.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unauthorized => "unauthorized",
            Self::Stranger => "stranger",
            Self::Uncertified => "no-certificate",
            Self::Delayed => "delayed",
            Self::RateLimited => "rate-limited",
            Self::Invalid => "invalid",
            Self::NotReady => "not-ready",
        }
    }
}

/// What one enforcement point did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PointReading {
    /// Its name.
    pub name: String,
    /// What it calls itself.
    pub client_id: String,
    /// Where it may call from.
    pub addresses: Vec<String>,
    /// When it last got an answer, and where it called from.
    pub last_seen: Option<(UtcMillis, IpAddr)>,
    /// When it last got a token.
    pub last_token: Option<UtcMillis>,
    /// When its last batch query was answered; its cookie is as old.
    pub last_batch: Option<UtcMillis>,
    /// When its last IP query was answered.
    pub last_ip: Option<UtcMillis>,
    /// When its last user query was answered.
    pub last_user: Option<UtcMillis>,
    /// Changes behind its cursor that it has not heard of, as of its last batch query.
    pub behind: Option<u64>,
    /// The cookie that it was last given: everything up to here is told.
    pub position: Option<Seq>,
    /// When its last pass from 0 began.
    pub last_full: Option<UtcMillis>,
    /// Requests answered.
    pub answered: u64,
    /// Entries sent.
    pub entries_sent: u64,
    /// Requests refused.
    pub refused: u64,
    /// The last refusal: when, and its word.
    pub last_refused: Option<(UtcMillis, &'static str)>,
    /// Tokens that are good now.
    pub tokens: usize,
}

/// What all points did; a point that is removed is forgotten.
#[derive(Debug, Default)]
pub struct PointStates(Mutex<BTreeMap<Arc<str>, State>>);

#[derive(Clone, Debug, Default)]
struct State {
    last_seen: Option<(UtcMillis, IpAddr)>,
    last_by_kind: BTreeMap<Kind, UtcMillis>,
    behind: Option<u64>,
    position: Option<Seq>,
    last_full: Option<UtcMillis>,
    answered: u64,
    entries_sent: u64,
    refused: u64,
    last_refused: Option<(UtcMillis, &'static str)>,
}

/// One request of a point.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// What.
    pub kind: Kind,
    /// From where.
    pub address: IpAddr,
    /// When.
    pub at: UtcMillis,
}

impl PointStates {
    /// A request was answered with so many entries.
    pub fn answered(&self, point: &Arc<str>, asked: Asked, entries: usize) {
        let mut all = self.0.lock();
        let state = all.entry(Arc::clone(point)).or_default();
        state.last_seen = Some((asked.at, asked.address));
        state.last_by_kind.insert(asked.kind, asked.at);
        state.answered += 1;
        state.entries_sent = state.entries_sent.saturating_add(entries as u64);
    }

    /// Where a batch query left the point.
    pub fn stands(&self, point: &Arc<str>, answer: &BatchAnswer, now: UtcMillis) {
        let mut all = self.0.lock();
        let state = all.entry(Arc::clone(point)).or_default();
        state.behind = Some(answer.behind);
        state.position = Some(answer.position);
        if answer.full {
            state.last_full = Some(now);
        }
    }

    /// A request was refused.
    pub fn refused(&self, point: &Arc<str>, outcome: Outcome, now: UtcMillis) {
        let mut all = self.0.lock();
        let state = all.entry(Arc::clone(point)).or_default();
        state.refused += 1;
        state.last_refused = Some((now, outcome.as_str()));
    }

    /// Forgets points that are not configured any more.
    pub fn keep_only(&self, points: &Points) {
        let mut all = self.0.lock();
        all.retain(|name, _| points.iter().any(|point| point.name == *name));
    }

    /// Plain values for every configured point, in the order of the configuration.
    #[must_use]
    pub fn read(&self, points: &Points, access: &Access, now: UtcMillis) -> Vec<PointReading> {
        let (all, clients) = (self.0.lock(), access.clients());
        let reading = |point: &Arc<super::point::Point>| {
            let state = all.get(&point.name).cloned().unwrap_or_default();
            let last = |kind| state.last_by_kind.get(&kind).copied();
            let client = clients.named(Role::Enforcement, &point.name);
            let addresses = client.map_or(&[][..], |client| client.addresses());
            PointReading {
                name: point.name.to_string(),
                client_id: client.map(|c| c.client_id.to_string()).unwrap_or_default(),
                addresses: addresses.iter().copied().map(show_network).collect(),
                last_seen: state.last_seen,
                last_token: last(Kind::Token),
                last_batch: last(Kind::Batch),
                last_ip: last(Kind::Ip),
                last_user: last(Kind::User),
                behind: state.behind,
                position: state.position,
                last_full: state.last_full,
                answered: state.answered,
                entries_sent: state.entries_sent,
                refused: state.refused,
                last_refused: state.last_refused,
                tokens: client.map_or(0, |c| access.tokens_of(&c.client_id, now)),
            }
        };
        points.iter().map(reading).collect()
    }
}
