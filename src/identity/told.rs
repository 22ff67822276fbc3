//! What Collectors tell: their facts in our slots, how long their sessions last, and what leaves with them.
//!
//! Sessions of a Collector that is heard end by its word alone; of one that is not, when the logoff time has passed
//! since it fell silent (rule 27). What Collectors say of their directories goes the way of our own
//! ([`super::sync`]); which of two Collectors speaks for a domain is decided by whoever hands it in.

use std::net::IpAddr;
use std::time::Duration;

use compact_str::CompactString;

use super::address::session_address;
use super::arena::Id;
use super::collector::{
    AddressReport, CollectorBatch, CollectorName, MAX_TOLD, ToldFact, ToldSubject,
};
use super::conflict::FactKind;
use super::core::{Applied, Core};
use super::deadline::JUMP;
use super::event::{DeviceRef, ProducerName, Qualifier, UserRef};
use super::outcome::{EndReason, IgnoreReason, Outcome, Verdict};
use super::policy::Speaker;
use super::producer::{Origin, Producers};
use super::session::{Extra, Fact, Slot};
use super::settle::{End, Settled, expire_risen};
use super::subject::{Subject, SubjectKind};
use super::table::Entry;
use super::time::UtcMillis;

/// The end of what does not end by the clock.
pub(super) const NEVER: UtcMillis = UtcMillis(i64::MAX);

/// When the evidence that holds a slot's session is over: that of ours after the logoff time, that of a Collector by its
/// word while it is heard.
pub(super) fn support_ends(
    slot: &Slot,
    producers: &Producers,
    logoff_time: Duration,
) -> Option<UtcMillis> {
    let ends = |fact: &Fact| match producers.teller(fact.producer) {
        None => fact.at.after(logoff_time),
        Some(teller) => teller
            .disconnected_since
            .map_or(NEVER, |since| since.max(fact.at).after(logoff_time)),
    };
    slot.support().map(ends).max()
}

impl Core {
    /// As [`support_ends`], of an address.
    pub(super) fn support_ends(&self, entry: &Entry, kind: SubjectKind) -> Option<UtcMillis> {
        support_ends(entry.slot(kind), &self.producers, self.policy.logoff_time)
    }

    /// When a session is to be looked at next. A Collector may fall silent at any time, and then the logoff time runs
    /// from there: its sessions are looked at again then ([`super::deadline::Review`]).
    pub(super) fn next_look(&self, entry: &Entry, kind: SubjectKind) -> Option<UtcMillis> {
        let deadline = self.deadline(entry, kind)?;
        if deadline < NEVER {
            return Some(deadline);
        }
        let last = entry.slot(kind).last()?;
        let heard = last.at.max(self.clock.now().unwrap_or(last.at));
        Some(heard.after(self.policy.logoff_time.max(JUMP)))
    }

    /// Applies what a Collector says of addresses.
    pub(super) fn told_by(
        &mut self,
        batch: CollectorBatch,
        now: UtcMillis,
        outcomes: &mut Vec<Outcome>,
    ) -> Applied {
        let mut applied = Applied::default();
        let is_heard = self.policy.collectors.contains_key(&batch.collector);
        let origin = self.producers.origin_of(&batch.collector);
        for report in batch.reports {
            // Whoever is not heard can still take back what he said.
            let may_speak = is_heard || (report.user.is_empty() && report.device.is_empty());
            if may_speak && self.told_of((&batch.collector, origin), report, now, outcomes) {
                applied.applied += 1;
            } else {
                applied.ignored += 1;
            }
        }
        if let Some(bookmark) = batch.bookmark {
            self.keep_bookmark(bookmark.key, bookmark.value);
        }
        applied
    }

    /// Notes since when a Collector is not heard.
    pub(super) fn note_standing(
        &mut self,
        collector: &CollectorName,
        disconnected_since: Option<UtcMillis>,
        now: UtcMillis,
    ) -> Applied {
        let changed = self.producers.set_standing(collector, disconnected_since);
        if changed {
            if let Some(since) = disconnected_since {
                let due = since.after(self.policy.logoff_time);
                self.deadlines.review_at(due);
            }
            self.review_doubts(now);
        }
        Applied {
            applied: usize::from(changed),
            ..Applied::default()
        }
    }

