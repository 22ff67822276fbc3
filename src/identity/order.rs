//! Addresses in the order of their sequences, which only rise: what a tree of single keys would hold, at less cost.
//!
//! Sequences that lie together share a chunk: an array with a place for each while most are there, and a short list when
//! few are left. So whoever knows a sequence is at its place with one step into memory that no cache holds, where a tree
//! of a million keys takes several (an event in a table of that size: `benches/RESULTS.md`, `growth`). What a place
//! means is the journal's business.

use std::collections::BTreeMap;

use super::arena::Id;
use super::table::Entry;
use super::view::Seq;

/// Sequences of a chunk.
const SPAN: usize = 512;

/// With so many or fewer left an array becomes a list: it takes no more room then.
const FEW: usize = SPAN / 8;

/// Addresses by their sequences.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// By their numbers. None is empty but the newest.
    chunks: BTreeMap<u64, Chunk>,
    newest: u64,
    len: usize,
}

/// The addresses of [`SPAN`] sequences.
#[derive(Debug)]
enum Chunk {
    /// Each at its place.
    Array {
        held: usize,
        places: Box<[Option<Id<Entry>>; SPAN]>,
    },
    /// Those that are left, with their places, which rise.
    List(Vec<(u16, Id<Entry>)>),
}

/// The number of a sequence's chunk, and its place there.
fn place(seq: Seq) -> (u64, usize) {
    let span = SPAN as u64;
    (seq.0 / span, usize::try_from(seq.0 % span).unwrap_or(0))
}

impl Chunk {
    fn new() -> Self {
        Self::Array {
            held: 0,
            places: Box::new([None; SPAN]),
        }
    }

    /// Puts an address to a place that is free and behind all others.
    fn push(&mut self, place: usize, entry: Id<Entry>) {
        match self {
            Self::Array { held, places } => {
                *held += 1;
                places[place] = Some(entry);
            }
            Self::List(list) => list.extend(u16::try_from(place).ok().map(|place| (place, entry))),
        }
    }

    /// Whether there was an address.
    fn remove(&mut self, place: usize) -> bool {
        match self {
            Self::Array { held, places } => {
                let was = places[place].take().is_some();
                *held -= usize::from(was);
                was
            }
            Self::List(list) => {
                let found = list.binary_search_by_key(&place, |(at, _)| usize::from(*at));
                found.map(|at| list.remove(at)).is_ok()
            }
        }
    }

    /// Takes no more room than what is left needs.
    fn thin_out(&mut self) {
        let few = matches!(self, Self::Array { held, .. } if *held <= FEW);
        let spare = matches!(self, Self::List(list) if list.len() <= list.capacity() / 2);
        if few || spare {
            let left = self.from(0);
            let list = left.filter_map(|(place, entry)| Some((u16::try_from(place).ok()?, entry)));
            let mut list: Vec<_> = list.collect();
            list.shrink_to_fit();
            *self = Self::List(list);
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Array { held, .. } => *held == 0,
            Self::List(list) => list.is_empty(),
        }
    }

    /// Addresses from a place on.
    fn from(&self, first: usize) -> impl DoubleEndedIterator<Item = (usize, Id<Entry>)> + '_ {
        let (array, list): (&[_], &[_]) = match self {
            Self::Array { places, .. } => (&places[..], &[]),
            Self::List(list) => (&[], list),
        };
        let array = array.iter().enumerate().skip(first);
        let array = array.filter_map(|(place, entry)| Some((place, (*entry)?)));
        let passed = list.partition_point(|(place, _)| usize::from(*place) < first);
        let list = list[passed..].iter();
        array.chain(list.map(|(place, entry)| (usize::from(*place), *entry)))
    }
}

impl Order {
    /// Puts an address behind all others: the sequence is higher than any before.
    pub(super) fn push(&mut self, seq: Seq, entry: Id<Entry>) {
        let (number, place) = place(seq);
        if number > self.newest {
            let full = std::mem::replace(&mut self.newest, number);
            self.tidy(full);
        }
        let chunk = self.chunks.entry(number).or_insert_with(Chunk::new);
        chunk.push(place, entry);
        self.len += 1;
    }

