//! What a directory's batch does: objects come, change and go; users who went lose their sessions; whose groups changed
//! is reported anew.

use std::collections::BTreeSet;

use super::arena::Id;
use super::core::{Applied, Core};
use super::directory::{DirectoryBatch, DirectoryObject, DirectoryStep, ObjectId, ObjectKind};
use super::domain::Domain;
use super::name::{Name, NameKey};
use super::objects::{Object, foreign_name};
use super::outcome::{EndReason, Outcome};
use super::producer::collector_of;
use super::regroup::Regroup;
use super::settle::End;
use super::spans::Spans;
use super::subject::{Subject, SubjectKind};
use super::time::UtcMillis;
use super::view::Seq;

/// A removal of more objects than this, and more than [`GUARD_SHARE`] of the directory, must be said twice.
const GUARD_OBJECTS: usize = 100;

/// One in so many objects.
const GUARD_SHARE: usize = 10;

/// What a batch has changed so far.
#[derive(Default)]
struct Changes {
    groups: Regroup,
    objects: usize,
    unchanged: usize,
}

/// How an object leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaves {
    /// Its directory had it and has it no more: a user is gone.
    Lost,
    /// With its directory: sessions of its users end (rule 24).
    WithDirectory,
    /// With the Collector that told of it: what others say of its users counts on.
    WithCollector,
}

impl Core {
    /// Applies one step of reading a directory, but for what it leaves to [`Core::go_on`]. A directory that the policy does
    /// not know changes nothing.
    pub(super) fn sync(
        &mut self,
        batch: DirectoryBatch,
        now: UtcMillis,
        outcomes: &mut Vec<Outcome>,
    ) -> Applied {
        let key = batch.directory.key();
        if !self.is_heard(&key, &batch.domain) {
            return Applied {
                ignored: batch.upserts.len() + batch.removed.len(),
                ..Applied::default()
            };
        }
        self.note_domain(&key, &batch.domain, now, outcomes);
        self.take_facts(&batch, now, outcomes);
        let domain = self.domains.resolve(batch.domain.as_str());
        let mut changes = Changes::default();
        let reading = self.objects.readings.entry(key.clone()).or_default();
        if batch.step == DirectoryStep::FullBegin {
            reading.under_way = Some(Spans::default());
        }
        for object in batch.upserts {
            self.upsert((&key, domain), object, &mut changes, (now, outcomes));
        }
        let (gone, held) = match batch.step {
            DirectoryStep::FullBegin | DirectoryStep::FullPart => (Vec::new(), false),
            DirectoryStep::FullEnd => self.sweep(&key),
            DirectoryStep::Poll => self.poll_removals(&key, &batch.removed),
        };
        let source = batch.directory.as_str();
        for id in gone {
            self.remove_object(id, Leaves::Lost, &mut changes, (source, now, outcomes));
        }
        // A poll that is held back must come again, so its position is not kept.
        let comes_again = held && batch.step == DirectoryStep::Poll;
        let bookmark = batch.bookmark.filter(|_| !comes_again);
        self.regroup(changes.groups, bookmark, now);
        Applied {
            applied: changes.objects,
            ignored: changes.unchanged,
            full_read_wanted: held,
        }
    }

    /// Whether a directory is configured, or of a Collector that is heard.
    fn is_heard(&self, key: &NameKey, domain: &Name) -> bool {
        if let Some(collector) = collector_of(key.as_str()) {
            let mut heard = self.policy.collectors.keys();
            return heard.any(|name| NameKey::fold(name).as_str() == collector);
        }
        let mut configured = self.policy.directories.iter();
        configured.any(|(name, of)| name.key() == *key && of.key() == domain.key())
    }

    /// The domain of a Collector's directory is known as long as the directory is.
    fn note_domain(
        &mut self,
        key: &NameKey,
        domain: &Name,
        now: UtcMillis,
        outcomes: &mut Vec<Outcome>,
    ) {
        if collector_of(key.as_str()).is_none() || self.domains.told.get(key) == Some(domain) {
            return;
        }
        self.domains.told.insert(key.clone(), domain.clone());
        self.rebuild_domains(now, outcomes);
        self.refilter_subjects(now, outcomes);
    }

