//! When sessions and tombstones end, and how the core's own time passes.
//!
//! `now` is handed in. It never goes back here; a jump forward (a suspended machine, a corrected clock, a restart) does
//! not end thousands of sessions at once but spreads them. Deadlines are kept lazily: a renewal leaves its old place in
//! the order, and the session is put right when that place comes up.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::arena::Id;
use super::subject::SubjectKind;
use super::table::Entry;
use super::time::UtcMillis;

/// Between two calls the clock passes at most this long; more is a jump.
pub(super) const JUMP: Duration = Duration::from_secs(60);

/// Over how long the sessions end that a jump made overdue.
pub(super) const SPREAD: Duration = Duration::from_secs(600);

/// How often the core wants to see the clock, so that waiting is not taken for a jump.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(30);

/// The core's time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clock {
    now: Option<UtcMillis>,
    /// The last jump that still spreads what it made overdue.
    jumped_to: Option<UtcMillis>,
}

impl Clock {
    /// A clock that stood at an instant, and the jump that it still spread.
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
        } else if self.jumped_to.is_some_and(|to| now.since(to) > SPREAD) {
            self.jumped_to = None;
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
    SPREAD.mul_f64(scattered as f64 / f64::from(u32::MAX))
}

/// What ends when.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    pub(super) sessions: BTreeSet<(UtcMillis, Id<Entry>, SubjectKind)>,
    pub(super) tombstones: BTreeSet<(UtcMillis, Id<Entry>)>,
    /// User sessions over their logoff time whose computers are to be asked, by since when.
    pub(super) doubts: BTreeSet<(UtcMillis, IpAddr)>,
}
