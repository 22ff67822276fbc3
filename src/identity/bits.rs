//! A set of small numbers, a bit each: places of an arena.

/// The set.
#[derive(Debug, Default)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    /// Whether it is new.
    pub(super) fn insert(&mut self, number: u32) -> bool {
        let (word, bit) = place(number);
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        let is_new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        is_new
    }

    pub(super) fn remove(&mut self, number: u32) {
        let (word, bit) = place(number);
        if let Some(bits) = self.0.get_mut(word) {
            *bits &= !bit;
        }
    }

    /// The first from a number on.
    pub(super) fn next(&self, from: u32) -> Option<u32> {
        let mut seen = u64::MAX << (from % 64);
        for (word, bits) in (from / 64..).zip(self.0.get(from as usize / 64..)?) {
            let bits = bits & std::mem::replace(&mut seen, u64::MAX);
            if bits != 0 {
                return Some(word * 64 + bits.trailing_zeros());
            }
        }
        None
    }
}

/// Which word, and the bit in it.
fn place(number: u32) -> (usize, u64) {
    (number as usize / 64, 1 << (number % 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_holds_what_a_set_holds(steps in prop::collection::vec((0_u32..300, any::<bool>()), 0..200), from in 0_u32..320) {
            let (mut bits, mut set) = (Bits::default(), BTreeSet::new());
            for (number, comes) in steps {
                if comes {
                    prop_assert_eq!(bits.insert(number), set.insert(number));
                } else {
                    bits.remove(number);
                    set.remove(&number);
                }
            }
            prop_assert_eq!(bits.next(from), set.range(from..).next().copied());
        }
    }
}
