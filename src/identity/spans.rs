//! A set of places in an arena, as the spans that they make: what a full read of a directory has named so far.
//!
//! A directory is read in much the same order each time, so even half a million objects are a few spans, small enough to
//! be kept whole with each change.

use std::collections::BTreeMap;

/// The set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Spans {
    /// From the first place of each span to the first behind it.
    spans: BTreeMap<u32, u32>,
}

impl Spans {
    /// The set of these spans (first place, first place behind).
    pub(super) fn restore(spans: Vec<(u32, u32)>) -> Self {
        Self {
            spans: spans.into_iter().filter(|(from, to)| from < to).collect(),
        }
    }

    /// The spans, rising: (first place, first place behind).
    pub(super) fn export(&self) -> Vec<(u32, u32)> {
        self.spans.iter().map(|(from, to)| (*from, *to)).collect()
    }

    pub(super) fn contains(&self, place: u32) -> bool {
        self.around(place).is_some()
    }

    pub(super) fn insert(&mut self, place: u32) {
        if self.contains(place) {
            return;
        }
        let behind = place.saturating_add(1);
        let before = self.spans.range(..place).next_back();
        let from = match before {
            Some((&from, &to)) if to == place => from,
            Some(_) | None => place,
        };
        let to = self.spans.remove(&behind).unwrap_or(behind);
        self.spans.insert(from, to);
    }

    pub(super) fn remove(&mut self, place: u32) {
        let Some((from, to)) = self.around(place) else {
            return;
        };
        self.spans.remove(&from);
        let behind = place.saturating_add(1);
        for (from, to) in [(from, place), (behind, to)] {
            if from < to {
                self.spans.insert(from, to);
            }
        }
    }

    fn around(&self, place: u32) -> Option<(u32, u32)> {
        let (&from, &to) = self.spans.range(..=place).next_back()?;
        (place < to).then_some((from, to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_holds_what_a_plain_set_holds(steps in prop::collection::vec((0_u32..24, any::<bool>()), 0..200)) {
            let (mut spans, mut plain) = (Spans::default(), BTreeSet::new());
            for (place, comes) in steps {
                if comes {
                    spans.insert(place);
                    plain.insert(place);
                } else {
                    spans.remove(place);
                    plain.remove(&place);
                }
                let held: BTreeSet<u32> = (0..25).filter(|place| spans.contains(*place)).collect();
                prop_assert_eq!(&held, &plain);
                let apart = spans.export();
                prop_assert!(apart.windows(2).all(|two| two[0].1 < two[1].0));
                prop_assert_eq!(Spans::restore(apart), spans.clone());
            }
        }
    }
}
