//! Sessions that ended, on their way to the history: a bounded queue that the table never waits for.
//!
//! When whoever keeps them cannot follow, what comes is dropped and counted, and the count is handed on with the rest.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::identity::ended::Ended;
use crate::identity::time::UtcMillis;

/// Sessions that may wait: some seconds of the heaviest load, about 64 MB.
pub const MAX_WAITING: usize = 1 << 18;

/// The queue; clones are handles of the same one.
#[derive(Clone, Debug, Default)]
pub struct EndedQueue(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    ended: VecDeque<Ended>,
    /// How many have been taken: the number of the first that waits.
    taken: u64,
    lost: Option<Lost>,
}

/// Sessions that were dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// When the first of them ended.
    pub from: UtcMillis,
    /// When the last did.
    pub until: UtcMillis,
    /// How many.
    pub count: u64,
}

impl EndedQueue {
    /// Queues what there is room for, and counts the rest.
    pub fn push(&self, ended: Vec<Ended>) {
        if ended.is_empty() {
            return;
        }
        let mut waiting = self.0.lock();
        for ended in ended {
            if waiting.ended.len() < MAX_WAITING {
                waiting.ended.push_back(ended);
                continue;
            }
            let lost = waiting.lost.get_or_insert(Lost {
                from: ended.ended,
                until: ended.ended,
                count: 0,
            });
            lost.until = lost.until.max(ended.ended);
            lost.count += 1;
        }
    }

    /// The oldest that wait, at most `most`, and how many were dropped since the last call.
    #[must_use]
    pub fn take(&self, most: usize) -> (Vec<Ended>, Option<Lost>) {
        let mut waiting = self.0.lock();
        let count = most.min(waiting.ended.len());
        let taken = waiting.ended.drain(..count).collect();
        waiting.taken = waiting.taken.saturating_add(count as u64);
        (taken, waiting.lost.take())
    }

    /// Shows what waits, from the one of this number on, at most `most` in one hold of the lock. Returns the number to go
    /// on with; `None`: that was all.
    #[must_use]
    pub fn look(&self, from: u64, most: usize, see: impl FnMut(&Ended)) -> Option<u64> {
        let waiting = self.0.lock();
        let skipped = usize::try_from(from.saturating_sub(waiting.taken)).unwrap_or(usize::MAX);
        let begin = skipped.min(waiting.ended.len());
        let end = begin.saturating_add(most).min(waiting.ended.len());
        waiting.ended.range(begin..end).for_each(see);
        (end < waiting.ended.len()).then(|| waiting.taken.saturating_add(end as u64))
    }

    /// What was dropped since the last [`EndedQueue::take`].
    #[must_use]
    pub fn lost(&self) -> Option<Lost> {
        self.0.lock().lost
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.lock().ended.len()
    }
}
