//! Whom a source means: names and qualifiers to users and devices, and what filters and scopes say of them.

use compact_str::{CompactString, format_compact};

use super::arena::Id;
use super::core::Core;
use super::directory::ObjectKind;
use super::domain::Domain;
use super::event::{DeviceRef, Qualifier, UserRef};
use super::name::{Name, NameKey};
use super::objects::Object;
use super::outcome::IgnoreReason;
use super::policy::{Globs, Speaker};
use super::subject::{Subject, SubjectKind};

/// The account of connections without one.
const NOBODY: &str = "anonymous logon";

impl Core {
    /// The user a source means, made on the spot if nobody knows him. The caller releases him when done.
    pub(super) fn user_meant(&mut self, user: &UserRef) -> Result<Id<Subject>, IgnoreReason> {
        let key = user.name.key();
        if key.as_str().ends_with('$') || key.as_str() == NOBODY {
            return Err(IgnoreReason::NotAUser);
        }
        match &user.qualifier {
            Qualifier::Missing => Err(IgnoreReason::NoDomain),
            Qualifier::Domain(domain) => {
                let domain = self.domains.resolve(domain.as_str());
                let id = self.subject(SubjectKind::User, domain, key);
                // Not each time: whoever is changed is written to the disk.
                if self.subjects.arena[id].by_upn {
                    self.subjects.arena[id].by_upn = false;
                }
                Ok(id)
            }
            Qualifier::Upn(suffix) => {
                if let Some(id) = self.user_by_upn(user.name.as_str(), suffix.as_str()) {
                    return Ok(id);
                }
                let domain = self.domains.resolve(suffix.as_str());
                let known = self.subjects.find(SubjectKind::User, domain, key.clone());
                let id = known.unwrap_or_else(|| self.subject(SubjectKind::User, domain, key));
                if known.is_none() {
                    self.subjects.arena[id].by_upn = true;
                }
                Ok(id)
            }
        }
    }

    /// The device a source means, made on the spot if nobody knows it. The caller releases it when done.
    pub(super) fn device_meant(&mut self, device: &DeviceRef) -> Result<Id<Subject>, IgnoreReason> {
        let text = device.name.as_str().trim_end_matches('.');
        let (label, rest) = text.split_once('.').unwrap_or((text, ""));
        let label = label.trim_end_matches('$');
        // An address is no name.
        if label.is_empty() || text.parse::<std::net::IpAddr>().is_ok() {
            return Err(IgnoreReason::NoDomain);
        }
        let domain = match &device.qualifier {
            Qualifier::Domain(domain) | Qualifier::Upn(domain) => domain.as_str(),
            Qualifier::Missing if rest.is_empty() => return Err(IgnoreReason::NoDomain),
            Qualifier::Missing => rest,
        };
        let domain = self.domains.resolve(domain);
        Ok(self.subject(SubjectKind::Device, domain, NameKey::fold(label)))
    }

    /// The user that a directory knows by this UPN.
    pub(super) fn user_by_upn(&self, name: &str, suffix: &str) -> Option<Id<Subject>> {
        let upn = format_compact!("{name}@{suffix}");
        let objects = self.objects.by_upn(&NameKey::fold(&upn));
        let mut objects = objects.into_iter();
        objects.find_map(|object| self.objects.arena[object].subject)
    }

    /// The subject of that name, made on the spot if there is none.
    pub(super) fn subject(
        &mut self,
        kind: SubjectKind,
        domain: Id<Domain>,
        key: NameKey,
    ) -> Id<Subject> {
        if let Some(id) = self.subjects.find(kind, domain, key.clone()) {
            return id;
        }
        self.domains.take(domain);
        let id = self
            .subjects
            .insert(Subject::new(kind, domain, key.as_str()));
        self.subjects.arena.quietly(id).excluded = self.is_excluded(id);
        id
    }

    /// `domain\user`, `domain\device$`.
    pub(super) fn shown(&self, id: Id<Subject>) -> CompactString {
        let subject = &self.subjects.arena[id];
        let domain = &self.domains.arena[subject.domain].name;
        // Every event tells one, so without the machinery of formatting.
        let mut shown = CompactString::with_capacity(domain.len() + subject.name.len() + 2);
        shown.push_str(domain);
        shown.push('\\');
        shown.push_str(&subject.name);
        if subject.kind == SubjectKind::Device {
            shown.push('$');
        }
        shown
    }

    /// Whether a filter leaves the subject out, by any way of writing it.
    pub(super) fn is_excluded(&self, id: Id<Subject>) -> bool {
        let subject = &self.subjects.arena[id];
        let globs = self.excluded(subject.kind);
        let upn = subject.object.and_then(|object| self.upn_of(object));
        !globs.is_empty()
            && self
                .spellings(subject.kind, subject.domain, (&subject.name, upn))
                .any(|spelling| globs.matches(&spelling))
    }

