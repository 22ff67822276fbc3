//! What one event does: whom it means, whether it may speak, which slots it changes, and its outcome.

use std::cmp::Reverse;
use std::net::IpAddr;

use compact_str::CompactString;

use super::address::session_address;
use super::arena::Id;
use super::conflict::FactKind;
use super::core::Core;
use super::event::{Claim, DeviceRef, IdentityEvent, Logon, LogonId, Strength, UserRef};
use super::names::{written_device, written_user};
use super::outcome::{EndReason, IgnoreReason, Outcome, Verdict};
use super::policy::Speaker;
use super::session::{Extra, Fact};
use super::settle::Settled;
use super::subject::{Subject, SubjectKind};
use super::table::Entry;
use super::time::UtcMillis;

/// What came of an event: about whom, and what.
type Told = (CompactString, Verdict);

impl Core {
    /// Applies one event and appends its outcome; whether anything changed.
    pub(super) fn evidence(
        &mut self,
        event: IdentityEvent,
        now: UtcMillis,
        outcomes: &mut Vec<Outcome>,
    ) -> bool {
        let mut event = event;
        event.occurred_at = event.occurred_at.min(now);
        event.address = event.address.map(super::address::canonical);
        let claim = std::mem::replace(&mut event.claim, Claim::DeviceLogoff { device: None });
        let (subject, verdict) = match event.heard.take() {
            Some(heard) if !self.heard.hear(*heard, now) => {
                (written(&claim), Verdict::Ignored(IgnoreReason::HeardTwice))
            }
            Some(_) | None => self.claimed(&event, &claim, now),
        };
        let applied = !matches!(verdict, Verdict::Ignored(_));
        outcomes.push(Outcome {
            producer: event.producer,
            record: event.record,
            occurred_at: event.occurred_at,
            address: event.address,
            subject,
            verdict,
        });
        applied
    }

    fn claimed(&mut self, event: &IdentityEvent, claim: &Claim, now: UtcMillis) -> Told {
        match claim {
            Claim::Logon(logon) => self.logon(event, logon, now),
            Claim::Logoff { user, logon_id } => {
                self.logoff(event, user.as_ref(), logon_id.as_ref(), now)
            }
            Claim::DeviceLogon {
                device,
                strength,
                own_kerberos,
            } => self.device_logon(event, device, (*strength, *own_kerberos), now),
            Claim::DeviceLogoff { device } => self.device_logoff(event, device.as_ref(), now),
            Claim::Renewal { user, device } => self.renewal(event, user, device.as_ref(), now),
        }
    }

    fn logon(&mut self, event: &IdentityEvent, logon: &Logon, now: UtcMillis) -> Told {
        let address = match self
            .place(event)
            .and_then(|a| self.in_time(event, now).map(|()| a))
        {
            Ok(address) => address,
            Err(reason) => return (written_user(&logon.user), Verdict::Ignored(reason)),
        };
        if let Some(device) = &logon.device {
            // Its own outcome would count the event twice; the device part never decides the user's.
            let _ = self.device_seen(event, device, logon.strength, (address, now));
        }
        let subject = match self.user_meant(&logon.user) {
            Ok(subject) => subject,
            Err(reason) => return (written_user(&logon.user), Verdict::Ignored(reason)),
        };
        let shown = self.shown(subject);
        let verdict = match self.admit(event, subject) {
            Err(reason) => Verdict::Ignored(reason),
            Ok(()) => {
                let mut fact = self.told(event, Some(subject), seen_kind(logon.strength));
                let groups = self.asserted(Speaker::Producer(&event.producer), &logon.groups);
                if !groups.is_empty() || logon.logon_id.is_some() {
                    let groups = (!groups.is_empty()).then_some((fact.at, groups));
                    let logon = logon.logon_id.clone();
                    fact.extra = Some(Box::new(Extra { groups, logon }));
                }
                self.seen(address, subject, fact, now)
            }
        };
        self.release(subject);
        (shown, verdict)
    }

