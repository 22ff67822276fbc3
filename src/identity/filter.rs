//! What the operator leaves out of the table, and what a new policy does to what is already there.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::arena::Id;
use super::core::Core;
use super::domain::Domain;
use super::name::{Name, NameKey};
use super::objects::foreign_name;
use super::outcome::{EndReason, Outcome};
use super::policy::{Filter, Policy};
use super::producer::collector_of;
use super::settle::End;
use super::subject::SubjectKind;
use super::sync::Leaves;
use super::time::UtcMillis;

impl Filter {
    /// Whether no session may be at the address.
    #[must_use]
    pub fn leaves_out(&self, address: IpAddr) -> bool {
        self.exclude_addresses.contains(address)
            || (!self.include_addresses.is_empty() && !self.include_addresses.contains(address))
    }
}

impl Core {
    /// Replaces the policy and makes the whole table obey it.
    pub(super) fn obey(&mut self, policy: Policy, now: UtcMillis, outcomes: &mut Vec<Outcome>) {
        let kept: BTreeSet<(NameKey, NameKey)> = policy
            .directories
            .iter()
            .map(|(name, domain)| (name.key(), domain.key()))
            .collect();
        let lost: Vec<NameKey> = self
            .policy
            .directories
            .iter()
            .map(|(name, domain)| (name.key(), domain.key()))
            .filter(|directory| !kept.contains(directory))
            .map(|(name, _)| name)
            .collect();
        for directory in lost {
            self.remove_directory((&directory, Leaves::WithDirectory), now, outcomes);
        }
        for directory in self.unheard(&policy) {
            self.remove_directory((&directory, Leaves::WithCollector), now, outcomes);
        }
        let told: Vec<NameKey> = self.domains.told.values().map(Name::key).collect();
        self.domains.facts.retain(|domain, _| {
            kept.iter().any(|(_, kept)| kept == domain) || told.contains(domain)
        });
        let then = std::mem::replace(&mut self.policy, policy);
        self.keep_feed();
        self.rebuild_domains(now, outcomes);
        self.refilter_addresses(&then, now, outcomes);
        self.refilter_subjects(now, outcomes);
        self.review_doubts(now);
    }

    /// Directories of Collectors that a policy does not hear.
    fn unheard(&self, policy: &Policy) -> Vec<NameKey> {
        let heard: BTreeSet<NameKey> = policy.collectors.keys().map(|n| NameKey::fold(n)).collect();
        let told = self.domains.told.keys();
        let is_unheard = |directory: &&NameKey| {
            let collector = collector_of(directory.as_str()).map(NameKey::fold);
            collector.is_none_or(|collector| !heard.contains(&collector))
        };
        told.filter(is_unheard).cloned().collect()
    }

    /// Ends what a restart finds of directories that are configured no more.
    pub(super) fn end_unconfigured(&mut self, now: UtcMillis, outcomes: &mut Vec<Outcome>) {
        let configured = &self.policy.directories;
        let is_configured = |directory: &NameKey| {
            collector_of(directory.as_str()).is_some()
                || configured.iter().any(|(name, _)| name.key() == *directory)
        };
        let readings = self.objects.readings.keys();
        let lost: Vec<NameKey> = readings.filter(|d| !is_configured(d)).cloned().collect();
        for directory in lost {
            self.remove_directory((&directory, Leaves::WithDirectory), now, outcomes);
        }
    }

    /// Builds the domains' names again; sessions of domains that were removed end, and names that turned out to mean
    /// one domain become one.
    pub(super) fn rebuild_domains(&mut self, now: UtcMillis, outcomes: &mut Vec<Outcome>) {
        self.rename_domains(true, now, outcomes);
    }

    /// The same, but whether sessions of domains that nobody knows any more end is the caller's to say.
    pub(super) fn rename_domains(
        &mut self,
        ends_sessions: bool,
        now: UtcMillis,
        outcomes: &mut Vec<Outcome>,
    ) {
        let rebuilt = self.domains.rebuild(&self.policy);
        self.rewrite_groups(&rebuilt.rewritten);
        let source = self.own_name.clone();
        for domain in rebuilt.lost.iter().filter(|_| ends_sessions) {
            for id in self.subjects.arena.ids() {
                // Forgetting one user may have let go of another.
                if !self.subjects.arena.contains(id) {
                    continue;
                }
                let subject = &self.subjects.arena[id];
                if subject.domain == *domain && subject.kind == SubjectKind::User {
                    let end = End {
                        reason: EndReason::Directory,
                        source: &source,
                    };
                    self.forget_subject(id, end, now, outcomes);
                }
            }
        }
        for (from, into) in &rebuilt.merged {
            self.rehome((*from, *into), now, outcomes);
        }
        for domain in rebuilt.lost {
            if self.domains.arena.contains(domain) {
                self.domains.drop_unused(domain);
            }
        }
    }

