//! The files that follow a core as it changes, a few changes at a time, folded now and then: what they hold is read back at
//! each restart.

use jims::identity::Core;
use jims::snapshot::{Contents, Store};

use crate::random::Dice;

pub(crate) struct Kept {
    folder: tempfile::TempDir,
    store: Store,
    dice: Dice,
}

impl Kept {
    pub(crate) fn new(seed: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let opened = Store::open(folder.path()).expect("an empty folder");
        Self {
            store: opened.store,
            folder,
            dice: Dice::new(seed ^ 0x5709),
        }
    }

    /// Takes some of what changed, or all of it.
    pub(crate) fn follow(&mut self, core: &mut Core) {
        if self.dice.percent(20) {
            return;
        }
        let limit = 1 + self.dice.below(12);
        if core.has_changes() {
            self.store.add(&core.take_changes(limit));
        }
        if self.dice.percent(10) {
            self.store.write().expect("written");
        }
        if self.dice.percent(2) {
            self.fold();
        }
    }

    /// Takes the rest, and reads what the files hold; from here on they are written by another process.
    pub(crate) fn stop_and_start(&mut self, core: &mut Core) -> Contents {
        loop {
            let changes = core.take_changes(7);
            self.store.add(&changes);
            if changes.instant.is_some() {
                break;
            }
        }
        self.store.add_instant(true);
        self.store.write().expect("written");
        self.open()
    }

    /// The process is another, from a table of before.
    pub(crate) fn start_over(&mut self, core: &mut Core) {
        self.store.start_over();
        core.note_all_changed();
    }

    fn open(&mut self) -> Contents {
        let opened = Store::open(self.folder.path()).expect("what was written");
        assert_eq!(opened.dropped.bytes, 0);
        self.store = opened.store;
        opened.contents.expect("a table")
    }

    fn fold(&mut self) {
        if let Some(folding) = self.store.fold(0) {
            let folded = folding.run().expect("folded");
            self.store.folded(folded).expect("noted");
        }
    }
}
