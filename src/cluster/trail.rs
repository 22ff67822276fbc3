//! What of the stream this member has applied lately, so that others' words can be compared with it: pure.

use std::collections::VecDeque;

use super::order::{Digest, Mark};

/// Messages that are remembered, 16 bytes each; members speak every two seconds of what they have just applied.
const REMEMBERED: usize = 1 << 16;

/// The last marks, by sequence.
#[derive(Debug, Default)]
pub(super) struct Trail {
    stream: u64,
    marks: VecDeque<Mark>,
}

impl Trail {
    /// Goes on after the last one.
    pub(super) fn push(&mut self, mark: Mark) {
        if self.marks.len() >= REMEMBERED {
            self.marks.pop_front();
        }
        self.marks.push_back(mark);
    }

    /// Another table, which stands here in a stream ([`super::order::Order::stream`]).
    pub(super) fn begin_anew(&mut self, stream: u64, mark: Mark) {
        *self = Self {
            stream,
            marks: [mark].into(),
        };
    }

    /// Which stream it is.
    pub(super) fn stream(&self) -> u64 {
        self.stream
    }

    /// The oldest place that is remembered and after which a stream that begins with `first` can be read on.
    pub(super) fn oldest(&self, first: u64) -> Option<Mark> {
        let place = self.marks.partition_point(|mark| mark.seq + 1 < first);
        self.marks.get(place).copied()
    }

    /// What this member has at a place; `None`: that is forgotten, or not reached yet.
    pub(super) fn at(&self, seq: u64) -> Option<Digest> {
        let place = self
            .marks
            .binary_search_by_key(&seq, |mark| mark.seq)
            .ok()?;
        self.marks.get(place).map(|mark| mark.digest)
    }

    /// Whether this member has something else at a place.
    pub(super) fn differs(&self, other: Mark) -> bool {
        self.at(other.seq).is_some_and(|ours| ours != other.digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(stamps: impl IntoIterator<Item = u64>) -> Vec<Mark> {
        let mut last = Mark::default();
        let all = (1..).zip(stamps).map(|(seq, stamp)| {
            last = last.then(seq, stamp);
            last
        });
        all.collect()
    }

    #[test]
    fn one_other_message_makes_all_that_follows_another() {
        let (ours, others) = (marks([10, 20, 30, 40]), marks([10, 21, 30, 40]));
        let mut trail = Trail::default();
        ours.iter().for_each(|mark| trail.push(*mark));
        let differ: Vec<bool> = others.iter().map(|mark| trail.differs(*mark)).collect();
        assert_eq!(differ, [false, true, true, true]);
        let ahead = Mark::default().then(5, 50);
        assert!(!trail.differs(ahead), "nothing is known of it yet");
        trail.begin_anew(1, others[3]);
        assert!(!trail.differs(others[3]));
        assert_eq!(trail.at(3), None);
    }

    #[test]
    fn only_so_much_is_remembered() {
        let mut trail = Trail::default();
        let all = marks(0..REMEMBERED as u64 + 2);
        all.iter().for_each(|mark| trail.push(*mark));
        assert_eq!(trail.at(2), None);
        assert_eq!(trail.oldest(1), Some(all[2]));
        assert_eq!(trail.oldest(10), Some(all[8]));
        assert_eq!(trail.oldest(all.len() as u64 + 2), None);
        assert_eq!(trail.at(3), Some(all[2].digest));
        assert_eq!(trail.at(all.len() as u64), Some(all[all.len() - 1].digest));
    }
}
