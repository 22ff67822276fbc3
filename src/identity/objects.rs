//! What directories hold: objects by identity, SID and UPN, and memberships closed transitively.
//!
//! Members may be named before they are known; they count once they are. Which sessions a change ends is decided by
//! [`super::sync`].

use std::collections::{BTreeMap, BTreeSet, HashSet};

use compact_str::{CompactString, format_compact};

use super::arena::{Arena, Id};
use super::directory::{DirectoryObject, ObjectId, ObjectKind, Sid};
use super::domain::Domain;
use super::index::Index;
use super::map::Map;
use super::name::{Name, NameKey};
use super::policy::Globs;
use super::spans::Spans;
use super::subject::Subject;
use super::view::Seq;

/// How deep groups may lie in groups; deeper ones do not count.
const MAX_DEPTH: usize = 64;

/// An object of a directory.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) is: DirectoryObject,
    pub(super) directory: NameKey,
    pub(super) domain: Id<Domain>,
    /// The user or device; `None` for groups.
    pub(super) subject: Option<Id<Subject>>,
    /// A group's name for users of other domains: `domain\group`.
    pub(super) foreign: CompactString,
    /// Its place in the feed; 0: none.
    pub(super) told: Seq,
}

/// Where reading a directory stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reading {
    /// Of a full read that is under way, the places of the objects that it has named.
    pub(super) under_way: Option<Spans>,
    /// Objects whose removal waits for the next full read.
    pub(super) held: BTreeSet<ObjectId>,
    /// How many objects it has.
    pub(super) objects: usize,
}

/// Everything directories hold.
#[derive(Debug, Default)]
pub(super) struct Objects {
    pub(super) arena: Arena<Object>,
    pub(super) readings: BTreeMap<NameKey, Reading>,
    by_id: Index<Object>,
    /// Groups alone: others are found by their ids.
    by_sid: Index<Object>,
    by_upn: Index<Object>,
    /// Groups that name an object as their member.
    parents: Map<ObjectId, Vec<Id<Object>>>,
    /// How many objects have this primary group.
    primaries: Map<Sid, usize>,
    /// Users, devices and groups.
    counts: [usize; 3],
}

impl Objects {
    pub(super) fn find(&self, id: &ObjectId) -> Option<Id<Object>> {
        self.by_id.get(id, |object| self.arena[object].is.id == *id)
    }

    /// The group of a SID.
    fn group(&self, sid: &Sid) -> Option<Id<Object>> {
        let is = |group| sid_of(&self.arena, group) == Some(sid);
        self.by_sid.get(&Some(sid), is)
    }

    /// Objects of this UPN: one, but while a directory tells of a change.
    pub(super) fn by_upn(&self, upn: &NameKey) -> Vec<Id<Object>> {
        let is = |object| upn_of(&self.arena, object).is_some_and(|name| upn.is_of(name.as_str()));
        self.by_upn.all(&Some(upn), is)
    }

    pub(super) fn users(&self) -> usize {
        self.counts[0]
    }

    pub(super) fn devices(&self) -> usize {
        self.counts[1]
    }

    pub(super) fn groups(&self) -> usize {
        self.counts[2]
    }

    /// Keeps a new object.
    pub(super) fn insert(&mut self, object: Object) -> Id<Object> {
        let id = self.arena.insert(object);
        self.index(id);
        id
    }

    /// Puts an object back to its place.
    pub(super) fn restore(&mut self, place: u32, object: Object) -> Id<Object> {
        let id = self.arena.restore(place, object);
        self.index(id);
        id
    }

    fn index(&mut self, id: Id<Object>) {
        let object = &self.arena[id];
        self.by_id.insert(id, |object| self.arena[object].is.id);
        let reading = self.readings.entry(object.directory.clone());
        reading.or_default().objects += 1;
        self.link(id);
        let members = without_doubles(self.arena[id].is.kind.members());
        self.join(&members, id);
    }

    /// Replaces what an object is; returns what it was, and who joined or left it.
    pub(super) fn replace(
        &mut self,
        id: Id<Object>,
        is: DirectoryObject,
        foreign: CompactString,
    ) -> (DirectoryObject, Vec<ObjectId>) {
        self.unlink(id);
        let object = &mut self.arena[id];
        object.foreign = foreign;
        let before = std::mem::replace(&mut object.is, is);
        let left = missing(before.kind.members(), object.is.kind.members());
        let mut moved = missing(object.is.kind.members(), before.kind.members());
        self.link(id);
        self.leave(&left, id);
        self.join(&moved, id);
        moved.extend(left);
        (before, moved)
    }

