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
    last: u8,
    /// Whether strong evidence came since the subject took the slot.
    pub(super) strong: bool,
}

/// A slot.
#[derive(Clone, Debug, Default)]
pub(super) struct Slot {
    facts: Vec<Fact>,
    hold: Option<Hold>,
}

impl Slot {
    /// A slot with these facts, as they were exported.
    pub(super) fn restore(facts: Vec<Fact>, since: Option<UtcMillis>) -> Self {
        let mut hold = fold(&facts);
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
        self.hold.map(|hold| &self.facts[usize::from(hold.last)])
    }

    /// The holder's evidence since it took the slot, oldest first.
    pub(super) fn support(&self) -> impl Iterator<Item = &Fact> {
        let held = self.hold.map(|hold| {
            let facts = &self.facts[usize::from(hold.took)..=usize::from(hold.last)];
            let is_of_holder = move |fact: &&Fact| fact.subject == Some(hold.subject);
            facts.iter().filter(is_of_holder)
        });
        held.into_iter().flatten()
    }

    /// The facts, oldest first.
    pub(super) fn facts(&self) -> &[Fact] {
        &self.facts
    }

    /// What each fact did, in order, and who was there when it came; with whether it is the evidence that holds the session.
    pub(super) fn steps(&self) -> Vec<(Holder, Effect, bool)> {
        let mut steps = Vec::with_capacity(self.facts.len());
        let hold = fold_seen(&self.facts, |holder, effect| {
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
        self.facts
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
        self.insert(fact, producers);
        self.prune(before, producers);
        self.refold(before.filter(|_| !ends));
    }

    /// Replaces everything that a Collector told by what it tells now.
    pub(super) fn retell(&mut self, origin: Origin, facts: Vec<Fact>, producers: &Producers) {
        let before = self.hold;
        let is_its = |fact: &Fact| producers.origin_of_producer(fact.producer) == origin;
        self.facts.retain(|fact| !is_its(fact));
        for fact in facts {
            self.insert(fact, producers);
        }
        self.keep_bound(producers);
        self.refold(before);
    }

    /// Over the bound of all: the oldest that Collectors told.
    fn keep_bound(&mut self, producers: &Producers) {
        while self.facts.len() > MAX_FACTS_OF_ALL {
            let told = |fact: &Fact| !producers.is_own(fact.producer);
            let oldest = self.facts.iter().position(told);
            self.facts.remove(oldest.unwrap_or(0));
        }
    }

    fn insert(&mut self, fact: Fact, producers: &Producers) {
        let key = |f: &Fact| (f.at, conflict::rank(f.kind));
        let place = self
            .facts
            .iter()
            .rposition(|other| {
                key(other)
                    .cmp(&key(&fact))
                    // The name that sorts first comes last; equal names keep the order of arrival.
                    .then_with(|| producers.compare(fact.producer, other.producer))
                    .is_le()
            })
            .map_or(0, |before| before + 1);
        if self.facts.capacity() == self.facts.len() {
            self.facts.reserve_exact(1);
        }
        self.facts.insert(place, fact);
    }

    /// Replaces a subject by another in every fact (two names turned out to be one user).
    pub(super) fn replace(&mut self, from: Id<Subject>, into: Id<Subject>, producers: &Producers) {
        for fact in &mut self.facts {
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
        self.prune(before, producers);
        self.refold(before);
    }

    /// Whether there is anything about a subject that can be forgotten.
    pub(super) fn knows(&self, subject: Id<Subject>) -> bool {
        let mut of = self.facts.iter().filter(|f| f.subject == Some(subject));
        of.any(|fact| fact.kind != FactKind::Left)
    }

    /// Forgets everything about a subject that is not the session's, but when it left: it may come back, and what
    /// happened before must not sign it on then. Whom it displaced stays displaced.
    pub(super) fn forget(&mut self, subject: Id<Subject>, producers: &Producers) {
        let Some(newest) = self.facts.iter().rfind(|f| f.subject == Some(subject)) else {
            return;
        };
        let closed = Fact {
            subject: None,
            kind: FactKind::Closed,
            extra: None,
            ..newest.clone()
        };
        let before = self.hold;
        for fact in &mut self.facts {
            if fact.subject == Some(subject) && fact.kind == FactKind::Strong {
                (fact.kind, fact.subject, fact.extra) = (FactKind::AllLeft, None, None);
            }
        }
        self.facts
            .retain(|fact| fact.subject != Some(subject) || fact.kind == FactKind::Left);
        // Without it somebody would come up whom it had displaced.
        if fold(&self.facts).map(|h| h.subject) != before.map(|h| h.subject) {
            let place = self.facts.partition_point(|fact| fact.at <= closed.at);
            self.facts.insert(place, closed);
        }
        self.prune(before, producers);
        self.refold(before);
    }

    fn refold(&mut self, before: Option<Hold>) {
        self.hold = fold(&self.facts);
        if let (Some(now), Some(before)) = (&mut self.hold, before)
            && now.subject == before.subject
        {
            now.since = now.since.min(before.since);
        }
    }

    /// Drops what this process heard and no fact that may still come can make matter.
    fn prune(&mut self, before: Option<Hold>, producers: &Producers) {
        let is_own = |fact: &Fact| producers.is_own(fact.producer);
        if self.facts.iter().all(is_own) {
            return self.prune_own(before);
        }
        let (own, told) = std::mem::take(&mut self.facts)
            .into_iter()
            .partition(is_own);
        self.facts = own;
        self.prune_own(before);
        for fact in told {
            self.insert(fact, producers);
        }
        self.keep_bound(producers);
    }

    fn prune_own(&mut self, before: Option<Hold>) {
        if let Some(settled) = self
            .facts
            .iter()
            .rposition(|f| conflict::settles_all(f.kind))
        {
            for index in 0..settled {
                self.pass_groups(index, settled, before);
            }
            self.facts.drain(..settled);
        }
        self.prune_superseded(before);
        self.merge_expired();
        while self.facts.len() > MAX_FACTS {
            self.drop_one();
        }
    }

    /// Of one subject only the newest weak evidence matters, a renewal only if nothing newer renews, and where its
    /// machine took it only if nothing newer says so.
    fn prune_superseded(&mut self, before: Option<Hold>) {
        let mut index = 0;
        while index < self.facts.len() {
            let kind = self.facts[index].kind;
            let newer = self.facts[index + 1..].iter().position(|f| {
                f.subject == self.facts[index].subject
                    && (f.kind == FactKind::Weak
                        || (f.kind == kind && matches!(kind, FactKind::Seen | FactKind::Carried)))
            });
            match newer {
                Some(newer)
                    if matches!(kind, FactKind::Weak | FactKind::Seen | FactKind::Carried) =>
                {
                    self.pass_groups(index, index + 1 + newer, before);
                    self.facts.remove(index);
                }
                Some(_) | None => index += 1,
            }
        }
    }

    /// Strong evidence that expired at its own instant leaves nothing but "nobody, since then".
    fn merge_expired(&mut self) {
        if let [strong, expired, ..] = self.facts.as_mut_slice()
            && strong.kind == FactKind::Strong
            && expired.kind == FactKind::Expired
            && strong.subject == expired.subject
            && strong.at == expired.at
        {
            expired.kind = FactKind::Closed;
            expired.subject = None;
            self.facts.remove(0);
        }
    }

    /// Over the bound: the oldest fact without which the session would be the same.
    fn drop_one(&mut self) {
        let answer = |facts: &[Fact]| {
            fold(facts).map(|h| (h.subject, h.strong, facts[usize::from(h.last)].at))
        };
        let now = answer(&self.facts);
        let idle = (0..self.facts.len()).find(|&index| {
            let mut without = self.facts.clone();
            without.remove(index);
            answer(&without) == now
        });
        self.facts.remove(idle.unwrap_or(0));
    }

    /// Asserted groups stay with the session when newer evidence of its holder takes the place of older.
    fn pass_groups(&mut self, from: usize, to: usize, before: Option<Hold>) {
        let subject = self.facts[from].subject;
        if subject.is_none()
            || subject != before.map(|hold| hold.subject)
            || subject != self.facts[to].subject
        {
            return;
        }
        let Some(groups) = self.facts[from]
            .extra
            .as_mut()
            .and_then(|e| e.groups.take())
        else {
            return;
        };
        let extra = self.facts[to].extra.get_or_insert_default();
        if extra.groups.as_ref().is_none_or(|(at, _)| *at < groups.0) {
            extra.groups = Some(groups);
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

fn fold(facts: &[Fact]) -> Option<Hold> {
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
