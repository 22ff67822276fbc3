//! The lists of users, devices and groups: those of directories and those with a session.

use std::net::IpAddr;

use compact_str::CompactString;

use super::matching::Meaning;
use super::select::Select;
use super::words::Word;
use super::{Found, Order, Page, Place};
use crate::identity::arena::Id;
use crate::identity::core::Core;
use crate::identity::directory::ObjectKind;
use crate::identity::name::NameKey;
use crate::identity::objects::Object;
use crate::identity::read::standing;
use crate::identity::subject::{Subject, SubjectKind};
use crate::identity::view::Standing;

/// Addresses that a row holds.
const MAX_ADDRESSES: usize = 4;

/// A step among groups looks at this many times fewer places: the groups above each are gone through.
const WITHIN_SHARE: usize = 32;

/// What a list holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameKind {
    /// Users.
    Users,
    /// Devices.
    Devices,
    /// Groups.
    Groups,
}

/// A user, device or group in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameView {
    /// As the directory writes it, else in lower case.
    pub name: CompactString,
    /// DNS domain.
    pub domain: CompactString,
    /// What the directory says of it.
    pub standing: Standing,
    /// Where it has a session, a few of them; of a group none.
    pub addresses: Vec<IpAddr>,
    /// Sessions; of a group those of its members, transitively.
    pub sessions: u64,
    /// Groups that it is in, transitively; of a group its direct members.
    pub groups: u64,
}

/// A row of a page. What it shows is asked for last and row by row, so that no row costs more than its own.
#[derive(Clone, Copy, Debug)]
pub enum Listed {
    /// A user or device.
    Subject(SubjectPlace),
    /// A group, with the sessions of its members.
    Group(ObjectPlace, u64),
}

/// Where a user or device is kept.
#[derive(Clone, Copy, Debug)]
pub struct SubjectPlace(Id<Subject>);

/// Where a group is kept.
#[derive(Clone, Copy, Debug)]
pub struct ObjectPlace(Id<Object>);

impl Listed {
    /// What the row shows; `None`: it has gone since the list was made. `place` is the row's.
    #[must_use]
    pub fn view(self, core: &Core, place: &Place) -> Option<NameView> {
        let view = match self {
            Self::Subject(SubjectPlace(id)) => {
                let subject = core.subjects.arena.get(id)?;
                view_of_subject(core, id, subject)
            }
            Self::Group(ObjectPlace(id), sessions) => {
                view_of_group(core, core.objects.arena.get(id)?, sessions)?
            }
        };
        // The place may be another's by now.
        (NameKey::fold(&view.name).as_str() == place.text).then_some(view)
    }
}

/// A page of names on its way.
#[derive(Debug)]
pub struct NameScan {
    kind: NameKind,
    order: Order,
    meanings: Vec<Meaning>,
    select: Select<Listed>,
    /// Sessions of the members of each group, by its place.
    sessions: Vec<u64>,
    at: At,
}

/// How far a scan is.
#[derive(Clone, Copy, Debug)]
enum At {
    Objects(usize),
    Within(usize),
    Subjects(usize),
    Groups(usize),
    End,
}

impl NameScan {
    /// A scan for a page of the names that hold all words.
    #[must_use]
    pub fn new(kind: NameKind, words: Vec<Word>, page: &Page) -> Self {
        Self {
            kind,
            order: page.order,
            meanings: words.into_iter().map(Meaning::new).collect(),
            select: Select::new(page),
            sessions: Vec::new(),
            at: At::Objects(0),
        }
    }

    /// Looks at so many places of the table; whether there is more to look at.
    pub fn step(&mut self, core: &Core, places: usize) -> bool {
        let next = |from: usize, all: usize| Some(from + places).filter(|next| *next < all);
        match (self.at, self.kind) {
            (At::Objects(from), NameKind::Users | NameKind::Devices) => {
                for meaning in &mut self.meanings {
                    meaning.look_at_objects(core, from, places);
                }
                let more = next(from, core.objects.arena.places());
                let more = more.filter(|_| !self.meanings.is_empty());
                self.at = more.map_or(At::Within(0), At::Objects);
            }
            (At::Within(from), _) => {
                let places = places.div_ceil(WITHIN_SHARE);
                for meaning in &mut self.meanings {
                    meaning.look_at_groups(core, from, places);
                }
                let more = Some(from + places).filter(|next| *next < core.objects.arena.places());
                let more = more.filter(|_| self.meanings.iter().any(Meaning::has_groups));
                self.at = more.map_or(At::Subjects(0), At::Within);
            }
            (At::Objects(_), NameKind::Groups) => self.at = At::Subjects(0),
            (At::Subjects(from), NameKind::Groups) => {
                self.count_sessions(core, from, places);
                let more = next(from, core.subjects.arena.places());
                self.at = more.map_or(At::Groups(0), At::Subjects);
            }
            (At::Subjects(from), NameKind::Users | NameKind::Devices) => {
                self.look_at_subjects(core, from, places);
                let more = next(from, core.subjects.arena.places());
                self.at = more.map_or(At::End, At::Subjects);
            }
            (At::Groups(from), _) => {
                self.look_at_groups(core, from, places);
                let more = next(from, core.objects.arena.places());
                self.at = more.map_or(At::End, At::Groups);
            }
            (At::End, _) => {}
        }
        !matches!(self.at, At::End)
    }