    /// Replaces what a Collector said of an address; whether that changed anything there.
    fn told_of(
        &mut self,
        (collector, origin): (&CollectorName, Origin),
        report: AddressReport,
        now: UtcMillis,
        outcomes: &mut Vec<Outcome>,
    ) -> bool {
        let Some(address) = session_address(report.address) else {
            return false;
        };
        let (user, device) = match self.may_speak_of(Speaker::Collector(collector), address) {
            Ok(()) => (report.user, report.device),
            Err(_may_not) => (Vec::new(), Vec::new()),
        };
        let mut changed = false;
        // One slot after the other: a change may bury another address and release whom nothing holds yet.
        for (kind, told) in [(SubjectKind::Device, device), (SubjectKind::User, user)] {
            let mut named = Vec::new();
            let facts = self.facts_of((collector, origin), kind, told, (now, &mut named));
            let entry = match self.table.find(address) {
                None if facts.is_empty() => None,
                Some(entry) => Some(entry),
                None => Some(self.table.find_or_insert(address)),
            };
            if let Some(entry) = entry {
                changed |= self.retell(entry, kind, (collector, origin, facts), (now, outcomes));
            }
            for subject in named {
                self.release(subject);
            }
        }
        changed
    }

    /// Puts a Collector's facts into a slot, in place of those it told before.
    fn retell(
        &mut self,
        entry: Id<Entry>,
        kind: SubjectKind,
        (collector, origin, facts): (&CollectorName, Origin, Vec<Fact>),
        (now, outcomes): (UtcMillis, &mut Vec<Outcome>),
    ) -> bool {
        if self.tells(entry, kind, origin, &facts) {
            return false;
        }
        let logoff_time = self.policy.logoff_time;
        let newest = facts
            .last()
            .map(|fact| (fact.producer, fact.record.clone()));
        let settled = self.change_slot(entry, kind, now, |slot, producers| {
            let before = slot.subject();
            slot.retell(origin, facts, producers);
            expire_risen(slot, before, (producers, logoff_time), now);
        });
        let (producer, record) = match newest {
            Some((producer, record)) => (self.producers.name(producer).clone(), record),
            None => (ProducerName::from(&**collector), CompactString::default()),
        };
        let reason = settled.after.is_none().then_some(EndReason::Logoff);
        self.note_end(entry, &settled, reason, (&producer, &record), now);
        if let Some(verdict) = verdict(&settled) {
            let subject = match (settled.after, settled.lost) {
                (Some(subject), _) => self.shown(subject),
                (None, lost) => lost.unwrap_or_default(),
            };
            let slot = self
                .table
                .arena
                .contains(entry)
                .then(|| &self.table.arena[entry]);
            let last = slot.and_then(|entry| entry.slot(kind).last());
            outcomes.push(Outcome {
                producer,
                record,
                occurred_at: last.map_or(now, |last| last.at),
                address: slot.map(|entry| entry.address),
                subject,
                verdict,
            });
        }
        self.leave_out(entry, kind, now, outcomes);
        true
    }

    /// Where a filter leaves nobody, nobody comes up when what ended him before is taken back.
    fn leave_out(
        &mut self,
        entry: Id<Entry>,
        kind: SubjectKind,
        now: UtcMillis,
        outcomes: &mut Vec<Outcome>,
    ) {
        let is = self.table.arena.get(entry);
        if is.is_some_and(|is| self.policy.filter.leaves_out(is.address)) {
            let source = self.own_name.clone();
            let end = End {
                reason: EndReason::Filter,
                source: &source,
            };
            self.close(entry, kind, end, now, outcomes);
        }
    }

    /// Whether a slot holds exactly these facts of a Collector.
    fn tells(&self, entry: Id<Entry>, kind: SubjectKind, origin: Origin, facts: &[Fact]) -> bool {
        let slot = self.table.arena[entry].slot(kind);
        let is_its = |fact: &&Fact| self.producers.origin_of_producer(fact.producer) == origin;
        slot.facts().iter().filter(is_its).eq(facts)
    }

