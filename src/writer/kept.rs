//! What changed, on its way to the disk, and how far it is safe there.
//!
//! The table never waits for the disk: while whoever keeps it cannot follow, changes stay noted in the core, where many of
//! one thing are one. Whoever must not answer before what he brought is safe waits with [`Durability`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::{mpsc, watch};

use crate::identity::Core;
use crate::identity::changes::Changes;
use crate::identity::time::UtcMillis;

/// Pieces that may be on their way.
const MAX_WAITING: usize = 4;

/// Changes taken in one hold of the lock: some milliseconds at most.
const SLICE_CHANGES: usize = 4096;

/// How often a table that does not change says what time it is.
const TELL_TIME_EVERY: Duration = Duration::from_secs(10);

/// Nobody follows.
const NOBODY: u64 = 0;

/// A piece of what changed.
#[derive(Debug)]
pub struct Taken {
    /// What.
    pub changes: Changes,
    /// The writer's step that it was taken after; with an instant, all of that step is in it.
    pub step: u64,
    /// All that was taken before is of another table: this begins one.
    pub anew: bool,
    /// The life of the follower that it is for.
    life: u64,
}

/// The end where changes are handed over.
#[derive(Debug)]
pub(super) struct Handover {
    to: mpsc::Sender<Taken>,
    /// Which life of the follower is told.
    life: u64,
    wanted: Arc<AtomicU64>,
    /// The next piece begins another table.
    anew: bool,
    /// The table's time when all of it was handed over last.
    told: Option<UtcMillis>,
}

/// Where whoever keeps the table takes his end; until then changes stay noted.
#[derive(Clone, Debug)]
pub struct Following(Arc<Mutex<Option<Follower>>>);

impl Following {
    /// The other end; `None`: somebody has it.
    #[must_use]
    pub fn take(&self) -> Option<Follower> {
        let follower = self.0.lock().take()?;
        follower.wanted.store(NOBODY + 1, Ordering::Release);
        follower.safe.send_replace(Safe::UpTo(0));
        Some(follower)
    }
}

/// The end of whoever keeps the table.
#[derive(Debug)]
pub struct Follower {
    taken: mpsc::Receiver<Taken>,
    /// How far it is safe.
    pub safe: watch::Sender<Safe>,
    wanted: Arc<AtomicU64>,
}

impl Follower {
    /// What changed next, in order; `None`: the writer has ended, and that was all.
    pub async fn next(&mut self) -> Option<Taken> {
        loop {
            let taken = self.taken.recv().await?;
            if self.is_of_this_life(&taken) {
                return Some(taken);
            }
        }
    }

    /// What changed next, if it is there already.
    #[cfg(test)]
    fn next_now(&mut self) -> Option<Taken> {
        loop {
            let taken = self.taken.try_recv().ok()?;
            if self.is_of_this_life(&taken) {
                return Some(taken);
            }
        }
    }

    /// What was taken is lost: everything comes again, and nothing that was taken before comes after it.
    pub fn start_over(&mut self) {
        self.wanted.fetch_add(1, Ordering::AcqRel);
    }

    fn is_of_this_life(&self, taken: &Taken) -> bool {
        taken.life == self.wanted.load(Ordering::Acquire)
    }
}

/// How far changes are safe on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Safe {
    /// All of these steps are.
    UpTo(u64),
    /// The disk refuses, or nobody keeps the table: what is said cannot be made safe, and nobody waits for it.
    Never,
}

/// Waits until what was applied is safe; clones wait for the same.
#[derive(Clone, Debug)]
pub struct Durability(watch::Receiver<Safe>);

impl Durability {
    /// For a table that nobody keeps.
    #[must_use]
    pub fn never() -> Self {
        Self(watch::channel(Safe::Never).1)
    }

    /// Returns as soon as all of a step is safe, or cannot be.
    pub async fn reached(&self, step: u64) {
        let is_reached = |safe: &Safe| match safe {
            Safe::UpTo(done) => *done >= step,
            Safe::Never => true,
        };
        // An error says that whoever kept the table has ended, and with it the process.
        let mut safe = self.0.clone();
        let _ended = safe.wait_for(is_reached).await;
    }
}

