//! Sessions that ended, handed out once each: what a history keeps.
//!
//! Only how a session ended is told here; that it is one of the past follows. Nothing is gathered unless the policy
//! asks for it, and whoever gathers takes it after each step ([`Core::take_ended`]).

use std::net::IpAddr;

use compact_str::CompactString;

use super::arena::Id;
use super::core::Core;
use super::event::{ProducerName, Strength};
use super::outcome::EndReason;
use super::session::Slot;
use super::settle::Settled;
use super::subject::{Subject, SubjectKind};
use super::table::Entry;
use super::time::UtcMillis;

/// A session of the past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Where.
    pub address: IpAddr,
    /// A user's, or a device's.
    pub kind: SubjectKind,
    /// DNS domain of the user or device, as it was called at the end.
    pub domain: CompactString,
    /// Name of the user or device.
    pub name: CompactString,
    /// For a user: `domain\device$` that was at the address at the end.
    pub device: Option<CompactString>,
    /// When it began.
    pub since: UtcMillis,
    /// How long it lasted, by the evidence: not before `since`, not after `ended`.
    pub until: UtcMillis,
    /// When it was ended here: from `until` to this instant nobody knew better.
    pub ended: UtcMillis,
    /// Why; `None`: somebody else was seen there.
    pub reason: Option<EndReason>,
    /// Who said so: a producer, a directory or `jims`.
    pub by: CompactString,
    /// Its record; may be empty.
    pub by_record: CompactString,
    /// Who had the address from then on, as shown.
    pub next: Option<CompactString>,
    /// What held it last.
    pub evidence: Held,
}

/// The last evidence of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Who said so.
    pub producer: ProducerName,
    /// Which record.
    pub record: CompactString,
    /// When it happened.
    pub occurred_at: UtcMillis,
    /// When it was heard.
    pub received_at: UtcMillis,
    /// What it was worth.
    pub strength: Strength,
}

impl Ended {
    /// The word for why, for JSON and screens.
    #[must_use]
    pub fn word(&self) -> &'static str {
        self.reason.map_or("displaced", EndReason::as_str)
    }
}

/// What must be known of a session before the change that may end it.
#[derive(Debug)]
pub(super) struct Before {
    since: UtcMillis,
    evidence: Held,
}

impl Core {
    /// Sessions that ended since the last call, in the order in which they did. Empty unless the policy wants a history.
    pub fn take_ended(&mut self) -> Vec<Ended> {
        std::mem::take(&mut self.ended)
    }

    /// What a slot's session stands on, if it is to be told how it ended.
    pub(super) fn before_change(&self, slot: &Slot) -> Option<Before> {
        if !self.policy.history {
            return None;
        }
        let (hold, last) = (slot.hold()?, slot.last()?);
        Some(Before {
            since: hold.since,
            evidence: Held {
                producer: self.producers.name(last.producer).clone(),
                record: last.record.clone(),
                occurred_at: last.at,
                received_at: last.received_at,
                strength: last.strength(),
            },
        })
    }

    /// Keeps a session that a change ended; whoever made the change may still say why ([`Core::tell_end`]). Returns its
    /// place.
    pub(super) fn keep_end(
        &mut self,
        entry: Id<Entry>,
        kind: SubjectKind,
        (subject, before): (Id<Subject>, Before),
        now: UtcMillis,
    ) -> usize {
        let entry = &self.table.arena[entry];
        let slot = entry.slot(kind);
        let over = match slot.hold() {
            Some(next) => next.since,
            None => slot.facts().last().map_or(now, |fact| fact.at),
        };
        let newest = slot.last().or(slot.facts().last());
        let by = newest.map(|fact| CompactString::new(self.producers.name(fact.producer)));
        let by_record = newest.map(|fact| fact.record.clone());
        let device = match kind {
            SubjectKind::User => entry.device().subject().map(|device| self.shown(device)),
            SubjectKind::Device => None,
        };
        let who = &self.subjects.arena[subject];
        let until = over.max(before.since).min(now);
        self.ended.push(Ended {
            address: entry.address,
            kind,
            domain: CompactString::new(&self.domains.arena[who.domain].name),
            name: who.name.clone(),
            device,
            since: before.since,
            until,
            ended: now,
            reason: None,
            by: by.unwrap_or_default(),
            by_record: by_record.unwrap_or_default(),
            next: slot.subject().map(|next| self.shown(next)),
            evidence: before.evidence,
        });
        self.ended.len() - 1
    }

    /// Says why the session that a change ended did so, and on whose word.
    pub(super) fn tell_end(
        &mut self,
        settled: &Settled,
        reason: Option<EndReason>,
        (by, record): (&str, &str),
    ) {
        let Some(ended) = settled.ended.and_then(|place| self.ended.get_mut(place)) else {
            return;
        };
        ended.reason = reason;
        ended.by = CompactString::new(by);
        ended.by_record = CompactString::new(record);
        if reason.is_some_and(lasts_until_decided) {
            ended.until = ended.ended;
        }
    }
}

/// Whether a session that ends for this reason lasts until that is decided: what ends it happened then. The others are
/// over when their source says.
fn lasts_until_decided(reason: EndReason) -> bool {
    match reason {
        EndReason::Logoff | EndReason::ProbeNobody | EndReason::ProbeOtherUser => false,
        EndReason::Expired
        | EndReason::Directory
        | EndReason::Operator
        | EndReason::Filter
        | EndReason::ProbeRefused
        | EndReason::ProbeUnreachable
        | EndReason::Unconfirmed => true,
    }
}