    /// A report's facts as the slot keeps them; what the Collector may not say is left out. Whom they name is to be
    /// released when they are kept.
    fn facts_of(
        &mut self,
        (collector, origin): (&CollectorName, Origin),
        kind: SubjectKind,
        told: Vec<ToldFact>,
        (now, named): (UtcMillis, &mut Vec<Id<Subject>>),
    ) -> Vec<Fact> {
        let mut facts: Vec<Fact> = Vec::with_capacity(told.len().min(MAX_TOLD));
        let skipped = told.len().saturating_sub(MAX_TOLD);
        for told in told.into_iter().skip(skipped) {
            let anonymous = matches!(told.kind, FactKind::AllLeft | FactKind::Closed);
            if anonymous == told.subject.is_some() {
                continue;
            }
            let subject = match &told.subject {
                None => None,
                Some(meant) => match self.meant(collector, kind, meant) {
                    Ok(subject) => {
                        named.push(subject);
                        Some(subject)
                    }
                    Err(_may_not) => continue,
                },
            };
            let producer = self.producers.number_of(origin, &told.producer);
            let groups = told.groups.and_then(|(at, groups)| {
                let groups = self.asserted(Speaker::Collector(collector), &groups);
                (!groups.is_empty()).then_some((at, groups))
            });
            facts.push(Fact {
                at: told.at.min(now),
                received_at: told.received_at.min(now),
                record: told.record,
                subject,
                producer,
                kind: told.kind,
                extra: groups.map(|groups| {
                    Box::new(Extra {
                        groups: Some(groups),
                        logon: None,
                    })
                }),
            });
        }
        facts.sort_by_key(|fact| (fact.at, super::conflict::rank(fact.kind)));
        facts
    }

    /// Whom a Collector means, if it may say so.
    fn meant(
        &mut self,
        collector: &CollectorName,
        kind: SubjectKind,
        meant: &ToldSubject,
    ) -> Result<Id<Subject>, IgnoreReason> {
        let (name, domain) = (meant.name.clone(), meant.domain.clone());
        let qualifier = if meant.by_upn {
            Qualifier::Upn(domain)
        } else {
            Qualifier::Domain(domain)
        };
        let subject = match kind {
            SubjectKind::User => self.user_meant(&UserRef { name, qualifier })?,
            SubjectKind::Device => self.device_meant(&DeviceRef { name, qualifier })?,
        };
        self.may_be_there(Speaker::Collector(collector), subject)
            .map(|()| subject)
            .inspect_err(|_| self.release(subject))
    }

    /// Where to go on, and the addresses of the next `limit` that have facts of the Collector, from a place in the
    /// table on: to look at all of them in short holds. Addresses that come meanwhile may or may not be among them.
    #[must_use]
    pub fn addresses_of_collector(
        &self,
        collector: &str,
        from: usize,
        limit: usize,
    ) -> (Vec<IpAddr>, Option<usize>) {
        let Some(origin) = self.producers.origin(collector) else {
            return (Vec::new(), None);
        };
        let is_its = |fact: &Fact| self.producers.origin_of_producer(fact.producer) == origin;
        let slice = self.table.arena.slice(from, limit);
        let told = slice.filter(|entry| {
            let mut facts = entry.user().facts().iter().chain(entry.device().facts());
            facts.any(is_its)
        });
        let addresses = told.map(|entry| entry.address).collect();
        let next = from.saturating_add(limit);
        (
            addresses,
            (next < self.table.arena.places()).then_some(next),
        )
    }

    /// Every Collector that has told something, also of those of which nothing is left.
    #[must_use]
    pub fn collectors(&self) -> Vec<CollectorName> {
        let tellers = self.producers.tellers().iter();
        tellers.map(|teller| teller.name.clone()).collect()
    }

    /// Since when a Collector is not heard: `None` if it never told anything, `Some(None)` if it is heard.
    #[must_use]
    pub fn collector_standing(&self, collector: &str) -> Option<Option<UtcMillis>> {
        let mut tellers = self.producers.tellers().iter();
        let teller = tellers.find(|teller| *teller.name == *collector)?;
        Some(teller.disconnected_since)
    }
}

fn verdict(settled: &Settled) -> Option<Verdict> {
    match settled {
        Settled {
            before,
            after: Some(_),
            lost,
            ..
        } if *before != settled.after => Some(Verdict::LoggedOn {
            displaced: lost.clone(),
        }),
        Settled { after: Some(_), .. } => settled.renewed.then_some(Verdict::Renewed),
        Settled {
            before: Some(_), ..
        } => Some(Verdict::LoggedOff(EndReason::Logoff)),
        Settled { .. } => None,
    }
}
