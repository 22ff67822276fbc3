//! Dense storage with small ids: the table refers to users, devices, addresses and objects by `u32`.
//!
//! A freed place is used again, so an id means something only while its owner keeps it; the rooms that free things
//! also remove every reference to them. No lookup by name here.
//!
//! The arena notes which places changed, so that what is kept of it elsewhere follows without comparing: whoever gets a
//! value to change it counts as having done so.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::marker::PhantomData;
use std::num::NonZeroU32;

use super::bits::Bits;

/// A small id of a `T` in an [`Arena`]: the place and one, so that an id or none takes no more room.
pub(super) struct Id<T>(NonZeroU32, PhantomData<fn() -> T>);

impl<T> Id<T> {
    /// The place in the arena.
    pub(super) fn index(self) -> usize {
        self.number() as usize
    }

    /// The id of a number that [`Id::number`] gave.
    pub(super) fn of(number: u32) -> Self {
        Self(NonZeroU32::MIN.saturating_add(number), PhantomData)
    }

    /// The id as a number, to spread work by.
    pub(super) fn number(self) -> u32 {
        self.0.get() - 1
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
        write!(f, "#{}", self.number())
    }
}

/// Values with small ids.
#[derive(Debug)]
pub(super) struct Arena<T> {
    places: Vec<Option<T>>,
    /// The lowest goes first: which id comes next follows from which are taken, whatever happened before.
    free: BinaryHeap<Reverse<u32>>,
    changed: Changed,
}

/// Which places changed since they were last taken out.
#[derive(Debug, Default)]
struct Changed {
    marks: Bits,
    /// Those with a mark, each once.
    list: Vec<u32>,
}

impl Changed {
    fn note(&mut self, place: u32) {
        if self.marks.insert(place) {
            self.list.push(place);
        }
    }

    fn take(&mut self) -> Option<u32> {
        let place = self.list.pop()?;
        self.marks.remove(place);
        if self.list.is_empty() {
            // A flood of changes must not be remembered in memory for ever.
            self.list.shrink_to(KEPT_CHANGES);
        }
        Some(place)
    }
}

/// Room for changes that is kept while there are none.
const KEPT_CHANGES: usize = 16_384;

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            free: BinaryHeap::new(),
            changed: Changed::default(),
        }
    }
}

impl<T> Arena<T> {
    /// Makes room for so many more places.
    pub(super) fn reserve(&mut self, more: usize) {
        self.places.reserve(more);
    }

    /// So many places without values, to be filled with [`Arena::fill`].
    pub(super) fn with_room(places: usize) -> Self {
        let mut arena = Self::default();
        arena.places.resize_with(places, || None);
        arena
    }

    /// Puts values back to their places, in any order and on any threads: `fill` gets all places. It does not count as a
    /// change.
    pub(super) fn fill<R>(&mut self, fill: impl FnOnce(&mut [Option<T>]) -> R) -> R {
        let filled = fill(&mut self.places);
        let free = (0u32..).zip(&self.places);
        let free = free.filter(|(_, value)| value.is_none());
        self.free = free.map(|(place, _)| Reverse(place)).collect();
        filled
    }

    /// Puts a value back to its place; places rise from call to call. It does not count as a change.
    pub(super) fn restore(&mut self, place: u32, value: T) -> Id<T> {
        let free = self.places.len()..place as usize;
        for free in free.filter_map(|free| u32::try_from(free).ok()) {
            self.places.push(None);
            self.free.push(Reverse(free));
        }
        self.places.push(Some(value));
        Id::of(place)
    }

    /// Keeps a value and gives it an id.
    pub(super) fn insert(&mut self, value: T) -> Id<T> {
        let place = if let Some(Reverse(place)) = self.free.pop() {
            self.places[place as usize] = Some(value);
            place
        } else {
            let end = self.places.len();
            self.places.push(Some(value));
            u32::try_from(end).expect("fewer than 2^32 values fit in memory")
        };
        self.changed.note(place);
        Id::of(place)
    }

