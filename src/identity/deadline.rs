//! When sessions and tombstones end, and how the core's own time passes.
//!
//! `now` is handed in. It never goes back here; a jump forward (a suspended machine, a corrected clock, a restart) does
//! not end thousands of sessions at once but spreads them.
//!
//! Deadlines are kept lazily: a renewal leaves its old place in the order, and the session is put right when that place
//! comes up. A place is never later than the session's end ([`Core::comes_up`]), so sessions end in the order of their
//! true ends, whatever was left where: two processes that apply the same end the same in the same order.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::Bound::{Excluded, Unbounded};
use std::time::Duration;

use super::arena::Id;
use super::core::Core;
use super::outcome::Outcome;
use super::subject::SubjectKind;
use super::table::Entry;
use super::time::UtcMillis;
use super::told::NEVER;

/// Between two calls the clock passes at most this long; more is a jump.
pub(super) const JUMP: Duration = Duration::from_secs(60);

/// Over how long the sessions end that a jump made overdue.
const SPREAD_MS: u64 = 600_000;

/// How often the core wants to see the clock, so that waiting is not taken for a jump.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(30);

/// The core's time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    now: Option<UtcMillis>,
    /// The last jump. It is not forgotten: what it made overdue ends no earlier than in its turn, so places in the order
    /// of deadlines never become too late.
    jumped_to: Option<UtcMillis>,
}

impl Clock {
    /// A clock that stood at an instant, and its last jump.
    pub(super) fn at(now: Option<UtcMillis>, jumped_to: Option<UtcMillis>) -> Self {
        Self { now, jumped_to }
    }

    pub(super) fn jumped_to(&self) -> Option<UtcMillis> {
        self.jumped_to
    }

    /// Takes note of the time and returns the time that counts.
    pub(super) fn pass(&mut self, now: UtcMillis) -> UtcMillis {
        let Some(before) = self.now else {
            self.now = Some(now);
            return now;
        };
        let now = now.max(before);
        if now.since(before) > JUMP {
            self.jumped_to = Some(now);
        }
        self.now = Some(now);
        now
    }

    pub(super) fn now(&self) -> Option<UtcMillis> {
        self.now
    }

    /// When a session with this deadline ends: then, or in its turn if a jump made it overdue.
    pub(super) fn ends_at(&self, deadline: UtcMillis, entry: Id<Entry>) -> UtcMillis {
        match self.jumped_to {
            Some(to) if deadline <= to => to.after(turn(entry)),
            Some(_) | None => deadline,
        }
    }
}

/// A fixed place within the spread for every address.
fn turn(entry: Id<Entry>) -> Duration {
    let scattered = u64::from(entry.number().wrapping_mul(2_654_435_769));
    Duration::from_millis(SPREAD_MS * scattered / u64::from(u32::MAX))
}

/// A session's place in the order.
type Place = (UtcMillis, Id<Entry>, SubjectKind);

/// What ends when.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    /// No place is later than when the session comes up.
    pub(super) sessions: BTreeSet<Place>,
    pub(super) tombstones: BTreeSet<(UtcMillis, Id<Entry>)>,
    /// User sessions over their logoff time whose computers are to be asked, by since when.
    pub(super) doubts: BTreeSet<(UtcMillis, IpAddr)>,
    /// Set if places may be too late.
    pub(super) review: Option<Review>,
    /// Up to where [`Core::prepare`] has come.
    prepared: Option<Place>,
}

/// A walk over all addresses: sessions of a Collector that fell silent end by its word no more, and may do so earlier
/// than their places say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Review {
    /// None of them ends before.
    due: UtcMillis,
    /// Where it has come to.
    next: usize,
}

impl Deadlines {
    /// Sessions that ended by somebody's word may end by the clock from this instant on.
    pub(super) fn review_at(&mut self, due: UtcMillis) {
        let earlier = self.review.map_or(due, |review| review.due.min(due));
        self.review = Some(Review {
            due: earlier,
            next: 0,
        });
    }
}