/// Both ends, and the handle of those who wait.
pub(super) fn channel() -> (Handover, Following, Durability) {
    let (to, taken) = mpsc::channel(MAX_WAITING);
    let (safe, reached) = watch::channel(Safe::Never);
    let wanted = Arc::new(AtomicU64::new(NOBODY));
    let handover = Handover {
        to,
        // What the first follower begins with is what nobody has changed yet.
        life: NOBODY + 1,
        wanted: Arc::clone(&wanted),
        anew: false,
        told: None,
    };
    let follower = Follower {
        taken,
        safe,
        wanted,
    };
    let following = Following(Arc::new(Mutex::new(Some(follower))));
    (handover, following, Durability(reached))
}

impl Handover {
    /// Takes what changed and hands it over, if there is room; whether something is left that should be tried again soon.
    pub(super) fn hand_over(&mut self, core: &mut Core, step: u64) -> bool {
        if !self.is_wanted(core) || !(core.has_changes() || self.is_late(core)) {
            return false;
        }
        match self.to.try_reserve() {
            Ok(room) => {
                let (changes, life) = (core.take_changes(SLICE_CHANGES), self.life);
                let left = changes.instant.is_none();
                self.told = changes.instant.map_or(self.told, |instant| instant.now);
                room.send(Taken {
                    changes,
                    step,
                    anew: std::mem::take(&mut self.anew),
                    life,
                });
                left
            }
            Err(mpsc::error::TrySendError::Full(())) => true,
            Err(mpsc::error::TrySendError::Closed(())) => false,
        }
    }

    /// The table is another one from here on, and all of it has changed.
    pub(super) fn begin_anew(&mut self) {
        self.anew = true;
    }

    /// Whether the table's time is to be told, though nothing changed.
    fn is_late(&self, core: &Core) -> bool {
        let passed = core.now().zip(self.told).map(|(now, told)| now.since(told));
        passed.is_some_and(|passed| passed >= TELL_TIME_EVERY)
    }

    /// Whether somebody follows; if he lost what he had, all of the table is noted as changed.
    fn is_wanted(&mut self, core: &mut Core) -> bool {
        let wanted = self.wanted.load(Ordering::Acquire);
        if wanted > self.life {
            self.life = wanted;
            core.note_all_changed();
        }
        wanted != NOBODY
    }

    /// Hands over all that is left.
    pub(super) async fn finish(mut self, core: &RwLock<Core>, step: u64) {
        self.told = Some(UtcMillis(i64::MIN));
        while self.hand_over(&mut core.write(), step) {
            // Room comes when the follower has taken something; he may have gone.
            if self.to.reserve().await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::policy::Policy;
    use crate::identity::view::Epoch;

    #[tokio::test]
    async fn whoever_waits_goes_on_when_it_is_safe_or_never_will_be() {
        let (_handover, following, durability) = channel();
        durability.reached(7).await;
        let follower = following.take().expect("nobody has it");
        assert!(following.take().is_none());
        follower.safe.send_replace(Safe::UpTo(6));
        let waits = durability.reached(7);
        tokio::pin!(waits);
        tokio::select! {
            biased;
            () = &mut waits => panic!("step 7 is not safe yet"),
            () = tokio::task::yield_now() => {}
        }
        follower.safe.send_replace(Safe::UpTo(8));
        waits.await;
        drop(follower);
        durability.reached(9).await;
    }

    #[test]
    fn without_room_changes_stay_noted_and_whoever_starts_over_hears_all() {
        let mut core = Core::new(Epoch(1), Policy::default());
        let (mut handover, following, _durability) = channel();
        assert!(!handover.hand_over(&mut core, 0));
        assert!(core.has_changes(), "nobody follows");
        let mut follower = following.take().expect("nobody has it");
        assert!(!handover.hand_over(&mut core, 1));
        assert!(!core.has_changes());
        for step in 2..8 {
            core.set_policy(Policy::default(), UtcMillis(1), &mut Vec::new());
            let left = handover.hand_over(&mut core, step);
            assert_eq!(left, step >= 5, "step {step}");
        }
        assert!(core.has_changes());
        follower.start_over();
        assert!(follower.next_now().is_none(), "it is for the life before");
        assert!(!handover.hand_over(&mut core, 9));
        let taken = follower.next_now().expect("all of it");
        assert_eq!(taken.step, 9);
        assert!(taken.changes.instant.is_some());
    }
}