    /// Objects of a directory go with it.
    pub(super) fn remove_directory(
        &mut self,
        (directory, leaves): (&NameKey, Leaves),
        now: UtcMillis,
        outcomes: &mut Vec<Outcome>,
    ) {
        let mut changes = Changes::default();
        let objects: Vec<Id<Object>> = self
            .objects
            .arena
            .iter()
            .filter(|(_, object)| object.directory == *directory)
            .map(|(id, _)| id)
            .collect();
        for id in objects {
            self.remove_object(
                id,
                leaves,
                &mut changes,
                (directory.as_str(), now, outcomes),
            );
        }
        self.objects.readings.remove(directory);
        self.feed_without(directory);
        self.regroup(changes.groups, None, now);
        self.finish();
        if self.domains.told.remove(directory).is_some() {
            self.rename_domains(leaves != Leaves::WithCollector, now, outcomes);
            self.refilter_subjects(now, outcomes);
        }
    }

    fn take_facts(&mut self, batch: &DirectoryBatch, now: UtcMillis, outcomes: &mut Vec<Outcome>) {
        let Some(facts) = &batch.facts else { return };
        let key = batch.domain.key();
        let directory = batch.directory.key();
        if self.domains.facts.get(&key) == Some(facts) {
            if !self.feed.tells_of(&directory) {
                self.feed_domain(&directory);
            }
            return;
        }
        self.domains.facts.insert(key, facts.clone());
        self.feed_domain(&directory);
        self.rebuild_domains(now, outcomes);
        self.refilter_subjects(now, outcomes);
    }

    fn upsert(
        &mut self,
        (directory, domain): (&NameKey, Id<Domain>),
        is: DirectoryObject,
        changes: &mut Changes,
        (now, outcomes): (UtcMillis, &mut Vec<Outcome>),
    ) {
        let reading = self.objects.readings.entry(directory.clone()).or_default();
        reading.held.remove(&is.id);
        let known = self.objects.find(&is.id);
        if let Some(id) = known {
            // Of two directories that hold one object, the first decides when it goes; a Collector takes over what
            // another told.
            if collector_of(self.objects.arena[id].directory.as_str()).is_some() {
                self.objects.give(id, directory);
                self.feed_object(id);
            }
            if self.objects.arena[id].directory == *directory {
                self.objects.note_named(id);
            }
            if self.objects.arena[id].is == is {
                changes.unchanged += 1;
                return;
            }
            let before = &self.objects.arena[id].is.kind;
            if std::mem::discriminant(before) != std::mem::discriminant(&is.kind) {
                changes.groups.at_once = true;
                let source = directory.as_str();
                self.remove_object(id, Leaves::Lost, changes, (source, now, outcomes));
            }
        }
        changes.objects += 1;
        let object_id = is.id;
        match self.objects.find(&object_id) {
            Some(id) => self.replace_object(id, is, changes, (now, outcomes)),
            None => {
                changes.groups.of.push(object_id);
                let foreign = foreign_name(&self.domains.arena[domain].name, &is);
                self.domains.take(domain);
                let id = self.objects.insert(Object {
                    is,
                    directory: directory.clone(),
                    domain,
                    subject: None,
                    foreign,
                    told: Seq(0),
                });
                self.objects.note_named(id);
                changes.groups.renamed.insert(id);
                self.attach(id, (directory.as_str(), now, outcomes));
                self.feed_object(id);
            }
        }
    }

