//! Whose groups differ after a change of a directory: found, and read anew, a bounded number at a time.
//!
//! A group may have everybody below it, and the table must not be held for all of them at once. So a batch changes objects
//! at once and leaves the rest here ([`Core::begin`]); [`Core::go_on`] does some of it, in an order that follows from the
//! table alone, so that the journal is the same however it is cut. In between, whoever was not come to yet has the groups
//! that he had, and nothing is a table of one instant ([`super::changes::Changes::instant`]).

use std::collections::HashSet;
use std::sync::Arc;

use super::arena::Id;
use super::bits::Bits;
use super::core::Core;
use super::directory::{ObjectId, ObjectKind, Sid};
use super::domain::Domain;
use super::event::Bookmark;
use super::map::{Map, Wide};
use super::objects::{Object, Objects, primary_group};
use super::policy::Globs;
use super::subject::Subject;
use super::time::UtcMillis;

/// Members that are looked at for one user whose groups are read, and lists that are forgotten.
const MEMBERS_A_USER: usize = 16;

/// The groups of a user or device, in order of their shown names.
pub(super) type Groups = Arc<[Id<Object>]>;

/// What a batch has changed of groups so far.
#[derive(Debug, Default)]
pub(super) struct Regroup {
    /// Objects whose groups, or whose members' groups, may differ.
    pub(super) of: Vec<ObjectId>,
    /// Of groups that are gone or have another SID now.
    pub(super) primary: HashSet<Sid>,
    /// Groups that are shown otherwise although they are the same.
    pub(super) renamed: HashSet<Id<Object>>,
    /// A group's place may be another group's now, which nobody may see as his.
    pub(super) at_once: bool,
}

/// What a batch has left to be done.
#[derive(Debug)]
pub(super) struct Regrouping {
    now: UtcMillis,
    renamed: HashSet<Id<Object>>,
    below: Below,
    /// The place of the object that comes next.
    next: u32,
    above: Above,
    /// Kept when all is done.
    bookmark: Option<Bookmark>,
}

impl Core {
    /// Whether a batch that was begun is done: only then may anything else be done with the core.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.regrouping.is_none()
    }

    /// Goes on with the batch that was begun: reads the groups of at most `limit` users and devices anew, or looks for
    /// them, so that the table is held for a bounded time. Returns whether to call it again.
    pub fn go_on(&mut self, limit: usize) -> bool {
        let Some(mut work) = self.regrouping.take() else {
            return false;
        };
        let many = limit.saturating_mul(MEMBERS_A_USER);
        if work.below.look(&self.objects, many)
            || self.read_groups(&mut work, limit)
            || work.above.forget(many, &mut self.group_lists)
        {
            self.regrouping = Some(work);
            return true;
        }
        if let Some(Bookmark { key, value }) = work.bookmark.take() {
            self.keep_bookmark(key, value);
        }
        self.rest = Some(work);
        false
    }

    /// What a batch that is done has left in memory. To give it back may take longer than the table is to be held, so
    /// whoever lets others wait for the table drops it afterwards.
    pub fn take_rest(&mut self) -> impl Sized + use<> {
        self.rest.take()
    }

    /// Leaves to be done what follows from a batch's changes; the bookmark is kept after it.
    pub(super) fn regroup(&mut self, changes: Regroup, bookmark: Option<Bookmark>, now: UtcMillis) {
        self.assert_whole();
        let Regroup {
            of,
            primary,
            renamed,
            at_once,
        } = changes;
        let mut primary_of = primary;
        primary_of.retain(|sid| self.objects.is_primary(sid));
        self.regrouping = Some(Box::new(Regrouping {
            now,
            renamed,
            below: Below {
                starts: of,
                primary_of,
                ..Below::default()
            },
            next: 0,
            above: Above::default(),
            bookmark,
        }));
        if at_once {
            self.finish();
        }
    }

    /// Goes on until nothing is left.
    pub(super) fn finish(&mut self) {
        while self.go_on(usize::MAX) {}
        self.rest = None;
    }

    /// Nothing but what was begun may change the table meanwhile.
    pub(super) fn assert_whole(&self) {
        assert!(self.is_whole(), "a batch was begun and not done");
    }

    /// Reads the groups of at most so many; whether others are left.
    fn read_groups(&mut self, work: &mut Regrouping, limit: usize) -> bool {
        for _ in 0..limit {
            let Some(place) = work.below.leaves.next(work.next) else {
                return false;
            };
            work.next = place + 1;
            self.read_groups_of(Id::of(place), work);
        }
        work.below.leaves.next(work.next).is_some()
    }

    fn read_groups_of(&mut self, id: Id<Object>, work: &mut Regrouping) {
        let Some(subject) = self.objects.arena[id].subject else {
            return;
        };
        let is = &self.subjects.arena[subject];
        if is.sessions == 0 || is.object != Some(id) {
            return;
        }
        let exclude = &self.policy.filter.exclude_groups;
        let groups = (work.above).groups_of(id, (&self.objects, exclude), &mut self.group_lists);
        let is_renamed = |groups: &Groups| groups.iter().any(|group| work.renamed.contains(group));
        let renamed = !work.renamed.is_empty() && groups.as_ref().is_some_and(is_renamed);
        if self.set_groups(subject, groups) || renamed {
            self.touch_subject(subject, work.now);
        }
    }

    /// Gives a subject other groups; whether they differ.
    pub(super) fn set_groups(&mut self, id: Id<Subject>, groups: Option<Groups>) -> bool {
        let before = &self.subjects.arena[id].groups;
        let is_same = match (before, &groups) {
            (Some(before), Some(groups)) => Arc::ptr_eq(before, groups) || before == groups,
            (before, groups) => before.is_none() && groups.is_none(),
        };
        if is_same {
            return false;
        }
        let subject = self.subjects.arena.quietly(id);
        let before = std::mem::replace(&mut subject.groups, groups);
        self.group_lists.let_go(before);
        true
    }
}