    fn device_logon(
        &mut self,
        event: &IdentityEvent,
        device: &DeviceRef,
        (strength, own_kerberos): (Strength, bool),
        now: UtcMillis,
    ) -> Told {
        let address = match self
            .place(event)
            .and_then(|a| self.in_time(event, now).map(|()| a))
        {
            Ok(address) => address,
            Err(reason) => return (written_device(device), Verdict::Ignored(reason)),
        };
        let told = self.device_seen(event, device, strength, (address, now));
        if own_kerberos
            && self.policy.follow_device
            && !matches!(
                told.1,
                Verdict::Ignored(IgnoreReason::OutOfScope | IgnoreReason::FilteredDevice)
            )
        {
            self.carry_user(event, device, address, now);
        }
        told
    }

    pub(super) fn device_seen(
        &mut self,
        event: &IdentityEvent,
        device: &DeviceRef,
        strength: Strength,
        (address, now): (IpAddr, UtcMillis),
    ) -> Told {
        let subject = match self.device_meant(device) {
            Ok(subject) => subject,
            Err(reason) => return (written_device(device), Verdict::Ignored(reason)),
        };
        let shown = self.shown(subject);
        let verdict = match self.admit(event, subject) {
            Err(reason) => Verdict::Ignored(reason),
            Ok(()) => {
                let fact = self.told(event, Some(subject), seen_kind(strength));
                self.seen(address, subject, fact, now)
            }
        };
        self.release(subject);
        (shown, verdict)
    }

    /// The machine's own Kerberos evidence carries the user it has elsewhere to its new address, as weak evidence.
    fn carry_user(
        &mut self,
        event: &IdentityEvent,
        device: &DeviceRef,
        address: IpAddr,
        now: UtcMillis,
    ) {
        let Ok(device) = self.device_meant(device) else {
            return;
        };
        let carried = self.subjects.arena[device]
            .places
            .iter()
            .map(|place| &self.table.arena[place])
            .filter(|place| place.address != address && place.device().subject() == Some(device))
            .filter_map(|place| {
                let last = place.user().last()?;
                // Whom the machine alone brought there it brings no further.
                (last.kind != FactKind::Carried).then_some(())?;
                Some((last.at, Reverse(place.address), place.user().subject()?))
            })
            .max_by_key(|(at, address, _)| (*at, *address));
        if let Some((_, _, user)) = carried
            && self.admit(event, user).is_ok()
            && !self.is_user_at(user, address)
        {
            let fact = self.told(event, Some(user), FactKind::Carried);
            self.seen(address, user, fact, now);
        }
        self.release(device);
    }

    fn is_user_at(&self, user: Id<Subject>, address: IpAddr) -> bool {
        let entry = self.table.find(address);
        entry.is_some_and(|entry| self.table.arena[entry].user().subject() == Some(user))
    }

    pub(super) fn seen(
        &mut self,
        address: IpAddr,
        subject: Id<Subject>,
        fact: Fact,
        now: UtcMillis,
    ) -> Verdict {
        let kind = self.subjects.arena[subject].kind;
        let entry = self.table.find_or_insert(address);
        let (at, strong) = (fact.at, fact.kind == FactKind::Strong);
        let (producer, record) = (fact.producer, fact.record.clone());
        let settled = self.settle(entry, kind, fact, now);
        let reason = (settled.after.is_none()).then_some(EndReason::Logoff);
        let producer = self.producers.name(producer).clone();
        self.note_end(entry, &settled, reason, (&producer, &record), now);
        if settled.after == Some(subject) {
            return match settled {
                Settled { before, .. } if before != settled.after => Verdict::LoggedOn {
                    displaced: settled.lost,
                },
                Settled { renewed: true, .. } => Verdict::Renewed,
                // The same instant again, or an earlier one.
                Settled { .. } if self.is_last(entry, kind, at) => Verdict::Renewed,
                Settled { .. } => Verdict::Ignored(IgnoreReason::Older),
            };
        }
        if settled.before != settled.after {
            // It displaced who was there, and its own logoff was known before.
            return Verdict::LoggedOff(EndReason::Logoff);
        }
        let slot = self.table.arena[entry].slot(kind);
        let weaker = !strong
            && slot
                .hold()
                .is_some_and(|hold| hold.strong && hold.since <= at);
        Verdict::Ignored(if weaker {
            IgnoreReason::Weaker
        } else {
            IgnoreReason::Older
        })
    }

