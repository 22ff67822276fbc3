//! Users and devices by number: everybody who has a session, may yet matter at an address, or is in a directory.
//!
//! A subject is (domain, name) without case; its directory object may rename it. Who has which session is the slots'
//! business; here only the reverse: at which addresses a subject occurs.

use std::collections::BTreeSet;
use std::sync::Arc;

use compact_str::CompactString;

use super::arena::{Arena, Id};
use super::domain::Domain;
use super::index::Index;
use super::name::NameKey;
use super::objects::Object;
use super::table::Entry;

/// Users and devices never share a name space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SubjectKind {
    /// A person or service account.
    User,
    /// A computer.
    Device,
}

/// A user or device.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) kind: SubjectKind,
    pub(super) domain: Id<Domain>,
    /// As the directory writes it, else in lower case.
    pub(super) name: CompactString,
    /// What the directory has of it.
    pub(super) object: Option<Id<Object>>,
    /// The directory had it and lost it, or has it disabled.
    pub(super) gone: bool,
    /// A filter leaves it out.
    pub(super) excluded: bool,
    /// Known only by a user principal name that no directory has resolved.
    pub(super) by_upn: bool,
    /// How many addresses it has a session at.
    pub(super) sessions: u32,
    /// Its groups, while it has a session: objects in order of their shown names.
    pub(super) groups: Option<Arc<[Id<Object>]>>,
    /// Addresses with a fact about it.
    pub(super) places: Places,
}

/// Places of a subject with a few, so that they are together.
const FEW: usize = 8;

/// A set of addresses, nearly always one. Every subject has one of these, so 16 bytes is all that they take.
#[derive(Clone, Debug, Default)]
pub(super) enum Places {
    #[default]
    None,
    One(Id<Entry>),
    /// Two to [`FEW`], which rise, and then nothing.
    Few(Box<[Option<Id<Entry>>; FEW]>),
    #[expect(
        clippy::box_collection,
        reason = "hardly anybody has so many, and for him one step more does not count"
    )]
    Many(Box<BTreeSet<Id<Entry>>>),
}

impl Places {
    /// The set of these, each of which comes once.
    pub(super) fn of(ids: impl Iterator<Item = Id<Entry>>) -> Self {
        let mut places = Self::None;
        for id in ids {
            places.insert(id);
        }
        places
    }

    pub(super) fn insert(&mut self, id: Id<Entry>) {
        match self {
            Self::None => *self = Self::One(id),
            Self::One(one) if *one == id => {}
            Self::One(one) => {
                let mut few = [None; FEW];
                few[0] = Some(id.min(*one));
                few[1] = Some(id.max(*one));
                *self = Self::Few(Box::new(few));
            }
            Self::Few(few) if few.contains(&Some(id)) => {}
            Self::Few(few) if few[FEW - 1].is_some() => {
                let mut many: BTreeSet<_> = few.iter().copied().flatten().collect();
                many.insert(id);
                *self = Self::Many(Box::new(many));
            }
            Self::Few(few) => {
                let behind = few
                    .iter()
                    .position(|held| held.is_none_or(|held| held > id));
                let behind = &mut few[behind.unwrap_or(FEW - 1)..];
                behind.rotate_right(1);
                behind[0] = Some(id);
            }
            Self::Many(many) => {
                many.insert(id);
            }
        }
    }

