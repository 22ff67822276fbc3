//! Why an address is as it is: everything that is kept of it, in order, and what each piece did.
//!
//! The same fold that decides (`conflict`) tells what it did; nothing is decided here.

use std::net::IpAddr;

use compact_str::CompactString;

use super::address::canonical;
use super::core::Core;
use super::session::{Fact, Slot};
use super::view::EvidenceView;

pub use super::conflict::{Effect, FactKind, Holder};

/// What is kept of an address, oldest first.
#[derive(Clone, Debug)]
pub struct Story<'a> {
    /// Of users.
    pub user: Vec<Step<'a>>,
    /// Of devices.
    pub device: Vec<Step<'a>>,
}

/// One thing that was said, and what it did.
#[derive(Clone, Debug)]
pub struct Step<'a> {
    /// What was said.
    pub kind: FactKind,
    /// Of whom, as shown; `None`: of whoever was there.
    pub subject: Option<CompactString>,
    /// Who said so.
    pub evidence: EvidenceView<'a>,
    /// Who was there when it happened.
    pub holder: Holder,
    /// What it did.
    pub effect: Effect,
    /// Whether it is the evidence that the session stands on.
    pub holds: bool,
}

impl Core {
    /// What is kept of an address; empty if nothing is.
    #[must_use]
    pub fn story(&self, address: IpAddr) -> Story<'_> {
        let entry = self.table.find(canonical(address));
        let entry = entry.map(|entry| &self.table.arena[entry]);
        Story {
            user: entry.map_or_else(Vec::new, |entry| self.steps(entry.user())),
            device: entry.map_or_else(Vec::new, |entry| self.steps(entry.device())),
        }
    }

    fn steps<'a>(&'a self, slot: &'a Slot) -> Vec<Step<'a>> {
        let steps = slot.steps().into_iter();
        let step = |(fact, (holder, effect, holds)): (&'a Fact, _)| Step {
            kind: fact.kind,
            subject: fact.subject.map(|subject| self.shown(subject)),
            evidence: self.evidence_view(fact),
            holder,
            effect,
            holds,
        };
        slot.facts().iter().zip(steps).map(step).collect()
    }
}
