//! What a computer's answer does to a session: confirmed, replaced, ended, or left in doubt (rules 10 and 11).
//!
//! A user's session whose logoff time is over is not ended where its computer can be asked: it is *doubted*, and stays
//! until an answer counts or the grace is over. The doubts are an ordered part of the table, so they survive a restart
//! and are bounded by it; whoever asks reads them ([`Core::doubted`]), draws a [`ProbeTicket`], and brings back a
//! [`ProbeReport`]. How a computer is asked is not known here.

use std::net::IpAddr;

use compact_str::{CompactString, format_compact};

use super::address::canonical;
use super::arena::Id;
use super::conflict::FactKind;
use super::core::{Applied, Core};
use super::directory::ObjectKind;
use super::event::{Claim, DeviceRef, IdentityEvent, ProducerName, Strength, UserRef};
use super::names::written_user;
use super::outcome::{EndReason, IgnoreReason, Outcome, Verdict};
use super::subject::{Subject, SubjectKind};
use super::table::Entry;
use super::time::UtcMillis;

/// Which session a probe was begun for: an answer counts only if it is still the same, with the same last evidence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProbeTicket(Option<(Id<Subject>, UtcMillis, UtcMillis)>);

impl ProbeTicket {
    /// What it holds, as numbers: for whoever hands it on. They mean the same in every table of the same history.
    #[must_use]
    pub fn number(&self) -> Option<(u32, i64, i64)> {
        let (user, at, received_at) = self.0?;
        Some((user.number(), at.0, received_at.0))
    }

    /// The ticket of such numbers.
    #[must_use]
    pub fn of(number: Option<(u32, i64, i64)>) -> Self {
        Self(
            number.map(|(user, at, received_at)| {
                (Id::of(user), UtcMillis(at), UtcMillis(received_at))
            }),
        )
    }
}

/// A session in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// Where.
    pub address: IpAddr,
    /// Since when.
    pub since: UtcMillis,
}

/// What whoever asks a computer has to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeSubject {
    /// To come back with.
    pub ticket: ProbeTicket,
    /// Whether the session is in doubt.
    pub doubted: bool,
    /// `domain\user` of the session, if there is one.
    pub user: Option<CompactString>,
    /// The computer's full name: its device session's, as the directory knows it.
    pub host_name: Option<CompactString>,
}

/// What a computer answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeReport {
    /// Which computer.
    pub address: IpAddr,
    /// Who asked.
    pub producer: ProducerName,
    /// For people, at most 128 bytes.
    pub record: CompactString,
    /// As it was drawn when the probe began.
    pub ticket: ProbeTicket,
    /// When the computer was asked, by our clock.
    pub asked_at: UtcMillis,
    /// When it had answered.
    pub answered_at: UtcMillis,
    /// Whether no answer says something about the computer (rule 10).
    pub healthy: bool,
    /// Who it says is signed on.
    pub answer: ProbeAnswer,
    /// Its name for itself, if it told.
    pub device: Option<DeviceRef>,
}

/// Who is signed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeAnswer {
    /// These, one or more.
    Users(Vec<UserRef>),
    /// Nobody of a domain.
    Nobody,
    /// The computer does not tell.
    Refused,
    /// It does not answer.
    Unreachable,
    /// It cannot be asked: it has no name, or there is no credential.
    NotProbed,
}

/// What came of a report: about whom, and what.
type Told = (CompactString, Verdict);

