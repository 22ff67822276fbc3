//! What follows when a slot changes: who occurs where, counts, deadlines, tombstones and the journal.
//!
//! Every change of a slot goes through [`Core::change`], so that these can never disagree.

use std::time::Duration;

use compact_str::{CompactString, format_compact};
use smallvec::SmallVec;

use super::arena::Id;
use super::conflict::FactKind;
use super::core::Core;
use super::outcome::{EndReason, Outcome, Verdict};
use super::producer::Producers;
use super::session::{Fact, MAX_FACTS_OF_ALL, Slot};
use super::subject::{Subject, SubjectKind};
use super::table::{Entry, MAX_TOMBSTONES, TOMBSTONE};
use super::time::UtcMillis;
use super::told::support_ends;
use super::view::LastEnded;

/// The record of an end by the clock.
const LOGOFF_TIME: &str = "logoff-time";

/// What a change did to a slot.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) before: Option<Id<Subject>>,
    pub(super) after: Option<Id<Subject>>,
    /// Shown name of who held the slot before, if he does no more.
    pub(super) lost: Option<CompactString>,
    /// The session goes on, with newer evidence.
    pub(super) renewed: bool,
    /// The slot is that of a user.
    pub(super) is_user: bool,
    /// The place of the session that ended among those that are kept for a history.
    pub(super) ended: Option<usize>,
}

/// Who ends a session, and why.
#[derive(Clone, Copy, Debug)]
pub(super) struct End<'a> {
    pub(super) reason: EndReason,
    /// What the outcome names as its source.
    pub(super) source: &'a str,
}

/// Subjects of a slot's facts; nearly always of one or two.
type Named = SmallVec<[Id<Subject>; 4]>;

fn named(slot: &Slot) -> Named {
    slot.facts()
        .iter()
        .filter_map(|fact| fact.subject)
        .collect()
}

impl Core {
    /// Puts a fact into a slot and sees to everything that follows.
    pub(super) fn settle(
        &mut self,
        entry: Id<Entry>,
        kind: SubjectKind,
        fact: Fact,
        now: UtcMillis,
    ) -> Settled {
        let logoff_time = self.policy.logoff_time;
        self.change(entry, kind, now, |slot, producers| {
            let before = slot.subject();
            slot.add(fact, producers);
            expire_risen(slot, before, (producers, logoff_time), now);
        })
    }

    /// Changes what this process knows itself of a slot, and sees to everything that follows.
    pub(super) fn change(
        &mut self,
        id: Id<Entry>,
        kind: SubjectKind,
        now: UtcMillis,
        change: impl FnOnce(&mut Slot, &Producers),
    ) -> Settled {
        let settled = self.change_slot(id, kind, now, change);
        self.feed_address(id);
        settled
    }

    /// Changes a slot and sees to everything that follows, but does not feed it to others.
    pub(super) fn change_slot(
        &mut self,
        id: Id<Entry>,
        kind: SubjectKind,
        now: UtcMillis,
        change: impl FnOnce(&mut Slot, &Producers),
    ) -> Settled {
        let past = self.before_change(self.table.arena[id].slot(kind));
        let slot = self.table.arena[id].slot_mut(kind);
        let named_before = named(slot);
        let before = slot.subject();
        let last_before = slot.last().map(|last| last.at);
        let groups_before = slot.groups().to_vec();
        change(slot, &self.producers);
        let named_after = named(slot);
        let after = slot.subject();
        let renewed = after == before && slot.last().map(|last| last.at) > last_before;
        let reported = after != before || *slot.groups() != *groups_before;
        let lost = before
            .filter(|_| before != after)
            .map(|subject| self.shown(subject));
        let ended = before
            .filter(|_| before != after)
            .zip(past)
            .map(|past| self.keep_end(id, kind, past, now));
        for subject in &named_after {
            if !named_before.contains(subject) {
                self.subjects.arena.quietly(*subject).places.insert(id);
            }
        }
        if before != after {
            self.moved(kind, before, after);
        }
        self.end_doubt(id, now);
        self.schedule(id, kind);
        self.keep_or_bury(id, now);
        // Over the bound of tombstones it may be buried itself.
        if reported && self.table.arena.contains(id) {
            self.touch(id, now);
        }
        for subject in named_before {
            if !named_after.contains(&subject) && self.subjects.arena.contains(subject) {
                self.subjects.arena.quietly(subject).places.remove(id);
                self.release(subject);
            }
        }
        Settled {
            before,
            after,
            lost,
            renewed,
            is_user: kind == SubjectKind::User,
            ended,
        }
    }

