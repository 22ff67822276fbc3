//! What readers ask: addresses and what changed, users, devices, domains, counts.

use std::net::IpAddr;

use super::address::canonical;
use super::arena::Id;
use super::core::Core;
use super::directory::ObjectKind;
use super::group_names::GroupNames;
use super::name::NameKey;
use super::policy::Policy;
use super::session::{Fact, Slot};
use super::subject::{Subject, SubjectKind};
use super::table::Entry;
use super::time::UtcMillis;
use super::view::{
    AddressView, DeviceSession, DeviceView, Epoch, EvidenceView, HeldRemoval, LastEnded, Seq,
    Standing, Totals, UserSession, UserView,
};

impl Core {
    /// The life of this journal.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The sequence of the last change.
    #[must_use]
    pub fn last_seq(&self) -> Seq {
        self.journal.last()
    }

    /// Cursors below this have missed something and must start at 0 (rule 16).
    #[must_use]
    pub fn floor(&self) -> Seq {
        self.journal.floor()
    }

    /// A cursor such that everything changed here at or after the instant lies behind it; 0 if that is not known.
    #[must_use]
    pub fn cursor_at(&self, instant: UtcMillis) -> Seq {
        self.journal.at(instant)
    }

    /// Addresses changed after the cursor, in order of last change, with the sequence of that change.
    pub fn addresses_since(&self, cursor: Seq) -> impl Iterator<Item = (Seq, IpAddr)> + '_ {
        self.journal
            .since(cursor)
            .map(|(seq, entry)| (seq, self.table.arena[entry].address))
    }

    /// As [`Core::addresses_since`], with the last user session that ended at each.
    pub fn ends_since(
        &self,
        cursor: Seq,
    ) -> impl Iterator<Item = (Seq, IpAddr, Option<&LastEnded>)> + '_ {
        self.journal.since(cursor).map(|(seq, entry)| {
            let entry = &self.table.arena[entry];
            (seq, entry.address, entry.last_ended.as_deref())
        })
    }

    /// What is known of an address; `None` if there is neither session nor tombstone.
    #[must_use]
    pub fn address(&self, address: IpAddr) -> Option<AddressView<'_>> {
        let id = self.table.find(canonical(address))?;
        let entry = &self.table.arena[id];
        if entry.changed == Seq(0) {
            return None;
        }
        Some(AddressView {
            address: entry.address,
            changed: entry.changed,
            shared: self.policy.shared_addresses.contains(entry.address),
            user: self.user_session(entry),
            device: self.device_session(entry),
            user_ended_at: entry.passing().user_ended_at,
            last_ended: entry.last_ended.as_deref(),
        })
    }

    /// A user by any name of his domain, or his UPN as `name` without domain; known from the directory or a session.
    #[must_use]
    pub fn user(&self, name: &str, domain: Option<&str>) -> Option<UserView<'_>> {
        let id = match domain {
            Some(domain) => self.users_meant(name, Some(domain)).first().copied()?,
            None => {
                let (user, suffix) = name.rsplit_once('@')?;
                let by_upn = self.user_by_upn(user, suffix);
                by_upn.or_else(|| self.users_meant(user, Some(suffix)).first().copied())?
            }
        };
        Some(self.user_view(id, &[]))
    }

    /// Every user of that name, whatever his domain.
    #[must_use]
    pub fn users_named(&self, name: &str) -> Vec<UserView<'_>> {
        let users = self.users_meant(name, None).into_iter();
        users.map(|id| self.user_view(id, &[])).collect()
    }

    /// Addresses where the user (name and DNS domain as in [`UserView`]) has a session, sorted.
    #[must_use]
    pub fn addresses_of_user(&self, name: &str, domain: &str) -> Vec<IpAddr> {
        let users = self.users_meant(name, Some(domain));
        users.first().map_or_else(Vec::new, |id| self.held_by(*id))
    }

    /// A device by name (first label) and any name of its domain; without domain, every device of that name.
    #[must_use]
    pub fn devices_named(&self, name: &str, domain: Option<&str>) -> Vec<DeviceView<'_>> {
        let label = name.split('.').next().unwrap_or(name).trim_end_matches('$');
        let devices = self.subjects_meant(SubjectKind::Device, label, domain);
        devices.into_iter().map(|id| self.device_view(id)).collect()
    }

    /// Addresses where the device has a session, sorted.
    #[must_use]
    pub fn addresses_of_device(&self, name: &str, domain: &str) -> Vec<IpAddr> {
        let devices = self.subjects_meant(SubjectKind::Device, name, Some(domain));
        devices
            .first()
            .map_or_else(Vec::new, |id| self.held_by(*id))
    }

    /// Groups of a domain (any of its names) as the directory writes them, sorted without case: the first `limit` after
    /// `after`, and whether there are more. Looks at every object of every directory.
    #[must_use]
    pub fn groups_after(&self, domain: &str, after: &str, limit: usize) -> (Vec<&str>, bool) {
        let after = NameKey::fold(after);
        let mut found: Vec<(NameKey, &str)> = self
            .groups_of(domain)
            .map(|name| (NameKey::fold(name), name))
            .filter(|(key, _)| *key > after)
            .collect();
        found.sort_unstable();
        let more = found.len() > limit;
        found.truncate(limit);
        (found.into_iter().map(|(_, name)| name).collect(), more)
    }

    /// A group by name and any name of its domain, as the directory writes it. Looks at every object of every directory.
    #[must_use]
    pub fn group(&self, name: &str, domain: &str) -> Option<&str> {
        let key = NameKey::fold(name);
        self.groups_of(domain)
            .find(|name| NameKey::fold(name) == key)
    }

    fn groups_of(&self, domain: &str) -> impl Iterator<Item = &str> {
        let domain = self.domains.find(domain);
        let objects = self.objects.arena.iter().map(|(_, object)| object);
        objects
            .filter(move |object| Some(object.domain) == domain)
            .filter(|object| matches!(object.is.kind, ObjectKind::Group { .. }))
            .map(|object| object.is.name.as_str())
    }

    /// The DNS name of a domain, given any of its names.
    #[must_use]
    pub fn domain(&self, any_name: &str) -> Option<&str> {
        let id = self.domains.find(any_name)?;
        Some(&self.domains.arena[id].name)
    }

    /// The DNS names of domains that are configured or a directory's.
    pub fn known_domains(&self) -> impl Iterator<Item = &str> {
        let known = self.domains.known();
        known.map(|id| self.domains.arena[id].name.as_str())
    }

    /// Counts.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let known = self.domains.known().count();
        Totals {
            domains: self.domains.arena.len(),
            unknown_domains: self.domains.arena.len() - known,
            users: self.active_users,
            devices: self.active_devices,
            groups: self.objects.groups(),
            sessions: self.sessions,
            directory_users: self.objects.users(),
            directory_devices: self.objects.devices(),
            tombstones: self.tombstones,
        }
    }

    /// Directories of which more objects are missing than may go at once: they go if the next full read misses them
    /// too (rule 14).
    #[must_use]
    pub fn held_removals(&self) -> Vec<HeldRemoval<'_>> {
        let readings = self.objects.readings.iter();
        readings
            .filter(|(_, reading)| !reading.held.is_empty())
            .map(|(directory, reading)| HeldRemoval {
                directory: directory.as_str(),
                objects: reading.held.len(),
                of: reading.objects,
            })
            .collect()
    }

    /// The position stored under a bookmark's key.
    #[must_use]
    pub fn bookmark(&self, key: &str) -> Option<&[u8]> {
        self.bookmarks.get(key).map(|value| &**value)
    }

    /// The positions stored under keys that begin so, each with the rest of its key, in order.
    pub fn bookmarks_below<'a>(
        &'a self,
        prefix: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        let from = self.bookmarks.range::<str, _>((
            std::ops::Bound::Included(prefix),
            std::ops::Bound::Unbounded,
        ));
        from.map_while(move |(key, value)| Some((key.strip_prefix(prefix)?, &**value)))
    }

    /// The policy in force.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    fn held_by(&self, id: Id<Subject>) -> Vec<IpAddr> {
        let subject = &self.subjects.arena[id];
        let mut addresses: Vec<IpAddr> = subject
            .places
            .iter()
            .map(|place| &self.table.arena[place])
            .filter(|entry| entry.slot(subject.kind).subject() == Some(id))
            .map(|entry| entry.address)
            .collect();
        addresses.sort_unstable();
        addresses
    }

    fn user_session<'a>(&'a self, entry: &'a Entry) -> Option<UserSession<'a>> {
        let slot = entry.user();
        let hold = slot.hold()?;
        Some(UserSession {
            user: self.user_view(hold.subject, asserted(slot)),
            since: hold.since,
            evidence: self.evidence_view(slot.last()?),
            deadline: self
                .next_look(entry, SubjectKind::User)
                .unwrap_or(entry.due(SubjectKind::User)?),
            doubted_since: entry.doubted_since(),
        })
    }

    fn device_session<'a>(&'a self, entry: &'a Entry) -> Option<DeviceSession<'a>> {
        let slot = entry.device();
        let hold = slot.hold()?;
        Some(DeviceSession {
            device: self.device_view(hold.subject),
            since: hold.since,
            evidence: self.evidence_view(slot.last()?),
            deadline: self
                .next_look(entry, SubjectKind::Device)
                .unwrap_or(entry.due(SubjectKind::Device)?),
        })
    }

    pub(super) fn evidence_view<'a>(&'a self, last: &'a Fact) -> EvidenceView<'a> {
        EvidenceView {
            producer: self.producers.name(last.producer),
            record: &last.record,
            occurred_at: last.at,
            received_at: last.received_at,
            strength: last.strength(),
        }
    }

    fn user_view<'a>(
        &'a self,
        id: Id<Subject>,
        asserted: &'a [compact_str::CompactString],
    ) -> UserView<'a> {
        let subject = &self.subjects.arena[id];
        let mut roles = self.group_names(subject);
        if !asserted.is_empty() {
            let mut all = roles.to_vec();
            all.extend(asserted.iter().map(compact_str::CompactString::as_str));
            all.sort_unstable();
            all.dedup_by_key(|role| NameKey::fold(role));
            roles = all.into();
        }
        UserView {
            name: &subject.name,
            domain: &self.domains.arena[subject.domain].name,
            roles,
            standing: standing(subject),
        }
    }

    fn device_view(&self, id: Id<Subject>) -> DeviceView<'_> {
        let subject = &self.subjects.arena[id];
        let is = subject
            .object
            .map(|object| &self.objects.arena[object].is.kind);
        let (os, os_version) = match is {
            Some(ObjectKind::Device { os, os_version, .. }) => (os.as_ref(), os_version.as_ref()),
            Some(ObjectKind::User { .. } | ObjectKind::Group { .. }) | None => (None, None),
        };
        DeviceView {
            name: &subject.name,
            domain: &self.domains.arena[subject.domain].name,
            groups: self.group_names(subject),
            os: os.map(|name| name.as_str()),
            os_version: os_version.map(|name| name.as_str()),
            standing: standing(subject),
        }
    }

    /// The groups of a user or device as its reports show them, transitively.
    pub(super) fn group_names<'a>(&'a self, subject: &'a Subject) -> GroupNames<'a> {
        if subject.sessions > 0 {
            let groups = subject.groups.as_deref().unwrap_or_default();
            // While a batch is in the middle, some may be gone.
            let is_whole = self.is_whole();
            return GroupNames::kept(&self.objects, groups, (subject.domain, is_whole));
        }
        let Some(object) = subject.object else {
            return GroupNames::default();
        };
        let exclude = &self.policy.filter.exclude_groups;
        let groups = self.objects.groups_of(object, exclude);
        let shown = |group: &Id<_>| self.objects.shown(*group, subject.domain);
        groups.iter().map(shown).collect::<Vec<_>>().into()
    }
}

fn asserted(slot: &Slot) -> &[compact_str::CompactString] {
    slot.groups()
}

/// What the directory says of a user or device.
pub(super) fn standing(subject: &Subject) -> Standing {
    match (subject.gone, subject.object) {
        (true, _) => Standing::Gone,
        (false, Some(_)) => Standing::InDirectory,
        (false, None) => Standing::NotInDirectory,
    }
}