/// What is to be ended next.
enum Due {
    Session(Id<Entry>, SubjectKind),
    Tombstone(Id<Entry>),
}

impl Core {
    /// Begins [`Core::advance`] to the same instant without ending anything: puts at most `limit` places in the order of
    /// deadlines right, so that the table is held for a bounded time. Returns whether to call it again before. Only the
    /// time passes by this; whoever leaves it out gets the same, in one long hold after a jump of the clock.
    pub fn prepare(&mut self, now: UtcMillis, limit: usize) -> bool {
        self.assert_whole();
        let now = self.clock.pass(now);
        if self.review(now, limit) {
            return true;
        }
        let sessions = &self.deadlines.sessions;
        let from = self.deadlines.prepared.map_or(Unbounded, Excluded);
        let due = sessions.range((from, Unbounded));
        let due = due.take_while(|place| place.0 <= now);
        let places: Vec<Place> = due.take(limit).copied().collect();
        for (place, entry, kind) in &places {
            if let Some(up) = self.comes_up(*entry, *kind).filter(|up| up > place) {
                self.reschedule(*entry, *kind, up);
            }
        }
        let more = places.len() >= limit;
        self.deadlines.prepared = places.last().copied().filter(|_| more);
        more
    }

    /// Ends what is due, at most `limit` sessions and tombstones (a session that comes in doubt is one of them), in the
    /// order in which they come up; returns whether more is due.
    pub fn advance(&mut self, now: UtcMillis, limit: usize, outcomes: &mut Vec<Outcome>) -> bool {
        self.assert_whole();
        let now = self.clock.pass(now);
        self.review(now, usize::MAX);
        let mut ended = 0;
        while let Some(due) = self.next_due(now) {
            if ended == limit {
                return true;
            }
            ended += 1;
            match due {
                Due::Session(entry, kind) => {
                    if !self.doubt(entry, kind, now) {
                        self.expire(entry, kind, now, outcomes);
                    }
                }
                Due::Tombstone(entry) => self.bury(entry),
            }
        }
        false
    }

    /// The next session or tombstone that is due; places of sessions before it are put right.
    fn next_due(&mut self, now: UtcMillis) -> Option<Due> {
        while let Some(&(place, entry, kind)) = self.deadlines.sessions.first()
            && place <= now
        {
            match self.comes_up(entry, kind).filter(|up| *up > place) {
                Some(up) => self.reschedule(entry, kind, up),
                None => return Some(Due::Session(entry, kind)),
            }
        }
        let &(due, entry) = self.deadlines.tombstones.first()?;
        (due <= now).then_some(Due::Tombstone(entry))
    }

    /// Looks at places that may be too late, at most so many addresses; whether others are left.
    fn review(&mut self, now: UtcMillis, limit: usize) -> bool {
        let Some(review) = self.deadlines.review.filter(|review| review.due <= now) else {
            return false;
        };
        let slice = self.table.arena.slice_with_ids(review.next, limit);
        let ids: Vec<Id<Entry>> = slice.map(|(id, _)| id).collect();
        for id in ids {
            self.schedule(id, SubjectKind::User);
            self.schedule(id, SubjectKind::Device);
        }
        let next = review.next.saturating_add(limit);
        let more = next < self.table.arena.places();
        self.deadlines.review = more.then_some(Review { next, ..review });
        more
    }

    /// When something is to be done about the session in a slot: it is doubted, or ends. Of one that does not end by the
    /// clock, when to look again.
    pub(super) fn comes_up(&self, id: Id<Entry>, kind: SubjectKind) -> Option<UtcMillis> {
        let entry = &self.table.arena[id];
        let deadline = self.deadline(entry, kind)?;
        if deadline == NEVER {
            return self.next_look(entry, kind);
        }
        if self.is_to_be_doubted(id, kind) {
            return Some(deadline);
        }
        Some(self.clock.ends_at(deadline, id))
    }
}