    pub(super) fn remove(&mut self, id: Id<Object>) -> Option<Object> {
        self.unlink(id);
        let object = self.arena.remove(id)?;
        self.leave(&without_doubles(object.is.kind.members()), id);
        self.by_id.remove(&object.is.id, id);
        self.left(&object.directory, id, object.is.id);
        Some(object)
    }

    /// A directory has an object no more.
    fn left(&mut self, directory: &NameKey, id: Id<Object>, object: ObjectId) {
        if let Some(reading) = self.readings.get_mut(directory) {
            reading.objects -= 1;
            reading.held.remove(&object);
            if let Some(named) = &mut reading.under_way {
                named.remove(id.number());
            }
        }
    }

    /// A full read that is under way has named an object of its directory.
    pub(super) fn note_named(&mut self, id: Id<Object>) {
        let reading = self.readings.get_mut(&self.arena[id].directory);
        if let Some(named) = reading.and_then(|reading| reading.under_way.as_mut()) {
            named.insert(id.number());
        }
    }

    /// Gives an object to another directory.
    pub(super) fn give(&mut self, id: Id<Object>, directory: &NameKey) {
        let before = std::mem::replace(&mut self.arena[id].directory, directory.clone());
        self.left(&before, id, self.arena[id].is.id);
        self.readings.entry(directory.clone()).or_default().objects += 1;
    }

    fn link(&mut self, id: Id<Object>) {
        let Self {
            arena,
            by_sid,
            by_upn,
            primaries,
            counts,
            ..
        } = self;
        let is = &arena[id].is;
        if let (Some(_), ObjectKind::Group { .. }) = (&is.sid, &is.kind) {
            by_sid.insert(id, |group| sid_of(arena, group));
        }
        if let Some(primary) = primary_group(is) {
            *primaries.entry(primary.clone()).or_default() += 1;
        }
        counts[kind_number(&is.kind)] += 1;
        if let ObjectKind::User { upn: Some(_), .. } = &is.kind {
            by_upn.insert(id, |user| upn_of(arena, user).map(Name::key));
        }
    }

    fn unlink(&mut self, id: Id<Object>) {
        let Self {
            arena,
            by_sid,
            by_upn,
            primaries,
            counts,
            ..
        } = self;
        let is = &arena[id].is;
        if let (Some(sid), ObjectKind::Group { .. }) = (&is.sid, &is.kind) {
            by_sid.remove(&Some(sid), id);
        }
        if let Some(primary) = primary_group(is)
            && let Some(count) = primaries.get_mut(primary)
        {
            *count -= 1;
            if *count == 0 {
                primaries.remove(primary);
            }
        }
        counts[kind_number(&is.kind)] -= 1;
        if let ObjectKind::User { upn: Some(upn), .. } = &is.kind {
            by_upn.remove(&Some(upn.key()), id);
        }
    }

    /// A group has these members too, each named once.
    fn join(&mut self, members: &[ObjectId], group: Id<Object>) {
        for member in members {
            self.parents.entry(*member).or_default().push(group);
        }
    }

    /// A group has these members no more.
    fn leave(&mut self, members: &[ObjectId], group: Id<Object>) {
        for member in members {
            if let Some(groups) = self.parents.get_mut(member) {
                groups.retain(|other| *other != group);
                if groups.is_empty() {
                    self.parents.remove(member);
                }
            }
        }
    }

    /// The groups of a user or device, transitively, in order of their shown names, without the excluded ones.
    pub(super) fn groups_of(&self, id: Id<Object>, exclude: &Globs) -> Vec<Id<Object>> {
        let mut found = self.above(self.direct_groups(id), exclude);
        self.arrange(&mut found, self.arena[id].domain);
        found
    }

    /// These groups and those that they are in, transitively, without the excluded ones; in no order.
    pub(super) fn above(
        &self,
        groups: impl IntoIterator<Item = Id<Object>>,
        exclude: &Globs,
    ) -> Vec<Id<Object>> {
        let mut seen: HashSet<Id<Object>> = HashSet::new();
        let mut found = Vec::new();
        let mut level: Vec<Id<Object>> = groups.into_iter().collect();
        for _ in 0..MAX_DEPTH {
            let mut next = Vec::new();
            for group in level {
                if seen.insert(group) {
                    found.push(group);
                    next.extend(self.direct_groups(group));
                }
            }
            if next.is_empty() {
                break;
            }
            level = next;
        }
        found.retain(|group| {
            !exclude.matches(self.arena[*group].is.name.as_str())
                && !exclude.matches(&self.arena[*group].foreign)
        });
        found
    }

