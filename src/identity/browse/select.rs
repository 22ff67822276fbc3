//! The few rows of a page among all that a scan offers, and how many there are before them.

use super::{Found, MAX_ROWS, Page, Place};

/// Which rows, in the order of [`Place`].
#[derive(Clone, Debug)]
pub(super) enum Cut {
    /// The lowest.
    First,
    /// The highest.
    Last,
    /// The lowest above a place.
    Above(Place),
    /// The lowest that are not below a place.
    From(Place),
    /// The highest below a place.
    Below(Place),
    /// The highest that are not above a place.
    UpTo(Place),
}

/// Takes rows in any order and keeps those of the page.
#[derive(Debug)]
pub(super) struct Select<T> {
    cut: Cut,
    reverse: bool,
    wanted: usize,
    /// At most twice as many as are wanted.
    kept: Vec<(Place, T)>,
    /// Whoever is not better than this is not of the page.
    bound: Option<Place>,
    total: u64,
    /// How many there are on the side of the cut that comes first.
    below: u64,
}

impl<T> Select<T> {
    pub(super) fn new(page: &Page) -> Self {
        Self {
            cut: page.cut(),
            reverse: page.reverse,
            wanted: page.rows.clamp(1, MAX_ROWS),
            kept: Vec::new(),
            bound: None,
            total: 0,
            below: 0,
        }
    }

    /// A row of the list; what it shows is made only if it may be of the page.
    pub(super) fn offer(&mut self, place: Place, make: impl FnOnce() -> T) {
        self.total += 1;
        let (is_of_page, is_before) = match &self.cut {
            Cut::First => (true, false),
            Cut::Last => (true, true),
            Cut::Above(cut) => (place > *cut, place <= *cut),
            Cut::From(cut) => (place >= *cut, place < *cut),
            Cut::Below(cut) => (place < *cut, place < *cut),
            Cut::UpTo(cut) => (place <= *cut, place <= *cut),
        };
        self.below += u64::from(is_before);
        if !is_of_page || !self.is_better(&place) {
            return;
        }
        self.kept.push((place, make()));
        if self.kept.len() >= self.wanted * 2 {
            self.drop_worst();
        }
    }

    /// As if nothing had been offered.
    pub(super) fn forget(&mut self) {
        (self.total, self.below, self.bound) = (0, 0, None);
        self.kept.clear();
    }

    /// The page.
    pub(super) fn finish(mut self) -> Found<T> {
        self.drop_worst();
        let rows = self.kept.len() as u64;
        let before = if self.takes_highest() {
            self.below - rows
        } else {
            self.below
        };
        // The best comes first: of the highest that is the last.
        if self.takes_highest() != self.reverse {
            self.kept.reverse();
        }
        Found {
            before: if self.reverse {
                self.total - before - rows
            } else {
                before
            },
            total: self.total,
            rows: self.kept,
        }
    }

    fn takes_highest(&self) -> bool {
        match self.cut {
            Cut::Last | Cut::Below(_) | Cut::UpTo(_) => true,
            Cut::First | Cut::Above(_) | Cut::From(_) => false,
        }
    }

    fn is_better(&self, place: &Place) -> bool {
        self.bound.as_ref().is_none_or(|bound| {
            if self.takes_highest() {
                place > bound
            } else {
                place < bound
            }
        })
    }

    fn drop_worst(&mut self) {
        if self.takes_highest() {
            self.kept.sort_unstable_by(|a, b| b.0.cmp(&a.0));
        } else {
            self.kept.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        }
        self.kept.truncate(self.wanted);
        if self.kept.len() == self.wanted {
            self.bound = self.kept.last().map(|(place, _)| place.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Start;
    use super::*;
    use proptest::prelude::*;

    fn place(number: i64) -> Place {
        Place {
            number,
            ..Place::default()
        }
    }

    fn found(page: &Page, all: &[i64]) -> (Vec<i64>, u64, u64) {
        let mut select = Select::new(page);
        for number in all {
            select.offer(place(*number), || *number);
        }
        let found = select.finish();
        let rows = found.rows.into_iter().map(|(_, number)| number).collect();
        (rows, found.total, found.before)
    }

    proptest! {
        #[test]
        fn a_page_is_the_same_piece_of_the_sorted_list(
            mut all in prop::collection::hash_set(0..200i64, 0..80).prop_map(|set| set.into_iter().collect::<Vec<_>>()),
            rows in 1usize..20, reverse: bool, from in 0..5, at in -5..205i64,
        ) {
            let start = match from {
                0 => Start::First,
                1 => Start::Last,
                2 => Start::After(place(at)),
                3 => Start::Before(place(at)),
                _ => Start::At(place(at)),
            };
            let page = Page { reverse, start: start.clone(), rows, ..Page::default() };
            let got = found(&page, &all);
            all.sort_unstable();
            if reverse {
                all.reverse();
            }
            let is_before = |number: &i64| if reverse { *number > at } else { *number < at };
            let first = match start {
                Start::First => 0,
                Start::Last => all.len().saturating_sub(rows),
                Start::After(_) => all.iter().filter(|n| is_before(n) || **n == at).count(),
                Start::At(_) => all.iter().filter(|n| is_before(n)).count(),
                Start::Before(_) => {
                    let before = all.iter().filter(|n| is_before(n)).count();
                    let expected = &all[before.saturating_sub(rows)..before];
                    prop_assert_eq!(&got.0, expected);
                    before.saturating_sub(rows)
                }
            };
            if !matches!(start, Start::Before(_)) {
                let expected: Vec<i64> = all.iter().skip(first).take(rows).copied().collect();
                prop_assert_eq!(&got.0, &expected);
            }
            prop_assert_eq!(got.1, all.len() as u64);
            if !got.0.is_empty() {
                prop_assert_eq!(got.2, first as u64);
            }
        }
    }
}
