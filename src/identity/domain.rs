//! Which domain a qualifier means: DNS names, NetBIOS names, aliases, UPN suffixes, and names nobody configured.
//!
//! Known domains come from the policy and from directories; any other qualifier is a domain of its own for as long as
//! something is of it. Where one name is claimed twice, a DNS name goes before a NetBIOS name or alias of the
//! configuration, that before what directories tell, and the first configured before later ones.

use std::collections::{BTreeMap, BTreeSet};

use compact_str::CompactString;

use super::arena::{Arena, Id};
use super::directory::DomainFacts;
use super::map::Map;
use super::name::{Name, NameKey};
use super::policy::Policy;

/// A domain.
#[derive(Debug)]
pub(super) struct Domain {
    /// DNS name; of a domain nobody configured, its qualifier in lower case.
    pub(super) name: CompactString,
    /// Other names, folded, that mean it.
    pub(super) names: Vec<NameKey>,
    /// Configured, or a directory's.
    pub(super) known: bool,
    /// How many subjects and groups are of it.
    pub(super) uses: u32,
}

/// All domains by all their names.
#[derive(Debug, Default)]
pub(super) struct Domains {
    pub(super) arena: Arena<Domain>,
    by_name: Map<NameKey, Id<Domain>>,
    /// What directories tell of their domains, by the domain's folded DNS name.
    pub(super) facts: BTreeMap<NameKey, DomainFacts>,
    /// The domains of Collectors' directories, by the directory's name.
    pub(super) told: BTreeMap<NameKey, Name>,
}

impl Domains {
    pub(super) fn find(&self, name: &str) -> Option<Id<Domain>> {
        self.by_name.get(&NameKey::fold(name)).copied()
    }

    /// The domain a qualifier means, made on the spot if nobody knows it.
    pub(super) fn resolve(&mut self, name: &str) -> Id<Domain> {
        let key = NameKey::fold(name.trim_end_matches('.'));
        if let Some(&id) = self.by_name.get(&key) {
            return id;
        }
        let id = self.arena.insert(Domain {
            name: CompactString::new(key.as_str()),
            names: Vec::new(),
            known: false,
            uses: 0,
        });
        self.by_name.insert(key, id);
        id
    }

    /// One more thing is of the domain.
    pub(super) fn take(&mut self, id: Id<Domain>) {
        self.arena[id].uses += 1;
    }

    /// One thing less is of the domain; a domain nobody configured goes with its last.
    pub(super) fn release(&mut self, id: Id<Domain>) {
        self.arena[id].uses -= 1;
        self.drop_unused(id);
    }

    /// Forgets a domain nobody configured if nothing is of it.
    pub(super) fn drop_unused(&mut self, id: Id<Domain>) {
        if self.arena[id].uses > 0 || self.arena[id].known {
            return;
        }
        let key = NameKey::fold(&self.arena[id].name);
        if self.by_name.get(&key) == Some(&id) {
            self.by_name.remove(&key);
        }
        self.arena.remove(id);
    }