    pub(super) fn remove(&mut self, id: Id<Entry>) {
        match self {
            Self::One(one) if *one == id => *self = Self::None,
            Self::Few(few) => {
                let Some(at) = few.iter().position(|held| *held == Some(id)) else {
                    return;
                };
                few[at] = None;
                few[at..].rotate_left(1);
                if few[1].is_none() {
                    *self = few[0].map_or(Self::None, Self::One);
                }
            }
            Self::Many(many) => {
                many.remove(&id);
                if many.is_empty() {
                    *self = Self::None;
                }
            }
            Self::None | Self::One(_) => {}
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Id<Entry>> + '_ {
        let (one, few, many) = match self {
            Self::None => (None, None, None),
            Self::One(one) => (Some(*one), None, None),
            Self::Few(few) => (None, Some(few.iter().copied().flatten()), None),
            Self::Many(many) => (None, None, Some(many.iter().copied())),
        };
        let few = few.into_iter().flatten();
        one.into_iter().chain(few).chain(many.into_iter().flatten())
    }

    pub(super) fn to_vec(&self) -> Vec<Id<Entry>> {
        self.iter().collect()
    }
}

/// All users and devices.
#[derive(Debug, Default)]
pub(super) struct Subjects {
    pub(super) arena: Arena<Subject>,
    index: Index<Subject>,
}

impl Subjects {
    pub(super) fn find(
        &self,
        kind: SubjectKind,
        domain: Id<Domain>,
        key: NameKey,
    ) -> Option<Id<Subject>> {
        let is = |id| {
            let subject = &self.arena[id];
            subject.kind == kind && subject.domain == domain && key.is_of(&subject.name)
        };
        self.index.get(&(kind, domain, &key), is)
    }

    /// Keeps a new subject; the caller has looked that there is none of that name.
    pub(super) fn insert(&mut self, subject: Subject) -> Id<Subject> {
        let id = self.arena.insert(subject);
        self.index.insert(id, |id| called(&self.arena, id));
        id
    }

    /// Makes room for so many more.
    pub(super) fn reserve(&mut self, more: usize) {
        self.arena.reserve(more);
        self.index.reserve(more, |id| called(&self.arena, id));
    }

    /// Puts a subject back to its place.
    pub(super) fn restore(&mut self, place: u32, subject: Subject) {
        let id = self.arena.restore(place, subject);
        self.index.insert(id, |id| called(&self.arena, id));
    }

    /// Gives a subject another domain or name. Whoever has that name is the caller's to merge.
    pub(super) fn rename(&mut self, id: Id<Subject>, domain: Id<Domain>, name: &str) {
        self.unindex(id);
        let subject = &mut self.arena[id];
        subject.domain = domain;
        subject.name = CompactString::new(name);
        self.index.insert(id, |id| called(&self.arena, id));
    }

    pub(super) fn remove(&mut self, id: Id<Subject>) -> Option<Subject> {
        self.unindex(id);
        self.arena.remove(id)
    }

    fn unindex(&mut self, id: Id<Subject>) {
        self.index.remove(&called(&self.arena, id), id);
    }
}

/// What a subject is found by.
fn called(arena: &Arena<Subject>, id: Id<Subject>) -> (SubjectKind, Id<Domain>, NameKey) {
    let subject = &arena[id];
    (subject.kind, subject.domain, NameKey::fold(&subject.name))
}

impl Subject {
    /// A subject just heard of.
    pub(super) fn new(kind: SubjectKind, domain: Id<Domain>, name: &str) -> Self {
        Self {
            kind,
            domain,
            name: CompactString::new(name),
            object: None,
            gone: false,
            excluded: false,
            by_upn: false,
            sessions: 0,
            groups: None,
            places: Places::None,
        }
    }

    /// Whether nothing needs it any more.
    pub(super) fn is_unused(&self) -> bool {
        self.places.is_empty() && self.object.is_none() && !self.gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn places_are_what_a_set_holds(steps in prop::collection::vec((0_u32..14, any::<bool>()), 0..80)) {
            let (mut places, mut set) = (Places::default(), BTreeSet::new());
            for (number, comes) in steps {
                let id = Id::of(number);
                if comes {
                    places.insert(id);
                    set.insert(id);
                } else {
                    places.remove(id);
                    set.remove(&id);
                }
                prop_assert!(places.iter().eq(set.iter().copied()));
                prop_assert_eq!(places.is_empty(), set.is_empty());
            }
        }
    }

    #[test]
    fn a_subject_takes_no_more_room_for_its_places_than_this() {
        assert_eq!(size_of::<Places>(), 16);
    }
}
