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
}

impl Meaning {
    pub(super) fn new(word: Word) -> Self {
        Self {
            word,
            subjects: Vec::new(),
            groups: HashSet::new(),
        }
    }

    /// Looks at objects of directories from a place on, for the groups that are named.
    pub(super) fn look_at_objects(&mut self, core: &Core, from: usize, places: usize) {
        if self.word.field != Field::Group {
            return;
        }
        for (id, object) in core.objects.arena.slice_with_ids(from, places) {
            let named = |name: &str| self.word.is_in(name);
            if matches!(object.is.kind, ObjectKind::Group { .. })
                && (named(object.is.name.as_str()) || named(&object.foreign))
            {
                self.groups.insert(id);
            }
        }
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
                let exclude = &core.policy.filter.exclude_groups;
                core.objects.groups_of(object, exclude).iter().any(is_one)
            }
            (false, None) => false,
        }
    }

    /// Whether the word means this user or device.
    pub(super) fn means(&self, subject: Id<Subject>) -> bool {
        let place = subject.index();
        let bits = self.subjects.get(place / 64).copied().unwrap_or(0);
        bits >> (place % 64) & 1 == 1
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
