//! From names to ids, and who goes first where two have the same name.
//!
//! A name is kept where its owner is, and not here again: of a million addresses that is most of what a map would take.
//! So whoever asks says what an id is called.
//!
//! Now and then two have one name for a moment: a directory tells of a swap of names one after the other. Then the lower
//! id goes first, so that who is meant follows from what is there and not from what happened before.
//!
//! Ids are in many tables: one large one would ask for all names anew when it grows, in one hold of the core.

use std::hash::{BuildHasher as _, Hash};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::arena::Id;

/// How many tables there are.
const TABLES: usize = 256;

/// Who has which name.
#[derive(Debug)]
pub(super) struct Index<T> {
    /// By the hashes of their names.
    tables: Box<[HashTable<Id<T>>]>,
    hasher: RandomState,
}

impl<T> Default for Index<T> {
    fn default() -> Self {
        Self {
            tables: (0..TABLES).map(|_| HashTable::new()).collect(),
            hasher: RandomState::default(),
        }
    }
}

impl<T> Index<T> {
    /// Whom a name means; `is` says whether somebody has it.
    pub(super) fn get(&self, name: &impl Hash, is: impl Fn(Id<T>) -> bool) -> Option<Id<T>> {
        self.named(name, is).min()
    }

    /// All who have a name, the lowest first.
    pub(super) fn all(&self, name: &impl Hash, is: impl Fn(Id<T>) -> bool) -> Vec<Id<T>> {
        let mut all: Vec<_> = self.named(name, is).collect();
        all.sort_unstable();
        all
    }

    fn named(&self, name: &impl Hash, is: impl Fn(Id<T>) -> bool) -> impl Iterator<Item = Id<T>> {
        let hash = self.hasher.hash_one(name);
        let alike = self.tables[table(hash)].iter_hash(hash);
        alike.copied().filter(move |id| is(*id))
    }

    /// Makes room for so many more; `name` says what those are called who are there.
    pub(super) fn reserve<K: Hash>(&mut self, more: usize, name: impl Fn(Id<T>) -> K) {
        let hasher = &self.hasher;
        // Some get a few more than others.
        let each = more.div_ceil(TABLES);
        let each = each + each / 8;
        for ids in &mut self.tables {
            ids.reserve(each, |id| hasher.hash_one(name(*id)));
        }
    }

    /// Gives somebody who has none his name; `name` says what he and the others are called.
    pub(super) fn insert<K: Hash>(&mut self, id: Id<T>, name: impl Fn(Id<T>) -> K) {
        let hasher = &self.hasher;
        let hash_of = |id: &Id<T>| hasher.hash_one(name(*id));
        let hash = hash_of(&id);
        self.tables[table(hash)].insert_unique(hash, id, hash_of);
    }

    /// Takes the name from somebody who has it.
    pub(super) fn remove(&mut self, name: &impl Hash, id: Id<T>) {
        let hash = self.hasher.hash_one(name);
        let ids = &mut self.tables[table(hash)];
        if let Ok(place) = ids.find_entry(hash, |other| *other == id) {
            place.remove();
        }
    }
}

/// By bits of the hash that the tables themselves use least.
fn table(hash: u64) -> usize {
    (hash >> 32) as usize % TABLES
}

#[cfg(test)]
mod tests {
    use super::super::arena::Arena;
    use super::*;

    #[test]
    fn the_lowest_of_a_name_goes_first_whoever_came_first() {
        let mut arena = Arena::default();
        let [a, b, c, d] = ["x", "x", "x", "y"].map(|name| arena.insert(name));
        let mut index = Index::default();
        for id in [b, d, c, a] {
            index.insert(id, |id| arena[id]);
        }
        let is = |name: &'static str| {
            let arena = &arena;
            move |id| arena[id] == name
        };
        assert_eq!(index.all(&"x", is("x")), [a, b, c]);
        index.remove(&"x", b);
        index.remove(&"y", b);
        assert_eq!(index.all(&"x", is("x")), [a, c]);
        index.remove(&"x", a);
        assert_eq!(index.get(&"x", is("x")), Some(c));
        index.remove(&"x", a);
        index.remove(&"x", c);
        assert_eq!(index.get(&"x", is("x")), None);
        assert_eq!(index.get(&"y", is("y")), Some(d));
        index.remove(&"y", d);
        assert!(index.tables.iter().all(HashTable::is_empty));
    }

    #[test]
    fn whoever_has_a_name_keeps_it_as_the_index_grows() {
        let mut arena = Arena::default();
        let mut index = Index::default();
        for name in 0..10_000 {
            let id = arena.insert(name);
            index.insert(id, |id| arena[id]);
        }
        for (id, name) in arena.iter() {
            assert_eq!(index.get(name, |other| arena[other] == *name), Some(id));
        }
    }
}
