//! One slot of an address: who is there (a user, or a device), from which evidence, and what may still change it.
//!
//! A slot keeps the facts that can still matter, in the order they happened, and the session is the *fold* of that
//! list ([`super::conflict`]). So evidence that arrives late lands as if it had come in its turn, and any interleaving
//! of producers gives the same table. Facts that nothing later can make matter again are dropped at once, which leaves
//! one or two in nearly every slot; at [`MAX_FACTS`] the oldest that changes nothing goes. No clocks, no names, no
//! journal here.
//!
//! What a Collector told lies among them and is folded with them. It is replaced as a whole when the Collector tells
//! anew, so it is never dropped because of what others say.

use compact_str::CompactString;

use super::arena::Id;
use super::conflict::{self, Effect, FactKind, Holder};
use super::event::{LogonId, Strength};
use super::facts::{Facts, Working};
use super::producer::{Origin, Producers};
use super::subject::Subject;
use super::time::UtcMillis;

/// Most facts a slot keeps of what this process heard. Beyond, late evidence is judged by the newest of them only.
pub(super) const MAX_FACTS: usize = 16;

/// Most facts a slot keeps, those of Collectors among them; beyond, the oldest of theirs go.
pub(super) const MAX_FACTS_OF_ALL: usize = 64;

/// Number of a producer's name.
pub(super) type ProducerId = u16;

/// One fact about one slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fact {
    pub(super) at: UtcMillis,
    pub(super) received_at: UtcMillis,
    pub(super) record: CompactString,
    /// Whom it speaks of; `None` only for [`FactKind::AllLeft`] and [`FactKind::Closed`].
    pub(super) subject: Option<Id<Subject>>,
    pub(super) producer: ProducerId,
    pub(super) kind: FactKind,
    pub(super) extra: Option<Box<Extra>>,
}

/// What few facts carry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extra {
    /// Groups that the source asserts, sorted, and when it did; they stay with the session through later evidence
    /// that asserts none.
    pub groups: Option<(UtcMillis, Box<[CompactString]>)>,
    /// The Windows logon.
    pub logon: Option<LogonId>,
}

impl Extra {
    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_none() && self.logon.is_none()
    }
}

/// Who is in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hold {
    pub(super) subject: Id<Subject>,
    pub(super) since: UtcMillis,
    /// Which fact the subject took the slot with.
    took: u8,
    /// Which fact is the last evidence.
    pub(super) last: u8,
    /// Whether strong evidence came since the subject took the slot.
    pub(super) strong: bool,
}

/// A slot.
#[derive(Clone, Debug, Default)]
pub(super) struct Slot {
    facts: Facts,
    hold: Option<Hold>,
}

impl Slot {
    /// A slot of which nothing is known.
    pub(super) const EMPTY: Self = Self {
        facts: Facts::None,
        hold: None,
    };

    /// A slot with these facts, as they were exported.
    pub(super) fn restore(facts: Facts, since: Option<UtcMillis>) -> Self {
        let mut hold = fold(facts.as_slice());
        if let (Some(hold), Some(since)) = (&mut hold, since) {
            hold.since = since;
        }
        Self { facts, hold }
    }

    /// Who is here.
    pub(super) fn hold(&self) -> Option<&Hold> {
        self.hold.as_ref()
    }

    /// Whose session is here.
    pub(super) fn subject(&self) -> Option<Id<Subject>> {
        self.hold.map(|hold| hold.subject)
    }

    /// The evidence that holds the session.
    pub(super) fn last(&self) -> Option<&Fact> {
        self.hold.map(|hold| &self.facts()[usize::from(hold.last)])
    }

    /// The holder's evidence since it took the slot, oldest first.
    pub(super) fn support(&self) -> impl Iterator<Item = &Fact> {
        let held = self.hold.map(|hold| {
            let facts = &self.facts()[usize::from(hold.took)..=usize::from(hold.last)];
            let is_of_holder = move |fact: &&Fact| fact.subject == Some(hold.subject);
            facts.iter().filter(is_of_holder)
        });
        held.into_iter().flatten()
    }

    /// The facts, oldest first.
    pub(super) fn facts(&self) -> &[Fact] {
        self.facts.as_slice()
    }

    /// What each fact did, in order, and who was there when it came; with whether it is the evidence that holds the session.
    pub(super) fn steps(&self) -> Vec<(Holder, Effect, bool)> {
        let mut steps = Vec::with_capacity(self.facts().len());
        let hold = fold_seen(self.facts(), |holder, effect| {
            steps.push((holder, effect, false))
        });
        let last = hold.and_then(|hold| steps.get_mut(usize::from(hold.last)));
        if let Some((_, _, holds)) = last {
            *holds = true;
        }
        steps
    }

    /// Groups asserted for the session by its newest evidence that asserts any.
    pub(super) fn groups(&self) -> &[CompactString] {
        let Some(hold) = self.hold else { return &[] };
        self.facts()
            .iter()
            .filter(|fact| fact.subject == Some(hold.subject))
            .filter_map(|fact| fact.extra.as_ref()?.groups.as_ref())
            .max_by_key(|(at, _)| *at)
            .map_or(&[], |(_, groups)| groups)
    }

