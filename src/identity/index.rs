//! Names and who has them.
//!
//! Now and then two have one name for a moment: a directory tells of a swap of names one after the other. Then the lower
//! id goes first, so that who is meant follows from what is there and not from what happened before.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hash;

use super::arena::Id;
use super::map::Map;

/// Who has which name.
#[derive(Debug)]
pub(super) struct Index<K, T> {
    /// The lowest of each name.
    first: Map<K, Id<T>>,
    /// The others, where there are any.
    more: BTreeMap<K, BTreeSet<Id<T>>>,
}

impl<K, T> Default for Index<K, T> {
    fn default() -> Self {
        Self {
            first: Map::default(),
            more: BTreeMap::new(),
        }
    }
}

impl<K: Hash + Ord + Clone, T> Index<K, T> {
    /// Whom a name means.
    pub(super) fn get(&self, key: &K) -> Option<Id<T>> {
        self.first.get(key).copied()
    }

    /// All who have a name, the lowest first.
    pub(super) fn all(&self, key: &K) -> impl Iterator<Item = Id<T>> + '_ {
        let more = self.more.get(key).into_iter().flatten();
        self.get(key).into_iter().chain(more.copied())
    }

    /// Makes room for so many more.
    pub(super) fn reserve(&mut self, more: usize) {
        self.first.reserve(more);
    }

    /// Gives somebody a name.
    pub(super) fn insert(&mut self, key: K, id: Id<T>) {
        let first = *self.first.entry(key.clone()).or_insert(id);
        if first == id {
            return;
        }
        let (low, high) = (first.min(id), first.max(id));
        self.more.entry(key.clone()).or_default().insert(high);
        self.first.insert(key, low);
    }

    /// Takes a name from somebody.
    pub(super) fn remove(&mut self, key: &K, id: Id<T>) {
        let is_first = self.first.get(key) == Some(&id);
        let Some(more) = self.more.get_mut(key) else {
            if is_first {
                self.first.remove(key);
            }
            return;
        };
        if is_first && let Some(next) = more.pop_first() {
            self.first.insert(key.clone(), next);
        } else {
            more.remove(&id);
        }
        if more.is_empty() {
            self.more.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::arena::Arena;
    use super::*;

    #[test]
    fn the_lowest_of_a_name_goes_first_whoever_came_first() {
        let mut arena = Arena::default();
        let [a, b, c] = ['a', 'b', 'c'].map(|value| arena.insert(value));
        let mut index = Index::default();
        for id in [b, c, b, a] {
            index.insert("x", id);
        }
        assert_eq!(index.all(&"x").collect::<Vec<_>>(), [a, b, c]);
        index.remove(&"x", b);
        index.remove(&"y", b);
        assert_eq!(index.all(&"x").collect::<Vec<_>>(), [a, c]);
        index.remove(&"x", a);
        assert_eq!(index.get(&"x"), Some(c));
        index.remove(&"x", a);
        index.remove(&"x", c);
        assert_eq!(index.get(&"x"), None);
        assert!(index.first.is_empty() && index.more.is_empty());
    }
}
