//! The core's invariants, written out. Tests call [`Core::check_invariants`] after every step; it walks everything.
//!
//! What is always asserted, in release too, is what costs nothing: an id is kept no longer than its value
//! ([`super::arena`]), and counts never go below zero.

use std::collections::BTreeMap;

use super::arena::Id;
use super::core::Core;
use super::objects::foreign_name;
use super::session::{Fact, MAX_FACTS, MAX_FACTS_OF_ALL, Slot};
use super::subject::{Subject, SubjectKind};
use super::table::{Entry, TOMBSTONE};
use super::told::NEVER;
use super::view::Seq;

impl Core {
    /// Checks that table, indexes, journal, deadlines and counts agree. For tests: it takes time linear in everything.
    ///
    /// # Panics
    /// When they do not; then `jims` is broken.
    pub fn check_invariants(&self) {
        let mut sessions: BTreeMap<Id<Subject>, u32> = BTreeMap::new();
        let mut journal = 0;
        let mut tombstones = 0;
        let mut kept = 0;
        let mut doubts = 0;
        for (id, entry) in self.table.arena.iter() {
            assert_eq!(self.table.find(entry.address), Some(id), "address index");
            for kind in [SubjectKind::User, SubjectKind::Device] {
                self.check_slot(id, entry, kind);
                if let Some(subject) = entry.slot(kind).subject() {
                    *sessions.entry(subject).or_default() += 1;
                }
            }
            if entry.changed > Seq(0) {
                journal += 1;
                tombstones += usize::from(!entry.has_session());
                let mut at = self.journal.since(Seq(entry.changed.0 - 1));
                assert_eq!(at.next(), Some((entry.changed, id)), "journal");
            }
            assert!(self.feed.has(entry.told, id), "the feed knows its place");
            assert_eq!(entry.has_session(), entry.empty_since().is_none());
            if let Some(since) = entry.empty_since() {
                kept += 1;
                let place = (since.after(TOMBSTONE), id);
                assert!(self.deadlines.tombstones.contains(&place));
            }
            let shared = self.policy.shared_addresses.contains(entry.address);
            assert_eq!(entry.reports_user, entry.user().hold().is_some() && !shared);
            assert!(!(entry.reports_user && entry.passing().user_ended_at.is_some()));
            if let Some(since) = entry.doubted_since() {
                doubts += 1;
                assert!(self.deadlines.doubts.contains(&(since, entry.address)));
                assert!(entry.user().hold().is_some(), "nobody is doubted");
                assert!(self.can_be_asked(entry), "who can be asked");
            }
        }
        assert_eq!(self.deadlines.doubts.len(), doubts, "doubts are indexed");
        assert_eq!(self.journal.len(), journal, "journal holds nothing else");
        assert_eq!(self.tombstones, tombstones, "tombstones are counted");
        assert_eq!(self.deadlines.tombstones.len(), kept);
        self.check_subjects(&sessions);
        self.check_counts(&sessions);
        self.heard.check();
    }

    fn check_slot(&self, id: Id<Entry>, entry: &Entry, kind: SubjectKind) {
        let slot = entry.slot(kind);
        let own = |fact: &&Fact| self.producers.is_own(fact.producer);
        assert!(slot.facts().iter().filter(own).count() <= MAX_FACTS);
        assert!(slot.facts().len() <= MAX_FACTS_OF_ALL);
        assert!(slot.facts().is_sorted_by_key(|fact| fact.at));
        assert!(is_fold_of_its_facts(slot), "the session is the fold");
        for subject in slot.facts().iter().filter_map(|fact| fact.subject) {
            let subject = &self.subjects.arena[subject];
            assert_eq!(subject.kind, kind);
            assert!(subject.places.iter().any(|place| place == id), "places");
        }
        let due = entry.due(kind);
        assert_eq!(due.is_some(), slot.hold().is_some(), "every session ends");
        if let Some(due) = due {
            assert!(self.deadlines.sessions.contains(&(due, id, kind)));
            let up = self.comes_up(id, kind);
            let in_time = up.is_some_and(|up| due <= up)
                || self.deadline(&self.table.arena[id], kind) == Some(NEVER);
            assert!(
                in_time || self.deadlines.review.is_some(),
                "no place is later than the end"
            );
        }
        if let Some(subject) = slot.subject().map(|s| &self.subjects.arena[s]) {
            assert!(!subject.excluded, "no session is left out by a filter");
            assert!(!(subject.gone && kind == SubjectKind::User));
            assert!(!self.policy.filter.leaves_out(entry.address));
        }
    }

    fn check_subjects(&self, sessions: &BTreeMap<Id<Subject>, u32>) {
        let mut uses: BTreeMap<_, u32> = BTreeMap::new();
        for (id, subject) in self.subjects.arena.iter() {
            *uses.entry(subject.domain).or_default() += 1;
            assert!(!subject.is_unused(), "nobody is kept for nothing");
            assert_eq!(subject.excluded, self.is_excluded(id), "filters");
            let object = subject.object.map(|object| &self.objects.arena[object]);
            assert!(object.is_none_or(|object| object.subject == Some(id)));
            assert_eq!(subject.sessions, sessions.get(&id).copied().unwrap_or(0));
            for place in subject.places.iter() {
                let facts = self.table.arena[place].slot(subject.kind).facts();
                assert!(facts.iter().any(|fact| fact.subject == Some(id)));
            }
            let groups = subject
                .object
                .filter(|_| subject.sessions > 0)
                .map(|object| {
                    self.objects
                        .groups_of(object, &self.policy.filter.exclude_groups)
                });
            assert_eq!(
                subject.groups.as_deref().unwrap_or_default(),
                groups.as_deref().unwrap_or_default(),
                "groups are those of the directory"
            );
        }
        for (id, object) in self.objects.arena.iter() {
            *uses.entry(object.domain).or_default() += 1;
            let subject = object.subject.map(|subject| &self.subjects.arena[subject]);
            assert!(subject.is_none_or(|subject| subject.object == Some(id)));
            let foreign = foreign_name(&self.domains.arena[object.domain].name, &object.is);
            assert_eq!(object.foreign, foreign, "how others write a group");
        }
        for (id, domain) in self.domains.arena.iter() {
            assert_eq!(domain.uses, uses.get(&id).copied().unwrap_or(0));
            assert!(domain.known || domain.uses > 0, "domains are dropped");
        }
    }

    fn check_counts(&self, sessions: &BTreeMap<Id<Subject>, u32>) {
        let active = |kind| {
            let subjects = sessions.keys();
            subjects
                .filter(|id| self.subjects.arena[**id].kind == kind)
                .count()
        };
        assert_eq!(self.active_users, active(SubjectKind::User));
        assert_eq!(self.active_devices, active(SubjectKind::Device));
        let all: u32 = sessions.values().sum();
        assert_eq!(u32::try_from(self.sessions), Ok(all));
        assert_eq!(self.deadlines.sessions.len(), self.sessions);
    }
}

fn is_fold_of_its_facts(slot: &Slot) -> bool {
    let folded = Slot::restore(slot.facts().iter().cloned().collect(), None);
    folded.subject() == slot.subject()
        && folded.last() == slot.last()
        && folded.hold().map(|hold| hold.strong) == slot.hold().map(|hold| hold.strong)
}