    /// Ends the session in a slot now, whoever holds it.
    pub(super) fn close(
        &mut self,
        entry: Id<Entry>,
        kind: SubjectKind,
        end: End<'_>,
        now: UtcMillis,
        outcomes: &mut Vec<Outcome>,
    ) {
        let Some(fact) = self.closing(entry, kind, now) else {
            return;
        };
        let address = self.table.arena[entry].address;
        let settled = self.settle(entry, kind, fact, now);
        self.note_end(entry, &settled, Some(end.reason), (end.source, ""), now);
        outcomes.push(Outcome {
            producer: end.source.into(),
            record: CompactString::default(),
            occurred_at: now,
            address: Some(address),
            subject: settled.lost.unwrap_or_default(),
            verdict: Verdict::LoggedOff(end.reason),
        });
    }

    fn closing(&mut self, entry: Id<Entry>, kind: SubjectKind, now: UtcMillis) -> Option<Fact> {
        let last = self.table.arena[entry].slot(kind).last()?;
        let (at, producer) = (last.at, last.producer);
        // A Collector that tells the same again must not undo it.
        let producer = if self.producers.is_own(producer) {
            producer
        } else {
            self.producers.number(&self.own_name)
        };
        Some(Fact {
            at: now.max(at),
            received_at: now,
            record: CompactString::default(),
            subject: None,
            producer,
            kind: FactKind::Closed,
            extra: None,
        })
    }

    /// Ends a session whose time has come; whoever the end is by says so at its last evidence, so that later evidence
    /// that is still on its way counts.
    pub(super) fn expire(
        &mut self,
        entry: Id<Entry>,
        kind: SubjectKind,
        now: UtcMillis,
        outcomes: &mut Vec<Outcome>,
    ) {
        let reason = match self.table.arena[entry].doubted_since() {
            Some(_) if kind == SubjectKind::User => EndReason::Unconfirmed,
            Some(_) | None => EndReason::Expired,
        };
        let address = self.table.arena[entry].address;
        let by = (self.own_name.clone(), LOGOFF_TIME);
        let Some(subject) = self.end_overdue(entry, kind, (reason, &by.0, by.1), now) else {
            return;
        };
        outcomes.push(Outcome {
            producer: by.0,
            record: CompactString::const_new(LOGOFF_TIME),
            occurred_at: now,
            address: Some(address),
            subject,
            verdict: Verdict::LoggedOff(reason),
        });
    }

    /// Ends a session at its last evidence; whose it was.
    pub(super) fn end_overdue(
        &mut self,
        entry: Id<Entry>,
        kind: SubjectKind,
        (reason, producer, record): (EndReason, &str, &str),
        now: UtcMillis,
    ) -> Option<CompactString> {
        let fact = expiry(self.table.arena[entry].slot(kind))?;
        let settled = self.settle(entry, kind, fact, now);
        self.note_end(entry, &settled, Some(reason), (producer, record), now);
        Some(settled.lost.unwrap_or_default())
    }

    /// Keeps why a session ended, if one did.
    pub(super) fn note_end(
        &mut self,
        entry: Id<Entry>,
        settled: &Settled,
        reason: Option<EndReason>,
        (producer, record): (&str, &str),
        now: UtcMillis,
    ) {
        self.tell_end(settled, reason, (producer, record));
        let (Some(user), true) = (&settled.lost, settled.is_user) else {
            return;
        };
        let by = match record {
            "" => CompactString::new(producer),
            record => format_compact!("{producer}: {record}"),
        };
        if self.table.arena.contains(entry) {
            self.table.arena[entry].last_ended = Some(Box::new(LastEnded {
                user: user.clone(),
                at: now,
                reason,
                by,
            }));
        }
    }

