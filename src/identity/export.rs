//! To [`State`] and back.

use std::collections::BTreeMap;
use std::sync::Arc;

use compact_str::CompactString;

use super::arena::Id;
use super::conflict::{self, FactKind};
use super::core::Core;
use super::deadline::Clock;
use super::feed::Feed;
use super::journal::Journal;
use super::name::{Name, NameKey};
use super::objects::{Object, foreign_name};
use super::outcome::Outcome;
use super::policy::Policy;
use super::session::{Extra, Fact, MAX_FACTS_OF_ALL, Slot};
use super::state::{
    AddressState, Contradiction, FactState, ObjectState, ReadingState, SlotState, State,
    SubjectState,
};
use super::subject::{Subject, SubjectKind};
use super::table::{Entry, TOMBSTONE};
use super::time::UtcMillis;
use super::view::{Epoch, Seq};

/// Places in the vectors of a [`State`] by id.
struct Places {
    subjects: BTreeMap<Id<Subject>, u32>,
    objects: BTreeMap<Id<Object>, u32>,
}

impl Core {
    /// The core as plain data.
    #[must_use]
    pub fn export(&self) -> State {
        let places = Places {
            subjects: (self.subjects.arena.iter().map(|(id, _)| id))
                .zip(0..)
                .collect(),
            objects: (self.objects.arena.iter().map(|(id, _)| id))
                .zip(0..)
                .collect(),
        };
        let domain = |id| CompactString::new(&self.domains.arena[id].name);
        State {
            epoch: self.epoch,
            last_seq: self.journal.last(),
            floor: self.journal.floor(),
            now: self.clock.now(),
            marks: self.journal.marks().collect(),
            domain_facts: (self.domains.facts.iter())
                .map(|(domain, facts)| (domain.as_str().into(), facts.clone()))
                .collect(),
            producers: (self.producers.names().iter())
                .map(|name| CompactString::new(name))
                .collect(),
            subjects: (self.subjects.arena.iter())
                .map(|(_, subject)| SubjectState {
                    kind: subject.kind,
                    domain: domain(subject.domain),
                    name: subject.name.clone(),
                    object: subject
                        .object
                        .and_then(|id| places.objects.get(&id).copied()),
                    gone: subject.gone,
                    by_upn: subject.by_upn,
                })
                .collect(),
            objects: (self.objects.arena.iter())
                .map(|(_, object)| ObjectState {
                    is: object.is.clone(),
                    directory: object.directory.as_str().into(),
                    domain: domain(object.domain),
                    subject: object
                        .subject
                        .and_then(|id| places.subjects.get(&id).copied()),
                    told: object.told,
                })
                .collect(),
            readings: (self.objects.readings.iter())
                .map(|(directory, reading)| ReadingState {
                    directory: directory.as_str().into(),
                    held: reading.held.iter().copied().collect(),
                })
                .collect(),
            addresses: (self.table.arena.iter())
                .map(|(_, entry)| export_entry(entry, &places))
                .collect(),
            bookmarks: (self.bookmarks.iter())
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
            collectors: (self.producers.tellers().iter())
                .map(|teller| (CompactString::new(&teller.name), teller.disconnected_since))
                .collect(),
            told_domains: (self.domains.told.iter())
                .map(|(directory, domain)| (directory.as_str().into(), domain.as_str().into()))
                .collect(),
            feed: self.feed.export(),
        }
    }

