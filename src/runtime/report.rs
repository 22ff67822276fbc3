//! What producers, directories and outputs report about themselves, for status and metrics.
//!
//! Each task owns an `Arc<Report>` and updates it with cheap atomic writes; `control` reads all of them through a
//! [`Reports`]. No history is kept here and nothing is decided from it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::rate::Rate;
use crate::identity::time::UtcMillis;

/// What a task is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An event source.
    EventLog,
    /// A syslog source.
    Syslog,
    /// A portal or NAC that pushes.
    FirewallPush,
    /// A directory service.
    Directory,
    /// The PC probe.
    PcProbe,
    /// The saving of the table in the state folder.
    Snapshot,
}

/// How a task is doing (product: silence is not an outage).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Not yet served or heard.
    Starting,
    /// Working.
    Active,
    /// Working, but nothing was heard for a while.
    Quiet,
    /// Working with a fault the operator should see.
    Degraded,
    /// Not working.
    Down,
}

impl Health {
    /// The word for JSON and screens.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Active => "active",
            Self::Quiet => "quiet",
            Self::Degraded => "degraded",
            Self::Down => "down",
        }
    }
}

/// A fault with what to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What went wrong: one sentence, no full stop.
    pub message: String,
    /// What to try; may be empty.
    pub remedy: String,
    /// Since when.
    pub since: UtcMillis,
}

/// Something that a task knows about itself beside its counts; for status, under a name that stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A word or a sentence.
    Text(String),
    /// A number; its unit is part of the name.
    Number(i64),
    /// An instant.
    Time(UtcMillis),
}

/// One task's report about itself.
#[derive(Debug)]
pub struct Report {
    /// Configured name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Records received.
    pub received: AtomicU64,
    /// Records that became events.
    pub interpreted: AtomicU64,
    /// When the last record arrived, UTC milliseconds; 0: never.
    pub last_received: AtomicI64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    health: Health,
    fault: Option<Fault>,
    detail: String,
    ignored: BTreeMap<&'static str, u64>,
    dropped: BTreeMap<&'static str, u64>,
    noted: BTreeMap<&'static str, u64>,
    facts: BTreeMap<&'static str, Fact>,
    rate: Rate,
}

/// A copy of a report at one moment.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Configured name.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// How it is doing.
    pub health: Health,
    /// What is wrong, if something is.
    pub fault: Option<Fault>,
    /// What it is doing (progress, host in use); for people.
    pub detail: String,
    /// Records received.
    pub received: u64,
    /// Records that became events.
    pub interpreted: u64,
    /// Records that mean nothing, by reason.
    pub ignored: BTreeMap<&'static str, u64>,
    /// Records lost, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Records that were used although something was odd, by remark.
    pub noted: BTreeMap<&'static str, u64>,
    /// What else the task knows about itself, by name.
    pub facts: BTreeMap<&'static str, Fact>,
    /// Records a second, over the last minute.
    pub rate: Rate,
    /// When the last record arrived.
    pub last_received: Option<UtcMillis>,
}