/// Users and devices whose groups depend on objects: those themselves, and all below the groups among them.
#[derive(Debug, Default)]
struct Below {
    /// Objects that were not looked at yet.
    starts: Vec<ObjectId>,
    /// Groups that were met, and from which member on they were not looked at yet.
    groups: Vec<(Id<Object>, usize)>,
    met: Bits,
    /// SIDs of groups that somebody has as his primary group.
    primary_of: HashSet<Sid>,
    /// Up to where objects were asked for their primary group.
    asked: usize,
    leaves: Bits,
}

impl Below {
    /// Looks at so many more members; whether there are others.
    fn look(&mut self, objects: &Objects, limit: usize) -> bool {
        let mut left = limit;
        while left > 0 {
            let from = self.starts.len().saturating_sub(left);
            left -= self.starts.len() - from;
            for start in self.starts.split_off(from) {
                self.meet(objects, &start);
            }
            let Some((group, from)) = self.groups.pop() else {
                if self.starts.is_empty() {
                    return self.ask(objects, left);
                }
                continue;
            };
            let members = objects.arena[group].is.kind.members();
            let members = members.get(from..).unwrap_or_default();
            let some = members.get(..left).unwrap_or(members);
            if some.len() < members.len() {
                self.groups.push((group, from + some.len()));
            }
            for member in some {
                self.meet(objects, member);
            }
            left -= some.len();
        }
        true
    }

    fn meet(&mut self, objects: &Objects, id: &ObjectId) {
        let Some(id) = objects.find(id) else { return };
        if !self.met.insert(id.number()) {
            return;
        }
        let is = &objects.arena[id].is;
        if !matches!(is.kind, ObjectKind::Group { .. }) {
            self.leaves.insert(id.number());
            return;
        }
        self.groups.push((id, 0));
        let sid = is.sid.iter().filter(|sid| objects.is_primary(sid));
        self.primary_of.extend(sid.cloned());
    }

    /// Asks so many more objects whether one of the groups is their primary group; whether there are others.
    fn ask(&mut self, objects: &Objects, limit: usize) -> bool {
        if self.primary_of.is_empty() {
            return false;
        }
        for (id, object) in objects.arena.slice_with_ids(self.asked, limit) {
            if primary_group(&object.is).is_some_and(|sid| self.primary_of.contains(sid)) {
                self.leaves.insert(id.number());
            }
        }
        self.asked = self.asked.saturating_add(limit);
        self.asked < objects.arena.places()
    }
}

/// Lists of groups by the direct groups that lead to them.
type ByDirect = Wide<Box<[Id<Object>]>, Option<Groups>>;

/// Groups in groups, found once for all who are in them. It holds while no object changes.
#[derive(Debug, Default)]
struct Above {
    /// A group and all that it is in.
    of_group: Map<Id<Object>, Box<[Id<Object>]>>,
    /// What whoever has these direct groups is in.
    lists: Map<Id<Domain>, ByDirect>,
    /// Direct groups of the one who is looked at.
    direct: Vec<Id<Object>>,
}

impl Above {
    /// As [`Objects::groups_of`], as a list that is shared.
    fn groups_of(
        &mut self,
        id: Id<Object>,
        (objects, exclude): (&Objects, &Globs),
        shared: &mut GroupLists,
    ) -> Option<Groups> {
        let domain = objects.arena[id].domain;
        self.direct.clear();
        self.direct.extend(objects.direct_groups(id));
        self.direct.sort_unstable();
        let lists = self.lists.entry(domain).or_default();
        if let Some((_, list)) = lists.get_key_value(&*self.direct) {
            return list.clone();
        }
        let mut all = Vec::new();
        for group in &self.direct {
            let above = self.of_group.entry(*group);
            all.extend_from_slice(
                above.or_insert_with(|| objects.above([*group], exclude).into_boxed_slice()),
            );
        }
        all.sort_unstable();
        all.dedup();
        objects.arrange(&mut all, domain);
        let list = (!all.is_empty()).then(|| shared.share(all));
        lists.insert(self.direct.as_slice().into(), list.clone());
        list
    }

    /// Forgets so many lists; whether there may be others.
    #[expect(
        clippy::iter_over_hash_type,
        reason = "when all are forgotten, it is the same in which order"
    )]
    fn forget(&mut self, limit: usize, shared: &mut GroupLists) -> bool {
        let mut left = limit;
        for lists in self.lists.values_mut() {
            for (_, list) in lists.take(left) {
                shared.let_go(list);
                left -= 1;
            }
        }
        left == 0
    }
}

/// Lists of groups, each kept once however many have it.
#[derive(Debug, Default)]
pub(super) struct GroupLists(Wide<Groups, ()>);

impl GroupLists {
    /// The list that is kept of these.
    pub(super) fn share(&mut self, groups: Vec<Id<Object>>) -> Groups {
        if let Some((kept, ())) = self.0.get_key_value(groups.as_slice()) {
            return kept.clone();
        }
        let groups: Groups = groups.into();
        self.0.insert(groups.clone(), ());
        groups
    }

    /// Somebody has a list no more; with its last it goes.
    pub(super) fn let_go(&mut self, groups: Option<Groups>) {
        // His and ours.
        if let Some(groups) = groups.filter(|groups| Arc::strong_count(groups) == 2) {
            self.0.remove(&groups);
        }
    }

    /// How many lists there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
