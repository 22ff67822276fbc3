//! Which users and devices a word means, found once a scan: a session then asks a bit instead of comparing names.

use std::collections::HashSet;

use super::words::{Field, Word};
use crate::identity::arena::Id;
use crate::identity::core::Core;
use crate::identity::directory::ObjectKind;
use crate::identity::objects::Object;
use crate::identity::subject::Subject;

/// A word and what it means in this table.
#[derive(Debug)]
pub(super) struct Meaning {
    pub(super) word: Word,
    /// By place: whether the word is in the name, domain or groups, as its field says.
    subjects: Vec<u64>,
    /// The groups that [`Field::Group`] names.
    groups: HashSet<Id<Object>>,
    /// Those, and all groups within them.
    within: HashSet<Id<Object>>,
}

impl Meaning {
    pub(super) fn new(word: Word) -> Self {
        Self {
            word,
            subjects: Vec::new(),
            groups: HashSet::new(),
            within: HashSet::new(),
        }
    }

    /// Looks at objects of directories from a place on, for the groups that are named.
    pub(super) fn look_at_objects(&mut self, core: &Core, from: usize, places: usize) {
        if self.word.field != Field::Group {
            return;
        }
        for (id, object) in core.objects.arena.slice_with_ids(from, places) {
            let names = [object.is.name.as_str(), &object.foreign];
            let exclude = &core.policy.filter.exclude_groups;
            if matches!(object.is.kind, ObjectKind::Group { .. })
                && names.iter().any(|name| self.word.is_in(name))
                && !names.iter().any(|name| exclude.matches(name))
            {
                self.groups.insert(id);
                self.within.insert(id);
            }
        }
    }

    /// Once the groups are known: looks from a place on for those that are within them, so that for a user only the groups
    /// that name him have to be looked at.
    pub(super) fn look_at_groups(&mut self, core: &Core, from: usize, places: usize) {
        if self.groups.is_empty() {
            return;
        }
        let exclude = &core.policy.filter.exclude_groups;
        for (id, object) in core.objects.arena.slice_with_ids(from, places) {
            if matches!(object.is.kind, ObjectKind::Group { .. }) {
                let above = core.objects.groups_of(id, exclude);
                if above.iter().any(|group| self.groups.contains(group)) {
                    self.within.insert(id);
                }
            }
        }
    }

    /// Whether [`Meaning::look_at_groups`] has anything to look for.
    pub(super) fn has_groups(&self) -> bool {
        !self.groups.is_empty()
    }

    /// Looks at users and devices from a place on; `only_active`: those without a session are not asked about.
    pub(super) fn look_at_subjects(
        &mut self,
        core: &Core,
        (from, places): (usize, usize),
        only_active: bool,
    ) {
        for (id, subject) in core.subjects.arena.slice_with_ids(from, places) {
            if (subject.sessions > 0 || !only_active) && self.is_meant(core, subject) {
                let place = id.index();
                if self.subjects.len() <= place / 64 {
                    self.subjects.resize(place / 64 + 1, 0);
                }
                if let Some(bits) = self.subjects.get_mut(place / 64) {
                    *bits |= 1 << (place % 64);
                }
            }
        }
    }

    fn is_meant(&self, core: &Core, subject: &Subject) -> bool {
        let domain = || &core.domains.arena[subject.domain].name;
        match self.word.field {
            Field::Any => self.word.is_in(&subject.name) || self.word.is_in(domain()),
            Field::User | Field::Device => self.word.is_in(&subject.name),
            Field::Domain => self.word.is_in(domain()),
            Field::Group => self.is_member(core, subject),
            Field::Producer | Field::State => false,
        }
    }

    fn is_member(&self, core: &Core, subject: &Subject) -> bool {
        if self.groups.is_empty() {
            return false;
        }
        let is_one = |group: &Id<Object>| self.groups.contains(group);
        match (subject.sessions > 0, subject.object) {
            (true, _) => subject
                .groups
                .as_deref()
                .unwrap_or_default()
                .iter()
                .any(is_one),
            (false, Some(object)) => {
                let mut direct = core.objects.direct_groups(object);
                direct.any(|group| self.within.contains(&group))
            }
            (false, None) => false,
        }
    }

    /// Whether the word means this user or device. The place may be another's since it was looked at, so whoever is found is
    /// asked again.
    pub(super) fn means(&self, core: &Core, id: Id<Subject>) -> bool {
        let place = id.index();
        let bits = self.subjects.get(place / 64).copied().unwrap_or(0);
        let is_found = bits >> (place % 64) & 1 == 1;
        is_found && (core.subjects.arena.get(id)).is_some_and(|is| self.is_meant(core, is))
    }

    /// Whether the word means this group of a directory.
    pub(super) fn means_group(&self, core: &Core, object: &Object) -> bool {
        let domain = || &core.domains.arena[object.domain].name;
        match self.word.field {
            Field::Any => self.word.is_in(object.is.name.as_str()) || self.word.is_in(domain()),
            Field::Group => {
                self.word.is_in(object.is.name.as_str()) || self.word.is_in(&object.foreign)
            }
            Field::Domain => self.word.is_in(domain()),
            Field::User | Field::Device | Field::Producer | Field::State => false,
        }
    }
}