    fn is_last(&self, entry: Id<Entry>, kind: SubjectKind, at: UtcMillis) -> bool {
        let last = self.table.arena[entry].slot(kind).last();
        last.is_some_and(|last| last.at == at)
    }

    fn logoff(
        &mut self,
        event: &IdentityEvent,
        user: Option<&UserRef>,
        logon: Option<&LogonId>,
        now: UtcMillis,
    ) -> Told {
        let written = user.map(written_user).unwrap_or_default();
        let subject = match user.map(|user| self.user_meant(user)).transpose() {
            Ok(subject) => subject,
            Err(reason) => return (written, Verdict::Ignored(reason)),
        };
        let shown = subject.map_or(written, |subject| self.shown(subject));
        let told = match (event.address, subject) {
            (Some(_), _) => self.left(event, subject, SubjectKind::User, now),
            (None, None) => (None, Verdict::Ignored(IgnoreReason::NoAddress)),
            (None, Some(subject)) => (None, self.left_anywhere(event, subject, logon, now)),
        };
        if let Some(subject) = subject {
            self.release(subject);
        }
        (told.0.unwrap_or(shown), told.1)
    }

    fn device_logoff(
        &mut self,
        event: &IdentityEvent,
        device: Option<&DeviceRef>,
        now: UtcMillis,
    ) -> Told {
        let written = device.map(written_device).unwrap_or_default();
        let subject = match device.map(|device| self.device_meant(device)).transpose() {
            Ok(subject) => subject,
            Err(reason) => return (written, Verdict::Ignored(reason)),
        };
        let shown = subject.map_or(written, |subject| self.shown(subject));
        let (lost, verdict) = self.left(event, subject, SubjectKind::Device, now);
        if let Some(subject) = subject {
            self.release(subject);
        }
        (lost.unwrap_or(shown), verdict)
    }

    /// A logoff at an address. Returns who lost the session, if somebody did.
    fn left(
        &mut self,
        event: &IdentityEvent,
        subject: Option<Id<Subject>>,
        kind: SubjectKind,
        now: UtcMillis,
    ) -> (Option<CompactString>, Verdict) {
        let ignored = |reason| (None, Verdict::Ignored(reason));
        let address = match self.place(event) {
            Ok(address) => address,
            Err(reason) => return ignored(reason),
        };
        if let Some(Err(reason)) = subject.map(|subject| self.may_end(event, subject)) {
            return ignored(reason);
        }
        // A logoff so old that nothing it could judge may still come is not kept where nobody is.
        let matters = self.in_time(event, now).is_ok();
        let entry = match self.table.find(address) {
            Some(entry) => entry,
            None if matters => self.table.find_or_insert(address),
            None => return ignored(IgnoreReason::NoSession),
        };
        let fact = match subject {
            Some(_) => self.told(event, subject, FactKind::Left),
            None => self.told(event, None, FactKind::AllLeft),
        };
        let settled = self.settle(entry, kind, fact, now);
        if matters && self.table.arena.contains(entry) {
            // What it judges may come as long as the logoff time is not over.
            self.keep_on(entry, now);
        }
        let by = (&*event.producer, event.record.as_str());
        self.note_end(entry, &settled, Some(EndReason::Logoff), by, now);
        match (settled.before, settled.before == settled.after) {
            (Some(_), false) => (settled.lost, Verdict::LoggedOff(EndReason::Logoff)),
            (None, _) => ignored(IgnoreReason::NoSession),
            (Some(_), true) if subject.is_none() || subject == settled.before => {
                ignored(IgnoreReason::Older)
            }
            (Some(_), true) => ignored(IgnoreReason::OtherUser),
        }
    }

