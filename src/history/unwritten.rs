//! What is not on the disk yet: taken from the writer's queue, and kept until the disk has it.
//!
//! A search looks here too ([`gather`]), in the direction in which sessions pass, queue first and disk last, so that none
//! slips by; a session may then be seen twice. Bounded by a block and a few marks.

use std::sync::Arc;

use parking_lot::Mutex;

use super::MAX_BLOCK_ITEMS;
use super::format::{Item, Mark};
use crate::identity::ended::Ended;
use crate::writer::{EndedQueue, Lost, MAX_WAITING};

/// Sessions that are looked at in one hold of the queue's lock: the table's writer waits for it.
const LOOK_AT_ONCE: usize = 256;

/// The next block, and what is said after everything else.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    items: Arc<Vec<Item>>,
    /// The mark after which nothing is written any more.
    closing: Option<Mark>,
}

impl Unwritten {
    /// How many sessions there is room for.
    pub(super) fn room(&self) -> usize {
        MAX_BLOCK_ITEMS.saturating_sub(self.items.len())
    }

    /// Adds sessions, and what was lost behind them.
    pub(super) fn add(&mut self, ended: Vec<Ended>, lost: Option<Lost>) {
        if ended.is_empty() && lost.is_none() {
            return;
        }
        let items = Arc::make_mut(&mut self.items);
        items.extend(ended.into_iter().map(Item::Session));
        let Some(new) = lost else {
            return;
        };
        // One mark, however long the disk refuses.
        let known = items.iter_mut().find_map(|item| match item {
            Item::Mark(Mark::Gap { from, until, lost }) => Some((from, until, lost)),
            _ => None,
        });
        if let Some((from, until, lost)) = known {
            *from = new.from.0.min(*from);
            *until = new.until.0.max(*until);
            *lost = lost.saturating_add(new.count);
        } else {
            items.push(Item::Mark(Mark::Gap {
                from: new.from.0,
                until: new.until.0,
                lost: new.count,
            }));
        }
    }

    /// The history begins, or goes on after it was to be closed.
    pub(super) fn start(&mut self, start: Mark) {
        let items = Arc::make_mut(&mut self.items);
        if let Some(closing) = self.closing.take() {
            // Switched off and on while the disk refuses: what ended in between may be lost, so that is one time of it.
            if let [
                ..,
                Item::Mark(Mark::Off { .. }),
                Item::Mark(last @ Mark::Start { .. }),
            ] = items.as_mut_slice()
            {
                *last = start;
                return;
            }
            items.push(Item::Mark(closing));
        }
        items.push(Item::Mark(start));
    }

    /// Nothing follows but this mark.
    pub(super) fn close(&mut self, mark: Mark) {
        self.closing = Some(mark);
    }

    /// Whether it ends after what is there.
    pub(super) fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    /// The next block; it stays here until it is [`Unwritten::written`].
    pub(super) fn block(&self) -> Option<Arc<Vec<Item>>> {
        if !self.items.is_empty() {
            return Some(Arc::clone(&self.items));
        }
        let closing = self.closing.map(Item::Mark);
        closing.map(|mark| Arc::new(vec![mark]))
    }

    /// The block is on the disk; whether that was the last one.
    pub(super) fn written(&mut self) -> bool {
        if self.items.is_empty() {
            return self.closing.take().is_some();
        }
        self.items = Arc::default();
        false
    }
}

/// The marks that wait, and the latest sessions that are wanted, at most `most`; the oldest first.
pub(super) fn gather(
    queue: &EndedQueue,
    unwritten: &Mutex<Unwritten>,
    is_wanted: impl Fn(&Ended) -> bool,
    most: usize,
) -> Vec<Item> {
    let lost = queue.lost();
    let mut queued: Vec<Item> = Vec::new();
    let mut number = Some(0);
    // What comes while it is looked at is newer than the question.
    for _ in 0..=MAX_WAITING / LOOK_AT_ONCE {
        let Some(from) = number else {
            break;
        };
        number = queue.look(from, LOOK_AT_ONCE, |ended| {
            if is_wanted(ended) {
                queued.push(Item::Session(ended.clone()));
            }
        });
        queued.drain(..queued.len().saturating_sub(most));
    }
    let (items, closing) = {
        let unwritten = unwritten.lock();
        (Arc::clone(&unwritten.items), unwritten.closing)
    };
    let mut room = most.saturating_sub(queued.len());
    let mut found = Vec::new();
    for item in items.iter().rev() {
        match item {
            Item::Mark(_) => found.push(item.clone()),
            Item::Session(ended) if room > 0 && is_wanted(ended) && !queued.contains(item) => {
                room -= 1;
                found.push(item.clone());
            }
            Item::Session(_) => {}
        }
    }
    found.reverse();
    found.append(&mut queued);
    if let Some(lost) = lost {
        let mut behind = Unwritten::default();
        behind.add(Vec::new(), Some(lost));
        found.extend(behind.items.iter().cloned());
    }
    found.extend(closing.map(Item::Mark));
    found
}