    /// Everybody of a domain that turned out to be another name of `into` is of that domain.
    fn rehome(
        &mut self,
        (from, into): (Id<Domain>, Id<Domain>),
        now: UtcMillis,
        outcomes: &mut Vec<Outcome>,
    ) {
        for id in self.subjects.arena.ids() {
            if !self.subjects.arena.contains(id) || self.subjects.arena[id].domain != from {
                continue;
            }
            let subject = &self.subjects.arena[id];
            let key = NameKey::fold(&subject.name);
            if let Some(other) = self.subjects.find(subject.kind, into, key) {
                self.subjects.arena[id].gone = false;
                self.merge_subject(id, other, now);
                if self.subjects.arena.contains(other) && self.subjects.arena[other].gone {
                    let reason = EndReason::Directory;
                    let source = &*self.own_name.clone();
                    self.forget_subject(other, End { reason, source }, now, outcomes);
                }
            } else {
                let name = subject.name.clone();
                self.domains.take(into);
                self.subjects.rename(id, into, &name);
                self.domains.release(from);
                self.touch_subject(id, now);
                self.feed_subject(id);
            }
        }
        for id in self.objects.arena.ids() {
            if self.objects.arena[id].domain == from {
                self.domains.take(into);
                self.objects.arena[id].domain = into;
                self.domains.release(from);
            }
        }
        self.rewrite_groups(&BTreeSet::from([into]));
        if self.domains.arena.contains(from) {
            self.domains.drop_unused(from);
        }
    }

    /// Groups of these domains are written otherwise for users of others. Whoever reports them looks at all users after
    /// this.
    fn rewrite_groups(&mut self, domains: &BTreeSet<Id<Domain>>) {
        if domains.is_empty() {
            return;
        }
        for id in self.objects.arena.ids() {
            let object = self.objects.arena.quietly(id);
            if domains.contains(&object.domain) {
                let domain = &self.domains.arena[object.domain];
                object.foreign = foreign_name(&domain.name, &object.is);
            }
        }
    }

    fn refilter_addresses(&mut self, then: &Policy, now: UtcMillis, outcomes: &mut Vec<Outcome>) {
        let times = |policy: &Policy| (policy.logoff_time, policy.grace);
        let reschedules = times(then) != times(&self.policy);
        if reschedules {
            // Every place is looked at here.
            self.deadlines.review = None;
        }
        let source = self.own_name.clone();
        for id in self.table.arena.ids() {
            let entry = &self.table.arena[id];
            let address = entry.address;
            if self.policy.filter.leaves_out(address) {
                for kind in [SubjectKind::User, SubjectKind::Device] {
                    let end = End {
                        reason: EndReason::Filter,
                        source: &source,
                    };
                    self.close(id, kind, end, now, outcomes);
                }
                continue;
            }
            let shared = self.policy.shared_addresses.contains(address);
            if entry.user().hold().is_some() && entry.reports_user == shared {
                self.touch(id, now);
            }
            if reschedules {
                self.schedule(id, SubjectKind::User);
                self.schedule(id, SubjectKind::Device);
            }
        }
    }

    /// Looks at everybody again: who is left out now, and whose groups are shown otherwise.
    pub(super) fn refilter_subjects(&mut self, now: UtcMillis, outcomes: &mut Vec<Outcome>) {
        let source = self.own_name.clone();
        for id in self.subjects.arena.ids() {
            if !self.subjects.arena.contains(id) {
                continue;
            }
            let excluded = self.is_excluded(id);
            self.subjects.arena.quietly(id).excluded = excluded;
            if excluded {
                let end = End {
                    reason: EndReason::Filter,
                    source: &source,
                };
                self.forget_subject(id, end, now, outcomes);
            } else if self.subjects.arena[id].sessions > 0 && self.refresh_groups(id) {
                self.touch_subject(id, now);
            }
        }
    }
}