    /// Ends every session of a subject and forgets what else is known of it at any address.
    pub(super) fn forget_subject(
        &mut self,
        subject: Id<Subject>,
        end: End<'_>,
        now: UtcMillis,
        outcomes: &mut Vec<Outcome>,
    ) {
        let kind = self.subjects.arena[subject].kind;
        for entry in self.subjects.arena[subject].places.to_vec() {
            // Each change may bury another address.
            if self.table.arena.contains(entry)
                && self.table.arena[entry].slot(kind).subject() == Some(subject)
            {
                self.close(entry, kind, end, now, outcomes);
            }
            let is_there = self.table.arena.contains(entry);
            if is_there && self.table.arena[entry].slot(kind).knows(subject) {
                self.change(entry, kind, now, |slot, producers| {
                    slot.forget(subject, producers);
                });
            }
        }
    }

    /// Two names turned out to be one: everything of the first becomes the second's.
    pub(super) fn merge_subject(&mut self, from: Id<Subject>, into: Id<Subject>, now: UtcMillis) {
        let kind = self.subjects.arena[from].kind;
        for entry in self.subjects.arena[from].places.to_vec() {
            let settled = self.change(entry, kind, now, |slot, producers| {
                slot.replace(from, into, producers);
            });
            // The same session, under the other name.
            if let (Some(place), true) = (settled.ended, settled.after == Some(into)) {
                self.ended.truncate(place);
            }
        }
        if self.subjects.arena.contains(from) {
            self.release(from);
        }
    }

    /// Forgets a subject that nothing needs any more.
    pub(super) fn release(&mut self, subject: Id<Subject>) {
        if !self.subjects.arena.contains(subject) || !self.subjects.arena[subject].is_unused() {
            return;
        }
        if let Some(gone) = self.subjects.remove(subject) {
            self.domains.release(gone.domain);
        }
    }

    /// The reported state of an address changed.
    pub(super) fn touch(&mut self, id: Id<Entry>, now: UtcMillis) {
        let entry = &mut self.table.arena[id];
        let shared = self.policy.shared_addresses.contains(entry.address);
        let reports_user = entry.user().hold().is_some() && !shared;
        if reports_user {
            entry.pass(|is| is.user_ended_at = None);
        } else if entry.reports_user {
            entry.pass(|is| is.user_ended_at = Some(now));
        }
        entry.reports_user = reports_user;
        entry.changed = self.journal.touch(entry.changed, id, now);
    }

    /// The reports of all addresses where the subject has a session changed.
    pub(super) fn touch_subject(&mut self, subject: Id<Subject>, now: UtcMillis) {
        let kind = self.subjects.arena[subject].kind;
        for entry in self.subjects.arena[subject].places.to_vec() {
            if self.table.arena[entry].slot(kind).subject() == Some(subject) {
                self.touch(entry, now);
            }
        }
    }

    /// Puts a slot's session in the order of deadlines, no later than it ends. A place that is too early stays: it is put
    /// right when it comes up, and a renewal costs nothing.
    pub(super) fn schedule(&mut self, id: Id<Entry>, kind: SubjectKind) {
        let wanted = self.next_look(&self.table.arena[id], kind);
        let entry = self.table.arena.quietly(id);
        let place = match (entry.due(kind), wanted) {
            (Some(place), Some(wanted)) if place <= wanted => return,
            (None, None) => return,
            (place, _) => place,
        };
        entry.set_due(kind, wanted);
        if let Some(place) = place {
            self.deadlines.sessions.remove(&(place, id, kind));
        }
        if let Some(wanted) = wanted {
            self.deadlines.sessions.insert((wanted, id, kind));
        }
    }

    /// Moves a session's place in the order of deadlines.
    pub(super) fn reschedule(&mut self, id: Id<Entry>, kind: SubjectKind, at: UtcMillis) {
        let entry = self.table.arena.quietly(id);
        let before = entry.due(kind);
        entry.set_due(kind, Some(at));
        if let Some(place) = before {
            self.deadlines.sessions.remove(&(place, id, kind));
        }
        self.deadlines.sessions.insert((at, id, kind));
    }

    /// When the session in a slot ends without new evidence; of a session in doubt without an answer.
    pub(super) fn deadline(&self, entry: &Entry, kind: SubjectKind) -> Option<UtcMillis> {
        if let (SubjectKind::User, Some(since)) = (kind, entry.doubted_since()) {
            return Some(since.after(self.policy.grace));
        }
        self.support_ends(entry, kind)
    }