    /// Takes out who stands at the sequence; whether somebody did.
    pub(super) fn remove(&mut self, seq: Seq) -> bool {
        let (number, place) = place(seq);
        let chunk = self.chunks.get_mut(&number);
        let was = chunk.is_some_and(|chunk| chunk.remove(place));
        self.len -= usize::from(was);
        if was && number < self.newest {
            self.tidy(number);
        }
        was
    }

    fn tidy(&mut self, number: u64) {
        if let Some(chunk) = self.chunks.get_mut(&number) {
            chunk.thin_out();
            if chunk.is_empty() {
                self.chunks.remove(&number);
            }
        }
    }

    /// Addresses behind a sequence, in order.
    pub(super) fn after(&self, seq: Seq) -> impl Iterator<Item = (Seq, Id<Entry>)> + '_ {
        let (first, begin) = place(Seq(seq.0.saturating_add(1)));
        let chunks = self.chunks.range(first..);
        chunks.flat_map(move |(number, chunk)| {
            let from = if *number == first { begin } else { 0 };
            in_chunk(*number, chunk.from(from))
        })
    }

    /// Addresses, the latest first.
    pub(super) fn newest_first(&self) -> impl Iterator<Item = (Seq, Id<Entry>)> + '_ {
        let chunks = self.chunks.iter().rev();
        chunks.flat_map(|(number, chunk)| in_chunk(*number, chunk.from(0).rev()))
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }
}

fn in_chunk(
    number: u64,
    places: impl Iterator<Item = (usize, Id<Entry>)>,
) -> impl Iterator<Item = (Seq, Id<Entry>)> {
    let begin = number * SPAN as u64;
    places.map(move |(place, entry)| (Seq(begin + place as u64), entry))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What an order is to say, by a tree.
    #[derive(Default)]
    struct Tree(BTreeMap<Seq, Id<Entry>>);

    fn check(order: &Order, tree: &Tree, from: u64) {
        let all = |(seq, id): (&Seq, &Id<Entry>)| (*seq, *id);
        let behind = tree.0.range(Seq(from + 1)..).map(all);
        assert!(order.after(Seq(from)).eq(behind));
        assert!(order.newest_first().eq(tree.0.iter().rev().map(all)));
        assert_eq!(order.len(), tree.0.len());
        let empty = order.chunks.iter().filter(|(_, chunk)| chunk.is_empty());
        assert!(
            empty
                .map(|(number, _)| *number)
                .all(|number| number == order.newest)
        );
    }

    proptest! {
        #[test]
        fn it_holds_what_a_tree_holds(
            // How far behind the last the next stands, and which of those that are there goes.
            steps in prop::collection::vec((1_u64..40, 0_usize..1_000, 0_u8..4), 1..1_500),
            from in 0_u64..40_000,
        ) {
            let (mut order, mut tree, mut last) = (Order::default(), Tree::default(), 0);
            for (place, (gap, which, goes)) in (0_u32..).zip(steps) {
                last += gap;
                order.push(Seq(last), Id::of(place));
                tree.0.insert(Seq(last), Id::of(place));
                for _ in 0..goes {
                    let Some(seq) = tree.0.keys().nth(which % tree.0.len().max(1)).copied() else {
                        break;
                    };
                    assert!(order.remove(seq));
                    assert!(!order.remove(seq));
                    tree.0.remove(&seq);
                }
            }
            check(&order, &tree, from);
        }
    }

    #[test]
    fn it_takes_room_for_those_that_are_left() {
        let mut order = Order::default();
        for seq in 1..=1_000_000 {
            order.push(Seq(seq), Id::of(0));
        }
        for seq in (1..=1_000_000).filter(|seq| seq % 1_000 != 0) {
            order.remove(Seq(seq));
        }
        assert_eq!(order.len(), 1_000);
        let room = order.chunks.values().map(|chunk| match chunk {
            Chunk::Array { .. } => SPAN,
            Chunk::List(list) => list.capacity(),
        });
        assert!(room.sum::<usize>() < 3_000 + SPAN);
    }
}