impl Report {
    /// A report of a task that is starting.
    #[must_use]
    pub fn new(kind: Kind, name: impl Into<String>) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            kind,
            received: AtomicU64::new(0),
            interpreted: AtomicU64::new(0),
            last_received: AtomicI64::new(0),
            state: Mutex::new(State {
                health: Health::Starting,
                fault: None,
                detail: String::new(),
                ignored: BTreeMap::new(),
                dropped: BTreeMap::new(),
                noted: BTreeMap::new(),
                facts: BTreeMap::new(),
                rate: Rate::default(),
            }),
        })
    }

    /// Counts records received at an instant.
    pub fn count_received(&self, records: u64, now: UtcMillis) {
        self.received.fetch_add(records, Ordering::Relaxed);
        self.last_received.store(now.0, Ordering::Relaxed);
        self.state.lock().rate.add(records, now);
    }

    /// Says something that the task knows about itself.
    pub fn set_fact(&self, name: &'static str, fact: Fact) {
        self.state.lock().facts.insert(name, fact);
    }

    /// Counts records that became events.
    pub fn count_interpreted(&self, records: u64) {
        self.interpreted.fetch_add(records, Ordering::Relaxed);
    }

    /// Counts a record that means nothing.
    pub fn count_ignored(&self, reason: &'static str) {
        *self.state.lock().ignored.entry(reason).or_default() += 1;
    }

    /// Counts records that mean nothing, of one reason.
    pub fn count_ignored_many(&self, reason: &'static str, records: u64) {
        *self.state.lock().ignored.entry(reason).or_default() += records;
    }

    /// Counts records that were used although something was odd.
    pub fn count_noted(&self, remark: &'static str, records: u64) {
        *self.state.lock().noted.entry(remark).or_default() += records;
    }

    /// Counts lost records.
    pub fn count_dropped(&self, reason: &'static str, records: u64) {
        *self.state.lock().dropped.entry(reason).or_default() += records;
    }

    /// Says that the task works; clears the fault.
    pub fn set_active(&self, detail: impl Into<String>) {
        let mut state = self.state.lock();
        state.health = Health::Active;
        state.fault = None;
        state.detail = detail.into();
    }

    /// Says that the task works but has heard nothing for a while; clears the fault.
    pub fn set_quiet(&self, detail: impl Into<String>) {
        let mut state = self.state.lock();
        state.health = Health::Quiet;
        state.fault = None;
        state.detail = detail.into();
    }

    /// Says what the task is doing, without changing its health.
    pub fn set_detail(&self, detail: impl Into<String>) {
        self.state.lock().detail = detail.into();
    }

    /// Says what is wrong; `since` of a repeated fault stays the first one.
    pub fn set_fault(
        &self,
        health: Health,
        message: impl Into<String>,
        remedy: impl Into<String>,
        now: UtcMillis,
    ) {
        let mut state = self.state.lock();
        let since = state.fault.as_ref().map_or(now, |fault| fault.since);
        state.health = health;
        state.fault = Some(Fault {
            message: message.into(),
            remedy: remedy.into(),
            since,
        });
    }

    /// A copy for readers.
    #[must_use]
    pub fn read(&self) -> Reading {
        let state = self.state.lock();
        let last = self.last_received.load(Ordering::Relaxed);
        Reading {
            name: self.name.clone(),
            kind: self.kind,
            health: state.health,
            fault: state.fault.clone(),
            detail: state.detail.clone(),
            received: self.received.load(Ordering::Relaxed),
            interpreted: self.interpreted.load(Ordering::Relaxed),
            ignored: state.ignored.clone(),
            dropped: state.dropped.clone(),
            noted: state.noted.clone(),
            facts: state.facts.clone(),
            rate: state.rate.clone(),
            last_received: (last != 0).then_some(UtcMillis(last)),
        }
    }
}

/// All reports of a process.
#[derive(Clone, Debug, Default)]
pub struct Reports(Arc<Mutex<Vec<Arc<Report>>>>);

impl Reports {
    /// Adds a report; replaces one of the same kind and name.
    pub fn add(&self, report: &Arc<Report>) {
        let mut all = self.0.lock();
        all.retain(|r| !(r.kind == report.kind && r.name == report.name));
        all.push(Arc::clone(report));
    }

    /// Counts records of the named producer that the table ignored; without effect if there is no such report.
    pub fn count_ignored(&self, producer: &str, reason: &'static str, records: u64) {
        let found = self
            .0
            .lock()
            .iter()
            .find(|report| report.name == producer)
            .cloned();
        if let Some(report) = found {
            report.count_ignored_many(reason, records);
        }
    }

    /// Removes a report.
    pub fn remove(&self, kind: Kind, name: &str) {
        self.0
            .lock()
            .retain(|r| !(r.kind == kind && r.name == name));
    }

    /// Copies of all, in the order in which they were added.
    #[must_use]
    pub fn read(&self) -> Vec<Reading> {
        self.0.lock().iter().map(|r| r.read()).collect()
    }
}