    /// Puts groups in order of how members of a domain are shown them; of two that are shown alike the same one stays,
    /// whichever was found first.
    pub(super) fn arrange(&self, groups: &mut Vec<Id<Object>>, domain: Id<Domain>) {
        groups.sort_by(|a, b| {
            let shown = self.shown(*a, domain).cmp(self.shown(*b, domain));
            shown.then(a.cmp(b))
        });
        groups.dedup_by(|a, b| self.shown(*a, domain) == self.shown(*b, domain));
    }

    /// How a group is written for members of a domain.
    pub(super) fn shown(&self, group: Id<Object>, domain: Id<Domain>) -> &str {
        let object = &self.arena[group];
        if object.domain == domain {
            object.is.name.as_str()
        } else {
            &object.foreign
        }
    }

    /// The groups that name an object as their member, and its primary group.
    pub(super) fn direct_groups(&self, id: Id<Object>) -> impl Iterator<Item = Id<Object>> + '_ {
        let is = &self.arena[id].is;
        let groups = self.parents.get(&is.id).into_iter().flatten().copied();
        groups.chain(primary_group(is).and_then(|sid| self.group(sid)))
    }

    /// Whether somebody's primary group is of this SID.
    pub(super) fn is_primary(&self, sid: &Sid) -> bool {
        self.primaries.contains_key(sid)
    }

    /// Whether there is a group at this place.
    pub(super) fn is_group(&self, id: Id<Object>) -> bool {
        let object = self.arena.get(id);
        object.is_some_and(|object| matches!(object.is.kind, ObjectKind::Group { .. }))
    }
}

fn without_doubles(ids: &[ObjectId]) -> Vec<ObjectId> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// Those that the others do not have, each once. Of two long lists that hardly differ, what they have in common at both ends
/// is only run through.
fn missing(ids: &[ObjectId], others: &[ObjectId]) -> Vec<ObjectId> {
    let same = |(a, b): &(&ObjectId, &ObjectId)| a == b;
    let begin = ids.iter().zip(others).take_while(same).count();
    let (ids, rest) = (&ids[begin..], &others[begin..]);
    let end = ids.iter().rev().zip(rest.iter().rev());
    let end = end.take_while(same).count();
    let mut found = without_doubles(&ids[..ids.len() - end]);
    let mut seen = vec![false; found.len()];
    for other in others.iter().filter(|_| !found.is_empty()) {
        if let Ok(place) = found.binary_search(other) {
            seen[place] = true;
        }
    }
    let mut seen = seen.into_iter();
    found.retain(|_| seen.next() == Some(false));
    found
}

/// The name of a group for other domains.
pub(super) fn foreign_name(domain: &str, is: &DirectoryObject) -> CompactString {
    match is.kind {
        ObjectKind::Group { .. } => format_compact!("{domain}\\{}", is.name.as_str()),
        ObjectKind::User { .. } | ObjectKind::Device { .. } => CompactString::default(),
    }
}

pub(super) fn primary_group(is: &DirectoryObject) -> Option<&Sid> {
    match &is.kind {
        ObjectKind::User { primary_group, .. } | ObjectKind::Device { primary_group, .. } => {
            primary_group.as_ref()
        }
        ObjectKind::Group { .. } => None,
    }
}

fn sid_of(arena: &Arena<Object>, id: Id<Object>) -> Option<&Sid> {
    arena[id].is.sid.as_ref()
}

fn upn_of(arena: &Arena<Object>, id: Id<Object>) -> Option<&Name> {
    match &arena[id].is.kind {
        ObjectKind::User { upn, .. } => upn.as_ref(),
        ObjectKind::Device { .. } | ObjectKind::Group { .. } => None,
    }
}

fn kind_number(kind: &ObjectKind) -> usize {
    match kind {
        ObjectKind::User { .. } => 0,
        ObjectKind::Device { .. } => 1,
        ObjectKind::Group { .. } => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn whoever_joined_or_left_is_whom_one_list_has_alone(
            before in prop::collection::vec(0_u8..12, 0..12),
            after in prop::collection::vec(0_u8..12, 0..12),
            begin in prop::collection::vec(0_u8..12, 0..4),
        ) {
            let ids = |rest: &[u8]| -> Vec<ObjectId> {
                begin.iter().chain(rest).map(|id| ObjectId([*id; 16])).collect()
            };
            let (before, after) = (ids(&before), ids(&after));
            let set = |ids: &[ObjectId]| ids.iter().copied().collect::<BTreeSet<_>>();
            let plain: Vec<_> = set(&before).difference(&set(&after)).copied().collect();
            prop_assert_eq!(missing(&before, &after), plain);
        }
    }
}
