//! The core's doors: what the one writer calls. What readers ask is in `read`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use compact_str::CompactString;

use super::address::canonical;
use super::arena::Id;
use super::changes::Waiting;
use super::collector::{CollectorBatch, CollectorName};
use super::deadline::{Clock, Deadlines, HEARTBEAT};
use super::directory::DirectoryBatch;
use super::domain::Domains;
use super::ended::Ended;
use super::event::{Bookmark, IdentityEvent, ProducerName};
use super::feed::Feed;
use super::heard::Lines;
use super::journal::Journal;
use super::name::{Name, NameKey};
use super::objects::Objects;
use super::outcome::{EndReason, Outcome};
use super::policy::Policy;
use super::probe::ProbeReport;
use super::producer::Producers;
use super::regroup::{GroupLists, Regrouping};
use super::settle::End;
use super::subject::{SubjectKind, Subjects};
use super::sync::Leaves;
use super::table::Table;
use super::time::UtcMillis;
use super::view::Epoch;

/// The table, its journal and its deadlines.
#[derive(Debug)]
pub struct Core {
    pub(super) epoch: Epoch,
    pub(super) policy: Policy,
    pub(super) clock: Clock,
    pub(super) domains: Domains,
    pub(super) producers: Producers,
    pub(super) subjects: Subjects,
    pub(super) objects: Objects,
    pub(super) table: Table,
    pub(super) deadlines: Deadlines,
    pub(super) journal: Journal,
    pub(super) feed: Feed,
    pub(super) heard: Lines,
    pub(super) bookmarks: BTreeMap<CompactString, Box<[u8]>>,
    pub(super) group_lists: GroupLists,
    /// What a directory's batch has left to be done.
    pub(super) regrouping: Option<Box<Regrouping>>,
    /// That of a batch that is done, of which nothing but its memory is left.
    pub(super) rest: Option<Box<Regrouping>>,
    /// Whom outcomes name that no producer caused.
    pub(super) own_name: ProducerName,
    pub(super) sessions: usize,
    pub(super) active_users: usize,
    pub(super) active_devices: usize,
    pub(super) tombstones: usize,
    /// Sessions that ended and were not taken yet.
    pub(super) ended: Vec<Ended>,
    /// What changed and was not taken yet, beside what the arenas know.
    pub(super) waiting: Waiting,
}

/// What the writer applies in one step.
#[derive(Clone, Debug)]
pub enum Batch {
    /// Evidence of one producer, in its order; the bookmark moves with it.
    Events {
        /// The events.
        events: Vec<IdentityEvent>,
        /// Where the producer stands after them.
        bookmark: Option<Bookmark>,
    },
    /// A step of reading a directory.
    Directory(DirectoryBatch),
    /// The operator ends sessions: of a user anywhere, or whatever is at an address.
    LogOff(LogOffTarget),
    /// A computer was asked who is signed on.
    Probe(ProbeReport),
    /// What a Collector says of addresses.
    Collector(CollectorBatch),
    /// Since when a Collector is not heard; `None`: it is.
    CollectorStanding {
        /// Which.
        collector: CollectorName,
        /// When it was last heard.
        disconnected_since: Option<UtcMillis>,
    },
    /// Objects of a Collector's directory leave, unless another has taken them over.
    DropDirectory {
        /// `COLLECTOR/DIRECTORY`.
        directory: Name,
        /// Whether sessions of its users end; they stay if the Collector leaves as a whole, for what others say of them.
        ends_sessions: bool,
    },
}

/// Whose sessions the operator ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogOffTarget {
    /// User and device sessions at the address.
    Address(IpAddr),
    /// The user's sessions at every address. The qualifier may be any name of the domain; without one, the user of
    /// every domain.
    User {
        /// Logon name.
        name: Name,
        /// Domain, in any of its names.
        domain: Option<Name>,
    },
}

/// What applying a batch did, for its author.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Events that began, renewed or ended a session; objects that changed; sessions ended by the operator.
    pub applied: usize,
    /// Events that changed nothing.
    pub ignored: usize,
    /// A directory poll would have removed too much (rule 14): a full read must say the same first.
    pub full_read_wanted: bool,
}

/// Why the core wants to be called at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// A session's logoff time.
    Deadline,
    /// A tombstone's end.
    Tombstone,
    /// Nothing is due, but waiting longer would look like a jump of the clock.
    Clock,
}

impl Core {
    /// An empty table.
    #[must_use]
    pub fn new(epoch: Epoch, policy: Policy) -> Self {
        let mut core = Self {
            epoch,
            policy,
            clock: Clock::default(),
            domains: Domains::default(),
            producers: Producers::default(),
            subjects: Subjects::default(),
            objects: Objects::default(),
            table: Table::default(),
            deadlines: Deadlines::default(),
            journal: Journal::default(),
            feed: Feed::default(),
            heard: Lines::default(),
            bookmarks: BTreeMap::new(),
            group_lists: GroupLists::default(),
            regrouping: None,
            rest: None,
            own_name: Arc::from("jims"),
            sessions: 0,
            active_users: 0,
            active_devices: 0,
            tombstones: 0,
            ended: Vec::new(),
            waiting: Waiting::default(),
        };
        core.note_site();
        core.domains.rebuild(&core.policy);
        core.keep_feed();
        core
    }

