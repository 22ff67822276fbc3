//! To [`State`] and back.

use std::net::IpAddr;
use std::sync::{Arc, mpsc};
use std::thread;
use std::vec::IntoIter;

use compact_str::CompactString;
use parking_lot::Mutex;

use super::arena::{Id, Taken};
use super::conflict::{self, FactKind};
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
use super::session::{Extra, Fact, MAX_FACTS_OF_ALL, Slot};
use super::spans::Spans;
use super::state::{
    AddressState, Contradiction, FactState, MAX_PLACE, ObjectState, ReadingState, SlotState, State,
    SubjectState,
};
use super::subject::{Subject, SubjectKind};
use super::table::{Entry, TOMBSTONE};
use super::time::UtcMillis;
use super::view::{Epoch, Seq};

/// Entries that are made at once, so that threads meet rarely.
const PIECE: usize = 1024;

/// Pieces that may be made ahead.
const MADE_AHEAD: usize = 4;

/// A piece of the table.
type Made = Result<Vec<(u32, Entry)>, Contradiction>;

impl Core {
    /// The core as plain data, in one piece. What is kept on disk follows [`Core::take_changes`] instead.
    #[must_use]
    pub fn export(&self) -> State {
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
        core.restore_subjects(&state.subjects);
        core.restore_objects(state.objects, &state.subjects)?;
        core.restore_readings(state.readings);
        core.restore_addresses(state.addresses, state.producers.len())?;
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

    fn restore_addresses(
        &mut self,
        states: Vec<(u32, AddressState)>,
        producers: usize,
    ) -> Result<(), Contradiction> {
        self.table.reserve(states.len());
        let mut orders = Orders::default();
        let making = Making {
            subjects: self.subjects.arena.taken(),
            producers,
            last: self.journal.last(),
        };
        // One thread makes entries and this one puts them in their places: of a million sessions a third of the time.
        let states = Mutex::new(states.into_iter());
        thread::scope(|scope| {
            let (to, made) = mpsc::sync_channel(MADE_AHEAD);
            let maker = thread::Builder::new().name("making the table".to_owned());
            let pieces = || std::iter::from_fn(|| making.next(&states));
            // An error says that what came before contradicts itself.
            let make = move || drop(pieces().try_for_each(|piece| to.send(piece)));
            // Without another thread all pieces are left for this one.
            let _started = maker.spawn_scoped(scope, make);
            for piece in made.into_iter().chain(pieces()) {
                for (place, entry) in piece? {
                    self.restore_address(place, entry, &mut orders)?;
                }
            }
            Ok(())
        })?;
        self.journal.restore_keys(orders.journal);
        self.feed.restore_addresses(orders.feed);
        self.deadlines.sessions = orders.sessions.into_iter().collect();
        self.deadlines.tombstones = orders.tombstones.into_iter().collect();
        self.deadlines.doubts = orders.doubts.into_iter().collect();
        Ok(())
    }

    fn restore_address(
        &mut self,
        place: u32,
        entry: Entry,
        orders: &mut Orders,
    ) -> Result<(), Contradiction> {
        if self.table.find(entry.address).is_some() {
            return Err(Contradiction {
                what: "an address occurs twice",
            });
        }
        let (address, told, doubted_since) = (entry.address, entry.told, entry.doubted_since);
        let id = self.table.restore(place, entry);
        let doubt = doubted_since.map(|since| (since, address));
        orders.doubts.extend(doubt);
        if told > Seq(0) {
            orders.feed.push((told, id));
        }
        self.index_address(id, orders);
        Ok(())
    }

    /// Puts a restored address into everything that refers to it.
    fn index_address(&mut self, id: Id<Entry>, orders: &mut Orders) {
        let entry = &self.table.arena[id];
        let (changed, empty_since) = (entry.changed, entry.empty_since);
        let holders = [entry.user.subject(), entry.device.subject()];
        let facts = entry.user.facts().iter().chain(entry.device.facts());
        for subject in facts.filter_map(|fact| fact.subject) {
            self.subjects.arena.quietly(subject).places.insert(id);
        }
        if changed > Seq(0) {
            orders.journal.push((changed, id));
            self.tombstones += usize::from(empty_since.is_some());
        }
        if let Some(since) = empty_since {
            let ends = since.after(TOMBSTONE);
            orders.tombstones.push((ends, id));
        }
        for (kind, holder) in [SubjectKind::User, SubjectKind::Device]
            .into_iter()
            .zip(holders)
        {
            self.moved(kind, None, holder);
            let due = self.next_look(id, kind);
            *self.table.arena.quietly(id).due_mut(kind) = due;
            orders.sessions.extend(due.map(|due| (due, id, kind)));
        }
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

/// Where restored addresses stand in each order. A tree made of all keys at once costs a fraction of one that they are put
/// into one by one, in random order: at a million sessions a second less.
#[derive(Default)]
struct Orders {
    journal: Vec<(Seq, Id<Entry>)>,
    feed: Vec<(Seq, Id<Entry>)>,
    sessions: Vec<(UtcMillis, Id<Entry>, SubjectKind)>,
    tombstones: Vec<(UtcMillis, Id<Entry>)>,
    doubts: Vec<(UtcMillis, IpAddr)>,
}

/// What an entry is made of beside its state.
struct Making {
    /// Whom facts may speak of.
    subjects: Taken<Subject>,
    /// How many producers there are.
    producers: usize,
    /// The last change.
    last: Seq,
}

impl Making {
    /// Makes the next entries; `None`: there are no more.
    fn next(&self, states: &Mutex<IntoIter<(u32, AddressState)>>) -> Option<Made> {
        let piece: Vec<_> = states.lock().by_ref().take(PIECE).collect();
        let made = |(place, state)| Ok((place, self.entry(state)?));
        (!piece.is_empty()).then(|| piece.into_iter().map(made).collect())
    }

    fn entry(&self, state: AddressState) -> Result<Entry, Contradiction> {
        if state.changed > self.last {
            return Err(Contradiction {
                what: "a change after the last one",
            });
        }
        let entry = Entry {
            changed: state.changed,
            told: state.told,
            empty_since: state.empty_since,
            reports_user: state.reports_user,
            user_ended_at: state.user_ended_at,
            doubted_since: state.doubted_since,
            last_ended: state.last_ended,
            user: self.slot(state.user)?,
            device: self.slot(state.device)?,
            ..Entry::new(state.address)
        };
        if entry.has_session() == entry.empty_since.is_some() {
            return Err(Contradiction {
                what: "an address that ended and has a session",
            });
        }
        if entry.doubted_since.is_some() && entry.user.hold().is_none() {
            return Err(Contradiction {
                what: "a doubt about nobody",
            });
        }
        Ok(entry)
    }

    fn slot(&self, state: SlotState) -> Result<Slot, Contradiction> {
        let mut facts = Vec::with_capacity(state.facts.len().min(MAX_FACTS_OF_ALL));
        if state.facts.len() > MAX_FACTS_OF_ALL {
            return Err(Contradiction {
                what: "too many facts",
            });
        }
        for fact in state.facts {
            let anonymous = matches!(fact.kind, FactKind::AllLeft | FactKind::Closed);
            let subject = fact.subject.and_then(|place| self.subjects.at(place));
            if anonymous == subject.is_some() || usize::from(fact.producer) >= self.producers {
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
                subject,
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
        empty_since: entry.empty_since,
        reports_user: entry.reports_user,
        user_ended_at: entry.user_ended_at,
        doubted_since: entry.doubted_since,
        last_ended: entry.last_ended.clone(),
        user: slot(&entry.user),
        device: slot(&entry.device),
    }
}

fn slot(slot: &Slot) -> SlotState {
    SlotState {
        since: slot.hold().map(|hold| hold.since),
        facts: slot.facts().iter().map(fact).collect(),
    }
}

fn fact(fact: &Fact) -> FactState {
    let extra = fact.extra.as_deref();
    let groups = extra.and_then(|extra| extra.groups.as_ref());
    FactState {
        kind: fact.kind,
        at: fact.at,
        received_at: fact.received_at,
        record: fact.record.clone(),
        producer: fact.producer,
        subject: fact.subject.map(Id::number),
        groups: groups.map(|(at, groups)| (*at, groups.to_vec())),
        logon: extra.and_then(|extra| extra.logon.clone()),
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