    /// A logoff without address: ends what the same producer holds of the user, or what that one logon made.
    fn left_anywhere(
        &mut self,
        event: &IdentityEvent,
        subject: Id<Subject>,
        logon: Option<&LogonId>,
        now: UtcMillis,
    ) -> Verdict {
        if let Err(reason) = self.may_end(event, subject) {
            return Verdict::Ignored(reason);
        }
        let producer = self.producers.number(&event.producer);
        let mut older = false;
        let mut ends = Vec::new();
        for place in self.subjects.arena[subject].places.iter() {
            let slot = self.table.arena[place].user();
            let Some(last) = slot.last().filter(|_| slot.subject() == Some(subject)) else {
                continue;
            };
            let is_meant = match logon {
                Some(logon) => made_by(last, logon),
                None => last.producer == producer,
            };
            if is_meant && last.at < event.occurred_at {
                ends.push(place);
            }
            older |= is_meant && last.at >= event.occurred_at;
        }
        for place in &ends {
            let fact = self.told(event, Some(subject), FactKind::Left);
            let settled = self.settle(*place, SubjectKind::User, fact, now);
            let by = (&*event.producer, event.record.as_str());
            self.note_end(*place, &settled, Some(EndReason::Logoff), by, now);
        }
        match (ends.is_empty(), older, logon) {
            (false, _, _) => Verdict::LoggedOff(EndReason::Logoff),
            (true, true, _) => Verdict::Ignored(IgnoreReason::Older),
            (true, false, Some(_)) => Verdict::Ignored(IgnoreReason::NoAddress),
            (true, false, None) => Verdict::Ignored(IgnoreReason::NoSession),
        }
    }

    fn renewal(
        &mut self,
        event: &IdentityEvent,
        user: &UserRef,
        device: Option<&DeviceRef>,
        now: UtcMillis,
    ) -> Told {
        let subject = match self
            .in_time(event, now)
            .and_then(|()| self.user_meant(user))
        {
            Ok(subject) => subject,
            Err(reason) => return (written_user(user), Verdict::Ignored(reason)),
        };
        let shown = self.shown(subject);
        let verdict = match self.renew(event, subject, device, now) {
            Ok(()) => Verdict::Renewed,
            Err(reason) => Verdict::Ignored(reason),
        };
        self.release(subject);
        (shown, verdict)
    }

    fn renew(
        &mut self,
        event: &IdentityEvent,
        subject: Id<Subject>,
        device: Option<&DeviceRef>,
        now: UtcMillis,
    ) -> Result<(), IgnoreReason> {
        let places = match (event.address, device) {
            (Some(_), _) => {
                let address = self.place(event)?;
                self.table.find(address).into_iter().collect()
            }
            (None, Some(device)) => {
                let device = self.device_meant(device)?;
                let places = self.subjects.arena[device].places.to_vec();
                let at_device = |place: &Id<Entry>| {
                    let entry = &self.table.arena[*place];
                    entry.device().subject() == Some(device)
                };
                let places: Vec<_> = places.into_iter().filter(at_device).collect();
                self.release(device);
                places
            }
            (None, None) => return Err(IgnoreReason::NoAddress),
        };
        self.admit(event, subject)?;
        let mut answer = Err(IgnoreReason::NoSession);
        for place in places {
            let slot = self.table.arena[place].user();
            let Some(last) = slot.last().filter(|_| slot.subject() == Some(subject)) else {
                continue;
            };
            if last.at >= event.occurred_at {
                answer = answer.or(Err(IgnoreReason::Older));
                continue;
            }
            let fact = self.told(event, Some(subject), FactKind::Seen);
            self.settle(place, SubjectKind::User, fact, now);
            answer = Ok(());
        }
        answer
    }

    /// Where the event speaks of, if a session may be there and the producer may say so.
    pub(super) fn place(&self, event: &IdentityEvent) -> Result<IpAddr, IgnoreReason> {
        let address = event.address.ok_or(IgnoreReason::NoAddress)?;
        let address = session_address(address).ok_or(IgnoreReason::AddressRefused)?;
        self.may_speak_of(Speaker::Producer(&event.producer), address)
            .map(|()| address)
    }

