//! To [`State`] and back.

use std::sync::Arc;

use compact_str::CompactString;

use super::arena::{Arena, Id};
use super::core::Core;
use super::deadline::Clock;
use super::domain::Domains;
use super::feed::Feed;
use super::heard::Lines;
use super::journal::Journal;
use super::name::{Name, NameKey};
use super::objects::{Object, foreign_name};
use super::outcome::Outcome;
use super::policy::{Filter, Policy};
use super::restore::both;
use super::session::{Fact, Slot};
use super::spans::Spans;
use super::state::{
    AddressState, Contradiction, FactState, MAX_PLACE, ObjectState, ReadingState, SlotState, State,
    SubjectState,
};
use super::subject::Subject;
use super::table::{Entry, Table};
use super::time::UtcMillis;
use super::view::Epoch;

impl Core {
    /// The core as plain data, in one piece. What is kept on disk follows [`Core::take_changes`] instead.
    #[must_use]
    pub fn export(&self) -> State {
        self.assert_whole();
        let (instant, site) = (self.instant(), self.site());
        let subjects = self.subjects.arena.iter();
        let objects = self.objects.arena.iter();
        let addresses = self.table.arena.iter();
        State {
            epoch: instant.epoch,
            last_seq: instant.last_seq,
            floor: instant.floor,
            now: instant.now,
            jumped_to: instant.jumped_to,
            marks: self.journal.marks().collect(),
            domain_facts: site.domain_facts,
            producers: site.producers,
            subjects: subjects
                .map(|(id, is)| (id.number(), subject(&self.domains, is)))
                .collect(),
            objects: objects
                .map(|(id, is)| (id.number(), object(&self.domains, is)))
                .collect(),
            readings: site.readings,
            addresses: addresses.map(|(id, is)| (id.number(), entry(is))).collect(),
            bookmarks: (self.bookmarks.iter())
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect(),
            collectors: site.collectors,
            told_domains: site.told_domains,
            lines: self.heard.export(instant.now),
            feed: self.feed.export(),
        }
    }

    /// The core that was exported, as if nothing had happened since: the same table with the same epoch, sequences, time
    /// and Collectors' standing. Whatever is applied from here on does exactly what it would have done to the core that
    /// was exported. `policy` is the one that was in force then; it is not part of [`State`].
    ///
    /// # Errors
    /// [`Contradiction`] if no core can have exported this.
    pub fn resume(state: State, policy: Policy) -> Result<Self, Contradiction> {
        check_places(state.subjects.iter().map(|(place, _)| *place))?;
        check_places(state.objects.iter().map(|(place, _)| *place))?;
        check_places(state.addresses.iter().map(|(place, _)| *place))?;
        let mut core = Self::new(state.epoch, policy);
        core.clock = Clock::at(state.now, state.jumped_to);
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
        core.feed = Feed::restore(state.feed);
        core.bookmarks = state.bookmarks.into_iter().collect();
        core.heard = Lines::restore(state.lines)?;
        // Before their producers: Collectors keep their order.
        for (collector, disconnected_since) in &state.collectors {
            let collector = Arc::from(collector.as_str());
            core.producers.set_standing(&collector, *disconnected_since);
        }
        for name in &state.producers {
            core.producers.number(&Arc::from(name.as_str()));
        }
        let places = state.addresses.last();
        let places = places.map_or(0, |(last, _)| *last as usize + 1);
        let index = || Table::index(&state.addresses);
        let (index, room) = both(index, || {
            core.restore_subjects(&state.subjects);
            core.restore_objects(state.objects, &state.subjects)?;
            Ok(Arena::with_room(places))
        });
        core.restore_readings(state.readings);
        core.restore_addresses(Table::restore(room?, index?), state.addresses)?;
        for id in core.subjects.arena.ids() {
            core.subjects.arena.quietly(id).excluded = core.is_excluded(id);
        }
        Ok(core)
    }

    /// The core that was exported, in a process that starts, under a policy that may have changed meanwhile: what it no
    /// longer allows ends at `now`, as at a reload. A gap since the export counts as a jump of the clock, no Collector was
    /// heard since, and full reads of directories begin again. `epoch` is the exported one only if nothing was lost since.
    ///
    /// # Errors
    /// [`Contradiction`] if no core can have exported this.
    pub fn restore(
        mut state: State,
        epoch: Epoch,
        policy: Policy,
        now: UtcMillis,
        outcomes: &mut Vec<Outcome>,
    ) -> Result<Self, Contradiction> {
        state.epoch = epoch;
        let stood_at = state.now.unwrap_or(now);
        for (_, disconnected_since) in &mut state.collectors {
            disconnected_since.get_or_insert(stood_at);
        }
        for reading in &mut state.readings {
            reading.under_way = None;
        }
        let then = policy_of_then(&policy, state.feed.on);
        let mut core = Self::resume(state, then)?;
        let now = core.clock.pass(now);
        core.end_unconfigured(now, outcomes);
        core.obey(policy, now, outcomes);
        Ok(core)
    }

