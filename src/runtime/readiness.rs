//! Whether answers can be trusted yet (rule 15): the snapshot is read, and every directory is served from it, has
//! finished its first read, or has failed for 30 s.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;

/// Latches that must all open before queries are answered; once ready, ready until the process ends.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    waiting_for: BTreeSet<String>,
    armed: bool,
    ready: bool,
}

/// One latch; opens once.
#[derive(Clone, Debug)]
pub struct Latch {
    readiness: Readiness,
    name: String,
}

impl Readiness {
    /// Not ready, waiting for nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a latch; without effect on a process that is ready already.
    #[must_use]
    pub fn latch(&self, name: impl Into<String>) -> Latch {
        let name = name.into();
        self.0.lock().waiting_for.insert(name.clone());
        Latch {
            readiness: self.clone(),
            name,
        }
    }

    /// Says that all latches are made: from now on the last one to open makes the process ready.
    pub fn arm(&self) {
        let mut state = self.0.lock();
        state.armed = true;
        state.settle();
    }

    /// Whether queries may be answered.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.0.lock().ready
    }

    /// What is still waited for, sorted.
    #[must_use]
    pub fn waiting_for(&self) -> Vec<String> {
        let state = self.0.lock();
        if state.ready {
            Vec::new()
        } else {
            state.waiting_for.iter().cloned().collect()
        }
    }
}

impl Latch {
    /// Opens the latch; further calls do nothing.
    pub fn open(&self) {
        let mut state = self.readiness.0.lock();
        state.waiting_for.remove(&self.name);
        state.settle();
    }
}

impl State {
    fn settle(&mut self) {
        if self.armed && self.waiting_for.is_empty() && !self.ready {
            self.ready = true;
            tracing::info!("ready to answer");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_15_ready_when_the_last_latch_opens_and_for_ever() {
        let readiness = Readiness::new();
        let (snapshot, directory) = (
            readiness.latch("snapshot"),
            readiness.latch("directory corp"),
        );
        snapshot.open();
        directory.open();
        assert!(!readiness.is_ready(), "not armed");
        let late = readiness.latch("directory lab");
        readiness.arm();
        assert_eq!(readiness.waiting_for(), ["directory lab"]);
        late.open();
        assert!(readiness.is_ready());
        let _new = readiness.latch("directory after a reload");
        assert!(readiness.is_ready());
    }
}