    /// Whether the speaker may say who is at the address.
    pub(super) fn may_speak_of(
        &self,
        speaker: Speaker<'_>,
        address: IpAddr,
    ) -> Result<(), IgnoreReason> {
        let scope = self.policy.scope(speaker);
        let networks = scope.and_then(|scope| scope.networks.as_ref());
        if networks.is_some_and(|networks| !networks.contains(address)) {
            return Err(IgnoreReason::OutOfScope);
        }
        if self.policy.filter.leaves_out(address) {
            return Err(IgnoreReason::FilteredAddress);
        }
        Ok(())
    }

    pub(super) fn in_time(
        &self,
        event: &IdentityEvent,
        now: UtcMillis,
    ) -> Result<(), IgnoreReason> {
        if event.occurred_at.after(self.policy.logoff_time) <= now {
            return Err(IgnoreReason::PastDeadline);
        }
        Ok(())
    }

    /// Whether the producer may say of the subject that it is somewhere.
    pub(super) fn admit(
        &self,
        event: &IdentityEvent,
        subject: Id<Subject>,
    ) -> Result<(), IgnoreReason> {
        self.may_be_there(Speaker::Producer(&event.producer), subject)
    }

    /// Whether the speaker may say of the subject that it is somewhere.
    pub(super) fn may_be_there(
        &self,
        speaker: Speaker<'_>,
        subject: Id<Subject>,
    ) -> Result<(), IgnoreReason> {
        self.may_name(speaker, subject)?;
        let subject = &self.subjects.arena[subject];
        if subject.kind == SubjectKind::User && subject.gone {
            return Err(IgnoreReason::NotInDirectory);
        }
        Ok(())
    }

    /// Whether the producer may speak of the subject at all.
    fn may_end(&self, event: &IdentityEvent, id: Id<Subject>) -> Result<(), IgnoreReason> {
        self.may_name(Speaker::Producer(&event.producer), id)
    }

    fn may_name(&self, speaker: Speaker<'_>, id: Id<Subject>) -> Result<(), IgnoreReason> {
        if !self.may_speak_for(speaker, id) {
            return Err(IgnoreReason::OutOfScope);
        }
        let subject = &self.subjects.arena[id];
        match (subject.excluded, subject.kind) {
            (false, _) => Ok(()),
            (true, SubjectKind::User) => Err(IgnoreReason::FilteredUser),
            (true, SubjectKind::Device) => Err(IgnoreReason::FilteredDevice),
        }
    }

    pub(super) fn told(
        &mut self,
        event: &IdentityEvent,
        subject: Option<Id<Subject>>,
        kind: FactKind,
    ) -> Fact {
        Fact {
            at: event.occurred_at,
            received_at: event.received_at,
            record: event.record.clone(),
            subject,
            producer: self.producers.number(&event.producer),
            kind,
            extra: None,
        }
    }
}

/// Whom a claim is about, as its source wrote him.
fn written(claim: &Claim) -> CompactString {
    match claim {
        Claim::Logon(logon) => written_user(&logon.user),
        Claim::Renewal { user, .. } => written_user(user),
        Claim::Logoff { user, .. } => user.as_ref().map(written_user).unwrap_or_default(),
        Claim::DeviceLogon { device, .. } => written_device(device),
        Claim::DeviceLogoff { device } => device.as_ref().map(written_device).unwrap_or_default(),
    }
}

fn seen_kind(strength: Strength) -> FactKind {
    match strength {
        Strength::Strong => FactKind::Strong,
        Strength::Weak => FactKind::Weak,
    }
}

fn made_by(last: &Fact, logon: &LogonId) -> bool {
    let made = last.extra.as_ref().and_then(|extra| extra.logon.as_ref());
    made.is_some_and(|made| made.id == logon.id && made.computer.key() == logon.computer.key())
}