impl Core {
    /// Sessions in doubt, by since when and then by address; those after a place in that order, at most so many.
    pub fn doubted(
        &self,
        after: Option<(UtcMillis, IpAddr)>,
        limit: usize,
    ) -> impl Iterator<Item = Doubt> + '_ {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        self.deadlines
            .doubts
            .range((from, Unbounded))
            .take(limit)
            .map(|&(since, address)| Doubt { address, since })
    }

    /// How many sessions are in doubt.
    #[must_use]
    pub fn doubted_count(&self) -> usize {
        self.deadlines.doubts.len()
    }

    /// What is known of a computer that is to be asked.
    #[must_use]
    pub fn probe_subject(&self, address: IpAddr) -> ProbeSubject {
        let entry = self.table.find(canonical(address));
        let entry = entry.map(|id| &self.table.arena[id]);
        let user = entry.and_then(|entry| entry.user().subject());
        ProbeSubject {
            ticket: entry.map(ticket).unwrap_or_default(),
            doubted: entry.is_some_and(|entry| entry.doubted_since().is_some()),
            user: user.map(|user| self.shown(user)),
            host_name: entry
                .and_then(|entry| entry.device().subject())
                .and_then(|device| self.host_name(device)),
        }
    }

    /// `dNSHostName`, else the name in its domain if that is a DNS name.
    fn host_name(&self, device: Id<Subject>) -> Option<CompactString> {
        let subject = &self.subjects.arena[device];
        let is = subject
            .object
            .map(|object| &self.objects.arena[object].is.kind);
        if let Some(ObjectKind::Device {
            dns_name: Some(name),
            ..
        }) = is
        {
            return Some(name.as_str().into());
        }
        let domain = &self.domains.arena[subject.domain].name;
        domain
            .contains('.')
            .then(|| format_compact!("{}.{domain}", subject.name))
    }

    /// Whether the session is to be doubted instead of ended; it is then.
    pub(super) fn doubt(&mut self, id: Id<Entry>, kind: SubjectKind, now: UtcMillis) -> bool {
        if !self.is_to_be_doubted(id, kind) {
            return false;
        }
        let address = self.table.arena[id].address;
        self.table.arena[id].pass(|is| is.doubted_since = Some(now));
        self.deadlines.doubts.insert((now, address));
        self.reschedule(id, kind, now.after(self.policy.grace));
        true
    }

    /// Whether the session in a slot is doubted before it ends.
    pub(super) fn is_to_be_doubted(&self, id: Id<Entry>, kind: SubjectKind) -> bool {
        let entry = &self.table.arena[id];
        kind == SubjectKind::User
            && entry.doubted_since().is_none()
            && entry.user().hold().is_some()
            && self.can_be_asked(entry)
    }

    /// Whether the computer at the address can be asked about its user.
    pub(super) fn can_be_asked(&self, entry: &Entry) -> bool {
        self.policy.probe_networks.contains(entry.address)
            && !self.policy.shared_addresses.contains(entry.address)
    }

    /// The doubt is over if the session is, or is no longer over its logoff time, or nobody can be asked.
    pub(super) fn end_doubt(&mut self, id: Id<Entry>, now: UtcMillis) {
        let entry = &self.table.arena[id];
        let Some(since) = entry.doubted_since() else {
            return;
        };
        let ends = self.support_ends(entry, SubjectKind::User);
        let goes_on = ends.is_some_and(|ends| ends <= now) && self.can_be_asked(entry);
        if !goes_on {
            let address = entry.address;
            self.table.arena[id].pass(|is| is.doubted_since = None);
            self.deadlines.doubts.remove(&(since, address));
            // It may come up earlier now, if nobody can be asked any more.
            self.schedule(id, SubjectKind::User);
        }
    }

    /// Looks at every doubt again after a change of the policy.
    pub(super) fn review_doubts(&mut self, now: UtcMillis) {
        let doubted: Vec<IpAddr> = self.deadlines.doubts.iter().map(|doubt| doubt.1).collect();
        for address in doubted {
            if let Some(id) = self.table.find(address) {
                self.end_doubt(id, now);
                if let Some(look) = self.next_look(&self.table.arena[id], SubjectKind::User) {
                    self.reschedule(id, SubjectKind::User, look);
                }
            }
        }
    }

    /// Applies what a computer answered.
    pub(super) fn probed(
        &mut self,
        report: ProbeReport,
        now: UtcMillis,
        outcomes: &mut Vec<Outcome>,
    ) -> Applied {
        let address = canonical(report.address);
        let event = IdentityEvent {
            producer: report.producer.clone(),
            record: report.record.clone(),
            occurred_at: report.asked_at.min(now),
            received_at: report.answered_at,
            heard: None,
            address: Some(address),
            claim: Claim::DeviceLogoff { device: None },
        };
        let (subject, verdict) = match self.place(&event) {
            Ok(_) => {
                let told = self.answered(&event, &report, address, now);
                if let Some(device) = &report.device
                    && self.in_time(&event, now).is_ok()
                {
                    // Its own outcome would count the probe twice.
                    let _ = self.device_seen(&event, device, Strength::Strong, (address, now));
                }
                told
            }
            Err(reason) => (CompactString::default(), Verdict::Ignored(reason)),
        };
        let applied = usize::from(!matches!(verdict, Verdict::Ignored(_)));
        outcomes.push(Outcome {
            producer: event.producer,
            record: event.record,
            occurred_at: event.occurred_at,
            address: event.address,
            subject,
            verdict,
        });
        Applied {
            applied,
            ignored: 1 - applied,
            ..Applied::default()
        }
    }

    fn answered(
        &mut self,
        event: &IdentityEvent,
        report: &ProbeReport,
        address: IpAddr,
        now: UtcMillis,
    ) -> Told {
        let entry = self.table.find(address);
        let held = entry.map(|id| &self.table.arena[id]);
        let now_held = held.map(ticket).unwrap_or_default();
        let holder = held.and_then(|entry| entry.user().subject());
        let doubted = held.is_some_and(|entry| entry.doubted_since().is_some());
        let shown = holder.map_or_else(CompactString::default, |user| self.shown(user));
        let ignored = |reason| (shown.clone(), Verdict::Ignored(reason));
        if now_held != report.ticket {
            return ignored(IgnoreReason::SessionChanged);
        }
        if self.policy.shared_addresses.contains(address) {
            return ignored(IgnoreReason::SharedAddress);
        }
        let without = |reason| match (entry, doubted, report.healthy) {
            (Some(entry), true, true) => Ok((entry, reason)),
            (_, true, false) => Err(IgnoreReason::ProbingUnhealthy),
            (_, false, _) | (None, true, true) => Err(IgnoreReason::NoAnswer),
        };
        let overdue = match &report.answer {
            // The machine slept while it waited: whoever was there then is as overdue as the session.
            ProbeAnswer::Users(_) if self.in_time(event, now).is_err() => {
                return ignored(IgnoreReason::PastDeadline);
            }
            ProbeAnswer::Users(users) => return self.users_found(event, users, holder, now),
            ProbeAnswer::Nobody => {
                return self.found_gone(event, holder, EndReason::ProbeNobody, now);
            }
            ProbeAnswer::Refused => without(EndReason::ProbeRefused),
            ProbeAnswer::Unreachable => without(EndReason::ProbeUnreachable),
            ProbeAnswer::NotProbed => match (entry, doubted) {
                (Some(entry), true) => Ok((entry, EndReason::Expired)),
                _ => Err(IgnoreReason::NoAnswer),
            },
        };
        match overdue {
            Ok((entry, reason)) => {
                let by = (reason, &*event.producer, event.record.as_str());
                self.end_overdue(entry, SubjectKind::User, by, now);
                (shown, Verdict::LoggedOff(reason))
            }
            Err(reason) => ignored(reason),
        }
    }

    /// Users are signed on: the session's among them, one other, or several others (rule 11).
    fn users_found(
        &mut self,
        event: &IdentityEvent,
        users: &[UserRef],
        holder: Option<Id<Subject>>,
        now: UtcMillis,
    ) -> Told {
        let mut meant: Vec<Id<Subject>> = Vec::new();
        let mut refused = None;
        for user in users {
            match self
                .user_meant(user)
                .and_then(|id| self.admitted(event, id))
            {
                Ok(subject) if meant.contains(&subject) => {}
                Ok(subject) => meant.push(subject),
                Err(reason) => refused = Some((written_user(user), reason)),
            }
        }
        let found = match (meant.iter().find(|user| Some(**user) == holder), &*meant) {
            (Some(same), _) | (None, [same]) => Ok(*same),
            (None, []) => Err(IgnoreReason::NoSession),
            (None, _) => Err(IgnoreReason::SeveralUsers),
        };
        let told = match (found, holder, refused) {
            (Ok(user), _, _) => self.found(event, user, now),
            (Err(_), Some(_), _) => self.found_gone(event, holder, EndReason::ProbeOtherUser, now),
            (Err(IgnoreReason::NoSession), None, Some((written, reason))) => {
                (written, Verdict::Ignored(reason))
            }
            (Err(reason), None, _) => (CompactString::default(), Verdict::Ignored(reason)),
        };
        for subject in meant {
            self.release(subject);
        }
        told
    }

    /// A user who may be believed to be there; else what was made to name him is let go of.
    fn admitted(
        &mut self,
        event: &IdentityEvent,
        user: Id<Subject>,
    ) -> Result<Id<Subject>, IgnoreReason> {
        self.admit(event, user)
            .inspect_err(|_| self.release(user))
            .map(|()| user)
    }

    fn found(&mut self, event: &IdentityEvent, user: Id<Subject>, now: UtcMillis) -> Told {
        let shown = self.shown(user);
        let fact = self.told(event, Some(user), FactKind::Strong);
        let Some(address) = event.address else {
            return (shown, Verdict::Ignored(IgnoreReason::NoAddress));
        };
        let verdict = self.seen(address, user, fact, now);
        (shown, verdict)
    }

    /// The session's user is not there: it ends at the moment of the question.
    fn found_gone(
        &mut self,
        event: &IdentityEvent,
        holder: Option<Id<Subject>>,
        reason: EndReason,
        now: UtcMillis,
    ) -> Told {
        let entry = event.address.and_then(|address| self.table.find(address));
        let (Some(entry), Some(holder)) = (entry, holder) else {
            let nothing = Verdict::Ignored(IgnoreReason::NoSession);
            return (CompactString::default(), nothing);
        };
        let shown = self.shown(holder);
        let mut fact = self.told(event, None, FactKind::Closed);
        if let Some(last) = self.table.arena[entry].user().last() {
            fact.at = fact.at.max(last.at);
        }
        let settled = self.settle(entry, SubjectKind::User, fact, now);
        let by = (&*event.producer, event.record.as_str());
        self.note_end(entry, &settled, Some(reason), by, now);
        (shown, Verdict::LoggedOff(reason))
    }
}

fn ticket(entry: &Entry) -> ProbeTicket {
    let last = entry.user().last();
    ProbeTicket(last.and_then(|last| Some((last.subject?, last.at, last.received_at))))
}