    /// Applies a batch; one outcome an event is appended to `outcomes`, and one for every session that a directory or
    /// the operator ends.
    pub fn apply(&mut self, batch: Batch, now: UtcMillis, outcomes: &mut Vec<Outcome>) -> Applied {
        let applied = self.begin(batch, now, outcomes);
        self.finish();
        applied
    }

    /// As [`Core::apply`], but whose groups a directory's step changes may be left to [`Core::go_on`]; it has to be done
    /// before anything else.
    pub fn begin(&mut self, batch: Batch, now: UtcMillis, outcomes: &mut Vec<Outcome>) -> Applied {
        self.assert_whole();
        let now = self.clock.pass(now);
        match batch {
            Batch::Events { events, bookmark } => {
                let mut applied = Applied::default();
                for event in events {
                    if self.evidence(event, now, outcomes) {
                        applied.applied += 1;
                    } else {
                        applied.ignored += 1;
                    }
                }
                if let Some(Bookmark { key, value }) = bookmark {
                    self.keep_bookmark(key, value);
                }
                applied
            }
            Batch::Directory(batch) => {
                self.note_site();
                self.sync(batch, now, outcomes)
            }
            Batch::LogOff(target) => self.log_off(&target, now, outcomes),
            Batch::Probe(report) => self.probed(report, now, outcomes),
            Batch::Collector(batch) => self.told_by(batch, now, outcomes),
            Batch::CollectorStanding {
                collector,
                disconnected_since,
            } => {
                self.note_site();
                self.note_standing(&collector, disconnected_since, now)
            }
            Batch::DropDirectory {
                directory,
                ends_sessions,
            } => {
                let leaves = if ends_sessions {
                    Leaves::WithDirectory
                } else {
                    Leaves::WithCollector
                };
                let ended_before = outcomes.len();
                self.note_site();
                self.remove_directory((&directory.key(), leaves), now, outcomes);
                Applied {
                    applied: outcomes.len() - ended_before,
                    ..Applied::default()
                }
            }
        }
    }

    /// When [`Core::advance`] should be called next, and why. `None`: nothing can become due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(UtcMillis, Wake)> {
        let session = self.deadlines.sessions.first();
        let tombstone = self.deadlines.tombstones.first();
        let due = session
            .map(|first| (first.0, Wake::Deadline))
            .into_iter()
            .chain(tombstone.map(|first| (first.0, Wake::Tombstone)))
            .min_by_key(|(at, _)| *at)?;
        let look = self
            .clock
            .now()
            .map(|now| (now.after(HEARTBEAT), Wake::Clock));
        Some(look.filter(|look| look.0 < due.0).unwrap_or(due))
    }

    /// Replaces the policy; new filters act on the whole table at once (rule 24).
    pub fn set_policy(&mut self, policy: Policy, now: UtcMillis, outcomes: &mut Vec<Outcome>) {
        self.assert_whole();
        let now = self.clock.pass(now);
        self.note_site();
        self.obey(policy, now, outcomes);
    }

    /// Begins another epoch of the same journal: cookies of before count no more.
    pub fn begin_epoch(&mut self, epoch: Epoch) {
        self.epoch = epoch;
        self.note_site();
    }

    fn log_off(
        &mut self,
        target: &LogOffTarget,
        now: UtcMillis,
        outcomes: &mut Vec<Outcome>,
    ) -> Applied {
        let ended_before = outcomes.len();
        let source = self.own_name.clone();
        let end = End {
            reason: EndReason::Operator,
            source: &source,
        };
        match target {
            LogOffTarget::Address(address) => {
                if let Some(entry) = self.table.find(canonical(*address)) {
                    self.close(entry, SubjectKind::User, end, now, outcomes);
                    self.close(entry, SubjectKind::Device, end, now, outcomes);
                }
            }
            LogOffTarget::User { name, domain } => {
                let domain = domain.as_ref().map(Name::as_str);
                for user in self.users_meant(name.as_str(), domain) {
                    // Ending one user's session may have let go of another's last trace.
                    if !self.subjects.arena.contains(user) {
                        continue;
                    }
                    for entry in self.subjects.arena[user].places.to_vec() {
                        if self.table.arena[entry].user().subject() == Some(user) {
                            self.close(entry, SubjectKind::User, end, now, outcomes);
                        }
                    }
                }
            }
        }
        Applied {
            applied: outcomes.len() - ended_before,
            ..Applied::default()
        }
    }

    /// Users of a name: in a domain by any of its names, or in every domain.
    pub(super) fn users_meant(
        &self,
        name: &str,
        domain: Option<&str>,
    ) -> Vec<Id<super::subject::Subject>> {
        self.subjects_meant(SubjectKind::User, name, domain)
    }

    pub(super) fn subjects_meant(
        &self,
        kind: SubjectKind,
        name: &str,
        domain: Option<&str>,
    ) -> Vec<Id<super::subject::Subject>> {
        let key = NameKey::fold(name);
        let in_domain = |domain| self.subjects.find(kind, domain, key.clone());
        match domain {
            Some(domain) => self
                .domains
                .find(domain)
                .and_then(in_domain)
                .into_iter()
                .collect(),
            None => {
                let domains = self.domains.in_order().into_iter();
                domains.filter_map(in_domain).collect()
            }
        }
    }

    pub(super) fn active_mut(&mut self, kind: SubjectKind) -> &mut usize {
        match kind {
            SubjectKind::User => &mut self.active_users,
            SubjectKind::Device => &mut self.active_devices,
        }
    }
}