    /// Takes a value out; its id may be given to another.
    pub(super) fn remove(&mut self, id: Id<T>) -> Option<T> {
        let value = self.places.get_mut(id.index())?.take();
        if value.is_some() {
            self.free.push(Reverse(id.number()));
            self.changed.note(id.number());
        }
        value
    }

    /// One of the places that changed since they were taken, and what is there now.
    pub(super) fn take_changed(&mut self) -> Option<(u32, Option<&T>)> {
        let place = self.changed.take()?;
        Some((place, self.places.get(place as usize)?.as_ref()))
    }

    /// Whether a place changed since it was taken.
    pub(super) fn has_changed(&self) -> bool {
        !self.changed.list.is_empty()
    }

    /// As if every value had changed.
    pub(super) fn note_all(&mut self) {
        for place in (0u32..).zip(&self.places).map(|(place, _)| place) {
            self.changed.note(place);
        }
    }

    /// Whether there is a value of this id.
    pub(super) fn contains(&self, id: Id<T>) -> bool {
        self.places.get(id.index()).is_some_and(Option::is_some)
    }

    /// The value of an id that may have lost it.
    pub(super) fn get(&self, id: Id<T>) -> Option<&T> {
        self.places.get(id.index())?.as_ref()
    }

    /// The value of an id, for a change of something that is kept nowhere else: it does not count as a change.
    pub(super) fn quietly(&mut self, id: Id<T>) -> &mut T {
        self.places[id.index()]
            .as_mut()
            .expect("an id is kept no longer than its value")
    }

    /// The id of a value at a place; `None`: there is none.
    pub(super) fn at(&self, place: u32) -> Option<Id<T>> {
        let id = Id::of(place);
        self.contains(id).then_some(id)
    }

    /// How many values there are.
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// All values in order of their places.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Id<T>, &T)> {
        (0u32..)
            .zip(&self.places)
            .filter_map(|(place, value)| Some((Id::of(place), value.as_ref()?)))
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
        slice.filter_map(|(place, value)| Some((Id::of(place), value.as_ref()?)))
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
        self.changed.note(id.number());
        self.places[id.index()]
            .as_mut()
            .expect("an id is kept no longer than its value")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(arena: &mut Arena<char>) -> Vec<(u32, Option<char>)> {
        let mut all = Vec::new();
        while let Some((place, value)) = arena.take_changed() {
            all.push((place, value.copied()));
        }
        all.sort_unstable();
        all
    }

    #[test]
    fn what_changed_is_told_once_and_as_it_is() {
        let mut arena = Arena::default();
        let ids: Vec<_> = "abc".chars().map(|value| arena.insert(value)).collect();
        arena.remove(ids[1]);
        arena[ids[2]] = 'C';
        assert_eq!(
            changes(&mut arena),
            [(0, Some('a')), (1, None), (2, Some('C'))]
        );
        assert!(!arena.has_changed());
        assert_eq!(arena[ids[0]], 'a');
        assert!(!arena.has_changed(), "looking changes nothing");
        arena[ids[0]] = 'A';
        assert_eq!(changes(&mut arena), [(0, Some('A'))]);
        arena.note_all();
        assert_eq!(changes(&mut arena).len(), 3);
    }

    #[test]
    fn the_next_id_follows_from_those_that_are_taken() {
        let mut arena = Arena::default();
        let ids: Vec<_> = "abcdef".chars().map(|value| arena.insert(value)).collect();
        for place in [4, 1, 3] {
            arena.remove(ids[place]);
        }
        let mut again = Arena::default();
        for place in [0, 2, 5] {
            assert_eq!(again.restore(place, 'x').number(), place);
        }
        assert!(!again.has_changed());
        for _ in 0..4 {
            assert_eq!(arena.insert('y'), again.insert('y'));
        }
    }
}