    /// The core that was exported, under a policy that may have changed meanwhile: what it no longer allows ends at
    /// `now`, as at a reload. A gap since the export counts as a jump of the clock. `epoch` is the exported one only
    /// if nothing was lost since.
    ///
    /// # Errors
    /// [`Contradiction`] if no core can have exported this.
    pub fn restore(
        state: State,
        epoch: Epoch,
        policy: Policy,
        now: UtcMillis,
        outcomes: &mut Vec<Outcome>,
    ) -> Result<Self, Contradiction> {
        let mut core = Self::new(epoch, Policy::default());
        // The policy of then is not saved: directories and domains that are still configured are those it had.
        core.policy.logoff_time = policy.logoff_time;
        core.policy.directories = policy.directories.clone();
        core.policy.domains = policy.domains.clone();
        core.policy.shared_addresses = policy.shared_addresses.clone();
        core.policy.probe_networks = policy.probe_networks.clone();
        core.policy.grace = policy.grace;
        core.policy.history = policy.history;
        core.policy.filter.exclude_groups = policy.filter.exclude_groups.clone();
        core.clock = Clock::at(state.now);
        core.journal = Journal::restore(state.last_seq, state.floor, state.marks);
        core.domains.facts = (state.domain_facts.into_iter())
            .map(|(domain, facts)| (NameKey::fold(&domain), facts))
            .collect();
        core.domains.told = (state.told_domains.iter())
            .filter_map(|(directory, domain)| {
                Some((NameKey::fold(directory), Name::new(domain).ok()?))
            })
            .collect();
        core.domains.rebuild(&core.policy);
        core.policy.feed = state.feed.is_some();
        core.feed = state.feed.map(Feed::restore).unwrap_or_default();
        core.bookmarks = state.bookmarks.into_iter().collect();
        for name in &state.producers {
            core.producers.number(&Arc::from(name.as_str()));
        }
        for (collector, disconnected_since) in &state.collectors {
            // Nobody was heard while nobody listened.
            let since = disconnected_since.or(state.now).unwrap_or(now);
            let collector = Arc::from(collector.as_str());
            core.producers.set_standing(&collector, Some(since));
        }
        let subjects = core.restore_subjects(&state.subjects);
        core.restore_objects(state.objects, &state.subjects, &subjects)?;
        for reading in state.readings {
            let reading_of = NameKey::fold(&reading.directory);
            let kept = core.objects.readings.entry(reading_of).or_default();
            kept.held = reading.held.into_iter().collect();
        }
        for address in state.addresses {
            core.restore_address(address, &subjects, state.producers.len())?;
        }
        let now = core.clock.pass(now);
        core.end_unconfigured(now, outcomes);
        core.obey(policy, now, outcomes);
        Ok(core)
    }

    fn restore_subjects(&mut self, states: &[SubjectState]) -> Vec<Id<Subject>> {
        let mut ids = Vec::with_capacity(states.len());
        for state in states {
            let domain = self.domains.resolve(&state.domain);
            self.domains.take(domain);
            let mut subject = Subject::new(state.kind, domain, &state.name);
            subject.gone = state.gone;
            subject.by_upn = state.by_upn;
            ids.push(self.subjects.insert(subject));
        }
        ids
    }

    fn restore_objects(
        &mut self,
        states: Vec<ObjectState>,
        owners: &[SubjectState],
        subjects: &[Id<Subject>],
    ) -> Result<(), Contradiction> {
        for (place, state) in (0u32..).zip(states) {
            let subject = match state.subject {
                None => None,
                Some(subject) => Some(*subjects.get(subject as usize).ok_or(Contradiction {
                    what: "an object of nobody",
                })?),
            };
            if self.objects.find(&state.is.id).is_some() {
                return Err(Contradiction {
                    what: "an object occurs twice",
                });
            }
            let domain = self.domains.resolve(&state.domain);
            self.domains.take(domain);
            let foreign = foreign_name(&self.domains.arena[domain].name, &state.is);
            let id = self.objects.insert(Object {
                is: state.is,
                directory: NameKey::fold(&state.directory),
                domain,
                subject,
                foreign,
                seen: 0,
                told: state.told,
            });
            self.feed.restore_object(state.told, id);
            let owner = state
                .subject
                .and_then(|subject| owners.get(subject as usize));
            if let Some(subject) = subject
                && owner.and_then(|owner| owner.object) == Some(place)
            {
                self.subjects.arena[subject].object = Some(id);
            }
        }
        Ok(())
    }

    fn restore_address(
        &mut self,
        state: AddressState,
        subjects: &[Id<Subject>],
        producers: usize,
    ) -> Result<(), Contradiction> {
        if self.table.find(state.address).is_some() {
            return Err(Contradiction {
                what: "an address occurs twice",
            });
        }
        if state.changed > self.journal.last() {
            return Err(Contradiction {
                what: "a change after the last one",
            });
        }
        let mut entry = Entry::new(state.address);
        entry.changed = state.changed;
        entry.told = state.told;
        entry.empty_since = state.empty_since;
        entry.reports_user = state.reports_user;
        entry.user_ended_at = state.user_ended_at;
        entry.last_ended = state.last_ended.map(Box::new);
        entry.user = restore_slot(state.user, subjects, producers)?;
        entry.device = restore_slot(state.device, subjects, producers)?;
        if entry.has_session() == entry.empty_since.is_some() {
            return Err(Contradiction {
                what: "an address that ended and has a session",
            });
        }
        if let Some(since) = state.doubted_since {
            if entry.user.hold().is_none() {
                return Err(Contradiction {
                    what: "a doubt about nobody",
                });
            }
            entry.doubted_since = Some(since);
            self.deadlines.doubts.insert((since, entry.address));
        }
        let id = self.table.insert(entry);
        self.feed.restore_address(state.told, id);
        self.index_address(id);
        Ok(())
    }