    fn replace_object(
        &mut self,
        id: Id<Object>,
        is: DirectoryObject,
        changes: &mut Changes,
        (now, outcomes): (UtcMillis, &mut Vec<Outcome>),
    ) {
        let directory = self.objects.arena[id].directory.clone();
        let domain = self.objects.arena[id].domain;
        let foreign = foreign_name(&self.domains.arena[domain].name, &is);
        let (before, moved) = self.objects.replace(id, is, foreign);
        let is = &self.objects.arena[id].is;
        // Else only those who joined or left, and all below them, have other groups.
        let is_group = matches!(is.kind, ObjectKind::Group { .. });
        if !is_group || before.name != is.name || before.sid != is.sid {
            changes.groups.of.push(is.id);
        }
        changes.groups.of.extend(moved);
        if is_group && (before.name != is.name || before.sid != is.sid) {
            changes.groups.renamed.insert(id);
        }
        if is_group && before.sid != is.sid {
            // Whoever had it as primary group.
            changes.groups.primary.extend(before.sid.clone());
        }
        let reported = reported_part(&before) != reported_part(is);
        self.feed_object(id);
        self.attach(id, (directory.as_str(), now, outcomes));
        if reported && let Some(subject) = self.objects.arena[id].subject {
            self.touch_subject(subject, now);
        }
    }

    /// Joins a user's or device's object with its subject, under the name it has now.
    fn attach(
        &mut self,
        id: Id<Object>,
        (source, now, outcomes): (&str, UtcMillis, &mut Vec<Outcome>),
    ) {
        let object = &self.objects.arena[id];
        let kind = match object.is.kind {
            ObjectKind::User { .. } => SubjectKind::User,
            ObjectKind::Device { .. } => SubjectKind::Device,
            ObjectKind::Group { .. } => return,
        };
        let (domain, name) = (object.domain, object.is.name.clone());
        let gone = matches!(object.is.kind, ObjectKind::User { enabled: false, .. });
        let named = self.subjects.find(kind, domain, name.key());
        let subject = match (object.subject, named) {
            (None, Some(named)) => named,
            (None, None) => self.subject(kind, domain, name.key()),
            (Some(own), _) => own,
        };
        // Whom another object was of is this one's now: only one at a time is somebody's.
        let before = self.subjects.arena[subject].object;
        if let Some(before) = before.filter(|before| *before != id) {
            self.objects.arena[before].subject = None;
        }
        self.objects.arena[id].subject = Some(subject);
        self.subjects.arena[subject].object = Some(id);
        self.subjects.arena[subject].by_upn = false;
        if self.subjects.arena[subject].name != name.as_str() {
            self.subjects.rename(subject, domain, name.as_str());
            self.touch_subject(subject, now);
            self.feed_subject(subject);
        }
        if let Some(other) = named.filter(|other| *other != subject) {
            self.adopt(other, subject, now);
        }
        if let Some(other) = self.known_by_upn_only(id)
            && other != subject
        {
            self.adopt(other, subject, now);
        }
        let excluded = self.is_excluded(subject);
        self.subjects.arena.quietly(subject).excluded = excluded;
        self.subjects.arena[subject].gone = gone;
        if gone || excluded {
            let reason = if gone {
                EndReason::Directory
            } else {
                EndReason::Filter
            };
            self.forget_subject(subject, End { reason, source }, now, outcomes);
        }
    }

    /// A subject of sessions only turned out to be this one. Another's of the directory stays: it gets its own new
    /// name in its turn.
    fn adopt(&mut self, other: Id<Subject>, subject: Id<Subject>, now: UtcMillis) {
        if self.subjects.arena[other].object.is_none() {
            self.subjects.arena[other].gone = false;
            self.merge_subject(other, subject, now);
        }
    }

    /// The subject that evidence named by this object's UPN before the directory had told whose it is.
    fn known_by_upn_only(&self, id: Id<Object>) -> Option<Id<Subject>> {
        let ObjectKind::User { upn: Some(upn), .. } = &self.objects.arena[id].is.kind else {
            return None;
        };
        let (name, suffix) = upn.as_str().rsplit_once('@')?;
        let domain = self.domains.find(suffix)?;
        let found = self
            .subjects
            .find(SubjectKind::User, domain, NameKey::fold(name))?;
        self.subjects.arena[found].by_upn.then_some(found)
    }

