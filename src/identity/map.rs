//! Hash maps of the table: what they hash with, and how large ones grow a piece at a time.
//!
//! Seeded anew in each process, so that whoever chooses names and addresses cannot choose them to collide, and quicker than
//! the standard library's hasher: looking up names and addresses is a good part of what an event costs.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash};

use foldhash::fast::RandomState;

/// A map of the table.
pub(super) type Map<K, V> = HashMap<K, V, RandomState>;

/// Maps of a [`Wide`].
const MAPS: usize = 256;

/// A map in many, of a share of the keys each: one large one would hash all its keys anew when it grows, in one hold of the
/// table.
#[derive(Debug)]
pub(super) struct Wide<K, V> {
    maps: Box<[Map<K, V>]>,
    hasher: RandomState,
}

impl<K, V> Default for Wide<K, V> {
    fn default() -> Self {
        Self {
            maps: (0..MAPS).map(|_| Map::default()).collect(),
            hasher: RandomState::default(),
        }
    }
}

impl<K: Hash + Eq, V> Wide<K, V> {
    /// As that of a map.
    pub(super) fn get_key_value<Q>(&self, key: &Q) -> Option<(&K, &V)>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.maps[self.place(key)].get_key_value(key)
    }

    /// As that of a map.
    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.maps[self.place(&key)].insert(key, value)
    }

    /// As that of a map.
    pub(super) fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.maps[self.place(key)].remove(key)
    }

    /// Takes out so many, in no order.
    pub(super) fn take(&mut self, limit: usize) -> impl Iterator<Item = (K, V)> {
        let maps = self.maps.iter_mut();
        maps.flat_map(|map| map.extract_if(|_, _| true)).take(limit)
    }

    /// How many keys there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.maps.iter().map(Map::len).sum()
    }

    fn place(&self, key: &(impl Hash + ?Sized)) -> usize {
        (self.hasher.hash_one(key) % MAPS as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wide_map_holds_what_was_put_in_until_it_is_taken() {
        let mut map = Wide::default();
        for key in 0..10_000 {
            assert_eq!(map.insert(key, -key), None);
        }
        assert_eq!(map.insert(7, 7), Some(-7));
        assert_eq!(map.remove(&8), Some(-8));
        assert_eq!(map.get_key_value(&7), Some((&7, &7)));
        assert_eq!(map.get_key_value(&8), None);
        let mut taken: Vec<i32> = Vec::new();
        while taken.len() < 9_999 {
            let before = map.len();
            taken.extend(map.take(1_000).map(|(key, _)| key));
            assert_eq!(map.len(), before.saturating_sub(1_000));
        }
        taken.sort_unstable();
        assert!(taken.into_iter().eq((0..10_000).filter(|key| *key != 8)));
    }
}
