//! What this process's own producers and directories said, in order of last change: for those who are told everything.
//!
//! Beside the [`super::journal`], whose keys are what firewalls are told, this order has every address at its last *fact*
//! (a renewal among them, because it decides conflicts elsewhere), every object of our own directories, and what they
//! tell of their domains. What Collectors told is not in it: it is not passed on, so there are no circles. The order is
//! kept only while the policy wants it, and over a restart; positions mean something within an epoch of the core.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use compact_str::CompactString;

use super::address::canonical;
use super::arena::Id;
use super::collector::{AddressReport, FeedItem, ToldFact, ToldSubject};
use super::core::Core;
use super::directory::ObjectId;
use super::name::{Name, NameKey};
use super::objects::Object;
use super::producer::collector_of;
use super::session::{Fact, Slot};
use super::state::{FeedState, GoneState};
use super::table::Entry;
use super::view::Seq;

/// Most objects that are gone and still told of; the oldest go and raise the floor.
const MAX_GONE: usize = 100_000;

/// The order.
#[derive(Debug, Default)]
pub(super) struct Feed {
    on: bool,
    order: BTreeMap<Seq, Key>,
    last: Seq,
    floor: Seq,
    domains: BTreeMap<NameKey, Seq>,
    gone: VecDeque<Seq>,
    /// Those that came or went since they were last taken.
    new_gone: BTreeSet<Seq>,
}

/// What is told.
#[derive(Debug)]
enum Key {
    Address(Id<Entry>),
    Object(Id<Object>),
    /// Of a directory.
    Domain(NameKey),
    Gone(Box<Lost>),
}

/// An object that is gone.
#[derive(Debug)]
struct Lost {
    directory: NameKey,
    domain: String,
    id: ObjectId,
}

impl Feed {
    /// An order that goes on where an exported one stood, still without its addresses and objects.
    pub(super) fn restore(state: FeedState) -> Self {
        let mut feed = Self {
            on: state.on,
            last: state.last,
            floor: state.floor,
            ..Self::default()
        };
        for (directory, seq) in state.domains {
            let directory = NameKey::fold(&directory);
            feed.order.insert(seq, Key::Domain(directory.clone()));
            feed.domains.insert(directory, seq);
        }
        for lost in state.gone {
            feed.gone.push_back(lost.seq);
            let key = Lost {
                directory: NameKey::fold(&lost.directory),
                domain: lost.domain.into(),
                id: lost.id,
            };
            feed.order.insert(lost.seq, Key::Gone(Box::new(key)));
        }
        feed
    }

    /// Puts exported addresses back.
    pub(super) fn restore_addresses(&mut self, keys: Vec<(Seq, Id<Entry>)>) {
        if self.on {
            let keys = keys.into_iter();
            let mut addresses = keys
                .map(|(seq, entry)| (seq, Key::Address(entry)))
                .collect();
            self.order.append(&mut addresses);
        }
    }

    /// Puts an exported object back.
    pub(super) fn restore_object(&mut self, seq: Seq, object: Id<Object>) {
        if seq > Seq(0) && self.on {
            self.order.insert(seq, Key::Object(object));
        }
    }

    /// As plain data, without its addresses and objects, which know their places.
    pub(super) fn export(&self) -> FeedState {
        let gone = self.order.iter().filter_map(|(seq, key)| match key {
            Key::Gone(lost) => Some(lost.export(*seq)),
            Key::Address(_) | Key::Object(_) | Key::Domain(_) => None,
        });
        FeedState {
            on: self.on,
            last: self.last,
            floor: self.floor,
            domains: self.export_domains().unwrap_or_default(),
            gone: gone.collect(),
        }
    }

    /// Places of what directories tell of their domains; `None`: the order is not kept.
    pub(super) fn export_domains(&self) -> Option<Vec<(CompactString, Seq)>> {
        let domains = self.domains.iter();
        let domains = domains.map(|(name, seq)| (name.as_str().into(), *seq));
        self.on.then(|| domains.collect())
    }

    /// Objects that are gone since they were last taken; `None`: told of no more.
    pub(super) fn take_new_gone(&mut self) -> Vec<(Seq, Option<GoneState>)> {
        let new = std::mem::take(&mut self.new_gone).into_iter();
        let state = |seq| match self.order.get(&seq) {
            Some(Key::Gone(lost)) => Some(lost.export(seq)),
            Some(Key::Address(_) | Key::Object(_) | Key::Domain(_)) | None => None,
        };
        new.map(|seq| (seq, state(seq))).collect()
    }

