//! Dense storage with small ids: the table refers to users, devices, addresses and objects by `u32`.
//!
//! A freed place is used again, so an id means something only while its owner keeps it; the rooms that free things
//! also remove every reference to them. No lookup by name here.

use std::marker::PhantomData;

/// A small id of a `T` in an [`Arena`].
pub(super) struct Id<T>(u32, PhantomData<fn() -> T>);

impl<T> Id<T> {
    /// The place in the arena.
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }

    /// The id as a number, to spread work by.
    pub(super) fn number(self) -> u32 {
        self.0
    }
}

impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Id<T> {}
impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<T> Eq for Id<T> {}
impl<T> PartialOrd for Id<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Id<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}
impl<T> std::hash::Hash for Id<T> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}
impl<T> std::fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// Values with small ids.
#[derive(Debug)]
pub(super) struct Arena<T> {
    places: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Arena<T> {
    /// Keeps a value and gives it an id.
    pub(super) fn insert(&mut self, value: T) -> Id<T> {
        if let Some(place) = self.free.pop() {
            self.places[place as usize] = Some(value);
            return Id(place, PhantomData);
        }
        let place = u32::try_from(self.places.len()).expect("fewer than 2^32 values fit in memory");
        self.places.push(Some(value));
        Id(place, PhantomData)
    }

    /// Takes a value out; its id may be given to another.
    pub(super) fn remove(&mut self, id: Id<T>) -> Option<T> {
        let value = self.places.get_mut(id.index())?.take();
        if value.is_some() {
            self.free.push(id.0);
        }
        value
    }

    /// Whether there is a value of this id.
    pub(super) fn contains(&self, id: Id<T>) -> bool {
        self.places.get(id.index()).is_some_and(Option::is_some)
    }

    /// The value of an id that may have lost it.
    pub(super) fn get(&self, id: Id<T>) -> Option<&T> {
        self.places.get(id.index())?.as_ref()
    }

    /// How many values there are.
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// All values in order of their places.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Id<T>, &T)> {
        (0u32..)
            .zip(&self.places)
            .filter_map(|(place, value)| Some((Id(place, PhantomData), value.as_ref()?)))
    }

    /// The values of so many places from one on.
    pub(super) fn slice(&self, from: usize, places: usize) -> impl Iterator<Item = &T> {
        let slice = self.places.iter().skip(from).take(places);
        slice.filter_map(Option::as_ref)
    }

    /// As [`Arena::slice`], with the ids.
    pub(super) fn slice_with_ids(
        &self,
        from: usize,
        places: usize,
    ) -> impl Iterator<Item = (Id<T>, &T)> {
        let numbers = u32::try_from(from).unwrap_or(u32::MAX)..;
        let slice = numbers.zip(self.places.iter().skip(from).take(places));
        slice.filter_map(|(place, value)| Some((Id(place, PhantomData), value.as_ref()?)))
    }

    /// How many places there are, free ones among them.
    pub(super) fn places(&self) -> usize {
        self.places.len()
    }

    /// The ids of all values, for loops that change the arena.
    pub(super) fn ids(&self) -> Vec<Id<T>> {
        self.iter().map(|(id, _)| id).collect()
    }
}

impl<T> std::ops::Index<Id<T>> for Arena<T> {
    type Output = T;
    fn index(&self, id: Id<T>) -> &T {
        self.places[id.index()]
            .as_ref()
            .expect("an id is kept no longer than its value")
    }
}

impl<T> std::ops::IndexMut<Id<T>> for Arena<T> {
    fn index_mut(&mut self, id: Id<T>) -> &mut T {
        self.places[id.index()]
            .as_mut()
            .expect("an id is kept no longer than its value")
    }
}
