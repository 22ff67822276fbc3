//! The facts of a slot: how they are kept, and which of them can still matter.
//!
//! Nearly every slot has one fact, which lies in the slot itself. For a change they are laid out on the stack
//! ([`Working`]), so that evidence that takes the place of the only fact asks for no memory.

use smallvec::SmallVec;

use super::conflict::{self, FactKind};
use super::producer::Producers;
use super::session::{Fact, Hold, MAX_FACTS, MAX_FACTS_OF_ALL, fold};

/// Facts, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) enum Facts {
    #[default]
    None,
    One(Fact),
    /// Two or more.
    Many(Vec<Fact>),
}

impl Facts {
    pub(super) fn as_slice(&self) -> &[Fact] {
        match self {
            Self::None => &[],
            Self::One(fact) => std::slice::from_ref(fact),
            Self::Many(facts) => facts,
        }
    }
}

impl FromIterator<Fact> for Facts {
    fn from_iter<I: IntoIterator<Item = Fact>>(facts: I) -> Self {
        let mut facts = facts.into_iter();
        match (facts.next(), facts.next()) {
            (None, _) => Self::None,
            (Some(one), None) => Self::One(one),
            (Some(first), Some(second)) => {
                let mut many = vec![first, second];
                many.extend(facts);
                Self::Many(many)
            }
        }
    }
}

/// Facts that are kept without asking for memory, with one that is new.
type List = SmallVec<[Fact; 4]>;

/// The facts of a slot while they change.
#[derive(Debug)]
pub(super) struct Working {
    pub(super) list: List,
}

impl From<Facts> for Working {
    fn from(facts: Facts) -> Self {
        let list = match facts {
            Facts::None => List::new(),
            Facts::One(fact) => List::from_iter([fact]),
            Facts::Many(facts) => List::from_vec(facts),
        };
        Self { list }
    }
}

impl From<Working> for Facts {
    fn from(mut working: Working) -> Self {
        match working.list.len() {
            0 | 1 => working.list.pop().map_or(Self::None, Self::One),
            _ if working.list.spilled() => Self::Many(working.list.into_vec()),
            facts => {
                // No more room than that.
                let mut many = Vec::with_capacity(facts);
                many.extend(working.list);
                Self::Many(many)
            }
        }
    }
}

impl Working {
    /// Over the bound of all: the oldest that Collectors told.
    pub(super) fn keep_bound(&mut self, producers: &Producers) {
        while self.list.len() > MAX_FACTS_OF_ALL {
            let told = |fact: &Fact| !producers.is_own(fact.producer);
            let oldest = self.list.iter().position(told);
            self.list.remove(oldest.unwrap_or(0));
        }
    }

    pub(super) fn insert(&mut self, fact: Fact, producers: &Producers) {
        let key = |f: &Fact| (f.at, conflict::rank(f.kind));
        let place = self
            .list
            .iter()
            .rposition(|other| {
                key(other)
                    .cmp(&key(&fact))
                    // The name that sorts first comes last; equal names keep the order of arrival.
                    .then_with(|| producers.compare(fact.producer, other.producer))
                    .is_le()
            })
            .map_or(0, |before| before + 1);
        self.list.reserve_exact(1);
        self.list.insert(place, fact);
    }

    /// Drops what this process heard and no fact that may still come can make matter.
    pub(super) fn prune(&mut self, before: Option<Hold>, producers: &Producers) {
        let is_own = |fact: &Fact| producers.is_own(fact.producer);
        if self.list.iter().all(is_own) {
            return self.prune_own(before);
        }
        let (own, told): (List, List) =
            std::mem::take(&mut self.list).into_iter().partition(is_own);
        self.list = own;
        self.prune_own(before);
        for fact in told {
            self.insert(fact, producers);
        }
        self.keep_bound(producers);
    }

    fn prune_own(&mut self, before: Option<Hold>) {
        if let Some(settled) = self
            .list
            .iter()
            .rposition(|f| conflict::settles_all(f.kind))
        {
            for index in 0..settled {
                self.pass_groups(index, settled, before);
            }
            self.list.drain(..settled);
        }
        self.prune_superseded(before);
        self.merge_expired();
        while self.list.len() > MAX_FACTS {
            self.drop_one();
        }
    }

    /// Of one subject only the newest weak evidence matters, a renewal only if nothing newer renews, and where its
    /// machine took it only if nothing newer says so.
    fn prune_superseded(&mut self, before: Option<Hold>) {
        let mut index = 0;
        while index < self.list.len() {
            let kind = self.list[index].kind;
            let newer = self.list[index + 1..].iter().position(|f| {
                f.subject == self.list[index].subject
                    && (f.kind == FactKind::Weak
                        || (f.kind == kind && matches!(kind, FactKind::Seen | FactKind::Carried)))
            });
            match newer {
                Some(newer)
                    if matches!(kind, FactKind::Weak | FactKind::Seen | FactKind::Carried) =>
                {
                    self.pass_groups(index, index + 1 + newer, before);
                    self.list.remove(index);
                }
                Some(_) | None => index += 1,
            }
        }
    }

    /// Strong evidence that expired at its own instant leaves nothing but "nobody, since then".
    fn merge_expired(&mut self) {
        if let [strong, expired, ..] = self.list.as_mut_slice()
            && strong.kind == FactKind::Strong
            && expired.kind == FactKind::Expired
            && strong.subject == expired.subject
            && strong.at == expired.at
        {
            expired.kind = FactKind::Closed;
            expired.subject = None;
            self.list.remove(0);
        }
    }

    /// Over the bound: the oldest fact without which the session would be the same.
    fn drop_one(&mut self) {
        let answer = |facts: &[Fact]| {
            fold(facts).map(|h| (h.subject, h.strong, facts[usize::from(h.last)].at))
        };
        let now = answer(&self.list);
        let idle = (0..self.list.len()).find(|&index| {
            let mut without = self.list.clone();
            without.remove(index);
            answer(&without) == now
        });
        self.list.remove(idle.unwrap_or(0));
    }

    /// Asserted groups stay with the session when newer evidence of its holder takes the place of older.
    fn pass_groups(&mut self, from: usize, to: usize, before: Option<Hold>) {
        let subject = self.list[from].subject;
        if subject.is_none()
            || subject != before.map(|hold| hold.subject)
            || subject != self.list[to].subject
        {
            return;
        }
        let Some(groups) = self.list[from].extra.as_mut().and_then(|e| e.groups.take()) else {
            return;
        };
        let extra = self.list[to].extra.get_or_insert_default();
        if extra.groups.as_ref().is_none_or(|(at, _)| *at < groups.0) {
            extra.groups = Some(groups);
        }
    }
}