    /// The pattern of a filter that leaves out whom an outcome names (`domain\user`, `domain\device$`).
    #[must_use]
    pub fn excluding_pattern(&self, shown: &str) -> Option<&str> {
        let (domain, name) = shown.split_once('\\')?;
        let domain = self.domains.find(domain)?;
        let (kind, name) = match name.strip_suffix('$') {
            Some(device) => (SubjectKind::Device, device),
            None => (SubjectKind::User, name),
        };
        let globs = self.excluded(kind);
        let upn = self.upn(domain, name);
        let mut spellings = self.spellings(kind, domain, (name, upn));
        spellings.find_map(|spelling| globs.first_match(&spelling))
    }

    fn excluded(&self, kind: SubjectKind) -> &Globs {
        match kind {
            SubjectKind::User => &self.policy.filter.exclude_users,
            SubjectKind::Device => &self.policy.filter.exclude_devices,
        }
    }

    /// The ways in which a filter may write a user or device.
    fn spellings<'a>(
        &'a self,
        kind: SubjectKind,
        id: Id<Domain>,
        (name, upn): (&'a str, Option<&'a str>),
    ) -> impl Iterator<Item = CompactString> + 'a {
        let domain = &self.domains.arena[id];
        let domains = domain.names.iter().map(NameKey::as_str);
        let qualified = std::iter::once(domain.name.as_str()).chain(domains);
        let qualified = qualified.map(move |domain| format_compact!("{domain}\\{name}"));
        let principal = (kind == SubjectKind::User).then(|| {
            let upn = upn.map(CompactString::new);
            let implied = format_compact!("{name}@{}", domain.name);
            upn.into_iter().chain(std::iter::once(implied))
        });
        std::iter::once(CompactString::new(name))
            .chain(qualified)
            .chain(principal.into_iter().flatten())
    }

    /// The user principal name that a directory has for a user.
    fn upn(&self, domain: Id<Domain>, name: &str) -> Option<&str> {
        let key = NameKey::fold(name);
        let subject = self.subjects.find(SubjectKind::User, domain, key)?;
        self.upn_of(self.subjects.arena[subject].object?)
    }

    fn upn_of(&self, object: Id<Object>) -> Option<&str> {
        match &self.objects.arena[object].is.kind {
            ObjectKind::User { upn, .. } => upn.as_ref().map(Name::as_str),
            ObjectKind::Device { .. } | ObjectKind::Group { .. } => None,
        }
    }

    /// Whether the speaker may speak for the subject's domain.
    pub(super) fn may_speak_for(&self, speaker: Speaker<'_>, id: Id<Subject>) -> bool {
        let scope = self.policy.scope(speaker);
        let Some(domains) = scope.and_then(|scope| scope.domains.as_ref()) else {
            return true;
        };
        let domain = self.subjects.arena[id].domain;
        domains
            .iter()
            .any(|name| self.domains.find(name.as_str()) == Some(domain))
    }

    /// Groups that the speaker may assert, sorted.
    pub(super) fn asserted(&self, speaker: Speaker<'_>, groups: &[Name]) -> Box<[CompactString]> {
        if groups.is_empty() {
            return Box::default();
        }
        let Some(scope) = self.policy.scope(speaker) else {
            return Box::default();
        };
        let mut names: Vec<CompactString> = groups
            .iter()
            .map(Name::as_str)
            .filter(|name| {
                scope.roles.matches(name) && !self.policy.filter.exclude_groups.matches(name)
            })
            .map(CompactString::new)
            .collect();
        names.sort();
        names.dedup();
        names.truncate(MAX_ASSERTED);
        names.into_boxed_slice()
    }
}

/// Most groups that a source may assert for one session.
const MAX_ASSERTED: usize = 256;

/// A user as his source wrote him.
pub(super) fn written_user(user: &UserRef) -> CompactString {
    match &user.qualifier {
        Qualifier::Domain(domain) => format_compact!("{domain}\\{}", user.name),
        Qualifier::Upn(suffix) => format_compact!("{}@{suffix}", user.name),
        Qualifier::Missing => CompactString::new(user.name.as_str()),
    }
}

/// A device as its source wrote it.
pub(super) fn written_device(device: &DeviceRef) -> CompactString {
    match &device.qualifier {
        Qualifier::Domain(domain) | Qualifier::Upn(domain) => {
            format_compact!("{domain}\\{}", device.name)
        }
        Qualifier::Missing => CompactString::new(device.name.as_str()),
    }
}