    /// Puts a fact in its place and folds again.
    pub(super) fn add(&mut self, fact: Fact, producers: &Producers) {
        let ends = matches!(
            fact.kind,
            FactKind::Left | FactKind::AllLeft | FactKind::Expired | FactKind::Closed
        );
        let before = self.hold;
        let mut facts = self.take_out();
        facts.insert(fact, producers);
        facts.prune(before, producers);
        self.put_back(facts, before.filter(|_| !ends));
    }

    /// Replaces everything that a Collector told by what it tells now.
    pub(super) fn retell(&mut self, origin: Origin, facts: Vec<Fact>, producers: &Producers) {
        let before = self.hold;
        let is_its = |fact: &Fact| producers.origin_of_producer(fact.producer) == origin;
        let mut kept = self.take_out();
        kept.list.retain(|fact| !is_its(fact));
        for fact in facts {
            kept.insert(fact, producers);
        }
        kept.keep_bound(producers);
        self.put_back(kept, before);
    }

    /// Replaces a subject by another in every fact (two names turned out to be one user).
    pub(super) fn replace(&mut self, from: Id<Subject>, into: Id<Subject>, producers: &Producers) {
        let mut facts = self.take_out();
        for fact in &mut facts.list {
            if fact.subject == Some(from) {
                fact.subject = Some(into);
            }
        }
        let before = self.hold.map(|mut hold| {
            if hold.subject == from {
                hold.subject = into;
            }
            hold
        });
        facts.prune(before, producers);
        self.put_back(facts, before);
    }

    /// Whether there is anything about a subject that can be forgotten.
    pub(super) fn knows(&self, subject: Id<Subject>) -> bool {
        let mut of = self.facts().iter().filter(|f| f.subject == Some(subject));
        of.any(|fact| fact.kind != FactKind::Left)
    }

    /// Forgets everything about a subject that is not the session's, but when it left: it may come back, and what
    /// happened before must not sign it on then. Whom it displaced stays displaced.
    pub(super) fn forget(&mut self, subject: Id<Subject>, producers: &Producers) {
        let Some(newest) = self.facts().iter().rfind(|f| f.subject == Some(subject)) else {
            return;
        };
        let closed = Fact {
            subject: None,
            kind: FactKind::Closed,
            extra: None,
            ..newest.clone()
        };
        let before = self.hold;
        let mut facts = self.take_out();
        for fact in &mut facts.list {
            if fact.subject == Some(subject) && fact.kind == FactKind::Strong {
                (fact.kind, fact.subject, fact.extra) = (FactKind::AllLeft, None, None);
            }
        }
        facts
            .list
            .retain(|fact| fact.subject != Some(subject) || fact.kind == FactKind::Left);
        // Without it somebody would come up whom it had displaced.
        if fold(&facts.list).map(|h| h.subject) != before.map(|h| h.subject) {
            let place = facts.list.partition_point(|fact| fact.at <= closed.at);
            facts.list.insert(place, closed);
        }
        facts.prune(before, producers);
        self.put_back(facts, before);
    }

    fn take_out(&mut self) -> Working {
        std::mem::take(&mut self.facts).into()
    }

    /// Keeps facts that changed, and folds again.
    fn put_back(&mut self, facts: Working, before: Option<Hold>) {
        self.hold = fold(&facts.list);
        self.facts = facts.into();
        if let (Some(now), Some(before)) = (&mut self.hold, before)
            && now.subject == before.subject
        {
            now.since = now.since.min(before.since);
        }
    }
}

impl Fact {
    /// What the evidence is worth.
    pub(super) fn strength(&self) -> Strength {
        if self.kind == FactKind::Strong {
            Strength::Strong
        } else {
            Strength::Weak
        }
    }
}

pub(super) fn fold(facts: &[Fact]) -> Option<Hold> {
    fold_seen(facts, |_, _| {})
}

/// The fold; `seen` hears of each fact, in order, who was there when it came and what it did.
fn fold_seen(facts: &[Fact], mut seen: impl FnMut(Holder, Effect)) -> Option<Hold> {
    let mut hold: Option<Hold> = None;
    for (index, fact) in (0u8..).zip(facts) {
        let holder = match hold {
            None => Holder::Nobody,
            Some(h) if Some(h.subject) == fact.subject => Holder::Same,
            Some(h) if h.strong => Holder::StrongOther,
            Some(_) => Holder::WeakOther,
        };
        let strong = fact.kind == FactKind::Strong;
        let effect = conflict::effect(fact.kind, holder);
        seen(holder, effect);
        match (effect, fact.subject, &mut hold) {
            (Effect::Take, Some(subject), _) => {
                hold = Some(Hold {
                    subject,
                    since: fact.at,
                    took: index,
                    last: index,
                    strong,
                });
            }
            (Effect::Renew, _, Some(hold)) => {
                hold.last = index;
                hold.strong |= strong;
            }
            (Effect::Empty, _, _) => hold = None,
            (Effect::Keep | Effect::Take | Effect::Renew, _, _) => {}
        }
    }
    hold
}