    /// Takes an address out, with what was kept of it.
    pub(super) fn bury(&mut self, id: Id<Entry>) {
        let Some(entry) = self.table.remove(id) else {
            return;
        };
        self.journal.forget(entry.changed);
        self.feed.forget(entry.told);
        if let Some(since) = entry.doubted_since() {
            self.deadlines.doubts.remove(&(since, entry.address));
        }
        if let Some(since) = entry.empty_since() {
            self.deadlines
                .tombstones
                .remove(&(since.after(TOMBSTONE), id));
        }
        if entry.empty_since().is_some() && entry.changed.0 > 0 {
            self.tombstones -= 1;
        }
        for slot in [entry.user(), entry.device()] {
            for subject in named(slot) {
                if self.subjects.arena.contains(subject) {
                    self.subjects.arena.quietly(subject).places.remove(id);
                    self.release(subject);
                }
            }
        }
    }

    fn keep_or_bury(&mut self, id: Id<Entry>, now: UtcMillis) {
        let entry = &mut self.table.arena[id];
        match (entry.has_session(), entry.empty_since()) {
            (true, Some(since)) => {
                entry.pass(|is| is.empty_since = None);
                if entry.changed.0 > 0 {
                    self.tombstones -= 1;
                }
                self.deadlines
                    .tombstones
                    .remove(&(since.after(TOMBSTONE), id));
            }
            (false, None) => {
                entry.pass(|is| is.empty_since = Some(now));
                if entry.changed.0 > 0 {
                    self.tombstones += 1;
                }
                self.deadlines.tombstones.insert((now.after(TOMBSTONE), id));
                if self.deadlines.tombstones.len() > MAX_TOMBSTONES
                    && let Some(&(_, oldest)) = self.deadlines.tombstones.first()
                {
                    self.bury(oldest);
                }
            }
            (true, None) | (false, Some(_)) => {}
        }
    }

    /// Keeps an address where nobody is as long as if its last session ended now.
    pub(super) fn keep_on(&mut self, id: Id<Entry>, now: UtcMillis) {
        if let Some(since) = self.table.arena[id].empty_since() {
            let place = (since.after(TOMBSTONE), id);
            self.table.arena[id].pass(|is| is.empty_since = Some(now));
            self.deadlines.tombstones.remove(&place);
            self.deadlines.tombstones.insert((now.after(TOMBSTONE), id));
        }
    }

    pub(super) fn moved(
        &mut self,
        kind: SubjectKind,
        before: Option<Id<Subject>>,
        after: Option<Id<Subject>>,
    ) {
        if let Some(before) = before {
            let subject = self.subjects.arena.quietly(before);
            subject.sessions -= 1;
            self.sessions -= 1;
            if subject.sessions == 0 {
                *self.active_mut(kind) -= 1;
                self.set_groups(before, None);
            }
        }
        if let Some(after) = after {
            let subject = self.subjects.arena.quietly(after);
            subject.sessions += 1;
            self.sessions += 1;
            if subject.sessions == 1 {
                *self.active_mut(kind) += 1;
                self.refresh_groups(after);
            }
        }
    }

    /// Reads a subject's groups anew; whether they differ.
    pub(super) fn refresh_groups(&mut self, id: Id<Subject>) -> bool {
        let groups = self.subjects.arena[id]
            .object
            .map(|object| {
                self.objects
                    .groups_of(object, &self.policy.filter.exclude_groups)
            })
            .filter(|groups| !groups.is_empty());
        let groups = groups.map(|groups| self.group_lists.share(groups));
        self.set_groups(id, groups)
    }
}

/// Whoever comes up because somebody left may be overdue himself: then he is not there either.
pub(super) fn expire_risen(
    slot: &mut Slot,
    before: Option<Id<Subject>>,
    (producers, logoff_time): (&Producers, Duration),
    now: UtcMillis,
) {
    for _ in 0..MAX_FACTS_OF_ALL {
        let overdue = slot.subject() != before
            && support_ends(slot, producers, logoff_time).is_some_and(|end| end <= now);
        let Some(expired) = overdue.then(|| expiry(slot)).flatten() else {
            break;
        };
        slot.add(expired, producers);
    }
}

/// The end of a slot's session by the clock.
fn expiry(slot: &Slot) -> Option<Fact> {
    let last = slot.last()?;
    Some(Fact {
        at: last.at,
        received_at: last.received_at,
        record: CompactString::default(),
        subject: last.subject,
        producer: last.producer,
        kind: FactKind::Expired,
        extra: None,
    })
}