    /// As if all of them were new.
    pub(super) fn note_all_gone(&mut self) {
        self.new_gone.extend(&self.gone);
    }

    /// Forgets a key: cursors before it have missed its end.
    pub(super) fn forget(&mut self, seq: Seq) {
        if self.order.remove(&seq).is_some() {
            self.floor = self.floor.max(seq);
        }
    }

    /// Moves a key to the end; `before` is where it stood.
    fn touch(&mut self, before: Seq, key: Key) -> Seq {
        self.order.remove(&before);
        self.last = Seq(self.last.0 + 1);
        self.order.insert(self.last, key);
        self.last
    }

    fn lose(&mut self, lost: Lost) {
        let seq = self.touch(Seq(0), Key::Gone(Box::new(lost)));
        self.gone.push_back(seq);
        self.new_gone.insert(seq);
        if self.gone.len() > MAX_GONE
            && let Some(oldest) = self.gone.pop_front()
        {
            self.forget(oldest);
            self.new_gone.insert(oldest);
        }
    }

    /// Whether what a directory tells of its domain is in it.
    pub(super) fn tells_of(&self, directory: &NameKey) -> bool {
        self.domains.contains_key(directory)
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether an address stands there; nowhere while the order is not kept.
    pub(super) fn has(&self, seq: Seq, entry: Id<Entry>) -> bool {
        let there = matches!(self.order.get(&seq), Some(Key::Address(id)) if *id == entry);
        there || !self.on || seq == Seq(0)
    }
}

impl Lost {
    fn export(&self, seq: Seq) -> GoneState {
        GoneState {
            seq,
            directory: self.directory.as_str().into(),
            domain: self.domain.as_str().into(),
            id: self.id,
        }
    }
}

impl Core {
    /// What changed after a position, in order of last change, each key in its latest state.
    pub fn feed_since(&self, cursor: Seq) -> impl Iterator<Item = (Seq, FeedItem<'_>)> {
        let after = Seq(cursor.0.saturating_add(1));
        let keys = self.feed.order.range(after..);
        keys.filter_map(|(seq, key)| Some((*seq, self.feed_item(key)?)))
    }

    /// The position of the last change.
    #[must_use]
    pub fn feed_last(&self) -> Seq {
        self.feed.last
    }

    /// Positions below this have missed something: whoever stands there begins at 0.
    #[must_use]
    pub fn feed_floor(&self) -> Seq {
        self.feed.floor
    }

    /// How many keys lie behind a position, at most.
    #[must_use]
    pub fn feed_behind(&self, cursor: Seq) -> u64 {
        let all = self.feed.last.0.saturating_sub(cursor.0);
        all.min(self.feed.len() as u64)
    }

    /// Where an address stands in this order; 0: nowhere.
    #[must_use]
    pub fn feed_place(&self, address: IpAddr) -> Seq {
        let entry = self.table.find(canonical(address));
        entry.map_or(Seq(0), |entry| self.table.arena[entry].told)
    }

    fn feed_item<'a>(&'a self, key: &'a Key) -> Option<FeedItem<'a>> {
        Some(match key {
            Key::Address(id) => {
                let entry = &self.table.arena[*id];
                FeedItem::Address(AddressReport {
                    address: entry.address,
                    user: self.own_facts(entry.user()),
                    device: self.own_facts(entry.device()),
                })
            }
            Key::Object(id) => {
                let object = &self.objects.arena[*id];
                FeedItem::Object {
                    directory: object.directory.as_str(),
                    domain: &self.domains.arena[object.domain].name,
                    is: &object.is,
                }
            }
            Key::Domain(directory) => {
                let of = |(name, _): &&(Name, Name)| name.key() == *directory;
                let (_, domain) = self.policy.directories.iter().find(of)?;
                FeedItem::Domain {
                    directory: directory.as_str(),
                    domain: domain.as_str(),
                    facts: self.domains.facts.get(&domain.key())?,
                }
            }
            Key::Gone(lost) => FeedItem::Gone {
                directory: lost.directory.as_str(),
                domain: &lost.domain,
                id: lost.id,
            },
        })
    }

    fn own_facts(&self, slot: &Slot) -> Vec<ToldFact> {
        let own = slot.facts().iter();
        let own = own.filter(|fact| self.producers.is_own(fact.producer));
        own.filter_map(|fact| self.told_fact(fact)).collect()
    }