    /// Domains that are configured or a directory's.
    pub(super) fn known(&self) -> impl Iterator<Item = Id<Domain>> + '_ {
        self.arena
            .iter()
            .filter(|(_, domain)| domain.known)
            .map(|(id, _)| id)
    }

    /// Builds the names again from policy and facts, and says what that changed.
    pub(super) fn rebuild(&mut self, policy: &Policy) -> Rebuilt {
        let before: Vec<Id<Domain>> = self.known().collect();
        let written: Vec<(Id<Domain>, CompactString)> = (self.arena.iter())
            .map(|(id, domain)| (id, domain.name.clone()))
            .collect();
        for id in self.arena.ids() {
            let domain = &mut self.arena[id];
            domain.known = false;
            domain.names.clear();
        }
        let told: Vec<Name> = self.told.values().cloned().collect();
        for name in dns_names(policy).chain(&told) {
            let id = self.own(name);
            // The configuration's way of writing it goes first.
            if !self.arena[id].known {
                self.arena[id].name = CompactString::new(name.as_str());
            }
            self.arena[id].known = true;
        }
        self.by_name = self
            .arena
            .iter()
            .filter(|(_, d)| d.known)
            .map(|(id, d)| (NameKey::fold(&d.name), id))
            .collect();
        for (domain, other) in other_names(policy, &told, &self.facts) {
            let Some(&id) = self.by_name.get(&domain) else {
                continue;
            };
            if *self.by_name.entry(other.clone()).or_insert(id) == id && other != domain {
                self.arena[id].names.push(other);
            }
        }
        let mut merged = Vec::new();
        for id in self.arena.ids() {
            if self.arena[id].known {
                continue;
            }
            let key = NameKey::fold(&self.arena[id].name);
            // Nobody writes it otherwise any more.
            self.arena[id].name = CompactString::new(key.as_str());
            let owner = *self.by_name.entry(key).or_insert(id);
            if owner != id {
                merged.push((id, owner));
            }
        }
        let lost = before.into_iter().filter(|id| !self.arena[*id].known);
        let mut lost: Vec<Id<Domain>> = lost.collect();
        let is_rewritten = |(id, name): &(Id<Domain>, CompactString)| self.arena[*id].name != *name;
        let rewritten = written.into_iter().filter(is_rewritten);
        let rewritten = rewritten.map(|(id, _)| id).collect();
        // Where a domain lies differs from process to process; its name does not.
        lost.sort_by_cached_key(|id| NameKey::fold(&self.arena[*id].name));
        merged.sort_by_cached_key(|(id, _)| NameKey::fold(&self.arena[*id].name));
        Rebuilt {
            lost,
            merged,
            rewritten,
        }
    }

    /// All domains by their names: an order that is the same in every process.
    pub(super) fn in_order(&self) -> Vec<Id<Domain>> {
        let mut all = self.arena.ids();
        all.sort_by_cached_key(|id| NameKey::fold(&self.arena[*id].name));
        all
    }

    /// The domain whose own name this is.
    fn own(&mut self, name: &Name) -> Id<Domain> {
        let key = name.key();
        let found = self
            .by_name
            .get(&key)
            .copied()
            .filter(|id| NameKey::fold(&self.arena[*id].name) == key);
        found.unwrap_or_else(|| {
            let id = self.arena.insert(Domain {
                name: CompactString::new(name.as_str()),
                names: Vec::new(),
                known: false,
                uses: 0,
            });
            self.by_name.insert(key, id);
            id
        })
    }
}

/// What building the names again changed.
pub(super) struct Rebuilt {
    /// Domains that were known and are no more, by name.
    pub(super) lost: Vec<Id<Domain>>,
    /// Domains that turned out to be another name of the second, by name.
    pub(super) merged: Vec<(Id<Domain>, Id<Domain>)>,
    /// Domains that are written otherwise now.
    pub(super) rewritten: BTreeSet<Id<Domain>>,
}

fn dns_names(policy: &Policy) -> impl Iterator<Item = &Name> {
    let configured = policy.domains.iter().map(|domain| &domain.name);
    configured.chain(policy.directories.iter().map(|(_, domain)| domain))
}

/// (domain, other name), the stronger claims first.
fn other_names(
    policy: &Policy,
    by_collectors: &[Name],
    facts: &BTreeMap<NameKey, DomainFacts>,
) -> Vec<(NameKey, NameKey)> {
    let mut names = Vec::new();
    for domain in &policy.domains {
        for other in domain.netbios.iter().chain(&domain.aliases) {
            names.push((domain.name.key(), other.key()));
        }
    }
    let told = || {
        let domains = dns_names(policy).chain(by_collectors);
        domains.filter_map(|domain| Some((domain.key(), facts.get(&domain.key())?)))
    };
    for (domain, facts) in told() {
        names.extend(facts.netbios.iter().map(|n| (domain.clone(), n.key())));
    }
    for (domain, facts) in told() {
        let suffixes = facts.upn_suffixes.iter();
        names.extend(suffixes.map(|n| (domain.clone(), n.key())));
    }
    names
}
