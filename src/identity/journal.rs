//! What changed, in order: every address at the sequence of its last change, without payload.
//!
//! A follower asks for what lies after its cursor and reads the table; states between are skipped. Positions below the
//! floor have missed something that is kept no more. Renewals do not come here.
//!
//! The keys are addresses: every report is about one. Whoever needs users, groups or domains pushed by themselves
//! adds keys of their kind to the same order.

use std::collections::VecDeque;

use super::arena::Id;
use super::order::Order;
use super::table::Entry;
use super::time::UtcMillis;
use super::view::Seq;

/// Most marks of the time index: a day of seconds and some.
const MAX_MARKS: usize = 100_000;

/// Granularity of the time index, in milliseconds.
const MARK_EVERY_MS: i64 = 1_000;

/// The order of changes.
#[derive(Debug, Default)]
pub(super) struct Journal {
    order: Order,
    last: Seq,
    floor: Seq,
    /// (instant, last sequence before the first change at or after it), both rising.
    marks: VecDeque<(UtcMillis, Seq)>,
    /// How many of them, from the last, were not taken yet.
    new_marks: usize,
    /// Those that went since they were last taken.
    old_marks: Vec<UtcMillis>,
}

impl Journal {
    /// A journal that goes on where an exported one stood.
    pub(super) fn restore(last: Seq, floor: Seq, marks: Vec<(UtcMillis, Seq)>) -> Self {
        Self {
            order: Order::default(),
            last,
            floor,
            marks: marks.into(),
            new_marks: 0,
            old_marks: Vec::new(),
        }
    }

    /// Puts back all exported keys.
    pub(super) fn restore_keys(&mut self, keys: Order) {
        self.order = keys;
    }

    /// Moves a key to the end; `before` is where it stood.
    pub(super) fn touch(&mut self, before: Seq, entry: Id<Entry>, now: UtcMillis) -> Seq {
        if self
            .marks
            .back()
            .is_none_or(|(at, _)| now.0 - at.0 >= MARK_EVERY_MS)
        {
            self.marks.push_back((now, self.last));
            self.new_marks += 1;
            if self.marks.len() > MAX_MARKS
                && let Some((at, _)) = self.marks.pop_front()
                && self.new_marks < self.marks.len()
            {
                self.old_marks.push(at);
            }
        }
        self.last = Seq(self.last.0 + 1);
        self.order.push(self.last, entry);
        self.order.remove(before);
        self.last
    }

    /// Forgets a key: cursors before it have missed its end.
    pub(super) fn forget(&mut self, seq: Seq) {
        if self.order.remove(seq) {
            self.floor = self.floor.max(seq);
        }
    }

    pub(super) fn since(&self, cursor: Seq) -> impl Iterator<Item = (Seq, Id<Entry>)> + '_ {
        self.order.after(cursor)
    }

    /// Keys by their last change, the latest first.
    pub(super) fn newest_first(&self) -> impl Iterator<Item = (Seq, Id<Entry>)> + '_ {
        self.order.newest_first()
    }

    /// A position with every change at or after the instant behind it; 0 if that is not known.
    pub(super) fn at(&self, instant: UtcMillis) -> Seq {
        let after = self.marks.partition_point(|(at, _)| *at <= instant);
        let seq = match after.checked_sub(1).map(|index| self.marks[index]) {
            // A change that is so much later than a mark has one of its own: up to the next there is none.
            Some((at, _)) if instant.0 - at.0 >= MARK_EVERY_MS => {
                self.marks.get(after).map_or(self.last, |next| next.1)
            }
            Some((_, before)) => before,
            None => Seq(0),
        };
        if seq < self.floor { Seq(0) } else { seq }
    }

    pub(super) fn last(&self) -> Seq {
        self.last
    }

    pub(super) fn floor(&self) -> Seq {
        self.floor
    }

    pub(super) fn marks(&self) -> impl Iterator<Item = (UtcMillis, Seq)> + '_ {
        self.marks.iter().copied()
    }

    /// The marks that came or went (without a sequence) since they were last taken.
    pub(super) fn take_new_marks(&mut self) -> Vec<(UtcMillis, Option<Seq>)> {
        let new = std::mem::take(&mut self.new_marks);
        let kept = self.marks.len().saturating_sub(new);
        let old = std::mem::take(&mut self.old_marks).into_iter();
        let new = self.marks.iter().skip(kept);
        let new = new.map(|(at, seq)| (*at, Some(*seq)));
        old.map(|at| (at, None)).chain(new).collect()
    }

    /// As if all marks were new.
    pub(super) fn note_all_marks(&mut self) {
        self.new_marks = self.marks.len();
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::arena::Arena;
    use super::*;

    #[test]
    fn rule_16_an_instant_leaves_no_later_change_out_and_tells_no_second_too_much() {
        let mut arena = Arena::default();
        let mut journal = Journal::default();
        let mut changes = Vec::new();
        for millis in [5_000, 5_400, 5_999, 6_000, 9_000, 9_999, 10_500, 60_000] {
            let entry = arena.insert(Entry::new("10.0.0.1".parse().expect("an address")));
            let seq = journal.touch(Seq(0), entry, UtcMillis(millis));
            changes.push((millis, seq));
        }
        for instant in (0..70_000).step_by(50) {
            let cursor = journal.at(UtcMillis(instant));
            for (millis, seq) in &changes {
                assert!(
                    *millis < instant || *seq > cursor,
                    "{instant} misses {millis}"
                );
                let long_ago = *millis + MARK_EVERY_MS <= instant;
                assert!(
                    instant < 5_000 || !long_ago || *seq <= cursor,
                    "{instant} tells {millis}"
                );
            }
        }
    }
}