    /// Takes an object out.
    fn remove_object(
        &mut self,
        id: Id<Object>,
        leaves: Leaves,
        changes: &mut Changes,
        (source, now, outcomes): (&str, UtcMillis, &mut Vec<Outcome>),
    ) {
        let Some(object) = self.objects.remove(id) else {
            return;
        };
        if let ObjectKind::Group { members } = &object.is.kind {
            changes.groups.of.extend(members);
            changes.groups.primary.extend(object.is.sid.clone());
        }
        self.feed_lost(&object);
        changes.objects += 1;
        let owner = object
            .subject
            .filter(|subject| self.subjects.arena[*subject].object == Some(id));
        if let Some(subject) = owner {
            let is_user = self.subjects.arena[subject].kind == SubjectKind::User;
            self.subjects.arena[subject].object = None;
            self.subjects.arena[subject].gone = leaves == Leaves::Lost && is_user;
            if is_user && leaves != Leaves::WithCollector {
                let reason = EndReason::Directory;
                self.forget_subject(subject, End { reason, source }, now, outcomes);
            } else {
                self.refresh_groups(subject);
                self.touch_subject(subject, now);
            }
            // Its user principal name is known no more.
            if self.subjects.arena.contains(subject) {
                let excluded = self.is_excluded(subject);
                self.subjects.arena.quietly(subject).excluded = excluded;
            }
            self.release(subject);
        }
        self.domains.release(object.domain);
    }

    /// What a full read did not name, as far as it may go, and whether some of it is held back.
    fn sweep(&mut self, directory: &NameKey) -> (Vec<Id<Object>>, bool) {
        let Some(reading) = self.objects.readings.get_mut(directory) else {
            return (Vec::new(), false);
        };
        let Some(named) = reading.under_way.take() else {
            // The beginning of this read was not seen (a restart): it may not sweep.
            return (Vec::new(), true);
        };
        let missing: Vec<ObjectId> = self
            .objects
            .arena
            .iter()
            .filter(|(id, object)| object.directory == *directory && !named.contains(id.number()))
            .map(|(_, object)| object.is.id)
            .collect();
        self.guard(directory, missing)
    }

    fn poll_removals(
        &mut self,
        directory: &NameKey,
        removed: &[ObjectId],
    ) -> (Vec<Id<Object>>, bool) {
        let missing: BTreeSet<ObjectId> = removed
            .iter()
            .filter(|id| {
                let found = self.objects.find(id);
                found.is_some_and(|id| self.objects.arena[id].directory == *directory)
            })
            .copied()
            .collect();
        if missing.len() <= self.removable(directory) {
            return self.guard(directory, missing.into_iter().collect());
        }
        if let Some(reading) = self.objects.readings.get_mut(directory) {
            reading.held.extend(missing);
        }
        (Vec::new(), true)
    }

    /// Objects that go, and whether others are held back until the next full read misses them too.
    fn guard(&mut self, directory: &NameKey, missing: Vec<ObjectId>) -> (Vec<Id<Object>>, bool) {
        let removable = self.removable(directory);
        let Some(reading) = self.objects.readings.get_mut(directory) else {
            return (Vec::new(), false);
        };
        let (said_before, new): (Vec<_>, Vec<_>) = missing
            .into_iter()
            .partition(|id| reading.held.contains(id));
        let held = new.len() > removable;
        reading.held.clear();
        let mut gone = said_before;
        if held {
            reading.held.extend(new);
        } else {
            gone.extend(new);
        }
        let gone = gone.iter().filter_map(|id| self.objects.find(id)).collect();
        (gone, held)
    }

    /// How many objects may go without being said twice. What a Collector told, its own guard has let through.
    fn removable(&self, directory: &NameKey) -> usize {
        if collector_of(directory.as_str()).is_some() {
            return usize::MAX;
        }
        let reading = self.objects.readings.get(directory);
        let objects = reading.map_or(0, |reading| reading.objects);
        GUARD_OBJECTS.max(objects / GUARD_SHARE)
    }
}

/// What a report shows of an object beside its name and groups.
fn reported_part(is: &DirectoryObject) -> Option<(&Option<Name>, &Option<Name>)> {
    match &is.kind {
        ObjectKind::Device { os, os_version, .. } => Some((os, os_version)),
        ObjectKind::User { .. } | ObjectKind::Group { .. } => None,
    }
}
