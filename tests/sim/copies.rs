//! A second Collector that hears every line the first one heard, and says so later, as of then: nothing may come of it.

use std::collections::VecDeque;

use jims::identity::event::IdentityEvent;
use jims::identity::heard::{Heard, Hearer, LineId, is_forgotten};
use jims::identity::outcome::{IgnoreReason, Verdict};
use jims::identity::time::UtcMillis;
use jims::identity::{Batch, Core};

use crate::random::Dice;

/// Whom the core hears first.
const FIRST: Hearer = Hearer(1);
const SECOND: Hearer = Hearer(2);

/// What the second one heard and has not said yet.
pub(crate) struct Copies {
    dice: Dice,
    lines: u64,
    waiting: VecDeque<(UtcMillis, IdentityEvent)>,
}

impl Copies {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            dice: Dice::new(seed ^ 0xc091),
            lines: 0,
            waiting: VecDeque::new(),
        }
    }

    /// Makes the event one of a line that both hear now.
    pub(crate) fn hear(&mut self, event: IdentityEvent, now: UtcMillis) -> IdentityEvent {
        self.lines += 1;
        let of = |by| {
            let line = LineId(self.lines);
            Some(Box::new(Heard { line, by }))
        };
        let copy = IdentityEvent {
            heard: of(SECOND),
            ..event.clone()
        };
        self.waiting.push_back((now, copy));
        IdentityEvent {
            heard: of(FIRST),
            ..event
        }
    }

    /// The second one may say some of what it heard.
    pub(crate) fn say(&mut self, core: &mut Core, now: UtcMillis) -> Result<(), String> {
        if self.dice.percent(50) {
            return Ok(());
        }
        let count = self.waiting.len().min(1 + self.dice.below(4));
        let copies = self.waiting.drain(..count);
        let copies = copies.filter(|(first, _)| !is_forgotten(*first, now));
        let events = copies.map(|(_, copy)| IdentityEvent {
            occurred_at: now,
            received_at: now,
            ..copy
        });
        let (batch, mut outcomes) = (events.collect(), Vec::new());
        let batch = Batch::Events {
            events: batch,
            bookmark: None,
        };
        core.apply(batch, now, &mut outcomes);
        let duplicate = Verdict::Ignored(IgnoreReason::HeardTwice);
        match outcomes.iter().find(|outcome| outcome.verdict != duplicate) {
            Some(outcome) => Err(format!("a copy counts: {outcome:?}")),
            None => Ok(()),
        }
    }

    /// The core no longer knows what it heard.
    pub(crate) fn forget(&mut self) {
        self.waiting.clear();
    }
}