    /// The page.
    #[must_use]
    pub fn finish(self) -> Found<Listed> {
        self.select.finish()
    }

    fn look_at_subjects(&mut self, core: &Core, from: usize, places: usize) {
        for meaning in &mut self.meanings {
            meaning.look_at_subjects(core, (from, places), false);
        }
        let kind = match self.kind {
            NameKind::Devices => SubjectKind::Device,
            NameKind::Users | NameKind::Groups => SubjectKind::User,
        };
        for (id, subject) in core.subjects.arena.slice_with_ids(from, places) {
            if subject.kind == kind && self.meanings.iter().all(|meaning| meaning.means(core, id)) {
                let domain = &core.domains.arena[subject.domain].name;
                let sessions = u64::from(subject.sessions);
                let place = place(&subject.name, domain, sessions, self.order);
                self.select
                    .offer(place, || Listed::Subject(SubjectPlace(id)));
            }
        }
    }

    fn count_sessions(&mut self, core: &Core, from: usize, places: usize) {
        self.sessions.resize(core.objects.arena.places(), 0);
        for (_, subject) in core.subjects.arena.slice_with_ids(from, places) {
            for group in subject.groups.as_deref().unwrap_or_default() {
                if let Some(sessions) = self.sessions.get_mut(group.index()) {
                    *sessions += u64::from(subject.sessions);
                }
            }
        }
    }

    fn look_at_groups(&mut self, core: &Core, from: usize, places: usize) {
        for (id, object) in core.objects.arena.slice_with_ids(from, places) {
            let is_group = matches!(object.is.kind, ObjectKind::Group { .. });
            let mut meanings = self.meanings.iter();
            if !is_group || !meanings.all(|meaning| meaning.means_group(core, object)) {
                continue;
            }
            let domain = &core.domains.arena[object.domain].name;
            let sessions = self.sessions_of(id);
            let place = place(object.is.name.as_str(), domain, sessions, self.order);
            self.select
                .offer(place, || Listed::Group(ObjectPlace(id), sessions));
        }
    }

    fn sessions_of(&self, group: Id<Object>) -> u64 {
        self.sessions.get(group.index()).copied().unwrap_or(0)
    }
}

fn view_of_subject(core: &Core, id: Id<Subject>, subject: &Subject) -> NameView {
    let places = subject.places.iter().map(|place| &core.table.arena[place]);
    let held = places.filter(|entry| entry.slot(subject.kind).subject() == Some(id));
    NameView {
        name: subject.name.clone(),
        domain: core.domains.arena[subject.domain].name.clone(),
        standing: standing(subject),
        addresses: held
            .map(|entry| entry.address)
            .take(MAX_ADDRESSES)
            .collect(),
        sessions: u64::from(subject.sessions),
        groups: core.group_names(subject).iter().count() as u64,
    }
}

fn view_of_group(core: &Core, object: &Object, sessions: u64) -> Option<NameView> {
    let ObjectKind::Group { members } = &object.is.kind else {
        return None;
    };
    Some(NameView {
        name: CompactString::new(object.is.name.as_str()),
        domain: core.domains.arena[object.domain].name.clone(),
        standing: Standing::InDirectory,
        addresses: Vec::new(),
        sessions,
        groups: members.len() as u64,
    })
}

fn place(name: &str, domain: &CompactString, sessions: u64, order: Order) -> Place {
    Place {
        number: match order {
            Order::Sessions => -i64::try_from(sessions).unwrap_or(i64::MAX),
            Order::Usual
            | Order::Address
            | Order::User
            | Order::Device
            | Order::Since
            | Order::Deadline
            | Order::Name => 0,
        },
        text: CompactString::new(NameKey::fold(name).as_str()),
        domain: domain.clone(),
        address: None,
    }
}