    fn restore_readings(&mut self, states: Vec<ReadingState>) {
        for state in states {
            let directory = NameKey::fold(&state.directory);
            let reading = self.objects.readings.entry(directory).or_default();
            reading.held = state.held.into_iter().collect();
            reading.under_way = state.under_way.map(Spans::restore);
        }
    }

    fn restore_subjects(&mut self, states: &[(u32, SubjectState)]) {
        self.subjects.reserve(states.len());
        for (place, state) in states {
            let domain = self.domains.resolve(&state.domain);
            self.domains.take(domain);
            let mut subject = Subject::new(state.kind, domain, &state.name);
            subject.gone = state.gone;
            subject.by_upn = state.by_upn;
            self.subjects.restore(*place, subject);
        }
    }

    fn restore_objects(
        &mut self,
        states: Vec<(u32, ObjectState)>,
        owners: &[(u32, SubjectState)],
    ) -> Result<(), Contradiction> {
        for (place, state) in states {
            let subject = match state.subject {
                None => None,
                Some(subject) => {
                    let of_nobody = Contradiction {
                        what: "an object of nobody",
                    };
                    Some(self.subjects.arena.at(subject).ok_or(of_nobody)?)
                }
            };
            if self.objects.find(&state.is.id).is_some() {
                return Err(Contradiction {
                    what: "an object occurs twice",
                });
            }
            let domain = self.domains.resolve(&state.domain);
            self.domains.take(domain);
            let foreign = foreign_name(&self.domains.arena[domain].name, &state.is);
            let object = Object {
                is: state.is,
                directory: NameKey::fold(&state.directory),
                domain,
                subject,
                foreign,
                told: state.told,
            };
            let id = self.objects.restore(place, object);
            self.feed.restore_object(state.told, id);
            let owns = |subject: Id<Subject>| {
                let at = owners.binary_search_by_key(&subject.number(), |owner| owner.0);
                let owner = at.ok().and_then(|at| owners.get(at));
                owner.and_then(|(_, owner)| owner.object) == Some(place)
            };
            if let Some(subject) = subject
                && owns(subject)
            {
                self.subjects.arena.quietly(subject).object = Some(id);
            }
        }
        Ok(())
    }
}

/// What a restart takes for the policy of then, which is not saved: directories and domains that are still configured are
/// those it had, and nobody was left out.
fn policy_of_then(policy: &Policy, feed: bool) -> Policy {
    Policy {
        logoff_time: policy.logoff_time,
        directories: policy.directories.clone(),
        domains: policy.domains.clone(),
        shared_addresses: policy.shared_addresses.clone(),
        probe_networks: policy.probe_networks.clone(),
        grace: policy.grace,
        history: policy.history,
        feed,
        filter: Filter {
            exclude_groups: policy.filter.exclude_groups.clone(),
            ..Filter::default()
        },
        ..Policy::default()
    }
}

/// A user or device as plain data.
pub(super) fn subject(domains: &Domains, subject: &Subject) -> SubjectState {
    SubjectState {
        kind: subject.kind,
        domain: CompactString::new(&domains.arena[subject.domain].name),
        name: subject.name.clone(),
        object: subject.object.map(Id::number),
        gone: subject.gone,
        by_upn: subject.by_upn,
    }
}

/// A directory object as plain data.
pub(super) fn object(domains: &Domains, object: &Object) -> ObjectState {
    ObjectState {
        is: object.is.clone(),
        directory: object.directory.as_str().into(),
        domain: CompactString::new(&domains.arena[object.domain].name),
        subject: object.subject.map(Id::number),
        told: object.told,
    }
}

/// An address as plain data.
pub(super) fn entry(entry: &Entry) -> AddressState {
    AddressState {
        address: entry.address,
        changed: entry.changed,
        told: entry.told,
        empty_since: entry.empty_since(),
        reports_user: entry.reports_user,
        user_ended_at: entry.passing().user_ended_at,
        doubted_since: entry.doubted_since(),
        last_ended: entry.last_ended.clone(),
        user: slot(entry.user()),
        device: slot(entry.device()),
    }
}

fn slot(slot: &Slot) -> SlotState {
    SlotState {
        since: slot.hold().map(|hold| hold.since),
        facts: slot.facts().iter().map(fact).collect(),
    }
}

fn fact(fact: &Fact) -> FactState {
    FactState {
        kind: fact.kind,
        at: fact.at,
        received_at: fact.received_at,
        record: fact.record.clone(),
        producer: fact.producer,
        subject: fact.subject.map(Id::number),
        extra: fact.extra.clone().filter(|extra| !extra.is_empty()),
    }
}

/// Places rise, and a wrong one must not make an arena of all memory.
fn check_places(places: impl Iterator<Item = u32> + Clone) -> Result<(), Contradiction> {
    let rise = places.clone().is_sorted_by(|a, b| a < b);
    if !rise || places.last().is_some_and(|last| last > MAX_PLACE) {
        return Err(Contradiction {
            what: "places that no table has",
        });
    }
    Ok(())
}