    fn told_fact(&self, fact: &Fact) -> Option<ToldFact> {
        let subject = match fact.subject {
            None => None,
            Some(id) => {
                let subject = &self.subjects.arena[id];
                Some(ToldSubject {
                    name: Name::new(&subject.name).ok()?,
                    domain: Name::new(&self.domains.arena[subject.domain].name).ok()?,
                    by_upn: subject.by_upn,
                })
            }
        };
        let groups = fact.extra.as_ref().and_then(|extra| extra.groups.as_ref());
        let names = |names: &[compact_str::CompactString]| {
            names
                .iter()
                .filter_map(|name| Name::new(name).ok())
                .collect()
        };
        Some(ToldFact {
            kind: fact.kind,
            at: fact.at,
            received_at: fact.received_at,
            subject,
            producer: self.producers.name(fact.producer).as_ref().into(),
            record: fact.record.clone(),
            groups: groups.map(|(at, groups)| (*at, names(groups))),
        })
    }

    /// What we know of an address changed.
    pub(super) fn feed_address(&mut self, id: Id<Entry>) {
        if self.feed.on && self.table.arena.contains(id) {
            let entry = &mut self.table.arena[id];
            entry.told = self.feed.touch(entry.told, Key::Address(id));
        }
    }

    /// Somebody has another name wherever he occurs.
    pub(super) fn feed_subject(&mut self, id: Id<super::subject::Subject>) {
        if self.feed.on {
            for place in self.subjects.arena[id].places.to_vec() {
                self.feed_address(place);
            }
        }
    }

    /// An object of a directory is new or changed.
    pub(super) fn feed_object(&mut self, id: Id<Object>) {
        let object = &mut self.objects.arena[id];
        if self.feed.on && collector_of(object.directory.as_str()).is_none() {
            object.told = self.feed.touch(object.told, Key::Object(id));
        }
    }

    /// A directory has lost an object, which is taken out already.
    pub(super) fn feed_lost(&mut self, object: &Object) {
        self.feed.order.remove(&object.told);
        if self.feed.on && collector_of(object.directory.as_str()).is_none() {
            let domain = &self.domains.arena[object.domain];
            self.feed.lose(Lost {
                directory: object.directory.clone(),
                domain: domain.name.to_string(),
                id: object.is.id,
            });
        }
    }

    /// A directory tells something else of its domain.
    pub(super) fn feed_domain(&mut self, directory: &NameKey) {
        if self.feed.on && collector_of(directory.as_str()).is_none() {
            let before = self.feed.domains.get(directory).copied();
            let key = Key::Domain(directory.clone());
            let seq = self.feed.touch(before.unwrap_or_default(), key);
            self.feed.domains.insert(directory.clone(), seq);
        }
    }

    /// A directory is configured no more. Nothing tells of its end, so whoever heard of it begins at 0.
    pub(super) fn feed_without(&mut self, directory: &NameKey) {
        if let Some(seq) = self.feed.domains.remove(directory) {
            self.feed.order.remove(&seq);
            self.feed.last = Seq(self.feed.last.0 + 1);
            self.feed.floor = self.feed.last;
        }
    }

    /// Begins or ends the order as the policy wants it. Whatever stood in an earlier one is behind its floor.
    pub(super) fn keep_feed(&mut self) {
        if self.policy.feed == self.feed.on {
            return;
        }
        self.feed = Feed {
            on: self.policy.feed,
            last: self.feed.last,
            floor: self.feed.last,
            // They go.
            new_gone: self.feed.gone.drain(..).collect(),
            ..Feed::default()
        };
        for id in self.table.arena.ids() {
            self.table.arena[id].told = Seq(0);
            let entry = &self.table.arena[id];
            let mut facts = entry.user().facts().iter().chain(entry.device().facts());
            if facts.any(|fact| self.producers.is_own(fact.producer)) {
                self.feed_address(id);
            }
        }
        for id in self.objects.arena.ids() {
            self.objects.arena[id].told = Seq(0);
            self.feed_object(id);
        }
        let directories = self.policy.directories.iter();
        let told = directories.filter(|(_, domain)| self.domains.facts.contains_key(&domain.key()));
        let told: Vec<NameKey> = told.map(|(directory, _)| directory.key()).collect();
        for directory in told {
            self.feed_domain(&directory);
        }
    }
}
