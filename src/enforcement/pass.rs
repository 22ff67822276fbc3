//! The way along the journal: from a start to the entries of whoever is told of changes, in slices of the lock.
//!
//! A firewall that asks and one that is pushed to walk the same way; only where entries go differs. What is told of one
//! address is decided in [`super::entries`], where a walk begins by its follower.

use super::cookie::{Cookie, Start};
use super::entries::{Entries, MAX_ENTRIES_OF_ADDRESS, Question};
use super::filter::FilterInForce;
use super::shape::{Answer, Entry};
use crate::identity::Core;
use crate::identity::time::UtcMillis;
use crate::identity::view::{Epoch, Seq};

/// Addresses looked at in one hold of the lock.
pub(super) const SLICE: usize = 500;
/// Addresses looked at for one answer: a filter may hide most of a large table.
const MAX_EXAMINED: usize = 50_000;

/// Where entries go.
pub(super) trait Sink {
    /// How many it holds.
    fn entries(&self) -> usize;
    /// Whether it wants no more, whatever their number.
    fn is_full(&self) -> bool {
        false
    }
    /// Takes one; those of one address come one after the other.
    fn push(&mut self, entry: Entry<'_>);
}

impl Sink for Answer {
    fn entries(&self) -> usize {
        Answer::entries(self)
    }

    fn push(&mut self, entry: Entry<'_>) {
        Answer::push(self, entry);
    }
}

/// One walk, for one answer or document.
#[derive(Debug)]
pub(super) struct Pass<S> {
    /// Where it began.
    pub(super) start: Start,
    /// Everything up to here is told.
    pub(super) position: Seq,
    /// Whether it ended before the end of the journal.
    pub(super) more: bool,
    /// What was told.
    pub(super) sink: S,
    limit: usize,
    examined: usize,
}

impl<S: Sink> Pass<S> {
    /// A walk that takes at most so many entries.
    pub(super) fn new(start: Start, limit: usize, sink: S) -> Self {
        Self {
            start,
            position: start.position,
            more: true,
            sink,
            limit,
            examined: 0,
        }
    }

    /// Where the follower stands after what was told.
    pub(super) fn cookie(&self, epoch: Epoch, filter: u64) -> Cookie {
        Cookie {
            epoch,
            position: self.position,
            // The pass is over once it has reached the end: whatever changed meanwhile was met there.
            begun: self.start.begun.filter(|_| self.more),
            filter,
            clearing: self.start.clearing && self.more,
        }
    }

    /// Goes on for one hold of the lock; whether there is room for another.
    pub(super) fn slice(
        &mut self,
        core: &Core,
        filter: &FilterInForce<'_>,
        now: UtcMillis,
    ) -> bool {
        let question = Question::Batch {
            clearing: self.start.clearing,
        };
        if core.floor() > self.start.knows(self.position) {
            // An end was forgotten since the last hold of the lock. The cookie that is given now starts over.
            return false;
        }
        for (count, (position, address)) in core.addresses_since(self.position).enumerate() {
            if self.examined == MAX_EXAMINED {
                return false;
            }
            if count == SLICE {
                return true;
            }
            let view = core.address(address);
            let entries = Entries::of(address, view.as_ref(), filter, question, now);
            // What belongs together stays in one answer; an answer for one entry may thus hold two.
            let limit = self.limit.max(MAX_ENTRIES_OF_ADDRESS);
            let filled = self.sink.entries();
            let no_room = filled >= self.limit || filled + entries.count() > limit;
            if no_room || self.sink.is_full() {
                return false;
            }
            entries.iter().for_each(|entry| self.sink.push(entry));
            self.position = position;
            self.examined += 1;
        }
        self.more = false;
        // What lay behind the last address was forgotten, and nothing is told of it: a cursor that stayed before it
        // would be under the floor.
        self.position = core.last_seq();
        false
    }
}