    /// Puts a restored address into everything that refers to it.
    fn index_address(&mut self, id: Id<Entry>) {
        let entry = &self.table.arena[id];
        let (changed, empty_since) = (entry.changed, entry.empty_since);
        let holders = [entry.user.subject(), entry.device.subject()];
        let facts = entry.user.facts().iter().chain(entry.device.facts());
        for subject in facts.filter_map(|fact| fact.subject) {
            self.subjects.arena[subject].places.insert(id);
        }
        if changed > Seq(0) {
            self.journal.restore_key(changed, id);
            self.tombstones += usize::from(empty_since.is_some());
        }
        if let Some(since) = empty_since {
            let ends = since.after(TOMBSTONE);
            self.deadlines.tombstones.insert((ends, id));
        }
        for (kind, holder) in [SubjectKind::User, SubjectKind::Device]
            .into_iter()
            .zip(holders)
        {
            self.moved(kind, None, holder);
            self.schedule(id, kind);
        }
    }
}

fn export_entry(entry: &Entry, places: &Places) -> AddressState {
    AddressState {
        address: entry.address,
        changed: entry.changed,
        told: entry.told,
        empty_since: entry.empty_since,
        reports_user: entry.reports_user,
        user_ended_at: entry.user_ended_at,
        doubted_since: entry.doubted_since,
        last_ended: entry.last_ended.as_deref().cloned(),
        user: export_slot(&entry.user, places),
        device: export_slot(&entry.device, places),
    }
}

fn export_slot(slot: &Slot, places: &Places) -> SlotState {
    let export_fact = |fact: &Fact| {
        let extra = fact.extra.as_deref();
        let groups = extra.and_then(|extra| extra.groups.as_ref());
        FactState {
            kind: fact.kind,
            at: fact.at,
            received_at: fact.received_at,
            record: fact.record.clone(),
            producer: fact.producer,
            subject: fact
                .subject
                .and_then(|id| places.subjects.get(&id).copied()),
            groups: groups.map(|(at, groups)| (*at, groups.to_vec())),
            logon: extra.and_then(|extra| extra.logon.clone()),
        }
    };
    SlotState {
        since: slot.hold().map(|hold| hold.since),
        facts: slot.facts().iter().map(export_fact).collect(),
    }
}

fn restore_slot(
    state: SlotState,
    subjects: &[Id<Subject>],
    producers: usize,
) -> Result<Slot, Contradiction> {
    let mut facts = Vec::with_capacity(state.facts.len().min(MAX_FACTS_OF_ALL));
    if state.facts.len() > MAX_FACTS_OF_ALL {
        return Err(Contradiction {
            what: "too many facts",
        });
    }
    for fact in state.facts {
        let anonymous = matches!(fact.kind, FactKind::AllLeft | FactKind::Closed);
        let subject = fact.subject.and_then(|place| subjects.get(place as usize));
        if anonymous == subject.is_some() || usize::from(fact.producer) >= producers {
            return Err(Contradiction {
                what: "a fact about nobody, or by nobody",
            });
        }
        let extra = (fact.groups.is_some() || fact.logon.is_some()).then(|| {
            let groups = fact
                .groups
                .map(|(at, groups)| (at, groups.into_boxed_slice()));
            let logon = fact.logon;
            Box::new(Extra { groups, logon })
        });
        facts.push(Fact {
            at: fact.at,
            received_at: fact.received_at,
            record: fact.record,
            subject: subject.copied(),
            producer: fact.producer,
            kind: fact.kind,
            extra,
        });
    }
    if !facts.is_sorted_by_key(|fact| (fact.at, conflict::rank(fact.kind))) {
        return Err(Contradiction {
            what: "facts out of order",
        });
    }
    Ok(Slot::restore(facts, state.since))
}
